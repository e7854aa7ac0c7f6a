"""Images as a network sees them, and what OK ones say of its maps and of contrasts.

Heat is measured by OK images: 1 is what 0.1 % of their pixels exceed, sharpening included, and 0 their median, or 0 of
the map itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ltcam.calibration.judge import MARGINS_PX, Case, Image, likeness, most_alike
from ltcam.data.dataset import Dataset
from ltcam.data.decoded import DecodedImages
from ltcam.runs.network import TorchNetwork
from ltcam_runtime.inspector import scaled, sharpened
from ltcam_runtime.reading import Workers, read_all
from ltcam_runtime.resizing import resize, resize_heatmap
from ltcam_runtime.settings import DrawingSettings, SharpeningSettings
from ltcam_runtime.sharpening import Contrast, local_contrast

MOST_OK = 48
"""OK images that are looked at."""

POLARITIES = ("dark", "bright", "either", "colour")

# Half of the contrast that a tenth of an OK image's pixels exceed: a whole one cuts off defects' faint ends.
_FLOOR_PERCENTILE, _FLOOR_SHARE = 90, 0.5
_SURELY_GREY = 6  # largest difference of two colour channels that an image may have and count as grey
_EXCEEDED = 0.001  # share of OK pixels above heat 1
_FLOORS_OF = 12  # OK images that say how much contrast is ordinary
_SCALED_BY = 16  # OK images that say how much sharpened heat is
_TOP = 0.2  # share of OK images that show how fast peaks get rare
_RARE = 0.005  # share of OK images that may exceed the peak

Heatmap = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Look:
    """An image as a network sees it.

    Attributes:
        image: (H, W, 3) at its own size.
        resized: at the network's size.
        heatmaps: (h, w) by map, at the network's size.
        score: log-odds of being defective.
    """

    image: Image
    resized: Image
    heatmaps: Mapping[str, Heatmap]
    score: float

    def heat(self, name: str, scale: tuple[float, float]) -> Heatmap:
        """A map at the image's own size, with the scale's values at 0 and 1."""
        return scaled(resize_heatmap(self.heatmaps[name], self.image.shape[:2]), scale)


class OkImages:
    """What OK images say of maps and contrasts; remembers what was asked once."""

    def __init__(self, looks: Sequence[Look], held_back: Sequence[Look] = ()):
        """What to ask.

        Args:
            looks: at OK images, at least one.
            held_back: at OK images that nothing was fitted to, for how high heat goes, together with the others: a side
                that was held back may be of one lot only. Those that are among both count twice.
        """
        self.looks = looks
        self.held_back = held_back
        self.score = float(np.median([look.score for look in looks]))
        self._scales: dict[str, tuple[float, float]] = {}
        self._ones: dict[tuple[str, SharpeningSettings, float], float] = {}

    def raw_scale(self, name: str) -> tuple[float, float]:
        """Median of a map over OK images, and what 0.1 % of their pixels exceed."""
        if name not in self._scales:
            values = np.concatenate([look.heatmaps[name].ravel() for look in self.looks])
            low, high = (float(each) for each in np.quantile(values, (0.5, 1 - _EXCEEDED)))
            self._scales[name] = low, _above(low, high)
        return self._scales[name]

    def scale(self, name: str, sharpening: SharpeningSettings, above_ok: bool = True) -> tuple[float, float]:
        """The map's values that become 0 and, once it is sharpened, what 0.1 % of OK pixels exceed."""
        low, high = self.raw_scale(name)
        if not above_ok:
            low, high = 0.0, _above(0.0, high)
        if sharpening.polarity == "none":
            return low, high
        asked = name, sharpening, low
        if asked not in self._ones:
            hot = [
                sharpened(look.heat(name, (low, high)), look.image, sharpening)
                for look in self.looks[:_SCALED_BY]
            ]
            self._ones[asked] = float(np.quantile(np.concatenate([h.ravel() for h in hot]), 1 - _EXCEEDED))
        # Sharpening is linear in the heatmap, so the scale can do what the sharpened one needs.
        return low, _above(low, low + (high - low) * self._ones[asked])

    def peak(self, settings: DrawingSettings) -> float:
        """Heat that one OK image in 200 exceeds somewhere.

        So few images do not show what is that rare: the highest fifth of the peaks is taken to get rare
        exponentially (a generalised Pareto tail of shape 0; Coles 2001, An introduction to statistical modeling of
        extreme values).
        """
        peaks = [
            float(
                sharpened(
                    look.heat(settings.map, settings.scale or (0, 1)), look.image, settings.sharpening
                ).max()
            )
            for look in (*self.looks, *self.held_back)
        ]
        start = float(np.quantile(peaks, 1 - _TOP))
        beyond = [peak - start for peak in peaks if peak > start]
        rare = start + (float(np.mean(beyond)) * np.log(_TOP / _RARE) if beyond else 0.0)
        return max(rare, *peaks)

    def sharpening(self, polarity: str, window: float) -> SharpeningSettings:
        """A contrast with the floor that OK images set."""
        contrast = Contrast(polarity, window)  # type: ignore[arg-type]
        reached = [
            np.percentile(local_contrast(look.image, contrast), _FLOOR_PERCENTILE)
            for look in self.looks[:_FLOORS_OF]
        ]
        floor = round(_FLOOR_SHARE * float(np.median(reached)), 2)
        return SharpeningSettings.model_validate({"polarity": polarity, "window": window, "floor": floor})

    def polarities(self) -> tuple[str, ...]:
        """Contrasts that these images can have."""
        grey = all(
            int(np.ptp(look.image.astype(np.int16), axis=2).max()) <= _SURELY_GREY
            for look in self.looks[:_FLOORS_OF]
        )
        return tuple(polarity for polarity in POLARITIES if not (grey and polarity == "colour"))

    @cached_property
    def _likenesses(self) -> NDArray[np.float32]:
        return np.stack([likeness(look.resized) for look in self.looks])

    def case(self, look: Look, margins: tuple[int, ...] = MARGINS_PX) -> Case:
        """A defective image with the OK image that looks most like it.

        Args:
            look: at it.
            margins: of the holes that its masks are judged by, in pixels, narrow to wide.
        """
        donor = self.looks[most_alike(look.resized, self._likenesses)]
        return Case(look.resized, donor.resized, look.score, donor.score, self.score, margins)


@dataclass(frozen=True)
class Learned:
    """Files of the images that a network learned from or was validated on, by their labels.

    Attributes:
        defective: by kind of defect.
        ok: OK images.
        held_back: those among them that nothing was fitted to.
    """

    defective: Mapping[str, Sequence[Path]]
    ok: Sequence[Path]
    held_back: Collection[Path] = frozenset()

    @classmethod
    def of(cls, dataset: Dataset, kinds: Sequence[str]) -> Learned:
        """The train and validation sides of a data set."""
        samples = [sample for sample in dataset.samples if sample.split in {"train", "val"}]
        return cls(
            {kind: [sample.path for sample in samples if sample.label == kind] for kind in kinds},
            [sample.path for sample in samples if not sample.defective],
            frozenset(sample.path for sample in samples if sample.split == "val"),
        )

    def half_held_back(self, kind: str, most: int, seed: int) -> list[Path]:
        """Files of a kind in random order, such that half of the first `most` were held back, if so many were."""
        unseen = shuffled([path for path in self.defective[kind] if path in self.held_back], seed)
        others = shuffled([path for path in self.defective[kind] if path not in self.held_back], seed)
        return unseen[: most // 2] + others + unseen[most // 2 :]


def shuffled(files: Sequence[Path], seed: int) -> list[Path]:
    """The files in random order."""
    return [files[index] for index in np.random.default_rng(seed).permutation(len(files))]


def look_at(
    network: TorchNetwork, files: Sequence[Path], most: int, decoded: DecodedImages | None = None
) -> list[Look]:
    """The first files, at most so many, as the network sees them; unreadable ones are passed over.

    Args:
        network: looks.
        files: in order.
        most: looks.
        decoded: what reads the files; None reads each anew.
    """
    decoded = decoded or DecodedImages(0, network.run.white)
    outcomes = read_all(
        ((path.name, path) for path in files),
        lambda _, path: decoded.read(path),
        Workers(count=1, size_of=decoded.size_of),
    )
    readable = (outcome.value for outcome in outcomes if outcome.value is not None)
    return [_look(network, image) for image in islice(readable, most)]


def _look(network: TorchNetwork, image: Image) -> Look:
    resized = resize(image, network.image_size)
    answer = network.respond([resized])
    ok, *defects = np.maximum(answer.probabilities[0], np.finfo(np.float64).tiny)
    score = float(np.log(sum(defects)) - np.log(ok))
    return Look(image, resized, {name: maps[0] for name, maps in answer.heatmaps.items()}, score)


def _above(low: float, high: float) -> float:
    """`high`, or the least above `low` where they are equal."""
    return high if high > low else low + max(abs(low), 1.0) * 1e-6
