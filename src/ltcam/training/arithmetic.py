"""Which arithmetic and memory format a training takes: by facts about the hardware and the network, never by a timing.

Two machines of one kind train the same with the same seed, and a busy one does not pick another arithmetic. The table
holds what `benchmarks/training_arithmetic.py` measured (`docs/results/training-arithmetic.json`). bfloat16 changes
results (`docs/accuracy.md`), so it is for those who ask for it.
"""

from __future__ import annotations

import torch
from torch import nn

from ltcam.runs.run import Arithmetic
from ltcam.training.settings import MemoryFormat, Precision

CHANNELS_LAST = {
    # (instructions, whether the network has depthwise convolutions): a step with channels last / without
    ("AVX512", True): True,  # 0.77 EfficientNet-Lite0, 0.75 MobileNetV3
    ("AVX512", False): False,  # 0.95 ResNet-18, 0.96 VGG16: no gain worth another arithmetic
    ("AVX2", True): True,  # 0.77, 0.74
    ("AVX2", False): False,  # 1.11, 1.58
}
"""Whether images have their channels last in memory; on hardware that is not listed they do not."""


def choose_arithmetic(
    model: nn.Module, device: torch.device, *, precision: Precision, memory_format: MemoryFormat
) -> Arithmetic:
    """What was asked for; `auto` is float32, and the memory format that suits the hardware and the network.

    Args:
        model: the network.
        device: where the training will run.
        precision: asked precision.
        memory_format: asked memory format.
    """
    instructions, depthwise = instructions_of(device), has_depthwise_convolutions(model)
    last = memory_format == "channels_last"
    reason = "memory format as asked"
    if memory_format == "auto":
        last = CHANNELS_LAST.get((instructions, depthwise), False)
        kind = "depthwise" if depthwise else "whole"
        reason = f"{'channels last' if last else 'contiguous'} for {kind} convolutions on {instructions}"
    return Arithmetic(
        bfloat16=precision == "bfloat16",
        channels_last=last,
        reason=f"{'float32' if precision == 'auto' else precision}, {reason}",
    )


def instructions_of(device: torch.device) -> str:
    """What the hardware computes with, as torch tells it: `AVX512`, `AVX2`, `DEFAULT`, `CUDA 9.0`."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"CUDA {major}.{minor}"
    return str(torch.backends.cpu.get_cpu_capability())


def has_depthwise_convolutions(model: nn.Module) -> bool:
    """Whether a network has convolutions of single channels, whose speed is another matter."""
    return any(isinstance(part, nn.Conv2d) and part.groups > 1 for part in model.modules())
