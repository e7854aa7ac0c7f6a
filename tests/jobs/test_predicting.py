from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ltcam.jobs.execution import Execution
from ltcam.jobs.predicting import PredictionSettings, find_inputs, predict
from ltcam.training.listener import Listener
from ltcam_runtime import inspector as inspector_module
from ltcam_runtime import reading
from ltcam_runtime.errors import OutputError, RunError, SettingsError
from ltcam_runtime.regions import find_regions
from ltcam_runtime.searching import HIDDEN, NO_IMAGE
from ltcam_runtime.settings import Overrides
from ltcam_runtime.writers import overlays
from ltcam_runtime.writers.masks import MaskWriter


def paint(path: Path, seed: int = 0, size: tuple[int, int] = (40, 56)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/2.png", "b/10.JPG", "a/1.png", "a/c/1.tif", ".hidden/1.png", "b/.secret.png"):
        paint(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    return tmp_path / "in"


@pytest.fixture(scope="module")
def run(make_run: Callable[..., Path]) -> Path:
    return make_run()


# ------------------------------------------------------------------------------------------ inputs


def test_a_manifest_gives_its_images_and_those_that_are_missing(folder: Path) -> None:
    manifest = folder / "list.csv"
    manifest.write_text("path,label\nb/2.png,ok\na/1.png,dent\na/gone.png,ok\n")
    assert sorted(name for name, _ in find_inputs([str(manifest)]).files) == [
        "a/1.png",
        "a/gone.png",
        "b/2.png",
    ]


def test_a_run_folder_is_no_input(run: Path) -> None:
    with pytest.raises(RunError, match="is a run folder, not images"):
        find_inputs([str(run)])


def test_what_was_left_out_is_said(run: Path, folder: Path, tmp_path: Path) -> None:
    summary = predict(run, [str(folder)], tmp_path / "out", execution=Execution(device="cpu"))
    counts = {entry["reason"]: entry["count"] for entry in summary.left_out}
    assert counts == {HIDDEN: 2, NO_IMAGE: 1}
    kept = json.loads((tmp_path / "out" / "predictions.json").read_text())["left_out"]
    assert kept == list(summary.left_out) == summary.to_json()["left_out"]


def test_a_picture_too_large_for_the_memory_stops_no_other(
    run: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes come from headers, so that the memory of the machine that tests this does not matter."""
    Image.new("L", (4000, 3000)).save(folder / "huge.png")
    monkeypatch.setattr(reading, "_LEAST_PIXELS", 2**10)
    monkeypatch.setattr(reading, "available_memory", lambda: 2**30)
    summary = predict(run, [str(folder)], tmp_path / "out", execution=Execution(device="cpu"))
    assert summary.inspected == 4
    ((name, reason),) = summary.failed
    assert name == "huge.png"
    assert "12,000,000 pixels need about 2.2 GiB of memory, 1.0 GiB are free" in reason


def test_memory_that_runs_out_while_one_image_is_inspected(
    run: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = find_regions

    def hungry(mask: Any, *arguments: Any, **options: Any) -> Any:
        if mask.shape == (64, 48):
            raise MemoryError("Unable to allocate 748. MiB for an array")
        return original(mask, *arguments, **options)

    paint(folder / "b" / "hungry.png", size=(64, 48))
    monkeypatch.setattr(inspector_module, "find_regions", hungry)
    summary = predict(run, [str(folder)], tmp_path / "out", execution=Execution(device="cpu", batch_size=8))
    assert summary.inspected == 4
    assert [name for name, _ in summary.failed] == ["b/hungry.png"]
    assert "not enough memory for its 3,072 pixels" in summary.failed[0][1]


def test_memory_that_runs_out_while_results_are_written(
    run: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = overlays.draw_overlay

    def hungry(image: Any, *arguments: Any) -> Any:
        if image.shape[:2] == (64, 48):
            raise MemoryError
        return original(image, *arguments)

    paint(folder / "b" / "hungry.png", size=(64, 48))
    monkeypatch.setattr(overlays, "draw_overlay", hungry)
    summary = predict(run, [str(folder)], tmp_path / "out", execution=Execution(device="cpu"))
    assert summary.inspected == 4
    assert [name for name, _ in summary.failed] == ["b/hungry.png"]
    values = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert "b/hungry.png" not in [image["image"] for image in values["images"]]
    assert values["failed"][0]["image"] == "b/hungry.png"


# ------------------------------------------------------------------------------------------ predicting


def test_results_of_all_kinds(run: Path, folder: Path, tmp_path: Path) -> None:
    calls = []
    summary = predict(
        run,
        [str(folder)],
        tmp_path / "out",
        execution=Execution(device="cpu", listener=Listener(progress=lambda *c: calls.append(c))),
    )
    assert summary.inspected == 4
    assert summary.verdicts == {"defect": 4}
    assert summary.failed == ()
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"predictions.csv", "predictions.json", "coco.json", "masks", "overlays"} <= written
    values = json.loads((tmp_path / "out" / "predictions.json").read_text())
    images = [image["image"] for image in values["images"]]
    assert images == ["a/1.png", "a/c/1.tif", "b/10.JPG", "b/2.png"]
    assert set(values["settings"]) == {"run", "cam", "sharpening", "mask", "verdict"}
    json.dumps(summary.to_json(), allow_nan=False)


def test_further_pages_and_frames_are_said(run: Path, folder: Path, tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 30), "grey")
    pages = tmp_path / "pages"
    pages.mkdir()
    picture.save(pages / "one.tif")
    picture.save(pages / "three.tif", save_all=True, append_images=[picture, picture])
    picture.convert("P").save(pages / "film.gif", save_all=True, append_images=[Image.new("P", (40, 30), 7)])
    summary = predict(run, [str(pages)], tmp_path / "out")
    assert summary.inspected == 3
    ((reason, count, example),) = [tuple(entry.values()) for entry in summary.left_out]
    assert "several pages or frames" in reason
    assert (count, example) == (2, "film.gif")
    assert any(
        sentence.startswith("left out: 2 files with several pages") for sentence in summary.sentences()
    )
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["left_out"] == list(
        summary.left_out
    )


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (8, 1), (3, 2)])
def test_masks_do_not_depend_on_batch_size_or_threads(
    batch_size: int, threads: int, run: Path, folder: Path, tmp_path: Path
) -> None:
    reference = tmp_path / "reference"
    predict(run, [str(folder)], reference, execution=Execution(device="cpu"))
    predict(
        run,
        [str(folder)],
        tmp_path / "out",
        execution=Execution(device="cpu", batch_size=batch_size, threads=threads),
    )
    torch.set_num_threads(1)
    masks = sorted((reference / "masks").rglob("*.png"))
    assert len(masks) == 4
    for file in masks:
        one = np.asarray(Image.open(file)) > 0
        other = np.asarray(Image.open(tmp_path / "out" / file.relative_to(reference))) > 0
        assert (one & other).sum() >= 0.999 * (one | other).sum()


def test_one_bad_file_does_not_stop_the_others(run: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "b/2.png").write_bytes(b"no image")
    summary = predict(run, [str(folder)], tmp_path / "out", execution=Execution(device="cpu"))
    assert summary.inspected == 3
    ((name, reason),) = summary.failed
    assert name == "b/2.png"
    assert "not an image" in reason
    assert "b/2.png" in (tmp_path / "out" / "predictions.csv").read_text()
    assert summary.to_json()["failed"] == [{"image": name, "reason": reason}]


def test_settings_are_taken_and_written_down(run: Path, folder: Path, tmp_path: Path) -> None:
    predict(
        run,
        [str(folder / "a")],
        tmp_path / "out",
        PredictionSettings(
            overrides=Overrides(method="grad-cam", stages=[2], threshold=0.25, verdict_threshold=0.99)
        ),
        Execution(device="cpu"),
    )
    values = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert values["settings"]["cam"]["method"] == "grad-cam"
    assert values["settings"]["cam"]["stages"] == ["trunk.layer1"]
    assert values["settings"]["mask"]["threshold"] == 0.25
    assert values["settings"]["verdict"]["threshold"] == 0.99
    assert {image["verdict"] for image in values["images"]} == {"ok"}
    for file in (tmp_path / "out" / "masks").rglob("*.png"):
        assert not np.asarray(Image.open(file)).any()


def test_wrong_settings_leave_nothing_behind(run: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        predict(
            run,
            [str(folder)],
            tmp_path / "out",
            PredictionSettings(overrides=Overrides(method="guess")),
            Execution(device="cpu"),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_existing_results_are_replaced_only_if_asked(run: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(run, [str(folder)], out, execution=Execution(device="cpu"))
    with pytest.raises(OutputError, match="`overwrite=True`"):
        predict(run, [str(folder)], out, execution=Execution(device="cpu"))
    predict(run, [str(folder / "a")], out, execution=Execution(device="cpu", overwrite=True))
    assert len(json.loads((out / "predictions.json").read_text())["images"]) == 2


@pytest.mark.parametrize("fails_at", [1, 3])
def test_a_disk_that_is_full_ends_it_and_leaves_nothing(
    fails_at: int, run: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def full(_writer: Any, _inspection: Any, _image: Any) -> None:
        calls.append(1)
        if len(calls) >= fails_at:
            raise OSError(28, "No space left on device", str(tmp_path / "somewhere"))

    monkeypatch.setattr(MaskWriter, "add", full)
    for number in range(40):
        shutil.copy(folder / "a/1.png", folder / f"a/more{number}.png")
    with pytest.raises(OSError, match="No space left"):
        predict(run, [str(folder)], tmp_path / "out", execution=Execution(device="cpu", batch_size=1))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert len(calls) == fails_at


def test_an_error_that_concerns_all_images_is_raised_and_the_writer_ends(
    run: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: Any) -> None:
        raise RunError("the run cannot be used on images")

    monkeypatch.setattr("ltcam_runtime.inspector.make_mask", broken)
    with pytest.raises(RunError, match="cannot be used"):
        predict(run, [str(folder)], tmp_path / "out", execution=Execution(device="cpu"))
    assert not (tmp_path / "out").exists()
