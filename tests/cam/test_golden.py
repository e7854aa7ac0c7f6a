"""Golden values G1 to G4 of the numerics: exact fractions, in float64."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

import pytest
import torch
from tests.cam.conftest import gradient_method
from torch import Tensor

from ltcam.cam import CAM, Capture, Truncation, kept
from ltcam.cam.engine import weighted_sum
from ltcam.cam.truncation import Scope


def exact(rows: str) -> Tensor:
    """`"1/2 1/4; 1 -3/4"` as a float64 matrix."""
    return torch.tensor(
        [[float(Fraction(v)) for v in row.split()] for row in rows.split(";")], dtype=torch.float64
    )


def layer(*channels: str) -> Tensor:
    return torch.stack([exact(channel) for channel in channels])[None]


A1 = layer("4 1; 0 2", "2 3; 1 0")
G1 = layer("1/2 1/4; 1 -3/4", "-1 1/4; 1/8 -3/8")
A2 = layer("2 1", "1 3")
G2 = layer("1/2 -1/4", "-1/4 -1/2")


def close(found: Tensor, wanted: str) -> None:
    torch.testing.assert_close(found[0], exact(wanted), rtol=1e-15, atol=1e-15)


def signed(name: str, truncation: Truncation | None = None, A: Tensor = A1, g: Tensor = G1) -> Tensor:
    return weighted_sum(gradient_method(name), A, g, truncation)


def weights(name: str, A: Tensor, g: Tensor) -> list[float]:
    return gradient_method(name).weights(A, g).flatten().tolist()


def ratios(*values: str) -> Any:
    return pytest.approx([float(Fraction(value)) for value in values], rel=1e-15)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("grad-cam", "1/2 -1/2; -1/4 1/2", "1/2 0; 0 1/2"),
        ("layer-cam", "2 1; 1/8 0", "2 1; 1/8 0"),
        ("hires-cam", "0 1; 1/8 -3/2", "0 1; 1/8 0"),
        ("xgrad-cam", None, "3/56 0; 0 3/14"),
    ],
)
def test_g1_maps(name: str, before: str | None, after: str) -> None:
    if before is not None:
        close(signed(name), before)
    close(signed(name).clamp_min(0), after)


def test_g1_weights() -> None:
    assert weights("grad-cam", A1, G1) == ratios("1/4", "-1/4")
    assert weights("xgrad-cam", A1, G1) == ratios("3/28", "-3/16")
    assert weights("grad-cam++", A1, G1) == ratios("133/495", "9/77")
    w1, w2 = Fraction(133, 495), Fraction(9, 77)
    close(signed("grad-cam++"), f"{4 * w1 + 2 * w2} {w1 + 3 * w2}; {w2} {2 * w1}")
    rounded = torch.tensor([[1.308513709, 0.619336219], [0.116883117, 0.537373737]], dtype=torch.float64)
    torch.testing.assert_close(signed("grad-cam++")[0], rounded, rtol=0, atol=5e-10)


class Row(NamedTuple):
    """A row of the worked example: T of both channels, and what follows from it in readings (a) and (b)."""

    scope: Scope
    percentile: int
    kept: str
    weights: str
    map_a: str
    before_relu_b: str | None
    map_b: str
    layer_cam: str


G2_ROWS = [
    Row("channel", 0, "1110 0110", "7/16 3/32", "31/16 23/32; 3/32 7/8", None, "1 0; 0 0", "2 1; 1/8 0"),
    Row(
        "channel", 50, "1010 0100", "3/8 1/16", "13/8 9/16; 1/16 3/4", "1 -3/4; 0 0", "1 0; 0 0", "2 3/4; 0 0"
    ),
    Row(
        "channel", 90, "0010 0100", "1/4 1/16", "9/8 7/16; 1/16 1/2", "0 -3/4; 0 0", "0 0; 0 0", "0 3/4; 0 0"
    ),
    Row(
        "channel", 100, "0010 0100", "1/4 1/16", "9/8 7/16; 1/16 1/2", "0 -3/4; 0 0", "0 0; 0 0", "0 3/4; 0 0"
    ),
    Row("stage", 50, "1110 0100", "7/16 1/16", "15/8 5/8; 1/16 7/8", "1 -1/2; 0 0", "1 0; 0 0", "2 1; 0 0"),
    Row("stage", 90, "0010 0000", "1/4 0", "1 1/4; 0 1/2", None, "0 0; 0 0", "0 0; 0 0"),
]


@pytest.mark.parametrize("row", G2_ROWS, ids=lambda row: f"{row.scope}-{row.percentile}")
def test_g2_truncation(row: Row) -> None:
    gradient = Truncation(row.percentile, row.scope)
    masked = replace(gradient, reading="mask")
    T = kept(G1, gradient)
    assert "".join(str(int(v)) for v in T.flatten().tolist()) == row.kept.replace(" ", "")
    assert weights("grad-cam", A1, G1 * T) == ratios(*row.weights.split())
    close(signed("grad-cam", gradient), row.map_a)
    if row.before_relu_b is not None:
        close(signed("grad-cam", masked), row.before_relu_b)
    close(signed("grad-cam", masked).clamp_min(0), row.map_b)
    for name in ("layer-cam", "hires-cam"):
        for truncation in (gradient, masked):
            close(signed(name, truncation), row.layer_cam)


def test_g2_other_methods() -> None:
    half = Truncation(50)
    cut = G1 * kept(G1, half)
    assert weights("xgrad-cam", A1, cut) == ratios("2/7", "1/8")
    close(signed("xgrad-cam", half), "39/28 37/56; 1/8 4/7")
    assert weights("grad-cam++", A1, cut) == ratios("20/99", "1/14")


def test_g3_a_channel_without_positive_gradients() -> None:
    assert weights("grad-cam", A2, G2) == ratios("1/8", "-3/8")
    close(signed("grad-cam", A=A2, g=G2), "-1/8 -1")
    close(signed("layer-cam", A=A2, g=G2), "1 0")
    half = Truncation(50)
    assert kept(G2, half).flatten().tolist() == [True, False, False, False]
    assert weights("grad-cam", A2, G2 * kept(G2, half)) == ratios("1/4", "0")
    close(signed("grad-cam", half, A2, G2), "1/2 1/4")
    close(signed("grad-cam", Truncation(50, reading="mask"), A2, G2).clamp_min(0), "1/4 0")


CAPTURED = Capture(("S1", "S2"), (A1, A2), (G1, G2), None, torch.zeros(1, dtype=torch.float64), (4, 4))


def over(denominator: int, rows: str) -> str:
    return ";".join(" ".join(f"{v}/{denominator}" for v in row.split()) for row in rows.split(";"))


@pytest.mark.parametrize(
    ("cam", "wanted"),
    [
        (CAM(truncation=Truncation(50)), over(64, "136 115 73 52; 111 97 69 55; 61 61 61 61; 36 43 57 64")),
        (
            CAM(truncation=Truncation(50), fusion="max"),
            over(64, "104 87 53 36; 79 69 49 39; 32 33 41 45; 32 28 37 48"),
        ),
        (CAM(), over(16, "8 6 2 0; 6 5 3 2; 2 3 5 6; 0 2 6 8")),
    ],
    ids=["sum", "max", "untruncated"],
)
def test_g4_fusion(cam: CAM, wanted: str) -> None:
    close(cam.heatmaps(CAPTURED), wanted)


def test_g4_mean_is_half_the_sum() -> None:
    whole, mean = (
        CAM(truncation=Truncation(50), fusion=fusion).heatmaps(CAPTURED) for fusion in ("sum", "mean")
    )
    assert torch.equal(mean * 2, whole)
