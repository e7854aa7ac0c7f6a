"""What `import ltcam` promises: names, types, and nothing changed outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import ltcam

PROGRAM = """
from pathlib import Path

import ltcam

settings = ltcam.TrainingSettings(epochs=3, seed=1)
run = ltcam.train("photos", "run", settings, ltcam.Execution(device="cpu", overwrite=True))
threshold: float = run.run.verdict.threshold
wanted = ltcam.PredictionSettings(save=("masks",), overrides=ltcam.Overrides(sharpen="none"))
summary = ltcam.predict(run.folder, ["a.png", Path("more")], "results", wanted)
count: int = summary.inspected
photos = ltcam.OpenData.open("photos", one_class=True)
measured = ltcam.evaluate("run", photos, "metrics", ltcam.EvaluationSettings(split="test"))
told = ltcam.Execution(listener=ltcam.progress_bars())
student = ltcam.distill("run", "photos", "student", ltcam.StudentSettings(rounds=2), told)
inspection: ltcam.Inspection = ltcam.Inspector.load("run").inspect("part.png")
regions: tuple[ltcam.Region, ...] = inspection.regions
try:
    ltcam.check("photos")
except (ltcam.DataError, ltcam.LtcamError) as error:
    print(error)
"""
WRONG = """
import ltcam

ltcam.TrainingSettings(epoch=3)
ltcam.predict("run", "a.png")
ltcam.Inspector.load("run").inspect("part.png").verdikt
"""


def checked(program: str, folder: Path) -> tuple[int, str]:
    """What the type checker of most editors, pyright, says of a user's program."""
    (folder / "program.py").write_text(program)
    root = Path(ltcam.__file__).parents[2]
    settings = {
        "typeCheckingMode": "strict",
        "extraPaths": [str(root / "src"), str(root / "runtime" / "src")],
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, "--project", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_every_name_is_there() -> None:
    for name in ltcam.__all__:
        assert getattr(ltcam, name) is not None
    assert dir(ltcam) == sorted(ltcam.__all__)
    assert {"train", "predict", "evaluate", "distill", "Inspector", "Inspection", "Region"} <= set(
        ltcam.__all__
    )


def test_a_users_program_is_typed(tmp_path: Path) -> None:
    code, said = checked(PROGRAM, tmp_path)
    assert code == 0, said
    code, said = checked(WRONG, tmp_path)
    assert code == 1
    for wrong in ('"epoch"', '"out"', '"verdikt"'):
        assert wrong in said, said


def test_importing_changes_nothing_outside() -> None:
    program = """
import os, signal
before, handler = dict(os.environ), signal.getsignal(signal.SIGINT)
import ltcam
ltcam.Overrides, ltcam.Inspector, ltcam.train
changed = {name for name, _ in set(os.environ.items()) ^ set(before.items())}
assert changed <= {"LD_LIBRARY_PATH"}, changed  # OpenCV's own
assert handler == signal.getsignal(signal.SIGINT)
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "ORT_"))}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
