"""What the commands that train have in common: a line per epoch, and the run folder in the end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltcam.cli.console import say

if TYPE_CHECKING:
    from ltcam.training.train import Trained

RUN_FILE = "run.json"  # as in ltcam.runs, which takes seconds to import


def write_trained(trained: Trained, out: Path, folder: Path) -> dict[str, Any]:
    """Write the run into `folder`, which becomes `out`, and say so.

    Returns:
        What was done, as JSON values.
    """
    from ltcam.data.splits import split_csv  # noqa: PLC0415  # torch is slow to import
    from ltcam.reports.run_page import run_page  # noqa: PLC0415
    from ltcam.runs import write_run  # noqa: PLC0415

    failed = [{"image": sample.id, "reason": reason} for sample, reason in trained.failed]
    page = run_page(trained.run, trained.history, failed, title=out.name)
    split = split_csv(trained.dataset, trained.contents)
    write_run(folder, trained.run, trained.classifier, split, list(trained.history), page)
    for failure in failed:
        say(f"not used: {failure['image']}: {failure['reason']}")
    say(f"run folder: {out} (report: {out / 'report.html'})")
    return {
        "run": str(out),
        "best_epoch": trained.run.evidence["best_epoch"],
        "history": [_without_nan(entry) for entry in trained.history],
        "failed": failed,
    }


def epoch_line(entry: dict[str, float], epochs: int) -> str:
    """A finished epoch in words."""
    validation = f", validation AP {entry['val_ap']:.3f}" if entry["val_ap"] == entry["val_ap"] else ""
    return f"epoch {int(entry['epoch']) + 1}/{epochs}: loss {entry['train_loss']:.4f}{validation}"


def _without_nan(entry: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN, which stands for what was not measured."""
    return {name: value if math.isfinite(value) else None for name, value in entry.items()}
