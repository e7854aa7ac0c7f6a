"""One capture, many answers: each must be the map that its settings give alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ltcam.cam import CAM, Capture, GradientMethod, Truncation, capture, fuse, list_gradient_methods
from ltcam.cam import sweeps as module
from ltcam.cam.sweeps import sweep
from ltcam.cam.truncation import Scope, TruncationReading, thresholds

NAMES = [method.name for method in list_gradient_methods()]
BY_POSITION = {"layer-cam", "hires-cam"}


def truncations(
    percentiles: Sequence[float | None],
    scopes: Sequence[Scope] = get_args(Scope),
    readings: Sequence[TruncationReading] = get_args(TruncationReading),
) -> list[Truncation | None]:
    """By scope, reading and percentile."""
    combined = product(scopes, readings, percentiles)
    return [None if p is None else Truncation(p, scope, reading) for scope, reading, p in combined]


def name_of(cam: CAM) -> str:
    assert not isinstance(cam.method, str)
    return cam.method.name


def captured_of(
    shapes: Sequence[tuple[int, int, int, int]],
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    signed: bool = False,
    values: list[float] | None = None,
) -> Capture:
    """A capture of random tensors; gradients of few `values` have ties and channels without positive ones."""
    random = torch.Generator().manual_seed(seed)
    activations, gradients = [], []
    for shape in shapes:
        A = torch.randn(shape, generator=random, dtype=dtype)
        activations.append(A if signed else A.clamp_min(0))
        g = torch.randn(shape, generator=random, dtype=dtype) * 0.1
        if values is not None:
            chosen = torch.randint(len(values), shape, generator=random)
            g = torch.tensor(values, dtype=dtype)[chosen]
        gradients.append(g)
    names = tuple(f"stage{index}" for index in range(len(shapes)))
    scores = torch.zeros(shapes[0][0], dtype=dtype)
    return Capture(names, tuple(activations), tuple(gradients), None, scores, (16, 24))


def some(values: list[Any], most: int = 3) -> st.SearchStrategy[Any]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=most)


@st.composite
def captures(draw: st.DrawFn) -> Capture:
    images, side = draw(st.integers(1, 3)), st.integers(1, 6)
    stages = draw(st.lists(st.tuples(st.integers(1, 5), side, side), min_size=1, max_size=3))
    return captured_of(
        [(images, *stage) for stage in stages],
        draw(st.integers(0, 1000)),
        signed=draw(st.booleans()),
        values=draw(st.sampled_from([None, [-1.0, 0.0, -0.0, 0.5, 0.5, 2.0], [-1.0, 0.0], [0.3]])),
    )


@settings(max_examples=25)
@given(
    captured=captures(),
    asked=st.fixed_dictionaries(
        {
            "methods": some(NAMES),
            "percentiles": st.builds(
                truncations,
                some([None, 0, 10, 33.3, 50, 50.0, 90, 100], 5),
                some(["channel", "stage"], 2),
                some(["gradient", "mask"], 2),
            ),
            "fusions": some(["sum", "mean", "max", "product"]),
            "base": st.builds(
                CAM,
                stage_scale=st.sampled_from(["none", "max", "tanh"]),
                relu=st.sampled_from(["stage", "none"]),
                positive_activations=st.booleans(),
            ),
        }
    ),
    at_once=st.sampled_from([1, 7, 2**18]),
)
def test_every_answer_is_the_map_of_its_settings(
    captured: Capture, asked: dict[str, Any], at_once: int
) -> None:
    before = [t.clone() for t in (*captured.activations, *captured.gradients)]
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setitem(module._AT_ONCE, "cpu", at_once)
        answers = list(sweep(captured, **asked))
        for answer in answers:
            alone = answer.cam.heatmaps(captured)
            torch.testing.assert_close(answer.heatmaps, alone, rtol=1e-9, atol=1e-12)
    first = next((each.reading for each in asked["percentiles"] if each), None)
    wanted = {
        (method, truncation, fusion)
        for method, truncation, fusion in product(
            *(asked[key] for key in ("methods", "percentiles", "fusions"))
        )
        if truncation is None or method not in BY_POSITION or truncation.reading == first
    }
    found = [(name_of(answer.cam), answer.cam.truncation, answer.cam.fusion) for answer in answers]
    assert len(found) == len(set(found))
    assert set(found) == wanted
    for cam in (answer.cam for answer in answers):
        settled = {"method": cam.method, "truncation": cam.truncation, "fusion": cam.fusion}
        assert cam == replace(asked["base"], layers=captured.layers, **settled)
    after = (*captured.activations, *captured.gradients)
    assert all(map(torch.equal, before, after)), "the capture is left as it was"


@pytest.mark.parametrize("scope", ["channel", "stage"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.filterwarnings("ignore:.*divides by sums")
def test_maps_equal_the_formulas(scope: Scope, signed: bool, literal: SimpleNamespace) -> None:
    captured = replace(captured_of([(2, 3, 4, 5)], 3, signed=signed), input_size=(4, 5))
    count = 0
    for answer in sweep(captured, percentiles=truncations((60, None, 0), (scope,))):
        name, truncation = name_of(answer.cam), answer.cam.truncation
        exact = literal.signed_map(name, captured.activations[0], captured.gradients[0], truncation)
        np.testing.assert_allclose(answer.heatmaps.numpy(), np.maximum(exact, 0), rtol=1e-10, atol=1e-14)
        count += 1
    assert count == 5 * 3 + 3 * 2


@pytest.mark.parametrize("shape", [(2, 24, 40, 60), (1, 300, 8, 9)])
def test_float32_agrees_to_rounding(shape: tuple[int, int, int, int]) -> None:
    captured = captured_of([shape], 4, dtype=torch.float32)
    for answer in sweep(captured, None, truncations((None, 0, 50, 99))):
        assert answer.heatmaps.dtype == torch.float32
        alone = answer.cam.heatmaps(captured)
        torch.testing.assert_close(answer.heatmaps, alone, rtol=1e-6, atol=1e-6 * alone.max().item())


def test_answers_come_in_the_order_asked_for() -> None:
    captured = captured_of([(1, 2, 3, 3)])
    answers = sweep(
        captured,
        ("layer-cam", "grad-cam"),
        truncations((50, None, 50.0, 0), ("stage", "channel"), ("mask", "gradient")),
        ("product", "sum", "product"),
    )
    scopes: tuple[Scope, ...] = ("stage", "channel")
    readings: tuple[TruncationReading, ...] = ("mask", "gradient")
    of_layer = [(p, readings[0], scope) for scope in scopes for p in (50, None, 0)]
    of_grad = [(p, reading, scope) for scope in scopes for reading in readings for p in (50, None, 0)]
    wanted = []
    for name, combinations in (("layer-cam", of_layer), ("grad-cam", of_grad)):
        for p, reading, scope in combinations:
            truncation = None if p is None else Truncation(p, scope, reading)
            wanted += [(name, truncation, fusion) for fusion in ("product", "sum")]
    assert [(name_of(a.cam), a.cam.truncation, a.cam.fusion) for a in answers] == list(dict.fromkeys(wanted))


def test_a_capture_of_a_network_gives_what_its_settings_give(nets: SimpleNamespace) -> None:
    net, images = nets.plain(1), nets.images(1)
    for answer in sweep(capture(net, images, 1), percentiles=(None, 50), fusions=("sum", "product")):
        torch.testing.assert_close(answer.heatmaps, answer.cam(net, images, 1), rtol=1e-10, atol=1e-14)


def test_thresholds_are_found_once_for_each_stage_and_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counting(gradients: Tensor, percentiles: list[int], scope: Scope) -> Tensor:
        asked.append((gradients.shape[1], tuple(percentiles), scope))
        return thresholds(gradients, percentiles, scope)

    monkeypatch.setattr(module, "thresholds", counting)
    captured = captured_of([(2, 3, 4, 4), (2, 5, 2, 2)])
    list(sweep(captured, None, truncations((90, None, 10, 90)), ("sum", "max")))
    assert asked == [(channels, (90, 10), scope) for channels in (3, 5) for scope in ("channel", "stage")]


def test_stage_maps_are_made_once_in_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    captured = captured_of([(1, 3, 4, 4)])
    fused = []

    def counting(*maps: Any, **how: Any) -> Tensor:
        fused.append(how["fusion"])
        return fuse(*maps, **how)

    monkeypatch.setattr(module, "fuse", counting)
    height, width = captured.input_size
    monkeypatch.setattr(module, "_FUSED_AT_ONCE", 3 * height * width)  # values of three settings' maps
    answers = sweep(captured, ("grad-cam",), (0, 50, 60, 70, 80), ("sum", "max"))
    monkeypatch.setattr(module, "_stage_maps", None)
    assert not fused, "heatmaps are made when their turn comes"
    next(answers)
    assert fused == ["sum", "max"]
    assert len(list(answers)) == 9
    assert fused == ["sum", "max"] * 2


def _mixing(activations: Tensor, gradients: Tensor) -> Tensor:
    """Weights that look across channels, which no terms can describe."""
    return gradients.mean((2, 3), keepdim=True).softmax(1)


def _squares(activations: Tensor, gradients: Tensor) -> Tensor:
    return gradients.square()


OWN = (
    GradientMethod("mixing", "Mixing", "here", "Softmax over channels.", _mixing),
    GradientMethod("squares", "Squares", "here", "Squared gradients.", _squares),
    GradientMethod(
        "energy",
        "Energy",
        "here",
        "Summed squares.",
        lambda A, g: g.square().sum((2, 3), keepdim=True),
        terms=_squares,
    ),
)


def test_own_methods_are_swept_with_and_without_terms() -> None:
    captured = captured_of([(2, 3, 4, 5), (2, 4, 2, 3)], 5)
    answers = list(sweep(captured, ("layer-cam", *OWN), truncations((None, 0, 70))))
    assert len(answers) == 1 + 2 * 2 + 3 * (1 + 2 * 2 * 2)
    for answer in answers:
        torch.testing.assert_close(answer.heatmaps, answer.cam.heatmaps(captured), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    "method", [m for m in (*list_gradient_methods(), *OWN) if m.terms], ids=lambda m: m.name
)
@settings(max_examples=20)
@given(seed=st.integers(0, 1000), signed=st.booleans())
def test_terms_are_what_weights_consist_of(
    method: GradientMethod, seed: int, signed: bool, nets: SimpleNamespace
) -> None:
    A, g = nets.pair(seed, signed=signed)
    A[0, 0] = 0
    assert method.terms is not None
    terms = method.terms(A, g)
    assert terms.shape == A.shape
    weights = terms if method.by_position else terms.sum((2, 3), keepdim=True)
    torch.testing.assert_close(method.weights(A, g), weights, rtol=1e-10, atol=1e-13)
    T = (torch.rand(g.shape, generator=torch.Generator().manual_seed(seed)) < 0.5) & (g > 0)
    torch.testing.assert_close(method.terms(A, T * g), T * terms, rtol=0, atol=0, msg="T drops terms")
    torch.testing.assert_close(method.terms(A[:, 1:2], g[:, 1:2]), terms[:, 1:2], rtol=0, atol=0)


def test_signed_activations_are_warned_of_once_for_each_method() -> None:
    captured = captured_of([(1, 2, 3, 3)], signed=True)
    with pytest.warns(UserWarning, match="divides by sums of activations") as caught:
        list(sweep(captured, None, truncations((None, 0, 50), ("channel",)), ("sum", "max")))
    assert sorted(str(one.message).split()[0] for one in caught) == ["Grad-CAM++", "XGrad-CAM"]
    assert all(one.filename == __file__ for one in caught)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(sweep(captured, base=CAM(positive_activations=True)))
        list(sweep(captured, ("grad-cam", "layer-cam")))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"methods": "grad-cam"}, r"methods='grad-cam' is no list; write methods=\['grad-cam'\]"),
        ({"percentiles": 50}, r"percentiles=50 is no list; write percentiles=\[50\]"),
        ({"percentiles": ()}, "percentiles is empty"),
        ({"methods": ["grad"]}, "`method` 'grad' is unknown; choose from grad-cam"),
        ({"percentiles": [101]}, "percentile=101 is not a number from 0 to 100"),
        ({"fusions": ["median"]}, "`fusion` 'median' is unknown; choose from sum"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_the_call(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sweep(captured_of([(1, 2, 3, 3)]), **asked)


def test_methods_and_captures_without_gradients_are_refused(nets: SimpleNamespace) -> None:
    captured = captured_of([(1, 2, 3, 3)])
    with pytest.raises(ValueError, match="FullGrad is no gradient method; choose from grad-cam"):
        sweep(captured, ("fullgrad",))
    without = capture(nets.plain(1), nets.images(1), 1, gradients=False)
    with pytest.raises(ValueError, match="holds no gradients; make it with gradients=True"):
        sweep(without)
