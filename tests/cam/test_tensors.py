"""Small things done to tensors."""

from __future__ import annotations

import warnings

import pytest
import torch

from ltcam.cam import tensors
from ltcam.cam.tensors import (
    at_least_float32,
    detached,
    float_tensors_in,
    not_finite,
    refuse_not_finite,
    tensors_in,
    warn_of_half_precision,
)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("float16", "float32"), ("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")],
)
def test_half_precision_becomes_single(given: str, wanted: str) -> None:
    tensor = torch.ones(2, dtype=getattr(torch, given))
    found = at_least_float32(tensor)
    assert found.dtype == getattr(torch, wanted)
    assert (found is tensor) == (given == wanted)


def test_every_tensor_of_an_output_is_detached() -> None:
    z = torch.ones(2, requires_grad=True) * 2
    found = detached({"logits": z, "parts": [z, (z, "name")], "count": 3})
    assert not found["logits"].requires_grad
    assert isinstance(found["parts"], list)
    assert not found["parts"][1][0].requires_grad
    assert found["parts"][1][1] == "name"
    assert found["count"] == 3


class _Linked:
    """Something with attributes, which may refer to itself."""

    def __init__(self, tensor: torch.Tensor, other: object = None) -> None:
        self.tensor = tensor
        self.other = other


def test_tensors_are_found_where_parts_refer_to_each_other() -> None:
    one, two, three = (torch.full((1,), float(number)) for number in range(3))
    first = _Linked(one)
    second = _Linked(two, {"back": [first]})
    first.other = (first, second)
    assert [float(found) for found in tensors_in([first, three, three])] == [0, 1, 2, 2]
    chain = _Linked(one)
    for _ in range(5000):
        chain = _Linked(two, chain)
    assert len(tensors_in(chain)) == 5001


def test_only_tensors_with_floating_point_values_and_not_without_any() -> None:
    given = {"a": torch.ones(2, dtype=torch.int64), "b": [torch.ones(0), torch.ones(3).half()], "c": "x"}
    assert [found.dtype for found in float_tensors_in(given)] == [torch.float16]


def test_rows_that_are_not_finite() -> None:
    values = torch.zeros(4, 2, 3)
    assert not_finite(values) == []
    values[1, 0, 0], values[3, 1, 2] = torch.nan, torch.inf
    assert not_finite(values) == [1, 3]
    assert not_finite(torch.tensor([0, -torch.inf, torch.inf])) == [1, 2]
    assert not_finite(torch.full((2, 1), 3e38)) == [], "a sum beyond the range is no infinite value"
    with pytest.raises(ValueError, match=r"scores hold NaN or infinite values for images \[1, 3\]"):
        refuse_not_finite("scores", values)


def test_a_warning_of_half_precision_stands_where_it_is_said_to() -> None:
    with pytest.warns(UserWarning, match="layers a, b ran in half precision") as caught:
        warn_of_half_precision(["a", "b"], stacklevel=1)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_half_precision([], stacklevel=1)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 4, 5), (2, 3, 1, 1), (1, 5, 1, 7)])
def test_contiguous_maps_hold_the_same_values(shape: tuple[int, int, int, int]) -> None:
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for view in (maps, maps.contiguous(memory_format=torch.channels_last), maps.mT.contiguous().mT):
        found = tensors.contiguous(view)
        assert found.is_contiguous()
        assert torch.equal(found, maps)
    assert tensors.contiguous(maps) is maps
