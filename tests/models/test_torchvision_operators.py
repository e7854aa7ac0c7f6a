from __future__ import annotations

import subprocess
import sys

import pytest

from ltcam.models import torchvision_operators
from ltcam.models.torchvision_operators import prepare_torchvision


def test_a_second_call_does_nothing_more() -> None:
    assert prepare_torchvision() == prepare_torchvision()


def test_afterwards_torchvision_can_be_imported() -> None:
    code = (
        "from ltcam.models.torchvision_operators import prepare_torchvision as p\n"
        "assert p() in {'native', 'declared'}\n"
        "import torchvision\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["ltcam", "ltcam.models.names", "ltcam.training.settings"])
def test_light_modules_need_no_torch(module: str) -> None:
    code = f"import sys, {module}; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_torchvision_nothing_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_operators, "_library", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert prepare_torchvision() == "absent"
