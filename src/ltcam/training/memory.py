"""Keep freed memory in the process instead of handing every large tensor back to the system.

Training and capturing allocate and free the same large tensors in every step. glibc maps and unmaps
each of them, and the system then clears its pages anew: a fifth of the time of a step, measured on
EfficientNet-Lite0 at 640 x 256 (`benchmarks/memory_reuse.py`).

What is kept belongs to one of glibc's arenas, and threads that come and go would fill one after the other. So all
threads share one: the memory of a service under load does not grow with every request (`benchmarks/serve_load.py
--soak`).
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_ARENAS = 1
_LARGEST = 2**30  # bytes; glibc takes no larger threshold than this on 64-bit systems


def keep_freed_memory() -> bool:
    """Set glibc's allocator to reuse large blocks, in one arena, for this process. Elsewhere nothing is done.

    Returns:
        Whether the allocator took the setting.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    wanted = {_M_MMAP_THRESHOLD: _LARGEST, _M_TRIM_THRESHOLD: 2**31 - 1, _M_ARENA_MAX: _ARENAS}
    return all(map(bool, [mallopt(*each) for each in wanted.items()]))
