"""What people said of inspections becomes labels for the next training: the loop closes here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ltcam.data.dataset import OK, Dataset, Sample
from ltcam.data.drawn import DrawnMask, MaskFile
from ltcam.data.fingerprint import content_hashes
from ltcam_runtime.encoding import encoded
from ltcam_runtime.errors import DataError, InputError, OutputError
from ltcam_runtime.files import why_not_read
from ltcam_runtime.folders import write_file
from ltcam_runtime.image_headers import image_size
from ltcam_runtime.results import Decision
from ltcam_runtime.writers.csv import csv_text

REVIEWED = "reviewed"
"""Folder and manifest that an import writes into a data set."""

_SUFFIXES = (
    (b"\x89PNG", ".png"),
    (b"\xff\xd8", ".jpg"),
    (b"BM", ".bmp"),
    (b"GIF8", ".gif"),
    (b"RIFF", ".webp"),
    (b"II", ".tif"),
    (b"MM", ".tif"),
    (b"\x00\x00\x00\x0cjP", ".jp2"),
    (b"\xff\x4f", ".j2k"),
    (b"P", ".pnm"),
)
"""Suffix by how the file begins; what was uploaded is kept without one."""


@dataclass(frozen=True)
class ReviewedImage:
    """One inspected image and what a person said of it.

    Attributes:
        id: of the inspection.
        image: file with the bytes that were inspected.
        image_sha256: of these bytes.
        decision: the latest one.
        kind: of defect, as the person or the inspection named it; "" where neither did.
        lot: which lot it belongs to, or "".
        painted: file with the mask that the person painted, or None.
    """

    id: str
    image: Path
    image_sha256: str
    decision: Decision
    kind: str
    lot: str
    painted: Path | None

    @property
    def label(self) -> str:
        """The label that the review gives: OK, the kind, or `defect` where nobody named one."""
        return (self.kind or "defect") if self.decision in {"confirmed", "missed"} else OK


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes:
        manifest: the file to train with from now on: `ltcam train MANIFEST`.
        added: images that the data set did not hold.
        corrected: (id of the sample, old label, new label).
        agreed: images of the data set whose label the review confirms.
        without_image: ids of inspections whose image the retention has removed.
        masks_left_out: (id of the sample, reason) of masks that cannot be drawn, which the manifest lacks.
    """

    manifest: Path
    added: int
    corrected: tuple[tuple[str, str, str], ...]
    agreed: int
    without_image: tuple[str, ...]
    masks_left_out: tuple[tuple[str, str], ...] = ()


def import_reviews(
    reviewed: Iterable[ReviewedImage], dataset: Dataset, *, overwrite: bool = False
) -> Imported:
    """Write `reviewed.csv` into a data set: all its samples, their labels corrected, and the new images.

    Nothing of the data set itself is changed. Images are told by their bytes: one that the data set holds gets the
    reviewed label, any other is copied into `reviewed/`. Painted masks become masks for measuring; no training sees
    them. Masks that several files or an annotation file draw are written into `reviewed/masks/`, one file an image: a
    manifest names one file. Samples that stood on a side of a split stay there; new ones are on the training side where
    the data set names sides, and in a group of their lot.

    Args:
        reviewed: the latest review of each inspection.
        dataset: that is added to.
        overwrite: replace an earlier import.

    Raises:
        DataError: nothing was reviewed, or a picture of it cannot be read.
        OutputError: an earlier import is there, or the folder cannot be written.
    """
    root, manifest = dataset.root, dataset.root / f"{REVIEWED}.csv"
    if manifest.exists() and not overwrite:
        raise OutputError(f"{manifest} is there already; `overwrite=True` replaces it")
    by_content = {digest: id_ for id_, digest in content_hashes(dataset).items() if digest}
    samples = {sample.id: sample for sample in dataset.samples}
    named_sides = any(sample.split is not None for sample in dataset.samples)
    added, agreed, corrected, without = 0, 0, [], []
    for item in reviewed:
        known = by_content.get(item.image_sha256)
        if known is not None:
            before = samples[known]
            samples[known] = _with_mask(replace(before, label=item.label), item, root)
            if before.label == item.label:
                agreed += 1
            else:
                corrected.append((known, before.label, item.label))
        elif not item.image.is_file():
            without.append(item.id)
        else:
            sample = _copied(item, root, "train" if named_sides else None)
            samples[sample.id] = _with_mask(sample, item, root)
            by_content[item.image_sha256] = sample.id
            added += 1
    if not (added or agreed or corrected or without):
        raise DataError("nothing was reviewed yet; say what you think of inspections in the studio first")
    listed, left_out = [], []
    for _, sample in sorted(samples.items()):
        try:
            listed.append(_with_one_file(sample, root))
        except InputError as error:
            left_out.append((sample.id, str(error)))
            listed.append(replace(sample, mask=None, mask_threshold=None))
    write_file(manifest, _manifest(root, listed))
    return Imported(manifest, added, tuple(corrected), agreed, tuple(without), tuple(left_out))


def suffix_of(start: bytes) -> str:
    """The suffix of an image file that begins with these eight bytes."""
    return next((suffix for magic, suffix in _SUFFIXES if start.startswith(magic)), ".img")


def _copied(item: ReviewedImage, root: Path, side: str | None) -> Sample:
    with item.image.open("rb") as stream:
        start = stream.read(8)
    target = root / REVIEWED / f"{item.id}{suffix_of(start)}"
    _copy(item.image, target)
    id_ = target.relative_to(root).as_posix()
    return Sample(id_, target, item.label, item.lot or id_, split=side)  # type: ignore[arg-type]


def _with_mask(sample: Sample, item: ReviewedImage, root: Path) -> Sample:
    """The sample with its painted mask; an OK sample has none."""
    if not sample.defective:
        return replace(sample, mask=None)
    if item.painted is None or not item.painted.is_file():
        return sample
    target = root / REVIEWED / "masks" / f"{item.id}.png"
    _copy(item.painted, target)
    return replace(sample, mask=target, mask_threshold=0)


def _with_one_file(sample: Sample, root: Path) -> Sample:
    """The sample with its mask in one file, which is written where several files or drawings make it up.

    Raises:
        InputError: a mask that cannot be drawn.
    """
    if not isinstance(sample.mask, DrawnMask):
        return sample
    first, *others = sample.mask.shapes
    if isinstance(first, MaskFile) and not others:
        return replace(sample, mask=first.path, mask_threshold=first.threshold)
    marks = sample.mask.draw(image_size(sample.path))
    target = root / REVIEWED / "masks" / f"{sample.id}.png"  # ids differ in their suffixes alone, too
    write_file(target, encoded(".png", marks.astype(np.uint8) * 255), durable=False)
    return replace(sample, mask=target, mask_threshold=0)


def _copy(source: Path, target: Path) -> None:
    try:
        content = source.read_bytes()
    except OSError as error:
        raise DataError(f"{source} {why_not_read(error)}") from error
    write_file(target, content, durable=False)


def _manifest(root: Path, samples: Iterable[Sample]) -> str:
    rows = [("path", "label", "split", "mask", "group", "mask_threshold")]
    for sample in samples:
        mask = sample.mask.relative_to(root).as_posix() if isinstance(sample.mask, Path) else ""
        path = sample.path.relative_to(root).as_posix()
        threshold = "" if sample.mask_threshold is None else str(sample.mask_threshold)
        rows.append((path, sample.label, sample.split or "", mask, sample.group, threshold))
    return csv_text(rows, guarded=False)
