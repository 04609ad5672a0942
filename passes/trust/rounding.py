"""How far a network's own rounding moves its outputs: the yardstick of verification.

Three measurements on the untouched graph, the largest counts. The reference runtime with its own
optimizations on, against off. Every weight w replaced by w * (1 + d), |d| up to one unit in the
last place, which is what storing a folded weight does to it. And the result of every operator that
rounds replaced by y * (1 + d), d plus or minus one unit, which is what another order of summation
or another spelling of a function does (Higham, "Accuracy and Stability of Numerical Algorithms",
2002, section 2.2: the standard model of floating-point arithmetic).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.errors import ExecutionError
from ...ir.core.variables import dense_values
from ...ir.graph.clone import clone
from ...ir.graph.edit import Edit
from ...ir.graph.types import infer_types
from ...ir.graph.uses import scopes
from ...ir.ops.traits import traits_of
from ...ir.run.compare import compare_outputs
from ...ir.run.reference import Arrays, Reference
from ..analysis.cost import linear_operator

# Significand bits of the stored types: one unit in the last place is 2 ** -bits, relative.
_SIGNIFICAND = {"float64": 52, "float32": 23, "float16": 10, "bfloat16": 7}


def measure_rounding(
    graph: gs.Graph,
    feeds: Sequence[Mapping[str, np.ndarray[Any, Any]]],
    outputs: Sequence[Arrays],
    seed: int,
) -> float:
    """Return the largest change of any output, relative to its range; 0 where nothing would run.

    `outputs` are what the reference runtime gave for `feeds` without optimizations.
    """
    found = [0.0]
    variants = (
        (graph, True),
        (_weights_moved(graph, seed), False),
        (_results_moved(graph, seed), False),
    )
    for changed, optimized in variants:
        try:
            run = Reference(changed, optimized=optimized)
            found.append(compare_outputs(outputs, [run(feed) for feed in feeds]).max_rel)
        except ExecutionError:
            continue
    return max(value for value in found if np.isfinite(value))


def _weights_moved(graph: gs.Graph, seed: int) -> gs.Graph:
    generator = np.random.default_rng(seed)
    copy = clone(graph)
    weights: dict[int, gs.Constant] = {}
    for scope in scopes(copy):
        for node in scope.nodes:
            if linear_operator(node) is not None or node.op == "BatchNormalization":
                for tensor in node.inputs[1:]:
                    if isinstance(tensor, gs.Constant) and dtypes.is_float(tensor.dtype):
                        weights[id(tensor)] = tensor
    for tensor in weights.values():
        values = dense_values(tensor)
        if values is not None and values.dtype.name in _SIGNIFICAND:
            unit = 2.0 ** -_SIGNIFICAND[values.dtype.name]
            # Rounding back makes about half of the weights move by one unit.
            change = 1 + unit * generator.uniform(-1, 1, values.shape)
            tensor._values = (values.astype(np.float64) * change).astype(values.dtype)
    return copy


def _results_moved(graph: gs.Graph, seed: int) -> gs.Graph:
    """Return a copy with a product by 1 + d, d along the last axis, behind what rounds."""
    generator = np.random.default_rng(seed)
    copy = clone(graph)
    types = infer_types(copy)
    with Edit(copy) as edit:
        for node in list(copy.nodes):
            if not _rounds(node, copy.opset):
                continue
            result = node.outputs[0]
            found = types.of(result)
            size = found.shape[-1] if found is not None and found.shape else None
            if found is None or not isinstance(size, int) or found.dtype.name not in _SIGNIFICAND:
                continue
            unit = 2.0 ** -_SIGNIFICAND[found.dtype.name]
            change = (1 + unit * generator.choice((-1.0, 1.0), size)).astype(found.dtype)
            moved = edit.variable(f"{result.name}_moved", found)
            edit.replace(result, moved)
            factor = edit.constant(change, f"{result.name}_change")
            edit.node("Mul", [result, factor], [moved], at=node)
    return copy


def _rounds(node: gs.Node, opset: int) -> bool:
    """Say whether `node` computes new values; others move or select, or give what was written."""
    traits = traits_of(node, opset)
    return traits.pure and not traits.exact and not traits.constant
