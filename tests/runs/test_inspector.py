from __future__ import annotations

import gc
import io
import json
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ltcam.runs.inspector import Inspector
from ltcam.runs.run import RUN_FILE, Arithmetic
from ltcam_runtime import inspector as runtime_inspector
from ltcam_runtime.errors import InputError, RunError, SettingsError
from ltcam_runtime.images import to_pixels
from ltcam_runtime.inspector import Inspected
from ltcam_runtime.results import Inspection
from ltcam_runtime.settings import Overrides, VerdictSettings

SIZES = [(64, 64), (1, 1), (200, 30), (33, 190), (64, 65), (128, 128), (5, 300), (90, 60), (64, 64)]


def picture(seed: int, size: tuple[int, int] = (64, 64)) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))


PICTURES = [picture(number, size) for number, size in enumerate(SIZES)]
NAMES = [f"{number}.png" for number in range(len(SIZES))]


@pytest.fixture(scope="module")
def inspector(make_run: Callable[..., Path]) -> Inspector:
    return Inspector.load(make_run(), device="cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("pictures")
    for name, pixels in zip(NAMES, PICTURES, strict=True):
        Image.fromarray(pixels).save(folder / name)
    return [(name, folder / name) for name in NAMES]


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    union = (one | other).sum()
    return 1.0 if not union else (one & other).sum() / union


def check_same(found: Iterable[Inspection | None], expected: Sequence[Inspection]) -> None:
    inspections = [item for item in found if item is not None]
    assert [item.image for item in inspections] == [item.image for item in expected]
    for item, reference in zip(inspections, expected, strict=True):
        assert item.size == reference.size
        assert item.verdict == reference.verdict
        assert item.score == pytest.approx(reference.score, abs=1e-5)
        assert item.class_scores == pytest.approx(reference.class_scores, abs=1e-5)
        assert np.allclose(item.heatmap, reference.heatmap, atol=1e-4)
        assert iou(item.mask, reference.mask) >= 0.999


@pytest.fixture(scope="module")
def singles(inspector: Inspector) -> list[Inspection]:
    return [inspector.inspect(pixels, name) for name, pixels in zip(NAMES, PICTURES, strict=True)]


def test_an_inspection_says_what_it_should(inspector: Inspector, singles: list[Inspection]) -> None:
    for pixels, found in zip(PICTURES, singles, strict=True):
        assert found.size == pixels.shape[:2] == found.mask.shape == found.heatmap.shape
        assert found.heatmap.dtype == np.float32
        assert np.isfinite(found.heatmap).all()
        assert found.verdict == "defect"  # the threshold of this run is 0
        assert sum(found.class_scores.values()) == pytest.approx(1)
        assert found.score == pytest.approx(1 - found.class_scores["ok"])
        assert sum(region.area_px for region in found.regions) == found.mask.sum()
        assert {region.class_name for region in found.regions} <= {"dent"}
        assert set(found.timings) == {"capture", "mask"}
        json.dumps(found.to_json(), allow_nan=False)
    assert any(found.mask.any() for found in singles)


def test_one_pixel(singles: list[Inspection]) -> None:
    assert singles[1].size == (1, 1)
    assert not singles[1].mask.any()  # a map of one value has no part that stands out


@pytest.mark.parametrize("count", [2, 4, 9])
def test_a_batch_of_any_size_gives_what_single_images_give(
    count: int, inspector: Inspector, singles: list[Inspection]
) -> None:
    for start in range(0, len(NAMES), count):
        part = slice(start, start + count)
        check_same(inspector.inspect_batch(PICTURES[part], NAMES[part]), singles[part])


@pytest.mark.parametrize("batch_size", [1, 3, 8, 50])
def test_files_give_what_arrays_give(
    batch_size: int, inspector: Inspector, singles: list[Inspection], files: list[tuple[str, Path]]
) -> None:
    found = list(inspector.inspect_files(iter(files), batch_size=batch_size))
    check_same([item.inspection for item in found], singles)
    for item, pixels in zip(found, PICTURES, strict=True):
        assert item.image is not None
        assert np.array_equal(item.image, pixels)
        assert item.reason == ""


def test_a_file_and_its_pixels(
    inspector: Inspector, singles: list[Inspection], files: list[tuple[str, Path]]
) -> None:
    check_same([inspector.inspect(files[2][1]), inspector.inspect(str(files[3][1]))], singles[2:4])
    assert inspector.inspect(files[2][1], "other").image == "other"


def test_more_threads_of_the_network_change_nothing(inspector: Inspector, singles: list[Inspection]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        check_same(inspector.inspect_batch(PICTURES, NAMES), singles)
    finally:
        torch.set_num_threads(threads)


def test_channels_last_gives_the_same(make_run: Callable[..., Path], singles: list[Inspection]) -> None:
    other = Inspector.load(make_run(arithmetic=Arithmetic(channels_last=True)), device="cpu")
    check_same(other.inspect_batch(PICTURES, NAMES), singles)


def test_one_inspector_in_several_threads(inspector: Inspector, singles: list[Inspection]) -> None:
    rounds = 3

    def work(number: int) -> Inspection:
        place = number % len(NAMES)
        return inspector.inspect(PICTURES[place], NAMES[place])

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(rounds * len(NAMES))))
    check_same(found, singles * rounds)
    assert not inspector.network.classifier.training
    assert not any(len(part._forward_hooks) for part in inspector.network.classifier.modules())


# ------------------------------------------------------------------------------------------ verdicts


def test_ok_empties_the_mask_and_nothing_else(
    make_run: Callable[..., Path], singles: list[Inspection]
) -> None:
    strict = Inspector.load(make_run(verdict=VerdictSettings(threshold=1.0)), device="cpu")
    gated = strict.inspect_batch(PICTURES, NAMES)
    open_ = strict.inspect_batch(PICTURES, NAMES, gate=False)
    for with_gate, without, plain in zip(gated, open_, singles, strict=True):
        assert with_gate.verdict == without.verdict == "ok"
        assert not with_gate.mask.any()
        assert with_gate.regions == ()
        assert np.array_equal(with_gate.heatmap, without.heatmap)
        assert np.array_equal(without.mask, plain.mask)
        assert [region.box for region in without.regions] == [region.box for region in plain.regions]


def test_a_gate_for_files_too(make_run: Callable[..., Path], files: list[tuple[str, Path]]) -> None:
    strict = Inspector.load(make_run(verdict=VerdictSettings(threshold=1.0)), device="cpu")
    assert not any(item.inspection and item.inspection.mask.any() for item in strict.inspect_files(files))
    ungated = strict.inspect_files(files, gate=False)
    assert any(item.inspection and item.inspection.mask.any() for item in ungated)


def test_an_unsure_verdict_keeps_the_mask(make_run: Callable[..., Path], singles: list[Inspection]) -> None:
    verdict = VerdictSettings(threshold=0.5, unsure_margin=0.5)
    unsure = Inspector.load(make_run(verdict=verdict), device="cpu").inspect_batch(PICTURES, NAMES)
    assert {found.verdict for found in unsure} == {"unsure"}
    assert [found.mask.sum() for found in unsure] == [found.mask.sum() for found in singles]


def test_another_threshold_by_hand(inspector: Inspector) -> None:
    score = inspector.inspect(PICTURES[0]).score
    assert (
        inspector.overridden(Overrides(verdict_threshold=score / 2)).inspect(PICTURES[0]).verdict == "defect"
    )
    assert (
        inspector.overridden(Overrides(verdict_threshold=(1 + score) / 2)).inspect(PICTURES[0]).verdict
        == "ok"
    )
    assert inspector.run.verdict.threshold == 0.0
    assert inspector.overridden(Overrides(verdict_threshold=0.5)).run.verdict.evidence == "given by hand"


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_threshold_that_is_no_probability(threshold: float, inspector: Inspector) -> None:
    with pytest.raises(SettingsError, match="`verdict_threshold`"):
        inspector.overridden(Overrides(verdict_threshold=threshold))


def test_regions_carry_the_most_likely_defect_class(make_run: Callable[..., Path]) -> None:
    classes = ("ok", "crack", "dent", "stain")
    several = Inspector.load(make_run(classes=classes), device="cpu")
    with torch.no_grad():
        several.network.classifier.head.bias.copy_(torch.tensor([9.0, 0, 2, 1]))
    found = several.inspect(PICTURES[0])
    scores = dict(found.class_scores)
    assert tuple(scores) == classes
    assert scores["ok"] > 0.5
    assert {region.class_name for region in found.regions} == {"dent"}


# ------------------------------------------------------------------------------------------ settings


def test_stages_by_number_and_by_name(inspector: Inspector) -> None:
    names = inspector.run.stages
    expected = (names[0], names[2])
    for stages in ([1, 3], ["1", "3"], (names[0], names[2]), [1, names[2]]):
        assert inspector.overridden(Overrides(stages=stages)).run.cam.stages == expected
    assert inspector.overridden(Overrides(stages=2)).run.cam.stages == (names[1],)
    assert inspector.overridden(Overrides(stages=names[1])).run.cam.stages == (names[1],)


def test_layers_that_are_no_stages(inspector: Inspector) -> None:
    other = inspector.overridden(Overrides(stages=["trunk.layer3.0.conv1"]))
    assert other.inspect(PICTURES[0]).heatmap.shape == (64, 64)


@pytest.mark.parametrize(
    "stages",
    [[0], [99], ["nowhere"], [], [""], [-1], [1.5], ["1,2"], [2, 2], [1, "1"], ["head"], ["trunk.fc"]],
)
def test_stages_that_cannot_be_used(stages: Any, inspector: Inspector) -> None:
    with pytest.raises(SettingsError, match=r"stages"):
        inspector.overridden(Overrides(stages=stages))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"method": "guess-cam"}, "guess-cam"),
        ({"percentile": 101}, "`percentile` 101"),
        ({"percentile": float("nan")}, "`percentile` nan"),
        ({"fusion": "median"}, "`fusion` 'median'"),
        ({"nonsense": 1}, "`nonsense`"),
        ({"threshold": 2.0}, "`threshold` 2.0"),
        ({"threshold": "best"}, "`threshold` 'best'"),
        ({"min_area_px": 0}, "`min_area_px` 0"),
    ],
)
def test_settings_that_cannot_be_used_are_named(
    fields: dict[str, Any], words: str, inspector: Inspector
) -> None:
    with pytest.raises(SettingsError, match=words):
        inspector.overridden(Overrides(**fields))


def test_settings_change_what_they_say_and_leave_the_first_inspector_alone(
    inspector: Inspector, singles: list[Inspection]
) -> None:
    before = inspector.run
    other = inspector.overridden(Overrides(method="grad-cam", percentile=50, fusion="sum"))
    assert (other.run.cam.method, other.run.cam.percentile, other.run.cam.fusion) == ("grad-cam", 50, "sum")
    assert other.network.classifier is inspector.network.classifier
    assert not np.allclose(other.inspect(PICTURES[0]).heatmap, singles[0].heatmap)
    assert inspector.run == before
    check_same([inspector.inspect(PICTURES[0], NAMES[0])], singles[:1])


@pytest.mark.parametrize("fusion", ["sum", "mean", "max", "product"])
@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++", "xgrad-cam", "layer-cam", "hires-cam"])
@pytest.mark.parametrize("percentile", ["none", 0, 50, 100])
def test_every_map_can_be_made_of_every_image(
    fusion: str, method: str, percentile: int | str, inspector: Inspector
) -> None:
    other = inspector.overridden(Overrides(method=method, fusion=fusion, percentile=percentile))
    found = other.inspect_batch(PICTURES[:3], NAMES[:3])
    assert all(np.isfinite(item.heatmap).all() for item in found)


def test_the_threshold_of_the_mask(inspector: Inspector, singles: list[Inspection]) -> None:
    heatmap = singles[0].heatmap
    share = (heatmap - heatmap.min()) / (heatmap.max() - heatmap.min())
    found = inspector.overridden(Overrides(threshold=0.3)).inspect(PICTURES[0])
    assert (found.mask != (share > 0.3)).mean() < 1e-3


def test_small_regions_are_dropped_from_mask_and_list(inspector: Inspector) -> None:
    found = inspector.overridden(Overrides(threshold=0.5, min_area_px=40)).inspect(PICTURES[5])
    plain = inspector.overridden(Overrides(threshold=0.5)).inspect(PICTURES[5])
    kept = [region for region in plain.regions if region.area_px >= 40]
    assert [region.area_px for region in found.regions] == [region.area_px for region in kept]
    assert found.mask.sum() == sum(region.area_px for region in kept)


# ------------------------------------------------------------------------------------------ bad input


def test_files_that_cannot_be_read_stand_among_the_others(
    inspector: Inspector, singles: list[Inspection], files: list[tuple[str, Path]], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    mixed = [files[0], ("bad", bad), files[2], ("gone", tmp_path / "gone.png"), files[3]]
    for batch_size in (1, 2, 5):
        found = list(inspector.inspect_files(mixed, batch_size=batch_size))
        assert [item.name for item in found] == [NAMES[0], "bad", NAMES[2], "gone", NAMES[3]]
        assert (found[1].inspection, found[1].image) == (None, None)
        assert "not an image" in found[1].reason
        assert "no such file" in found[3].reason
        check_same([found[i].inspection for i in (0, 2, 4)], [singles[i] for i in (0, 2, 3)])


def test_only_files_that_cannot_be_read(inspector: Inspector, tmp_path: Path) -> None:
    found = list(inspector.inspect_files([("a", tmp_path / "a"), ("b", tmp_path / "b")], batch_size=2))
    assert [item.inspection for item in found] == [None, None]


def test_nothing_to_inspect(inspector: Inspector) -> None:
    assert inspector.inspect_batch([], []) == []
    assert list(inspector.inspect_files([])) == []


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((8, 8, 2), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
    ],
)
def test_arrays_that_are_no_pictures(pixels: Any, inspector: Inspector) -> None:
    with pytest.raises(InputError, match=r"mine.*give uint8 of shape"):
        inspector.inspect(pixels, "mine")


@pytest.mark.parametrize("thing", [None, [[0, 0], [0, 0]], io.BytesIO(b"")])
def test_things_that_are_no_images(thing: Any, inspector: Inspector) -> None:
    with pytest.raises(InputError, match=rf"mine.*a {type(thing).__name__} is no image; give a path"):
        inspector.inspect(thing, "mine")


def test_a_file_alone_that_cannot_be_read(inspector: Inspector, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        inspector.inspect(tmp_path / "gone.png")


def test_a_run_that_cannot_work_says_so_when_it_is_used(
    make_run: Callable[..., Path], folder_with: Callable[[Path, dict[str, Any]], Path]
) -> None:
    """Two fields that agree with each other and with no network."""
    broken = Inspector.load(
        folder_with(make_run(), {"stages": ["head"], "maps": {"map": {"stages": ["head"]}}}),
        trust_changed_run=True,
    )
    with pytest.raises(RunError, match="head"):
        broken.inspect(PICTURES[0])


@pytest.fixture
def folder_with() -> Callable[[Path, dict[str, Any]], Path]:
    def change(folder: Path, values: dict[str, Any]) -> Path:
        file = folder / RUN_FILE
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
        return folder

    return change


# ------------------------------------------------------------------------------------------ memory


def test_files_are_read_ahead_by_a_few_only(
    inspector: Inspector, files: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images that were read and not yet handed out; and after hand-out nothing holds on to them."""
    lock, read = threading.Lock(), []
    original = to_pixels

    def counted(path: Any, name: str, **options: Any) -> Any:
        with lock:
            read.append(path)
        return original(path, name, **options)

    monkeypatch.setattr(runtime_inspector, "to_pixels", counted)
    handed_out, furthest = 0, 0
    for _ in inspector.inspect_files(((f"{n}", files[0][1]) for n in range(60)), batch_size=4):
        handed_out += 1
        furthest = max(furthest, len(read) - handed_out)
    assert handed_out == len(read) == 60
    assert furthest <= 4 * 5  # each of at most four workers has a batch, and one is waiting


def test_arrays_do_not_pile_up(inspector: Inspector, files: list[tuple[str, Path]]) -> None:
    def arrays() -> int:
        gc.collect()
        return sum(isinstance(thing, Inspected) for thing in gc.get_objects())

    counts = []
    for number, _ in enumerate(inspector.inspect_files((f"{n}", files[0][1]) for n in range(40))):
        if number % 13 == 0:
            counts.append(arrays())
    assert max(counts) <= 3


def test_a_list_that_is_left_early_reads_no_further(
    inspector: Inspector, files: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def endless() -> Iterator[tuple[str, Path]]:
        number = 0
        while True:
            taken.append(number)
            yield str(number), files[0][1]
            number += 1

    found = inspector.inspect_files(endless(), batch_size=2)
    next(found)
    assert isinstance(found, Generator)
    found.close()
    assert len(taken) <= 2 * 6  # each of at most four workers has a batch, one is waiting, one is known
