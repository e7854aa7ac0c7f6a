from pathlib import Path

import cv2
import numpy as np
import pytest

from ltcam_runtime.encoding import encoded, write_picture
from ltcam_runtime.images import to_pixels

RNG = np.random.default_rng(3)


def test_what_is_encoded_is_read_as_it_was() -> None:
    colour = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(to_pixels(encoded(".png", colour), "a"), colour)
    assert np.array_equal(to_pixels(encoded(".png", colour[:, ::-1]), "a"), colour[:, ::-1])
    levels = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)
    found = cv2.imdecode(np.frombuffer(encoded(".png", levels), np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    assert np.array_equal(found, levels)


def test_options_reach_the_encoder() -> None:
    noise = RNG.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    small, large = (len(encoded(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, quality])) for quality in (20, 95))
    assert 2 * small < large


def test_a_picture_that_cannot_be_encoded_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, np.zeros(0, np.uint8)))
    with pytest.raises(ValueError, match=r"shape \(2, 3\) cannot be written as \.png"):
        write_picture(tmp_path / "new" / "a.png", np.zeros((2, 3), np.uint8), ())
    assert list(tmp_path.iterdir()) == []
