from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ltcam.cam import CAM, FullGrad, Truncation, log_odds
from ltcam.cam.truncation import Scope, TruncationReading
from ltcam.experiments.tune.percentile_maps import VIEWS, PercentileMaps, View, heatmaps_by_percentile
from ltcam.runs.inspector import Inspector

RESIZED = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def inspector(make_run: Callable[..., Path]) -> Inspector:
    return Inspector.load(make_run(), device="cpu")


@pytest.mark.parametrize("scope", ["channel", "stage"])
@pytest.mark.parametrize("reading", ["gradient", "mask"])
def test_heatmaps_are_those_of_the_single_maps(
    scope: Scope, reading: TruncationReading, inspector: Inspector
) -> None:
    maps = PercentileMaps((0, 50), scope, reading, positive_activations=True)
    found = {
        (method, percentile): each
        for method, percentile, each in heatmaps_by_percentile(inspector, maps, RESIZED)
    }
    assert list(found) == [
        (method, percentile)
        for method in ("LTGrad-CAM", "LTLayerCAM", "LTFullGrad")
        for percentile in (None, 0, 50)
    ]
    batch, target = inspector.network.batch([RESIZED]), log_odds([1])
    for (method, percentile), heatmap in found.items():
        truncation = None if percentile is None else Truncation(percentile, scope, reading)
        if method == "LTFullGrad":
            single: FullGrad | CAM = FullGrad(truncation)
        else:
            name = {"LTGrad-CAM": "grad-cam", "LTLayerCAM": "layer-cam"}[method]
            single = CAM(name, truncation, layers=inspector.run.stages, positive_activations=True)
        expected = single(inspector.network.classifier, batch, target)[0].numpy()
        np.testing.assert_allclose(heatmap, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


def test_full_grad_can_be_left_out(inspector: Inspector) -> None:
    found = {
        method
        for method, *_ in heatmaps_by_percentile(inspector, PercentileMaps((0,), full_grad=False), RESIZED)
    }
    assert found == {"LTGrad-CAM", "LTLayerCAM"}


def test_views_lead_back() -> None:
    heatmap = np.random.default_rng(1).random((40, 64)).astype(np.float32)
    for view in VIEWS:
        seen = view.of(np.repeat((255 * heatmap).astype(np.uint8)[..., None], 3, axis=2))
        back = view.back((seen[..., 0] / 255).astype(np.float32), (40, 64))
        assert back.shape == (40, 64)
        if view.kind == "flip":
            np.testing.assert_allclose(back, heatmap, atol=1 / 255)
    assert View("scale", scale=0.5).of(RESIZED).shape == (32, 32, 3)
    smooth = np.tile(np.linspace(0, 200, 64, dtype=np.uint8), (64, 1))
    larger = View("scale", scale=1.25)
    seen = larger.of(np.repeat(smooth[..., None], 3, axis=2))
    assert seen.shape == (80, 80, 3)
    np.testing.assert_allclose(larger.back(seen[..., 0].astype(np.float32), (64, 64)), smooth, atol=3)
