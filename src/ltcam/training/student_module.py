"""A student as Lightning trains it: image labels, and masks that the teacher made of image labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ltcam.models.student import Student
from ltcam.training.module import TrainingModule
from ltcam.training.pasting import Patch, paste

_PASTED = 0.5  # share of the OK images of a batch that get a defect pasted


class StudentModule(TrainingModule):
    """Cross-entropy of the verdict, plus cross-entropy and Dice loss of what is drawn.

    Attributes:
        patches: defects to paste onto OK images.
    """

    def __init__(self, *args: Any, patches: Sequence[Patch] = ()):
        super().__init__(*args)
        self.patches = patches

    def on_train_epoch_start(self) -> None:
        """The trunk keeps its normalisation statistics; the decoder has yet to find its own."""
        super().on_train_epoch_start()
        self.new_parts()[0].train()

    def training_step(self, batch: Sequence[Tensor], index: int) -> Tensor:
        """Loss of a batch: images uint8 (N,3,H,W), labels (N,), targets uint8 (N,2,H,W).

        A target's first channel is the share of each pixel that is defect, the second what is known of it, both 0
        to 255. An image with something pasted teaches drawing and not the verdict.
        """
        images, labels, targets = batch
        self.roll_dice(index)
        values = torch.cat([images.float() / 255, targets.float() / 255], 1)
        genuine = torch.ones(len(values), dtype=torch.bool, device=values.device)
        for place in torch.nonzero(labels == 0).flatten().tolist():
            if self.patches and float(torch.rand((), generator=self.generator)) < _PASTED:
                paste(values[place, :3], values[place, 3], self.patches, self.generator)
                genuine[place] = False
        values = self.varied(values)
        student = self.classifier
        assert isinstance(student, Student)  # noqa: S101  # as it was built
        logits, drawn = student.segment(self.normalise(values[:, :3]))
        verdict = functional.cross_entropy(logits[genuine], labels[genuine]) if genuine.any() else 0.0
        return self.noted(verdict + drawing_loss(drawn.float(), values[:, 3], values[:, 4]))

    def new_parts(self) -> tuple[nn.Module, ...]:
        """The decoder; the head was trained with the teacher."""
        assert isinstance(self.classifier, Student)  # noqa: S101  # as it was built
        return (self.classifier.decoder,)


def drawing_loss(drawn: Tensor, share: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy per known pixel, plus 1 - Dice over the batch.

    Cross-entropy alone would be content with drawing nothing where a defect is a few pixels; Dice alone says
    nothing of images without defect. Dice pools the batch, so that such images count by their false pixels.

    Args:
        drawn: log-odds (N, H, W).
        share: (N, H, W), 0 to 1: share of each pixel that is defect.
        known: (N, H, W), 0 to 1: weight of each pixel.
    """
    pixels = functional.binary_cross_entropy_with_logits(drawn, share, reduction="none")
    cross_entropy = (pixels * known).sum() / known.sum().clamp_min(1)
    p = drawn.sigmoid() * known
    t = share * known
    dice = (2 * (p * t).sum() + 1) / ((p * p).sum() + (t * t).sum() + 1)
    return cross_entropy + 1 - dice
