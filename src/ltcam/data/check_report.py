"""What was found in a data set: counts, and its problems in words, with what to do about them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ltcam.data.dataset import OK, Files
from ltcam.data.duplicates import DuplicateGroup
from ltcam.data.labels import OK_WORDS_SHOWN
from ltcam.data.layouts.folders import OUTSIDE
from ltcam.data.readiness import Readiness
from ltcam_runtime import mask_files, searching

CHECK_SCHEMA_VERSION = 1

_ATTENTION = frozenset(
    {searching.LINKED_FOLDER, searching.LINK_OUTSIDE, searching.OTHER_IMAGE, searching.WRONG_SUFFIX}
    | {searching.VIDEO, mask_files.FITS_NONE, mask_files.FITS_SEVERAL, mask_files.ONE_OF_SEVERAL, OUTSIDE}
)
"""Reasons for leaving files out that somebody should know of before training."""

_Kind = tuple[str, str, "tuple[FileProblem, ...]"]
"""Title, advice and files of one kind of problem."""


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
class Checked:
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
        mostly_marked: defective, and the mask marks more than half of the image, as inverted masks do.
        ok_with_marks: labelled OK, but the mask marks something.
        contradictory: equal pixels under different labels.
        several_pictures: files with more than one page or frame.
        narrow_16_bit: 16-bit images that use less than an eighth of the range that all of them use.
        other_depth: images of 8 bits where most have 16, or the other way round.
        duplicates: groups of images that show the same photograph or surface.
        straddling: groups, copies joined, that stand on several sides of the split the data set names.
        soft_masks: masks with values in between, and the threshold that was taken.
        looks_like_masks: images that hold two colours only, as masks do.
        odd_shapes: images whose shape (width to height) is another than most images have.
        undecided_labels: classes whose names say that nobody has judged yet.
        alike_labels: labels that differ in separators or a letter only.
        merged_groups: groups that copies join into one, sorted.
        ok_labels: labels that were taken for OK, as they are written.
        files: what was taken up of the folder, and what was left out.
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
    mostly_marked: tuple[FileProblem, ...]
    ok_with_marks: tuple[FileProblem, ...]
    contradictory: tuple[FileProblem, ...]
    several_pictures: tuple[FileProblem, ...]
    narrow_16_bit: tuple[FileProblem, ...]
    other_depth: tuple[FileProblem, ...]
    duplicates: tuple[DuplicateGroup, ...]
    straddling: tuple[str, ...]
    soft_masks: tuple[FileProblem, ...]
    looks_like_masks: tuple[FileProblem, ...]
    odd_shapes: tuple[FileProblem, ...]
    undecided_labels: tuple[str, ...]
    alike_labels: tuple[tuple[str, ...], ...]
    merged_groups: tuple[tuple[str, ...], ...]
    ok_labels: tuple[str, ...]
    files: Files
    notes: tuple[str, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The problems there are, errors first."""
        return findings(self)


@dataclass(frozen=True)
class CheckReport(Checked):
    """What was found, and what it means for a training.

    Attributes:
        readiness: whether `train` can start, why not, and the sides it would take.
    """

    readiness: Readiness

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        values = asdict(self)
        values["sizes"] = [
            {"height": height, "width": width, "images": count} for (height, width), count in self.sizes
        ]
        values["files"] = {
            "there": self.files.there,
            "images": self.files.images,
            "masks": self.files.masks,
            "lists": self.files.lists,
            "left_out": [{"path": str(entry.path), "reason": entry.reason} for entry in self.files.left_out],
        }
        return {"schema_version": CHECK_SCHEMA_VERSION, **_plain(values)}


def findings(report: Checked) -> tuple[Finding, ...]:
    """The problems there are, errors first."""
    wrong = [Finding(title, "error", advice, entries) for title, advice, entries in _wrong(report)]
    doubtful = [Finding(title, "warning", advice, entries) for title, advice, entries in _doubtful(report)]
    found = [finding for finding in (*wrong, *doubtful) if finding.entries] + _left_out(report)
    return tuple(sorted(found, key=lambda finding: finding.level != "error"))


def _wrong(report: Checked) -> tuple[_Kind, ...]:
    """What spoils a training or a measurement: title, advice, files."""
    return (
        (
            "One kind of image only",
            f"A classifier needs both. Words that mean OK: {OK_WORDS_SHOWN}, ...; `ok=LABEL` names another.",
            _one_sided(report),
        ),
        (
            "Images that cannot be read",
            "They cannot be used. Copy them again from their source, or remove them.",
            report.unreadable,
        ),
        (
            "Same pixels, different labels",
            "Decide which label is right and remove the other copy.",
            report.contradictory,
        ),
        (
            "Labelled OK, but the mask marks a defect",
            "Correct the label or empty the mask.",
            report.ok_with_marks,
        ),
        (
            "Labelled defective, but the mask is empty",
            "Correct the label, draw the mask or remove its file.",
            report.defective_without_marks,
        ),
        (
            "Masks of another size than their image",
            "They cannot be measured against. Export them again at the image's size.",
            report.masks_wrong_size,
        ),
        ("Masks that cannot be read", "Copy them again or remove them.", report.masks_unreadable),
    )


def _doubtful(report: Checked) -> tuple[_Kind, ...]:
    """What somebody should look at: title, advice, files."""
    return (
        (
            "Masks that mark more than half of the image",
            "If black is the defect in them, invert them: what is bright counts as defect.",
            report.mostly_marked,
        ),
        (
            "Groups on several sides of the split",
            "What is measured on test will look too good. Keep a group, and copies of an image, on one side.",
            tuple(FileProblem(group, "on several sides") for group in report.straddling),
        ),
        (
            "Defective images without mask",
            "They train like the others, but pixel measures leave them out.",
            report.masks_missing,
        ),
        (
            "Images that look like masks",
            "If they are masks, put them into a folder called masks/, or they are learned as images.",
            report.looks_like_masks,
        ),
        (
            "Images of another shape than most",
            "The network sees all in one shape, so these come out squeezed. Cut them to the shape of the others.",
            report.odd_shapes,
        ),
        (
            "Labels that say that nobody has judged yet",
            "They are learned as kinds of defect. If there may be good parts among them, move them away.",
            tuple(FileProblem(label, "") for label in report.undecided_labels),
        ),
        (
            "Labels that hardly differ",
            "They are separate classes. If they are one, write them alike.",
            tuple(FileProblem(" = ".join(labels), "") for labels in report.alike_labels),
        ),
        (
            "Masks with values in between",
            "JPEG or resizing made soft borders, which are cut in the middle; `mask_threshold=N` sets another value.",
            report.soft_masks,
        ),
        (
            "Files with several pages or frames",
            "Every command looks at the first picture only. Save the others as files of their own.",
            report.several_pictures,
        ),
        (
            "16-bit images that use little of their range",
            "They come out nearly flat in 8 bits. Are images of several cameras, or exposures, mixed?",
            report.narrow_16_bit,
        ),
        (
            "Images of another depth than most",
            "8-bit and 16-bit files seldom show a part equally bright. Save all alike, and those to be inspected.",
            report.other_depth,
        ),
    )


def _one_sided(report: Checked) -> tuple[FileProblem, ...]:
    defective = sum(count.images for count in report.classes if count.name != OK)
    if defective and defective < report.images:
        return ()
    what = "OK" if defective else "defective"
    words = ", ".join(f"{count.name} ({count.images})" for count in report.classes if count.images)
    return (FileProblem("labels", f"there is no {what} image; found: {words}"),)


def _left_out(report: Checked) -> list[Finding]:
    """Of what was left out, what somebody should know of before training."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for entry in report.files.left_out:
        by_reason[entry.reason].append(str(entry.path))
    found = []
    for reason, names in by_reason.items():
        if reason in _ATTENTION or reason == searching.CLOSED:
            what, _, advice = reason.partition(": ")
            level: Literal["error", "warning"] = "error" if reason == searching.CLOSED else "warning"
            entries = tuple(FileProblem(name, "") for name in names)
            advice = advice or "They play no part; move or rename what should."
            found.append(Finding(f"Left out: {what}", level, advice[:1].upper() + advice[1:], entries))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
