import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from runtime.tests.conftest import GREY, RGB, save

from ltcam_runtime.errors import InputError
from ltcam_runtime.image_headers import image_size
from ltcam_runtime.images import IMAGE_SUFFIXES, read_image, sixteen_bit_peak, to_pixels
from ltcam_runtime.mask_reading import read_mask

RNG = np.random.default_rng(7)


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
