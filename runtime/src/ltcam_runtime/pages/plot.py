"""An inspection as a figure of matplotlib, which only those need who plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ltcam_runtime.errors import SettingsError
from ltcam_runtime.pages.notebook import picture_of
from ltcam_runtime.phrases import printable
from ltcam_runtime.writers.overlays import draw_found

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ltcam_runtime.results import Inspection

_HEIGHT = 3.6  # inches
_WIDEST = 12.0


def inspection_figure(inspection: Inspection) -> Figure:
    """The image with what was found, and the heatmap, side by side.

    Raises:
        SettingsError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError("plot() needs matplotlib; pip install matplotlib") from error
    height, width = inspection.size
    each = min(_WIDEST / 2, max(2.0, _HEIGHT * width / height))
    figure = Figure(figsize=(2 * each, max(2.0, each * height / width) + 0.5), layout="constrained")
    found, heat = figure.subplots(1, 2)
    found.imshow(
        draw_found(
            picture_of(inspection),
            inspection.mask,
            inspection.heatmap,
            inspection.regions,
            inspection.size,
        )
    )
    found.set_title(f"{inspection.verdict}, score {inspection.score:.2f}")
    heat.imshow(inspection.heatmap, cmap="inferno")
    heat.set_title("heatmap")
    for axes in (found, heat):
        axes.set_axis_off()
    figure.suptitle(printable(inspection.image), parse_math=False)
    return figure
