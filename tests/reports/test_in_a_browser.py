"""Pages as a phone shows them: nothing wider than the screen but what scrolls by itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltcam.evaluation.summary import Evaluation
from ltcam.reports.evaluation_page import Heading, evaluation_page
from ltcam.reports.examples import ExamplePicture
from ltcam.reports.run_page import Illustrations, run_page
from ltcam.runs.run import Run

sync_api: Any = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; Debian's package has one")


@pytest.fixture(scope="module")
def phone() -> Iterator[Any]:
    """A page as wide as a phone."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page(viewport={"width": 400, "height": 800})
        browser.close()


def show(phone: Any, folder: Path, page: str) -> None:
    (folder / "page.html").write_text(page, encoding="utf-8")
    phone.goto((folder / "page.html").as_uri())


def width(phone: Any, selector: str) -> float:
    return float(phone.locator(selector).first.evaluate("element => element.getBoundingClientRect().width"))


def test_settings_of_a_run_are_read_below_each_other(phone: Any, run: Run, tmp_path: Path) -> None:
    show(phone, tmp_path, run_page(run, [], [], title="x" * 80))
    assert phone.evaluate("document.documentElement.scrollWidth") == 400
    assert width(phone, "table.settings td.muted") > 300
    phone.set_viewport_size({"width": 1280, "height": 800})
    assert width(phone, "table.settings th") < 300
    phone.set_viewport_size({"width": 400, "height": 800})


def test_the_first_column_stays_where_the_others_scroll(
    phone: Any, run: Run, tmp_path: Path, metrics_of: Callable[..., Evaluation]
) -> None:
    show(phone, tmp_path, evaluation_page(Heading("x"), metrics_of(), run))
    assert phone.evaluate("document.documentElement.scrollWidth") == 400
    table = phone.locator(".scroll").filter(has=phone.get_by_text("Named right")).first
    table.evaluate("element => element.scrollLeft = 1000")
    assert table.evaluate("element => element.scrollLeft") > 0
    edge, first = (each.bounding_box()["x"] for each in (table, table.locator("tbody tr :first-child").first))
    assert abs(first - edge) < 3


def test_a_single_picture_is_no_larger_than_one_of_several(phone: Any, run: Run, tmp_path: Path) -> None:
    picture = np.full((100, 300, 3), 90, np.uint8)
    one = ExamplePicture("a.png", "missed", "crack", None, "ok", 0.2, picture, compared=False)
    phone.set_viewport_size({"width": 1280, "height": 800})
    show(phone, tmp_path, run_page(run, [], [], Illustrations([one]), title="x"))
    assert width(phone, ".worst .figure") < 600
    phone.set_viewport_size({"width": 400, "height": 800})
