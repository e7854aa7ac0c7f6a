"""Which map, contrast and cut each kind gets: a classifier that is made up, and defects that are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from ltcam.calibration.candidates import Candidate, best_of
from ltcam.calibration.kinds import KindChoice, choose_kinds, together, trust
from ltcam.calibration.looks import Learned
from ltcam.calibration.shown import shown
from ltcam.data.decoded import DecodedImages
from ltcam.runs.network import TorchNetwork
from ltcam.runs.run import Run
from ltcam.training.seeding import seed_map
from ltcam_runtime.errors import DataError
from ltcam_runtime.inspector import Inspector
from ltcam_runtime.settings import MAP, CamSettings, InspectionSettings, MaskSettings, SharpeningSettings

SIZE = (96, 128)


class Judge(nn.Module):
    """Knows `dark` by pixels darker and `bright` by pixels brighter than 0.5 by more than 0.15."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self.relu = nn.ReLU()
        self.pool = nn.AvgPool2d(8)
        with torch.no_grad():
            self.conv.weight[0].fill_(-1 / 3)
            self.conv.weight[1].fill_(1 / 3)
        self.conv.bias = nn.Parameter(torch.tensor([0.5 - 0.15, -0.5 - 0.15]))

    def forward(self, images: Tensor) -> Tensor:
        amount = self.pool(self.relu(self.conv(images))).sum((2, 3))
        return torch.cat([torch.zeros(len(amount), 1), 4 * amount - 1], 1)

    logits = forward


def network() -> TorchNetwork:
    run = Run(
        classes=("ok", "dark", "bright"),
        image_size=SIZE,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        backbone="judge",
        stages=("pool",),
        maps={MAP: CamSettings(stages=("pool",))},
        seed=0,
    )
    return TorchNetwork.of(run, Judge(), torch.device("cpu"))  # type: ignore[arg-type]


def write_images(folder: Path, count: int, depth: float) -> list[Path]:
    """Noisy grey images with a line that is darker by `depth`."""
    folder.mkdir()
    paths = []
    for number in range(count):
        rng = np.random.default_rng(number)
        line = np.zeros(SIZE, np.uint8)
        x, y = int(rng.integers(20, 100)), int(rng.integers(20, 70))
        cv2.line(line, (x, y), (x + 15, y + 20), (1,), 2)
        grey = (rng.normal(128, 2, SIZE) - depth * line).clip(0, 255).astype(np.uint8)
        paths.append(folder / f"{number}.png")
        Image.fromarray(np.repeat(grey[:, :, None], 3, 2)).save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("kinds")
    depths = {"ok": 0.0, "dark": 70.0, "bright": -70.0}
    return {name: write_images(folder / name, 6, depth) for name, depth in depths.items()}


def chosen(files: dict[str, list[Path]], **changes: list[Path]) -> KindChoice:
    given = files | changes
    return choose_kinds(network(), Learned({name: given[name] for name in ("dark", "bright")}, given["ok"]))


@pytest.fixture(scope="module")
def choice(files: dict[str, list[Path]]) -> KindChoice:
    return chosen(files)


def test_each_kind_gets_the_contrast_of_its_defects(choice: KindChoice) -> None:
    for kind, other in (("dark", "bright"), ("bright", "dark")):
        assert choice.kinds[kind].sharpening.polarity != other
        evidence = choice.evidence[kind]
        assert evidence["candidates"][0]["polarity"] == choice.kinds[kind].sharpening.polarity
        assert evidence["explained"] > 0.7
        assert evidence["trust"] == "good"
        assert not any(row["polarity"] == "colour" for row in evidence["candidates"]), "the images are grey"


def test_seed_maps_alone_are_judged_by_the_narrow_hole(
    choice: KindChoice, files: dict[str, list[Path]]
) -> None:
    seeds = {seed_map(kind): CamSettings(stages=("pool",)) for kind in ("dark", "bright")}
    learned = Learned({kind: files[kind] for kind in ("dark", "bright")}, files["ok"])
    by_peaks = choose_kinds(network().with_maps(seeds), learned, most=2)
    for judged, holes in ((choice.judged["dark"], 2), (by_peaks.judged["dark"], 1)):
        assert {len(mark.drops) for found in judged.marks.values() for mark in found} == {holes}


def test_what_was_chosen_is_shown_beside_the_best_of_other_ways(choice: KindChoice) -> None:
    for kind in ("dark", "bright"):
        found = shown(kind, choice.judged[kind], "last stage")
        assert found is not None
        chosen_row, other, plain = found.rows
        assert chosen_row == choice.evidence[kind]["candidates"][0]
        assert other["polarity"] != chosen_row["polarity"]
        assert other["value"] <= chosen_row["value"]
        assert (plain["map"], plain["polarity"], plain["cut"]) == (MAP, "none", "otsu")
        assert len(found.masks) == 3
        assert found.masks[0].any()
        assert all(mask.shape == found.image.shape[:2] == SIZE for mask in found.masks)


def test_nothing_is_shown_of_a_kind_without_images(files: dict[str, list[Path]]) -> None:
    assert shown("bright", chosen(files, bright=[]).judged["bright"], "last stage") is None


def test_masks_of_what_was_chosen_are_the_lines(choice: KindChoice, files: dict[str, list[Path]]) -> None:
    settings = InspectionSettings(classes=("ok", "dark", "bright"), kinds=dict(choice.kinds))
    inspector = Inspector(network(), settings)
    for kind in ("dark", "bright"):
        for path in files[kind]:
            found = inspector.inspect(path)
            pixels = np.asarray(Image.open(path))[:, :, 0].astype(int)
            line = np.abs(pixels - 128) > 30
            assert (found.mask & line).sum() / (found.mask | line).sum() > 0.6


def test_ok_images_have_no_mask_before_the_verdict(choice: KindChoice, files: dict[str, list[Path]]) -> None:
    settings = InspectionSettings(classes=("ok", "dark", "bright"), kinds=dict(choice.kinds))
    inspector = Inspector(network(), settings)
    names = [(path.name, path) for path in files["ok"]]
    found = [item.inspection for item in inspector.inspect_files(names, gate=False)]
    assert not any(inspection is None or inspection.mask.any() for inspection in found)
    flat = inspector.inspect_batch([np.full((*SIZE, 3), 128, np.uint8)], ["flat"], gate=False)[0]
    assert not flat.mask.any()


def test_the_same_images_choose_the_same(choice: KindChoice, files: dict[str, list[Path]]) -> None:
    assert chosen(files) == choice


def test_a_kind_without_images_takes_what_the_others_say(files: dict[str, list[Path]]) -> None:
    found = chosen(files, bright=[])
    assert found.kinds["bright"].sharpening == found.kinds["dark"].sharpening
    assert "as for the other kinds" in found.evidence["bright"]["sentence"]


def test_unreadable_images_are_passed_over(files: dict[str, list[Path]], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    assert set(chosen(files, dark=[broken, *files["dark"]]).kinds) == {"dark", "bright"}


def test_nothing_is_chosen_where_nothing_is_told_apart(files: dict[str, list[Path]]) -> None:
    with pytest.raises(DataError, match="told from OK"):
        chosen(files, dark=files["ok"], bright=[])
    with pytest.raises(DataError, match="OK image"):
        chosen(files, ok=[])


@pytest.mark.parametrize(("explained", "word"), [(0.9, "good"), (0.3, "fair"), (0.1, "poor")])
def test_trust_in_a_word(explained: float, word: str) -> None:
    assert trust(explained) == word


def test_half_of_the_images_that_are_judged_were_held_back(files: dict[str, list[Path]]) -> None:
    seen: list[Path] = []

    class Reads(DecodedImages):
        def read(self, path: Path, content: bytes | None = None) -> NDArray[np.uint8]:
            seen.append(path)
            return super().read(path, content)

    held_back = files["dark"][-2:]
    learned = Learned({"dark": files["dark"]}, files["ok"], frozenset(held_back))
    choose_kinds(network(), learned, most=4, decoded=Reads(0))
    dark = [path for path in seen if path in files["dark"]]  # some more are read ahead
    assert set(dark[:2]) == set(held_back)
    assert len(dark) >= 4


ONE, OTHER, THIRD = (
    Candidate(name, SharpeningSettings(), MaskSettings()) for name in ("one", "other", "third")
)


def best_by(values: dict[str, dict[Candidate, float]], images: dict[str, int]) -> dict[str, Candidate]:
    return {kind: best_of(found) for kind, found in together(values, images).items()}


def test_a_kind_of_few_images_listens_to_one_that_ranks_alike() -> None:
    values = {
        "few": {ONE: 2.0, OTHER: 2.01, THIRD: 1.0},
        "many": {ONE: 2.5, OTHER: 2.2, THIRD: 1.2},
    }
    assert best_by(values, {"few": 2, "many": 16}) == {"few": ONE, "many": ONE}
    assert best_by(values, {"few": 2, "many": 1})["few"] == ONE, (
        "how many images the other has does not count"
    )
    assert best_by({**values, "none": {}}, {"few": 2, "many": 16, "none": 0})["none"] == ONE


def test_what_fails_on_another_kind_altogether_may_still_be_best_of_a_kind() -> None:
    values = {
        "stain": {ONE: 1.85, OTHER: 1.76, THIRD: 0.5},
        "scratch": {ONE: 0.1, OTHER: 2.5, THIRD: 0.2},
        "pit": {ONE: 0.0, OTHER: 2.4, THIRD: 0.1},
    }
    found = best_by(values, dict.fromkeys(values, 9))
    assert found == {"stain": ONE, "scratch": OTHER, "pit": OTHER}


def test_no_image_of_any_kind_is_an_error() -> None:
    with pytest.raises(DataError, match="no defective image"):
        together({"dark": {}}, {"dark": 0})
