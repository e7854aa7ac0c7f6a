"""The maps that the figures show: which images, and all that is drawn of one of them.

Making them can take minutes an image (Score-CAM, Ablation-CAM), so what is made of an image is kept as a file.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltcam.cam import CAM, FullGrad, Truncation, capture_biases, fuse
from ltcam.data.dataset import Sample
from ltcam.data.truth import read_truth
from ltcam.evaluation.counts import count_pixels, iou
from ltcam.experiments.compare.contenders import Contender, ContenderSettings, contenders, look
from ltcam.experiments.reproduce.figures.grid import Head, Shown
from ltcam.experiments.reproduce.figures.plates import Answer, spread
from ltcam.runs.inspector import Inspector
from ltcam.runs.network import named_errors
from ltcam_runtime.errors import InputError
from ltcam_runtime.folders import write_file
from ltcam_runtime.images import read_image
from ltcam_runtime.inspector import make_mask
from ltcam_runtime.resizing import resize

SHOWN_METHODS = (
    ("Grad-CAM", "last"),
    ("Grad-CAM++", "last"),
    ("XGrad-CAM", "last"),
    ("Ablation-CAM", "last"),
    ("Score-CAM", "last"),
    ("LayerCAM", "last"),
    ("FullGrad", "network"),
    ("LTFullGrad", "network"),
    ("LTGrad-CAM", "all"),
    ("LTLayerCAM", "all"),
    ("This run", "run"),
)
"""Columns of the figure of all methods: those of the paper's table 1 in its order, and what stands beside."""

Map = NDArray[np.float32]


@dataclass(frozen=True)
class Pictured:
    """An image chosen for the figures.

    Attributes:
        sample: the image.
        area: share of its pixels that is defect.
        rank: its place by area, from 1, among `among` images.
        among: see `rank`.
    """

    sample: Sample
    area: float
    rank: int
    among: int


@dataclass(frozen=True, eq=False)
class ImageMaps:
    """All that is drawn of one image; maps are raw, and of any size.

    Attributes:
        stages: Grad-CAM of each stage, and their raw sum.
        cut_stages: the same of LTGrad-CAM.
        layers: FullGrad's maps of some layers, and the sum over all and the input.
        cut_layers: the same of LTFullGrad.
        numbers: of those layers, from 1 in the order of execution.
        methods: of each contender, in the order given.
    """

    stages: tuple[Map, ...]
    cut_stages: tuple[Map, ...]
    layers: tuple[Map, ...]
    cut_layers: tuple[Map, ...]
    numbers: tuple[int, ...]
    methods: tuple[Map, ...]


def choose_pictured(samples: Sequence[Sample], count: int) -> tuple[Pictured, ...]:
    """Images for the rows of the figures, by rule: the middle of each of `count` equal parts by defect area.

    Args:
        samples: defective images with a mask; those that cannot be read are passed over.
        count: of images wanted; fewer where there are no more.

    Returns:
        By rising area; of equal areas, by name.
    """
    found = []
    for sample in samples:
        try:
            image = read_image(sample.path)
            truth = read_truth(sample, image.shape[:2])
        except InputError:
            continue
        if truth is not None and truth.any():
            found.append((float(truth.mean()), sample.id, sample))
    found.sort(key=lambda each: each[:2])
    count = min(count, len(found))
    places = [int((place + 0.5) * len(found) / count) for place in range(count)]
    return tuple(Pictured(found[p][2], found[p][0], p + 1, len(found)) for p in places)


def read_shown(pictured: Pictured) -> Shown:
    """The image and its true mask.

    Raises:
        InputError: one of them cannot be read.
    """
    image = read_image(pictured.sample.path)
    truth = read_truth(pictured.sample, image.shape[:2])
    assert truth is not None  # noqa: S101  # it was chosen by its mask
    return Shown(pictured.sample.id, image, truth)


def shown_contenders(inspector: Inspector, settings: ContenderSettings) -> tuple[Contender, ...]:
    """Those of `SHOWN_METHODS` that there are, in that order."""
    by_name = {(each.title, each.stages): each for each in contenders(inspector, settings)}
    return tuple(by_name[name] for name in SHOWN_METHODS if name in by_name)


def maps_of(
    inspector: Inspector,
    compared: Sequence[Contender],
    shown: Shown,
    settings: ContenderSettings,
    *,
    kept: Path | None = None,
) -> ImageMaps:
    """Make all maps of an image, or read them where they were kept.

    Args:
        inspector: whose classifier is asked.
        compared: who makes the maps of methods.
        shown: the image.
        settings: percentile of the truncated maps, and whether negative activations are left out.
        kept: file to keep the maps in; None keeps none.

    Raises:
        RunError: the run cannot be used.
    """
    if kept is not None and kept.is_file():
        return _unpacked(kept)
    resized = resize(shown.image, inspector.run.image_size)
    truncation = Truncation(settings.percentile)
    with named_errors():  # of a network that a method cannot work on
        stages, cut_stages = _stage_maps(inspector, resized, truncation, settings.positive_activations)
        numbers, layers, cut_layers = _layer_maps(inspector, resized, truncation)
    _, answers = look(inspector, compared, [resized])
    found = ImageMaps(
        stages, cut_stages, layers, cut_layers, numbers, tuple(each.heatmaps[0] for each in answers)
    )
    if kept is not None:
        write_file(kept, _packed(found))
    return found


def answer_of(contender: Contender, heatmap: Map, shown: Shown) -> Answer:
    """A contender's map of an image with the mask it gives, made as `ltcam compare` makes it."""
    final = contender.sharpen(heatmap, shown.image)
    mask = make_mask(final, contender.mask)
    value = iou(count_pixels(mask, shown.truth))
    return Answer(final, mask, None if np.isnan(value) else value)


def method_head(contender: Contender, stages: int) -> Head:
    """What stands above a method's column."""
    delta = "" if contender.percentile is None else f", \N{GREEK SMALL LETTER DELTA} {contender.percentile:g}"
    words = {
        "last": f"S{stages}",
        "all": f"S1\N{EN DASH}S{stages}",
        "network": "all layers",
        "run": "default map",
    }[contender.stages]
    return Head(contender.title.replace("-CAM", "-\nCAM"), words + delta)


def stage_heads(maps: ImageMaps) -> list[Head]:
    """Of the stages and of their sum."""
    sizes = [f"{one.shape[0]} \N{MULTIPLICATION SIGN} {one.shape[1]}" for one in maps.stages[:-1]]
    return [*(Head(f"S{place}", size) for place, size in enumerate(sizes, start=1)), Head("sum", "eq. 8")]


def layer_heads(maps: ImageMaps) -> list[Head]:
    """Of the layers and of the sum over all."""
    sizes = [f"{one.shape[0]} \N{MULTIPLICATION SIGN} {one.shape[1]}" for one in maps.layers[:-1]]
    pairs = zip(maps.numbers, sizes, strict=True)
    return [*(Head(f"layer {number}", size) for number, size in pairs), Head("sum", "all layers")]


def _stage_maps(
    inspector: Inspector, resized: NDArray[np.uint8], truncation: Truncation, positive_activations: bool
) -> tuple[tuple[Map, ...], tuple[Map, ...]]:
    plain = CAM("grad-cam", layers=inspector.run.stages, positive_activations=positive_activations)
    captured = inspector.network.capture([resized], inspector.run.stages)
    found = []
    for cam in (plain, replace(plain, truncation=truncation)):
        maps = cam.stage_maps(captured)
        found.append(_arrays([*maps, fuse(maps, captured.input_size)]))
    return found[0], found[1]


def _layer_maps(
    inspector: Inspector, resized: NDArray[np.uint8], truncation: Truncation
) -> tuple[tuple[int, ...], tuple[Map, ...], tuple[Map, ...]]:
    """Numbers of the layers shown, from 1 in the order of execution, and both methods' maps of them and in all."""
    network = inspector.network
    captured = capture_biases(network.classifier, network.batch([resized]), network.target)
    found = []
    for method in (FullGrad(), FullGrad(truncation)):
        maps = method.layer_maps(captured)
        chosen = spread(len(maps))
        found.append(_arrays([*(maps[place] for place in chosen), method.heatmaps(captured)]))
    return tuple(place + 1 for place in chosen), found[0], found[1]


def _arrays(maps: Sequence[Tensor]) -> tuple[Map, ...]:
    return tuple(one[0].detach().to(torch.float32).cpu().numpy() for one in maps)


_PARTS = ("stages", "cut_stages", "layers", "cut_layers", "methods")


def _packed(maps: ImageMaps) -> bytes:
    arrays: dict[str, NDArray[np.generic]] = {
        f"{part}-{place:03}": one for part in _PARTS for place, one in enumerate(getattr(maps, part))
    }
    stream = io.BytesIO()
    np.savez_compressed(stream, numbers=np.array(maps.numbers), **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def _unpacked(file: Path) -> ImageMaps:
    with np.load(file, allow_pickle=False) as held:
        parts: Mapping[str, tuple[Map, ...]] = {
            part: tuple(held[name] for name in sorted(held.files) if name.startswith(f"{part}-"))
            for part in _PARTS
        }
        return ImageMaps(**parts, numbers=tuple(int(number) for number in held["numbers"]))
