"""The CAM engine against the bare passes and against grad-cam and torchcam, side by side in one process.

    python benchmarks/cam_speed.py [--networks vgg16,tf_efficientnet_lite0,resnet50] [--rows TEXT] [--skip TEXT]
                                   [--run RUN --images DATA] [--threads 2] [--device cpu|cuda]
                                   [--out docs/results/cam-speed.json]

Networks have two classes, random weights and frozen parameters (peers need inputs with gradients then: they get
them). The sides of a row run in turn; the best of several counts, in seconds on the clock (`ratio`) and of all cores
(`cpu_ratio`, which other programs disturb less). Rows are written as soon as they are measured, and those in the file
already are not measured again unless --again is given; rows measured elsewhere than the file's first name their
machine. Score-CAM and Ablation-CAM, whose peers run the network hundreds of times, are measured at a quarter of the
pixels.

Whether masks in bfloat16 agree with those in float32 is measured on the defective images of DATA with the classifier
of RUN (masks of the set are not looked at); without them on a small network trained here on bright squares.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import parser_of, write_result
from numpy.typing import NDArray

from ltcam.models.torchvision_operators import prepare_torchvision

prepare_torchvision()  # before the peers import torchvision

from percentile import beside_backward  # beside this script
from pytorch_grad_cam import AblationCAM, FullGrad, GradCAM, LayerCAM, ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torchcam.methods import LayerCAM as TorchLayerCAM
from torchcam.methods import ScoreCAM as TorchScoreCAM

from ltcam.cam import CAM, LTGradCAM, LTLayerCAM, Truncation, capture, find_stages, log_odds, sweep
from ltcam.data.layouts import read_dataset
from ltcam.models.classifier import build_classifier
from ltcam.runs.inspector import Inspector
from ltcam.runs.network import make_cam
from ltcam_runtime.images import read_image
from ltcam_runtime.masks import otsu
from ltcam_runtime.resizing import resize

ONE, FOUR, QUARTER = "1 x 3 x 256 x 704", "4 x 3 x 640 x 256", "1 x 3 x 128 x 352"
SIZES = {ONE: (1, 3, 256, 704), FOUR: (4, 3, 640, 256), QUARTER: (1, 3, 128, 352)}
NETWORKS = ("vgg16", "tf_efficientnet_lite0", "resnet50")
PERCENTILES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90)
MOST_IMAGES = 30  # whose masks are compared
Side = Callable[[], object]


@dataclass(frozen=True)
class Race:
    """Our side against others, each of which makes a row.

    Attributes:
        network, size: what runs.
        ours: makes our side of (model, images, layers).
        theirs: (what, bar, the same for another side).
        times: repetitions, of which the best counts.
    """

    network: str
    size: str
    ours: Callable[..., Side]
    theirs: tuple[tuple[str, str, Callable[..., Side]], ...]
    times: int

    def name(self, what: str) -> str:
        """Of a row."""
        return f"{self.network}, {self.size}: {what}"


def network(name: str, device: str) -> nn.Module:
    torch.manual_seed(0)
    return build_classifier(name, 2).eval().requires_grad_(False).to(device)


def images_of(size: str, device: str) -> Tensor:
    return torch.randn(SIZES[size], generator=torch.Generator().manual_seed(1)).to(device)


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
    """Eight methods (five, three of them in both readings) at ten percentiles from one capture."""
    warnings.simplefilter("ignore")  # of signed activations
    captured = capture(model, images, 1, layers=layers)
    truncations = [Truncation(p, reading=reading) for reading in ("gradient", "mask") for p in PERCENTILES]
    assert len([*sweep(captured, percentiles=truncations)]) == 80


def best_of(sides: Sequence[Side], times: int) -> list[tuple[float, float]]:
    """Best (seconds on the clock, seconds of all cores) of each side, run in turn."""
    best = [(float("inf"), float("inf"))] * len(sides)
    for _ in range(times):
        for index, side in enumerate(sides):
            gc.collect()
            clock, cores = time.perf_counter(), time.process_time()
            side()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            found = time.perf_counter() - clock, time.process_time() - cores
            best[index] = min(best[index][0], found[0]), min(best[index][1], found[1])
    return best


def bfloat16_side(model: nn.Module, images: Tensor, layers: tuple[str, ...]) -> None:
    with torch.autocast(images.device.type, torch.bfloat16), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of half precision
        CAM("layer-cam", layers=layers)(model, images, 1)


def races_of(network: str, device: str) -> list[Race]:
    """All races of one network on a device."""
    repetitions = {"vgg16": 5, "resnet50": 7}.get(network, 12)

    def cam(method: str, last: bool = False) -> Callable[..., Side]:
        return lambda m, x, s: partial(CAM(method, layers=s[-1:] if last else s), m, x, 1)

    def grad_cam(method: type, last: bool = False) -> Callable[..., Side]:
        return lambda m, x, s: partial(grad_cam_side, method, m, x, s[-1:] if last else s)

    def torchcam(method: type, last: bool = False) -> Callable[..., Side]:
        return lambda m, x, s: partial(torchcam_side, method, m, x, s[-1:] if last else s)

    def bare_side(m: nn.Module, x: Tensor, s: tuple[str, ...]) -> Side:
        return partial(bare, m, x, s)

    races = []
    for size in (ONE, FOUR):
        times = repetitions if size == ONE else max(3, repetitions // 2)
        for title, preset in (("LTGrad-CAM", LTGradCAM), ("LTLayerCAM", LTLayerCAM)):
            what = f"{title} 50 %, all stages, against bare forward + backward"
            ours = lambda m, x, s, preset=preset: partial(preset(50, layers=s), m, x, 1)  # noqa: E731
            races.append(Race(network, size, ours, ((what, "<= 1.10", bare_side),), times))
        layer_cam = (
            ("LayerCAM, all stages, against grad-cam", ">= 1.7 faster", grad_cam(LayerCAM)),
            ("LayerCAM, all stages, against torchcam", ">= 1.0 faster", torchcam(TorchLayerCAM)),
        )
        races.append(Race(network, size, cam("layer-cam"), layer_cam, times))
        row = ("Grad-CAM, all stages, against grad-cam", ">= 1.7 faster", grad_cam(GradCAM))
        races.append(Race(network, size, cam("grad-cam"), (row,), times))
    one_map = lambda m, x, s: partial(LTLayerCAM(50, layers=s), m, x, 1)  # noqa: E731
    many_maps = lambda m, x, s: partial(sweep_side, m, x, s)  # noqa: E731
    row = ("sweep of 8 methods x 10 percentiles against one LTLayerCAM", "<= 2", one_map)
    races.append(Race(network, ONE, many_maps, (row,), repetitions))
    row = ("FullGrad against grad-cam", ">= 2.5 faster", grad_cam(FullGrad))
    races.append(Race(network, ONE, lambda m, x, _s: partial(CAM("fullgrad"), m, x, 1), (row,), 2))
    if has_bfloat16(device):
        row = (
            "LayerCAM in bfloat16, all stages, against torchcam in float32",
            ">= 1.8 faster",
            torchcam(TorchLayerCAM),
        )
        in_half = lambda m, x, s: partial(bfloat16_side, m, x, s)  # noqa: E731
        races.append(Race(network, ONE, in_half, (row,), repetitions))
    scores = (
        ("Score-CAM, last stage, against grad-cam", ">= 1.5 faster", grad_cam(ScoreCAM, last=True)),
        ("Score-CAM, last stage, against torchcam", ">= 1.5 faster", torchcam(TorchScoreCAM, last=True)),
    )
    races.append(Race(network, QUARTER, cam("score-cam", last=True), scores, 1))
    row = (
        "Ablation-CAM, all channels of the last stage, against grad-cam",
        ">= 6 faster",
        grad_cam(AblationCAM, last=True),
    )
    races.append(Race(network, QUARTER, cam("ablation-cam", last=True), (row,), 1))
    return races


def run_race(race: Race, wanted: set[str], times: int | None, device: str) -> list[dict[str, Any]]:
    """Rows of a race, of those wanted."""
    model, images = network(race.network, device), images_of(race.size, device)
    layers = find_stages(model, images)
    others = [other for other in race.theirs if race.name(other[0]) in wanted]
    sides = [make(model, images, layers) for make in (race.ours, *(make for _, _, make in others))]
    ours, *found = best_of(sides, times or race.times)
    return [
        row_of(race.name(what), bar, ours, seconds)
        for (what, bar, _), seconds in zip(others, found, strict=True)
    ]


def row_of(what: str, bar: str, ours: tuple[float, float], theirs: tuple[float, float]) -> dict[str, Any]:
    """Ratio of costs (ours : theirs) or of speeds (theirs : ours), as the bar is meant."""
    faster = bar.endswith("faster")
    ratio, cpu_ratio = (b / a if faster else a / b for a, b in zip(ours, theirs, strict=True))
    limit = float(bar.split()[1])
    found = {
        "what": what,
        "ratio": round(ratio, 3),
        "bar": bar,
        "holds": ratio >= limit if faster else ratio <= limit,
        "ours_s": round(ours[0], 4),
        "theirs_s": round(theirs[0], 4),
        "cpu_ratio": round(cpu_ratio, 3),
    }
    if "FullGrad" in what and "efficientnet" in what:
        found["note"] = "grad-cam finds none of timm's normalisations and makes the input's term alone"
    return found


def without_seconds(what: str, ratio: float, bar: str, holds: bool, **more: object) -> dict[str, Any]:
    return {
        "what": what,
        "ratio": round(ratio, 4),
        "bar": bar,
        "holds": holds,
        "ours_s": None,
        "theirs_s": None,
    } | more


class Stages(nn.Module):
    """Five stages of the same number of channels, on maps so small that they hardly count."""

    def __init__(self, channels: int):
        super().__init__()
        widths = [3, *[channels] * 5]
        strides = (8, 2, 2, 2, 2)
        self.features = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(before, after, 3, stride, 1), nn.ReLU())
                for before, after, stride in zip(widths[:-1], widths[1:], strides, strict=True)
            )
        )
        self.head = nn.Linear(channels, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 2)."""
        logits: Tensor = self.head(self.features(images).mean((2, 3)))
        return logits


def peak_megabytes(channels: int, score_cam: bool) -> float:
    """Most memory that a process held which made a five-stage Score-CAM, or its first pass alone."""
    command = [sys.executable, __file__, "--peak", str(channels), *(["--score-cam"] if score_cam else [])]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def print_peak(channels: int, score_cam: bool) -> None:
    torch.manual_seed(0)
    model, images = Stages(channels).eval(), torch.randn(1, 3, 512, 1024)
    layers = tuple(f"features.{index}" for index in range(5))
    capture(model, images, 1, layers=layers, gradients=False)
    if score_cam:
        CAM("score-cam", layers=layers)(model, images, 1)
    status = Path("/proc/self/status").read_text(encoding="utf-8")  # rusage's peak is handed on by the parent
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    print(int(peak.split()[1]) / 1024)


def memory_row() -> dict[str, Any]:
    """What five-stage Score-CAM holds at most beyond its first pass, for 128 channels a stage and for 16."""
    extra = {}
    for channels in (16, 128):
        extra[channels] = peak_megabytes(channels, True) - peak_megabytes(channels, False)
    ratio = extra[128] / max(extra[16], 1.0)
    return without_seconds(
        "memory of five-stage Score-CAM, 1 x 3 x 512 x 1024: peak extra at 128 channels a stage against 16",
        ratio,
        "<= 1.10",
        ratio <= 1.1,
        extra_megabytes={str(channels): round(value, 1) for channels, value in extra.items()},
        of_all_masks_megabytes=round(5 * 128 * 512 * 1024 * 4 / 2**20),
    )


def percentile_row() -> dict[str, Any]:
    found = beside_backward()
    return {
        "what": "percentile of 46 M values, vgg16, 1 x 3 x 512 x 1408, stage 1: against the backward pass",
        "ratio": found["ratio"],
        "bar": "<= 0.15",
        "holds": found["holds"],
        "ours_s": round(max(found["percentile_s"].values()), 4),
        "theirs_s": round(found["backward_s"], 4),
    }


def has_bfloat16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    info = Path("/proc/cpuinfo")
    flags = info.read_text(encoding="utf-8") if info.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def squares(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise images (N, 3, 128, 128), every other one with a bright square, and their labels."""
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 128, 128, generator=random)
    labels = torch.arange(count) % 2
    for index in range(1, count, 2):
        top, left = torch.randint(0, 96, (2,), generator=random).tolist()
        images[index, :, top : top + 28, left : left + 28] += 1.5
    return images, labels


def trained_on_squares() -> nn.Module:
    torch.manual_seed(0)
    widths = (3, 16, 32, 32)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 2))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(60):
        images, labels = squares(16, step)
        loss = nn.functional.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return model.eval().requires_grad_(False)


def agreement_rows(run: Path | None, data: Path | None, device: str) -> list[dict[str, Any]]:
    """How well masks in bfloat16 agree with those in float32: pooled IoU of Otsu masks of heatmaps."""
    cams: dict[str, CAM] = {"LayerCAM": CAM("layer-cam"), "LTLayerCAM 50 %": LTLayerCAM(50).cam}
    if run is None or data is None:
        model, target = trained_on_squares().to(device), log_odds([1])
        batches = [image[None].to(device) for image in squares(40, 1000)[0][1::2]]
        of = "a small network trained on squares"
    else:
        inspector = Inspector.load(run, device=device)
        model, target = inspector.network.classifier, inspector.network.target
        files = [sample.path for sample in read_dataset(data).samples if sample.defective][:MOST_IMAGES]
        batches = [
            inspector.network.batch([resize(read_image(file), inspector.run.image_size)]) for file in files
        ]
        cams["the run's own map"] = make_cam(inspector.run.cam)
        of = f"{inspector.run.backbone} trained on {data.name}"
    rows = []
    for title, cam in cams.items():
        both = [
            (_masks(cam, model, batch, target, False), _masks(cam, model, batch, target, True))
            for batch in batches
        ]
        inside, union = (sum(int(op(a, b).sum()) for a, b in both) for op in (np.logical_and, np.logical_or))
        what = f"masks in bfloat16 against float32, {of}, {len(batches)} images: {title}"
        lowest = min(float((a & b).sum() / max((a | b).sum(), 1)) for a, b in both)
        ratio = inside / max(union, 1)
        rows.append(
            without_seconds(what, ratio, ">= 0.98 IoU", ratio >= 0.98, lowest_of_an_image=round(lowest, 3))
        )
    return rows


def _masks(cam: CAM, model: nn.Module, images: Tensor, target: Any, half: bool) -> NDArray[np.bool_]:
    with torch.autocast(images.device.type, torch.bfloat16, enabled=half), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of half precision
        return otsu(cam(model, images, target)[0].cpu().numpy())


def machine(device: str) -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(names),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": has_bfloat16(device),
    } | ({"gpu": torch.cuda.get_device_name()} if device == "cuda" else {})


def machine_of(file: Path, device: str) -> dict[str, Any]:
    """That of the rows that name none: where the file was begun."""
    return json.loads(file.read_text(encoding="utf-8"))["machine"] if file.is_file() else machine(device)


def write(file: Path, rows: dict[str, dict[str, Any]], device: str) -> None:
    packages = ("torch", "timm", "grad-cam", "torchcam")
    contents = {
        "machine": machine_of(file, device),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "rows": list(rows.values()),
    }
    write_result(file, contents)


def extras(
    run: Path | None, data: Path | None, device: str
) -> list[tuple[str, Callable[[], list[dict[str, Any]]]]]:
    """(how their names begin, what makes them) of the rows that are no races."""
    half: Callable[[], list[dict[str, Any]]] = partial(agreement_rows, run, data, device)
    if not has_bfloat16(device):
        reason = "left out: this processor has no bfloat16 instructions"
        row = {
            "what": "masks in bfloat16",
            "ratio": None,
            "bar": ">= 1.8 faster",
            "holds": None,
            "reason": reason,
        }
        half = lambda: [row]  # noqa: E731
    if device != "cpu":  # what the other rows measure is the processor's
        return [("masks in bfloat16", half)]
    return [
        ("memory of five-stage Score-CAM", lambda: [memory_row()]),
        ("percentile of 46 M values", lambda: [percentile_row()]),
        ("masks in bfloat16", half),
    ]


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = parser_of(__doc__)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--rows", default="", help="only rows whose name holds this text")
    parser.add_argument("--skip", help="not rows whose name holds this text")
    parser.add_argument("--times", type=int, help="repetitions; default: by the row's cost")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--run", type=Path, help="a trained run, for the masks in bfloat16")
    parser.add_argument("--images", type=Path, help="a data set with defective images for it")
    parser.add_argument("--out", type=Path, default=Path("docs/results/cam-speed.json"))
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--score-cam", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure_all(
    options: argparse.Namespace,
    wanted: Callable[[str], bool],
    keep: Callable[[Sequence[dict[str, Any]]], None],
    rows: dict[str, dict[str, Any]],
) -> None:
    """Every row that is wanted, handed to `keep` as soon as it is there."""
    for name in options.networks.split(","):
        for race in races_of(name, options.device):
            names = {race.name(what) for what, _, _ in race.theirs}
            if left := set(filter(wanted, names)):
                keep(run_race(race, left, options.times, options.device))
    for word, make in extras(options.run, options.images, options.device):
        known = any(what.startswith(word) for what in rows)
        if options.rows in word and (options.again or not known):
            keep(make())


def main() -> None:
    options = read_options()
    torch.set_num_threads(options.threads)
    if options.peak:
        print_peak(options.peak, options.score_cam)
        return
    console = Console(width=160)
    rows: dict[str, dict[str, Any]] = {}
    if options.out.is_file():
        rows = {found["what"]: found for found in json.loads(options.out.read_text(encoding="utf-8"))["rows"]}

    def wanted(what: str) -> bool:
        chosen = options.rows in what and (options.skip is None or options.skip not in what)
        return chosen and (options.again or what not in rows)

    def keep(found: Sequence[dict[str, Any]]) -> None:
        here = machine(options.device)
        named = {} if here == machine_of(options.out, options.device) else {"machine": here}
        for each in found:
            rows[each["what"]] = each | named
            console.print(f"{each['what']}: {each['ratio']} ({each['bar']})", highlight=False)
        write(options.out, rows, options.device)

    measure_all(options, wanted, keep, rows)
    table = Table("what", "ratio", "bar", "holds")
    for found in rows.values():
        table.add_row(*(str(found[key]) for key in ("what", "ratio", "bar", "holds")))
    console.print(table)


if __name__ == "__main__":
    main()
