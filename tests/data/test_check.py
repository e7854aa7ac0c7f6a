from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.data.conftest import Paint

from ltcam.data.check import check_dataset
from ltcam.data.check_report import FileProblem
from ltcam.data.layouts import read_dataset
from ltcam_runtime import reading
from ltcam_runtime.images import read_image


@pytest.fixture
def clean(paint: Paint, mark: Paint) -> None:
    """Twelve OK and twelve dented images of two sizes, in three lots, with masks."""
    for index in range(12):
        size = (48, 64) if index < 8 else (60, 80)
        paint(f"good/lot{index % 3}/{index}.png", index, size)
        paint(f"dent/lot{index % 3}/{index}.png", 100 + index, size)
        mark(f"masks/dent/lot{index % 3}/{index}.png", 255, size)


def test_clean_data_set(clean: None, tmp_path: Path) -> None:
    calls = []
    report = check_dataset(read_dataset(tmp_path), lambda done, total: calls.append((done, total)))
    assert calls == [(n, 24) for n in range(1, 25)]
    assert report.findings == ()
    assert report.notes == ()
    assert report.duplicates == ()
    assert (report.images, report.groups) == (24, 3)
    assert [(c.name, c.images, c.groups, c.masks) for c in report.classes] == [
        ("ok", 12, 3, 0),
        ("dent", 12, 3, 12),
    ]
    assert report.classes[0].by_split == {"train": 0, "val": 0, "test": 0, "none": 12}
    assert report.sizes == (((48, 64), 16), ((60, 80), 8))
    assert report.heights is not None
    assert report.widths is not None
    assert report.defect_area_percent is not None
    assert (report.heights.minimum, report.heights.median, report.heights.maximum) == (48, 48, 60)
    assert (report.widths.minimum, report.widths.maximum) == (64, 80)
    assert report.modes == {"RGB": 24}
    assert report.defect_area_percent.maximum == pytest.approx(100 * 24 / (48 * 64))


def ids(problems: Sequence[FileProblem]) -> list[str]:
    return [problem.id for problem in problems]


def test_one_fault_of_each_kind(clean: None, paint: Paint, mark: Paint, tmp_path: Path) -> None:
    (tmp_path / "good/lot0/0.png").write_bytes((tmp_path / "good/lot0/0.png").read_bytes()[:900])
    (tmp_path / "good/lot1/1.png").write_text("no image")
    mark("masks/dent/lot0/0.png", 255, (48, 60))  # another size
    mark("masks/dent/lot1/1.png", 0)  # empty
    (tmp_path / "masks/dent/lot2/2.png").unlink()
    (tmp_path / "masks/dent/lot0/3.png").write_text("no image")
    mark("masks/good/lot2/2.png")  # a mark on an OK image
    shutil.copy(tmp_path / "good/lot0/3.png", tmp_path / "dent/lot0/copy.png")
    values = np.random.default_rng(0).integers(0, 4096, (48, 64)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "good/lot1/twelve_bits.png"), values)
    cv2.imwrite(str(tmp_path / "good/lot1/sixteen_bits.png"), values * 16)
    report = check_dataset(read_dataset(tmp_path))
    assert ids(report.unreadable) == ["good/lot0/0.png", "good/lot1/1.png"]
    assert "cut short" in report.unreadable[0].reason
    assert "not an image" in report.unreadable[1].reason
    assert ids(report.masks_wrong_size) == ["dent/lot0/0.png"]
    assert "60 x 48" in report.masks_wrong_size[0].reason
    assert ids(report.defective_without_marks) == ["dent/lot1/1.png"]
    assert ids(report.masks_missing) == ["dent/lot0/copy.png", "dent/lot2/2.png"]
    assert ids(report.masks_unreadable) == ["dent/lot0/3.png"]
    assert ids(report.ok_with_marks) == ["good/lot2/2.png"]
    assert ids(report.contradictory) == ["dent/lot0/copy.png = good/lot0/3.png"]
    assert report.contradictory[0].reason == "labelled dent, ok"
    assert ids(report.narrow_16_bit) == ["good/lot1/twelve_bits.png"]
    assert ids(report.other_depth) == ["good/lot1/sixteen_bits.png", "good/lot1/twelve_bits.png"]
    assert report.other_depth[0].reason == "16 bits"
    assert report.modes["I;16"] == 2
    assert report.duplicates[0].ids == ("dent/lot0/copy.png", "good/lot0/3.png")
    assert [finding.level for finding in report.findings] == ["error"] * 6 + ["warning"] * 3
    assert sum(count for _, count in report.sizes) == report.images - 2


def test_large_images_have_a_mode_like_others(
    clean: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48 * 64)  # Pillow's limit is not ours
    assert check_dataset(read_dataset(tmp_path)).modes == {"RGB": 24}


def test_json_is_plain_and_complete(clean: None, tmp_path: Path) -> None:
    (tmp_path / "good/lot1/1.png").write_text("no image")
    values = json.loads(json.dumps(check_dataset(read_dataset(tmp_path)).to_json()))
    assert values["schema_version"] == 1
    assert values["unreadable"][0]["id"] == "good/lot1/1.png"
    assert values["sizes"][0] == {"height": 48, "width": 64, "images": 15}
    assert values["classes"][1]["by_split"]["none"] == 12


def test_ok_folders_deep_inside_a_defect_are_noted(paint: Paint, tmp_path: Path) -> None:
    for index in range(4):
        paint(f"good/lot{index}/{index}.png", index)
        paint(f"line2/monday/gut/{index}.png", 10 + index)
        paint(f"line2/0/{index}.png", 20 + index)
    notes = check_dataset(read_dataset(tmp_path)).notes
    assert [
        note for note in notes if note.startswith("4 images of line2 are in folders gut/, which means OK")
    ]
    assert not [note for note in notes if "folders 0/" in note]


def test_few_defects_and_single_group_are_noted(paint: Paint, tmp_path: Path) -> None:
    for index in range(4):
        paint(f"good/lot{index}/{index}.png", index)
    paint("dent/lot9/1.png", 20)
    notes = check_dataset(read_dataset(tmp_path)).notes
    assert notes[0].startswith("Only 1 image of dent")
    assert notes[1].startswith("All defective images are in one group (lot9)")


def test_no_masks_at_all_is_no_problem(paint: Paint, tmp_path: Path) -> None:
    for index in range(12):
        paint(f"good/{index}.png", index)
        paint(f"dent/{index}.png", 50 + index)
    report = check_dataset(read_dataset(tmp_path))
    assert report.masks_missing == ()
    assert report.defect_area_percent is None


def test_copies_on_both_sides_of_a_named_split(paint: Paint, tmp_path: Path) -> None:
    for side, seeds in (("train", (1, 2)), ("test", (3, 4))):
        paint(f"{side}/good/a{seeds[0]}.png", seeds[0])
        paint(f"{side}/dent/b{seeds[1]}.png", seeds[1])
    assert check_dataset(read_dataset(tmp_path)).straddling == ()
    paint("test/good/again.png", 1)
    report = check_dataset(read_dataset(tmp_path))
    assert report.straddling == ("test/good/again.png",)
    assert any(finding.title.startswith("Groups on several sides") for finding in report.findings)


def test_every_file_broken(paint: Paint, tmp_path: Path) -> None:
    for name in ("good/a.png", "dent/a.png"):
        paint(name).write_text("no image")
    report = check_dataset(read_dataset(tmp_path))
    assert len(report.unreadable) == 2
    assert (report.sizes, report.heights, report.modes) == ((), None, {})


def test_an_exception_in_progress_ends_the_check(clean: None, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_dataset(read_dataset(tmp_path), stop)


@pytest.mark.ksdd
def test_ksdd(ksdd_folder: Path) -> None:
    report = check_dataset(read_dataset(ksdd_folder))
    assert [(c.name, c.images) for c in report.classes] == [("ok", 347), ("defect", 52)]
    assert [(f.title, [entry.id for entry in f.entries]) for f in report.findings] == [
        ("Images of another shape than most", ["kos13/Part4.jpg"])  # 500 x 1285
    ]
    assert len(report.duplicates) == 24


def test_a_bad_sector_is_named_and_stops_nothing(
    clean: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path.open

    def fail(path: Path, *args: Any, **options: Any) -> Any:
        if path.name == "1.png":
            raise OSError(errno.EIO, "Input/output error")
        return whole(path, *args, **options)

    monkeypatch.setattr(Path, "open", fail)
    report = check_dataset(read_dataset(tmp_path))
    assert ids(report.unreadable) == ["dent/lot1/1.png", "good/lot1/1.png"]
    assert ids(report.masks_unreadable) == ["dent/lot1/1.png"]
    assert all("Input/output error" in problem.reason for problem in report.unreadable)


def test_a_picture_that_memory_does_not_take_is_named_and_stops_nothing(
    clean: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (3000, 3000)).save(tmp_path / "dent/lot0/bomb.png")
    monkeypatch.setattr(reading, "available_memory", lambda: 2**20)
    report = check_dataset(read_dataset(tmp_path))
    assert ids(report.unreadable) == ["dent/lot0/bomb.png"]
    assert "9,000,000 pixels need about" in report.unreadable[0].reason


def test_soft_masks_mask_like_images_and_odd_shapes(
    clean: None, paint: Paint, mark: Paint, tmp_path: Path
) -> None:
    Image.open(mark("masks/dent/lot0/0.png")).convert("L").save(
        tmp_path / "masks/dent/lot0/0.jpg", quality=60
    )
    (tmp_path / "masks/dent/lot0/0.png").unlink()
    mark("dent/lot1/drawn.png")
    hot = np.zeros((48, 64), np.uint8)
    hot[20, 30] = 255  # a frame without light and with a hot pixel
    Image.fromarray(hot).save(tmp_path / "dent/lot1/hot.png")
    paint("good/lot0/wide.png", 77, (48, 120))
    report = check_dataset(read_dataset(tmp_path))
    assert ids(report.soft_masks) == ["dent/lot0/0.png"]
    assert "grey levels; above 12" in report.soft_masks[0].reason
    assert ids(report.looks_like_masks) == ["dent/lot1/drawn.png"]
    assert ids(report.odd_shapes) == ["good/lot0/wide.png"]
    assert report.readiness.ready == "with care"
    assert "masks with values in between (1)" in report.readiness.reasons


def test_inverted_masks_are_noticed(clean: None, tmp_path: Path) -> None:
    for path in (tmp_path / "masks").rglob("*.png"):
        cv2.imwrite(str(path), 255 - read_image(path)[..., ::-1])
    report = check_dataset(read_dataset(tmp_path))
    assert len(report.mostly_marked) == 12
    assert report.mostly_marked[0].reason == "the mask marks 99 % of the image"
    assert "invert" in report.findings[0].advice


@pytest.mark.parametrize("suffix", [".tif", ".gif", ".webp", ".png"])
def test_pages_and_frames_behind_the_first_are_named(
    suffix: str, clean: None, paint: Paint, tmp_path: Path
) -> None:
    first, second = (Image.open(paint(f"other/{seed}.png", seed)) for seed in (70, 71))
    first.save(tmp_path / f"good/lot0/several{suffix}", save_all=True, append_images=[second])
    shutil.rmtree(tmp_path / "other")
    report = check_dataset(read_dataset(tmp_path))
    assert ids(report.several_pictures) == [f"good/lot0/several{suffix}"]


def test_the_small_copy_in_a_tiff_is_no_page(clean: None, paint: Paint, tmp_path: Path) -> None:
    first = Image.open(paint("other/0.png", 70))
    small = first.resize((16, 12))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    first.save(tmp_path / "good/lot0/preview.tif", save_all=True, append_images=[small])
    shutil.rmtree(tmp_path / "other")
    with Image.open(tmp_path / "good/lot0/preview.tif") as written:
        written.seek(1)
        assert written.getexif()[254] == 1
    assert check_dataset(read_dataset(tmp_path)).several_pictures == ()


def test_ready_and_the_sides_that_come(clean: None, tmp_path: Path) -> None:
    readiness = check_dataset(read_dataset(tmp_path)).readiness
    assert readiness.ready == "with care"
    assert all("images only" in reason or "to train on" in reason for reason in readiness.reasons), (
        "as `train` says it"
    )
    assert sum(readiness.sides["dent"].values()) == 12
    (tmp_path / "dent").rename(tmp_path / "fine")
    answer = check_dataset(read_dataset(tmp_path, one_class=True)).readiness
    assert answer.ready == "no"
    assert "only one class" in answer.reasons[0]


def test_joined_lots_are_shown(clean: None, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "good/lot0/0.png", tmp_path / "good/lot1/again.png")
    assert check_dataset(read_dataset(tmp_path)).merged_groups == (("lot0", "lot1"),)


def test_classes_that_nobody_has_judged_are_warned_of(paint: Paint, tmp_path: Path) -> None:
    for name in ("good/1.png", "dent/1.png", "unlabeled/1.png"):
        paint(name)
    report = check_dataset(read_dataset(tmp_path))
    assert report.undecided_labels == ("unlabeled",)
    [finding] = [found for found in report.findings if "nobody has judged" in found.title]
    assert finding.level == "warning"
