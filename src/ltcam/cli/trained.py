"""What the commands that train have in common: a line per epoch, and the run folder in the end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltcam.cli.console import say, shell_line

if TYPE_CHECKING:
    from ltcam.training.train import Trained

RUN_FILE = "run.json"  # as in ltcam.runs, which takes seconds to import


def finish(trained: Trained, out: Path, folder: Path) -> dict[str, Any]:
    """Write the run into `folder`, which becomes `out`, and say so.

    Returns:
        What was done, as JSON values.
    """
    from ltcam.learning import write_trained  # noqa: PLC0415  # torch is slow to import

    failed = write_trained(trained, folder, title=out.name)
    for failure in failed:
        say(f"not used: {failure['image']}: {failure['reason']}")
    say(f"run folder: {out} (report: {out / 'report.html'})")
    say(f"next: {shell_line('ltcam', 'predict', out, 'IMAGES')}  # verdicts and masks of other images")
    say(f"      {shell_line('ltcam', 'evaluate', out, 'DATA')}  # how good they are")
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
