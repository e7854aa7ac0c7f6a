"""Which memory format a network is run in, and that results do not depend on it."""

import gc
import weakref
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import torch
from tests.conftest import noted
from torch import Tensor, nn

from ltcam.cam import CAM, LTFullGrad, LTLayerCAM, capture
from ltcam.cam.network import memory_formats, remembered

LAYERS = ("features.3", "features.7", "features.11")


@pytest.fixture(params=["AVX512", "AVX2"])
def capability(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same tests on processors of both kinds, as far as the choice goes."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: request.param)
    return str(request.param)


class Recording(nn.Module):
    """Keeps how the images it was given lay in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(4, 2)
        self.last: list[Any] = []

    def forward(self, images: Tensor) -> Tensor:
        self.last.append(images.is_contiguous(memory_format=torch.channels_last))
        logits: Tensor = self.head(self.stage(images).mean((2, 3)))
        return logits


class Viewing(Recording):
    """Cannot run channels last: `view` refuses."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stage(images)
        self.last.append(images.is_contiguous(memory_format=torch.channels_last))
        logits: Tensor = self.head(maps.view(len(maps), -1).unflatten(1, (4, -1)).mean(2))
        return logits


class Strided(Recording):
    """Runs channels last, and says something else."""

    def forward(self, images: Tensor) -> Tensor:
        self.last.append(images.is_contiguous(memory_format=torch.channels_last))
        maps = self.stage(images)
        n, c, h, w = maps.shape
        logits: Tensor = self.head(maps.as_strided((n, c, h * w), (c * h * w, h * w, 1)).mean(2))
        return logits


class _Picky(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, maps: Tensor) -> Tensor:
        context.last = maps.is_contiguous(memory_format=torch.channels_last)
        return maps.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor | None:
        if context.last:
            raise RuntimeError("channels last")
        return gradient


class PickyBackwards(Recording):
    """Runs channels last, but not backwards."""

    def forward(self, images: Tensor) -> Tensor:
        self.last.append(images.is_contiguous(memory_format=torch.channels_last))
        maps: Tensor = _Picky.apply(self.stage(images))  # type: ignore[no-untyped-call]
        logits: Tensor = self.head(maps.square().mean((2, 3)))
        return logits


def images_of(seed: int = 0, n: int = 2) -> Tensor:
    return torch.randn(n, 3, 8, 12, generator=torch.Generator().manual_seed(seed))


def in_float64(kind: Any, method: str, images: Tensor) -> Tensor:
    torch.manual_seed(0)
    return CAM(method, layers=("stage",))(kind().double().eval(), images.double(), 1)


def made(kind: Any) -> Any:
    torch.manual_seed(0)
    return kind().eval()


@pytest.mark.parametrize(("method", "backward"), [("layer-cam", True), ("score-cam", False)])
def test_channels_last_where_it_is_faster(method: str, backward: bool, capability: str) -> None:
    net, images = made(Recording), images_of()
    found = CAM(method, layers=("stage",))(net, images, 1)
    faster = capability == "AVX512" or not backward
    passes = net.last[2:] if faster else net.last  # two trials of the first image come first
    assert set(passes) == {faster}
    assert net.last[:2] == [True, False] or not faster
    torch.testing.assert_close(found.double(), in_float64(Recording, method, images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [Viewing, Strided, PickyBackwards])
@pytest.mark.parametrize("method", ["layer-cam", "grad-cam", "score-cam"])
@pytest.mark.usefixtures("capability")
def test_networks_that_need_contiguous_images(kind: type[Any], method: str) -> None:
    net, images = made(kind), images_of()
    cam = CAM(method, layers=("stage",))
    torch.testing.assert_close(
        cam(net, images, 1).double(), in_float64(kind, method, images), rtol=1e-5, atol=1e-6
    )
    if method != "score-cam" or kind is not PickyBackwards:
        net.last.clear()
        cam(net, images, 1)
        assert not any(net.last), "what failed once is not tried again"


@pytest.mark.filterwarnings("ignore:FullGrad is not complete")  # squares, and a function of its own
def test_fullgrad_of_a_network_that_needs_contiguous_images(capability: str) -> None:
    for kind in (Viewing, PickyBackwards):
        net, images = made(kind), images_of()
        torch.manual_seed(0)
        wanted = LTFullGrad(50)(kind().double().eval(), images.double(), 1)
        torch.testing.assert_close(LTFullGrad(50)(net, images, 1).double(), wanted, rtol=1e-4, atol=1e-4)


def test_layouts_agree_in_float32(nets: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    net, images = nets.plain().float(), nets.images(n=2, size=(16, 24)).float()
    found = {}
    for kind in ("AVX512", "AVX2"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda kind=kind: kind)
        captured = capture(net, images, 1, layers=LAYERS)
        last = captured.activations[0].is_contiguous(memory_format=torch.channels_last)
        assert last == (kind == "AVX512")
        found[kind] = captured
    for name in ("activations", "gradients"):
        for one, other in zip(getattr(found["AVX512"], name), getattr(found["AVX2"], name), strict=True):
            assert (one - other).abs().max() <= 1e-5 * other.abs().max()
    for method in ("grad-cam", "layer-cam", "grad-cam++"):
        maps = [CAM(method, layers=LAYERS).heatmaps(captured) for captured in found.values()]
        torch.testing.assert_close(maps[0], maps[1], rtol=1e-4, atol=1e-5 * float(maps[1].max()))


class Tokens(nn.Module):
    """A stem of convolution and normalisation, whose maps are read as tokens behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.head = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.norm(self.stem(images)).flatten(2).transpose(1, 2)
        logits: Tensor = (self.head(tokens) * tokens.mean(2, keepdim=True)).mean(1)
        return logits


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_single_images_have_the_gradients_that_they_have_in_a_batch(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    torch.manual_seed(0)
    model = Tokens().to(dtype).eval()
    images = torch.randn(2, 3, 12, 16, dtype=dtype)
    for name in ("stem", "norm"):
        cam = CAM("layer-cam", layers=(name,), relu="none")
        both = cam(model, images, 1)
        alone = torch.cat([cam(model, images[index : index + 1], 1) for index in (0, 1)])
        assert torch.allclose(both, alone, rtol=0, atol=1e-5 * float(both.abs().max()))
    assert not model.norm._forward_hooks


def test_an_error_of_another_cause_is_the_users_and_does_not_count(capability: str) -> None:
    net, images = made(Recording), images_of()

    def broken(_logits: Tensor) -> NoReturn:
        raise RuntimeError("of the user's own making")

    with pytest.raises(RuntimeError, match="own making"):
        CAM("layer-cam", layers=("stage",))(net, images, broken)
    assert memory_formats._takes_last.of(net).get(torch.channels_last, True)


def test_float64_and_user_chosen_formats_stay(capability: str) -> None:
    net, images = made(Recording), images_of().contiguous(memory_format=torch.channels_last)
    LTLayerCAM(50, layers=["stage"])(net, images, 1)
    assert net.last[-1]
    double = made(Recording).double()
    for last in (True, False):
        own = images.double() if last else images.double().contiguous()
        LTLayerCAM(50, layers=["stage"])(double, own, 1)
        assert double.last == [last], capability
        double.last.clear()


@pytest.mark.usefixtures("capability")
def test_neither_images_nor_weights_change_and_no_model_is_kept() -> None:
    net, images = made(Recording), images_of()
    before = images.clone()
    CAM("layer-cam", layers=("stage",))(net, images, 1)
    assert torch.equal(images, before)
    assert images.is_contiguous()
    assert all(parameter.is_contiguous() for parameter in net.parameters())
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


def test_a_capture_looks_at_its_model_once(capability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is made of is asked for by whoever finds stages and by whoever chooses a memory format."""
    looks: list[Any] = []
    model, images = Recording(), torch.rand(1, 3, 16, 16)
    made_of = remembered._made_of
    monkeypatch.setattr(remembered, "_made_of", noted(looks, made_of))
    capture(model, images, 0)
    assert len(looks) == 1
    model.stage[1] = nn.Softplus()  # between two captures a model may change
    capture(model, images, 0)
    assert len(looks) == 2
