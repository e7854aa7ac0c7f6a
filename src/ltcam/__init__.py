"""ltcam: OK/defect labels in, defect masks out.

`import ltcam` is light: names are loaded when they are first used, and of the standard library nothing, so that the
command answers an interrupt from its first moment. It changes nothing outside itself.
"""

from __future__ import annotations

TYPE_CHECKING = False

__version__ = "0.1.0"

_HOMES = {
    "ltcam.cam": (
        "CAM",
        "LTFullGrad",
        "LTGradCAM",
        "LTGradCAMPlusPlus",
        "LTHiResCAM",
        "LTLayerCAM",
        "LTXGradCAM",
        "Truncation",
    ),
    "ltcam.data.opened": ("OpenData",),
    "ltcam.evaluation.settings": ("EvaluationSettings",),
    "ltcam.jobs.bars": ("progress_bars",),
    "ltcam.jobs.checking": ("check",),
    "ltcam.jobs.distilling": ("distill",),
    "ltcam.jobs.evaluating": ("evaluate",),
    "ltcam.jobs.execution": ("Execution",),
    "ltcam.jobs.fitting": ("Classifier",),
    "ltcam.jobs.predicting": ("PredictionSettings", "predict"),
    "ltcam.jobs.training": ("train",),
    "ltcam.runs.inspector": ("Inspector",),
    "ltcam.training.listener": ("Listener",),
    "ltcam.training.settings": ("StudentSettings", "TrainingSettings"),
    "ltcam_runtime.errors": (
        "DataError",
        "InputError",
        "LtcamError",
        "OutputError",
        "RunError",
        "SettingsError",
    ),
    "ltcam_runtime.results": ("Inspection", "Region"),
    "ltcam_runtime.settings": ("Overrides",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

if TYPE_CHECKING:
    from typing import Any

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
    from ltcam.data.opened import OpenData
    from ltcam.evaluation.settings import EvaluationSettings
    from ltcam.jobs.bars import progress_bars
    from ltcam.jobs.checking import check
    from ltcam.jobs.distilling import distill
    from ltcam.jobs.evaluating import evaluate
    from ltcam.jobs.execution import Execution
    from ltcam.jobs.fitting import Classifier
    from ltcam.jobs.predicting import PredictionSettings, predict
    from ltcam.jobs.training import train
    from ltcam.runs.inspector import Inspector
    from ltcam.training.listener import Listener
    from ltcam.training.settings import StudentSettings, TrainingSettings
    from ltcam_runtime.errors import (
        DataError,
        InputError,
        LtcamError,
        OutputError,
        RunError,
        SettingsError,
    )
    from ltcam_runtime.results import Inspection, Region
    from ltcam_runtime.settings import Overrides

__all__ = [
    "CAM",
    "Classifier",
    "DataError",
    "EvaluationSettings",
    "Execution",
    "InputError",
    "Inspection",
    "Inspector",
    "LTFullGrad",
    "LTGradCAM",
    "LTGradCAMPlusPlus",
    "LTHiResCAM",
    "LTLayerCAM",
    "LTXGradCAM",
    "Listener",
    "LtcamError",
    "OpenData",
    "OutputError",
    "Overrides",
    "PredictionSettings",
    "Region",
    "RunError",
    "SettingsError",
    "StudentSettings",
    "TrainingSettings",
    "Truncation",
    "__version__",
    "check",
    "distill",
    "evaluate",
    "predict",
    "progress_bars",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'ltcam' has no attribute {name!r}")
    import importlib  # noqa: PLC0415  # not needed by the command's first moments

    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
