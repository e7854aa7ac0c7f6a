"""What becomes of a trained classifier: its sharpening is chosen, its run folder written. For all who train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ltcam.data.splits import split_csv
from ltcam.reports.run_page import run_page
from ltcam.runs.folder import write_run
from ltcam.runs.hardware import choose_device
from ltcam.runs.inspector import Inspector
from ltcam.sharpening_choice import choose_sharpening
from ltcam.training.train import Trained


def with_sharpening(
    trained: Trained,
    *,
    device: str = "auto",
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Trained:
    """The training with the sharpening that suits its images, chosen by their labels.

    Args:
        trained: its train and validation sides are looked at.
        device: `auto`, `cpu` or `cuda`.
        progress: called with (done, total) images.
    """
    samples = [sample for sample in trained.dataset.samples if sample.split in {"train", "val"}]
    choice = choose_sharpening(
        Inspector.of(trained.run, trained.classifier, device=choose_device(device)),
        [sample.path for sample in samples if sample.defective],
        [sample.path for sample in samples if not sample.defective],
        progress,
    )
    run = trained.run.model_copy(
        update={
            "sharpening": choice.sharpening,
            "mask": choice.mask,
            "evidence": {**trained.run.evidence, "sharpening": choice.evidence},
        }
    )
    return replace(trained, run=run)


def write_trained(trained: Trained, folder: Path, *, title: str) -> list[dict[str, str]]:
    """Write a run folder into an existing folder.

    Args:
        trained: what to write.
        folder: empty, and renamed when all is there.
        title: heading of the report.

    Returns:
        `image` and `reason` of each image that could not be read.
    """
    failed = [{"image": sample.id, "reason": reason} for sample, reason in trained.failed]
    page = run_page(trained.run, trained.history, failed, title=title)
    split = split_csv(trained.dataset, trained.contents)
    write_run(folder, trained.run, trained.classifier, split, list(trained.history), page)
    return failed
