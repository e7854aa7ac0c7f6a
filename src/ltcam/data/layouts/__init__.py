"""Folder layouts: which there are, and reading a data set whose layout is found out or named."""

from __future__ import annotations

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from ltcam.data.dataset import OK, Dataset, Files, Sample
from ltcam.data.labels import OK_WORDS_SHOWN, likeliest_ok, means_any_defect
from ltcam.data.layouts import (
    coco,
    cvat,
    folders,
    ksdd,
    ksdd2,
    label_studio,
    labelme,
    lookout,
    magnetic_tile,
    manifest,
    mvtec,
    voc,
    yolo,
)
from ltcam.data.layouts.tree import Tree, scan
from ltcam.data.layouts.unread import unread_labels
from ltcam_runtime.errors import DataError
from ltcam_runtime.phrases import counted, first_few
from ltcam_runtime.searching import LeftOut, is_image, is_table, left_out_words, why_no_image


@dataclass(frozen=True)
class Reading:
    """How a data set is to be read, where its files do not say it themselves.

    Attributes:
        layout: a name in `LAYOUTS`; None finds it out.
        ok: labels that mean OK, then no others do; empty: those whose words say so.
        group_by: a regular expression that is searched in every id. What its groups match, or all of it where it has
            none, names the sample's group; a sample that it does not fit keeps its own.
        mask_threshold: grey value (0 to 254) above which mask pixels are defect; None: what suits each file.
    """

    layout: str | None = None
    ok: tuple[str, ...] = ()
    group_by: str | None = None
    mask_threshold: int | None = None


@dataclass(frozen=True)
class Layout:
    """How one kind of folder is told from others, and read.

    Attributes:
        name: what `Reading.layout` is given.
        wanted: the files that make this layout, for people.
        recognises: whether a folder looks like it, given the labels that mean OK.
        read: the data set in it, given the labels that mean OK.
        specific: asked before the plain folders, which also fit some other data sets.
        annotated: whether files that are no images hold the labels.
    """

    name: str
    wanted: str
    recognises: Callable[[Tree, Collection[str]], bool]
    read: Callable[[Tree, Collection[str]], Dataset]
    specific: bool = True
    annotated: bool = False


def _has_manifest(tree: Tree, _ok: Collection[str] = ()) -> bool:
    return PurePosixPath(manifest.FILE_NAME) in tree.lookup


def _read_manifest(tree: Tree, ok: Collection[str]) -> Dataset:
    return manifest.read_manifest(tree.root / manifest.FILE_NAME, ok)


def _fixed(
    name: str,
    wanted: str,
    recognises: Callable[[Tree], bool],
    read: Callable[[Tree], Dataset],
    *,
    annotated: bool = False,
) -> Layout:
    """A layout that says itself which images are OK."""

    def read_unless_named(tree: Tree, ok: Collection[str]) -> Dataset:
        if ok:
            raise DataError(
                f"{tree.root}: read as {name}, which says itself what is OK; leave `ok` out, or name another "
                "layout with `layout`"
            )
        return read(tree)

    return Layout(name, wanted, lambda tree, _ok: recognises(tree), read_unless_named, annotated=annotated)


_ALL = (
    Layout(manifest.NAME, manifest.WANTED, _has_manifest, _read_manifest),
    *(
        _fixed(part.NAME, part.WANTED, part.recognises, part.read)
        for part in (ksdd, ksdd2, mvtec, magnetic_tile)
    ),
    *(
        _fixed(part.NAME, part.WANTED, part.recognises, part.read, annotated=True)
        for part in (coco, label_studio, labelme, cvat, lookout, yolo, voc)
    ),
    Layout(folders.NAME, folders.WANTED, folders.recognises, folders.read, specific=False),
)

TAKES_OK = frozenset({manifest.NAME, folders.NAME})
"""Layouts that can be told which labels mean OK; the others say it themselves."""

_LABEL_SUFFIXES = frozenset(
    {
        ".json",
        ".jsonl",
        ".ndjson",
        ".txt",
        ".xml",
        ".yaml",
        ".yml",
        ".names",
        ".manifest",
        ".csv",
        ".tsv",
        ".data",
    }
)
_LINES = 16  # of the tree that is drawn of a folder that cannot be read

LAYOUTS: Mapping[str, Layout] = MappingProxyType({layout.name: layout for layout in _ALL})
"""All layouts by name. A manifest wins over what lies beside it; plain folders come last."""


def read_dataset(
    root: Path, layout: str | None = None, *, one_class: bool = False, reading: Reading | None = None
) -> Dataset:
    """Read the data set in a folder, or the one a CSV manifest lists.

    Args:
        root: the folder, or a manifest file that ends in `.csv`, `.tsv` or `.txt`.
        layout: a name in `LAYOUTS`; None finds it out.
        one_class: whether a data set with OK images only, or defective ones only, will do.
        reading: how to read it; its layout counts where `layout` is None.

    Raises:
        DataError: no such folder, no images, a layout that is unknown, not recognised or ambiguous,
            fewer than two classes, or what the layout itself refuses.
    """
    root = Path(root)
    reading = reading or Reading()
    layout = layout or reading.layout
    if layout is not None and layout not in LAYOUTS:
        raise _unknown(layout)
    if is_table(root) and not root.is_dir():
        dataset = _manifest_file(root, layout, reading.ok)
    else:
        tree = scan(root)
        found = LAYOUTS[layout] if layout else _recognised(tree, reading.ok)
        dataset = _read(tree, found, reading.ok)
        if found.annotated and layout is None:
            _check_folders_agree(tree, dataset)
    if reading.mask_threshold is not None:
        threshold = reading.mask_threshold
        dataset = dataset.with_samples(tuple(replace(s, mask_threshold=threshold) for s in dataset.samples))
    if reading.group_by is not None:
        dataset = grouped_by(dataset, reading.group_by)
    if not one_class:
        _check_classes(dataset)
    return dataset


def grouped_by(dataset: Dataset, pattern: str) -> Dataset:
    """The data set with groups that a regular expression finds in the ids (see `Reading.group_by`).

    Raises:
        DataError: no regular expression, or one that fits no id.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise DataError(f"`group_by` {pattern}: not a regular expression ({error})") from None
    found = {sample.id: expression.search(sample.id) for sample in dataset.samples}
    if not any(found.values()):
        example = f"; the first is {dataset.samples[0].id}" if dataset.samples else ""
        raise DataError(f"`group_by` {pattern}: fits none of the {len(found)} names{example}")
    groups = {
        name: " ".join(part for part in match.groups() if part) or match[0]
        for name, match in found.items()
        if match is not None
    }
    return dataset.with_samples(
        tuple(replace(sample, group=groups.get(sample.id, sample.group)) for sample in dataset.samples)
    )


def _manifest_file(file: Path, layout: str | None, ok: Collection[str]) -> Dataset:
    if layout not in (None, manifest.NAME):
        raise DataError(f"{file}: a list is read as manifest, not as {layout}; leave the layout out")
    if not file.exists():
        raise DataError(f"{file}: there is no such file; check the path")
    return manifest.read_manifest(file, ok)


def _recognised(tree: Tree, ok: Collection[str]) -> Layout:
    if _has_manifest(tree):
        return LAYOUTS[manifest.NAME]
    if not tree.images:
        raise _no_images(tree)
    fitting = [layout for layout in _ALL if layout.specific and layout.recognises(tree, ok)]
    if len(fitting) > 1:
        names = " and ".join(layout.name for layout in fitting)
        raise DataError(f"{tree.root}: looks like {names} at once; say which with `layout`")
    if fitting:
        return fitting[0]
    if not (ok and folders.class_folders(tree)) and not folders.recognises(tree):
        raise _not_recognised(tree)
    return LAYOUTS[folders.NAME]


def _read(tree: Tree, layout: Layout, ok: Collection[str]) -> Dataset:
    if layout.name == manifest.NAME and not _has_manifest(tree):
        raise DataError(f"{tree.root}: there is no {manifest.FILE_NAME}; the {layout.name} layout needs it")
    dataset = layout.read(tree, ok)
    if dataset.samples:
        return replace(dataset, files=_files(tree, layout, dataset))
    if not tree.images:
        raise _no_images(tree)
    raise DataError(
        f"{tree.root}: no image fits the {layout.name} layout, which is {layout.wanted}; {_found(tree)}"
    )


def _check_folders_agree(tree: Tree, dataset: Dataset) -> None:
    """Annotations may lie in folders that are called like labels: then both have to say the same.

    Raises:
        DataError: an image without an object lies in a folder that does not mean OK, or one with some in `good/`.
    """
    by_folder = {s.id: s.label for s in folders.read(tree).samples} if folders.recognises(tree) else {}

    def is_other(sample: Sample) -> bool:
        if sample.id in by_folder:
            return (sample.label == OK) != (by_folder[sample.id] == OK)
        return sample.label == OK and any(map(means_any_defect, PurePosixPath(sample.id).parts[:-1]))

    others = [sample for sample in dataset.samples if is_other(sample)]
    if others:
        said = "no object, so OK" if others[0].label == OK else f"{others[0].label} in it"
        raise DataError(
            f"{tree.root}: looks like folders and {dataset.layout} at once, and {len(others)} of "
            f"{counted(len(dataset.samples), 'images')} are called otherwise by their folder than by the annotations, "
            f"such as {others[0].id} ({said}); say which counts with `layout=folders` or `layout={dataset.layout}`"
        )


def _files(tree: Tree, layout: Layout, dataset: Dataset) -> Files:
    """What became of every file of the folder."""
    images = {PurePosixPath(sample.id) for sample in dataset.samples} & tree.lookup
    masks = {
        PurePosixPath(sample.mask.relative_to(tree.root).as_posix())
        for sample in dataset.samples
        if isinstance(sample.mask, Path)
    } & tree.lookup - images
    reasons = {entry.path: entry.reason for entry in dataset.files.left_out}
    lists = {PurePosixPath(manifest.FILE_NAME)} if layout.name == manifest.NAME else set()
    if layout.annotated:
        lists = {path for path in tree.files if path.suffix.lower() in _LABEL_SUFFIXES}.difference(reasons)
    unfit = "images that the manifest does not list" if layout.name == manifest.NAME else (
        f"images that do not fit the layout {layout.name}, which is {layout.wanted}"
    )  # fmt: skip
    others = [
        LeftOut(path, reasons.get(path) or (unfit if is_image(path) else why_no_image(tree.root, path)))
        for path in tree.files
        if path not in images and path not in masks and path not in lists
    ]
    left_out = tuple(sorted([*others, *tree.left_out], key=lambda entry: entry.path))
    return Files(len(images), len(masks), len(lists), left_out)


def _check_classes(dataset: Dataset) -> None:
    counts = {name: count for name, count in dataset.label_counts().items() if count}
    if len(counts) < 2 or OK not in counts:
        raise DataError(one_sided(dataset))


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


# -------------------------------------------------------------------------------------- what to say


def _unknown(name: str) -> DataError:
    close = get_close_matches(name, LAYOUTS, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return DataError(f"layout {name} is unknown; there are {', '.join(LAYOUTS)}{hint}")


def _no_images(tree: Tree) -> DataError:
    if not tree.files and not tree.left_out:
        return DataError(f"{tree.root}: the folder is empty; put the images into it, or give another folder")
    reasons = left_out_words([*tree.left_out, *(LeftOut(p, why_no_image(tree.root, p)) for p in tree.files)])
    return DataError(f"{tree.root}: there are no images in this folder; {_found(tree)}: {'; '.join(reasons)}")


def _not_recognised(tree: Tree) -> DataError:
    """What was found as a short tree, and the line that would make it work."""
    inner = _recognised_below(tree)
    classes = folders.class_folders(tree)
    lists = [str(path) for path in tree.files if len(path.parts) <= 2 and _is_list(tree.root / path)]
    root = shlex.quote(str(tree.root))
    if inner:
        line = f"It looks as if {first_few(inner)} could be read: give that folder."
        if len(inner) > 1:
            line += " All of them at once: as a CSV list with the columns path,label,group."
    elif lists:
        list_file = shlex.quote(str(tree.root / lists[0]))
        line = (
            f"If {first_few(lists)} says what is OK (columns path,label), give the list instead of the folder:\n"
            f"  ltcam data check {list_file}"
        )
    elif unnamed := yolo.labels_without_names(tree):
        line = (
            f"{unnamed} reads as labels of YOLO, but no file says the names of the kinds. Write one: classes.txt with "
            "a name per line, in the order of their numbers."
        )
    elif unread := unread_labels(tree):
        line = unread
    elif masks := folders.only_masks(tree):
        line = (
            f"{masks}, but no folder says which images are OK. Put these into a folder good/ and the others into a "
            "folder defect/, the masks may stay; or write a CSV list with the columns path,label,mask."
        )
    elif words := folders.words_of_names(tree):
        good, bad = words
        line = f"Their names say it: move images with {good} in the name into good/, those with {bad} into {bad}/."
    elif len(classes) == 1:
        line = (
            f"The only folder of images is {classes[0]}, whose name does not mean OK ({OK_WORDS_SHOWN}, ...). "
            "Put OK images into a folder good/ beside it. To read it alone, say what it holds: defects with "
            f"`layout=folders`, OK images with `ok={shlex.quote(classes[0])}`."
        )
    elif classes:
        line = (
            f"None of these names means OK ({OK_WORDS_SHOWN}, ...). Say which one does, such as\n"
            f"  ltcam data check {root} --ok {shlex.quote(likeliest_ok(classes))}\n(train and evaluate take it too)."
        )
    else:
        line = "Put OK images into a folder good/ and defective ones into a folder for each kind, such as scratch/."
    left_out = [f"Left out: {words}\n" for words in left_out_words(tree.left_out)]
    return DataError(
        f"{tree.root}: no known layout; {_found(tree)}\n{_drawn(tree)}\n{''.join(left_out)}{line}\n"
        f"Other layouts: {', '.join(name for name in LAYOUTS if name != folders.NAME)} (`layout=NAME`)"
    )


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
        found = [each for each in inner if any(layout.recognises(each, ()) for layout in _ALL)]
        if found:
            return [str(each.root) for each in found]
    return []


def _found(tree: Tree) -> str:
    tops: Sequence[str] = sorted(
        {path.parts[0] + ("/" if len(path.parts) > 1 else "") for path in tree.files}
    )
    places = f", in {first_few(tops, 8)}" if tops else ""
    return f"Found {counted(len(tree.files), 'files')}, {len(tree.images)} of them images{places}"
