"""Whom to tell how far a training is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Listener:
    """Whom to tell how far a training is. All do nothing by default.

    Attributes:
        say: a sentence worth reading.
        reading: images read and resized so far, of how many.
        masking: images whose mask a student will learn from, so far, of how many.
        step: epoch, epochs, step, steps.
        epoch: the history's entry of a finished epoch.
        choosing: images that the sharpening was tried on so far, of how many.
    """

    say: Callable[[str], None] = lambda _sentence: None
    reading: Callable[[int, int], None] = lambda _done, _total: None
    masking: Callable[[int, int], None] = lambda _done, _total: None
    step: Callable[[int, int, int, int], None] = lambda *_numbers: None
    epoch: Callable[[dict[str, float]], None] = lambda _entry: None
    choosing: Callable[[int, int], None] = lambda _done, _total: None
