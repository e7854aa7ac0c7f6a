"""Memory formats that a network is run in: which one is fastest here, and which ones a network can take.

All give the same values up to rounding. The choice depends on processor and network, not on a timing, so that
the same images give the same bits again; `docs/explanation/speed.md` has the measurements behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from ltcam.cam.network.eval_mode import run
from ltcam.cam.network.remembered import Remembered
from ltcam.cam.tensors import float_tensors_in

T = TypeVar("T")

REFUSALS = (RuntimeError, ValueError, TypeError, IndexError, AssertionError)
"""What a network raises that cannot take a batch or a memory format."""

_BACKWARD_TOO = frozenset({"AVX512", "AMX"})
"""Capabilities of processors on which both passes together are faster with channels last, for all networks
measured. With AVX2 the forward pass is; the backward pass of VGG16 was seen to be much slower there."""

_AGREES = 1e-2  # other kernels and half precision move outputs by less, a way that is wrong by more

_LAST = torch.channels_last
_takes_last: Remembered[bool] = Remembered()
"""Whether models that were looked at take channels last."""


def formats_of_scores(images: Tensor) -> tuple[torch.memory_format, ...]:
    """Memory formats to try for forward passes alone, fastest first.

    Args:
        images: (N, C, H, W).
    """
    if _faster_last(images, gradients=False):
        return torch.channels_last, torch.contiguous_format
    return (_own_format(images),)


def fastest_format(model: nn.Module, images: Tensor, *, gradients: bool) -> torch.memory_format:
    """The memory format to give these images to this network in.

    On the CPU a forward pass is fastest with channels last. A network that reads its maps with `view` cannot
    run so; the first time, it is run on the first image in both formats, and the answer is remembered per
    model. Elsewhere, and in float64, images stay as they are.

    Args:
        model: in evaluation mode.
        images: (N, C, H, W).
        gradients: whether a backward pass follows.
    """
    if not _faster_last(images, gradients):
        return _own_format(images)
    known = _takes_last.of(model)
    if _LAST not in known:
        known[_LAST] = _same_in_both(model, images[:1])
    return torch.channels_last if known[_LAST] else torch.contiguous_format


def in_fastest_format(
    model: nn.Module, images: Tensor, passes: Callable[[Tensor], T], *, gradients: bool
) -> T:
    """What passes through a network give, with its images in the fastest memory format that it takes.

    A network that fails with channels last after all (in the backward pass, say) is run again without, and
    from then on without.

    Args:
        model: the network that `passes` runs, in evaluation mode.
        images: (N, C, H, W).
        passes: called with the images, once or twice.
        gradients: whether there is a backward pass among them.
    """
    memory_format = fastest_format(model, images, gradients=gradients)
    try:
        with _plain_gradients(model, images, memory_format, gradients=gradients):
            return passes(images.contiguous(memory_format=memory_format))
    except RuntimeError:
        if memory_format != torch.channels_last or not _faster_last(images, gradients):
            raise
    with _plain_gradients(model, images, torch.contiguous_format, gradients=gradients):
        found = passes(images.contiguous())
    _takes_last.of(model)[_LAST] = (
        False  # it was the memory format: an error of another cause would have come again
    )
    return found


@contextmanager
def _plain_gradients(
    model: nn.Module, images: Tensor, memory_format: torch.memory_format, *, gradients: bool
) -> Iterator[None]:
    """Hand batch normalisations gradients in the memory format of what they normalise.

    Of a single image torch computes a wrong gradient behind one whose input is contiguous and whose output's gradient
    has its channels last, as a transposition into tokens makes it (torch 2.13, CPU).
    """
    hooks = []
    if gradients and len(images) == 1 and memory_format == torch.contiguous_format:
        norms = (each for each in model.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm))
        hooks = [norm.register_forward_hook(_make_gradient_contiguous) for norm in norms]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _make_gradient_contiguous(_norm: nn.Module, _inputs: object, output: object) -> None:
    if isinstance(output, Tensor) and output.requires_grad:
        output.register_hook(lambda gradient: gradient.contiguous())


def _faster_last(images: Tensor, gradients: bool) -> bool:
    if images.device.type != "cpu" or images.dtype == torch.float64:
        return False
    return not gradients or torch.backends.cpu.get_cpu_capability() in _BACKWARD_TOO


def _own_format(images: Tensor) -> torch.memory_format:
    last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


@torch.no_grad()
def _same_in_both(model: nn.Module, image: Tensor) -> bool:
    """Whether the network runs with channels last, and says the same of an image (1, C, H, W).

    One that looks into its maps' memory by itself (`as_strided`) may run and say something else.
    """
    with torch.autocast(image.device.type, enabled=False):
        try:
            last = float_tensors_in(run(model, image.clone(memory_format=torch.channels_last)))
            plain = float_tensors_in(run(model, image.clone(memory_format=torch.contiguous_format)))
        except REFUSALS:
            return False
    return bool(plain) and all(
        one.shape == other.shape and bool((one - other).abs().amax() <= _AGREES * other.abs().amax())
        for one, other in zip(last, plain, strict=True)
    )
