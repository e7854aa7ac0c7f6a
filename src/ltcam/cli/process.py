"""What a command sets for its own process, and what it takes back: threads, warnings, environment.

Libraries change nothing outside of themselves when they are imported; the command line does it here, before any
of them is loaded.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ltcam_runtime.interrupts import interruptible
from ltcam_runtime.processors import allowed_processors


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
