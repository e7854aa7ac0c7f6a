"""The CAM engine: torch in, torch out. Needs torch and nothing else of ltcam.

images -> capture -> stage maps -> heatmap
(N,3,H,W)  (capture)  (methods, truncation)  (fusion)
"""

from ltcam.cam.biases import BiasCapture, BiasLayer, capture_biases
from ltcam.cam.capture import Capture, capture
from ltcam.cam.engine import CAM
from ltcam.cam.explanation import Explanation
from ltcam.cam.full_grad import FullGrad, full_grad_sweep
from ltcam.cam.fusion import fuse, resize_maps
from ltcam.cam.layers import find_stages
from ltcam.cam.methods import (
    GradientMethod,
    Method,
    NetworkMethod,
    Probe,
    ProbingMethod,
    gradient_methods,
    method_named,
    methods,
    register,
)
from ltcam.cam.presets import (
    LTFullGrad,
    LTGradCAM,
    LTGradCAMPlusPlus,
    LTHiResCAM,
    LTLayerCAM,
    LTXGradCAM,
    truncated,
)
from ltcam.cam.sweep import Answer, sweep
from ltcam.cam.targets import log_odds
from ltcam.cam.truncation import Truncation, kept

__all__ = [
    "CAM",
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
    "gradient_methods",
    "kept",
    "log_odds",
    "method_named",
    "methods",
    "register",
    "resize_maps",
    "sweep",
    "truncated",
]
