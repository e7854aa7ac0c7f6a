"""The problems of a data set in words: what is the matter with which files, and what to do about it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ltcam.data.dataset import OK
from ltcam.data.labels import OK_WORDS_SHOWN
from ltcam.data.layouts.folders import OUTSIDE
from ltcam_runtime import mask_files, searching

if TYPE_CHECKING:
    from ltcam.data.check import CheckReport

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


def findings(report: CheckReport) -> tuple[Finding, ...]:
    """The problems there are, errors first."""
    wrong = [Finding(title, "error", advice, entries) for title, advice, entries in _wrong(report)]
    doubtful = [Finding(title, "warning", advice, entries) for title, advice, entries in _doubtful(report)]
    found = [finding for finding in (*wrong, *doubtful) if finding.entries] + _left_out(report)
    return tuple(sorted(found, key=lambda finding: finding.level != "error"))


def _wrong(report: CheckReport) -> tuple[_Kind, ...]:
    """What spoils a training or a measurement: title, advice, files."""
    return (
        (
            "One kind of image only",
            f"A classifier needs both. Words that mean OK: {OK_WORDS_SHOWN}, ...; --ok LABEL names another.",
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


def _doubtful(report: CheckReport) -> tuple[_Kind, ...]:
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
            "Labels that hardly differ",
            "They are separate classes. If they are one, write them alike.",
            tuple(FileProblem(" = ".join(labels), "") for labels in report.alike_labels),
        ),
        (
            "Masks with values in between",
            "JPEG or resizing made soft borders, which are cut in the middle; --mask-threshold N sets another value.",
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


def _one_sided(report: CheckReport) -> tuple[FileProblem, ...]:
    defective = sum(count.images for count in report.classes if count.name != OK)
    if defective and defective < report.images:
        return ()
    what = "OK" if defective else "defective"
    words = ", ".join(f"{count.name} ({count.images})" for count in report.classes if count.images)
    return (FileProblem("labels", f"there is no {what} image; found: {words}"),)


def _left_out(report: CheckReport) -> list[Finding]:
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
