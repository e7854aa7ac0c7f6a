"""grad-cam 1.5.7 and torchcam 0.5.0 as independent witnesses, where they are known to be right."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.cam.conftest import gradient_method

from ltcam.cam import CAM, Truncation, capture, kept
from ltcam.cam.engine import weighted_sum

pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed (extra: dev)")
torchcam_methods = pytest.importorskip("torchcam.methods", reason="torchcam is not installed (extra: dev)")

PEERS = {
    "grad-cam": pytorch_grad_cam.GradCAM,
    "layer-cam": pytorch_grad_cam.LayerCAM,
    "hires-cam": pytorch_grad_cam.HiResCAM,
    "xgrad-cam": pytorch_grad_cam.XGradCAM,
    "grad-cam++": pytorch_grad_cam.GradCAMPlusPlus,
}
TOLERANCE = {"grad-cam": 1e-12, "layer-cam": 1e-12, "hires-cam": 1e-12, "xgrad-cam": 1e-6, "grad-cam++": 1e-7}
TRUNCATIONS = (None, Truncation(0), Truncation(50), Truncation(90, "stage"))


def peer_map(name: str, A: torch.Tensor, g: torch.Tensor) -> np.ndarray:
    """The peer's own arithmetic on given arrays, before its scaling and resizing."""
    peer = PEERS[name].__new__(PEERS[name])
    peer.activations_and_grads = SimpleNamespace(release=lambda: None)
    scale = 1e4 if name == "grad-cam++" else 1.0  # S g and w A are invariant; its absolute epsilon vanishes
    found: np.ndarray = np.maximum(
        peer.get_cam_image(None, None, None, A.numpy() / scale, g.numpy() * scale, False), 0
    )
    return found


@pytest.mark.parametrize("truncation", TRUNCATIONS, ids=str)
@pytest.mark.parametrize("name", PEERS)
def test_grad_cam_package_on_captured_arrays(
    name: str, truncation: Truncation | None, nets: SimpleNamespace
) -> None:
    for seed in range(2):
        captured = capture(nets.plain(seed), nets.images(seed), [0, 1], layers=nets.STAGES)
        for A, g in zip(captured.activations, captured.gradients, strict=True):
            cut = g if truncation is None else g * kept(g, truncation)
            wanted = peer_map(name, A, cut)
            found = weighted_sum(gradient_method(name), A, g, truncation).clamp_min(0).numpy()
            assert np.abs(found - wanted).max() <= TOLERANCE[name] * max(wanted.max(), 1e-300)


@pytest.mark.parametrize("name", ["grad-cam", "layer-cam", "hires-cam", "xgrad-cam"])
def test_grad_cam_package_end_to_end(name: str, nets: SimpleNamespace) -> None:
    net, images = nets.plain(4), nets.images(4)
    layer = nets.STAGES[1]
    peer = PEERS[name](model=net, target_layers=[net.get_submodule(layer)])
    try:
        wanted = torch.from_numpy(peer(images.clone(), [lambda logits: logits[1]] * 2))
    finally:
        peer.activations_and_grads.release()
    found = CAM(name, layers=(layer,))(net, images, 1)
    low, high = found.amin((1, 2), keepdim=True), found.amax((1, 2), keepdim=True)
    assert (((found - low) / (high - low)) - wanted).abs().max() < 1e-5


@pytest.mark.parametrize(("name", "peer", "tolerance"), [
    ("grad-cam", "GradCAM", 1e-12), ("layer-cam", "LayerCAM", 1e-12), ("xgrad-cam", "XGradCAM", 1e-7),
])  # fmt: skip
def test_torchcam_raw_maps(name: str, peer: str, tolerance: float, nets: SimpleNamespace) -> None:
    net, images = nets.plain(5), nets.images(5)
    for layer in nets.STAGES:
        with getattr(torchcam_methods, peer)(net, target_layer=layer) as extractor:
            wanted = extractor([0, 1], net(images), normalized=False)[0].detach()
        cam = CAM(name, layers=(layer,))
        found = cam.stage_maps(cam.capture(net, images, [0, 1]))[0]
        assert (found - wanted).abs().max() <= tolerance * wanted.max()
