"""The torch-free ground floor of ltcam: images, heatmaps to masks, regions, verdicts, results; and exported inspectors.

from ltcam_runtime import Inspector
Inspector.load("part.ltcam.onnx").inspect("x.png")
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` is not loaded: a command answers an interrupt from its first moment

if TYPE_CHECKING:
    from typing import Any

    from ltcam_runtime.exported import Inspector

__all__ = ["Inspector"]


def __getattr__(name: str) -> Any:
    if name != "Inspector":
        raise AttributeError(f"module 'ltcam_runtime' has no attribute {name!r}")
    from ltcam_runtime.exported import Inspector  # noqa: PLC0415  # the package itself stays light

    return Inspector
