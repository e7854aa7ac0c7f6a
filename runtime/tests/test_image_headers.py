import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from runtime.tests.conftest import GREY

from ltcam_runtime.errors import InputError
from ltcam_runtime.image_headers import Header, has_pages, header


@pytest.mark.parametrize("format", ["TIFF", "GIF", "WEBP", "PNG"])
@pytest.mark.parametrize("several", [False, True])
def test_more_pictures(tmp_path: Path, format: str, several: bool) -> None:  # noqa: A002
    pages = [Image.fromarray(GREY), Image.fromarray(255 - GREY)][: 1 + several]
    pages[0].save(tmp_path / "a", format, save_all=several, append_images=pages[1:])
    assert header(tmp_path / "a").more_pictures == has_pages(tmp_path / "a") == several


def test_a_smaller_copy_of_a_page_is_no_picture(tmp_path: Path) -> None:
    preview = Image.fromarray(GREY[::2, ::2])
    preview.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(GREY).save(tmp_path / "a.tif", save_all=True, append_images=[preview])
    assert not header(tmp_path / "a.tif").more_pictures


@pytest.mark.parametrize(
    ("pixels", "mode"), [(GREY, "L"), (np.stack([GREY] * 3, 2), "RGB"), (GREY.astype(np.uint16), "I;16")]
)
def test_the_mode_is_that_of_the_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: np.ndarray, mode: str
) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3)  # Pillow's limit is not ours
    assert header(tmp_path / "a.tif") == Header(mode, more_pictures=False)


def test_what_is_no_image_has_no_header(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(InputError, match="not an image"):
        header(tmp_path / "a.png")


def test_an_animation_behind_any_number_of_chunks_is_several_pictures(tmp_path: Path) -> None:
    pages = [Image.new("L", (8, 8), value) for value in (40, 90)]
    pages[0].save(tmp_path / "a.png", save_all=True, append_images=pages[1:])
    content = (tmp_path / "a.png").read_bytes()
    text = b"tEXtComment\0" + b"x" * 5000
    chunk = (len(text) - 4).to_bytes(4) + text + zlib.crc32(text).to_bytes(4)
    (tmp_path / "a.png").write_bytes(content[:33] + chunk + content[33:])
    assert has_pages(tmp_path / "a.png")
    pages[0].save(tmp_path / "b.png")
    content = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(content[:33] + chunk.replace(b"xxxx", b"acTL") + content[33:])
    assert not has_pages(tmp_path / "b.png")
