"""Images that are in a data set more than once: same file, encoded anew, or photographed a second time.

Three tests, each a step weaker:

    file        same bytes (SHA-256)
    pixels      same pixels in another file format
    near        the same surface in the same place of the picture: encoded with losses, resized, made
                brighter, or photographed a second time (KolektorSDD has a commutator of which this is so)

The last one must not take pictures of alike parts for one another. It looks at detail only: the image
shrunk to 64 x 64 without its coarse structure. What alike parts have in common there are edges; their
texture and the noise between the edges differ. So the details are correlated block by block, and the
images belong together if they correlate nearly everywhere. Pairs worth that comparison come from a short
descriptor (255 low DCT coefficients of the detail); descriptors, not images, are compared exhaustively, by
a blocked matrix product, and each image keeps its few nearest.

Where one scene fills a large part of the data set (a printed pattern that always lies in the same place),
no such test tells parts from copies. Those images are joined only if they agree as far as encoding
leaves them, and not at all if that still joins a large part.

Not found: copies that were rotated, mirrored or cropped, and copies of images with hardly any detail
(those only as the same file or the same pixels).
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ltcam.data.dataset import Dataset, Sample
from ltcam.data.decoded import DecodedImages, content_of
from ltcam_runtime.files import file_sha256
from ltcam_runtime.images import read_image
from ltcam_runtime.reading import READING_BYTES_PER_PIXEL, Workers, read_all

Kind = Literal["file", "pixels", "near"]

_SIDE = 64
_BLOCK = 4
_COEFFICIENTS = 16
_NEAREST = 8
_CANDIDATE_SIMILARITY = 0.7
_ROWS_AT_ONCE = 1024
_FLAT = 0.08**2
_MIN_BLOCKS = 64
_WEAK_BLOCKS_PERCENTILE = 20.0
_CLIP = 2.0
_SAME_SURFACE = 0.75  # second photographs on KolektorSDD: 0.88 and more; other pairs there: below 0.1
_SAME_PHOTOGRAPH = 0.97  # JPEG of quality 50 of a rough surface: 0.99
_SCENE_SHARE = 0.2
_SCENE_IMAGES = 8
_ASPECT_TOLERANCE = 0.02


@dataclass(frozen=True)
class Signature:
    """What is kept of an image to find its copies.

    Attributes:
        file_sha256: of the file's bytes.
        pixel_sha256: of size and pixels.
        size: (height, width) in pixels.
        detail: (64, 64) float16, grey levels, the shrunk image without its coarse structure.
    """

    file_sha256: str
    pixel_sha256: str
    size: tuple[int, int]
    detail: NDArray[np.float16]


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that show the same surface in the same place.

    Attributes:
        ids: sample ids, sorted, at least two.
        kind: the strongest test that all of them pass.
        same_pixels: those of them that are equal in every pixel, in sets of two or more.
    """

    ids: tuple[str, ...]
    kind: Kind
    same_pixels: tuple[tuple[str, ...], ...] = field(default=(), compare=False)

    @property
    def equal(self) -> tuple[tuple[str, ...], ...]:
        """Sets of images that are equal in every pixel."""
        return (self.ids,) if self.kind != "near" else self.same_pixels


def signature(path: Path, image: NDArray[np.uint8] | None = None) -> Signature:
    """The signature of an image file.

    Args:
        path: the file.
        image: its pixels (H, W, 3) uint8 if they have been read already.

    Raises:
        InputError: the file cannot be read.
    """
    return _signature(file_sha256(path), read_image(path) if image is None else image)


def _signature(digest: str, image: NDArray[np.uint8]) -> Signature:
    pixels = hashlib.sha256(repr(image.shape).encode())
    pixels.update(np.ascontiguousarray(image).data)
    height, width = image.shape[:2]
    return Signature(digest, pixels.hexdigest(), (height, width), _detail(image))


def find_duplicates(
    samples: Sequence[Sample], signatures: Mapping[str, Signature] | None = None
) -> tuple[DuplicateGroup, ...]:
    """Groups of samples that show the same surface in the same place.

    Files that cannot be read are left out.

    Args:
        samples: any number; the time grows with it but for one matrix product (10,000: seconds).
        signatures: by sample id, if they have been made already; only these are compared then.

    Returns:
        Groups of two or more, sorted by their first id.
    """
    known = read_signatures(samples) if signatures is None else signatures
    ids = sorted(sample.id for sample in samples if sample.id in known)
    exact = [*_same(ids, "file_sha256", known), *_same(ids, "pixel_sha256", known)]
    root_of = _union(ids, [*exact, *_near(ids, known)])
    members: dict[str, list[str]] = defaultdict(list)
    for name in ids:
        members[root_of[name]].append(name)
    return tuple(
        DuplicateGroup(tuple(names), _kind([known[name] for name in names]), _same_pixels(names, known))
        for _, names in sorted(members.items())
        if len(names) > 1
    )


def read_signatures(samples: Sequence[Sample], images: DecodedImages | None = None) -> dict[str, Signature]:
    """Signatures by sample id, read in threads within the memory there is; unreadable files are left out.

    Args:
        samples: any number.
        images: what reads them, and hands them on.
    """
    images = images or DecodedImages(0)

    def read(_: str, path: Path) -> Signature:
        content = content_of(path)
        return _signature(hashlib.sha256(content).hexdigest(), images.read(path, content))

    outcomes = read_all(
        ((sample.id, sample.path) for sample in samples),
        read,
        Workers(bytes_per_pixel=READING_BYTES_PER_PIXEL, size_of=images.size_of),
    )
    return {outcome.name: outcome.value for outcome in outcomes if outcome.value is not None}


def merge_groups(dataset: Dataset, duplicates: Iterable[DuplicateGroup]) -> Dataset:
    """The data set with every group that shares a photograph joined into one (see `joined_groups`).

    So a split by group keeps copies, and everything else of their lots, on one side.
    """
    root_of = joined_groups(dataset, duplicates)
    return dataset.with_samples(
        tuple(replace(sample, group=root_of[sample.group]) for sample in dataset.samples)
    )


def joined_groups(dataset: Dataset, duplicates: Iterable[DuplicateGroup]) -> dict[str, str]:
    """The name under which each group is joined with others: the first of theirs in alphabetical order.

    Equal pixels join any groups. What is only alike joins images that are their own group, and these to one
    group that the data set names; two named groups only if most images of the smaller one have a likeness in
    the other, and neither is like a third: lots before a fixed camera are alike in a row, and would make one
    group of nearly all. Nor does likeness make a group of more than a fifth of the images (and more than eight).
    """
    group_of = {sample.id: sample.group for sample in dataset.samples}
    named = {sample.group for sample in dataset.samples if sample.group != sample.id}
    found = [tuple(name for name in group.ids if name in group_of) for group in duplicates]
    exact = [
        (group_of[same[0]], group_of[name])
        for group in duplicates
        for same in group.equal
        for name in same[1:]
        if same[0] in group_of and name in group_of
    ]
    names = sorted(set(group_of.values()))
    strong = _union(names, exact)
    named_roots = {strong[name] for name in named}
    alike = [[(strong[group_of[name]], name) for name in ids] for ids in found]
    pairs = _alike_twice(alike, named_roots, Counter(strong[group] for group in group_of.values()))
    links = [link for ids in alike for link in _weak_links([root for root, _ in ids], named_roots, pairs)]
    weak = _union(names, [*exact, *links])
    sizes = Counter(weak[group] for group in group_of.values())
    limit = max(_SCENE_IMAGES, _SCENE_SHARE * len(group_of))
    return {name: weak[name] if sizes[weak[name]] <= limit else strong[name] for name in names}


# -------------------------------------------------------------------------------------- parts


def _alike_twice(
    alike: Iterable[Sequence[tuple[str, str]]], named: set[str], sizes: Mapping[str, int]
) -> set[tuple[str, str]]:
    """Pairs of named groups that show the same part twice.

    Args:
        alike: sets of images that are alike, as (group, id).
        named: the named groups.
        sizes: images per group.
    """
    likenesses: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    partners: dict[str, set[str]] = defaultdict(set)
    for ids in alike:
        members = Counter(group for group, _ in ids if group in named)
        for group in members:
            partners[group] |= members.keys() - {group}
        if len(members) == 2:
            first, second = sorted(members)
            likenesses[first, second].update(members)
    return {
        pair
        for pair, counts in likenesses.items()
        if all(len(partners[group]) == 1 for group in pair)
        and any(2 * counts[group] >= sizes[group] for group in pair)
    }


def _weak_links(groups: Sequence[str], named: set[str], pairs: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Links between groups of which one image each is alike."""
    roots = sorted({group for group in groups if group in named})
    free = sorted({group for group in groups if group not in named})
    links = [(free[0], name) for name in free[1:]]
    if len(roots) == 2 and (roots[0], roots[1]) in pairs:
        links.append((roots[0], roots[1]))
    if free and (len(roots) == 1 or (len(roots) == 2 and (roots[0], roots[1]) in pairs)):
        links.append((roots[0], free[0]))
    return links


def _same_pixels(names: Sequence[str], known: Mapping[str, Signature]) -> tuple[tuple[str, ...], ...]:
    equal: dict[str, list[str]] = defaultdict(list)
    for name in names:
        equal[known[name].pixel_sha256].append(name)
    return tuple(tuple(same) for same in equal.values() if len(same) > 1)


def _detail(image: NDArray[np.uint8]) -> NDArray[np.float16]:
    """(H, W, 3) -> (64, 64): grey, averaged over areas, minus the mean over 5 x 5 of them, clipped.

    Without clipping, one sharp edge or deep scratch would outweigh the texture of the whole image.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    fine = small - cv2.blur(small, (5, 5))
    limit = _CLIP * 1.4826 * float(np.median(np.abs(fine)))  # the median times 1.4826: robust deviation
    return np.asarray(np.clip(fine, -limit, limit), dtype=np.float16)


def _union(names: Sequence[str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The representative of every name: the alphabetically first of those it is joined with."""
    parent = {name: name for name in names}

    def find(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for first, second in pairs:
        low, high = sorted((find(first), find(second)))
        parent[high] = low
    return {name: find(name) for name in names}


def _kind(signatures: Sequence[Signature]) -> Kind:
    if len({value.file_sha256 for value in signatures}) == 1:
        return "file"
    return "pixels" if len({value.pixel_sha256 for value in signatures}) == 1 else "near"


def _same(
    ids: Sequence[str], field: Literal["file_sha256", "pixel_sha256"], known: Mapping[str, Signature]
) -> list[tuple[str, str]]:
    """Links from every image to the first with the same hash."""
    first_with: dict[str, str] = {}
    pairs = [(first_with.setdefault(getattr(known[name], field), name), name) for name in ids]
    return [(first, name) for first, name in pairs if first != name]


def _near(ids: Sequence[str], known: Mapping[str, Signature]) -> list[tuple[str, str]]:
    """Links between near-identical images, among one representative of each set of equal pixels."""
    unique = sorted({known[name].pixel_sha256: name for name in reversed(ids)}.values())
    names = [name for name in unique if _has_detail(known[name].detail)]
    if len(names) < 2:
        return []
    links = []
    for i, j in _candidates(np.stack([_descriptor(known[name].detail) for name in names])):
        agreement = _agreement(known[names[i]], known[names[j]])
        if agreement >= _SAME_SURFACE:
            links.append((names[i], names[j], agreement))
    wide = _in_scenes(names, [(first, second) for first, second, _ in links])
    kept = [link for link in links if link[0] not in wide or link[2] >= _SAME_PHOTOGRAPH]
    still_wide = _in_scenes(names, [(first, second) for first, second, _ in kept])
    return [(first, second) for first, second, _ in kept if first not in still_wide]


def _in_scenes(names: Sequence[str], links: Iterable[tuple[str, str]]) -> set[str]:
    """The images that stand in sets too large to be copies of one photograph."""
    root_of = _union(names, links)
    sizes = Counter(root_of.values())
    limit = max(_SCENE_IMAGES, _SCENE_SHARE * len(names))
    return {name for name in names if sizes[root_of[name]] > limit}


def _has_detail(detail: NDArray[np.float16]) -> bool:
    return int((_block_moments(_blocks(detail), _blocks(detail))[0] > _FLAT).sum()) >= _MIN_BLOCKS


def _descriptor(detail: NDArray[np.float16]) -> NDArray[np.float32]:
    """(64, 64) -> (255,) of length one: low DCT coefficients, without the constant one."""
    coefficients = cv2.dct(detail.astype(np.float32))[:_COEFFICIENTS, :_COEFFICIENTS].ravel()[1:]
    return np.asarray(coefficients / max(float(np.linalg.norm(coefficients)), 1e-12), dtype=np.float32)


def _candidates(descriptors: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Pairs (i < j) where one is among the other's nearest few and similar enough."""
    count = len(descriptors)
    nearest = min(_NEAREST, count - 1)
    pairs: set[tuple[int, int]] = set()
    for start in range(0, count, _ROWS_AT_ONCE):
        similarity = descriptors[start : start + _ROWS_AT_ONCE] @ descriptors.T
        rows = np.arange(len(similarity))
        similarity[rows, rows + start] = -1.0
        columns = np.argpartition(similarity, count - nearest, axis=1)[:, count - nearest :]
        good = similarity[rows[:, None], columns] >= _CANDIDATE_SIMILARITY
        for row, slot in zip(*np.nonzero(good), strict=True):
            i, j = start + int(row), int(columns[row, slot])
            pairs.add((min(i, j), max(i, j)))
    return sorted(pairs)


def _agreement(first: Signature, second: Signature) -> float:
    """Correlation of the details that four fifths of the blocks reach; -1 where it says nothing."""
    aspects = [value.size[0] / value.size[1] for value in (first, second)]
    if max(aspects) > min(aspects) * (1.0 + _ASPECT_TOLERANCE):
        return -1.0
    correlations = _block_correlations(first.detail, second.detail)
    if len(correlations) < _MIN_BLOCKS:
        return -1.0
    return float(np.percentile(correlations, _WEAK_BLOCKS_PERCENTILE))


def _block_correlations(a: NDArray[np.float16], b: NDArray[np.float16]) -> NDArray[np.float32]:
    """Correlation per 4 x 4 block, for the blocks where at least one image has detail."""
    variance_a, variance_b, covariance = _block_moments(_blocks(a), _blocks(b))
    seen = np.maximum(variance_a, variance_b) > _FLAT
    # A block that is flat in one image only counts as different.
    scale = np.sqrt(np.maximum(variance_a, 1e-6) * np.maximum(variance_b, 1e-6))
    return np.asarray((covariance / scale)[seen], dtype=np.float32)


def _block_moments(
    a: NDArray[np.float32], b: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    a = a - a.mean(axis=1, keepdims=True)
    b = b - b.mean(axis=1, keepdims=True)
    return (a * a).mean(axis=1), (b * b).mean(axis=1), (a * b).mean(axis=1)


def _blocks(detail: NDArray[np.float16]) -> NDArray[np.float32]:
    """(64, 64) -> (256 blocks, 16 values)."""
    per_side = _SIDE // _BLOCK
    blocks = detail.astype(np.float32).reshape(per_side, _BLOCK, per_side, _BLOCK).swapaxes(1, 2)
    return blocks.reshape(per_side * per_side, _BLOCK * _BLOCK)
