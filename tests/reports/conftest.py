from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from ltcam.evaluation.boxes import mask_boxes
from ltcam.evaluation.evaluate import Prediction, make_histograms, record_image, summarise
from ltcam.runs import CamSettings, MaskSettings, Run, VerdictSettings
from ltcam.training.settings import TrainingSettings

_VOID = frozenset({"meta", "img", "br", "wbr", "rect", "line", "circle", "polyline", "link"})
_INLINE = frozenset({"wbr", "strong", "span", "code"})


class Page(HTMLParser):
    """A page taken apart: its text, its tags and its pictures; it must be well-formed."""

    def __init__(self, text):
        super().__init__()
        self.source = text
        self.tags, self.images, self.attributes, self.text = [], [], [], ""
        self._open = []
        self.feed(text)
        assert self._open == []
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag not in _VOID:
            assert self._open.pop() == tag
        if tag not in _INLINE:
            self.text += " "

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.text += data

    def assert_self_contained(self):
        """Nothing that the page's content security policy would stop, and no foreign markup."""
        assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in self.source
        assert not {"script", "link", "iframe", "object", "base", "form"} & set(self.tags)
        assert not {"href", "srcset", "action"} & set(self.attributes)
        assert not [name for name in self.attributes if name.startswith("on")]
        assert all(
            image["src"].startswith("data:image/jpeg;base64,") and image["alt"] for image in self.images
        )
        assert not re.search(r"url\(|@import|https?://", self.source)


@pytest.fixture
def parse():
    return Page


EVIL = "<script>alert('x')</script>"


@pytest.fixture
def evil():
    """A name that must never reach a page as it is."""
    return EVIL


def make_metrics(classes=("crack", EVIL), *, masks=True, images=12):
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
        verdict = "defect" if score >= 0.5 else "ok"
        share = {name: score / len(classes) for name in classes}
        made = Prediction(mask, mask_boxes(mask), verdict, score, {"ok": 1 - score, **share})
        known = truth if masks else None
        record = record_image(f"{index:02}.png", label, made, known)
        histograms.add(record, heatmap, known)
        records.append(record)
    return summarise(records, histograms, threshold=0.5, bootstrap=20)


@pytest.fixture(scope="session")
def metrics_of():
    return make_metrics


@pytest.fixture
def run():
    """A run with an evil class and every setting away from its default."""
    stages = ("blocks.0", "blocks.1", "blocks.2")
    return Run(
        classes=("ok", "crack", EVIL),
        image_size=(672, 256),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        backbone="tf_efficientnet_lite0",
        stages=stages,
        cam=CamSettings(
            method="layer-cam", percentile=50, stages=stages[1:], fusion="sum", stage_scale="tanh"
        ),
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
