"""Inspect any number of files and write the results: the job behind `ltcam predict`."""

from __future__ import annotations

import glob
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ltcam.data.layouts.manifest import read_manifest
from ltcam.inspector import Inspected, Inspector
from ltcam.runs import RUN_FILE
from ltcam.training.memory import keep_freed_memory
from ltcam_runtime.errors import DataError, RunError
from ltcam_runtime.folders import output_folder
from ltcam_runtime.images import IMAGE_SUFFIXES
from ltcam_runtime.writers import MARKER, ResultWriter, open_writers

_WAITING = 8  # results that may wait for the disk before inspecting waits for it too


@dataclass(frozen=True)
class Summary:
    """What was done.

    Attributes:
        out: folder of the results.
        inspected: number of images.
        verdicts: number of images per verdict.
        failed: (image, reason) of those that could not be read.
    """

    out: Path
    inspected: int
    verdicts: Mapping[str, int]
    failed: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "out": str(self.out),
            "inspected": self.inspected,
            "verdicts": dict(self.verdicts),
            "failed": [{"image": image, "reason": reason} for image, reason in self.failed],
        }


def predict_files(  # noqa: PLR0913  # the options of a command
    run: Path,
    inputs: Sequence[str],
    out: Path,
    *,
    cam: Mapping[str, Any] | None = None,
    mask: Mapping[str, Any] | None = None,
    sharpening: Mapping[str, Any] | None = None,
    verdict_threshold: float | None = None,
    batch_size: int = 4,
    device: str = "auto",
    threads: int | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Summary:
    """Inspect files and write masks, heatmaps, overlays, predictions.csv, predictions.json and coco.json.

    Args:
        run: run folder.
        inputs: files, folders (searched for images), globs, CSV manifests.
        out: folder to write; whole or not there.
        cam: map settings to use instead of the run's.
        mask: mask settings to use instead of the run's.
        sharpening: sharpening settings to use instead of the run's.
        verdict_threshold: score from which an image is judged defective, instead of the run's.
        batch_size: images per pass of the network.
        device: `auto`, `cpu` or `cuda`.
        threads: of the network.
        overwrite: replace existing results.
        progress: called with (done, total).

    Raises:
        LtcamError: run, inputs, settings or output that cannot be used.
    """
    keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    files = find_inputs(inputs, leave_out=out)
    with output_folder(out, marker=MARKER, overwrite=overwrite) as folder:
        inspector = Inspector.load(run, device=device).with_settings(cam, mask, sharpening)
        inspector = inspector.with_verdict_threshold(verdict_threshold)
        settings = {
            "run": str(run),
            "cam": inspector.run.cam.model_dump(mode="json"),
            "sharpening": inspector.run.sharpening.model_dump(mode="json"),
            "mask": inspector.run.mask.model_dump(mode="json"),
            "verdict": inspector.run.verdict.model_dump(mode="json"),
        }
        verdicts: Counter[str] = Counter()
        failed: list[tuple[str, str]] = []
        with (
            open_writers(folder, defect_classes=inspector.run.classes[1:], settings=settings) as writers,
            _behind(writers) as write,
        ):
            for done, item in enumerate(inspector.inspect_files(files, batch_size=batch_size), start=1):
                write(item)
                if item.inspection is None:
                    failed.append((item.name, item.reason))
                else:
                    verdicts[item.inspection.verdict] += 1
                progress(done, len(files))
    return Summary(out, sum(verdicts.values()), dict(sorted(verdicts.items())), tuple(failed))


@contextmanager
def _behind(writers: ResultWriter) -> Iterator[Callable[[Inspected], None]]:
    """Write in a thread of its own, so that the network need not wait for the disk."""
    waiting: queue.Queue[Inspected | None] = queue.Queue(_WAITING)
    problems: list[BaseException] = []

    def work() -> None:
        while (item := waiting.get()) is not None:
            if problems:
                continue  # keep the queue moving until the error is raised
            try:
                _write(writers, item)
            except BaseException as error:  # raised again in the calling thread
                problems.append(error)

    def write(item: Inspected) -> None:
        if problems:
            raise problems[0]
        waiting.put(item)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield write
    finally:
        waiting.put(None)
        thread.join()
    if problems:
        raise problems[0]


def _write(writers: ResultWriter, item: Inspected) -> None:
    if item.inspection is None or item.image is None:
        writers.add_failure(item.name, item.reason)
    else:
        writers.add(item.inspection, item.image)


def find_inputs(inputs: Sequence[str], leave_out: Path | None = None) -> list[tuple[str, Path]]:
    """Names and paths of the images that inputs stand for, each file once.

    A folder gives all images in it, named by their path inside; a file is named by its own name; a
    CSV manifest gives the images it lists; anything else is a glob. Named files are taken whatever
    their suffix, so that a wrong one is reported and not passed over.

    Args:
        inputs: as given by the user.
        leave_out: folder that holds no inputs: earlier results that lie among the images.

    Raises:
        DataError: an input without any image.
    """
    found: dict[Path, str] = {}
    for text in inputs:
        for name, path in _files_of(text, None if leave_out is None else leave_out.absolute()):
            found.setdefault(path.absolute(), name)
    return _unique_names([(name, path) for path, name in found.items()])


def _files_of(text: str, leave_out: Path | None) -> list[tuple[str, Path]]:
    path = Path(text)
    if path.is_dir():
        if (path / RUN_FILE).is_file():
            raise RunError(f"{path} is a run folder, not images; give one run and then the images")
        files = sorted(p for p in path.rglob("*") if _is_image(p) and not _hidden(p.relative_to(path)))
        files = _without_results(files, path)
        outside = [file for file in files if leave_out is None or leave_out not in file.absolute().parents]
        pairs = [(file.relative_to(path).as_posix(), file) for file in outside]
    elif path.suffix.lower() == ".csv" and path.is_file():
        pairs = [(sample.id, sample.path) for sample in read_manifest(path).samples]
    elif path.exists():
        pairs = [(path.name, path)]
    else:
        pairs = [
            (Path(match).name, Path(match))
            for match in sorted(glob.glob(text, recursive=True))  # noqa: PTH207  # may be absolute
            if _is_image(Path(match))
        ]
    if not pairs:
        what = (
            "holds no images"
            if path.is_dir()
            else "is neither a file, a folder, a manifest nor a pattern that fits any image"
        )
        raise DataError(f"{text} {what}; images end in {', '.join(sorted(IMAGE_SUFFIXES))}")
    return pairs


def _without_results(files: list[Path], root: Path) -> list[Path]:
    """Leave out masks and overlays that an earlier prediction wrote into a folder below."""
    below = {folder for file in files for folder in file.parents if root in folder.parents}
    results = {folder for folder in below if (folder / MARKER).is_file()}
    return [file for file in files if results.isdisjoint(file.parents)]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _unique_names(files: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """Files of the same name from different places get their folder's name in front."""
    counts = Counter(name for name, _ in files)
    taken: set[str] = set()
    unique = []
    for name, path in files:
        candidate = name if counts[name] == 1 else f"{path.parent.name or 'root'}/{name}"
        number = 2
        while candidate in taken:
            candidate = f"{path.parent.name}-{number}/{name}"
            number += 1
        taken.add(candidate)
        unique.append((candidate, path))
    return unique
