"""Pits and stains under one label: two parts, each drawn in its own way; and pits alone, which are drawn alike."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ltcam.data.opened import Data
from ltcam.export.export import export_run
from ltcam.jobs.training import quick
from ltcam.reports.run_page import run_page
from ltcam.runs.folder import read_run
from ltcam.runs.inspector import Inspector
from ltcam.training.settings import TrainingSettings
from ltcam_runtime import Inspector as ExportedInspector
from ltcam_runtime.settings import Overrides

SIZE = (64, 96)
SETTINGS = TrainingSettings(backbone="test_resnet", weights="random", image_size=SIZE)

Picture = tuple[NDArray[np.uint8], NDArray[np.bool_]]


def paint(what: str, seed: int) -> Picture:
    """A noisy grey picture (H, W, 3) and its mask (H, W): a dark pit of 3 pixels across, or a wide pale stain."""
    rng = np.random.default_rng(seed)
    grey, mask = rng.normal(140, 6, SIZE), np.zeros(SIZE, np.uint8)
    place = int(rng.integers(16, 80)), int(rng.integers(16, 48))
    if what == "pit":
        cv2.circle(mask, place, 1, (1,), -1)
        grey -= 70.0 * mask
    if what == "stain":
        axes, angle = (int(rng.integers(9, 14)), int(rng.integers(7, 11))), float(rng.integers(180))
        cv2.ellipse(mask, place, axes, angle, 0, 360, (1,), -1)
        grey += 30 * cv2.GaussianBlur(mask.astype(np.float64), (0, 0), 2)
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[:, :, None], 3, 2), mask > 0


def drawn(**counts: int) -> dict[str, list[Picture]]:
    names = ("ok", "pit", "stain")
    return {what: [paint(what, 1000 * names.index(what) + n) for n in range(counts[what])] for what in counts}


def written(pictures: dict[str, list[Picture]], root: Path) -> Path:
    for what, some in pictures.items():
        folder = root / ("good" if what == "ok" else "bad")
        folder.mkdir(parents=True, exist_ok=True)
        for number, (pixels, _) in enumerate(some):
            Image.fromarray(pixels).save(folder / f"{what}-{number:02}.png")
    return root


def run_of(data: Data, folder: Path) -> Path:
    quick(data, folder, SETTINGS)
    return folder


PICTURES = drawn(ok=40, pit=24, stain=24)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(PICTURES, tmp_path_factory.mktemp("parts") / "data")


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(data, tmp_path_factory.mktemp("parts") / "run")


@pytest.fixture(scope="module")
def inspector(run: Path) -> Inspector:
    return Inspector.load(run, device="cpu")


def without_parts(inspector: Inspector) -> Inspector:
    kind = inspector.settings.kinds["bad"].model_copy(update={"parts": ()})
    return Inspector(inspector.network, inspector.settings.model_copy(update={"kinds": {"bad": kind}}))


def mean_iou(inspector: Inspector, what: str) -> float:
    images, masks = zip(*PICTURES[what], strict=True)
    found = inspector.inspect_batch(images, [what] * len(images), gate=False)
    pairs = [(each.mask, mask) for each, mask in zip(found, masks, strict=True)]
    return float(np.mean([(one & other).sum() / (one | other).sum() for one, other in pairs]))


def test_pits_and_stains_are_two_parts(inspector: Inspector) -> None:
    kind = inspector.settings.kinds["bad"]
    assert [part.sign for part in kind.parts] == ["seed bad, part 1", "seed bad, part 2"]
    seen = {}
    for what in ("pit", "stain"):
        response = inspector.network.respond([pixels for pixels, _ in PICTURES[what]])
        heatmaps = [{name: maps[n] for name, maps in response.heatmaps.items()} for n in range(24)]
        seen[what] = np.mean([kind.part_of(each) for each in heatmaps])
    assert abs(seen["pit"] - seen["stain"]) > 0.5


def test_masks_of_both_are_better_than_masks_that_are_drawn_alike(inspector: Inspector) -> None:
    alike = without_parts(inspector)
    gains = [mean_iou(inspector, what) - mean_iou(alike, what) for what in ("pit", "stain")]
    assert min(gains) > 0
    assert np.mean(gains) > 0.05


def test_why_is_kept_and_shown(run: Path) -> None:
    kept = read_run(run)
    names = {"bad", "bad, part 1", "bad, part 2"}
    assert set(kept.evidence["kinds"]) == set(kept.evidence["smallest_pieces"]) == names
    assert "fall into two parts" in kept.evidence["kinds"]["bad"]["parts"]
    for place, part in enumerate(kept.kinds["bad"].parts, start=1):
        why = kept.evidence["kinds"][f"bad, part {place}"]
        assert why["trust"] == part.trust
        assert kept.evidence["smallest_pieces"][f"bad, part {place}"]["area_px"] == part.mask.min_area_px
    page = run_page(kept, [], [], title="x")
    for place in (1, 2):
        [of_part] = re.findall(rf"<strong>bad, part {place}</strong>.*?</details>", page, re.DOTALL)
        assert "Best of" in of_part
    assert "masks of their own are worth" in page


def test_an_exported_file_draws_the_same_parts(run: Path, inspector: Inspector, tmp_path: Path) -> None:
    exported = ExportedInspector.load(export_run(run, tmp_path / "part.ltcam.onnx").path, check=False)
    assert exported.network.maps == inspector.settings.maps
    images = [PICTURES[what][n][0] for what in ("pit", "stain") for n in range(4)]
    names = list(map(str, range(8)))
    for own, other in zip(
        inspector.inspect_batch(images, names), exported.inspect_batch(images, names), strict=True
    ):
        assert (own.verdict, own.trust) == (other.verdict, other.trust)
        assert (own.mask & other.mask).sum() >= 0.99 * (own.mask | other.mask).sum()


def test_what_is_asked_for_reaches_every_part(inspector: Inspector) -> None:
    smallest = inspector.overridden(Overrides(min_area_px=10_000))
    assert mean_iou(smallest, "pit") == mean_iou(smallest, "stain") == 0
    other = inspector.overridden(Overrides(method="grad-cam", sharpen="none"))
    assert not other.settings.kinds["bad"].parts
    assert mean_iou(other, "stain") > 0


def test_pits_alone_are_drawn_alike(tmp_path: Path) -> None:
    pits = written(drawn(ok=30, pit=32), tmp_path / "data")
    assert not read_run(run_of(pits, tmp_path / "run")).kinds["bad"].parts
