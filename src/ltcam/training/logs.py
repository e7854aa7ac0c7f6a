"""The numbers of every epoch for TensorBoard, MLflow or Weights & Biases, by Lightning's loggers.

All of them write into a folder. Nothing is sent anywhere unless whoever trains says so in the program's own way:
MLFLOW_TRACKING_URI, or WANDB_MODE=online.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ltcam_runtime.errors import SettingsError

if TYPE_CHECKING:  # takes seconds
    from lightning.pytorch.loggers.logger import Logger

LogName = Literal["tensorboard", "mlflow", "wandb"]

_PROJECT = "ltcam"
_MLFLOW_FILE = "mlflow.db"
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "WANDB_ERROR_REPORTING": "false"}


@dataclass(frozen=True)
class Log:
    """Where the numbers of every epoch go.

    Attributes:
        name: of the program that draws them.
        folder: that it reads.
        run: what it calls this training.

    Raises:
        SettingsError: the program is not installed.
    """

    name: LogName
    folder: Path
    run: str

    def __post_init__(self) -> None:
        if importlib.util.find_spec(self.name) is None:
            raise SettingsError(f"`log` {self.name} is not installed; pip install {self.name}")

    def logger(self) -> Logger:
        """What Lightning tells the numbers.

        Raises:
            SettingsError: it cannot be used.
        """
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            return _MAKERS[self.name](self)
        except Exception as error:  # of programs of others, which raise almost anything
            raise SettingsError(f"`log` {self.name}: {type(error).__name__}: {error}") from error

    @property
    def look(self) -> str:
        """The command that shows the numbers."""
        return _LOOK[self.name].format(folder=self.folder)


def measured(entry: Mapping[str, float]) -> dict[str, float]:
    """What was measured of a finished epoch; its number and what was not are left out."""
    return {name: value for name, value in entry.items() if name != "epoch" and math.isfinite(value)}


def _tensorboard(log: Log) -> Logger:
    from lightning.pytorch.loggers import TensorBoardLogger  # noqa: PLC0415  # only where asked for

    return TensorBoardLogger(log.folder, name="", version=log.run)


def _mlflow(log: Log) -> Logger:
    from lightning.pytorch.loggers import MLFlowLogger  # noqa: PLC0415  # only where asked for

    folder = log.folder.resolve()
    asked = os.environ.get("MLFLOW_TRACKING_URI")
    logger = MLFlowLogger(
        experiment_name=_PROJECT,
        run_name=log.run,
        tracking_uri=asked or f"sqlite:///{folder / _MLFLOW_FILE}",
        artifact_location=None if asked else (folder / "artifacts").as_uri(),
    )
    _ = logger.run_id  # opens it, so that what is wrong is said before hours of training
    return logger


def _wandb(log: Log) -> Logger:
    from lightning.pytorch.loggers import WandbLogger  # noqa: PLC0415  # only where asked for

    offline = os.environ.get("WANDB_MODE", "offline") != "online"
    logger = WandbLogger(name=log.run, save_dir=log.folder, offline=offline, project=_PROJECT)
    _ = logger.experiment
    return logger


_MAKERS = {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}
_LOOK = {
    "tensorboard": "tensorboard --logdir {folder}",
    "mlflow": "mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db",
    "wandb": "wandb sync {folder}/wandb/offline-run-*  # which sends them to the service",
}
