"""How an exported file compares with its run: the page of `ltcam export --verify`."""

from __future__ import annotations

from collections.abc import Callable

from ltcam.evaluation.engines import EngineResult, Verification
from ltcam.reports.html import render

_NAMES = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def verify_page(verification: Verification) -> str:
    """The page."""
    engines = verification.engines
    changed = [(image, _NAMES[engine.engine]) for engine in engines for image in engine.verdict_changes]
    return render(
        "verify_page.html.j2",
        verification=verification,
        head=("", *(_NAMES[engine.engine] for engine in engines)),
        rows=[(what, *map(shown, engines)) for what, shown in _ROWS],
        changed=changed,
        failed=[{"image": image, "reason": reason} for image, reason in verification.failed],
    )


def _size(number: float) -> str:
    """A difference that may be tiny."""
    return "0" if number == 0 else f"{number:.1e}" if number < 1e-3 else f"{number:.4f}"


_ROWS: tuple[tuple[str, Callable[[EngineResult], str]], ...] = (
    ("Verdicts changed", lambda engine: str(len(engine.verdict_changes))),
    ("Score, largest change", lambda engine: _size(engine.largest_score_change)),
    ("Mask IoU, mean", lambda engine: f"{engine.mean_mask_iou:.4f}"),
    ("Mask IoU, lowest", lambda engine: f"{engine.mask_iou:.4f}"),
    ("Heatmap pixels within 1e-4 of the exact ones", lambda engine: f"{engine.near:.2%}"),
    ("Heatmap, largest difference from the exact one", lambda engine: _size(engine.largest)),
    ("Milliseconds per image", lambda engine: f"{engine.milliseconds:.1f}"),
    (
        "Memory, MB",
        lambda engine: "–" if engine.memory_mb is None else f"{engine.memory_mb:.0f}",
    ),
)
"""What is said of each engine, and how."""
