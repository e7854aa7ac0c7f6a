from __future__ import annotations

import copy
import json

import pytest
import torch

from ltcam.models.classifier import build_classifier
from ltcam.runs import hardware as facts
from ltcam.runs.hardware import has_bfloat16
from ltcam.runs.run import Arithmetic
from ltcam.training import hardware
from ltcam.training.hardware import choose_arithmetic

CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ltcam"


@pytest.fixture
def clock(monkeypatch):
    """Stands in for the measurement: seconds per (bfloat16, channels_last), and which were asked for."""

    class Clock:
        def __init__(self):
            self.seconds = {}
            self.asked = []

        def __call__(self, _model, _size, count, _device, bfloat16, last):
            self.asked.append((bfloat16, last))
            assert count <= 2
            return self.seconds[bfloat16, last]

    found = Clock()
    monkeypatch.setattr(hardware, "_seconds", found)
    monkeypatch.setattr(hardware, "has_bfloat16", lambda _device: True)
    return found


def choose(model=None, **values):
    given = {"precision": "auto", "memory_format": "auto", "name": "tiny", **values}
    return choose_arithmetic(model or torch.nn.Identity(), (32, 32), 8, CPU, **given)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_what_is_asked_for_is_taken_without_measuring(precision, memory_format, clock, cache):
    found = choose(precision=precision, memory_format=memory_format)
    assert found.bfloat16 == (precision == "bfloat16")
    assert found.channels_last == (memory_format == "channels_last")
    assert clock.asked == []
    assert not cache.exists()


def test_the_fastest_is_taken_and_the_times_are_told(clock, cache):
    clock.seconds = {(False, False): 1.0, (False, True): 0.5, (True, False): 0.8, (True, True): 0.7}
    found = choose()
    assert (found.bfloat16, found.channels_last) == (False, True)
    assert "float32 1.000 s" in found.reason
    assert "bfloat16 channels_last 0.700 s" in found.reason


def test_a_small_gain_is_not_worth_it(clock, cache):
    clock.seconds = {(False, False): 1.0, (False, True): 0.95}
    assert not choose(precision="float32").channels_last


def test_the_answer_is_remembered_per_backbone_size_and_choice(clock, cache):
    clock.seconds = {(False, False): 1.0, (False, True): 0.5, (True, False): 2.0, (True, True): 2.0}
    first = choose()
    assert len(clock.asked) == 4
    clock.seconds = dict.fromkeys(clock.seconds, 1.0)
    assert choose() == first
    assert len(clock.asked) == 4
    choose(name="other")
    choose(precision="float32")
    assert len(clock.asked) == 10
    assert len(list(cache.glob("arithmetic-*.json"))) == 3


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b'{"bfloat16": true, "channels_last": true, "reason": ""}',
    ],
)
def test_a_memory_that_makes_no_sense_is_measured_anew(content, clock, cache):
    clock.seconds = {(False, False): 1.0, (False, True): 0.5}
    choose(precision="float32")
    (file,) = cache.glob("*.json")
    file.write_bytes(content)
    assert choose(precision="float32").channels_last
    assert json.loads(file.read_text())["channels_last"] is True


def test_without_a_place_to_remember_it_is_measured_each_time(clock, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    clock.seconds = {(False, False): 1.0, (False, True): 0.5}
    assert choose(precision="float32").channels_last
    choose(precision="float32")
    assert len(clock.asked) == 4


def test_measuring_leaves_the_model_as_it_was(cache):
    """Statistics of batch normalisation too: the pictures of the measurement are black."""
    model = build_classifier("test_resnet", 2)
    next(model.parameters()).requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    found = choose(model, precision="float32")
    assert "measured per step" in found.reason
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize(
    ("flags", "there"),
    [
        ("flags : fpu avx2 avx512f", False),
        ("flags : fpu avx512f avx512_bf16", True),
        ("flags : amx_bf16 amx_tile", True),
        ("", False),
    ],
)
def test_bfloat16_needs_instructions(flags, there, monkeypatch):
    monkeypatch.setattr(facts.Path, "read_text", lambda *_a, **_k: flags)
    assert has_bfloat16(CPU) is there


def test_without_instructions_bfloat16_is_not_even_tried(clock, cache, monkeypatch):
    monkeypatch.setattr(hardware, "has_bfloat16", lambda _device: False)
    clock.seconds = {(False, False): 1.0, (False, True): 1.0}
    assert not choose().bfloat16
    assert clock.asked == [(False, False), (False, True)]


def test_no_cpuinfo_means_no_bfloat16(monkeypatch):
    def missing(*_a, **_k):
        raise FileNotFoundError

    monkeypatch.setattr(facts.Path, "read_text", missing)
    assert has_bfloat16(CPU) is False


def test_arithmetic_is_a_value():
    assert Arithmetic(bfloat16=True, reason="x") == Arithmetic(bfloat16=True, reason="x")
