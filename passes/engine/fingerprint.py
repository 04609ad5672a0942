"""Counting what a pass changed that edits a graph by hand: a GraphSurgeon script."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.graph.uses import scopes

Marks = Counter[tuple[Any, ...]]


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
        marks[("outputs", *(t.name for t in scope.outputs))] += 1
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
    data = tuple(held.flat) if held.dtype.kind == "O" else held.tobytes()
    return (tensor.name, held.dtype.name, held.shape, hash(data))


def _value(value: Any) -> Any:
    if isinstance(value, gs.Graph):
        return "graph"
    if isinstance(value, gs.Tensor):
        return _tensor(value)
    return repr(value)
