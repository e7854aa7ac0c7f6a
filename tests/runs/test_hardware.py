from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
import torch

from ltcam.runs.hardware import check_number, choose_device, has_bfloat16
from ltcam_runtime.errors import SettingsError

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "there"),
    [
        ("flags : fpu avx2 avx512f", False),
        ("flags : fpu avx512f avx512_bf16", True),
        ("flags : amx_bf16 amx_tile", True),
        ("", False),
    ],
)
def test_bfloat16_needs_instructions(flags: str, there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_a, **_k: flags)
    assert has_bfloat16(CPU) is there


def test_no_cpuinfo_means_no_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_a: object, **_k: object) -> NoReturn:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert has_bfloat16(CPU) is False


@pytest.mark.parametrize(("name", "error"), [("cuda", "no GPU"), ("tpu", "unknown"), ("", "unknown")])
def test_devices(name: str, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match=error):
        choose_device(name)
    assert choose_device("auto") == choose_device("cpu") == CPU


@pytest.mark.parametrize(
    ("gpus", "asked", "number", "error"),
    [
        (0, "auto", 2, "`devices` 2: torch sees no GPU on this machine; leave `devices` out, or give `device` cpu"),
        (2, "auto", 3, "`devices` 3: torch sees 2 GPUs on this machine; leave `devices` out$"),
        (2, "cuda:1", 2, "one GPU by name, or several"),
    ],
)  # fmt: skip
def test_more_devices_than_there_are(
    gpus: int, asked: str, number: int, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(SettingsError, match=error):
        check_number(choose_device(asked), asked, number)


def test_several_devices_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_number(torch.device("cuda"), "auto", 2)
    check_number(CPU, "cpu", 2)
    check_number(CPU, "auto", 1)
