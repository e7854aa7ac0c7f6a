from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.cli.conftest import CommandLine, left_in

from ltcam_runtime.searching import LINK

Call = Callable[..., Any]
ALL = ("--verdict-threshold", "0")  # every image is a defect, so that every mask has something in it


def results(out: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((out / "predictions.json").read_text(encoding="utf-8"))
    return parsed


def mask(out: Path, name: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(out / "masks" / f"{name}.png"))


# -------------------------------------------------------------------------------------- what is written


def test_awkward_images(ltcam: Call, trained: Path, zoo: Any, tmp_path: Path) -> None:
    """Every kind of image, hostile names among them, beside files that cannot be read."""
    out = tmp_path / "out"
    kinds = "masks,overlays,heatmaps,heatmaps-raw,crops,yolo,label-studio,cvat,labelme"
    result = ltcam("predict", trained, zoo.root, "--out", out, *ALL, "--save", kinds, "--json")
    assert result.code == 1
    assert left_in(out) == [
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
    found = {entry["image"]: entry for entry in results(out)["images"]}
    assert found.keys() == zoo.sizes.keys()
    outputs = set()
    for name, size in zoo.sizes.items():
        entry = found[name]
        assert (entry["height"], entry["width"]) == size
        drawn = mask(out, entry["output"])
        assert drawn.shape == size
        assert drawn.dtype == np.uint8
        assert set(np.unique(drawn)) <= {0, 255}
        assert int((drawn > 0).sum()) == entry["mask_area_px"] == sum(r["area_px"] for r in entry["regions"])
        heatmap = Image.open(out / "heatmaps-raw" / f"{entry['output']}.png")
        assert np.asarray(heatmap).dtype == np.uint16
        assert heatmap.size == size[::-1]
        for folder in ("overlays", "heatmaps", "thumbnails"):
            assert (out / folder / f"{entry['output']}.jpg").is_file()
        outputs.add(entry["output"].casefold())
    assert len(outputs) == len(zoo.sizes)
    assert found["rgb.png"]["mask_area_px"] > 0
    failed = {entry["image"]: entry["reason"] for entry in results(out)["failed"]}
    assert failed.keys() == zoo.broken.keys()
    assert all(words in failed[name] for name, words in zoo.broken.items())
    summary = json.loads(result.out)
    assert (summary["inspected"], summary["verdicts"]) == (len(found), {"defect": len(found)})
    assert {entry["image"]: entry["reason"] for entry in summary["failed"]} == failed
    assert all(name in result.err for name in zoo.broken)
    check_csv(out / "predictions.csv", found, failed)
    check_coco(out / "coco.json", out, found)


def check_csv(file: Path, found: dict[str, Any], failed: dict[str, str]) -> None:
    with file.open(encoding="utf-8", newline="") as stream:
        rows = {row["image"].removeprefix("'"): row for row in csv.DictReader(stream)}
    assert rows.keys() == found.keys() | failed.keys()
    assert not any(cell.startswith(("=", "-", "+", "@")) for row in rows.values() for cell in row.values())
    for name, reason in failed.items():
        assert rows[name]["error"] == reason
        assert rows[name]["verdict"] == ""
    for name, entry in found.items():
        assert int(rows[name]["mask_area_px"]) == entry["mask_area_px"]
        assert float(rows[name]["score"]) == pytest.approx(entry["score"], abs=1e-6)


def check_coco(file: Path, out: Path, found: dict[str, Any]) -> None:
    coco_api = pytest.importorskip("pycocotools.coco")
    with redirect_stdout(io.StringIO()):
        coco = coco_api.COCO(str(file))
    assert {image["file_name"] for image in coco.loadImgs(coco.getImgIds())} == found.keys()
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == ["hole"]
    for image in coco.loadImgs(coco.getImgIds()):
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        entry = found[image["file_name"]]
        union = np.zeros((image["height"], image["width"]), bool)
        for annotation, region in zip(annotations, entry["regions"], strict=True):
            pixels = coco.annToMask(annotation).astype(bool)
            assert annotation["bbox"] == region["box"]
            assert annotation["area"] == region["area_px"] == pixels.sum()
            assert not (union & pixels).any()
            union |= pixels
        assert np.array_equal(union, mask(out, entry["output"]) > 0)


def test_nothing_to_save_is_said_by_its_name(ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    words = ("predict", trained, data / "hole" / "00.png", "--out", tmp_path / "out", "--save")
    for nothing in ("", " , "):
        result = ltcam(*words, nothing)
        assert result.code == 2
        assert f"--save {nothing!r} names nothing; choose from masks, overlays" in result.err
    assert ltcam(*words, "none").code == 0
    assert not [path for path in (tmp_path / "out").iterdir() if path.name in {"masks", "overlays"}]


def test_images_of_more_bits_than_the_training_had(
    ltcam: Call, trained: Path, data: Path, tmp_path: Path
) -> None:
    """8 bits in a wider file are seen as they are; of 12 bits hardly anything is seen, which is said."""
    values = np.asarray(Image.open(data / "hole" / "00.png").convert("L")).astype(np.uint16)
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "plain.png")
    Image.fromarray(values).save(tmp_path / "wide.png")
    Image.fromarray(values * 16).save(tmp_path / "twelve.png")
    files = [tmp_path / f"{name}.png" for name in ("plain", "wide", "twelve")]
    result = ltcam("predict", trained, *files, "--out", tmp_path / "out", "--json")
    found = {entry["image"]: entry["score"] for entry in results(tmp_path / "out")["images"]}
    assert found["wide.png"] == found["plain.png"]
    assert len(json.loads(result.out)["notes"]) == 1
    assert "1 image nearly black, such as twelve.png: no light, or a file of more bits than" in result.err


def test_unknown_kinds_to_save_are_named(ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    result = ltcam("predict", trained, data / "hole", "--out", tmp_path / "out", "--save", "masks,overlay")
    assert result.code == 2
    assert "did you mean overlays?" in result.err
    assert left_in(tmp_path) == []


def test_without_a_word_there_are_no_heatmaps(ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = ltcam("predict", trained, data / "hole", "--out", out)
    assert result.code == 0
    assert str(out / "report.html") in result.err
    assert left_in(out) == [
        "coco.json",
        "masks",
        "overlays",
        "predictions.csv",
        "predictions.json",
        "report.html",
        "thumbnails",
    ]


def test_ok_verdict_empties_the_mask_but_not_the_heatmap(
    ltcam: Call, trained: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ("--verdict-threshold", "1", "--save", "masks,heatmaps-raw")
    assert ltcam("predict", trained, data / "hole", "--out", out, *options).code == 0
    entries = results(out)["images"]
    assert len(entries) == 16
    assert {entry["verdict"] for entry in entries} == {"ok"}
    for entry in entries:
        assert entry["regions"] == []
        assert not mask(out, entry["output"]).any()
        assert np.asarray(Image.open(out / "heatmaps-raw" / f"{entry['output']}.png")).max() == 65535


def test_masks_depend_neither_on_batch_size_nor_on_threads(
    ltcam: Call, trained: Path, data: Path, tmp_path: Path
) -> None:
    for batch_size, threads in ((1, 1), (8, 1), (8, 2)):
        out = tmp_path / f"{batch_size}-{threads}"
        options = ("--batch-size", batch_size, "--threads", threads, *ALL)
        assert ltcam("predict", trained, data / "hole", "--out", out, *options).code == 0
    first = tmp_path / "1-1"
    entries = results(first)["images"]
    assert len(entries) == 16
    for other in (tmp_path / "8-1", tmp_path / "8-2"):
        for entry, again in zip(entries, results(other)["images"], strict=True):
            one, two = mask(first, entry["output"]) > 0, mask(other, again["output"]) > 0
            assert (one & two).sum() >= 0.999 * (one | two).sum()
            assert entry["score"] == pytest.approx(again["score"], abs=1e-5)


def test_overrides_change_the_masks_and_are_kept(
    ltcam: Call, trained: Path, data: Path, tmp_path: Path
) -> None:
    image = data / "hole" / "03.png"
    assert ltcam("predict", trained, image, "--out", tmp_path / "plain", *ALL).code == 0
    options = (
        *("--method", "hires-cam", "--percentile", "50", "--stages", "2,trunk.layer3.0"),
        *("--fusion", "max", "--threshold", "0.4"),
    )
    assert ltcam("predict", trained, image, "--out", tmp_path / "other", *ALL, *options).code == 0
    settings = results(tmp_path / "other")["settings"]
    assert settings["cam"]["method"] == "hires-cam"
    assert settings["cam"]["percentile"] == 50
    assert settings["cam"]["stages"] == ["trunk.layer1", "trunk.layer3.0"]
    assert settings["cam"]["fusion"] == "max"
    assert settings["mask"]["threshold"] == 0.4
    assert settings["verdict"]["threshold"] == 0
    assert not np.array_equal(mask(tmp_path / "plain", "03"), mask(tmp_path / "other", "03"))
    assert ltcam("predict", trained, image, "--out", tmp_path / "none", "--percentile", "none").code == 0


# -------------------------------------------------------------------------------------------- inputs


def test_sharpening_changes_the_masks_and_is_kept(
    ltcam: Call, trained: Path, data: Path, tmp_path: Path
) -> None:
    masks, kept = {}, {}
    for polarity in ("none", "dark", "bright"):
        out = tmp_path / polarity
        result = ltcam("predict", trained, data / "hole", "--out", out, *ALL, "--sharpen", polarity)
        assert result.code == 0, result.err
        kept[polarity] = json.loads((out / "predictions.json").read_text())["settings"]
        masks[polarity] = [np.asarray(Image.open(file)) for file in sorted((out / "masks").rglob("*.png"))]
    assert kept["none"]["mask"]["reach"] == 1
    assert [kept[name]["sharpening"]["polarity"] for name in kept] == ["none", "dark", "bright"]
    truth = [np.asarray(Image.open(data / "masks" / "hole" / f"{number:02}.png")) > 0 for number in range(4)]

    def inside(polarity: str) -> float:
        found = sum(
            int(((mask > 0) & true).sum()) for mask, true in zip(masks[polarity], truth, strict=False)
        )
        return found / max(1, sum(int((mask > 0).sum()) for mask in masks[polarity][: len(truth)]))

    assert inside("dark") > inside("bright"), "the holes are dark"
    refused = ltcam("predict", trained, data / "hole", "--out", tmp_path / "x", "--sharpen", "loud")
    assert refused.code == 2
    assert "--sharpen" in refused.err
    assert "loud" in refused.err


def test_files_folders_globs_and_manifests(
    ltcam: Call, trained: Path, picture: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a/x.png", "b/x.png", "b/deep/y.png", "c/[1].png", "m/1.png", "m/2.png")):
        picture(Path(name), number)
    picture(Path("b/.cache/hidden.png"), 50)
    Path("b/notes.txt").write_text("no image")
    Path("m/list.csv").write_text("path,label\n1.png,ok\n2.png,hole\n3.png,ok\n")
    inputs = ("a/x.png", "b", "c/*.png", "c/[1].png", "m/list.csv")
    result = ltcam("predict", trained, *inputs, "--out", "out", "--save", "masks,heatmaps-raw")
    assert result.code == 1
    names = [entry["image"] for entry in results(Path("out"))["images"]]
    assert sorted(names) == ["1.png", "2.png", "[1].png", "a/x.png", "b/x.png", "deep/y.png"]
    failed = [(entry["image"], entry["reason"]) for entry in results(Path("out"))["failed"]]
    assert failed == [("3.png", "there is no such file")]
    # Each got its own files, though two images have one name.
    assert len(list(Path("out/masks").rglob("*.png"))) == 6
    assert not np.array_equal(
        np.asarray(Image.open("out/heatmaps-raw/a/x.png")), np.asarray(Image.open("out/heatmaps-raw/b/x.png"))
    )


def test_earlier_results_among_the_images_are_no_inputs(
    ltcam: Call, trained: Path, picture: Callable[..., Path], tmp_path: Path
) -> None:
    picture(tmp_path / "lot" / "1.png", 1)
    for options in ([], ["--overwrite"]):
        words = ("predict", trained, tmp_path / "lot", "--out", tmp_path / "lot" / "results")
        assert ltcam(*words, *options).code == 0
        assert [entry["image"] for entry in results(tmp_path / "lot" / "results")["images"]] == ["1.png"]


def test_a_name_that_is_no_text(
    ltcam: Call, trained: Path, picture: Callable[..., Path], tmp_path: Path
) -> None:
    source = picture(tmp_path / "plain.png", 1)
    folder = os.fsencode(tmp_path / "odd")
    Path(os.fsdecode(folder)).mkdir()
    try:
        shutil.copy(os.fsencode(source), folder + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    Path(os.fsdecode(folder + b"/bad\xe9.png")).write_bytes(b"x")
    result = ltcam("predict", trained, tmp_path / "odd", "--out", tmp_path / "out", "--json")
    assert result.code == 1
    assert len(results(tmp_path / "out")["images"]) == 1
    assert json.loads(result.out)["inspected"] == 1
    result.err.encode()  # what was printed is text again
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 1


@pytest.mark.parametrize("what", ["empty folder", "no match", "missing", "run", "only broken"])
def test_nothing_to_inspect(ltcam: Call, trained: Path, zoo: Any, tmp_path: Path, what: str) -> None:
    (tmp_path / "empty").mkdir()
    given, said = {
        "empty folder": (tmp_path / "empty", "holds no images"),
        "no match": (tmp_path / "*.png", "pattern"),
        "missing": (tmp_path / "a.png", "neither a file"),
        "run": (trained, "is a run folder"),
        "only broken": (zoo.root / "truncated.jpg", "cut short"),
    }[what]
    result = ltcam("predict", trained, given, "--out", tmp_path / "out")
    assert result.code == 2
    assert said in result.err
    assert "Traceback" not in result.err
    assert left_in(tmp_path) == ["empty"]


def test_a_link_that_leads_out_can_be_given_by_its_name(
    ltcam: Call, trained: Path, data: Path, tmp_path: Path
) -> None:
    link = tmp_path / "in" / "a.png"
    link.parent.mkdir()
    link.symlink_to((data / "hole" / "00.png").absolute())
    refused = ltcam("predict", trained, link.parent, "--out", tmp_path / "out")
    assert refused.code == 2
    assert f"{LINK}, or give the link by its name" in " ".join(refused.err.split())
    assert ltcam("predict", trained, link, "--out", tmp_path / "out").code == 0


def test_where_all_inputs_fail_nothing_is_written(
    ltcam: Call, trained: Path, data: Path, tmp_path: Path
) -> None:
    """All are named, since no table names them; results that are there stay."""
    out = tmp_path / "out"
    assert ltcam("predict", trained, data / "hole" / "00.png", "--out", out).code == 0
    before = (out / "predictions.json").read_bytes()
    broken = tmp_path / "broken"
    broken.mkdir()
    for number in range(30):
        (broken / f"{number}.png").write_text("no image")
    result = ltcam("predict", trained, broken, "--out", out, "--overwrite", "--json")
    assert result.code == 2
    assert (out / "predictions.json").read_bytes() == before
    summary = json.loads(result.out)
    assert (summary["inspected"], len(summary["failed"])) == (0, 30)
    assert result.err.count("not an image file") == 30
    assert "0 images inspected, 30 failed; nothing was written" in result.err
    assert "report.html" not in result.err
    assert "predictions.csv" not in result.err


# ------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--stages", "nosuch"], "--stages nosuch: no such stage; give numbers 1 to 5 or names"),
        (["--stages", "6"], "--stages 6"),
        (["--stages", "0"], "--stages 0"),
        (["--stages", "-1"], "--stages -1"),
        (["--stages", ""], "--stages"),
        (["--stages", "trunk"], "trunk"),
        (["--stages", "head"], "head"),
        (["--method", "grad-scam"], "grad-scam"),
        (["--fusion", "sub"], "--fusion 'sub'"),
        (["--percentile", "101"], "--percentile 101"),
        (["--percentile", "nan"], "--percentile nan"),
        (["--threshold", "1.5"], "--threshold 1.5"),
        (["--threshold", "nan"], "--threshold nan"),
        (["--device", "abacus"], "--device 'abacus'"),
    ],
)
def test_refused_settings_leave_nothing(
    refuses: Call, trained: Path, data: Path, words: list[str], said: str
) -> None:
    refuses(said, "predict", trained, data / "hole", *words)


def changed(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda run: run.update(fields)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed(schema_version=4), "schema version 4, this ltcam reads up to 3; update ltcam"),
        (changed(schema_version="one"), "field 'schema_version'"),
        (changed(map="other"), "run.json: there is no map 'other'; there are "),
        (changed(image_size=["tall", 96]), "field 'image_size.0'"),
        (changed(image_size=[0, 96]), "field 'image_size'"),
        (changed(image_size=[100_000, 100_000]), "field 'image_size'"),
        (changed(classes=["ok"]), "field 'classes'"),
        (changed(classes=["ok", "ok"]), "field 'classes'"),
        (changed(std=[0.5, 0, 0.5]), "field 'std'"),
        (changed(mean=[0.5, float("nan"), 0.5]), "field 'mean.1'"),
        (changed(backbone="resnet8000"), "field 'backbone'"),
        (changed(stages=["trunk.layer9"]), "stage 'trunk.layer9'"),
        (changed(colour="red"), "field 'colour'"),
        (lambda run: run["maps"]["map"].update(method="grad-scam"), "field 'maps'"),
        (lambda run: run["maps"]["map"].update(fusion="sub"), "field 'maps.map.fusion'"),
        (lambda run: run["maps"]["map"].update(stages=["trunk.layer9"]), "stage 'trunk.layer9'"),
        (lambda run: run["mask"].update(threshold=2), "field 'mask.threshold"),
        (lambda run: run["verdict"].update(threshold=-1), "field 'verdict.threshold'"),
        (lambda run: run.pop("classes"), "field 'classes'"),
    ],
)
def test_damaged_settings_of_a_run_are_named(
    refuses: Call, run_copy: Path, data: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    run = json.loads((run_copy / "run.json").read_text())
    change(run)
    (run_copy / "run.json").write_text(json.dumps(run))
    assert str(run_copy) in refuses(said, "predict", run_copy, data / "hole" / "00.png").err


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "damaged"), ("{", "damaged"), ("[]", "damaged"), ("[" * 100_000, "damaged"), ("\xff", "damaged")],
)
def test_settings_that_are_no_json(
    refuses: Call, run_copy: Path, data: Path, content: str, said: str
) -> None:
    (run_copy / "run.json").write_bytes(content.encode("latin-1"))
    assert str(run_copy) in refuses(said, "predict", run_copy, data / "hole" / "00.png").err


@pytest.mark.parametrize("what", ["missing", "empty", "cut", "nan", "other network", "folder", "no run"])
def test_damaged_weights_are_named(
    refuses: Call, run_copy: Path, data: Path, tmp_path: Path, what: str
) -> None:
    file = run_copy / "weights.safetensors"
    state = load_file(file)
    content = file.read_bytes()
    file.unlink()
    if what == "empty":
        file.write_bytes(b"")
    if what == "cut":
        file.write_bytes(content[: len(content) // 2])
    if what == "nan":
        state["head.bias"][1] = torch.nan
        save_file(state, file)
    if what == "other network":
        state["head.weight"] = torch.zeros(3, 5)
        save_file(state, file)
    if what == "folder":
        file.mkdir()
    if what == "no run":
        (run_copy / "run.json").unlink()
    said = {
        "missing": "holds no weights.safetensors",
        "empty": "not a readable safetensors file",
        "cut": "not a readable safetensors file",
        "nan": "tensor 'head.bias' holds NaN",
        "other network": "head.weight",
        "folder": "holds no weights.safetensors",
        "no run": "holds no run.json",
    }[what]
    assert str(run_copy) in refuses(said, "predict", run_copy, data / "hole" / "00.png").err


# ------------------------------------------------------------------------------------ where it is written


def test_existing_results_stay(ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("predict", trained, data / "hole" / "00.png", "--out", out)
    assert ltcam(*words).code == 0
    before = (out / "predictions.json").read_bytes()
    again = ltcam(*words)
    assert again.code == 2
    assert "--overwrite" in again.err
    failing = ltcam(*words, "--overwrite", "--stages", "nosuch")
    assert failing.code == 2
    assert (out / "predictions.json").read_bytes() == before
    assert ltcam(*words, "--overwrite", *ALL).code == 0
    assert (out / "predictions.json").read_bytes() != before
    foreign = ltcam("predict", trained, data / "hole" / "00.png", "--out", data, "--overwrite")
    assert foreign.code == 2
    assert "not replaced" in foreign.err
    assert left_in(data) == ["good", "hole", "masks"]
    of_train = ltcam("predict", trained, data / "hole" / "00.png", "--out", trained, "--overwrite")
    assert of_train.code == 2
    assert left_in(tmp_path) == ["out"]


def test_full_disk(ltcam: Call, trained: Path, data: Path, small_disk: Callable[[str], Path]) -> None:
    place = small_disk("size=128k")
    result = ltcam("predict", trained, data, "--out", place / "out", "--batch-size", "1")
    assert result.code == 2
    assert "disk is full" in result.err
    assert left_in(place) == []
    assert ltcam("predict", trained, data / "hole/00.png", "--out", place / "out").code == 0


def test_no_permission(
    ltcam: Call, trained: Path, data: Path, tmp_path: Path, small_disk: Callable[[str], Path]
) -> None:
    if os.geteuid() == 0:  # who may write anywhere but on what is mounted for reading
        place, said = small_disk("size=1m,ro"), "read-only"
    else:
        place, said = tmp_path / "closed", "no permission"
        place.mkdir(mode=0o555)
    result = ltcam("predict", trained, data / "hole", "--out", place / "out")
    assert result.code == 2
    assert said in result.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_by_permission(ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    closed = Path(shutil.copy(data / "hole" / "00.png", tmp_path / "closed.png"))
    closed.chmod(0)
    result = ltcam("predict", trained, closed, data / "hole" / "01.png", "--out", tmp_path / "out")
    assert result.code == 1
    assert "no permission" in result.err


# ------------------------------------------------------------------------------------------ stopped


@pytest.mark.parametrize(
    "stop",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_stopped_in_the_middle(
    ltcam: CommandLine, trained: Path, data: Path, tmp_path: Path, stop: signal.Signals
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3000):
        os.link(data / "hole" / "00.png", images / f"{number:04}.png")
    place = tmp_path / "place"
    place.mkdir()
    words = ("predict", trained, images, "--out", place / "out", "--batch-size", "1")
    running = ltcam.start(*words)
    ltcam.until(lambda: any(place.glob(".out-*.tmp/masks/*.png")), running)
    os.kill(running.pid, stop)
    printed, said = running.communicate(timeout=120)
    assert running.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[stop], said
    assert printed == ""
    assert "Traceback" not in said
    assert not (place / "out").exists()
    if stop != signal.SIGKILL:
        assert said == "ltcam: interrupted; nothing was written\n"
        assert left_in(place) == []
    for path in sorted(images.iterdir())[2:]:
        path.unlink()
    assert ltcam(*words).code == 0
    assert left_in(place) == ["out"]  # what the killed one left is gone too
    assert len(results(place / "out")["images"]) == 2


# ------------------------------------------------------------------------------ sizes and doubt


def test_sizes_in_millimetres_and_smallest_regions(
    ltcam: Call, trained: Path, data: Path, tmp_path: Path
) -> None:
    plain, sized = tmp_path / "plain", tmp_path / "sized"
    assert ltcam("predict", trained, data / "hole", "--out", plain, *ALL).code == 0
    scale = ("--px-per-mm", "4", "--min-area", "1mm2")
    assert ltcam("predict", trained, data / "hole", "--out", sized, *ALL, *scale).code == 0
    before = [r for entry in results(plain)["images"] for r in entry["regions"]]
    after = [r for entry in results(sized)["images"] for r in entry["regions"]]
    assert [r["area_px"] for r in after] == [r["area_px"] for r in before if r["area_px"] >= 16]
    assert all(r["area_mm2"] == pytest.approx(r["area_px"] / 16, abs=1e-6) for r in after)
    assert all(r["length_mm"] == pytest.approx(r["length_px"] / 4, abs=1e-3) for r in after)
    assert "area_mm2" not in before[0]
    with (sized / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["largest_area_px"]]
    assert rows
    assert all(
        float(row["largest_area_mm2"]) == pytest.approx(int(row["largest_area_px"]) / 16) for row in rows
    )
    assert '"unit":"mm²"' in (sized / "report.html").read_text(encoding="utf-8").replace("\\u00b2", "²")


@pytest.mark.parametrize("words", [["--min-area", "1mm"], ["--min-area", "big"], ["--unsure", "0.7"]])
def test_sizes_that_cannot_be_used(
    ltcam: Call, trained: Path, data: Path, tmp_path: Path, words: list[str]
) -> None:
    result = ltcam("predict", trained, data / "hole", "--out", tmp_path / "out", *words)
    assert result.code == 2
    assert words[0] in result.err
    assert "Traceback" not in result.err
    assert left_in(tmp_path) == []


def test_scores_near_the_threshold_are_unsure(ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--verdict-threshold", "0.5", "--unsure", "0.5")
    assert ltcam("predict", trained, data / "hole", "--out", out, *words).code == 0
    assert {entry["verdict"] for entry in results(out)["images"] if entry["score"] < 1} <= {"unsure"}


def test_large_photos_have_a_note_unless_they_are_looked_at_closer(
    ltcam: Call, trained: Path, tmp_path: Path
) -> None:
    Image.fromarray(np.full((512, 400, 3), 128, np.uint8)).save(tmp_path / "large.png")
    words = ("predict", trained, tmp_path / "large.png", "--out", tmp_path / "out", "--overwrite")
    said = "512 x 400 pixels, and the network sees 64 x 96 of them: a defect narrower than about 16 pixels can vanish"
    first = ltcam(*words, "--json")
    assert f"{said}; --zoom 1 looks" in first.err
    assert f"{said}; `zoom=1` looks" in json.loads(first.out)["notes"][0]
    assert said not in ltcam(*words, "--zoom", "1").err
