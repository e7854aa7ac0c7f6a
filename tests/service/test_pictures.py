from __future__ import annotations

from datetime import timedelta

import pytest
from tests.service.conftest import START, finding

from ltcam.service.history import History
from ltcam.service.ledger import verify
from ltcam.service.pictures import remove_pictures, sweep


@pytest.fixture
def database(any_database: str) -> str:
    """Records and files agree on both."""
    return any_database


def test_the_retention_removes_pictures_only(history: History) -> None:
    history.append([finding(0), finding(100)])
    for number in (0, 100):
        for what in ("image", "mask", "heatmap"):
            file = history.pictures.file(finding(number).id, what)
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(b"x")
    assert remove_pictures(history.database, history.pictures, START + timedelta(minutes=50)) == 1
    assert not history.pictures.file(finding(0).id, "image").exists()
    assert history.pictures.file(finding(100).id, "mask").exists()
    assert verify(history.records()) == (2, None)


def test_what_a_crash_left_is_swept(history: History) -> None:
    history.append([finding(1)])
    kept = history.pictures.file(finding(1).id, "image")
    lost = history.pictures.file("ab" * 16, "image")
    part = kept.with_name(f"{kept.name}.part")
    for file in (kept, lost, part):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"x")
    assert sweep(history.database, history.pictures) == 2
    assert kept.exists()


def test_what_a_crash_left_of_pictures_that_were_removed_is_swept(history: History) -> None:
    history.append([finding(1)])
    files = {
        what: history.pictures.file(finding(1).id, what) for what in ("image", "mask", "heatmap", "painted")
    }
    remove_pictures(history.database, history.pictures, START + timedelta(days=1))
    for file in files.values():
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"x")
    assert sweep(history.database, history.pictures) == 3
    assert files["painted"].exists()


@pytest.mark.parametrize("id_", ["../../etc/passwd", "", "A" * 32, "a" * 31, "a" * 33])
def test_an_id_never_leads_out_of_the_folder(history: History, id_: str) -> None:
    with pytest.raises(ValueError, match="no id"):
        history.pictures.file(id_, "image")
