"""What was inspected, as values, and the chain of hashes that ties each record to the one before it.

The hash of a record covers everything that decided it (the input's bytes, the model, its settings) and everything
that was decided (verdict, scores, regions, mask). It also covers the hash of the record before, so that nobody can
change, remove or insert a record without every later hash giving it away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

GENESIS = "0" * 64
"""What the first record of a chain names as the hash before it."""


@dataclass(frozen=True)
class Finding:
    """What one inspection decided and what it was decided from; not yet a part of the history.

    Attributes:
        id: 32 hexadecimal digits, not guessable.
        time: when the image was received, in UTC.
        name: of the image, as the sender called it. Anything; never a path.
        lot: which lot or order the part belongs to, or "".
        height: of the image in pixels, upright.
        width: of the image in pixels, upright.
        verdict: `ok`, `unsure` or `defect`.
        score: probability of being defective, 0 to 1.
        class_scores: probability per class.
        regions: as `ltcam_runtime.results.Region.to_json` gives them.
        image_sha256: of the bytes that were received.
        mask_sha256: of the mask's pixels, one byte each, row by row.
        model_sha256: of the weights or the exported file.
        settings_sha256: of the inspection settings as canonical JSON.
        seconds: from the image's arrival in the network's queue to its verdict; for information, not hashed.
    """

    id: str
    time: datetime
    name: str
    lot: str
    height: int
    width: int
    verdict: str
    score: float
    class_scores: Mapping[str, float]
    regions: tuple[Mapping[str, Any], ...]
    image_sha256: str
    mask_sha256: str
    model_sha256: str
    settings_sha256: str
    seconds: float = 0.0

    def content(self) -> dict[str, Any]:
        """What the hash covers, as plain JSON values."""
        return {
            "id": self.id,
            "time": instant(self.time),
            "name": self.name,
            "lot": self.lot,
            "height": self.height,
            "width": self.width,
            "verdict": self.verdict,
            "score": self.score,
            "class_scores": dict(self.class_scores),
            "regions": [dict(region) for region in self.regions],
            "image_sha256": self.image_sha256,
            "mask_sha256": self.mask_sha256,
            "model_sha256": self.model_sha256,
            "settings_sha256": self.settings_sha256,
        }


@dataclass(frozen=True)
class Record:
    """A finding in the history.

    Attributes:
        sequence: 1, 2, 3, ... without gaps.
        finding: what was found.
        previous: hash of the record before, `GENESIS` for the first.
        hash: SHA-256 over `previous` and the finding's content.
    """

    sequence: int
    finding: Finding
    previous: str
    hash: str


@dataclass(frozen=True)
class Broken:
    """The first place where a chain does not hold.

    Attributes:
        sequence: of the record.
        reason: what is wrong with it.
    """

    sequence: int
    reason: str


def chained(sequence: int, finding: Finding, previous: str) -> Record:
    """The finding as the record with this number, tied to the hash before it."""
    return Record(sequence, finding, previous, link(sequence, finding.content(), previous))


def link(sequence: int, content: Mapping[str, Any], previous: str) -> str:
    """SHA-256, in hexadecimal, of a record's number, content and the hash before it."""
    return hashlib.sha256(canonical({"sequence": sequence, "previous": previous, **content})).hexdigest()


def canonical(values: Mapping[str, Any]) -> bytes:
    """JSON of which there is one form only: keys sorted, no white space, ASCII, floats as Python prints them."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def instant(time: datetime) -> str:
    """A time in UTC with microseconds, as it is hashed and printed."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def verify(records: Iterable[Record]) -> tuple[int, Broken | None]:
    """Number of records that hold, and the first that does not.

    Args:
        records: all of a history, in its order.
    """
    previous, count = GENESIS, 0
    for expected, record in enumerate(records, start=1):
        if record.sequence != expected:
            return count, Broken(expected, f"missing: the next record there is number {record.sequence}")
        if record.previous != previous:
            return count, Broken(expected, "it does not name the hash of the record before it")
        if record.hash != link(record.sequence, record.finding.content(), previous):
            return count, Broken(expected, "its content is not what was hashed when it was written")
        previous, count = record.hash, count + 1
    return count, None
