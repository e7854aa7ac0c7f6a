"""How well the judge ranks masks: its values against true IoU, per set and kind of defect.

    python benchmarks/judge.py RUN=DATA [RUN=DATA ...] [--most 8] [--tested 20] [--out docs/results/judge.json]

RUN is a run folder of `ltcam train`. Its network makes the masks of every candidate that `train` chooses from. The
judge values them on `--most` images of the training side, without a true mask; then true masks say how good each
candidate is there (rank correlation), and on up to `--tested` images of the test side what the chosen one loses
against the best one (share of its IoU). Files that are there already are added to, set by set.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import pair, parser_of, write_result
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from ltcam.calibration.candidates import (
    Candidate,
    best_of,
    candidates,
    masks_of,
    other_cuts,
    other_surroundings,
    values_of,
)
from ltcam.calibration.kinds import MOST_JUDGED, Judging
from ltcam.calibration.looks import MOST_OK, Learned, OkImages, look_at, shuffled
from ltcam.data.dataset import Dataset, Sample
from ltcam.data.layouts import read_dataset
from ltcam.data.truth import read_truth
from ltcam.evaluation.counts import PixelCounts, count_pixels, iou
from ltcam.jobs.choosing import LAST, judge_of
from ltcam.runs.folder import package_versions
from ltcam.runs.inspector import Inspector
from ltcam.runs.network import TorchNetwork
from ltcam.training.seeding import seed_cam, seed_map
from ltcam_runtime.settings import MAP, CamSettings, MaskSettings, SharpeningSettings

LAST_STAGE = Candidate(LAST, SharpeningSettings(), MaskSettings(), above_ok=False)
"""Last-stage Grad-CAM with Otsu's threshold: what no choice shall fall behind."""


def with_all_maps(network: TorchNetwork) -> TorchNetwork:
    """The network with every map that a training chooses from; a run keeps the ones it uses."""
    run = network.run
    last = CamSettings(method="grad-cam", stages=run.stages[-1:], fusion="sum", positive_activations=False)
    seeds = {seed_map(kind): seed_cam(run.taps, place) for place, kind in enumerate(run.classes[1:], start=1)}
    return network.with_maps({MAP: run.maps[MAP], LAST: last, **(seeds if run.taps else {})})


def sides(run: Path, dataset: Dataset) -> dict[str, str]:
    """The side of each sample in the run's training."""
    with (run / "split.csv").open(encoding="utf-8") as text:
        known = {row["path"]: row["split"] for row in csv.DictReader(text)}
    return {sample.id: known.get(sample.id, "") for sample in dataset.samples}


def true_ious(
    network: TorchNetwork, normal: OkImages, kind: str, samples: Sequence[Sample], tried: Sequence[Candidate]
) -> dict[Candidate, float]:
    """Pooled IoU of each candidate's masks of some images."""
    counts = dict.fromkeys(tried, PixelCounts())
    for sample in samples:
        (look,) = look_at(network, [sample.path], 1)
        truth = read_truth(sample, look.image.shape[:2])
        if truth is None:
            continue
        for candidate, mask in zip(tried, masks_of(normal, kind, look, tried), strict=True):
            counts[candidate] += count_pixels(mask, truth)
    return {candidate: iou(found) for candidate, found in counts.items()}


def measured(run: Path, data: Path, most: int, tested: int) -> dict[str, Any]:
    """One set: per kind of defect, how the judge ranks and what its choice loses."""
    dataset = read_dataset(data)
    inspector = Inspector.load(run, device="cpu")
    judge = judge_of(inspector.network.classifier)
    network = with_all_maps(TorchNetwork.of(inspector.run, judge, inspector.network.device))
    side = sides(run, dataset)
    learned = [sample for sample in dataset.samples if side[sample.id] in {"train", "val"}]
    seed, held_back = network.run.seed, {sample.path for sample in learned if side[sample.id] == "val"}
    ok = shuffled([s.path for s in learned if not s.defective], seed)
    normal = OkImages(look_at(network, ok, MOST_OK))
    tried = candidates(normal, [MAP, LAST, *(["seed"] if network.run.taps else [])])
    looks, here = {}, {}
    for kind in dataset.classes[1:]:
        samples = {sample.path: sample for sample in learned if sample.label == kind}
        files = Learned({kind: list(samples)}, [], held_back).half_held_back(kind, most, seed)[:most]
        looks[kind] = [look for look in look_at(network, files, most) if look.score > normal.score]
        here[kind] = true_ious(network, normal, kind, [samples[path] for path in files], tried)
    chosen = Judging(network, normal, tried).choose(looks)
    found = {}
    for kind in dataset.classes[1:]:
        tests = [s for s in dataset.samples if side[s.id] == "test" and s.label == kind][:tested]
        true = partial(true_ious, network, normal, kind, tests)
        alone = values_of({each: chosen.judged[kind].marks[each] for each in tried})
        found[kind] = ranked(tried, alone, chosen.values[kind], here[kind]) | against_the_best(
            chosen.judged[kind].best, tried, normal, true
        )
    return {"candidates": len(tried), "judged_images": most, "kinds": found}


def ranked(
    tried: Sequence[Candidate],
    alone: Mapping[Candidate, float],
    final: Mapping[Candidate, float],
    here: Mapping[Candidate, float],
) -> dict[str, float]:
    """How values rank candidates: a kind's own, and those with kinds alike; against true IoU on the judged images."""
    true = [here[candidate] for candidate in tried]
    return {
        "rank_correlation": round(float(spearmanr([final[c] for c in tried], true)[0]), 3),
        "rank_correlation_alone": round(float(spearmanr([alone[c] for c in tried], true)[0]), 3),
    }


def against_the_best(
    chosen: Candidate, tried: Sequence[Candidate], normal: OkImages, true: TrueIous
) -> dict[str, Any]:
    """What the choice loses on the test side against the best one, and against the last stage's Grad-CAM."""
    there = true_search(tried, normal, true)
    oracle = best_of(there)
    iou_chosen = {**there, **true([chosen])}[chosen]
    return {
        "iou_chosen": round(iou_chosen, 4),
        "iou_oracle": round(there[oracle], 4),
        "iou_last_stage": round(there[LAST_STAGE], 4),
        "share": round(iou_chosen / max(there[oracle], 1e-9), 3),
        "chosen": words(chosen),
        "oracle": words(oracle),
    }


TrueIous = Callable[[Sequence[Candidate]], dict[Candidate, float]]


def true_search(tried: Sequence[Candidate], normal: OkImages, true: TrueIous) -> dict[Candidate, float]:
    """IoU of what `train` would try if it always went on from what is best: all candidates, then those near."""
    found = true(tried)
    found |= true(other_surroundings(normal, best_of(found)))
    return found | true(other_cuts(best_of(found)))


def words(candidate: Candidate) -> str:
    """A candidate in words."""
    sharpening = candidate.sharpening
    contrast = (
        "no contrast" if sharpening.polarity == "none" else f"{sharpening.polarity} {sharpening.window:g}"
    )
    cut = "Otsu" if candidate.mask.threshold == "otsu" else "OK pixels"
    return f"{candidate.map}, {contrast}, {cut}, down to {candidate.mask.reach:g}"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("runs", nargs="+", type=pair, metavar="RUN=DATA")
    parser.add_argument("--most", type=int, default=MOST_JUDGED)
    parser.add_argument("--tested", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("docs/results/judge.json"))
    options = parser.parse_args()
    before = json.loads(options.out.read_text(encoding="utf-8")) if options.out.is_file() else {}
    sets: dict[str, Any] = before.get("sets", {})
    table = Table("set", "kind", "rank", "chosen", "oracle", "last stage", "share", "what")
    for run, data in options.runs:
        sets[data.name] = measured(run, data, options.most, options.tested)
        kinds = [kind for each in sets.values() for kind in each["kinds"].values()]
        summary = {
            "share_mean": round(float(np.mean([kind["share"] for kind in kinds])), 3),
            "rank_correlation_mean": round(float(np.mean([kind["rank_correlation"] for kind in kinds])), 3),
            "worst_against_last_stage": round(min(k["iou_chosen"] - k["iou_last_stage"] for k in kinds), 4),
        }
        write_result(options.out, {"versions": package_versions(), "summary": summary, "sets": sets})
        for kind, found in sets[data.name]["kinds"].items():
            numbers = (
                found[name]
                for name in ("rank_correlation", "iou_chosen", "iou_oracle", "iou_last_stage", "share")
            )
            table.add_row(data.name, kind, *(f"{number:.3f}" for number in numbers), found["chosen"])
    Console().print(table)
    Console().print(summary)


if __name__ == "__main__":
    main()
