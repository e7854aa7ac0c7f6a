"""T of eq. 9 and its readings."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltcam.cam import Truncation, kept, list_gradient_methods
from ltcam.cam.engine import weighted_sum
from ltcam.cam.methods import get_gradient_method
from ltcam.cam.truncation import Scope, TruncationReading

SCOPES: tuple[Scope, ...] = get_args(Scope)
READINGS: tuple[TruncationReading, ...] = get_args(TruncationReading)
PERCENTILES = (0, 10, 33.3, 50, 90, 99, 100)


@pytest.mark.parametrize("bad", [-1, 100.5, float("nan"), float("inf"), True, "50", None, 50j])
def test_percentile_must_be_a_number_from_0_to_100(bad: Any) -> None:
    with pytest.raises(ValueError, match="from 0 to 100"):
        Truncation(bad)


@pytest.mark.parametrize("good", [0, 100, 12.5, np.float32(50), np.int64(50), Fraction(1, 3)])
def test_any_real_number_is_a_percentile(good: Any) -> None:
    assert kept(torch.ones(1, 1, 2, 2), Truncation(good)).all()


def test_unknown_scope_and_reading_list_the_choices() -> None:
    with pytest.raises(ValueError, match=r"`scope` 'batch'.*channel, stage"):
        Truncation(50, "batch")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`reading` 'both'.*gradient, mask"):
        Truncation(50, "channel", "both")  # type: ignore[arg-type]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("p", PERCENTILES)
def test_kept_is_the_literal_definition(
    scope: Scope, p: float, nets: SimpleNamespace, literal: SimpleNamespace
) -> None:
    for seed in range(4):
        _, g = nets.pair(seed)
        g[0, 1] = -g[0, 1].abs()  # a channel without positive gradients
        if seed == 3:
            g = (g * 20).round() / 20  # many ties
        assert np.array_equal(kept(g, Truncation(p, scope)).numpy(), literal.kept_mask(g, p, scope))


@pytest.mark.parametrize("scope", SCOPES)
def test_p_0_keeps_all_positives_and_none_truncates_nothing(scope: Scope, nets: SimpleNamespace) -> None:
    A, g = nets.pair(5)
    assert torch.equal(kept(g, Truncation(0, scope)), g > 0)
    for method in list_gradient_methods():
        whole = weighted_sum(method, A, g, None)
        assert torch.equal(
            weighted_sum(method, A, g, Truncation(0, scope)), weighted_sum(method, A, g.clamp_min(0), None)
        )
        same = torch.allclose(whole, weighted_sum(method, A, g, Truncation(0, scope)), rtol=1e-12)
        assert same == (method.name in {"layer-cam", "grad-cam++"}), method.name


def test_p_100_keeps_the_maximum_and_its_ties() -> None:
    g = torch.tensor([[[[3.0, 3.0], [1.0, -5.0]], [[0.5, 0.0], [0.0, -0.0]]]])
    assert kept(g, Truncation(100)).flatten(2).tolist() == [
        [[True, True, False, False], [True, False, False, False]]
    ]
    stage = kept(g, Truncation(100, "stage")).flatten(2).tolist()
    assert stage == [[[True, True, False, False], [False] * 4]]


@pytest.mark.parametrize("scope", SCOPES)
def test_no_positive_gradient_keeps_nothing_and_gives_a_zero_map(scope: Scope) -> None:
    A, g = torch.rand(1, 2, 3, 3), -torch.rand(1, 2, 3, 3)
    for reading in READINGS:
        for method in list_gradient_methods():
            truncation = Truncation(50, scope, reading)
            assert not kept(g, truncation).any()
            assert not weighted_sum(method, A, g, truncation).any()


def test_gap_head_makes_channel_truncation_drop_only_negative_channels() -> None:
    w = torch.tensor([0.5, -0.25, 0.125, 2.0], dtype=torch.float64)
    g = w.reshape(1, 4, 1, 1).expand(2, 4, 3, 5)
    for p in PERCENTILES:
        assert torch.equal(kept(g, Truncation(p)), g > 0)
    stage = kept(g, Truncation(50, "stage"))
    assert stage[:, :, 0, 0].tolist() == [[True, False, False, True]] * 2, (
        "stage truncation drops whole channels"
    )


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10_000), low=st.floats(0, 100), high=st.floats(0, 100), scope=st.sampled_from(SCOPES)
)
def test_support_falls_as_the_percentile_rises(
    seed: int, low: float, high: float, scope: Scope, nets: SimpleNamespace
) -> None:
    low, high = sorted((low, high))
    A, g = nets.pair(seed)
    few, many = kept(g, Truncation(high, scope)), kept(g, Truncation(low, scope))
    assert not (few & ~many).any()
    assert not (many & (g <= 0)).any()
    assert (few.flatten(2).any(2) == (g > 0).flatten(2).any(2)).all() or scope == "stage"
    for name in ("grad-cam", "layer-cam", "hires-cam"):
        method = get_gradient_method(name)
        wide, narrow = (weighted_sum(method, A, g, Truncation(p, scope)) for p in (low, high))
        assert (narrow <= wide + 1e-12).all(), name


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    p=st.floats(0, 100),
    scope=st.sampled_from(SCOPES),
    power=st.integers(-30, 30),
)
def test_kept_is_unchanged_by_positive_scaling_and_by_other_images(
    seed: int, p: float, scope: Scope, power: int, nets: SimpleNamespace
) -> None:
    _, g = nets.pair(seed, (3, 2, 3, 4))
    truncation = Truncation(p, scope)
    mask = kept(g, truncation)
    assert torch.equal(mask, kept(g * 2.0**power, truncation))
    assert torch.equal(mask, torch.cat([kept(one[None], truncation) for one in g]))


def test_channel_rescaling_leaves_the_channel_scope_and_changes_the_stage_scope(
    nets: SimpleNamespace,
) -> None:
    _, g = nets.pair(2)
    s = torch.tensor([0.01, 1.0, 100.0], dtype=torch.float64).reshape(1, 3, 1, 1)
    assert torch.equal(kept(g, Truncation(60)), kept(g / s, Truncation(60)))
    assert not torch.equal(kept(g, Truncation(60, "stage")), kept(g / s, Truncation(60, "stage")))


def test_non_contiguous_and_channels_last_gradients(nets: SimpleNamespace) -> None:
    _, g = nets.pair(7, (2, 4, 6, 6))
    for view in (g.to(memory_format=torch.channels_last), g.transpose(2, 3), g[:, ::2, 1:, ::3]):
        for scope in SCOPES:
            assert torch.equal(
                kept(view, Truncation(40, scope)), kept(view.contiguous(), Truncation(40, scope))
            )
