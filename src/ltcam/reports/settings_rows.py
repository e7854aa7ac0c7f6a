"""The settings of a run in words: rows of tables that pages share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ltcam_runtime.settings import part_name

if TYPE_CHECKING:  # the run folder's module needs torch, a page does not
    from ltcam.runs.run import Run
    from ltcam_runtime.settings import CamSettings, DrawingSettings, MaskSettings, SharpeningSettings

_FUSIONS = {
    "sum": "the stages' maps are added up",
    "mean": "the stages' maps are averaged",
    "max": "at each place the largest of the stages' maps counts",
    "product": "geometric mean: a place counts only where every stage agrees",
}
_SCALES = {
    "none": "maps are fused as they are; stages with large values weigh more",
    "max": "each stage's map is divided by its maximum before fusing",
    "minmax": "each stage's map is brought to 0 to 1 before fusing",
    "tanh": "each stage's map is scaled by tanh(2 M / max M) before fusing, which lifts weak places",
}
CONTRASTS = {
    "none": "the heatmap is used as it is",
    "dark": "multiplied by how much darker than its surroundings each pixel is",
    "bright": "multiplied by how much brighter than its surroundings each pixel is",
    "either": "multiplied by how much darker, or brighter, than its surroundings each pixel is: whichever is stronger "
    "where the heatmap is hot",
    "both": "multiplied by how much darker or brighter than its surroundings each pixel is",
    "colour": "multiplied by how far each pixel's colour is from that of its surroundings",
}
_READINGS = {
    "gradient": "the truncated gradients replace the gradients in the method (eq. 9)",
    "mask": "weights come from whole gradients, truncation selects where they act (eq. 11)",
}


class SettingRow(NamedTuple):
    """One setting: its name, its value, and what the value means."""

    name: str
    value: str
    meaning: str


def network_row(
    backbone: str, image_size: Sequence[int], meaning: str = "classifier and the size it sees"
) -> SettingRow:
    """Which network was asked, at which (height, width)."""
    height, width = image_size
    return SettingRow("Network", f"{backbone}, {height} × {width} px", meaning)


def drawn_rows(run: Run) -> list[SettingRow]:
    """What a run draws of each kind of defect, and of parts of it; of all alike where it has chosen nothing by kind."""
    drawings: dict[str, DrawingSettings] = {}
    for kind, settings in run.kinds.items():
        parts: dict[str, DrawingSettings] = {
            part_name(kind, place): part for place, part in enumerate(settings.parts)
        }
        drawings |= parts or {kind: settings}
    rows = [SettingRow(name, drawing_words(drawing), _least(drawing)) for name, drawing in drawings.items()]
    seeds_only = rows and all(run.maps[each.map].method == "seed" for each in drawings.values())
    return rows if seeds_only else [*rows, *(_cam_rows(run) if rows else map_rows(run))]


def drawing_words(drawing: DrawingSettings) -> str:
    """Map, contrast and cut in words."""
    polarity = drawing.sharpening.polarity
    contrast = "no contrast" if polarity == "none" else f"{polarity} contrast"
    cut = "Otsu's threshold" if drawing.mask.threshold == "otsu" else "what OK pixels reach"
    return f"{drawing.map}, {contrast}, cut by {cut}"


def share_of_score(explained: float) -> str:
    """How much of the score goes where masks are filled, in words; it may rise, then they explain nothing."""
    return f"{100 * explained:.0f} %" if explained >= 0.005 else "nothing"


def _least(drawing: DrawingSettings) -> str:
    least = drawing.mask.min_area_px
    return f"regions smaller than {least} px are dropped" if least > 1 else ""


def map_rows(run: Run) -> list[SettingRow]:
    """How a run makes heatmaps and masks."""
    if run.cam.method == "student":
        return [*_cam_rows(run), *_mask_rows(run.mask)]
    return [*_cam_rows(run), *_sharpening_rows(run.sharpening), *_mask_rows(run.mask)]


def _cam_rows(run: Run) -> list[SettingRow]:
    cam = run.cam
    if cam.method == "student":
        drawn = "a decoder draws the probability of each pixel to be part of a defect, in the same pass"
        return [SettingRow("Method", cam.method, drawn)]
    return [
        SettingRow("Method", cam.method, "turns activations and gradients of one stage into a map"),
        SettingRow("Stages", stage_names(run), f"of {len(run.stages)}, S1 is the shallowest and finest"),
        *_truncation_rows(cam),
        *_fusion_rows(cam),
        SettingRow(
            "Negative activations",
            "left out" if cam.positive_activations else "used",
            "only positive parts of the activations make the map" if cam.positive_activations else "",
        ),
    ]


def stage_names(run: Run) -> str:
    """The stages of the map with their numbers: `S2 blocks.1, S3 blocks.2`."""
    number = {name: f"S{place}\N{NO-BREAK SPACE}" for place, name in enumerate(run.stages, start=1)}
    return ", ".join(number.get(name, "") + name for name in run.cam.stages)


def verdict_sentence(run: Run) -> str:
    """What the verdict's threshold does with a score."""
    threshold, margin = run.verdict.threshold, run.verdict.unsure_margin
    if margin == 0:
        return (
            f"An image whose score is {threshold:.3f} or more is judged defective; below, it is judged OK "
            "and its mask is emptied."
        )
    low, high = max(threshold - margin, 0.0), min(threshold + margin, 1.0)
    return (
        f"An image whose score is {high:.3f} or more is judged defective; below {low:.3f} it is judged OK "
        "and its mask is emptied; between the two a person should look."
    )


def plain(value: Any) -> str:
    """A settings value for people."""
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(plain(each) for each in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {plain(each)}" for name, each in value.items())
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def _truncation_rows(cam: CamSettings) -> list[SettingRow]:
    if cam.percentile is None:
        return [SettingRow("Truncation", "none", "all gradients are used")]
    return [
        SettingRow(
            "Truncation",
            f"percentile {cam.percentile:g}",
            f"positive gradients below this percentile of each {cam.scope} are dropped",
        ),
        SettingRow("Truncation acts on", cam.reading, _READINGS[cam.reading]),
    ]


def _fusion_rows(cam: CamSettings) -> list[SettingRow]:
    if len(cam.stages) == 1:
        return []
    rows = [SettingRow("Fusion", cam.fusion, _FUSIONS[cam.fusion])]
    # A product scales by the maximum whatever is said here, and its words say so.
    return (
        rows
        if cam.fusion == "product"
        else [*rows, SettingRow("Scale of stages", cam.stage_scale, _SCALES[cam.stage_scale])]
    )


def _sharpening_rows(sharpening: SharpeningSettings) -> list[SettingRow]:
    what = SettingRow("Sharpening", f"{sharpening.polarity} contrast", CONTRASTS[sharpening.polarity])
    if sharpening.polarity == "none":
        return [what._replace(value="none")]
    return [
        what,
        SettingRow(
            "Surroundings",
            f"{100 * sharpening.window:g} %",
            "side of the window, of the image's shorter side",
        ),
        SettingRow("Floor", f"{sharpening.floor:g}", "grey levels of contrast that do not count: grain"),
    ]


def _mask_rows(mask: MaskSettings) -> list[SettingRow]:
    if mask.threshold == "otsu":
        threshold = SettingRow(
            "Mask threshold", "Otsu", "splits each heatmap where its two halves differ most"
        )
    else:
        meaning = "share of each heatmap's range, from its minimum to its maximum"
        if mask.of == "value":
            meaning = "probability above which a pixel counts as part of a defect"
        threshold = SettingRow("Mask threshold", f"{mask.threshold:g}", meaning)
    reach = SettingRow(
        "Mask reaches down to", f"{mask.reach:g}", "of the threshold, along a region that begins above it"
    )
    rows = [threshold] if mask.reach == 1 or mask.threshold != "otsu" else [threshold, reach]
    if mask.fill_holes:
        rows.append(SettingRow("Holes", "filled", "what a mask encloses belongs to it"))
    least = SettingRow("Smallest region", f"{mask.min_area_px} px", "smaller regions are dropped")
    return [*rows, least] if mask.min_area_px > 1 else rows
