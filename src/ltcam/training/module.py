"""The classifier as Lightning trains it. Image labels only."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ltcam.models.torchvision_operators import prepare_torchvision
from ltcam.training.without_plots import without_plots

prepare_torchvision()  # Lightning needs its operators declared first

with without_plots():
    import lightning
from sklearn.metrics import average_precision_score  # noqa: E402

from ltcam.models.backbones import Statistics  # noqa: E402
from ltcam.models.classifier import Classifier  # noqa: E402
from ltcam.models.normalisation import normalised  # noqa: E402
from ltcam.training.augmentation import augment  # noqa: E402
from ltcam.training.settings import TrainingSettings  # noqa: E402
from ltcam_runtime.errors import SettingsError  # noqa: E402

_NEW_FACTOR = 10  # a head starts from nothing, the trunk from pre-trained weights
_WARM_UP = 0.1  # share of the steps


class TrainingModule(lightning.LightningModule):
    """Cross-entropy over the classes on a balanced sample.

    Attributes:
        history: one entry per finished epoch: epoch, train_loss, val_loss, val_ap, learning_rate.
    """

    def __init__(  # what a training is made of
        self,
        classifier: Classifier,
        settings: TrainingSettings,
        learning_rate: float,
        statistics: Statistics,
        channels_last: bool,
    ):
        super().__init__()
        self.classifier = classifier
        self.settings = settings
        self.peak = learning_rate
        self.channels_last = channels_last
        self.statistics = statistics
        self.history: list[dict[str, float]] = []
        self._losses: list[Tensor] = []
        self._outputs: list[tuple[Tensor, Tensor]] = []
        self.generator = torch.Generator()

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 or 0..1 images to what the network wants."""
        layout = torch.channels_last if self.channels_last else torch.preserve_format
        return normalised(images, self.statistics, memory_format=layout)

    def on_train_epoch_start(self) -> None:
        """Every epoch rolls its own dice, so that a resumed training rolls the same ones."""
        self.generator.manual_seed(self.settings.seed * 100_003 + self.current_epoch)
        if self.settings.pretrained or self.settings.batch_size == 1:
            freeze_normalisation(self.classifier)
        self._losses.clear()

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Cross-entropy of a batch (images uint8 (N,3,H,W), labels (N,))."""
        images, labels = batch
        self.roll_dice(index)
        values = self.varied(images.float() / 255)
        return self.noted(functional.cross_entropy(self.classifier(self.normalise(values)), labels))

    def roll_dice(self, index: int) -> None:
        """Seed dropout and stochastic depth for a step: loaders draw from the same source at times of their own."""
        epoch = self.settings.seed * 100_003 + self.current_epoch
        torch.manual_seed((epoch * 1_000_003 + index) % 2**63)

    def varied(self, values: Tensor) -> Tensor:
        """The images (N, 3 + M, H, W), 0 to 1, as the step sees them: augmented, where that is asked for."""
        return augment(values, self.generator) if self.settings.augment else values

    def noted(self, loss: Tensor) -> Tensor:
        """The loss, remembered for the epoch's mean."""
        self._losses.append(loss.detach())
        return loss

    def new_parts(self) -> tuple[nn.Module, ...]:
        """What starts from nothing, while the rest starts from trained weights."""
        return (self.classifier.head,)

    def validation_step(self, batch: tuple[Tensor, Tensor], _index: int) -> None:
        """Collects logits and labels."""
        images, labels = batch
        self._outputs.append((self.classifier(self.normalise(images)).float(), labels))

    def on_validation_epoch_end(self) -> None:
        """Image AP and loss of the validation part, over all processes."""
        logits = torch.cat([logits for logits, _ in self._outputs])
        labels = torch.cat([labels for _, labels in self._outputs])
        self._outputs.clear()
        if self.trainer.world_size > 1:
            logits = self._of_all_processes(logits)
            labels = self._of_all_processes(labels)
        if self.trainer.sanity_checking:
            return
        if not bool(torch.isfinite(logits).all()):
            raise _diverged(self.current_epoch, "the validation scores are not finite")
        loss = float(functional.cross_entropy(logits, labels))
        self._remember(val_loss=loss, val_ap=_image_ap(logits, labels))

    def _of_all_processes(self, tensor: Tensor) -> Tensor:
        gathered = self.all_gather(tensor)
        assert isinstance(gathered, Tensor)  # noqa: S101  # a tensor in, a tensor out
        return gathered.flatten(0, 1)

    def finished_epoch(self) -> dict[str, float]:
        """The history's entry of the epoch that just ended, made now where there is no validation part."""
        if not self.history or self.history[-1]["epoch"] != self.current_epoch:
            self._remember(val_loss=float("nan"), val_ap=float("nan"))
        return self.history[-1]

    def _remember(self, val_loss: float, val_ap: float) -> None:
        train_loss = float(torch.stack(self._losses).mean()) if self._losses else float("nan")
        if not math.isfinite(train_loss):
            raise _diverged(self.current_epoch, f"the training loss is {train_loss}")
        self.history.append(
            {
                "epoch": self.current_epoch,
                "train_loss": train_loss,
                "val_loss": val_loss,
                "val_ap": val_ap,
                "learning_rate": float(self.trainer.optimizers[0].param_groups[0]["lr"]),
            }
        )

    def configure_optimizers(self) -> Any:
        """AdamW, new parts ten times faster; short warm-up, then cosine to zero."""
        new = {id(parameter) for part in self.new_parts() for parameter in part.parameters()}
        trained = [p for p in self.classifier.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in trained if id(p) not in new], "lr": self.peak},
            {"params": [p for p in trained if id(p) in new], "lr": self.peak * _NEW_FACTOR},
        ]
        steps = max(int(self.trainer.estimated_stepping_batches), 3)
        optimizer = torch.optim.AdamW(groups, weight_decay=self.settings.weight_decay)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in groups],
            total_steps=steps,
            pct_start=max(_WARM_UP, 2 / steps),  # two steps at least: one alone is divided by its length, 0
            cycle_momentum=False,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the history with the weights."""
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the history back."""
        self.history = checkpoint["history"]


def freeze_normalisation(model: nn.Module) -> None:
    """Batch normalisation with its stored statistics, also while the rest is trained."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def rank_of_epoch(entry: dict[str, float]) -> tuple[float, float]:
    """Order of epochs by image metrics: average precision first, validation loss among equals.

    An epoch without one of them (NaN) stands behind all that have it.
    """
    ap, loss = entry["val_ap"], entry["val_loss"]
    return (-1.0 if math.isnan(ap) else round(ap, 6), -math.inf if math.isnan(loss) else -loss)


def _image_ap(logits: Tensor, labels: Tensor) -> float:
    """Average precision of finding defective images; NaN where only one kind of image is there."""
    defective = (labels > 0).cpu().numpy()
    if defective.all() or not defective.any():
        return math.nan
    scores = 1 - logits.double().softmax(1)[:, 0]  # in single precision confident scores are all equal
    return float(average_precision_score(defective, scores.cpu().numpy()))


def _diverged(epoch: int, what: str) -> SettingsError:
    return SettingsError(
        f"the training diverged in epoch {epoch + 1}: {what}; give a smaller `learning_rate`"
    )
