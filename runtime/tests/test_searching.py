from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ltcam_runtime import searching
from ltcam_runtime.errors import DataError
from ltcam_runtime.searching import left_out_words, search, why_no_image


def reasons(root: Path) -> dict[str, str]:
    return {str(entry.path): entry.reason for entry in search(root).left_out}


def there(root: Path) -> int:
    """What stands below a root and is no folder; links are not followed."""
    return sum(path.is_symlink() or not path.is_dir() for path in root.rglob("*"))


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_every_file_is_found_or_left_out_with_a_reason(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside/a.png")
    root = tmp_path / "set"
    for name in ("a.png", "b/c.txt", ".git/x/y.png", "._a.png", "@eaDir/a.png/thumb.jpg", "b/Thumbs.db"):
        write(root / name)
    for name in ("b/out/predictions.json", "b/out/masks/1.png", "run1/run.json", "run1/split.csv"):
        write(root / name)
    (root / "inside.png").symlink_to(root / "a.png")
    (root / "door.png").symlink_to(outside)
    (root / "gone.png").symlink_to(root / "nothing.png")
    (root / "me.png").symlink_to(root / "me.png")
    (root / "folder").symlink_to(outside.parent, target_is_directory=True)
    (root / "b/loop").symlink_to(root, target_is_directory=True)
    os.mkfifo(root / "b/pipe.png")
    found = search(root)
    assert [str(path) for path in found.files] == ["a.png", "b/c.txt", "inside.png"]
    assert reasons(root) == {
        ".git/x/y.png": searching.HIDDEN,
        "._a.png": searching.SYSTEM,
        "@eaDir/a.png/thumb.jpg": searching.SYSTEM,
        "b/Thumbs.db": searching.SYSTEM,
        "b/out/predictions.json": searching.RESULTS,
        "b/out/masks/1.png": searching.RESULTS,
        "run1/run.json": searching.RESULTS,
        "run1/split.csv": searching.RESULTS,
        "door.png": searching.LINK_OUTSIDE,
        "gone.png": searching.LINK_OUTSIDE,
        "me.png": searching.LINK_OUTSIDE,
        "folder": searching.LINKED_FOLDER,
        "b/loop": searching.LINKED_FOLDER,
        "b/pipe.png": searching.NOT_REGULAR,
    }
    assert len(found.files) + len(found.left_out) == there(root)
    assert left_out_words(found.left_out)[0].startswith("4 results of ltcam (b/out/masks/1.png, ...)")


def test_a_folder_of_results_that_is_named_itself_is_searched(tmp_path: Path) -> None:
    write(tmp_path / "predictions.json")
    write(tmp_path / "masks/1.png")
    assert len(search(tmp_path).files) == 2
    assert [str(path) for path in search(tmp_path, leave_out=tmp_path / "masks").files] == [
        "predictions.json"
    ]


def test_a_closed_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a/1.png")
    write(tmp_path / "b/1.png")
    listing = os.scandir

    def refuse(folder: Path) -> object:
        if Path(folder).name == "b":  # root may list everything, so the mode alone would not do
            raise PermissionError(13, "Permission denied", str(folder))
        return listing(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert [str(path) for path in search(tmp_path).files] == ["a/1.png"]
    assert reasons(tmp_path) == {"b": searching.CLOSED}
    with pytest.raises(DataError, match=r"b cannot be read \(Permission denied\)"):
        search(tmp_path / "b")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.mp4", b"x", searching.VIDEO),
        ("a.ZIP", b"x", searching.ARCHIVE),
        ("a.heic", b"x", searching.OTHER_IMAGE),
        ("a", b"\xff\xd8\xff\xe0", searching.WRONG_SUFFIX),
        ("a.dat", b"\x89PNG\r\n\x1a\n", searching.WRONG_SUFFIX),
        ("a.txt", b"", searching.NO_IMAGE),
    ],
)
def test_why_a_file_is_no_image(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    write(tmp_path / name, content)
    assert why_no_image(tmp_path, PurePosixPath(name)) == reason


NAMES = st.sampled_from(
    [
        "a",
        "masks",
        ".x",
        "run.json",
        "@eaDir",
        "Thumbs.db",
        "p.png",
        "q.JPG",
        "\udcfc.png",
        "n\nl.png",
        "=cmd",
    ]
)
ENTRIES = st.lists(
    st.tuples(
        st.lists(NAMES, min_size=1, max_size=3), st.sampled_from(["file", "up", "self", "out", "pipe"])
    ),
    max_size=12,
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(ENTRIES)
def test_whatever_stands_there_adds_up(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[list[str], str]]
) -> None:
    root = tmp_path_factory.mktemp("any")
    for parts, kind in entries:
        path = root.joinpath(*parts)
        if path.exists() or path.is_symlink():
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "file":
                path.write_bytes(b"x")
            elif kind == "pipe":
                os.mkfifo(path)
            else:
                path.symlink_to({"up": root, "self": path, "out": Path("/nowhere")}[kind])
        except OSError:
            continue  # a folder above is a file or a link already
    found = search(root)
    everything = [*found.files, *(entry.path for entry in found.left_out)]
    assert len(everything) == len(set(everything)) == there(root)
