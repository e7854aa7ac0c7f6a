"""What the commands that train have in common: a line per epoch, bars, and what they say in the end."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ltcam.cli.console import DONE, SOME_FAILED, print_json, progress, say, shell_line

if TYPE_CHECKING:
    from ltcam.jobs.training import TrainedRun
    from ltcam.training.listener import Listener


@contextmanager
def train_listener(description: str, epochs: int) -> Iterator[Listener]:
    """Sentences and bars of a training; a process that helps another one says nothing."""
    from ltcam.training.listener import Listener  # noqa: PLC0415  # once options are known to be right

    if os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) != "0":
        yield Listener()
        return
    with progress(description) as steps:
        yield Listener(
            say=say,
            reading=lambda done, total: steps(done, total) if done < total else None,
            masking=steps,
            step=lambda epoch, of_epochs, step, of: steps(epoch * of + step, of_epochs * of),
            epoch=lambda entry: say(epoch_line(entry, epochs)),
            choosing=steps,
        )


def told(done: TrainedRun, *, as_json: bool) -> int:
    """Say which run was written and which images were not used.

    Returns:
        The exit code.
    """
    for name, reason in done.failed:
        say(f"not used: {name}: {reason}")
    say(f"run folder: {done.folder} (report: {done.folder / 'report.html'})")
    say(
        f"next: {shell_line('ltcam', 'predict', done.folder, 'IMAGES')}  # verdicts and masks of other images"
    )
    say(f"      {shell_line('ltcam', 'evaluate', done.folder, 'DATA')}  # how good they are")
    if as_json:
        print_json(
            {
                "run": str(done.folder),
                "best_epoch": done.run.evidence.get("best_epoch"),
                "history": [_without_nan(entry) for entry in done.history],
                "failed": [{"image": name, "reason": reason} for name, reason in done.failed],
            }
        )
    return SOME_FAILED if done.failed else DONE


def epoch_line(entry: dict[str, float], epochs: int) -> str:
    """A finished epoch in words."""
    validation = f", validation AP {entry['val_ap']:.3f}" if entry["val_ap"] == entry["val_ap"] else ""
    return f"epoch {int(entry['epoch']) + 1}/{epochs}: loss {entry['train_loss']:.4f}{validation}"


def _without_nan(entry: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN, which stands for what was not measured."""
    return {name: value if math.isfinite(value) else None for name, value in entry.items()}
