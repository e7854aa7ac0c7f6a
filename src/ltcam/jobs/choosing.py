"""What is drawn of each kind of defect: the choice by image labels, once a network is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from ltcam.calibration.kinds import MOST_JUDGED, KindChoice, choose_kinds
from ltcam.calibration.looks import Learned, Look, look_at, shuffled
from ltcam.calibration.shown import shown
from ltcam.calibration.smallest import (
    MOST_LOOKED_AT,
    Smallest,
    smallest_pieces,
    with_smallest,
    with_smallest_pieces_of,
)
from ltcam.data.decoded import DecodedImages
from ltcam.jobs.trained import Trained
from ltcam.models.classifier import Classifier
from ltcam.models.seeded import SeededClassifier
from ltcam.reports.settings_rows import drawing_words, share_of_score
from ltcam.runs.hardware import choose_device
from ltcam.runs.network import TorchNetwork
from ltcam.training.listener import Listener
from ltcam_runtime.errors import DataError
from ltcam_runtime.settings import MAP, CamSettings, part_name

LAST = "last stage"
"""Name of the map of the last stage alone, for kinds that are large."""


def with_kinds(
    trained: Trained,
    *,
    device: str = "auto",
    listener: Listener = Listener(),
    decoded: DecodedImages | None = None,
) -> Trained:
    """The training with map, contrast, cut and smallest piece that suit each kind of its defects, by image labels.

    Args:
        trained: its train and validation sides are looked at.
        device: `auto`, `cpu` or `cuda`.
        listener: told about progress, and what was chosen.
        decoded: what reads the images; None reads each anew.
    """
    run = trained.run
    maps, most = _chosen_from(trained)
    network = TorchNetwork.of(run, judge_of(trained.classifier), choose_device(device)).with_maps(maps)
    learned = Learned.of(trained.dataset, run.classes[1:])
    listener.begun("choosing what is drawn of each kind")
    listener.progress(0, len(run.classes) - 1)
    try:
        choice = choose_kinds(network, learned, listener.progress, most=most, decoded=decoded)
    except DataError as error:
        listener.say(f"nothing was chosen by kind of defect: {error}")
        evidence = {**run.evidence, "kinds": {"sentence": str(error)}}
        return replace(trained, run=run.model_copy(update={"evidence": evidence}))
    _say_what_is_drawn(choice, listener)
    trained = _with_choice(trained, maps, choice)
    return _with_smallest_pieces(trained, device, listener, decoded)


def _chosen_from(trained: Trained) -> tuple[dict[str, CamSettings], int]:
    """The maps that may be chosen, and on how many images of a kind their masks are judged at most."""
    run, classifier = trained.run, trained.classifier
    if isinstance(classifier, SeededClassifier) and not classifier.has_trained_head:
        # Gradients of a peak say what the seed map says; and it shall be done in a minute.
        return {name: cam for name, cam in run.maps.items() if name != MAP}, MOST_JUDGED // 4
    last = CamSettings(method="grad-cam", stages=run.stages[-1:], fusion="sum", positive_activations=False)
    return {**run.maps, LAST: last}, MOST_JUDGED


def _say_what_is_drawn(choice: KindChoice, listener: Listener) -> None:
    """Of each kind and of its parts."""
    for kind, settings in choice.kinds.items():
        listener.say(f"{kind}: {drawing_words(settings)}{_explained(choice.evidence[kind])}")
        if settings.parts:
            listener.say(f"{kind}: {choice.evidence[kind]['parts']}")
        for place, part in enumerate(settings.parts):
            name = part_name(kind, place)
            listener.say(f"{name}: {drawing_words(part)}{_explained(choice.evidence[name])}")


def _with_choice(trained: Trained, maps: Mapping[str, CamSettings], choice: KindChoice) -> Trained:
    """The training with what was chosen of these maps, and with pictures of it."""
    run = trained.run
    beside = {kind: shown(kind, judged, LAST) for kind, judged in choice.judged.items()}
    drawn = {kind: each for kind, each in beside.items() if each is not None}
    why = {
        kind: {**each, "shown": list(drawn[kind].rows)} if kind in drawn else each
        for kind, each in choice.evidence.items()
    }
    used = {MAP, *(name for settings in choice.kinds.values() for name in settings.all_maps)}
    run = run.model_copy(
        update={
            "maps": {name: cam for name, cam in {**run.maps, **maps}.items() if name in used},
            "kinds": dict(choice.kinds),
            "sharpening": choice.default.sharpening,
            "mask": choice.default.mask,
            "evidence": {**run.evidence, "kinds": why},
        }
    )
    return replace(trained, run=run, classifier=trained.classifier.cpu(), shown=drawn)


def _with_smallest_pieces(
    trained: Trained, device: str, listener: Listener, decoded: DecodedImages | None
) -> Trained:
    """The training with the smallest piece of a mask that is kept, of each kind of its defects.

    OK images are looked at anew: the judge's gradient maps are not those of the network that draws, whose logits hold
    the seed maps' peaks too.
    """
    run = trained.run
    drawn = {name: run.maps[name] for kind in run.kinds.values() for name in kind.all_maps}
    network = TorchNetwork.of(run, trained.classifier, choose_device(device)).with_maps(drawn)
    learned = Learned.of(trained.dataset, tuple(run.kinds))
    listener.begun("choosing the smallest piece of a mask")

    def looks(files: Sequence[Path], most: int) -> list[Look]:
        return look_at(network, shuffled(files, run.seed), most, decoded)

    ok = looks(learned.ok, MOST_LOOKED_AT)
    found: dict[str, Smallest] = {}
    for kind, settings in run.kinds.items():
        most = MOST_JUDGED * max(1, len(settings.parts))
        found |= smallest_pieces(kind, settings, ok, looks(learned.defective[kind], most))
    kinds = {kind: with_smallest_pieces_of(kind, settings, found) for kind, settings in run.kinds.items()}
    words = ", ".join(f"{kind} {each.area_px} px" for kind, each in found.items())
    listener.say(
        f"smaller pieces are left out of masks: {words}; `ltcam predict --min-area` takes another size"
    )
    update = {
        "kinds": kinds,
        "mask": with_smallest(run.inspection.default, min(each.area_px for each in found.values())).mask,
        "evidence": {**run.evidence, "smallest_pieces": {kind: asdict(each) for kind, each in found.items()}},
    }
    run = run.model_copy(update=update)
    return replace(trained, run=run, classifier=trained.classifier.cpu())


def judge_of(classifier: Classifier) -> Classifier:
    """The classifier without its seed maps' peaks, where it can do without them: a peak that is pasted stays a peak."""
    if not isinstance(classifier, SeededClassifier) or not classifier.has_trained_head:
        return classifier
    judge = deepcopy(classifier)
    nn.init.zeros_(judge.peaks.weight)
    return judge


def _explained(why: Mapping[str, Any]) -> str:
    """How far masks explain the verdict, in words; empty where nobody knows."""
    if "trust" not in why:
        return ""
    return f"; masks explain {share_of_score(why['explained'])} of the score ({why['trust']})"
