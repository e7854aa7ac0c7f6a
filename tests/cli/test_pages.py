"""Numbers on pages are those of the JSON beside them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Page

Call = Callable[..., Any]
_PIXEL_ROWS = {
    "IoU": "iou",
    "F1": "f1",
    "Precision": "precision",
    "Recall": "recall",
    "Mean IoU per image": "mean_image_iou",
    "Mean IoU of both classes (mIoU)": "two_class_miou",
    "IoU ceiling (2 px)": "ceiling_2px",
    "Pixel AP": "ap",
    "Pixel AUROC": "auroc",
    "PRO": "pro",
}
_THREE_DIGITS = r"(?<![\d.])\d\.\d{3}(?![\d.])"
_IMAGE_ROWS = {"AP": "ap", "AUROC": "auroc", "F1": "f1", "Precision": "precision", "Recall": "recall"}


@pytest.fixture(scope="module")
def metrics(ltcam: Call, data: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pages") / "metrics"
    result = ltcam("evaluate", trained, data, "--split", "all", "--out", out)
    assert result.code == 0, result.err
    return out


def read_json(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def numbers(value: object) -> Iterator[float]:
    """All numbers in a JSON value."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, (int, float)):
        yield float(value)
    elif isinstance(value, str):
        yield from (float(each) for each in re.findall(r"\d+\.\d+", value))
    else:
        for each in value.values() if isinstance(value, Mapping) else value:  # type: ignore[attr-defined]
            yield from numbers(each)


def test_an_evaluation(metrics: Path) -> None:
    found = read_json(metrics / "metrics.json")
    source = (metrics / "report.html").read_text(encoding="utf-8")
    pixels = source[source.index("<h2>Pixels</h2>") :]
    for name, key in _PIXEL_ROWS.items():
        assert cells(pixels, name) == [cell(each, key) for each in found["populations"].values()]
    verdicts = source[source.index("<h2>Verdicts on whole images</h2>") :]
    for name, key in _IMAGE_ROWS.items():
        assert cells(verdicts, name) == [cell(found["image"], key)]
    page = Page(source)
    assert found["decisions"]["sentence"] in page.text
    for row in found["decisions"]["thresholds"]:
        counts = (
            f"{row['missed']} of {found['images']['defective']} {row['alarms']} of {found['images']['ok']}"
        )
        assert f"{counts} {row['pulled_out']}" in page.text
    with (metrics / "images.csv").open(newline="", encoding="utf-8") as file:
        known = {
            f"{float(row[name]):.3f}"
            for row in csv.DictReader(file)
            for name in ("score", "iou")
            if row[name]
        }
    known |= {f"{number:.3f}" for number in numbers(found)}
    assert set(re.findall(_THREE_DIGITS, page.text)) - known == set()


def test_a_check_of_data(ltcam: Call, data: Path, tmp_path: Path) -> None:
    result = ltcam("data", "check", data, "--page", tmp_path / "page.html", "--json")
    found = json.loads(result.out)
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert f"Ready to train: {found['readiness']['ready']}" in page.text
    for label, counts in found["readiness"]["sides"].items():
        assert f"{label} {counts['train']} {counts['val']} {counts['test']}" in page.text
    for each in found["classes"]:
        share = f"{100 * each['images'] / found['images']:.1f} %"
        assert f"{each['name']} {each['images']} {share} {each['groups']} {each['masks']}" in page.text
    assert f"Sizes all {found['widths']['median']:g} × {found['heights']['median']:g} px" in page.text


def cells(source: str, name: str) -> list[tuple[str, str]]:
    """Value and interval in each column of a table's row."""
    row = re.search(rf"<strong>{re.escape(name)}</strong>(.*?)</tr>", source, re.S)
    assert row is not None, name
    cell = r'<td class="number[^"]*"><strong>(.*?)</strong>(?:<span class="interval-text">(.*?)</span>)?'
    return [(unescape(value), unescape(interval)) for value, interval in re.findall(cell, row[1])]


def cell(values: Mapping[str, Any], key: str) -> tuple[str, str]:
    value, (low, high) = values.get(key), values["intervals"].get(key, (None, None))
    shown = "–" if value is None else f"{value:.3f}"
    return shown, "" if low is None or low == high else f"{low:.3f}–{high:.3f}"


def test_a_prediction(ltcam: Call, data: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    assert ltcam("predict", trained, data / "hole", "--out", out).code == 0
    source = (out / "report.html").read_text(encoding="utf-8")
    content = re.search(r'<script type="application/json" id="data">(.*?)</script>', source, re.S)
    assert content is not None
    shown = json.loads(content[1])
    images = read_json(out / "predictions.json")["images"]
    rows = [dict(zip(shown["columns"], row, strict=True)) for row in shown["images"]]
    assert [(row["name"], row["verdict"], row["regions"]) for row in rows] == [
        (image["image"], image["verdict"], len(image["regions"])) for image in images
    ]
    for row, image in zip(rows, images, strict=True):
        assert row["score"] == pytest.approx(image["score"], abs=1e-4)
        assert row["size"] == max((region["area_px"] for region in image["regions"]), default=0)
    verdicts = [image["verdict"] for image in images]
    assert {name: count for name, count in shown["counts"].items() if count} == {
        name: verdicts.count(name) for name in set(verdicts)
    }


def test_a_training(trained: Path) -> None:
    run = read_json(trained / "run.json")
    with (trained / "history.csv").open(newline="", encoding="utf-8") as file:
        history = [float(value) for row in csv.DictReader(file) for value in row.values() if value]
    page = Page((trained / "report.html").read_text(encoding="utf-8"))
    known = {f"{number:.3f}" for number in (*numbers(run), *history)}
    known |= {f"{1 - number:.3f}" for number in numbers(run)}
    evidence = run["evidence"]["validation"]
    assert f"{evidence['missed']} defect" in page.text
    assert f"{evidence['alarms']} false alarm" in page.text
    for name, counts in evidence["confusion"]["rows"].items():
        assert f"{name} {' '.join(map(str, counts))}" in page.text
    for kind in run["evidence"]["kinds"].values():
        for row in kind["candidates"]:
            for key in ("drop", "rise", "value"):
                assert f"{row[key]:.3f}" in page.text
    score = f"(?<!score ){_THREE_DIGITS}"  # pictures are of files, as predict inspects them
    assert set(re.findall(score, page.text)) <= known
