"""Inspect any number of files and write the results: the job behind `ltcam predict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ltcam.data.layouts.manifest import listed_images
from ltcam.jobs.execution import Execution
from ltcam.jobs.opening import open_inspector
from ltcam.runs.run import RUN_FILE
from ltcam_runtime.errors import RunError
from ltcam_runtime.exported import Inspector as ExportedInspector
from ltcam_runtime.listing import Listing, list_images
from ltcam_runtime.predicting import (
    Opened,
    PredictionRequest,
    Summary,
    Writing,
    kinds_to_save,
    settings_json,
    subtitle_of,
    write_predictions,
)
from ltcam_runtime.settings import Overrides

__all__ = ["PredictionSettings", "Summary", "find_inputs", "kinds_to_save", "predict"]


@dataclass(frozen=True)
class PredictionSettings(Writing):
    """What is written beside the tables and the page, and by what settings images are inspected.

    Attributes:
        overrides: map, sharpening, mask and verdict settings to use instead of the run's.
    """

    overrides: Overrides = field(default_factory=Overrides)


def predict(
    run: str | Path,
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    settings: PredictionSettings = PredictionSettings(),  # frozen
    execution: Execution = Execution(),  # frozen
) -> Summary:
    """Inspect files and write predictions.csv, predictions.json, coco.json, report.html and what is to be saved.

    Args:
        run: run folder, or a file that `ltcam export` wrote.
        inputs: files, folders (searched for images), globs, CSV manifests; one or several.
        out: folder to write; whole or not there. Where no file could be inspected, it is left as it was.
        settings: what to save beside the tables and the page, and what to use instead of the run's settings.
        execution: device, batch size, threads, cascade, what becomes of results that are there, who is told.

    Raises:
        LtcamError: run, inputs, settings or output that cannot be used.
    """
    wanted = PredictionRequest(settings, execution.batch_size, execution.cascade, execution.overwrite)
    given = [str(each) for each in ([inputs] if isinstance(inputs, (str, Path)) else inputs)]
    model, out = Path(run), Path(out)

    def load() -> Opened:
        inspector = open_inspector(
            model, execution.device, execution.threads, trust_changed_run=execution.trust_changed_run
        ).overridden(settings.overrides)
        if isinstance(inspector, ExportedInspector):
            return inspector.opened(model, given)
        said = settings_json(model, inspector.settings, inspector.run.maps)
        return Opened(inspector, said, subtitle_of(f"Run: {model.resolve().name}", given))

    execution.listener.begun("inspecting")
    return write_predictions(
        find_inputs(given, out, by_name=True), out, load, wanted, execution.listener.progress
    )


def find_inputs(inputs: Sequence[str], out: Path | None = None, *, by_name: bool = False) -> Listing:
    """The images that inputs stand for: files, folders, patterns and manifests.

    Args:
        inputs: as given by the user.
        out: folder that holds no inputs: earlier results that lie among the images.
        by_name: as for `ltcam_runtime.listing.list_images`.

    Raises:
        DataError: an input without any image.
        RunError: a run folder.
    """
    return list_images(inputs, out=out, table=listed_images, refuse=_refuse_run, by_name=by_name)


def _refuse_run(folder: Path) -> None:
    if (folder / RUN_FILE).is_file():
        raise RunError(f"{folder} is a run folder, not images; give one run and then the images")
