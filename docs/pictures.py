"""Make the pictures of the documentation from a run on the synthetic set.

    ltcam data synth parts
    ltcam train parts --out run
    python docs/pictures.py run parts

Writes docs/images/*.webp. The images shown are named below and belong to the set of seed 0; they are from
its test lots, and were chosen to show what goes well and what does not.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from ltcam.cam import CAM, Truncation
from ltcam.runs.inspector import Inspector
from ltcam_runtime.images import read_image
from ltcam_runtime.mask_reading import read_mask
from ltcam_runtime.resizing import resize
from ltcam_runtime.results import Inspection
from ltcam_runtime.settings import Overrides
from ltcam_runtime.writers.overlays import draw_overlay

OUT = Path(__file__).parent / "images"
FLOW = "inclusion/ceramic-lot6/0000.png"
OVERLAY = "stain/ceramic-lot5/0000.png"
STAGES = "stain/brushed-lot6/0000.png"
GALLERY = (
    "stain/brushed-lot6/0000.png",
    "inclusion/fabric-lot6/0000.png",
    "crack/ceramic-lot5/0000.png",
    "pit/cast-lot5/0000.png",
)
PLAIN = Overrides(sharpen="none")
LAST_STAGE = Overrides(method="grad-cam", percentile="none", stages=("5",), fusion="sum", sharpen="none")

_HEAT = "inferno"
_TRUE, _FOUND = "#ff2d96", "#3cdcff"


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    arguments = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    inspector = Inspector.load(arguments.run, device="cpu")
    _save(flow(inspector, arguments.data), "flow.webp")
    _save(gallery(inspector, arguments.data), "gallery.webp")
    _save(truncation(inspector, arguments.data), "truncation.webp")
    Image.fromarray(overlay(inspector, arguments.data)).save(OUT / "overlay.webp", quality=80, method=6)


def flow(inspector: Inspector, data: Path) -> Figure:
    """One image on its way: stage maps, heatmap, mask, and the true mask for comparison."""
    image, truth = _pair(data, FLOW)
    found = _inspect(inspector, image)
    maps = stage_maps(inspector, image, {})
    figure = plt.figure(figsize=(13, 3.5))
    grid = figure.add_gridspec(2, 7)
    _panel(figure.add_subplot(grid[:, :2]), image, "image")
    used = inspector.run.cam.stages
    for number, (stage, one) in enumerate(zip(inspector.run.stages, maps, strict=True), start=1):
        note = "" if stage in used else " (not used)"
        _panel(
            figure.add_subplot(grid[0, 1 + number]), one, f"S{number}, {one.shape[0]} x {one.shape[1]}{note}"
        )
    plain = _inspect(inspector.overridden(PLAIN), image)
    _panel(figure.add_subplot(grid[1, 2]), plain.heatmap, "heatmap")
    _panel(figure.add_subplot(grid[1, 3]), found.heatmap, "sharpened by the image")
    _panel(figure.add_subplot(grid[1, 4]), found.mask, "mask")
    _panel(figure.add_subplot(grid[1, 5]), truth, "true mask")
    last = _inspect(inspector.overridden(LAST_STAGE), image)
    _panel(figure.add_subplot(grid[1, 6]), last.mask, "last-stage Grad-CAM")
    return figure


def gallery(inspector: Inspector, data: Path) -> Figure:
    """A row per surface: truth, mask of last-stage Grad-CAM, mask of the run's own map."""
    last = inspector.overridden(LAST_STAGE)
    figure, rows = plt.subplots(len(GALLERY), 4, figsize=(11, 2.3 * len(GALLERY)))
    for name, axes in zip(GALLERY, rows, strict=True):
        image, truth = _pair(data, name)
        surface, kind = name.split("/")[1].split("-")[0], name.split("/")[0]
        own = _inspect(inspector, image)
        plain = _inspect(last, image)
        _panel(axes[0], image, f"{surface}, {kind}")
        _panel(_outlined(axes[1], truth, _TRUE), image, "truth")
        for axis, mask, title in (
            (axes[2], plain.mask, "last-stage Grad-CAM"),
            (axes[3], own.mask, "ltcam's default"),
        ):
            _panel(_outlined(axis, mask, _FOUND), image, f"{title}: IoU {_iou(mask, truth):.2f}")
    return figure


def truncation(inspector: Inspector, data: Path) -> Figure:
    """Stage by stage: Grad-CAM, the same with truncated gradients, and LayerCAM."""
    image, _ = _pair(data, STAGES)
    rows: dict[str, dict[str, Any]] = {
        "Grad-CAM": {"method": "grad-cam", "truncation": None},
        "LTGrad-CAM, percentile 50": {"method": "grad-cam", "truncation": Truncation(50)},
        "LayerCAM": {"method": "layer-cam", "truncation": None},
    }
    figure, grid = plt.subplots(len(rows), 6, figsize=(12, 1.8 * len(rows)))
    for (title, settings), axes in zip(rows.items(), grid, strict=True):
        _panel(axes[0], image, title)
        for number, (axis, one) in enumerate(
            zip(axes[1:], stage_maps(inspector, image, settings), strict=True), start=1
        ):
            _panel(axis, one, f"S{number}")
    return figure


def overlay(inspector: Inspector, data: Path) -> NDArray[np.uint8]:
    """What `ltcam predict` writes into its folder `overlays`."""
    image, _ = _pair(data, OVERLAY)
    found = _inspect(inspector, image, gate=True)
    return draw_overlay(image, found)


def stage_maps(
    inspector: Inspector, image: NDArray[np.uint8], settings: Mapping[str, Any]
) -> list[NDArray[Any]]:
    """The map (h, w) of every stage of the run's network, at the stage's own size."""
    run = inspector.run
    own = {"method": run.cam.method, "positive_activations": run.cam.positive_activations}
    cam = CAM(layers=run.stages, **{**own, **settings})
    images = inspector.network.batch([resize(image, run.image_size)])
    captured = cam.capture(inspector.network.classifier, images, inspector.network.target)
    return [one[0].numpy() for one in cam.stage_maps(captured)]


def _inspect(inspector: Inspector, image: NDArray[np.uint8], *, gate: bool = False) -> Inspection:
    return inspector.inspect_batch([image], ["image"], gate=gate)[0]


def _pair(data: Path, name: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    return read_image(data / name), read_mask(data / "masks" / name)


def _iou(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((mask & truth).sum() / (mask | truth).sum())


def _panel(axis: Axes, picture: NDArray[Any], title: str) -> None:
    binary = picture.dtype == np.bool_
    axis.imshow(picture, cmap="gray" if binary else _HEAT, interpolation="nearest")
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()


def _outlined(axis: Axes, mask: NDArray[np.bool_], colour: str) -> Axes:
    if mask.any() and not mask.all():
        axis.contour(mask.astype(float), [0.5], colors=colour, linewidths=1.2)
    return axis


def _save(figure: Figure, name: str) -> None:
    figure.tight_layout(pad=0.4, h_pad=1.0)
    figure.savefig(OUT / name, dpi=100, pil_kwargs={"quality": 80, "method": 6})
    plt.close(figure)


if __name__ == "__main__":
    main()
