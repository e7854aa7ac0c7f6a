"""What `ltcam data check` says of a folder, in the few sentences that the studio shows."""

from __future__ import annotations

from pathlib import Path

from ltcam.data.check import check_dataset
from ltcam.data.layouts import read_dataset


def findings_of(folder: Path) -> tuple[str, list[str]]:
    """A summary of a data set, and a sentence per finding.

    Raises:
        DataError: the folder holds no data set.
    """
    report = check_dataset(read_dataset(folder))
    counts = ", ".join(f"{count.name} {count.images}" for count in report.classes)
    findings = [
        f"{finding.level}: {finding.title} ({len(finding.entries)}). {finding.advice}"
        for finding in report.findings
    ]
    return f"{report.images} images: {counts}", [*findings, *report.notes]
