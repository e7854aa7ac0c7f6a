"""The CAM engine: torch in, torch out. Needs torch and nothing else of ltcam.

images -> capture -> stage maps -> heatmap
(N,3,H,W)  (capture)  (methods, truncation)  (fusion)
"""

from ltcam.cam.captures import Capture, Layers, capture
from ltcam.cam.engine import CAM
from ltcam.cam.explanation import Explanation
from ltcam.cam.fusion import fuse, resize_maps
from ltcam.cam.methods import (
    GradientMethod,
    Method,
    NetworkMethod,
    Probe,
    ProbingMethod,
    get_method,
    list_gradient_methods,
    list_methods,
    register_method,
)
from ltcam.cam.methods.bias_gradients import BiasCapture, BiasLayer, capture_biases
from ltcam.cam.methods.full_grad import FullGrad, full_grad_sweep
from ltcam.cam.network.stages import find_stages
from ltcam.cam.presets import (
    LT,
    LTFullGrad,
    LTGradCAM,
    LTGradCAMPlusPlus,
    LTHiResCAM,
    LTLayerCAM,
    LTXGradCAM,
    truncated,
)
from ltcam.cam.sweeps import Answer, sweep
from ltcam.cam.targets import log_odds
from ltcam.cam.truncation import Truncation, kept

__all__ = [
    "CAM",
    "LT",
    "Answer",
    "BiasCapture",
    "BiasLayer",
    "Capture",
    "Explanation",
    "FullGrad",
    "GradientMethod",
    "LTFullGrad",
    "LTGradCAM",
    "LTGradCAMPlusPlus",
    "LTHiResCAM",
    "LTLayerCAM",
    "LTXGradCAM",
    "Layers",
    "Method",
    "NetworkMethod",
    "Probe",
    "ProbingMethod",
    "Truncation",
    "capture",
    "capture_biases",
    "find_stages",
    "full_grad_sweep",
    "fuse",
    "get_method",
    "kept",
    "list_gradient_methods",
    "list_methods",
    "log_odds",
    "register_method",
    "resize_maps",
    "sweep",
    "truncated",
]
