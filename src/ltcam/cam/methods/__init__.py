"""The methods, one file each.

A method is its channel weights: for a gradient method a pure function of one layer's activations and
gradients, for a probing method a function that may ask the network again. The map is always the weighted sum
over channels, so truncation, ReLU, resizing and fusing exist once, outside.
"""

from __future__ import annotations

from ltcam.cam.full_grad import FULL_GRAD
from ltcam.cam.methods import (
    ablation_cam,
    cam,
    grad_cam,
    grad_cam_plus_plus,
    hires_cam,
    layer_cam,
    lift_cam,
    relevance_cam,
    score_cam,
    xgrad_cam,
)
from ltcam.cam.methods.method import GradientMethod, Method, NetworkMethod, Probe, ProbingMethod

_METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        grad_cam.GRAD_CAM,
        grad_cam_plus_plus.GRAD_CAM_PLUS_PLUS,
        xgrad_cam.XGRAD_CAM,
        layer_cam.LAYER_CAM,
        hires_cam.HIRES_CAM,
        FULL_GRAD,
        cam.CAM,
        lift_cam.LIFT_CAM,
        relevance_cam.RELEVANCE_CAM,
        score_cam.SCORE_CAM,
        ablation_cam.ABLATION_CAM,
    )
}


def methods() -> tuple[Method, ...]:
    """All registered methods, in the order they were registered, with source and one sentence each."""
    return tuple(_METHODS.values())


def gradient_methods() -> tuple[GradientMethod, ...]:
    """The registered methods that one forward and one backward pass serve, and that have an LT form."""
    return tuple(method for method in methods() if isinstance(method, GradientMethod))


def method_named(name: str | Method) -> Method:
    """The method of this name (a method is given back as it is).

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if isinstance(name, Method):
        return name
    if name not in _METHODS:
        raise ValueError(f"method={name!r} is unknown; choose from {', '.join(_METHODS)}")
    return _METHODS[name]


def gradient_method_named(name: str | Method) -> GradientMethod:
    """The gradient method of this name.

    Raises:
        ValueError: an unknown name, or a method that is none.
    """
    method = method_named(name)
    if not isinstance(method, GradientMethod):
        known = ", ".join(known.name for known in gradient_methods())
        raise ValueError(f"{method.title} is no gradient method; choose from {known}")
    return method


def register(method: Method) -> Method:
    """Make an own method known by its name, to `CAM`, the command line and the comparisons.

    Raises:
        ValueError: if the name is taken.
    """
    if method.name in _METHODS:
        raise ValueError(f"a method named {method.name!r} exists already")
    _METHODS[method.name] = method
    return method


__all__ = [
    "GradientMethod",
    "Method",
    "NetworkMethod",
    "Probe",
    "ProbingMethod",
    "gradient_method_named",
    "gradient_methods",
    "method_named",
    "methods",
    "register",
]
