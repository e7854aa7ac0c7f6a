from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.conftest import Paint

from ltcam.data.dataset import OK
from ltcam.data.layouts import read_dataset
from ltcam.data.layouts.manifest import listed_images, read_manifest
from ltcam_runtime.errors import DataError


@pytest.fixture
def manifest(tmp_path: Path, paint: Paint) -> Callable[..., Path]:
    for name in ("a.png", "b/c.png", "d.png"):
        paint(name)

    def write(text: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / "list.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def refused(path: Path, message: str) -> str:
    with pytest.raises(DataError, match=message) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_all_columns(manifest: Callable[..., Path], mark: Paint, tmp_path: Path) -> None:
    mark("m/c.png")
    dataset = read_dataset(
        manifest("path,label,split,mask,group\na.png,ok,train,,lot1\nb/c.png,dent,TEST,m/c.png,\n")
    )
    ok, dent = dataset.samples
    assert (ok.id, ok.label, ok.split, ok.mask, ok.group) == ("a.png", OK, "train", None, "lot1")
    assert (dent.id, dent.label, dent.split, dent.mask, dent.group) == (
        "b/c.png", "dent", "test", tmp_path / "m/c.png", "b/c.png",
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_dialects(manifest: Callable[..., Path], delimiter: str, end: str, encoding: str) -> None:
    rows = [("Label", " Path "), ("0", "a.png"), ("Öse, verbogen", "b/c.png")]
    text = end.join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    dataset = read_manifest(manifest(text, encoding))
    assert dataset.classes == (OK, "Öse, verbogen")


def test_a_label_that_a_column_beside_it_contradicts(manifest: Callable[..., Path]) -> None:
    """Of labels 1 and 0, 1 is a defect; a column `ok` that holds the same says that it is none."""
    path = manifest("path,label,OK\na.png,1,1\nb/c.png,0,0\n")
    refused(path, r"row 2: label 1 is read as 1, but ok is 1; correct .*`ok`.*row 3: label 0 is read as ok")
    assert [sample.label for sample in read_manifest(path, ["1"]).samples] == [OK, "0"]
    refused(manifest("path,label,is defect\na.png,ok,no\nb/c.png,dent,no\n"), "row 3: .*is defect is no")
    agreeing = read_manifest(manifest("path,label,is_defect\na.png,ok,False\nb/c.png,dent,True\n"))
    assert agreeing.classes == (OK, "dent")
    of_a_welder = read_manifest(manifest("path,label,pass\na.png,dent,1\nb/c.png,ok,2\n"))
    assert of_a_welder.classes == (OK, "dent")


@pytest.mark.parametrize("label", ["ok", "OK", "Good", "normal", "0"])
def test_names_of_the_ok_class(manifest: Callable[..., Path], label: str) -> None:
    assert read_manifest(manifest(f"path,label\na.png,{label}\n")).samples[0].label == OK


def test_paths_are_normalised(manifest: Callable[..., Path]) -> None:
    text = "path,label\n./a.png,ok\nb//c.png,dent\n"
    assert [s.id for s in read_manifest(manifest(text)).samples] == ["a.png", "b/c.png"]
    assert read_manifest(manifest("path,label\nb\\c.png,dent\n")).samples[0].id == "b/c.png"
    assert read_manifest(manifest("path,label\nb/../a.png,dent\n")).samples[0].id == "a.png"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../a.png",
        "b/../../a.png",
        "C:\\x\\a.png",
        "C:a.png",
        "\\\\host\\share\\a.png",
        "..\\a.png",
    ],
)
@pytest.mark.parametrize("column", ["path", "mask"])
def test_paths_that_leave_the_folder(manifest: Callable[..., Path], path: str, column: str) -> None:
    row = f"{path},dent,a.png" if column == "path" else f"a.png,dent,{path}"
    refused(
        manifest(f"path,label,mask\nd.png,ok,\n{row}\n"),
        f"row 3: ({column} .*leads out|.*write them as they count)",
    )


def test_link_that_leaves_the_folder(
    manifest: Callable[..., Path], tmp_path: Path, paint: Paint, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "x.png").write_bytes(b"x")
    (tmp_path / "link.png").symlink_to(outside / "x.png")
    (tmp_path / "door").symlink_to(outside, target_is_directory=True)
    message = refused(
        manifest("path,label\nlink.png,ok\ndoor/x.png,dent\na.png,ok\n"), "row 2: path link.png leads out"
    )
    assert "row 3: path door/x.png leads out" in message
    assert "row 4" not in message


def test_contradictory_and_repeated_rows(manifest: Callable[..., Path]) -> None:
    message = refused(
        manifest("path,label\na.png,ok\n./a.png,dent\nd.png,ok\nd.png,good\n"),
        "row 3: a.png is labelled dent, but ok in row 2",
    )
    assert "row 5: d.png is in row 4 already" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("path,label\n", "header but no row"),
        ("a.png,ok\n", r"column\(s\) path, label missing in the first row, which has: a.png, ok"),
        ("path,split\na.png,train\n", r"column\(s\) label missing"),
        ("path,label,path\na.png,ok,d.png\n", "path twice"),
        ("path,label,split\na.png,ok,dev\n", "row 2: split is dev; it must be train, val, test or empty"),
        ("path,label\na.png,\n", "row 2: label is empty"),
        ("path,label\n,ok\n", "row 2: path is empty"),
        ("path,label\na.png,ok,train\n", "row 2: 3 values for 2 columns"),
        ("path,label\nq.png,ok\n", "none of its 1 image files is there"),
        ("path,label\nc.png,ok\n", "b/c.png is there: write b/ before the paths, or move the list into b/"),
        (
            "file,image,label\na.png,a.png,ok\n",
            "file and image may each be the column path; call one of them path",
        ),
        ('path,label\n"a.png,ok\n', "row 2: not valid CSV"),
        ('"path,label"\n"a.png,ok\nd"\n', "row 3: not valid CSV"),
        ("path,label\na\0.png,ok\n", "NUL|not valid CSV"),
        ("path,label" + ",x" * 1_000_000 + "\n", "1,000,002 columns in the first row"),
    ],
)
def test_faults(manifest: Callable[..., Path], text: str, message: str) -> None:
    refused(manifest(text), message)


def test_a_name_without_ending_that_two_images_have(manifest: Callable[..., Path], paint: Paint) -> None:
    paint("d.bmp")
    dataset = read_manifest(manifest("path,label\na,ok\nd,ng\n"))
    assert [sample.id for sample in dataset.samples] == ["a.png", "d"]


def test_not_utf8(manifest: Callable[..., Path]) -> None:
    refused(manifest("path,label\na.png,Öse\n", "latin-1"), "not UTF-8")


def test_only_the_first_faults_are_listed(manifest: Callable[..., Path]) -> None:
    rows = "".join(f"x{i}.png,ok,nope\n" for i in range(25))
    message = refused(manifest("path,label,split\n" + rows), "row 2: split")
    assert "row 11" in message
    assert "row 12" not in message
    assert "15 more" in message


def test_rows_count_lines_of_the_file(manifest: Callable[..., Path]) -> None:
    refused(manifest("path,label,split\n\na.png,ok,\n\n\nd.png,ok,dev\n"), "row 6: split")


def test_a_missing_image_file_stays_a_sample(manifest: Callable[..., Path]) -> None:
    dataset = read_manifest(manifest("path,label\na.png,ok\ngone.png,dent\n"))
    assert [s.id for s in dataset.samples] == ["a.png", "gone.png"]


DIALECTS = {
    "bool": b"path,label\na.png,False\nd.png,True\n",
    "comma decimals": b"path;label;group\na.png;ok;1,5\nd.png;ng;1,5\n",
    "cr": b"path,label\ra.png,ok\rd.png,ng\r",
    "bom, semicolons, crlf": b"\xef\xbb\xbfpath;label\r\na.png;OK\r\nd.png;NG\r\n",
    "empty lines": b"\n\npath,label\n\na.png,ok\n\n\nd.png,ng\n",
    "floats": b"path,label\na.png,0.0\nd.png,1.0\n",
    "comment": b'# it\'s "exported"\npath,label\na.png,ok\nd.png,ng\n',
    "index column": b",path,label\n0,a.png,ok\n1,d.png,ng\n",
    "00": b"path,label\na.png,00\nd.png,01\n",
    "nan masks": b"path,label,mask,group,split\na.png,ok,nan,nan,NaN\nd.png,ng,,None,\n",
    "words": b"path,label\na.png,no_defect\nd.png,defect\n",
    "spaces": b"path,label\na.png, ok \nd.png,ng \n",
    "sep": b"sep=;\npath;label\na.png;ok\nd.png;ng\n",
    "sep of a pipe": b"sep=|\r\npath|label\r\na.png|ok\r\nd.png|ng\r\n",
    "split names": b"path,label,split\na.png,ok,training\nd.png,ng,Validation\n",
    "tabs": b"path\tlabel\na.png\tok\nd.png\tng\n",
    "trailing": b"path,label,\na.png,ok,\nd.png,ng,,,\n",
    "upper": b"PATH,Label,Split\na.png,Good,Train\nd.png,Scratch,TEST\n",
    "utf-16": "path,label\na.png,ok\nd.png,ng\n".encode("utf-16"),
    "in German": "Dateiname;Klasse;Länge\r\na.png;i.O.;0,5\r\nd.png;Kratzer;1,5\r\n".encode(),
    "asked in German": b"Bild;IO\na.png;WAHR\nd.png;FALSCH\n",
    "rows in quotes": b'"path,label"\r\n"a.png,ok"\r\n"d.png,ng"\r\n',
    "without endings": b"image_id,label\na,ok\nD,ng\n",
    "results": b"Image Name,Result,Comment\na.png,PASS,x\nd.png,FAIL,\n",
    "results in German": b"Datei Name;Ergebnis\na.png;I.O.\nd.png;N.I.O.\n",
    "bars": b"path|label\na.png|ok\nd.png|ng\n",
    "other case": b"path,label\nA.PNG,ok\nD.png,ng\n",
}


@pytest.mark.parametrize("name", DIALECTS)
def test_dialects_of_other_programs(name: str, tmp_path: Path, paint: Paint) -> None:
    paint("a.png")
    paint("d.png")
    (tmp_path / "list.csv").write_bytes(DIALECTS[name])
    ok, defect = read_manifest(tmp_path / "list.csv").samples
    assert (ok.id, ok.label, defect.id, ok.mask) == ("a.png", OK, "d.png", None)
    assert defect.label != OK
    assert ok.path.is_file()
    assert "nan" not in (ok.group.lower(), defect.group.lower())


def test_unicode_forms_of_a_name_are_one(tmp_path: Path, paint: Paint) -> None:
    composed, split = (unicodedata.normalize(form, "Prüf.png") for form in ("NFC", "NFD"))
    paint(composed)
    paint("d.png")
    (tmp_path / "list.csv").write_text(f"path,label\n{split},ok\nd.png,ng\n", encoding="utf-8")
    assert {sample.path.is_file() for sample in read_manifest(tmp_path / "list.csv").samples} == {True}


def test_thresholds_of_masks(manifest: Callable[..., Path], mark: Paint, tmp_path: Path) -> None:
    mark("m.png", 100)
    dataset = read_manifest(manifest("path,label,mask,mask_threshold\na.png,ng,m.png,120\nd.png,ng,m.png,\n"))
    assert [sample.mask_threshold for sample in dataset.samples] == [120, None]
    refused(manifest("path,label,mask_threshold\na.png,ok,300\n"), "row 2: mask_threshold is 300")


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "endless.csv").symlink_to("/dev/zero")
    for name in ("pipe.csv", "endless.csv"):
        refused(tmp_path / name, "not a regular file")


def test_a_field_without_end_is_named(manifest: Callable[..., Path]) -> None:
    refused(manifest(f"path,label\na.png,ok\nd.png,{'x' * 140_000}\n"), "row 3: not valid CSV.*field larger")


def test_files_that_a_manifest_does_not_list_are_left_out(tmp_path: Path, paint: Paint, mark: Paint) -> None:
    for name in ("a.png", "d.png", "other.png"):
        paint(name)
    mark("masks/d.png")
    (tmp_path / "manifest.csv").write_text(
        "path,label,mask\na.png,ok,\nd.png,dent,masks/d.png\ngone.png,ok,\n"
    )
    files = read_dataset(tmp_path).files
    assert (files.images, files.masks, files.lists, files.there) == (2, 1, 1, 5)
    assert [(str(entry.path), entry.reason) for entry in files.left_out] == [
        ("other.png", "images that the manifest does not list")
    ]


@pytest.mark.parametrize(
    "header",
    [
        "file,class",
        "image_path,label",
        "Image Path,Category",
        "filename,TARGET",
        "path,class",
        '"img","labels"',
    ],
)
def test_other_usual_names_of_columns(manifest: Callable[..., Path], header: str) -> None:
    dataset = read_manifest(manifest(f"{header}\na.png,good\nb/c.png,dent\n"))
    assert [(s.id, s.label) for s in dataset.samples] == [("a.png", OK), ("b/c.png", "dent")]


def test_columns_of_results_count_where_they_say_ok(manifest: Callable[..., Path]) -> None:
    rows = "a.png,good\nd.png,dent\n"
    assert read_manifest(manifest(f"path,quality\n{rows}")).notes == (
        "Labels are read from the column quality.",
    )
    refused(manifest("path,status\na.png,done\nd.png,todo\n"), r"column\(s\) label missing")
    refused(manifest("path,status,result\na.png,ok,ok\nd.png,ng,ng\n"), r"column\(s\) label missing")
    asked = read_manifest(manifest("path,is_defect,status\na.png,0,ok\nd.png,1,ok\n"))
    assert asked.label_counts() == {OK: 1, "defect": 1}


@pytest.mark.parametrize("said", ["0", "1", "yes", "False"])
def test_of_results_without_words_nobody_knows_what_is_good(said: str, manifest: Callable[..., Path]) -> None:
    other = {"0": "1", "1": "0", "yes": "no", "False": "True"}[said]
    refused(manifest(f"path,result\na.png,{said}\nd.png,{other}\n"), r"column\(s\) label missing")
    rows = f"a.png,{said},0,0\nd.png,{other},0,1\n"
    refused(manifest(f"path,quality,scratch,dent\n{rows}"), r"column\(s\) label missing")


def test_no_image_is_ok_whose_result_is_not(manifest: Callable[..., Path]) -> None:
    rows = ((2, "OK,0,0,1"), (2, "NOK,0,0,0"), (2, "NOK,1,0,1"), (2, "NOK,0,1,0"))
    dataset = read_manifest(manifest(table("result,scratch,dent,night", *rows)))
    assert dataset.label_counts() == {OK: 2, "NOK": 2, "dent": 2, "scratch": 2}


def test_a_result_beside_a_column_that_names_a_defect(manifest: Callable[..., Path]) -> None:
    """A condition of normal may be that of the light."""
    rows = "a.png,normal,none\nb/c.png,normal,\nd.png,normal,scratch\n"
    said = refused(
        manifest(f"path,condition,defect_type\n{rows}"), "row 4: condition is normal, but defect_type is"
    )
    assert "leave one of the columns out" in said
    fitting = rows.replace("d.png,normal", "d.png,bad")
    assert read_manifest(manifest(f"path,result,defect_type\n{fitting}")).label_counts() == {OK: 2, "bad": 1}


def test_columns_beside_an_answer_that_name_a_defect(manifest: Callable[..., Path]) -> None:
    rows = "a.png,1,OK\nb/c.png,0,NOK\nd.png,1,NOK\n"
    refused(manifest(f"path,passed,result\n{rows}"), "row 4: passed is 1, but result is NOK; correct one")
    numbers = "a.png,0,17,ok,none\nd.png,1,18,ok,dent\n"
    for name in ("defect_id", "default_value", "damage_count"):
        dataset = read_manifest(manifest(f"path,is_defect,{name},status,flaw\n{numbers}"))
        assert dataset.label_counts() == {OK: 1, "defect": 1}


def test_a_column_of_a_kind_never_makes_a_defective_image_ok(manifest: Callable[..., Path]) -> None:
    dataset = read_manifest(
        manifest(table("is_defect,thread,no_thread", (1, "0,0,0"), (1, "1,1,0"), (1, "1,0,1")))
    )
    assert dataset.label_counts() == {OK: 1, "defect": 1, "thread": 1}


def test_the_columns_own_name_wins(manifest: Callable[..., Path]) -> None:
    dataset = read_manifest(manifest("file,path,label,class\nx,a.png,ok,1\ny,d.png,dent,2\n"))
    assert [(s.id, s.label) for s in dataset.samples] == [("a.png", OK), ("d.png", "dent")]


def test_absolute_paths_below_the_folder_are_as_good_as_others(
    manifest: Callable[..., Path], tmp_path: Path
) -> None:
    alias = tmp_path.with_name(f"{tmp_path.name}-alias")
    alias.symlink_to(tmp_path)
    rows = f"path,label,mask\n{tmp_path}/a.png,ok,\n{alias}/b/c.png,dent,{tmp_path}/d.png\n"
    ok, dent = read_manifest(manifest(rows)).samples
    assert (ok.id, dent.id, dent.mask) == ("a.png", "b/c.png", tmp_path / "d.png")


@pytest.mark.parametrize("root", ["C:\\data\\", "\\\\server\\share\\", "/home/somebody/"])
def test_absolute_paths_of_another_machine_are_one_error(
    manifest: Callable[..., Path], root: str, tmp_path: Path
) -> None:
    separator = "\\" if "\\" in root else "/"
    rows = "".join(f"{root}{name},ok\n" for name in ("a.png", separator.join(("b", "c.png")), "d.png"))
    said = refused(manifest(f"path,label\n{rows}"), "3 paths that are absolute and not below")
    assert f"(row 2: {root}a.png)" in said
    assert said.endswith(f"; a.png is there: take {root.rstrip(separator)} off the paths") or "server" in root
    assert said.count("row") == 1


def test_absolute_paths_that_climb_are_refused(manifest: Callable[..., Path], tmp_path: Path) -> None:
    refused(manifest(f"path,label\n{tmp_path}/b/../../x.png,ok\n"), "absolute|leads out")


@pytest.mark.parametrize(
    ("column", "good", "bad", "name"),
    [
        ("defect", "no", "yes", "defect"),
        ("Defective", "False", "True", "defect"),
        ("is anomaly", "0", "1", "defect"),
        ("NG", "n", "Y", "defect"),
        ("defect", "none", "scratch", "scratch"),
        ("ok", "yes", "no", "defect"),
        ("is_good", "1", "0", "defect"),
        ("pass", "ja", "nein", "defect"),
    ],
)
def test_a_column_that_asks_is_answered(
    manifest: Callable[..., Path], column: str, good: str, bad: str, name: str
) -> None:
    dataset = read_manifest(manifest(f"path,{column}\na.png,{good}\nb/c.png,{bad}\n"))
    assert dataset.label_counts() == {OK: 1, name: 1}


def test_a_column_of_labels_counts_more_than_one_that_asks(manifest: Callable[..., Path]) -> None:
    dataset = read_manifest(manifest("path,label,ok\na.png,good,yes\nb/c.png,dent,no\n"))
    assert dataset.label_counts() == {OK: 1, "dent": 1}
    refused(manifest("path,ok,defect\na.png,yes,no\n"), r"column\(s\) label missing")
    refused(manifest("path,defect\na.png,\nb/c.png,no\n"), "row 2: label is empty")


@pytest.mark.parametrize(
    ("header", "good", "bad"),
    [
        ("path,ok,scratch,dent", "1,0,0", "0,0,1"),
        ("path;good;scratch;dent", "1;0;0", "0;0;1"),
        ("filename,Scratch,dent,split", "0,0,train", "False,True,train"),
        ("path,defect,scratch,dent", "no,no,no", "yes,no,yes"),
        ("path,score,no_defect,scratch,dent", "0.7,1.0,0.0,0.0", "0.1,0.0,0.0,1.0"),
    ],
)
def test_a_column_for_each_kind(manifest: Callable[..., Path], header: str, good: str, bad: str) -> None:
    mark = ";" if ";" in header else ","
    dataset = read_manifest(manifest(f"{header}\na.png{mark}{good}\nb/c.png{mark}{bad}\n"))
    assert [sample.label for sample in dataset.samples] == [OK, "dent"]
    assert "read from the columns" in dataset.notes[0]
    assert "dent" in dataset.notes[0]


@pytest.mark.parametrize("column", ["fold", "Train", "is test"])
def test_columns_of_yes_and_no_that_are_no_kinds(manifest: Callable[..., Path], column: str) -> None:
    dataset = read_manifest(manifest(f"path,is_defect,{column}\na.png,0,1\nb/c.png,1,1\nd.png,0,0\n"))
    assert dataset.label_counts() == {OK: 2, "defect": 1}


def test_kinds_that_say_nothing_or_too_much(manifest: Callable[..., Path]) -> None:
    of_no_kind = read_manifest(manifest("path,ok,scratch,dent\na.png,0,0,0\nb/c.png,0,0,1\nd.png,1,0,0\n"))
    assert [sample.label for sample in of_no_kind.samples] == ["defect", "dent", OK]
    refused(
        manifest("path,ok,scratch\na.png,1,1\nb/c.png,1,0\n"), "row 2: it is ok and scratch at once; correct"
    )
    refused(manifest("path,defect,scratch\na.png,good,1\nb/c.png,dent,0\n"), "row 2: it is good and scratch")
    refused(manifest("path,scratch,dent\na.png,0,0\nb/c.png,1,2\n"), r"column\(s\) label missing")
    several = read_manifest(manifest("path,scratch,dent\na.png,0,0\nb/c.png,1,1\nd.png,0,1\n"))
    assert [sample.label for sample in several.samples] == [OK, "scratch", "dent"]
    assert several.notes == (
        "Kinds of defect are read from the columns scratch, dent.",
        "1 image of several kinds of defect: each counts as the most frequent one, or the first.",
    )


def table(header: str, *rows: tuple[int, str]) -> str:
    """A table of images without files but the first three, each row as often as is said."""
    names = (name for names in (["a", "b/c", "d"], (f"e{n}" for n in range(99))) for name in names)
    lines = [f"{next(names)}.png,{cells}" for count, cells in rows for _ in range(count)]
    return "\n".join([f"path,{header}", *lines])


def test_columns_that_say_yes_of_ok_images_too_are_no_kinds(manifest: Callable[..., Path]) -> None:
    rows = ((6, "0,0,0,0"), (3, "0,0,0,1"), (2, "1,1,0,1"), (2, "1,0,1,0"))
    dataset = read_manifest(manifest(table("is_defect,scratch,dent,from_line_two", *rows)))
    assert dataset.label_counts() == {OK: 9, "dent": 2, "scratch": 2}
    assert dataset.notes[0] == "Kinds of defect are read from the columns scratch, dent."
    assert dataset.notes[1].endswith("or of every defect: from_line_two.")
    alone = read_manifest(manifest(table("ok,is_blurry", (4, "1,0"), (2, "1,1"), (2, "0,1"))))
    assert alone.label_counts() == {OK: 6, "defect": 2}


def test_a_few_ok_images_with_a_kind_are_slips(manifest: Callable[..., Path]) -> None:
    rows = ((9, "0,0"), (2, "0,1"), (20, "1,1"))
    refused(
        manifest(table("is_defect,scratch", *rows)),
        "row 11: it is ok and scratch at once; .*leave out a column",
    )


def test_a_column_that_repeats_the_question_is_no_kind(manifest: Callable[..., Path]) -> None:
    rows = ((3, "0,0,0,0"), (2, "1,1,1,0"), (2, "1,1,0,1"))
    dataset = read_manifest(manifest(table("is_defect,truth,scratch,dent", *rows)))
    assert dataset.label_counts() == {OK: 3, "dent": 2, "scratch": 2}
    only = read_manifest(manifest(table("is_defect,scratch,dent", (3, "0,0,0"), (2, "1,1,0"), (1, "1,1,1"))))
    assert only.label_counts() == {OK: 3, "scratch": 3}


def test_a_row_for_each_object(manifest: Callable[..., Path]) -> None:
    """Sheets of boxes and of segments have as many rows for an image as it has defects."""
    rows = "a.png,0\nb/c.png,3\nb/c.png,1\nb/c.png,1\nd.png,2\nd.png,2\n"
    dataset = read_manifest(manifest(f"ImageId,ClassId\n{rows}"))
    assert [sample.label for sample in dataset.samples] == [OK, "1", "2"]
    assert dataset.notes[0].startswith("1 image of several kinds")
    said = refused(
        manifest("path,label,mask\na.png,dent,d.png\na.png,dent,\nb/c.png,ok,\nb/c.png,dent,\n"),
        "row 3: a.png is in row 2 with another split, mask or group",
    )
    assert "row 5: b/c.png is labelled dent, but ok in row 4" in said


def test_a_list_of_images_says_what_it_needs(manifest: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"column\(s\) path missing .* must name the columns path$"):
        listed_images(manifest("a.png\nd.png\n"))


def test_a_list_of_images_needs_no_labels(manifest: Callable[..., Path], tmp_path: Path) -> None:
    assert listed_images(manifest("file;camera\na.png;1\nb\\c.png;2\na.png;3\n")) == [
        ("a.png", tmp_path / "a.png"),
        ("b/c.png", tmp_path / "b/c.png"),
    ]
    assert len(listed_images(manifest("path,class,target\na.png,ok,0\n"))) == 1
    with pytest.raises(DataError, match="row 2: path is empty"):
        listed_images(manifest("file,camera\n,1\n"))


@pytest.mark.parametrize("name", ["Gruppe", "group id", "groupe"])
def test_groups_by_another_name(manifest: Callable[..., Path], name: str) -> None:
    dataset = read_manifest(manifest(f"Pfad;Label;{name}\na.png;ok;7\nb/c.png;dent;7\nd.png;ok;8\n"))
    assert [sample.group for sample in dataset.samples] == ["7", "7", "8"]


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("Los", "1 1 2", True),
        ("Charge", "1 1 2", True),
        ("serial number", "1 1 2", True),
        ("Los", "1 2 3", False),  # every image its own
        ("Los", "1 1 1", False),
        ("colour", "1 1 2", False),
    ],
)
def test_a_column_that_may_be_the_group(
    manifest: Callable[..., Path], column: str, values: str, said: bool
) -> None:
    first, second, third = values.split()
    dataset = read_manifest(
        manifest(f"path,label,{column}\na.png,ok,{first}\nb/c.png,dent,{second}\nd.png,ok,{third}\n")
    )
    assert len({sample.group for sample in dataset.samples}) == 3
    assert any("call it group" in note for note in dataset.notes) == said
