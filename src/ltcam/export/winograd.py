"""Large 3 x 3 convolutions with a quarter of the products (Winograd's minimal filtering).

    Y = A ((G g G') * (B d B')) A'       for every 4 x 4 pixels of the output, * place by place

d are the 6 x 6 pixels of the input around them, g the kernel; what is summed over channels is one product of matrices
for each of the 36 places. It is written with operators that every runtime has, for runtimes that have no such
convolution. Rounding grows to some 1e-5 of the range: nothing for values, but it decides on gradients where a unit is
nearly off, so this is for graphs without gradients.

Source: A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks, 2016, F(4 x 4, 3 x 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ltcam.export.onnx_graph import OnnxGraph

FEWEST_CHANNELS, FEWEST_TILES = 128, 32
"""In and out, and of an image: with fewer, the transforms cost more than the products that are saved."""

_OUT, _IN = 4, 6  # sides of a tile of the output, and of its part of the input
_LEAST_USED = 0.75  # of the tiles' pixels that lie in the image

_A = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float32
)
_B = np.array(
    [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0],
     [0, 4, 0, -5, 0, 1]], np.float32
)  # fmt: skip
_G = np.array(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], np.float32
) / np.float32(24)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """A convolution of 3 x 3 whose output has the size of its input.

    Attributes:
        channels: of the input.
        filters: channels of the output.
        height: of both.
        width: of both.
    """

    channels: int
    filters: int
    height: int
    width: int

    @property
    def tiles(self) -> tuple[int, int]:
        """Rows and columns of 4 x 4 pixels, the last of which may reach beyond the image."""
        return -(-self.height // _OUT), -(-self.width // _OUT)

    @property
    def gains(self) -> bool:
        """Whether it is large enough."""
        rows, columns = self.tiles
        used = self.height * self.width / (rows * columns * _OUT**2)
        large = min(self.channels, self.filters) >= FEWEST_CHANNELS and rows * columns >= FEWEST_TILES
        return large and used >= _LEAST_USED


def layer_of(
    image: Sequence[Any], kernel: Sequence[int], options: dict[str, Any], *, transposed: bool
) -> Layer | None:
    """The layer that a convolution is, or None where it is of another kind or gains nothing.

    Args:
        image: shape (N, C, H, W) of its input.
        kernel: shape (K, C, h, w) of its weights.
        options: as ONNX has them.
        transposed: whether it is a transposed one.
    """
    plain = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1], "group": 1}
    if transposed or options != plain or list(kernel[2:]) != [3, 3]:
        return None
    layer = Layer(int(kernel[1]), int(kernel[0]), int(image[2]), int(image[3]))
    return layer if layer.gains else None


def write_convolution(graph: OnnxGraph, image: str, weight: str, layer: Layer) -> str:
    """The value of a convolution without its bias.

    Args:
        graph: to write into.
        image: (N, C, H, W).
        weight: (K, C, 3, 3); transformed in the graph, so that a file does not grow by it.
        layer: their sizes.
    """
    rows, columns = layer.tiles
    below, right = rows * _OUT - layer.height, columns * _OUT - layer.width
    places = _IN * _IN
    # G g G', (36, K, C)
    kernels = graph.op("MatMul", graph.constant(_G), graph.op("MatMul", weight, graph.constant(_G.T)))
    kernels = graph.op(
        "Transpose", graph.reshape(kernels, [layer.filters, layer.channels, places]), perm=[2, 0, 1]
    )
    # B d B' of every tile, as a convolution of each channel alone: (N C, 36, rows, columns), then (36, C, N tiles)
    transform = graph.constant(np.einsum("ai,bj->abij", _B, _B).reshape(places, 1, _IN, _IN))
    tiles = graph.op(
        "Conv",
        graph.reshape(image, [-1, 1, layer.height, layer.width]),
        transform,
        strides=[_OUT, _OUT],
        pads=[1, 1, 1 + below, 1 + right],
    )
    tiles = graph.reshape(tiles, [-1, layer.channels, places, rows * columns])
    tiles = graph.reshape(graph.op("Transpose", tiles, perm=[2, 1, 0, 3]), [places, layer.channels, -1])
    products = graph.reshape(graph.op("MatMul", kernels, tiles), [places, -1])
    # A (...) A', (16, K N tiles), then (N, K, H, W)
    back = graph.constant(np.einsum("ai,bj->abij", _A, _A).reshape(_OUT * _OUT, places))
    pixels = graph.reshape(graph.op("MatMul", back, products), [_OUT, _OUT, layer.filters, -1, rows, columns])
    pixels = graph.reshape(
        graph.op("Transpose", pixels, perm=[3, 2, 4, 0, 5, 1]),
        [-1, layer.filters, rows * _OUT, columns * _OUT],
    )
    if not below and not right:
        return pixels
    starts, ends, axes = ([0, 0], [layer.height, layer.width], [2, 3])
    return graph.op("Slice", pixels, *(graph.constant(each) for each in (starts, ends, axes)))
