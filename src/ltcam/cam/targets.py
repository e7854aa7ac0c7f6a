"""What is explained: one score per image, made from the model's output.

A target is None, a class index, one index per image, or a callable from the logits of one image
(K,) to a scalar tensor (NUMERICS, section 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from ltcam.cam.tensors import float_tensors_in, with_parts

TargetFunction = Callable[[Any], Tensor]
"""Logits of one image (K,) to a scalar that carries a gradient. Where the model returns something else that is
made of batches (a tuple, a dictionary, a dataclass, a list of heads), the function gets one of the same type with
that image's entries; of a list with one result per image (as detectors have it), that result."""

Target = int | Sequence[int] | Tensor | TargetFunction | None


def log_odds(classes: Sequence[int]) -> TargetFunction:
    """Log-odds of a set of classes against all others.

    The softmax leaves z + h(x) free, so a single logit z_c is not identified by training; the
    log-odds are: logsumexp of z over `classes` - logsumexp of z over the rest. Two classes: z_1 - z_0.
    With one output (sigmoid), class 1 is z and class 0 is -z.

    Args:
        classes: indices of the classes that count together (all defect classes, say).

    Raises:
        ValueError: what is no index; and when called with logits that do not have these classes and at least one other.
    """
    chosen = [entry.item() if hasattr(entry, "item") else entry for entry in classes]
    if any(isinstance(index, bool) or not isinstance(index, int) for index in chosen):
        raise ValueError(f"log_odds({chosen}): class indices are whole numbers from 0")

    def score(logits: Tensor) -> Tensor:
        if logits.shape[0] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits])
        count = logits.shape[0]
        rest = [index for index in range(count) if index not in chosen]
        if not chosen or not rest or any(not 0 <= index < count for index in chosen):
            raise ValueError(
                f"log_odds({chosen}) needs some, not all, of the model's classes 0 to {count - 1}"
            )
        return logits[chosen].logsumexp(0) - logits[rest].logsumexp(0)

    return score


def target_scores(output: object, target: Target, count: int, *, differentiable: bool = True) -> Tensor:
    """One score per image.

    Args:
        output: what the model returned; for indices logits (N, K), for a callable anything that can
            be taken apart by image.
        target: None (K = 1: the defect logit; K >= 2: the largest logit of each image), a class index
            for all images, a sequence of one index per image, or a callable. With one output
            (sigmoid), class 1 is z and class 0 is -z.
        count: N, number of images.
        differentiable: whether a callable's score has to carry a gradient.

    Returns:
        Scores (N,).

    Raises:
        ValueError: wrong shapes, indices out of range, or a callable without a differentiable scalar.
    """
    if callable(target):
        if not float_tensors_in(output):
            raise ValueError(
                f"the model returned {type(output).__name__} without tensors that could be taken apart by image; "
                "let it return a tensor, tuple, dictionary or dataclass of them"
            )
        heads = target.heads if isinstance(target, _OfList) else None
        return torch.stack(
            [
                _called(target, _of_image(output, index, count, heads), differentiable)
                for index in range(count)
            ]
        )
    if not isinstance(output, Tensor) or output.ndim != 2 or output.shape[1] == 0:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"the model must return logits (N, K), got {shape}; give a target callable instead")
    if len(output) != count:
        raise ValueError(
            f"the model returned logits {tuple(output.shape)} for {count} images; N must be the same"
        )
    classes = output.shape[1]
    if target is None:
        indices = [0] * count if classes == 1 else output.argmax(1).tolist()
    else:
        indices = _indices(target, count, max(classes, 2))
        if classes == 1:
            signs = torch.tensor([1.0 if index == 1 else -1.0 for index in indices], device=output.device)
            return output[:, 0] * signs.to(output.dtype)
    return output[torch.arange(count, device=output.device), torch.tensor(indices, device=output.device)]


def resolved(output: object, target: Target, count: int) -> Target:
    """The same target with None replaced by what it stood for: one class index per image.

    For methods that ask a network again with changed activations, where the largest logit may be another; and with
    batches of their own making, of which a list of heads may look like one entry per image.

    Args:
        output: what the model returned for the unchanged images.
        target: as for `target_scores`.
        count: N, number of these images.
    """
    if target is None and isinstance(output, Tensor) and output.ndim == 2 and output.shape[1] > 1:
        return [int(index) for index in output.argmax(1)]
    if callable(target) and isinstance(output, list) and not isinstance(target, _OfList):
        return _OfList(target, heads=_holds_batches(output, count))
    return target


@dataclass(frozen=True)
class _OfList:
    """A target of a model that returns a list, of which it is known what it holds: heads, or one entry per image."""

    function: TargetFunction
    heads: bool

    def __call__(self, logits: Any) -> Tensor:
        return self.function(logits)


def _indices(target: object, count: int, classes: int) -> list[int]:
    values: Any = target.tolist() if hasattr(target, "tolist") else target  # tensors and numpy arrays
    alone = isinstance(values, str) or not isinstance(values, Sequence)
    entries: list[object] = [values] * count if alone else list(values)
    if len(entries) != count:
        raise ValueError(f"target has {len(entries)} entries for {count} images; give one per image")
    return [_index(entry, classes) for entry in entries]


def _index(entry: object, classes: int) -> int:
    index = entry.item() if hasattr(entry, "item") else entry
    if isinstance(index, bool) or not isinstance(index, int):
        raise ValueError(f"target={index!r} is not a class index (an int from 0 to {classes - 1})")
    if not 0 <= index < classes:
        raise ValueError(f"target={index} is out of range; the model has classes 0 to {classes - 1}")
    return index


def _of_image(output: object, index: int, count: int, heads: bool | None = None) -> object:
    """One image's part of the model's output, of the output's own type; `heads` says what a list is made of."""
    if isinstance(output, list):
        return _of_list(output, index, count, heads)
    if not isinstance(output, Tensor):
        return with_parts(output, lambda part: _of_image(part, index, count))
    if output.ndim == 0:
        return output  # nothing of single images
    if len(output) != count:
        raise ValueError(f"the model returned {len(output)} results for {count} images; N must be the same")
    return output[index]


def _of_list(output: list[Any], index: int, count: int, heads: bool | None) -> object:
    """One image's part of a list: the same list where it holds batches, an entry where it holds one per image."""
    if heads is None and _is_either(output, count) and count > 1:
        return _Unclear(
            f"the model returned a list of {count} entries with {count} rows each for {count} images: is that one "
            "entry per image, or are they heads? Let it return a tuple of heads, or explain another number of images"
        )
    heads = _holds_batches(output, count) if heads is None else heads
    return with_parts(output, lambda part: _of_image(part, index, count)) if heads else output[index]


def _holds_batches(output: list[Any], count: int) -> bool:
    """Whether a list is made of batches (heads, say), and not of one entry per image."""
    if _is_either(output, count):  # a batch of one, or the result of one image
        return isinstance(output[0], Tensor)
    if not _are_batches(output, count) and len(output) != count:
        raise ValueError(
            f"the model returned a list of {len(output)} entries for {count} images, which is neither one entry "
            "per image nor made of batches"
        )
    return len(output) != count


def _is_either(output: list[Any], count: int) -> bool:
    return _are_batches(output, count) and len(output) == count


def _are_batches(output: list[Any], count: int) -> bool:
    return all(tensor.ndim == 0 or len(tensor) == count for tensor in float_tensors_in(output))


class _Unclear:
    """In the place of what could be read in two ways: refuses to be read."""

    def __init__(self, reason: str):
        self.__reason = reason

    def _refuse(self, *_: object) -> NoReturn:
        raise ValueError(self.__reason)

    __getattr__ = __getitem__ = __iter__ = __len__ = __bool__ = _refuse


def _called(target: TargetFunction, logits: object, differentiable: bool) -> Tensor:
    score = target(logits)
    if not isinstance(score, Tensor) or score.numel() != 1:
        shape = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
        raise ValueError(f"the target callable must return one number per image, got {shape}")
    if differentiable and not score.requires_grad:
        raise ValueError(
            "the target callable returned a score without a gradient; is something detached in it?"
        )
    return score.reshape(())
