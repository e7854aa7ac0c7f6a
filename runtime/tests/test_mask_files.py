from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ltcam_runtime import mask_files
from ltcam_runtime.mask_files import looks_like_mask, sort_masks

Draw = Callable[..., None]
RNG = np.random.default_rng(3)
PHOTO = RNG.integers(60, 190, (24, 32, 3), dtype=np.uint8)
MASK = np.zeros((24, 32), np.uint8)
MASK[4:9, 5:20] = 255


@pytest.fixture
def photo(tmp_path: Path) -> Draw:
    return lambda *names: draw(tmp_path, names, PHOTO)


@pytest.fixture
def mask(tmp_path: Path) -> Draw:
    return lambda *names: draw(tmp_path, names, MASK)


def draw(root: Path, names: tuple[str, ...], pixels: np.ndarray) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(path.suffix.lower(), pixels)[1].tobytes())


def result(root: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Image -> its mask or "", and file left out -> reason."""
    files = sorted(
        PurePosixPath(path.relative_to(root).as_posix()) for path in root.rglob("*") if path.is_file()
    )
    found = sort_masks(root, files, lambda path: "good" in path.parts)
    assert sorted([*found.images, *found.masks.values(), *(out.path for out in found.left_out)]) == files
    return (
        {str(image): str(found.masks.get(image, "")) for image in found.images},
        {str(out.path): out.reason for out in found.left_out},
    )


@pytest.mark.parametrize(
    ("image", "its_mask"),
    [
        ("scratch/000.png", "scratch/000_mask.png"),
        ("scratch/000.png", "scratch/000-mask.bmp"),
        ("scratch/000.png", "scratch/000_GT.png"),
        ("scratch/000.png", "scratch/000.label.png"),
        ("scratch/000.jpg", "scratch/000_seg.png"),
        ("scratch/000.png", "scratch/000_groundtruth.png"),
        ("scratch/000.png", "scratch/000_ground_truth.png"),
        ("scratch/000.png", "scratch/000 annotation.png"),
        ("scratch/000.png", "scratch/mask_000.png"),
        ("scratch/000.png", "scratch/gt-000.png"),
        ("scratch/000.png", "scratch/000mask.png"),
        ("scratch/img_000.png", "scratch/mask_000.png"),
        ("scratch/img000.png", "scratch/mask000.png"),
        ("scratch/000_image.png", "scratch/000_mask.png"),
        ("scratch/part_image_7.png", "scratch/part_mask_7.png"),
        ("scratch/000.png", "scratch/000_mask_1.png"),
        ("scratch/000.jpg", "scratch/000.jpg.mask.png"),
        ("scratch/000.jpg", "scratch/000.png"),
        ("scratch/000.png", "scratch/gt/000.png"),
        ("scratch/000.png", "scratch_bin/000.png"),
        ("scratch/000.png", "biaozhu/scratch/000.png"),
        ("scratch/000.jpg", "scratch/obrys/000.png"),
        ("scratch/images/000.png", "scratch/wzor/000.png"),
        ("test/scratch/lot7/000.png", "test/kijelölés/scratch/lot7/000.png"),
        ("scratch/000.png", "scratch/000_bin.png"),
        ("scratch/000.png", "máscaras/scratch/000.png"),
        ("scratch/000.png", "maski/scratch/000.png"),
        ("scratch/000.png", "scratch/000_掩码.png"),
        ("scratch/lot7/000.png", "scratch/lot7/labels/000.png"),
        ("scratch/lot7/images/000.png", "scratch/lot7/masks/000.png"),
        ("scratch/images/000.png", "scratch/Annotations/000.png"),
        ("scratch/000.png", "scratch_mask/000.png"),
        ("train/scratch/000.png", "train_masks/scratch/000.png"),
        ("train/scratch/000.png", "trainmasks/scratch/000_mask.png"),
        ("train/scratch/000.png", "GroundTruth/train/scratch/000.png"),
        ("images/scratch/000.png", "masks/scratch/000.png"),
        ("scratch/lot7/000.png", "mask/000.png"),
        ("scratch/lot7/000.png", "ground-truth/scratch/000_mask.png"),
        ("test/scratch/000.png", "test/segmentation/000.png"),
        ("Scratch/Pru\u0308f.png", "MASKS/scratch/pr\u00fcf.png"),
    ],
)
def test_usual_places_and_names(photo: Draw, mask: Draw, tmp_path: Path, image: str, its_mask: str) -> None:
    photo(image, "good/other.png")
    mask(its_mask)
    assert result(tmp_path) == ({image: its_mask, "good/other.png": ""}, {})


@pytest.mark.parametrize("folder", ["mask", "labels", "gt", "missing_label", "scratch/seg", "bin"])
def test_photographs_are_no_masks_whatever_they_are_called(photo: Draw, tmp_path: Path, folder: str) -> None:
    photo("good/0.png", "good/1.png", f"{folder}/0.png", f"{folder}/1.png", f"{folder}/0_mask.png")
    images, left_out = result(tmp_path)
    assert len(images) == 5
    assert not any(images.values())
    assert left_out == {}


def test_masks_that_fit_none_several_or_are_one_of_several(photo: Draw, mask: Draw, tmp_path: Path) -> None:
    photo("good/1.png", "dent/1.png", "pit/1.png", "dent/2.png", "dent/3.png")
    mask(
        "masks/1.png",
        "masks/9.png",
        "masks/2_mask_1.png",
        "masks/2_mask_2.png",
        "masks/3.png",
        "masks/dent/3.png",
    )
    images, left_out = result(tmp_path)
    assert {image: found for image, found in images.items() if found} == {"dent/3.png": "masks/dent/3.png"}
    assert left_out == {
        "masks/1.png": mask_files.FITS_SEVERAL,
        "masks/9.png": mask_files.FITS_NONE,
        "masks/2_mask_1.png": mask_files.ONE_OF_SEVERAL,
        "masks/2_mask_2.png": mask_files.ONE_OF_SEVERAL,
        "masks/3.png": mask_files.FITS_BETTER,
    }


def test_a_mask_is_the_defective_images_or_theirs_in_its_own_folder(
    photo: Draw, mask: Draw, tmp_path: Path
) -> None:
    photo("good/1.png", "dent/1.png", "dent/2.png", "dent/lot/2.png")
    mask("masks/1.png", "masks/dent/2.png")
    assert result(tmp_path)[0] == {
        "good/1.png": "", "dent/1.png": "masks/1.png", "dent/2.png": "masks/dent/2.png", "dent/lot/2.png": "",
    }  # fmt: skip


def test_of_twins_the_lossless_mask_is_taken(photo: Draw, mask: Draw, tmp_path: Path) -> None:
    photo("dent/1.png")
    mask("masks/dent/1.png", "masks/dent/1.jpg")
    assert result(tmp_path) == (
        {"dent/1.png": "masks/dent/1.png"}, {"masks/dent/1.jpg": mask_files.FITS_BETTER},
    )  # fmt: skip


def test_broken_files_count_by_their_names(photo: Draw, tmp_path: Path) -> None:
    photo("dent/1.png", "dent/2.jpg")
    for name in ("dent/2.png", "dent/1_mask.png"):
        (tmp_path / name).write_bytes(b"no image")
    assert result(tmp_path)[0] == {"dent/1.png": "dent/1_mask.png", "dent/2.jpg": "", "dent/2.png": ""}


def test_what_looks_like_a_mask() -> None:
    jpeg = cv2.imdecode(cv2.imencode(".jpg", MASK)[1], cv2.IMREAD_COLOR)
    assert jpeg is not None
    blurred = cv2.GaussianBlur(MASK, (3, 3), 0)
    for pixels in (jpeg, cv2.cvtColor(MASK, cv2.COLOR_GRAY2RGB), cv2.cvtColor(blurred, cv2.COLOR_GRAY2RGB)):
        assert looks_like_mask(pixels.astype(np.uint8))
    assert not looks_like_mask(PHOTO)
    assert not looks_like_mask(np.clip(PHOTO // 8, 0, 31))  # dark, but no mask


def print_of_a_label(seed: int) -> np.ndarray:
    """Black on white, with a camera's noise."""
    rng = np.random.default_rng(seed)
    page = np.full((64, 96), 240.0)
    page[10:50:8, 8:88] = 14
    return np.clip(page + rng.normal(0, 4, page.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "folder", ["missing_label", "no label", "label", "print_labels", "Etikett (label) fehlt"]
)
def test_photographs_of_print_are_no_masks(tmp_path: Path, folder: str) -> None:
    for number in range(6):
        for kind in ("good", "scratch", folder):
            draw(tmp_path, (f"{kind}/{number}.png",), print_of_a_label(number))
        draw(tmp_path, (f"NOK/img_{number}_label.png",), print_of_a_label(number))
    images, left_out = result(tmp_path)
    assert len(images) == 24
    assert not left_out
    assert not looks_like_mask(np.repeat(print_of_a_label(0)[..., None], 3, axis=2))


@pytest.mark.parametrize("folder", ["missing_label", "no label", "wrong-label"])
def test_what_is_wrong_with_a_label_is_a_kind_even_of_black_and_white_images(
    tmp_path: Path, folder: str
) -> None:
    for number in range(3):
        draw(tmp_path, (f"good/{number}.png", f"{folder}/{number}.png"), MASK)
    images, _ = result(tmp_path)
    assert len(images) == 6


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_masks_that_were_compressed_are_masks(quality: int) -> None:
    rng = np.random.default_rng(quality)
    page = (cv2.GaussianBlur(rng.normal(0, 1, (200, 300)), (0, 0), 6) > 0.06).astype(np.uint8) * 255
    packed = cv2.imencode(".jpg", page, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    assert looks_like_mask(np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8))


PARTS = st.sampled_from(["good", "dent", "masks", "gt", "images", "train", "lot1", "scratch_mask"])
FILES = st.sampled_from(
    ["1.png", "1.jpg", "1_mask.png", "mask_1.png", "2-gt.bmp", "img_2.png", "gt.png", "_.png"]
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.tuples(st.lists(PARTS, max_size=3), FILES).map(lambda x: "/".join([*x[0], x[1]])),
                       st.sampled_from(["photo", "mask", "broken"]), max_size=10))  # fmt: skip
def test_any_arrangement_adds_up(tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]) -> None:
    root = tmp_path_factory.mktemp("any")
    for name, kind in files.items():
        draw(root, (name,), {"photo": PHOTO, "mask": MASK, "broken": PHOTO}[kind])
        if kind == "broken":
            (root / name).write_bytes(b"broken")
    images, _ = result(root)  # compares what comes out with what is there
    masks = [found for found in images.values() if found]
    assert len(masks) == len(set(masks))
