"""What a command sets for its own process, and what it takes back: threads, warnings, environment.

Libraries change nothing outside of themselves when they are imported; the command line does it here, before any
of them is loaded.
"""

from __future__ import annotations

import math
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ltcam_runtime.interrupts import interruptible


@contextmanager
def prepared() -> Iterator[None]:
    """A process that ends cleanly when it is interrupted, and leaves the other programs of the machine their share."""
    with ExitStack() as stack:
        stack.enter_context(interruptible())
        temporary = tempfile.TemporaryDirectory(prefix="ltcam-", ignore_cleanup_errors=True)
        stack.enter_context(environment_for(stack.enter_context(temporary)))
        stack.enter_context(warnings.catch_warnings())
        # Decoders warn of odd metadata without naming the file; what matters becomes an error that names it.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


@contextmanager
def environment_for(temporary: str) -> Iterator[None]:
    """What libraries read when they are loaded, unless the user has set it.

    Args:
        temporary: folder for what they would otherwise leave in the user's home.
    """
    values = {
        # Threads that wait spin by default: where others use the machine, that takes the processor from the one
        # thread that all are waiting for.
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
        "OMP_NUM_THREADS": str(allowed_processors()),
        "MPLCONFIGDIR": temporary,
    }
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


def allowed_processors() -> int:
    """Processors that this process may use: of its affinity and of its control group's quota, whichever is less."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not Linux
        allowed = os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _quota())))


def _quota() -> float:
    """Processors' worth of time that the control group gets, version 2 or 1; infinite where there is no limit."""
    root = Path("/sys/fs/cgroup")
    try:
        limit, period = (root / "cpu.max").read_text(encoding="ascii").split()
        return int(limit) / int(period)
    except (OSError, ValueError):  # "max": no limit
        pass
    try:
        limit = (root / "cpu/cpu.cfs_quota_us").read_text(encoding="ascii")
        period = (root / "cpu/cpu.cfs_period_us").read_text(encoding="ascii")
        return int(limit) / int(period) if int(limit) > 0 else math.inf
    except (OSError, ValueError):
        return math.inf
