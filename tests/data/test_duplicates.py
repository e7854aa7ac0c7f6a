from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from ltcam.data import duplicates as dup
from ltcam.data.dataset import Dataset, Sample
from ltcam.data.duplicates import DuplicateGroup, Kind, find_duplicates, merge_groups
from ltcam.data.layouts import read_dataset


def surface(seed: int, size: tuple[int, int] = (360, 300)) -> NDArray[np.uint8]:
    """A rough surface: coarse and fine texture, camera noise."""
    rng = np.random.default_rng(seed)
    coarse = cv2.GaussianBlur(rng.normal(size=size).astype(np.float32), (0, 0), 4) * 150
    fine = cv2.GaussianBlur(rng.normal(size=size).astype(np.float32), (0, 0), 1) * 20
    return np.clip(128 + coarse + fine + rng.normal(size=size) * 2, 0, 255).astype(np.uint8)


def housing(seed: int, size: tuple[int, int] = (400, 400)) -> NDArray[np.uint8]:
    """Smooth parts in a fixture: the same edges in the same places, but each its own camera noise."""
    rng = np.random.default_rng(seed)
    image = np.full(size, 110, np.float32)
    cv2.circle(image, (200, 200), 150, 170, -1)
    cv2.circle(image, (200, 200), 70, 60, -1)
    cv2.rectangle(image, (190, 20), (210, 380), 200, 3)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 1.5) + rng.normal(size=size) * 2.5, 0, 255).astype(
        np.uint8
    )


@dataclass
class Saved:
    """Samples whose images are written into a folder."""

    folder: Path
    samples: list[Sample] = field(default_factory=list)

    def __call__(self, name: str, image: NDArray[Any], *options: int) -> list[Sample]:
        path = self.folder / name
        assert cv2.imwrite(str(path), image, list(options))
        self.samples.append(Sample(name, path, "ok", name))
        return self.samples


@pytest.fixture
def save(tmp_path: Path) -> Saved:
    return Saved(tmp_path)


def groups_of(samples: Sequence[Sample]) -> dict[tuple[str, ...], str]:
    return {group.ids: group.kind for group in find_duplicates(samples)}


def test_same_file_same_pixels_and_new_encoding(save: Saved) -> None:
    for seed in range(12):
        save(f"s{seed:02}.png", surface(seed))
    save("t_file.png", surface(0))
    save("t_pixels.bmp", surface(1))
    save("t_jpeg.jpg", surface(2), cv2.IMWRITE_JPEG_QUALITY, 90)
    save("t_poor.jpg", surface(3), cv2.IMWRITE_JPEG_QUALITY, 50)
    save("t_small.png", cv2.resize(surface(4), (150, 180), interpolation=cv2.INTER_AREA))
    save("t_bright.png", cv2.convertScaleAbs(surface(5), alpha=0.8, beta=25))
    assert groups_of(save.samples) == {
        ("s00.png", "t_file.png"): "file",
        ("s01.png", "t_pixels.bmp"): "pixels",
        ("s02.png", "t_jpeg.jpg"): "near",
        ("s03.png", "t_poor.jpg"): "near",
        ("s04.png", "t_small.png"): "near",
        ("s05.png", "t_bright.png"): "near",
    }


def test_a_drawn_defect_does_not_hide_a_copy(save: Saved) -> None:
    for seed in range(10):
        save(f"s{seed}.png", surface(seed))
    scratched = surface(3)
    cv2.line(scratched, (30, 40), (200, 250), 10, 3)
    save("t.jpg", scratched, cv2.IMWRITE_JPEG_QUALITY, 90)
    assert groups_of(save.samples) == {("s3.png", "t.jpg"): "near"}


def test_aligned_parts_are_not_copies_but_a_jpeg_of_one_is(save: Saved) -> None:
    for seed in range(6):
        save(f"h{seed}.png", housing(seed))
    assert groups_of(save.samples) == {}
    save("t.jpg", housing(2), cv2.IMWRITE_JPEG_QUALITY, 90)
    assert groups_of(save.samples) == {("h2.png", "t.jpg"): "near"}


def test_one_printed_scene_is_not_one_heap_of_copies(save: Saved) -> None:
    rng = np.random.default_rng(0)
    pattern = surface(99).astype(np.float32)
    for seed in range(20):
        save(
            f"p{seed:02}.png", np.clip(pattern + rng.normal(size=pattern.shape) * 9, 0, 255).astype(np.uint8)
        )
    assert groups_of(save.samples) == {}
    first = np.asarray(Image.open(save.samples[0].path))
    save("t.jpg", first, cv2.IMWRITE_JPEG_QUALITY, 97)
    assert groups_of(save.samples) == {("p00.png", "t.jpg"): "near"}


def test_images_without_detail_are_copies_only_if_equal(save: Saved) -> None:
    for value in (20, 90, 90, 200):
        save(f"flat{len(save.samples)}.png", np.full((64, 64), value, np.uint8))
    assert groups_of(save.samples) == {("flat1.png", "flat2.png"): "file"}


def test_another_shape_is_no_copy(save: Saved) -> None:
    save("a.png", surface(0))
    save("b.png", cv2.resize(surface(0), (300, 300)))
    assert groups_of(save.samples) == {}


def test_unreadable_files_and_few_samples(save: Saved, tmp_path: Path) -> None:
    assert find_duplicates([]) == ()
    samples = save("a.png", surface(0))
    assert find_duplicates(samples) == ()
    (tmp_path / "broken.png").write_bytes(b"x")
    samples.append(Sample("broken.png", tmp_path / "broken.png", "ok", "g"))
    samples.append(Sample("gone.png", tmp_path / "gone.png", "ok", "g"))
    assert find_duplicates(save("b.bmp", surface(0))) == (DuplicateGroup(("a.png", "b.bmp"), "pixels"),)


def test_one_pixel_image(save: Saved) -> None:
    assert find_duplicates(save("one.png", np.zeros((1, 1), np.uint8))) == ()


def test_candidates_match_the_full_comparison() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(size=(300, 255))
    base[200:] = base[:100] + 0.3 * rng.normal(size=(100, 255))
    vectors = (base / np.linalg.norm(base, axis=1, keepdims=True)).astype(np.float32)
    similarity = vectors @ vectors.T
    expected = {
        (i, j) for i in range(300) for j in range(i + 1, 300) if similarity[i, j] >= dup._CANDIDATE_SIMILARITY
    }
    assert len(expected) >= 100
    assert set(dup._candidates(vectors)) == expected


def test_candidates_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dup, "_ROWS_AT_ONCE", 7)
    vectors = np.eye(40, dtype=np.float32)
    vectors[33] = vectors[5]
    assert dup._candidates(vectors) == [(5, 33)]


@settings(max_examples=60)
@given(
    groups=st.lists(st.integers(0, 6), min_size=2, max_size=14),
    pairs=st.lists(st.tuples(st.integers(0, 13), st.integers(0, 13)), max_size=8),
)
def test_merged_groups_are_the_connected_components(groups: list[int], pairs: list[tuple[int, int]]) -> None:
    samples = tuple(Sample(f"{i:02}", Path(f"{i:02}"), "ok", f"g{g}") for i, g in enumerate(groups))
    found = [
        DuplicateGroup((f"{min(p):02}", f"{max(p):02}"), "pixels")
        for p in pairs
        if max(p) < len(groups) and p[0] != p[1]
    ]
    dataset = Dataset(Path(), "folders", ("ok",), samples)
    merged = {s.id: s.group for s in merge_groups(dataset, found).samples}
    reach = {s.id: {t.id for t in samples if t.group == s.group} for s in samples}  # slow closure
    for _ in samples:
        for group in found:
            joined = set().union(*(reach[name] for name in group.ids))
            for name in joined:
                reach[name] = reach[name] | joined
    for s in samples:
        assert {name for name, group in merged.items() if group == merged[s.id]} == reach[s.id]
        assert merged[s.id] == min(t.group for t in samples if t.id in reach[s.id])


def lots(*counts: Any) -> tuple[Sample, ...]:
    return tuple(
        Sample(f"lot{lot}/{i}", Path("x"), "ok", f"lot{lot}")
        for lot, count in enumerate(counts)
        for i in range(count)
    )


def merged_sizes(samples: tuple[Sample, ...], *pairs: Any, kind: Kind = "near") -> list[int]:
    found = [DuplicateGroup(tuple(sorted(pair)), kind) for pair in pairs]
    dataset = Dataset(Path(), "folders", ("ok",), samples)
    return sorted(Counter(s.group for s in merge_groups(dataset, found).samples).values())


def test_likeness_joins_named_groups_only_if_most_of_one_is_alike() -> None:
    """A fixed camera: neighbouring lots look alike in an image or two; that makes no chain."""
    samples = lots(*[8] * 10)
    chain = [(f"lot{lot}/7", f"lot{lot + 1}/0") for lot in range(9)]
    assert merged_sizes(samples, *chain) == [8] * 10
    assert merged_sizes(samples, *chain[:1]) == [8] * 10
    twice = [(f"lot3/{i}", f"lot7/{i}") for i in range(6)]
    assert merged_sizes(samples, *twice) == [*[8] * 8, 16]
    assert merged_sizes(samples, *twice, ("lot3/7", "lot4/7")) == [8] * 10
    assert merged_sizes(samples, *chain, kind="pixels") == [80]


def test_likeness_joins_lone_images_to_at_most_one_named_group() -> None:
    lone = tuple(Sample(f"x{i}", Path("x"), "ok", f"x{i}") for i in range(3))
    samples = (*lots(8, 8, 8, 8, 8, 8), *lone)
    assert merged_sizes(samples, ("lot0/0", "x0"), ("x1", "x2")) == [2, 8, 8, 8, 8, 8, 9]
    assert merged_sizes(samples, ("lot0/0", "lot1/0", "x0", "x1")) == [1, 2, 8, 8, 8, 8, 8, 8]


def test_likeness_makes_no_group_of_a_large_part() -> None:
    samples = lots(20, 20, 20)
    assert merged_sizes(samples, *[(f"lot0/{i}", f"lot1/{i}") for i in range(20)]) == [20, 20, 20]


def test_equal_images_among_alike_ones_still_join() -> None:
    samples = lots(8, 8, 8)
    group = DuplicateGroup(("lot0/0", "lot1/0", "lot2/0"), "near", (("lot0/0", "lot2/0"),))
    dataset = Dataset(Path(), "folders", ("ok",), samples)
    assert sorted(Counter(s.group for s in merge_groups(dataset, [group]).samples).values()) == [8, 16]


@pytest.mark.ksdd
def test_ksdd_has_three_commutators_twice(ksdd_folder: Path) -> None:
    dataset = read_dataset(ksdd_folder)
    found = find_duplicates(dataset.samples)
    pairs = {(frozenset(name.split("/")[0] for name in group.ids), group.kind) for group in found}
    assert pairs == {
        (frozenset({"kos01", "kos26"}), "file"),
        (frozenset({"kos27", "kos34"}), "file"),
        (frozenset({"kos38", "kos39"}), "near"),
    }
    assert [len(group.ids) for group in found] == [2] * 24
    assert len({s.group for s in merge_groups(dataset, found).samples}) == 47
