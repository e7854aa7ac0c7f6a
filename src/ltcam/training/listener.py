"""Whom to tell how far a job is; most of what there is to tell is of a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # listeners are made before torch is needed
    import numpy as np
    from numpy.typing import NDArray

    from ltcam.training.plan import Plan


@dataclass(frozen=True, eq=False)
class Marked:
    """An image with what a network that is still being trained would mark in it.

    Attributes:
        image: its name.
        label: its true class.
        held_back: whether it was, or was trained on.
        score: probability of being defective, 0 to 1.
        picture: (h, w, 3) uint8 RGB, for people.
    """

    image: str
    label: str
    held_back: bool
    score: float
    picture: NDArray[np.uint8]


@dataclass(frozen=True)
class Listener:
    """Whom to tell how far a job is. All do nothing by default.

    Attributes:
        say: a sentence worth reading.
        warn: a sentence that must not be overlooked.
        planned: what will be done, before it begins.
        begun: name of the step that begins now.
        progress: how much of the step is done, of how much: images, kinds of defect, or steps of a training.
        epoch: the history's entry of a finished epoch.
        pictures: an epoch, counted from 0, and what the network would mark after it; None makes no pictures.
    """

    say: Callable[[str], None] = lambda _sentence: None
    warn: Callable[[str], None] = lambda _sentence: None
    planned: Callable[[Plan], None] = lambda _plan: None
    begun: Callable[[str], None] = lambda _name: None
    progress: Callable[[int, int], None] = lambda _done, _total: None
    epoch: Callable[[dict[str, float]], None] = lambda _entry: None
    pictures: Callable[[int, Sequence[Marked]], None] | None = None
