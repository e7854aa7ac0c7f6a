"""Folder layouts: which there are, and reading a data set whose layout is found out or named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

from ltcam.data.dataset import Dataset
from ltcam.data.layouts import (
    coco,
    cvat,
    folders,
    ksdd,
    ksdd2,
    label_studio,
    lookout,
    magnetic_tile,
    manifest,
    mvtec,
    yolo,
)
from ltcam.data.layouts.mask_labels import listed
from ltcam.data.layouts.tree import Tree, scan
from ltcam_runtime.errors import DataError


@dataclass(frozen=True)
class Layout:
    """How one kind of folder is told from others, and read.

    Attributes:
        name: what `--layout` is given.
        wanted: the files that make this layout, for people.
        recognises: whether a folder looks like it.
        read: the data set in it.
        specific: asked before the plain folders, which also fit some other data sets.
    """

    name: str
    wanted: str
    recognises: Callable[[Tree], bool]
    read: Callable[[Tree], Dataset]
    specific: bool = True


def _has_manifest(tree: Tree) -> bool:
    return any(str(path) == manifest.FILE_NAME for path in tree.files)


def _read_manifest(tree: Tree) -> Dataset:
    return manifest.read_manifest(tree.root / manifest.FILE_NAME)


_ALL = (
    Layout(manifest.NAME, manifest.WANTED, _has_manifest, _read_manifest),
    Layout(ksdd.NAME, ksdd.WANTED, ksdd.recognises, ksdd.read),
    Layout(ksdd2.NAME, ksdd2.WANTED, ksdd2.recognises, ksdd2.read),
    Layout(mvtec.NAME, mvtec.WANTED, mvtec.recognises, mvtec.read),
    Layout(magnetic_tile.NAME, magnetic_tile.WANTED, magnetic_tile.recognises, magnetic_tile.read),
    Layout(coco.NAME, coco.WANTED, coco.recognises, coco.read),
    Layout(label_studio.NAME, label_studio.WANTED, label_studio.recognises, label_studio.read),
    Layout(cvat.NAME, cvat.WANTED, cvat.recognises, cvat.read),
    Layout(lookout.NAME, lookout.WANTED, lookout.recognises, lookout.read),
    Layout(yolo.NAME, yolo.WANTED, yolo.recognises, yolo.read),
    Layout(folders.NAME, folders.WANTED, folders.recognises, folders.read, specific=False),
)

LAYOUTS: Mapping[str, Layout] = MappingProxyType({layout.name: layout for layout in _ALL})
"""All layouts by name. A manifest wins over what lies beside it; plain folders come last."""


def read_dataset(root: Path, layout: str | None = None, *, one_class: bool = False) -> Dataset:
    """Read the data set in a folder, or the one a CSV manifest lists.

    Args:
        root: the folder, or a manifest file that ends in `.csv`.
        layout: a name in `LAYOUTS`; None finds it out.
        one_class: whether a data set with OK images only, or defective ones only, will do.

    Raises:
        DataError: no such folder, no images, a layout that is unknown, not recognised or ambiguous,
            fewer than two classes, or what the layout itself refuses.
    """
    root = Path(root)
    if layout is not None and layout not in LAYOUTS:
        raise _unknown(layout)
    if root.suffix.lower() == ".csv" and not root.is_dir():
        dataset = _manifest_file(root, layout)
    else:
        tree = scan(root)
        dataset = _read(tree, LAYOUTS[layout] if layout else _recognised(tree))
    if not one_class:
        _check_classes(dataset)
    return dataset


def _manifest_file(file: Path, layout: str | None) -> Dataset:
    if layout not in (None, manifest.NAME):
        raise DataError(f"{file}: a CSV file is read as manifest, not as {layout}; leave the layout out")
    if not file.exists():
        raise DataError(f"{file}: there is no such file; check the path")
    return manifest.read_manifest(file)


def _recognised(tree: Tree) -> Layout:
    if _has_manifest(tree):
        return LAYOUTS[manifest.NAME]
    if not tree.images:
        raise _no_images(tree)
    fitting = [layout for layout in _ALL if layout.specific and layout.recognises(tree)]
    if len(fitting) > 1:
        names = " and ".join(layout.name for layout in fitting)
        raise DataError(f"{tree.root}: looks like {names} at once; say which with --layout")
    if fitting:
        return fitting[0]
    if not folders.recognises(tree):
        raise _not_recognised(tree)
    return LAYOUTS[folders.NAME]


def _read(tree: Tree, layout: Layout) -> Dataset:
    if layout.name == manifest.NAME and not _has_manifest(tree):
        raise DataError(f"{tree.root}: there is no {manifest.FILE_NAME}; the {layout.name} layout needs it")
    dataset = layout.read(tree)
    if dataset.samples:
        return dataset
    if not tree.images:
        raise _no_images(tree)
    raise DataError(
        f"{tree.root}: no image fits the {layout.name} layout, which is {layout.wanted}; {_found(tree)}"
    )


def _check_classes(dataset: Dataset) -> None:
    counts = {name: count for name, count in dataset.label_counts().items() if count}
    if len(counts) == 1:
        ((name, count),) = counts.items()
        other = "defective images" if name == dataset.classes[0] else "OK images"
        raise DataError(
            f"{dataset.root}: only one class, {name} ({count} image(s), read as {dataset.layout}); "
            f"a classifier needs {other} too ({LAYOUTS[dataset.layout].wanted})"
        )


# -------------------------------------------------------------------------------------- what to say


def _unknown(name: str) -> DataError:
    close = get_close_matches(name, LAYOUTS, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return DataError(f"layout {name} is unknown; there are {', '.join(LAYOUTS)}{hint}")


def _no_images(tree: Tree) -> DataError:
    if not tree.files and not tree.skipped_links:
        return DataError(f"{tree.root}: the folder is empty; put the images into it, or give another folder")
    return DataError(f"{tree.root}: there are no images in this folder; {_found(tree)}")


def _not_recognised(tree: Tree) -> DataError:
    looked_for = "; ".join(f"{layout.name}: {layout.wanted}" for layout in _ALL)
    inner = _recognised_below(tree)
    hint = f" It looks as if {listed(inner)} could be read: give that folder." if inner else ""
    return DataError(f"{tree.root}: no known layout. Looked for {looked_for}. {_found(tree)}.{hint}")


def _recognised_below(tree: Tree) -> list[str]:
    """Folders directly below the root that are data sets themselves."""
    found = []
    for name in sorted({path.parts[0] for path in tree.images if len(path.parts) > 1}):
        below = tuple(path.relative_to(name) for path in tree.files if path.parts[0] == name)
        inner = Tree(tree.root / name, below)
        if any(layout.recognises(inner) for layout in _ALL):
            found.append(str(inner.root))
    return found


def _found(tree: Tree) -> str:
    tops = sorted({path.parts[0] + ("/" if len(path.parts) > 1 else "") for path in tree.files})
    links = f", and {len(tree.skipped_links)} link(s) that lead out of it" if tree.skipped_links else ""
    return f"Found {len(tree.files)} file(s), {len(tree.images)} of them images, in {listed(tops, 8)}{links}"
