import pytest

from ltcam_runtime import mask_files, searching
from ltcam_runtime.phrases import counted, first_few, printable, said


@pytest.mark.parametrize(
    ("things", "one"),
    [
        (searching.NO_IMAGE, "1 file that is no image"),
        (searching.HIDDEN, "1 hidden"),
        (searching.RESULTS, "1 result of ltcam"),
        (searching.SYSTEM, "1 left by an operating system or a network drive"),
        (searching.NOT_REGULAR, "1 pipe, device or socket"),
        (mask_files.FITS_NONE, "1 mask that fits no image"),
        ("images that the manifest does not list", "1 image that the manifest does not list"),
        ("images that do not fit the layout folders", "1 image that does not fit the layout folders"),
        ("images", "1 image"),
        ("false alarms", "1 false alarm"),
        ("defects missed", "1 defect missed"),
        ("lists of labels", "1 list of labels"),
    ],
)
def test_one_is_not_many(things: str, one: str) -> None:
    assert counted(1, things) == one
    assert counted(1200, things) == f"1,200 {things}"
    assert counted(0, things) == f"0 {things}"


def test_of_each_reason_there_may_be_one() -> None:
    for name in (
        "LINKED_FOLDER",
        "LINK_OUTSIDE",
        "CLOSED",
        "VIDEO",
        "ARCHIVE",
        "OTHER_IMAGE",
        "WRONG_SUFFIX",
    ):
        words = counted(1, getattr(searching, name)).partition(":")[0]
        assert " are " not in words
        assert not words.split()[1].endswith("s")


def test_the_first_few() -> None:
    assert first_few(["a", "b"]) == "a, b"
    assert first_few(list("abcdefg"), 2) == "a, b and 5 more"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größe 测试\u3000🔩 1\u202f000\n<b>", "größe 测试\u3000🔩 1\u202f000\n<b>"),
        ("\x1b[31mred\a\t\r\x7f\x9b", "\\x1b[31mred\\x07\\t\\r\\x7f\\x9b"),
        ("gnp.\u202egpj.exe\u2066\u200b\ufeff", "gnp.\\u202egpj.exe\\u2066\\u200b\\ufeff"),
        ("\udcff\u2028\ue000\U000e0041", "\\udcff\\u2028\\ue000\\U000e0041"),
    ],
)
def test_only_what_can_be_seen_is_printed(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_of_a_word_without_end_its_ends_are_said() -> None:
    assert said(f"{'a' * 1999} is no\x1b file") == f"{'a' * 1999} is no\\x1b file"
    assert said(f"begin{'a' * 50_000_000}end is no file") == f"begin{'a' * 295}...{'a' * 97}end is no file"
