"""The percentile inside a graph keeps exactly what the engine keeps, to the last tie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from onnx import TensorProto
from tests.export.conftest import Answer

from ltcam.cam import Truncation, kept
from ltcam.cam.truncation import Scope
from ltcam.export.onnx_graph import OnnxGraph
from ltcam.export.truncation import write_selection
from ltcam_runtime.errors import ExportError

SHAPE = (3, 4, 5)


def selecting(percentile: float, scope: Scope) -> bytes:
    graph = OnnxGraph()
    gradients = graph.add_input("g", TensorProto.FLOAT, ("N", *SHAPE))
    chosen = write_selection(graph, gradients, SHAPE, Truncation(percentile, scope))
    graph.add_output(chosen, "t", TensorProto.FLOAT, ("N", *SHAPE))
    found: bytes = graph.model("t").SerializeToString()
    return found


@pytest.mark.parametrize("scope", ["channel", "stage"])
@pytest.mark.parametrize("percentile", [0, 33.333333, 99.9, 100])
def test_the_same_values_are_kept(
    percentile: float, scope: Scope, ask: Callable[[bytes, Mapping[str, NDArray[Any]]], Answer]
) -> None:
    model = selecting(percentile, scope)
    values = st.floats(-1, 1, width=32, allow_subnormal=False) | st.sampled_from(
        [0.0, -0.0, 1.0, 0.5, 2.0**-126, 3e38]
    )

    @settings(max_examples=10)
    @given(arrays.arrays(np.float32, (2, *SHAPE), elements=values))
    def same(gradients: np.ndarray) -> None:
        expected = kept(torch.from_numpy(gradients), Truncation(percentile, scope)).numpy()
        assert np.array_equal(ask(model, {"g": gradients})["t"], expected.astype(np.float32))

    same()


def test_more_values_than_can_be_counted_are_refused() -> None:
    with pytest.raises(ExportError, match="truncate by channel"):
        write_selection(OnnxGraph(), "g", (64, 1024, 1024), Truncation(50, "stage"))
