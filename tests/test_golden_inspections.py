"""Verdicts, scores and masks of three small runs, as they were before the code around the network was rebuilt.

`tests/golden/inspections.json` was written by that older code. Its images were picked so that noise of 1e-5 of a
heatmap's range changes no pixel of their masks: another processor rounds differently, and must find the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ltcam.runs.inspector import Inspector
from ltcam.runs.run import Arithmetic
from ltcam_runtime.settings import MaskSettings, SharpeningSettings, VerdictSettings

GOLDEN = json.loads((Path(__file__).parent / "golden" / "inspections.json").read_text(encoding="utf-8"))
RUNS: dict[str, dict[str, Any]] = {
    "classifier": {},
    "sharpened": {
        "seed": 1,
        "classes": ("ok", "dent", "scratch"),
        "sharpening": SharpeningSettings(polarity="either", window=0.25, floor=2.0),
        "mask": MaskSettings(reach=0.15, fill_holes=True, min_area_px=3),
        "verdict": VerdictSettings(threshold=0.6676, unsure_margin=0.00005),
        "arithmetic": Arithmetic(channels_last=True),
    },
    "student": {
        "seed": 2,
        "network": "student",
        "mask": MaskSettings(threshold=0.0178, of="value"),
    },
}


def picture(seed: int) -> NDArray[np.uint8]:
    """A grey surface with a gradient, noise, and a darker or brighter square: (H, W, 3)."""
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(50, 160, 2))
    rows, columns = np.mgrid[:height, :width]
    surface = 120 + 60 * rows / height - 30 * columns / width + rng.normal(0, 4, (height, width))
    top, left, side = (int(value) for value in rng.integers(5, 30, 3))
    surface[top : top + side, left : left + side] += float(rng.choice([-70, 70]))
    return np.repeat(surface.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs of equal pixels, row by row; the first one is of background."""
    edges = np.flatnonzero(np.diff(mask.ravel().astype(np.int8), prepend=0, append=2))
    return [int(length) for length in np.diff(edges, prepend=0)]


@pytest.mark.parametrize("name", RUNS)
def test_inspections_are_what_they_were(name: str, make_run: Callable[..., Path]) -> None:
    inspector = Inspector.load(make_run(**RUNS[name]), device="cpu")
    cases = GOLDEN[name]
    found = inspector.inspect_batch(
        [picture(case["seed"]) for case in cases], [str(case["seed"]) for case in cases]
    )
    for inspection, case in zip(found, cases, strict=True):
        assert list(inspection.size) == case["size"]
        assert inspection.verdict == case["verdict"]
        assert inspection.score == pytest.approx(case["score"], abs=1e-6)
        assert inspection.class_scores == pytest.approx(case["class_scores"], abs=1e-6)
        assert run_lengths(inspection.mask) == case["mask"]
        assert [region.to_json()["box"] for region in inspection.regions] == case["boxes"]
        assert float(inspection.heatmap.max()) == pytest.approx(case["heatmap_max"], rel=1e-4)
