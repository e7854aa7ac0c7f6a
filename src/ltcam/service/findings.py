"""What `ltcam data check` says of a folder, as sentences with the pictures that they are about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from ltcam.data.check import check_dataset
from ltcam.data.check_report import CheckReport, FileProblem
from ltcam.data.dataset import Dataset, Sample
from ltcam.data.layouts import read_dataset
from ltcam.reports.thumbnails import evenly, thumbnails

_MOST_SHOWN, _MOST_OF_A_CLASS = 12, 6
_AT_ONCE = 2  # images of one entry: those of a pair


class Shown(BaseModel):
    """One image, or several that are the matter together."""

    name: str
    reason: str = ""
    pictures: list[str] = Field(description="`data:` addresses; empty where nothing can be shown")


class FindingAnswer(BaseModel):
    """One kind of problem, the first of the images that have it."""

    level: Literal["error", "warning", "note"]
    title: str
    advice: str
    count: int
    images: list[Shown]


class ClassAnswer(BaseModel):
    """What there is of one class, and some of it."""

    name: str
    count: int
    images: list[Shown]


class Findings(BaseModel):
    """What `ltcam data check` says of a folder."""

    ready: Literal["yes", "with care", "no"] = Field(description="whether a training can start")
    summary: str
    findings: list[FindingAnswer]
    classes: list[ClassAnswer]
    notes: list[str]


def findings_of(folder: Path) -> Findings:
    """A summary of a data set, its problems in pictures, and some images of every class.

    Raises:
        DataError: the folder holds no data set.
    """
    dataset = read_dataset(folder, one_class=True)
    report = check_dataset(dataset)
    counts = ", ".join(f"{count.name} {count.images}" for count in report.classes)
    return Findings(
        ready=report.readiness.ready,
        summary=f"{report.images} images: {counts}",
        findings=_findings(dataset, report),
        classes=_classes(dataset, report),
        notes=list(report.notes),
    )


def _findings(dataset: Dataset, report: CheckReport) -> list[FindingAnswer]:
    by_name = {group: [s for s in dataset.samples if s.group == group] for group in report.straddling}
    by_name |= {sample.id: [sample] for sample in dataset.samples}
    found = [
        FindingAnswer(
            level=finding.level,
            title=finding.title,
            advice=finding.advice,
            count=len(finding.entries),
            images=_shown(finding.entries[:_MOST_SHOWN], by_name),
        )
        for finding in report.findings
    ]
    copies = sorted(report.duplicates, key=lambda group: group.kind != "near")
    if copies:
        pairs = [FileProblem(" = ".join(group.ids[:_AT_ONCE]), "") for group in copies[:_MOST_SHOWN]]
        advice = "They stay on one side of the split, so that nothing is measured on what was learned."
        title = "Images that show the same"
        found.append(
            FindingAnswer(
                level="note", title=title, advice=advice, count=len(copies), images=_shown(pairs, by_name)
            )
        )
    return found


def _shown(entries: Iterable[FileProblem], by_name: Mapping[str, Sequence[Sample]]) -> list[Shown]:
    shown = []
    for entry in entries:
        names = [entry.id] if entry.id in by_name else entry.id.split(" = ")
        samples = [sample for name in names for sample in by_name.get(name, ())]
        shown.append(Shown(name=entry.id, reason=entry.reason, pictures=_pictures(samples[:_AT_ONCE])))
    return shown


def _classes(dataset: Dataset, report: CheckReport) -> list[ClassAnswer]:
    unreadable = {problem.id for problem in report.unreadable}
    found = []
    for count in report.classes:
        members = [s for s in dataset.samples if s.label == count.name and s.id not in unreadable]
        images = [
            Shown(name=each.id, pictures=[each.uri])
            for each in thumbnails(evenly(members, _MOST_OF_A_CLASS), marked=True)
        ]
        found.append(ClassAnswer(name=count.name, count=count.images, images=images))
    return found


def _pictures(samples: Sequence[Sample]) -> list[str]:
    return [each.uri for each in thumbnails(list(samples), marked=True)]
