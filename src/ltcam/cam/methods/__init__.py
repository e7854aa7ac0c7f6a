"""The gradient methods, one file each.

A method is its channel weights: a pure function of one layer's activations and gradients. The map is
always the weighted sum over channels, so truncation, ReLU, resizing and fusing exist once, outside.
"""

from __future__ import annotations

from ltcam.cam.methods import grad_cam, grad_cam_plus_plus, hires_cam, layer_cam, xgrad_cam
from ltcam.cam.methods.method import GradientMethod

_METHODS = {
    method.name: method
    for method in (
        grad_cam.GRAD_CAM,
        grad_cam_plus_plus.GRAD_CAM_PLUS_PLUS,
        xgrad_cam.XGRAD_CAM,
        layer_cam.LAYER_CAM,
        hires_cam.HIRES_CAM,
    )
}


def methods() -> tuple[GradientMethod, ...]:
    """All registered methods, in the order they were registered."""
    return tuple(_METHODS.values())


def method_named(name: str | GradientMethod) -> GradientMethod:
    """The method of this name (a method is given back as it is).

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if isinstance(name, GradientMethod):
        return name
    if name not in _METHODS:
        raise ValueError(f"method={name!r} is unknown; choose from {', '.join(_METHODS)}")
    return _METHODS[name]


def register(method: GradientMethod) -> GradientMethod:
    """Make an own method known by its name, to `CAM`, the command line and the comparisons.

    Raises:
        ValueError: if the name is taken.
    """
    if method.name in _METHODS:
        raise ValueError(f"a method named {method.name!r} exists already")
    _METHODS[method.name] = method
    return method


__all__ = ["GradientMethod", "method_named", "methods", "register"]
