"""Opens what the commands around a service need: a model from a path, a history that is there already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ltcam.jobs.import_reviews import ReviewedImage
from ltcam.service.history import History, open_history
from ltcam.service.served import Model, model_of
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
        raise DataError(f"{state} holds no {DATABASE_FILE}; give the --state folder of `ltcam serve`")
    return open_history(database or f"sqlite:///{file}", state / PICTURES_FOLDER)


def reviewed_images(history: History) -> Iterator[ReviewedImage]:
    """What was reviewed, for `ltcam.jobs.import_reviews`."""
    for record, review in history.reviewed():
        finding = record.finding
        found = {name: score for name, score in finding.class_scores.items() if name != "ok"}
        likeliest = max(found, key=lambda name: found[name]) if found else ""
        yield ReviewedImage(
            id=finding.id,
            image=history.picture(finding.id, "image"),
            image_sha256=finding.image_sha256,
            decision=review.decision,
            kind=review.kind or likeliest,
            lot=finding.lot,
            painted=history.picture(finding.id, "painted") if review.painted_sha256 else None,
        )


def load_model(path: Path, device: str = "auto") -> Model:
    """A run folder, ready to inspect.

    Raises:
        RunError: it cannot be loaded.
        SettingsError: the device does not exist.
    """
    from ltcam.runs.inspector import Inspector  # noqa: PLC0415  # torch is slow to import
    from ltcam.runs.run import WEIGHTS_FILE  # noqa: PLC0415

    inspector = Inspector.load(path, device=device)
    settings = inspector.settings
    return model_of(path, inspector, settings.classes, settings.model_dump(mode="json"), path / WEIGHTS_FILE)
