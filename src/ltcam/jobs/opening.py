"""A run folder or an exported file to an inspector, whichever it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ltcam.runs.memory import keep_freed_memory
from ltcam_runtime.exported import Inspector as ExportedInspector
from ltcam_runtime.graph_networks import EngineSettings
from ltcam_runtime.part_files import is_part_file

if TYPE_CHECKING:
    from ltcam.runs.inspector import Inspector


def open_inspector(
    path: Path, device: str = "auto", threads: int | None = None, *, trust_changed_run: bool = False
) -> Inspector | ExportedInspector:
    """An inspector from a run folder or from a file that `ltcam export` wrote, which needs no torch.

    From then on this process keeps freed memory (`ltcam.runs.memory`): inspectors are opened to look at many images.

    Args:
        path: of the folder or the file.
        device: `auto`, `cpu`, `cuda`.
        threads: of the network; None takes all cores. Torch has one number for the whole process.
        trust_changed_run: whether settings and weights of a run will do that were changed after the training.

    Raises:
        RunError: it cannot be loaded.
        SettingsError: the device does not exist, or no such number of threads.
    """
    engine = EngineSettings(device=device, threads=threads)
    keep_freed_memory()
    if is_part_file(path):
        return ExportedInspector.load(path, engine=engine)
    import torch  # noqa: PLC0415  # an exported file needs none

    from ltcam.runs.inspector import Inspector  # noqa: PLC0415

    if threads is not None:
        torch.set_num_threads(threads)
    return Inspector.load(path, device=device, trust_changed_run=trust_changed_run)
