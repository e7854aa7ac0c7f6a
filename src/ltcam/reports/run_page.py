"""The page of a training: what was learned from what, how well, and how to do it again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import markupsafe
import numpy as np
from numpy.typing import NDArray

from ltcam.evaluation.decisions import tally
from ltcam.reports.examples import COLOURS, ExamplePicture
from ltcam.reports.html import image_uri, number, render, shaded_confusion
from ltcam.reports.settings_rows import (
    SettingRow,
    drawing_words,
    map_rows,
    plain,
    share_of_score,
    verdict_sentence,
)
from ltcam.training.settings import TrainingSettings
from ltcam_runtime.errors import in_options
from ltcam_runtime.pages.histogram import score_histogram
from ltcam_runtime.settings import part_name

if TYPE_CHECKING:  # the run folder's module needs torch, a page does not
    from ltcam.runs.run import Run
    from ltcam_runtime.settings import DrawingSettings

_SHOWN_ELSEWHERE = {"backbone", "weights", "image_size", "seed"}
_WITHOUT_TRAINING = {"validation_share", "max_miss", "confidence"}
_EVIDENCE_WITH_A_PLACE = {
    "best_epoch",
    "epoch_chosen_by",
    "kinds",
    "seed_maps",
    "smallest_pieces",
    "validation",
}


GROUPS = {
    "missed": "Defects that were missed",
    "alarms": "False alarms",
    "unsure": "Images that a person should look at",
    "found": "Defects that were found, of each kind the least sure first",
    "passed": "OK images, the least sure first",
    "trained": "Images that it was trained on, since none were held back",
}
"""What is shown of the images, in this order."""


@dataclass(frozen=True, eq=False)
class Illustrations:
    """The pictures of the page.

    Attributes:
        examples: images with their masks; their groups are those of `GROUPS`.
        outlines: by kind, an image of it and then, as `outlined` draws it, what each candidate marks of it that the
            evidence calls `shown`.
    """

    examples: Sequence[ExamplePicture] = ()
    outlines: Mapping[str, Sequence[NDArray[np.uint8]]] = field(default_factory=dict)


def run_page(
    run: Run,
    history: Sequence[Mapping[str, float]],
    failed: Sequence[Mapping[str, str]],
    illustrations: Illustrations = Illustrations(),  # frozen
    *,
    title: str,
) -> str:
    """The page as one self-contained HTML text.

    Args:
        run: settings and evidence of the training.
        history: one entry per epoch: `epoch` (from 0), `train_loss`, `val_loss`, `val_ap`; NaN where
            nothing was held back to validate on.
        failed: `image` and `reason` of each image that could not be read.
        illustrations: its pictures.
        title: heading, such as the name of the run folder.
    """
    best = run.evidence.get("best_epoch")
    labels: Mapping[str, int] = run.data.get("labels", {})
    return render(
        "run_page.html.j2",
        title=title,
        run=run,
        cards=_cards(run, history, failed),
        labels=labels,
        images=sum(labels.values()),
        data_rows=_data_rows(run),
        charts=_charts(history, best),
        chosen_by=run.evidence.get("epoch_chosen_by", ""),
        best_epoch=None if best is None else int(best) + 1,
        validated=any(math.isfinite(entry["val_ap"]) for entry in history),
        verdict_sentence=verdict_sentence(run),
        validation=_validation(run),
        groups=[
            (heading, [picture.to_html() for picture in illustrations.examples if picture.group == group])
            for group, heading in GROUPS.items()
        ],
        colours=COLOURS,
        map_rows=map_rows(run),
        kinds=_kinds(run, illustrations.outlines),
        steps=_steps(run, trained=bool(history)),
        not_chosen=run.evidence.get("kinds", {}).get("sentence", "") if not run.kinds else "",
        network_rows=_network_rows(run),
        weights=run.initial_weights,
        training_rows=_training_rows(run, trained=bool(history)),
        failed=failed,
    )


def _validation(run: Run) -> dict[str, Any] | None:
    """What verdicts came to on images that were held back; None where none were."""
    found: dict[str, Any] | None = run.evidence.get("validation")
    if found is None:
        return None
    from ltcam.reports.drawing import chart_uri, reliability_chart  # noqa: PLC0415  # drawing is slow to import

    groups = {
        "ok": ("labelled OK", found["scores"]["ok"]),
        "defect": ("labelled defective", found["scores"]["defective"]),
    }
    return {
        "sentence": tally(
            found["defective"], found["images"] - found["defective"], found["missed"], found["alarms"]
        ),
        "confusion": shaded_confusion(found["confusion"]["judged"], found["confusion"]["rows"]),
        "histogram": markupsafe.Markup(score_histogram(groups, run.verdict.threshold)),  # noqa: S704 - escaped there
        "reliability": chart_uri(reliability_chart(found["reliability"])),
        "unsure": found.get("unsure", {}).get("sentence", ""),
    }


_TONES = {"good": "good", "fair": "warn", "poor": "bad"}
_ADVICE = {
    "good": "",
    "fair": "The outlines explain the verdict in part: look at some before you measure with them.",
    "poor": (
        "The outlines hardly explain the verdict, so do not measure with them. More images of this kind, a larger "
        "image size or, after `ltcam quick`, `ltcam train` may help."
    ),
}


def trust_sentence(run: Run, kind: str) -> str:
    """How far a kind's masks can be trusted, by what the classifier said; empty where nothing is known."""
    why = run.evidence.get("kinds", {}).get(kind, {})
    if not isinstance(why, dict) or "trust" not in why:
        return ""
    return f"filling its outlines with OK texture takes {share_of_score(why['explained'])} of the score: {why['trust']}"


def _kinds(run: Run, outlines: Mapping[str, Sequence[NDArray[np.uint8]]]) -> list[dict[str, Any]]:
    """Per kind of defect, and behind it per part of its images: what was chosen, why, and how far to trust it."""
    found = []
    drawings: dict[str, DrawingSettings] = {}
    for kind, settings in run.kinds.items():
        drawings[kind] = settings
        drawings |= {part_name(kind, place): part for place, part in enumerate(settings.parts)}
    for name, drawing in drawings.items():
        why = run.evidence.get("kinds", {}).get(name, {})
        word = why.get("trust", "")
        told = trust_sentence(run, name)
        found.append(
            {
                "name": name,
                "sentence": "; ".join(filter(None, (why.get("sentence", ""), told, why.get("parts", "")))),
                "drawn": "in parts, each of its own"
                if getattr(drawing, "parts", ())
                else drawing_words(drawing),
                "explained": share_of_score(why["explained"]) if "explained" in why else "",
                "trust": word,
                "tone": _TONES.get(word, ""),
                "advice": _ADVICE.get(word, ""),
                "smallest": _smallest(run, name),
                "pictures": _shown(why.get("shown", []), outlines.get(name, ())),
                "candidates": why.get("candidates", []),
            }
        )
    return found


def _shown(
    rows: Sequence[Mapping[str, Any]], pictures: Sequence[NDArray[np.uint8]]
) -> list[tuple[str, Mapping[str, Any] | None]]:
    """Addresses of the plain image and of one picture per candidate, with what is known of each."""
    return list(zip(map(image_uri, pictures), [None, *rows], strict=True)) if pictures else []


def _smallest(run: Run, kind: str) -> str:
    """Which pieces of a kind's masks are left out, and why."""
    why = run.evidence.get("smallest_pieces", {}).get(kind)
    if why is None or why["area_px"] <= 1:
        return ""
    return (
        f"Pieces of fewer than {number(why['area_px'])} px are left out of its masks: nine of ten of the "
        f"{number(why['specks'])} pieces on OK images have at most {number(why['speck_px'])} px, and the largest piece "
        f"on an image of the kind typically has {number(why['typical_px'])} px."
    )


def _cards(
    run: Run, history: Sequence[Mapping[str, float]], failed: Sequence[Mapping[str, str]]
) -> list[dict[str, str]]:
    height, width = run.image_size
    return [
        *(_validation_cards(run) or _history_cards(run.evidence.get("best_epoch"), history)),
        *_trust_cards(run),
        {
            "name": "Verdict threshold",
            "value": f"{run.verdict.threshold:.3f}",
            "detail": "scores from here on are defects",
        },
        {
            "name": "Network sees",
            "value": f"{height}\N{NARROW NO-BREAK SPACE}×\N{NARROW NO-BREAK SPACE}{width}",
            "detail": f"px, height × width; {run.backbone}",
        },
        {
            "name": "Unreadable images",
            "value": number(len(failed)),
            "detail": "not used; listed below" if failed else "every image was read",
            "tone": "bad" if failed else "good",
        },
    ]


def _validation_cards(run: Run) -> list[dict[str, str]]:
    """What was missed and what was a false alarm on images that were held back; nothing where none were."""
    found = run.evidence.get("validation")
    if found is None:
        return []
    counts = (
        ("Defects missed", found["missed"], found["defective"], "bad"),
        ("False alarms", found["alarms"], found["images"] - found["defective"], "warn"),
    )
    return [
        {
            "name": name,
            "value": number(wrong),
            "detail": f"of {number(images)} held back",
            "tone": tone if wrong else "good",
        }
        for name, wrong, images, tone in counts
    ]


def _trust_cards(run: Run) -> list[dict[str, str]]:
    """Of how many kinds the outlines explain the verdict; nothing where nobody asked."""
    words = [run.evidence.get("kinds", {}).get(kind, {}).get("trust", "") for kind in run.kinds]
    if not any(words):
        return []
    good = words.count("good")
    return [
        {
            "name": "Masks to be trusted",
            "value": f"{good} of {len(words)}",
            "detail": "kinds; each is told below",
            "tone": "good" if good == len(words) else "bad" if "poor" in words else "warn",
        }
    ]


def _steps(run: Run, *, trained: bool) -> list[tuple[str, str]]:
    """What to do next with a run: what for, and the command."""
    student = run.network == "student"
    steps = [("Inspect new images: verdicts, masks, and a page to look through.", "ltcam predict RUN IMAGES")]
    margin = run.evidence.get("validation", {}).get("unsure", {}).get("margin")
    if margin is not None:
        doubt = "Leave the doubtful ones to a person instead of deciding them."
        steps.append((doubt, f"ltcam predict RUN IMAGES --unsure {margin:g}"))
    if not trained and not student:
        steps.append(("Train a network: it takes longer, and its masks are better.", "ltcam train DATA"))
    measured = "Measure it on the images that no training saw; with masks of some of them, the masks too."
    steps.append((measured, "ltcam evaluate RUN DATA"))
    if trained and not student:
        steps.append(
            ("Train a second network on its masks: mostly better, and in one pass.", "ltcam distill RUN DATA")
        )
    steps.append(("Write it into one file that needs no torch.", "ltcam export RUN"))
    return steps


def _history_cards(best: int | None, history: Sequence[Mapping[str, float]]) -> list[dict[str, str]]:
    chosen = next((entry for entry in history if entry["epoch"] == best), None)
    if chosen is None:
        return []
    epochs = {"name": "Epoch kept", "value": str(int(chosen["epoch"]) + 1), "detail": f"of {len(history)}"}
    if not math.isfinite(chosen["val_ap"]):
        loss = {
            "name": "Training loss",
            "value": f"{chosen['train_loss']:.3g}",
            "detail": "not validated",
            "tone": "warn",
        }
        return [loss, epochs]
    ap = {
        "name": "Validation AP",
        "value": f"{chosen['val_ap']:.3f}",
        "detail": "of images, not of pixels",
        "tone": "accent",
    }
    return [ap, epochs]


def _charts(history: Sequence[Mapping[str, float]], best: int | None) -> list[dict[str, str]]:
    """Loss, and validation AP where there was validation."""
    if not history:
        return []
    from ltcam.reports.drawing import Axis, chart_uri, line_chart  # noqa: PLC0415  # drawing is slow to import

    epochs = [int(entry["epoch"]) + 1 for entry in history]
    mark = None if best is None or best + 1 not in epochs else (best + 1, "kept")
    losses = {
        name: [entry[key] for entry in history]
        for name, key in (("training", "train_loss"), ("validation", "val_loss"))
    }
    aps = [entry["val_ap"] for entry in history]
    finite = [value for value in aps if math.isfinite(value)]
    axis = Axis("epoch", epochs, mark)
    loss = line_chart(axis, losses, low=0.0, high=0.0)
    charts = [{"title": "Loss", "note": "smaller is better", "uri": chart_uri(loss)}]
    if finite:
        low = max(0.0, min(0.9, *finite))
        ap = line_chart(axis, {"validation": aps}, low=low, high=1.0)
        charts.append({"title": "Image AP", "note": "1 separates all images", "uri": chart_uri(ap)})
    return charts


def _data_rows(run: Run) -> list[SettingRow]:
    data = run.data
    names = (
        ("Layout", "layout", "how the folder was read"),
        (
            "Sides",
            "split",
            "groups and copies of one photograph stay on one side; the test side was not looked at",
        ),
        ("Fingerprint", "fingerprint", "of names, labels and file contents: the same data have the same one"),
    )
    return [SettingRow(name, plain(data[key]), meaning) for name, key, meaning in names if key in data]


def _network_rows(run: Run) -> list[SettingRow]:
    height, width = run.image_size
    statistics = [", ".join(f"{value:.3f}" for value in values) for values in (run.mean, run.std)]
    return [
        SettingRow("Backbone", run.backbone, "timm's name"),
        SettingRow("Image size", f"{height} × {width} px", "height × width; every image is resized to it"),
        SettingRow("Classes", ", ".join(run.classes), "the first one is the class without defect"),
        SettingRow(
            "Stages",
            ", ".join(f"S{i}\N{NO-BREAK SPACE}{name}" for i, name in enumerate(run.stages, 1)),
            "shallow to deep",
        ),
        SettingRow(
            "Mean and deviation",
            " / ".join(statistics),
            "of red, green, blue (0 to 1) that the network expects",
        ),
    ]


def _training_rows(run: Run, *, trained: bool) -> list[SettingRow]:
    """What the training was told; of a run without one, the settings that count there too."""
    fields = TrainingSettings.model_fields
    rows = []
    for name, value in run.training.items():
        if name not in _SHOWN_ELSEWHERE and (trained or name in _WITHOUT_TRAINING):
            meaning = (fields[name].description if name in fields else "") or ""
            rows.append(SettingRow(_words(name), plain(value), in_options(meaning, fields)))
    rows.append(
        SettingRow(
            "Arithmetic", run.arithmetic.reason or "not told", "by hardware and network, never by a timing"
        )
    )
    for name, value in run.evidence.items():
        if name not in _EVIDENCE_WITH_A_PLACE:
            rows.append(SettingRow(_words(name), plain(value), ""))
    return rows


def _words(name: str) -> str:
    """`batch_size` as `Batch size`."""
    return name[:1].upper() + name[1:].replace("_", " ")
