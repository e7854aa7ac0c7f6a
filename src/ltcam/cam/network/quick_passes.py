"""Forward passes of a network that is asked often and stays as it is, in the way that is quickest here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn

from ltcam.cam.network.folding import FoldedPasses
from ltcam.cam.network.memory_formats import fastest_format

T = TypeVar("T")


class QuickPasses:
    """Passes with normalisations folded into convolutions, in the memory format that suits processor and network.

    They give what passes without give, up to rounding; no gradient goes through them.
    """

    def __init__(self, model: nn.Module, image: Tensor):
        """Looks at the model once: it must not change any more.

        Args:
            model: in evaluation mode.
            image: (1, C, H, W), like those that it will be given.
        """
        self._memory_format = fastest_format(model, image, gradients=False)
        self._folded = FoldedPasses(model, image.contiguous(memory_format=self._memory_format))

    def __call__(self, images: Tensor, passes: Callable[[Tensor], T]) -> T:
        """What `passes`, which run the model, give of images (N, C, H, W); they may be called twice."""
        return self._folded(lambda: passes(images.clone(memory_format=self._memory_format)))
