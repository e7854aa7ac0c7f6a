"""Options grouped by subject: a command takes one value for each group of them.

A parameter of a command whose type is a dataclass stands for the options that the dataclass's fields are, declared as
those of a command. So does one of `Annotated[SomeSettings, Options(...)]`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any, get_args, get_type_hints


@dataclass(frozen=True)
class Options:
    """Options of a command or of a value, and what takes them.

    Attributes:
        taker: the command's body, or what makes the value.
        parameters: the options as a parser of commands wants them, those of groups among them.
        groups: those parameters of `taker` that are several options, by name.
    """

    taker: Callable[..., Any]
    parameters: tuple[inspect.Parameter, ...]
    groups: Mapping[str, Options] = field(default_factory=dict)

    @classmethod
    def of(cls, taker: Callable[..., Any]) -> Options:
        """Those that the parameters of a function or the fields of a dataclass declare."""
        hints = get_type_hints(taker, include_extras=True)
        found: list[inspect.Parameter] = []
        groups = {}
        for each in inspect.signature(taker).parameters.values():
            group = _group(hints[each.name])
            if group is None:
                found.append(each.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[each.name]))
            else:
                groups[each.name] = group
                found += group.parameters
        return cls(taker, tuple(found), groups)

    @property
    def names(self) -> frozenset[str]:
        """What they are called."""
        return frozenset(each.name for each in self.parameters)

    def taken(self, given: Mapping[str, Any]) -> Any:
        """What `taker` returns for the options given, those of each group as one value."""
        grouped = {name: group.taken(given) for name, group in self.groups.items()}
        inner = frozenset().union(*(group.names for group in self.groups.values()))
        return self.taker(**{name: given[name] for name in self.names - inner}, **grouped)


def _group(hint: Any) -> Options | None:
    if isinstance(hint, type) and is_dataclass(hint):
        return Options.of(hint)
    return next((each for each in get_args(hint) if isinstance(each, Options)), None)
