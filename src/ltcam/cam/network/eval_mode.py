"""Run a model in evaluation mode and find it again as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ltcam.cam.network.checkpointing import without_checkpointing
from ltcam.cam.tensors import not_finite

_lock = threading.Lock()
_held: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
"""Modules whose training flag is put off for now, and by how many blocks: threads may share a model."""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards each module's own flag is as before.

    Compiled parts run uncompiled: hooks inside them are not called, and their layers would go unseen. Blocks may
    overlap, in one thread or several: flags come back when the last one is left.

    Raises:
        ValueError: a scripted or traced model; or if a batch normalisation has no running statistics, since
            it would couple the images of a batch even in evaluation mode.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError(
            "the model is scripted or traced (torch.jit), and nothing can look into it; give the model that it "
            "was made from"
        )
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise ValueError(
                f"layer {name!r} normalises by the batch (no running statistics): maps of one image would "
                "depend on the others; use track_running_stats=True"
            )
    with _lock:
        training = [module for module in model.modules() if module.training or module in _held]
        for module in training:
            _held[module] = _held.get(module, 0) + 1
            module.training = False
    try:
        with _not_compiled(model):
            yield
    finally:
        with _lock:
            for module in training:
                _held[module] -= 1
                if _held[module] == 0:
                    del _held[module]
                    module.training = True


def is_compiled(module: nn.Module) -> bool:
    """Whether it wraps the module that `torch.compile` was given, and is nothing by itself."""
    return hasattr(module, "_orig_mod")


def _not_compiled(model: nn.Module) -> AbstractContextManager[object]:
    compiled = any(map(is_compiled, model.modules()))
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def run(model: nn.Module, images: Tensor) -> object:
    """The model's output for a batch of images; gradient checkpointing is switched off meanwhile.

    Raises:
        ValueError: if the images have another number of channels than the model's first convolution takes.
    """
    try:
        with without_checkpointing():
            return model(images)
    except RuntimeError as error:
        first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
        if first is None or first.in_channels == images.shape[1]:
            raise
        raise ValueError(
            f"images {tuple(images.shape)} have {images.shape[1]} channels; the model's first layer takes "
            f"(N, {first.in_channels}, H, W)"
        ) from error


def check_images(images: Tensor) -> None:
    """Refuse what is no batch of finite floating-point images.

    Raises:
        TypeError: integer or boolean values.
        ValueError: not 4-D, empty, or not finite.
    """
    if not isinstance(images, Tensor) or images.ndim != 4:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"images must be a tensor (N, C, H, W), got {shape}")
    if not images.is_floating_point():
        raise TypeError(f"images are {images.dtype}; convert to float and normalise them first")
    if images.numel() == 0:
        raise ValueError(f"images are empty: {tuple(images.shape)}; N, C, H and W must all be at least 1")
    bad = not_finite(images)
    if bad:
        raise ValueError(f"images {bad} hold NaN or infinite values")
