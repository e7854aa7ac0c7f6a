"""Bars for people who call jobs from a notebook or a program: how far it is, and how long it will take."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from ltcam.training.listener import Listener

if TYPE_CHECKING:
    from tqdm import tqdm

    from ltcam.training.plan import Plan

_SHORT_S = 2.0  # what takes less needs no bar


def progress_bars(stream: TextIO | None = None) -> Listener:
    """A listener that shows a bar for whatever takes more than two seconds, and says what a job has to say.

    Args:
        stream: where to; None: standard error, which notebooks show below the cell.
    """
    bar = _Bar(stream)

    def note(concern: str) -> None:
        bar.say(f"note: {concern}")

    def note_all(plan: Plan) -> None:
        for concern in plan.concerns:
            note(concern)

    return Listener(
        say=bar.say,
        warn=note,
        planned=note_all,
        begun=bar.begin,
        progress=bar,
    )


def usual_listener() -> Listener:
    """Bars in a notebook; elsewhere a job is quiet."""
    return progress_bars() if in_notebook() else Listener()


def in_notebook() -> bool:
    """Whether this process runs the cells of a notebook."""
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    return running is not None and hasattr(running, "kernel")


class _Bar:
    """One bar after the other: a new one where a step begins, or counts to another total."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._name = ""
        self._bar: tqdm | None = None

    def say(self, sentence: str) -> None:
        """A sentence above the bar."""
        from tqdm import tqdm  # noqa: PLC0415  # commands have bars of their own, and start sooner without

        tqdm.write(sentence, self._stream or sys.stderr)

    def begin(self, name: str) -> None:
        """The step that the next bar is of."""
        self._close()
        self._name = name

    def __call__(self, done: int, total: int) -> None:
        """So far, of how many."""
        from tqdm import tqdm  # noqa: PLC0415

        if self._bar is None or self._bar.total != total:
            self._close()
            self._bar = tqdm(
                total=total,
                desc=self._name,
                file=self._stream,
                delay=_SHORT_S,
                leave=False,
                dynamic_ncols=True,
            )
        self._bar.update(done - self._bar.n)
        if done >= total:
            self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None
