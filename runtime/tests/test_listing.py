from __future__ import annotations

import itertools
import os
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ltcam_runtime.errors import DataError
from ltcam_runtime.listing import FURTHER, MASKS, Listing, list_images, unique_names
from ltcam_runtime.searching import (
    CLOSED,
    HIDDEN,
    LINK,
    LINK_OUTSIDE,
    LINKED_FOLDER,
    NO_IMAGE,
    NOT_REGULAR,
    RESULTS,
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
    return {entry["reason"]: entry["count"] for entry in found.left_out_json()}


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
    with pytest.raises(DataError, match="it is neither a file, a folder, a manifest nor a pattern"):
        list_images([text])


def test_a_folder_without_images_is_named_even_beside_others(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = list_images([str(folder), str(tmp_path / "empty"), str(tmp_path / "gone.png")])
    assert [name for name, _ in found.failed] == [str(tmp_path / "empty"), str(tmp_path / "gone.png")]
    assert found.failed[0][1].startswith("it holds no images; images end in")
    assert found.files == list_images([str(folder)]).files
    with pytest.raises(DataError, match="empty: it holds no images; images end in"):
        list_images([str(tmp_path / "empty")])


def test_an_empty_text_is_not_the_folder_one_is_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for inputs in ([""], ["", "."], [".", ""]):
        with pytest.raises(DataError, match="an input is empty"):
            list_images(inputs)


def test_more_pictures_are_found_whatever_a_file_is_called(folder: Path) -> None:
    pages = [Image.new("L", (8, 8), value) for value in (40, 90)]
    pages[0].save(folder / "pages.png", "TIFF", save_all=True, append_images=pages[1:])
    pages[0].save(folder / "moving.jpg", "GIF", save_all=True, append_images=pages[1:])
    pages[0].save(folder / "moving.png", save_all=True, append_images=pages[1:])
    assert counts(list_images([str(folder)]))[FURTHER] == 3


def test_results_below_the_folder_are_not_taken_for_images(folder: Path) -> None:
    """Predicting twice into a folder inside the images must not inspect the first one's masks."""
    before = list_images([str(folder)])
    paint(folder / "results" / "masks" / "a" / "1.png")
    paint(folder / "results" / "heatmaps" / "1.png")
    (folder / "results" / MARKER).write_text("{}")
    found = list_images([str(folder)])
    assert found.files == before.files
    assert counts(found)[RESULTS] == 3
    assert names(list_images([str(folder / "results" / "masks")])) == ["a/1.png"]  # if asked for
    paint(folder / "other" / "1.png")
    found = list_images([str(folder)], out=folder / "other")
    assert found.files == before.files
    assert counts(found)[RESULTS] == 4


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
        assert found.failed == ((str(folder / "b"), CLOSED),)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\)"):
        list_images([str(folder / "b")])


def test_links(folder: Path, tmp_path: Path) -> None:
    paint(tmp_path / "elsewhere" / "9.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "one.png").symlink_to(tmp_path / "elsewhere" / "9.png")
    (folder / "inside.png").symlink_to(folder / "a" / "1.png")
    (folder / "dangling.png").symlink_to(tmp_path / "gone.png")
    (folder / "word").symlink_to(tmp_path / "elsewhere" / "9.png")
    (folder / "self.png").symlink_to("self.png")
    assert LINK == "it is a link that leads out of the folder or to nothing: copy the file"
    found = list_images([str(folder)])
    assert "inside.png" in names(found)
    refused = tuple((str(folder / name), LINK) for name in ("dangling.png", "one.png", "self.png"))
    assert found.failed == refused
    assert counts(found)[LINKED_FOLDER] == counts(found)[LINK_OUTSIDE] == 1
    assert names(list_images([str(folder / "linked")])) == ["9.png"]  # if asked for
    assert names(list_images([str(folder / "one.png")])) == ["one.png"]
    assert list_images([f"{folder}/**/*.png"]).failed == refused
    assert "inside.png" in names(list_images([f"{folder}/**/*.png"]))
    assert list_images([f"{folder}/**/i*.png"]).failed == ()
    for pattern, failed in (
        ("[ido]*.png", refused[:2]), ("[di]*.png", refused[:1]),
        ("linked*/*.png", ((str(folder / "linked" / "9.png"), LINK),)),
    ):  # fmt: skip
        looked_up = list_images([str(folder / "inside.png"), f"{folder}/{pattern}"])
        assert (names(looked_up), looked_up.failed) == (["inside.png"], failed)


def test_that_a_link_can_be_given_by_its_name_is_said_where_it_can(folder: Path, tmp_path: Path) -> None:
    paint(tmp_path / "9.png")
    (folder / "one.png").symlink_to(tmp_path / "9.png")
    for text in (str(folder), f"{folder}/**/*.png", f"{folder}/*.png"):
        inputs = [str(folder / "a"), text]
        assert list_images(inputs).failed == ((str(folder / "one.png"), LINK),)
        said = f"{LINK}, or give the link by its name"
        assert list_images(inputs, by_name=True).failed == ((str(folder / "one.png"), said),)
    with pytest.raises(DataError, match=r"one\.png: .*copy the file, or give the link by its name"):
        list_images([f"{folder}/*.png"], by_name=True)


def test_what_a_pattern_names_behind_its_first_wildcard_is_no_link(tmp_path: Path) -> None:
    for name in ("w/lot1/1.png", "w/lot2/2.png", "w/z/3.png", "o/4.png", "o/in/5.png", "x/lot/6.png"):
        paint(tmp_path / name)
    (tmp_path / "o" / "out.png").symlink_to(tmp_path / "x" / "lot" / "6.png")
    (tmp_path / "o" / "inside.png").symlink_to(tmp_path / "o" / "in" / "5.png")
    for pattern, wanted, refused in (
        ("w/lot*/../../o/*.png", ["4.png", "inside.png"], ["out.png"]),
        ("w/lot*/../../o/4.png", ["4.png"], []),
        ("w/lot*/../../o/out.png", ["out.png"], []),
        ("w/lot*/../../*/i*/*.png", ["5.png"], []),
        ("w/lot*/../z/*.png", ["3.png"], []),
        ("w/lot*/../../*/lot*/*.png", ["1.png", "2.png", "6.png"], []),
    ):
        found = list_images([str(tmp_path / "w" / "z" / "3.png"), f"{tmp_path}/{pattern}"])
        assert {path.name for _, path in found.files} == {"3.png", *wanted}
        assert {(Path(name).name, reason) for name, reason in found.failed} == {(n, LINK) for n in refused}
    (tmp_path / "w" / "lot1" / "1.png").unlink()
    (tmp_path / "w" / "lot1").rmdir()
    (tmp_path / "w" / "lot2" / "2.png").unlink()
    (tmp_path / "w" / "lot2").rmdir()
    (tmp_path / "w" / "lot").symlink_to(tmp_path / "x" / "lot")
    (tmp_path / "w" / "up").symlink_to(tmp_path / "w")
    paint(tmp_path / "7.png")
    for pattern in ("w/lot*/*.png", "w/lot*/../lot/*.png", "w/lot*/../../o/4.png", "w/u*/../7.png"):
        found = list_images([str(tmp_path / "w" / "z" / "3.png"), f"{tmp_path}/{pattern}"])
        assert names(found) == ["3.png"]
        assert {reason for _, reason in found.failed} == {LINK}


def test_links_that_lead_in_circles(folder: Path) -> None:
    for name in ("l1", "l2", "a/l3", "a/c/l4"):
        (folder / name).symlink_to(folder)
    assert len(list_images([f"{folder}/**/*.png"]).files) == 2
    assert len(list_images([str(folder)]).files) == 4


def test_pipes_are_reported(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    os.mkfifo(folder / "pipe")
    found = list_images([str(folder)])
    assert found.failed == ((str(folder / "pipe.png"), NOT_REGULAR),)
    assert counts(found)[NOT_REGULAR] == 1


entries = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["a", "b", ".c", "masks", "@eaDir"]), max_size=3),
        st.sampled_from(["1.png", "1.txt", "2.JPG", "1_mask.png", ".x.png", "Thumbs.db", "3.jfif", "n"]),
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=40)
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
    there = [path for path in root.rglob("*") if path.is_symlink() or not path.is_dir()]
    assert len(found.files) + len(found.left_out) == len(there)
    assert not found.failed


# -------------------------------------------------------------------------------------------- masks


def test_masks_are_left_out_and_counted(folder: Path) -> None:
    paint(folder / "masks" / "a" / "1.png")
    paint(folder / "b" / "2_mask.png")
    found = list_images([str(folder)])
    assert names(found) == ["a/1.png", "a/c/1.tif", "b/10.JPG", "b/2.png"]
    assert counts(found) == {HIDDEN: 2, NO_IMAGE: 1, MASKS: 2}
    assert names(list_images([str(folder / "masks")])) == ["a/1.png"]  # if asked for


# -------------------------------------------------------------------------------------------- names


def test_the_same_name_from_two_places(tmp_path: Path) -> None:
    files = [paint(tmp_path / place / "1.png") for place in ("a", "b", "c/a")]
    found = list_images([str(file) for file in files])
    assert names(found) == [f"{tmp_path.name}/a/1.png", "b/1.png", "c/a/1.png"]
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


def test_a_text_that_is_no_list_stops_nothing(tmp_path: Path) -> None:
    """A shell makes it of `photos/*`."""

    def table(file: Path) -> list[tuple[str, Path]]:
        if "path" not in file.read_text():
            raise DataError(f"{file}: no column path")
        return [("a.png", paint(tmp_path / "a.png"))]

    for name in ("list.tsv", "list.txt", "notes.txt", "notes.tsv"):
        (tmp_path / name).write_text("path" if name.startswith("list") else "by me")
    for name, notes in itertools.product(("list.tsv", "list.txt"), ("notes.txt", "notes.tsv")):
        found = list_images([str(tmp_path / name), str(tmp_path / notes)], table=table)
        assert found.files == (("a.png", tmp_path / "a.png"),)
        assert found.failed == ((str(tmp_path / notes), "no column path"),)
    with pytest.raises(DataError, match=r"notes\.tsv: no column path$"):
        list_images([str(tmp_path / "notes.tsv")], table=table)


def test_files_of_one_name_are_told_apart_by_the_folders_they_were_found_in(tmp_path: Path) -> None:
    places = ("scratch/lot1", "dent/lot1", "monday/left/good", "tuesday/left/good")
    for place in places:
        paint(tmp_path / place / "1.png")
    assert names(list_images([str(tmp_path / "scratch"), str(tmp_path / "dent")])) == [
        "scratch/lot1/1.png",
        "dent/lot1/1.png",
    ]
    assert names(list_images([str(tmp_path / day / "left" / "good") for day in ("monday", "tuesday")])) == [
        "monday/left/good/1.png",
        "tuesday/left/good/1.png",
    ]
