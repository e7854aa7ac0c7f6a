"""Which of many files are masks, and of which images: names propose, and what is in the files decides.

People keep masks beside the image (`0001_mask.png`, `0001-gt.png`, `mask_0001.png`, `0001.png` beside `0001.jpg`) or
in folders of any level (`masks/`, `scratch/lot7/gt/`, `train_masks/`). A name alone proves nothing: `label/` may
be a kind of defect. So a few files of every such set are looked at, and those that hold photographs stay images.

A mask belongs to the image of the same name whose folders agree best with the mask's own: folders that are
called like masks or images do not count, nor does the order of the rest (`masks/test/scratch/` fits `test/scratch/`).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.errors import InputError
from ltcam_runtime.images import IMAGE_SUFFIXES, read_image
from ltcam_runtime.phrases import word_set
from ltcam_runtime.searching import LeftOut

FITS_NONE = "masks that fit no image"
FITS_SEVERAL = "masks that fit several images: sort them into folders of the classes"
FITS_BETTER = "masks of images that another mask fits better"
ONE_OF_SEVERAL = "masks of images that have several: unite them in one file for each image"

_MASK_WORDS = word_set(
    """
    mask masks msk msks gt gts groundtruth groundtruths truth truths label labels lbl lbls seg segs segm segmentation
    segmentations segmentationclass segmentationobject annotation annotations anno annos annot annots bin binary
    maske masken masque masques mascara mascaras máscara máscaras maschera maschere maska maski masky маска маски
    掩码 掩膜 标注 标签 マスク 마스크
    """
)
_OF_DEFECTS = word_set(
    """
    missing missed no without wrong bad torn lost misplaced misaligned misprinted skewed crooked wrinkled damaged double
    fehlt fehlend fehlende fehlendes ohne falsch falsche falsches kein keine schief schiefes sans sin senza
    """
)
"""Beside `label` in the name of a folder, they make it a kind of defect."""

_IMAGE_WORDS = word_set(
    "image images img imgs im jpegimages photo photos pic pics picture pictures rgb bild bilder"
)
_FILLERS = _IMAGE_WORDS | {"png", "bmp", "tif", "tiff", "jpg", "file", "files", "binary", "bw", "pixel"}
_SEPARATORS = re.compile(r"[\s_.,()\[\]-]+")
_HUMPS = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?i:(?<=[^\W_])(?=masks?$)|(?<=mask)(?=\d)|(?<=image)(?=\d)|(?<=img)(?=\d))"
)
_INNER_SUFFIX = re.compile(
    "|".join(rf"\{suffix}(?=[. _-]|$)" for suffix in sorted(IMAGE_SUFFIXES)), re.IGNORECASE
)

_LOOKED_AT = 5  # files of a set of like names that are looked at
_FEW_COLOURS = 32
_NEAR_AN_END = 32  # grey levels; JPEG masks stray that far from black and white
_MOSTLY = 0.9
_MOSTLY_EQUAL = 0.5  # of its pixels are of the two commonest levels
Rank = tuple[int, int, bool]
"""How far a mask is from an image: folders that it lacks, names that were tried before, whether it is lossy."""

_LOSSY = frozenset({".jpg", ".jpeg", ".jpe", ".jif", ".jfif"})


@dataclass(frozen=True)
class Sorted:
    """Image files told from their masks.

    Attributes:
        images: what is to be looked at, in the order given.
        masks: the mask of every image that has one.
        left_out: masks that belong to no image, or of which several would.
    """

    images: tuple[PurePosixPath, ...]
    masks: Mapping[PurePosixPath, PurePosixPath]
    left_out: tuple[LeftOut, ...]


def name_key(name: str) -> str:
    """A name as it is compared: composed (NFC), without regard to case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def is_image_folder(name: str) -> bool:
    """Whether a folder's name says no more than that there are images in it."""
    return name_key(name) in _IMAGE_WORDS


def sort_masks(
    root: Path,
    files: Sequence[PurePosixPath],
    is_ok: Callable[[PurePosixPath], bool] = lambda _path: False,
) -> Sorted:
    """Tell masks from images, and find whose they are. No file stops this, whatever is in it.

    Args:
        root: folder of the files.
        files: image files, relative to `root`.
        is_ok: whether an image is known to be without defect; of several images that a mask fits equally
            well, it is the defective one's.
    """
    named = {path: name for path in files if (name := _mask_name(path)) is not None}
    masks = _confirmed(root, named)
    images = [path for path in files if path not in masks]
    for found in (_twins, _doubles):
        masks |= found(root, images)
        images = [path for path in images if path not in masks]
    return _assigned(images, masks, is_ok)


def looks_like_mask(image: NDArray[np.uint8]) -> bool:
    """Whether a picture holds few colours, or little but black and white.

    Args:
        image: (H, W, 3) uint8 RGB.
    """
    small = image[:: max(1, image.shape[0] // 512), :: max(1, image.shape[1] // 512)]
    codes = small.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    if len(np.unique(codes)) <= _FEW_COLOURS:
        return True
    grey = cv2.cvtColor(np.ascontiguousarray(small), cv2.COLOR_RGB2GRAY)
    dark, bright = grey < _NEAR_AN_END, grey > 255 - _NEAR_AN_END
    if (dark | bright).mean() < _MOSTLY or not (bright.any() and dark.any()):
        return False
    # A mask that was compressed is black and white but for its edges; a photograph of print has noise everywhere.
    commonest = sum(int(np.bincount(grey[end]).max()) for end in (dark, bright))
    return commonest >= _MOSTLY_EQUAL * grey.size


# --------------------------------------------------------------------------------------- names


@dataclass(frozen=True)
class _MaskName:
    """What a mask's path says.

    Attributes:
        family: files of one family are masks together, or not.
        folders: keys of the folders that the image should be in, without order.
        stems: keys of the names that the image may have, the likeliest first.
    """

    family: tuple[object, ...]
    folders: Counter[str]
    stems: tuple[str, ...]


def _mask_name(path: PurePosixPath) -> _MaskName | None:
    """What the path says of a mask; None where it says nothing of one."""
    folders = [_tokens(part) for part in path.parts[:-1]]
    tokens = _tokens(_stem(path))
    depth = next((place for place, words in enumerate(folders) if _is_of_masks(words)), None)
    rest = [word for word in tokens if word not in _MASK_WORDS]
    if depth is None and (not rest or len(rest) == len(tokens)):
        return None
    stems = [tokens, rest] if depth is not None else [rest]
    if rest and rest[-1].isdecimal() and len(rest) > 1:
        stems.append(rest[:-1])  # one of several masks of an image: a_mask_1, a_mask_2
    family: tuple[object, ...] = ("name", tuple(word for word in tokens if word in _MASK_WORDS))
    if depth is not None:
        family = ("folder", depth, tuple(folders[depth]))
    return _MaskName(family, _places(path), _distinct(_joined(words) for words in stems if words))


def _is_of_masks(words: Sequence[str]) -> bool:
    """Whether a folder's name speaks of masks; of a print whose label is missing it speaks as of a defect."""
    return not _MASK_WORDS.isdisjoint(words) and _OF_DEFECTS.isdisjoint(words)


def _tokens(name: str) -> list[str]:
    """The words of a name as they are compared; `GroundTruth` and `ground_truth` are the same one."""
    parts = [name_key(part) for hump in _HUMPS.split(name) for part in _SEPARATORS.split(hump) if part]
    words: list[str] = []
    for part in parts:
        if part in ("truth", "truths") and words and words[-1] == "ground":
            words[-1] = "groundtruth"
        else:
            words.append(part)
    return words


def _joined(words: Sequence[str]) -> str:
    return "_".join(words)


def _distinct(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(keys))


def _stem(path: PurePosixPath) -> str:
    """The name without suffix; `a.jpg.png` counts as `a`."""
    return _INNER_SUFFIX.sub("", path.stem) or path.stem


def _image_stems(path: PurePosixPath) -> tuple[str, ...]:
    """The stems that a mask of this image may go by: its own, and without the word "image"."""
    tokens = _tokens(_stem(path))
    rest = [word for word in tokens if word not in _IMAGE_WORDS]
    return _distinct(_joined(words) for words in (tokens, rest) if words)


def _places(path: PurePosixPath) -> Counter[str]:
    """Keys of the folders, without words for masks and images, and without order."""
    rests = ([word for word in _tokens(part) if word not in _MASK_WORDS] for part in path.parts[:-1])
    return Counter(_joined(words) for words in rests if not _FILLERS.issuperset(words))


# ------------------------------------------------------------------------------------- contents


def _confirmed(root: Path, named: Mapping[PurePosixPath, _MaskName]) -> dict[PurePosixPath, _MaskName]:
    """Those that are called like masks and, as far as a few of each family tell, are masks."""
    families: dict[tuple[object, ...], list[PurePosixPath]] = defaultdict(list)
    for path, name in named.items():
        families[name.family].append(path)
    return {
        path: named[path] for members in families.values() if _are_masks(root, members) for path in members
    }


def _are_masks(root: Path, paths: Sequence[PurePosixPath], *, broken: bool = True) -> bool:
    """Whether most of some files that are spread over all of them look like masks.

    Args:
        root: their folder.
        paths: the files.
        broken: what those count as that cannot be read.
    """
    step = max(1, len(paths) // _LOOKED_AT)
    shown = list(paths[::step][:_LOOKED_AT])
    return 2 * sum(_is_mask(root / path, broken=broken) for path in shown) >= len(shown)


def _is_mask(path: Path, *, broken: bool) -> bool:
    try:
        return looks_like_mask(read_image(path))
    except InputError as error:
        return broken or "floating point" in error.reason  # no camera writes these


def _twins(root: Path, images: Sequence[PurePosixPath]) -> dict[PurePosixPath, _MaskName]:
    """Masks that are called like their image but for the suffix, as in `0001.jpg` and `0001.png`."""
    same: dict[tuple[PurePosixPath, str], list[PurePosixPath]] = defaultdict(list)
    for path in images:
        same[path.parent, name_key(_stem(path))].append(path)
    families: dict[tuple[str, ...], list[list[PurePosixPath]]] = defaultdict(list)
    for members in same.values():
        if len(members) == 2:
            families[tuple(sorted(path.suffix.lower() for path in members))].append(
                sorted(members, key=_lossless)
            )
    found: dict[PurePosixPath, _MaskName] = {}
    for pairs in families.values():
        pictures, masks = ([pair[place] for pair in pairs] for place in (0, 1))
        if _are_masks(root, masks, broken=False) and not _are_masks(root, pictures):
            found |= {
                path: _MaskName(("twin",), _places(path), (_joined(_tokens(_stem(path))),)) for path in masks
            }
    return found


def _doubles(root: Path, images: Sequence[PurePosixPath]) -> dict[PurePosixPath, _MaskName]:
    """Masks in folders of any name, called like images that stand as they do but for that folder: `x/dent/1.png`."""

    def key(path: PurePosixPath) -> tuple[frozenset[tuple[str, int]], str]:
        return frozenset(_places(path).items()), _joined(_tokens(_stem(path)))

    there = {key(path): path for path in images}
    families: dict[tuple[int, str], list[tuple[PurePosixPath, PurePosixPath]]] = defaultdict(list)
    alone: set[tuple[int, str]] = set()
    for path in images:
        for family in enumerate(path.parts[:-1]):
            if family not in alone:
                depth = family[0]
                picture = there.get(key(PurePosixPath(*path.parts[:depth], *path.parts[depth + 1 :])))
                if picture is None:
                    alone.add(family)
                else:
                    families[family].append((path, picture))
    found: dict[PurePosixPath, _MaskName] = {}
    for family, pairs in families.items():
        masks, pictures = ([pair[place] for pair in pairs] for place in (0, 1))
        if family in alone or not _are_masks(root, masks, broken=False) or _are_masks(root, pictures):
            continue
        found |= {
            path: _MaskName(("double", *family), _places(picture), (key(path)[1],)) for path, picture in pairs
        }
    return found


def _lossless(path: PurePosixPath) -> tuple[bool, str]:
    return path.suffix.lower() not in _LOSSY, path.suffix.lower()


# ------------------------------------------------------------------------------------ whose they are


def _assigned(
    images: Sequence[PurePosixPath],
    masks: Mapping[PurePosixPath, _MaskName],
    is_ok: Callable[[PurePosixPath], bool],
) -> Sorted:
    """Every image's mask: of those that fit, the one whose folders agree best."""
    fits = _fits(images, masks)
    claims: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    crowded: set[PurePosixPath] = set()
    for image, ranked in fits.items():
        best = min(rank for rank, _ in ranked)
        chosen = [mask for rank, mask in ranked if rank == best]
        if len(chosen) > 1:
            crowded.update(chosen)
        else:
            claims[chosen[0]].append(image)
    mask_of: dict[PurePosixPath, PurePosixPath] = {}
    reasons: dict[PurePosixPath, str] = {mask: FITS_BETTER for ranked in fits.values() for _, mask in ranked}
    reasons |= dict.fromkeys(crowded, ONE_OF_SEVERAL)
    for mask, claimants in claims.items():
        owners = _owners(claimants, {image: min(fits[image])[0] for image in claimants}, is_ok)
        if len(owners) == 1:
            mask_of[owners[0]] = mask
        else:
            reasons[mask] = FITS_SEVERAL
    unused = sorted(set(masks) - set(mask_of.values()))
    left_out = tuple(LeftOut(mask, reasons.get(mask, FITS_NONE)) for mask in unused)
    return Sorted(tuple(images), mask_of, left_out)


def _owners(
    claimants: Sequence[PurePosixPath],
    ranks: Mapping[PurePosixPath, Rank],
    is_ok: Callable[[PurePosixPath], bool],
) -> Sequence[PurePosixPath]:
    """Whose a mask is that several images claim: that in its own folders, else the defective one's."""
    if len(claimants) == 1:
        return claimants
    best = min(ranks.values())
    owners = [image for image in claimants if ranks[image] == best] if best[0] == 0 else claimants
    return owners if len(owners) == 1 else [image for image in owners if not is_ok(image)]


def _fits(
    images: Iterable[PurePosixPath], masks: Mapping[PurePosixPath, _MaskName]
) -> dict[PurePosixPath, list[tuple[Rank, PurePosixPath]]]:
    """Of every image the masks that may be its own, each with how far it is from fitting exactly."""
    by_stem: dict[str, list[tuple[int, PurePosixPath, _MaskName]]] = defaultdict(list)
    for path, name in masks.items():
        for place, stem in enumerate(name.stems):
            by_stem[stem].append((place, path, name))
    everything = list(images)
    known = {key for image in everything for key in _places(image)}
    found: dict[PurePosixPath, list[tuple[Rank, PurePosixPath]]] = defaultdict(list)
    for image in everything:
        folders = _places(image)
        for wanted, stem in enumerate(_image_stems(image)):
            for place, path, name in by_stem.get(stem, ()):
                meant = Counter({key: count for key, count in name.folders.items() if key in known})
                if meant <= folders:
                    missing = (folders - meant).total()
                    found[image].append(((missing, wanted + place, _lossless(path)[0] is False), path))
    return found
