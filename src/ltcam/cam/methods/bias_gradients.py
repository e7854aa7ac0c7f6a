"""What the biases of a network add to a score: gradients at the outputs of all layers with a bias.

With y a network's score, x the image, b the biases and g = dy/du the gradient at the output u of each
layer with a bias, networks of affine layers and of activations eta(z) = z eta'(z) fulfil

    y = sum g^x x + sum over layers and positions of b g        (Srinivas and Fleuret 2019, proposition 1)

Gradients are seen while the backward pass goes by, one layer at a time, and kept only by those who ask.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeGuard, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ltcam.cam.network.eval_mode import check_images, evaluating, run
from ltcam.cam.network.hooks import Hooks
from ltcam.cam.network.memory_formats import in_fastest_format
from ltcam.cam.targets import Target, target_scores
from ltcam.cam.tensors import at_least_float32, detached, refuse_not_finite, warn_of_half_precision

T = TypeVar("T")

_WITH_IMPLICIT_BIAS = frozenset(
    {"SiLU", "GELU", "Mish", "ELU", "CELU", "SELU", "Sigmoid", "LogSigmoid", "Tanh", "Tanhshrink", "Softplus"}
    | {"Softsign", "Softshrink", "Hardshrink", "Hardswish", "Hardsigmoid", "Threshold", "Normalize"}
    | {"Swish", "SwishMe", "MishMe", "HardSwish", "HardSwishMe", "HardSigmoid", "HardSigmoidMe", "HardMish"}
    | {"HardMishMe", "GELUTanh", "QuickGELU"}
)
"""Class names, torch's and other libraries', of what works element by element (or channel by channel) and is
not eta(z) = z eta'(z). Names, since libraries bring classes of their own that share nothing but the name."""

_TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5}
_TOLERANCE_OF_HALF, _TOLERANCE_OF_TF32 = 1e-1, 1e-2


@dataclass(frozen=True)
class BiasLayer:
    """One call of a layer with a bias.

    Attributes:
        name: as in `model.named_modules()`.
        gradient: of each image's target score, at the layer's output; (N, C, h, w) of convolutional maps,
            (N, C) of linear layers, channels second also where the layer has them last; float32 or float64.
        bias: effective bias (C,): of a convolution or linear layer its own; of a batch normalisation
            beta - gamma mean / sqrt(var + eps).
        is_map: whether it has a map in FullGrad: a convolution or a normalisation, of 4-D output.
    """

    name: str
    gradient: Tensor
    bias: Tensor
    is_map: bool


@dataclass(frozen=True)
class BiasCapture:
    """What one look of the classifier at N images says of its biases.

    Attributes:
        layers: one entry per call of a layer with a bias, in the order of execution. Calls that the score
            does not depend on are left out; their gradient is zero.
        images: (N, C, H, W), as given to the model.
        input_gradient: gradient of each image's score with respect to it (N, C, H, W).
        output: what the model returned, its tensors detached.
        scores: target score of each image (N,), before any softmax.
        input_size: (H, W) of the images.
        gap: completeness gap of each image (N,), float64: the score less everything explained, which is
            the input's part, all biases and the implicit biases eta(z) - z eta'(z) of activations. Zero but
            for rounding unless the network has parts that are neither affine nor element by element.
        terms: sum of the absolute values of those parts (N,), float64: rounding is measured against it.
    """

    layers: tuple[BiasLayer, ...]
    images: Tensor
    input_gradient: Tensor
    output: Any
    scores: Tensor
    input_size: tuple[int, int]
    gap: Tensor
    terms: Tensor


def capture_biases(model: nn.Module, images: Tensor, target: Target = None) -> BiasCapture:
    """Run the model once forward and once backward and keep the gradients at all layers with a bias.

    The model is left as it was: training flags, `requires_grad`, `.grad` and hooks, also after an exception.
    Memory grows with the sum of all layers' outputs; `FullGrad` itself keeps one layer at a time.

    Args:
        model: a CNN; run in evaluation mode.
        images: (N, C, H, W), floating point, normalised as the model wants it.
        target: what is explained; see `ltcam.cam.targets`.

    Raises:
        TypeError: images of an integer or boolean type.
        ValueError: no layer with a bias on the way to the score; shapes, targets or values that cannot be
            used.

    Warns:
        UserWarning: the biases do not explain the score; with the gap.
    """
    layers, found = visit_biases(model, images, target, lambda layer: layer)
    warn_if_incomplete(found, stacklevel=2)
    return replace(found, layers=layers)


def visit_biases(
    model: nn.Module, images: Tensor, target: Target, take: Callable[[BiasLayer], T]
) -> tuple[tuple[T, ...], BiasCapture]:
    """Like `capture_biases`, keeping of each layer only what `take` makes of it. Does not warn of gaps.

    Args:
        model: a CNN; run in evaluation mode.
        images: (N, C, H, W).
        target: what is explained.
        take: called once per layer, from the last to the first, during the backward pass. It must not
            change the gradient.

    Returns:
        What `take` gave, in the order of execution, and the capture without layers.

    Raises:
        TypeError: images of an integer or boolean type.
        ValueError: as for `capture_biases`.
    """
    check_images(images)
    with evaluating(model), torch.inference_mode(False), torch.enable_grad():
        values = images.detach().clone()

        def passes(images: Tensor) -> tuple[Tensor, object, _Watch[T], Tensor, Tensor | None]:
            source = images.detach().requires_grad_()
            output, watch = _forward(model, source, take)
            scores = target_scores(output, target, len(images))
            _refuse_not_finite_output(output, scores)
            if not scores.requires_grad:
                return source, output, watch, scores, None
            (slope,) = torch.autograd.grad(scores.sum(), [source], allow_unused=True)
            return source, output, watch, scores, slope

        source, output, watch, scores, input_gradient = in_fastest_format(
            model, values, passes, gradients=True
        )
    if input_gradient is None:
        raise ValueError(
            "the target score has no gradient with respect to the images: the model detaches something, or "
            "runs under no_grad or inference_mode"
        )
    if not watch.results:
        raise ValueError(
            "the score depends on no layer with a bias (convolution, linear layer, batch normalisation): "
            "FullGrad has nothing to show; use another method"
        )
    refuse_not_finite("gradients of the images", input_gradient)
    warn_of_half_precision(watch.half, stacklevel=3)
    source = at_least_float32(source.detach())
    input_gradient = at_least_float32(input_gradient)
    scores = at_least_float32(scores.detach())
    watch.explain(_inner(input_gradient, source))
    found = BiasCapture(
        layers=(),
        images=source,
        input_gradient=input_gradient,
        output=detached(output),
        scores=scores,
        input_size=(int(images.shape[2]), int(images.shape[3])),
        gap=_precise(scores) - watch.explained,
        terms=watch.terms,
    )
    return tuple(watch.results[index] for index in sorted(watch.results)), found


def warn_if_incomplete(found: BiasCapture, stacklevel: int) -> None:
    """Warn, with the gap, if the biases do not explain the scores within what rounding allows.

    Args:
        found: a capture.
        stacklevel: as for `warnings.warn`, counted from the caller.
    """
    logits = found.output
    half = isinstance(logits, Tensor) and logits.dtype.itemsize < 4
    tolerance = _TOLERANCE_OF_HALF if half else _TOLERANCE[found.scores.dtype]
    if found.scores.dtype == torch.float32 and _rounds_to_tf32(found.scores.device):
        tolerance = max(tolerance, _TOLERANCE_OF_TF32)
    share = found.gap.abs() / torch.maximum(_precise(found.scores).abs(), found.terms).clamp_min(1e-30)
    worst = int(share.argmax())
    if float(share[worst]) > tolerance:
        warnings.warn(
            f"FullGrad is not complete on this model: of the score {float(found.scores[worst]):.4g} of image "
            f"{worst}, {float(found.gap[worst]):.4g} belongs to no layer. Products of maps (squeeze-excite, "
            "attention), norms over the image itself and activations that are no modules of their own do "
            "that; the map leaves their part out",
            stacklevel=stacklevel + 1,
        )


def _rounds_to_tf32(device: torch.device) -> bool:
    """Whether convolutions in float32 round their inputs to ten bits there, as torch has it on GPUs by default."""
    return device.type == "cuda" and bool(torch.backends.cudnn.allow_tf32)


def effective_bias(module: nn.Module) -> Tensor | None:
    """What a layer adds to each channel whatever comes in, or None if it is no layer with a bias.

    Returns:
        (C,) float64 on the CPU.
    """
    if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
        return None if module.bias is None else _precise(module.bias)
    mean, variance = (getattr(module, name, None) for name in ("running_mean", "running_var"))
    eps = getattr(module, "eps", None)
    if not isinstance(mean, Tensor) or not isinstance(variance, Tensor) or not isinstance(eps, (int, float)):
        return None
    weight, beta = (getattr(module, name, None) for name in ("weight", "bias"))
    gamma = 1 if weight is None else _precise(weight)
    return (0 if beta is None else _precise(beta)) - gamma * _precise(mean) / torch.sqrt(
        _precise(variance) + eps
    )


class _Watch(Generic[T]):
    """Looks on during one forward pass, and through hooks on tensors during the backward pass.

    Hooks on tensors get the gradient of the value the tensor had when they were set, so what the network
    writes over it later does no harm. Values are needed of activations with an implicit bias only.
    """

    def __init__(
        self, hooks: Hooks, model: nn.Module, count: int, take: Callable[[BiasLayer], T], copies: bool
    ):
        self.results: dict[int, T] = {}
        self.explained = torch.zeros(count, dtype=torch.float64, device="cpu")
        self.terms = torch.zeros_like(self.explained)
        self.half: list[str] = []
        self._count, self._take, self._copies = count, take, copies
        self._calls = 0
        self._inputs: dict[nn.Module, Tensor] = {}
        self._versions: list[tuple[Tensor, int]] = []
        for name, module in model.named_modules():
            self._register(hooks, name, module)

    def explain(self, part: Tensor) -> None:
        """Count one part of the score (N,) as explained."""
        self.explained += part
        self.terms += part.abs()

    def changed_in_place(self) -> bool:
        """Whether the network wrote over values that the implicit biases need. To be asked once."""
        versions, self._versions = self._versions, []
        return any(tensor._version != version for tensor, version in versions)

    def _register(self, hooks: Hooks, name: str, module: nn.Module) -> None:
        bias = effective_bias(module)
        if bias is not None:
            inner = getattr(module, "drop", None)  # timm's normalisations hold their activation behind it
            if isinstance(inner, nn.Module) and not isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
                hooks.before(inner, partial(self._before_inner, name, module, bias))
            else:
                hooks.behind(module, partial(self._follow, name, module, bias))
        elif isinstance(module, nn.Hardtanh):
            hooks.behind(module, partial(self._behind_limits, module))
        elif any(kind.__name__ in _WITH_IMPLICIT_BIAS for kind in type(module).__mro__):
            hooks.before(module, partial(self._before_activation, module))
            hooks.behind(module, partial(self._behind_activation, module))

    # ---- layers with a bias

    def _before_inner(self, name: str, module: nn.Module, bias: Tensor, inputs: tuple[Any, ...]) -> None:
        self._follow(name, module, bias, (), *inputs[:1])

    def _follow(
        self, name: str, module: nn.Module, bias: Tensor, _inputs: object, output: object = None
    ) -> None:
        if not _may_have_gradient(output):
            return
        if len(output) != self._count:
            raise ValueError(
                f"layer {name!r} returns {tuple(output.shape)} for {self._count} images; FullGrad needs "
                "layers whose first axis counts the images"
            )
        index, self._calls = self._calls, self._calls + 1
        channels_last = isinstance(module, nn.Linear)
        is_map = not channels_last and output.ndim == 4

        def arrived(gradient: Tensor) -> None:
            if gradient.dtype.itemsize < 4:
                self.half.append(name)
            g = at_least_float32(gradient.detach())
            g = g.movedim(-1, 1) if channels_last else g
            per_channel = _precise(g.sum(tuple(range(2, g.ndim))) if g.ndim > 2 else g)
            if not bool(torch.isfinite(per_channel).all()):
                refuse_not_finite(f"gradients of layer {name!r}", g)
            self.explain(per_channel @ bias)
            self.results[index] = self._take(BiasLayer(name, g, bias.to(g), is_map))

        _on_gradient(output, arrived)

    # ---- implicit biases, eta(z) - z eta'(z): they count for completeness and have no map

    def _behind_limits(self, module: nn.Hardtanh, _inputs: object, output: object) -> Tensor | None:
        """Hardtanh and ReLU6: where they saturate they add their limit."""
        if not _may_have_gradient(output):
            return None
        values = self._kept(output)

        def arrived(gradient: Tensor) -> None:
            # Comparisons are written as numbers: on CPUs booleans cost several times as much.
            for limit, compare in ((module.max_val, torch.ge), (module.min_val, torch.le)):
                if limit != 0:
                    reached = compare(values, limit, out=torch.empty_like(values))
                    self.explain(limit * _inner(gradient, reached))

        _on_gradient(output, arrived)
        return output.clone() if self._copies else None

    def _before_activation(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Hands the activation a stand-in of its input, whose gradient is that of this one path only."""
        if not inputs or not _may_have_gradient(inputs[0]):
            return None
        copies = self._copies or bool(getattr(module, "inplace", False))
        entering = inputs[0].clone() if copies else inputs[0].view_as(inputs[0])
        self._inputs[module] = values = self._kept(inputs[0].clone() if self._copies else inputs[0])
        _on_gradient(entering, lambda gradient: self.explain(-_inner(gradient, values)))
        return (entering, *inputs[1:])

    def _behind_activation(self, module: nn.Module, _inputs: object, output: object) -> Tensor | None:
        if not _may_have_gradient(output) or self._inputs.pop(module, None) is None:
            return None
        values = self._kept(output)
        _on_gradient(output, lambda gradient: self.explain(_inner(gradient, values)))
        return output.clone() if self._copies else None

    def _kept(self, tensor: Tensor) -> Tensor:
        """The tensor's values without its history: a hook that held the tensor would never let it go."""
        values = tensor.detach()
        self._versions.append((values, values._version))
        return values


def _forward(model: nn.Module, source: Tensor, take: Callable[[BiasLayer], T]) -> tuple[object, _Watch[T]]:
    """The model's output, watched; a second pass with copies if needed values were written over.

    The model gets a copy of the images, which it may write over as well.
    """
    for copies in (False, True):
        with Hooks() as hooks:
            watch = _Watch(hooks, model, len(source), take, copies)
            try:
                output = run(model, source.clone())
            except RuntimeError as error:
                if not copies and "in-place operation" in str(error):
                    continue
                raise
        if not watch.changed_in_place() or copies:
            break
    return output, watch


def _may_have_gradient(value: object) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.requires_grad


def _on_gradient(tensor: Tensor, hook: Callable[[Tensor], None]) -> None:
    """Have the hook called, once, with the gradient of the value that the tensor has now.

    It is forgotten as soon as it was called, and with it what it holds: the backward pass wants the memory.
    """

    def once(gradient: Tensor) -> None:
        handle.remove()
        hook(gradient)

    handle: RemovableHandle = tensor.register_hook(once)


def _refuse_not_finite_output(output: object, scores: Tensor) -> None:
    if isinstance(output, Tensor):
        refuse_not_finite("logits", output.detach())
    refuse_not_finite("scores", scores.detach())


def _precise(tensor: Tensor) -> Tensor:
    """For sums over layers: float64 on the CPU, since not every device has it."""
    return tensor.detach().to("cpu", torch.float64)


def _inner(one: Tensor, other: Tensor) -> Tensor:
    """Sum of products per image, (N,) float64."""
    product = at_least_float32(one) * at_least_float32(other)
    return _precise(product.sum(tuple(range(1, product.ndim))) if product.ndim > 1 else product)
