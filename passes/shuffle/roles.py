"""What an operator does with the order of its channels, and its constants in another order.

    linear:       P W Q (Q^T x) = P (W x)       its weight takes any order in, any order out
    channelwise:  f(P x) = P f'(x)              f' is f with its per-channel constants permuted

Anything else wants its channels as they are, and gives them so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.decline import DeclinedError
from ...ir.core.variables import dense_values, is_standard
from ...ir.graph.edit import Edit
from ...ir.graph.view import View
from ...ir.ops.linear.operators import bias_of, group_of, input_axis, is_absent_bias, output_axis
from ...ir.ops.opsets import aligns
from ...ir.ops.parameters import read_parameter
from ...ir.ops.training import need_inference
from ...ir.ops.traits.groups import BROADCASTING, POOLS, UNARY
from .routes import channels_of

Array = np.ndarray[Any, Any]
Weights = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ChannelRole:
    """How a node treats channels: `data` are its inputs that carry them.

    `weights_in` and `weights_out` are the constants to permute, as (input, axis), where the order
    of the channels it reads or gives changes. The two orders are one unless it is linear.
    """

    data: tuple[int, ...]
    weights_in: Weights
    weights_out: Weights
    is_linear: bool
    grows: bool  # its result may be larger than its input: move channels before it


def role_of(node: gs.Node, view: View) -> ChannelRole | None:
    """Return the role of `node`, or None where it wants its channels in their own order."""
    reader = _READERS.get(node.op)
    if reader is None or not is_standard(node):
        return None
    before, after = channels_of(node.inputs[0], view), channels_of(node.outputs[0], view)
    if after is None or any(_is_used(tensor, view) for tensor in node.outputs[1:]):
        return None
    role = reader(node, view)
    known = all(channels_of(node.inputs[i], view) is not None for i in role.data) if role else False
    if role is None or not known:
        return None
    return role if role.is_linear or node.op in BROADCASTING or before == after else None


def permute(node: gs.Node, weights: Weights, order: Array, edit: Edit) -> None:
    """Give `node` fresh constants whose channel i is what channel `order[i]` was."""
    for position, axis in weights:
        tensor = node.inputs[position]
        values = dense_values(tensor)
        assert values is not None
        fresh = edit.constant(np.take(values, order, axis), f"{tensor.name}_permuted")
        edit.set_input(node, position, fresh)


def _is_used(tensor: gs.Tensor, view: View) -> bool:
    return not tensor.is_empty() and (bool(view.readers(tensor)) or view.is_output(tensor))


def _channelwise(
    *weights: tuple[int, int], data: tuple[int, ...] = (0,), grows: bool = False
) -> ChannelRole:
    return ChannelRole(data, (), tuple(weights), is_linear=False, grows=grows)


def _unary(node: gs.Node, view: View) -> ChannelRole | None:
    # Bounds and the like are scalars.
    return _channelwise()


def _convolution(node: gs.Node, view: View) -> ChannelRole | None:
    weight = view.constant(node.inputs[1])
    channels, outputs = channels_of(node.inputs[0], view), channels_of(node.outputs[0], view)
    bias = bias_of(node)
    values = None if bias is None else view.constant(bias)
    if weight is None or (bias is not None and values is None):
        return None
    if values is not None and is_absent_bias(node, values):
        bias = None
    elif values is not None and values.shape != (outputs,):
        return None
    rest = () if bias is None else ((2, 0),)
    transposed, group = node.op == "ConvTranspose", group_of(node)
    if group == 1:
        into, out = (1, input_axis(node)), (1, output_axis(node))
        return ChannelRole((0,), (into,), (out, *rest), is_linear=True, grows=transposed)
    if group == channels == outputs:
        return _channelwise((1, 0), *rest, grows=transposed)
    return None


def _normalization(node: gs.Node, view: View) -> ChannelRole | None:
    try:
        need_inference(node, view)
    except DeclinedError:
        return None
    parameters = range(1, len(node.inputs))
    held = all(view.is_constant(node.inputs[i]) for i in parameters)
    return _channelwise(*((i, 0) for i in parameters)) if held else None


def _pad(node: gs.Node, view: View) -> ChannelRole | None:
    rank, pads = view.rank(node.inputs[0]), read_parameter(node, "pads", view).values
    filled = read_parameter(node, "axes", view).given
    if pads is None or rank is None or filled or len(pads) != 2 * rank:
        return None
    return _channelwise(grows=True) if not pads[1] and not pads[1 + rank] else None


def _elementwise(node: gs.Node, view: View) -> ChannelRole | None:
    shape = view.shape(node.outputs[0])
    if shape is None or not aligns(node.op, view.opset):
        return None
    rank, channels = len(shape), shape[1]
    data: list[int] = []
    weights: list[tuple[int, int]] = []
    for position, tensor in enumerate(node.inputs):
        held = view.shape(tensor)
        if held is None:
            return None
        axis = len(held) - rank + 1
        if axis < 0 or held[axis] == 1 != channels:
            continue  # the same for every channel
        if held[axis] != channels:
            return None
        if view.is_constant(tensor):
            if view.constant(tensor) is None:
                return None
            weights.append((position, axis))
        elif len(held) == rank:
            data.append(position)
        else:
            return None
    # A gate [N, C, 1, 1] or a residual: every operand that has channels has the same ones.
    return _channelwise(*weights, data=tuple(data)) if data else None


_READERS = {
    **dict.fromkeys(UNARY | POOLS, _unary),
    **dict.fromkeys(BROADCASTING, _elementwise),
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "BatchNormalization": _normalization,
    "InstanceNormalization": _normalization,
    "Pad": _pad,
}
