from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ltcam_runtime.errors import DataError
from ltcam_runtime.listing import (
    HIDDEN,
    LINKED,
    MASKS,
    NO_IMAGE,
    RESULTS,
    Listing,
    list_images,
    masks_among,
    unique_names,
)
from ltcam_runtime.writers import MARKER


def paint(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/2.png", "b/10.JPG", "a/1.png", "a/c/1.tif", ".hidden/1.png", "b/.secret.png"):
        paint(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    return tmp_path / "in"


def names(found: Listing) -> list[str]:
    return [name for name, _ in found.files]


def counts(found: Listing) -> dict[str, int]:
    return {item.reason: item.count for item in found.left_out}


def test_a_folder_gives_its_images_by_their_path_inside(folder: Path) -> None:
    found = list_images([str(folder)])
    assert names(found) == ["a/1.png", "a/c/1.tif", "b/10.JPG", "b/2.png"]
    assert all(path == folder / name for name, path in found.files)


def test_a_file_is_taken_whatever_its_suffix(folder: Path) -> None:
    assert list_images([str(folder / "notes.txt")]).files == (("notes.txt", folder / "notes.txt"),)


def test_patterns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(list_images([f"{folder}/b/*.png"])) == ["2.png"]
    assert sorted(p.name for _, p in list_images([f"{folder}/**/1.*"]).files) == ["1.png", "1.tif"]
    assert len(list_images([f"{folder}/**"]).files) == 4
    assert len(list_images([f"{folder}/**/**/*.[pJ]*"]).files) == 3
    assert names(list_images([f"{folder}/?/**/c/*"])) == ["1.tif"]
    monkeypatch.chdir(folder)
    assert names(list_images(["**/?.png"])) == ["1.png", "2.png"]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    file = paint(tmp_path / "part[1].png")
    assert list_images([str(file)]).files == (("part[1].png", file),)


def test_each_file_once(folder: Path) -> None:
    one = str(folder / "a/1.png")
    found = list_images([one, str(folder / "a"), one, f"{folder}/a/*.png"])
    assert names(found) == ["1.png", "c/1.tif"]


@pytest.mark.parametrize(
    "text", ["nowhere", "nowhere/*.png", "nowhere.png", "*.nothing", "x/**/*.png", "n" * 400]
)
def test_an_input_that_stands_for_nothing_is_named(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="is neither a file, a folder, a manifest nor a pattern"):
        list_images([text])


def test_a_folder_without_images_is_named_even_beside_others(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no images; images end in"):
        list_images([str(folder), str(tmp_path / "empty")])


def test_results_below_the_folder_are_not_taken_for_images(folder: Path) -> None:
    """Predicting twice into a folder inside the images must not inspect the first one's masks."""
    before = list_images([str(folder)])
    paint(folder / "results" / "masks" / "a" / "1.png")
    paint(folder / "results" / "heatmaps" / "1.png")
    (folder / "results" / MARKER).write_text("{}")
    found = list_images([str(folder)])
    assert found.files == before.files
    assert counts(found)[RESULTS] == 1
    assert names(list_images([str(folder / "results" / "masks")])) == ["a/1.png"]  # if asked for
    paint(folder / "other" / "1.png")
    found = list_images([str(folder)], out=folder / "other")
    assert found.files == before.files
    assert counts(found)[RESULTS] == 2


# ------------------------------------------------------------------------------------------ silence


def test_what_cannot_be_listed_counts_as_failed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root may list everything, so a mode would not do
    for given_input in (str(folder), f"{folder}/**/*.*"):
        found = list_images([given_input])
        assert len(found.files) == 2
        assert found.failed == ((str(folder / "b"), "no permission to list this folder"),)
    with pytest.raises(DataError, match="no permission to list this folder, and there is nothing else"):
        list_images([str(folder / "b")])


def test_links(folder: Path, tmp_path: Path) -> None:
    paint(tmp_path / "elsewhere" / "9.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "one.png").symlink_to(tmp_path / "elsewhere" / "9.png")
    (folder / "dangling.png").symlink_to(tmp_path / "gone.png")
    found = list_images([str(folder)])
    assert {"one.png", "dangling.png"} <= set(names(found))  # the second one fails, and is named then
    assert counts(found)[LINKED] == 1
    assert names(list_images([str(folder / "linked")])) == ["9.png"]  # if asked for


def test_links_that_lead_in_circles(folder: Path) -> None:
    for name in ("l1", "l2", "a/l3", "a/c/l4"):
        (folder / name).symlink_to(folder)
    assert len(list_images([f"{folder}/**/*.png"]).files) == 2
    assert len(list_images([str(folder)]).files) == 4


def test_pipes_are_listed_so_that_they_are_reported(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    assert "pipe.png" in names(list_images([str(folder)]))


entries = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["a", "b", ".c", "masks", "@eaDir"]), max_size=3),
        st.sampled_from(["1.png", "1.txt", "2.JPG", "1_mask.png", ".x.png", "Thumbs.db", "3.jfif", "n"]),
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(entries)
def test_what_is_there_is_listed_or_counted(
    tmp_path_factory: pytest.TempPathFactory, items: list[tuple[list[str], str, bool]]
) -> None:
    root = tmp_path_factory.mktemp("tree")
    (root / "always.png").write_bytes(b"")
    for folders, name, as_link in items:
        place = root.joinpath(*folders)
        place.mkdir(parents=True, exist_ok=True)
        if as_link:
            (place / f"link-{name}").unlink(missing_ok=True)
            (place / f"link-{name}").symlink_to(root)
        else:
            (place / name).write_bytes(b"")
    found = list_images([str(root)])
    hidden = {".c", "@eaDir"}
    seen = [
        path
        for path in root.rglob("*")
        if (path.is_symlink() or not path.is_dir()) and hidden.isdisjoint(path.relative_to(root).parts)
    ]
    shut = {
        p for p in root.rglob("*") if p.name in hidden and hidden.isdisjoint(p.relative_to(root).parts[:-1])
    }
    assert len(found.files) + sum(counts(found).values()) == len(seen) + len(shut)
    assert not found.failed


# -------------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["a/1.png", "a/2.png"], ["masks/1.png", "masks/2.png"]),
        (["good/1.jpg", "scratch/1.jpg"], ["masks/scratch/1.png"]),
        (["scratch/1.jpg", "scratch/2.jpg"], ["scratch/GT/1_gt.png"]),
        (["scratch/1.jpg"], ["scratch/1_mask.png"]),
        (["kos01/Part0.jpg"], ["kos01/Part0_label.bmp"]),
        (["masks/1.png", "masks/2.png"], []),  # of nothing else: parts that are called masks
        (["labels/front.png", "other/9.png"], []),
        (["a/1_mask.png", "b/1.png"], []),
        (["_mask.png", "1.png"], []),
    ],
)
def test_masks_among_images(images: list[str], masks: list[str]) -> None:
    found = masks_among([PurePosixPath(path) for path in (*images, *masks)])
    assert sorted(map(str, found)) == sorted(masks)


def test_masks_are_left_out_and_counted(folder: Path) -> None:
    paint(folder / "masks" / "a" / "1.png")
    paint(folder / "b" / "2_mask.png")
    found = list_images([str(folder)])
    assert names(found) == ["a/1.png", "a/c/1.tif", "b/10.JPG", "b/2.png"]
    assert counts(found) == {HIDDEN: 2, NO_IMAGE: 1, MASKS: 2}
    assert "2 left out: masks of other images" in " ".join(item.sentence() for item in found.left_out)
    assert names(list_images([str(folder / "masks")])) == ["a/1.png"]  # if asked for


# -------------------------------------------------------------------------------------------- names


def test_the_same_name_from_two_places(tmp_path: Path) -> None:
    files = [paint(tmp_path / place / "1.png") for place in ("a", "b", "c/a")]
    found = list_images([str(file) for file in files])
    assert names(found) == ["a/1.png", "b/1.png", "a-2/1.png"]
    assert [path for _, path in found.files] == files


paths = st.lists(
    st.lists(st.sampled_from(["a", "b", "a-2", "c"]), min_size=0, max_size=3).map(
        lambda parts: Path("/", *parts, "1.png")
    ),
    unique=True,
)


@given(paths, st.booleans())
def test_names_are_unique_and_stay_below_the_results(found: list[Path], deep: bool) -> None:
    pairs = [("a/1.png" if deep and len(p.parts) > 3 else p.name, p) for p in found]
    unique = unique_names(pairs)
    assert [path for _, path in unique] == found
    assert len({name for name, _ in unique}) == len(found)
    for name, _ in unique:
        assert not PurePosixPath(name).is_absolute()
        assert ".." not in PurePosixPath(name).parts
