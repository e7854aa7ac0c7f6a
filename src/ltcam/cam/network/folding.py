"""Forward passes with batch normalisations folded into the convolutions in front of them.

In evaluation mode a batch normalisation multiplies and shifts each channel by constants, which the convolution's
own weights can do as well; on CPUs that saves a third of the time of a network of cheap convolutions. Methods that
ask a network hundreds of times use it. The model is the user's and stays as it is: a function mode of torch answers
the two calls instead, for this thread and during the pass alone.

Which normalisation follows which convolution is found by watching one pass. A convolution's output that anything
else reads or keeps is left alone, and so is a model whose folded pass says something else than its own. Every later
pass is watched too: one that goes another way is run again as it is, and so are all behind it.
"""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ltcam.cam.network.eval_mode import run
from ltcam.cam.network.functions import FunctionCalls
from ltcam.cam.network.memory_formats import REFUSALS
from ltcam.cam.tensors import float_tensors_in

T = TypeVar("T")

_AGREES = 1e-4  # of the largest value: folding rounds otherwise, a wrong pair gives other values
_OWN_REFERENCES = 2
"""To an output that nothing but this module keeps: its own, and that of the question itself."""

_FOR_EVERYBODY = frozenset(
    {
        *(Tensor.size, Tensor.dim, Tensor.ndimension, Tensor.numel, Tensor.nelement, Tensor.stride),
        *(Tensor.is_contiguous, Tensor.is_floating_point, Tensor.__len__),
        *(
            getattr(Tensor, name).__get__
            for name in ("shape", "ndim", "dtype", "device", "layout", "requires_grad", "is_cuda")
        ),
    }
)
"""What may be asked of a tensor without reading its values."""


@dataclass(frozen=True, eq=False)
class _Normalisation:
    """The constants of a batch normalisation in evaluation mode, each (C,)."""

    mean: Tensor
    variance: Tensor
    weight: Tensor | None
    bias: Tensor | None
    epsilon: float

    def is_same(self, other: _Normalisation) -> bool:
        """Whether these are the very tensors of another call."""
        mine = (self.mean, self.variance, self.weight, self.bias)
        theirs = (other.mean, other.variance, other.weight, other.bias)
        same = all(one is another for one, another in zip(mine, theirs, strict=True))
        return same and self.epsilon == other.epsilon


@dataclass(frozen=True, eq=False)
class _Pair:
    """A convolution's weights (O, I, kh, kw) and bias (O,) with the normalisation behind it inside."""

    own_weight: Tensor  # kept, so that no other tensor gets its identity
    weight: Tensor
    bias: Tensor
    normalisation: _Normalisation


class _DoesNotFitError(Exception):
    """A pass that goes another way than the one that was watched."""


class FoldedPasses:
    """Runs passes of a model with its normalisations folded, as long as they fit."""

    def __init__(self, model: nn.Module, image: Tensor):
        """Watches one pass.

        Nothing is folded in half precision, in a model with hooks of its own (they would see other values), or in
        a compiled one.

        Args:
            model: in evaluation mode.
            image: (1, C, H, W), like those that it will be given, in their memory format.
        """
        self._pairs = _pairs_of(model, image) if _can_be_watched(model, image) else {}

    @torch.no_grad()
    def __call__(self, one_pass: Callable[[], T]) -> T:
        """What a pass gives; it is called again if it turns out not to fit.

        Args:
            one_pass: runs the model once, on images of its own making, since networks may write over them.
        """
        if self._pairs:
            try:
                return _folded(self._pairs, one_pass)
            except _DoesNotFitError:
                self._pairs = {}
        return one_pass()


def _folded(pairs: Mapping[int, _Pair], one_pass: Callable[[], T]) -> T:
    folding = _Folding(pairs)
    with folding:
        found = one_pass()
    if folding.made or folding.failed:
        raise _DoesNotFitError
    return found


def _can_be_watched(model: nn.Module, image: Tensor) -> bool:
    modules = list(model.modules())
    hooked = any(module._forward_hooks or module._forward_pre_hooks for module in modules)
    compiled = any(
        isinstance(module, torch.jit.ScriptModule) or type(module).__name__ == "OptimizedModule"
        for module in modules
    )
    normalised = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in modules)
    full = image.dtype in (torch.float32, torch.float64)
    return normalised and full and not (hooked or compiled or torch.is_autocast_enabled(image.device.type))


@torch.no_grad()
def _pairs_of(model: nn.Module, image: Tensor) -> dict[int, _Pair]:
    """Pairs by the identity of the convolution's weights; none if the model says something else with them."""
    watch = _Watch()
    with watch:
        output = run(model, image.clone())
    last = image.is_contiguous(memory_format=torch.channels_last)
    pairs = {id(pair.own_weight): pair for pair in watch.pairs(last)}
    if not pairs:
        return {}
    own = float_tensors_in(output)
    try:
        found = _folded(pairs, lambda: float_tensors_in(run(model, image.clone())))
    except (*REFUSALS, _DoesNotFitError):
        return {}
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


class _Watch(FunctionCalls):
    """Lets everything happen, and notes who reads the outputs of convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, _Convolved] = {}

    def called(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The call's own answer."""
        output = func(*args, **kwargs)
        given = list(_given(args, kwargs))
        if func is functional.batch_norm:
            self._normalised(given[0], _normalisation(*args, **kwargs))
            given = given[1:]
        if func not in _FOR_EVERYBODY:
            for tensor in given:
                if id(tensor) in self.seen:
                    self.seen[id(tensor)].read_otherwise = True
        if func is functional.conv2d and isinstance(output, Tensor):
            weight, bias = _weight_and_bias(*args, **kwargs)
            self.seen[id(output)] = _Convolved(output, weight, bias)
        return output

    def _normalised(self, tensor: Tensor, normalisation: _Normalisation | None) -> None:
        convolved = self.seen.get(id(tensor))
        if convolved is None:
            return
        if normalisation is None or convolved.normalisation is not None or tensor.ndim != 4:
            convolved.read_otherwise = True
        convolved.normalisation = normalisation

    def pairs(self, channels_last: bool) -> list[_Pair]:
        """Convolutions used once, whose output one normalisation reads and nothing else reads or keeps."""
        uses = Counter(id(each.weight) for each in self.seen.values())
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        return [
            _pair(each.weight, each.bias, each.normalisation, memory_format)
            for each in self.seen.values()
            if each.normalisation is not None
            and not each.read_otherwise
            and sys.getrefcount(each.output) <= _OWN_REFERENCES
            and uses[id(each.weight)] == 1
        ]


class _Folding(FunctionCalls):
    """Convolves with folded weights, and hands on what a normalisation is given of it.

    Attributes:
        made: outputs of folded convolutions that no normalisation was given yet.
        given: those that were given to theirs; whoever reads one afterwards would see the normalised values.
        failed: whether the pass did something else than the one that was watched.
    """

    def __init__(self, pairs: Mapping[int, _Pair]):
        super().__init__()
        self.pairs = pairs
        self.made: dict[int, tuple[Tensor, _Pair]] = {}
        self.given: dict[int, weakref.ref[Tensor]] = {}
        self.failed = False

    def called(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The folded answer to a convolution and to its normalisation, the call's own to all others.

        Raises:
            _DoesNotFitError: anything but its normalisation reads what a folded convolution returned.
        """
        if func is functional.batch_norm and self.made:
            convolved = self.made.pop(id(args[0] if args else kwargs["input"]), None)
            if convolved is not None:
                output, pair = convolved
                found = _normalisation(*args, **kwargs)
                if found is None or not found.is_same(pair.normalisation):
                    self._fail()
                self._remember(output)
                return output.detach()
        watched = (self.made or self.given) and func not in _FOR_EVERYBODY
        if watched and any(map(self._is_folded, _given(args, kwargs))):
            self._fail()
        if func is functional.conv2d:
            known = self.pairs.get(id(_weight_and_bias(*args, **kwargs)[0]))
            if known is not None:
                output = _convolve(known, *args, **kwargs)
                self.made[id(output)] = output, known
                return output
        return func(*args, **kwargs)

    def _remember(self, output: Tensor) -> None:
        """As long as anybody keeps it, which hardly any network does."""
        key = id(output)
        self.given[key] = weakref.ref(output, lambda _gone: self.given.pop(key, None))

    def _is_folded(self, tensor: Tensor) -> bool:
        return id(tensor) in self.made or id(tensor) in self.given

    def _fail(self) -> NoReturn:
        self.failed = True
        raise _DoesNotFitError


def _given(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    """The tensors that a call of torch is given, in its lists too."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _given(value, {})
        elif isinstance(value, Mapping):
            yield from _given((), value)


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
    return _Pair(weight, scaled.contiguous(memory_format=memory_format), shift.to(weight.dtype), normalised)


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


def _normalisation(*args: Any, **kwargs: Any) -> _Normalisation | None:
    """Of a call of torch's `batch_norm`; None where it is made of the batch itself."""
    called = _BATCH_NORM.bind(*args, **kwargs)
    called.apply_defaults()
    given = called.arguments
    if given["training"] or given["running_mean"] is None or given["running_var"] is None:
        return None
    return _Normalisation(
        given["running_mean"], given["running_var"], given["weight"], given["bias"], given["eps"]
    )


_BATCH_NORM = signature(functional.batch_norm)
