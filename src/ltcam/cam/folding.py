"""Forward passes with batch normalisations folded into the convolutions in front of them.

In evaluation mode a batch normalisation multiplies and shifts each channel by constants, which the convolution's
own weights can do as well; on CPUs that saves a fifth of the time of a network of cheap convolutions. Methods that
ask a network hundreds of times use it. The model is the user's and stays as it is: a function mode of torch answers
the two calls instead, for this thread and inside the block alone.

Which normalisation follows which convolution is found by watching one pass. A convolution's output that anything
else reads is left alone, and so is a model whose folded pass says something else than its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ltcam.cam.modes import run
from ltcam.cam.tensors import tensors_in

_AGREES = 1e-4  # of the largest value: folding rounds otherwise, a wrong pair gives other values


@dataclass(frozen=True, eq=False)
class _Normalisation:
    """The constants of a batch normalisation in evaluation mode, each (C,)."""

    mean: Tensor
    variance: Tensor
    weight: Tensor | None
    bias: Tensor | None
    epsilon: float


@dataclass(frozen=True, eq=False)
class _Pair:
    """A convolution's weights (O, I, kh, kw) and bias (O,) with the normalisation behind it inside."""

    own_weight: Tensor  # kept, so that no other tensor gets its identity
    weight: Tensor
    bias: Tensor


@contextmanager
def folded(model: nn.Module, images: Tensor) -> Iterator[None]:
    """Inside the block, this thread's forward passes of the model have their normalisations folded, where they can be.

    Scores differ by rounding only. Nothing is folded in half precision, in a model with hooks of its own (they would
    see other values), or in a compiled one.

    Args:
        model: in evaluation mode.
        images: (N, 3, H, W), like those that it will be given; the first is looked at.
    """
    pairs = _pairs_of(model, images[:1]) if _can_be_watched(model, images) else {}
    if not pairs:
        yield
        return
    with _Folding(pairs):
        yield


def _can_be_watched(model: nn.Module, images: Tensor) -> bool:
    modules = list(model.modules())
    hooked = any(module._forward_hooks or module._forward_pre_hooks for module in modules)
    compiled = any(
        isinstance(module, torch.jit.ScriptModule) or type(module).__name__ == "OptimizedModule"
        for module in modules
    )
    normalised = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in modules)
    full = images.dtype in (torch.float32, torch.float64)
    return normalised and full and not (hooked or compiled or torch.is_autocast_enabled(images.device.type))


@torch.no_grad()
def _pairs_of(model: nn.Module, image: Tensor) -> dict[int, _Pair]:
    """Pairs by the identity of the convolution's weights; none if the model says something else with them."""
    watch = _Watch()
    with watch:
        output = run(model, image.clone())
    own = tensors_in(output)
    watch.read(own)
    last = image.is_contiguous(memory_format=torch.channels_last)
    pairs = {id(pair.own_weight): pair for pair in watch.pairs(last)}
    if not pairs:
        return {}
    with _Folding(pairs):
        found = tensors_in(run(model, image.clone()))
    agree = len(own) == len(found) > 0 and all(
        one.shape == other.shape and bool((one - other).abs().amax() <= _AGREES * one.abs().amax())
        for one, other in zip(own, found, strict=True)
    )
    return pairs if agree else {}


@dataclass(eq=False)
class _Convolved:
    """A convolution that was seen, and the normalisation that read its output."""

    output: Tensor
    weight: Tensor
    bias: Tensor | None
    normalisation: _Normalisation | None = None
    read_otherwise: bool = False


@dataclass(eq=False)
class _Watch(TorchFunctionMode):
    """Lets everything happen, and notes who reads the outputs of convolutions."""

    seen: dict[int, _Convolved] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        _types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The call's own answer."""
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        given = tensors_in([*args, *kwargs.values()])
        if func is functional.batch_norm:
            self._normalised(given[0], _normalisation(*args, **kwargs))
            given = given[1:]
        if tensors_in(output):  # sizes and kinds are for everybody to read
            self.read(given)
        if func is functional.conv2d and isinstance(output, Tensor):
            weight, bias = _weight_and_bias(*args, **kwargs)
            self.seen[id(output)] = _Convolved(output, weight, bias)
        return output

    def read(self, tensors: Sequence[Tensor]) -> None:
        """Note that these were read by something that is no normalisation."""
        for tensor in tensors:
            if id(tensor) in self.seen:
                self.seen[id(tensor)].read_otherwise = True

    def _normalised(self, tensor: Tensor, normalisation: _Normalisation | None) -> None:
        convolved = self.seen.get(id(tensor))
        if convolved is None:
            return
        if normalisation is None or convolved.normalisation is not None:
            convolved.read_otherwise = True
        convolved.normalisation = normalisation

    def pairs(self, channels_last: bool) -> list[_Pair]:
        """Convolutions used once, whose output one normalisation reads and nothing else."""
        uses = Counter(id(each.weight) for each in self.seen.values())
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        return [
            _pair(each.weight, each.bias, each.normalisation, memory_format)
            for each in self.seen.values()
            if each.normalisation is not None and not each.read_otherwise and uses[id(each.weight)] == 1
        ]


class _Folding(TorchFunctionMode):
    """Convolves with folded weights, and hands on what a normalisation is given of it."""

    def __init__(self, pairs: Mapping[int, _Pair]):
        super().__init__()
        self.pairs = pairs
        self.made: dict[int, Tensor] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        _types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The folded answer to a convolution and to its normalisation, the call's own to all others."""
        kwargs = dict(kwargs or {})
        if func is functional.conv2d:
            weight, _ = _weight_and_bias(*args, **kwargs)
            pair = self.pairs.get(id(weight))
            if pair is not None:
                output = _convolve(pair, *args, **kwargs)
                self.made[id(output)] = output
                return output
        if func is functional.batch_norm:
            given = args[0] if args else kwargs["input"]
            if id(given) in self.made:
                return self.made.pop(id(given))
        return func(*args, **kwargs)


def _pair(
    weight: Tensor, bias: Tensor | None, normalised: _Normalisation, memory_format: torch.memory_format
) -> _Pair:
    """Both in one: w' = w gamma / sqrt(var + eps),  b' = (b - mean) gamma / sqrt(var + eps) + beta."""
    scale = 1 / (normalised.variance.double() + normalised.epsilon).sqrt()
    if normalised.weight is not None:
        scale = scale * normalised.weight.double()
    shift = -normalised.mean.double() if bias is None else bias.double() - normalised.mean.double()
    shift = shift * scale
    if normalised.bias is not None:
        shift = shift + normalised.bias.double()
    scaled = (weight.double() * scale[:, None, None, None]).to(weight.dtype)
    return _Pair(weight, scaled.contiguous(memory_format=memory_format), shift.to(weight.dtype))


def _weight_and_bias(
    input: Tensor,  # noqa: A002, ARG001  # torch's names, since calls may use them
    weight: Tensor,
    bias: Tensor | None = None,
    *_more: Any,
    **_named: Any,
) -> tuple[Tensor, Tensor | None]:
    return weight, bias


def _convolve(
    pair: _Pair,
    input: Tensor,  # noqa: A002
    weight: Tensor,  # noqa: ARG001
    bias: Tensor | None = None,  # noqa: ARG001
    *more: Any,
    **named: Any,
) -> Tensor:
    return functional.conv2d(input, pair.weight, pair.bias, *more, **named)


def _normalisation(
    input: Tensor,  # noqa: A002, ARG001
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,  # noqa: ARG001
    eps: float = 1e-5,
) -> _Normalisation | None:
    """None where it is made of the batch itself."""
    if training or running_mean is None or running_var is None:
        return None
    return _Normalisation(running_mean, running_var, weight, bias, eps)
