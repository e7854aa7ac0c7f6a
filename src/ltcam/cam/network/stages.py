"""Find the stages of a CNN and resolve layer names to modules.

A stage is a stretch of the network at one resolution; its output is what class activation maps are
taken at. Stages are found by watching one forward pass, so nothing has to be known about the
architecture: plain networks, residual networks and own modules are treated alike. Only what all ways from the
images to the logits lead through is a stage: no branch is, nor anything inside a residual block.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import dropwhile
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ltcam.cam.network.eval_mode import evaluating, is_compiled, run
from ltcam.cam.network.graph import Value, bottlenecks, value_of
from ltcam.cam.network.hooks import Hooks
from ltcam.cam.network.remembered import Remembered
from ltcam.cam.tensors import float_tensors_in, has_channels_last

Taps = Literal["after", "before"]
"""Where a stage that ends in a pooling layer is tapped: behind the pooling or in front of it."""

_POOLING = (
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveAvgPool2d,
    nn.LPPool2d,
    nn.FractionalMaxPool2d,
)
_CHANNELS_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    *_POOLING,
)
_PASSING_ON = (nn.Identity, nn.Dropout, nn.Dropout2d)
_SMALLEST_MAP = 2  # positions a side; what is pooled to one position has no place left to show


@dataclass(frozen=True)
class _Step:
    """One module on the way from the image to the scores, with the size (h, w) of what it returned."""

    name: str
    size: tuple[int, int]
    value: Value | None
    pooling: bool


@dataclass
class _Call:
    """What was seen of one module's first call: 4-D sizes in and out, None where it was no 4-D tensor."""

    size_in: tuple[int, int] | None
    size_out: tuple[int, int] | None
    channels_out: int
    value: Value | None
    count: int = 0


@dataclass(frozen=True)
class _Pass:
    """One forward pass: the calls in the order in which they were done, and what all ways lead through.

    `inevitable` is None where autograd does not know: the model runs under no_grad, or detaches something.
    `channels_last` are the modules, with their values, that return maps as (N, h, w, C); `tokens` those with
    parameters that return (N, T, C).
    """

    calls: dict[str, _Call]
    inevitable: set[Value] | None
    channels_last: dict[str, Value | None]
    tokens: dict[str, Value | None]

    def is_map(self, call: _Call) -> bool:
        """Whether all ways lead through what was returned, and it has places to show."""
        wide = call.size_out is not None and min(call.size_out) >= _SMALLEST_MAP
        return wide and (self.inevitable is None or call.value in self.inevitable)


_found: Remembered[tuple[str, ...]] = Remembered(lists=True)


def find_stages(model: nn.Module, images: Tensor, *, taps: Taps = "after") -> tuple[str, ...]:
    """Names of the modules whose outputs are the stages of a CNN, shallow to deep.

    Args:
        model: any CNN whose forward takes images (N, 3, H, W).
        images: an example batch; its first image is run once. The answer is remembered per image size, as
            long as the model stays put together as it is (maps smaller than two by two are no stages).
        taps: `after` a stage's pooling layer (VGG16: `features.4, 9, 16, 23, 30`) or `before` it
            (`features.3, 8, 15, 22, 29`). Without pooling layers both are the same.

    Raises:
        ValueError: if no module returns a map of at least two by two positions, the last maps have their channels
            last, or `taps` is unknown.

    Warns of scripted parts, into which nothing can look, and of tokens (as of transformers) behind the last map.
    """
    if taps not in get_args(Taps):
        raise ValueError(f"`taps` {taps!r} is unknown; choose from {', '.join(get_args(Taps))}")
    known = _found.of(model)
    key = (taps, *images.shape[1:])
    if key not in known:
        seen = _watch(model, images[:1])
        order = {name: index for index, name in enumerate(seen.calls)}
        steps = sorted(_spine(model, "", seen), key=lambda step: order[step.name])
        features = dropwhile(lambda step: _is_preprocessing(model, step, seen.calls, images.shape[1]), steps)
        found = _stage_outputs(list(features), taps)
        _refuse_channels_last(seen, order, found)
        _warn_of_unseen(model, seen, order, found)
        known[key] = found
    if not known[key]:
        raise ValueError(
            "no stage found: no module of the model returns a 4-D map of at least 2 x 2 positions; name "
            "layers=[...] yourself"
        )
    return known[key]


def map_names(model: nn.Module, images: Tensor) -> tuple[str, ...]:
    """Names of all modules that return a 4-D tensor when the first image is run through the model."""
    return tuple(
        name for name, call in _watch(model, images[:1]).calls.items() if call.size_out is not None and name
    )


def resolve_layers(model: nn.Module, names: Sequence[str], images: Tensor) -> tuple[nn.Module, ...]:
    """The modules of these names, in the order given.

    Raises:
        ValueError: for no name, a layer given twice, or a name that the model does not have; the message
            holds close matches and the modules with 4-D output.
    """
    if not names:
        raise ValueError(f"layers is empty; name at least one of {_listed(map_names(model, images))}")
    modules = dict(model.named_modules(remove_duplicate=False))
    for name in names:
        if not isinstance(name, str):
            raise ValueError(
                f"layers holds a {type(name).__name__}; give names of layers as in model.named_modules()"
            )
        if name not in modules or name == "":
            close = difflib.get_close_matches(name, modules, n=3)
            hint = f"; close: {', '.join(close)}" if close else ""
            raise ValueError(
                f"the model has no layer {name!r}{hint}; layers with a 4-D output: "
                f"{_listed(map_names(model, images))}"
            )
        if isinstance(modules[name], torch.jit.ScriptModule):
            raise ValueError(
                f"layer {name!r} is scripted or traced (torch.jit), and nothing can look into it; choose another one"
            )
    found = tuple(modules[name] for name in names)
    twice = [name for name, module in zip(names, found, strict=True) if found.count(module) > 1]
    if twice:
        raise ValueError(f"layers holds one layer more than once: {', '.join(map(repr, twice))}")
    return found


def _listed(names: Sequence[str], most: int = 40) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _watch(model: nn.Module, image: Tensor) -> _Pass:
    """One forward pass of one image; of what autograd keeps only the graph, and none of the values."""
    calls: dict[str, _Call] = {}
    channels_last: dict[str, Value | None] = {}
    tokens: dict[str, Value | None] = {}

    def note(name: str, module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        size_out, value = _map_size(output), value_of(output) if isinstance(output, Tensor) else None
        if returns_channels_last(module, output, image.shape[2:]):
            size_out, channels_last[name] = None, value
        if isinstance(output, Tensor) and output.ndim == 3 and next(module.parameters(), None) is not None:
            tokens[name] = value
        channels = int(output.shape[1]) if isinstance(output, Tensor) and size_out is not None else 0
        call = calls.setdefault(
            name, _Call(_map_size(inputs[0] if inputs else None), size_out, channels, value)
        )
        call.count += 1

    only_the_graph = torch.autograd.graph.saved_tensors_hooks(lambda _saved: None, _never)
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        only_the_graph,
        evaluating(model),
        Hooks() as hooks,
    ):
        source = image.detach().clone().requires_grad_().clone()
        start = value_of(source)
        for name, module in model.named_modules():
            hooks.behind(module, partial(note, name, module))
        scores = _scores_in(run(model, source))
        ends = [value for value in map(value_of, scores) if value is not None]
    return _Pass(
        calls, bottlenecks(start, ends) or None if start is not None else None, channels_last, tokens
    )


def _refuse_channels_last(seen: _Pass, order: Mapping[str, int], found: Sequence[str]) -> None:
    """Behind the stages nothing may be left unseen."""
    behind = _behind(seen, seen.channels_last, order, found)
    if behind:
        raise ValueError(
            f"the model's last maps have their channels last, (N, h, w, C), in {_listed(behind, 5)}; name layers=[...] "
            "and give reshape=lambda maps: maps.permute(0, 3, 1, 2)"
        )


def _warn_of_unseen(model: nn.Module, seen: _Pass, order: Mapping[str, int], found: Sequence[str]) -> None:
    scripted = [name for name, part in model.named_modules() if _is_scripted_convolution(part)]
    if scripted:
        warnings.warn(
            f"nothing can look into scripted parts (torch.jit): {_listed(scripted, 3)}; stages in them are left out. "
            "Give the model that they were made from",
            stacklevel=3,
        )
    behind = _behind(seen, seen.tokens, order, found)
    if found and len(behind) > 1:
        warnings.warn(
            f"behind its last map, {found[-1]}, the model goes on with tokens (N, T, C), in {_listed(behind, 3)}: most "
            "of what it learned is there. Name layers=[...] and give a reshape callable that makes maps of tokens",
            stacklevel=3,
        )


def _behind(
    seen: _Pass, returned: Mapping[str, Value | None], order: Mapping[str, int], found: Sequence[str]
) -> list[str]:
    """Of modules with what they returned, those behind the last stage that all ways lead through."""
    end, inevitable = order[found[-1]] if found else -1, seen.inevitable
    return [
        name
        for name, value in returned.items()
        if order[name] > end and name and (inevitable is None or value in inevitable)
    ]


def _is_scripted_convolution(part: nn.Module) -> bool:
    return isinstance(part, torch.jit.ScriptModule) and any(
        getattr(inside, "original_name", "") == "Conv2d" for inside in part.modules()
    )


def returns_channels_last(module: nn.Module, output: object, image_size: Sequence[int]) -> bool:
    """Whether a module's output looks like (N, h, w, C), and the module is none that wants its channels first."""
    known = isinstance(module, _CHANNELS_FIRST)
    return isinstance(output, Tensor) and not known and has_channels_last(output, image_size)


def _never(_packed: None) -> Tensor:
    raise RuntimeError("a pass that looks for stages goes forward only")


def _scores_in(output: object) -> list[Tensor]:
    """Where ways end: the first logits (N, K) that the model returns, or all it returns if none look like it."""
    tensors = float_tensors_in(output)
    return next(([tensor] for tensor in tensors if tensor.ndim == 2), tensors)


def _map_size(value: object) -> tuple[int, int] | None:
    if not isinstance(value, Tensor) or value.ndim != 4:
        return None
    return int(value.shape[2]), int(value.shape[3])


def _spine(module: nn.Module, prefix: str, seen: _Pass) -> list[_Step]:
    """The modules that follow each other from image to scores, without the insides of blocks."""
    steps: list[_Step] = []
    for child_name, child in module.named_children():
        name = f"{prefix}.{child_name}" if prefix else child_name
        call = seen.calls.get(name)
        if isinstance(child, _PASSING_ON) or (call is not None and call.count > 1):
            continue  # what runs more than once (a shared pooling, say) has no one output
        inside = _spine(child, name, seen) if _is_passage(child, call) else []
        if _is_block(child, call, inside):
            inside = []
        steps += inside
        if call is None or call.size_out is None or not seen.is_map(call):
            continue
        known = inside if call.value is None else steps  # the same value again is no step further
        if not known or known[-1].value != call.value:
            steps.append(_Step(name, call.size_out, call.value, isinstance(child, _POOLING)))
    return steps


def _is_preprocessing(model: nn.Module, step: _Step, calls: dict[str, _Call], channels: int) -> bool:
    """Whether a step only changes the image (a normalisation inside the model, say): nothing learned, no features.

    What has no parameters may still work with those of a module around it.
    """
    part = model.get_submodule(step.name)
    convolves = any(isinstance(module, nn.modules.conv._ConvNd) for module in part.modules())
    names = step.name.split(".")
    parents = [model.get_submodule(".".join(names[:length])) for length in range(len(names))]
    around = any(next(parent.parameters(recurse=False), None) is not None for parent in parents)
    learned = next(part.parameters(), None) is not None or around
    return not convolves and (not learned or calls[step.name].channels_out == channels)


def _is_passage(module: nn.Module, call: _Call | None) -> bool:
    """Whether to look inside: a chain of several stages, or a container that is never called itself.

    A block lowers the resolution by two at most, where that can be said of sizes that are no multiples.
    """
    if next(module.children(), None) is None:
        return False
    if call is None or call.size_in is None or call.size_out is None or is_compiled(module):
        return True
    shrink = max(call.size_in[0] / max(call.size_out[0], 1), call.size_in[1] / max(call.size_out[1], 1))
    return shrink > 2.5 or (isinstance(module, nn.Sequential) and shrink > 1.5)


def _is_block(module: nn.Module, call: _Call | None, inside: Sequence[_Step]) -> bool:
    """Whether a module is one block, whatever its sizes say: besides the resolution it is given it has one other."""
    if call is None or call.size_in is None or call.size_out is None:
        return False
    if isinstance(module, nn.Sequential) or is_compiled(module):
        return False
    return len({step.size for step in inside} - {call.size_in}) < 2


def _stage_outputs(spine: list[_Step], taps: Taps) -> tuple[str, ...]:
    """The last step of each resolution; a pooling layer that only ends a stage belongs to that stage."""
    names: list[str] = []
    for index, step in enumerate(spine):
        following = spine[index + 1] if index + 1 < len(spine) else None
        last_of_its_size = following is None or following.size != step.size
        if not last_of_its_size or (step.pooling and names):
            continue
        ends_in_pooling = following is not None and following.pooling
        names.append(
            following.name if following is not None and ends_in_pooling and taps == "after" else step.name
        )
    return tuple(dict.fromkeys(names))
