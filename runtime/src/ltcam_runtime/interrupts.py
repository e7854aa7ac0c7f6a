"""Ctrl-C and SIGTERM while a command works: exceptions, but not inside of an import, which may answer with anything."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ltcam_runtime.errors import Terminated
from ltcam_runtime.starting import INTERRUPTED, TERMINATED

_TRY_AGAIN = 0.02  # seconds until an interrupt is delivered that came during an import
_delivered: list[KeyboardInterrupt] = []


@contextmanager
def interruptible() -> Iterator[None]:
    """Where `KeyboardInterrupt`, and `Terminated` for SIGTERM, are raised."""
    kinds = (signal.SIGINT, signal.SIGTERM)
    try:
        # What the parent ignores stays ignored: a command in the background of a script is not for Ctrl-C.
        before = {kind: signal.getsignal(kind) for kind in kinds if signal.getsignal(kind) != signal.SIG_IGN}
        for kind in before:
            signal.signal(kind, _interrupt)
    except ValueError:  # not the main thread: signals are somebody else's
        yield
        return
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
        _delivered.clear()


def delivered() -> KeyboardInterrupt | None:
    """The interrupt that has been raised in this process, if one has.

    Compiled code that is interrupted while it calls Python may answer with any error of its own; who catches that
    can ask here what it was.
    """
    return _delivered[-1] if _delivered else None


def code_of(interrupt: KeyboardInterrupt) -> int:
    """The exit code that tells Ctrl-C from being asked to end by the system."""
    return TERMINATED if isinstance(interrupt, Terminated) else INTERRUPTED


def _interrupt(kind: int, frame: FrameType | None) -> None:
    if _importing(frame) and hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda _, frame: _interrupt(kind, frame))
        signal.setitimer(signal.ITIMER_REAL, _TRY_AGAIN)
        return
    _delivered.append(Terminated() if kind == signal.SIGTERM else KeyboardInterrupt())
    raise _delivered[-1]


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if (
            frame.f_code.co_filename.startswith("<frozen importlib")
            and frame.f_code.co_name == "_find_and_load"
        ):
            return True
        frame = frame.f_back
    return False
