"""A chain of maps with constants, y = op_n(... op_1(x, c_1) ..., c_n), written into a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.graph.edit import Edit
from ...ir.graph.types import TensorType
from ...ir.ops.linear.affine import Affine

# An operator and its constants, in the order of its inputs behind the data.
Map = tuple[str, tuple[np.ndarray[Any, Any], ...]]


def write_maps(
    edit: Edit, source: gs.Tensor, maps: Sequence[Map], last: Affine, kind: TensorType | None
) -> None:
    """Let `maps` of `source` give the result of `last`, in its place; without any, `source` does.

    `last` has been removed. Tensors between are of `kind`.
    """
    hint = last.result.name
    if not maps:
        edit.replace(last.result, source)
    for position, (op, constants) in enumerate(maps):
        final = position == len(maps) - 1
        result = last.result if final else edit.variable(f"{hint}_scaled", kind)
        inputs = [edit.constant(values, f"{hint}_{op.lower()}") for values in constants]
        attrs = {"epsilon": 0.0} if op == "BatchNormalization" else None
        edit.node(op, [source, *inputs], [result], attrs, at=last.node)
        source = result
