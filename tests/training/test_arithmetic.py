from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from ltcam.models.classifier import build_classifier
from ltcam.training.arithmetic import CHANNELS_LAST, choose_arithmetic, has_depthwise_convolutions
from ltcam.training.settings import MemoryFormat, Precision

CPU = torch.device("cpu")
MEASURED = Path(__file__).parents[2] / "docs" / "results" / "training-arithmetic.json"
DEPTHWISE, WHOLE = "test_efficientnet", "test_resnet"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_what_is_asked_for_is_taken(precision: Precision, memory_format: MemoryFormat) -> None:
    found = choose_arithmetic(
        build_classifier(WHOLE, 2), CPU, precision=precision, memory_format=memory_format
    )
    assert found.bfloat16 == (precision == "bfloat16")
    assert found.channels_last == (memory_format == "channels_last")
    assert "as asked" in found.reason


@pytest.mark.parametrize(
    ("instructions", "backbone", "last"),
    [
        ("AVX512", DEPTHWISE, True),
        ("AVX512", WHOLE, False),
        ("AVX2", DEPTHWISE, True),
        ("AVX2", WHOLE, False),
        ("DEFAULT", DEPTHWISE, False),
    ],
)
def test_auto_goes_by_the_hardware_and_the_network(
    instructions: str, backbone: str, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_clock() -> float:
        raise AssertionError("something was timed")

    network = build_classifier(backbone, 2)
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: instructions)
        for clock in ("perf_counter", "process_time", "monotonic"):
            patch.setattr(time, clock, no_clock)
        found = choose_arithmetic(network, CPU, precision="auto", memory_format="auto")
    assert found.channels_last is last
    assert not found.bfloat16
    assert instructions in found.reason


def test_a_gpu_that_nobody_measured_takes_images_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
    network = build_classifier(DEPTHWISE, 2)
    found = choose_arithmetic(network, torch.device("cuda"), precision="auto", memory_format="auto")
    assert not found.channels_last
    assert "CUDA 9.0" in found.reason


def test_the_table_is_what_was_measured() -> None:
    """Channels last where it takes a tenth less, in every network of that kind."""
    measurements = json.loads(MEASURED.read_text(encoding="utf-8"))["measurements"]
    assert {each["instructions"] for each in measurements} == {name for name, _ in CHANNELS_LAST}
    for each in measurements:
        for depthwise in (True, False):
            ratios = [
                row["seconds"]["float32 channels_last"] / row["seconds"]["float32"]
                for row in each["rows"]
                if row["depthwise"] is depthwise
            ]
            assert CHANNELS_LAST[each["instructions"], depthwise] is (max(ratios) < 0.9)


def test_depthwise_convolutions_are_told_from_others() -> None:
    assert has_depthwise_convolutions(build_classifier(DEPTHWISE, 2))
    assert not has_depthwise_convolutions(build_classifier(WHOLE, 2))
