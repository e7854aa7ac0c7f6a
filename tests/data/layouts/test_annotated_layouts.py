"""Exports of annotation tools: any object makes an image defective, none makes it OK."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ltcam.data.dataset import OK, Dataset, Sample
from ltcam.data.layouts import read_dataset
from ltcam.data.truth import read_marks, read_truth
from ltcam_runtime.errors import DataError, InputError

Paint = Callable[..., Path]
SIZE = (48, 64)
SQUARE = np.zeros(SIZE, bool)
SQUARE[10:20, 30:50] = True
CORNERS = [30, 10, 50, 10, 50, 20, 30, 20]


def by_id(dataset: Dataset) -> dict[str, Sample]:
    return {sample.id: sample for sample in dataset.samples}


def truth(sample: Sample) -> np.ndarray:
    drawn = read_truth(sample, SIZE)
    assert drawn is not None
    marks = read_marks(sample)
    assert marks is not None
    assert np.array_equal(drawn, marks)
    return drawn


# ---------------------------------------------------------------------------------------- coco


def coco(path: Path, names: list[str], annotations: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"id": n, "file_name": name, "height": 48, "width": 64} for n, name in enumerate(names)]
    kinds = [{"id": 3, "name": "crack"}, {"id": 7, "name": "dent"}, {"id": 8, "name": "OK"}]
    content = {"images": images, "categories": kinds, "annotations": annotations}
    path.write_text(json.dumps(content))


def mark_of(image: int, kind: int, segmentation: Any = None) -> dict[str, Any]:
    own = {} if segmentation is None else {"segmentation": segmentation}
    return {"image_id": image, "category_id": kind, "bbox": [30, 10, 20, 10], **own}


def test_coco(paint: Paint, tmp_path: Path) -> None:
    names = [paint(f"pictures/{name}.png").name for name in "abcdef"]
    runs = [30 * 48 + 10] + [10, 38] * 19 + [10, 28 + 14 * 48]
    rows = [
        mark_of(0, 7, [CORNERS]),
        mark_of(1, 3, {"size": [48, 64], "counts": runs}),
        mark_of(2, 3),
        mark_of(2, 7, [CORNERS]),
        mark_of(2, 7, [CORNERS]),
        mark_of(4, 8, [CORNERS]),
    ]
    coco(tmp_path / "annotations" / "instances_val2017.json", names, rows)
    dataset = read_dataset(tmp_path)
    found = by_id(dataset)
    assert dataset.layout == "coco"
    assert dataset.classes == ("ok", "crack", "dent")
    labels = [found[f"pictures/{name}.png"].label for name in "abcdef"]
    assert labels == ["dent", "crack", "dent", "ok", "ok", "ok"]
    assert dataset.notes[0].startswith("1 image of several kinds of defect")
    assert np.array_equal(truth(found["pictures/a.png"]), SQUARE)
    assert np.array_equal(truth(found["pictures/b.png"]), SQUARE)
    assert found["pictures/c.png"].mask is None  # one of its objects is a box
    assert found["pictures/d.png"].mask is None
    assert {sample.split for sample in dataset.samples} == {None}, "one list tells no sides apart"


@pytest.mark.parametrize("runs", [[10, 3], [10, 48 * 64], [-1, 48 * 64 + 1]])
def test_run_lengths_of_coco_that_do_not_fill_the_image(
    paint: Paint, tmp_path: Path, runs: list[int]
) -> None:
    """A mask that somebody cut off would be measured as if it were whole; the others are read all the same."""
    names = [paint(f"{name}.png").name for name in "abc"]
    broken = {"id": 71, **mark_of(0, 3, {"size": [48, 64], "counts": runs})}
    coco(tmp_path / "x.json", names, [broken, mark_of(1, 3, [CORNERS])])
    found = by_id(read_dataset(tmp_path))
    with pytest.raises(InputError, match=r"x\.json.*run lengths of annotation 71"):
        read_truth(found["a.png"], SIZE)
    assert np.array_equal(truth(found["b.png"]), SQUARE)


def test_coco_files_beside_their_sides(paint: Paint, tmp_path: Path) -> None:
    """Roboflow: the same name in two folders means two images."""
    for side in ("train", "valid", "test"):
        paint(f"{side}/a.png")
        paint(f"{side}/b.png")
        coco(tmp_path / side / "_annotations.coco.json", ["a.png", "b.png"], [mark_of(0, 3, [CORNERS])])
    found = by_id(read_dataset(tmp_path))
    assert len(found) == 6
    assert [found[f"{side}/a.png"].split for side in ("train", "valid", "test")] == ["train", "val", "test"]
    assert {sample.label for name, sample in found.items() if "/a" in name} == {"crack"}
    assert {sample.label for name, sample in found.items() if "/b" in name} == {"ok"}


def test_ids_and_names_of_coco_that_are_written_otherwise(paint: Paint, tmp_path: Path) -> None:
    """An id is no other one for being text; a kind is no other one for its capital letters."""
    names = [paint(f"{name}.png").name for name in "abcd"]
    coco(tmp_path / "x.json", names, [mark_of(0, 3), mark_of(1, 5), mark_of(1, 5)])
    content = json.loads((tmp_path / "x.json").read_text())
    content["categories"].append({"id": "5", "name": " Crack"})
    for row, image in zip(content["annotations"], ("0", 1.0, "1"), strict=True):
        row["image_id"] = image
    (tmp_path / "x.json").write_text(json.dumps(content))
    assert [sample.label for sample in read_dataset(tmp_path).samples] == ["Crack", "Crack", "ok", "ok"]


@pytest.mark.parametrize(
    ("member", "entry", "said"),
    [
        ("annotations", mark_of(9, 3), "image_id 9, which is none of images"),
        ("annotations", mark_of(0, 9), "category_id 9, which is none of categories"),
        ("images", {"id": "1", "file_name": "c.png", "height": 48, "width": 64}, "images has the id 1 twice"),
        ("categories", {"id": 3, "name": "hole"}, "categories has the id 3 twice"),
    ],
)
def test_ids_of_coco_that_contradict(
    paint: Paint, tmp_path: Path, member: str, entry: dict[str, Any], said: str
) -> None:
    names = [paint(f"{name}.png").name for name in "ab"]
    coco(tmp_path / "x.json", names, [mark_of(0, 3)])
    content = json.loads((tmp_path / "x.json").read_text())
    content[member].append(entry)
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=said):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"images": [{}], "annotations": [], "categories": [], "x": "file_name"}', "'id' is missing"),
        ('{"images" "annotations" "categories" "file_name"', "not a COCO file"),
        ('["images", "annotations", "categories", "file_name"]', "not a COCO file"),
    ],
)
def test_damaged_coco(paint: Paint, tmp_path: Path, content: str, said: str) -> None:
    paint("a.png")
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match=said):
        read_dataset(tmp_path)


def test_missing_images(paint: Paint, tmp_path: Path) -> None:
    paint("a.png")
    coco(tmp_path / "x.json", ["a.png", "../../b.png"], [mark_of(1, 3)])
    found = by_id(read_dataset(tmp_path))
    assert found["b.png"].path == tmp_path / "b.png"  # reported as not there, inside the folder
    coco(tmp_path / "x.json", ["c.png", "d.png"], [mark_of(1, 3)])
    with pytest.raises(DataError, match=r"none of the 2 images .* called c\.png, d\.png"):
        read_dataset(tmp_path)


def test_a_name_that_fits_two_files(paint: Paint, tmp_path: Path) -> None:
    paint("one/a.png")
    paint("two/a.png")
    coco(tmp_path / "x.json", ["a.png"], [])
    with pytest.raises(DataError, match=r"a\.png may be any of one/a\.png, two/a\.png"):
        read_dataset(tmp_path)


# ---------------------------------------------------------------------------------------- yolo

POLYGON_ROW = " ".join(f"{value / side:.6f}" for value, side in zip(CORNERS, [64, 48] * 4, strict=True))


def test_yolo(paint: Paint, tmp_path: Path) -> None:
    for name in ("images/train/a", "images/train/b", "images/val/c", "images/val/d"):
        paint(f"{name}.png")
    rows = {"train/a": f"1 {POLYGON_ROW}\n", "train/b": "0 0.5 0.5 0.2 0.1\n", "val/c": "\n"}
    for name, text in rows.items():
        path = tmp_path / "labels" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "data.yaml").write_text("names:\n  0: crack\n  1: dent\n")
    dataset = read_dataset(tmp_path)
    found = by_id(dataset)
    assert dataset.layout == "yolo"
    assert [(sample.label, sample.split) for sample in dataset.samples] == [
        ("dent", "train"),
        ("crack", "train"),
        ("ok", "val"),
        ("ok", "val"),
    ]
    assert np.array_equal(truth(found["images/train/a.png"]), SQUARE)
    assert found["images/train/b.png"].mask is None


def test_yolo_with_all_files_in_one_folder(paint: Paint, tmp_path: Path) -> None:
    """As CVAT exports it: obj.names, and text files beside the images."""
    paint("obj_train_data/a.png")
    paint("obj_train_data/b.png")
    (tmp_path / "obj.names").write_text("crack\n")
    (tmp_path / "obj_train_data" / "a.txt").write_text("0 0.5 0.5 0.1 0.1 0.93\n")
    dataset = read_dataset(tmp_path)
    assert [sample.label for sample in dataset.samples] == ["crack", "ok"]


@pytest.mark.parametrize(
    ("image", "label", "names"),
    [
        ("a.png", "a.txt", "classes.txt"),
        ("a.png", "labels/a.txt", "classes.txt"),
        ("images/a.png", "images/a.txt", "images/classes.txt"),
        ("images/a.png", "labels/a.txt", "labels/classes.txt"),
        ("imgs/a.png", "labels/a.txt", "obj.names"),
        ("JPEGImages/a.png", "Labels/a.txt", "classes.txt"),
        ("train/a.png", "train/a.txt", "data.yaml"),
        ("train/images/a.png", "train/labels/a.txt", "data.yaml"),
        ("train/a.png", "labels/train/a.txt", "data.yaml"),
        ("images/train/a.png", "labels/train/a.txt", "parts.yml"),
        ("images/a.png", "labels/a.TXT", "data.yaml"),
    ],
)
def test_where_yolo_files_may_lie(paint: Paint, tmp_path: Path, image: str, label: str, names: str) -> None:
    paint(image)
    paint(image.replace("a.png", "b.png"))
    for name, text in ((label, "1 0.5 0.5 0.1 0.1\n"), (label.replace("a.", "z."), "")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / names).write_text("names: [crack, dent]\n" if "y" in names[-4:] else "crack\ndent\n")
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "yolo"
    assert [sample.label for sample in dataset.samples] == ["dent", "ok"]
    assert [str(left.path) for left in dataset.files.left_out] == [label.replace("a.", "z.")]


def test_yolo_labels_of_which_two_fit(paint: Paint, tmp_path: Path) -> None:
    paint("imgs/a.png")
    for name in ("labels/a.txt", "annotations/a.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("0 0.5 0.5 0.1 0.1\n")
    (tmp_path / "classes.txt").write_text("crack\n")
    with pytest.raises(
        DataError, match=r"a\.png: its labels may be any of annotations/a\.txt, labels/a\.txt"
    ):
        read_dataset(tmp_path)


def test_yolo_names_that_disagree(paint: Paint, tmp_path: Path) -> None:
    for side, names in (("train", "crack\ndent\n"), ("valid", "dent\ncrack\n")):
        paint(f"{side}/a.png")
        (tmp_path / side / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
        (tmp_path / side / "classes.txt").write_text(names)
    with pytest.raises(DataError, match="name the kinds otherwise"):
        read_dataset(tmp_path)


def test_images_that_are_called_as_lists_of_yolo_have_labels(paint: Paint, tmp_path: Path) -> None:
    paint("images/test.png")
    paint("images/b.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "test.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (tmp_path / "train.txt").write_text("images/test.png\n")
    (tmp_path / "classes.txt").write_text("dent\n")
    (tmp_path / "data.yaml").write_text("names: [crack]\n")  # what trainings read counts more
    dataset = read_dataset(tmp_path)
    assert [sample.label for sample in dataset.samples] == ["ok", "crack"]
    assert not dataset.files.left_out


def test_two_files_beside_an_image_without_names_are_no_yolo(paint: Paint, tmp_path: Path) -> None:
    paint("photos/a.png")
    for folder in ("labels", "annotations"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text("a lid\n")
    with pytest.raises(DataError, match="no known layout"):
        read_dataset(tmp_path)


def test_yolo_without_names_of_its_kinds(paint: Paint, tmp_path: Path) -> None:
    paint("train/images/a.png")
    paint("train/images/b.png")
    (tmp_path / "train" / "labels").mkdir()
    (tmp_path / "train" / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DataError, match=r"train/labels/a\.txt reads as labels of YOLO.*classes\.txt"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("5 0.1 0.1 0.1 0.1", "kind 5 has no name"),
        ("0 0.1 0.1 0.1", "4 numbers"),
        ("0 0.1 a 0.1 0.2", "could not convert"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "8 numbers"),
        ("0 0.1 0.1 nan 0.2 0.3 0.3", "finite"),
        ("inf 0.1 0.1 0.1 0.1", "finite"),
    ],
)
def test_damaged_yolo_rows(paint: Paint, tmp_path: Path, row: str, said: str) -> None:
    paint("a.png")
    paint("b.png")
    (tmp_path / "classes.txt").write_text("crack\n")
    (tmp_path / "a.txt").write_text(f"0 0.1 0.1 0.1 0.1\n{row}\n")
    with pytest.raises(DataError, match=f"a.txt: line 2: .*{said}"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    "text", ["nc: 2\n", "names: 3\n", "names: [a\n", "!!python/object/apply:os.getcwd []\n"]
)
def test_damaged_yolo_names(paint: Paint, tmp_path: Path, text: str) -> None:
    paint("a.png")
    (tmp_path / "a.txt").write_text("0 0.1 0.1 0.1 0.1\n")
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match="no list called names"):
        read_dataset(tmp_path)


def test_the_side_of_a_coco_file_tells_images_of_one_name_apart(paint: Paint, tmp_path: Path) -> None:
    for side in ("train", "val"):
        paint(f"{side}/0.png")
        images = [{"id": 0, "file_name": "0.png", "height": 48, "width": 64}]
        objects = [{"image_id": 0, "category_id": 1, "bbox": [1, 1, 2, 2]}] if side == "val" else []
        content = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "dent"}]}
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"instances_{side}.json").write_text(json.dumps(content))
    labels = {sample.id: (sample.label, sample.split) for sample in read_dataset(tmp_path).samples}
    assert labels == {"train/0.png": (OK, "train"), "val/0.png": ("dent", "val")}


def test_lines_among_polygons_of_coco_enclose_nothing(paint: Paint, tmp_path: Path) -> None:
    paint("a.png")
    paint("b.png")
    images = [{"id": n, "file_name": f"{name}.png", "height": 48, "width": 64} for n, name in enumerate("ab")]
    objects = [
        {"image_id": 0, "category_id": 1, "segmentation": [[1, 1, 5, 5], CORNERS]},
        {"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 5, 5]]},
    ]
    content = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "dent"}]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    first, second = read_dataset(tmp_path, one_class=True).samples
    assert np.array_equal(truth(first), SQUARE)
    assert second.label == "dent"
    assert second.mask is None


# -------------------------------------------------------------------------------- label studio


def task(image: str, *results: dict[str, Any] | None, cancelled: bool = False) -> dict[str, Any]:
    annotation = {"result": [each for each in results if each], "was_cancelled": cancelled}
    return {"data": {"text": "x", "image": image}, "annotations": [annotation] if results else []}


def result(kind: str, label: str, **value: Any) -> dict[str, Any]:
    return {"type": kind, "original_width": 64, "original_height": 48, "value": {kind: [label], **value}}


def percent(corners: list[int]) -> list[list[float]]:
    return [[x / 0.64, y / 0.48] for x, y in zip(corners[::2], corners[1::2], strict=True)]


def test_label_studio(paint: Paint, tmp_path: Path) -> None:
    for name in "abcdefg":
        paint(f"in/{name} x.png")
    tasks = [
        task("/data/local-files/?d=in/a%20x.png", result("polygonlabels", "crack", points=percent(CORNERS))),
        task("/data/upload/1/0123abcd-b x.png", None),
        task("s3://bucket/in/c x.png", result("rectanglelabels", "dent", x=1, y=1, width=5, height=5)),
        task("d x.png", result("choices", "OK")),
        task("e x.png", result("choices", "dent")),
        task("f x.png"),
        task("g x.png", result("choices", "dent"), cancelled=True),
    ]
    (tmp_path / "project-1.json").write_text(json.dumps(tasks))
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "label-studio"
    labels = {sample.id: sample.label for sample in dataset.samples}
    expected = {"a": "crack", "b": "ok", "c": "dent", "d": "ok", "e": "dent"}  # f and g are not finished
    assert labels == {f"in/{name} x.png": label for name, label in expected.items()}
    found = by_id(dataset)
    assert np.array_equal(truth(found["in/a x.png"]), SQUARE)
    assert found["in/c x.png"].mask is None


def test_a_choice_beside_outlines_costs_neither_mask_nor_kind(paint: Paint, tmp_path: Path) -> None:
    """`NOK` says less than `dent`, and nothing of places."""
    paint("a.png")
    paint("b.png")
    drawn = result("polygonlabels", "dent", points=percent(CORNERS))
    tasks = [task("a.png", result("choices", "NOK"), drawn), task("b.png", result("choices", "NOK"))]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    dataset = read_dataset(tmp_path, one_class=True)
    assert [(s.label, s.mask is not None) for s in dataset.samples] == [("dent", True), ("NOK", False)]
    assert dataset.notes == ()


def test_what_is_drawn_without_a_name_is_a_defect(paint: Paint, tmp_path: Path) -> None:
    for name in "abcdef":
        paint(f"{name}.png")
    place = {"x": 1, "y": 1, "width": 5, "height": 5}
    bare = {"id": "1", "type": "rectangle", "value": place}
    tasks = [
        task("a.png", {"type": "rectanglelabels", "value": {**place, "rectanglelabels": []}}),
        task("b.png", bare),
        task("c.png", bare, {"id": "1", "type": "labels", "value": {**place, "labels": ["dent"]}}),
        task("d.png", {"type": "taxonomy", "value": {"taxonomy": [["surface", "scratch"]]}}),
        task("e.png", {"type": "textarea", "value": {"text": ["fine"]}}),
        task("f.png", {"type": "taxonomy", "value": {"taxonomy": [["Reject", "normal"]]}}),
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    labels = [sample.label for sample in read_dataset(tmp_path).samples]
    assert labels == ["defect", "defect", "dent", "scratch", OK, "Reject"]


def test_ellipses_of_label_studio_turn_in_pixels(paint: Paint, tmp_path: Path) -> None:
    paint("a.png")
    paint("b.png")
    turned = {"x": 50, "y": 50, "radiusX": 20 / 0.64, "radiusY": 5 / 0.48, "rotation": 90}
    tasks = [task("a.png", result("ellipselabels", "dent", **turned)), task("b.png", None)]
    (tmp_path / "x.json").write_text(json.dumps(tasks))
    drawn = truth(by_id(read_dataset(tmp_path))["a.png"])
    rows, columns = np.mgrid[:48, :64] + 0.5
    expected = ((columns - 32) / 5) ** 2 + ((rows - 24) / 20) ** 2 <= 1
    assert (drawn & expected).sum() / (drawn | expected).sum() > 0.97


@pytest.mark.parametrize(
    "content",
    [
        '[{"annotations": [{"result": []}], "data": {}}]',
        '["annotations", "result", "data"]',
        '[{"annotations" "result" "data"',
    ],
)
def test_damaged_label_studio(paint: Paint, tmp_path: Path, content: str) -> None:
    paint("a.png")
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match=r"x\.json: not an export of Label Studio"):
        read_dataset(tmp_path)


# ---------------------------------------------------------------------------------------- labelme


def labelme(path: Path, image: str, *shapes: dict[str, Any], **more: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"shapes": shapes, "imagePath": image, "imageHeight": 48, "imageWidth": 64, **more}
    path.write_text(json.dumps(content))


def drawn(kind: str, label: str, *points: Sequence[float], **more: Any) -> dict[str, Any]:
    return {"label": label, "shape_type": kind, "points": points, **more}


def test_labelme(paint: Paint, tmp_path: Path) -> None:
    for name in ("a.png", "sub/a.png", "sub/b.png", "pictures/c.png", "d.png", "e.png"):
        paint(name)
    picture = base64.b64encode(cv2.imencode(".png", np.ones((10, 20), np.uint8))[1].tobytes()).decode()
    corners = [[30, 10], [50, 10], [50, 20], [30, 20]]
    labelme(tmp_path / "a.json", "a.png", drawn("mask", "crack", [30, 10], [49, 19], mask=picture))
    labelme(
        tmp_path / "sub/a.json",
        "a.png",
        drawn("polygon", "dent", *corners),
        drawn("line", "x", [1, 1], [2, 2]),
    )
    labelme(tmp_path / "sub/b.json", "b.png", drawn("polygon", "dent", *corners))
    labelme(tmp_path / "drawn/c.json", "../pictures/c.png", drawn("circle", "dent", [32, 24], [42, 24]))
    labelme(tmp_path / "d.json", "d.png", flags={"dent": True, "old": False})
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "labelme"
    labels = {sample.id: sample.label for sample in dataset.samples}
    assert labels == {
        "a.png": "crack", "sub/a.png": "dent", "sub/b.png": "dent", "pictures/c.png": "dent", "d.png": "dent",
        "e.png": "ok",
    }  # fmt: skip
    found = by_id(dataset)
    assert found["sub/a.png"].mask is None  # nobody knows which pixels a line means
    for name in ("a.png", "sub/b.png"):
        assert np.array_equal(truth(found[name]), SQUARE)
    assert truth(found["pictures/c.png"]).sum() == pytest.approx(100 * np.pi, rel=0.02)


@pytest.mark.parametrize(
    "shape",
    [
        drawn("polygon", "dent", [1, 2], [3], [4, 5]),
        drawn("mask", "dent", [0, 0], [1, 1], mask="no base64"),
        drawn("mask", "dent", [0, 0], [1, 1], mask="iVBORw0KGgo="),
        {"shape_type": "polygon", "points": []},
    ],
)
def test_damaged_labelme(paint: Paint, tmp_path: Path, shape: dict[str, Any]) -> None:
    paint("a.png")
    labelme(tmp_path / "a.json", "a.png", shape)
    with pytest.raises(DataError, match=r"a\.json: not a file of LabelMe"):
        read_dataset(tmp_path)


# ---------------------------------------------------------------------------------------- cvat


def cvat(path: Path, body: str) -> None:
    path.write_text(f"<?xml version='1.0'?><annotations><version>1.1</version>{body}</annotations>")


def picture(name: str, body: str = "") -> str:
    return f'<image id="0" name="{name}" width="64" height="48">{body}</image>'


def test_cvat(paint: Paint, tmp_path: Path) -> None:
    for name in "abcdef":
        paint(f"images/{name}.png")
    corners = ";".join(f"{x}.0,{y}.0" for x, y in zip(CORNERS[::2], CORNERS[1::2], strict=True))
    runs = 'rle="0, 200" left="30" top="10" width="20" height="10"'
    body = [
        picture("a.png", f'<polygon label="dent" points="{corners}"/>'),
        picture("b.png", f'<mask label="crack" {runs}/>'),
        picture("c.png", '<box label="crack" xtl="1" ytl="1" xbr="3" ybr="4"/>'),
        picture("d.png", '<tag label="good"/>'),
        picture("e.png"),
        picture("f.png", '<tag label="dent"/><ellipse label="dent" cx="32" cy="24" rx="9" ry="9"/>'),
    ]
    cvat(tmp_path / "annotations.xml", "".join(body))
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "cvat"
    assert [sample.label for sample in dataset.samples] == ["dent", "crack", "crack", "ok", "ok", "dent"]
    found = by_id(dataset)
    assert np.array_equal(truth(found["images/a.png"]), SQUARE)
    assert np.array_equal(truth(found["images/b.png"]), SQUARE)
    assert found["images/c.png"].mask is None
    assert found["images/f.png"].mask is not None  # a tag says nothing of places


@pytest.mark.parametrize("degrees", [0, 30, 90, 200])
def test_ellipses_of_cvat_are_turned(paint: Paint, tmp_path: Path, degrees: int) -> None:
    paint("images/a.png")
    paint("images/b.png")
    drawn = f'<ellipse label="dent" cx="32" cy="24" rx="16" ry="4" rotation="{degrees}"/>'
    cvat(tmp_path / "annotations.xml", picture("a.png", drawn) + picture("b.png"))
    found = truth(by_id(read_dataset(tmp_path))["images/a.png"])
    expected = np.zeros(SIZE, np.uint8)
    cv2.ellipse(expected, (32, 24), (16, 4), degrees, 0, 360, 1, -1)
    assert (found & (expected > 0)).sum() / (found | (expected > 0)).sum() > 0.8


@pytest.mark.parametrize("layout", ["coco", "labelme", "cvat", "yolo", "label-studio"])
@pytest.mark.parametrize("boxed", [False, True])
def test_what_is_called_good_is_no_part_of_the_mask(
    paint: Paint, tmp_path: Path, layout: str, boxed: bool
) -> None:
    """An area that was looked at, say; its pixels are not the defect's, and need not be known."""
    paint("a.png")
    paint("b.png")
    pairs = list(zip(CORNERS[::2], CORNERS[1::2], strict=True))
    wide = [(0, 0), (64, 0), (64, 48), (0, 48)]
    if layout == "coco":
        extra = mark_of(0, 8, None if boxed else [[n for point in wide for n in point]])
        coco(tmp_path / "export.json", ["a.png", "b.png"], [mark_of(0, 3, [CORNERS]), extra])
    if layout == "labelme":
        extra = drawn("rectangle", "good", [0, 0], [64, 48]) if boxed else drawn("polygon", "good", *wide)
        labelme(tmp_path / "a.json", "a.png", drawn("polygon", "crack", *pairs), extra)
    if layout == "cvat":
        texts = [";".join(f"{x},{y}" for x, y in each) for each in (pairs, wide)]
        extra_text = (
            '<box label="ok" xtl="0" ytl="0" xbr="9" ybr="9"/>'
            if boxed
            else f'<polygon label="ok" points="{texts[1]}"/>'
        )
        body = f'<polygon label="crack" points="{texts[0]}"/>{extra_text}'
        cvat(tmp_path / "annotations.xml", picture("a.png", body) + picture("b.png"))
    if layout == "yolo":
        (tmp_path / "classes.txt").write_text("crack\nnormal\n")
        rows = [
            " ".join([str(kind), *(f"{x / 64} {y / 48}" for x, y in each)])
            for kind, each in ((0, pairs), (1, wide))
        ]
        (tmp_path / "a.txt").write_text("\n".join([rows[0], "1 0.5 0.5 0.9 0.9" if boxed else rows[1]]))
    if layout == "label-studio":
        extra = (
            result("rectanglelabels", "OK", x=0, y=0, width=90, height=90)
            if boxed
            else result("polygonlabels", "OK", points=percent([n for point in wide for n in point]))
        )
        crack = result("polygonlabels", "crack", points=percent(CORNERS))
        tasks = [task("a.png", crack, extra), task("b.png", result("choices", "OK"))]
        (tmp_path / "project.json").write_text(json.dumps(tasks))
    sample = by_id(read_dataset(tmp_path))["a.png"]
    assert sample.label == "crack"
    assert np.array_equal(truth(sample), SQUARE)


# ---------------------------------------------------------------------------------------- voc


def voc(path: Path, *kinds: str, name: str = "x.jpg") -> None:
    objects = "".join(f"<object><name>{kind}</name><bndbox/></object>" for kind in kinds)
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"<annotation><filename>{name}</filename><size/>{objects}</annotation>")


def test_voc(paint: Paint, tmp_path: Path) -> None:
    """Names inside may be of another day; the file's own counts, unless several images are called so."""
    for image in ("JPEGImages/a.jpg", "JPEGImages/b.jpg", "JPEGImages/c.jpg", "JPEGImages/d.png"):
        paint(image)
    paint("JPEGImages/d.jpg")
    voc(tmp_path / "Annotations" / "a.xml", "crack", "dent", "dent")
    voc(tmp_path / "Annotations" / "b.xml")
    voc(tmp_path / "Annotations" / "d.xml", "crack", name="d.png")
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "voc"
    found = {sample.id: sample.label for sample in dataset.samples}
    assert found == {"JPEGImages/a.jpg": "dent", "JPEGImages/b.jpg": OK, "JPEGImages/d.png": "crack"}
    assert all(sample.mask is None for sample in dataset.samples)
    (tmp_path / "Annotations" / "b.xml").unlink()  # no file says OK: images without one are
    assert read_dataset(tmp_path).label_counts()[OK] == 3
    paint("good/e.png")  # where folders say it, boxes of some images do not
    paint("dent/f.png")
    assert read_dataset(tmp_path).layout == "folders"


def test_pictures_of_segments_are_no_images_of_voc(paint: Paint, mark: Paint, tmp_path: Path) -> None:
    """They have no file of objects, so they would be OK."""
    for name in ("a", "b"):
        paint(f"JPEGImages/{name}.jpg")
        mark(f"SegmentationClass/{name}.png")
    voc(tmp_path / "Annotations" / "a.xml", "crack", name="a.jpg")
    found = {sample.id: sample.label for sample in read_dataset(tmp_path).samples}
    assert found == {"JPEGImages/a.jpg": "crack", "JPEGImages/b.jpg": OK}


@pytest.mark.parametrize("layout", ["labelme", "yolo"])
def test_masks_beside_annotations_are_no_images(
    layout: str, paint: Paint, mark: Paint, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        paint(f"images/{name}.png")
        mark(f"masks/{name}.png")
    if layout == "yolo":
        (tmp_path / "classes.txt").write_text("dent")
        (tmp_path / "images" / "a.txt").write_text("0 0.5 0.5 0.2 0.2")
    else:
        shape = {"label": "dent", "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon"}
        content = {"version": "5", "flags": {}, "shapes": [shape], "imagePath": "a.png"}
        size = {"imageHeight": 64, "imageWidth": 64, "imageData": None}
        (tmp_path / "images" / "a.json").write_text(json.dumps({**content, **size}))
    dataset = read_dataset(tmp_path)
    assert dataset.layout == layout
    assert {sample.id: sample.label for sample in dataset.samples} == {
        "images/a.png": "dent",
        "images/b.png": OK,
    }


def test_damaged_voc(paint: Paint, tmp_path: Path) -> None:
    paint("a.png")
    (tmp_path / "a.xml").write_text("<annotation><filename>a.png</filename><size>")
    with pytest.raises(DataError, match=r"a\.xml: not a file of Pascal VOC that can be read"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        '<annotations><image id="0" name="a.png"/>',
        '<annotations><image id="0" name="a.png"/></annotations>',
        '<annotations><track/><image id="0" name="a.png"/></annotations>',
        '<other><annotations/><image id="0" name="a.png"/></other>',
        '<!DOCTYPE x [<!ENTITY a "b">]><annotations><image name="&a;"/></annotations>',
    ],
)
def test_damaged_cvat(paint: Paint, tmp_path: Path, content: str) -> None:
    paint("a.png")
    (tmp_path / "annotations.xml").write_text(content)
    with pytest.raises(DataError, match="not a file of CVAT for images"):
        read_dataset(tmp_path)


# ------------------------------------------------------------------------------------- lookout


def row(name: str, value: int, kind: str | None, **more: Any) -> str:
    about = {"type": "groundtruth/image-classification", "confidence": 1} | (
        {"class-name": kind} if kind else {}
    )
    return json.dumps(
        {"source-ref": f"s3://b/set/{name}", "anomaly-label": value, "anomaly-label-metadata": about, **more}
    )


def test_lookout(paint: Paint, tmp_path: Path) -> None:
    for name in "abcd":
        paint(f"train/{name}.png")
    mask = np.full((*SIZE, 3), 255, np.uint8)
    mask[SQUARE] = (44, 160, 44)
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks" / "b.png"), mask)
    colours = {"0": {"class-name": "BACKGROUND", "hex-color": "#ffffff"}, "1": {"class-name": "dent"}}
    drawn = {
        "anomaly-mask-ref": "s3://b/masks/b.png",
        "anomaly-mask-ref-metadata": {
            "internal-color-map": colours,
            "type": "groundtruth/semantic-segmentation",
        },
    }
    rows = [
        row("train/a.png", 0, "normal"),
        row("train/b.png", 1, "anomaly", **drawn),
        row("train/c.png", 0, None),
        row("train/d.png", 1, None),
    ]
    (tmp_path / "train.manifest").write_text("\n".join(rows))
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "lookout"
    assert [sample.label for sample in dataset.samples] == ["ok", "anomaly", "ok", "anomaly"]
    assert {sample.split for sample in dataset.samples} == {"train"}
    assert np.array_equal(truth(by_id(dataset)["train/b.png"]), SQUARE)


@pytest.mark.parametrize("line", ['{"source-ref": "a.png"}', '{"source-ref"', '["source-ref"]'])
def test_damaged_lookout(paint: Paint, tmp_path: Path, line: str) -> None:
    paint("a.png")
    (tmp_path / "x.manifest").write_text(row("a.png", 0, "normal") + f"\n{line}\n")
    with pytest.raises(DataError, match=r"x\.manifest: line 2"):
        read_dataset(tmp_path)


# ------------------------------------------------------------------------- beside folders of classes


def annotated(layout: str, root: Path, names: list[str]) -> None:
    """These images have an object each, as an export of one of the tools says."""
    if layout == "coco":
        coco(root / "export.json", names, [mark_of(n, 3, [CORNERS]) for n in range(len(names))])
    for name in names:
        stem = (root / name).with_suffix("")
        if layout == "labelme":
            corners = [[30, 10], [50, 10], [50, 20]]
            labelme(Path(f"{stem}.json"), Path(name).name, drawn("polygon", "crack", *corners))
        if layout == "yolo":
            (root / "classes.txt").write_text("crack\n")
            Path(f"{stem}.txt").write_text("0 0.5 0.5 0.1 0.1\n")


@pytest.mark.parametrize("layout", ["labelme", "yolo"])
@pytest.mark.parametrize("bad", [("crack", "dent"), ("crack", "NG"), ("NG/crack", "NG/dent")])
@pytest.mark.parametrize("good", ["good", "pictures"])
def test_folders_that_call_images_otherwise_than_annotations(
    paint: Paint, tmp_path: Path, layout: str, bad: tuple[str, str], good: str
) -> None:
    names = {folder: [f"{folder}/{n}{folder[-1]}.png" for n in range(3)] for folder in (good, *bad)}
    for each in names.values():
        for name in each:
            paint(name)
    annotated(layout, tmp_path, names[bad[0]])
    if good == "pictures" and "NG" not in bad[1]:  # nothing says that a folder `dent` holds defects
        assert read_dataset(tmp_path).label_counts()[OK] == 6
        return
    with pytest.raises(
        DataError, match=rf"looks like folders and {layout} at once, and 3 of 9 images.*layout="
    ):
        read_dataset(tmp_path)
    assert read_dataset(tmp_path, layout).label_counts()[OK] == 6
    annotated(layout, tmp_path, names[bad[1]])
    assert read_dataset(tmp_path).label_counts()[OK] == 3


def test_an_object_in_an_image_of_a_folder_of_good_ones(paint: Paint, tmp_path: Path) -> None:
    names = [f"{folder}/{n}{folder[0]}.png" for folder in ("good", "bad") for n in range(2)]
    for name in names:
        paint(name)
    annotated("coco", tmp_path, names[1:] + names[:1])
    with pytest.raises(DataError, match=r"2 of 4 images.*such as good/0g\.png \(crack in it\)"):
        read_dataset(tmp_path)


def test_a_side_of_yolo_whose_files_were_forgotten(paint: Paint, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("crack\n")
    for side in ("train", "val"):
        for n in range(4):
            paint(f"images/{side}/{side}{n}.png")
    labels = tmp_path / "labels" / "train"
    labels.mkdir(parents=True)
    (labels / "train0.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (tmp_path / "labels" / "val").mkdir()
    with pytest.raises(DataError, match=r"none of the 4 images of the side val has a text file"):
        read_dataset(tmp_path)
    (tmp_path / "labels" / "val" / "val3.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    assert read_dataset(tmp_path).label_counts() == {OK: 6, "crack": 2}, (
        "no file means OK where none is empty"
    )
    (labels / "train1.txt").write_text("\n")
    (tmp_path / "labels" / "val" / "val3.txt").write_text("")
    [note] = read_dataset(tmp_path).notes
    assert note.startswith(
        "5 images without a text file count as OK, such as images/train/train2.png; 2 others"
    )


def test_a_task_with_several_pictures(paint: Paint, tmp_path: Path) -> None:
    """Beside the part, a picture to compare it with."""
    for name in ("reference.png", "a.png", "b.png", "c.png"):
        paint(name)
    outline = result("polygonlabels", "crack", points=percent(CORNERS))
    tasks = [
        {"data": {"reference": "reference.png", key: name}, "annotations": [{"result": results}]}
        for key, name, results in (
            ("part", "a.png", [outline | {"to_name": "part"}]),
            ("image", "b.png", [outline]),
            ("image", "c.png", []),
        )
    ]
    (tmp_path / "project.json").write_text(json.dumps(tasks))
    labels = {sample.id: sample.label for sample in read_dataset(tmp_path).samples}
    assert labels == {"a.png": "crack", "b.png": "crack", "c.png": "ok"}


def test_outlines_drawn_before_images_were_turned(paint: Paint, tmp_path: Path) -> None:
    coco(tmp_path / "export.json", ["a.png", "b.png"], [mark_of(0, 3, [CORNERS])])
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.full((64, 48, 3), 90, np.uint8))  # the export says 48 x 64
    sample = by_id(read_dataset(tmp_path))["a.png"]
    with pytest.raises(InputError, match=r"a polygon for an image of 48 x 64; the image is 64 x 48"):
        read_truth(sample, (64, 48))


# ---------------------------------------------------------------------------------------- files that cannot be read

LABELME = (
    '{"shapes": [{"label": "dent", "shape_type": "line", "points": [[1, 1], [9, 1]]}], "imagePath": "x.png"'
)
VOC = "<annotation><folder>x</folder><object><name>dent</name></object></annotation>"


WHOLE = {".json": LABELME + ', "imageHeight": 48, "imageWidth": 64}', ".xml": VOC}


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".json", b""),
        (".json", LABELME[:60].encode()),
        (".json", f"{LABELME}}}".encode()),
        (".json", f"{LABELME}}}".encode("utf-16")),
        (".xml", b""),
        (".xml", VOC[:30].encode()),
        (".xml", VOC.encode("utf-16")),
    ],
)
@pytest.mark.parametrize("folder", ["", "labels/"])
def test_a_label_file_that_cannot_be_read_makes_no_image_ok(
    folder: str, suffix: str, content: bytes, paint: Paint, tmp_path: Path
) -> None:
    for name in "abcd":
        paint(f"{name}.png")
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / f"a{suffix}").write_text(WHOLE[suffix])
    (tmp_path / folder / f"b{suffix}").write_bytes(content)
    with pytest.raises(DataError, match=rf"b\{suffix}: "):
        read_dataset(tmp_path)


def test_files_of_voc_need_neither_a_name_nor_a_size(paint: Paint, tmp_path: Path) -> None:
    for name in "ab":
        paint(f"{name}.png")
    (tmp_path / "a.xml").write_text(VOC)
    assert read_dataset(tmp_path).label_counts() == {OK: 1, "dent": 1}


def test_what_a_camera_writes_beside_labels_in_another_folder(paint: Paint, tmp_path: Path) -> None:
    for name in "ab":
        paint(f"images/{name}.png")
        (tmp_path / "images" / f"{name}.json").write_text('{"exposure": 3}')
    labelme(tmp_path / "labels" / "a.json", "../images/a.png", drawn("line", "dent", [1, 1], [2, 2]))
    assert read_dataset(tmp_path).label_counts() == {OK: 1, "dent": 1}


def test_names_inside_files_of_labelme_may_be_of_another_day(paint: Paint, tmp_path: Path) -> None:
    for name in "abcd":
        paint(f"{name}.png")
    for name in "abc":
        labelme(tmp_path / f"{name}.json", "a.png", drawn("line", "dent", [1, 1], [2, 2]))
    found = {sample.id: sample.label for sample in read_dataset(tmp_path).samples}
    assert found == {"a.png": "dent", "b.png": "dent", "c.png": "dent", "d.png": OK}


@pytest.mark.parametrize("content", [b"", b'{"images": [', '{"images": []}'.encode("utf-16")])
def test_a_damaged_coco_file_among_others_is_named(content: bytes, paint: Paint, tmp_path: Path) -> None:
    names = [paint(f"{name}.png").name for name in "ab"]
    coco(tmp_path / "annotations" / "instances_train.json", names, [mark_of(0, 7)])
    (tmp_path / "annotations" / "instances_val.json").write_bytes(content)
    with pytest.raises(DataError, match=r"instances_val\.json: "):
        read_dataset(tmp_path)


# ---------------------------------------------------------------------------------------- sides


def test_sides_are_those_of_folders_in_the_data_set(paint: Paint, tmp_path: Path) -> None:
    """Not of words in the folder's own name, in files' names, in hosts, or in folders of other machines."""
    root = tmp_path / "leak test photos"
    root.mkdir()
    for name in ("test (1).png", "val_spring_2.png", "c.png", "d.png"):
        paint(f"leak test photos/{name}")
    names = [
        "test (1).png",
        "val_spring_2.png",
        "https://storage.test.acme.com/img/c.png",
        "/home/me/test/d.png",
    ]
    coco(root / "labels.json", names, [mark_of(0, 7)])
    assert {sample.split for sample in read_dataset(root).samples} == {None}


@pytest.mark.parametrize("folder", ["train", "images/train2017", "Train_images", "sets/training"])
def test_sides_of_folders(folder: str, paint: Paint, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        paint(f"{folder}/{name}")
    coco(tmp_path / "labels.json", ["a.png", "b.png"], [mark_of(0, 7)])
    assert {sample.split for sample in read_dataset(tmp_path).samples} == {"train"}


def test_sides_that_annotations_name_of_images_in_one_folder(paint: Paint, tmp_path: Path) -> None:
    for name in "abcd":
        paint(f"pictures/{name}.png")
    coco(tmp_path / "labels.json", ["train/a.png", "train/b.png", "val/c.png", "val/d.png"], [mark_of(0, 7)])
    assert [sample.split for sample in read_dataset(tmp_path).samples] == ["train", "train", "val", "val"]
