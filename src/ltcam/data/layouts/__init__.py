"""Reading a data set whose folder layout is found out or named."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ltcam.data.dataset import OK, Dataset, Files, Sample
from ltcam.data.labels import means_any_defect
from ltcam.data.layouts import folders, manifest
from ltcam.data.layouts.advice import found_in, no_images, not_recognised, one_sided, unknown
from ltcam.data.layouts.registry import LAYOUTS, Layout, has_manifest
from ltcam.data.layouts.tree import Tree, scan
from ltcam_runtime.errors import DataError
from ltcam_runtime.phrases import counted
from ltcam_runtime.searching import LeftOut, is_image, is_table, why_no_image


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
        raise unknown(layout)
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
        dataset = dataset.with_samples(tuple(s.with_mask_threshold(threshold) for s in dataset.samples))
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
    if has_manifest(tree):
        return LAYOUTS[manifest.NAME]
    if not tree.images:
        raise no_images(tree)
    fitting = [layout for layout in LAYOUTS.values() if layout.specific and layout.recognises(tree, ok)]
    if len(fitting) > 1:
        names = " and ".join(layout.name for layout in fitting)
        raise DataError(f"{tree.root}: looks like {names} at once; say which with `layout`")
    if fitting:
        return fitting[0]
    if not (ok and folders.class_folders(tree)) and not folders.recognises(tree):
        raise not_recognised(tree)
    return LAYOUTS[folders.NAME]


def _read(tree: Tree, layout: Layout, ok: Collection[str]) -> Dataset:
    if layout.name == manifest.NAME and not has_manifest(tree):
        raise DataError(f"{tree.root}: there is no {manifest.FILE_NAME}; the {layout.name} layout needs it")
    dataset = layout.read(tree, ok)
    if dataset.samples:
        return replace(dataset, files=_files(tree, layout, dataset))
    if not tree.images:
        raise no_images(tree)
    raise DataError(
        f"{tree.root}: no image fits the {layout.name} layout, which is {layout.wanted}; {found_in(tree)}"
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
        PurePosixPath(file.relative_to(tree.root).as_posix())
        for sample in dataset.samples
        for file in sample.mask_files
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
