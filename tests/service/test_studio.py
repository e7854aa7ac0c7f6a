"""The studio in a real browser. Skipped where there is no Chromium; `.ci/run` installs one."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.service.conftest import decoded, png

from ltcam.service.history import History

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, FilePayload, Page, Route

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; Debian's package has one")


def until(page: Page, expression: str) -> None:
    """Wait for an expression to hold. (The page's own policy forbids what Playwright would evaluate in it.)"""
    for _ in range(2400):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"it never came true: {expression}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The studio's page; whatever it asks of another machine or says as an error fails the test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 800}, locale="en-GB")
    asked: list[str] = []
    problems: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    refused = "the server responded with a status of 400"  # which the page tells in its own words
    opened.on(
        "console",
        lambda message: (
            problems.append(message.text) if message.type == "error" and refused not in message.text else None
        ),
    )
    opened.set_default_timeout(120_000)
    opened.goto(address)
    until(opened, "document.querySelector('#model').textContent !== ''")
    yield opened
    opened.close()
    assert problems == []
    assert all(url.startswith((address, "blob:", "data:")) for url in asked), asked


def drop(page: Page, *files: tuple[str, bytes]) -> None:
    payload: list[FilePayload] = [
        {"name": name, "mimeType": "image/png", "buffer": content} for name, content in files
    ]
    page.set_input_files("#files", payload)
    until(page, f"document.querySelectorAll('#list button').length >= {len(files)}")
    until(page, "!document.querySelector('#sheet').hidden")


def mask_area(page: Page) -> int:
    """Pixels of the mask that the viewer shows, as the studio says it."""
    text = page.text_content("#what-if") or ""
    return int(text.split()[0])


def set_slider(page: Page, selector: str, value: int) -> None:
    page.eval_on_selector(
        selector, f"e => {{ e.value = {value}; e.dispatchEvent(new Event('input', {{bubbles: true}})); }}"
    )


def test_drop_slide_and_review_by_keyboard(page: Page, history: History) -> None:
    drop(page, ("<img src=x onerror=alert(1)>.png", png()), ("fine.png", png(spot=False)))
    page.click("#list li:nth-child(2) button")
    until(page, "document.querySelector('#verdict').textContent === 'DEFECT'")
    assert page.text_content("#name") == "<img src=x onerror=alert(1)>.png"
    set_slider(page, "#threshold", 254)
    narrow = mask_area(page)
    set_slider(page, "#threshold", 60)
    assert mask_area(page) > narrow == 40
    page.focus("#stage")
    page.keyboard.press("f")
    until(
        page, "document.querySelector('[data-decision=false_alarm]').getAttribute('aria-pressed') === 'true'"
    )
    [(record, review)] = history.reviewed()
    assert (record.finding.verdict, review.decision) == ("defect", "false_alarm")
    page.keyboard.press("k")
    until(page, "document.querySelector('#name').textContent === 'fine.png'")


def test_who_is_fast_decides_on_what_is_shown(page: Page, history: History) -> None:
    """C on one, J to the next, O there while the first answer is still on its way."""
    drop(page, ("one.png", png()), ("two.png", png(spot=False)))
    page.click("#list li:nth-child(1) button")
    first = page.text_content("#list li:nth-child(1) .what")
    until(page, f"document.querySelector('#name').textContent === '{first}'")
    held: list[Route] = []
    page.route("**/reviews", lambda route: held.append(route) if not held else route.continue_())
    page.focus("#stage")
    page.keyboard.press("c")
    page.keyboard.press("j")
    until(page, f"document.querySelector('#name').textContent !== '{first}'")
    held[0].continue_()
    until(page, "document.querySelector('#list li:nth-child(1)').textContent.includes('✓')")
    assert page.text_content("#said") == "", "nothing was said of what is shown"
    page.keyboard.press("o")
    until(page, "document.querySelector('[data-decision=ok]').getAttribute('aria-pressed') === 'true'")
    decisions = {record.finding.name: review.decision for record, review in history.reviewed()}
    second = ({"one.png", "two.png"} - {first}).pop()
    assert decisions == {first: "confirmed", second: "ok"}


def test_an_answer_that_comes_too_late_is_not_shown(page: Page) -> None:
    drop(page, ("part.png", png()))
    until(page, "document.querySelector('#name').textContent === 'part.png'")
    held: list[Route] = []
    page.route("**/preview", lambda route: held.append(route))  # noqa: PLW0108  # it marks its handlers
    with page.expect_request("**/preview"):
        page.select_option("#ask-sharpen", "bright")
    page.click("#as-inspected")
    with page.expect_response("**/preview") as answered:
        held[0].continue_()
    answered.value.finished()
    page.wait_for_timeout(300)
    assert page.text_content("#answered") == ""


def test_paint_undo_save_and_reload(page: Page, history: History) -> None:
    drop(page, ("part.png", png(60, 80, spot=False)))
    until(page, "document.querySelector('#name').textContent === 'part.png'")
    page.keyboard.press("b")
    box = page.locator("#overlay").bounding_box()
    assert box is not None
    for x in (0.3, 0.6):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + 0.5 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + (x + 0.1) * box["width"], box["y"] + 0.5 * box["height"], steps=5)
        page.mouse.up()
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+s")
    until(
        page,
        "document.querySelector('#save-painted').disabled && document.querySelector('#said').textContent",
    )
    [(record, review)] = history.reviewed()
    assert review.painted_sha256
    file = history.pictures.painted(record.finding.id, review.painted_sha256)
    assert file is not None
    painted = decoded(file.read_bytes())
    columns = np.flatnonzero(painted.any(0))
    assert 15 < columns.min() < 30 < columns.max() < 40  # the second stroke was taken back
    page.reload()
    until(page, "document.querySelector('#said')?.textContent")
    assert "✓" in (page.text_content("#list") or "")


def test_paint_is_not_lost_without_a_word(page: Page) -> None:
    drop(page, ("one.png", png(60, 80)), ("two.png", png(60, 80, spot=False)))
    shown = page.text_content("#name")
    page.keyboard.press("b")
    box = page.locator("#overlay").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"], steps=5)
    page.mouse.up()
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        if len(asked) == 1:
            dialog.dismiss()
        else:
            dialog.accept()

    page.on("dialog", answer)
    other = "#list li:not(:has([aria-current])) button"
    page.click(other)
    assert page.text_content("#name") == shown
    assert page.is_enabled("#undo")
    page.click(other)
    until(page, f"document.querySelector('#name').textContent !== '{shown}'")
    assert len(asked) == 2


def test_every_file_that_failed_is_listed(page: Page) -> None:
    payload: list[FilePayload] = [
        {"name": name, "mimeType": "image/png", "buffer": content}
        for name, content in (("fine.png", png()), ("a.png", b"junk"), ("b<i>.png", b""))
    ]
    page.set_input_files("#files", payload)
    until(page, "document.querySelector('#failed').open")
    listed = page.locator("#failed-list li").all_text_contents()
    assert [text.partition(":")[0] for text in listed] == ["a.png", "b<i>.png"]
    page.keyboard.press("Escape")
    until(page, "!document.querySelector('#failed').open")


def test_train_promote_and_roll_back(page: Page, tmp_path: Path, client: TestClient) -> None:
    page.goto(f"{page.url.partition('#')[0]}#/train")
    page.click("text=Start training")
    page.wait_for_selector("progress")
    until(
        page, "document.querySelector('.epochs output')?.textContent === 'Epoch 2 · average precision 0.900'"
    )
    until(page, "document.querySelector('.epochs img').naturalWidth === 8")
    assert "dent · 0.90" in (page.text_content(".epochs figcaption") or "")
    set_slider(page, ".epochs input", 1)
    assert page.text_content(".epochs output") == "Epoch 1 · average precision 0.500"
    (tmp_path / "photos" / "parts" / "go").touch()
    page.click("text=Use from now on")
    assert (
        page.text_content(".epochs output") == "Epoch 1 · average precision 0.500"
    )  # it stays where one looks
    until(page, "document.querySelector('#model').textContent.includes('parts-')")
    page.click("text=Back to the run before")
    until(page, "document.querySelector('#model').textContent.includes('first')")


def test_names_are_shown_as_they_can_be_seen(page: Page) -> None:
    drop(page, ("\u202egnp.exe", png()))
    assert page.text_content("#name") == "\\u{202e}gnp.exe"
    assert "\\u{202e}gnp.exe" in (page.text_content("#list") or "")


def test_what_check_finds_is_shown_in_pictures(page: Page, tmp_path: Path) -> None:
    for name, spot, seed in (
        ("good/a", False, 1),
        ("good/b", False, 2),
        ("good/twice", True, 3),
        ("spot/twice", True, 3),
    ):
        file = tmp_path / "photos" / "parts" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(96, 96, spot=spot, seed=seed))
    (tmp_path / "photos" / "parts" / "spot" / "<i>.png").write_bytes(b"none")
    page.goto(f"{page.url.partition('#')[0]}#/train")
    page.click("text=Check")
    page.wait_for_selector(".finding")
    text = page.text_content("#findings") or ""
    assert "Same pixels, different labels (1)" in text
    assert "spot/<i>.png: " in text
    until(page, "[...document.querySelectorAll('#findings img')].every(i => i.naturalWidth > 0)")
    pair = page.locator(".finding", has_text="Same pixels, different labels").locator("figure")
    assert pair.locator("img").count() == 2
    assert page.locator(".finding", has_text="ok · 3 images").locator("img").count() == 3


def test_what_is_listed_can_be_taken_out(page: Page) -> None:
    drop(page, ("part.png", png()), ("fine.png", png(spot=False)))
    page.select_option("#filter select", "defect")
    until(page, "document.querySelectorAll('#list button').length === 1")
    page.click(".takeout summary")
    page.select_option("#take-out-as", "labelme")
    with page.expect_download() as download:
        page.click("#take-out")
    assert download.value.suggested_filename == "inspections.labelme.zip"
    assert zipfile.ZipFile(download.value.path()).namelist() == [
        "images/000001-part.png",
        "images/000001-part.json",
    ]


def test_german_and_nothing_untranslated(page: Page) -> None:
    page.select_option("#language", "de")
    assert page.text_content("[data-page=inspect]") == "Prüfen"
    assert page.get_attribute("html", "lang") == "de"
    source = (Path(__file__).parents[2] / "src/ltcam/service/static").glob("*")
    named = json.loads(
        page.evaluate(
            "import('/static/texts.js').then(m => JSON.stringify([...document.querySelectorAll('[data-text]')]"
            ".map(e => e.dataset.text).filter(n => m.t(n) === n)))"
        )
    )
    assert named == []
    assert any(file.name == "texts.js" for file in source)


@pytest.mark.parametrize("width", [1280, 800])
def test_nothing_serious_for_people_with_other_needs(page: Page, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.set_viewport_size({"width": width, "height": 800})
    drop(page, ("part.png", png()))
    until(page, "document.querySelector('#name').textContent === 'part.png'")
    results = axe.Axe().run(page)
    serious = [v for v in results.response["violations"] if v["impact"] in {"serious", "critical"}]
    assert [(v["id"], [n["target"] for n in v["nodes"]]) for v in serious] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_network_is_asked_with_other_settings(page: Page) -> None:
    drop(page, ("part.png", png()))
    until(page, "document.querySelector('#name').textContent === 'part.png'")
    page.select_option("#ask-sharpen", "bright")
    until(page, "document.querySelector('#answered').textContent.includes('DEFECT')")
    page.click("#as-inspected")
    assert page.text_content("#answered") == ""
    page.click("#side-by-side")
    until(page, "document.querySelectorAll('#gallery-pictures button').length === 5")
    page.click("#gallery-pictures button:nth-child(3)")
    until(page, "document.querySelector('#answered').textContent !== ''")
    assert page.input_value("#ask-method") == "grad-cam"
    page.click("[data-page=evidence]")
    until(page, "document.querySelector('#page-evidence').textContent.includes('SHA-256')")


def test_evidence_counts_epochs_as_the_report_does(page: Page) -> None:
    def told(route: Route) -> None:
        response = route.fetch()
        answer = response.json()
        answer["settings"]["verdict"] = {"threshold": 0.5, "unsure_margin": 0, "evidence": ""}
        answer["evidence"] = {"best_epoch": 6, "epoch_chosen_by": "loss"}
        route.fulfill(response=response, json=answer)

    page.route("**/v1/model", told)
    page.click("[data-page=evidence]")
    until(page, "document.querySelector('#page-evidence').textContent.includes('Epoch 7: loss')")


def test_on_a_phone_the_image_has_the_whole_width(page: Page) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    drop(page, ("part.png", png()))
    until(page, "document.querySelector('#name').textContent === 'part.png'")
    places = {name: page.locator(name).bounding_box() for name in ("#list", "#stage", "#panel")}
    list_, stage, panel = (place for place in places.values() if place is not None)
    assert stage["width"] == panel["width"] == 400
    assert list_["y"] < stage["y"] < panel["y"]
    assert page.evaluate("document.documentElement.scrollWidth") == 400
