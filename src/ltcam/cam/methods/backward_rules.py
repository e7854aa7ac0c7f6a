"""Backward passes in which operations pass on something else than their derivative.

DeepLIFT passes difference quotients back, layer-wise relevance propagation shares of relevance. Both need another
rule for some operations behind a layer and leave the rest to autograd. A rule gives an operation's own value,
and beside it a carrier: an expression whose derivative is what the rule wants passed on.

Rules stand in for functions of torch while a block runs, in its thread only. So modules and functional calls
are treated alike, the network itself is never changed, and no rule is left behind, whatever was raised.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ltcam.cam.captures import Capture, Layers, capture
from ltcam.cam.methods.conservation import Behind, changes_its_input, doubled, is_twice
from ltcam.cam.methods.method import Probe
from ltcam.cam.network.functions import FunctionCalls
from ltcam.cam.network.hooks import Hooks
from ltcam.cam.network.precision import without_half
from ltcam.cam.network.scores import target_of
from ltcam.cam.targets import Target, target_scores
from ltcam.cam.tensors import tensors_in

Function = Callable[..., Any]
Rule = Callable[..., Any]
"""(the function, its arguments...) -> its value, with the rule's slope behind it."""

ELEMENTWISE: tuple[Function, ...] = (
    *(functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_),
    *(functional.relu6, functional.hardtanh, functional.hardtanh_),
    *(functional.leaky_relu, functional.leaky_relu_, functional.elu, functional.elu_),
    *(functional.selu, functional.celu, functional.silu, functional.mish, functional.gelu),
    *(functional.softplus, functional.hardswish, functional.threshold),
    *(functional.hardsigmoid, functional.sigmoid, torch.sigmoid, Tensor.sigmoid, Tensor.sigmoid_),
    *(functional.tanh, torch.tanh, Tensor.tanh, Tensor.tanh_),
    *(torch.clamp, Tensor.clamp, Tensor.clamp_, torch.clamp_min, Tensor.clamp_min, Tensor.clamp_min_),
)
LINEAR: tuple[Function, ...] = (
    *(functional.linear, torch.conv1d, torch.conv2d, torch.conv3d),
    *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
)
AVERAGES: tuple[Function, ...] = (
    *(functional.avg_pool2d, functional.adaptive_avg_pool2d, torch.mean, Tensor.mean),
)
MAX_POOLS: tuple[Function, ...] = (
    *(functional.max_pool2d, torch.max_pool2d, functional.adaptive_max_pool2d),
)
PRODUCTS: tuple[Function, ...] = (
    *(torch.mul, Tensor.mul, Tensor.mul_, Tensor.__mul__, Tensor.__rmul__, Tensor.__imul__),
)
_NORMALISATIONS: tuple[Function, ...] = (
    *(functional.layer_norm, torch.layer_norm, functional.group_norm, functional.instance_norm),
    *(functional.softmax, torch.softmax, Tensor.softmax, functional.normalize),
    *(functional.scaled_dot_product_attention, functional.multi_head_attention_forward),
)
_OF_TWO_SIGNALS: tuple[Function, ...] = (
    *(torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm),
    *(torch.div, Tensor.div, Tensor.div_, Tensor.__truediv__, Tensor.__itruediv__),
)


@dataclass(frozen=True)
class RuledPass:
    """One forward pass and one backward pass by rules.

    Attributes:
        captured: of one layer; `gradients` are what the rules passed back to it.
        untreated: names of operations behind the layer for which the method has no rule, and that need one; they
            passed on their derivative.
    """

    captured: Capture
    untreated: tuple[str, ...]


@dataclass(frozen=True)
class Rules:
    """What a method passes back.

    Attributes:
        by_function: which function of torch gets which rule.
        edit: changes the layer's output before it goes on.
        conserving: whether operations without a rule have to pass on all relevance by their derivative; those that
            do not are among the `untreated`.
    """

    by_function: Mapping[Function, Rule]
    edit: Callable[[Tensor], Tensor] | None = None
    conserving: bool = False


def ruled_pass(probe: Probe, layer: int, rules: Rules, images: Tensor, target: Target) -> RuledPass:
    """Run the model once, with other backward rules behind one layer.

    What stands behind the layer is computed in float32: rules divide by activations, which half precision does
    not bear.

    Args:
        probe: whose model.
        layer: index in `probe.captured.layers`.
        rules: of the method.
        images: (N, 3, H, W).
        target: as for `capture`.

    Raises:
        ValueError: a layer that returns no maps.
    """
    name = probe.captured.layers[layer]
    module = dict(probe.model.named_modules(remove_duplicate=False))[name]
    mode = _Ruling(rules.by_function, _storages(probe.model) if rules.conserving else None)

    def start(_inputs: object, output: Any) -> Any:
        mode.active = True
        return None if rules.edit is None else rules.edit(output)

    with (
        Hooks() as hooks,
        mode,
        torch.autocast(images.device.type, enabled=False),
    ):
        hooks.behind(module, start)
        captured = capture(probe.model, images, target, layers=Layers((name,), reshape=probe.reshape))
    return RuledPass(captured, tuple(sorted(mode.untreated)))


def _storages(model: nn.Module) -> frozenset[int]:
    return frozenset(each.untyped_storage().data_ptr() for each in (*model.parameters(), *model.buffers()))


class _Ruling(FunctionCalls):
    """Puts rules in the place of functions from the moment it is made active."""

    def __init__(self, rules: Mapping[Function, Rule], constants: frozenset[int] | None):
        """`constants` are the storages of parameters; None asks nobody whether relevance is conserved."""
        super().__init__()
        self.active = False
        self.untreated: set[str] = set()
        self._rules = rules
        self._constants = constants
        self._behind = Behind()

    def called(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A rule's answer where there is one, and it is active."""
        named = dict(kwargs)
        if not self.active or not torch.is_grad_enabled():
            return func(*args, **named)
        args, named = without_half(args), without_half(named)
        if not args and "input" in named:
            args = (named.pop("input"),)
        given = tensors_in((args, named))
        for tensor in given:
            self.untreated.update(self._behind.enter(tensor))  # made by nobody that was seen
        if not any(map(self._behind.holds, given)):
            return func(*args, **named)
        if func in _NORMALISATIONS or (func in _OF_TWO_SIGNALS and sum(map(is_signal, args)) > 1):
            self.untreated.add(_name(func))
        rule = self._rules.get(func) if args and _carries_gradient(args[0]) else None
        result = self._unruled(func, args, named) if rule is None else rule(func, *args, **named)
        for tensor in tensors_in((result, args, named)):  # what was changed in place, too
            self._behind.enter(tensor)
        return result

    def _unruled(self, func: Function, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if self._constants is None:
            return func(*args, **named)
        given = (args, named)
        twice = (
            doubled(func, given, self._behind, self._constants) if changes_its_input(func, named) else None
        )
        result = func(*args, **named)
        if any(map(_carries_gradient, tensors_in(result))):
            more, more_named = twice or doubled(func, given, self._behind, self._constants)
            with torch.no_grad():
                answer = func(*more, **more_named)
            if not is_twice(answer, result):
                self.untreated.add(_name(func))
        return result


def _name(function: Function) -> str:
    return re.sub("^__|__$", "", getattr(function, "__name__", str(function)))


def _carries_gradient(value: object) -> bool:
    return isinstance(value, Tensor) and value.requires_grad and torch.is_grad_enabled()


def is_signal(value: object) -> bool:
    """Whether a value depends on the layer: carries a gradient and is no parameter."""
    return _carries_gradient(value) and not isinstance(value, nn.Parameter)


def with_slope(value: Tensor, carrier: Tensor) -> Tensor:
    """`value` going forward, exactly; the derivative of `carrier` going back."""
    return value.detach() + (carrier - carrier.detach())


def quotient(numerator: Tensor, denominator: Tensor, otherwise: Tensor | float = 0.0) -> Tensor:
    """A quotient, detached; `otherwise` where the denominator vanishes."""
    numerator, denominator = numerator.detach(), denominator.detach()
    nonzero = denominator.abs() > torch.finfo(denominator.dtype).tiny * 1e8  # quotients stay finite
    return torch.where(nonzero, numerator / torch.where(nonzero, denominator, 1), otherwise)


def elementwise_rule(multiplier: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Rule:
    """The rule by which an activation function passes its gradient on, times a multiplier.

    Args:
        multiplier: (inputs, outputs, derivatives), all of one shape -> multipliers of that shape.
    """

    def rule(function: Function, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            given = leaf.clone()  # functions in place change the copy
            value = function(given, *args, **kwargs)
            (derivative,) = torch.autograd.grad(value.sum(), leaf)
        result = with_slope(value, x * multiplier(x.detach(), value.detach(), derivative))
        return x.copy_(result) if value is given else result

    return rule


def product_rule(slopes: Callable[[Tensor, Tensor], tuple[Tensor, Tensor] | None]) -> Rule:
    """The rule for products of two signals (gates, attention maps); constants are left to autograd.

    Args:
        slopes: (x, y) -> what to multiply x's and y's gradient with, or None for their derivatives.
    """

    def rule(function: Function, x: Any, y: Any, *args: Any, **kwargs: Any) -> Any:
        found = slopes(x, y) if is_signal(x) and is_signal(y) else None
        if found is None:
            return function(x, y, *args, **kwargs)
        given = x.detach().clone()
        value = function(given, y.detach(), *args, **kwargs)
        result = with_slope(value, x * found[0].detach() + y * found[1].detach())
        return x.copy_(result) if value is given else result

    return rule


def logit_slopes(output: object, target: Target, count: int) -> Tensor:
    """Derivative of each image's score by its logits, (N, K) as the logits; for an index 1 at its class.

    Raises:
        ValueError: a model that returns something else than one tensor.
    """
    if not isinstance(output, Tensor):
        raise ValueError(
            f"the model must return one tensor of logits (N, K), got {type(output).__name__}; take a gradient "
            "method (grad-cam, layer-cam) for such models"
        )
    with torch.enable_grad():
        logits = output.detach().clone().requires_grad_()
        (slopes,) = torch.autograd.grad(target_scores(logits, target, count).sum(), logits)
    return slopes


def chunks(probe: Probe, copies: int = 1) -> Iterator[tuple[slice, Tensor, Target]]:
    """(which images, these images, their target) in portions the network may be given at once.

    Args:
        probe: gives images, target and `chunk`.
        copies: how often a portion repeats its images, one whole copy after the other.
    """
    size = max(1, probe.chunk // copies)
    for start in range(0, len(probe.images), size):
        part = slice(start, min(start + size, len(probe.images)))
        repeated = [*range(part.start, part.stop)] * copies
        yield part, probe.images[repeated], target_of(probe.target, repeated)
