"""A synthetic data set on disk: which pieces there are, and their files.

    OUT/good/<lot>/NNNN.png                   OK images, RGB
    OUT/<defect class>/<lot>/NNNN.png         images with 1 to 3 defects of a class
    OUT/masks/<defect class>/<lot>/NNNN.png   their masks, 0 or 255
    OUT/manifest.csv                          path,label,split,mask,group; the group is the lot
    OUT/synth.json                            every parameter, and area and contrast of every defect

A piece is drawn from a seed made of (seed, surface, lot, class, number) and of nothing else: the file of a
given name is the same, byte for byte, whatever else is in the set and in whatever order it is made.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ltcam.data.dataset import OK
from ltcam.synth import blend
from ltcam.synth.blend import Defect, Mask, Picture
from ltcam.synth.lots import Lot
from ltcam.synth.materials import MATERIALS
from ltcam.synth.surfaces import MIXED, SURFACES, draw_lot, draw_surface, expose, quantised
from ltcam_runtime.encoding import encoded
from ltcam_runtime.errors import SettingsError
from ltcam_runtime.folders import output_folder
from ltcam_runtime.writers.csv import csv_text

LOTS = 6
"""Lots per surface."""

TEST_LOTS = 2
"""The last lots of every surface are the test side."""

SMALLEST, LARGEST = 96, 4096
"""Limits of an image's sides in pixels: below, a stain has no room; above, one piece takes minutes."""

MARKER = "synth.json"
"""The file that tells a folder of a synthetic data set."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Piece:
    """One image of the set, by what it is drawn from.

    Attributes:
        surface: one of `SURFACES`.
        lot: number of the lot, from 0.
        label: `OK` or a defect class.
        number: running number in its lot and class, from 0.
    """

    surface: str
    lot: int
    label: str
    number: int

    @property
    def group(self) -> str:
        """Name of the lot, unique in the set."""
        return f"{self.surface}-lot{self.lot + 1}"

    @property
    def split(self) -> str:
        """The side of its lot."""
        return "test" if self.lot >= LOTS - TEST_LOTS else "train"

    @property
    def path(self) -> str:
        """The image file, relative to the set."""
        folder = "good" if self.label == OK else self.label
        return f"{folder}/{self.group}/{self.number:04d}.png"

    @property
    def mask(self) -> str:
        """The mask file, relative to the set; empty for an OK image."""
        return "" if self.label == OK else f"masks/{self.path}"


@dataclass(frozen=True)
class Drawing:
    """A drawn piece.

    Attributes:
        sound: (H, W, 3) uint8 RGB, the piece without defects; the picture itself if it is OK.
        picture: (H, W, 3) uint8 RGB.
        defects: its defects; none if it is OK.
    """

    sound: Picture
    picture: Picture
    defects: tuple[Defect, ...]

    @property
    def mask(self) -> Mask:
        """(H, W) bool, the pixels of all defects."""
        mask = np.zeros(self.picture.shape[:2], dtype=np.bool_)
        for defect in self.defects:
            mask |= defect.mask
        return mask


@dataclass(frozen=True)
class SynthesisSettings:
    """What decides a synthetic set, byte by byte.

    Attributes:
        surfaces: some of `SURFACES`, each once.
        images_per_surface: number of images of each surface, 1 to 60000.
        defect_share: share of images with a defect, 0 to 1; rounded to whole images per surface.
        size: `(H, W)` in pixels, each from `SMALLEST` to `LARGEST`.
        seed: 0 or above; the same seed gives the same files.
    """

    surfaces: tuple[str, ...] = MIXED
    images_per_surface: int = 75
    defect_share: float = 0.25
    size: tuple[int, int] = (256, 352)
    seed: int = 0


def synthesise(
    out: Path,
    settings: SynthesisSettings = SynthesisSettings(),  # frozen
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Writes a synthetic inspection set with exact masks, in the plain-folder layout with a manifest.

    Each surface has `LOTS` lots, which differ in light, tone, coarseness and camera; the last `TEST_LOTS`
    of them are the test side. Every side deals its defective images to the classes of the surface in turn, so that
    both sides have all five as soon as each has five defective images.

    Args:
        out: the folder to write; it must not exist or be empty, unless `overwrite`.
        settings: of the set.
        overwrite: replace a synthetic set that is there already.
        progress: called as `progress(done, total)` after each image.

    Returns:
        The folder.

    Raises:
        SettingsError: an argument cannot be used.
        OutputError: the folder cannot be written, or holds something already.
    """
    _check(settings)
    pieces = plan(settings.surfaces, settings.images_per_surface, settings.defect_share)
    found: dict[str, list[dict[str, float]]] = {}
    with output_folder(out, marker=MARKER, overwrite=overwrite) as folder:
        for done, piece in enumerate(pieces, start=1):
            drawing = draw_piece(piece, settings.size, settings.seed)
            _write_image(folder / piece.path, drawing.picture)
            if piece.mask:
                _write_image(folder / piece.mask, drawing.mask.astype(np.uint8) * np.uint8(255))
                found[piece.path] = [_described(defect) for defect in drawing.defects]
            if progress is not None:
                progress(done, len(pieces))
        (folder / "manifest.csv").write_text(_manifest(pieces), encoding="utf-8", newline="")
        text = json.dumps(_record(asdict(settings), found), indent=1)
        (folder / MARKER).write_text(text + "\n", encoding="utf-8", newline="")
    return Path(out)


# --------------------------------------------------------------------------------------------- plan


def plan(surfaces: Sequence[str], images_per_surface: int, defect_share: float) -> tuple[Piece, ...]:
    """The pieces of a set, sorted by path.

    Args:
        surfaces: names of the surfaces.
        images_per_surface: number of images of each.
        defect_share: share of them with a defect.
    """
    pieces: list[Piece] = []
    turn = {"train": 0, "test": 0}
    for surface in surfaces:
        defects = MATERIALS[surface].defects
        room = _dealt(images_per_surface, LOTS)
        hurt = _hurt_per_lot(room, math.floor(images_per_surface * defect_share + 0.5))
        for lot in range(LOTS):
            side = Piece(surface, lot, OK, 0).split
            counts = dict.fromkeys(defects, 0)
            for _ in range(hurt[lot]):
                label = defects[turn[side] % len(defects)]
                pieces.append(Piece(surface, lot, label, counts[label]))
                counts[label] += 1
                turn[side] += 1
            pieces += [Piece(surface, lot, OK, number) for number in range(room[lot] - hurt[lot])]
    return tuple(sorted(pieces, key=lambda piece: piece.path))


def _dealt(total: int, hands: int) -> list[int]:
    """A number dealt as evenly as whole numbers go."""
    return [(total * (hand + 1)) // hands - (total * hand) // hands for hand in range(hands)]


def _hurt_per_lot(room: list[int], hurt: int) -> list[int]:
    """Defective images per lot: both sides get their share of them, and no lot more than it has room for."""
    taken = [0] * len(room)
    # One by one to the lot that is emptiest for its room; of equals a test lot, so that few reach both sides.
    for _ in range(hurt):
        open_lots = [lot for lot in range(len(room)) if taken[lot] < room[lot]]
        chosen = min(open_lots, key=lambda lot: ((taken[lot] + 1) / room[lot], -lot))
        taken[chosen] += 1
    return taken


# --------------------------------------------------------------------------------------------- draw


def _random(*key: int | str) -> np.random.Generator:
    """A generator of its own for a key of numbers and words."""
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
    return np.random.default_rng(np.random.SeedSequence(words))


def lot_of(piece: Piece, seed: int) -> Lot:
    """The lot of a piece."""
    return draw_lot(_random(seed, "lot", piece.surface, piece.lot), piece.surface)


def draw_piece(piece: Piece, size: tuple[int, int], seed: int) -> Drawing:
    """Draws one piece, from nothing but the arguments.

    Args:
        piece: which one.
        size: `(H, W)` in pixels.
        seed: the set's seed.
    """
    rng = _random(seed, "piece", piece.surface, piece.lot, piece.label, piece.number)
    surface = draw_surface(rng, lot_of(piece, seed), size)
    sound = quantised(expose(surface))
    if piece.label == OK:
        return Drawing(sound, sound, ())
    picture, defects = blend.hurt_surface(rng, surface, piece.label)
    return Drawing(sound, picture, defects)


# -------------------------------------------------------------------------------------------- write


def _write_image(path: Path, pixels: Picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    quick = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    path.write_bytes(encoded(".png", pixels, quick))


def _manifest(pieces: Sequence[Piece]) -> str:
    rows = ((piece.path, piece.label, piece.split, piece.mask, piece.group) for piece in pieces)
    return csv_text([("path", "label", "split", "mask", "group"), *rows], guarded=False)


def _described(defect: Defect) -> dict[str, float]:
    return {"area_px": int(defect.mask.sum()), "contrast": round(defect.contrast, 3)}


def _record(parameters: dict[str, Any], found: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    return {
        "generator": "ltcam.synth",
        "schema_version": 1,
        "parameters": parameters,
        "constants": {
            "lots_per_surface": LOTS,
            "test_lots_per_surface": TEST_LOTS,
            "classes": list(
                dict.fromkeys(kind for name in parameters["surfaces"] for kind in MATERIALS[name].defects)
            ),
            "mask_alpha": blend.ALPHA,
            "faintest_contrast": blend.FAINT,
            "clearest_contrast": blend.CLEAR,
        },
        "defects": found,
    }


# -------------------------------------------------------------------------------------------- check


def _check(settings: SynthesisSettings) -> None:
    surfaces, size = settings.surfaces, settings.size
    unknown = [name for name in surfaces if name not in SURFACES]
    if unknown or not surfaces:
        what = f"unknown surface {unknown[0]!r}" if unknown else "no surface given"
        raise SettingsError(f"surfaces: {what}; choose from {', '.join(SURFACES)}")
    if len(set(surfaces)) != len(surfaces):
        raise SettingsError("surfaces: a surface is named twice; name each once")
    if not 1 <= settings.images_per_surface <= 60000:
        raise SettingsError(f"images_per_surface: {settings.images_per_surface} is not between 1 and 60000")
    if not 0.0 <= settings.defect_share <= 1.0:
        raise SettingsError(
            f"defect_share: {settings.defect_share} is not between 0 and 1; 0.2 is every fifth image"
        )
    if len(size) != 2 or not all(SMALLEST <= side <= LARGEST for side in size):
        raise SettingsError(
            f"size: {'x'.join(map(str, size))} is not HxW with both sides from {SMALLEST} to {LARGEST} px"
        )
    if settings.seed < 0:
        raise SettingsError(f"seed: {settings.seed} is negative; give 0 or a positive whole number")
