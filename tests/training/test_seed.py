"""Seed maps on features that are made up: what a defect is, is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ltcam.training.seed import Places, Seed, fit_seed

SIZE, CHANNELS = (24, 20), (6, 8)


def some_places(held_back: int = 8, *, seed: int = 0) -> tuple[Places, np.ndarray]:
    """24 OK images, 16 with a spot of kind 1 (2 x 2 places), 16 with a large area of kind 2; and where."""
    rng = np.random.default_rng(seed)
    labels = np.array([0] * 24 + [1] * 16 + [2] * 16)
    fine = rng.normal(size=(len(labels), CHANNELS[0], *SIZE)).astype(np.float32)
    coarse = rng.normal(size=(len(labels), CHANNELS[1], SIZE[0] // 2, SIZE[1] // 2)).astype(np.float32)
    fine[:, 0] += 8 * rng.normal(size=(len(labels), 1, 1))  # what differs from image to image says nothing
    where = np.zeros((len(labels), *SIZE), bool)
    for index, label in enumerate(labels):
        side = {0: 0, 1: 2, 2: 8}[int(label)]
        y, x = 2 * rng.integers(0, (SIZE[0] - side) // 2), 2 * rng.integers(0, (SIZE[1] - side) // 2)
        where[index, y : y + side, x : x + side] = True
        if label == 1:
            fine[index, 1, y : y + side, x : x + side] += 6
        if label == 2:
            coarse[index, 2, y // 2 : (y + side) // 2, x // 2 : (x + side) // 2] += 5
    back = np.isin(np.arange(len(labels)), rng.permutation(len(labels))[:held_back])
    blocks = (torch.from_numpy(fine).half(), torch.from_numpy(coarse).half())
    return Places(blocks, labels, back), where


def maps_of(seed: Seed, places: Places) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = seed.heads([block.float() for block in places.blocks]).numpy()
        return found


@pytest.fixture(scope="module")
def fitted() -> Seed:
    return fit_seed(some_places()[0])


def test_maps_find_spots_and_areas_of_images_that_were_not_fitted_on(fitted: Seed) -> None:
    places, where = some_places(seed=7)
    maps = maps_of(fitted, places)
    for kind in (1, 2):
        members = np.flatnonzero(places.labels == kind)
        hits = [where[i].ravel()[maps[i, kind - 1].argmax()] for i in members]
        assert np.mean(hits) >= 0.9
    assert fitted.ap[1] > 0.9
    assert fitted.ap[2] > 0.9


def test_heat_0_is_the_median_of_ok_places_and_one_in_a_thousand_exceeds_1(fitted: Seed) -> None:
    places, _ = some_places()
    ok = maps_of(fitted, places)[(places.labels == 0) & ~places.held_back]
    for kind in (0, 1):
        assert np.median(ok[:, kind]) == pytest.approx(0, abs=0.03)
        assert np.mean(ok[:, kind] > 1) == pytest.approx(0.001, abs=0.0005)


def test_maps_do_not_depend_on_the_scale_of_features(fitted: Seed) -> None:
    places, _ = some_places()
    scaled = Places(tuple(3 * block for block in places.blocks), places.labels, places.held_back)
    assert np.abs(maps_of(fit_seed(scaled), scaled) - maps_of(fitted, places)).max() < 0.1


def test_the_same_images_give_the_same_maps(fitted: Seed) -> None:
    again = fit_seed(some_places()[0])
    for one, other in zip(fitted.heads.parameters(), again.heads.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_kind_without_images_has_a_map_of_nothing() -> None:
    places, _ = some_places()
    labels = np.where(places.labels == 1, 3, places.labels)  # no image of kinds 1 is left
    found = fit_seed(Places(places.blocks, labels, places.held_back))
    maps = maps_of(found, places)
    assert set(found.shares) == {2, 3}
    assert np.ptp(maps[:, 0]) == 0


def test_a_last_kind_without_images_has_a_map_of_nothing_and_the_only_other_no_parts() -> None:
    places = under_one_label(some_places()[0])
    found = fit_seed(places, kinds=2)
    maps = maps_of(found, places)
    assert maps.shape[1] == 2
    assert np.ptp(maps[:, 1]) == 0
    assert found.parts == 0


def under_one_label(places: Places) -> Places:
    return Places(places.blocks, np.minimum(places.labels, 1), places.held_back)


@pytest.fixture(scope="module")
def parted() -> Seed:
    return fit_seed(under_one_label(some_places()[0]))


def test_spots_and_areas_under_one_label_are_two_parts(parted: Seed) -> None:
    assert parted.parts == 2
    assert list(parted.evidence(("ok", "bad"))) == ["bad", "bad, part 1", "bad, part 2"]
    fresh = some_places(seed=7)[0]
    maps = maps_of(parted, fresh)
    seen = maps[:, 1:].max((2, 3)).argmax(1)
    spots, areas = (seen[fresh.labels == kind] for kind in (1, 2))
    assert abs(spots.mean() - areas.mean()) > 0.8, "each has the higher peak in the map of its part"


def test_the_same_images_have_the_same_parts(parted: Seed) -> None:
    again = fit_seed(under_one_label(some_places()[0]))
    for one, other in zip(parted.heads.parameters(), again.heads.parameters(), strict=True):
        assert torch.equal(one, other)


def test_few_images_have_no_parts() -> None:
    places = under_one_label(some_places()[0])
    few = Places(places.blocks, places.labels, places.held_back | (np.arange(56) >= 38))
    assert fit_seed(few).parts == 0


def test_kinds_that_have_labels_have_no_parts(fitted: Seed) -> None:
    assert fitted.parts == 0
    assert list(fitted.evidence(("ok", "spot", "area"))) == ["spot", "area"]


def test_without_ok_images_there_is_nothing_to_differ_from() -> None:
    places, _ = some_places()
    with pytest.raises(ValueError, match="OK"):
        fit_seed(Places(places.blocks, np.maximum(places.labels, 1), places.held_back))
