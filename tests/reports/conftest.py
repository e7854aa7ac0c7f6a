from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from ltcam.evaluation.boxes import mask_boxes
from ltcam.evaluation.evaluate import Prediction, make_histograms, record_image
from ltcam.evaluation.summary import Evaluation, SummarySettings, summarise
from ltcam.runs.run import Run
from ltcam.training.settings import TrainingSettings
from ltcam_runtime.results import Verdict
from ltcam_runtime.settings import MAP, CamSettings, MaskSettings, VerdictSettings

EVIL = "<script>alert('x')</script>"


def make_metrics(
    classes: Sequence[str] = ("crack", EVIL), *, masks: bool = True, images: int = 12
) -> Evaluation:
    """Metrics of a small evaluation: every third image OK, some defects missed."""
    records, histograms = [], make_histograms()
    for index in range(images):
        rng = np.random.default_rng(index)
        label = ("ok", *classes)[index % (len(classes) + 1)]
        truth = np.zeros((30, 40), bool)
        if label != "ok":
            truth[5:15, 5 + index % 5 : 20] = True
        heatmap = np.roll(truth, 2, axis=1) + 0.3 * rng.random(truth.shape)
        mask = heatmap > 0.6
        score = 0.1 if label == "ok" else (0.9, 0.3, 0.7)[index % 3]
        verdict: Verdict = "defect" if score >= 0.5 else "ok"
        share = {name: score / len(classes) for name in classes}
        made = Prediction(mask, mask_boxes(mask), verdict, score, {"ok": 1 - score, **share}, heatmap)
        known = truth if masks else None
        record = record_image(f"{index:02}.png", label, made, known)
        histograms.add(record, heatmap, known)
        records.append(record)
    return summarise(records, histograms, SummarySettings(threshold=0.5, bootstrap=20))


@pytest.fixture(scope="session")
def metrics_of() -> Callable[..., Evaluation]:
    return make_metrics


@pytest.fixture
def run() -> Run:
    """A run with an evil class and every setting away from its default."""
    stages = ("blocks.0", "blocks.1", "blocks.2")
    return Run(
        classes=("ok", "crack", EVIL),
        image_size=(672, 256),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        backbone="tf_efficientnet_lite0",
        stages=stages,
        maps={
            MAP: CamSettings(
                method="layer-cam", percentile=50, stages=stages[1:], fusion="sum", stage_scale="tanh"
            )
        },
        mask=MaskSettings(threshold=0.35, min_area_px=9),
        verdict=VerdictSettings(threshold=0.4312, evidence=f"best F1 (0.952) {EVIL}"),
        seed=17,
        training=TrainingSettings(epochs=3).model_dump(mode="json"),
        initial_weights={
            "source": EVIL,
            "filled": 294,
            "missing": ["conv_head.weight"],
            "unused": ["fc.bias"],
        },
        data={
            "layout": "folders",
            "images": 60,
            "labels": {"ok": 50, "crack": 8, EVIL: 2},
            "split": "train 48 images",
        },
        evidence={
            "best_epoch": 1,
            "epoch_chosen_by": "validation image AP, then loss",
            "arithmetic": "float32: measured",
        },
        versions={"torch": "2.13.0"},
        command=f"ltcam train '{EVIL}' --out runs/a",
    )
