"""onnxruntime and openvino, imported when they are first needed, and told to keep quiet before they are."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from ltcam_runtime.errors import SettingsError


def import_onnxruntime() -> Any:
    """The module. It reads the variable while it is imported; later is too late.

    Raises:
        SettingsError: it is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return _imported("onnxruntime", "onnx")


def import_openvino() -> Any:
    """The module, without the package that tells its makers of every start.

    Raises:
        SettingsError: it is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # its import then fails, which is allowed for
    return _imported("openvino", "openvino")


def _imported(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SettingsError(
            f"{module} is not installed ({error}): pip install 'ltcam-runtime[{extra}]'"
        ) from error
