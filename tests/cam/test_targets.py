"""One score per image."""

from __future__ import annotations

import collections
import dataclasses
import types
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ltcam.cam import log_odds
from ltcam.cam.targets import target_scores
from ltcam.cam.tensors import detached, float_tensors_in

LOGITS = [[1.0, 3.0, -2.0], [0.5, -1.0, 4.0]]


def logits(values: list[list[float]] = LOGITS) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        (None, [3.0, 4.0]),
        (0, [1.0, 0.5]),
        ([2, 1], [-2.0, -1.0]),
        ((1, 1), [3.0, -1.0]),
        (torch.tensor([2, 0]), [-2.0, 0.5]),
        (np.array([2, 0]), [-2.0, 0.5]),
        ([np.int64(2), torch.tensor(0)], [-2.0, 0.5]),
        (np.int64(1), [3.0, -1.0]),
        (torch.tensor(1), [3.0, -1.0]),
        (range(2), [1.0, -1.0]),
        (lambda z: z[1] - z[0], [2.0, -1.5]),
        (lambda z: z[:1], [1.0, 0.5]),
    ],
)
def test_scores(target: Any, wanted: list[float]) -> None:
    assert target_scores(logits(), target, 2).tolist() == wanted


@pytest.mark.parametrize(
    ("target", "wanted"), [(None, [2.0, -3.0]), (1, [2.0, -3.0]), (0, [-2.0, 3.0]), ([0, 1], [-2.0, -3.0])]
)
def test_one_output_is_the_defect_logit_and_its_negative_is_ok(
    target: int | list[int] | None, wanted: list[float]
) -> None:
    assert target_scores(logits([[2.0], [-3.0]]), target, 2).tolist() == wanted


def test_none_explains_one_class_also_among_equal_logits() -> None:
    z = logits([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0]])
    (gradient,) = torch.autograd.grad(target_scores(z, None, 2).sum(), z)
    assert gradient.tolist() == [[1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (3, r"target=3 .*0 to 2"),
        (-1, r"target=-1 .*0 to 2"),
        (True, "target=True is not a class index"),
        (1.0, r"target=1\.0 is not a class index"),
        ("1", "target='1' is not a class index"),
        (np.bool_(True), "target=True is not a class index"),
        ([0, 1.5], r"target=1\.5 is not"),
        ([0, False], "target=False is not"),
        ([0], "1 entries for 2 images"),
        ([0, 1, 2], "3 entries for 2 images"),
        ([], "0 entries for 2 images"),
        (torch.tensor([0.0, 1.0]), r"target=0\.0 is not"),
        (lambda z: z[:2], r"one number per image, got \(2,\)"),
        (lambda z: 3.0, "got float"),
        (lambda z: z[0].detach(), "without a gradient.*detached"),
    ],
)
def test_errors_say_what_was_given(target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        target_scores(logits(), target, 2)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (torch.zeros(2, 3, 4, 4), r"\(2, 3, 4, 4\).*target callable"),
        (torch.zeros(2), r"\(2,\).*target callable"),
        (torch.zeros(2, 0), r"\(2, 0\).*target callable"),
        ((torch.zeros(2, 3),), "tuple.*target callable"),
        ({"logits": torch.zeros(2, 3)}, "dict.*target callable"),
        (torch.zeros(4, 3), r"\(4, 3\) for 2 images"),
    ],
)
def test_outputs_that_are_no_logits(output: dict[str, Tensor] | Tensor | tuple[Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        target_scores(output, 0, 2)


def test_one_output_knows_two_classes() -> None:
    with pytest.raises(ValueError, match=r"target=2 .*0 to 1"):
        target_scores(logits([[1.0]]), 2, 1)


def test_a_callable_gets_one_image_of_structured_outputs() -> None:
    z, aux = logits(), logits([[9.0], [8.0]])
    assert target_scores((z, aux), lambda out: out[0][0] + out[1][0], 2).tolist() == [10.0, 8.5]
    assert target_scores({"z": z, "n": 3}, lambda out: out["z"][2] * out["n"], 2).tolist() == [-6.0, 12.0]
    assert target_scores([{"s": z[0]}, {"s": z[1]}], lambda out: out["s"][0], 2).tolist() == [1.0, 0.5]
    assert target_scores(torch.cat([z[:, 0], aux[:, 0]])[:2], lambda out: out, 2).tolist() == [1.0, 0.5]
    with pytest.raises(ValueError, match="3 results for 2 images"):
        target_scores((torch.zeros(3, 3, requires_grad=True),), lambda out: out[0][0], 2)


Named = collections.namedtuple("Named", ["logits", "aux"])


@dataclasses.dataclass(frozen=True)
class Frozen:
    logits: torch.Tensor
    note: str = "kept"
    loss: torch.Tensor | None = None


class ModelOutput(collections.OrderedDict[str, Any]):
    """Items that are attributes too, as transformers has it."""

    def __getattr__(self, name: str) -> Tensor:
        try:
            found: Tensor = self[name]
            return found
        except KeyError as error:
            raise AttributeError(name) from error


class Slots:
    __slots__ = ("logits",)

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


STRUCTURES = {
    "dictionary": (lambda z: {"logits": z}, lambda out: out["logits"][2]),
    "immutable mapping": (lambda z: types.MappingProxyType({"logits": z}), lambda out: out["logits"][2]),
    "tuple": (lambda z: (z, 2 * z), lambda out: out[0][2]),
    "named tuple": (lambda z: Named(z, 2 * z), lambda out: (out.logits + out.aux)[2] / 3),
    "structseq": (lambda z: torch.return_types.sort((z, z.argsort())), lambda out: out.values[2]),
    "frozen dataclass": (Frozen, lambda out: out.logits[2] if out.note == "kept" else None),
    "model output": (
        lambda z: ModelOutput(logits=z, nothing=None),
        lambda out: out.logits[2] + 0 * out["logits"][0],
    ),
    "slots": (Slots, lambda out: out.logits[2]),
    "namespace": (lambda z: types.SimpleNamespace(logits=z, n=3), lambda out: out.logits[2]),
    "list of one head": (lambda z: [z], lambda out: out[0][2] if isinstance(out, list) else None),
    "list of five heads": (lambda z: [k * z for k in range(5)], lambda out: out[1][2]),
    "list of dataclasses": (lambda z: [Frozen(k * z) for k in range(5)], lambda out: out[1].logits[2]),
    "list in a dictionary": (
        lambda z: {"heads": [z] * 5, "of": [Frozen(z)] * 5},
        lambda out: out["heads"][3][2],
    ),
    "one result per image": (
        lambda z: [{"boxes": row.repeat(7, 1)} for row in z],
        lambda out: out["boxes"][6, 2],
    ),
    "one vector per image": (lambda z: list(torch.cat([z, z], 1)), lambda out: out[2]),
}


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize(("made", "target"), STRUCTURES.values(), ids=STRUCTURES)
def test_a_callable_gets_one_image_of_the_same_type(made: Any, target: Any, count: int) -> None:
    z = torch.randn(count, 3, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(target_scores(made(z), target, count), z[:, 2], rtol=1e-14)
    output = made(z)
    free = detached(output)
    assert type(free) is type(output)
    assert float_tensors_in(free)
    assert not any(tensor.requires_grad for tensor in float_tensors_in(free))
    assert any(tensor.requires_grad for tensor in float_tensors_in(output)), "the model's own stays as it is"


def read_heads(reading: Callable[[Any], Any], output: Any) -> Any:
    return reading(output["heads"])


@pytest.mark.parametrize("count", [2, 3])
def test_a_list_that_could_be_read_in_two_ways_is_refused_where_it_is_read(count: int) -> None:
    z = torch.randn(count, 3, requires_grad=True)
    output = {"logits": z, "heads": [z] * count}
    assert torch.equal(target_scores(output, lambda out: out["logits"][1], count), z[:, 1])
    readings: tuple[Callable[[Any], Any], ...] = (
        lambda heads: heads[0][1],
        lambda heads: sum(heads)[1],
        lambda heads: heads.sum(),
        len,
    )
    for reading in readings:
        with pytest.raises(ValueError, match="one entry per image, or are they heads"):
            target_scores(output, partial(read_heads, reading), count)
    with pytest.raises(ValueError, match=r"list of 2 entries for 4 images.*neither"):
        target_scores([torch.zeros(3, 3), torch.zeros(3, 3)], lambda out: out[0], 4)
    with pytest.raises(ValueError, match="deque without tensors"):
        target_scores(collections.deque([z]), lambda out: out[0][1], count)


def test_log_odds() -> None:
    z = logits()
    scores = target_scores(z, log_odds([1]), 2)
    wanted = [3 - np.logaddexp(1, -2), -1 - np.logaddexp(0.5, 4)]
    assert scores.tolist() == pytest.approx(wanted, rel=1e-14)
    both = target_scores(z, log_odds([1, 2]), 2)
    assert both.tolist() == pytest.approx([np.logaddexp(3, -2) - 1, np.logaddexp(-1, 4) - 0.5], rel=1e-14)
    two = logits([[1.0, 3.5]])
    assert target_scores(two, log_odds([1]), 1).item() == 2.5
    shift = target_scores(z + 100, log_odds([1, 2]), 2)
    assert shift.tolist() == pytest.approx(both.tolist(), rel=1e-12), (
        "a common shift of the logits changes nothing"
    )


def test_log_odds_of_one_output_is_that_output() -> None:
    z = logits([[2.0], [-3.0]])
    assert target_scores(z, log_odds([1]), 2).tolist() == [2.0, -3.0]
    assert target_scores(z, log_odds([0]), 2).tolist() == [-2.0, 3.0]


@pytest.mark.parametrize("classes", [[1.0], [1.5], [True], ["1"], [torch.tensor(1.0)]])
def test_log_odds_of_what_is_no_class_index(classes: list[Any]) -> None:
    with pytest.raises(ValueError, match="class indices are whole numbers"):
        log_odds(classes)
    numbers: list[Any] = [np.int64(1), torch.tensor(2)]
    assert log_odds(numbers)(logits()[0]) == log_odds([1, 2])(logits()[0])


@pytest.mark.parametrize("classes", [[], [0, 1, 2], [3], [-1], [1, 7]])
def test_log_odds_of_impossible_classes(classes: list[int]) -> None:
    with pytest.raises(ValueError, match=r"log_odds.*0 to 2"):
        target_scores(logits(), log_odds(classes), 2)
