"""What is explained: one score per image, made from the model's output.

A target is None, a class index, one index per image, or a callable from the logits of one image
(K,) to a scalar tensor (NUMERICS, section 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

TargetFunction = Callable[[Tensor], Tensor]
"""Logits of one image (K,) to a scalar that carries a gradient."""

Target = int | Sequence[int] | TargetFunction | None


def log_odds(classes: Sequence[int]) -> TargetFunction:
    """Log-odds of a set of classes against all others.

    The softmax leaves z + h(x) free, so a single logit z_c is not identified by training; the
    log-odds are: logsumexp of z over `classes` - logsumexp of z over the rest. Two classes: z_1 - z_0.

    Args:
        classes: indices of the classes that count together (all defect classes, say).
    """
    chosen = list(classes)

    def score(logits: Tensor) -> Tensor:
        rest = [index for index in range(logits.shape[0]) if index not in chosen]
        return logits[chosen].logsumexp(0) - logits[rest].logsumexp(0)

    return score


def target_scores(output: object, target: Target) -> Tensor:
    """One differentiable score per image.

    Args:
        output: what the model returned; for indices logits (N, K), for a callable anything that can
            be indexed by image.
        target: None (K = 1: the defect logit; K >= 2: the largest logit of each image), a class index
            for all images, a sequence of one index per image, or a callable. With one output
            (sigmoid), class 1 is z and class 0 is -z.

    Returns:
        Scores (N,).

    Raises:
        ValueError: wrong shapes, indices out of range, or a callable without a differentiable scalar.
    """
    if callable(target):
        return _called(output, target)
    if not isinstance(output, Tensor) or output.ndim != 2:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"the model must return logits (N, K), got {shape}; give a target callable instead")
    count, classes = output.shape
    if target is None:
        return output[:, 0] if classes == 1 else output.amax(1)
    indices = _indices(target, count, max(classes, 2))
    if classes == 1:
        signs = torch.tensor([1.0 if index == 1 else -1.0 for index in indices], device=output.device)
        return output[:, 0] * signs.to(output.dtype)
    return output[torch.arange(count, device=output.device), torch.tensor(indices, device=output.device)]


def _indices(target: int | Sequence[int], count: int, classes: int) -> list[int]:
    indices = [target] * count if isinstance(target, int) else list(target)
    if len(indices) != count:
        raise ValueError(f"target has {len(indices)} entries for {count} images; give one per image")
    for index in indices:
        if isinstance(index, bool) or not isinstance(index, int):
            raise ValueError(f"target={index!r} is not a class index (an int from 0 to {classes - 1})")
        if not 0 <= index < classes:
            raise ValueError(f"target={index} is out of range; the model has classes 0 to {classes - 1}")
    return indices


def _called(output: object, target: TargetFunction) -> Tensor:
    scores = []
    for logits in output:  # type: ignore[attr-defined]  # whatever the caller's function understands
        score = target(logits)
        if not isinstance(score, Tensor) or score.numel() != 1:
            shape = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
            raise ValueError(f"the target callable must return one number per image, got {shape}")
        if not score.requires_grad:
            raise ValueError("the target callable returned a score without a gradient; is something detached in it?")
        scores.append(score.reshape(()))
    return torch.stack(scores)
