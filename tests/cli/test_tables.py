from __future__ import annotations

import pytest

from ltcam.cli.tables import print_table

HEAD = ("class", "images", "groups", "with mask", "train", "validation", "no side")
ROWS = [("a scratch on the inner ring", *"1234567"[:6]), ("[red]ok[/]", "100", "12", "0", "70", "", "30")]


def printed(
    capsys: pytest.CaptureFixture[str], width: int | None, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    if width is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", str(width))
    print_table("photos: 106 images", HEAD, ROWS)
    return capsys.readouterr().out.splitlines()


def test_a_table_where_there_is_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = printed(capsys, 100, monkeypatch)
    row = next(line for line in wide if "inner ring" in line)
    assert row.split() == ["a", "scratch", "on", "the", "inner", "ring", *"123456"]
    assert any("[red]ok[/]" in line for line in wide)
    assert printed(capsys, None, monkeypatch)  # a file, however wide


@pytest.mark.parametrize("width", [24, 40, 60])
def test_a_paragraph_for_each_row_where_there_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    lines = printed(capsys, width, monkeypatch)
    assert max(map(len, lines)) <= width
    words = " ".join(" ".join(lines).split())
    assert "a scratch on the inner ring images 1, groups 2, with mask 3" in words
    assert "[red]ok[/] images 100, groups 12, with mask 0, train 70, no side 30" in words
    assert "…" not in words
