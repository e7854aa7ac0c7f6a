"""Keep freed memory in the process instead of handing every large tensor back to the system.

Training and capturing allocate and free the same large tensors in every step. glibc maps and unmaps
each of them, and the system then clears its pages anew: a fifth of the time of a step, measured on
EfficientNet-Lite0 at 640 x 256 (`benchmarks/memory_reuse.py`).

What is kept belongs to one of glibc's arenas, and threads that come and go would fill one after the other. So all
threads share one. There small things that stay split what large tensors leave, until one of these finds no hole and the
process takes more: so whoever runs for days gives back what is free once that has grown, and the pages of what was
split stay away. Then the memory of a service under load does not grow (`benchmarks/serve_load.py --soak`).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_ARENAS = 1
_STATM = Path("/proc/self/statm")
_SETTLED = 128  # batches after which a process has taken what it needs; giving back costs the time of a few
_MORE = 1.03  # times what is needed, beyond which memory is given back
_LARGEST = 2**30  # bytes; glibc takes no larger threshold than this on 64-bit systems


def keep_freed_memory() -> bool:
    """Set glibc's allocator to reuse large blocks, in one arena, for this process. Elsewhere nothing is done.

    Returns:
        Whether the allocator took the setting.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return False
    wanted = {_M_MMAP_THRESHOLD: _LARGEST, _M_TRIM_THRESHOLD: 2**31 - 1, _M_ARENA_MAX: _ARENAS}
    return all(map(bool, [mallopt(*each) for each in wanted.items()]))


@dataclass
class BoundedMemory:
    """Gives freed memory back once a process that works in batches holds more than these need.

    What they need is what it holds a while after it gave memory back: by then they have taken again what they use.
    """

    _batches: int = 0
    _needed: int = 0

    def after_batch(self) -> None:
        """Look whether there is something to give back. Called after every batch, by one thread at a time."""
        self._batches += 1
        if self._batches == _SETTLED:
            self._needed = resident_memory() or 0
        elif self._batches > _SETTLED and (resident_memory() or 0) > _MORE * self._needed:
            give_back_freed_memory()
            self._batches = 0


def give_back_freed_memory() -> bool:
    """Give the system all pages that hold nothing; what is allocated next takes new ones. Elsewhere nothing is done.

    Returns:
        Whether there was something to give back.
    """
    trim = _of_glibc("malloc_trim")
    return trim is not None and bool(trim(0))


def resident_memory() -> int | None:
    """Bytes of this process that are in memory; None where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_glibc(name: str) -> Callable[..., int] | None:
    """A function of the C library, if that is glibc."""
    try:
        return getattr(ctypes.CDLL("libc.so.6"), name)  # type: ignore[no-any-return]
    except (OSError, AttributeError):
        return None
