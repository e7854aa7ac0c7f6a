"""ONNX files read without any library: what they hold, whether they can be trusted with, and parts of their graphs.

A library that is given a hostile file may take all memory there is, or read files elsewhere. So the bytes are looked
through first: lengths, sizes of constants, where their values are, whose operators there are. Only what is read here
is handed on. The format is protobuf's: fields with a number and a type, nested by length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # protobuf's wire types
_DEEPEST = 6  # graphs inside of graphs
_MOST_NODES = 200_000
_LARGEST_CONSTANT = 2**31  # values
_BYTES_PER_VALUE = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}

# Field numbers of onnx.proto.
_GRAPH, _METADATA, _TRAINING, _FUNCTIONS = 7, 14, 20, 25
_NODE, _INITIALIZER, _OUTPUT, _SPARSE = 1, 5, 12, 15
_INPUTS, _OUTPUTS, _ATTRIBUTE, _DOMAIN = 1, 2, 5, 7
_DIMS, _KIND, _RAW, _EXTERNAL, _LOCATION, _TENSOR_NAME = 1, 2, 9, 13, 14, 8
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH = 5, 6
_ATTRIBUTE_OTHERS = {10, 11, 22, 23}  # several tensors or graphs, and sparse tensors


class DamagedError(ValueError):
    """Bytes that are no ONNX file, or one that asks for what no exported inspector needs."""


@dataclass(frozen=True)
class Field:
    """One field of a message: its number, its value (of a number) or its contents (of bytes), and all its bytes."""

    number: int
    value: int
    content: memoryview
    whole: memoryview


@dataclass(frozen=True)
class _Node:
    inputs: frozenset[str]
    outputs: frozenset[str]
    whole: memoryview


def fields(message: memoryview) -> Iterator[Field]:
    """The fields of a message, in order.

    Raises:
        DamagedError: a length beyond the end, or a type that there is not.
    """
    place = 0
    while place < len(message):
        start = place
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        value, content = 0, message[:0]
        if kind == _VARINT:
            value, place = _varint(message, place)
        elif kind in (_EIGHT, _FOUR):
            place += 8 if kind == _EIGHT else 4
        elif kind == _BYTES:
            length, place = _varint(message, place)
            content = message[place : place + length]
            place += length
        else:
            raise DamagedError("it is no ONNX file, or damaged")
        if place > len(message) or number == 0:
            raise DamagedError("it is no ONNX file, or cut short")
        yield Field(number, value, content, message[start:place])


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise DamagedError("it is no ONNX file, or cut short")
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise DamagedError("it is no ONNX file, or damaged")


def metadata(content: bytes) -> dict[str, str]:
    """The texts that a file carries by name.

    Raises:
        DamagedError: no ONNX file.
    """
    found = {}
    for field in fields(memoryview(content)):
        if field.number == _METADATA:
            entry = {part.number: part.content for part in fields(field.content)}
            found[_text(entry.get(1))] = _text(entry.get(2))
    return found


def check(content: bytes) -> None:
    """Refuse what an exported inspector never is.

    Raises:
        DamagedError: values kept in other files, constants larger than the file, operators of other makers, functions.
    """
    graphs = 0
    for field in fields(memoryview(content)):
        if field.number in (_TRAINING, _FUNCTIONS):
            raise DamagedError("it holds functions of its own, which no exported inspector has")
        if field.number == _GRAPH:
            graphs += 1
            _check_graph(field.content, 0)
    if graphs != 1:
        raise DamagedError("it holds no graph")


def _check_graph(graph: memoryview, depth: int) -> None:
    if depth > _DEEPEST:
        raise DamagedError("its graphs are nested too deeply")
    nodes = 0
    for field in fields(graph):
        if field.number == _SPARSE:
            raise DamagedError("it holds sparse constants, which no exported inspector has")
        if field.number == _INITIALIZER:
            _check_tensor(field.content)
        if field.number == _NODE:
            nodes += 1
            _check_node(field.content, depth)
    if nodes > _MOST_NODES:
        raise DamagedError(f"it has {nodes:,} operators; no exported inspector has that many")


def _check_node(node: memoryview, depth: int) -> None:
    for field in fields(node):
        if field.number == _DOMAIN and _text(field.content) not in {"", "ai.onnx"}:
            raise DamagedError(f"it has operators of {_text(field.content)[:80]!r}, which may do anything")
        if field.number == _ATTRIBUTE:
            for part in fields(field.content):
                if part.number == _ATTRIBUTE_GRAPH and len(part.content):
                    _check_graph(part.content, depth + 1)
                elif part.number == _ATTRIBUTE_TENSOR and len(part.content):
                    _check_tensor(part.content)
                elif part.number in _ATTRIBUTE_OTHERS:
                    raise DamagedError("it has operators with constants that no exported inspector has")


def _check_tensor(tensor: memoryview) -> None:
    dims: list[int] = []
    kind, raw = 0, None
    for field in fields(tensor):
        if field.number == _EXTERNAL or (field.number == _LOCATION and field.value):
            raise DamagedError("it keeps constants in other files; an exported inspector is one file")
        if field.number == _DIMS:
            dims += _numbers(field)
        elif field.number == _KIND:
            kind = field.value
        elif field.number == _RAW:
            raw = len(field.content)
    values = math.prod(dims)
    if min(dims, default=0) < 0 or values > _LARGEST_CONSTANT:
        raise DamagedError(f"it has a constant of {' x '.join(map(str, dims[:8]))} values")
    if raw is None:
        raw, at_least = len(tensor), values // 8  # packed numbers take a byte each, or more
        if raw < at_least:
            raise DamagedError(f"a constant of {values:,} values has {raw:,} bytes")
    elif raw != values * _BYTES_PER_VALUE.get(kind, 1):
        raise DamagedError(f"a constant of {values:,} values has {raw:,} bytes")


def _numbers(field: Field) -> list[int]:
    """Integers, packed or not; negative ones as they are."""
    if not len(field.content):
        return [_signed(field.value)] if len(field.whole) > 2 or field.whole[0] & 7 == _VARINT else []
    found, place = [], 0
    while place < len(field.content):
        value, place = _varint(field.content, place)
        found.append(_signed(value))
    return found


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def with_outputs(content: bytes, wanted: Sequence[str]) -> bytes:
    """The same model with some of its outputs only, and nothing in it that they do not need.

    Args:
        content: a model that `check` has let pass.
        wanted: names of outputs.

    Raises:
        DamagedError: an output that there is not.
    """
    parts = [
        _message(_GRAPH, _pruned(field.content, set(wanted)))
        if field.number == _GRAPH
        else bytes(field.whole)
        for field in fields(memoryview(content))
        if field.number != _METADATA
    ]
    return b"".join(parts)


def _pruned(graph: memoryview, wanted: set[str]) -> bytes:
    nodes = [_read_node(field) for field in fields(graph) if field.number == _NODE]
    needed, kept = set(wanted), []
    for node in reversed(nodes):
        if needed & node.outputs:
            needed |= node.inputs
            kept.append(node.whole)
    parts, found = [bytes(whole) for whole in reversed(kept)], set()
    for field in fields(graph):
        if field.number == _OUTPUT:
            name = _first_text(field.content, 1)
            if name in wanted:
                found.add(name)
                parts.append(bytes(field.whole))
        elif field.number == _INITIALIZER:
            if _first_text(field.content, _TENSOR_NAME) in needed:
                parts.append(bytes(field.whole))
        elif field.number != _NODE:
            parts.append(bytes(field.whole))
    if found != wanted:
        raise DamagedError(f"it has no output {', '.join(sorted(wanted - found))}")
    return b"".join(parts)


def _read_node(field: Field) -> _Node:
    return _Node(frozenset(_reads(field.content)), frozenset(_texts(field.content, _OUTPUTS)), field.whole)


def _reads(node: memoryview) -> Iterator[str]:
    """What a node reads, in the graphs inside of it too."""
    yield from _texts(node, _INPUTS)
    for attribute in fields(node):
        if attribute.number != _ATTRIBUTE:
            continue
        for part in fields(attribute.content):
            if part.number == _ATTRIBUTE_GRAPH:
                for inner in fields(part.content):
                    if inner.number == _NODE:
                        yield from _reads(inner.content)


def _texts(message: memoryview, number: int) -> list[str]:
    return [_text(field.content) for field in fields(message) if field.number == number]


def _first_text(message: memoryview, number: int) -> str:
    return next(iter(_texts(message, number)), "")


def _text(content: memoryview | None) -> str:
    try:
        return bytes(content or b"").decode()
    except UnicodeDecodeError:
        raise DamagedError("it is no ONNX file, or damaged") from None


def _message(number: int, content: bytes) -> bytes:
    return _as_varint(number << 3 | _BYTES) + _as_varint(len(content)) + content


def _as_varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)
