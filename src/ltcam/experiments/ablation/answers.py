"""Answers to the open questions, as they are written to questions.json and read back."""

from __future__ import annotations

from pydantic import JsonValue

from ltcam.experiments.results import ImageTotals, Intervals, PixelSums, Ratios, Values

CHOICE = ("question", "value", "method")
TRUNCATION = ("taps", "scope", "reading", "percentile", "stage")
"""What says which row it is: of `ChosenMap` and of `TruncatedMap`."""


class ChosenMap(Ratios):
    """A method with one choice made otherwise than in the base setting, and what it gains over that.

    Attributes:
        question: what is chosen; `base` where nothing is otherwise.
        value: the choice.
        method: how papers spell it.
        mean_image_iou: IoU as mean over images.
        gain: of pooled IoU.
        mean_image_gain: of that mean.
    """

    question: str
    value: str
    method: str
    mean_image_iou: float | None
    gain: float | None
    mean_image_gain: float | None


class TruncatedMap(Values):
    """LTGrad-CAM of all stages, or of one alone, and what it gains over Grad-CAM.

    Attributes:
        taps: whether stages are taken `before` or `after` their pooling.
        scope: of the percentile.
        reading: of the truncation.
        percentile: of the truncation.
        stage: `S1`, the shallowest, and so on; or `all`.
        grad_cam_iou: of Grad-CAM without truncation.
        iou: with it.
        mean_image_iou: IoU as mean over images.
        gain: of pooled IoU.
        mean_image_gain: of that mean.
        share: the stage's of the sum of all.
        grad_cam_share: likewise without truncation.
        moved: how far truncation moves the map; None of all stages.
    """

    taps: str
    scope: str
    reading: str
    percentile: int
    stage: str
    grad_cam_iou: float | None
    iou: float | None
    mean_image_iou: float | None
    gain: float | None
    mean_image_gain: float | None
    share: float | None
    grad_cam_share: float | None
    moved: float | None


class Spread(Values):
    """Standard deviation over runs (n - 1), lowest and highest."""

    sd: float
    low: float
    high: float


class OverRuns(Values):
    """How sure means over runs are.

    Attributes:
        runs: how many.
        intervals: over the images of a single run.
        spread: of several, by the names of numbers.
    """

    runs: int
    intervals: Intervals | None
    spread: dict[str, Spread | None]

    def range(self, name: str) -> tuple[float | None, float | None]:
        """Lowest and highest of the runs, or the ends of the interval of one."""
        spread = self.spread[name]
        if spread is not None:
            return spread.low, spread.high
        return (self.intervals or {}).get(name, (None, None))


class RunAnswer(ChosenMap):
    """One choice on one run, with the pixels that its numbers are made of."""

    counts: PixelSums
    intervals: Intervals


class Answer(ChosenMap, OverRuns):
    """One choice over the runs."""


class RunGain(TruncatedMap):
    """LTGrad-CAM over Grad-CAM on one run."""

    intervals: Intervals


class TruncationGain(TruncatedMap, OverRuns):
    """LTGrad-CAM over Grad-CAM over the runs."""


class RunAnswers(Values):
    """What one run says.

    Attributes:
        run: name of its folder.
        backbone: of its network.
        image_size: (height, width) that it sees.
        stages: of the network.
        pooling_stages: whether stages end in a pooling.
        training: its settings.
        side: which images were measured, in words.
        images: how many.
        rows: of each choice.
        gains: of each truncation.
        notes: what was warned of.
        seed: of the run.
        device: that computed.
        failed: `image` and `reason` of each that could not be used.
    """

    run: str
    backbone: str
    image_size: tuple[int, int]
    stages: tuple[str, ...]
    pooling_stages: bool
    training: dict[str, JsonValue]
    side: str
    images: ImageTotals
    rows: tuple[RunAnswer, ...]
    gains: tuple[RunGain, ...]
    notes: tuple[str, ...]
    seed: int
    device: str
    failed: tuple[dict[str, str], ...]


class Base(Values):
    """The paper's setting, and the methods that were asked about."""

    percentile: int
    methods: tuple[str, ...]


class BestReading(Values):
    """Where truncation gains most over Grad-CAM, of all stages."""

    scope: str
    reading: str
    grad_cam_iou: float | None
    iou: float | None
    gain: float | None
    intervals: Intervals | None


class QuestionSettings(Values):
    """What was asked, of what."""

    runs: tuple[str, ...] = ()
    data: str = ""
    positive_activations: bool
    split: str = "auto"
    bootstrap: int


class Answers(Values):
    """All that was answered.

    Attributes:
        schema_version: of the file.
        base: what each choice is compared with.
        rows: of each choice, over the runs.
        gains: of each truncation, over the runs.
        best_reading: None where no gain is known.
        runs: what each says.
        settings: what was asked.
        versions: of packages.
        command: that was called.
    """

    schema_version: int = 1
    base: Base
    rows: tuple[Answer, ...]
    gains: tuple[TruncationGain, ...]
    best_reading: BestReading | None
    runs: tuple[RunAnswers, ...]
    settings: QuestionSettings
    versions: dict[str, str]
    command: str

    @property
    def failed(self) -> list[dict[str, str]]:
        """Of all runs."""
        return [each for run in self.runs for each in run.failed]
