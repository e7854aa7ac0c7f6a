"""How an exported file compares with its run, engine by engine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

NEAR = 1e-4
"""Of a heatmap's range: pixels that differ by less count as the same."""


@dataclass(frozen=True)
class EngineResult:
    """What one engine says of all images: heatmaps beside those of torch in float64, all else beside torch.

    torch itself rounds, too, so that an engine is as near to its heatmaps as it can be if it is as near to those in
    float64 as torch is.

    Attributes:
        engine: `torch`, `onnxruntime` or `openvino`.
        near: share of heatmap pixels within `NEAR` of torch's in float64, as a share of the range, 0 to 1.
        largest: largest difference of any pixel from torch's in float64, as a share of the range.
        mask_iou: the lowest of any image, of masks made whatever the verdict; 1 where both are empty.
        mean_mask_iou: mean of all images.
        verdict_changes: names of the images with another verdict.
        largest_score_change: of any image.
        milliseconds: per image, from pixels to inspection; the median.
        memory_mb: that the engine added to this process; None where the system does not say.
    """

    engine: str
    near: float
    largest: float
    mask_iou: float
    mean_mask_iou: float
    verdict_changes: tuple[str, ...]
    largest_score_change: float
    milliseconds: float
    memory_mb: float | None


@dataclass(frozen=True)
class Verification:
    """How an exported file compares with its run.

    Attributes:
        run: name of the run folder.
        file: name of the exported file.
        images: how many were compared.
        failed: (image, reason) of those that could not be read.
        engines: torch first.
    """

    run: str
    file: str
    images: int
    failed: tuple[tuple[str, str], ...]
    engines: tuple[EngineResult, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        failed = [{"image": image, "reason": reason} for image, reason in self.failed]
        return {**asdict(self), "failed": failed}
