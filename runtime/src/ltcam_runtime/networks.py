"""What every network is to whoever inspects with it: images in, heatmaps and probabilities out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.reading import Workers


@dataclass(frozen=True, eq=False)
class Response:
    """What a network says of N images.

    Attributes:
        probabilities: (N, K) float64, of the classes; each row sums to 1.
        heatmaps: (N, h, w) float32 by name, at the network's size, raw; larger is more defective.
    """

    probabilities: NDArray[np.float64]
    heatmaps: Mapping[str, NDArray[np.float32]]


class Network(Protocol):
    """A trained network with its maps, whatever runs it."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; the first one is `ok`."""

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images it takes."""

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the heatmaps it can make."""

    def respond(self, images: Sequence[NDArray[np.uint8]], maps: Sequence[str] | None = None) -> Response:
        """Look at a batch.

        Args:
            images: (h, w, 3) uint8 RGB each, at the network's size.
            maps: names of the heatmaps to make; None makes all, an empty sequence none, which is faster.

        Raises:
            RunError: the network cannot be used on these images.
        """


@runtime_checkable
class ParallelNetwork(Protocol):
    """A network that says how many batches it looks at at once."""

    def workers(self, batch_size: int) -> AbstractContextManager[Workers]:
        """Threads that call `respond` with a batch each, and share the processor among them."""
