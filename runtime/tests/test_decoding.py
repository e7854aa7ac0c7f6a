import errno
import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from runtime.tests.conftest import GREY, RGB, save

from ltcam_runtime.decoding import MAX_FILE_BYTES
from ltcam_runtime.errors import InputError
from ltcam_runtime.image_headers import image_size
from ltcam_runtime.images import read_image
from ltcam_runtime.mask_reading import read_mask

RNG = np.random.default_rng(7)


def png_header(path: Path, width: int, height: int) -> Path:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")))
    return path


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


@settings(max_examples=60)
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
