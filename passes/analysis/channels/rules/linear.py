"""Layers: they read the cells of their inputs and make new ones.

    y[m] = sum_c W[m, c] * x[c] + b[m]

A depthwise layer has one input channel for each output channel, which are one cell.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from .....ir.core.variables import label
from .....ir.ops.linear.operators import (
    CONV_OPS,
    bias_of,
    group_of,
    input_axis,
    input_channels,
    is_absent_bias,
    output_axis,
    output_channels,
    reads_transposed,
)
from ..analysis import ChannelAnalysis, Rule
from ..cells import Array
from ..findings import ChannelLayer
from ..labels import varying


def is_depthwise(node: gs.Node, weight: Array) -> bool:
    """Say whether each of several groups of a convolution reads one channel and makes one."""
    group = group_of(node)
    return group > 1 and len(weight) == group and weight.shape[1] == 1


def _weight(node: gs.Node, analysis: ChannelAnalysis) -> Array | None:
    weight = analysis.values(node.inputs[1])
    if weight is None:
        analysis.block(node, f"the weight of {label(node)} is not constant")
    return weight


def _conv(node: gs.Node, analysis: ChannelAnalysis) -> None:
    weight = _weight(node, analysis)
    if weight is None:
        return
    group = group_of(node)
    straight = node.op == "Conv"
    read = analysis.channels(node.inputs[0], 1, input_channels(node, weight.shape))
    if read is None:
        analysis.block(node, f"{label(node)} reads it with a weight of another rank")
        return
    if is_depthwise(node, weight):
        made = read
        analysis.slice(node, 1, 0, "carries", read)
    else:
        made = analysis.cells.fresh(output_channels(node, weight.shape))
        analysis.slice(node, 1, output_axis(node), "makes", made, 1 if straight else group)
        analysis.slice(node, 1, input_axis(node), "reads", read, group if straight else 1)
    _bias(node, made, analysis)
    depthwise = is_depthwise(node, weight)
    analysis.layers.append(
        ChannelLayer(
            node=node,
            view=analysis.view,
            axis=1,
            group=group,
            read=read,
            made=made,
            depthwise=depthwise,
        )
    )
    analysis.put(node.outputs[0], made.reshape(1, -1, *[1] * (weight.ndim - 2)))


def _bias(node: gs.Node, made: Array, analysis: ChannelAnalysis) -> None:
    given = bias_of(node)
    if given is None:
        return
    bias = analysis.values(given)
    if bias is None:
        analysis.fix(given, f"{label(node)} reads it as a bias")
        analysis.cells.fix(made, f"the bias of {label(node)} is not constant")
    elif is_absent_bias(node, bias):
        return
    elif node.op in CONV_OPS and bias.ndim != 1:
        analysis.cells.fix(made, f"the bias of {label(node)} is no vector")
    elif bias.size > 1 and bias.shape[-1] == len(made):
        analysis.slice(node, 2, bias.ndim - 1, "bias", made)


def _gemm(node: gs.Node, analysis: ChannelAnalysis) -> None:
    weight = _weight(node, analysis)
    if weight is None:
        return
    makes_at = output_axis(node)
    axis = 0 if reads_transposed(node) else 1
    _matrix(node, weight, makes_at, axis, analysis)
    made = analysis.of(node.outputs[0])
    if made is not None:
        _bias(node, made.reshape(-1), analysis)


def _matmul(node: gs.Node, analysis: ChannelAnalysis) -> None:
    rank = analysis.view.rank(node.inputs[0])
    if analysis.is_constant(node.inputs[0]) or rank is None or rank < 2:
        analysis.block(node, f"{label(node)} multiplies it from the right")
        return
    weight = _weight(node, analysis)
    if weight is not None and weight.ndim != 2:
        analysis.block(node, f"the weight of {label(node)} is no matrix")
    elif weight is not None:
        _matrix(node, weight, 1, rank - 1, analysis)


def _matrix(
    node: gs.Node, weight: Array, makes_at: int, axis: int, analysis: ChannelAnalysis
) -> None:
    """x [..., K] @ W: a row of x is an element of the batch, along which cells must not differ."""
    labels = analysis.of(node.inputs[0])
    read = analysis.channels(node.inputs[0], axis, weight.shape[1 - makes_at])
    if labels is None or read is None:
        analysis.block(node, f"{label(node)} reads it with a weight of another rank")
        return
    if set(varying(labels)) - {axis}:
        analysis.fix(node.inputs[0], f"rows of {label(node)} are different channels")
    made = analysis.cells.fresh(weight.shape[makes_at])
    analysis.slice(node, 1, makes_at, "makes", made)
    analysis.slice(node, 1, 1 - makes_at, "reads", read)
    analysis.layers.append(
        ChannelLayer(node=node, view=analysis.view, axis=axis, group=1, read=read, made=made)
    )
    analysis.put(node.outputs[0], made.reshape(*[1] * (labels.ndim - 1), -1))


RULES: dict[str, Rule] = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
