"""What a training leaves behind, and the run folder that is written of it: for all who train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ltcam.calibration.shown import Shown
from ltcam.data.dataset import Dataset, Sample
from ltcam.data.splits import split_csv
from ltcam.jobs.validating import validate
from ltcam.models.classifier import Classifier
from ltcam.reports.examples import ExamplePicture, outlined
from ltcam.reports.run_page import Illustrations, run_page
from ltcam.runs.folder import TrainingRecord, write_run
from ltcam.runs.hardware import choose_device
from ltcam.runs.inspector import Inspector
from ltcam.runs.run import REPORT_FILE, Run
from ltcam.training.images import PreparedImages
from ltcam.training.listener import Listener
from ltcam_runtime.pages.notebook import facts_html


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training leaves behind: all that a run folder holds.

    Attributes:
        run: settings and evidence.
        classifier: best weights, on the CPU.
        dataset: with the split that was used.
        contents: SHA-256 of each image file by sample id, "" where it could not be read.
        history: one entry per epoch.
        failed: images that could not be read, with the reason.
        held_back: images of the validation side, at the network's size.
        pictures: images with their masks, for the page.
        shown: by kind, what was chosen for its masks beside what was not, for the page.
    """

    run: Run
    classifier: Classifier
    dataset: Dataset
    contents: Mapping[str, str]
    history: tuple[dict[str, float], ...]
    failed: tuple[tuple[Sample, str], ...]
    held_back: PreparedImages
    pictures: tuple[ExamplePicture, ...] = ()
    shown: Mapping[str, Shown] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class TrainedRun:
    """A run folder that was written.

    Attributes:
        folder: where.
        run: the contents of its run.json.
        history: one entry per epoch.
        failed: (image, reason) of images that could not be read.
    """

    folder: Path
    run: Run
    history: tuple[dict[str, float], ...]
    failed: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        left_out = f", {len(self.failed)} images not used" if self.failed else ""
        return f"TrainedRun({str(self.folder)!r}, {len(self.history)} epochs{left_out})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        facts = [
            ("classes", ", ".join(self.run.classes)),
            ("epochs", str(len(self.history))),
            ("defective from a score of", f"{self.run.verdict.threshold:.4g}"),
            ("images not used", str(len(self.failed))),
            ("report", str(self.folder / REPORT_FILE)),
        ]
        return facts_html(f"Run {self.folder}", facts)

    def inspector(self, device: str = "auto") -> Inspector:
        """The run, ready to inspect."""
        return Inspector.load(self.folder, device=device)


def with_validation(trained: Trained, device: str, listener: Listener) -> Trained:
    """The training with what its run says of the images that were held back, and pictures of some.

    Args:
        trained: with all that was chosen.
        device: `auto`, `cpu`, `cuda`, or one of several GPUs.
        listener: told about progress, and whether a person should look at some images.
    """
    inspector = Inspector.of(trained.run, trained.classifier, device=choose_device(device))
    found, pictures = validate(inspector, trained.held_back, trained.dataset, listener)
    if "unsure" in found:
        listener.say(found["unsure"]["sentence"])
    evidence = {**trained.run.evidence, **({"validation": found} if found else {})}
    run = trained.run.model_copy(update={"evidence": evidence})
    return replace(trained, run=run, classifier=trained.classifier.cpu(), pictures=pictures)


def write_trained(trained: Trained, folder: Path, out: Path) -> TrainedRun:
    """Write a run folder into an existing folder.

    Args:
        trained: what to write.
        folder: empty, and renamed to `out` when all is there.
        out: where the run will be found.
    """
    failed = [{"image": sample.id, "reason": reason} for sample, reason in trained.failed]
    outlines = {kind: outlined(each.image, each.masks) for kind, each in trained.shown.items()}
    illustrations = Illustrations(trained.pictures, outlines)
    page = run_page(trained.run, trained.history, failed, illustrations, title=out.name)
    record = TrainingRecord(split_csv(trained.dataset, trained.contents), trained.history, page)
    run = write_run(folder, trained.run, trained.classifier, record)
    reasons = tuple((sample.id, reason) for sample, reason in trained.failed)
    return TrainedRun(out, run, trained.history, reasons)
