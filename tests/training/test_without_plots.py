from __future__ import annotations

import subprocess
import sys

from ltcam.training.without_plots import without_plots

PROGRAM = """
import sys
import ltcam.training.fit
print("matplotlib" in sys.modules)
from torchmetrics.classification import BinaryAccuracy
import torch
print(float(BinaryAccuracy()(torch.tensor([1, 0]), torch.tensor([1, 1]))))
import matplotlib.colors
print(matplotlib.colors.to_hex("white"))
"""


def test_lightning_comes_without_matplotlib_which_can_be_imported_later() -> None:
    """Importing it starts a program that lists the machine's fonts, and leaves the list in the user's home."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "0.5", "#ffffff"]


def test_what_is_loaded_already_stays() -> None:
    import matplotlib  # noqa: PLC0415

    with without_plots():
        assert sys.modules["matplotlib"] is matplotlib
