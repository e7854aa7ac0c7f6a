"""The contents of run.json, and its earlier forms. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ltcam.models.names import Head
from ltcam_runtime.settings import (
    MAP,
    MOST_ZOOM,
    WHITE,
    CamSettings,
    InspectionSettings,
    KindSettings,
    MaskSettings,
    NetworkSize,
    Settings,
    SharpeningSettings,
    VerdictSettings,
    check_classes,
    check_kinds,
)

RUN_SCHEMA_VERSION = 3
RUN_FILE = "run.json"
WEIGHTS_FILE = "weights.safetensors"
SPLIT_FILE = "split.csv"
HISTORY_FILE = "history.csv"
REPORT_FILE = "report.html"


class Arithmetic(Settings):
    """How a network was computed in its training.

    `bfloat16`: autocast to it. `channels_last`: images as (N, H, W, C) in memory. `reason`: how that was chosen.
    """

    bfloat16: bool = False
    channels_last: bool = False
    reason: str = ""


class Run(Settings):
    """The contents of run.json.

    `taps`: names of the blocks that seed maps are made of; none where there are no such maps.
    `maps`: how each of the network's heatmaps is made, by name. `map`, `sharpening`, `mask`: what is drawn of kinds of
    defect that have no settings of their own in `kinds`. `weights_sha256`, `settings_sha256`: of the
    weights' file, and of everything else in run.json; empty in runs of schema 1.
    """

    schema_version: Literal[3] = 3
    classes: tuple[str, ...] = Field(min_length=2)
    image_size: NetworkSize
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    backbone: str
    head: Head = "pooled"
    network: Literal["classifier", "student"] = "classifier"
    stages: tuple[str, ...]
    taps: tuple[str, ...] = ()
    maps: dict[str, CamSettings] = Field(min_length=1)
    map: str = MAP
    sharpening: SharpeningSettings = SharpeningSettings()
    mask: MaskSettings = MaskSettings()
    kinds: dict[str, KindSettings] = Field(default_factory=dict)
    kind_share: float = Field(default=0.4, gt=0, le=1)
    verdict: VerdictSettings = VerdictSettings()
    zoom: int = Field(default=0, ge=0, le=MOST_ZOOM)
    white: int | None = Field(default=None, ge=1, le=WHITE)
    arithmetic: Arithmetic = Arithmetic()
    weights_sha256: str = ""
    settings_sha256: str = ""
    seed: int
    training: dict[str, Any] = Field(default_factory=dict)
    initial_weights: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict)
    evidence: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    command: str = ""

    @field_validator("std")
    @classmethod
    def _divisor(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(value) <= 0:
            raise ValueError("must be above 0")
        return value

    @field_validator("classes")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return check_classes(value)

    @model_validator(mode="after")
    def _known_names(self) -> Self:
        check_kinds(self.kinds, self.classes)
        for name in (self.map, *(name for kind in self.kinds.values() for name in kind.all_maps)):
            if name not in self.maps:
                raise ValueError(f"there is no map {name!r}; there are {', '.join(self.maps)}")
        return self

    def __repr__(self) -> str:
        height, width = self.image_size
        return (
            f"Run({self.backbone}, {self.network}, {height} x {width} px, classes: {', '.join(self.classes)})"
        )

    @property
    def cam(self) -> CamSettings:
        """How the heatmap of kinds without settings of their own is made."""
        return self.maps[self.map]

    @property
    def inspection(self) -> InspectionSettings:
        """What is done behind the network."""
        return InspectionSettings(
            classes=self.classes,
            default=KindSettings(map=self.map, sharpening=self.sharpening, mask=self.mask),
            kinds=self.kinds,
            kind_share=self.kind_share,
            verdict=self.verdict,
            zoom=self.zoom,
            white=self.white,
        )

    def with_inspection(self, settings: InspectionSettings) -> Run:
        """The same network with other settings behind it."""
        return self.model_copy(
            update={
                "map": settings.default.map,
                "sharpening": settings.default.sharpening,
                "mask": settings.default.mask,
                "kinds": settings.kinds,
                "kind_share": settings.kind_share,
                "verdict": settings.verdict,
                "zoom": settings.zoom,
                "white": settings.white,
            }
        )


def upgraded(values: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of a run.json of an earlier schema as those of today's.

    Version 1 had one map, `cam`, and kept the arithmetic among the evidence. Until version 2, `white` was 65535 also
    where nobody knew.
    """
    found = dict(values)
    version = found.get("schema_version", 1)
    if version not in (1, 2):
        return found
    found["schema_version"] = RUN_SCHEMA_VERSION
    if found.get("white") == WHITE:
        found["white"] = None
    if version == 2:
        return found
    if "cam" in found:
        found["maps"] = {MAP: found.pop("cam")}
    evidence = found.get("evidence")
    if isinstance(evidence, dict):
        found["evidence"] = evidence = dict(evidence)
        found["arithmetic"] = {
            "bfloat16": evidence.pop("bfloat16", False),
            "channels_last": evidence.pop("channels_last", False),
            "reason": evidence.pop("arithmetic", ""),
        }
    return found
