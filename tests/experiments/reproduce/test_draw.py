from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.experiments.conftest import executed

from ltcam.cam import CAM, FullGrad, Truncation, log_odds
from ltcam.data.dataset import Sample
from ltcam.experiments.compare.contenders import ContenderSettings
from ltcam.experiments.opened import Source
from ltcam.experiments.reproduce.figures import maps as figure_maps
from ltcam.experiments.reproduce.figures.draw import FigureSettings, make_figures
from ltcam.experiments.reproduce.figures.maps import choose_pictured, maps_of, read_shown, shown_contenders
from ltcam.experiments.reproduce.reproduction import Drawn
from ltcam.runs.inspector import Inspector
from ltcam_runtime.errors import DataError, OutputError
from ltcam_runtime.folders import FILES_FILE
from ltcam_runtime.resizing import resize


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five images with dents of rising area, whose names run the other way; and one OK."""
    root = tmp_path / "data"
    for number in range(6):
        kind = "dent" if number else "good"
        rng = np.random.default_rng(number)
        pixels = rng.integers(100, 200, (120, 48), dtype=np.uint8)
        mask = np.zeros_like(pixels)
        name = f"{9 - number}.png"
        if number:
            pixels[20 : 20 + 4 * number, 10:30], mask[20 : 20 + 4 * number, 10:30] = 20, 255
            (root / "masks/dent").mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(root / f"masks/dent/{name}")
        (root / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / f"{kind}/{name}")
    return root


@pytest.fixture(scope="module")
def run(make_run: Callable[..., Path]) -> Path:
    return make_run()


def draw(run: Path, data: Path, out: Path, **work: Any) -> Drawn:
    return make_figures(Source.open(run, data, device="cpu"), out, FigureSettings(images=2), executed(**work))


def sample(name: str, data: Path) -> Sample:
    return Sample(f"dent/{name}", data / "dent" / name, "dent", name, mask=data / "masks/dent" / name)


def test_images_are_chosen_by_area_and_name_alone(data: Path) -> None:
    samples = [sample(f"{number}.png", data) for number in (4, 5, 6, 7, 8)]
    chosen = choose_pictured(samples, 3)
    assert [each.sample.id for each in chosen] == ["dent/8.png", "dent/6.png", "dent/4.png"]
    assert [(each.rank, each.among) for each in chosen] == [(1, 5), (3, 5), (5, 5)]
    assert [each.sample.id for each in choose_pictured(samples[::-1], 1)] == ["dent/6.png"]
    assert len(choose_pictured(samples, 9)) == 5
    (data / "dent/6.png").write_bytes(b"no image")
    assert len(choose_pictured(samples, 9)) == 4
    for file in ("dent/7.png", "masks/dent/7.png"):  # a tie with 8
        (data / file).write_bytes((data / file.replace("7", "8")).read_bytes())
    assert [each.sample.id for each in choose_pictured(samples, 9)][:2] == ["dent/7.png", "dent/8.png"]


def test_maps_are_those_of_the_single_cams_and_are_kept(run: Path, data: Path, tmp_path: Path) -> None:
    inspector = Inspector.load(run, device="cpu")
    settings = ContenderSettings(percentile=30, probing=True)
    compared = shown_contenders(inspector, settings)
    assert [each.title for each in compared] == [title for title, _ in figure_maps.SHOWN_METHODS]
    shown = read_shown(choose_pictured([sample("4.png", data)], 1)[0])
    file = tmp_path / "kept/1.npz"
    found = maps_of(inspector, compared, shown, settings, kept=file)
    images = inspector.network.batch([resize(shown.image, inspector.run.image_size)])
    target, model, stages = log_odds([1]), inspector.network.classifier, inspector.run.stages

    def of(cam: Any) -> NDArray[np.float32]:
        found: NDArray[np.float32] = cam(model, images, target)[0].numpy()
        return found

    truncation = Truncation(30)
    np.testing.assert_allclose(found.stages[-1], of(CAM(layers=stages)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        found.cut_stages[-1], of(CAM(layers=stages, truncation=truncation)), rtol=1e-4, atol=1e-6
    )
    last = CAM(layers=stages[-1:])
    np.testing.assert_allclose(
        found.stages[-2], last.stage_maps(last.capture(model, images, target))[0][0], rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(found.layers[-1], of(FullGrad()), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.cut_layers[-1], of(FullGrad(truncation)), rtol=1e-4, atol=1e-4)
    assert len(found.stages) == len(found.cut_stages) == len(stages) + 1
    assert len(found.numbers) == len(found.layers) - 1 == 13
    nobody: Any = None  # nothing is asked of the network again
    again = maps_of(nobody, compared, shown, settings, kept=file)
    for part in ("stages", "cut_stages", "layers", "cut_layers", "methods"):
        for one, other in zip(getattr(found, part), getattr(again, part), strict=True):
            np.testing.assert_array_equal(one, other)
    assert again.numbers == found.numbers


def test_what_is_written(run: Path, data: Path, tmp_path: Path) -> None:
    calls = []
    found = draw(run, data, tmp_path / "out", progress=lambda *now: calls.append(now))
    names = [
        f"{name}.{kind}" for name in ("layers", "methods", "stages", "truncation") for kind in ("png", "svg")
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        [*names, "figures.json", FILES_FILE]
    )
    assert json.loads((tmp_path / "out/figures.json").read_text()) == found.to_json()
    assert calls == [(1, 2), (2, 2)]
    assert [each.image for each in found.images] == ["dent/7.png", "dent/5.png"]
    for image in found.images:
        assert image.window is not None
        assert len(image.stage_maxima) == len(found.stages) + 1
        top, left, bottom, right = image.window
        assert 0 <= top < bottom <= 120
        assert 0 <= left < right <= 48
    with pytest.raises(OutputError, match="`overwrite=True`"):
        draw(run, data, tmp_path / "out")


def test_what_cannot_be_drawn(run: Path, data: Path, tmp_path: Path) -> None:
    for file in (data / "masks/dent").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="has a mask"):
        draw(run, data, tmp_path / "out")
    assert not (tmp_path / "out").exists()
