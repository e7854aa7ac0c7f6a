"""What the commands that train have in common: a line per epoch, bars, and what they say in the end."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from ltcam.cli.console import (
    DONE,
    SOME_FAILED,
    clock,
    errors,
    print_json,
    progress,
    say,
    shell_line,
    warn,
)
from ltcam_runtime.phrases import counted, printable

if TYPE_CHECKING:
    from ltcam.jobs.trained import TrainedRun
    from ltcam.training.listener import Listener
    from ltcam.training.plan import Plan


@contextmanager
def train_listener(description: str, epochs: int) -> Iterator[Listener]:
    """Sentences and bars of a training; a process that helps another one says nothing."""
    from ltcam.training.listener import Listener  # noqa: PLC0415  # once options are known to be right

    if os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) != "0":
        yield Listener()
        return
    with progress(description) as bar:
        yield Listener(
            say=say,
            warn=warn,
            planned=print_plan,
            begun=lambda name: bar.begin(name, _UNITS.get(name, "img")),
            progress=bar,
            epoch=lambda entry: say(epoch_line(entry, epochs)),
        )


_UNITS = {"training": "steps", "choosing what is drawn of each kind": "kinds"}


def print_plan(plan: Plan) -> None:
    """What will be done, as two tables, and what should make one hesitate."""
    sides = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    sides.add_column("images")
    names = {"train": "train", "val": "validation", "test": "test"}
    for name in names.values():
        sides.add_column(name, justify="right")
    for label, counts in plan.sides.items():
        sides.add_row(printable(label), *(str(counts[side]) for side in names))
    rows = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for name, value in plan_rows(plan):
        rows.add_row(name, printable(value))
    errors.print(sides, rows, sep="\n")
    print_concerns(plan)


def print_concerns(plan: Plan) -> None:
    """What should make one hesitate before a training."""
    for concern in plan.concerns:
        warn(concern)


def plan_rows(plan: Plan) -> list[tuple[str, str]]:
    """What will be done, name and words."""
    height, width = plan.image_size
    own = (
        ""
        if plan.images_size == plan.image_size
        else f" of images of {plan.images_size[0]} x {plan.images_size[1]}"
    )
    rows = [
        ("network", plan.backbone),
        ("weights", plan.weights),
        ("it sees", f"{height} x {width} pixels (height x width){own}"),
    ]
    if "test" in plan.missing:
        rows.append(("no test side", plan.missing["test"]))
    if not plan.epochs:
        return rows
    epochs, steps = counted(plan.epochs, "epochs"), counted(plan.steps, "steps")
    rows.append(("training", f"{epochs} of {steps}, {counted(plan.batch_size, 'images')} a step"))
    if plan.finished:
        rows.append(("resumed", f"after epoch {plan.finished}; {plan.epochs - plan.finished} are left"))
    if plan.seconds is not None:
        left = plan.seconds * (plan.epochs - plan.finished)
        rows.append(
            (
                "time",
                f"about {clock(plan.seconds)} an epoch here, {clock(left)} in all; then masks are chosen",
            )
        )
    return [*rows, ("arithmetic", f"{plan.arithmetic.reason}; on {plan.device}")]


def told(done: TrainedRun, data: Path, *, as_json: bool) -> int:
    """Say which run was written and which images were not used.

    Returns:
        The exit code.
    """
    for name, reason in done.failed:
        say(f"not used: {name}: {reason}")
    say(f"run folder: {done.folder} (report: {done.folder / 'report.html'})")
    for place, (line, what_for) in enumerate(_next_commands(done, data)):
        say(f"{'      ' if place else 'next: '}{line}  # {what_for}")
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


def _next_commands(done: TrainedRun, data: Path) -> list[tuple[str, str]]:
    """Commands that go on from a run, and what each is for."""
    found = [
        (shell_line("ltcam", "predict", done.folder, "IMAGES"), "verdicts and masks of other images"),
        (shell_line("ltcam", "evaluate", done.folder, data), "how good they are"),
    ]
    here = done.folder.resolve() if done.folder.name in {"", ".."} else done.folder
    if not done.history:
        trained = here.with_name(f"{here.name}-trained")
        found.append(
            (shell_line("ltcam", "train", data, "--out", trained), "a trained network: mostly better")
        )
    elif done.run.network == "classifier":
        student = here.with_name(f"{here.name}-student")
        line = shell_line("ltcam", "distill", done.folder, data, "--out", student)
        found.append((line, "mostly better masks, drawn in one pass; takes as long again"))
    return found


def epoch_line(entry: dict[str, float], epochs: int) -> str:
    """A finished epoch in words."""
    validation = f", validation AP {entry['val_ap']:.3f}" if entry["val_ap"] == entry["val_ap"] else ""
    return f"epoch {int(entry['epoch']) + 1}/{epochs}: loss {entry['train_loss']:.4f}{validation}"


def _without_nan(entry: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN, which stands for what was not measured."""
    return {name: value if math.isfinite(value) else None for name, value in entry.items()}
