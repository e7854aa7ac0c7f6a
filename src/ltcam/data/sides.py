"""On which side every image stands: train, validation, test. What `train` does and `data check` foretells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from ltcam.data.dataset import OK, Dataset, Split
from ltcam.data.duplicates import DuplicateGroup, find_duplicates, merge_groups
from ltcam.data.splits import DEFAULT_VAL_SHARE, default_split, split_by_group
from ltcam_runtime.errors import DataError
from ltcam_runtime.phrases import counted

FEWEST_FOR_VALIDATION = 8
"""Defective images in train; with fewer, holding some back costs more than it tells."""

FEW_FOR_VALIDATION = 5
"""Validation images of a label; a threshold that rests on fewer is a guess."""

FEW_FOR_TRAINING = 8
"""Defective images to train on; with fewer a network hardly learns what they have in common."""


@dataclass(frozen=True)
class Sides:
    """A data set with a side for every image.

    Attributes:
        dataset: with the sides; copies of one photograph share a group.
        missing: why there is no test or validation side, by side; sides that there are, are left out.
        words: how many images are on which side, and what is missing, in a sentence.
        contradictory: sets of equal images with several labels, as far as copies were looked for.
    """

    dataset: Dataset
    missing: dict[Split, str]
    words: str
    contradictory: int = 0

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Images per class and side."""
        found = Counter((sample.label, sample.split) for sample in self.dataset.samples)
        sides: tuple[Split, ...] = ("train", "val", "test")
        return {label: {side: found[label, side] for side in sides} for label in self.dataset.classes}

    @property
    def concerns(self) -> tuple[str, ...]:
        """What should make one hesitate to train, or to believe the result, a sentence each."""
        return (*_of_training(self.counts), *_of_validation(self.counts, self.missing))


def _of_training(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    kinds = list(counts)[1:]
    defective = sum(counts[kind]["train"] for kind in kinds)
    found = []
    if defective < FEW_FOR_TRAINING:
        found.append(f"only {counted(defective, 'defective images')} to train on; thirty are a start")
    found += [
        f"{kind} has no image to train on"
        for kind in kinds
        if not counts[kind]["train"] and any(counts[kind].values())
    ]
    return found


def _of_validation(counts: Mapping[str, Mapping[str, int]], missing: Mapping[Split, str]) -> list[str]:
    ok, *kinds = counts
    held_back = {"OK": counts[ok]["val"], "defective": sum(counts[kind]["val"] for kind in kinds)}
    uncalibrated = "scores are not calibrated, and the verdict's threshold stays at 0.5"
    if not any(held_back.values()):
        why = f" ({missing['val']})" if "val" in missing else ""
        return [f"there is no validation side{why}: {uncalibrated}"]
    empty = [label for label, count in held_back.items() if not count]
    if empty:
        return [f"the validation side has no {empty[0]} image: {uncalibrated}"]
    return [
        f"the verdict's threshold will rest on {counted(count, f'{label} images')} only"
        for label, count in held_back.items()
        if count < FEW_FOR_VALIDATION
    ]


def choose_sides(
    dataset: Dataset,
    *,
    seed: int = 0,
    val_share: float = DEFAULT_VAL_SHARE,
    duplicates: Callable[[], Iterable[DuplicateGroup]] | None = None,
) -> Sides:
    """Give every image a side. Sides that the data set names stay; what is cut here tears no copies apart.

    Where the groups cannot be cut (all images of one lot, say) everything is trained on, and it is said why.

    Args:
        dataset: as read.
        seed: another seed, another choice of groups.
        val_share: share of train that is held back for validation, 0 to below 1; 0 makes no validation side.
        duplicates: gives those of the data set, where they are wanted; None looks for them.

    Raises:
        DataError: no OK or no defective image to train on.
    """
    named, contradictory = {sample.split for sample in dataset.samples}, 0
    if not {"val", "test"} <= named or None in named:
        found = tuple(find_duplicates(dataset.samples) if duplicates is None else duplicates())
        contradictory = _contradictory(dataset, found)
        dataset = merge_groups(dataset, found)
    missing: dict[Split, str] = {}
    try:
        dataset = default_split(dataset, seed)
    except DataError as error:
        missing["test"] = str(error)
        dataset = dataset.with_samples(tuple(replace(s, split=s.split or "train") for s in dataset.samples))
    if "val" not in named:
        try:
            dataset = _with_validation(dataset, val_share, seed)
        except DataError as error:
            missing["val"] = str(error)
    train = dataset.of_split("train")
    for kind, count in (
        ("OK", sum(not s.defective for s in train)),
        ("defective", sum(s.defective for s in train)),
    ):
        if not count:
            raise DataError(
                f"{dataset.root}: the training side has no {kind} image, and a classifier needs both; put some there, "
                "or name no sides (folders train/ and test/, a column split), and they are made from all images"
            )
    return Sides(dataset, missing, _words(dataset, missing), contradictory)


def _contradictory(dataset: Dataset, duplicates: Iterable[DuplicateGroup]) -> int:
    """How many sets of images equal in every pixel have several labels."""
    labels = {sample.id: sample.label for sample in dataset.samples}
    return sum(
        len({labels[name] for name in same if name in labels}) > 1
        for group in duplicates
        for same in group.equal
    )


def _with_validation(dataset: Dataset, share: float, seed: int) -> Dataset:
    defective = sum(sample.label != OK for sample in dataset.of_split("train"))
    if share <= 0:
        raise DataError("none is asked for")
    if defective < FEWEST_FOR_VALIDATION:
        raise DataError(
            f"{defective} defective images to train on, and with fewer than {FEWEST_FOR_VALIDATION} none can be spared"
        )
    return split_by_group(dataset, val_share=share, test_share=0.0, seed=seed)


def _words(dataset: Dataset, missing: dict[Split, str]) -> str:
    sides: tuple[Split, ...] = ("train", "val", "test")
    counts = ", ".join(
        f"{side} {len(part)} images ({sum(sample.defective for sample in part)} defective)"
        for side in sides
        if (part := dataset.of_split(side))
    )
    names = {"val": "validation", "test": "test", "train": "train"}
    return counts + "".join(f"; no {names[side]} side: {why}" for side, why in sorted(missing.items()))
