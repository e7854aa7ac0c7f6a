from __future__ import annotations

import itertools
import resource
import threading
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ltcam_runtime import reading
from ltcam_runtime.errors import InputError, OutputError, RunError
from ltcam_runtime.reading import Workers, process, read_all, read_batches

SIDES = (1, 3, 10, 40, 100)


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """One picture of each side length."""
    folder = tmp_path_factory.mktemp("squares")
    for side in SIDES:
        Image.new("L", (side, side), side).save(folder / f"{side}.png")
    return {side: folder / f"{side}.png" for side in SIDES}


class Watched:
    """A reader that knows how many pixels are begun at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.begun: dict[str, int] = {}
        self.most = 0
        self.beside_the_largest = 0

    def read(self, name: str, path: Path) -> tuple[str, int]:
        side = int(path.stem)
        with self.lock:
            self.begun[name] = side * side
            self.most = max(self.most, sum(self.begun.values()))
            if max(self.begun.values()) == max(SIDES) ** 2:
                self.beside_the_largest = max(self.beside_the_largest, len(self.begun) - 1)
        return name, side

    def taken(self, name: str) -> None:
        with self.lock:
            self.begun.pop(name, None)


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(SIDES), max_size=25),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 3000),
)
def test_order_is_kept_and_pixels_are_bounded(
    squares: dict[int, Path], sides: list[int], count: int, batch_size: int, bound: int
) -> None:
    watched = Watched()
    files = [(str(number), squares[side]) for number, side in enumerate(sides)]
    sizes: list[int] = []

    def then(values: Sequence[tuple[str, int]]) -> list[int]:
        sizes.append(len(values))
        return [side for _, side in values]

    workers = Workers(count, batch_size, bytes_per_pixel=1, pixels=bound)
    found = []
    outcomes = process(files, watched.read, then, workers)
    while (outcome := next(outcomes, None)) is not None:
        found.append(outcome.value)
        watched.taken(outcome.name)
    assert found == sides
    assert max(sizes, default=0) <= batch_size
    assert watched.most <= max(bound, max(sides, default=0) ** 2)
    if bound < max(SIDES) ** 2:
        assert watched.beside_the_largest == 0


def test_every_failure_is_named_and_stops_nothing(squares: dict[int, Path], tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    files = [("a", squares[1]), ("b", tmp_path / "text.png"), ("c", tmp_path / "gone.png"), ("d", squares[3])]

    def read(name: str, path: Path) -> str:
        if name == "d":
            raise OSError(5, "Input/output error")
        return name

    for batch_size in (1, 4):
        found = list(read_all(files, read, Workers(batch_size=batch_size)))
        assert [outcome.name for outcome in found] == ["a", "b", "c", "d"]
        assert [outcome.value for outcome in found] == ["a", None, None, None]
        assert "not an image" in found[1].reason
        assert "no such file" in found[2].reason
        assert "Input/output error" in found[3].reason


def test_of_another_file_than_the_image_the_path_is_said(squares: dict[int, Path], tmp_path: Path) -> None:
    def read(name: str, path: Path) -> str:
        raise InputError(tmp_path / "mask.png" if name == "a" else path, "is wrong")

    found = list(read_all([("a", squares[1]), ("b", squares[1])], read))
    assert [outcome.reason for outcome in found] == [f"{tmp_path / 'mask.png'}: is wrong", "is wrong"]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 748. MiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        RuntimeError("OpenCV(4.10.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_memory_that_runs_out_costs_one_image(
    squares: dict[int, Path], error: Exception, wrapped: bool
) -> None:
    def then(values: Sequence[str]) -> Sequence[str]:
        if "big" in values:
            if wrapped:
                raise RunError("the run cannot be used") from error
            raise error
        return values

    files = [("a", squares[3]), ("big", squares[100]), ("b", squares[3]), ("c", squares[3])]
    found = list(process(files, lambda name, _: name, then, Workers(2, 4)))
    assert [outcome.value for outcome in found] == ["a", None, "b", "c"]
    assert "not enough memory for its 10,000 pixels" in found[1].reason


def test_what_had_no_memory_beside_others_is_tried_again_alone(squares: dict[int, Path]) -> None:
    running = 0
    lock = threading.Lock()

    def read(name: str, path: Path) -> str:
        nonlocal running
        with lock:
            running += 1
        return name

    def then(values: Sequence[str]) -> Sequence[str]:
        nonlocal running
        with lock:
            crowded, running = running > 1, 0
        if crowded:
            raise MemoryError
        return values

    files = [(str(number), squares[1]) for number in range(6)]
    found = list(process(files, read, then, Workers(1, 3)))
    assert [outcome.value for outcome in found] == [str(number) for number in range(6)]


def test_a_fault_of_ours_costs_one_image_too(squares: dict[int, Path]) -> None:
    def then(values: Sequence[str]) -> Sequence[str]:
        if "b" in values:
            raise ZeroDivisionError("division by zero")
        return values

    found = list(process([(name, squares[1]) for name in "abc"], lambda name, _: name, then, Workers(2, 3)))
    assert [outcome.value for outcome in found] == ["a", None, "c"]
    assert "unexpected ZeroDivisionError: division by zero (this is a fault in ltcam)" in found[1].reason


@pytest.mark.parametrize(
    "error", [RunError("no such stage"), OutputError("full"), OSError(28, "full"), KeyboardInterrupt()]
)
def test_what_concerns_all_is_raised(squares: dict[int, Path], error: BaseException) -> None:
    def then(values: Sequence[str]) -> Sequence[str]:
        raise error

    with pytest.raises(type(error)):
        list(process([("a", squares[1])] * 9, lambda name, _: name, then))


def test_nobody_reads_what_nobody_asks_for(squares: dict[int, Path]) -> None:
    taken = []

    def endless() -> Iterator[tuple[str, Path]]:
        for number in itertools.count():
            taken.append(number)
            yield str(number), squares[3]

    found = read_all(endless(), lambda name, _: name, Workers(2))
    assert next(found).value == "0"
    assert isinstance(found, Generator)
    found.close()
    assert len(taken) <= 4


def test_memory_of_what_was_taken_is_free(squares: dict[int, Path]) -> None:
    alive = 0

    class Thing:
        def __init__(self) -> None:
            nonlocal alive
            alive += 1

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    files = [(str(number), squares[1]) for number in range(40)]
    most = 0
    for _ in read_all(files, lambda name, path: Thing(), Workers(2, 2)):
        most = max(most, alive)
    assert most <= 2 * 4


def test_images_in_batches_at_two_sizes(squares: dict[int, Path], tmp_path: Path) -> None:
    files = [("a", squares[10]), ("b", tmp_path / "gone.png"), ("c", squares[40])]
    (first, second), (third,) = read_batches(files, (5, 6), 2)
    assert first.image is not None
    assert first.image.shape == (10, 10, 3)
    assert first.resized is not None
    np.testing.assert_array_equal(first.resized, np.full((5, 6, 3), 10))
    assert second.image is second.resized is None
    assert second.reason == "there is no such file"
    assert third.image is not None
    assert third.image.shape == (40, 40, 3)


def test_a_picture_that_does_not_fit_is_refused_by_its_header(
    squares: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "available_memory", lambda: 199 * 10_000)
    files = [("a", squares[3]), ("big", squares[100]), ("b", squares[3])]
    found = list(read_all(files, lambda name, _: name, Workers(bytes_per_pixel=200, pixels=1000)))
    assert [outcome.value for outcome in found] == ["a", None, "b"]
    assert "10,000 pixels need about 0.0 GiB of memory" in found[1].reason


def test_the_memory_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 2**20 < reading.available_memory() < 2**50
    limit = resource.getrlimit(resource.RLIMIT_AS)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**62, limit[1]))
    assert reading.available_memory() < 2**50
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**20, limit[1]))  # less than is used already
    assert reading.available_memory() == 0
    assert Workers().bound() == reading._LEAST_PIXELS
