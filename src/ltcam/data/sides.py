"""On which side every image stands: train, validation, test. What `train` does and `data check` foretells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ltcam.data.dataset import OK, Dataset, Split
from ltcam.data.duplicates import DuplicateGroup, find_duplicates, merge_groups
from ltcam.data.splits import DEFAULT_VAL_SHARE, default_split, split_by_group
from ltcam_runtime.errors import DataError

FEWEST_FOR_VALIDATION = 8
"""Defective images in train; with fewer, holding some back costs more than it tells."""


@dataclass(frozen=True)
class Sides:
    """A data set with a side for every image.

    Attributes:
        dataset: with the sides; copies of one photograph share a group.
        missing: why there is no test or validation side, by side; sides that there are, are left out.
        words: how many images are on which side, and what is missing, in a sentence.
    """

    dataset: Dataset
    missing: dict[Split, str]
    words: str

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Images per class and side."""
        found = Counter((sample.label, sample.split) for sample in self.dataset.samples)
        sides: tuple[Split, ...] = ("train", "val", "test")
        return {label: {side: found[label, side] for side in sides} for label in self.dataset.classes}


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
    named = {sample.split for sample in dataset.samples}
    if not {"val", "test"} <= named or None in named:
        found = find_duplicates(dataset.samples) if duplicates is None else duplicates()
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
    return Sides(dataset, missing, _words(dataset, missing))


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
