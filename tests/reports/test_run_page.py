from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.conftest import Page

from ltcam.reports import drawing
from ltcam.reports.examples import ExamplePicture, outlined
from ltcam.reports.run_page import GROUPS, Illustrations, run_page
from ltcam.reports.settings_rows import map_rows, plain, stage_names, verdict_sentence
from ltcam.runs.run import Run
from ltcam_runtime.settings import (
    MAP,
    CamSettings,
    KindSettings,
    MaskSettings,
    VerdictSettings,
)

NAN = math.nan


def history(epochs: int = 3, validated: bool = True) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "train_loss": 1 / (epoch + 1),
            "val_loss": 1.2 / (epoch + 1) if validated else NAN,
            "val_ap": 0.7 + 0.1 * epoch if validated else NAN,
            "learning_rate": 1e-4,
        }
        for epoch in range(epochs)
    ]


def test_page_says_what_was_done(run: Run, parse: type[Page]) -> None:
    page = parse(run_page(run, history(), [], title="my run"))
    for words in (
        "Only image labels were used",
        "Masks, if the data have any, were not opened",
        "672 × 256",
        "tf_efficientnet_lite0",
        "294 tensors were filled from",
        "1 were left as initialised; 1 of the source were not used",
        "conv_head.weight",
        "An image whose score is 0.431 or more is judged defective",
        "best F1 (0.952)",
        "S2 blocks.1, S3 blocks.2",
        "percentile 50",
        "torch 2.13.0",
        "Seed 17",
        "The weights of epoch 2 were kept; chosen by: validation image AP, then loss.",
        "every image was read",
    ):
        assert words in page.text.replace("\N{NO-BREAK SPACE}", " "), words
    assert "Validation AP 0.800" in page.text
    assert "Images that could not be read" not in page.text
    assert len(page.images) == 2


def test_page_is_self_contained_and_escaped(run: Run, parse: type[Page], evil: str) -> None:
    failed = [{"image": f"a/{evil}.png", "reason": f"no image {evil}"}]
    text = run_page(run, history(), failed, title=evil)
    parse(text).assert_self_contained()
    assert "<script" not in text
    assert parse(text).text.count(evil) >= 6


def test_settings_speak_of_options(run: Run, parse: type[Page]) -> None:
    text = parse(run_page(run, history(), [], title="x")).text
    assert "no more than the share of --max-miss" in text
    assert "`" not in text


def test_failed_images_are_listed(run: Run, parse: type[Page]) -> None:
    failed = [{"image": f"a_b/{i}.png", "reason": "truncated"} for i in range(3)]
    page = parse(run_page(run, history(), failed, title="x"))
    assert "Unreadable images 3 not used" in page.text
    assert all(f"a_b/{i}.png" in page.text for i in range(3))


def test_best_epoch_is_marked_where_it_is(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    chart = drawing.line_chart

    def kept(*given: Any, **options: Any) -> Figure:
        drawn.append(chart(*given, **options))
        return drawn[-1]

    monkeypatch.setattr(drawing, "line_chart", kept)
    run_page(run, history(), [], title="x")
    for figure in drawn:
        (mark,) = [line for line in figure.axes[0].lines if str(line.get_label()).startswith("_")]
        assert set(np.asarray(mark.get_xdata())) == {run.evidence["best_epoch"] + 1}
        assert [text.get_text() for text in figure.axes[0].texts] == ["kept"]


def test_without_validation_the_page_says_so(run: Run, parse: type[Page]) -> None:
    changed = run.model_copy(
        update={"evidence": {"best_epoch": 2, "epoch_chosen_by": "the last one: nothing was held back"}}
    )
    page = parse(run_page(changed, history(validated=False), [], title="x"))
    assert "No image was held back" in page.text
    assert "Validation AP" not in page.text
    assert "Training loss 0.333" in page.text
    assert len(page.images) == 1
    assert "nan" not in page.text.lower()


def test_run_with_the_bare_minimum(run: Run, parse: type[Page]) -> None:
    bare = run.model_copy(
        update={
            "training": {},
            "initial_weights": {},
            "data": {},
            "evidence": {},
            "versions": {},
            "command": "",
        }
    )
    page = parse(run_page(bare, [], [], title="bare"))
    assert page.images == []
    assert "Verdict threshold 0.431" in page.text


def test_long_training_stays_small(run: Run) -> None:
    assert len(run_page(run, history(2000), [], title="x")) < 150_000


def test_map_settings_in_words(run: Run) -> None:
    rows = {row.name: row for row in map_rows(run)}
    assert rows["Truncation"].value == "percentile 50"
    assert "eq. 9" in rows["Truncation acts on"].meaning
    assert rows["Fusion"].value == "sum"
    assert rows["Scale of stages"].value == "tanh"
    assert rows["Mask threshold"].value == "0.35"
    assert rows["Smallest region"].value == "9 px"
    one = run.model_copy(update={"maps": {MAP: CamSettings(stages=("blocks.2",))}, "mask": MaskSettings()})
    rows = {row.name: row for row in map_rows(one)}
    assert rows["Truncation"].value == "none"
    assert rows["Mask threshold"].value == "Otsu"
    assert not {"Fusion", "Scale of stages", "Smallest region", "Truncation acts on"} & set(rows)
    product = run.model_copy(update={"maps": {MAP: CamSettings(stages=run.stages, stage_scale="tanh")}})
    assert "Scale of stages" not in {row.name for row in map_rows(product)}  # a product ignores it


def test_every_setting_has_words(run: Run) -> None:
    for name in ("fusion", "stage_scale", "scope", "reading"):
        for value in get_args(CamSettings.model_fields[name].annotation):
            cam = CamSettings.model_validate({**run.cam.model_dump(), "fusion": "max", name: value})
            assert all(row.value for row in map_rows(run.model_copy(update={"maps": {MAP: cam}})))


def test_layers_outside_the_stages_have_no_number(run: Run) -> None:
    changed = run.model_copy(update={"maps": {MAP: CamSettings(stages=("blocks.2", "conv_head"))}})
    assert stage_names(changed).replace("\N{NO-BREAK SPACE}", " ") == "S3 blocks.2, conv_head"


def test_verdict_sentence_with_a_margin(run: Run) -> None:
    unsure = run.model_copy(update={"verdict": VerdictSettings(threshold=0.4, unsure_margin=0.1)})
    assert "0.500 or more is judged defective; below 0.300" in verdict_sentence(unsure)
    assert "a person should look" in verdict_sentence(unsure)
    assert "a person" not in verdict_sentence(run)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "default"),
        (True, "yes"),
        ([640, None], "640, default"),
        (0.0001, "0.0001"),
        ({"a": 1}, "a: 1"),
        ("x", "x"),
    ],
)
def test_plain(value: Any, text: str) -> None:
    assert plain(value) == text


def test_why_each_kind_is_drawn_as_it_is_is_shown(run: Run, parse: type[Page]) -> None:
    row = {
        "map": "seed",
        "polarity": "dark",
        "window": 0.12,
        "floor": 10.9,
        "cut": "ok pixels",
        "fill_holes": True,
        "drop": 0.1243,
        "rise": 0.31,
        "area": 0.037,
        "value": 0.963,
    }
    plain_row = row | {"map": "map", "polarity": "none", "cut": "otsu", "fill_holes": False, "value": 0.7}
    kind = run.classes[1]
    why = {
        "sentence": "best of <2> candidates",
        "explained": 0.1243,
        "trust": "poor",
        "candidates": [row, plain_row],
    }
    sharp = run.model_copy(update={"kinds": {kind: KindSettings()}, "evidence": {"kinds": {kind: why}}})
    text = parse(run_page(sharp, history(), [], title="x")).text
    for words in ("What is drawn of each kind", "Best of <2> candidates", "ok pixels, holes filled", "0.963"):
        assert words in text
    assert "takes 12 % of the score: poor" in text
    assert "do not measure with them" in text
    worse = sharp.model_copy(update={"evidence": {"kinds": {kind: {**why, "explained": -0.45}}}})
    assert "takes nothing of the score: poor" in parse(run_page(worse, history(), [], title="x")).text
    assert "What is drawn of each kind" not in parse(run_page(run, history(), [], title="x")).text


def test_what_was_chosen_is_shown_beside_what_was_not(run: Run, parse: type[Page]) -> None:
    row = {
        "map": "seed",
        "polarity": "dark",
        "window": 0.12,
        "cut": "ok pixels",
        "fill_holes": False,
        "drop": 0.7,
        "rise": 0.31,
        "area": 0.037,
        "value": 0.963,
    }
    other = row | {"map": "last stage", "polarity": "none", "cut": "otsu", "value": 0.241}
    kind = run.classes[2]  # the evil one
    why = {"sentence": "best of 2 candidates", "candidates": [row], "shown": [row, other]}
    chosen = run.model_copy(update={"kinds": {kind: KindSettings()}, "evidence": {"kinds": {kind: why}}})
    mask = np.zeros((60, 80), bool)
    mask[20:30, 30:50] = True
    pictures = outlined(np.full((60, 80, 3), 90, np.uint8), [mask, ~mask])
    page = parse(run_page(chosen, [], [], Illustrations(outlines={kind: pictures}), title="x"))
    assert len(page.images) == 3
    page.assert_self_contained()
    for words in (
        "seed, dark contrast, surroundings 12 %, cut by ok pixels · value 0.963 chosen",
        "last stage, no contrast, cut by otsu · value 0.241",
    ):
        assert words in page.text
    without = parse(run_page(chosen, [], [], title="x"))
    assert not without.images


def test_outlines_are_drawn_around_masks_and_nowhere_else() -> None:
    mask = np.zeros((60, 80), bool)
    mask[20:30, 30:50] = True
    image = np.full((60, 80, 3), 90, np.uint8)
    plain, marked, nothing = outlined(image, [mask, np.zeros_like(mask)])
    assert plain.shape == (240, 320, 3)
    assert (nothing == plain).all()
    changed = np.argwhere((marked != plain).any(2))
    assert changed.min(0).tolist() > [60, 100]
    assert changed.max(0).tolist() < [140, 220]
    assert (marked[100, 160] == plain[100, 160]).all()


def test_why_nothing_was_chosen_is_said(run: Run, parse: type[Page]) -> None:
    plain_run = run.model_copy(update={"evidence": {"kinds": {"sentence": "no defective image was told"}}})
    assert "no defective image was told" in parse(run_page(plain_run, history(), [], title="x")).text


def test_reach_of_a_mask_in_words(run: Run) -> None:
    settings = MaskSettings(reach=0.15)
    names = {row.name: row.value for row in map_rows(run.model_copy(update={"mask": settings}))}
    assert names["Mask reaches down to"] == "0.15"


def test_a_students_page_says_whose_masks_it_learned(run: Run, parse: type[Page]) -> None:
    student = run.model_copy(
        update={
            "network": "student",
            "maps": {MAP: run.cam.model_copy(update={"method": "student"})},
            "mask": MaskSettings(threshold=0.5, of="value"),
            "evidence": {
                "best_epoch": 1,
                "teacher": {"run": "<teacher>"},
                "epoch_chosen_by": "being the last",
            },
        }
    )
    text = parse(run_page(student, history(), [], title="x")).text
    assert "masks that another run (<teacher>) made of image labels" in text
    assert "probability above which a pixel counts" in text
    assert "No image was held back" not in text
    assert "starts untrained" not in text
    assert "Fusion" not in text


def with_validation(run: Run, evil: str) -> Run:
    found = {
        "images": 7,
        "defective": 3,
        "missed": 1,
        "alarms": 2,
        "confusion": {"judged": ["ok", "crack", evil], "rows": {"ok": [2, 1, 1], evil: [1, 0, 2]}},
        "reliability": [
            {"images": 3, "score": 0.1, "defective": 0.3333},
            {"images": 4, "score": 0.9, "defective": 0.5},
        ],
        "scores": {"ok": [0.1, 0.1, 0.8, 0.9], "defective": [0.2, 0.9, 0.95]},
        "unsure": {
            "sentence": "3 of 7 are on the wrong side; an unsure margin of 0.4 leaves 2 of them to a person"
        },
    }
    return run.model_copy(update={"evidence": {**run.evidence, "validation": found}})


def test_page_shows_what_was_held_back_first(run: Run, evil: str) -> None:
    picture = np.full((20, 60, 3), 90, np.uint8)
    pictures = [
        ExamplePicture(f"{evil}.png", "missed", evil, None, "ok", 0.2, picture, compared=False),
        ExamplePicture("fine.png", "passed", "ok", None, "ok", 0.1, picture, compared=False),
    ]
    page = run_page(with_validation(run, evil), [], [], Illustrations(pictures), title="t")
    assert "7 images: 3 defective, 4 OK; 1 defect missed, 2 false alarms" in page
    assert "an unsure margin of 0.4 leaves 2 of them" in page
    assert page.index("held back") < page.index("The data")
    assert page.index(f"<h2>{GROUPS['missed']}") < page.index("fine.png")
    assert f"<h2>{GROUPS['alarms']}" not in page
    assert evil not in page
    assert page.count("data:image/svg+xml") == 1  # reliability
    assert len(page) < 300_000


def test_mistakes_on_what_was_held_back_are_the_first_numbers(run: Run, evil: str, parse: type[Page]) -> None:
    student = with_validation(run.model_copy(update={"network": "student"}), evil)
    student.evidence["teacher"] = {"run": "teacher"}
    text = parse(run_page(student, history(validated=False), [], title="t")).text
    assert "Defects missed 1 of 3 held back" in text
    assert "False alarms 2 of 4 held back" in text
    assert "not validated" not in text


def test_how_far_masks_can_be_trusted_stands_before_the_pictures(run: Run, parse: type[Page]) -> None:
    crack, other = run.classes[1:]
    why = {crack: {"explained": 0.8, "trust": "good"}, other: {"explained": 0.3, "trust": "fair"}}
    told = run.model_copy(
        update={"kinds": {crack: KindSettings(), other: KindSettings()}, "evidence": {"kinds": why}}
    )
    picture = np.full((20, 60, 3), 90, np.uint8)
    shown = [ExamplePicture("a.png", "found", crack, None, "defect", 0.9, picture, compared=False)]
    text = parse(run_page(told, history(), [], Illustrations(shown), title="t")).text
    assert "Masks to be trusted 1 of 2" in text
    assert text.index("How far its masks can be trusted") < text.index(GROUPS["found"])
    assert "crack good 80 % map, no contrast, cut by Otsu's threshold" in text
    assert f"{other}: The outlines explain the verdict in part" in text


def test_what_to_do_next_fits_the_run(run: Run, evil: str, parse: type[Page]) -> None:
    trained, quick, student = (
        parse(run_page(each, entries, [], title="t")).text
        for each, entries in (
            (run, history()),
            (with_validation(run, evil), []),
            (run.model_copy(update={"network": "student", "evidence": {"teacher": {"run": "x"}}}), history()),
        )
    )
    assert all("ltcam predict RUN IMAGES" in text for text in (trained, quick, student))
    assert "ltcam train DATA" in quick
    assert "ltcam train DATA" not in trained + student
    assert "ltcam distill RUN DATA" in trained
    assert "ltcam distill RUN DATA" not in quick + student


def test_page_without_validation_says_so_and_shows_what_was_trained_on(run: Run) -> None:
    picture = np.full((20, 60, 3), 90, np.uint8)
    shown = [ExamplePicture("a.png", "trained", "crack", None, "defect", 0.9, picture, compared=False)]
    page = run_page(run, [], [], Illustrations(shown), title="t")
    assert GROUPS["trained"] in page
    assert "On images that were held back" not in page


def test_a_run_without_training_shows_no_settings_of_one(run: Run, parse: type[Page]) -> None:
    told = run.model_copy(update={"training": {"epochs": 16, "augment": True, "validation_share": 0.25}})
    trained, fitted = (parse(run_page(told, entries, [], title="x")).text for entries in (history(), []))
    for words in ("Settings of the training", "passes over the balanced sample", "starts untrained"):
        assert words in trained
        assert words not in fitted
    assert "Validation share" in fitted
