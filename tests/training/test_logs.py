from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from tests.training.conftest import Prepares, SettingsOf

from ltcam.models.classifier import build_classifier
from ltcam.training import logs as module
from ltcam.training.fit import Material, Running, fit
from ltcam.training.listener import Listener
from ltcam.training.logs import Log, measured
from ltcam_runtime.errors import SettingsError


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)


class Told:
    """A logger of Lightning's kind that remembers."""

    def __init__(self, *, broken: bool = False) -> None:
        self.metrics: list[tuple[int, dict[str, float]]] = []
        self.settings: dict[str, object] = {}
        self.broken = broken

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        if self.broken:
            raise ConnectionError("nobody listens")
        self.metrics.append((step, metrics))

    def log_hyperparams(self, settings: dict[str, object]) -> None:
        self.settings = settings

    def __getattr__(self, name: str) -> object:
        return lambda *_given, **_named: None


def test_what_is_not_installed_is_said_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(SettingsError, match="pip install mlflow"):
        Log("mlflow", tmp_path, "run")


def test_what_cannot_be_opened_is_said(
    installed: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(_log: Log) -> object:
        raise ConnectionError("nobody listens")

    monkeypatch.setitem(module._MAKERS, "wandb", fail)
    with pytest.raises(SettingsError, match="`log` wandb: ConnectionError: nobody listens"):
        Log("wandb", tmp_path / "logs", "run").logger()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("broken", [False, True])
def test_every_epoch_is_told_and_no_training_ends_for_it(
    broken: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    settings_of: SettingsOf,
    prepared: Prepares,
) -> None:
    told = Told(broken=broken)
    monkeypatch.setitem(module._MAKERS, "tensorboard", lambda _log: told)
    warned: list[str] = []
    running = Running(
        "cpu", listener=Listener(warn=warned.append), log=Log("tensorboard", tmp_path / "logs", "run")
    )
    fitted = fit(
        build_classifier("test_resnet", 2),
        Material(prepared(4, 4, 1, (32, 32)), ((0.5,) * 3, (0.25,) * 3)),
        settings_of(epochs=2, batch_size=32, learning_rate=1e-3),
        tmp_path / "work",
        running,
    )
    assert len(fitted.history) == 2
    assert told.settings["epochs"] == 2
    if broken:
        assert len(warned) == 2
        assert "epoch 1 was not logged: ConnectionError: nobody listens" in warned[0]
    else:
        assert [step for step, _ in told.metrics] == [1, 2]
        assert told.metrics[0][1] == measured(fitted.history[0])
        assert set(told.metrics[0][1]) == {"train_loss", "learning_rate"}
