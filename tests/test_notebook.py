"""The example notebook, cell by cell, as somebody runs it; and what a notebook prints of a value fits on a screen."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltcam.data.dataset import Sample, make_dataset
from ltcam.data.opened import OpenData
from ltcam.jobs.trained import TrainedRun
from ltcam.runs.run import Run
from ltcam_runtime.settings import MAP, CamSettings

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "examples"
SCREEN = 2000
"""Letters of a value that are still read."""


def run_cells(notebook: Path) -> list[Any]:
    """The values that the cells show, of one after the other in one namespace."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for number, cell in enumerate(content["cells"]):
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == []
        parsed = ast.parse("".join(cell["source"]), f"{notebook.name}, cell {number}")
        last = parsed.body.pop() if isinstance(parsed.body[-1], ast.Expr) else None
        exec(compile(parsed, notebook.name, "exec"), names)
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), notebook.name, "eval"), names))
    return shown


@pytest.mark.slow
@pytest.mark.parametrize("notebook", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_run(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = run_cells(notebook)
    assert len(shown) >= 8
    for value in shown:
        assert len(repr(value)) < SCREEN
    assert {path.name for path in (tmp_path / "notebook").iterdir()} >= {"photos", "run", "found", "results"}
    assert any(hasattr(value, "savefig") for value in shown)


def test_values_fit_on_a_screen(tmp_path: Path) -> None:
    samples = [Sample(f"{n}.png", tmp_path / f"{n}.png", f"kind {n % 40}", f"{n}") for n in range(500)]
    run = Run(
        classes=("ok", "dent"),
        image_size=(64, 96),
        mean=(0, 0, 0),
        std=(1, 1, 1),
        backbone="resnet18",
        stages=("a",),
        maps={MAP: CamSettings(stages=("a",))},
        evidence={"scores": list(range(9999))},
        seed=0,
    )
    trained = TrainedRun(tmp_path, run, ({"epoch": 0.0},) * 500, (("a.png", "broken"),) * 900)
    data = OpenData(tmp_path, make_dataset(tmp_path, "folders", samples))
    for value in (run, trained, data, data.dataset):
        assert len(repr(value)) < SCREEN
    assert "resnet18" in repr(run)
    assert "900 images not used" in repr(trained)
    assert "kind 0 13" in repr(data)
    assert np.isfinite(len(str(trained)))
