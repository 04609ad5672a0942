"""How far a network's own rounding moves its outputs: the yardstick of verification.

Two measurements on the untouched graph, the larger counts. The reference runtime with its own
optimizations on, against off. And every weight w replaced by w * (1 + d), |d| up to one unit in
the last place, which is what storing a folded weight does to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..ir import dtypes
from ..ir.clone import clone
from ..ir.compare import compare_outputs
from ..ir.cost import linear_operator
from ..ir.errors import ExecutionError
from ..ir.reference import Arrays, Reference
from ..ir.uses import scopes
from ..ir.variables import dense_values

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
    for changed, optimized in ((graph, True), (_perturbed(graph, seed), False)):
        try:
            run = Reference(changed, optimized=optimized)
            found.append(compare_outputs(outputs, [run(feed) for feed in feeds]).max_rel)
        except ExecutionError:
            continue
    return max(value for value in found if np.isfinite(value))


def _perturbed(graph: gs.Graph, seed: int) -> gs.Graph:
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
