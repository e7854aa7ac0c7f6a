from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.conftest import Page

from ltcam.evaluation.summary import Evaluation
from ltcam.reports.evaluation_page import Heading, evaluation_page
from ltcam.reports.examples import ExamplePicture
from ltcam.runs.run import Run
from ltcam_runtime.results import Verdict
from ltcam_runtime.settings import CamSettings, KindSettings, MaskSettings, SharpeningSettings


def picture(
    name: str = "a.png",
    iou: float | None = 0.123,
    verdict: Verdict = "ok",
    group: str = "worst",
    label: str = "crack",
) -> ExamplePicture:
    return ExamplePicture(name, group, label, iou, verdict, 0.4, np.full((20, 60, 3), 90, np.uint8))


def test_page_shows_the_numbers(metrics_of: Callable[..., Evaluation], run: Run, parse: type[Page]) -> None:
    evaluation = metrics_of()
    page = parse(
        evaluation_page(Heading("test side", command="ltcam evaluate a b"), evaluation, run, [picture()])
    )
    metrics = evaluation.to_json()
    pixel, image = metrics["pixel"], metrics["image"]
    low, high = pixel["intervals"]["iou"]
    assert f"Pixel IoU {pixel['iou']:.3f} 95 %: {low:.3f}–{high:.3f}" in page.text
    assert f"Image AP {image['ap']:.3f}" in page.text
    missed, alarms = image["counts"]["fn"], image["counts"]["fp"]
    assert missed > 0
    decided = metrics["decisions"]
    assert (missed, alarms) == (len(decided["missed"]), len(decided["false_alarms"]))
    assert f"{decided['sentence']}." in page.text
    assert f"Defects missed {missed} of 8; 95 %" in page.text
    for row in decided["thresholds"]:
        shown = f"{row['missed']} of 8 {row['alarms']} of 4 {row['pulled_out']}"
        assert re.search(rf"{row['threshold']:.3f}\d* {shown}", page.text), row
    for population in metrics["populations"].values():
        assert f"{population['precision']:.3f}" in page.text
        assert f"{population['boundary']['2']['f1']:.3f}" in page.text
    for tolerance in "123":
        assert f"{pixel['boundary'][tolerance]['f1']:.3f}" in page.text
        assert f"within {tolerance} px of it" in page.text
    assert f"Ceiling {pixel['ceiling_2px']:.3f}." in page.text
    assert f"reach {100 * pixel['iou'] / pixel['ceiling_2px']:.0f} %" in page.text
    assert "Masks were used for measuring only" in page.text
    assert "ltcam evaluate a b" in page.text
    assert "crack · score 0.400 · ok · IoU 0.123" in page.text
    assert len(page.images) == 1


def test_three_populations_stand_side_by_side(metrics_of: Callable[..., Evaluation], run: Run) -> None:
    evaluation = metrics_of()
    metrics = evaluation.to_json()
    text = evaluation_page(Heading("x"), evaluation, run, [])
    match = re.search(r"<strong>IoU</strong>.*?</tr>", text, re.DOTALL)
    assert match is not None
    row = match.group()
    numbers = re.findall(r"<strong>(0\.\d{3})</strong>", row)
    assert numbers == [f"{metrics['populations'][name]['iou']:.3f}" for name in ("defective", "all", "gated")]


def test_page_is_self_contained_and_escaped(
    metrics_of: Callable[..., Evaluation], run: Run, parse: type[Page], evil: str
) -> None:
    heading = Heading(evil, command=evil, run_folder=evil)
    text = evaluation_page(heading, metrics_of(), run, [picture(f"a/{evil}.png")])
    page = parse(text)
    page.assert_self_contained()
    assert "<script" not in text
    assert page.text.count(evil) >= 6  # title twice, class, confusion twice, image, commands
    assert f"ltcam predict {evil} IMAGES --verdict-threshold" in page.text


def test_classes_and_confusion_only_where_there_are_several(
    metrics_of: Callable[..., Evaluation], run: Run, parse: type[Page], evil: str
) -> None:
    several = parse(evaluation_page(Heading("x"), metrics_of(), run, [])).text
    assert "Which class was taken for which" in several
    assert "Named right" in several
    one = parse(evaluation_page(Heading("x"), metrics_of(classes=("crack",)), run, [])).text
    assert "Which class was taken for which" not in one
    assert "Named right" not in one
    assert "Masks that fit worst" not in one


def test_confusion_counts_stand_in_their_rows(metrics_of: Callable[..., Evaluation], run: Run) -> None:
    evaluation = metrics_of()
    metrics = evaluation.to_json()
    text = evaluation_page(Heading("x"), evaluation, run, [])
    match = re.search(r'<table class="confusion">.*?</table>', text, re.DOTALL)
    assert match is not None
    table = match.group()
    rows = [re.findall(r"<td[^>]*>(\d+)</td>", row) for row in table.split("<tr>")[2:]]
    assert [[int(count) for count in row] for row in rows] == metrics["confusion"]["matrix"]
    assert [row.count("--good") for row in table.split("<tr>")[2:]] == [1, 1, 1]


def test_without_masks_only_verdicts_are_shown(
    metrics_of: Callable[..., Evaluation], run: Run, parse: type[Page]
) -> None:
    page = parse(evaluation_page(Heading("x"), metrics_of(masks=False), run, []))
    assert "No defective image has a mask" in page.text
    assert "Pixel IoU" not in page.text
    assert "Defects as boxes" not in page.text
    assert "Verdicts on whole images" in page.text
    assert "None" not in page.text
    assert "Masks were used" not in page.text
    assert "true mask" not in page.text


def test_what_is_drawn_of_each_kind_is_what_was_evaluated(
    metrics_of: Callable[..., Evaluation], run: Run, parse: type[Page]
) -> None:
    seed = "seed crack"
    dark = KindSettings(
        map=seed, sharpening=SharpeningSettings(polarity="dark"), mask=MaskSettings(min_area_px=14)
    )
    maps = {**run.maps, seed: CamSettings(method="seed", stages=run.stages)}
    by_kind = run.model_copy(update={"maps": maps, "kinds": {"crack": dark}})
    text = parse(evaluation_page(Heading("x"), metrics_of(), by_kind, [])).text
    assert "seed crack, dark contrast, cut by Otsu's threshold" in text
    assert "regions smaller than 14 px are dropped" in text
    assert "layer-cam" not in text  # which nothing is drawn by
    mixed = by_kind.model_copy(update={"kinds": {"crack": dark, "dent": KindSettings()}})
    text = parse(evaluation_page(Heading("x"), metrics_of(), mixed, [])).text
    assert "map, no contrast, cut by Otsu's threshold" in text
    assert "layer-cam" in text


def test_undefined_values_are_a_dash(
    metrics_of: Callable[..., Evaluation], run: Run, parse: type[Page]
) -> None:
    metrics = metrics_of(classes=("crack",), images=1)  # one OK image
    page = parse(evaluation_page(Heading("x"), metrics, run, [picture(iou=None)]))
    assert "1 image: 0 defective, 1 OK; 0 false alarms." in page.text
    assert "Defects missed" not in page.text.partition("Another threshold")[0]
    assert "IoU" not in page.text.partition("Masks that fit worst")[2].partition("What was")[0]
    assert not re.search(r"\bNone\b|\bnan\b", page.text)


def test_some_masks_missing_is_said(
    metrics_of: Callable[..., Evaluation], run: Run, parse: type[Page]
) -> None:
    evaluation = metrics_of()
    evaluation = replace(evaluation, images=replace(evaluation.images, defective=11))
    text = parse(evaluation_page(Heading("x"), evaluation, run, [])).text
    assert "3 of 11 defective images have no mask" in text


def test_what_failed_is_listed(
    metrics_of: Callable[..., Evaluation], run: Run, parse: type[Page], evil: str
) -> None:
    page = parse(evaluation_page(Heading("x"), metrics_of(), run, [], failed=[("a.png", evil)]))
    assert f"a.png {evil}" in page.text


@pytest.mark.parametrize(("verdict", "tone"), [("ok", "bad"), ("unsure", "warn"), ("defect", "good")])
def test_verdict_of_a_defective_image_has_its_tone(
    metrics_of: Callable[..., Evaluation], run: Run, verdict: Verdict, tone: str
) -> None:
    text = evaluation_page(Heading("x"), metrics_of(), run, [picture(verdict=verdict, group="found")])
    assert f'<span class="badge {tone}">{verdict}</span>' in text


def test_examples_stand_in_their_groups(
    metrics_of: Callable[..., Evaluation], run: Run, parse: type[Page]
) -> None:
    pictures = [picture("m.png", group="missed"), picture("f.png", None, "defect", "alarms", "ok")]
    text = parse(evaluation_page(Heading("x"), metrics_of(), run, pictures)).text
    assert text.index("Defects that were missed") < text.index("m.png") < text.index("False alarms 1 shown")
    assert text.index("False alarms 1 shown") < text.index("f.png") < text.index("Another threshold")
    assert "Masks that fit best" not in text


def test_all_mistakes_are_named_where_pictures_do_not_show_them(
    metrics_of: Callable[..., Evaluation], run: Run, parse: Callable[[str], Page]
) -> None:
    evaluation = metrics_of(images=30)
    missed = evaluation.decisions.missed
    shown = [picture(name, group="missed") for name in missed[:2]]
    text = parse(evaluation_page(Heading("x"), evaluation, run, shown)).text
    assert f"Defects that were missed: all {len(missed)} names" in text
    assert all(name in text for name in missed)
    every = [picture(name, group="missed") for name in missed]
    assert "missed: all " not in parse(evaluation_page(Heading("x"), evaluation, run, every)).text
