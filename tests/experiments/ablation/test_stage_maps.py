from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.conftest import noted
from torch import nn

from ltcam.cam import CAM, Truncation, capture, log_odds
from ltcam.cam.engine import Relu
from ltcam.data.dataset import Dataset
from ltcam.data.opened import OpenData
from ltcam.experiments.ablation.stage_maps import Kind, Recipe, StageMapFiles, moved, shares_of_stages
from ltcam.experiments.opened import Source
from ltcam.runs import network
from ltcam.runs.inspector import Inspector
from ltcam_runtime.errors import RunError

NO_DATA = OpenData(Path(), Dataset(Path(), "folders", (), ()))
RESIZED = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
KINDS = (
    Kind("grad-cam"),
    Kind("grad-cam", 50, "stage", "mask"),
    Kind("layer-cam", 90),
    Kind("grad-cam", 50, taps="before"),
)


@pytest.fixture(scope="module")
def run(make_run: Callable[..., Path]) -> Path:
    return make_run()


@pytest.fixture(scope="module")
def inspector(run: Path) -> Inspector:
    return Inspector.load(run, device="cpu")


def files_of(run: Path, inspector: Inspector, folder: Path, **options: Any) -> StageMapFiles:
    return StageMapFiles.of(
        Source(run, inspector, NO_DATA), folder, **{"positive_activations": False, **options}
    )


@pytest.mark.parametrize("relu", ["stage", "none"])
@pytest.mark.parametrize(
    "fused",
    [
        CAM(),
        CAM(fusion="max", stage_scale="tanh"),
        CAM(fusion="mean", stage_scale="minmax"),
        CAM(stage_scale="max"),
    ],
    ids=lambda cam: f"{cam.fusion}-{cam.stage_scale}",
)
def test_recipes_make_the_maps_of_the_engine(
    relu: Relu, fused: CAM, run: Path, inspector: Inspector, tmp_path: Path
) -> None:
    found = files_of(run, inspector, tmp_path, positive_activations=True).get(RESIZED, KINDS[:3])
    batch, target = inspector.network.batch([RESIZED]), log_odds([1])
    for kind, maps in found.items():
        truncation = (
            None if kind.percentile is None else Truncation(kind.percentile, kind.scope, kind.reading)
        )
        cam = replace(
            fused,
            method=kind.method,
            truncation=truncation,
            layers=inspector.run.stages,
            relu=relu,
            positive_activations=True,
        )
        expected = cam(inspector.network.classifier, batch, target)[0].numpy()
        recipe = Recipe(kind, fused.fusion, fused.stage_scale, relu=relu == "stage")
        np.testing.assert_allclose(recipe.heatmap(maps, (64, 64)), expected, rtol=1e-5, atol=1e-7)


def test_one_stage_alone(run: Path, inspector: Inspector, tmp_path: Path) -> None:
    kind = KINDS[0]
    maps = files_of(run, inspector, tmp_path).get(RESIZED, [kind])[kind]
    alone = CAM("grad-cam", layers=inspector.run.stages[1:2])
    expected = alone(inspector.network.classifier, inspector.network.batch([RESIZED]), log_odds([1]))[
        0
    ].numpy()
    np.testing.assert_allclose(Recipe(kind, stage=2).heatmap(maps, (64, 64)), expected, rtol=1e-5, atol=1e-7)


def test_what_is_in_a_file_is_not_made_again(
    run: Path, inspector: Inspector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Any] = []
    monkeypatch.setattr(network, "capture", noted(looks, capture))
    files = files_of(run, inspector, tmp_path)
    made = files.get(RESIZED, KINDS)
    assert len(looks) == 2  # one per tap
    again = files_of(run, inspector, tmp_path).get(RESIZED, KINDS)
    assert len(looks) == 2
    assert list(again) == list(KINDS)
    for kind in KINDS:
        for one, other in zip(made[kind], again[kind], strict=True):
            np.testing.assert_array_equal(one, other)
    (file,) = tmp_path.iterdir()
    with np.load(file) as arrays:
        names = {f"{place}.{stage}" for place in range(len(KINDS)) for stage in range(len(made[KINDS[0]]))}
        assert set(arrays.files) == names
    files.get(255 - RESIZED, KINDS)  # another image, other kinds, other settings: other files
    files.get(RESIZED, KINDS[:1])
    files_of(run, inspector, tmp_path, positive_activations=True).get(RESIZED, KINDS)
    assert len(list(tmp_path.iterdir())) == 4
    file.write_bytes(file.read_bytes()[:1000])  # torn off: made again
    restored = files.get(RESIZED, KINDS)
    np.testing.assert_array_equal(restored[KINDS[1]][0], made[KINDS[1]][0])


def test_files_that_hold_objects_are_never_unpickled(run: Path, inspector: Inspector, tmp_path: Path) -> None:
    files = files_of(run, inspector, tmp_path)
    files.get(RESIZED, KINDS[:1])
    (file,) = tmp_path.iterdir()
    with file.open("wb") as stream:
        pickled: dict[str, Any] = {f"0.{stage}": np.array([print], object) for stage in range(5)}
        np.savez(stream, **pickled)
    assert files.get(RESIZED, KINDS[:1])[KINDS[0]][0].dtype == np.float32


def test_images_that_a_run_cannot_look_at_are_refused_in_its_words(
    run: Path, inspector: Inspector, tmp_path: Path
) -> None:
    files = files_of(run, inspector, tmp_path)
    with pytest.raises(RunError, match=r"cannot be used on images.*no-cam"):
        files.get(RESIZED, [Kind("no-cam")])


def test_taps(run: Path, inspector: Inspector, tmp_path: Path) -> None:
    files = files_of(run, inspector, tmp_path)
    assert files.layers("after") == inspector.run.stages
    assert len(files.layers("before")) == len(inspector.run.stages)


def test_shares() -> None:
    maps = (np.array([[1.0, -5.0]], np.float32), np.full((4, 4), 1.5, np.float32))
    assert shares_of_stages(maps) == pytest.approx([0.25, 0.75])
    assert shares_of_stages((np.zeros((2, 2), np.float32),)) == [0.0]


def test_moved_knows_shapes_and_no_scales() -> None:
    one: tuple[NDArray[Any], ...] = (np.array([[1.0, 2.0, -9.0]]), np.array([[1.0, 0.0]]), np.zeros((2, 2)))
    other: tuple[NDArray[Any], ...] = (
        np.array([[10.0, 20.0, -1.0]]),
        np.array([[0.0, 3.0]]),
        np.ones((2, 2)),
    )
    same, turned, nothing = moved(one, other)
    assert same == pytest.approx(0, abs=1e-12)
    assert turned == 1
    assert np.isnan(nothing)


def test_an_even_share_is_that_of_the_resized_maps() -> None:
    """A stage's share of the raw sum is about that of its map before it is resized."""
    maps = (
        np.random.default_rng(0).random((32, 32)).astype(np.float32),
        3 * np.random.default_rng(1).random((8, 8)).astype(np.float32),
    )
    resized = [
        nn.functional.interpolate(torch.from_numpy(each)[None, None], (64, 64), mode="bilinear").mean()
        for each in maps
    ]
    total = float(sum(resized))
    assert shares_of_stages(maps) == pytest.approx([float(each) / total for each in resized], abs=0.02)
