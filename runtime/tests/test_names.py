from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltcam_runtime.names import OutputNames, output_name

ODD = st.text(st.sampled_from("aA./\\:*?\0\n~ -ü\udcffé0") | st.characters(), max_size=40)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("Part5.jpg", "Part5"),
        ("kos01/Part5.JPG", "kos01/Part5"),
        ("a.b.png", "a.b"),
        ("v1.2/a.tif", "v1_2/a"),
        ("no suffix", "no suffix"),
        ("run.3", "run.3"),
        ("/data/x/a.png", "data/x/a"),
        ("./a//b.png", "a/b"),
        ("C:\\bilder\\a.png", "C_/bilder/a"),
        ("größe (2).png", "größe (2)"),
        (".hidden.png", "_hidden"),
        ("con.png", "_con"),
        ("", "image"),
        ("/", "image"),
    ],
)
def test_names_stay_readable(image: str, name: str) -> None:
    assert output_name(image) == name


@pytest.mark.parametrize("image", ["../../etc/passwd", "a/../../b.png", "..", "..\\..\\x.png", "../.."])
def test_no_name_leaves_the_folder(image: str, tmp_path: Path) -> None:
    target = (tmp_path / f"{output_name(image)}.png").resolve()
    assert target.is_relative_to(tmp_path)
    assert ".." not in PurePosixPath(output_name(image)).parts


@given(ODD)
def test_any_text_gives_a_safe_name(image: str) -> None:
    name = output_name(image)
    parts = PurePosixPath(name).parts
    assert "/".join(parts) == name
    assert parts
    for part in parts:
        assert not part.startswith((".", "-", "~"))
        assert not part.endswith((" ", "."))
        assert not set(part) & set('\\:*?"<>|\0\n')
        assert len(f"{part}.png".encode()) <= 255


@given(st.lists(ODD, max_size=20))
def test_different_images_have_different_names(images: list[str]) -> None:
    names = OutputNames()
    given_names = {image: names(image) for image in images}
    assert len({name.casefold() for name in given_names.values()}) == len(given_names)
    assert {image: names(image) for image in reversed(images)} == given_names


def test_a_second_image_of_a_name_shows_its_suffix() -> None:
    names = OutputNames()
    assert [names(image) for image in ("a.jpg", "a.png", "A.PNG", "b.png", "a.jpg")] == [
        "a",
        "a-png",
        "A-png-3",
        "b",
        "a",
    ]


def test_long_names_are_cut_but_stay_apart() -> None:
    one, other = (output_name("ü" * 300 + end) for end in ("1.png", "2.png"))
    assert one != other
    assert len(one.encode()) <= 150


def test_a_folder_is_never_named_like_a_file(tmp_path: Path) -> None:
    names = OutputNames()
    for image in ("a.jpg", "a.png/b.jpg"):
        path = tmp_path / f"{names(image)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
