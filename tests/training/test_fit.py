from __future__ import annotations

import itertools
import math
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.conftest import Prepares, SettingsOf, Trains
from torch import Tensor, nn

from ltcam.models.classifier import Classifier, build_classifier
from ltcam.training import fit as module
from ltcam.training.fit import BEST, LAST, Material, Running, fit
from ltcam.training.images import PreparedImages
from ltcam.training.listener import Listener
from ltcam.training.module import TrainingModule
from ltcam_runtime.errors import RunError, SettingsError


class StoppedError(Exception):
    """What ends a training in its middle."""


def same(first: nn.Module, second: nn.Module) -> bool:
    one, two = first.state_dict(), second.state_dict()
    return all(torch.equal(one[name], two[name]) for name in one)


def test_a_dark_square_is_learned_in_a_few_epochs(
    trained: Trains,
    prepared: Prepares,
    settings_of: SettingsOf,
    tmp_path: Path,
) -> None:
    entries: list[Any] = []
    steps: list[Any] = []
    classifier, fitted = trained(
        tmp_path,
        settings_of(epochs=3, batch_size=8),
        train=prepared(30, 20, 1),
        validation=prepared(12, 6, 2),
        listener=Listener(progress=lambda *numbers: steps.append(numbers), epoch=entries.append),
    )
    assert fitted.history[fitted.best_epoch]["val_ap"] == 1.0
    assert [entry["epoch"] for entry in fitted.history] == [0, 1, 2]
    assert all(math.isfinite(value) for entry in fitted.history for value in entry.values())
    assert set(fitted.history[0]) == {"epoch", "train_loss", "val_loss", "val_ap", "learning_rate"}
    assert list(fitted.history) == entries
    assert steps == [(step, 3 * 8) for step in range(1, 3 * 8 + 1)]
    test = prepared(10, 10, 3)
    with torch.no_grad():
        logits = classifier.eval()((test.images.float() / 255 - 0.5) / 0.25)
    assert float((logits.argmax(1) == test.labels).float().mean()) >= 0.9


@pytest.mark.parametrize("aps", [(0.2, 0.9, 0.5), (0.9, 0.2, 0.2), (0.1, 0.2, 0.3), (0.4, 0.4, 0.4)])
def test_afterwards_the_classifier_is_that_of_the_best_epoch(
    aps: tuple[float, float, float],
    trained: Trains,
    prepared: Prepares,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = iter(aps)
    monkeypatch.setattr("ltcam.training.module._image_ap", lambda *_: next(scores))
    states = []
    original = module._Bookkeeping.on_train_epoch_end

    def spy(self: Any, trainer: Any, pl_module: Any) -> None:
        states.append({name: t.clone() for name, t in pl_module.classifier.state_dict().items()})
        original(self, trainer, pl_module)

    monkeypatch.setattr(module._Bookkeeping, "on_train_epoch_end", spy)
    classifier, fitted = trained(tmp_path, validation=prepared(4, 4, 2, (32, 32)))
    losses = [entry["val_loss"] for entry in fitted.history]
    best = max(range(3), key=lambda epoch: (aps[epoch], -losses[epoch]))
    assert fitted.best_epoch == best
    assert all(torch.equal(states[best][name], tensor) for name, tensor in classifier.state_dict().items())


def test_without_validation_the_last_epoch_is_taken(trained: Trains, tmp_path: Path) -> None:
    _, fitted = trained(tmp_path)
    assert fitted.best_epoch == 2
    assert [entry["epoch"] for entry in fitted.history] == [0, 1, 2]
    assert all(math.isnan(entry["val_ap"]) for entry in fitted.history)
    assert all(math.isfinite(entry["train_loss"]) for entry in fitted.history)


def test_the_same_seed_trains_the_same_model(
    trained: Trains,
    settings_of: SettingsOf,
    tmp_path: Path,
) -> None:
    first, _ = trained(tmp_path / "1", settings_of(epochs=2))
    torch.rand(17)  # whatever else uses random numbers
    second, _ = trained(tmp_path / "2", settings_of(epochs=2))
    third, _ = trained(tmp_path / "3", settings_of(epochs=2, seed=1))
    assert same(first, second)
    assert not same(first, third)


@pytest.mark.parametrize(("validated", "stop_in"), [(True, 2), (False, 1)])
def test_a_training_that_is_gone_on_with_ends_bit_for_bit_the_same(
    validated: bool,
    stop_in: int,
    settings_of: SettingsOf,
    prepared: Prepares,
    tmp_path: Path,
) -> None:
    """With dropout, so that all random numbers count, and with validation, which uses none."""
    train, validation = prepared(12, 8, 1, (32, 32)), prepared(4, 4, 2, (32, 32)) if validated else None
    settings = settings_of(epochs=3, learning_rate=3e-3)

    def run(folder: Path, listener: Any = Listener()) -> Any:  # frozen
        torch.manual_seed(0)
        classifier: Any = build_classifier("test_resnet", 2)
        classifier.head = nn.Sequential(nn.Dropout(0.5), classifier.head)
        fitted = fit(
            classifier,
            Material(train, ((0.5,) * 3, (0.25,) * 3), validation),
            settings,
            folder,
            Running(device="cpu", listener=listener),
        )
        return classifier, fitted

    def stop(step: int, steps: int) -> None:
        if step == stop_in * steps // 3 + 2:
            raise StoppedError

    whole, expected = run(tmp_path / "whole")
    with pytest.raises(StoppedError):
        run(tmp_path / "stopped", listener=Listener(progress=stop))
    torch.rand(5)
    resumed, found = run(tmp_path / "stopped")
    assert same(whole, resumed)
    assert repr(found.history) == repr(expected.history)
    assert found.best_epoch == expected.best_epoch


def test_a_training_that_was_done_is_only_read(
    trained: Trains,
    prepared: Prepares,
    settings_of: SettingsOf,
    tmp_path: Path,
) -> None:
    """Killed after its last epoch and before the run folder was written."""
    first, expected = trained(tmp_path, settings_of(epochs=2), validation=prepared(4, 4, 2, (32, 32)))
    steps = []
    second, found = trained(
        tmp_path,
        settings_of(epochs=2),
        validation=prepared(4, 4, 2, (32, 32)),
        listener=Listener(progress=lambda *numbers: steps.append(numbers)),
    )
    assert steps == []
    assert found == expected
    assert same(first, second)


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage", "another"])
def test_a_damaged_checkpoint_is_refused(
    damage: str,
    trained: Trains,
    settings_of: SettingsOf,
    tmp_path: Path,
) -> None:
    trained(tmp_path, settings_of(epochs=1))
    file = tmp_path / LAST
    content = {
        "empty": b"",
        "cut": file.read_bytes()[:-2000],
        "garbage": b"hello" * 100,
    }
    if damage == "another":
        torch.save({"a": 1}, file)
    else:
        file.write_bytes(content[damage])
    with pytest.raises(RunError, match=r"last\.ckpt: this checkpoint cannot be resumed"):
        trained(tmp_path, settings_of(epochs=2))


def test_a_checkpoint_that_would_run_code_is_refused(
    trained: Trains,
    settings_of: SettingsOf,
    tmp_path: Path,
) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (shutil.rmtree, (str(tmp_path / "victim"),))

    (tmp_path / "victim").mkdir()
    torch.save({"history": [], "state_dict": Evil()}, tmp_path / LAST)
    with pytest.raises(RunError):
        trained(tmp_path, settings_of(epochs=1))
    assert (tmp_path / "victim").is_dir()


def test_nothing_half_written_is_left(
    trained: Trains,
    settings_of: SettingsOf,
    tmp_path: Path,
) -> None:
    trained(tmp_path, settings_of(epochs=2))
    assert {path.name for path in tmp_path.iterdir()} == {BEST, LAST}


def test_a_training_that_diverges_says_so(
    trained: Trains,
    settings_of: SettingsOf,
    tmp_path: Path,
) -> None:
    with pytest.raises(SettingsError, match=r"diverged in epoch \d: .*smaller `learning_rate`"):
        trained(tmp_path, settings_of().model_copy(update={"learning_rate": 1e30}))


def test_validation_scores_that_are_not_finite_say_so(
    trained: Trains,
    prepared: Prepares,
    settings_of: SettingsOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    validation = prepared(4, 4, 2, (32, 32))
    original = TrainingModule.validation_step

    def broken(self: Any, batch: Any, index: int) -> None:
        original(self, batch, index)
        self._outputs[-1][0].fill_(float("nan"))

    monkeypatch.setattr(TrainingModule, "validation_step", broken)
    with pytest.raises(SettingsError, match="validation scores are not finite"):
        trained(tmp_path, settings_of(epochs=1), validation=validation)


@pytest.mark.parametrize(
    "steps",
    [
        {"epochs": 1, "batch_size": 64},
        {"epochs": 2, "batch_size": 13},
        {"epochs": 1, "batch_size": 7},
        {"epochs": 5, "batch_size": 32},
        {"epochs": 1, "batch_size": 1},
    ],
    ids=str,
)
def test_any_number_of_steps_has_a_schedule(
    steps: dict[str, int],
    trained: Trains,
    prepared: Prepares,
    settings_of: SettingsOf,
    tmp_path: Path,
) -> None:
    """64 images an epoch: 1, 10, 10, 10 and 64 steps."""
    rates = []
    _, fitted = trained(
        tmp_path,
        settings_of(**steps),
        train=prepared(3, 3, 1, (32, 32)),
        listener=Listener(epoch=lambda entry: rates.append(entry["learning_rate"])),
    )
    assert len(fitted.history) == steps["epochs"]
    assert all(0 <= rate <= 3e-3 for rate in rates)


def test_warm_up_then_down_to_nothing(
    trained: Trains,
    settings_of: SettingsOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates = []
    original = TrainingModule.training_step

    def spy(self: Any, batch: Any, index: int) -> Any:
        rates.append([group["lr"] for group in self.trainer.optimizers[0].param_groups])
        return original(self, batch, index)

    monkeypatch.setattr(TrainingModule, "training_step", spy)
    trained(tmp_path, settings_of(epochs=4, batch_size=8, learning_rate=1e-3))
    trunk = [rate[0] for rate in rates]
    assert max(trunk) == pytest.approx(1e-3, rel=0.02)
    assert trunk.index(max(trunk)) in {2, 3}
    assert trunk[0] < 1e-4
    assert trunk[-1] < 1e-5
    assert all(later <= earlier for earlier, later in itertools.pairwise(trunk[3:]))
    assert all(head == pytest.approx(10 * rate) for rate, head in rates)


def statistics_of(classifier: Classifier) -> dict[str, Tensor]:
    return {n: t.clone() for n, t in classifier.state_dict().items() if "running_" in n}


@pytest.mark.parametrize(("weights", "kept"), [("somewhere.safetensors", True), ("random", False)])
def test_statistics_of_a_pretrained_network_are_kept_and_random_ones_are_learned(
    weights: str,
    kept: bool,
    trained: Trains,
    settings_of: SettingsOf,
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    before = statistics_of(build_classifier("test_resnet", 2))
    classifier, _ = trained(tmp_path, settings_of(epochs=1, weights=weights, memory_format="auto"))
    after = statistics_of(classifier)
    assert all(torch.equal(before[name], after[name]) for name in before) is kept


def test_the_largest_seed(
    trained: Trains,
    prepared: Prepares,
    settings_of: SettingsOf,
    tmp_path: Path,
) -> None:
    _, fitted = trained(tmp_path, settings_of(epochs=1, seed=2**31 - 1), train=prepared(4, 4, 1, (32, 32)))
    assert all(math.isfinite(row["train_loss"]) for row in fitted.history)


def test_one_image_of_each_kind_will_do(
    trained: Trains,
    prepared: Prepares,
    settings_of: SettingsOf,
    tmp_path: Path,
) -> None:
    _, fitted = trained(tmp_path, settings_of(epochs=1), train=prepared(1, 1, 1))
    assert math.isfinite(fitted.history[0]["train_loss"])


def test_an_odd_last_batch_of_one_image(
    trained: Trains,
    prepared: Prepares,
    settings_of: SettingsOf,
    tmp_path: Path,
) -> None:
    _, fitted = trained(tmp_path, settings_of(epochs=1, batch_size=9), train=prepared(4, 4, 1, (32, 32)))
    assert math.isfinite(fitted.history[0]["train_loss"])


def test_validation_of_one_kind_does_not_stop_a_training(
    trained: Trains,
    prepared: Prepares,
    settings_of: SettingsOf,
    tmp_path: Path,
) -> None:
    _, fitted = trained(tmp_path, settings_of(epochs=2), validation=prepared(4, 0, 2))
    assert all(math.isnan(entry["val_ap"]) for entry in fitted.history)
    losses = [entry["val_loss"] for entry in fitted.history]
    assert fitted.best_epoch == losses.index(min(losses))


def test_augmentation_can_be_switched_off(
    trained: Trains,
    settings_of: SettingsOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("augment was called")

    monkeypatch.setattr("ltcam.training.module.augment", never)
    trained(tmp_path / "off", settings_of(epochs=1, augment=False))
    with pytest.raises(AssertionError, match="augment was called"):
        trained(tmp_path / "on", settings_of(epochs=1, augment=True))


@pytest.mark.parametrize("epoch", [0, 1])
def test_an_interrupt_is_passed_on_and_the_signal_works_again(
    epoch: int,
    trained: Trains,
    settings_of: SettingsOf,
    tmp_path: Path,
) -> None:
    def interrupt(step: int, steps: int) -> None:
        if step == epoch * steps // 2 + 2:
            raise KeyboardInterrupt

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the parent has set
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, settings_of(epochs=2), listener=Listener(progress=interrupt))
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    signal.signal(signal.SIGINT, handler)


def test_bfloat16_as_asked(
    trained: Trains,
    prepared: Prepares,
    settings_of: SettingsOf,
    tmp_path: Path,
) -> None:
    classifier, fitted = trained(
        tmp_path,
        settings_of(epochs=1, batch_size=64, precision="bfloat16"),
        validation=prepared(4, 4, 2, (32, 32)),
    )
    assert fitted.arithmetic.bfloat16
    assert {tensor.dtype for tensor in classifier.state_dict().values() if tensor.is_floating_point()} == {
        torch.float32
    }


def test_several_defect_classes(settings_of: SettingsOf, prepared: Prepares, tmp_path: Path) -> None:
    images = prepared(8, 9, 1, (32, 32))
    labels = torch.tensor([0] * 8 + [1] * 6 + [2] * 3)
    torch.manual_seed(0)
    classifier = build_classifier("test_resnet", 4)  # one class has no image on this side
    fitted = fit(
        classifier,
        Material(PreparedImages(images.images, labels, images.samples, ()), ((0.5,) * 3, (0.25,) * 3)),
        settings_of(epochs=1, learning_rate=1e-3),
        tmp_path,
        Running(device="cpu"),
    )
    assert math.isfinite(fitted.history[0]["train_loss"])
