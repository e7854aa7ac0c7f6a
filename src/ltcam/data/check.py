"""Look at every file of a data set once and say what is in it and what is wrong with it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from statistics import median

import numpy as np
from numpy.typing import NDArray

from ltcam.data.check_report import Checked, CheckReport, ClassCount, FileProblem, Spread
from ltcam.data.dataset import OK, Dataset, Sample
from ltcam.data.decoded import DecodedImages
from ltcam.data.duplicates import (
    DuplicateGroup,
    Signature,
    find_duplicates,
    joined_groups,
    merge_groups,
    signature,
)
from ltcam.data.labels import means_ok, means_undecided, slips, spelled_alike
from ltcam.data.readiness import Readiness, group_hint, readiness
from ltcam.data.splits import straddling_groups
from ltcam.data.truth import read_marks
from ltcam_runtime.errors import InputError
from ltcam_runtime.files import why_not_read
from ltcam_runtime.image_headers import header
from ltcam_runtime.images import read_image
from ltcam_runtime.mask_reading import load_mask
from ltcam_runtime.phrases import counted
from ltcam_runtime.pixel_values import SIXTEEN_BIT_MODES
from ltcam_runtime.processors import allowed_processors
from ltcam_runtime.reading import READING_BYTES_PER_PIXEL, Workers, read_all
from ltcam_runtime.settings import WHITE

FEW_DEFECTS = 10
"""Fewer images of a defect class than this are worth a warning."""

Progress = Callable[[int, int], None]

_FEWEST_PIXELS = 64
_SHAPE_TOLERANCE = 0.02
_MOST_MARKED = 0.5
_NARROW = 255 / 8  # a sixteen-bit image has been brought to 0..255 by the bits that all of them use


def check_dataset(dataset: Dataset, progress: Progress | None = None) -> CheckReport:
    """Read every image and mask of a data set and report on them.

    Args:
        dataset: as a layout gave it. No file is changed and no sample left out.
        progress: called as (done, total) in the calling thread, once per sample.
    """
    samples = dataset.samples
    decoded = DecodedImages(0)
    decoded.take_white_of(sample.path for sample in samples)
    checked = _checked(dataset, _facts_of_all(samples, decoded.white, progress))
    return CheckReport(**vars(checked), readiness=_readiness(dataset, checked))


def _checked(dataset: Dataset, facts: Sequence[_Facts]) -> Checked:
    samples = dataset.samples
    signatures = {s.id: f.signature for s, f in zip(samples, facts, strict=True) if f.signature}
    duplicates = find_duplicates(samples, signatures)
    sizes = [value.size for value in signatures.values()]
    areas = [100.0 * f.marked for f in facts if f.marked]
    return Checked(
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
        mostly_marked=_mostly_marked(samples, facts),
        ok_with_marks=_marks_against(samples, facts, defective=False),
        contradictory=_contradictions(samples, signatures),
        several_pictures=_problems(samples, [f.more_pictures for f in facts]),
        narrow_16_bit=_problems(samples, [f.range_problem for f in facts]),
        other_depth=_other_depth(samples, facts),
        duplicates=duplicates,
        straddling=straddling_groups(merge_groups(dataset, duplicates)),
        soft_masks=_problems(samples, [f.soft_mask for f in facts]),
        looks_like_masks=_problems(samples, [f.mask_like for f in facts]),
        odd_shapes=_odd_shapes(samples, signatures),
        undecided_labels=tuple(filter(means_undecided, dataset.classes)),
        alike_labels=_alike({sample.label for sample in samples}),
        merged_groups=_merged(dataset, duplicates),
        ok_labels=dataset.ok_labels,
        files=dataset.files,
        notes=_notes(dataset),
    )


def _readiness(dataset: Dataset, checked: Checked) -> Readiness:
    unusable = frozenset(problem.id for problem in checked.unreadable)
    problems = [f"{finding.title.lower()} ({len(finding.entries)})" for finding in checked.findings]
    problems += [note.rstrip(".") for note in checked.notes if note.startswith(("Only", "All"))]
    return readiness(dataset, unusable, checked.duplicates, problems)


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
    more_pictures: str = ""
    soft_mask: str = ""
    mask_like: str = ""


def _facts_of_all(samples: Sequence[Sample], white: int | None, progress: Progress | None) -> list[_Facts]:
    found: list[_Facts] = []
    files = ((str(index), sample.path) for index, sample in enumerate(samples))
    workers = Workers(count=min(8, allowed_processors()), bytes_per_pixel=READING_BYTES_PER_PIXEL)
    for outcome in read_all(files, lambda index, _path: _facts(samples[int(index)], white), workers):
        found.append(outcome.value or _without_image(samples[len(found)], outcome.reason))
        if progress is not None:
            progress(len(found), len(samples))
    return found


def _without_image(sample: Sample, reason: str) -> _Facts:
    marks, mask_problem, soft = _marks(sample)
    marked = None if marks is None else float(marks.mean())
    return _Facts(image_problem=reason, mask_problem=mask_problem, soft_mask=soft, marked=marked)


def _facts(sample: Sample, white: int | None) -> _Facts:
    image = read_image(sample.path, white=white)
    found = signature(sample.path, image)
    marks, mask_problem, soft = _marks(sample)
    marked = None if marks is None else float(marks.mean())
    about = header(sample.path)
    return _Facts(
        signature=found,
        mode=about.mode,
        marked=marked,
        mask_problem=mask_problem,
        size_problem=_size_problem(marks, image),
        range_problem=_range_problem(about.mode, image, white),
        more_pictures="only its first picture is read" if about.more_pictures else "",
        soft_mask=soft,
        mask_like=_mask_like(image),
    )


def _marks(sample: Sample) -> tuple[NDArray[np.bool_] | None, str, str]:
    """The marks, why there are none, and what a threshold had to decide."""
    try:
        if not isinstance(sample.mask, Path):
            return read_marks(sample), "", ""
        mask = load_mask(sample.mask, threshold=sample.mask_threshold)
    except InputError as error:
        return None, f"{error.path}: {error.reason}", ""
    except OSError as error:
        return None, f"{sample.mask}: {why_not_read(error)}", ""
    if mask.levels <= 2 or mask.threshold == 0 or sample.mask_threshold is not None:
        return mask.marks, "", ""
    return (
        mask.marks,
        "",
        f"the mask has {mask.levels} grey levels; above {mask.threshold:g} is taken for defect",
    )


def _mask_like(image: NDArray[np.uint8]) -> str:
    """Whether an image has two colours only, and more than one pixel of each."""
    few = image[:: max(1, image.shape[0] // 256), :: max(1, image.shape[1] // 256)].reshape(-1, 3)
    if few.shape[0] < _FEWEST_PIXELS or len(np.unique(few[:_FEWEST_PIXELS], axis=0)) > 2:
        return ""
    colours, counts = np.unique(few, axis=0, return_counts=True)
    return "it holds two colours only, as masks do" if len(colours) == 2 and counts.min() > 1 else ""


def _size_problem(marks: NDArray[np.bool_] | None, image: NDArray[np.uint8]) -> str:
    if marks is None or marks.shape == image.shape[:2]:
        return ""
    (mask_height, mask_width), (height, width) = marks.shape, image.shape[:2]
    return f"the mask has {mask_width} x {mask_height} pixels, the image {width} x {height} (width x height)"


def _range_problem(mode: str, image: NDArray[np.uint8], white: int | None) -> str:
    low, high = int(image.min()), int(image.max())
    if mode not in SIXTEEN_BIT_MODES or high - low >= _NARROW:
        return ""
    reach = f"{100 * low / 255:.1f} % to {100 * high / 255:.1f} %"
    return f"values reach from {reach} of the {(white or WHITE).bit_length()}-bit range that these images use together"


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


def _mostly_marked(samples: Sequence[Sample], facts: Sequence[_Facts]) -> tuple[FileProblem, ...]:
    return tuple(
        FileProblem(s.id, f"the mask marks {100 * f.marked:.0f} % of the image")
        for s, f in zip(samples, facts, strict=True)
        if s.defective and f.marked is not None and f.marked > _MOST_MARKED
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


def _odd_shapes(samples: Sequence[Sample], signatures: Mapping[str, Signature]) -> tuple[FileProblem, ...]:
    """Images whose width to height is another than most have; none where there is no usual shape."""
    aspects = {name: value.size[1] / value.size[0] for name, value in signatures.items()}
    if not aspects:
        return ()
    usual = median(aspects.values())
    odd = {name for name, aspect in aspects.items() if abs(aspect / usual - 1) > _SHAPE_TOLERANCE}
    if 2 * len(odd) > len(aspects):
        return ()
    return tuple(
        FileProblem(sample.id, "{1} x {0} pixels (width x height)".format(*signatures[sample.id].size))
        for sample in samples
        if sample.id in odd
    )


def _alike(labels: Collection[str]) -> tuple[tuple[str, ...], ...]:
    return (*spelled_alike(labels), *slips(labels))


def _other_depth(samples: Sequence[Sample], facts: Sequence[_Facts]) -> tuple[FileProblem, ...]:
    """Images of another depth than most have."""
    wide = [sample.id for sample, fact in zip(samples, facts, strict=True) if fact.mode in SIXTEEN_BIT_MODES]
    usual = [
        sample.id
        for sample, fact in zip(samples, facts, strict=True)
        if fact.mode not in ("", *SIXTEEN_BIT_MODES)
    ]
    rare, bits = (wide, 16) if len(wide) <= len(usual) else (usual, 8)
    return tuple(FileProblem(name, f"{bits} bits") for name in rare)


def _merged(dataset: Dataset, duplicates: Sequence[DuplicateGroup]) -> tuple[tuple[str, ...], ...]:
    """Groups that the data set names and that copies join, with those they are joined with."""
    members: dict[str, list[str]] = defaultdict(list)
    for name, root in joined_groups(dataset, duplicates).items():
        members[root].append(name)
    named = {sample.group for sample in dataset.samples if sample.group != sample.id}
    return tuple(tuple(names) for _, names in sorted(members.items()) if len(names) > 1 and named & {*names})


def _notes(dataset: Dataset) -> tuple[str, ...]:
    few = [
        f"{counted(count, 'images')} of {name}"
        for name, count in dataset.label_counts().items()
        if name != OK and count < FEW_DEFECTS
    ]
    notes = [f"Only {', '.join(few)}: numbers measured on so few say little."] if few else []
    for what, defective in (("defective", True), ("OK", False)):
        groups = {sample.group for sample in dataset.samples if sample.defective == defective}
        if len(groups) == 1:
            notes.append(
                f"All {what} images are in one group ({groups.pop()}): a split by group is impossible."
            )
    notes += [*dataset.notes, *_ok_inside(dataset)]
    hint = group_hint(dataset)
    return (*notes, hint) if hint else tuple(notes)


def _ok_inside(dataset: Dataset) -> list[str]:
    """Folders inside those of a defect whose names mean OK: what is called a defect may be a lot or a side."""
    counts = Counter(
        (sample.label, part)
        for sample in dataset.samples
        if sample.defective
        for part in PurePosixPath(sample.id).parts[:-1]
        if part != sample.label and means_ok(part) and not part.isdecimal()
    )
    return [
        f"{counted(count, 'images')} of {label} are in folders {part}/, which means OK: is {label} a defect? "
        "Otherwise give its folder, or call it train, val or test."
        for (label, part), count in sorted(counts.items())
    ]
