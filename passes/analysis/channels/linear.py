"""Layers: they read the cells of their inputs and make new ones.

    y[m] = sum_c W[m, c] * x[c] + b[m]

A depthwise layer has one input channel for each output channel, which are one cell.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....ir.core.variables import label
from .cells import Array
from .labels import varying
from .walk import Layer, Rule, Walk


def is_depthwise(node: gs.Node, weight: Array) -> bool:
    """Say whether each of several groups of a convolution reads one channel and makes one."""
    group = int(node.attrs.get("group", 1))
    return group > 1 and len(weight) == group and weight.shape[1] == 1


def _weight(node: gs.Node, walk: Walk) -> Array | None:
    weight = walk.values(node.inputs[1])
    if weight is None:
        walk.block(node, f"the weight of {label(node)} is not constant")
    return weight


def _conv(node: gs.Node, walk: Walk) -> None:
    weight = _weight(node, walk)
    if weight is None:
        return
    group = int(node.attrs.get("group", 1))
    straight = node.op == "Conv"
    inputs = weight.shape[1] * group if straight else len(weight)
    outputs = len(weight) if straight else weight.shape[1] * group
    reads_at, makes_at = (1, 0) if straight else (0, 1)
    read = walk.channels(node.inputs[0], 1, inputs)
    if read is None:
        walk.block(node, f"{label(node)} reads it with a weight of another rank")
        return
    if is_depthwise(node, weight):
        made = read
        walk.slice(node, 1, 0, "carries", read)
    else:
        made = walk.cells.fresh(outputs)
        walk.slice(node, 1, makes_at, "makes", made, 1 if straight else group)
        walk.slice(node, 1, reads_at, "reads", read, group if straight else 1)
    _bias(node, 2, made, walk)
    depthwise = is_depthwise(node, weight)
    walk.layers.append(Layer(node, walk.view, 1, group, read, made, depthwise))
    walk.put(node.outputs[0], made.reshape(1, -1, *[1] * (weight.ndim - 2)))


def _bias(node: gs.Node, position: int, made: Array, walk: Walk) -> None:
    if len(node.inputs) <= position or not node.inputs[position].name:
        return
    bias = walk.values(node.inputs[position])
    if bias is None:
        walk.fix(node.inputs[position], f"{label(node)} reads it as a bias")
        walk.cells.fix(made, f"the bias of {label(node)} is not constant")
    elif node.op != "Gemm" and bias.ndim != 1:
        if bias.any():
            walk.cells.fix(made, f"the bias of {label(node)} is no vector")
    elif bias.size > 1 and bias.shape[-1] == len(made):
        walk.slice(node, position, bias.ndim - 1, "bias", made)


def _gemm(node: gs.Node, walk: Walk) -> None:
    weight = _weight(node, walk)
    if weight is None:
        return
    makes_at = 0 if node.attrs.get("transB", 0) else 1
    axis = 0 if node.attrs.get("transA", 0) else 1
    _matrix(node, weight, makes_at, axis, walk)
    made = walk.of(node.outputs[0])
    if made is not None:
        _bias(node, 2, made.reshape(-1), walk)


def _matmul(node: gs.Node, walk: Walk) -> None:
    rank = walk.view.rank(node.inputs[0])
    if walk.is_constant(node.inputs[0]) or rank is None or rank < 2:
        walk.block(node, f"{label(node)} multiplies it from the right")
        return
    weight = _weight(node, walk)
    if weight is not None and weight.ndim != 2:
        walk.block(node, f"the weight of {label(node)} is no matrix")
    elif weight is not None:
        _matrix(node, weight, 1, rank - 1, walk)


def _matrix(node: gs.Node, weight: Array, makes_at: int, axis: int, walk: Walk) -> None:
    """x [..., K] @ W: a row of x is an element of the batch, along which cells must not differ."""
    labels = walk.of(node.inputs[0])
    read = walk.channels(node.inputs[0], axis, weight.shape[1 - makes_at])
    if labels is None or read is None:
        walk.block(node, f"{label(node)} reads it with a weight of another rank")
        return
    if set(varying(labels)) - {axis}:
        walk.fix(node.inputs[0], f"rows of {label(node)} are different channels")
    made = walk.cells.fresh(weight.shape[makes_at])
    walk.slice(node, 1, makes_at, "makes", made)
    walk.slice(node, 1, 1 - makes_at, "reads", read)
    walk.layers.append(Layer(node, walk.view, axis, 1, read, made))
    walk.put(node.outputs[0], made.reshape(*[1] * (labels.ndim - 1), -1))


RULES: dict[str, Rule] = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
