"""What turns a network's answer into an inspection, as values: one definition for all who need one.

    CamSettings           how a heatmap is made of a network's activations and gradients
    SharpeningSettings    which of the image's contrast sharpens it
    MaskSettings          how it becomes a mask
    VerdictSettings       how a score becomes a verdict
    DrawingSettings       map, sharpening and mask of what is drawn
    PartSettings          of a part of a kind's images
    KindSettings          of one kind of defect, and of its parts
    InspectionSettings    all of it: verdict, and what is drawn of each kind
    Overrides             "the same, but with ..."

The same values stand in run.json, in an exported graph's metadata, behind the options of commands and the arguments
of Python calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    field_validator,
    model_validator,
)

from ltcam_runtime.errors import SettingsError
from ltcam_runtime.phrases import first_few

OK = "ok"
"""The class of images without defect; the first one of every network."""

MAP = "map"
"""Name of the heatmap where there is only one."""

SEED = "seed"
"""Method of a linear map of features that was fitted to one kind of defect."""

WHITE = 65535
"""The largest value of 16-bit grey images."""

MOST_ZOOM = 64
"""Cut-outs of an image that can be looked at."""

DRAWN = "student"
"""Method of a network that draws probabilities itself; the others are class activation maps."""

Polarity = Literal["none", "dark", "bright", "either", "both", "colour"]
Scope = Literal["channel", "stage"]
TruncationReading = Literal["gradient", "mask"]
Trust = Literal["", "good", "fair", "poor"]
FusionName = Literal["sum", "mean", "max", "product"]
StageScaleName = Literal["none", "max", "minmax", "tanh"]

_S = TypeVar("_S", bound=BaseModel)
_D = TypeVar("_D", bound="DrawingSettings")


MOST_NETWORK_PIXELS = 2**24
"""Of an image as a network is given it: some gigabytes and a quarter of a minute, whatever a file asks for."""


def _network_size(value: tuple[int, int]) -> tuple[int, int]:
    if min(value) < 1 or value[0] * value[1] > MOST_NETWORK_PIXELS:
        raise ValueError(
            f"height and width must be at least 1, their product at most {MOST_NETWORK_PIXELS:,}"
        )
    return value


NetworkSize = Annotated[tuple[int, int], AfterValidator(_network_size)]
"""(height, width) in pixels of images as a network is given them."""


class Settings(BaseModel):
    """A frozen value; unknown fields and infinite numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AskedSettings(Settings):
    """Settings that people give: what cannot be used is a `SettingsError` that names the field."""

    @model_validator(mode="wrap")
    @classmethod
    def _named(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(values)
        except ValidationError as error:
            raise SettingsError(_first_problem(error)) from error


def _first_problem(error: ValidationError) -> str:
    """The first field that could not be used, its value, and why."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    return f"`{first['loc'][0]}` {_shown(first.get('input'))}: {message}" if first["loc"] else message


def first_field(error: ValidationError) -> str:
    """The first field of a file that cannot be used, and why; why alone where it is a matter of several."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"field {field!r}: {message}" if field else message


def _shown(value: Any) -> str:
    """A value as people gave it: a number as one, also where a command line handed it on as a text."""
    try:
        return str(value) if isinstance(value, str) and float(value) is not None else repr(value)
    except ValueError:
        return repr(value)


def _word_or_number(value: Any, word: str, most: float, what: str) -> Any:
    """A word, None, or a number from 0 to `most`, any of them as a text, too.

    Raises:
        ValueError: anything else.
    """
    if isinstance(value, str):
        if value.lower() == word:
            return word
        try:
            value = float(value)
        except ValueError:
            raise ValueError(f"must be '{word}' or {what}") from None
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most
    if value is not None and not number:
        raise ValueError(f"must be '{word}' or {what}")
    return value


def _threshold(value: Any) -> Any:
    return _word_or_number(value, "otsu", 1, "a share of the heatmap's range, 0 to 1")


def _percentile(value: Any) -> Any:
    return _word_or_number(value, "none", 100, "a percentile, 0 to 100")


def _stages(value: Any) -> Any:
    """One stage or several, by number or name; as a text with commas, too."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return (str(value),) if isinstance(value, int) else value if value is None else tuple(map(str, value))


class CamSettings(Settings):
    """How a heatmap is made of one capture; see `ltcam.cam.CAM`.

    `kind`: number of the seed map, where the method is `seed`: the class index of its kind of defect; parts of kinds
    follow behind.
    """

    method: str = "layer-cam"
    kind: int = Field(default=1, ge=1)
    percentile: float | None = Field(default=None, ge=0, le=100)
    scope: Scope = "channel"
    reading: TruncationReading = "gradient"
    stages: tuple[str, ...] = Field(min_length=1)
    fusion: FusionName = "product"
    stage_scale: StageScaleName = "none"
    positive_activations: bool = True


class SharpeningSettings(Settings):
    """Which of the image's own contrast sharpens a heatmap; see `ltcam_runtime.sharpening.Contrast`."""

    polarity: Polarity = "none"
    window: float = Field(default=0.12, gt=0, le=1)
    floor: float = Field(default=0.0, ge=0, le=255)


class MaskSettings(Settings):
    """How a heatmap becomes a mask.

    `of`: whether a threshold that is a number is a share of the heatmap's own range, or a value, for heatmaps that are
    probabilities or measured by OK images. `reach`: share of Otsu's threshold, or of that value, down to which a mask
    follows a defect. `fill_holes`: whether what a mask encloses belongs to it.
    """

    threshold: Annotated[Literal["otsu"] | float, BeforeValidator(_threshold)] = "otsu"
    of: Literal["range", "value"] = "range"
    reach: float = Field(default=1.0, ge=0, le=1)
    fill_holes: bool = False
    min_area_px: int = Field(default=1, ge=1)


def otsu_reach(sharpening: SharpeningSettings) -> float:
    """Share of Otsu's threshold down to which masks follow a defect; a coarse heatmap has no faint parts to follow."""
    return 1.0 if sharpening.polarity == "none" else 0.15


class VerdictSettings(Settings):
    """How a score becomes a verdict."""

    threshold: float = Field(default=0.5, ge=0, le=1)
    unsure_margin: float = Field(default=0.0, ge=0, le=0.5)
    evidence: str = "default"


class DrawingSettings(Settings):
    """How defects are drawn.

    `map`: name of the network's heatmap; `sharpening` and `mask`: what becomes of it. `scale`: its values that count as
    0 and as 1: the median of OK images or 0 itself, and (sharpening included) what 0.1 % of OK pixels exceed; None
    leaves the heatmap as it is. `least_peak`: heat that an image judged OK must exceed somewhere to have a mask at all.
    `trust`: how far its masks can be trusted, by how much of the verdict they explain; empty where nobody asked.
    """

    map: str = MAP
    scale: tuple[float, float] | None = None
    least_peak: float = Field(default=0.0, ge=0)
    sharpening: SharpeningSettings = SharpeningSettings()
    mask: MaskSettings = MaskSettings()
    trust: Trust = ""

    @field_validator("scale")
    @classmethod
    def _rising(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError("the first number must be below the second")
        return value


class PartSettings(DrawingSettings):
    """What is drawn of a part of a kind's images: of pits, say, where pits and stains have one label.

    `sign`: the map whose peak says that an image is of this part, where it is the highest of all parts' signs.
    """

    sign: str


class KindSettings(DrawingSettings):
    """What is drawn of one kind of defect.

    `parts`: what is drawn of its images instead, where they differ among each other.
    """

    parts: tuple[PartSettings, ...] = ()

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the heatmaps that it takes to draw, without repetition."""
        names = [name for part in self.parts for name in (part.sign, part.map)]
        return tuple(dict.fromkeys(names or [self.map]))

    @property
    def all_maps(self) -> tuple[str, ...]:
        """Names of all heatmaps that it speaks of."""
        return (self.map, *self.maps)

    def part_of(self, heatmaps: Mapping[str, NDArray[np.float32]]) -> int:
        """Place of the part that an image is of, by its heatmaps (h, w); of equals the first."""
        return int(np.argmax([heatmaps[part.sign].max() for part in self.parts]))

    def drawing(self, heatmaps: Mapping[str, NDArray[np.float32]]) -> DrawingSettings:
        """What is drawn of an image: of its part, where there are parts."""
        return self.parts[self.part_of(heatmaps)] if self.parts else self


def part_name(kind: str, place: int) -> str:
    """What a part of a kind is called; `place` counts from 0."""
    return f"{kind}, part {place + 1}"


class InspectionSettings(Settings):
    """Everything that is done behind the network.

    `default`: of kinds that have no settings of their own in `kinds`. `kind_share`: from which share of the probability
    of being defective on a kind is drawn besides the likeliest one. `zoom`: how many cut-outs at most of an image
    larger than the network's input are looked at in full resolution besides the whole; 0 for none. `white`: value of
    16-bit grey images that is white; None where the training had none of these.
    """

    classes: tuple[str, ...] = Field(min_length=2)
    default: KindSettings = KindSettings()
    kinds: dict[str, KindSettings] = Field(default_factory=dict)
    kind_share: float = Field(default=0.4, gt=0, le=1)
    verdict: VerdictSettings = VerdictSettings()
    zoom: int = Field(default=0, ge=0, le=MOST_ZOOM)
    white: int | None = Field(default=None, ge=1, le=WHITE)

    @field_validator("classes")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return check_classes(value)

    @model_validator(mode="after")
    def _known_kinds(self) -> Self:
        check_kinds(self.kinds, self.classes)
        return self

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the heatmaps that are drawn from, without repetition."""
        return tuple(dict.fromkeys(name for kind in self.classes[1:] for name in self.of_kind(kind).maps))

    def of_kind(self, name: str) -> KindSettings:
        """What is drawn of a class of defects."""
        return self.kinds.get(name, self.default)

    def kinds_seen(self, probabilities: NDArray[np.float64]) -> tuple[str, ...]:
        """The kinds of defect that a network sees in an image, likeliest first.

        Args:
            probabilities: (K,), of the classes.

        Returns:
            The likeliest kind of all, and those that have at least `kind_share` of the probability of being defective.
        """
        defects = np.asarray(probabilities, np.float64)[1:]
        order = np.argsort(-defects, kind="stable")
        least = self.kind_share * defects.sum()
        return tuple(
            self.classes[1 + place]
            for rank, place in enumerate(order)
            if rank == 0 or defects[place] >= least
        )


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Class names that a network can have.

    Raises:
        ValueError: equal or empty names, or a first one that is not `ok`.
    """
    if len(set(classes)) < len(classes) or not all(classes):
        raise ValueError("must have names that differ from each other")
    if classes[0] != OK:
        raise ValueError(f"the first one must be {OK!r}")
    return tuple(classes)


def check_kinds(kinds: dict[str, KindSettings], classes: Sequence[str]) -> None:
    """Refuse settings of kinds that are none of the classes of defects.

    Raises:
        ValueError: naming them.
    """
    unknown = sorted(set(kinds) - set(classes[1:]))
    if unknown:
        raise ValueError(
            f"kinds: {', '.join(unknown)}: no such class of defects; there are {first_few(classes[1:], 12)}"
        )


class Overrides(AskedSettings):
    """The same settings, but with these. What is None stays as it is.

    Raises:
        SettingsError: a value that cannot be used.
    """

    method: str | None = Field(default=None, description="map method; default: the run's")
    percentile: Annotated[float | Literal["none"] | None, BeforeValidator(_percentile)] = Field(
        default=None, description="truncation, 0 to 100, or none"
    )
    scope: Scope | None = Field(
        default=None, description="whose gradients the percentile is of: channel or stage"
    )
    reading: TruncationReading | None = Field(
        default=None, description="what truncation acts on: gradient (eq. 9) or mask (eq. 11)"
    )
    stages: Annotated[tuple[str, ...] | None, BeforeValidator(_stages)] = Field(
        default=None, description="stages, by number (1 is the shallowest) or name: 2,3,4"
    )
    fusion: FusionName | None = Field(default=None, description="sum, mean, max or product")
    stage_scale: StageScaleName | None = Field(
        default=None, description="scaling of stage maps before fusing: none, max, minmax or tanh"
    )
    positive_activations: bool | None = Field(
        default=None, description="only the positive part of activations"
    )
    threshold: Annotated[Literal["otsu"] | float | None, BeforeValidator(_threshold)] = Field(
        default=None,
        description="of the mask: otsu, or a share of the heatmap's range, 0 to 1; of a student a probability",
    )
    reach: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="share of Otsu's threshold down to which a mask follows a defect",
    )
    fill_holes: bool | None = Field(default=None, description="whether what a mask encloses belongs to it")
    min_area_px: int | None = Field(default=None, ge=1, description="smaller pieces of a mask are left out")
    sharpen: Polarity | None = Field(
        default=None,
        description="contrast that sharpens the masks: none, dark, bright, either, both, colour; default: the run's",
    )
    window: float | None = Field(
        default=None, gt=0, le=1, description="share of the shorter side that contrast is of"
    )
    floor: float | None = Field(
        default=None, ge=0, le=255, description="grey levels that contrast has to exceed"
    )
    verdict_threshold: float | None = Field(
        default=None, ge=0, le=1, description="score from which an image is a defect"
    )
    unsure_margin: float | None = Field(
        default=None, ge=0, le=0.5, description="scores this close to the threshold want a person's look"
    )
    zoom: int | None = Field(
        default=None,
        ge=0,
        le=MOST_ZOOM,
        description="cut-outs, at most, of images larger than the network's to look at in full resolution, where "
        "something stands out; 0 for none",
    )

    def apply(self, settings: InspectionSettings) -> InspectionSettings:
        """What is done behind the network, with these changes: of every kind of defect.

        Raises:
            SettingsError: a value that cannot be used.
        """
        verdict = _given(threshold=self.verdict_threshold, unsure_margin=self.unsure_margin)
        if self.verdict_threshold is not None:
            verdict["evidence"] = "given by hand"
        return settings.model_copy(
            update={
                "default": self._of_kind(settings.default),
                "kinds": {name: self._of_kind(kind) for name, kind in settings.kinds.items()},
                "verdict": changed(settings.verdict, verdict),
                **_given(zoom=self.zoom),
            }
        )

    def apply_to_map(self, cam: CamSettings) -> CamSettings:
        """How a heatmap is made, with these changes. Stages are taken as names.

        Raises:
            SettingsError: a value that cannot be used.
        """
        given = self.of_map()
        if given.get("percentile") == "none":
            given["percentile"] = None
        return changed(cam, given)

    def of_map(self) -> dict[str, Any]:
        """What is given of how a heatmap is made."""
        return _given(
            method=self.method,
            percentile=self.percentile,
            scope=self.scope,
            reading=self.reading,
            stages=self.stages,
            fusion=self.fusion,
            stage_scale=self.stage_scale,
            positive_activations=self.positive_activations,
        )

    @property
    def _another_map(self) -> bool:
        """Whether heatmaps are made in another way, other than by a student that always draws itself."""
        ways = (self.percentile, self.scope, self.reading, self.stages, self.fusion, self.stage_scale)
        others = any(way is not None for way in (*ways, self.positive_activations))
        return self.method != DRAWN and (self.method is not None or others)

    def _of_kind(self, kind: KindSettings) -> KindSettings:
        if self._another_map and (kind.scale is not None or kind.mask.of == "value" or kind.parts):
            # Values mean something of the map they were chosen for only, and so do parts.
            kind = KindSettings(
                map=kind.map,
                sharpening=kind.sharpening,
                mask=MaskSettings(min_area_px=kind.mask.min_area_px),
            )
        return self._drawn(kind).model_copy(update={"parts": tuple(map(self._drawn, kind.parts))})

    def _drawn(self, kind: _D) -> _D:
        contrast = _given(polarity=self.sharpen, window=self.window, floor=self.floor)
        sharpening = changed(kind.sharpening, contrast)
        given = _given(
            threshold=self.threshold,
            reach=self.reach,
            fill_holes=self.fill_holes,
            min_area_px=self.min_area_px,
        )
        another = sharpening != kind.sharpening
        by_ok = kind.scale is not None and kind.mask.of == "value"
        if by_ok and (another or self.threshold is not None):
            # Heat of another contrast is not measured by OK images, and a share of the range is no value.
            share = "otsu" if self.threshold is None else self.threshold
            reach = otsu_reach(sharpening) if share == "otsu" else 1.0
            given = {"threshold": share, "of": "range", "reach": reach, **given}
        elif self.sharpen == "none":
            # A coarse heatmap has no faint parts to follow: a mask does not reach below its threshold.
            given = {"reach": 1.0, **given}
        unknown = {"least_peak": 0.0, "trust": ""} if another else {}
        return kind.model_copy(
            update={"mask": changed(kind.mask, given), "sharpening": sharpening, **unknown}
        )


def changed(settings: _S, fields: dict[str, Any]) -> _S:
    """The same settings with some fields replaced, validated.

    Raises:
        SettingsError: naming the field.
    """
    try:
        return type(settings).model_validate({**settings.model_dump(), **fields}) if fields else settings
    except ValidationError as error:
        raise SettingsError(_first_problem(error)) from error


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
