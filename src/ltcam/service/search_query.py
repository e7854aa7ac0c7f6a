"""The query strings of the service, each as one value."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ltcam.service.exporting import Annotations
from ltcam.service.history import Search
from ltcam.service.schemas import Text
from ltcam_runtime.phrases import first_few
from ltcam_runtime.results import Verdict


class AskedInQuery(BaseModel):
    """What a query string holds; what it may not hold is refused, with what it may."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: dict[str, Any]) -> dict[str, Any]:
        unknown = [name for name in values if name not in cls.model_fields]
        if unknown:
            raise ValueError(f"{first_few(unknown)} is unknown here; there are {', '.join(cls.model_fields)}")
        return values


class GivenWithImage(AskedInQuery):
    """What is said of an image that is sent."""

    name: Annotated[Text, Field(description="what to call the image")] = ""
    lot: Annotated[Text, Field(description="which lot or order it belongs to")] = ""


class SearchQuery(AskedInQuery):
    """Which inspections are asked for. Times without a zone are UTC."""

    verdict: Verdict | None = None
    since: datetime | None = None
    until: datetime | None = None
    lot: Annotated[str | None, Field(max_length=255)] = None
    text: Annotated[str | None, Field(max_length=255, description="somewhere in the image's name")] = None
    reviewed: bool | None = None
    lowest: Annotated[float | None, Field(ge=0, le=1, description="of the score")] = None
    highest: Annotated[float | None, Field(ge=0, le=1, description="of the score")] = None
    before: Annotated[int | None, Field(ge=1, le=2**31 - 1)] = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 50

    def search(self) -> Search:
        """As the history takes it."""
        values = self.model_dump(exclude={"format"})
        for name in ("since", "until"):
            values[name] = _in_utc(values[name])
        for name in ("lot", "text"):
            values[name] = values[name] if values[name] is None else values[name].replace("\x00", "\\x00")
        return Search(**values)


class ExportQuery(SearchQuery):
    """Which inspections are exported, and as what."""

    format: Literal["csv"] | Annotations = "csv"


Given = Annotated[GivenWithImage, Query()]
Asked = Annotated[SearchQuery, Query()]
Exported = Annotated[ExportQuery, Query()]


def _in_utc(time: datetime | None) -> datetime | None:
    """The time in UTC; the first or last that there is where its zone leads out of the calendar."""
    if time is None:
        return None
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    try:
        return time.astimezone(UTC)
    except OverflowError:
        return (datetime.min if time.year < 1000 else datetime.max).replace(tzinfo=UTC)
