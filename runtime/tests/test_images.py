import errno
import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from ltcam_runtime.errors import InputError
from ltcam_runtime.images import (
    IMAGE_SUFFIXES,
    MAX_FILE_BYTES,
    image_size,
    read_image,
    read_mask,
    resize,
    resize_heatmap,
    sixteen_bit_peak,
    to_pixels,
)

RNG = np.random.default_rng(7)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def png_header(path: Path, width: int, height: int) -> Path:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")))
    return path


# ------------------------------------------------------------------------------ kinds of image


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp"])
def test_rgb_comes_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    image = read_image(save(tmp_path / f"a.{suffix}", Image.fromarray(RGB), **options))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, RGB)
    image[0, 0] = 0  # writable, and owning its memory


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "pgm", "gif"])
def test_grey_has_three_equal_channels(tmp_path: Path, suffix: str) -> None:
    image = read_image(save(tmp_path / f"a.{suffix}", Image.fromarray(GREY)))
    np.testing.assert_array_equal(image, np.stack([GREY] * 3, axis=2))


def test_a_str_path_and_a_lying_suffix_are_fine(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB)).rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_image(str(path)), RGB)


def test_one_bit(tmp_path: Path) -> None:
    bits = GREY > 127
    image = read_image(save(tmp_path / "a.png", Image.fromarray(bits)))
    np.testing.assert_array_equal(image[..., 0], bits * 255)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bit_uses_the_full_range(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 128, 129], [257, 32768, 65535]], dtype=np.uint16)
    image = read_image(save(tmp_path / f"a.{suffix}", Image.fromarray(values)))
    np.testing.assert_array_equal(image[..., 0], np.rint(values / 257))
    assert image[..., 0].tolist() == [[0, 0, 1], [1, 128, 255]]


@pytest.mark.parametrize(("mode", "suffix"), [("I", "tif"), ("I;16", "tif"), ("I;16", "png")])
def test_eight_bits_in_a_wider_file_are_as_bright_as_elsewhere(
    tmp_path: Path, mode: str, suffix: str
) -> None:
    """Only somebody who says which value is white makes them dark."""
    values = np.array([[0, 100, 255]], np.uint8)
    wide = Image.fromarray(values.astype(np.int32 if mode == "I" else np.uint16))
    assert wide.mode == mode
    path = save(tmp_path / f"a.{suffix}", wide)
    for image in (path, path.read_bytes(), wide):
        np.testing.assert_array_equal(to_pixels(image, "a")[0, :, 0], values[0])
        assert to_pixels(image, "a", white=4095)[0, :, 0].tolist() == [0, 6, 16]
        assert to_pixels(image, "a", white=65535)[0, :, 0].tolist() == [0, 0, 1]
    assert read_mask(path, threshold=100).tolist() == [[False, False, True]]


def test_sixteen_bit_of_a_camera_with_fewer_bits(tmp_path: Path) -> None:
    values = np.array([[0, 8, 9], [2048, 4095, 65535]], dtype=np.uint16)
    path = save(tmp_path / "a.png", Image.fromarray(values))
    expected = [[0, 0, 1], [128, 255, 255]]
    for image in (path, path.read_bytes(), Image.open(path)):
        np.testing.assert_array_equal(to_pixels(image, "a", white=4095)[:, :, 0], expected)
    assert sixteen_bit_peak(path) == 65535
    assert (
        sixteen_bit_peak(save(tmp_path / "b.png", Image.fromarray((values // 300).astype(np.uint8)))) is None
    )


def test_sixteen_bit_big_endian_tiff(tmp_path: Path) -> None:
    values = np.array([[0, 257, 65535]], dtype=np.uint16)
    image = read_image(
        save(tmp_path / "a.tif", Image.frombytes("I;16B", (3, 1), values.astype(">u2").tobytes()))
    )
    assert image[0, :, 0].tolist() == [0, 1, 255]


def test_32_bit_integers_only_where_they_are_sixteen_bit(tmp_path: Path) -> None:
    fits = save(tmp_path / "a.tif", Image.fromarray(np.array([[0, 65535]], dtype=np.int32)))
    assert read_image(fits)[0, :, 0].tolist() == [0, 255]
    beyond = save(tmp_path / "b.tif", Image.fromarray(np.array([[-1, 65536]], dtype=np.int32)))
    with pytest.raises(InputError, match=r"from -1 to 65536.*8 or 16 bits"):
        read_image(beyond)


def test_float_tiff_is_refused_with_a_way_out(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(np.ones((2, 2), np.float32)))
    with pytest.raises(InputError, match=r"floating point.*8 or 16 bits"):
        read_image(path)
    assert read_mask(path).all()  # in a mask it does not matter which value is white


def test_alpha_is_composited_on_white(tmp_path: Path) -> None:
    alpha = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
    image = read_image(save(tmp_path / "a.png", Image.fromarray(np.dstack([RGB, alpha]))))
    share = alpha[..., None] / 255
    np.testing.assert_array_equal(image, np.floor(RGB * share + 255 * (1 - share) + 127 / 255 + 1e-9))
    grey = read_image(save(tmp_path / "b.png", Image.fromarray(np.dstack([GREY, alpha]))))
    assert (grey[alpha == 0] == 255).all()
    opaque = np.dstack([RGB, np.full_like(GREY, 255)])
    np.testing.assert_array_equal(read_image(save(tmp_path / "c.png", Image.fromarray(opaque))), RGB)


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    indices = np.array([[0, 1, 2]], dtype=np.uint8)
    palette = Image.frombytes("P", (3, 1), indices.tobytes())
    palette.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 250])
    expected = [[10, 20, 30], [200, 0, 0], [0, 0, 250]]
    assert read_image(save(tmp_path / "a.png", palette))[0].tolist() == expected
    expected[1] = [255, 255, 255]
    assert read_image(save(tmp_path / "b.png", palette, transparency=1))[0].tolist() == expected


def test_cmyk(tmp_path: Path) -> None:
    white_and_red = Image.fromarray(np.array([[[0, 0, 0, 0], [0, 255, 255, 0]]], np.uint8), "CMYK")
    assert read_image(save(tmp_path / "a.tif", white_and_red))[0].tolist() == [[255] * 3, [255, 0, 0]]
    jpeg = read_image(save(tmp_path / "b.jpg", white_and_red.resize((32, 16), 0), quality=95))
    assert jpeg[8, 4].min() > 245
    assert jpeg[8, 28, 0] > 200
    assert jpeg[8, 28, 1:].max() < 60


def test_the_first_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    for name in ("a.tif", "a.gif"):
        image = read_image(save(tmp_path / name, frames[0], save_all=True, append_images=frames[1:]))
        np.testing.assert_array_equal(image[..., 0], GREY)


def test_one_pixel(tmp_path: Path) -> None:
    assert read_image(save(tmp_path / "a.png", Image.new("L", (1, 1), 9))).tolist() == [[[9, 9, 9]]]


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(10))
def test_exif_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    blocks = np.kron(np.array([[0, 60, 120], [180, 220, 255]], np.uint8), np.ones((16, 16), np.uint8))
    raw = Image.fromarray(blocks).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a.{suffix}", raw, exif=exif)
    upright = blocks
    if orientation in (5, 6, 7, 8):
        upright = upright.T
    if orientation in (2, 3, 6, 7):
        upright = upright[:, ::-1]
    if orientation in (3, 4, 7, 8):
        upright = upright[::-1]
    image = read_image(path)
    assert image.flags.c_contiguous
    assert image.shape[:2] == upright.shape == image_size(path)
    assert np.abs(image[8::16, 8::16, 0].astype(int) - upright[8::16, 8::16]).max() < 8
    assert read_mask(path, threshold=100).shape == upright.shape


def test_broken_exif_does_not_matter(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.fromarray(GREY), exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert read_image(path).shape == (5, 7, 3)


# ----------------------------------------------------------------------------------- bad input


def test_a_huge_header_is_refused_before_decoding(tmp_path: Path) -> None:
    path = png_header(tmp_path / "a.png", 40000, 40000)
    for read in (read_image, read_mask):
        with pytest.raises(InputError, match=r"40000 x 40000.*1,600,000,000.*200,000,000"):
            read(path)
    assert image_size(path) == (40000, 40000)


@pytest.mark.parametrize("size", [(1_000_001, 1), (1, 1_000_001), (1_200_000, 3)])
def test_a_side_that_no_mask_can_have(tmp_path: Path, size: tuple[int, int]) -> None:
    path = png_header(tmp_path / "a.png", *size)
    for read in (read_image, read_mask):
        with pytest.raises(InputError, match="longer than 1,000,000 pixels"):
            read(path)


@pytest.mark.parametrize("when", ["first bytes", "pixels"])
def test_a_bad_sector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """The system's own errors while a file is read; as of a share that is gone."""
    path = save(tmp_path / "a.png", Image.fromarray(RGB))
    opened = Path.open

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if when == "first bytes" or self.tell() >= 33:  # behind the header
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    monkeypatch.setattr(Path, "open", lambda self, *_: Failing(opened(self, "rb").read()))
    for read in (read_image, read_mask):
        with pytest.raises(InputError, match="cannot be read: Input/output error"):
            read(path)


def test_the_limit_is_the_callers(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB))
    assert read_image(path, max_pixels=35).shape == (5, 7, 3)
    with pytest.raises(InputError, match=r"7 x 5.*limit of 34"):
        read_image(path, max_pixels=34)


def test_pillows_own_limit_plays_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_image(path), RGB)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "ppm", "webp", "gif", "jp2"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_cut_short(tmp_path: Path, suffix: str, share: float) -> None:
    noise = RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(noise))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    for read in (read_image, read_mask):
        with pytest.raises(InputError) as caught:
            read(path)
        assert caught.value.path == path
        assert str(path) not in caught.value.reason


@settings(max_examples=60, deadline=None)
@given(
    position=st.integers(0, 400),
    byte=st.integers(0, 255),
    suffix=st.sampled_from(["png", "jpg", "bmp", "tif"]),
)
def test_a_changed_byte_gives_an_image_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, position: int, byte: int, suffix: str
) -> None:
    path = save(tmp_path_factory.mktemp("byte") / f"a.{suffix}", Image.fromarray(RGB))
    content = bytearray(path.read_bytes())
    content[position % len(content)] = byte
    path.write_bytes(content)
    try:
        image = read_image(path, max_pixels=10_000)
    except InputError:
        return
    assert image.dtype == np.uint8
    assert image.shape[2] == 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello, I am text", "not an image"),
        (b"\x89PNG\r\n\x1a\n", "cannot be decoded|cut short"),
    ],
)
def test_what_is_no_image(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for read in (read_image, read_mask, image_size):
        with pytest.raises(InputError, match=reason):
            read(path)


def test_missing_folder_pipe_and_odd_names(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path, reason in [
        (tmp_path / "gone.png", "no such file"),
        (tmp_path, "folder"),
        (tmp_path / "pipe.png", "not a regular file"),
        (Path("a\0b.png"), "cannot be opened"),
        (tmp_path / ("n" * 300 + ".png"), "cannot be opened"),
    ]:
        for read in (read_image, read_mask, image_size):
            with pytest.raises(InputError, match=reason):
                read(path)


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything, so the mode alone would not do
    with pytest.raises(InputError, match="permission"):
        read_image(path)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "I;16"])
@pytest.mark.parametrize("level", [0, 9])
def test_a_flipped_bit_anywhere_in_a_png_is_noticed(tmp_path: Path, mode: str, level: int) -> None:
    """Decoders take damaged pixels as they come; the checksums of the chunks tell."""
    rgba = Image.fromarray(RNG.integers(0, 256, (9, 11, 4), dtype=np.uint8))
    image = rgba.convert("RGB").quantize(16) if mode == "P" else rgba.convert("L" if "I" in mode else mode)
    path = save(tmp_path / "a.png", image.convert(mode) if "I" in mode else image, compress_level=level)
    content = path.read_bytes()
    for bit in RNG.choice(8 * len(content), 150, replace=False).tolist():
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(InputError):
            read_image(path)
    path.write_bytes(content + b"what others append")
    assert read_image(path).shape == (9, 11, 3)


@pytest.mark.parametrize("end", [-12, -8, -4, -1])
def test_a_png_without_its_end(tmp_path: Path, end: int) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB))
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(InputError, match=r"cut short|checksum of its IEND"):
        read_image(path)


def test_a_jpeg_of_very_many_scans(tmp_path: Path) -> None:
    """A few kilobytes that would take minutes: each scan goes over all pixels."""
    good = save(tmp_path / "a.jpg", Image.fromarray(GREY).resize((64, 64)), progressive=True)
    content = good.read_bytes()
    assert read_image(good).shape == (64, 64, 3)
    last = content.rindex(b"\xff\xda")
    for count, refused in ((50, False), (500, True)):
        (tmp_path / "b.jpg").write_bytes(content[:last] + content[last:-2] * count + content[-2:])
        if refused:
            with pytest.raises(InputError, match=r"scans of 4,096 pixels .*; save it as baseline JPEG"):
                read_image(tmp_path / "b.jpg")
        else:
            assert read_image(tmp_path / "b.jpg").shape == (64, 64, 3)


def test_markers_in_the_metadata_of_a_jpeg_are_no_scans(tmp_path: Path) -> None:
    exif = b"Exif\0\0" + b"\xff\xda\x00\x08" * 5000
    path = save(tmp_path / "a.jpg", Image.fromarray(RGB), comment=b"\xff\xda" * 5000, exif=exif)
    assert read_image(path).shape == (5, 7, 3)


@pytest.mark.parametrize("suffix", ["png", "tif", "gif", "webp", "jpg", "bmp", "jp2"])
def test_pillows_limit_plays_no_part_for_any_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    several = {"save_all": True, "append_images": frames[1:], "disposal": 2} if suffix == "gif" else {}
    path = save(tmp_path / f"a.{suffix}", frames[0], **several)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path).shape == (5, 7, 3)
    assert Image.MAX_IMAGE_PIXELS == 3


def test_a_file_of_too_many_bytes(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(RGB))
    with path.open("r+b") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # sparse: takes no room
    with pytest.raises(InputError, match="bytes are more than the limit"):
        read_image(path)


# --------------------------------------------------------------------------------------- masks


def palette_mask(path: Path, colours: list[int]) -> Path:
    image = Image.frombytes("P", (4, 1), bytes([0, 1, 2, 0]))
    image.putpalette(colours)
    return save(path, image)


def test_palette_masks_count_by_index_at_threshold_zero(tmp_path: Path) -> None:
    path = palette_mask(tmp_path / "a.bmp", [0, 0, 0, 85, 85, 85, 255, 255, 255])
    assert Image.open(path).mode == "P"
    assert read_mask(path)[0].tolist() == [False, True, True, False]
    assert read_mask(path, threshold=127)[0].tolist() == [False, False, True, False]
    # class 2 painted as dark as the background still is class 2
    path = palette_mask(tmp_path / "b.png", [0, 0, 0, 255, 0, 0, 0, 0, 0])
    assert read_mask(path)[0].tolist() == [False, True, True, False]


def test_a_palette_that_begins_with_white_has_a_black_background(tmp_path: Path) -> None:
    path = palette_mask(tmp_path / "a.png", [255, 255, 255, 0, 0, 0, 0, 0, 0])
    assert read_mask(path)[0].tolist() == [True, False, False, True]


def test_grey_masks(tmp_path: Path) -> None:
    values = np.array([[0, 1, 127, 128, 255]], np.uint8)
    path = save(tmp_path / "a.png", Image.fromarray(values))
    assert read_mask(path).dtype == np.bool_
    for threshold in (0, 1, 127, 254):
        assert (read_mask(path, threshold=threshold) == (values > threshold)).all()
    assert read_mask(save(tmp_path / "b.png", Image.fromarray(values > 100)), threshold=127).sum() == 3


def test_sixteen_bit_masks(tmp_path: Path) -> None:
    values = np.array([[0, 1, 2, 32767, 65535]], np.uint16)
    path = save(tmp_path / "a.png", Image.fromarray(values))
    assert read_mask(path, threshold=0)[0].tolist() == [False, True, True, True, True]
    assert read_mask(path, threshold=126)[0].tolist() == [False, False, False, True, True]
    assert read_mask(path, threshold=127)[0].tolist() == [False, False, False, False, True]


def test_coloured_and_transparent_masks(tmp_path: Path) -> None:
    blue = np.zeros((1, 3, 3), np.uint8)
    blue[0, 1, 2] = 255
    assert read_mask(save(tmp_path / "a.png", Image.fromarray(blue)), threshold=127)[0].tolist() == [0, 1, 0]
    painted = np.array([[[255, 255, 255, 0], [255, 0, 0, 255], [0, 0, 0, 255]]], np.uint8)
    assert read_mask(save(tmp_path / "b.png", Image.fromarray(painted)))[0].tolist() == [0, 1, 0]


@pytest.mark.skipif("LTCAM_KSDD" not in os.environ, reason="LTCAM_KSDD does not name a KolektorSDD folder")
def test_kolektor_masks() -> None:
    masks = sorted(Path(os.environ["LTCAM_KSDD"]).glob("kos*/Part*_label.bmp"))
    assert sum(bool(read_mask(path).any()) for path in masks) == 52


# -------------------------------------------------------------------------------------- resize


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.integers(1, 40)] * 4), st.integers(0, 255))
def test_resize_has_the_size_and_keeps_a_constant(sizes: tuple[int, int, int, int], value: int) -> None:
    height, width, new_height, new_width = sizes
    resized = resize(np.full((height, width, 3), value, np.uint8), (new_height, new_width))
    assert resized.shape == (new_height, new_width, 3)
    assert (resized == value).all()


def test_shrinking_averages_areas() -> None:
    image = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
    means = image.reshape(3, 4, 5, 4, 3).mean(axis=(1, 3))
    assert np.abs(resize(image, (3, 5)) - means).max() <= 0.5 + 1e-6
    tall = resize(image, (3, 40))  # one axis shrinks, the other grows
    rows = image.reshape(3, 4, 20, 3).mean(axis=1)
    assert np.abs(tall[:, 0] - rows[:, 0]).max() <= 1


def bilinear(heatmap: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    def weights(old: int, new: int) -> np.ndarray:
        matrix = np.zeros((new, old))
        for i in range(new):
            position = max(0.0, (i + 0.5) * old / new - 0.5)
            low = int(position)
            matrix[i, low] += 1 - (position - low)
            matrix[i, min(low + 1, old - 1)] += position - low
        return matrix

    resized: NDArray[Any] = (
        weights(heatmap.shape[0], size[0]) @ heatmap @ weights(heatmap.shape[1], size[1]).T
    )
    return resized


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(1, 30)] * 4), st.integers(0, 99))
def test_resize_heatmap_is_plain_bilinear(sizes: tuple[int, int, int, int], seed: int) -> None:
    heatmap = np.random.default_rng(seed).random(sizes[:2], dtype=np.float32)
    resized = resize_heatmap(heatmap, sizes[2:])
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, bilinear(heatmap.astype(np.float64), sizes[2:]), atol=2e-6)


def test_resize_heatmap_golden_weights() -> None:
    resized = resize_heatmap(np.array([[0, 4]], np.float32), (1, 4))
    assert resized[0].tolist() == [0, 1, 3, 4]


def test_resize_never_returns_its_input_and_refuses_no_size() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    assert not np.shares_memory(resize(image, (2, 2)), image)
    for size in ((0, 2), (2, -1)):
        with pytest.raises(ValueError, match="at least 1"):
            resize(image, size)


def test_suffixes_are_lower_case() -> None:
    assert {".jpg", ".png", ".bmp", ".tif"} <= IMAGE_SUFFIXES
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in IMAGE_SUFFIXES)


# ------------------------------------------------------------------------- in any form


def forms(pixels: np.ndarray) -> dict[str, object]:
    image = Image.fromarray(pixels)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return {
        "array": pixels,
        "bytes": stream.getvalue(),
        "bytearray": bytearray(stream.getvalue()),
        "memoryview": memoryview(stream.getvalue()),
        "pillow": image,
    }


@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
def test_all_forms_of_an_image_give_the_same_pixels(channels: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (9, 7, *channels), dtype=np.uint8)
    flat = pixels[..., 0] if channels == (1,) else pixels
    found = {name: to_pixels(form, "a") for name, form in forms(flat).items()}  # type: ignore[arg-type]
    found["own"] = to_pixels(pixels, "a")
    for name, each in found.items():
        assert each.shape == (9, 7, 3), name
        assert each.dtype == np.uint8
        assert np.array_equal(each, found["bytes"]), name


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        b"",
        b"no image",
    ],
)
def test_other_forms_are_refused_by_name(image: np.ndarray | bytes) -> None:
    with pytest.raises(InputError, match=r"part\.png"):
        to_pixels(image, "part.png")
