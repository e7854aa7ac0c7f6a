"""Answers to the open questions, as they are written to questions.json and read back.

In the file, the fields of a row's last base class come first.
"""

from __future__ import annotations

from pydantic import JsonValue

from ltcam.experiments.results import ImageTotals, Intervals, Measured, PixelSums, Ratios


class Choice(Measured):
    """A method with one choice made otherwise than in the base setting; `base` is the question where none is."""

    question: str
    value: str
    method: str


class Truncation(Measured):
    """What is truncated how: of all stages, or of one alone (`S1` is the shallowest)."""

    taps: str
    scope: str
    reading: str
    percentile: int
    stage: str


class PooledRatios(Ratios):
    """The four numbers of masks, and the pixels that they are made of."""

    counts: PixelSums


class Ious(Measured):
    """IoU with truncation, and of Grad-CAM without."""

    grad_cam_iou: float | None
    iou: float | None


class Gain(Measured):
    """What a map gains over the one that it is compared with, pooled and as mean over images."""

    mean_image_iou: float | None
    gain: float | None
    mean_image_gain: float | None


class Bounds(Measured):
    """Intervals over images."""

    intervals: Intervals


class Shares(Measured):
    """A stage's share of the sum of all, and how far truncation moves its map; None of all stages."""

    share: float | None
    grad_cam_share: float | None
    moved: float | None


class Runs(Measured):
    """How many runs a row is the mean of."""

    runs: int


class Spread(Measured):
    """Standard deviation over runs (n - 1), lowest and highest."""

    sd: float
    low: float
    high: float


class OverRuns(Measured):
    """How sure means over runs are: intervals over images of a single run, or else the spread."""

    intervals: Intervals | None
    spread: dict[str, Spread | None]

    def range(self, name: str) -> tuple[float | None, float | None]:
        """Lowest and highest of the runs, or the ends of the interval of one."""
        spread = self.spread[name]
        if spread is not None:
            return spread.low, spread.high
        return (self.intervals or {}).get(name, (None, None))


class RunAnswer(Bounds, Gain, PooledRatios, Choice):
    """One choice on one run."""


class Answer(OverRuns, Gain, Ratios, Runs, Choice):
    """One choice over the runs."""


class RunGain(Shares, Bounds, Gain, Ious, Truncation):
    """LTGrad-CAM over Grad-CAM on one run."""


class TruncationGain(OverRuns, Shares, Gain, Ious, Runs, Truncation):
    """LTGrad-CAM over Grad-CAM over the runs."""


class RunAnswers(Measured):
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


class Base(Measured):
    """The paper's setting, and the methods that were asked about."""

    percentile: int
    methods: tuple[str, ...]


class BestReading(Measured):
    """Where truncation gains most over Grad-CAM, of all stages."""

    scope: str
    reading: str
    grad_cam_iou: float | None
    iou: float | None
    gain: float | None
    intervals: Intervals | None


class QuestionSettings(Measured):
    """What was asked, of what."""

    runs: tuple[str, ...] = ()
    data: str = ""
    positive_activations: bool
    split: str = "auto"
    bootstrap: int


class Answers(Measured):
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
