"""What all tests share: one torch thread, a torchvision that can be imported, no model hub."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from ltcam.models.torchvision_operators import prepare_torchvision

torch.set_num_threads(1)
prepare_torchvision()


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test, and nothing a test calls, may switch the model hubs on."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield
    assert os.environ.get("HF_HUB_OFFLINE") == "1", "something switched HF_HUB_OFFLINE off"
