"""Integers in a graph: quantization parameters of whole tensors, and weights stored as integers.

    x = (q - zero_point) * scale        q = saturate(round(x / scale) + zero_point), halves to even

A float tensor between the two is never stored: where it has kernels, its bytes stand for it.
Source: ONNX operators QuantizeLinear and DequantizeLinear; Jacob et al., CVPR 2018, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.variables import dense_values, is_standard
from ....ir.graph.clone import clone
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import is_dequantizer, is_quantizer
from ....ir.ops.quantization.parameters import read_quantization
from ..spec.layout import Array

_BYTES = (np.dtype(np.uint8), np.dtype(np.int8))


@dataclass(frozen=True)
class TensorQuantization:
    """One scale and zero point for a whole tensor of bytes, `dtype` uint8 or int8."""

    scale: float
    zero: int
    dtype: str

    @property
    def attrs(self) -> tuple[tuple[str, float | int], ...]:
        """What a step of a chain is told of it."""
        ends = np.iinfo(self.dtype)
        return (
            ("high", int(ends.max)),
            ("low", int(ends.min)),
            ("scale", self.scale),
            ("zero", self.zero),
        )


@dataclass(frozen=True)
class IntegerConstant:
    """What a constant was before its DequantizeLinear: `values` less the zero point, int32.

    `scale` broadcasts to the shape of `values`.
    """

    values: Array
    scale: Array

    @property
    def real(self) -> Array:
        """What the DequantizeLinear gives, float32."""
        return np.asarray(self.values.astype(np.float32) * self.scale)


def quantization_of(node: gs.Node, view: View) -> TensorQuantization | None:
    """Return the constant parameters of a QuantizeLinear or DequantizeLinear of bytes, or None."""
    stated = read_quantization(node)
    known = stated.constants(view.constant) if stated.is_plain else None
    ends = (node.inputs[0], node.outputs[0])
    real, bytes_ = ends if is_quantizer(node) else reversed(ends)
    dtype = view.dtype(bytes_)
    if dtype not in _BYTES or view.dtype(real) != np.float32:
        return None
    if known is None or not known.is_per_tensor or not float(known.scale.reshape(())) > 0:
        return None
    zero = 0 if known.zero_point is None else int(known.zero_point.reshape(()))
    return TensorQuantization(float(known.scale.reshape(())), zero, str(dtype))


def fold_integers(graph: gs.Graph) -> tuple[gs.Graph, dict[int, IntegerConstant]]:
    """Return `graph` with every dequantized constant folded, and the integers by id of the result.

    Constants of float8, with a scale for each block or with a float16 scale have no such integers:
    they are folded all the same. `graph` itself is left as it is.
    """
    if not any(map(is_dequantizer, graph.nodes)):
        return graph, {}
    graph = clone(graph)
    with Edit(graph) as edit:
        found: dict[int, IntegerConstant] = {}
        for node in list(graph.nodes):
            if not is_dequantizer(node) or id(node.outputs[0]) in edit.uses.pinned:
                continue
            integers = _integers(node)
            real = _dequantized(node) if integers is None else integers.real
            if real is None:
                continue
            folded = edit.constant(real, node.outputs[0].name)
            edit.replace(node.outputs[0], folded)
            edit.remove(node)
            if integers is not None:
                found[id(folded)] = integers
    return graph, found


def _integers(node: gs.Node) -> IntegerConstant | None:
    stated, values = read_quantization(node), dense_values(node.inputs[0])
    if values is None or not is_standard(node) or not stated.is_plain:
        return None
    known = stated.constants(dense_values)
    parts = None if known is None else known.broadcast(values.shape)
    if known is None or parts is None or known.scale.dtype != np.float32:
        return None
    if not dtypes.is_integer(values.dtype):
        return None
    scale, zero = parts
    centred = values.astype(np.int32) - zero.astype(np.int32)
    return IntegerConstant(centred, scale.astype(np.float32))


def _dequantized(node: gs.Node) -> Array | None:
    """Return what `node` gives where that is a constant."""
    stated, values = read_quantization(node), dense_values(node.inputs[0])
    known = stated.constants(dense_values)
    if values is None or known is None or not is_standard(node) or stated.precision:
        return None
    return known.dequantize(values)
