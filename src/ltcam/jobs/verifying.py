"""A run and its exported file on the user's own images, side by side: the job behind `ltcam export --verify`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from ltcam.evaluation.engines import NEAR, EngineResult, Verification
from ltcam.export.export import ExportSettings
from ltcam.jobs.predicting import find_inputs
from ltcam.runs.inspector import Inspector
from ltcam.runs.memory import resident_memory
from ltcam_runtime.errors import DataError, InputError
from ltcam_runtime.exported import Inspector as ExportedInspector
from ltcam_runtime.graph_networks import EngineSettings
from ltcam_runtime.inspector import Inspector as AnyInspector
from ltcam_runtime.part_files import EngineName, read_part
from ltcam_runtime.results import Inspection


def verify(
    run: Path,
    file: Path,
    inputs: Sequence[str],
    settings: ExportSettings,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Verification:
    """Inspect images with torch, ONNX Runtime and, where it is installed, OpenVINO, and compare.

    Args:
        run: run folder.
        file: of `ltcam export`.
        inputs: files, folders, patterns or manifests.
        settings: that the file was exported with.
        progress: called with (done, total).

    Raises:
        LtcamError: a run, file or inputs that cannot be used.
    """
    listing = find_inputs(inputs)
    files = listing.files
    openers: dict[str, Callable[[], AnyInspector]] = {"torch": lambda: _trained(run, settings)}
    openers |= {name: partial(_exported, file, name) for name in _engines(file)}
    before = resident_memory()
    inspectors, memory = {}, {}
    for name, opener in openers.items():
        inspectors[name] = opener()
        inspectors[name].inspect(np.zeros((*inspectors[name].network.image_size, 3), np.uint8))
        memory[name], before = _difference(before), resident_memory()
    exact = _exact(inspectors["torch"])
    sums = {name: _Sums() for name in inspectors}
    failed = []
    for done, (name, path) in enumerate(files, start=1):
        try:
            image = inspectors["torch"].pixels(path, name)
        except InputError as error:
            failed.append((name, error.reason))
            continue
        heatmap = exact.inspect_batch([image], [name], gate=False)[0].heatmap
        reference: Inspection | None = None
        for engine, inspector in inspectors.items():
            started = time.perf_counter()
            found = inspector.inspect_batch([image], [name], gate=False)[0]
            sums[engine].milliseconds.append((time.perf_counter() - started) * 1000)
            reference = reference or found
            sums[engine].add(found, reference, heatmap)
        progress(done, len(files))
    if len(failed) == len(files):
        raise DataError(f"none of the {len(files)} images could be read; {failed[0][0]}: {failed[0][1]}")
    results = tuple(sums[name].result(name, memory[name]) for name in inspectors)
    return Verification(
        run.resolve().name, file.name, len(files) - len(failed), (*listing.failed, *failed), results
    )


def _engines(file: Path) -> Iterable[EngineName]:
    """Those that can run the file, and are installed."""
    return (name for name in read_part(file).engines if find_spec(name) is not None)


def _trained(run: Path, settings: ExportSettings) -> Inspector:
    found = Inspector.load(run, device="cpu", trust_changed_run=settings.trust_changed_run)
    return found.overridden(settings.overrides)


def _exact(inspector: AnyInspector) -> AnyInspector:
    assert isinstance(inspector, Inspector)  # noqa: S101  # torch's
    return Inspector(inspector.network.in_float64(), inspector.settings)


def _exported(file: Path, engine: EngineName) -> ExportedInspector:
    return ExportedInspector.load(file, engine=EngineSettings(engine, "cpu"), check=False)


class _Sums:
    """What adds up over the images of one engine."""

    def __init__(self) -> None:
        self.milliseconds: list[float] = []
        self._near: list[float] = []
        self._largest: list[float] = []
        self._ious: list[float] = []
        self._scores: list[float] = []
        self._changes: list[str] = []

    def add(self, found: Inspection, reference: Inspection, heatmap: NDArray[np.float32]) -> None:
        scale = float(np.ptp(heatmap)) or 1.0
        difference = np.abs(found.heatmap - heatmap) / scale
        either = int((found.mask | reference.mask).sum())
        self._near.append(float((difference <= NEAR).mean()))
        self._largest.append(float(difference.max()))
        self._ious.append(int((found.mask & reference.mask).sum()) / either if either else 1.0)
        self._scores.append(abs(found.score - reference.score))
        if found.verdict != reference.verdict:
            self._changes.append(found.image)

    def result(self, engine: str, memory_mb: float | None) -> EngineResult:
        return EngineResult(
            engine=engine,
            near=float(np.mean(self._near)),
            largest=max(self._largest),
            mask_iou=min(self._ious),
            mean_mask_iou=float(np.mean(self._ious)),
            verdict_changes=tuple(self._changes),
            largest_score_change=max(self._scores),
            milliseconds=median(self.milliseconds),
            memory_mb=memory_mb,
        )


def _difference(before: int | None) -> float | None:
    now = resident_memory()
    return None if now is None or before is None else round((now - before) / 2**20, 1)
