from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage, stats
from sklearn import metrics as sk

from ltcam.evaluation.binomial import exact_interval
from ltcam.evaluation.boundary import boundary_counts, boundary_f1
from ltcam.evaluation.boxes import mask_boxes
from ltcam.evaluation.counts import PixelCounts, count_pixels, f1, iou, precision, recall
from ltcam.evaluation.evaluate import Histograms, ImageRecord, Prediction, make_histograms, record_image
from ltcam.evaluation.metrics import MaskCounts, MaskMetrics
from ltcam.evaluation.summary import SummarySettings
from ltcam.evaluation.summary import summarise as summarise_typed
from ltcam_runtime.results import Verdict


def summarise(*given: Any, **options: Any) -> dict[str, Any]:
    """The summary as metrics.json has it."""
    return summarise_typed(*given, **options).to_json()


def mask_of(
    tp: int = 0, fp: int = 0, fn: int = 0, size: int = 20
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Prediction and truth (1, size) with just these counts."""
    prediction, truth = np.zeros((1, size), bool), np.zeros((1, size), bool)
    prediction[0, : tp + fp] = True
    truth[0, :tp] = True
    truth[0, tp + fp : tp + fp + fn] = True
    return prediction, truth


@dataclass(frozen=True)
class Judged:
    """What is predicted of an image beside its mask."""

    verdict: Verdict = "defect"
    score: float = 0.9
    classes: dict[str, float] = field(default_factory=dict)
    heatmap: NDArray[np.float32] | None = None


def record_of(
    image: str,
    label: str,
    prediction: NDArray[Any],
    truth: NDArray[Any] | None,
    judged: Judged = Judged(),  # frozen
) -> ImageRecord:
    rest = (judged.verdict, judged.score, judged.classes, judged.heatmap)
    return record_image(image, label, Prediction(prediction, mask_boxes(prediction), *rest), truth)


def surface(
    seed: int, shape: tuple[int, int] = (40, 60)
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 3)
    truth = field > np.quantile(field, 0.93)
    heatmap = np.maximum(np.roll(field, 2, axis=1) - np.quantile(field, 0.5), 0)
    return heatmap.astype(np.float32), truth, heatmap > np.quantile(heatmap, 0.9)


VERDICTS: tuple[Verdict, ...] = ("defect", "ok", "ok", "unsure")


def evaluation(images: int = 12, seed: int = 0) -> tuple[list[ImageRecord], Histograms, list[Any]]:
    """Records and histograms of a mixed set: cracks, pits, OK images with false alarms."""
    records, histograms, raw = [], make_histograms(seed), []
    for index in range(images):
        heatmap, truth, mask = surface(index)
        label = ("crack", "pit", "ok", "ok")[index % 4]
        verdict = VERDICTS[index % 4]
        score = (0.9, 0.2, 0.1, 0.5)[index % 4] + index / 1000
        if label == "ok":
            truth = np.zeros_like(truth)
        classes = {"ok": 1 - score, "crack": score * 0.6, "pit": score * 0.4}
        record = record_of(f"{index:02}.png", label, mask, truth, Judged(verdict, score, classes, heatmap))
        histograms.add(record, heatmap, truth)
        records.append(record)
        raw.append((heatmap, truth, mask, label, verdict, score))
    return records, histograms, raw


def test_golden_g7_through_the_summary() -> None:
    records = [
        record_of("a", "crack", *mask_of(tp=8, fp=2)),
        record_of("b", "crack", *mask_of(tp=1, fp=3, fn=4)),
    ]
    pixel = summarise(records, make_histograms(), SummarySettings(threshold=0.5, bootstrap=10))["pixel"]
    assert pixel["precision"] == 9 / 14
    assert pixel["recall"] == 9 / 13
    assert pixel["f1"] == pytest.approx(2 / 3)
    assert pixel["iou"] == 0.5
    assert pixel["mean_image_iou"] == pytest.approx(0.4625)
    assert pixel["two_class_miou"] == pytest.approx((0.5 + 22 / 31) / 2)


def test_populations_differ_by_images_and_verdict() -> None:
    records = [
        record_of("hit", "crack", *mask_of(tp=4, fp=2, fn=1), Judged(verdict="defect")),
        record_of("missed", "crack", *mask_of(tp=3, fp=1), Judged(verdict="ok", score=0.1)),
        record_of("fine", "ok", *mask_of(fp=5), Judged(verdict="ok", score=0.2)),
        record_of("alarm", "ok", *mask_of(fp=7), Judged(verdict="unsure", score=0.6)),
    ]
    found = summarise(records, make_histograms(), SummarySettings(threshold=0.5, bootstrap=5))["populations"]
    expected = {
        "defective": PixelCounts(7, 3, 1),
        "all": PixelCounts(7, 15, 1),
        "gated": PixelCounts(4, 9, 4),
    }
    for name, counts in expected.items():
        for metric, formula in (("iou", iou), ("precision", precision), ("recall", recall), ("f1", f1)):
            assert found[name][metric] == formula(counts), (name, metric)
    assert [found[name]["images"] for name in expected] == [2, 4, 4]
    # IoU per image: 4/7, 3/4; false alarms count 0; an OK image left empty is undefined and not averaged.
    assert found["defective"]["mean_image_iou"] == pytest.approx((4 / 7 + 3 / 4) / 2)
    assert found["all"]["mean_image_iou"] == pytest.approx((4 / 7 + 3 / 4) / 4)
    assert found["gated"]["mean_image_iou"] == pytest.approx(4 / 7 / 3)
    gated = records[1].gated().counts
    assert gated is not None
    assert gated.pixels == PixelCounts(0, 0, 3, 17)


def test_summary_equals_pooling_all_pixels() -> None:
    records, histograms, raw = evaluation()
    found = summarise(records, histograms, SummarySettings(threshold=0.45, bootstrap=20))
    defective = [row for row in raw if row[3] != "ok"]
    for population, rows in (("defective", defective), ("all", raw)):
        mask = np.concatenate([row[2].ravel() for row in rows])
        truth = np.concatenate([row[1].ravel() for row in rows])
        heat = np.concatenate([row[0].ravel() for row in rows])
        numbers = found["populations"][population]
        assert numbers["iou"] == pytest.approx(sk.jaccard_score(truth, mask))
        assert numbers["f1"] == pytest.approx(sk.f1_score(truth, mask))
        assert numbers["two_class_miou"] == pytest.approx(sk.jaccard_score(truth, mask, average="macro"))
        assert numbers["ap"] == pytest.approx(sk.average_precision_score(truth, heat), abs=1e-4)
        assert numbers["auroc"] == pytest.approx(sk.roc_auc_score(truth, heat), abs=1e-5)
        assert 0 < numbers["pro"] < 1
    assert "ap" not in found["populations"]["gated"]
    near = [boundary_counts(row[2], row[1])[2] for row in defective]
    total = near[0]
    for each in near[1:]:
        total = total + each
    assert found["pixel"]["boundary"]["2"]["f1"] == boundary_f1(total)
    labels, scores = [row[3] != "ok" for row in raw], [row[5] for row in raw]
    assert found["image"]["ap"] == pytest.approx(sk.average_precision_score(labels, scores))
    assert found["image"]["auroc"] == pytest.approx(sk.roc_auc_score(labels, scores))
    assert found["image"]["f1"] == pytest.approx(sk.f1_score(labels, np.array(scores) >= 0.45))
    assert found["image"]["accuracy"] == pytest.approx(sk.accuracy_score(labels, np.array(scores) >= 0.45))
    assert found["image"]["threshold"] == 0.45
    assert found["image"]["unsure"] == 3
    assert found["images"] == {"total": 12, "defective": 6, "ok": 6, "with_mask": 12}


def test_shape_of_the_result() -> None:
    records, histograms, _ = evaluation()
    found = summarise(records, histograms, SummarySettings(threshold=0.5, bootstrap=20))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["schema_version"] == 1
    numbers = {"iou", "precision", "recall", "f1", "ap", "auroc", "pro", "mean_image_iou", "two_class_miou"}
    assert set(found["pixel"]) == numbers | {"boundary", "ceiling_2px", "intervals"}
    assert set(found["pixel"]["boundary"]) == {"1", "2", "3"}
    assert set(found["boxes"]) == {"0.5", "0.1", "intervals"}
    assert set(found["populations"]) == {"defective", "all", "gated"}
    for population in found["populations"].values():
        check_intervals(population, population["intervals"])
    check_intervals(found["pixel"], found["pixel"]["intervals"])
    check_intervals(found["boxes"], found["boxes"]["intervals"])
    check_intervals(found["image"], found["image"]["intervals"])


def check_intervals(values: Mapping[str, Any], intervals: Mapping[str, Any]) -> None:
    """Intervals mirror the numbers beside them, and hold them."""
    for name, interval in intervals.items():
        if isinstance(interval, dict):
            check_intervals(values[name], interval)
        else:
            low, high = interval
            assert 0 <= low <= values[name] <= high <= 1, name


def test_boxes_are_pooled() -> None:
    truth = np.zeros((30, 30), bool)
    truth[2:8, 2:8] = truth[20:26, 20:26] = True
    half = np.zeros_like(truth)
    half[2:8, 2:7] = True
    half[14:16, 2:4] = True
    found = summarise(
        [record_of("a", "pit", half, truth)], make_histograms(), SummarySettings(threshold=0.5, bootstrap=3)
    )
    assert found["boxes"]["0.5"] == {"recall": 0.5, "precision": 0.5}
    assert found["populations"]["gated"]["boxes"]["0.1"]["recall"] == 0.5


def test_order_of_the_records_does_not_matter() -> None:
    records, histograms, _ = evaluation()
    found = summarise(records, histograms, SummarySettings(threshold=0.5, bootstrap=50))
    random.Random(3).shuffle(records)
    assert summarise(records, histograms, SummarySettings(threshold=0.5, bootstrap=50)) == found
    assert summarise(records, histograms, SummarySettings(threshold=0.5, bootstrap=50, seed=1)) != found


def test_classes_are_told_apart_where_there_are_several() -> None:
    records, histograms, raw = evaluation()
    found = summarise(records, histograms, SummarySettings(threshold=0.5, bootstrap=5))
    assert set(found["classes"]) == {"crack", "pit"}
    pits = [count_pixels(row[2], row[1]) for row in raw if row[3] == "pit"]
    assert found["classes"]["pit"]["pixel_iou"] == iou(sum(pits, PixelCounts()))
    assert found["classes"]["pit"]["image_recall"] == found["classes"]["pit"]["class_recall"] == 0
    assert found["classes"]["crack"]["image_recall"] == found["classes"]["crack"]["class_recall"] == 1
    assert found["confusion"]["classes"] == ["ok", "crack", "pit"]
    # Rows are labels. OK images scored 0.5 count as what they are judged, though OK is the likeliest class of all.
    assert found["confusion"]["matrix"] == [[3, 3, 0], [0, 3, 0], [3, 0, 0]]
    cracks = [record for record in records if record.label in ("ok", "crack")]
    assert summarise(cracks, histograms, SummarySettings(threshold=0.5, bootstrap=5))["classes"] == {}


def test_without_class_scores_there_is_no_confusion() -> None:
    found = summarise(
        [record_of("a", "pit", *mask_of(tp=1))],
        make_histograms(),
        SummarySettings(threshold=0.5, bootstrap=2),
    )
    assert found["confusion"] is None


def test_worst_images_come_first_and_undefined_ones_not_at_all() -> None:
    records = [
        record_of("good", "crack", *mask_of(tp=9, fn=1)),
        record_of("bad", "crack", *mask_of(tp=1, fp=9)),
        record_of("awful", "crack", *mask_of(fn=4)),
        record_of("nothing", "crack", *mask_of()),
        record_of("ok", "ok", *mask_of(fp=3)),
    ]
    found = summarise(records, make_histograms(), SummarySettings(threshold=0.5, bootstrap=2, worst=2))
    assert found["worst"] == ["awful", "bad"]


def test_defective_images_without_mask_count_as_images_only() -> None:
    prediction, truth = mask_of(tp=3)
    histograms = make_histograms()
    unknown = record_of("unknown", "crack", prediction, None, Judged(score=0.8))
    known = record_of("known", "crack", prediction, truth)
    fine = record_of("fine", "ok", prediction, None, Judged(verdict="ok", score=0.1))
    for record in (unknown, known, fine):
        histograms.add(record, prediction.astype(float), truth if record is known else None)
    assert unknown.counts is None
    # An OK image needs no mask to be known.
    assert fine.counts is not None
    assert fine.counts.pixels == PixelCounts(0, 3, 0, 17)
    found = summarise([unknown, known, fine], histograms, SummarySettings(threshold=0.5, bootstrap=5))
    assert found["images"] == {"total": 3, "defective": 2, "ok": 1, "with_mask": 1}
    assert found["populations"]["defective"]["images"] == 1
    assert found["populations"]["all"]["images"] == 2
    assert found["image"]["auroc"] == 1
    assert histograms.defective.images == histograms.ok.images == 1


def test_no_masks_at_all_and_one_class_only_are_null() -> None:
    prediction, _ = mask_of(tp=3)
    records = [record_of(name, "crack", prediction, None) for name in "abc"]
    found = summarise(records, make_histograms(), SummarySettings(threshold=0.5, bootstrap=5))
    assert found["pixel"]["iou"] is None
    assert found["pixel"]["ap"] is None
    assert found["pixel"]["ceiling_2px"] is None
    assert found["pixel"]["intervals"]["iou"] == [None, None]
    assert found["image"]["auroc"] is None
    assert found["image"]["recall"] == 1
    assert found["image"]["precision"] is None  # there is nothing that a verdict could be wrong about
    assert found["image"]["f1"] is None
    json.dumps(found, allow_nan=False)


def test_all_empty_is_undefined() -> None:
    empty = np.zeros((5, 5), np.uint8)
    records = [record_of(name, "ok", empty, empty, Judged(verdict="ok", score=0.1)) for name in "ab"]
    found = summarise(records, make_histograms(), SummarySettings(threshold=0.5, bootstrap=5))
    for population in found["populations"].values():
        assert population["iou"] is None
        assert population["mean_image_iou"] is None
        assert population["boundary"]["1"]["f1"] is None
    assert found["image"]["accuracy"] == 1
    assert found["image"]["f1"] is None


def test_bad_input_names_the_image() -> None:
    prediction, truth = mask_of(tp=3)
    with pytest.raises(ValueError, match=r"a\.png: .*\(1, 20\).*\(1, 19\)"):
        record_of("a.png", "crack", prediction, truth[:, 1:])
    with pytest.raises(ValueError, match=r"a\.png: truth is neither"):
        record_of("a.png", "crack", prediction, truth * 7)
    with pytest.raises(ValueError, match="score"):
        record_of("a.png", "crack", prediction, truth, Judged(score=math.nan))
    with pytest.raises(ValueError, match="no records"):
        summarise([], make_histograms(), SummarySettings(threshold=0.5))


def test_what_is_not_judged_defective_is_not_named_right() -> None:
    _, truth, mask = surface(1)
    classes = {"ok": 0.55, "crack": 0.3, "pit": 0.15}
    records = [
        record_of(f"{kind}{n}", kind, mask, truth, Judged("unsure", score, classes))
        for kind in ("crack", "pit")
        for n, score in enumerate((0.45, 0.6))
    ]
    found = summarise(records, make_histograms(), SummarySettings(threshold=0.5, bootstrap=3))["classes"]
    assert (found["crack"]["image_recall"], found["crack"]["class_recall"]) == (0.5, 0.5)
    assert (found["pit"]["image_recall"], found["pit"]["class_recall"]) == (0.5, 0)


def test_kinds_have_hits_exact_bounds_and_a_mean() -> None:
    records, histograms, raw = evaluation()
    found = summarise_typed(records, histograms, SummarySettings(threshold=0.5, bootstrap=5))
    peaks: dict[str, Any] = {}
    for heatmap, truth, _, label, *_ in raw:
        if label != "ok":
            y, x = np.unravel_index(np.argmax(heatmap), heatmap.shape)
            distance = ndimage.distance_transform_edt(~truth)[y, x]
            peaks.setdefault(label, []).append((distance <= 8, truth[y, x]))
    for name, own in peaks.items():
        images, kind = found.kinds[name]
        assert images == len(own)
        assert (kind.hit_8px.value, kind.hit_inside.value) == tuple(np.mean(own, axis=0))
        assert (kind.hit_8px.low, kind.hit_8px.high) == exact_interval(sum(near for near, _ in own), len(own))
    every = [pair for own in peaks.values() for pair in own]
    assert found.hits.hit_8px.value == np.mean([near for near, _ in every])
    mean = np.mean([kind.pixel_iou.value for _, kind in found.kinds.values()])
    assert found.mean_over_kinds(lambda kind: kind.pixel_iou) == pytest.approx(mean)
    means = found.to_json()["mean_over_kinds"]
    assert means["pixel_iou"] == pytest.approx(mean)
    for name in ("image_recall", "class_recall", "hit_8px"):  # which the page shows too
        values = [getattr(kind, name).value for _, kind in found.kinds.values()]
        assert means[name] == pytest.approx(np.mean(values)), name


def test_one_of_one_is_not_certain() -> None:
    """Shares of whole images have exact bounds: of Clopper and Pearson's own definition, by the binomial's tails."""
    found = summarise_typed(
        [
            record_of("a", "pit", *mask_of(tp=1)),
            record_of("b", "ok", *mask_of(), Judged(verdict="ok", score=0.1)),
        ],
        make_histograms(),
        SummarySettings(threshold=0.5, bootstrap=2),
    )
    recall = found.verdicts.metrics.recall
    assert (recall.value, recall.high) == (1, 1)
    assert recall.low == pytest.approx(0.025)
    assert found.verdicts.metrics.f1.low == pytest.approx(2 * 0.025 / 1.025)
    low, high = exact_interval(7, 9)
    assert stats.binom.sf(6, 9, low) == pytest.approx(0.025)
    assert stats.binom.cdf(7, 9, high) == pytest.approx(0.025)
    assert np.isnan(exact_interval(0, 0)).all()


def test_counts_add_up_in_any_order_and_metrics_are_of_the_sum() -> None:
    records, *_ = evaluation()
    counts = [record.counts for record in records if record.counts is not None]
    nothing = MaskCounts.nothing()
    whole = sum(counts, nothing)
    assert sum(reversed(counts), nothing).numbers() == pytest.approx(whole.numbers())
    assert whole.of_numbers(whole.numbers()) == whole
    assert MaskMetrics.of(whole).boundary[2].f1.value == boundary_f1(whole.boundary[2])
    assert MaskMetrics.of(whole).iou.value == iou(sum((each.pixels for each in counts), PixelCounts()))
