"""Stage maps of images, kept in files: captured once, and every question about putting them together is cheap.

A file's name is a digest of all that its maps depend on (run, image, kinds), so a file that is there is right,
whoever wrote it and however often a measurement was stopped. Files hold arrays only and are never unpickled; those of
joblib and diskcache are.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ltcam.cam import CAM, Capture, Truncation
from ltcam.cam.fusion import Fusion, StageScale, fuse
from ltcam.cam.network.stages import Taps
from ltcam.cam.truncation import Scope, TruncationReading
from ltcam.experiments.opened import Source
from ltcam.models.classifier import stages_of
from ltcam.runs.inspector import Inspector
from ltcam.runs.network import named_errors
from ltcam_runtime.folders import write_file

_FORMAT = "ltcam stage maps 1"

StageMaps = tuple[NDArray[np.float32], ...]
"""Signed maps (h, w) of one image, one per stage, shallow to deep."""


@dataclass(frozen=True)
class Kind:
    """Which stage maps.

    Attributes:
        method: name of a gradient method.
        percentile: of the truncation, None without one.
        scope: what the percentile is taken of.
        reading: of the truncation.
        taps: `after` or `before` each stage's pooling.
    """

    method: str
    percentile: float | None = None
    scope: Scope = "channel"
    reading: TruncationReading = "gradient"
    taps: Taps = "after"

    @property
    def truncation(self) -> Truncation | None:
        """As the CAM engine has it."""
        return None if self.percentile is None else Truncation(self.percentile, self.scope, self.reading)


@dataclass(frozen=True)
class StageMapFiles:
    """Where stage maps are kept, and how they are made where they are not there.

    Attributes:
        inspector: whose classifier is asked.
        run_hash: of the run's settings and weights.
        folder: of the files; made when needed.
        positive_activations: use only the positive part of activations.
    """

    inspector: Inspector
    run_hash: str
    folder: Path
    positive_activations: bool = False

    @classmethod
    def of(cls, source: Source, folder: Path, *, positive_activations: bool) -> StageMapFiles:
        """Those of a run."""
        run_hash = hashlib.sha256("".join(source.run_hashes).encode()).hexdigest()
        return cls(source.inspector, run_hash, folder, positive_activations)

    def layers(self, taps: Taps) -> tuple[str, ...]:
        """Names of the stages' layers; the same for both taps where no stage ends in a pooling."""
        if taps == "after":
            return self.inspector.run.stages
        found = stages_of(self.inspector.network.classifier, self.inspector.run.image_size, "before")
        return found if len(found) == len(self.inspector.run.stages) else self.inspector.run.stages

    def get(self, resized: NDArray[np.uint8], kinds: Sequence[Kind]) -> Mapping[Kind, StageMaps]:
        """The maps of an image, from its file or from a look of the network.

        Args:
            resized: (h, w, 3) uint8 RGB at the network's size.
            kinds: which maps.

        Raises:
            RunError: the run cannot be used on images.
            OutputError: the file cannot be written.
        """
        file = self.folder / f"{self._digest(resized, kinds)}.npz"
        found = _read(file, kinds)
        if found is None:
            found = self._make(resized, kinds)
            arrays: dict[str, Any] = {
                f"{place}.{stage}": stage_map
                for place, kind in enumerate(kinds)
                for stage, stage_map in enumerate(found[kind])
            }
            content = io.BytesIO()
            np.savez(content, **arrays)
            write_file(file, content.getvalue())
        return found

    def _digest(self, resized: NDArray[np.uint8], kinds: Sequence[Kind]) -> str:
        words = (
            _FORMAT,
            self.run_hash,
            self.positive_activations,
            self.inspector.network.device.type,
            resized.shape,
            list(kinds),
        )
        digest = hashlib.sha256(repr(words).encode())
        digest.update(np.ascontiguousarray(resized).tobytes())
        return digest.hexdigest()[:40]

    def _make(self, resized: NDArray[np.uint8], kinds: Sequence[Kind]) -> Mapping[Kind, StageMaps]:
        network = self.inspector.network
        captures = {taps: network.capture([resized], self.layers(taps)) for taps in {k.taps for k in kinds}}
        with named_errors():  # of a network that a method cannot work on
            return {kind: self._maps(kind, captures[kind.taps]) for kind in kinds}

    def _maps(self, kind: Kind, captured: Capture) -> StageMaps:
        cam = CAM(kind.method, kind.truncation, relu="none", positive_activations=self.positive_activations)
        return tuple(np.asarray(each[0].float().cpu().numpy()) for each in cam.stage_maps(captured))


def _read(file: Path, kinds: Sequence[Kind]) -> Mapping[Kind, StageMaps] | None:
    """The maps of a file; None where it is not there or damaged, so that it is made anew."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            stages = len(arrays.files) // len(kinds)
            return {
                kind: tuple(arrays[f"{place}.{stage}"] for stage in range(stages))
                for place, kind in enumerate(kinds)
            }
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


@dataclass(frozen=True)
class Recipe:
    """How a heatmap is put together from stage maps.

    Attributes:
        kind: of the stage maps.
        fusion: how they become one.
        stage_scale: scaling before fusing.
        relu: whether each stage map is cut at 0 first.
        stage: number of the only stage that counts (1 is the shallowest); None takes all.
    """

    kind: Kind
    fusion: Fusion = "sum"
    stage_scale: StageScale = "none"
    relu: bool = True
    stage: int | None = None

    def heatmap(self, maps: StageMaps, size: tuple[int, int]) -> NDArray[np.float32]:
        """Stage maps of this recipe's kind to a heatmap of (height, width)."""
        chosen = maps if self.stage is None else maps[self.stage - 1 : self.stage]
        tensors = [torch.from_numpy(each)[None] for each in chosen]
        if self.relu:
            tensors = [each.clamp_min(0) for each in tensors]
        fused = fuse(tensors, size, fusion=self.fusion, stage_scale=self.stage_scale)
        return np.asarray(fused[0].numpy())


def moved(maps: StageMaps, other: StageMaps) -> list[float]:
    """How far each stage's map differs from the other one's in shape, whatever their scales.

    Returns:
        Per stage 1 - cosine of the positive parts: 0 (the same but for a factor) to 1; NaN where one is all 0.
    """
    found = []
    for one, two in zip(maps, other, strict=True):
        a, b = (np.maximum(each, 0).ravel().astype(np.float64) for each in (one, two))
        size = float(np.linalg.norm(a) * np.linalg.norm(b))
        found.append(max(0.0, 1 - float(a @ b) / size) if size else math.nan)
    return found


def shares_of_stages(maps: StageMaps) -> list[float]:
    """What share of the raw sum's total each stage brings, 0 to 1; 0 for all where nothing is positive."""
    means = [float(np.maximum(each, 0).mean(dtype=np.float64)) for each in maps]  # resizing keeps means
    total = sum(means)
    return [mean / total if total else 0.0 for mean in means]
