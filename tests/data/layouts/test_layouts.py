"""Recognition, and what is said when it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.conftest import Paint

from ltcam.data.dataset import OK
from ltcam.data.layouts import read_dataset
from ltcam.data.layouts.registry import LAYOUTS
from ltcam_runtime.errors import DataError


def build_ksdd(paint: Paint, mark: Paint) -> None:
    for part, value in enumerate((0, 1, 0)):
        paint(f"kos01/Part{part}.jpg")
        mark(f"kos01/Part{part}_label.bmp", value)


def build_ksdd2(paint: Paint, mark: Paint) -> None:
    for split, name, value in (("train", 10, 0), ("train", 11, 255), ("test", 12, 0)):
        paint(f"{split}/{name}.png")
        mark(f"{split}/{name}_GT.png", value)


def build_mvtec(paint: Paint, mark: Paint) -> None:
    paint("train/good/000.png")
    paint("test/good/000.png")
    paint("test/hole/000.png")
    mark("ground_truth/hole/000_mask.png")


def build_magnetic_tile(paint: Paint, mark: Paint) -> None:
    paint("MT_Free/Imgs/exp1_num_1000.jpg")
    mark("MT_Free/Imgs/exp1_num_1000.png", 0)
    paint("MT_Blowhole/Imgs/exp3_num_1040.jpg")
    mark("MT_Blowhole/Imgs/exp3_num_1040.png")


def build_folders(paint: Paint, mark: Paint) -> None:
    paint("good/a.png")
    paint("scratch/a.png")


def build_manifest(paint: Paint, mark: Paint) -> None:
    paint("x/a.png")
    manifest = paint("x/b.png").parents[1] / "manifest.csv"
    manifest.write_text("path,label\nx/a.png,ok\nx/b.png,dent\n")


def two_images(paint: Paint) -> Path:
    paint("images/a.png")
    return paint("images/b.png").parents[1]


def build_coco(paint: Paint, mark: Paint) -> None:
    images = [{"id": n, "file_name": f"{name}.png", "height": 48, "width": 64} for n, name in enumerate("ab")]
    objects = [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}]
    content = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "dent"}]}
    (two_images(paint) / "labels.json").write_text(json.dumps(content))


def build_label_studio(paint: Paint, mark: Paint) -> None:
    drawn = {"type": "choices", "value": {"choices": ["dent"]}}
    tasks = [
        {"data": {"image": f"{name}.png"}, "annotations": [{"result": result}]}
        for name, result in (("a", []), ("b", [drawn]))
    ]
    (two_images(paint) / "export.json").write_text(json.dumps(tasks))


def build_labelme(paint: Paint, mark: Paint) -> None:
    content = {
        "shapes": [{"label": "dent", "shape_type": "rectangle", "points": [[1, 1], [5, 5]]}],
        "imagePath": "b.png", "imageHeight": 48, "imageWidth": 64,
    }  # fmt: skip
    (two_images(paint) / "b.json").write_text(json.dumps(content))


def build_cvat(paint: Paint, mark: Paint) -> None:
    images = '<image name="a.png" width="64" height="48"/>'
    images += '<image name="b.png" width="64" height="48"><tag label="dent"/></image>'
    (two_images(paint) / "annotations.xml").write_text(f"<annotations>{images}</annotations>")


def build_voc(paint: Paint, mark: Paint) -> None:
    box = "<object><name>dent</name><bndbox><xmin>1</xmin></bndbox></object>"
    size = "<filename>x.jpg</filename><size><width>64</width></size>"
    (two_images(paint) / "b.xml").write_text(f"<annotation>{size}{box}</annotation>")


def build_lookout(paint: Paint, mark: Paint) -> None:
    about = {"type": "groundtruth/image-classification"}
    rows = [
        json.dumps({"source-ref": f"s3://x/{name}.png", "label": number, "label-metadata": about})
        for number, name in enumerate("ab")
    ]
    (two_images(paint) / "all.manifest").write_text("\n".join(rows))


def build_yolo(paint: Paint, mark: Paint) -> None:
    root = two_images(paint)
    (root / "labels").mkdir()
    (root / "labels" / "b.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (root / "classes.txt").write_text("dent\n")


BUILDERS = {
    "coco": build_coco,
    "label-studio": build_label_studio,
    "labelme": build_labelme,
    "cvat": build_cvat,
    "lookout": build_lookout,
    "yolo": build_yolo,
    "voc": build_voc,
    "ksdd": build_ksdd,
    "ksdd2": build_ksdd2,
    "mvtec": build_mvtec,
    "magnetic-tile": build_magnetic_tile,
    "folders": build_folders,
    "manifest": build_manifest,
}


def test_every_layout_has_a_builder() -> None:
    assert set(BUILDERS) == set(LAYOUTS)


@pytest.mark.parametrize("name", BUILDERS)
def test_layout_is_recognised_and_can_be_named(name: str, paint: Paint, mark: Paint, tmp_path: Path) -> None:
    BUILDERS[name](paint, mark)
    found = read_dataset(tmp_path)
    assert found.layout == name
    assert found == read_dataset(tmp_path, name)
    assert found.classes[0] == OK
    assert len(found.classes) == 2
    assert [s.id for s in found.samples] == sorted(s.id for s in found.samples)
    for sample in found.samples:
        assert sample.path == tmp_path / sample.id
        assert sample.path.is_file()
        assert sample.mask is None or (isinstance(sample.mask, Path) and sample.mask.is_file())


@pytest.mark.parametrize("name", BUILDERS)
def test_naming_a_layout_that_does_not_fit(name: str, tmp_path: Path, paint: Paint) -> None:
    paint("shots/one.gif.png")
    with pytest.raises(DataError, match=name if name != "folders" else "only one class"):
        read_dataset(tmp_path, name)


def test_manifest_wins_over_what_lies_beside_it(paint: Paint, mark: Paint, tmp_path: Path) -> None:
    build_folders(paint, mark)
    build_manifest(paint, mark)
    assert read_dataset(tmp_path).layout == "manifest"
    assert read_dataset(tmp_path / "manifest.csv").layout == "manifest"
    assert read_dataset(tmp_path, "folders").layout == "folders"


def test_unknown_layout_names_the_choices(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest, ksdd, .*did you mean folders"):
        read_dataset(tmp_path, "folder")


def test_csv_file_with_another_layout(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label\n")
    with pytest.raises(DataError, match="read as manifest, not as ksdd"):
        read_dataset(tmp_path / "m.csv", "ksdd")


def test_missing_folder_and_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_dataset(tmp_path / "nothing")
    with pytest.raises(DataError, match="no such file"):
        read_dataset(tmp_path / "nothing.csv")
    (tmp_path / "list.xlsx").touch()
    with pytest.raises(DataError, match=r"not a folder; give .* a list with the columns path,label as .csv"):
        read_dataset(tmp_path / "list.xlsx")


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the folder is empty"):
        read_dataset(tmp_path)


def test_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").touch()
    with pytest.raises(
        DataError,
        match=r"no images in this folder; .* 0 of them images.* 1 file that is no image \(readme.txt",
    ):
        read_dataset(tmp_path)


def test_unrecognised_folder_says_what_was_looked_for_and_found(paint: Paint, tmp_path: Path) -> None:
    paint("left/a.png")
    paint("right/a.png")
    with pytest.raises(
        DataError,
        match=r"in left/, right/\n  left/  1 image(.|\n)*--ok left\n(.|\n)*ksdd, ",
    ):
        read_dataset(tmp_path)


def test_data_set_one_folder_further_down_is_hinted_at(paint: Paint, mark: Paint, tmp_path: Path) -> None:
    paint("unpacked/good/a.png")
    paint("unpacked/dent/a.png")
    with pytest.raises(DataError, match=f"{tmp_path / 'unpacked'} could be read"):
        read_dataset(tmp_path)


def test_data_sets_of_days_and_cameras_are_hinted_at(paint: Paint, tmp_path: Path) -> None:
    """To name a day as OK would train days against each other."""
    for place in ("monday/left", "tuesday/left"):
        paint(f"{place}/OK/a.png")
        paint(f"{place}/NG/a.png")
    with pytest.raises(
        DataError, match=r"monday/left, .*tuesday/left could be read(.*)path,label,group"
    ) as said:
        read_dataset(tmp_path)
    assert "--ok" not in str(said.value)


def test_a_single_folder_of_defects_is_not_proposed_as_ok(paint: Paint, tmp_path: Path) -> None:
    paint("scratch/a.png")
    with pytest.raises(
        DataError, match=r"only folder of images is scratch(.|\n)*good/(.|\n)*`layout=folders`"
    ):
        read_dataset(tmp_path)
    assert read_dataset(tmp_path, "folders", one_class=True).classes == (OK, "scratch")


def test_a_list_of_labels_beside_the_images_is_hinted_at(paint: Paint, tmp_path: Path) -> None:
    paint("images/a.png")
    (tmp_path / "my labels.csv").write_text("file,class\nimages/a.png,ok\n")
    with pytest.raises(
        DataError, match=r"If my labels\.csv says what is OK.*\n  ltcam data check '.*my labels\.csv'"
    ):
        read_dataset(tmp_path)


def test_two_specific_layouts_at_once(paint: Paint, mark: Paint, tmp_path: Path) -> None:
    build_ksdd(paint, mark)
    build_magnetic_tile(paint, mark)
    with pytest.raises(DataError, match="ksdd and magnetic-tile at once; say which with `layout`"):
        read_dataset(tmp_path)
    assert read_dataset(tmp_path, "ksdd").layout == "ksdd"


@pytest.mark.parametrize(("folder", "lacking"), [("good", "defective images"), ("dent", "OK images")])
def test_one_class_only(folder: str, lacking: str, paint: Paint, tmp_path: Path) -> None:
    paint(f"{folder}/a.png")
    with pytest.raises(DataError, match=f"only one class.*needs {lacking}"):
        read_dataset(tmp_path, "folders")
    assert len(read_dataset(tmp_path, "folders", one_class=True).samples) == 1


def test_hidden_and_system_files_are_passed_over(paint: Paint, tmp_path: Path) -> None:
    paint("good/a.png")
    paint("dent/A.PNG", 1)
    for name in (".hidden.png", "Thumbs.db", "._a.png"):
        (tmp_path / "good" / name).write_bytes(b"x")
    paint(".trash/b.png")
    paint("__MACOSX/good/c.png")
    assert [s.id for s in read_dataset(tmp_path).samples] == ["dent/A.PNG", "good/a.png"]


def test_links_out_of_the_folder_are_not_followed(paint: Paint, tmp_path: Path) -> None:
    inside = tmp_path / "set"
    outside = paint("elsewhere/secret.png")
    paint("set/good/a.png")
    paint("set/dent/a.png")
    (inside / "good/link.png").symlink_to(outside)
    (inside / "good/dangling.png").symlink_to(tmp_path / "gone.png")
    (inside / "linked").symlink_to(outside.parent, target_is_directory=True)
    (inside / "good/loop").symlink_to(inside, target_is_directory=True)
    (inside / "good/same.png").symlink_to(inside / "good/a.png")
    ids = [s.id for s in read_dataset(inside).samples]
    assert ids == ["dent/a.png", "good/a.png", "good/same.png"]


def test_folder_of_outside_links_only_says_so(paint: Paint, tmp_path: Path) -> None:
    outside = paint("elsewhere/secret.png")
    inside = tmp_path / "set"
    inside.mkdir()
    (inside / "link.png").symlink_to(outside)
    with pytest.raises(DataError, match=r"1 link that leads out of the folder or to nothing.*link.png"):
        read_dataset(inside)


def test_a_string_will_do_for_a_path(paint: Paint, mark: Paint, tmp_path: Path) -> None:
    build_folders(paint, mark)
    assert read_dataset(Path(str(tmp_path))) == read_dataset(str(tmp_path))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["list.tsv", "LIST.TSV", "list.txt"])
def test_a_list_separated_by_tabs_is_a_manifest(name: str, tmp_path: Path, paint: Paint) -> None:
    for image in ("a.png", "b.png"):
        paint(image)
    (tmp_path / name).write_text("path\tlabel\na.png\tok\nb.png\tdent\n")
    assert read_dataset(tmp_path / name).label_counts() == {OK: 1, "dent": 1}
    (tmp_path / "notes.txt").write_text("made by me")
    with pytest.raises(DataError, match=f"If {name} says what is OK .* give the list instead"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a.json",
            '[{"image": "x/a.png", "choice": "ok", "annotation_id": 1, "lead_time": 2}]',
            "JSON-MIN of Label Studio",
        ),
        (
            "annotations.xml",
            '<annotations><track id="0"></track></annotations>',
            'export it as "CVAT for images 1.1"',
        ),
        ("labels.json", '{"a.png": "good"}', "labels.json names images, but is of no kind that is read"),
        (
            "coco.json",
            '{"images": [{"id": 1, "file_name": "a.png"}, {"id"',
            r"coco\.json: damaged \(.*export it again",
        ),
    ],
)
def test_labels_that_no_layout_reads_are_named(
    name: str, content: str, said: str, tmp_path: Path, paint: Paint
) -> None:
    paint("images/a.png")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said) as caught:
        read_dataset(tmp_path)
    assert "path,label" in str(caught.value) or "export it again" in str(caught.value)


def test_masks_without_classes_are_said(tmp_path: Path, paint: Paint, mark: Paint) -> None:
    for name in ("a.png", "b.png"):
        paint(f"images/{name}")
        mark(f"masks/{name}")
    with pytest.raises(DataError, match="2 of 2 images have masks, but no folder says which images are OK"):
        read_dataset(tmp_path)


def test_names_that_say_it_are_pointed_at(tmp_path: Path, paint: Paint) -> None:
    for name in ("part_001_OK.png", "part_001_NG.png", "part_002-OK.png"):
        paint(f"images/{name}")
    with pytest.raises(DataError, match="move images with OK in the name into good/, those with NG into NG/"):
        read_dataset(tmp_path)
