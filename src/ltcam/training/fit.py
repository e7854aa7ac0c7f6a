"""Fit a classifier to prepared images with Lightning; resumable after every epoch."""

from __future__ import annotations

import logging
import math
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Sampler, TensorDataset

from ltcam.models.torchvision_operators import prepare_torchvision
from ltcam.training.images import PreparedImages
from ltcam.training.listener import Listener
from ltcam.training.sampling import balanced_epoch, epoch_length
from ltcam.training.settings import TrainingSettings
from ltcam.training.without_plots import without_plots
from ltcam_runtime.errors import RunError, Terminated
from ltcam_runtime.folders import explained

prepare_torchvision()  # Lightning needs its operators declared first

with without_plots():
    import lightning
    from lightning.pytorch.utilities.exceptions import SIGTERMException

from ltcam.models.backbones import Statistics  # noqa: E402
from ltcam.models.classifier import Classifier  # noqa: E402
from ltcam.runs.hardware import choose_device  # noqa: E402
from ltcam.runs.run import Arithmetic  # noqa: E402
from ltcam.training.arithmetic import choose_arithmetic  # noqa: E402
from ltcam.training.logs import Log, measured  # noqa: E402
from ltcam.training.module import TrainingModule, rank_of_epoch  # noqa: E402

LAST = "last.ckpt"
BEST = "best.safetensors"

_LEARNING_RATE = 1e-4
_LEARNING_RATE_WITHOUT_NORMALISATION = 5e-5  # VGG without batch normalisation diverges sooner


@dataclass(frozen=True)
class Running:
    """Where a training runs, who hears of it, and who looks at it.

    Attributes:
        device: `auto`, `cpu`, `cuda`, or one of several GPUs: `cuda:1`.
        devices: number of GPUs (or processes) that train together.
        listener: told about progress.
        log: makes what keeps the numbers of every epoch for a program that draws them.
        look: takes the network after each epoch, what it learns from, and the epoch's number; changes nothing.
    """

    device: str = "auto"
    devices: int = 1
    listener: Listener = Listener()  # frozen
    log: Log | None = None
    look: EpochHook | None = None


@dataclass(frozen=True)
class Fitted:
    """What a training ends with.

    Attributes:
        history: one entry per epoch.
        best_epoch: the epoch whose weights the classifier holds now.
        arithmetic: how it was computed.
    """

    history: tuple[dict[str, float], ...]
    best_epoch: int
    arithmetic: Arithmetic


@dataclass(frozen=True, eq=False)
class Material:
    """What a network learns from.

    Attributes:
        train: images to learn from.
        statistics: mean and standard deviation per channel, of values 0 to 1, that images are normalised by.
        validation: images that choose the epoch; None: the last epoch is taken.
        along: what else is known of each image to learn from, for modules that learn more than labels.
        least_epoch: images that an epoch has at least; see `ltcam.training.sampling`.
        make_module: how it is learned: what makes a `TrainingModule` of the same arguments.
    """

    train: PreparedImages
    statistics: Statistics
    validation: PreparedImages | None = None
    along: Sequence[Tensor] = ()
    least_epoch: int = 0
    make_module: Callable[..., TrainingModule] = TrainingModule


EpochHook = Callable[[Classifier, Material, int], None]


def default_learning_rate(classifier: Classifier) -> float:
    """Peak learning rate of the trunk where none is asked for."""
    normalised = any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in classifier.modules())
    return _LEARNING_RATE if normalised else _LEARNING_RATE_WITHOUT_NORMALISATION


def fit(
    classifier: Classifier,
    material: Material,
    settings: TrainingSettings,
    checkpoints: Path,
    running: Running = Running(),  # frozen
) -> Fitted:
    """Train; afterwards the classifier holds the weights of the best epoch by image metrics.

    Args:
        classifier: trained in place.
        material: images and what is known of them.
        settings: epochs, batch size and so on.
        checkpoints: folder to write after every epoch, and to resume from where it holds any.
        running: device, and who is told about progress.

    Raises:
        RunError: a checkpoint that cannot be resumed.
    """
    target = choose_device(running.device)
    arithmetic = choose_arithmetic(
        classifier.to(target), target, precision=settings.precision, memory_format=settings.memory_format
    )
    loader = _train_loader(material, settings)
    learning_rate = settings.learning_rate or default_learning_rate(classifier)
    module = material.make_module(
        classifier, settings, learning_rate, material.statistics, arithmetic.channels_last
    )
    checkpoints.mkdir(parents=True, exist_ok=True)
    bookkeeping = _Bookkeeping(checkpoints, running, material)
    trainer = _trainer(settings, target, arithmetic, running, bookkeeping)
    _run(trainer, module, loader, _validation_loader(material.validation, settings), checkpoints / LAST)
    if trainer.is_global_zero:  # the others' work is done, and the files may be gone by now
        classifier.load_state_dict(load_file(checkpoints / BEST))
    classifier.to("cpu")
    best = max(module.history, key=rank_of_epoch) if material.validation is not None else module.history[-1]
    return Fitted(tuple(module.history), int(best["epoch"]), arithmetic)


def _train_loader(material: Material, settings: TrainingSettings) -> DataLoader[Any]:
    images, labels = material.train.images, material.train.labels
    sampler = _BalancedSampler(labels, settings.seed, material.least_epoch)
    return DataLoader(
        TensorDataset(images, labels, *material.along),
        settings.batch_size,
        sampler=sampler,
        drop_last=len(sampler) % settings.batch_size == 1,  # one image has no batch statistics
    )


def _validation_loader(
    validation: PreparedImages | None, settings: TrainingSettings
) -> DataLoader[Any] | None:
    if validation is None:
        return None
    return DataLoader(TensorDataset(validation.images, validation.labels), settings.batch_size)


class _BalancedSampler(Sampler[int]):
    """`balanced_epoch` for Lightning, which says at the start of each epoch which one it is.

    Processes that train together each take every n-th image of the epoch.
    """

    def __init__(self, labels: Tensor, seed: int, least: int):
        self.labels = labels
        self.seed = seed
        self.least = least
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        own, processes = _place_among_processes()
        order = balanced_epoch(self.labels, self.seed, self.epoch, self.least)
        return iter((order + order[: -len(order) % processes])[own::processes])

    def __len__(self) -> int:
        length = epoch_length(int((self.labels > 0).sum()), self.least)
        return math.ceil(length / _place_among_processes()[1])


def _place_among_processes() -> tuple[int, int]:
    """The number of this process, from 0, and of all that train together."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


class _Bookkeeping(lightning.Callback):
    """After each epoch: best weights, a checkpoint to resume from, and a word to whoever listens.

    The checkpoint is Lightning's. Its `ModelCheckpoint` would choose the best one by a single number (ours are image
    AP, and the loss among equals) and keep it as a pickle; best weights are a safetensors file.
    """

    def __init__(self, folder: Path, running: Running, material: Material):
        self.folder, self.material = folder, material
        self.listener, self.look = running.listener, running.look

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Steps for the progress bar."""
        if trainer.is_global_zero:
            steps = int(trainer.num_training_batches)
            done = trainer.current_epoch * steps + trainer.fit_loop.batch_idx + 1
            self.listener.progress(done, (trainer.max_epochs or 1) * steps)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Files are written beside and renamed, so a kill leaves the last whole epoch."""
        module: TrainingModule = pl_module  # type: ignore[assignment]
        entry = module.finished_epoch()  # Lightning asks callbacks before it asks the module
        with explained(self.folder):
            if trainer.is_global_zero and (
                math.isnan(entry["val_loss"]) or entry is max(module.history, key=rank_of_epoch)
            ):
                state = {name: tensor.contiguous() for name, tensor in module.classifier.state_dict().items()}
                save_file(state, self.folder / f".{BEST}")
                (self.folder / f".{BEST}").replace(self.folder / BEST)
        with explained(self.folder):
            trainer.save_checkpoint(self.folder / f".{LAST}")
            if trainer.is_global_zero:
                (self.folder / f".{LAST}").replace(self.folder / LAST)
        if trainer.is_global_zero:  # told once it is kept
            self.listener.epoch(entry)
            if self.look is not None:
                self.look(module.classifier, self.material, int(entry["epoch"]))
        self._log(trainer, entry)

    def _log(self, trainer: lightning.Trainer, entry: dict[str, float]) -> None:
        """Programs of others may fail in any way, and no training shall end for that."""
        for logger in trainer.loggers:
            try:
                logger.log_metrics(measured(entry), step=int(entry["epoch"]) + 1)
                logger.save()
            except Exception as error:
                self.listener.warn(
                    f"epoch {int(entry['epoch']) + 1} was not logged: {type(error).__name__}: {error}"
                )


def _trainer(
    settings: TrainingSettings,
    device: torch.device,
    arithmetic: Arithmetic,
    running: Running,
    bookkeeping: _Bookkeeping,
) -> lightning.Trainer:
    _quieten()
    logger = None if running.log is None else running.log.logger()
    if logger is not None:
        logger.log_hyperparams(settings.model_dump(mode="json"))
    return lightning.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=running.devices if device.index is None else [device.index],
        max_epochs=settings.epochs,
        precision="bf16-mixed" if arithmetic.bfloat16 else "32-true",
        deterministic="warn",
        gradient_clip_val=1.0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # ours is; and every process looks at the whole validation part
        logger=logger or False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[bookkeeping],
    )


def _quieten() -> None:
    """Lightning's advice about loaders, loggers and seeds is not for the users of ltcam."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")


def _run(
    trainer: lightning.Trainer,
    module: TrainingModule,
    loader: DataLoader[Any],
    validation: DataLoader[Any] | None,
    checkpoint: Path,
) -> None:
    lightning.seed_everything(module.settings.seed, verbose=False)
    found = checkpoint if finished_epochs(checkpoint.parent) else None
    handlers = [(kind, signal.getsignal(kind)) for kind in (signal.SIGINT, signal.SIGTERM)]
    try:
        trainer.fit(module, loader, validation, ckpt_path=found, weights_only=True)
    except SystemExit as stopped:  # Lightning's answer to SIGINT and SIGTERM, which it also leaves ignored
        for kind, handler in handlers:
            signal.signal(kind, handler)
        asked_to_end = isinstance(stopped, SIGTERMException) or isinstance(stopped.__context__, Terminated)
        raise (Terminated if asked_to_end else KeyboardInterrupt) from stopped


def finished_epochs(checkpoints: Path) -> int:
    """Epochs that a stopped training has behind it; 0 where there is none.

    Raises:
        RunError: a checkpoint that cannot be read: damaged, or written by something else.
    """
    file = checkpoints / LAST
    if not file.is_file():
        return 0
    try:
        return len(torch.load(file, map_location="cpu", weights_only=True)["history"])
    except Exception as error:  # unpickling damaged bytes raises almost anything
        raise RunError(
            f"{file}: this checkpoint cannot be resumed ({type(error).__name__}); start anew with `overwrite=True`"
        ) from error
