"""What the REST interface takes and gives, as pydantic models; the OpenAPI page is made from them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ltcam.service.history import Entry
from ltcam_runtime.results import Decision, Verdict

Text = Annotated[str, Field(max_length=255)]


class Problem(BaseModel):
    """Why a request was not answered as asked."""

    detail: str


class RegionAnswer(BaseModel):
    """A connected piece of the mask, in pixels of the image."""

    model_config = ConfigDict(populate_by_name=True)

    class_name: str = Field(alias="class")
    box: tuple[int, int, int, int] = Field(description="x, y, width, height; origin top left")
    area_px: int
    area_percent: float
    length_px: float
    peak: float


class ReviewAnswer(BaseModel):
    """What a person said of an inspection."""

    time: datetime
    decision: Decision
    kind: str
    reviewer: str
    note: str
    painted: bool


class InspectionAnswer(BaseModel):
    """One inspection."""

    id: str
    sequence: int
    time: datetime
    name: str
    lot: str
    height: int
    width: int
    verdict: Verdict
    score: float = Field(description="probability of being defective, 0 to 1")
    class_scores: Mapping[str, float]
    regions: list[RegionAnswer]
    model_sha256: str
    settings_sha256: str
    hash: str = Field(description="links this record to the one before it")
    seconds: float
    links: Mapping[str, str] = Field(description="image, mask, heatmap, overlay; empty once they are removed")
    review: ReviewAnswer | None

    @classmethod
    def of(cls, entry: Entry) -> InspectionAnswer:
        """The answer for a record."""
        record, finding = entry.record, entry.record.finding
        base = f"/v1/inspections/{finding.id}"
        names = ("image", "mask", "heatmap", "overlay") if entry.pictures else ()
        review = entry.review
        return cls(
            id=finding.id,
            sequence=record.sequence,
            time=finding.time,
            name=finding.name,
            lot=finding.lot,
            height=finding.height,
            width=finding.width,
            verdict=finding.verdict,
            score=finding.score,
            class_scores=finding.class_scores,
            regions=[RegionAnswer.model_validate(region) for region in finding.regions],
            model_sha256=finding.model_sha256,
            settings_sha256=finding.settings_sha256,
            hash=record.hash,
            seconds=finding.seconds,
            links={name: f"{base}/{name}" for name in names},
            review=None
            if review is None
            else ReviewAnswer(
                time=review.time,
                decision=review.decision,
                kind=review.kind,
                reviewer=review.reviewer,
                note=review.note,
                painted=bool(review.painted_sha256),
            ),
        )


class Page(BaseModel):
    """Inspections, newest first, and how to ask for the next ones."""

    items: list[InspectionAnswer]
    before: int | None = Field(description="give this as `before` for older ones; null at the end")


class ReviewGiven(BaseModel):
    """A person's decision."""

    model_config = ConfigDict(extra="forbid")

    decision: Decision
    kind: Text = ""
    reviewer: Text = ""
    note: Annotated[str, Field(max_length=2000)] = ""


class ModelAnswer(BaseModel):
    """What inspects now."""

    name: str
    classes: list[str]
    settings: dict[str, Any]
    sha256: str
    settings_sha256: str
    can_roll_back: bool
    methods: list[str] = Field(
        description="map methods that previews may ask for; empty where maps are fixed"
    )
    stages: list[str] = Field(description="of the network, the shallowest first")
    evidence: dict[str, Any] = Field(description="why it was set as it is, as its training wrote it")
    report: str | None = Field(description="the page that its training wrote")


class PreviewAnswer(BaseModel):
    """What other settings would find. Nothing of it is kept."""

    verdict: Verdict
    score: float
    regions: list[RegionAnswer]
    heatmap: str = Field(description="grey PNG of the image's size, 0 to 255, in base64")
    mask: str = Field(description="grey PNG of the image's size, 0 or 255, in base64")
    seconds: float


class Ready(BaseModel):
    """Whether the service takes images."""

    status: Literal["ready"]
