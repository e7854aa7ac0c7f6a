"""What is said of a folder that cannot be read: what was found in it, and the line that would make it work."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from ltcam.data.dataset import OK, Dataset
from ltcam.data.labels import OK_WORDS_SHOWN, likeliest_ok, means_any_defect
from ltcam.data.layouts import folders, manifest, yolo
from ltcam.data.layouts.registry import LAYOUTS, TAKES_OK
from ltcam.data.layouts.tree import Tree
from ltcam.data.layouts.unread import unread_labels
from ltcam_runtime.errors import DataError
from ltcam_runtime.phrases import counted, first_few
from ltcam_runtime.searching import LeftOut, is_table, left_out_words, why_no_image

_LINES = 16  # of the tree that is drawn of a folder that cannot be read


def one_sided(dataset: Dataset) -> str:
    """Why a data set without OK images, or without defective ones, cannot be learned from, and what to do."""
    counts = {name: count for name, count in dataset.label_counts().items() if count}
    found = first_few([f"{name} ({count})" for name, count in counts.items()], 8)
    start = f"{dataset.root}: only one class, {found}, read as {dataset.layout}"
    if len(counts) > 1:
        start = f"{dataset.root}: none of the labels means OK; they are {found}"
    if OK in counts:
        meant = f" (taken for OK: {', '.join(dataset.ok_labels)})" if dataset.ok_labels else ""
        return f"{start}{meant}; a classifier needs defective images too"
    start += (
        f"; a classifier needs OK images too. Words that mean OK are {OK_WORDS_SHOWN} and others like them"
    )
    asked = [name for name in counts if dataset.layout in TAKES_OK and not means_any_defect(name)]
    return (
        f"{start}; if one of the labels means OK, name it: `ok={shlex.quote(asked[0])}`" if asked else start
    )


def unknown(name: str) -> DataError:
    """A layout that there is not."""
    close = get_close_matches(name, LAYOUTS, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return DataError(f"layout {name} is unknown; there are {', '.join(LAYOUTS)}{hint}")


def no_images(tree: Tree) -> DataError:
    """A folder without images."""
    if not tree.files and not tree.left_out:
        return DataError(f"{tree.root}: the folder is empty; put the images into it, or give another folder")
    reasons = left_out_words([*tree.left_out, *(LeftOut(p, why_no_image(tree.root, p)) for p in tree.files)])
    return DataError(
        f"{tree.root}: there are no images in this folder; {found_in(tree)}: {'; '.join(reasons)}"
    )


def not_recognised(tree: Tree) -> DataError:
    """What was found as a short tree, and the line that would make it work."""
    line = next(line for hint in _HINTS if (line := hint(tree)))
    left_out = [f"Left out: {words}\n" for words in left_out_words(tree.left_out)]
    return DataError(
        f"{tree.root}: no known layout; {found_in(tree)}\n{_drawn(tree)}\n{''.join(left_out)}{line}\n"
        f"Other layouts: {', '.join(name for name in LAYOUTS if name != folders.NAME)} (`layout=NAME`)"
    )


def _inner_folder(tree: Tree) -> str | None:
    inner = _recognised_below(tree)
    if not inner:
        return None
    more = " All of them at once: as a CSV list with the columns path,label,group." if len(inner) > 1 else ""
    return f"It looks as if {first_few(inner)} could be read: give that folder.{more}"


def _list_of_labels(tree: Tree) -> str | None:
    lists = [str(path) for path in tree.files if len(path.parts) <= 2 and _is_list(tree.root / path)]
    if not lists:
        return None
    return (
        f"If {first_few(lists)} says what is OK (columns path,label), give the list instead of the folder:\n"
        f"  ltcam data check {shlex.quote(str(tree.root / lists[0]))}"
    )


def _names_of_yolo(tree: Tree) -> str | None:
    unnamed = yolo.labels_without_names(tree)
    if not unnamed:
        return None
    return (
        f"{unnamed} reads as labels of YOLO, but no file says the names of the kinds. Write one: classes.txt with "
        "a name per line, in the order of their numbers."
    )


def _good_beside_masks(tree: Tree) -> str | None:
    masks = folders.only_masks(tree)
    if not masks:
        return None
    return (
        f"{masks}, but no folder says which images are OK. Put these into a folder good/ and the others into a "
        "folder defect/, the masks may stay; or write a CSV list with the columns path,label,mask."
    )


def _words_of_names(tree: Tree) -> str | None:
    words = folders.words_of_names(tree)
    if not words:
        return None
    good, bad = words
    return (
        f"Their names say it: move images with {good} in the name into good/, those with {bad} into {bad}/."
    )


def _which_is_ok(tree: Tree) -> str | None:
    classes = folders.class_folders(tree)
    if len(classes) == 1:
        return (
            f"The only folder of images is {classes[0]}, whose name does not mean OK ({OK_WORDS_SHOWN}, ...). "
            "Put OK images into a folder good/ beside it. To read it alone, say what it holds: defects with "
            f"`layout=folders`, OK images with `ok={shlex.quote(classes[0])}`."
        )
    return (
        f"None of these names means OK ({OK_WORDS_SHOWN}, ...). Say which one does, such as\n"
        f"  ltcam data check {shlex.quote(str(tree.root))} --ok {shlex.quote(likeliest_ok(classes))}\n"
        "(train and evaluate take it too)."
        if classes
        else None
    )


def _two_folders(_tree: Tree) -> str:
    return (
        "Put OK images into a folder good/ and defective ones into a folder for each kind, such as scratch/."
    )


_HINTS = (_inner_folder, _list_of_labels, _names_of_yolo, unread_labels, _good_beside_masks, _words_of_names,
          _which_is_ok, _two_folders)  # fmt: skip
"""What may be the matter with a folder, the likeliest first; the last one always answers."""


def _is_list(file: Path) -> bool:
    return is_table(file) and (file.suffix.lower() != ".txt" or manifest.has_paths(file))


def _drawn(tree: Tree) -> str:
    """Folders and how many images are below them, two levels deep."""
    counts = Counter(
        "/".join(path.parts[:depth]) + "/"
        for path in tree.images
        for depth in range(1, min(3, len(path.parts)))
    )
    loose = sum(len(path.parts) == 1 for path in tree.images)
    lines = [
        f"  {'  ' * (name.count('/') - 1)}{name.rstrip('/').rsplit('/', 1)[-1]}/  {counted(count, 'images')}"
        for name, count in sorted(counts.items())
    ]
    if loose:
        lines.append(f"  {counted(loose, 'images')} in no folder")
    more = [f"  and {len(lines) - _LINES} more folders"] if len(lines) > _LINES else []
    return "\n".join([*lines[:_LINES], *more])


def _recognised_below(tree: Tree) -> list[str]:
    """The highest folders below the root that are data sets themselves: one category of many, one day, one camera."""
    for depth in (1, 2, 3):
        inside: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
        for path in tree.files:
            if len(path.parts) > depth:
                top = PurePosixPath(*path.parts[:depth])
                inside[top].append(path.relative_to(top))
        inner = [Tree(tree.root / top, tuple(files)) for top, files in sorted(inside.items())]
        found = [each for each in inner if any(layout.recognises(each, ()) for layout in LAYOUTS.values())]
        if found:
            return [str(each.root) for each in found]
    return []


def found_in(tree: Tree) -> str:
    """How much lies in a folder, and where."""
    tops: Sequence[str] = sorted(
        {path.parts[0] + ("/" if len(path.parts) > 1 else "") for path in tree.files}
    )
    places = f", in {first_few(tops, 8)}" if tops else ""
    return f"Found {counted(len(tree.files), 'files')}, {len(tree.images)} of them images{places}"
