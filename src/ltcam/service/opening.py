"""Opens what the commands around a service need: a model from a path, a history that is there already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ltcam.jobs.import_reviews import ReviewedImage
from ltcam.service.history import History, open_history
from ltcam.service.serving import DATABASE_FILE, PICTURES_FOLDER
from ltcam_runtime.errors import DataError


def open_kept_history(state: Path, database: str) -> History:
    """The history of a service.

    Args:
        state: the service's folder.
        database: URL, or "" for the file in `state`.

    Raises:
        DataError: there is none.
        OutputError: it cannot be opened.
    """
    file = state / DATABASE_FILE
    if not database and not file.is_file():
        raise DataError(f"{state} holds no {DATABASE_FILE}; give the `state` folder of `ltcam serve`")
    return open_history(database or f"sqlite:///{file}", state / PICTURES_FOLDER)


def reviewed_images(history: History) -> Iterator[ReviewedImage]:
    """What was reviewed, for `ltcam.jobs.import_reviews`.

    Raises:
        DataError: a painted mask that is not the one that was kept.
    """
    for record, review in history.reviewed():
        finding = record.finding
        found = {name: score for name, score in finding.class_scores.items() if name != "ok"}
        likeliest = max(found, key=lambda name: found[name]) if found else ""
        yield ReviewedImage(
            id=finding.id,
            image=history.pictures.file(finding.id, "image"),
            image_sha256=finding.image_sha256,
            decision=review.decision,
            kind=review.kind or likeliest,
            lot=finding.lot,
            painted=_painted(history, finding.id, review.painted_sha256),
        )


def _painted(history: History, id_: str, sha256: str) -> Path | None:
    if not sha256:
        return None
    found = history.pictures.painted(id_, sha256)
    if found is None:
        raise DataError(
            f"{history.pictures.to_paint(id_, sha256)} is not the mask that was painted and kept; paint it again, or "
            "put the file back"
        )
    return found
