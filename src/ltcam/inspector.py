"""A run folder and an image in, an `Inspection` out.

image -> classifier -> Capture -> heatmap -> mask -> regions -> Inspection
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltcam.cam import CAM, Explanation, Truncation, get_method, log_odds
from ltcam.cam.methods import NetworkMethod
from ltcam.cam.network.stages import map_names
from ltcam.models.classifier import Classifier
from ltcam.models.student import STUDENT
from ltcam.runs import (
    RUN_FILE,
    CamSettings,
    MaskSettings,
    Run,
    SharpeningSettings,
    read_classifier,
    read_run,
)
from ltcam_runtime.errors import InputError, RunError, SettingsError
from ltcam_runtime.images import read_image, resize, resize_heatmap
from ltcam_runtime.masks import above, fill_holes, fixed, otsu
from ltcam_runtime.reading import Workers, process
from ltcam_runtime.regions import drop_small, find_regions
from ltcam_runtime.results import Inspection
from ltcam_runtime.sharpening import Contrast, sharpen
from ltcam_runtime.verdicts import decide

_FEWEST_WORKERS, _MOST_WORKERS = 2, 4  # while one makes masks, another one computes
_OF_THE_GPU = threading.Lock()  # whose memory is not shared by several batches
_S = TypeVar("_S", CamSettings, MaskSettings, SharpeningSettings)


@dataclass(frozen=True)
class Inspected:
    """One file of a longer list: what was read and found, or why it could not be.

    Attributes:
        name: of the image.
        image: (H, W, 3) uint8 RGB; None if it could not be read.
        inspection: None if the image could not be read.
        reason: why it could not be read, or "".
    """

    name: str
    image: NDArray[np.uint8] | None
    inspection: Inspection | None
    reason: str = ""


@dataclass(frozen=True)
class Inspector:
    """A trained run, ready to inspect. Immutable, and usable from several threads.

    Attributes:
        run: its settings.
        classifier: in evaluation mode, parameters frozen.
        device: where the classifier is.
    """

    run: Run
    classifier: Classifier
    device: torch.device

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto") -> Inspector:
        """An inspector from a run folder. Nothing in the folder is executed.

        Args:
            folder: the --out folder of `ltcam train`.
            device: `auto` (a GPU if there is one), `cpu` or `cuda`.

        Raises:
            RunError: the folder cannot be read; the message names file and field.
            SettingsError: the device does not exist.
        """
        run = read_run(Path(folder))
        classifier = read_classifier(Path(folder), run)
        known = dict(classifier.named_modules())
        for stage in (*run.stages, *run.cam.stages):
            if stage not in known:
                raise RunError(
                    f"{folder}: run.json names stage {stage!r}, which {run.backbone} does not have"
                )
        try:
            make_cam(run.cam)
            _check_maps(classifier, run.cam.stages, run)
        except ValueError as error:
            raise RunError(f"{Path(folder) / RUN_FILE}: field 'cam': {error}") from error
        return cls.of(run, classifier, device=choose_device(device))

    @classmethod
    def of(cls, run: Run, classifier: Classifier, *, device: torch.device) -> Inspector:
        """An inspector from a run and its classifier at hand, which is moved to the device and frozen."""
        memory_format = torch.channels_last if run.evidence.get("channels_last") else torch.contiguous_format
        moved = classifier.eval().requires_grad_(False)
        moved = moved.to(device=device, memory_format=memory_format)  # type: ignore[call-overload]
        return cls(run, moved, device)

    def with_settings(
        self,
        cam: Mapping[str, Any] | None = None,
        mask: Mapping[str, Any] | None = None,
        sharpening: Mapping[str, Any] | None = None,
    ) -> Inspector:
        """The same classifier with other map, sharpening or mask settings.

        A map of another method than the student's own drawing is cut by Otsu's threshold unless `mask` says
        otherwise: a threshold for probabilities means nothing there.

        Args:
            cam: fields of `CamSettings` to replace; `stages` may hold numbers (1 is S1) or names.
            mask: fields of `MaskSettings` to replace.
            sharpening: fields of `SharpeningSettings` to replace.

        Raises:
            SettingsError: a value that cannot be used.
        """
        changed = dict(cam or {})
        if "stages" in changed:
            changed["stages"] = self._stage_names(changed["stages"])
        try:
            run = self.run.model_copy(
                update={
                    "cam": _changed(self.run.cam, changed),
                    "mask": _changed(self._mask_for(changed.get("method")), mask or {}),
                    "sharpening": _changed(self.run.sharpening, sharpening or {}),
                }
            )
            make_cam(run.cam)
            _check_maps(self.classifier, changed.get("stages", ()), run)
        except ValueError as error:
            raise SettingsError(_first_line(error)) from error
        return replace(self, run=run)

    def with_verdict_threshold(self, threshold: float | None) -> Inspector:
        """The same classifier with another verdict threshold, 0 to 1; None changes nothing.

        Raises:
            SettingsError: a threshold outside 0 to 1.
        """
        if threshold is None:
            return self
        if not 0 <= threshold <= 1:
            raise SettingsError(f"--verdict-threshold {threshold}: must be a probability, 0 to 1")
        verdict = self.run.verdict.model_copy(update={"threshold": threshold, "evidence": "given by hand"})
        return replace(self, run=self.run.model_copy(update={"verdict": verdict}))

    def inspect(self, image: str | Path | NDArray[np.uint8], name: str | None = None) -> Inspection:
        """Inspect one image.

        Args:
            image: a file, or pixels (H, W, 3) uint8 RGB.
            name: what the inspection calls it; default: the file's name.

        Raises:
            InputError: the file cannot be read, or an array that is no RGB image of 8 bits.
        """
        if isinstance(image, (str, Path)):
            name = name or Path(image).name
            image = read_image(image)
        return self.inspect_batch([image], [name or "image"])[0]

    def inspect_batch(
        self, images: Sequence[NDArray[np.uint8]], names: Sequence[str], *, gate: bool = True
    ) -> list[Inspection]:
        """Inspect several images, of any sizes, in one pass of the network.

        Args:
            images: (H, W, 3) uint8 RGB each.
            names: one per image.
            gate: whether a verdict of OK empties the mask.

        Raises:
            InputError: an array that is no RGB image of 8 bits.
        """
        for name, image in zip(names, images, strict=True):
            _check_pixels(name, image)
        return self._inspect([resize(image, self.run.image_size) for image in images], images, names, gate)

    def inspect_files(
        self, files: Iterable[tuple[str, Path]], *, batch_size: int = 4, gate: bool = True
    ) -> Iterator[Inspected]:
        """Inspect any number of files in order; files are read ahead, memory does not grow with their number.

        Args:
            files: (name, path) pairs.
            batch_size: images per pass of the network; results do not depend on it.
            gate: whether a verdict of OK empties the mask.
        """
        size = self.run.image_size

        def read(name: str, path: Path) -> tuple[str, NDArray[np.uint8], NDArray[np.uint8]]:
            image = read_image(path)
            return name, image, resize(image, size)

        def inspect(
            items: Sequence[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]],
        ) -> list[tuple[NDArray[np.uint8], Inspection]]:
            names, images, resized = zip(*items, strict=True)
            return list(zip(images, self._inspect(resized, images, names, gate), strict=True))

        with _workers(batch_size) as workers:
            for outcome in process(files, read, inspect, workers):
                image, inspection = outcome.value or (None, None)
                yield Inspected(outcome.name, image, inspection, outcome.reason)

    def _inspect(
        self,
        shrunk: Sequence[NDArray[np.uint8]],
        images: Sequence[NDArray[np.uint8]],
        names: Sequence[str],
        gate: bool,
    ) -> list[Inspection]:
        if not images:
            return []
        started = time.perf_counter()
        with nullcontext() if self.device.type == "cpu" else _OF_THE_GPU:
            heatmaps, probabilities = self._look(shrunk)
        seconds = (time.perf_counter() - started) / len(images)
        return [
            self._judge(name, image, heatmap, scores, gate, seconds)
            for name, image, heatmap, scores in zip(names, images, heatmaps, probabilities, strict=True)
        ]

    def _look(self, shrunk: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Heatmaps (N, H, W) at network size and class probabilities (N, K)."""
        found = self.explain(shrunk)
        logits = found.output
        assert isinstance(logits, Tensor)  # noqa: S101  # a Classifier returns logits
        return found.heatmaps.cpu().numpy(), logits.double().softmax(1).cpu().numpy()

    def explain(self, shrunk: Sequence[NDArray[np.uint8]]) -> Explanation:
        """Heatmaps, logits and log-odds of being defective, of images at the network's size.

        Args:
            shrunk: (H, W, 3) uint8 RGB each.

        Raises:
            RunError: the run cannot be used.
        """
        target = log_odds(range(1, len(self.run.classes)))
        try:
            return make_cam(self.run.cam).explain(self.classifier, self.normalised(shrunk), target)
        except (ValueError, RuntimeError) as error:  # a run that was tampered with, or no memory left
            raise RunError(f"the run cannot be used on images: {error}") from error

    def normalised(self, shrunk: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Images (H, W, 3) uint8 at the network's size to the batch (N, 3, H, W) that it wants."""
        pixels = torch.from_numpy(np.stack(shrunk)).to(self.device).permute(0, 3, 1, 2)
        mean, std = (
            torch.tensor(v, device=self.device).view(1, 3, 1, 1) for v in (self.run.mean, self.run.std)
        )
        memory_format = (
            torch.channels_last if self.run.evidence.get("channels_last") else torch.contiguous_format
        )
        values = pixels.to(torch.float32, memory_format=memory_format)
        return values.div_(255).sub_(mean).div_(std)

    def _judge(  # one image's part of a batch
        self,
        name: str,
        image: NDArray[np.uint8],
        heatmap: NDArray[np.float32],
        probabilities: NDArray[np.float64],
        gate: bool,
        seconds: float,
    ) -> Inspection:
        started = time.perf_counter()
        height, width = image.shape[:2]
        score = float(1 - probabilities[0])
        verdict = decide(score, self.run.verdict.threshold, unsure_margin=self.run.verdict.unsure_margin)
        own = resize_heatmap(heatmap, (height, width))
        emptied = gate and verdict == "ok"
        if not emptied:  # sharpening is for the mask's sake
            own = sharpened(own, image, self.run.sharpening)
        mask = np.zeros((height, width), bool) if emptied else make_mask(own, self.run.mask)
        defect = self.run.classes[1 + int(np.argmax(probabilities[1:]))]
        return Inspection(
            image=name,
            size=(height, width),
            verdict=verdict,
            score=score,
            class_scores=dict(zip(self.run.classes, map(float, probabilities), strict=True)),
            heatmap=own,
            mask=mask,
            regions=find_regions(mask, own, defect),
            timings={"capture": seconds, "mask": time.perf_counter() - started},
        )

    def _mask_for(self, method: str | None) -> MaskSettings:
        """The run's mask settings, or the default ones where a student's heatmap is to be another method's."""
        if self.run.cam.method == STUDENT.name and method not in {None, STUDENT.name}:
            return MaskSettings(min_area_px=self.run.mask.min_area_px)
        return self.run.mask

    def _stage_names(self, stages: int | str | Sequence[int | str]) -> list[str]:
        names = []
        for stage in [stages] if isinstance(stages, (int, str)) else stages:
            number = int(stage) if str(stage).isdecimal() else None
            if number is not None and 1 <= number <= len(self.run.stages):
                names.append(self.run.stages[number - 1])
            elif number is None and str(stage) in dict(self.classifier.named_modules()):
                names.append(str(stage))
            else:
                raise SettingsError(
                    f"--stages {stage}: no such stage; give numbers 1 to {len(self.run.stages)} or names: "
                    f"{', '.join(self.run.stages)}"
                )
        return names


def _check_maps(classifier: Classifier, stages: Sequence[str], run: Run) -> None:
    """Refuse layers that a map cannot be made of. Costs a pass of the network for others than its stages.

    Raises:
        ValueError: a layer given twice, or one that puts out no map.
    """
    if len(set(stages)) < len(stages):
        raise ValueError(f"--stages {', '.join(stages)}: a layer is given more than once")
    others = [stage for stage in stages if stage not in run.stages]
    if not others:
        return
    parameter = next(classifier.parameters())
    example = torch.zeros(1, 3, *run.image_size, device=parameter.device)
    known = map_names(classifier, example)
    for stage in others:
        if stage not in known:
            raise ValueError(f"--stages {stage}: this layer puts out no map; give a convolution, say")


def _check_pixels(name: str, image: NDArray[np.uint8]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(
            name, f"an array of shape {image.shape} and type {image.dtype}; give (H, W, 3) uint8, RGB"
        )


def make_cam(settings: CamSettings) -> CAM:
    """The map that settings describe.

    Raises:
        ValueError: an unknown method.
    """
    truncation = None
    if settings.percentile is not None:
        truncation = Truncation(settings.percentile, settings.scope, settings.reading)
    method = STUDENT if settings.method == STUDENT.name else get_method(settings.method)
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


def sharpened(
    heatmap: NDArray[np.float32], image: NDArray[np.uint8], settings: SharpeningSettings
) -> NDArray[np.float32]:
    """Heatmap (H, W) and its image (H, W, 3) to the sharpened heatmap, as the settings say."""
    if settings.polarity == "none":
        return heatmap
    return sharpen(heatmap, image, Contrast(settings.polarity, settings.window, settings.floor))


def make_mask(heatmap: NDArray[np.float32], settings: MaskSettings) -> NDArray[np.bool_]:
    """Heatmap (H, W) to mask (H, W) as the settings say."""
    share = settings.threshold
    if share == "otsu":
        mask = otsu(heatmap, settings.reach)
    else:
        mask = fixed(heatmap, share) if settings.of == "range" else above(heatmap, share)
    if settings.fill_holes:
        mask = fill_holes(mask)
    return drop_small(mask, settings.min_area_px) if settings.min_area_px > 1 else mask


def choose_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda` to a device.

    Raises:
        SettingsError: another name, or no GPU where one was asked for.
    """
    if name not in {"auto", "cpu", "cuda"}:
        raise SettingsError(f"--device {name!r} is unknown; choose from auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise SettingsError("--device cuda: torch sees no GPU on this machine; use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


@contextmanager
def _workers(batch_size: int) -> Iterator[Workers]:
    """Threads that inspect a batch each, and share the processor's cores among them.

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


def _changed(settings: _S, fields: Mapping[str, Any]) -> _S:
    """The same settings with some fields replaced, validated."""
    return type(settings).model_validate({**settings.model_dump(), **fields})


def _first_line(error: ValueError) -> str:
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    first = errors()[0]
    option = "--" + str(first["loc"][0]).replace("_", "-")
    return f"{option} {first.get('input')!r}: {first['msg'].removeprefix('Value error, ')}"
