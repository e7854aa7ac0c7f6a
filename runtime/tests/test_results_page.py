"""The page of a prediction: what it says agrees with its records, and nothing in a name gets out of its place."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ltcam_runtime.pages.results import ResultRecord, ResultsPage, results_page
from ltcam_runtime.phrases import printable
from ltcam_runtime.results import Verdict

EVIL = '</script><script>alert(1)</script><img src=x onerror=alert(2)>"&\x1b[31m\u202e\udcff'


def record(number: int, score: float = 0.5, name: str = "") -> ResultRecord:
    verdict: Verdict = "defect" if score >= 0.6 else "unsure" if score >= 0.4 else "ok"
    regions = 0 if verdict == "ok" else 1 + number % 3
    return ResultRecord(
        name=name or f"lot/{number:05}.png",
        verdict=verdict,
        score=score,
        kinds=("crack",) if regions else (),
        regions=regions,
        largest=10.0 * number if regions else 0,
        output=f"lot/{number:05}",
    )


def page_of(records: list[ResultRecord], failures: list[tuple[str, str]] | None = None) -> str:
    return results_page(ResultsPage("5 images", "run x", 0.5, records, failures or [], ["overlays", "masks"]))


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    content: dict[str, Any] = json.loads(found[1])
    return content


def test_the_policy_names_the_only_script_by_its_hash() -> None:
    page = page_of([record(1)])
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    assert len(scripts) == 1
    digest = base64.b64encode(sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|@import|url\(", page)


def test_the_data_are_the_records() -> None:
    records = [record(number, score) for number, score in enumerate((0.1, 0.45, 0.55, 0.7, 0.9))]
    data = data_of(page_of(records))
    assert data["counts"] == {"ok": 1, "unsure": 2, "defect": 2}
    assert data["kinds"] == ["crack"]
    rows = [dict(zip(data["columns"], row, strict=True)) for row in data["images"]]
    assert [(row["name"], row["score"], row["size"]) for row in rows] == [
        (each.name, each.score, each.largest) for each in records
    ]


def test_nothing_gets_out_of_its_place() -> None:
    page = results_page(ResultsPage(EVIL, EVIL, 0.5, [record(1, name=EVIL)], [(EVIL, EVIL)], ["masks"]))
    assert page.count("<script") == 2
    assert "<img src=x" not in page
    assert not set(page) & set("\x1b\u202e\udcff")
    assert data_of(page)["images"][0][0] == printable(EVIL)


def test_no_sentence_begins_where_the_script_would_write_the_one_before() -> None:
    """Without scripts the number of images is not there, nor may its full stop be."""
    main = page_of([record(1)]).partition("<main>")[2].partition("</main>")[0]
    text = re.sub(r"<[^>]*>", "", main)
    assert re.search(r"^\s*Outlined is", text, re.M)
    assert not re.search(r"^\s*[.,;]", text, re.M)


def test_no_images_at_all() -> None:
    assert data_of(page_of([], [("a.png", "it is empty")]))["images"] == []


def test_many_failures_are_counted() -> None:
    page = page_of([record(1)], [(f"{number}.png", "it is empty") for number in range(80)])
    assert "80 could not be inspected" in page
    assert "and 30 more" in page


def test_ten_thousand_images_make_a_small_page() -> None:
    page = page_of([record(number, number / 10_000) for number in range(10_000)])
    assert len(page) < 1_500_000


# ------------------------------------------------------------------------------ in a browser


def shown(page: str, folder: Path) -> str:
    """The page's elements after its script ran."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("there is no browser to try the page in")
    (folder / "report.html").write_text(page, encoding="utf-8", errors="backslashreplace")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run(
        [browser, *options, "--dump-dom", f"file://{folder / 'report.html'}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


def test_the_script_shows_the_doubtful_first_and_no_more_than_a_page(tmp_path: Path) -> None:
    records = [record(number, number / 200) for number in range(200)]
    dom = shown(page_of([*records, record(201, 0.999, name=EVIL)]), tmp_path)
    names = re.findall(r'<span class="file">(.*?)</span>', dom)
    assert len(names) == 60
    assert names[0] == "lot/<wbr>00100.png"  # its score is the threshold
    assert ">all 201 images.</span> Outlined is" in dom
    assert "1 of 4" in dom
    assert 'src="thumbnails/lot/00100.jpg"' in dom


def test_buttons_that_would_do_nothing_are_not_there(tmp_path: Path) -> None:
    """In a browser: no pages to turn where there is one, and the viewer's ends say that they are ends."""
    sync_api = pytest.importorskip("playwright.sync_api")
    browser_file = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser_file is None:
        pytest.skip("no browser here")
    (tmp_path / "report.html").write_text(page_of([record(number, 0.9) for number in range(2)]), "utf-8")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_file, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 400, "height": 800})
        page.goto((tmp_path / "report.html").as_uri())
        assert not page.locator("#pager").is_visible()
        first, second = (page.locator("#cards .figure").nth(place).bounding_box() for place in (0, 1))
        assert first["y"] == second["y"]  # two beside each other on a phone
        page.locator("#cards .figure").first.click()
        ends = [page.locator(name) for name in ("#previous", "#following")]
        assert [each.get_attribute("aria-disabled") for each in ends] == ["true", "false"]
        page.keyboard.press("ArrowRight")
        assert [each.get_attribute("aria-disabled") for each in ends] == ["false", "true"]
        assert page.locator("#viewer-picture").get_attribute("alt").startswith("lot/00001.png: DEFECT")
        browser.close()
