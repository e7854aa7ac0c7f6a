from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from ltcam.service.batching import Batcher, Budget, BusyError


def double(batch: Sequence[int]) -> list[int]:
    return [2 * item for item in batch]


def held() -> tuple[Callable[[Sequence[int]], list[int]], threading.Event, threading.Event]:
    """As `double`, but not before it may: that, what is set once it has begun, and what lets it go on."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(batch: Sequence[int]) -> list[int]:
        begun.set()
        go_on.wait(10)
        return double(batch)

    return slow, begun, go_on


def pairs(batch: Sequence[int], found: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(batch, found, strict=True))


def test_every_item_gets_its_own_answer() -> None:
    batcher = Batcher(double, pairs, Budget(batch_size=4, most_waiting=1000))
    answers = [batcher.submit(number) for number in range(100)]
    assert [answer.result(10) for answer in answers] == [(number, 2 * number) for number in range(100)]
    batcher.close()
    assert batcher.passes.images == 100
    assert 25 <= batcher.passes.batches <= 100


def test_what_waits_is_bounded_and_the_rest_turned_away() -> None:
    slow, begun, go_on = held()
    batcher = Batcher(slow, pairs, Budget(batch_size=1, most_waiting=3))
    first = batcher.submit(0)
    assert begun.wait(10)
    answers = [batcher.submit(number) for number in (1, 2, 3)]
    with pytest.raises(BusyError) as caught:
        batcher.submit(4)
    assert caught.value.retry_after >= 1
    go_on.set()
    assert [answer.result(10)[0] for answer in (first, *answers)] == [0, 1, 2, 3]
    assert batcher.passes.turned_away == 1
    batcher.close()


@pytest.mark.parametrize("where", ["inspect", "keep"])
def test_a_batch_that_fails_is_told_and_the_next_goes_on(where: str) -> None:
    def inspect(batch: Sequence[int]) -> list[int]:
        if where == "inspect" and 13 in batch:
            raise RuntimeError("unlucky")
        return double(batch)

    def keep(batch: Sequence[int], found: Sequence[int]) -> list[tuple[int, int]]:
        if where == "keep" and 13 in batch:
            raise OSError("unlucky")
        return pairs(batch, found)

    batcher = Batcher(inspect, keep, Budget(batch_size=1))
    with pytest.raises((RuntimeError, OSError), match="unlucky"):
        batcher.submit(13).result(10)
    assert batcher.submit(1).result(10) == (1, 2)
    batcher.close()


def test_who_does_not_wait_any_more_stops_nobody() -> None:
    slow, begun, go_on = held()
    batcher = Batcher(slow, pairs, Budget(batch_size=1))
    given_up = batcher.submit(1)
    assert begun.wait(10)
    also = batcher.submit(2)
    for answer in (given_up, also):
        answer.cancel()
    go_on.set()
    assert batcher.submit(3).result(10) == (3, 6)
    batcher.close()
    assert batcher.passes.images == 3


def test_closing_answers_what_is_in_line_and_takes_nothing_more() -> None:
    batcher = Batcher(double, pairs, Budget(batch_size=2, gather_seconds=0.01))
    answers = [batcher.submit(number) for number in range(9)]
    batcher.close()
    assert all(answer.done() for answer in answers)
    with pytest.raises(BusyError):
        batcher.submit(1)


def test_nothing_comes_in_line_behind_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody closes while an item is being put in line: it is answered all the same."""
    batcher = Batcher(double, pairs, Budget())
    put, closing = batcher._incoming.put_nowait, list[threading.Thread]()

    def put_late(item: object) -> None:
        closing.append(threading.Thread(target=batcher.close))
        closing[0].start()
        closing[0].join(0.2)
        put(item)  # type: ignore[arg-type]

    monkeypatch.setattr(batcher._incoming, "put_nowait", put_late)
    answer = batcher.submit(3)
    assert answer.result(10) == (3, 6)
    closing[0].join(10)
    with pytest.raises(BusyError):
        batcher.submit(4)
