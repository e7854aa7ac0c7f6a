"""Look at every file of a data set once and say what is in it and what is wrong with it."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ltcam.data.dataset import OK, Dataset, Sample
from ltcam.data.duplicates import DuplicateGroup, Signature, find_duplicates, merge_groups, signature
from ltcam.data.splits import straddling_groups
from ltcam.data.truth import read_marks
from ltcam_runtime.errors import InputError
from ltcam_runtime.images import read_image

FEW_DEFECTS = 10
"""Fewer images of a defect class than this are worth a warning."""

CHECK_SCHEMA_VERSION = 1

Progress = Callable[[int, int], None]

_NARROW = 255 / 8  # a sixteen-bit image has been brought to 0..255 by its full range
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


@dataclass(frozen=True)
class FileProblem:
    """Something about one sample (or one group of samples, then joined with " = ")."""

    id: str
    reason: str


@dataclass(frozen=True)
class Finding:
    """One kind of problem with everything that has it, ready to be shown.

    Attributes:
        title: what is the matter.
        level: `error` where files are left out or labels cannot be right, else `warning`.
        advice: what to do.
        entries: the files.
    """

    title: str
    level: Literal["error", "warning"]
    advice: str
    entries: tuple[FileProblem, ...]


@dataclass(frozen=True)
class Spread:
    """Smallest, middle and largest of some numbers."""

    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True)
class ClassCount:
    """What there is of one class."""

    name: str
    images: int
    groups: int
    masks: int
    by_split: Mapping[str, int]


@dataclass(frozen=True)
class CheckReport:
    """What `check_dataset` found. All ids are sample ids, sorted.

    Attributes:
        root: the folder.
        layout: name of the layout.
        images: number of samples.
        classes: counts per class, OK first; `by_split` has the keys train, val, test and none.
        groups: number of groups as the layout gives them.
        group_sizes: images per group.
        sizes: (height, width) of the readable images and how many have it, most frequent first.
        heights: of the readable images in pixels, or None if there are none.
        widths: likewise.
        modes: how the pixels are stored (Pillow's names) and how often, most frequent first.
        defect_area_percent: marked share of the images with a non-empty mask, in percent, or None.
        unreadable: image files that cannot be used.
        masks_unreadable: mask files that cannot be used.
        masks_wrong_size: masks of another size than their image.
        masks_missing: defective images without mask, if others of the data set have one.
        defective_without_marks: labelled defective, but the mask marks nothing.
        ok_with_marks: labelled OK, but the mask marks something.
        contradictory: equal pixels under different labels.
        narrow_16_bit: 16-bit images that use less than an eighth of their range.
        duplicates: groups of images that show the same photograph or surface.
        straddling: groups, copies joined, that stand on several sides of the split the data set names.
        notes: what else is worth knowing, such as very few defects.
    """

    root: str
    layout: str
    images: int
    classes: tuple[ClassCount, ...]
    groups: int
    group_sizes: Spread
    sizes: tuple[tuple[tuple[int, int], int], ...]
    heights: Spread | None
    widths: Spread | None
    modes: Mapping[str, int]
    defect_area_percent: Spread | None
    unreadable: tuple[FileProblem, ...]
    masks_unreadable: tuple[FileProblem, ...]
    masks_wrong_size: tuple[FileProblem, ...]
    masks_missing: tuple[FileProblem, ...]
    defective_without_marks: tuple[FileProblem, ...]
    ok_with_marks: tuple[FileProblem, ...]
    contradictory: tuple[FileProblem, ...]
    narrow_16_bit: tuple[FileProblem, ...]
    duplicates: tuple[DuplicateGroup, ...]
    straddling: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The problems there are, errors first."""
        return _findings(self)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        values = asdict(self)
        values["sizes"] = [
            {"height": height, "width": width, "images": count} for (height, width), count in self.sizes
        ]
        return {"schema_version": CHECK_SCHEMA_VERSION, **_plain(values)}


def check_dataset(dataset: Dataset, progress: Progress | None = None) -> CheckReport:
    """Read every image and mask of a data set and report on them.

    Args:
        dataset: as a layout gave it. No file is changed and no sample left out.
        progress: called as (done, total) in the calling thread, once per sample.
    """
    facts = _facts_of_all(dataset.samples, progress)
    samples = dataset.samples
    signatures = {s.id: f.signature for s, f in zip(samples, facts, strict=True) if f.signature}
    duplicates = find_duplicates(samples, signatures)
    sizes = [value.size for value in signatures.values()]
    areas = [100.0 * f.marked for f in facts if f.marked]
    return CheckReport(
        root=str(dataset.root),
        layout=dataset.layout,
        images=len(samples),
        classes=_class_counts(dataset),
        groups=len({sample.group for sample in samples}),
        group_sizes=_spread(Counter(s.group for s in samples).values()) or Spread(0, 0, 0),
        sizes=tuple(sorted(Counter(sizes).items(), key=lambda item: (-item[1], item[0]))),
        heights=_spread(height for height, _ in sizes),
        widths=_spread(width for _, width in sizes),
        modes=dict(Counter(f.mode for f in facts if f.mode).most_common()),
        defect_area_percent=_spread(areas),
        unreadable=_problems(samples, [f.image_problem for f in facts]),
        masks_unreadable=_problems(samples, [f.mask_problem for f in facts]),
        masks_wrong_size=_problems(samples, [f.size_problem for f in facts]),
        masks_missing=_missing_masks(samples),
        defective_without_marks=_marks_against(samples, facts, defective=True),
        ok_with_marks=_marks_against(samples, facts, defective=False),
        contradictory=_contradictions(samples, signatures),
        narrow_16_bit=_problems(samples, [f.range_problem for f in facts]),
        duplicates=duplicates,
        straddling=straddling_groups(merge_groups(dataset, duplicates)),
        notes=_notes(dataset),
    )


# -------------------------------------------------------------------------------------- one sample


@dataclass(frozen=True)
class _Facts:
    """What reading one sample's files told."""

    signature: Signature | None = None
    mode: str = ""
    marked: float | None = None
    image_problem: str = ""
    mask_problem: str = ""
    size_problem: str = ""
    range_problem: str = ""


def _facts_of_all(samples: Sequence[Sample], progress: Progress | None) -> list[_Facts]:
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
    try:
        futures: list[Future[_Facts]] = [pool.submit(_facts, sample) for sample in samples]
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            if progress is not None:
                progress(done, len(samples))
        return [future.result() for future in futures]
    finally:  # after Ctrl-C nothing that waits is started any more
        pool.shutdown(cancel_futures=True)


def _facts(sample: Sample) -> _Facts:
    marks, mask_problem = _marks(sample)
    marked = None if marks is None else float(marks.mean())
    try:
        image = read_image(sample.path)
        found = signature(sample.path, image)
    except InputError as error:
        return _Facts(image_problem=error.reason, mask_problem=mask_problem, marked=marked)
    mode = _mode(sample, image)
    return _Facts(
        signature=found,
        mode=mode,
        marked=marked,
        mask_problem=mask_problem,
        size_problem=_size_problem(marks, image),
        range_problem=_range_problem(mode, image),
    )


def _marks(sample: Sample) -> tuple[NDArray[np.bool_] | None, str]:
    try:
        return read_marks(sample), ""
    except InputError as error:
        return None, f"{error.path}: {error.reason}"


def _size_problem(marks: NDArray[np.bool_] | None, image: NDArray[np.uint8]) -> str:
    if marks is None or marks.shape == image.shape[:2]:
        return ""
    (mask_height, mask_width), (height, width) = marks.shape, image.shape[:2]
    return f"the mask has {mask_width} x {mask_height} pixels, the image {width} x {height} (width x height)"


def _range_problem(mode: str, image: NDArray[np.uint8]) -> str:
    low, high = int(image.min()), int(image.max())
    if mode not in _SIXTEEN_BIT or high - low >= _NARROW:
        return ""
    return f"values reach from {100 * low / 255:.1f} % to {100 * high / 255:.1f} % of the 16-bit range"


def _mode(sample: Sample, image: NDArray[np.uint8]) -> str:
    """Pillow's name of the pixel format, from the header."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.shape[0] * image.shape[1] > limit:
        return "large"  # Pillow would warn of a file that has been read without harm already
    try:
        with Image.open(sample.path) as opened:
            return opened.mode
    except (OSError, ValueError, SyntaxError):
        return "unknown"


# -------------------------------------------------------------------------------------- all samples


def _class_counts(dataset: Dataset) -> tuple[ClassCount, ...]:
    counts = []
    for name in dataset.classes:
        members = [sample for sample in dataset.samples if sample.label == name]
        by_split = Counter(sample.split or "none" for sample in members)
        counts.append(
            ClassCount(
                name=name,
                images=len(members),
                groups=len({sample.group for sample in members}),
                masks=sum(sample.mask is not None for sample in members),
                by_split={side: by_split[side] for side in ("train", "val", "test", "none")},
            )
        )
    return tuple(counts)


def _spread(values: Iterable[float]) -> Spread | None:
    numbers = list(values)
    if not numbers:
        return None
    return Spread(min(numbers), median(numbers), max(numbers))


def _problems(samples: Sequence[Sample], reasons: Sequence[str]) -> tuple[FileProblem, ...]:
    return tuple(FileProblem(s.id, reason) for s, reason in zip(samples, reasons, strict=True) if reason)


def _missing_masks(samples: Sequence[Sample]) -> tuple[FileProblem, ...]:
    defective = [sample for sample in samples if sample.defective]
    if all(sample.mask is None for sample in defective):
        return ()
    return tuple(
        FileProblem(s.id, "no mask, though other defective images have one") for s in defective if not s.mask
    )


def _marks_against(
    samples: Sequence[Sample], facts: Sequence[_Facts], *, defective: bool
) -> tuple[FileProblem, ...]:
    return tuple(
        FileProblem(
            s.id,
            f"labelled {s.label}, but the mask marks "
            + (f"{100 * f.marked:.2g} %" if f.marked else "nothing"),
        )
        for s, f in zip(samples, facts, strict=True)
        if s.defective == defective and f.marked is not None and (f.marked > 0.0) != defective
    )


def _contradictions(
    samples: Sequence[Sample], signatures: Mapping[str, Signature]
) -> tuple[FileProblem, ...]:
    equal: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.id in signatures:
            equal[signatures[sample.id].pixel_sha256].append(sample)
    return tuple(
        FileProblem(" = ".join(s.id for s in group), "labelled " + ", ".join(s.label for s in group))
        for group in equal.values()
        if len({s.label for s in group}) > 1
    )


def _notes(dataset: Dataset) -> tuple[str, ...]:
    notes = [
        f"Only {count} image(s) of class {name}: numbers measured on so few say little."
        for name, count in dataset.label_counts().items()
        if name != OK and count < FEW_DEFECTS
    ]
    for what, defective in (("defective", True), ("OK", False)):
        groups = {sample.group for sample in dataset.samples if sample.defective == defective}
        if len(groups) == 1:
            notes.append(
                f"All {what} images are in one group ({groups.pop()}): a split by group is impossible."
            )
    return tuple(notes)


# -------------------------------------------------------------------------------------- showing


def _findings(report: CheckReport) -> tuple[Finding, ...]:
    straddling = tuple(FileProblem(group, "on several sides") for group in report.straddling)
    all_kinds: tuple[tuple[str, Literal["error", "warning"], str, tuple[FileProblem, ...]], ...] = (
        (
            "Images that cannot be read",
            "error",
            "They cannot be used. Copy them again from their source, or remove them.",
            report.unreadable,
        ),
        (
            "Same pixels, different labels",
            "error",
            "Decide which label is right and remove the other copy.",
            report.contradictory,
        ),
        (
            "Labelled OK, but the mask marks a defect",
            "error",
            "Correct the label or empty the mask.",
            report.ok_with_marks,
        ),
        (
            "Labelled defective, but the mask is empty",
            "error",
            "Correct the label, draw the mask or remove its file.",
            report.defective_without_marks,
        ),
        (
            "Masks of another size than their image",
            "error",
            "They cannot be measured against. Export them again at the image's size.",
            report.masks_wrong_size,
        ),
        ("Masks that cannot be read", "error", "Copy them again or remove them.", report.masks_unreadable),
        (
            "Groups on several sides of the split",
            "warning",
            "What is measured on test will look too good. Keep a group, and copies of an image, on one side.",
            straddling,
        ),
        (
            "Defective images without mask",
            "warning",
            "They train like the others, but pixel measures leave them out.",
            report.masks_missing,
        ),
        (
            "16-bit images that use little of their range",
            "warning",
            "They come out nearly flat in 8 bits. Stretch them, or save them with their real bit depth.",
            report.narrow_16_bit,
        ),
    )
    return tuple(Finding(title, level, advice, found) for title, level, advice, found in all_kinds if found)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
