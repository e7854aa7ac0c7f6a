"""A file tried out in a process of its own, with little memory and little time, before this one takes it.

What was looked through may still ask for more than there is: a graph of a hundred bytes can want gigabytes, and the
libraries that run it do not say no. A process that is ended for it harms nobody.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from ltcam_runtime.errors import LtcamError, RunError
from ltcam_runtime.graph_networks import EngineSettings, open_network
from ltcam_runtime.part_files import PartFile, read_part

_MEMORY, _MEMORY_PER_BYTE = 2**30, 8  # bytes; what is loaded is kept several times while it is prepared
_SECONDS, _BYTES_PER_SECOND = 5, 10 * 2**20  # of the processor
_PATIENCE = 12  # of the clock, for each second of the processor: the machine may be busy
_REFUSED = 3
_MOST_SAID = 400  # letters of the reason


def try_out(file: PartFile, engine: EngineSettings) -> None:
    """Load a file and run it once, elsewhere.

    Raises:
        RunError: it cannot be run, or takes more memory or time than a file of its size does.
    """
    seconds = _SECONDS + len(file.content) // _BYTES_PER_SECOND
    name = engine.engine or file.part.engine
    command = [sys.executable, "-m", "ltcam_runtime.trial", str(file.path), name, str(seconds)]
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        done = subprocess.run(  # noqa: S603  # this very interpreter, and no shell
            command,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what runtimes log there is for their makers
            timeout=_PATIENCE * seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RunError(
            f"{file.path} was tried out, and was not ready in time; it is damaged or hostile"
        ) from None
    if done.returncode == _REFUSED:
        said = " ".join(done.stdout.decode(errors="replace").split())
        raise RunError(f"{file.path} cannot be used: {said[:_MOST_SAID]}")
    if done.returncode:
        raise RunError(
            f"{file.path} was tried out, and took more memory or time than a file of its size needs, or broke its "
            f"runtime (exit code {done.returncode}); it is damaged or hostile"
        )


def main(path: str, engine: str, seconds: str) -> int:
    """The other process."""
    file = read_part(path)
    _limit(_MEMORY + _MEMORY_PER_BYTE * len(file.content), int(seconds))
    try:
        settings = EngineSettings(engine, "cpu", 1)  # type: ignore[arg-type]  # one of the two names
        network = open_network(file, settings)
        network.respond([np.zeros((*network.image_size, 3), np.uint8)])
    except (LtcamError, MemoryError) as error:
        sys.stdout.write(str(error) or "it needs too much memory")
        return _REFUSED
    return 0


def _limit(memory: int, seconds: int) -> None:
    """Bound what this process may take, where the system can."""
    with suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415  # not on Windows

        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
