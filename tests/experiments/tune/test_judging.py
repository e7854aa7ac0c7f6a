from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ltcam.calibration.judge import filled_in
from ltcam.experiments.tune.judging import JUDGEMENTS, judge_image
from ltcam.experiments.tune.percentile_maps import PercentileMaps, heatmaps_by_percentile
from ltcam.experiments.tune.rules import agreement, contrast, separability
from ltcam.runs.inspector import Inspector
from ltcam_runtime.masks import otsu

MAPS = PercentileMaps((0, 90))


@pytest.fixture(scope="module")
def inspector(make_run: Callable[..., Path]) -> Inspector:
    return Inspector.load(make_run(), device="cpu")


def image_of(seed: int) -> NDArray[np.uint8]:
    pixels = np.random.default_rng(seed).integers(100, 200, (64, 64, 3), dtype=np.uint8)
    pixels[10:30, 20:44] = 20
    return pixels


def test_each_judgement_is_the_single_function(inspector: Inspector) -> None:
    resized = image_of(0)
    score = inspector.network.defect_scores([resized])[0]
    found = judge_image(inspector, MAPS, resized, score - 2)
    assert list(found) == list(MAPS.methods)
    masks = {}
    for method, percentile, heatmap in heatmaps_by_percentile(inspector, MAPS, resized):
        place = MAPS.made_at.index(percentile)
        masks[method, percentile] = mask = otsu(heatmap)
        judged = {name: values[place] for name, values in found[method].items()}
        assert set(judged) == set(JUDGEMENTS)
        assert judged["separability"] == separability(heatmap)
        assert judged["contrast"] == contrast(resized, mask)
        assert judged["area"] == pytest.approx(mask.sum() / masks[method, None].sum())
        without = inspector.network.defect_scores([filled_in(resized, mask)])[0]
        assert judged["drop"] == pytest.approx(np.clip((score - without) / 2, -1, 1), abs=1e-3)
    mirrored = {
        (method, percentile): otsu(np.ascontiguousarray(heatmap[:, ::-1]))
        for method, percentile, heatmap in heatmaps_by_percentile(
            inspector, MAPS, np.ascontiguousarray(resized[:, ::-1])
        )
    }
    upside = {
        (method, percentile): otsu(np.ascontiguousarray(heatmap[::-1]))
        for method, percentile, heatmap in heatmaps_by_percentile(
            inspector, MAPS, np.ascontiguousarray(resized[::-1])
        )
    }
    for (method, percentile), mask in masks.items():
        agreed = [agreement(mask, other[method, percentile]) for other in (mirrored, upside)]
        assert found[method]["flip"][MAPS.made_at.index(percentile)] == pytest.approx(np.mean(agreed))


def test_a_score_that_is_normal_judges_nothing(inspector: Inspector) -> None:
    resized = image_of(1)
    found = judge_image(inspector, MAPS, resized, inspector.network.defect_scores([resized])[0] + 1)
    assert all(math.isnan(value) for judged in found.values() for value in judged["drop"])
    assert all(0 <= value <= 1 for judged in found.values() for value in judged["scale"])
