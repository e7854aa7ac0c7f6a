"""The CAM engine: torch in, torch out. Needs torch and nothing else of ltcam.

images -> capture -> stage maps -> heatmap
(N,3,H,W)  (capture)  (methods, truncation)  (fusion)
"""

from ltcam.cam.capture import Capture, capture
from ltcam.cam.engine import CAM
from ltcam.cam.explanation import Explanation
from ltcam.cam.fusion import fuse, resize_maps
from ltcam.cam.layers import find_stages
from ltcam.cam.methods import (
    GradientMethod,
    Method,
    Probe,
    ProbingMethod,
    gradient_methods,
    method_named,
    methods,
    register,
)
from ltcam.cam.presets import LTGradCAM, LTGradCAMPlusPlus, LTHiResCAM, LTLayerCAM, LTXGradCAM, truncated
from ltcam.cam.targets import log_odds
from ltcam.cam.truncation import Truncation, kept

__all__ = [
    "CAM",
    "Capture",
    "Explanation",
    "GradientMethod",
    "LTGradCAM",
    "LTGradCAMPlusPlus",
    "LTHiResCAM",
    "LTLayerCAM",
    "LTXGradCAM",
    "Method",
    "Probe",
    "ProbingMethod",
    "Truncation",
    "capture",
    "find_stages",
    "fuse",
    "gradient_methods",
    "kept",
    "log_odds",
    "method_named",
    "methods",
    "register",
    "resize_maps",
    "truncated",
]
