from __future__ import annotations

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ltcam.data.check import check_dataset
from ltcam.data.check_report import FileProblem
from ltcam.data.layouts import read_dataset
from ltcam.reports.data_page import data_page, write_data_page
from ltcam_runtime.errors import OutputError


class Page(HTMLParser):
    VOID = frozenset({"meta", "img", "br", "wbr", "rect", "line", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[Any] = []
        self.open: list[Any] = []
        self.images: list[Any] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def picture(path: Path, seed: int, size: tuple[int, int] = (60, 90)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    assert cv2.imwrite(str(path), rng.integers(0, 256, (*size, 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    for index in range(30):
        picture(root / f"good/{index:02}.png", index)
    for index in range(3):
        picture(root / f"dent & <b>/{index}.png", 100 + index)
        mask = np.zeros((60, 90), np.uint8)
        mask[20:30, 40:60] = 255
        (root / "masks/dent & <b>").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / f"masks/dent & <b>/{index}.png"), mask)
    return root


def render(root: Path) -> str:
    dataset = read_dataset(root)
    return data_page(dataset, check_dataset(dataset))


def test_page_shows_counts_and_thumbnails(folder: Path) -> None:
    page = Page(render(folder))
    assert len(page.images) == 24 + 3
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.images)
    assert all(image["alt"] for image in page.images)
    assert "24 of 30 images" in page.text
    assert "None: every image can be read" not in page.text  # three defects are few, and that is said
    assert "Only 3 images of dent & <b>" in page.text


def test_reasons_are_in_the_words_of_the_command(folder: Path) -> None:
    dataset = read_dataset(folder)
    problem = FileProblem("good/01.png", "some reason; `mask_threshold=7` would do")
    text = data_page(dataset, replace(check_dataset(dataset), soft_masks=(problem,)))
    assert "some reason; --mask-threshold 7 would do" in text


def test_page_is_self_contained_and_escaped(folder: Path) -> None:
    text = render(folder)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    assert "<script" not in text
    assert "dent & <b>" not in text
    assert not re.search(r"""(?:src|href|url)\s*[=(]\s*["']?(?!data:)(?:https?:)?//""", text)
    assert "link" not in Page(text).tags
    assert "prefers-color-scheme: dark" in text


def test_page_lists_problems_and_copies(folder: Path) -> None:
    (folder / "good/03.png").write_text("no image")
    shutil.copy(folder / "good/04.png", folder / "good/again.png")
    page = Page(render(folder))
    assert "Images that cannot be read" in page.text
    assert "good/03.png" in page.text
    assert "same file" in page.text
    assert "good/04.png = good/again.png" in page.text


def test_page_is_the_same_each_time(folder: Path) -> None:
    assert render(folder) == render(folder)


def test_page_of_a_data_set_without_any_readable_file(tmp_path: Path) -> None:
    for name in ("good", "dent"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_text("no image")
    page = Page(render(tmp_path))
    assert page.images == []
    assert "0 of 0 images" in page.text
    (tmp_path / "list.csv").write_text("path,label\ngood/a.png,ok\ndent/a.png,dent\n")
    assert "2 images, 0 masks, 1 list of labels, 0 left out" in Page(render(tmp_path / "list.csv")).text


def test_page_that_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    dataset = read_dataset(folder)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_data_page(tmp_path / "file/page.html", dataset, check_dataset(dataset))
    write_data_page(tmp_path / "new/page.html", dataset, check_dataset(dataset))
    assert (tmp_path / "new/page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
