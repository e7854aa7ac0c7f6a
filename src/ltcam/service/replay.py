"""A recorded inspection made again, to prove its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ltcam.jobs.models import Model
from ltcam.service.history import History
from ltcam.service.pictures import hash_of_mask
from ltcam_runtime.errors import DataError
from ltcam_runtime.images import read_image

SCORE_TOLERANCE = 1e-5
"""Scores of other batch sizes and machines of one kind differ in their last bits."""


@dataclass(frozen=True)
class Replayed:
    """A recorded inspection beside the one made now.

    Attributes:
        recorded: verdict, score, number of regions and mask hash in the record.
        found: the same, now.
        differs: names of what is not the same; `model` and `settings` where another one was asked.
    """

    recorded: dict[str, Any]
    found: dict[str, Any]
    differs: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether everything agrees."""
        return not self.differs


def replay(history: History, model: Model, id: str) -> Replayed:  # noqa: A002  # the record's field
    """Inspect the image of a record again.

    Args:
        history: that holds it.
        model: the one that inspected it.
        id: of the inspection.

    Raises:
        DataError: no such record, or its image is not kept any more.
    """
    try:
        entry = history.get(id)
        file = history.pictures.file(id, "image")
    except ValueError as error:
        raise DataError(str(error)) from error
    if entry is None:
        raise DataError(f"the history has no inspection {id}")
    if not file.is_file():
        raise DataError(f"the image of inspection {id} is not kept any more (retention)")
    finding = entry.record.finding
    [inspection] = model.inspector.inspect_batch([read_image(file, white=model.white)], [finding.name])
    recorded: dict[str, Any] = {
        "verdict": finding.verdict,
        "score": finding.score,
        "regions": len(finding.regions),
        "mask_sha256": finding.mask_sha256,
        "model": finding.model_sha256,
        "settings": finding.settings_sha256,
    }
    found: dict[str, Any] = {
        "verdict": inspection.verdict,
        "score": inspection.score,
        "regions": len(inspection.regions),
        "mask_sha256": hash_of_mask(inspection.mask),
        "model": model.sha256,
        "settings": model.settings_sha256,
    }
    near = abs(recorded["score"] - found["score"]) <= SCORE_TOLERANCE
    differs = [name for name in recorded if recorded[name] != found[name] and not (name == "score" and near)]
    return Replayed(recorded, found, tuple(differs))
