"""Settings of a training, with their defaults in one place."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ltcam.models.names import DEFAULT_BACKBONE, Head
from ltcam_runtime.settings import AskedSettings, NetworkSize

Precision = Literal["auto", "float32", "bfloat16"]
MemoryFormat = Literal["auto", "contiguous", "channels_last"]


class TrainingSettings(AskedSettings):
    """How a classifier is trained on image labels.

    Raises:
        SettingsError: a value that cannot be used.
    """

    backbone: str = Field(default=DEFAULT_BACKBONE, description="timm's name of a CNN")
    head: Head = Field(
        default="pooled",
        description="before the linear layer: the mean over all places, or VGG's own fully connected layers too",
    )
    weights: str | None = Field(
        default=None,
        description="safetensors file (a trunk alone too), 'hub' or 'random'; default: the backbone's own",
    )
    image_size: NetworkSize | None = Field(
        default=None, description="height and width the network sees; default: from the data"
    )
    freeze: int = Field(default=0, ge=0, le=8, description="number of first stages that are not trained")
    epochs: int = Field(default=16, ge=1, le=10_000, description="passes over the balanced sample")
    batch_size: int = Field(default=4, ge=1, le=4096, description="images a step")
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="peak learning rate of the trunk (the head's is ten times it); default: by backbone",
    )
    weight_decay: float = Field(default=1e-2, ge=0, le=1, description="AdamW's weight decay")
    augment: bool = Field(default=True, description="flips, small zooms, brightness and contrast")
    validation_share: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="share of the training groups that chooses the epoch and the verdict's threshold",
    )
    max_miss: float | None = Field(
        default=None,
        ge=1e-6,
        lt=1,
        description="share of defective images that the verdict may miss: lowers its threshold as far as it takes",
    )
    confidence: float = Field(
        default=0.95, ge=0.5, lt=1, description="with which no more than the share of `max_miss` is missed"
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="makes split, training and masks repeatable")
    precision: Precision = Field(default="auto", description="arithmetic of the training; auto is float32")
    memory_format: MemoryFormat = Field(
        default="auto", description="layout of image tensors; auto: by hardware and network"
    )

    classic: bool = Field(
        default=False, description="the paper's pipeline: LTGrad-CAM of all stages, Otsu, no sharpening"
    )

    @property
    def pretrained(self) -> bool:
        """Whether the trunk starts from trained weights, so that its normalisation statistics mean something.

        They are kept then: a few small batches would only spoil them. A randomly initialised trunk has
        none, and needs those of its batches to train at all.
        """
        return self.weights != "random"


class StudentSettings(TrainingSettings):
    """How a student is trained. `backbone`, `head`, `weights` and `classic` are the teacher's whatever they say."""

    keep: Literal["better", "student"] = Field(
        default="better",
        description="what is written where the judge values the teacher's masks clearly higher: the better one, which "
        "is the teacher as it was, or the student all the same",
    )
    rounds: int = Field(
        default=1, ge=1, le=9, description="in every later round the student before is the teacher"
    )
