"""What a training step costs by precision and memory format: the measurements behind `ltcam.training.arithmetic`.

    python benchmarks/training_arithmetic.py --out docs/results/training-arithmetic.json

What OUT holds of other hardware stays; ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 shows a newer processor as an
older one. Sides are run in turn in one process; on a CPU its own seconds count, which others do not take.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from itertools import product
from pathlib import Path

import torch
from common import write_result
from rich.console import Console
from rich.table import Table
from torch.nn import functional

from ltcam.models.classifier import Classifier, build_classifier
from ltcam.models.torchvision_operators import prepare_torchvision
from ltcam.runs.folder import package_versions
from ltcam.runs.hardware import has_bfloat16
from ltcam.training.arithmetic import has_depthwise_convolutions, instructions_of

BACKBONES = ("efficientnet_lite0", "mobilenetv3_small_100", "resnet18", "vgg16")
SIZE, IMAGES = (320, 256), 2


def step(model: Classifier, device: torch.device, *, bfloat16: bool, last: bool) -> float:
    """Seconds of a forward and a backward pass."""
    memory_format = torch.channels_last if last else torch.contiguous_format
    images = torch.rand(IMAGES, 3, *SIZE, device=device).contiguous(memory_format=memory_format)
    labels = torch.zeros(IMAGES, dtype=torch.long, device=device)
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    started = clock()
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        loss = functional.cross_entropy(model(images), labels)
    torch.autograd.grad(loss, list(model.parameters()))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - started


def measured(backbone: str, device: torch.device, rounds: int) -> dict[str, object]:
    torch.manual_seed(0)
    model = build_classifier(backbone, 2).to(device).eval()  # as with trained weights: statistics are kept
    precisions = (False, True) if has_bfloat16(device) else (False,)
    seconds: dict[tuple[bool, bool], list[float]] = {side: [] for side in product(precisions, (False, True))}
    for _ in range(rounds):
        for (bfloat16, last), found in seconds.items():
            found.append(step(model, device, bfloat16=bfloat16, last=last))
    best = {side: min(found[1:] or found) for side, found in seconds.items()}
    names = {(False, False): "float32", (False, True): "float32 channels_last"}
    names |= {(True, False): "bfloat16", (True, True): "bfloat16 channels_last"}
    return {
        "backbone": backbone,
        "depthwise": has_depthwise_convolutions(model),
        "seconds": {names[side]: round(found, 4) for side, found in best.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    prepare_torchvision()
    torch.set_num_threads(1)
    device = torch.device(options.device)
    rows = [measured(backbone, device, options.rounds) for backbone in BACKBONES]
    result = {
        "what": f"seconds of a training step of {IMAGES} images of {SIZE[0]} x {SIZE[1]}, best of {options.rounds}",
        "instructions": instructions_of(device),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "versions": package_versions(),
        "rows": rows,
    }
    known = (
        json.loads(options.out.read_text(encoding="utf-8"))["measurements"] if options.out.is_file() else []
    )
    others = [each for each in known if each["instructions"] != result["instructions"]]
    write_result(options.out, {"measurements": [*others, result]})
    table = Table(title=str(result["what"]))
    sides = list(rows[0]["seconds"])  # type: ignore[call-overload]
    for column in ("backbone", *sides, *(f"{side} / float32" for side in sides[1:])):
        table.add_column(column)
    for row in rows:
        seconds = row["seconds"]
        ratios = [seconds[side] / seconds["float32"] for side in sides]  # type: ignore[index]
        table.add_row(
            str(row["backbone"]),
            *(f"{seconds[side]:.3f}" for side in sides),  # type: ignore[index]
            *(f"{ratio:.2f}" for ratio in ratios[1:]),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
