"""Magnetic-Tile defects: `MT_<Class>/Imgs/NAME.jpg` beside `NAME.png`, the mask (defect above 127).

`MT_Free` is OK; the other folders give the defect class (`MT_Blowhole` -> `blowhole`).

Groups: the public files are called `exp<E>_num_<N>.jpg`. E is the lighting (0 to 6) and N a running
number over all pictures that were taken, of which the data set keeps some. One tile was photographed
under all lightings in a row, so its pictures have numbers close to each other, while E says nothing
about the tile: `exp3_num_36246`, `exp4_num_36258`, `exp5_num_36269`, `exp6_num_36280`,
`exp1_num_36290` and `exp2_num_36302` are six lightings of one blowhole. In the published names the
largest step within such a series is 92, so numbers not more than 100 apart are chained into a
group, whichever class they are in. Now and then this joins two neighbouring tiles, which costs
nothing; it keeps one tile from standing on both sides of a split.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from ltcam.data.dataset import OK, Dataset, Sample, make_dataset
from ltcam.data.layouts.tree import Tree, by_stem, stem_key

NAME = "magnetic-tile"
WANTED = "MT_Free/Imgs/*.jpg and MT_<Defect>/Imgs/*.jpg, each beside a .png of the same name"

MASK_THRESHOLD = 127
LARGEST_STEP = 100
"""Running numbers up to this far apart belong to one group."""

_NUMBER = re.compile(r"exp\d+_num_(\d+)", re.IGNORECASE)


def recognises(tree: Tree) -> bool:
    """Whether there is an image in a folder `MT_<Class>/Imgs`."""
    return bool(_images(tree))


def read(tree: Tree) -> Dataset:
    """Read the data set."""
    images = _images(tree)
    masks = by_stem(path for path in tree.images if path.suffix.lower() == ".png")
    groups = series_of({n for path in images if (n := running_number(path)) is not None})
    samples = []
    for path in images:
        mask = masks.get(stem_key(path))
        name = path.parts[0][len("MT_") :].lower()
        number = running_number(path)
        samples.append(
            Sample(
                id=str(path),
                path=tree.root / path,
                label=OK if name == "free" else name,
                group=str(path) if number is None else groups[number],
                mask=None if mask is None else tree.root / mask,
                mask_threshold=MASK_THRESHOLD,
            )
        )
    return make_dataset(tree.root, NAME, samples)


def running_number(path: PurePosixPath) -> int | None:
    """N of `exp<E>_num_<N>`, or None for another name."""
    found = _NUMBER.fullmatch(path.stem)
    return int(found[1]) if found else None


def series_of(numbers: Iterable[int]) -> dict[int, str]:
    """The group of every running number: `num<first>`, with the first number of its chain."""
    groups: dict[int, str] = {}
    first = previous = None
    for number in sorted(numbers):
        if first is None or previous is None or number - previous > LARGEST_STEP:
            first = number
        groups[number] = f"num{first}"
        previous = number
    return groups


def _images(tree: Tree) -> list[PurePosixPath]:
    return [
        path
        for path in tree.images
        if len(path.parts) == 3
        and path.parts[0].lower().startswith("mt_")
        and path.parts[1].lower() == "imgs"
        and path.suffix.lower() in (".jpg", ".jpeg")
    ]
