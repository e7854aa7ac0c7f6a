import csv
import gc
import io
import json
import math
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from defusedxml import ElementTree
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from ltcam_runtime.folders import output_folder
from ltcam_runtime.images import read_image
from ltcam_runtime.mask_reading import read_mask
from ltcam_runtime.masks import otsu
from ltcam_runtime.names import OutputNames
from ltcam_runtime.regions import find_regions
from ltcam_runtime.results import Inspection, Verdict
from ltcam_runtime.writers import KINDS, MARKER, ResultFacts, open_writers
from ltcam_runtime.writers.coco import CocoWriter, compress, run_lengths
from ltcam_runtime.writers.crops import crop
from ltcam_runtime.writers.csv import COLUMNS, CsvWriter, cell_text, csv_text, text_cell
from ltcam_runtime.writers.cvat import CvatWriter
from ltcam_runtime.writers.heatmaps import HeatmapWriter, colour, strength, write_heatmap
from ltcam_runtime.writers.json import JsonWriter
from ltcam_runtime.writers.label_studio import LabelStudioWriter
from ltcam_runtime.writers.masks import write_mask
from ltcam_runtime.writers.overlays import draw_overlay
from ltcam_runtime.writers.report import ReportSettings
from ltcam_runtime.writers.yolo import YoloWriter

RNG = np.random.default_rng(5)


def inspection(
    name: str = "a.png",
    mask: np.ndarray | None = None,
    class_name: str = "crack",
    verdict: Verdict = "defect",
) -> Inspection:
    if mask is None:
        mask = np.zeros((30, 20), bool)
        mask[3:9, 4:6] = True
        mask[20, 10] = True
    heatmap = mask + RNG.random(mask.shape, dtype=np.float32) * np.float32(0.2)
    return Inspection(
        image=name,
        size=(mask.shape[0], mask.shape[1]),
        verdict=verdict,
        score=0.87654321,
        class_scores={"ok": 0.12345679, "crack": 0.87654321},
        heatmap=heatmap,
        mask=mask,
        regions=find_regions(mask, heatmap, class_name),
    )


def picture(found: Inspection, value: int = 128) -> np.ndarray:
    return np.full((*found.size, 3), value, np.uint8)


# ----------------------------------------------------------------------------------------- csv


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_csv_rows(tmp_path: Path) -> None:
    writer = CsvWriter(tmp_path / "p.csv", OutputNames())
    writer.add(inspection("sub/a, b.png"), np.zeros(0, np.uint8))
    writer.add(inspection("c.png", np.zeros((4, 5), bool), verdict="ok"), np.zeros(0, np.uint8))
    writer.add_failure("d.png", "the file is empty")
    writer.close()
    one, empty, failed = rows(tmp_path / "p.csv")
    assert tuple(one) == COLUMNS
    assert (one["image"], one["output"], one["verdict"]) == ("sub/a, b.png", "sub/a, b", "defect")
    assert (one["score"], one["width"], one["height"]) == ("0.876543", "20", "30")
    assert (one["mask_area_px"], one["regions"]) == ("13", "2")
    assert float(one["mask_area_percent"]) == pytest.approx(100 * 13 / 600, abs=1e-6)
    box = [one[f"largest_{name}"] for name in ("x", "y", "width", "height")]
    assert box == ["4", "3", "2", "6"]
    assert (one["largest_area_px"], one["largest_length_px"]) == ("12", "6.325")
    assert (empty["verdict"], empty["regions"], empty["largest_x"]) == ("ok", "0", "")
    assert (failed["image"], failed["error"], failed["verdict"]) == ("d.png", "the file is empty", "")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_csv_holds_no_formulas(tmp_path: Path, start: str) -> None:
    evil = f'{start}HYPERLINK("x","y").png'
    writer = CsvWriter(tmp_path / "p.csv", OutputNames())
    writer.add(inspection(evil, class_name=evil), np.zeros(0, np.uint8))
    writer.add_failure(evil, evil)
    writer.close()
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert cells.count(f"'{evil}") == 4
    assert text_cell("a=b") == "a=b"


def test_rows_of_any_kind_are_csv() -> None:
    rows = [("=x", 0.5, None), ("a,b", math.nan, 3)]
    assert csv_text(rows) == '\'=x,0.500000,\n"a,b",,3\n'
    assert csv_text(rows[:1], guarded=False) == "=x,0.500000,\n"


# ---------------------------------------------------------------------------------------- json


def test_json_holds_everything(tmp_path: Path) -> None:
    path = tmp_path / MARKER
    writer = JsonWriter(path, OutputNames(), {"threshold": 0.5, "stages": ["s1", "ü"]})
    found = [inspection("a.png"), inspection("b.png", np.zeros((2, 2), bool))]
    for each in found:
        writer.add(each, np.zeros(0, np.uint8))
    writer.add_failure("\udcff.png", 'a "reason"\n')
    writer.close()
    content = json.loads(path.read_text(encoding="utf-8"))
    assert list(content) == ["schema_version", "settings", "left_out", "images", "failed"]
    assert content["schema_version"] == 1
    assert content["settings"] == {"threshold": 0.5, "stages": ["s1", "ü"]}
    assert content["images"] == [
        {**each.to_json(), "output": name} for each, name in zip(found, "ab", strict=True)
    ]
    assert content["failed"] == [{"image": "\udcff.png", "reason": 'a "reason"\n'}]
    assert [entry.name for entry in tmp_path.iterdir()] == [MARKER]


def test_json_without_images(tmp_path: Path) -> None:
    JsonWriter(tmp_path / "p.json", OutputNames(), {}).close()
    assert json.loads((tmp_path / "p.json").read_text()) == {
        "schema_version": 1,
        "settings": {},
        "left_out": [],
        "images": [],
        "failed": [],
    }


def test_json_never_holds_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        JsonWriter(tmp_path / "p.json", OutputNames(), {"threshold": float("nan")})


# ---------------------------------------------------------------------------------------- coco


@settings(max_examples=80)
@given(
    hnp.arrays(np.bool_, st.tuples(st.integers(1, 8), st.integers(1, 8))),
    st.tuples(st.integers(0, 5), st.integers(0, 5)),
    st.tuples(st.integers(0, 90), st.integers(0, 5)),
)
def test_run_lengths_as_pycocotools_has_them(
    pixels: np.ndarray, corner: tuple[int, int], margin: tuple[int, int]
) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    height, width = pixels.shape
    whole = np.zeros((corner[1] + height + margin[1], corner[0] + width + margin[0]), np.uint8)
    whole[corner[1] : corner[1] + height, corner[0] : corner[0] + width] = pixels
    counts = run_lengths(pixels, corner, whole.shape)
    assert sum(counts) == whole.size
    rle = {"size": list(whole.shape), "counts": compress(counts)}
    assert (coco.decode(rle) == whole).all()
    assert rle["counts"] == coco.encode(np.asfortranarray(whole))["counts"].decode()


def test_coco_is_read_back_by_pycocotools(tmp_path: Path) -> None:
    coco_api = pytest.importorskip("pycocotools.coco")
    masks = [RNG.random((60, 41)) > share for share in (0.5, 0.9, 1.0)]
    found = [inspection(f"{index}.png", mask) for index, mask in enumerate(masks)]
    found.append(inspection("s.png", class_name="stain"))
    writer = CocoWriter(tmp_path / "coco.json", ["crack", "stain"])
    for each in found:
        writer.add(each, np.zeros(0, np.uint8))
    writer.add_failure("bad.png", "empty")
    writer.close()

    coco = coco_api.COCO(str(tmp_path / "coco.json"))
    assert {item["id"]: item["name"] for item in coco.loadCats(coco.getCatIds())} == {1: "crack", 2: "stain"}
    assert len(coco.getImgIds()) == 4
    for number, each in zip(coco.getImgIds(), found, strict=True):
        entry = coco.loadImgs(number)[0]
        assert (entry["file_name"], entry["height"], entry["width"]) == (each.image, *each.size)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[number]))
        assert len(annotations) == len(each.regions)
        together = np.zeros(each.size, int)
        for annotation, region in zip(annotations, each.regions, strict=True):
            decoded = coco.annToMask(annotation)
            assert decoded.sum() == annotation["area"] == region.area_px
            assert annotation["bbox"] == list(region.box)
            assert annotation["score"] == pytest.approx(each.score, abs=1e-6)
            assert annotation["category_id"] == {"crack": 1, "stain": 2}[region.class_name]
            together += decoded
        assert (together == each.mask).all()


def test_coco_refuses_an_unknown_class(tmp_path: Path) -> None:
    writer = CocoWriter(tmp_path / "coco.json", ["stain"])
    with pytest.raises(ValueError, match=r"'crack'.*stain"):
        writer.add(inspection(), np.zeros(0, np.uint8))
    writer.close()


# ------------------------------------------------------------------------------------ pictures


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (33, 47)])
def test_mask_files(tmp_path: Path, shape: tuple[int, int]) -> None:
    mask = RNG.random(shape) > 0.5
    write_mask(tmp_path / "deep" / "a.png", mask)
    image = Image.open(tmp_path / "deep" / "a.png")
    assert image.mode == "L"
    assert (np.asarray(image) == mask * 255).all()
    assert (read_mask(tmp_path / "deep" / "a.png", threshold=127) == mask).all()


@pytest.mark.parametrize("exponent", [0, -12, -15, -16, -20, -30, -38, -44, 38])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_heatmap_of_any_range_is_stretched(
    tmp_path: Path, exponent: int, kind: type[np.floating[Any]]
) -> None:
    heatmap = np.zeros((8, 8), kind)
    heatmap[2:4, 2:4] = kind(f"1e{exponent}")
    heatmap[5, 5] = heatmap[2, 2] / 2
    write_heatmap(tmp_path / "a.png", heatmap)
    levels = np.asarray(Image.open(tmp_path / "a.png"))
    assert (levels[2:4, 2:4] == 65535).all()
    assert levels[5, 5] == pytest.approx(65535 * float(heatmap[5, 5]) / float(heatmap[2, 2]), abs=0.51)
    assert levels.sum() == 4 * 65535 + int(levels[5, 5])


def test_heatmap_files(tmp_path: Path) -> None:
    heatmap = RNG.normal(size=(33, 47)).astype(np.float32)
    write_heatmap(tmp_path / "a.png", heatmap)
    image = Image.open(tmp_path / "a.png")
    assert image.mode == "I;16"
    wide = heatmap.astype(float)
    expected = 65535 * (wide - wide.min()) / (wide.max() - wide.min())
    assert np.abs(np.asarray(image) - expected).max() <= 0.5 + 1e-6
    write_heatmap(tmp_path / "b.png", np.full((3, 4), 7, np.float32))
    assert not np.asarray(Image.open(tmp_path / "b.png")).any()


def test_heatmaps_share_one_scale_of_colours(tmp_path: Path) -> None:
    """The same heatmap is pale on an OK part and bright on a sure defect, whatever its values are."""
    writer = HeatmapWriter(tmp_path / "heatmaps", OutputNames(), threshold=0.4)
    scores = {"sure.png": 0.99, "just.png": 0.4, "below.png": 0.39, "ok.png": 0.02}
    heatmap = np.zeros((40, 60), np.float32)
    heatmap[10:30, 20:40] = 1
    for number, (name, score) in enumerate(scores.items()):
        found = replace(inspection(name, np.zeros((40, 60), bool)), heatmap=heatmap * 10**number, score=score)
        writer.add(found, picture(found))
    writer.add_failure("x.png", "it is empty")
    writer.close()
    pictures = [read_image(tmp_path / "heatmaps" / name.replace("png", "jpg")) for name in scores]
    differing = [int(np.abs(shown.astype(int) - 128).max(axis=2)[20, 30]) for shown in pictures]
    assert differing == sorted(differing, reverse=True)
    assert differing[1] > 60
    assert differing[3] < 4
    assert np.abs(pictures[0][2, 2].astype(int) - 128).max() < 4


def test_colours_grow_with_the_heat() -> None:
    image = np.full((4, 256, 3), 100, np.uint8)
    heat = np.broadcast_to(np.linspace(-3, 2, 256, dtype=np.float32), (4, 256))
    assert np.array_equal(colour(image, heat, 0.9), colour(image, heat * 10 + 7, 0.9))
    assert np.array_equal(colour(image, heat, 0), image)
    assert np.array_equal(colour(image, np.full((4, 256), 5.0), 1), image)
    assert (colour(image, heat, 1)[:, 0] == 100).all()


@given(st.floats(0.01, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_score_is_never_paler(threshold: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= strength(low, threshold) <= strength(high, threshold) <= 1
    assert strength(1, threshold) == 1


@given(st.integers(0, 90), st.integers(0, 70), st.integers(1, 40), st.integers(1, 40))
def test_crops_hold_their_region(x: int, y: int, width: int, height: int) -> None:
    image = np.zeros((110, 130, 3), np.uint8)
    image[y : y + height, x : x + width] = 255
    cut = crop(image, (x, y, width, height))
    assert (cut[..., 0] == 255).sum() == width * height
    assert cut.shape[0] <= max(48, 1.5 * max(width, height)) + 2


def test_masks_are_small_files(tmp_path: Path) -> None:
    coarse = Image.fromarray(RNG.random((40, 16), dtype=np.float32))
    heatmap = np.asarray(coarse.resize((500, 1250), Image.Resampling.BILINEAR))
    mask = otsu(heatmap)
    write_mask(tmp_path / "a.png", mask)
    assert (tmp_path / "a.png").stat().st_size < 60_000


@pytest.mark.parametrize(
    "text", ["=cmd|calc!A0", "+1", "-1", "@x", "'=x", "''=x", "'tis", "plain", "", "\t=x", "'"]
)
def test_cells_are_no_formulas_and_read_as_they_were(text: str) -> None:
    cell = text_cell(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cell_text(cell) == text


# ------------------------------------------------------------------------------------ overlays


def overlay(found: Inspection, value: int = 128) -> np.ndarray:
    return draw_overlay(picture(found, value), found)


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (200, 200), (1250, 500), (2600, 3000)])
@pytest.mark.parametrize("empty", [False, True])
def test_overlays_of_any_size(shape: tuple[int, int], empty: bool) -> None:
    mask = np.zeros(shape, bool)
    if not empty:
        mask[shape[0] // 3 : shape[0] // 3 + 9, shape[1] // 2 : shape[1] // 2 + 5] = True
    drawn = overlay(inspection(mask=mask))
    assert drawn.dtype == np.uint8
    assert drawn.ndim == 3
    assert max(drawn.shape) <= 2100
    assert drawn.shape[1] >= 150  # room for the verdict and the score


@pytest.mark.parametrize("value", [0, 128, 255])
def test_the_outline_shows_on_any_ground_and_leaves_the_defect_bare(value: int) -> None:
    mask = np.zeros((600, 600), bool)
    mask[200:400, 300:303] = True
    found = inspection(mask=mask)
    flat = Inspection(**{**vars(found), "heatmap": np.zeros((600, 600), np.float32)})  # no tint
    drawn = overlay(flat, value)[-600:]
    assert (drawn[mask] == value).all()
    around = drawn[300, 297:300].astype(int)
    contrast = np.abs(around - value).max(axis=1)
    assert contrast.max() > 100
    changed = (drawn != value).any(axis=2)
    rows_changed, columns_changed = np.nonzero(changed)
    assert (rows_changed.min(), rows_changed.max()) == (197, 402)
    assert (columns_changed.min(), columns_changed.max()) == (297, 305)


def test_a_flawless_image_is_shown_untouched() -> None:
    found = inspection(mask=np.zeros((600, 500), bool), verdict="ok")
    drawn = overlay(found, 77)
    assert (drawn[-600:] == 77).all()
    chip = drawn[4, 4].astype(int)
    assert chip[1] > chip[0]  # green
    assert overlay(inspection(mask=np.ones((600, 500), bool)))[4, 4, 0] > 150  # red


def test_the_tint_follows_the_heat() -> None:
    found = inspection(mask=np.eye(600, dtype=bool))
    heat = np.tile(np.linspace(0, 1, 600, dtype=np.float32), (600, 1))
    drawn = overlay(Inspection(**{**vars(found), "heatmap": heat}))[-600:].astype(int)
    row = drawn[20]
    assert (row[30:150] == 128).all()  # the cold part
    assert np.abs(row[590] - 128).max() > np.abs(row[300] - 128).max() > 0


def test_hair_thin_masks_survive_a_reduction() -> None:
    mask = np.zeros((200, 6000), bool)
    mask[:, 3000] = True
    found = inspection(mask=mask)
    drawn = overlay(Inspection(**{**vars(found), "heatmap": np.zeros(mask.shape, np.float32)}))
    assert (drawn[-10] != 128).any()


def test_overlay_sizes_must_agree() -> None:
    found = inspection()
    with pytest.raises(ValueError, match="differ in size"):
        draw_overlay(np.zeros((20, 30, 3), np.uint8), found)


# ------------------------------------------------------------------------------------ together


@pytest.mark.parametrize("name", ["\U0001f44d kratzer", "scr\x07atch", 'a "b" & <c>', "ü: #1", "'", "- no"])
def test_kinds_of_any_name_are_read_back(tmp_path: Path, name: str) -> None:
    YoloWriter(tmp_path / "yolo", OutputNames(), [name, "dent"])
    found = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text(encoding="utf-8"))["names"]
    assert found == {0: name, 1: "dent"}
    LabelStudioWriter(tmp_path / "studio", [name, "dent"]).close()
    labels = ElementTree.parse(tmp_path / "studio" / "label_config.xml").iter("Label")
    assert [label.attrib["value"] for label in labels] == [name.replace("\x07", "?"), "dent"]
    CvatWriter(tmp_path / "cvat.xml", [name, "dent"]).close()
    names = ElementTree.parse(tmp_path / "cvat.xml").iter("name")
    assert [each.text for each in names][-2:] == [name.replace("\x07", "?"), "dent"]


def test_all_writers_in_an_output_folder(tmp_path: Path) -> None:
    names = ["sub/a.jpg", "sub/a.png", "../up/ä.png"]
    with (
        output_folder(tmp_path / "out", marker=MARKER) as folder,
        open_writers(
            folder,
            ResultFacts(["crack"], {"method": "x"}),
            kinds=KINDS,
            report=ReportSettings("S", 0.5),
        ) as writer,
    ):
        for name in names:
            found = inspection(name)
            writer.add(found, picture(found))
        writer.add_failure("bad.png", "the file is empty")
    out = tmp_path / "out"
    assert "3 images inspected" in (out / "report.html").read_text(encoding="utf-8")  # not those that failed
    assert sorted(path.name for path in out.iterdir()) == [
        ".ltcam-files.json",
        "coco.json",
        "crops",
        "cvat.xml",
        "heatmaps",
        "heatmaps-raw",
        "label-studio",
        "labelme",
        "masks",
        "overlays",
        "predictions.csv",
        "predictions.json",
        "report.html",
        "thumbnails",
        "yolo",
    ]
    outputs = [item["output"] for item in json.loads((out / MARKER).read_text())["images"]]
    assert outputs == ["sub/a", "sub/a-png", "__/up/ä"]
    assert [row["output"] for row in rows(out / "predictions.csv")] == [*outputs, ""]
    for name in outputs:
        assert read_mask(out / "masks" / f"{name}.png").sum() == 13
        assert read_image(out / "heatmaps-raw" / f"{name}.png").shape == (30, 20, 3)
        assert read_image(out / "heatmaps" / f"{name}.jpg").shape == (30, 20, 3)
        assert read_image(out / "thumbnails" / f"{name}.jpg").shape == (30, 20, 3)
        assert read_image(out / "crops" / f"{name}-2.jpg").shape[2] == 3
        assert read_image(out / "overlays" / f"{name}.jpg").shape[2] == 3
    assert len(list((out / "masks").rglob("*.png"))) == 3


def test_only_what_is_asked_for_and_always_the_marker(tmp_path: Path) -> None:
    with open_writers(tmp_path, ResultFacts(["crack"]), kinds=["masks"]) as writer:
        writer.add(inspection(), picture(inspection()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks", MARKER]
    with (
        pytest.raises(ValueError, match=r"\['pdf'\].*csv"),
        open_writers(tmp_path, ResultFacts([]), kinds=["pdf", *KINDS]),
    ):
        raise AssertionError("not reached")


def test_a_failing_body_leaves_no_open_files(tmp_path: Path) -> None:
    with (  # noqa: PT012
        pytest.raises(KeyboardInterrupt),
        open_writers(tmp_path, ResultFacts(["crack"]), kinds=KINDS) as writer,
    ):
        writer.add(inspection(), picture(inspection()))
        writer.add_failure("a", "b")
        raise KeyboardInterrupt
    assert json.loads((tmp_path / MARKER).read_text())["failed"] == [{"image": "a", "reason": "b"}]


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    found = inspection(mask=RNG.random((24, 24)) > 0.8)
    held = []
    with open_writers(tmp_path, ResultFacts(["crack"]), kinds=["csv", "json", "coco"]) as writer:
        tracemalloc.start()
        for _ in range(2):
            for _ in range(20):
                writer.add(found, picture(found))
            gc.collect()  # empties the interpreter's own free lists
            held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert written > 150_000
    assert held[1] - held[0] < 20_000  # the streams' own buffers go up and down
