"""The ends of what the readers of a tensor tell apart: its quantizers clip what lies beyond."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import is_quantizer
from ....ir.ops.quantization.parameters import read_quantization

Limits = tuple[float, float]


def limits_of(graph: gs.Graph, view: View, names: Iterable[str]) -> dict[str, Limits]:
    """Return the least and the largest value that counts, of those tensors that have such.

    A Relu or Clip may be nothing but these limits.
    """
    made = {tensor.name: tensor for node in graph.nodes for tensor in node.outputs}
    found = {}
    for name in names:
        tensor = made[name]
        if not view.is_output(tensor):
            ends = [_ends(reader, view) for reader in view.readers(tensor)]
            known = [pair for pair in ends if pair is not None]
            if known and len(known) == len(ends):
                found[name] = min(low for low, _ in known), max(high for _, high in known)
    return found


def _ends(reader: gs.Node, view: View) -> Limits | None:
    if not is_quantizer(reader):
        return None
    known = read_quantization(reader).constants(view.constant)
    if known is None or not known.is_per_tensor or not dtypes.is_integer(known.integer_type):
        return None
    ends = np.array(dtypes.integer_limits(known.integer_type)).astype(known.integer_type)
    values = known.dequantize(ends)
    return None if values is None else (float(values[0]), float(values[1]))
