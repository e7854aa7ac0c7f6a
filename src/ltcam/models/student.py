"""The student: a classifier that also draws where the defect is, in one forward pass.

Its trunk and head are a `Classifier`'s, so whatever looks at a classifier (verdicts, class activation maps)
looks at a student as well. A light decoder puts the trunk's stages together from deep to shallow
(Lin et al. 2017, Feature pyramid networks) up to the size of the image.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ltcam.cam import Explanation, NetworkMethod, Truncation
from ltcam.cam.fusion import Fusion
from ltcam.cam.network.eval_mode import evaluating
from ltcam.cam.network.memory_formats import in_fastest_format
from ltcam.cam.targets import Target, target_scores
from ltcam.models.backbones import build_trunk
from ltcam.models.classifier import Classifier
from ltcam.models.names import Head
from ltcam_runtime.errors import SettingsError

_FINEST_CHANNELS, _MOST_CHANNELS = 16, 64  # at the image's size; doubled with every halving up to the most
_RARE = -4.0  # log-odds that an untrained student gives every pixel: defects are a few pixels in a hundred


class Student(Classifier):
    """Images (N, 3, H, W), normalised, to logits (N, K); and, by `segment`, to a map of the defect as well.

    Attributes:
        trunk: as in `Classifier`; one of timm's that knows `forward_intermediates`.
        head: as in `Classifier`.
        decoder: stages to log-odds per pixel.
    """

    def __init__(self, trunk: nn.Module, classes: int):
        """Randomly initialised.

        Raises:
            SettingsError: a trunk that does not tell its stages.
        """
        super().__init__(trunk, classes)
        if not callable(getattr(trunk, "forward_intermediates", None)):
            raise SettingsError(
                f"{type(trunk).__name__} cannot be a student: timm's forward_intermediates does not know it; "
                "train with another `backbone`"
            )
        stages = [(int(stage["num_chs"]), int(stage["reduction"])) for stage in trunk.feature_info]  # type: ignore[union-attr]
        self.decoder = Decoder(stages)

    def segment(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K), and log-odds (N, H, W) of each pixel being part of a defect."""
        last, stages = self.trunk.forward_intermediates(images)  # type: ignore[operator]
        logits: Tensor = self.head(self.trunk.forward_head(last, pre_logits=True))  # type: ignore[operator]
        return logits, self.decoder(images, stages)


class Decoder(nn.Module):
    """Stages of a trunk, deep to shallow, and last the image itself, to one map.

    Not one of segmentation-models-pytorch: its pyramid ends at a quarter of the image's sides, where a crack of two
    pixels is gone, and the weights of students in run folders have the names and shapes of this one.
    """

    def __init__(self, stages: list[tuple[int, int]]):
        """`stages`: (channels, reduction of the image's sides), shallow to deep."""
        super().__init__()
        levels = [(3, 1), *stages]
        widths = [min(_MOST_CHANNELS, _FINEST_CHANNELS * reduction) for _, reduction in levels]
        self.lateral = nn.ModuleList(
            _convolution(channels, width, kernel=3 if index == 0 else 1)
            for index, ((channels, _), width) in enumerate(zip(levels, widths, strict=True))
        )
        self.narrow = nn.ModuleList(nn.Conv2d(deeper, width, 1) for width, deeper in pairwise(widths))
        self.smooth = nn.ModuleList(_convolution(width, width, kernel=3) for width in widths[:-1])
        self.out = nn.Conv2d(widths[0], 1, 1)
        nn.init.constant_(self.out.bias, _RARE)  # type: ignore[arg-type]

    def forward(self, images: Tensor, stages: list[Tensor]) -> Tensor:
        """Log-odds (N, H, W) of images (N, 3, H, W) and their stages (N, C, h, w), shallow to deep."""
        found: Tensor = self.lateral[-1](stages[-1])
        levels = [images, *stages[:-1]]
        for index in reversed(range(len(levels))):
            # Narrowed first: resizing is linear, and cheaper on fewer places and channels.
            coarse = functional.interpolate(
                self.narrow[index](found), size=levels[index].shape[2:], mode="bilinear", align_corners=False
            )
            found = self.smooth[index](self.lateral[index](levels[index]) + coarse)
        drawn: Tensor = self.out(found)
        return drawn[:, 0]


def _convolution(channels: int, width: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    )


def build_student(backbone: str, classes: int, head: Head = "pooled") -> Student:
    """A randomly initialised student.

    Raises:
        SettingsError: an unknown backbone, one without such a head, or one that does not tell its stages.
    """
    return Student(build_trunk(backbone, head), classes)


def student_of(classifier: Classifier) -> Student:
    """A student that starts from a trained classifier, which it takes over; only its decoder is new.

    Raises:
        SettingsError: a trunk that does not tell its stages.
    """
    student = Student(classifier.trunk, classifier.head.out_features)
    student.head = classifier.head
    return student


def _drawn(
    model: nn.Module, images: Tensor, target: Target, _truncation: Truncation | None, _fusion: Fusion
) -> Explanation:
    """The student's own map: probability (N, H, W), 0 to 1, of each pixel being part of a defect."""
    assert isinstance(model, Student)  # noqa: S101  # a run says `student` only of students
    with evaluating(model), torch.no_grad():
        logits, drawn = in_fastest_format(model, images, model.segment, gradients=False)
        scores = target_scores(logits, target, len(images), differentiable=False)
    return Explanation(drawn.float().sigmoid(), logits, scores)


STUDENT = NetworkMethod(
    name="student",
    title="Student",
    source="distilled from class activation maps by `ltcam distill`",
    sentence="A decoder draws the defect in the same forward pass, as it learned from sharpened masks.",
    explain=_drawn,
)
"""The map of a student. No class activation map, so it stands beside the registered methods."""
