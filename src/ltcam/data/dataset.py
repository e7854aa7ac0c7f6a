"""What a data set is, whichever folder layout it came from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ltcam.data.drawn import DrawnMask
from ltcam_runtime.phrases import counted
from ltcam_runtime.searching import LeftOut

OK = "ok"
"""Name of the class without defect. It is always class 0."""

Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Sample:
    """One image with what is known of it.

    Attributes:
        id: path relative to the data set's root, with forward slashes; unique in the data set.
        path: the image file.
        label: `OK` or the name of a defect class.
        group: samples of one group (commutator, lot, part) never stand on two sides of a split.
        split: the side the data set itself names, or None where it names none.
        mask: file with the defect's pixels, or what an annotation file or several mask files draw, or None. For
            measurement only: nothing that trains or chooses may read it.
        mask_threshold: mask pixels above this grey value are defect (0 to 254); None: the one that suits
            the mask file (`ltcam_runtime.mask_values`).
    """

    id: str
    path: Path
    label: str
    group: str
    split: Split | None = None
    mask: Path | DrawnMask | None = None
    mask_threshold: int | None = None

    @property
    def defective(self) -> bool:
        """Whether the image label says defect."""
        return self.label != OK

    @property
    def mask_files(self) -> tuple[Path, ...]:
        """The files that hold nothing but its mask."""
        if isinstance(self.mask, Path):
            return (self.mask,)
        return () if self.mask is None else self.mask.files

    def with_mask_threshold(self, threshold: int) -> Sample:
        """The same sample whose mask files, one or several, are read with a threshold."""
        mask = self.mask.with_threshold(threshold) if isinstance(self.mask, DrawnMask) else self.mask
        return replace(self, mask=mask, mask_threshold=threshold)


@dataclass(frozen=True)
class Files:
    """What became of the files of a data set's folder; `there` is the sum of the others.

    Attributes:
        images: read as images.
        masks: read as masks.
        lists: read for labels: manifests and the files of annotation tools.
        left_out: files, links and closed folders that play no part, each with the reason.
    """

    images: int = 0
    masks: int = 0
    lists: int = 0
    left_out: tuple[LeftOut, ...] = ()

    @property
    def there(self) -> int:
        """How many there are in all."""
        return self.images + self.masks + self.lists + len(self.left_out)


_SHOWN = 12
"""Classes that a data set names of itself."""


@dataclass(frozen=True, repr=False)
class Dataset:
    """Samples of one folder, in the order of their ids.

    Attributes:
        root: the folder (or the folder of the manifest).
        layout: name of the layout it was read with.
        classes: `OK` first, then the defect classes in alphabetical order.
        samples: all samples, sorted by id.
        files: what was taken up of the folder, and what was left out.
        ok_labels: the labels that were taken for OK, as they are written; () where the layout says so itself.
        notes: what else of the reading people should know, in sentences.
    """

    root: Path
    layout: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    files: Files = Files()
    ok_labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        counts = list(self.label_counts().items())
        shown = ", ".join(f"{name} {count}" for name, count in counts[:_SHOWN])
        rest = f" and {len(counts) - _SHOWN} more classes" if len(counts) > _SHOWN else ""
        return f"Dataset({self.layout}: {shown}{rest})"

    def of_split(self, split: Split) -> tuple[Sample, ...]:
        """The samples on one side."""
        return tuple(sample for sample in self.samples if sample.split == split)

    def with_samples(self, samples: tuple[Sample, ...]) -> Dataset:
        """The same data set with other samples (classes stay)."""
        return replace(self, samples=samples)

    def label_counts(self) -> dict[str, int]:
        """Number of samples per class, in the order of `classes`."""
        counts = Counter(sample.label for sample in self.samples)
        return {name: counts[name] for name in self.classes}


def make_dataset(
    root: Path,
    layout: str,
    samples: list[Sample],
    *,
    files: Files | None = None,
    ok_labels: tuple[str, ...] = (),
) -> Dataset:
    """A data set with its samples sorted by id and its classes found from their labels."""
    defects = sorted({sample.label for sample in samples} - {OK})
    ordered = tuple(sorted(samples, key=lambda sample: sample.id))
    return Dataset(
        root=root,
        layout=layout,
        classes=(OK, *defects),
        samples=ordered,
        files=files or Files(),
        ok_labels=ok_labels,
    )


def several_kinds(count: int) -> tuple[str, ...]:
    """What to note of so many images that show several kinds of defect."""
    if not count:
        return ()
    return (
        f"{counted(count, 'images')} of several kinds of defect: each counts as the most frequent one, or the first.",
    )
