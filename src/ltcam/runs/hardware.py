"""Facts about the hardware that a network is computed on."""

from __future__ import annotations

from pathlib import Path

import torch

from ltcam_runtime.errors import SettingsError
from ltcam_runtime.phrases import counted


def choose_device(name: str) -> torch.device:
    """`auto` (a GPU if there is one), `cpu`, `cuda`, or one of several GPUs (`cuda:1`) to a device.

    Raises:
        SettingsError: another name, or no such GPU where one was asked for.
    """
    kind, _, number = name.partition(":")
    if kind not in {"auto", "cpu", "cuda"} or (name != kind and not (kind == "cuda" and number.isdecimal())):
        raise SettingsError(
            f"`device` {name!r} is unknown; choose from auto, cpu, cuda, or a GPU such as cuda:1"
        )
    if kind == "cuda" and not torch.cuda.is_available():
        raise SettingsError(f"`device` {name}: torch sees no GPU on this machine; use cpu")
    if number and int(number) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise SettingsError(f"`device` {name}: torch sees no such GPU; there are cuda:0 to cuda:{last}")
    if kind == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def check_number(device: torch.device, asked: str, number: int) -> None:
    """Refuse more devices than there are; on the CPU, where it was asked for by name, they are processes.

    Args:
        device: that was chosen.
        asked: its name as it was given.
        number: of devices that are to train together.

    Raises:
        SettingsError: `auto` found no GPU, or there are fewer, or one is named.
    """
    if number == 1 or asked == "cpu":
        return
    if device.index is not None:
        raise SettingsError(f"`devices` {number} and `device` {asked}: one GPU by name, or several")
    there = torch.cuda.device_count() if device.type == "cuda" else 0
    if there < number:
        seen = counted(there, "GPUs") if there else "no GPU"
        raise SettingsError(
            f"`devices` {number}: torch sees {seen} on this machine; leave `devices` out"
            + ("" if there else ", or give `device` cpu for so many processes")
        )


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware has instructions for bfloat16; without them it is several times slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return any(flag in flags for flag in ("amx_bf16", "avx512_bf16"))
