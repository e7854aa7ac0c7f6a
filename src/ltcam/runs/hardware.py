"""Facts about the hardware that a network is computed on."""

from __future__ import annotations

from pathlib import Path

import torch

from ltcam_runtime.errors import SettingsError


def choose_device(name: str) -> torch.device:
    """`auto` (a GPU if there is one), `cpu` or `cuda` to a device.

    Raises:
        SettingsError: another name, or no GPU where one was asked for.
    """
    if name not in {"auto", "cpu", "cuda"}:
        raise SettingsError(f"`device` {name!r} is unknown; choose from auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise SettingsError("`device` cuda: torch sees no GPU on this machine; use cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware has instructions for bfloat16; without them it is several times slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return any(flag in flags for flag in ("amx_bf16", "avx512_bf16"))
