"""The page of `ltcam export --verify`."""

from __future__ import annotations

from typing import Any

from tests.conftest import Page

from ltcam.reports.verify_page import verify_page


def engine(name: str, **values: Any) -> dict[str, Any]:
    same = {"near": 1.0, "largest": 0.0, "mask_iou": 1.0, "mean_mask_iou": 1.0, "verdict_changes": []}
    return {
        "engine": name,
        **same,
        "largest_score_change": 0.0,
        "milliseconds": 12.34,
        "memory_mb": 50.6,
        **values,
    }


def test_every_engine_is_a_column_and_changed_verdicts_are_named(parse: type[Page]) -> None:
    other = engine(
        "openvino", near=0.98765, largest=2.5e-6, verdict_changes=["<b>.png"], memory_mb=None, mask_iou=0.5
    )
    verification = {
        "run": "run",
        "file": "part.ltcam.onnx",
        "images": 2,
        "failed": [{"image": "x.png", "reason": "no image"}],
        "engines": [engine("torch"), other],
    }
    page = parse(verify_page(verification))
    page.assert_self_contained()
    assert "PyTorch OpenVINO" in page.text
    assert "Verdicts changed 0 1" in page.text
    assert "exact ones 100.00% 98.77%" in page.text
    assert "exact one 0 2.5e-06" in page.text
    assert "Memory, MB 51 –" in page.text
    assert "<b>.png OpenVINO" in page.text
    assert "x.png" in page.text
