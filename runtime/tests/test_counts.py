from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from ltcam_runtime.cli import main
from ltcam_runtime.counts import MOST_THREADS, check_count
from ltcam_runtime.errors import SettingsError
from ltcam_runtime.graph_networks import EngineSettings
from ltcam_runtime.predicting import PredictionRequest, Writing


@pytest.mark.parametrize("value", [0, -3, 1.5, True, "2", math.nan, None])
def test_what_is_no_number_of_things(value: Any) -> None:
    with pytest.raises(SettingsError, match=r"`threads` .*: give a whole number, 1 at least"):
        check_count("threads", value)


@pytest.mark.parametrize("value", [0, -3, 100_000, MOST_THREADS + 1])
def test_no_engine_of_so_many_threads(value: int) -> None:
    with pytest.raises(SettingsError, match=f"`threads` {value}: give a whole number, 1 to 1024"):
        EngineSettings(threads=value)
    assert EngineSettings(threads=MOST_THREADS).threads == MOST_THREADS


def test_no_batch_of_no_images() -> None:
    with pytest.raises(SettingsError, match="`batch_size` 0"):
        PredictionRequest(batch_size=0)


@pytest.mark.parametrize("value", [-1, 0, math.nan, math.inf])
def test_no_scale(value: float) -> None:
    with pytest.raises(SettingsError, match=r"`px_per_mm` .*: give the pixels along a millimetre"):
        Writing(px_per_mm=value)
    assert Writing(px_per_mm=0.5).px_per_mm == 0.5


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--px-per-mm", "-1"),
        ("--px-per-mm", "0"),
        ("--px-per-mm", "nan"),
        ("--threads", "0"),
        ("--threads", "100000"),
        ("--batch-size", "-1"),
    ],
)
def test_the_command_names_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    words = [tmp_path / "part.ltcam.onnx", tmp_path / "a.png", "--out", tmp_path / "out", f"{option}={value}"]
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    assert left.value.code == 2
    assert f"ltcam-run: {option} {value}" in capsys.readouterr().err
