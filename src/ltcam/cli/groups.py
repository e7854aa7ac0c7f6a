"""Options that several commands share, defined once and taken as one value.

A command that takes `how: Annotated[Reading, Group(by_labels)]` has the options of `by_labels`, and is given what
that returns.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args


@dataclass(frozen=True)
class Group:
    """Options, and what makes one value of them.

    Attributes:
        made_by: called with the options; its parameters are theirs, as a command would declare them.
        also: a function whose parameters stand before those; `made_by` hands them on to it.
    """

    made_by: Callable[..., Any]
    also: Callable[..., Any] | None = None

    @cached_property
    def parameters(self) -> tuple[inspect.Parameter, ...]:
        """The options, as a parser of commands wants them."""
        functions = [self.made_by] if self.also is None else [self.also, self.made_by]
        return tuple(
            parameter
            for function in functions
            for parameter in inspect.signature(function, eval_str=True).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        )


@dataclass(frozen=True)
class Options:
    """All options of a command, those of its groups among them."""

    parameters: tuple[inspect.Parameter, ...]
    groups: Mapping[str, Group]

    @classmethod
    def of(cls, body: Callable[..., Any]) -> Options:
        """Those of a command's body."""
        found: list[inspect.Parameter] = []
        groups = {}
        for parameter in inspect.signature(body, eval_str=True).parameters.values():
            group = next((each for each in get_args(parameter.annotation) if isinstance(each, Group)), None)
            if group is None:
                found.append(parameter)
            else:
                groups[parameter.name] = group
                found += group.parameters
        return cls(tuple(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in found), groups)

    @property
    def names(self) -> frozenset[str]:
        """What they are called."""
        return frozenset(each.name for each in self.parameters)

    def gathered(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the body is called with: the options given, those of each group as one value."""
        values = dict(given)
        made = {
            name: group.made_by(**{each.name: values.pop(each.name) for each in group.parameters})
            for name, group in self.groups.items()
        }
        return values | made
