"""Integers in a graph: quantization parameters of whole tensors, and weights stored as integers.

    x = (q - zero_point) * scale        q = saturate(round(x / scale) + zero_point), halves to even

A float tensor between the two is never stored: where it has kernels, its bytes stand for it.
Source: ONNX operators QuantizeLinear and DequantizeLinear; Jacob et al., CVPR 2018, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import dense_values, is_standard
from ....ir.graph.clone import clone
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ..spec.layout import Array

_BYTES = (np.dtype(np.uint8), np.dtype(np.int8))
_BLOCKWISE = ("block_size", "output_dtype", "precision")


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


def is_quantizer(node: gs.Node) -> bool:
    """Say whether `node` is a QuantizeLinear or DequantizeLinear."""
    return node.op in ("QuantizeLinear", "DequantizeLinear") and is_standard(node)


def quantization_of(node: gs.Node, view: View) -> TensorQuantization | None:
    """Return the constant parameters of a QuantizeLinear or DequantizeLinear of bytes, or None."""
    if any(node.attrs.get(name, 0) for name in _BLOCKWISE):
        return None
    bytes_ = node.outputs[0] if node.op == "QuantizeLinear" else node.inputs[0]
    real = node.inputs[0] if node.op == "QuantizeLinear" else node.outputs[0]
    dtype, scale = view.dtype(bytes_), view.constant(node.inputs[1])
    given = len(node.inputs) > 2 and not node.inputs[2].is_empty()
    zero = view.constant(node.inputs[2]) if given else np.zeros(1)
    if dtype not in _BYTES or view.dtype(real) != np.float32 or scale is None or zero is None:
        return None
    if scale.size != 1 or zero.size != 1 or not float(scale.reshape(())) > 0:
        return None
    return TensorQuantization(float(scale.reshape(())), int(zero.reshape(())), str(dtype))


def fold_integers(graph: gs.Graph) -> tuple[gs.Graph, dict[int, IntegerConstant]]:
    """Return `graph` with every dequantized constant folded, and the integers by id of the result.

    `graph` itself is left as it is.
    """
    if not any(map(is_quantizer, graph.nodes)):
        return graph, {}
    graph = clone(graph)
    with Edit(graph) as edit:
        found: dict[int, IntegerConstant] = {}
        for node in list(graph.nodes):
            integers = _integers(node) if node.op == "DequantizeLinear" else None
            if integers is None or id(node.outputs[0]) in edit.uses.pinned:
                continue
            real = integers.values.astype(np.float32) * integers.scale
            folded = edit.constant(real, node.outputs[0].name)
            edit.replace(node.outputs[0], folded)
            edit.remove(node)
            found[id(folded)] = integers
    return graph, found


def _integers(node: gs.Node) -> IntegerConstant | None:
    if not is_standard(node) or any(node.attrs.get(name, 0) for name in _BLOCKWISE):
        return None
    given = [tensor for tensor in node.inputs if not tensor.is_empty()]
    parts = [dense_values(tensor) for tensor in given]
    values, scale = parts[0], parts[1]
    if (
        values is None
        or scale is None
        or scale.dtype != np.float32
        or any(p is None for p in parts)
    ):
        return None
    centred = values.astype(np.int32)
    shape = [1] * values.ndim
    if scale.ndim and values.ndim:
        shape[int(node.attrs.get("axis", 1))] = scale.size
    if len(parts) > 2 and parts[2] is not None:
        centred = centred - parts[2].astype(np.int32).reshape(shape)
    return IntegerConstant(centred, scale.reshape(shape))
