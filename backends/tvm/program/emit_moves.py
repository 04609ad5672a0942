"""Operators that TVM imports and that move elements: bytes with one scale are moved as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import onnx_graphsurgeon as gs

from ....ir.graph.types import Shape
from .blocked import BlockedProgram
from .value import Value, shape_of

# Of those whose results are elements of their inputs, what TVM's converters take bytes for.
_MOVES = frozenset(
    {
        "Concat",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)


class MovedBytes:
    """What the converter of a node that moves elements sees: the bytes that stand for them.

    `moved` are the values by id of the tensor, quantized alike; so are the results.
    """

    def __init__(self, program: BlockedProgram, moved: dict[int, Value]) -> None:
        self.builder = program.builder
        self._program = program
        self._moved = moved

    def plain(self, tensor: gs.Tensor) -> Any:
        """Return the bytes of a tensor that is moved, any other in ONNX's own layout."""
        found = self._moved.get(id(tensor))
        return self._program.plain(tensor) if found is None else found.expr

    def define_plain(self, tensor: gs.Tensor, expr: Any) -> None:
        """Record that the bytes `expr` stand for `tensor`."""
        like = next(iter(self._moved.values()))
        shape = shape_of(expr)
        assert shape is not None
        self._program.define(tensor, replace(like, expr=expr, shape=shape))

    def sizes_here(self, shape: Shape) -> Shape:
        """Return `shape`, in ONNX's own layout."""
        return shape


def moved_bytes(program: BlockedProgram, node: gs.Node) -> MovedBytes | None:
    """Return `program` as the converter of `node` sees it, None where it moves no bytes."""
    if node.op not in _MOVES:
        return None
    data = node.inputs if node.op == "Concat" else node.inputs[:1]
    if not all(any(v.scale is not None for v in program.values(tensor)) for tensor in data):
        return None
    found = {id(tensor): program.plain_bytes(tensor) for tensor in data}
    values = {key: value for key, value in found.items() if value is not None}
    same = len({value.quantization for value in values.values()}) == 1
    return MovedBytes(program, values) if same else None
