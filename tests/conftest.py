"""What all tests share: one torch thread, no model hub, a cache of their own, tiny runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ltcam.models.classifier import build_classifier, stages_of
from ltcam.models.student import STUDENT, build_student
from ltcam.models.torchvision_operators import prepare_torchvision
from ltcam.runs import CamSettings, Run, VerdictSettings, write_run

torch.set_num_threads(1)
prepare_torchvision()


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test, and nothing a test calls, may switch the model hubs on."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield
    assert os.environ.get("HF_HUB_OFFLINE") == "1", "something switched HF_HUB_OFFLINE off"


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Measured arithmetic is remembered per user; tests must neither read nor leave any."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a run folder of a tiny network with random weights; fields of `Run` can be given."""

    def make(seed: int = 0, split: str = "path,label,group,split,sha256\n", **fields: Any) -> Path:
        classes = fields.pop("classes", ("ok", "dent"))
        torch.manual_seed(seed)
        student = fields.get("network") == "student"
        classifier = (build_student if student else build_classifier)("test_resnet", len(classes))
        stages = stages_of(classifier, (64, 64))
        cam = CamSettings(method=STUDENT.name, stages=stages) if student else CamSettings(stages=stages[1:3])
        run = Run(
            **{
                "classes": classes,
                "image_size": (64, 64),
                "mean": (0.5,) * 3,
                "std": (0.25,) * 3,
                "backbone": "test_resnet",
                "stages": stages,
                "cam": cam,
                "verdict": VerdictSettings(threshold=0.0),
                "seed": seed,
                **fields,
            }
        )
        folder = tmp_path_factory.mktemp("run")
        write_run(folder, run, classifier, split, [{"epoch": 0, "train_loss": 0.5}], "<html></html>")
        return folder

    return make
