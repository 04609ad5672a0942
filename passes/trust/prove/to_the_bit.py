"""Differences of integers that go through floats, which no rounding of a sum excuses.

Where floats are nothing but casts of integers, moved about, both graphs round at the same places,
by one rule. Then results have to be equal to the last bit.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.errors import ExecutionError
from ....ir.core.variables import is_standard, subgraphs_of
from ....ir.ops.traits import traits_of
from ....ir.run.feeds import Feed
from ....ir.run.reference import Reference
from ..rounding import differing


def differs_to_the_bit(before: gs.Graph, after: gs.Graph, feed: Feed) -> tuple[str, str] | None:
    """Return an integer output that differs, and by how much; None where it may, or none does."""
    if not (_casts_alone(before) and _casts_alone(after)):
        return None
    try:
        a, b = (Reference(graph, threads=1)(feed) for graph in (before, after))
    except ExecutionError:
        return None
    for name in a:
        if a[name].dtype.kind in "iu" and a[name].shape == b[name].shape:
            count = differing(a[name], b[name])
            if count:
                return name, f"output '{name}' differs at {count} of {a[name].size} elements"
    return None


def _casts_alone(graph: gs.Graph) -> bool:
    """Say whether all floats of a graph are casts of integers, or such that were moved."""
    if any(t.dtype is None or dtypes.is_float(t.dtype) for t in graph.inputs):
        return False
    return not any(map(_computes_floats, graph.nodes, [int(graph.opset)] * len(graph.nodes)))


def _computes_floats(node: gs.Node, opset: int) -> bool:
    if not is_standard(node) or any(True for _ in subgraphs_of(node)):
        return True
    if node.op == "Cast" or traits_of(node, opset).moves:
        return False
    return any(t.dtype is None or dtypes.is_float(t.dtype) for t in (*node.inputs, *node.outputs))
