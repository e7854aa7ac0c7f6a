"""Where the time of LayerCAM over all stages goes: operators of one thread, ours and others'.

    python benchmarks/cam_profile.py [--networks vgg16,tf_efficientnet_lite0,resnet50]
                                     [--out docs/results/cam-profile.json]

One image of 3 x 256 x 704, networks as in `cam_speed.py`. `before` is ltcam with images handed on as they came,
as it does on processors where channels last gains nothing; `80 maps` is the
sweep of `cam_speed.py`. Milliseconds of the core, the best of three runs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from cam_speed import (  # beside this script; imports the peers in the order they need
    NETWORKS,
    ONE,
    bare,
    bfloat16_side,
    grad_cam_side,
    images_of,
    machine,
    network,
    sweep_side,
    torchcam_side,
)
from common import parser_of, write_result
from pytorch_grad_cam import LayerCAM
from torch.profiler import ProfilerActivity, profile
from torchcam.methods import LayerCAM as TorchLayerCAM

from ltcam.cam import CAM, find_stages

GROUPS = {
    "convolutions": ("conv",),
    "batch normalisation": ("batch_norm",),
    "activation functions": ("threshold_backward", "clamp_min_", "relu", "hardtanh", "aten::clamp"),
    "pooling": ("pool",),
    "resizing": ("upsample",),
    "copies and zeros": ("copy_", "fill_", "zero", "clone", "empty", "resize"),
}
"""The first group one of whose words is in the operator's name; everything else is `other`."""


def sides_of(name: str) -> dict[str, Callable[[], object]]:
    """What is profiled."""
    model, images = network(name, "cpu"), images_of(ONE, "cpu")
    layers = find_stages(model, images)
    ours = partial(CAM("layer-cam", layers=layers), model, images, 1)

    def before() -> None:
        with patch("torch.backends.cpu.get_cpu_capability", lambda: "AVX2"):
            ours()

    last = images.contiguous(memory_format=torch.channels_last)
    return {
        "bare passes": partial(bare, model, images, layers),
        "bare passes, channels last": partial(bare, model, last, layers),
        "ltcam before": before,
        "ltcam": ours,
        "grad-cam": partial(grad_cam_side, LayerCAM, model, images, layers),
        "torchcam": partial(torchcam_side, TorchLayerCAM, model, images, layers),
        "ltcam, bfloat16": partial(bfloat16_side, model, images, layers),
        "ltcam, 80 maps": partial(sweep_side, model, images, layers),
    }


def operators(side: Callable[[], object]) -> dict[str, float]:
    """Milliseconds of each operator itself, of one call."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        side()
    return {event.key: event.self_cpu_time_total / 1e3 for event in found.key_averages()}


def grouped(times: dict[str, float]) -> dict[str, float]:
    """Milliseconds by group, and their sum."""
    groups = dict.fromkeys((*GROUPS, "other"), 0.0)
    for operator, time in times.items():
        words = (group for group, parts in GROUPS.items() if any(part in operator for part in parts))
        groups[next(words, "other")] += time
    return {group: round(time, 1) for group, time in groups.items()} | {"all": round(sum(times.values()), 1)}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--out", type=Path, default=Path("docs/results/cam-profile.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"machine": machine("cpu"), "milliseconds": {}}
    for name in options.networks.split(","):
        table = result["milliseconds"][name] = {}
        sides = sides_of(name)
        for side in sides.values():
            side()
        runs = [{what: operators(side) for what, side in sides.items()} for _ in range(3)]
        for what in sides:
            best = min((run[what] for run in runs), key=lambda times: sum(times.values()))
            dearest = sorted(best.items(), key=lambda item: -item[1])[:8]
            table[what] = {"groups": grouped(best), "operators": {key: round(ms, 1) for key, ms in dearest}}
            print(name, what, table[what]["groups"], flush=True)
        write_result(options.out, result)


if __name__ == "__main__":
    main()
