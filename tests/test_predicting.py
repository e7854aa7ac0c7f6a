from __future__ import annotations

import json
import shutil
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ltcam import predicting
from ltcam.predicting import _unique_names, find_inputs, predict_files
from ltcam_runtime.errors import DataError, OutputError, RunError, SettingsError
from ltcam_runtime.writers import MARKER


def paint(path, seed=0, size=(40, 56)):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    for name in ("b/2.png", "b/10.JPG", "a/1.png", "a/c/1.tif", ".hidden/1.png", "b/.secret.png"):
        paint(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    return tmp_path / "in"


@pytest.fixture(scope="module")
def run(make_run):
    return make_run()


def names(found):
    return [name for name, _ in found]


# ------------------------------------------------------------------------------------------ inputs


def test_a_folder_gives_its_images_by_their_path_inside(folder):
    found = find_inputs([str(folder)])
    assert names(found) == ["a/1.png", "a/c/1.tif", "b/10.JPG", "b/2.png"]
    assert all(path == folder / name for name, path in found)


def test_a_file_is_taken_whatever_its_suffix(folder):
    assert find_inputs([str(folder / "notes.txt")]) == [("notes.txt", folder / "notes.txt")]


def test_patterns(folder):
    assert names(find_inputs([f"{folder}/b/*.png"])) == ["2.png"]
    assert sorted(path.name for _, path in find_inputs([f"{folder}/**/1.*"])) == ["1.png", "1.tif"]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    file = paint(tmp_path / "part[1].png")
    assert find_inputs([str(file)]) == [("part[1].png", file)]


def test_each_file_once(folder):
    one = str(folder / "a/1.png")
    found = find_inputs([one, str(folder / "a"), one, f"{folder}/a/*.png"])
    assert names(found) == ["1.png", "c/1.tif"]


def test_a_manifest_gives_its_images_and_those_that_are_missing(folder):
    manifest = folder / "list.csv"
    manifest.write_text("path,label\nb/2.png,ok\na/1.png,dent\na/gone.png,ok\n")
    assert sorted(names(find_inputs([str(manifest)]))) == ["a/1.png", "a/gone.png", "b/2.png"]


@pytest.mark.parametrize("text", ["nowhere", "nowhere/*.png", "nowhere.png", "*.nothing"])
def test_an_input_that_stands_for_nothing_is_named(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="is neither a file, a folder, a manifest nor a pattern"):
        find_inputs([text])


def test_a_folder_without_images_is_named_even_beside_others(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no images; images end in"):
        find_inputs([str(folder), str(tmp_path / "empty")])


def test_a_run_folder_is_no_input(run):
    with pytest.raises(RunError, match="is a run folder, not images"):
        find_inputs([str(run)])


def test_results_below_the_folder_are_not_taken_for_images(folder):
    """Predicting twice into a folder inside the images must not inspect the first one's masks."""
    before = find_inputs([str(folder)])
    paint(folder / "results" / "masks" / "a" / "1.png")
    paint(folder / "results" / "heatmaps" / "1.png")
    (folder / "results" / MARKER).write_text("{}")
    assert find_inputs([str(folder)]) == before
    assert names(find_inputs([str(folder / "results" / "masks")])) == ["a/1.png"]  # if asked for


def test_the_same_name_from_two_places(tmp_path):
    files = [paint(tmp_path / place / "1.png") for place in ("a", "b", "c/a")]
    found = find_inputs([str(file) for file in files])
    assert names(found) == ["a/1.png", "b/1.png", "a-2/1.png"]
    assert [path for _, path in found] == files


paths = st.lists(
    st.lists(st.sampled_from(["a", "b", "a-2", "c"]), min_size=0, max_size=3).map(
        lambda parts: Path("/", *parts, "1.png")
    ),
    unique=True,
)


@given(paths, st.booleans())
def test_names_are_unique_and_stay_below_the_results(found, deep):
    pairs = [("a/1.png" if deep and len(p.parts) > 3 else p.name, p) for p in found]
    unique = _unique_names(pairs)
    assert [path for _, path in unique] == found
    assert len({name for name, _ in unique}) == len(found)
    for name, _ in unique:
        assert not PurePosixPath(name).is_absolute()
        assert ".." not in PurePosixPath(name).parts


# ------------------------------------------------------------------------------------------ predicting


def test_results_of_all_kinds(run, folder, tmp_path):
    calls = []
    summary = predict_files(
        run, [str(folder)], tmp_path / "out", device="cpu", progress=lambda *c: calls.append(c)
    )
    assert summary.inspected == 4
    assert summary.verdicts == {"defect": 4}
    assert summary.failed == ()
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"predictions.csv", "predictions.json", "coco.json", "masks", "heatmaps", "overlays"} <= written
    values = json.loads((tmp_path / "out" / "predictions.json").read_text())
    images = [image["image"] for image in values["images"]]
    assert images == ["a/1.png", "a/c/1.tif", "b/10.JPG", "b/2.png"]
    assert set(values["settings"]) == {"run", "cam", "sharpening", "mask", "verdict"}
    json.dumps(summary.to_json(), allow_nan=False)


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (8, 1), (3, 2)])
def test_masks_do_not_depend_on_batch_size_or_threads(batch_size, threads, run, folder, tmp_path):
    reference = tmp_path / "reference"
    predict_files(run, [str(folder)], reference, device="cpu")
    predict_files(run, [str(folder)], tmp_path / "out", device="cpu", batch_size=batch_size, threads=threads)
    predicting.torch.set_num_threads(1)
    masks = sorted((reference / "masks").rglob("*.png"))
    assert len(masks) == 4
    for file in masks:
        one = np.asarray(Image.open(file)) > 0
        other = np.asarray(Image.open(tmp_path / "out" / file.relative_to(reference))) > 0
        assert (one & other).sum() >= 0.999 * (one | other).sum()


def test_one_bad_file_does_not_stop_the_others(run, folder, tmp_path):
    (folder / "b/2.png").write_bytes(b"no image")
    summary = predict_files(run, [str(folder)], tmp_path / "out", device="cpu")
    assert summary.inspected == 3
    ((name, reason),) = summary.failed
    assert name == "b/2.png"
    assert "not an image" in reason
    assert "b/2.png" in (tmp_path / "out" / "predictions.csv").read_text()
    assert summary.to_json()["failed"] == [{"image": name, "reason": reason}]


def test_settings_are_taken_and_written_down(run, folder, tmp_path):
    predict_files(
        run,
        [str(folder / "a")],
        tmp_path / "out",
        cam={"method": "grad-cam", "stages": [2]},
        mask={"threshold": 0.25},
        verdict_threshold=0.99,
        device="cpu",
    )
    values = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert values["settings"]["cam"]["method"] == "grad-cam"
    assert values["settings"]["cam"]["stages"] == ["trunk.layer1"]
    assert values["settings"]["mask"]["threshold"] == 0.25
    assert values["settings"]["verdict"]["threshold"] == 0.99
    assert {image["verdict"] for image in values["images"]} == {"ok"}
    for file in (tmp_path / "out" / "masks").rglob("*.png"):
        assert not np.asarray(Image.open(file)).any()


def test_wrong_settings_leave_nothing_behind(run, folder, tmp_path):
    with pytest.raises(SettingsError):
        predict_files(run, [str(folder)], tmp_path / "out", cam={"method": "guess"}, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_existing_results_are_replaced_only_if_asked(run, folder, tmp_path):
    out = tmp_path / "out"
    predict_files(run, [str(folder)], out, device="cpu")
    with pytest.raises(OutputError, match="--overwrite"):
        predict_files(run, [str(folder)], out, device="cpu")
    predict_files(run, [str(folder / "a")], out, device="cpu", overwrite=True)
    assert len(json.loads((out / "predictions.json").read_text())["images"]) == 2


@pytest.mark.parametrize("fails_at", [1, 3])
def test_a_disk_that_is_full_ends_it_and_leaves_nothing(fails_at, run, folder, tmp_path, monkeypatch):
    calls = []

    def full(_writers, _item):
        calls.append(1)
        if len(calls) >= fails_at:
            raise OSError(28, "No space left on device", str(tmp_path / "somewhere"))

    monkeypatch.setattr(predicting, "_write", full)
    for number in range(40):
        shutil.copy(folder / "a/1.png", folder / f"a/more{number}.png")
    with pytest.raises(OSError, match="No space left"):
        predict_files(run, [str(folder)], tmp_path / "out", device="cpu", batch_size=1)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert len(calls) == fails_at


def test_an_error_of_the_inspector_is_raised_and_the_writer_ends(run, folder, tmp_path, monkeypatch):
    def broken(*_arguments):
        raise ZeroDivisionError

    monkeypatch.setattr("ltcam.inspector.make_mask", broken)
    with pytest.raises(ZeroDivisionError):
        predict_files(run, [str(folder)], tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()
