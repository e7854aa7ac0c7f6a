"""The CAM engine against the bare passes and against grad-cam and torchcam, side by side in one process.

    python benchmarks/cam_speed.py [--networks vgg16,tf_efficientnet_lite0,resnet50] [--rows TEXT]
                                   [--threads 2] [--out docs/results/cam-speed.json]

Networks have two classes, random weights and frozen parameters (peers need inputs with gradients then: they get
them). Both sides of a row run in turn; the best of several counts. Rows are written as soon as they are measured,
and those in the file already are not measured again unless --again is given.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ltcam.models.torchvision_operators import prepare_torchvision

prepare_torchvision()  # before the peers import torchvision

from pytorch_grad_cam import AblationCAM, FullGrad, GradCAM, LayerCAM, ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torchcam.methods import LayerCAM as TorchLayerCAM
from torchcam.methods import ScoreCAM as TorchScoreCAM

from ltcam.cam import CAM, LTGradCAM, LTLayerCAM, capture, find_stages, sweep
from ltcam.models.classifier import build_classifier

SIZES = {"1 x 3 x 256 x 704": (1, 3, 256, 704), "4 x 3 x 640 x 256": (4, 3, 640, 256)}
ONE = "1 x 3 x 256 x 704"
NETWORKS = ("vgg16", "tf_efficientnet_lite0", "resnet50")
PERCENTILES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90)
Side = Callable[[], object]


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_classifier(name, 2).eval().requires_grad_(False)


def images_of(size: str) -> Tensor:
    return torch.randn(SIZES[size], generator=torch.Generator().manual_seed(1))


def peers_input(images: Tensor) -> Tensor:
    return images.clone().requires_grad_()


def bare(model: nn.Module, images: Tensor, layers: tuple[str, ...]) -> None:
    """One forward and one backward pass to the shallowest tap, nothing else."""
    modules = dict(model.named_modules())
    taken: list[Tensor] = []

    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        tapped = output.detach().requires_grad_() if not taken else output
        taken.append(tapped)
        return tapped

    handles = [modules[name].register_forward_hook(hook) for name in layers]
    try:
        torch.autograd.grad(model(images)[:, 1].sum(), taken)
    finally:
        for handle in handles:
            handle.remove()


def grad_cam_side(method: type, model: nn.Module, images: Tensor, layers: tuple[str, ...]) -> None:
    modules = dict(model.named_modules())
    with method(model=model, target_layers=[modules[name] for name in layers]) as cam:
        cam(input_tensor=peers_input(images), targets=[ClassifierOutputTarget(1)] * len(images))


def torchcam_side(method: type, model: nn.Module, images: Tensor, layers: tuple[str, ...]) -> None:
    with method(model, target_layer=list(layers)) as cam:
        scores = model(peers_input(images))
        cam(1, scores) if method is TorchLayerCAM else cam(1)


def sweep_side(model: nn.Module, images: Tensor, layers: tuple[str, ...]) -> None:
    """Eight methods (three of them in the other reading as well) at ten percentiles from one capture."""
    captured = capture(model, images, 1, layers=layers)
    both = [*sweep(captured, percentiles=PERCENTILES)]
    both += sweep(
        captured, ("grad-cam", "grad-cam++", "xgrad-cam"), percentiles=PERCENTILES, readings=("mask",)
    )
    assert len(both) == 80


def compare(ours: Side, theirs: Side, times: int) -> tuple[float, float]:
    """Best seconds of each side, run in turn."""
    best = [float("inf"), float("inf")]
    for _ in range(times):
        for index, side in enumerate((ours, theirs)):
            gc.collect()
            started = time.perf_counter()
            side()
            best[index] = min(best[index], time.perf_counter() - started)
    return best[0], best[1]


def rows_of(name: str) -> list[tuple[str, str, Callable[[], tuple[Side, Side]], int]]:
    """(what, bar, sides, times) of one network; sides are made when their turn comes."""
    rows: list[tuple[str, str, Callable[[], tuple[Side, Side]], int]] = []

    def add(what: str, bar: str, sides: Callable[..., tuple[Side, Side]], size: str, times: int = 4) -> None:
        rows.append((f"{name}, {size}: {what}", bar, partial(_prepared, name, size, sides), times))

    for size in SIZES:
        for title, preset in (("LTGrad-CAM", LTGradCAM), ("LTLayerCAM", LTLayerCAM)):
            add(
                f"{title} 50 %, all stages, against bare forward + backward",
                "<= 1.10",
                lambda m, x, s, preset=preset: (
                    partial(preset(50, layers=s), m, x, 1),
                    partial(bare, m, x, s),
                ),
                size,
                6,
            )
        for method, peer in (("layer-cam", LayerCAM), ("grad-cam", GradCAM)):
            add(
                f"{method}, all stages, against grad-cam",
                ">= 1.7 faster",
                lambda m, x, s, method=method, peer=peer: (
                    partial(CAM(method, layers=s), m, x, 1),
                    partial(grad_cam_side, peer, m, x, s),
                ),
                size,
            )
        add(
            "layer-cam, all stages, against torchcam",
            ">= 1.0 faster",
            lambda m, x, s: (
                partial(CAM("layer-cam", layers=s), m, x, 1),
                partial(torchcam_side, TorchLayerCAM, m, x, s),
            ),
            size,
        )
    add(
        "sweep of 8 methods x 10 percentiles against one LTLayerCAM",
        "<= 2",
        lambda m, x, s: (partial(sweep_side, m, x, s), partial(LTLayerCAM(50, layers=s), m, x, 1)),
        ONE,
    )
    add(
        "FullGrad against grad-cam",
        ">= 2.5 faster",
        lambda m, x, _s: (partial(CAM("fullgrad"), m, x, 1), partial(grad_cam_side, FullGrad, m, x, ())),
        ONE,
        2,
    )
    for peer in ("grad-cam", "torchcam"):
        add(
            f"Score-CAM, last stage, against {peer}",
            ">= 1.5 faster",
            lambda m, x, s, peer=peer: (
                partial(CAM("score-cam", layers=s[-1:]), m, x, 1),
                partial(grad_cam_side, ScoreCAM, m, x, s[-1:])
                if peer == "grad-cam"
                else partial(torchcam_side, TorchScoreCAM, m, x, s[-1:]),
            ),
            ONE,
            1,
        )
    add(
        "Ablation-CAM, all channels of the last stage, against grad-cam",
        ">= 6 faster",
        lambda m, x, s: (
            partial(CAM("ablation-cam", layers=s[-1:]), m, x, 1),
            partial(grad_cam_side, AblationCAM, m, x, s[-1:]),
        ),
        ONE,
        1,
    )
    return rows


def _prepared(name: str, size: str, sides: Callable[..., tuple[Side, Side]]) -> tuple[Side, Side]:
    model, images = network(name), images_of(size)
    return sides(model, images, find_stages(model, images))


def row(what: str, bar: str, ours: float, theirs: float) -> dict[str, Any]:
    """Ratio of costs (ours : theirs) or of speeds (theirs : ours), as the bar is meant."""
    faster = bar.endswith("faster")
    ratio = theirs / ours if faster else ours / theirs
    limit = float(bar.split()[1])
    return {
        "what": what,
        "ratio": round(ratio, 3),
        "bar": bar,
        "holds": ratio >= limit if faster else ratio <= limit,
        "ours_s": round(ours, 4),
        "theirs_s": round(theirs, 4),
    }


def score_cam_memory() -> dict[str, Any]:
    """Peak of what Score-CAM holds for 32 and for 256 channels."""
    peaks = []
    for channels in (32, 256):
        model = nn.Sequential(
            nn.Conv2d(3, channels, 3, stride=8, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, 2),
        ).eval()
        largest = 0

        def watch(_module: nn.Module, inputs: tuple[Tensor, ...], _output: object) -> None:
            nonlocal largest
            largest = max(largest, inputs[0].numel() * inputs[0].element_size())

        handle = model[0].register_forward_hook(watch)
        CAM("score-cam", layers=("1",))(model, torch.randn(1, 3, 256, 256), 1)
        handle.remove()
        peaks.append(largest)
    return {
        "what": "Score-CAM: bytes of masked images held at once, 256 channels against 32",
        "ratio": peaks[1] / peaks[0],
        "bar": "<= 1.0",
        "holds": peaks[1] <= peaks[0],
        "ours_s": None,
        "theirs_s": None,
    }


def bfloat16_row() -> dict[str, Any]:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    native = torch.cuda.is_available() or "avx512_bf16" in flags or "amx_bf16" in flags
    reason = (
        "not measured by this script" if native else "left out: this processor has no bfloat16 instructions"
    )
    return {"what": "bfloat16", "ratio": None, "bar": ">= 1.8 faster", "holds": None, "reason": reason}


def machine() -> dict[str, Any]:
    names = [
        line
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if "model name" in line
    ]
    return {
        "processor": names[0].split(":", 1)[1].strip() if names else platform.processor(),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def write(file: Path, rows: dict[str, dict[str, Any]]) -> None:
    packages = ("torch", "timm", "grad-cam", "torchcam")
    contents = {
        "machine": machine(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "rows": list(rows.values()),
    }
    file.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--rows", default="", help="only rows whose name holds this text")
    parser.add_argument("--skip", default=None, help="not rows whose name holds this text")
    parser.add_argument("--times", type=int, help="repetitions; default: by the row's cost")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("docs/results/cam-speed.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console = Console(width=150)
    rows: dict[str, dict[str, Any]] = {}
    if options.out.is_file():
        rows = {found["what"]: found for found in json.loads(options.out.read_text(encoding="utf-8"))["rows"]}
    for name in options.networks.split(","):
        for what, bar, sides, times in rows_of(name):
            left_out = options.rows not in what or (options.skip is not None and options.skip in what)
            if left_out or (what in rows and not options.again):
                continue
            ours, theirs = sides()
            rows[what] = row(what, bar, *compare(ours, theirs, options.times or times))
            console.print(f"{what}: {rows[what]['ratio']} ({bar})")
            write(options.out, rows)
    for extra in (score_cam_memory(), bfloat16_row()):
        rows[extra["what"]] = extra
    write(options.out, rows)
    table = Table("what", "ratio", "bar", "holds")
    for found in rows.values():
        table.add_row(*(str(found[key]) for key in ("what", "ratio", "bar", "holds")))
    console.print(table)


if __name__ == "__main__":
    main()
