from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from tests.service.conftest import START, finding

from ltcam.service.history import History, Review, Search, open_history
from ltcam.service.ledger import GENESIS, Broken, Record, chained, verify
from ltcam.service.opening import reviewed_images
from ltcam.service.pictures import hash_of_mask, remove_pictures
from ltcam.service.tables import inspections
from ltcam_runtime.errors import DataError


@pytest.fixture
def database(any_database: str) -> str:
    """Everything that the history promises holds on both."""
    return any_database


def chain(count: int) -> list[Record]:
    records: list[Record] = []
    for number in range(1, count + 1):
        records.append(chained(number, finding(number), records[-1].hash if records else GENESIS))
    return records


def test_a_record_comes_back_as_it_was_written(history: History) -> None:
    given_ = finding(
        7, name="Größe \u202e.png", regions=({"class": "spot", "box": [1, 2, 3, 4]},), seconds=0.25
    )
    [record] = history.append([given_])
    found = history.get(given_.id)
    assert found is not None
    assert found.record == record
    assert found.record.finding == given_
    assert verify(history.records()) == (1, None)


@given(st.integers(1, 6), st.data())
def test_any_change_is_found_where_it_was_made(count: int, data: st.DataObject) -> None:
    records = chain(count)
    place = data.draw(st.integers(0, count - 1))
    changes: list[dict[str, Any]] = [
        {"verdict": "defect"},
        {"score": 0.3},
        {"lot": "x"},
        {"model_sha256": "e" * 64},
    ]
    change = data.draw(st.sampled_from(changes))
    record = records[place]
    records[place] = replace(record, finding=replace(record.finding, **change))
    _, broken = verify(records)
    assert broken is not None
    assert broken.sequence == place + 1


def test_a_record_that_was_taken_out_or_rehashed_alone_is_found() -> None:
    records = chain(4)
    assert verify(records[:1] + records[2:])[1] is not None
    forged = chained(2, replace(records[1].finding, verdict="defect"), records[0].hash)
    _, broken = verify([records[0], forged, *records[2:]])
    assert broken is not None
    assert broken.sequence == 3


def test_records_cut_off_at_the_end_and_changed_images_are_found(history: History) -> None:
    history.append([finding(number) for number in range(3)])
    with history.database.engine.begin() as connection:
        connection.execute(sa.delete(inspections).where(inspections.c.sequence == 3))
    _, broken = history.verify()
    assert broken is not None
    assert "3 records were written, 2 are left" in broken.reason


def test_images_and_paintings_that_were_changed_are_found(history: History) -> None:
    mask = np.zeros((4, 6), bool)
    mask[1, 2] = True
    history.append([finding(n, image_sha256=hashlib.sha256(b"x").hexdigest()) for n in range(2)])
    for number in range(2):
        history.pictures.file(finding(number).id, "image").parent.mkdir(exist_ok=True)
        history.pictures.file(finding(number).id, "image").write_bytes(b"x")
    id_ = finding(1).id
    painted = history.pictures.file(id_, "painted")
    painted.write_bytes(cv2.imencode(".png", mask * np.uint8(255))[1].tobytes())
    history.review(Review(id_, START, "confirmed", painted_sha256=hash_of_mask(mask)))
    assert history.verify() == (2, None)
    assert [item.painted for item in reviewed_images(history)] == [painted]
    for content in (b"", cv2.imencode(".png", np.ones((1, 1), np.uint8))[1].tobytes()):
        painted.write_bytes(content)
        assert "painted mask" in str(history.verify()[1])
        with pytest.raises(DataError, match="is not the mask that was painted"):
            list(reviewed_images(history))
    painted.write_bytes(cv2.imencode(".png", mask * np.uint8(9))[1].tobytes())
    assert history.verify() == (2, None), "the pixels count, not the file"
    with history.database.engine.begin() as connection:  # as if its pictures had been removed
        connection.execute(sa.update(inspections).values(pictures=False))
    history.pictures.file(finding(0).id, "image").write_bytes(b"y")
    assert history.verify() == (0, Broken(1, f"its image {finding(0).id} was changed"))
    history.pictures.file(finding(0).id, "image").write_bytes(b"x")
    history.pictures.file(finding(1).id, "image").write_bytes(b"y")
    assert history.verify() == (1, Broken(2, f"its image {finding(1).id} was changed"))
    history.review(Review(finding(0).id, START, "confirmed", painted_sha256=hash_of_mask(mask)))
    count, broken = history.verify()  # of two places the first one, whatever is wrong there
    assert broken is not None
    assert (count, broken.sequence) == (0, 1)


def test_what_a_service_does_meanwhile_is_no_change(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.append([finding(number) for number in range(3)])
    image = history.pictures.file(finding(1).id, "image")
    image.parent.mkdir(exist_ok=True)
    read = History.records

    def meanwhile(self: History) -> Iterator[Record]:
        yield from read(self)
        self.append([finding(3)])
        remove_pictures(self.database, self.pictures, START + timedelta(minutes=50))

    monkeypatch.setattr(History, "records", meanwhile)
    assert history.verify() == (3, None)


def test_searching(history: History) -> None:
    history.append(
        [
            finding(n, verdict=("ok", "defect", "unsure")[n % 3], lot=str(n % 2), score=n / 10)
            for n in range(9)
        ]
    )
    history.review(Review(finding(4).id, START, "false_alarm"))

    def numbers(**wanted: object) -> list[int]:
        return [entry.record.sequence - 1 for entry in history.search(Search(**wanted))]  # type: ignore[arg-type]

    assert numbers() == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert numbers(verdict="defect") == [7, 4, 1]
    assert numbers(lot="1", limit=2) == [7, 5]
    assert numbers(lot="1", limit=2, before=6) == [3, 1]
    assert numbers(since=START + timedelta(minutes=7)) == [8, 7]
    assert numbers(until=START + timedelta(minutes=1)) == [0]
    assert numbers(text="PART 5") == [5]
    assert numbers(text="%") == []
    assert numbers(reviewed=True) == [4]
    assert len(numbers(reviewed=False)) == 8
    assert numbers(lowest=0.3, highest=0.5) == [5, 4, 3]


def test_the_latest_review_counts_and_earlier_ones_stay(history: History) -> None:
    history.append([finding(1)])
    for decision in ("confirmed", "false_alarm"):
        history.review(Review(finding(1).id, START, decision, note="n"))
    entry = history.get(finding(1).id)
    assert entry is not None
    assert entry.review is not None
    assert entry.review.decision == "false_alarm"
    assert [review.decision for _, review in history.reviewed()] == ["false_alarm"]


def test_two_histories_on_one_database_make_one_chain(database: str, tmp_path: Path) -> None:
    histories = [open_history(database, tmp_path / "p") for _ in range(2)]

    def write(which: int) -> None:
        for number in range(20):
            histories[which].append([finding(1000 * which + number)])

    threads = [threading.Thread(target=write, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(histories[0].records()) == (40, None)
