"""The methods, one file each.

A method is its channel weights: for a gradient method a pure function of one layer's activations and
gradients, for a probing method a function that may ask the network again. The map is always the weighted sum
over channels, so truncation, ReLU, resizing and fusing exist once, outside.
"""

from ltcam.cam.methods.method import GradientMethod, Method, NetworkMethod, Probe, ProbingMethod
from ltcam.cam.methods.registry import (
    get_gradient_method,
    get_method,
    list_gradient_methods,
    list_methods,
    register_method,
)

__all__ = [
    "GradientMethod",
    "Method",
    "NetworkMethod",
    "Probe",
    "ProbingMethod",
    "get_gradient_method",
    "get_method",
    "list_gradient_methods",
    "list_methods",
    "register_method",
]
