"""Put a model into evaluation mode and find it again as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards each module's own flag is as before.

    Raises:
        ValueError: if a batch normalisation has no running statistics, since it would couple the
            images of a batch even in evaluation mode.
    """
    training = [module for module in model.modules() if module.training]
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise ValueError(
                f"layer {name!r} normalises by the batch (no running statistics): maps of one image would depend on "
                "the others; use track_running_stats=True"
            )
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True
