from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ltcam.synth import (
    FAINT,
    MIXED,
    SURFACES,
    Piece,
    SynthesisSettings,
    contrast_to_noise,
    draw_piece,
    plan,
    synthesise,
)
from ltcam.synth.materials import MATERIALS
from ltcam_runtime.errors import OutputError, SettingsError
from ltcam_runtime.folders import FILES_FILE

SIZE = (96, 136)
EVERY_PAIR = [(name, kind) for name in SURFACES for kind in MATERIALS[name].defects]


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "set"
    return synthesise(
        out,
        SynthesisSettings(
            surfaces=("brushed", "ceramic"), images_per_surface=18, defect_share=0.5, size=SIZE, seed=3
        ),
    )


def test_manifest_names_every_file_and_no_other(small_set: Path) -> None:
    rows = rows_of(small_set)
    assert list(rows[0]) == ["path", "label", "split", "mask", "group"]
    named = {row["path"] for row in rows} | {row["mask"] for row in rows if row["mask"]}
    assert set(files_of(small_set)) == named | {"manifest.csv", "synth.json", FILES_FILE}
    assert len({row["path"] for row in rows}) == len(rows) == 36


def test_folders_say_what_the_manifest_says(small_set: Path) -> None:
    for row in rows_of(small_set):
        folder, lot, _ = row["path"].split("/")
        assert lot == row["group"]
        assert folder == ("good" if row["label"] == "ok" else row["label"])
        assert row["mask"] == ("" if row["label"] == "ok" else f"masks/{row['path']}")


def test_images_and_masks_have_the_size_asked_for(small_set: Path) -> None:
    for row in rows_of(small_set):
        image = cv2.imread(str(small_set / row["path"]), cv2.IMREAD_UNCHANGED)
        assert image is not None
        assert image.shape == (*SIZE, 3)
        if row["mask"]:
            mask = cv2.imread(str(small_set / row["mask"]), cv2.IMREAD_UNCHANGED)
            assert mask is not None
            assert mask.shape == SIZE
            assert set(np.unique(mask)) == {0, 255}


def test_lots_stand_on_one_side_only(small_set: Path) -> None:
    sides: dict[str, set[str]] = {}
    for row in rows_of(small_set):
        sides.setdefault(row["group"], set()).add(row["split"])
    assert len(sides) == 12
    assert all(len(side) == 1 for side in sides.values())
    assert Counter(side.pop() for side in sides.values()) == {"train": 8, "test": 4}


def test_record_holds_parameters_and_every_defect(small_set: Path) -> None:
    record = json.loads((small_set / "synth.json").read_text(encoding="utf-8"))
    assert record["parameters"] == {
        "surfaces": ["brushed", "ceramic"],
        "images_per_surface": 18,
        "defect_share": 0.5,
        "size": list(SIZE),
        "seed": 3,
    }
    hurt = {row["path"]: row for row in rows_of(small_set) if row["mask"]}
    assert set(record["defects"]) == set(hurt)
    for path, defects in record["defects"].items():
        assert 1 <= len(defects) <= 3
        mask = np.asarray(Image.open(small_set / hurt[path]["mask"]))
        assert sum(defect["area_px"] for defect in defects) == np.count_nonzero(mask)
        assert all(defect["contrast"] >= FAINT[hurt[path]["label"]] for defect in defects)


def test_files_depend_on_their_name_and_the_seed_alone(small_set: Path, tmp_path: Path) -> None:
    # Other surfaces, another order, other numbers of images and defects.
    other = synthesise(
        tmp_path / "other",
        SynthesisSettings(
            surfaces=("ceramic", "brushed"), images_per_surface=12, defect_share=0.4, size=SIZE, seed=3
        ),
    )
    here, there = files_of(small_set), files_of(other)
    shared = {name for name in here.keys() & there.keys() if name.endswith(".png")}
    assert len(shared) >= 20
    assert any(name.startswith("masks/") for name in shared)
    assert all(here[name] == there[name] for name in shared)


def test_same_arguments_same_bytes_and_other_seed_other_images(tmp_path: Path) -> None:
    def make(name: str, seed: int) -> dict[str, bytes]:
        out = tmp_path / name
        return files_of(
            synthesise(out, SynthesisSettings(surfaces=("cast",), images_per_surface=6, size=SIZE, seed=seed))
        )

    first, again, other = make("a", 1), make("b", 1), make("c", 2)
    assert first == again
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first if name.endswith(".png"))


def test_drawing_does_not_touch_the_global_random_state() -> None:
    np.random.seed(0)  # noqa: NPY002 - this is the state that must not matter
    first = draw_piece(Piece("cast", 0, "ok", 0), SIZE, 0).picture
    np.random.seed(1)  # noqa: NPY002
    assert np.array_equal(first, draw_piece(Piece("cast", 0, "ok", 0), SIZE, 0).picture)


@pytest.mark.parametrize(
    ("images", "share"), [(75, 0.2), (40, 0.1), (7, 0.5), (10, 0.0), (10, 1.0), (1, 1.0)]
)
def test_plan_has_the_numbers_asked_for(images: int, share: float) -> None:
    pieces = plan(MIXED, images, share)
    assert len(set(pieces)) == len(pieces) == 4 * images
    for surface in MIXED:
        mine = [piece for piece in pieces if piece.surface == surface]
        assert len(mine) == images
        assert sum(piece.label != "ok" for piece in mine) == int(images * share + 0.5)
        lots = Counter(piece.lot for piece in mine)
        assert max(lots.values()) - min(lots.values()) <= 1 or images < 6


@pytest.mark.parametrize(("images", "share"), [(75, 0.2), (40, 0.1), (20, 0.5), (200, 0.05)])
def test_every_class_is_on_both_sides_and_evenly(images: int, share: float) -> None:
    pieces = plan(MIXED, images, share)
    for side in ("train", "test"):
        counts = Counter(piece.label for piece in pieces if piece.split == side and piece.label != "ok")
        assert set(counts) == {"scratch", "crack", "pit", "stain", "inclusion"}
        assert max(counts.values()) - min(counts.values()) <= 1
    shares = [
        np.mean([piece.label != "ok" for piece in pieces if piece.split == side])
        for side in ("train", "test")
    ]
    assert shares[0] == pytest.approx(share, abs=0.08)
    assert shares[1] == pytest.approx(share, abs=0.08)


def test_numbers_run_from_zero_in_each_folder() -> None:
    numbers: dict[str, list[int]] = {}
    for piece in plan(MIXED, 75, 0.2):
        numbers.setdefault(str(Path(piece.path).parent), []).append(piece.number)
    assert all(sorted(found) == list(range(len(found))) for found in numbers.values())


def test_progress_counts_every_image(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    synthesise(
        tmp_path / "set",
        SynthesisSettings(surfaces=("ceramic",), images_per_surface=4, size=SIZE),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"surfaces": ("wood",)}, "wood"),
        ({"surfaces": ()}, "surfaces"),
        ({"surfaces": ("cast", "cast")}, "twice"),
        ({"images_per_surface": 0}, "images_per_surface"),
        ({"defect_share": -0.1}, "defect_share"),
        ({"defect_share": 1.1}, "defect_share"),
        ({"defect_share": float("nan")}, "defect_share"),
        ({"size": (95, 200)}, "size"),
        ({"size": (200, 5000)}, "size"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_written(
    tmp_path: Path, arguments: dict[str, object], named: str
) -> None:
    with pytest.raises(SettingsError, match=named):
        synthesise(tmp_path / "set", SynthesisSettings(**arguments))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_other_peoples_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError):
        synthesise(
            tmp_path, SynthesisSettings(surfaces=("cast",), images_per_surface=1, size=SIZE), overwrite=True
        )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_set_is_replaced_only_when_asked(tmp_path: Path) -> None:
    def make(seed: int, *, overwrite: bool) -> Path:
        return synthesise(
            tmp_path / "set",
            SynthesisSettings(surfaces=("ceramic",), images_per_surface=1, size=SIZE, seed=seed),
            overwrite=overwrite,
        )

    before = files_of(make(0, overwrite=False))
    with pytest.raises(OutputError):
        make(1, overwrite=False)
    assert files_of(tmp_path / "set") == before
    assert files_of(make(1, overwrite=True)) != before


def test_an_interrupted_set_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesise(
            tmp_path / "set",
            SynthesisSettings(surfaces=("ceramic",), images_per_surface=2, size=SIZE),
            progress=interrupt,
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("surface", "label"), EVERY_PAIR)
def test_change_is_confined_to_the_mask_and_strong_inside(surface: str, label: str) -> None:
    soft = {"stain": 9, "uneven": 16}.get(label, 5)  # pixels of soft edge and lens blur beyond the mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * soft + 1, 2 * soft + 1))
    for number in range(2):
        drawing = draw_piece(Piece(surface, number, label, 0), (128, 160), 5)
        mask = drawing.mask
        change = np.abs(drawing.picture.astype(int) - drawing.sound.astype(int)).max(axis=2)
        outside = cv2.dilate(mask.astype(np.uint8), disc) == 0
        assert change[outside].max() <= 1
        assert change[mask].mean() >= 5.0
        assert np.mean(change[mask] >= 2) >= 0.8
        assert change[mask].mean() > 4.0 * change[~mask].mean()


@pytest.mark.parametrize(("surface", "label"), EVERY_PAIR)
def test_every_defect_has_its_contrast(surface: str, label: str) -> None:
    drawing = draw_piece(Piece(surface, 3, label, 1), (128, 160), 8)
    assert 1 <= len(drawing.defects) <= 3
    assert drawing.mask.mean() <= (0.45 if label in {"fray", "uneven"} else 0.25)
    for defect in drawing.defects:
        measured = contrast_to_noise(drawing.sound, drawing.picture, defect.mask)
        assert measured == pytest.approx(defect.contrast)
        assert measured >= FAINT[label]
    total = sum(int(defect.mask.sum()) for defect in drawing.defects)
    assert total == np.count_nonzero(drawing.mask)


def appearance(picture: np.ndarray) -> np.ndarray:
    """Brightness, two hues, fineness and noise of a picture."""
    grey = picture.astype(np.float32).mean(axis=2)
    red, green, blue = picture.astype(np.float64).mean(axis=(0, 1))
    fine = (grey - cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in (0.7, 2.0, 6.0))
    return np.log([grey.mean(), red / green, blue / green, *(part.std() for part in fine)])


@pytest.mark.parametrize("surface", SURFACES)
def test_a_piece_looks_like_its_lot(surface: str) -> None:
    """Splitting by lot matters: a piece's nearest neighbour is mostly of its own lot (chance: 2 in 17)."""
    lots = np.repeat(np.arange(6), 3)
    seen = np.array(
        [
            appearance(draw_piece(Piece(surface, int(lot), "ok", n % 3), SIZE, 0).picture)
            for n, lot in enumerate(lots)
        ]
    )
    seen = (seen - seen.mean(axis=0)) / seen.std(axis=0)
    away = np.linalg.norm(seen[:, None] - seen[None], axis=2) + np.diag(np.full(18, np.inf))
    assert np.mean(lots[away.argmin(axis=1)] == lots) >= 0.7


def test_ok_images_carry_no_label_in_their_statistics() -> None:
    """Brightness and spread of the sound part are drawn alike for both labels."""
    ok, hurt = (
        np.array(
            [
                (image.mean(), image.std())
                for image in (
                    draw_piece(Piece("ceramic", lot, label, number), SIZE, 0).picture
                    for lot in range(6)
                    for number in range(5)
                )
            ]
        )
        for label in ("ok", "scratch")
    )
    spread = ok.std(axis=0) + hurt.std(axis=0)
    assert np.all(np.abs(ok.mean(axis=0) - hurt.mean(axis=0)) < 0.5 * spread)


@pytest.mark.parametrize("size", [(96, 96), (97, 240), (301, 128)])
def test_odd_sizes_work(size: tuple[int, int]) -> None:
    for surface, label in zip(MIXED, ("stain", "scratch", "crack", "inclusion"), strict=True):
        drawing = draw_piece(Piece(surface, 1, label, 0), size, 2)
        assert drawing.picture.shape == (*size, 3)
        assert drawing.mask.any()
