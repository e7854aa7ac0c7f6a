"""A trained classifier or student in torch, as a network that answers with probabilities and heatmaps."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltcam.cam import CAM, Capture, Explanation, Truncation, capture, get_method, log_odds
from ltcam.cam.methods import GradientMethod, Method, NetworkMethod
from ltcam.cam.network.quick_passes import QuickPasses
from ltcam.cam.network.scores import at_once
from ltcam.cam.network.stages import map_names
from ltcam.cam.targets import TargetFunction
from ltcam.models.classifier import Classifier
from ltcam.models.normalisation import normalised
from ltcam.models.seeded import SeededClassifier, seed_explanations, seed_method
from ltcam.models.student import STUDENT, Student
from ltcam.runs.hardware import has_bfloat16
from ltcam.runs.run import Run
from ltcam_runtime.errors import RunError, SettingsError
from ltcam_runtime.networks import Response
from ltcam_runtime.reading import Workers
from ltcam_runtime.settings import SEED, CamSettings, Overrides

_FEWEST_WORKERS, _MOST_WORKERS = 2, 4  # while one makes masks, another one computes
_OF_THE_GPU = threading.Lock()  # whose memory is not shared by several batches
_AT_ONCE = 8  # images whose score alone is asked for


@dataclass(frozen=True, eq=False, repr=False)
class TorchNetwork:
    """A trained network and its maps. Immutable, and usable from several threads.

    Attributes:
        run: classes, image size, normalisation, maps, arithmetic.
        classifier: in evaluation mode, parameters frozen, on the device.
        device: where it computes.
    """

    run: Run
    classifier: Classifier
    device: torch.device

    def __repr__(self) -> str:
        return f"TorchNetwork({self.run!r}, on {self.device})"

    @classmethod
    def of(cls, run: Run, classifier: Classifier, device: torch.device) -> TorchNetwork:
        """A network of a run and its classifier at hand, which is moved to the device and frozen."""
        moved = classifier.eval().requires_grad_(False)
        moved = moved.to(device=device, memory_format=_memory_format(run))  # type: ignore[call-overload]
        return cls(run, moved, device)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; the first one is `ok`."""
        return self.run.classes

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images it takes."""
        return self.run.image_size

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the heatmaps it can make."""
        return tuple(self.run.maps)

    def in_float64(self) -> TorchNetwork:
        """A copy that computes in float64: what the others would say if they did not round."""
        return replace(self, classifier=deepcopy(self.classifier).double())

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.classifier.parameters()).dtype

    @property
    def target(self) -> TargetFunction:
        """What maps explain: the log-odds of being defective."""
        return log_odds(range(1, len(self.run.classes)))

    @cached_property
    def cams(self) -> Mapping[str, CAM]:
        """The maps by name, as the engine makes them."""
        return {name: make_cam(settings) for name, settings in self.run.maps.items()}

    def respond(self, images: Sequence[NDArray[np.uint8]], maps: Sequence[str] | None = None) -> Response:
        """Probabilities, and the heatmaps that are asked for; see `ltcam_runtime.networks.Network`.

        Raises:
            RunError: the run cannot be used on these images.
        """
        names = self.maps if maps is None else maps
        with named_errors(), nullcontext() if self.device.type == "cpu" else _OF_THE_GPU:
            if not names:
                return Response(probabilities(self._logits(self.batch(images))), {})
            explanations = self._explain(self.batch(images), names)
            logits = explanations[0].output
            assert isinstance(logits, Tensor)  # noqa: S101  # a Classifier returns logits
            heatmaps = [explanation.heatmaps.float().cpu().numpy() for explanation in explanations]
        return Response(probabilities(logits), dict(zip(names, heatmaps, strict=True)))

    def batch(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Images (h, w, 3) uint8 RGB at the network's size to the normalised batch (N, 3, h, w) that it takes."""
        pixels = torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2)
        return normalised(pixels, (self.run.mean, self.run.std), self._dtype, _memory_format(self.run))

    def explain(self, images: Sequence[NDArray[np.uint8]], cam: CAM | None = None) -> Explanation:
        """Heatmaps, logits and log-odds of being defective.

        Args:
            images: (h, w, 3) uint8 RGB each, at the network's size.
            cam: what makes the heatmaps; default: the run's own map.

        Raises:
            RunError: the run cannot be used on these images.
        """
        with named_errors():
            return (cam or self.cams[self.run.map]).explain(self.classifier, self.batch(images), self.target)

    def capture(self, images: Sequence[NDArray[np.uint8]], layers: Sequence[str]) -> Capture:
        """Activations and gradients of some layers; see `ltcam.cam.capture`.

        Raises:
            RunError: the run cannot be used on these images.
        """
        with named_errors():
            return capture(self.classifier, self.batch(images), self.target, layers=layers)

    @torch.no_grad()
    def defect_scores(self, images: Sequence[NDArray[np.uint8]]) -> list[float]:
        """Log-odds of being defective, in the arithmetic of the training: good enough to rank.

        Args:
            images: (h, w, 3) uint8 RGB each, at the network's size.

        Raises:
            RunError: the run cannot be used on these images.
        """
        half = self.run.arithmetic.bfloat16 and has_bfloat16(self.device)
        target, scores = self.target, []
        count = at_once(self.image_size, self.device, _AT_ONCE)
        for start in range(0, len(images), count):
            with named_errors(), torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                batch = self.batch(images[start : start + count])
                logits = self._logits(batch) if half else self._quickly(batch, self._logits)
            scores += [float(target(row)) for row in logits.double()]
        return scores

    @cached_property
    def _quickly(self) -> QuickPasses:
        return QuickPasses(self.classifier, self.batch([np.zeros((*self.image_size, 3), np.uint8)]))

    def overridden(self, overrides: Overrides) -> TorchNetwork:
        """The same network with other maps: `overrides` are applied to each of them.

        Raises:
            SettingsError: a method, stage or other value that cannot be used.
        """
        if overrides.stages is not None:
            overrides = overrides.model_copy(update={"stages": self._stage_names(overrides.stages)})
        maps = {name: overrides.apply_to_map(cam) for name, cam in self.run.maps.items()}
        return self.with_maps(maps)

    def with_maps(self, maps: Mapping[str, CamSettings]) -> TorchNetwork:
        """The same network with these maps.

        Raises:
            SettingsError: a method or stage that cannot be used.
        """
        network = replace(self, run=self.run.model_copy(update={"maps": dict(maps)}))
        try:
            network.check_maps()
        except ValueError as error:
            raise SettingsError(str(error)) from error
        return network

    def check_maps(self) -> None:
        """Refuse maps that cannot be made. Costs a pass of the network where one is not of its stages.

        Raises:
            ValueError: an unknown method or layer, a layer given twice, or one that returns no map.
        """
        for settings in self.run.maps.values():
            make_cam(settings)
            if settings.method == STUDENT.name and not isinstance(self.classifier, Student):
                raise ValueError("`method` student: this network is a classifier, only students draw")
            if settings.method == SEED:
                if not isinstance(self.classifier, SeededClassifier):
                    raise ValueError("`method` seed: this network has no seed maps")
                if settings.kind > self.classifier.seed_maps:
                    raise ValueError(
                        f"`kind` {settings.kind}: there are {self.classifier.seed_maps} seed maps"
                    )
            self._check_layers(settings.stages)

    @contextmanager
    def workers(self, batch_size: int) -> Iterator[Workers]:
        """Threads that look at a batch each, and share the processor's cores among them.

        Several batches at once on one core each are faster than one batch on several cores: while one of them
        makes masks, another one computes, and nobody waits for the slowest core after every layer.
        """
        threads = torch.get_num_threads()
        count = min(_MOST_WORKERS, max(_FEWEST_WORKERS, threads))
        share = max(1, threads // count)
        try:
            yield Workers(count, batch_size, start=partial(torch.set_num_threads, share))
        finally:
            torch.set_num_threads(threads)

    @torch.no_grad()
    def _logits(self, batch: Tensor) -> Tensor:
        return self.classifier.logits(batch)

    def _explain(self, batch: Tensor, names: Sequence[str]) -> list[Explanation]:
        """What each map says; those of gradients share one capture, seed maps one pass."""
        kinds = {name: self.run.maps[name].kind for name in names if self.run.maps[name].method == SEED}
        found: dict[str, Explanation] = {}
        if kinds:
            assert isinstance(self.classifier, SeededClassifier)  # noqa: S101  # `check_maps` saw to it
            drawn = seed_explanations(self.classifier, batch, self.target, tuple(kinds.values()))
            found = dict(zip(kinds, drawn, strict=True))
        others = [name for name in names if name not in kinds]
        found |= zip(others, self._explain_others(batch, [self.cams[name] for name in others]), strict=True)
        return [found[name] for name in names]

    def _explain_others(self, batch: Tensor, cams: Sequence[CAM]) -> list[Explanation]:
        sharing = [cam for cam in cams if isinstance(_method(cam), GradientMethod)]
        if len(sharing) < 2:
            return [cam.explain(self.classifier, batch, self.target) for cam in cams]
        layers = tuple(dict.fromkeys(layer for cam in sharing for layer in cam.layers or ()))
        whole = capture(self.classifier, batch, self.target, layers=layers)
        return [
            Explanation(cam.heatmaps(part_of(whole, cam.layers or ())), whole.output, whole.scores)
            if cam in sharing
            else cam.explain(self.classifier, batch, self.target)
            for cam in cams
        ]

    def _check_layers(self, stages: Sequence[str]) -> None:
        if len(set(stages)) < len(stages):
            raise ValueError(f"`stages` {', '.join(stages)}: a layer is given more than once")
        others = [stage for stage in stages if stage not in self.run.stages]
        if not others:
            return
        known = map_names(self.classifier, torch.zeros(1, 3, *self.run.image_size, device=self.device))
        for stage in others:
            if stage not in known:
                raise ValueError(f"`stages` {stage}: this layer puts out no map; give a convolution, say")

    def _stage_names(self, stages: Sequence[str]) -> tuple[str, ...]:
        """Stages by number or name to names."""
        own, modules = self.run.stages, dict(self.classifier.named_modules())
        for stage in stages:
            known = 1 <= int(stage) <= len(own) if stage.isdecimal() else stage in modules
            if not known:
                raise SettingsError(
                    f"`stages` {stage}: no such stage; give numbers 1 to {len(own)} or names: {', '.join(own)}"
                )
        return tuple(own[int(stage) - 1] if stage.isdecimal() else stage for stage in stages)


@contextmanager
def named_errors() -> Iterator[None]:
    """Turn what torch raises of a run that was tampered with, or where no memory is left, into a RunError."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise RunError(f"the run cannot be used on images: {error}") from error


def make_cam(settings: CamSettings) -> CAM:
    """The map that settings describe.

    Raises:
        ValueError: an unknown method.
    """
    truncation = None
    if settings.percentile is not None:
        truncation = Truncation(settings.percentile, settings.scope, settings.reading)
    method = _method_of(settings)
    if isinstance(method, NetworkMethod):  # takes all layers, and adds them up
        return CAM(method=method, truncation=truncation)
    return CAM(
        method=settings.method,
        truncation=truncation,
        layers=settings.stages,
        fusion=settings.fusion,
        stage_scale=settings.stage_scale,
        positive_activations=settings.positive_activations,
    )


def _method_of(settings: CamSettings) -> Method:
    if settings.method == STUDENT.name:
        return STUDENT
    return seed_method(settings.kind) if settings.method == SEED else get_method(settings.method)


def part_of(captured: Capture, layers: Sequence[str]) -> Capture:
    """The capture of some of its layers."""
    places = [captured.layers.index(layer) for layer in layers]
    return replace(
        captured,
        layers=tuple(layers),
        activations=tuple(captured.activations[place] for place in places),
        gradients=tuple(captured.gradients[place] for place in places),
    )


def _method(cam: CAM) -> Method:
    return get_method(cam.method)


def _memory_format(run: Run) -> torch.memory_format:
    return torch.channels_last if run.arithmetic.channels_last else torch.contiguous_format


def probabilities(logits: Tensor) -> NDArray[np.float64]:
    """(N, K) of the classes, by logits (N, K)."""
    return logits.double().softmax(1).cpu().numpy()
