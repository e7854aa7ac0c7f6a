"""Which arithmetic and memory layout this machine trains fastest with: measured, and remembered.

The answer is kept per machine, backbone and size in the user's cache folder, so that the same seed
trains the same model again: a timing that falls the other way would change the last bits.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from ltcam.cam.network.eval_mode import evaluating
from ltcam.runs.hardware import has_bfloat16
from ltcam.runs.run import Arithmetic
from ltcam.training.settings import MemoryFormat, Precision
from ltcam_runtime.errors import OutputError
from ltcam_runtime.folders import write_file

_WORTH_IT = 1.1  # a layout must gain this much over the plain one
_TRIES = 3


def choose_arithmetic(
    model: nn.Module,
    size: tuple[int, int],
    batch_size: int,
    device: torch.device,
    *,
    precision: Precision,
    memory_format: MemoryFormat,
    name: str,
) -> Arithmetic:
    """What was asked for; `auto` by timing single training steps of this model on this machine.

    Args:
        model: trained parameters as they will be trained.
        size: (height, width) of the images.
        batch_size: images a step; timed with two at most.
        device: where the training will run.
        precision: asked precision.
        memory_format: asked memory format.
        name: of the backbone, part of the key under which the answer is remembered.
    """
    precisions = _precisions(precision, device)
    formats = [memory_format == "channels_last"] if memory_format != "auto" else [False, True]
    choices = [(bfloat16, last) for bfloat16 in precisions for last in formats]
    if len(choices) == 1:
        return Arithmetic(
            bfloat16=choices[0][0],
            channels_last=choices[0][1],
            reason="as asked, or the only one this hardware has instructions for",
        )
    file = _remembered_in(f"{name} {size} {min(batch_size, 2)} {device} {choices} {_machine()}")
    known = _recalled(file, choices)
    if known is not None:
        return known
    seconds = {choice: _seconds(model, size, min(batch_size, 2), device, *choice) for choice in choices}
    plain = choices[0]
    best = min(choices, key=lambda choice: seconds[choice])
    if seconds[plain] < _WORTH_IT * seconds[best]:
        best = plain
    table = ", ".join(f"{_words(choice)} {seconds[choice]:.3f} s" for choice in choices)
    found = Arithmetic(bfloat16=best[0], channels_last=best[1], reason=f"measured per step: {table}")
    _remember(file, found)
    return found


def _precisions(precision: Precision, device: torch.device) -> list[bool]:
    if precision != "auto":
        return [precision == "bfloat16"]
    return [False, True] if has_bfloat16(device) else [False]


def _seconds(
    model: nn.Module, size: tuple[int, int], count: int, device: torch.device, bfloat16: bool, last: bool
) -> float:
    """Best of a few forward and backward passes; on a CPU its own seconds, which others on the machine do not take.

    The model is as it was afterwards: gradients are thrown away, and normalisation statistics are not
    touched, since the passes are made in evaluation mode.
    """
    images = torch.zeros(count, 3, *size, device=device)
    if last:
        images = images.contiguous(memory_format=torch.channels_last)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    times = []
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    for _ in range(_TRIES):
        started = clock()
        with evaluating(model), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            loss = functional.cross_entropy(
                model(images), torch.zeros(count, dtype=torch.long, device=device)
            )
        torch.autograd.grad(loss, parameters, allow_unused=True)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(clock() - started)
    return min(times)


def _words(choice: tuple[bool, bool]) -> str:
    return f"{'bfloat16' if choice[0] else 'float32'}{' channels_last' if choice[1] else ''}"


def _machine() -> str:
    return f"{platform.node()} {platform.machine()} {os.cpu_count()} {torch.get_num_threads()} {torch.__version__}"


def _remembered_in(key: str) -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ltcam"
    return folder / f"arithmetic-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def _recalled(file: Path, choices: list[tuple[bool, bool]]) -> Arithmetic | None:
    """What was remembered; None where nothing was, or nothing that makes sense."""
    try:
        known = Arithmetic(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return known if (known.bfloat16, known.channels_last) in choices else None


def _remember(file: Path, found: Arithmetic) -> None:
    try:
        write_file(file, found.model_dump_json())
    except OutputError:
        return  # only a memory: without it the next training measures again
