"""Let torchvision be imported beside a CPU build of torch.

The registry's torchvision is built for CUDA. On a CPU torch its native library does not load, the
operators `nms` and `qnms` are then missing, and `import torchvision` (and with it timm and lightning)
stops. Where the library loads, nothing is declared, since an operator must not be registered twice.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

import torch

_library: torch.library.Library | None = None  # must live as long as the declared operators


def prepare_torchvision() -> Literal["native", "declared", "absent"]:
    """Load torchvision's native library or declare its missing operators. Call before timm or lightning.

    Returns:
        What was done; calling it again does nothing more.
    """
    global _library  # noqa: PLW0603  # registration is process-wide by nature
    if _library is not None:
        return "declared"
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return "absent"
    try:
        torch.ops.load_library(str(Path(spec.origin).parent / "_C.so"))
    except OSError:
        _library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            _library.define(operator + signature)
        return "declared"
    return "native"
