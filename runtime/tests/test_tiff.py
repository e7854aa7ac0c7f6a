"""Every kind of TIFF is read exactly, or refused by name; what the pixels are is known from another library."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from ltcam_runtime.errors import InputError
from ltcam_runtime.images import read_image, to_pixels
from ltcam_runtime.mask_reading import read_mask

RNG = np.random.default_rng(5)
SIZE = (18, 22)
EXACT = 0.51
UPPER_EIGHT = 1.0  # of 16-bit colours the upper eight bits are taken
WITH_ALPHA = 2.6  # which are composited then
TYPES = {8: np.uint8, 16: np.uint16}


@dataclass(frozen=True)
class Kind:
    """How samples stand in the file; the names are those of the TIFF tags."""

    bits: int = 8
    photometric: int = 1
    order: str = "<"
    planar: int = 1
    fill_order: int = 1
    orientation: int = 1
    sample_format: int = 1
    extra: tuple[int, ...] = ()
    colour_map: tuple[int, ...] = ()
    ink_set: int = 1


def write_tiff(path: Path, samples: NDArray[np.int64], kind: Kind) -> Path:
    """Write (H, W, N) samples without compression, one strip for all or one per plane."""
    height, width, count = samples.shape
    planes = [samples[..., k] for k in range(count)] if kind.planar == 2 else [samples.reshape(height, -1)]
    strips = [b"".join(packed(row, kind) for row in plane) for plane in planes]
    tags: dict[int, tuple[str, Sequence[int]]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [kind.bits] * count),
        259: ("H", [1]),
        262: ("H", [kind.photometric]),
        266: ("H", [kind.fill_order]),
        273: ("I", [8 + sum(map(len, strips[:k])) for k in range(len(strips))]),
        274: ("H", [kind.orientation]),
        277: ("H", [count]),
        278: ("I", [height]),
        279: ("I", [len(strip) for strip in strips]),
        284: ("H", [kind.planar]),
        339: ("H", [kind.sample_format] * count),
    }
    optional = {320: kind.colour_map, 338: kind.extra, 332: (kind.ink_set,) if kind.photometric == 5 else ()}
    tags |= {tag: ("H", values) for tag, values in optional.items() if values}
    body = b"".join(strips)
    body += b"\0" * (len(body) % 2)
    begin = 8 + len(body)
    behind = begin + 2 + 12 * len(tags) + 4
    directory, values_behind = struct.pack(kind.order + "H", len(tags)), b""
    for tag, (letter, values) in sorted(tags.items()):
        raw = struct.pack(kind.order + letter * len(values), *values)
        if len(raw) > 4:
            place = struct.pack(kind.order + "I", behind + len(values_behind))
            values_behind += raw + b"\0" * (len(raw) % 2)
        else:
            place = raw.ljust(4, b"\0")
        directory += struct.pack(kind.order + "HHI", tag, {"H": 3, "I": 4}[letter], len(values)) + place
    magic = b"II*\0" if kind.order == "<" else b"MM\0*"
    end = struct.pack(kind.order + "I", 0)
    path.write_bytes(magic + struct.pack(kind.order + "I", begin) + body + directory + end + values_behind)
    return path


def packed(row: NDArray[np.int64], kind: Kind) -> bytes:
    if kind.bits in (16, 32):
        content = row.astype(f"{kind.order}u{kind.bits // 8}").tobytes()
    else:
        shifts = np.arange(kind.bits - 1, -1, -1)
        content = np.packbits(((row[:, None] >> shifts) & 1).astype(np.uint8).ravel()).tobytes()
    if kind.fill_order == 2:
        bits = np.unpackbits(np.frombuffer(content, np.uint8)).reshape(-1, 8)
        content = np.packbits(bits[:, ::-1]).tobytes()
    return content


def check(
    path: Path, expected: NDArray[np.float64], tolerance: float = EXACT, *, may_refuse: bool = True
) -> bool:
    """Whether it was read; then exactly."""
    try:
        image = read_image(path)
    except InputError:
        if may_refuse:
            return False
        raise
    expected = expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, axis=2)
    assert image.shape == expected.shape
    assert np.abs(image - expected).max() <= tolerance
    return True


def on_white(values: NDArray[np.float64], alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    return values * alpha + 255 * (1 - alpha)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16, 24, 32])
@pytest.mark.parametrize("photometric", [0, 1])
def test_grey_of_any_depth(tmp_path: Path, bits: int, photometric: int) -> None:
    read = set()
    for order, fill_order, sample_format in itertools.product("<>", (1, 2), (1, 2)):
        kind = Kind(bits, photometric, order, fill_order=fill_order, sample_format=sample_format)
        largest = 2**bits - 1
        samples = RNG.integers(0, largest + 1, (*SIZE, 1))
        expected = samples[..., 0] / largest * 255
        path = write_tiff(tmp_path / "a.tif", samples, kind)
        if check(path, expected if photometric == 1 else 255 - expected):
            read.add((order, fill_order, sample_format))
    if bits in (1, 2, 4, 8) or (bits, photometric) == (16, 1):
        assert {("<", 1, 1), (">", 1, 1)} <= read
    if bits == 16:
        assert ("<", 1, 1) in read
    if bits < 32:
        assert all(sample_format == 1 for _, _, sample_format in read)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
@pytest.mark.parametrize("count", [3, 4, 5])
def test_colours_of_any_depth(tmp_path: Path, bits: int, count: int) -> None:
    read = set()
    for planar, order, fill_order, extra in itertools.product((1, 2), "<>", (1, 2), (0, 2)):
        kind = Kind(bits, 2, order, planar, fill_order, extra=(extra,) * (count - 3))
        samples = RNG.integers(0, 2**bits, (*SIZE, count))
        shares = samples / (2**bits - 1)
        expected = shares[..., :3] * 255
        transparent = extra == 2 and count > 3
        if transparent:
            expected = on_white(expected, shares[..., 3:4])
        tolerance = EXACT if bits <= 8 else WITH_ALPHA if transparent else UPPER_EIGHT
        path = write_tiff(tmp_path / "a.tif", samples, kind)
        if check(path, expected, tolerance + (0.5 if transparent else 0)):
            read.add((planar, order, fill_order))
    if bits in (8, 16) and count == 3:
        assert {(1, "<", 1), (1, ">", 1)} <= read
    if bits == 8 and count == 3:
        assert (2, "<", 1) in read


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("bits", "photometric"), [(8, 0), (8, 2), (16, 0), (16, 1), (16, 2), (1, 0)])
def test_orientation_of_any_depth(tmp_path: Path, orientation: int, bits: int, photometric: int) -> None:
    samples = RNG.integers(0, 2**bits, (*SIZE, 3 if photometric == 2 else 1))
    expected = np.repeat(samples, 4 - samples.shape[2], axis=2)[..., :3] / (2**bits - 1) * 255
    expected = 255 - expected if photometric == 0 else expected
    expected = expected.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else expected
    expected = expected[:, ::-1] if orientation in (2, 3, 6, 7) else expected
    expected = expected[::-1] if orientation in (3, 4, 7, 8) else expected
    kind = Kind(bits, photometric, orientation=orientation)
    check(write_tiff(tmp_path / "a.tif", samples, kind), expected, UPPER_EIGHT, may_refuse=False)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("scale", [1, 257])
def test_palettes(tmp_path: Path, bits: int, scale: int) -> None:
    """Also those that hold eight bits where the standard wants sixteen, as some old programs write them."""
    samples = RNG.integers(0, 2**bits, (*SIZE, 1))
    colours = RNG.integers(1, 256, (3, 2**bits))
    kind = Kind(bits, 3, colour_map=tuple((colours * scale).ravel().tolist()))
    path = write_tiff(tmp_path / "a.tif", samples, kind)
    check(path, np.moveaxis(colours[:, samples[..., 0]], 0, 2).astype(float), may_refuse=False)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", [1, 2])
def test_inks(tmp_path: Path, bits: int, planar: int) -> None:
    samples = RNG.integers(0, 2**bits, (*SIZE, 4))
    shares = samples / (2**bits - 1)
    expected = 255 * (1 - shares[..., :3]) * (1 - shares[..., 3:])
    path = write_tiff(tmp_path / "a.tif", samples, Kind(bits, 5, planar=planar))
    assert check(path, expected, WITH_ALPHA) == (bits == 8 or planar == 1)
    other_inks = write_tiff(tmp_path / "b.tif", samples, Kind(bits, 5, ink_set=2))
    with pytest.raises(InputError, match=r"inks other than CMYK|cannot be decoded"):
        read_image(other_inks)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("predictor", [None, True])
def test_compressed_tiled_and_predicted(
    tmp_path: Path, compression: str | None, tile: tuple[int, int] | None, predictor: bool | None
) -> None:
    path = tmp_path / "a.tif"
    read = 0
    for bits, shape, photometric, order in itertools.product(
        (8, 16), ((), (3,), (4,)), ("minisblack", "miniswhite", "rgb"), "<>"
    ):
        if (photometric == "rgb") != bool(shape) or (predictor and not compression):
            continue
        for planar in ("contig", "separate") if shape else ("contig",):
            samples = RNG.integers(0, 2**bits, (40, 48, *shape)).astype(TYPES[bits])
            stored = np.ascontiguousarray(np.moveaxis(samples, 2, 0)) if planar == "separate" else samples
            options: dict[str, Any] = {"byteorder": order, **({"planarconfig": planar} if shape else {})}
            if shape == (4,):
                options["extrasamples"] = ["unassalpha"]
            tifffile.imwrite(
                path,
                stored,
                photometric=photometric,
                compression=compression,
                tile=tile,
                predictor=predictor,
                **options,
            )
            np.testing.assert_array_equal(tifffile.imread(path), stored)
            shares = samples / (2**bits - 1)
            expected = shares[..., :3] * 255 if shape else shares * 255
            expected = 255 - expected if photometric == "miniswhite" else expected
            if shape == (4,):
                expected = on_white(expected, shares[..., 3:])
            read += check(path, expected, EXACT if bits == 8 else WITH_ALPHA if shape else EXACT)
    assert read >= (0 if predictor and not compression else 9)


@pytest.mark.parametrize(
    "kind", [np.int8, np.int16, np.float16, np.float32, np.float64, np.uint64, np.complex64]
)
def test_values_without_a_known_scale_are_refused(tmp_path: Path, kind: type) -> None:
    tifffile.imwrite(tmp_path / "a.tif", (RNG.random(SIZE) * 100).astype(kind), photometric="minisblack")
    with pytest.raises(InputError):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("threshold", [0, 127])
def test_sixteen_bit_masks_with_zero_for_white(tmp_path: Path, threshold: int) -> None:
    marked = np.zeros(SIZE, bool)
    marked[3:5, 4:9] = True
    stored = np.where(marked, 0, 65535).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif", threshold=threshold), marked)


def test_a_file_that_pillow_opened_is_the_picture_that_it_is_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, np.arange(64, dtype=np.uint16).reshape(8, 8) * 900, photometric="miniswhite")
    expected = read_image(file)
    assert expected[0, 0, 0] == 255
    assert np.array_equal(to_pixels(Image.open(file), "a"), expected)
