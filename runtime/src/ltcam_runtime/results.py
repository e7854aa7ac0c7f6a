"""The value that every inspection returns, whoever made it (predict, a service, an exported graph)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.phrases import counted
from ltcam_runtime.settings import Trust

if TYPE_CHECKING:  # only who plots needs it
    from matplotlib.figure import Figure

Verdict = Literal["ok", "unsure", "defect"]
"""What an inspection says of a whole image. `unsure` means: a person should look."""

Decision = Literal["confirmed", "false_alarm", "missed", "ok"]
"""What a person says of an inspection: the defect is there; the alarm was false; a defect was missed; it is OK."""

INSPECTION_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Region:
    """One connected piece of a defect mask, in the pixels of the image it was found in.

    Attributes:
        class_name: the defect class the region is given.
        box: (x, y, width, height) in pixels; origin top left, x to the right.
        area_px: number of pixels, >= 1.
        area_percent: share of the image's pixels, 0 to 100.
        length_px: longest extent (maximum Feret diameter, pixel corner to pixel corner), in pixels.
        peak: largest heatmap value inside the region as a share of the heatmap's range, 0 to 1.
    """

    class_name: str
    box: tuple[int, int, int, int]
    area_px: int
    area_percent: float
    length_px: float
    peak: float

    def to_json(self, px_per_mm: float | None = None) -> dict[str, Any]:
        """The region as plain JSON values.

        Args:
            px_per_mm: pixels along a millimetre of the part, for sizes in millimetres too.
        """
        sizes: dict[str, float] = {}
        if px_per_mm is not None:
            sizes = {
                "area_mm2": round(self.area_px / px_per_mm**2, 6),
                "length_mm": round(self.length_px / px_per_mm, 6),
            }
        return {
            **sizes,
            "class": self.class_name,
            "box": list(self.box),
            "area_px": self.area_px,
            "area_percent": round(self.area_percent, 6),
            "length_px": round(self.length_px, 3),
            "peak": round(self.peak, 6),
        }


@dataclass(frozen=True, repr=False)
class Inspection:
    """Everything that is said of one image.

    Attributes:
        image: name of the image, relative to what was asked for, with forward slashes.
        size: (height, width) of the image in pixels, upright (after EXIF rotation).
        verdict: `ok`, `unsure` or `defect`.
        score: probability of being defective, 0 to 1.
        class_scores: probability per class, in the classifier's order; sums to 1.
        heatmap: (H, W) float32 at the image's own size, raw (not normalised), larger is more defective;
            sharpened as the mask was cut from it, which is not done where the verdict is `ok`.
        mask: (H, W) bool at the image's own size; empty where the verdict is `ok`.
        regions: connected pieces of the mask, largest area first.
        trust: how far the mask can be trusted, `good`, `fair` or `poor`, by how much of the verdict masks of its kinds
            explained in the training; empty where that is not known, and without a mask.
        timings: seconds per step, for information.
        pixels: (H, W, 3) uint8 RGB, what was inspected; None where many images are, so that they do not pile up.
    """

    image: str
    size: tuple[int, int]
    verdict: Verdict
    score: float
    class_scores: Mapping[str, float]
    heatmap: NDArray[np.float32]
    mask: NDArray[np.bool_]
    regions: tuple[Region, ...]
    trust: Trust = ""
    timings: Mapping[str, float] = field(default_factory=dict)
    pixels: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        """What was said of the image, in a line; its arrays stay out."""
        regions = counted(len(self.regions), "regions")
        height, width = self.size
        return (
            f"Inspection({self.image!r}, {self.verdict}, score {self.score:.4f}, {regions}, "
            f"{int(self.mask.sum())} of {height} x {width} px)"
        )

    def plot(self) -> Figure:
        """The image with the outline of what was found, and its heatmap, as a figure of matplotlib.

        Where the inspection holds no pixels, its heatmap stands for the image.

        Raises:
            SettingsError: matplotlib is not installed.
        """
        from ltcam_runtime.pages.plot import inspection_figure  # noqa: PLC0415  # it knows this class

        return inspection_figure(self)

    def save(self, folder: Path | str, *, overwrite: bool = False) -> Path:
        """Write overlay, mask, heatmap and numbers into a folder, named after the image.

        Args:
            folder: made where it is missing.
            overwrite: whether files of an earlier inspection of the same image are replaced.

        Returns:
            The file with the numbers, NAME.json; beside it NAME.overlay.jpg, NAME.mask.png and NAME.heatmap.png (the
            heatmap from its lowest to its highest value, 16 bit).

        Raises:
            OutputError: a file is there already, or cannot be written.
        """
        from ltcam_runtime.writers.single import save_inspection  # noqa: PLC0415  # it knows this class

        return save_inspection(self, Path(folder), overwrite=overwrite)

    def _repr_html_(self) -> str:
        """What a notebook shows: the image with what was found, verdict, score and regions."""
        from ltcam_runtime.pages.notebook import inspection_html  # noqa: PLC0415  # it knows this class

        return inspection_html(self)

    def to_json(self, px_per_mm: float | None = None) -> dict[str, Any]:
        """The inspection without its pictures, as plain JSON values (what `predictions.json` holds).

        Args:
            px_per_mm: as for `Region.to_json`.
        """
        return {
            "image": self.image,
            "height": self.size[0],
            "width": self.size[1],
            "verdict": self.verdict,
            "score": round(self.score, 6),
            "class_scores": {name: round(value, 6) for name, value in self.class_scores.items()},
            "mask_area_px": int(self.mask.sum()),
            "trust": self.trust,
            "regions": [region.to_json(px_per_mm) for region in self.regions],
        }
