"""The methods known by name."""

from __future__ import annotations

from ltcam.cam.methods import (
    ablation_cam,
    cam,
    full_grad,
    grad_cam,
    grad_cam_plus_plus,
    hires_cam,
    layer_cam,
    lift_cam,
    relevance_cam,
    score_cam,
    xgrad_cam,
)
from ltcam.cam.methods.method import GradientMethod, Method

_METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        grad_cam.GRAD_CAM,
        grad_cam_plus_plus.GRAD_CAM_PLUS_PLUS,
        xgrad_cam.XGRAD_CAM,
        layer_cam.LAYER_CAM,
        hires_cam.HIRES_CAM,
        full_grad.FULL_GRAD,
        cam.CAM,
        lift_cam.LIFT_CAM,
        relevance_cam.RELEVANCE_CAM,
        score_cam.SCORE_CAM,
        ablation_cam.ABLATION_CAM,
    )
}


def list_methods() -> tuple[Method, ...]:
    """All registered methods, in the order they were registered, with source and one sentence each."""
    return tuple(_METHODS.values())


def list_gradient_methods() -> tuple[GradientMethod, ...]:
    """The registered methods that one forward and one backward pass serve, and that have an LT form."""
    return tuple(method for method in list_methods() if isinstance(method, GradientMethod))


def get_method(name: str | Method) -> Method:
    """The method of this name (a method is given back as it is).

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if isinstance(name, Method):
        return name
    if name not in _METHODS:
        raise ValueError(f"`method` {name!r} is unknown; choose from {', '.join(_METHODS)}")
    return _METHODS[name]


def get_gradient_method(name: str | Method) -> GradientMethod:
    """The gradient method of this name.

    Raises:
        ValueError: an unknown name, or a method that is none.
    """
    method = get_method(name)
    if not isinstance(method, GradientMethod):
        known = ", ".join(known.name for known in list_gradient_methods())
        raise ValueError(f"{method.title} is no gradient method; choose from {known}")
    return method


def register_method(method: Method) -> Method:
    """Make an own method known by its name, to `CAM`, the command line and the comparisons.

    Raises:
        ValueError: if the name is taken.
    """
    if method.name in _METHODS:
        raise ValueError(f"a method named {method.name!r} exists already")
    _METHODS[method.name] = method
    return method
