"""What a network that is still being trained would mark: masks on some validation images after each epoch, for people.

Contrast and cut of each kind are chosen after the last epoch, so these masks are those of the plain map. Nothing that
is trained depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ltcam.calibration.maps import default_cam
from ltcam.cam import log_odds
from ltcam.data.dataset import OK, Sample
from ltcam.models.backbones import Statistics
from ltcam.models.classifier import Classifier, stages_of
from ltcam.models.normalisation import normalised
from ltcam.reports.examples import outlined
from ltcam.runs.network import make_cam, probabilities
from ltcam.training.fit import Material
from ltcam.training.listener import Listener, Marked
from ltcam_runtime.masks import otsu

_DEFECTIVE, _FINE = 6, 2  # images that are shown
_SURE = 0.5  # probability from which a mask is drawn in an image that is OK


def previewed(listener: Listener) -> Callable[[Classifier, Material, int], None] | None:
    """What looks at a network after each epoch; None where nobody listens."""
    tell = listener.pictures
    if tell is None:
        return None

    def look(classifier: Classifier, material: Material, epoch: int) -> None:
        tell(epoch, pictures_of(classifier, material))

    return look


def pictures_of(classifier: Classifier, material: Material) -> list[Marked]:
    """Images that were held back, some of each kind, with what the network marks in them.

    Where none were held back, images that were trained on are shown.

    Args:
        classifier: left as it is.
        material: of its training.
    """
    images = material.validation or material.train
    places = _to_show(images.samples)
    pixels = images.images[places]
    heatmaps, scores = _asked(deepcopy(classifier), pixels, material.statistics)
    found = []
    for place, image, heatmap, score in zip(places, pixels, heatmaps, scores, strict=True):
        sample = images.samples[place]
        mask = otsu(heatmap) if sample.defective or score >= _SURE else np.zeros(heatmap.shape, np.bool_)
        _, picture = outlined(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), [mask])
        found.append(Marked(sample.id, sample.label, material.validation is not None, score, picture))
    return found


def _asked(
    network: Classifier, pixels: Tensor, statistics: Statistics
) -> tuple[NDArray[np.float32], list[float]]:
    """Heatmaps (N, h, w), and probabilities of being defective, of images (N, 3, h, w) uint8."""
    device = next(network.parameters()).device
    stages = stages_of(network.eval(), (pixels.shape[2], pixels.shape[3]))
    batch = normalised(pixels, statistics).to(device)
    target = log_odds(range(1, network.head.out_features))
    explained = make_cam(default_cam(stages)).explain(network, batch, target)
    assert isinstance(explained.output, Tensor)  # noqa: S101  # a Classifier returns logits
    return explained.heatmaps.cpu().numpy(), (1 - probabilities(explained.output)[:, 0]).tolist()


def _to_show(samples: Sequence[Sample]) -> list[int]:
    """Places of the first images of each kind in turn, and of some that are OK."""
    by_kind: dict[str, list[int]] = {}
    for place, sample in enumerate(samples):
        by_kind.setdefault(sample.label, []).append(place)
    fine = by_kind.pop(OK, [])[:_FINE]
    in_turn = sorted(
        ((turn, kind, place) for kind, places in by_kind.items() for turn, place in enumerate(places))
    )[:_DEFECTIVE]
    return [place for _, place in sorted((kind, place) for _, kind, place in in_turn)] + fine
