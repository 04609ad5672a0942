"""Counting what a pass changed that edits a graph by hand: a GraphSurgeon script.

Weights that nobody touched are not read.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.graph.uses import scopes

Marks = Counter[tuple[Any, ...]]
_SAMPLE = 8  # elements


class _Weights:
    """What an array held when it was looked at.

    One that nobody can write to is read only where it is compared with one that lies elsewhere.
    """

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self._values = values
        self._kind = (values.dtype.name, values.shape, values.flat[:_SAMPLE].tobytes())
        self._writeable = values.flags.writeable
        self._digest = hash(values.tobytes()) if self._writeable else None

    def __hash__(self) -> int:
        return hash(self._kind)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Weights) or self._kind != other._kind:
            return False
        if not (self._writeable or other._writeable) and self._place == other._place:
            return True
        return self._content == other._content

    @property
    def _place(self) -> tuple[int, tuple[int, ...]]:
        return self._values.ctypes.data, self._values.strides

    @property
    def _content(self) -> int:
        return hash(self._values.tobytes()) if self._digest is None else self._digest


def fingerprint(graph: gs.Graph) -> Marks:
    """Return one mark a node and interface tensor of `graph`; equal graphs have equal marks."""
    marks: Marks = Counter()
    for entry in graph.import_domains or ():
        marks[("opset", entry.domain, entry.version)] += 1
    for scope in itertools.chain(scopes(graph), graph.functions):
        for node in scope.nodes:
            marks[node_mark(node)] += 1
        marks[("opset", scope.name, scope.opset)] += 1
        marks[("inputs", *(t.name for t in scope.inputs))] += 1
        marks[("outputs", *(_tensor(t) for t in scope.outputs))] += 1
    return marks


def node_mark(node: gs.Node) -> tuple[Any, ...]:
    """Return what tells a node from others, and from itself once it is changed."""
    return (
        node.domain,
        node.op,
        node.name,
        tuple(_tensor(t) for t in node.inputs),
        tuple(t.name for t in node.outputs),
        tuple((name, _value(value)) for name, value in sorted(node.attrs.items())),
    )


def count_changes(before: Marks, after: Marks) -> int:
    """Return how many nodes are new or changed, or, if only fewer, how many are gone."""
    return sum((after - before).values()) or sum((before - after).values())


def _tensor(tensor: gs.Tensor) -> tuple[Any, ...]:
    if not isinstance(tensor, gs.Constant):
        return (tensor.name,)
    held = tensor._values
    if not isinstance(held, np.ndarray):
        return (tensor.name, id(held))
    if held.dtype.kind == "O":
        return (tensor.name, held.dtype.name, held.shape, hash(tuple(held.flat)))
    return (tensor.name, _Weights(held))


def _value(value: Any) -> Any:
    if isinstance(value, gs.Graph):
        return "graph"
    if isinstance(value, gs.Tensor):
        return _tensor(value)
    return repr(value)
