"""Inspect any number of files and write the results: the job behind `ltcam predict`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch

from ltcam.data.layouts.manifest import read_manifest
from ltcam.jobs.execution import Execution
from ltcam.runs.inspector import Inspector
from ltcam.runs.run import RUN_FILE
from ltcam.training.memory import keep_freed_memory
from ltcam_runtime.errors import RunError, SettingsError
from ltcam_runtime.folders import output_folder
from ltcam_runtime.listing import Listing, list_images
from ltcam_runtime.settings import Overrides
from ltcam_runtime.writers import CHOICES, MARKER, TABLES, ReportSettings, open_writers
from ltcam_runtime.writers.behind import writing_behind


@dataclass(frozen=True)
class Summary:
    """What was done.

    Attributes:
        out: folder of the results.
        inspected: number of images.
        verdicts: number of images per verdict.
        failed: (image, reason) of those that could not be read, or whose results could not be written; and (folder,
            reason) of those that could not be listed.
        left_out: what was found beside the images and is not inspected: `reason`, `count` and an `example`.
    """

    out: Path
    inspected: int
    verdicts: Mapping[str, int]
    failed: tuple[tuple[str, str], ...]
    left_out: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "out": str(self.out),
            "inspected": self.inspected,
            "verdicts": dict(self.verdicts),
            "failed": [{"image": image, "reason": reason} for image, reason in self.failed],
            "left_out": list(self.left_out),
        }


def predict(
    run: str | Path,
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    overrides: Overrides | None = None,
    save: Sequence[str] = ("masks", "overlays"),
    overwrite: bool = False,
    execution: Execution = Execution(),  # frozen
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Summary:
    """Inspect files and write predictions.csv, predictions.json, coco.json, report.html and what `save` names.

    Args:
        run: run folder.
        inputs: files, folders (searched for images), globs, CSV manifests; one or several.
        out: folder to write; whole or not there.
        overrides: map, sharpening, mask and verdict settings to use instead of the run's.
        save: what to write beside the tables and the page: any of `ltcam_runtime.writers.CHOICES`.
        overwrite: replace existing results.
        execution: device, batch size, threads.
        progress: called with (done, total).

    Raises:
        LtcamError: run, inputs, settings or output that cannot be used.
    """
    _check_save(save)
    keep_freed_memory()
    run, out = Path(run), Path(out)
    if execution.threads is not None:
        torch.set_num_threads(execution.threads)
    given = [str(each) for each in ([inputs] if isinstance(inputs, (str, Path)) else inputs)]
    listing = find_inputs(given, out)
    with output_folder(out, marker=MARKER, overwrite=overwrite) as folder:
        inspector = Inspector.load(run, device=execution.device).overridden(overrides or Overrides())
        settings = {
            "run": str(run),
            "cam": inspector.run.cam.model_dump(mode="json"),
            "sharpening": inspector.run.sharpening.model_dump(mode="json"),
            "mask": inspector.run.mask.model_dump(mode="json"),
            "verdict": inspector.run.verdict.model_dump(mode="json"),
        }
        left_out = listing.left_out_json()
        with (
            open_writers(
                folder,
                defect_classes=inspector.run.classes[1:],
                settings=settings,
                kinds=(*TABLES, *save),
                left_out=left_out,
                report=_report(run, given, len(listing.files), inspector.run.verdict.threshold),
            ) as writers,
            writing_behind(writers) as behind,
        ):
            for name, reason in listing.failed:
                behind.add_failure(name, reason)
            for done, item in enumerate(
                inspector.inspect_files(listing.files, batch_size=execution.batch_size), start=1
            ):
                if item.inspection is None or item.image is None:
                    behind.add_failure(item.name, item.reason)
                else:
                    behind.add(item.inspection, item.image)
                progress(done, len(listing.files))
    verdicts: dict[str, int] = {**dict(sorted(behind.verdicts.items()))}
    return Summary(out, sum(verdicts.values()), verdicts, tuple(behind.failed), tuple(left_out))


def _report(run: Path, inputs: Sequence[str], images: int, threshold: float) -> ReportSettings:
    more = " and more" if len(inputs) > 3 else ""
    return ReportSettings(
        title=f"{images} image{'' if images == 1 else 's'} inspected",
        subtitle=f"by the run {run.resolve().name}; images from {', '.join(inputs[:3])}{more}",
        threshold=threshold,
    )


def _check_save(save: Sequence[str]) -> None:
    for kind in save:
        if kind not in CHOICES:
            close = get_close_matches(kind, CHOICES, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise SettingsError(f"`save` {kind!r} is unknown; choose from {', '.join(CHOICES)}{hint}")


def find_inputs(inputs: Sequence[str], out: Path | None = None) -> Listing:
    """The images that inputs stand for: files, folders, patterns and manifests.

    Args:
        inputs: as given by the user.
        out: folder that holds no inputs: earlier results that lie among the images.

    Raises:
        DataError: an input without any image.
        RunError: a run folder.
    """
    return list_images(inputs, out=out, table=_of_manifest, refuse=_refuse_run)


def _of_manifest(file: Path) -> list[tuple[str, Path]]:
    return [(sample.id, sample.path) for sample in read_manifest(file).samples]


def _refuse_run(folder: Path) -> None:
    if (folder / RUN_FILE).is_file():
        raise RunError(f"{folder} is a run folder, not images; give one run and then the images")
