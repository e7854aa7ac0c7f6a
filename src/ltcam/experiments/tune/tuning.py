"""What a tuning of the percentile found, as it is written to tune.json and read back."""

from __future__ import annotations

from ltcam.experiments.results import BoundedRatios, PixelSums, Values

SIDES = ("train", "test")


class SideTotals(Values):
    """Images of one side.

    Attributes:
        side: in words.
        defective: all of them.
        chosen: those whose masks were to be measured.
        measured: those whose masks were.
    """

    side: str
    defective: int
    chosen: int
    measured: int


class TunedRule(Values):
    """A rule that chooses without masks: its name, and what it likes, in words."""

    name: str
    title: str
    sentence: str


class Judged(Values):
    """How many images the rules saw, and which score is normal; None if nothing said so."""

    images: int
    normal_score: float | None


class SideRatios(BoundedRatios):
    """Masks of one side at one percentile."""

    counts: PixelSums


class CurvePoint(Values):
    """Masks of both sides at a percentile; None: not truncated."""

    percentile: int | None
    train: SideRatios
    test: SideRatios

    def ious(self) -> tuple[float | None, float | None]:
        """On the training side and on the test side."""
        return self.train.iou, self.test.iou


class BestOnTest(Values):
    """The percentile of the highest IoU on the test side."""

    percentile: int | None
    iou: float | None


class Choice(Values):
    """What a rule chose.

    Attributes:
        rule: its name.
        uses_pixel_labels: whether it saw true masks.
        percentile: None where it could not choose.
        test_iou: on the test side.
        behind_train_masks: how much less that is than what the choice by true masks reaches.
    """

    rule: str
    uses_pixel_labels: bool
    percentile: int | None
    test_iou: float | None
    behind_train_masks: float | None


class TunedMethod(Values):
    """One method.

    Attributes:
        method: how papers spell it.
        untruncated: its masks without truncation.
        curve: at each percentile, rising.
        rule_values: of each rule, one value per percentile.
        best_on_test: known only afterwards.
        choices: by true masks first.
    """

    method: str
    untruncated: CurvePoint
    curve: tuple[CurvePoint, ...]
    rule_values: dict[str, tuple[float | None, ...]]
    best_on_test: BestOnTest
    choices: tuple[Choice, ...]

    @property
    def percentiles(self) -> list[int]:
        """Of the curve."""
        return [point.percentile for point in self.curve if point.percentile is not None]

    @property
    def oracle(self) -> Choice:
        """The choice by true masks."""
        return self.choices[0]

    def chosen_by(self, rule: str) -> Choice:
        """What a rule chose."""
        return next(choice for choice in self.choices if choice.rule == rule)


class TuningSettings(Values):
    """What was tuned, with what."""

    run: str = ""
    data: str = ""
    percentiles: tuple[int, ...]
    scope: str
    reading: str
    positive_activations: bool
    full_grad: bool = True
    train_images: int | None = None
    rule_images: int = 16
    stages: tuple[str, ...]
    image_size: tuple[int, int]
    layout: str = ""
    device: str
    bootstrap: int


class Tuning(Values):
    """All that a tuning found.

    Attributes:
        schema_version: of the file.
        backbone: of the run.
        sides: images by side.
        rule: name of the one that decides.
        rules: all of them.
        judged: what the rules saw.
        methods: one after the other.
        notes: what was warned of.
        settings: what was tuned.
        seed: of the run.
        versions: of packages.
        command: that was called.
        failed: `image` and `reason` of each that could not be used.
    """

    schema_version: int = 1
    backbone: str
    sides: dict[str, SideTotals]
    rule: str
    rules: tuple[TunedRule, ...]
    judged: Judged
    methods: tuple[TunedMethod, ...]
    notes: tuple[str, ...]
    settings: TuningSettings
    seed: int
    versions: dict[str, str]
    command: str
    failed: tuple[dict[str, str], ...]
