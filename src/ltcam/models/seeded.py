"""Seed maps: per kind of defect, a linear map of a trunk's features that is high where a place is unlike OK.

A 1x1 convolution per tapped block, added up at the finest one's size: no gradient, one forward pass. What fits the
convolutions to image labels is `ltcam.training.seed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ltcam.cam import Explanation, NetworkMethod, Truncation
from ltcam.cam.fusion import Fusion
from ltcam.cam.network.eval_mode import evaluating
from ltcam.cam.network.hooks import Hooks
from ltcam.cam.network.memory_formats import in_fastest_format
from ltcam.cam.targets import Target, target_scores
from ltcam.models.backbones import build_trunk
from ltcam.models.classifier import Classifier
from ltcam.models.names import Head
from ltcam_runtime.errors import SettingsError
from ltcam_runtime.settings import SEED


class SeedHeads(nn.Module):
    """Features of the tapped blocks to one map per kind of defect.

    Attributes:
        convolutions: one per block, fine to coarse; the first alone has a bias.
    """

    def __init__(self, channels: Sequence[int], kinds: int):
        """All zero.

        Args:
            channels: of each tapped block.
            kinds: number of kinds of defect.
        """
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(count, kinds, 1, bias=place == 0) for place, count in enumerate(channels)
        )
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps (N, kinds, h, w) at the first block's size: 0 is the median of OK places, 1 what 0.1 % of them exceed.

        Args:
            features: (N, C, h, w) of each tapped block.
        """
        found: Tensor = self.convolutions[0](features[0])
        for convolution, coarse in zip(self.convolutions[1:], features[1:], strict=True):
            # Resizing is linear, so it may come behind the convolution, where there are fewer channels.
            found = found + functional.interpolate(
                convolution(coarse), size=found.shape[2:], mode="bilinear", align_corners=False
            )
        return found


class SeededClassifier(Classifier):
    """Images (N, 3, H, W), normalised, to logits (N, K); and, by `seeds`, to a map per kind of defect as well.

    Behind the maps of the kinds there may be some of parts of a kind's images, which add nothing to the logits.

    Attributes:
        trunk: as in `Classifier`.
        head: as in `Classifier`.
        taps: names of the tapped blocks, fine to coarse.
        seed: features of the tapped blocks to maps.
        peaks: highest value of each map to what it adds to the logits. Beside a trained head no gradient goes through
            it: gradient maps explain what the head sees, and what the seed maps see they show themselves.
    """

    def __init__(
        self, trunk: nn.Module, classes: int, taps: Sequence[str], channels: Sequence[int], parts: int = 0
    ):
        """Seed maps that are zero, and add nothing to the logits.

        Args:
            trunk: of the backbone, with its pooling.
            classes: K.
            taps: names of modules of the classifier, fine to coarse.
            channels: what they return.
            parts: maps of parts of kinds.
        """
        super().__init__(trunk, classes)
        self.taps = tuple(taps)
        self.seed = SeedHeads(channels, classes - 1 + parts)
        self.peaks = nn.Linear(classes - 1 + parts, classes, bias=False)
        nn.init.zeros_(self.peaks.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        return self.seeding(whole=True)(images)[0] if self.has_peaks else super().forward(images)

    def seeds(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K), and seed maps (N, `seed_maps`, h, w) at the finest tapped block's size."""
        return self.seeding(whole=False)(images)

    def seeding(self, *, whole: bool) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """What does as `seeds`, and looks at no weight to know what is to be done: it can be traced.

        Args:
            whole: whether every block runs, so that gradients find their way to each; else those that add nothing to
                the logits are left out.
        """
        by_head, by_peaks = self.has_trained_head, self.has_peaks

        def passed(images: Tensor) -> tuple[Tensor, Tensor]:
            if whole or by_head or not by_peaks:
                pooled, features = tapped(self, self.taps, images)
                logits: Tensor = self.head(pooled)
            else:
                features = features_at(self, self.taps, images)
                logits = self.head.bias.expand(len(images), -1)
            maps = self.seed(features)
            if by_peaks:
                peaks = maps.amax((2, 3))
                logits = logits + self.peaks(peaks.detach() if by_head else peaks)
            return logits, maps

        return passed

    def pooled_and_peaks(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What logits are made of: pooled features (N, F), and the highest value (N, `seed_maps`) of each map.

        Blocks that only an untrained head would ask do not run; it is given zeros.
        """
        if self.has_trained_head:
            pooled, features = tapped(self, self.taps, images)
        else:
            pooled, features = (
                images.new_zeros(len(images), self.head.in_features),
                features_at(self, self.taps, images),
            )
        return pooled, self.seed(features).amax((2, 3))

    def logits(self, images: Tensor) -> Tensor:
        """As `Classifier.logits`."""
        return self.seeds(images)[0] if self.has_peaks else super().logits(images)

    @torch.no_grad()
    def rescale(self, slope: float, offset: float) -> None:
        """As `Classifier.rescale`."""
        super().rescale(slope, offset)
        self.peaks.weight.mul_(slope)

    @property
    def seed_maps(self) -> int:
        """Number of seed maps: one per kind of defect, and those of parts."""
        return self.peaks.in_features

    @property
    def has_trained_head(self) -> bool:
        """Whether the head says anything; that of `ltcam quick` does not."""
        return bool(self.head.weight.any())

    @property
    def has_peaks(self) -> bool:
        """Whether the maps' peaks say anything."""
        return bool(self.peaks.weight.any())


def tapped(classifier: Classifier, taps: Sequence[str], images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The trunk's pooled features (N, F), and what the tapped blocks return in the same pass.

    Args:
        classifier: whose trunk runs.
        taps: names of its modules.
        images: (N, 3, H, W), normalised.
    """
    with _taking(classifier, taps) as taken:
        pooled: Tensor = classifier.trunk(images)
    return pooled, [taken[name] for name in taps]


def features_at(classifier: Classifier, taps: Sequence[str], images: Tensor) -> list[Tensor]:
    """What the tapped blocks return; blocks behind them do not run.

    Args:
        classifier: whose trunk runs.
        taps: names of its modules.
        images: (N, 3, H, W), normalised.
    """

    def stop_when_all_are(taken: Mapping[str, Tensor]) -> None:
        if len(taken) == len(taps):
            raise _AllTakenError

    with suppress(_AllTakenError), _taking(classifier, taps, stop_when_all_are) as taken:
        classifier.trunk(images)
    return [taken[name] for name in taps]


class _AllTakenError(Exception):
    """Every tapped block has returned."""


@contextmanager
def _taking(
    classifier: Classifier,
    taps: Sequence[str],
    then: Callable[[Mapping[str, Tensor]], None] = lambda _taken: None,
) -> Iterator[Mapping[str, Tensor]]:
    """What the tapped blocks return in the passes of this block, by name; `then` is called with it after each."""
    taken: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[tuple[Any, ...], Any], None]:
        def hook(_inputs: tuple[Any, ...], output: Any) -> None:
            taken[name] = output
            then(taken)

        return hook

    with Hooks() as hooks:
        for name in taps:
            hooks.behind(classifier.get_submodule(name), keep(name))
        yield taken


def build_seeded(
    backbone: str, classes: int, head: Head, taps: Sequence[str], state: Mapping[str, Tensor]
) -> SeededClassifier:
    """A classifier with seed maps that the weights fit into; its own are random.

    Raises:
        SettingsError: an unknown backbone, one without such a head, or taps that the weights have no maps of.
    """
    names = [f"seed.convolutions.{place}.weight" for place in range(len(taps))]
    if not all(name in state and state[name].ndim == 4 for name in names):
        raise SettingsError(f"there are no seed maps of {', '.join(taps)} among the weights")
    channels = [int(state[name].shape[1]) for name in names]
    parts = max(0, int(state[names[0]].shape[0]) - (classes - 1)) if names else 0
    return SeededClassifier(build_trunk(backbone, head), classes, taps, channels, parts)


def seeded(classifier: Classifier, taps: Sequence[str], heads: SeedHeads) -> SeededClassifier:
    """The classifier with seed maps besides, which take over its trunk and head; its logits stay as they are."""
    channels = [int(convolution.in_channels) for convolution in heads.convolutions]  # type: ignore[arg-type]
    classes = classifier.head.out_features
    parts = int(heads.convolutions[0].out_channels) - (classes - 1)  # type: ignore[arg-type]
    found = SeededClassifier(classifier.trunk, classes, taps, channels, parts)
    found.head = classifier.head
    found.seed = heads
    return found.train(classifier.training)


def seed_explanations(
    model: SeededClassifier, images: Tensor, target: Target, kinds: Sequence[int]
) -> list[Explanation]:
    """Some seed maps at the images' size, of one pass of the network.

    Args:
        model: left as it is.
        images: (N, 3, H, W), normalised.
        target: what scores are of.
        kinds: numbers of maps, 1 or above: class indices, and beyond them those of parts.
    """
    with evaluating(model), torch.no_grad():
        logits, maps = in_fastest_format(model, images, model.seeds, gradients=False)
        scores = target_scores(logits, target, len(images), differentiable=False)
        size = (int(images.shape[2]), int(images.shape[3]))
        large = functional.interpolate(
            maps[:, [kind - 1 for kind in kinds]].float(), size=size, mode="bilinear", align_corners=False
        )
    return [Explanation(large[:, place], logits, scores) for place in range(len(kinds))]


@dataclass(frozen=True)
class SeedMethod(NetworkMethod):
    """The seed map of one kind of defect.

    Attributes:
        kind: class index, 1 or above.
    """

    kind: int


@lru_cache(maxsize=256)
def seed_method(kind: int) -> SeedMethod:
    """The seed map of a kind of defect as a method of the engine, beside the registered ones.

    Args:
        kind: class index, 1 or above.
    """

    def explain(
        model: nn.Module, images: Tensor, target: Target, _truncation: Truncation | None, _fusion: Fusion
    ) -> Explanation:
        assert isinstance(model, SeededClassifier)  # noqa: S101  # a run says `seed` only of such networks
        return seed_explanations(model, images, target, [kind])[0]

    return SeedMethod(
        name=SEED,
        title="Seed map",
        source="fitted to image labels by `ltcam.training.seed`",
        sentence="A linear map of features tells places of a kind of defect from places of OK images.",
        explain=explain,
        kind=kind,
    )
