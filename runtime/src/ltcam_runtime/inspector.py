"""A network's answer and an image in, an `Inspection` out: everything after the network.

images -> Network -> probabilities -> verdict
                  -> heatmaps -> sharpened -> mask -> regions
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.errors import InputError, SettingsError
from ltcam_runtime.images import ImageLike, to_pixels
from ltcam_runtime.masks import above, fill_holes, fixed, otsu, to_shares
from ltcam_runtime.networks import Network, ParallelNetwork
from ltcam_runtime.reading import Workers, process
from ltcam_runtime.regions import drop_small, find_regions
from ltcam_runtime.resizing import resize, resize_heatmap
from ltcam_runtime.results import Inspection, Region, Verdict
from ltcam_runtime.settings import (
    DrawingSettings,
    InspectionSettings,
    MaskSettings,
    Overrides,
    SharpeningSettings,
    Trust,
)
from ltcam_runtime.sharpening import Contrast, sharpen
from ltcam_runtime.verdicts import decide
from ltcam_runtime.zooming import Window, faded, places

Pixels = NDArray[np.uint8]
Heatmap = NDArray[np.float32]
Mask = NDArray[np.bool_]

_CUT_OUTS = 8  # in one pass of the network


@dataclass(frozen=True)
class Inspected:
    """One file of a longer list: what was read and found, or why it could not be.

    Attributes:
        name: of the image.
        image: (H, W, 3) uint8 RGB; None if it could not be read.
        inspection: None if the image could not be read.
        reason: why it could not be read, or "".
    """

    name: str
    image: Pixels | None
    inspection: Inspection | None
    reason: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Inspector:
    """A network and what is made of its answers. Immutable, and usable from several threads.

    Attributes:
        network: looks at images.
        settings: verdict, and what is drawn of which kind of defect.

    Raises:
        SettingsError: settings for other classes, or for maps that the network does not make.
    """

    network: Network
    settings: InspectionSettings

    def __repr__(self) -> str:
        verdict = f"defective from a score of {self.settings.verdict.threshold:.4g}"
        return f"{type(self).__name__}(classes: {', '.join(self.settings.classes)}; {verdict})"

    def __post_init__(self) -> None:
        if self.settings.classes != self.network.classes:
            raise SettingsError(
                f"settings for the classes {', '.join(self.settings.classes)}; the network knows "
                f"{', '.join(self.network.classes)}"
            )
        for name in self.settings.maps:
            if name not in self.network.maps:
                raise SettingsError(f"`map` {name!r}: the network makes {', '.join(self.network.maps)}")

    def overridden(self, overrides: Overrides) -> Inspector:
        """The same network with other sharpening, mask or verdict settings.

        Raises:
            SettingsError: a value that cannot be used.
        """
        return replace(self, settings=overrides.apply(self.settings))

    def pixels(self, image: ImageLike, name: str) -> Pixels:
        """An image in any form as this inspector sees it, (H, W, 3) uint8 RGB.

        Raises:
            InputError: it cannot be read, or an array that is no image of 8 bits.
        """
        return to_pixels(image, name, white=self.settings.white)

    def inspect(self, image: ImageLike, name: str | None = None) -> Inspection:
        """Inspect one image.

        Args:
            image: a file, the bytes of one, a Pillow image of any mode, or uint8 pixels: (H, W) grey, (H, W, 3) RGB,
                (H, W, 4) RGBA.
            name: what the inspection calls it; default: the file's name.

        Raises:
            InputError: the file cannot be read, or an array that is no image of 8 bits.
        """
        if isinstance(image, (str, Path)):
            name = name or Path(image).name
        name = name or "image"
        pixels = self.pixels(image, name)
        return replace(self.inspect_batch([pixels], [name])[0], pixels=pixels)

    def inspect_batch(
        self,
        images: Sequence[Pixels] | Pixels,
        names: Sequence[str],
        *,
        gate: bool = True,
        cascade: bool = False,
    ) -> list[Inspection]:
        """Inspect several images, of any sizes, in one pass of the network.

        Args:
            images: (H, W, 3) uint8 RGB each; or (N, H, W, 3).
            names: one per image.
            gate: whether a verdict of OK empties the mask.
            cascade: whether heatmaps are made only of images that are not judged OK, which costs those a second pass;
                the heatmaps of the others are 0. Without `gate` it says nothing.

        Raises:
            InputError: an array that is no RGB image of 8 bits.
            SettingsError: another number of names than of images.
        """
        images = list(images)
        if len(names) != len(images):
            raise SettingsError(f"{len(names)} names for {len(images)} images; give one per image")
        for name, image in zip(names, images, strict=True):
            _check_pixels(name, image)
        resized = [resize(image, self.network.image_size) for image in images]
        return self._inspect(resized, images, names, _Asked(gate, cascade and gate))

    def inspect_images(self, images: Sequence[Pixels], names: Sequence[str]) -> list[Inspection]:
        """Inspect images at hand, a part of them in each of the threads that share the processor.

        Args:
            images: (H, W, 3) uint8 RGB each, of any sizes.
            names: one per image.

        Raises:
            InputError: an array that is no RGB image of 8 bits.
        """
        with _workers(self.network, len(images)) as workers:
            share = -(-len(images) // workers.count)
            if share == len(images):
                return self.inspect_batch(images, names)
            parts = [slice(start, start + share) for start in range(0, len(images), share)]
            with ThreadPoolExecutor(workers.count, initializer=workers.start) as pool:
                found = pool.map(lambda part: self.inspect_batch(images[part], names[part]), parts)
                return [inspection for each in found for inspection in each]

    def inspect_files(
        self,
        files: Iterable[tuple[str, Path]],
        *,
        batch_size: int = 4,
        gate: bool = True,
        cascade: bool = False,
    ) -> Iterator[Inspected]:
        """Inspect any number of files in order; files are read ahead, memory does not grow with their number.

        Args:
            files: (name, path) pairs.
            batch_size: images per pass of the network; results do not depend on it.
            gate: whether a verdict of OK empties the mask.
            cascade: as for `inspect_batch`.
        """
        asked, size = _Asked(gate, cascade and gate), self.network.image_size

        def read(name: str, path: Path) -> tuple[str, Pixels, Pixels]:
            image = self.pixels(path, name)
            return name, image, resize(image, size)

        def inspect(items: Sequence[tuple[str, Pixels, Pixels]]) -> list[tuple[Pixels, Inspection]]:
            names, images, resized = zip(*items, strict=True)
            return list(zip(images, self._inspect(resized, images, names, asked), strict=True))

        with _workers(self.network, batch_size) as workers:
            for outcome in process(files, read, inspect, workers):
                image, inspection = outcome.value or (None, None)
                yield Inspected(outcome.name, image, inspection, outcome.reason)

    def _inspect(
        self, resized: Sequence[Pixels], images: Sequence[Pixels], names: Sequence[str], asked: _Asked
    ) -> list[Inspection]:
        if not images:
            return []
        started = time.perf_counter()
        answers = self._in_two_passes(resized) if asked.cascade else self._in_one_pass(resized)
        closer = self._looked_closer(images)
        looks = [
            [_Look(image, answer), *more] for image, answer, more in zip(images, answers, closer, strict=True)
        ]
        seconds = (time.perf_counter() - started) / len(images)
        return [self._judge(name, found, asked, seconds) for name, found in zip(names, looks, strict=True)]

    def _looked_closer(self, images: Sequence[Pixels]) -> list[list[_Look]]:
        """What the network says of cut-outs of each image at full resolution; maps of those that are not OK."""
        size = self.network.image_size
        windows = [places(image, size, self.settings.zoom) for image in images]
        cut = [image[window] for image, each in zip(images, windows, strict=True) for window in each]
        answers = iter(
            answer
            for start in range(0, len(cut), _CUT_OUTS)
            for answer in self._in_two_passes(cut[start : start + _CUT_OUTS])
        )
        return [
            [_Look(image[window], next(answers), window) for window in each]
            for image, each in zip(images, windows, strict=True)
        ]

    def _in_one_pass(self, resized: Sequence[Pixels]) -> list[_Answer]:
        response = self.network.respond(resized, maps=self.settings.maps)
        return [
            _Answer(row, self._verdict(row), {name: maps[index] for name, maps in response.heatmaps.items()})
            for index, row in enumerate(response.probabilities)
        ]

    def _in_two_passes(self, resized: Sequence[Pixels]) -> list[_Answer]:
        """Verdicts of all, then heatmaps of those that are not OK."""
        probabilities = self.network.respond(resized, maps=()).probabilities
        answers = [_Answer(row, self._verdict(row), {}) for row in probabilities]
        left = [index for index, answer in enumerate(answers) if answer.verdict != "ok"]
        if left:
            drawn = (
                self.settings.of_kind(kind)
                for i in left
                for kind in self.settings.kinds_seen(probabilities[i])
            )
            names = tuple(dict.fromkeys(name for kind in drawn for name in kind.maps))
            heatmaps = self.network.respond([resized[index] for index in left], maps=names).heatmaps
            for place, index in enumerate(left):
                found = {name: maps[place] for name, maps in heatmaps.items()}
                answers[index] = replace(answers[index], heatmaps=found)
        return answers

    def _verdict(self, probabilities: NDArray[np.float64]) -> Verdict:
        verdict = self.settings.verdict
        return decide(_score(probabilities), verdict.threshold, unsure_margin=verdict.unsure_margin)

    def _judge(self, name: str, looks: Sequence[_Look], asked: _Asked, seconds: float) -> Inspection:
        """One image's part of a batch: what the worst of the looks at it says."""
        started = time.perf_counter()
        whole, worst = looks[0], max(looks, key=lambda look: look.score)
        image = whole.pixels
        if (asked.gate and worst.answer.verdict == "ok") or _is_flat(image):
            drawn = self._of_nothing(whole)
        else:
            drawn = self._together(looks)
        mask = reduce(np.logical_or, drawn.masks.values())
        regions = find_regions(mask, drawn.heatmap, next(iter(drawn.masks)))
        height, width = image.shape[:2]
        return Inspection(
            image=name,
            size=(height, width),
            verdict=worst.answer.verdict,
            score=worst.score,
            class_scores=dict(
                zip(self.settings.classes, map(float, worst.answer.probabilities), strict=True)
            ),
            heatmap=drawn.heatmap,
            mask=mask,
            regions=tuple(_named(region, drawn.masks) for region in regions),
            trust=drawn.trust,
            timings={"capture": seconds, "mask": time.perf_counter() - started},
        )

    def _together(self, looks: Sequence[_Look]) -> _Drawn:
        """What the looks show that are not OK, or else the first one, in one picture."""
        whole = looks[0]
        seen = sorted((look for look in looks if look.answer.verdict != "ok"), key=lambda look: -look.score)
        if not seen or seen == [whole]:
            return self._drawn(whole)
        shape = whole.pixels.shape[:2]
        heatmap, trusts = np.zeros(shape, np.float32), []
        masks: dict[str, Mask] = {}
        for look in seen:
            drawn = self._drawn(look)
            trusts.append(drawn.trust)
            window = look.window or np.s_[:, :]
            weights = np.ones(look.pixels.shape[:2], np.float32)
            if look.window:
                weights = faded(weights, look.window, shape)
            shares = to_shares(drawn.heatmap).astype(np.float32) * weights
            heatmap[window] = np.maximum(heatmap[window], shares)
            # Networks see things at borders, where their padding begins.
            for kind, mask in drawn.masks.items():
                masks.setdefault(kind, np.zeros(shape, bool))[window] |= mask & (weights == 1)
        return _Drawn(heatmap, masks, _least_trust(trusts))

    def _of_nothing(self, look: _Look) -> _Drawn:
        """An empty mask; the heatmap, unsharpened, where one was made."""
        kind = self.settings.kinds_seen(look.answer.probabilities)[0]
        size = (look.pixels.shape[0], look.pixels.shape[1])
        heatmap = np.zeros(size, np.float32)
        if look.answer.heatmaps:
            settings = self.settings.of_kind(kind).drawing(look.answer.heatmaps)
            heatmap = resize_heatmap(look.answer.heatmaps[settings.map], size)
        return _Drawn(heatmap, {kind: np.zeros(size, bool)})

    def _drawn(self, look: _Look) -> _Drawn:
        """What is drawn of the kinds of defect that are seen; of several ones all together."""
        image, answer = look.pixels, look.answer
        kinds = self.settings.kinds_seen(answer.probabilities)
        found = {}
        of_kinds = {kind: self.settings.of_kind(kind).drawing(answer.heatmaps) for kind in kinds}
        for settings in dict.fromkeys(of_kinds.values()):
            heatmap, mask = draw(
                resize_heatmap(answer.heatmaps[settings.map], image.shape[:2]), image, settings
            )
            if answer.verdict == "ok" and float(heatmap.max()) <= settings.least_peak:
                mask = np.zeros_like(mask)
            found[settings] = heatmap, mask
        trust = _least_trust([settings.trust for settings, (_, mask) in found.items() if mask.any()])
        masks = {kind: found[settings][1] for kind, settings in of_kinds.items()}
        if len(found) == 1:
            ((heatmap, _),) = found.values()
        else:
            heatmap = np.maximum.reduce([to_shares(each).astype(np.float32) for each, _ in found.values()])
        return _Drawn(heatmap, masks, trust)


@dataclass(frozen=True)
class _Asked:
    """What of an inspection is wanted."""

    gate: bool
    cascade: bool


@dataclass(frozen=True, eq=False)
class _Answer:
    """A network's answer to one image, and the verdict."""

    probabilities: NDArray[np.float64]
    verdict: Verdict
    heatmaps: Mapping[str, Heatmap]


@dataclass(frozen=True, eq=False)
class _Look:
    """A whole image, or a cut-out of one, and what the network says of it."""

    pixels: Pixels
    answer: _Answer
    window: Window | None = None

    @property
    def score(self) -> float:
        """Probability of being defective."""
        return _score(self.answer.probabilities)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """What was found of defects in one image, at its own size; masks by kind, the likeliest first."""

    heatmap: Heatmap
    masks: Mapping[str, Mask]
    trust: Trust = ""


def _least_trust(found: Sequence[Trust]) -> Trust:
    """The least of what is known; empty where nothing is."""
    order: tuple[Trust, ...] = ("poor", "fair", "good", "")
    return min(found, key=order.index, default="")


def _is_flat(image: Pixels) -> bool:
    """Whether all pixels are the same: there is nothing to outline then."""
    return bool((image == image[0, 0]).all())


def _score(probabilities: NDArray[np.float64]) -> float:
    """Probability of being defective."""
    return float(1 - probabilities[0])


def _named(region: Region, masks: Mapping[str, Mask]) -> Region:
    """A region with the kind whose mask covers most of its box; of equals the likeliest."""
    x, y, width, height = region.box
    box = np.s_[y : y + height, x : x + width]
    return replace(region, class_name=max(masks, key=lambda kind: int(masks[kind][box].sum())))


def sharpened(heatmap: Heatmap, image: Pixels, settings: SharpeningSettings) -> Heatmap:
    """Heatmap (H, W) and its image (H, W, 3) to the sharpened heatmap, as the settings say."""
    if settings.polarity == "none":
        return heatmap
    return sharpen(heatmap, image, Contrast(settings.polarity, settings.window, settings.floor))


def make_mask(heatmap: Heatmap, settings: MaskSettings) -> Mask:
    """Heatmap (H, W) to mask (H, W) as the settings say."""
    share = settings.threshold
    if share == "otsu":
        mask = otsu(heatmap, settings.reach)
    else:
        mask = fixed(heatmap, share) if settings.of == "range" else above(heatmap, share, settings.reach)
    if settings.fill_holes:
        mask = fill_holes(mask)
    return drop_small(mask, settings.min_area_px) if settings.min_area_px > 1 else mask


def draw(heatmap: Heatmap, image: Pixels, settings: DrawingSettings) -> tuple[Heatmap, Mask]:
    """Heatmap (H, W) at its image's size (H, W, 3) to the sharpened heatmap and the mask, as the settings say."""
    heatmap = sharpened(scaled(heatmap, settings.scale), image, settings.sharpening)
    return heatmap, make_mask(heatmap, settings.mask)


def scaled(heatmap: Heatmap, scale: tuple[float, float] | None) -> Heatmap:
    """The heatmap with the scale's values at 0 and 1, and nothing below 0; as it is without a scale."""
    if scale is None:
        return heatmap
    zero, one = scale
    return np.asarray(np.maximum((heatmap - zero) / (one - zero), 0), np.float32)


def _check_pixels(name: str, image: object) -> None:
    if not isinstance(image, np.ndarray):
        raise InputError(
            name, f"a {type(image).__name__}; give pixels, (H, W, 3) uint8 RGB, here, and files to `inspect`"
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(
            name, f"an array of shape {image.shape} and type {image.dtype}; give (H, W, 3) uint8, RGB"
        )


def _workers(network: Network, batch_size: int) -> AbstractContextManager[Workers]:
    """Threads that look at a batch each: as many as the network says, where it does."""
    if isinstance(network, ParallelNetwork):
        return network.workers(batch_size)
    return nullcontext(Workers(batch_size=batch_size))
