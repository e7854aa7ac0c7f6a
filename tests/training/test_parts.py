"""Which images of one label go together, by descriptions that are made up."""

from __future__ import annotations

import numpy as np

from ltcam.training.parts import FEWEST, Description, in_two


def images(count: int, direction: int, places: int, *, seed: int) -> list[Description]:
    """Much alike; their places look like one of eight features."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        look = rng.normal(0, 0.5, 8) + 10 * rng.uniform(0.5, 2) * np.eye(8)[direction]
        found.append(Description(look.astype(np.float32), places + int(rng.integers(3))))
    return found


PITS, STAINS = images(12, 0, 3, seed=1), images(15, 1, 200, seed=2)


def test_what_is_alike_goes_together() -> None:
    parts = in_two(PITS + STAINS)
    assert parts is not None
    of = parts.of(PITS + STAINS)
    assert len(set(of[:12])) == len(set(of[12:])) == 1
    assert of[0] != of[-1]
    fresh = parts.of([*images(5, 0, 3, seed=3), *images(5, 1, 200, seed=4)])
    assert fresh.tolist() == [of[0]] * 5 + [of[-1]] * 5


def test_places_that_look_alike_differ_by_how_many_they_are() -> None:
    parts = in_two(PITS + images(12, 0, 300, seed=5))
    assert parts is not None
    assert abs(np.diff(parts.of(PITS + images(12, 0, 300, seed=5))).sum()) == 1


def test_the_same_images_fall_into_the_same_parts() -> None:
    one, other = in_two(PITS + STAINS), in_two(PITS + STAINS)
    assert one is not None
    assert other is not None
    assert np.array_equal(one.centres, other.centres)


def test_few_images_are_no_part() -> None:
    assert in_two(PITS[: FEWEST - 1] + STAINS) is None
    assert in_two(PITS[:5] + STAINS[:5]) is None
    assert in_two(PITS[:8] + 3 * STAINS) is None, "less than a fifth"
    assert in_two([]) is None


def test_images_without_any_heat_or_difference_are_described() -> None:
    nothing = [Description(np.zeros(8, np.float32), 0)] * 20
    assert in_two(nothing) is None
