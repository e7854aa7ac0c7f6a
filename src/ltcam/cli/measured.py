"""What the commands that measure a run have in common: how they tell what was found."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ltcam.cli.console import DONE, SOME_FAILED, print_json, say

if TYPE_CHECKING:
    from ltcam.cli.options import Results
    from ltcam.experiments.results import Found, Values

M = TypeVar("M", bound="Values")


def tell(found: Found[M], written: Results, print_tables: Callable[[M], None]) -> int:
    """Print what an experiment found, what it noted, what failed, and where the results are.

    Returns:
        The exit code.
    """
    if written.as_json:
        print_json(found.values.to_json())
    else:
        print_tables(found.values)
    for note in found.notes:
        say(f"note: {note}")
    for name, reason in found.failed:
        say(f"not measured: {name}: {reason}")
    say(f"results: {written.out} (report: {written.out / 'report.html'})")
    return SOME_FAILED if found.failed else DONE
