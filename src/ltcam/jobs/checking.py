"""Look at a data set and say what is wrong with it: the job behind `ltcam data check`."""

from __future__ import annotations

from pathlib import Path

from ltcam.data.check import check_dataset
from ltcam.data.check_report import CheckReport
from ltcam.data.opened import Data, opened
from ltcam.jobs.execution import Execution
from ltcam.reports.data_page import write_data_page
from ltcam_runtime.errors import OutputError


def check(
    data: Data,
    page: str | Path | None = None,
    execution: Execution = Execution(),  # frozen
) -> CheckReport:
    """Count, and find what would spoil a training: unreadable files, wrong masks, duplicates, contradictions.

    Args:
        data: folder of images in a known layout, a CSV manifest, or an open data set.
        page: HTML file to write, with counts, problems and thumbnails.
        execution: what becomes of a page that is there, who is told about progress.

    Raises:
        DataError: nothing that could be looked at.
        OutputError: the page cannot be written.
    """
    if page is not None and Path(page).exists() and not execution.overwrite:
        raise OutputError(f"{page} exists; give `overwrite=True` to replace it")
    dataset = opened(data, one_class=True).dataset
    execution.listener.begun("checking")
    report = check_dataset(dataset, execution.listener.progress)
    if page is not None:
        write_data_page(Path(page), dataset, report)
    return report
