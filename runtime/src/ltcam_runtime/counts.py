"""Numbers of things that are given as options: whole, and from 1."""

from __future__ import annotations

from ltcam_runtime.errors import SettingsError

MOST_THREADS = 1024
"""More threads than any processor has cores; making very many takes minutes, in which nothing can be interrupted."""


def check_count(name: str, value: object, most: int | None = None) -> None:
    """Refuse what is no number of things.

    Args:
        name: of the option or argument, for the error.
        value: as it was given.
        most: the largest number that will do; None: any.

    Raises:
        SettingsError: no whole number, below 1, or above `most`.
    """
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if not is_count or (most is not None and value > most):  # type: ignore[operator]  # an int, if a count
        upto = "1 at least" if most is None else f"1 to {most}"
        raise SettingsError(f"`{name}` {value!r}: give a whole number, {upto}")
