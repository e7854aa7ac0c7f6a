"""Ways to the percentile side by side, and what it costs beside the backward pass that makes the gradients.

python benchmarks/percentile.py [--threads 2] [--out FILE.json]

The rows are VGG16's: its five stages behind their pooling at 256 x 704, stage 1 before its pooling at
512 x 1408 with 46 million values, by channel and as one row, and gradients three quarters of which are 0,
as they are before a pooling. Every way must find the same values. `torch.quantile` is not among them: it
interpolates between ranks rounded to floats, and refuses more than 16 million values.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from common import parser_of, write_result
from torch import Tensor

from ltcam.cam import capture
from ltcam.cam.percentile import rank, smallest_kept, smallest_kept_at
from ltcam.cam.truncation import Scope, thresholds
from ltcam.models.classifier import build_classifier

PERCENTILE = 50
ROWS = {
    "S1": (64, 45056),
    "S2": (128, 11264),
    "S3": (256, 2816),
    "S4": (512, 704),
    "S5": (512, 176),
    "S1, stage": (1, 2883584),
    "S1 before, 512 x 1408": (64, 720896),
    "S1 before, 512 x 1408, stage": (1, 46137344),
}
LAYER, SIZE, BAR = "trunk.features.3", (512, 1408), 0.15


def kthvalue(rows: Tensor) -> Tensor:
    """Selection by torch among the positive values, row by row."""
    found = []
    for row in rows:
        positive = row[row > 0]
        k = int(rank(torch.tensor(len(positive)), PERCENTILE))
        found.append(positive.kthvalue(k + 1).values)
    return torch.stack(found)


def torch_sort(rows: Tensor) -> Tensor:
    """Sorting by torch, all rows together, values that are not positive moved to the end."""
    positive = rows > 0
    ordered = torch.where(positive, rows, torch.inf).sort(1).values
    return ordered.gather(1, rank(positive.sum(1), PERCENTILE)[:, None])[:, 0]


def numpy_sort(rows: Tensor) -> Tensor:
    """Sorting by numpy, all rows together, as integers."""
    bits = rows.numpy().view(np.int32)
    counts = torch.from_numpy(np.count_nonzero(bits > 0, axis=1))
    ordered = torch.from_numpy(np.sort(bits, axis=1)).view(torch.float32)
    return ordered.gather(1, (rows.shape[1] - counts + rank(counts, PERCENTILE))[:, None])[:, 0]


def numpy_partition(rows: Tensor) -> Tensor:
    """Selection by numpy, row by row, as integers; many zeros make it slow."""
    bits = rows.numpy().view(np.int32)
    counts = torch.from_numpy(np.count_nonzero(bits > 0, axis=1))
    places = (rows.shape[1] - counts + rank(counts, PERCENTILE)).tolist()
    found = [np.partition(row, place)[place] for row, place in zip(bits, places, strict=True)]
    return torch.from_numpy(np.array(found)).view(torch.float32)


def histogram(rows: Tensor) -> Tensor:
    """Radix selection: two passes of counts over the upper and the lower half of the bits."""
    found = []
    for row in rows.numpy().view(np.int32):
        positive = np.compress(row > 0, row)
        k = int(rank(torch.tensor(len(positive)), PERCENTILE))
        upper = positive >> 16
        below = np.cumsum(np.bincount(upper, minlength=1 << 15))
        high = int(np.searchsorted(below, k, "right"))
        inside = np.compress(upper == high, positive) & 0xFFFF
        k -= int(below[high]) - len(inside)
        low = int(np.searchsorted(np.cumsum(np.bincount(inside)), k, "right"))
        found.append((high << 16) | low)
    return torch.from_numpy(np.array(found, np.int32)).view(torch.float32)


def ours(rows: Tensor) -> Tensor:
    """What ltcam does."""
    return smallest_kept(rows, PERCENTILE)


WAYS = (kthvalue, torch_sort, numpy_sort, numpy_partition, histogram, ours)


def seconds(action: Callable[[], object], repetitions: int = 3) -> float:
    """Best of several."""
    times = []
    for _ in range(repetitions):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


def gradients(shape: tuple[int, int], zeros: float) -> Tensor:
    """Random values, this share of them 0."""
    random = torch.Generator().manual_seed(0)
    rows = torch.randn(shape, generator=random)
    return rows.masked_fill_(torch.rand(shape, generator=random) < zeros, 0)


def comparison() -> list[dict[str, object]]:
    """Seconds of every way for every kind of rows."""
    table: list[dict[str, object]] = []
    for (name, shape), zeros in product(ROWS.items(), (0.0, 0.75)):
        rows = gradients(shape, zeros)
        wanted = ours(rows)
        for way in WAYS:
            if not torch.equal(way(rows), wanted):
                raise SystemExit(f"{way.__name__} finds other values for {name}")
        times = {way.__name__: round(seconds(partial(way, rows)), 5) for way in WAYS}
        ten = partial(smallest_kept_at, rows, range(0, 100, 10))
        times["ours, ten percentiles"] = round(seconds(ten), 5)
        table.append({"rows": name, "shape": list(shape), "zeros": zeros, "seconds": times})
        print(json.dumps(table[-1]), flush=True)
    return table


def beside_backward() -> dict[str, Any]:
    """The percentile of VGG16's first stage before its pooling, and the backward pass to it."""
    model = build_classifier("vgg16", 2).eval().requires_grad_(False)
    images = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    forward = seconds(lambda: capture(model, images, 1, layers=[LAYER], gradients=False), 2)
    both = seconds(lambda: capture(model, images, 1, layers=[LAYER]), 2)
    gradients = capture(model, images, 1, layers=[LAYER]).gradients[0]  # as the pass left them in memory
    scopes: tuple[Scope, ...] = get_args(Scope)
    times = {scope: seconds(partial(thresholds, gradients, (PERCENTILE,), scope)) for scope in scopes}
    ratio = max(times.values()) / (both - forward)
    return {
        "what": "percentile of 46 million values against the backward pass",
        "ratio": round(ratio, 4),
        "bar": BAR,
        "holds": ratio <= BAR,
        "percentile_s": times,
        "backward_s": both - forward,
    }


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = {
        "threads": options.threads,
        "numpy": np.__version__,
        "torch": torch.__version__,
        "rows": [beside_backward()],
        "ways": comparison(),
    }
    print(json.dumps(result["rows"], indent=2))
    if options.out:
        write_result(options.out, result)


if __name__ == "__main__":
    main()
