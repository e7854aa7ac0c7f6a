"""The page of `ltcam export --verify`."""

from __future__ import annotations

from dataclasses import replace

from tests.conftest import Page

from ltcam.evaluation.engines import EngineResult, Verification
from ltcam.reports.verify_page import verify_page

SAME = EngineResult("torch", 1.0, 0.0, 1.0, 1.0, (), 0.0, 12.34, 50.6)


def test_every_engine_is_a_column_and_changed_verdicts_are_named(parse: type[Page]) -> None:
    other = replace(
        SAME,
        engine="openvino",
        near=0.98765,
        largest=2.5e-6,
        verdict_changes=("<b>.png",),
        memory_mb=None,
        mask_iou=0.5,
    )
    verification = Verification("run", "part.ltcam.onnx", 2, (("x.png", "no image"),), (SAME, other))
    page = parse(verify_page(verification))
    page.assert_self_contained()
    assert "PyTorch OpenVINO" in page.text
    assert "Verdicts changed 0 1" in page.text
    assert "exact ones 100.00% 98.77%" in page.text
    assert "exact one 0 2.5e-06" in page.text
    assert "Memory, MB 51 –" in page.text
    assert "<b>.png OpenVINO" in page.text
    assert "x.png" in page.text
