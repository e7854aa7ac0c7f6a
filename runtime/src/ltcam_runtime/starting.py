"""The first moments of a command: until it has begun, Ctrl-C and SIGTERM end it with one line and their exit code.

No exception is raised, since an import may answer one with anything; nothing has been written yet. What this module
imports is there before a program begins, so that it is at work within a millisecond.
"""

# What `signal` wraps: built in, where the import of its enumerations could be interrupted itself.
import _signal  # type: ignore[import-not-found]
import os
import sys

INTERRUPTED, TERMINATED = 130, 143
_CODES = {_signal.SIGINT: INTERRUPTED, _signal.SIGTERM: TERMINATED}


class EndsAtOnce:
    """While it is entered, an interrupt ends the process at once; a signal that the parent ignores stays ignored."""

    def __init__(self, program: str) -> None:
        """For a program of this name, which its line begins with."""
        self._line = f"{program}: interrupted; nothing was written\n"
        self._before: dict[int, object] = {}

    def __enter__(self) -> None:
        """Answer from now on; not in a thread, where signals are somebody else's."""
        try:
            for kind in _CODES:
                if _signal.getsignal(kind) != _signal.SIG_IGN:
                    self._before[kind] = _signal.signal(kind, self._end)
        except ValueError:
            pass

    def __exit__(self, *_: object) -> None:
        """As before."""
        for kind, handler in self._before.items():
            _signal.signal(kind, handler)

    def _end(self, kind: int, _: object) -> None:
        sys.stderr.write(self._line)
        sys.stderr.flush()
        os._exit(_CODES[kind])
