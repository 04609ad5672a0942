"""Outputs that are tails of a kernel: small numbers of which it gives no digit.

y = s(x)    s the same operator before and after, right to a unit of 1 (`loses_tails`)

Where y is small beside 1, as the scores of a detector that finds nothing are, it differs by such
units, which are much of its range; what s reads has all digits, and is compared in its stead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.errors import ExecutionError
from ...ir.ops.inline_calls import written_out
from ...ir.ops.traits import traits_of
from ...ir.run.comparison import compare_outputs
from ...ir.run.reference import Arrays, Reference

Feed = Mapping[str, np.ndarray[Any, Any]]


def loses_tails(node: gs.Node, graph: gs.Graph) -> bool:
    """Say whether the kernel of `node` is right to a unit of 1, not of what it gives."""
    return traits_of(node, graph.opset).loses_tails


def error_before_tails(
    graphs: Sequence[gs.Graph],
    outputs: Sequence[Sequence[Arrays]],
    feeds: Sequence[Feed],
    name: str,
) -> float | None:
    """Return how far what output `name` is made of is apart in two `graphs`, of its range.

    None where an operator that loses tails does not make it in both, or where the graphs do not
    give `outputs` once more.
    """
    found = []
    for graph, wanted in zip(graphs, outputs, strict=True):
        operands = _operands(graph, wanted, feeds, name)
        if operands is None:
            return None
        found.append(operands)
    return compare_outputs(*found).max_rel


def _operands(
    graph: gs.Graph, outputs: Sequence[Arrays], feeds: Sequence[Feed], name: str
) -> list[Arrays] | None:
    """Return what the kernel that makes output `name` reads for each of `feeds`."""
    copy = written_out(graph)
    result = next(tensor for tensor in copy.outputs if tensor.name == name)
    node = result.inputs[0] if result.inputs else None
    if node is None or not loses_tails(node, copy):
        return None
    operand = node.inputs[0]
    if not isinstance(operand, gs.Variable) or any(t is operand for t in copy.inputs):
        return None
    operand.dtype, operand.shape = outputs[0][name].dtype, None
    copy.outputs = [result, operand]
    try:
        run = Reference(copy)
        found = [run(feed) for feed in feeds]
    except ExecutionError:
        return None
    if any(a[name].tobytes() != b[name].tobytes() for a, b in zip(found, outputs, strict=True)):
        return None
    return [{name: arrays[operand.name]} for arrays in found]
