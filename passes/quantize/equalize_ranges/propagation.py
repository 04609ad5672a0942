"""How operators pass a scale of channels on.

f(t x) = t f(x) for t > 0: what is positively homogeneous, each channel on its own. A rule takes the
inputs of a node that carry cells and returns what its outputs carry, or None where the scale cannot
pass. Source: Nagel et al. (ICCV 2019), equation 3, for Relu; the others follow from the operators'
definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError
from ....ir.graph.view import View
from ....ir.ops.axes.named import normal_axes
from ....ir.ops.axes.reductions import read_reduction
from ....ir.ops.traits import Homogeneous, Traits, operators_with
from ....ir.ops.traits.groups import RESHAPES
from ....ir.ops.windows.pad import read_padding
from ...analysis.channels.cells import Cells
from .channel_tensor import ChannelTensor

# By input position: those inputs of a node that carry cells.
Inputs = Mapping[int, ChannelTensor]
Outputs = list[ChannelTensor] | None
Rule = Callable[[gs.Node, Inputs, Cells, View], Outputs]


def _alone(node: gs.Node, inputs: Inputs, cells: Cells, view: View) -> Outputs:
    """Each element alone; a slope or a bound beside it is constant."""
    if set(inputs) != {0}:
        return None
    return [ChannelTensor(node.outputs[0], inputs[0].cells, inputs[0].axis)]


def _pool(node: gs.Node, inputs: Inputs, cells: Cells, view: View) -> Outputs:
    """Windows of one channel. Which element is the largest does not change, so indices stay."""
    return _alone(node, inputs, cells, view) if set(inputs) == {0} and inputs[0].axis == 1 else None


def _pad(node: gs.Node, inputs: Inputs, cells: Cells, view: View) -> Outputs:
    try:
        padding = read_padding(node, view)
    except DeclinedError:
        return None
    axis = inputs[0].axis if set(inputs) == {0} else -1
    if axis < 0 or padding.value != 0 or padding.begins[axis] or padding.ends[axis]:
        return None
    return _alone(node, inputs, cells, view)


def _resize(node: gs.Node, inputs: Inputs, cells: Cells, view: View) -> Outputs:
    """Sums of neighbours, with weights that do not depend on them."""
    mode = node.attrs.get("coordinate_transformation_mode")
    shape = view.shape(node.outputs[0])
    if set(inputs) != {0} or mode == "tf_crop_and_resize" or shape is None:
        return None
    if shape[inputs[0].axis] != len(inputs[0].cells):
        return None
    return _alone(node, inputs, cells, view)


def _reduce(node: gs.Node, inputs: Inputs, cells: Cells, view: View) -> Outputs:
    found = read_reduction(node, view)
    axis = None if found is None or set(inputs) != {0} else found.axis_after(inputs[0].axis)
    return None if axis is None else [ChannelTensor(node.outputs[0], inputs[0].cells, axis)]


def _transpose(node: gs.Node, inputs: Inputs, cells: Cells, view: View) -> Outputs:
    order = node.attrs.get("perm")
    if order is None:
        return None
    x = inputs[0]
    return [ChannelTensor(node.outputs[0], x.cells, list(order).index(x.axis))]


def _reshape(node: gs.Node, inputs: Inputs, cells: Cells, view: View) -> Outputs:
    """[N, C, s...] to [N, C s...], or to [N, C, ...] of any rank."""
    if set(inputs) != {0} or inputs[0].axis != 1:
        return None
    before, after = view.shape(node.inputs[0]), view.shape(node.outputs[0])
    if before is None or after is None or len(after) < 2:
        return None
    own = inputs[0].cells
    if len(after) == 2:
        sizes = [size for size in before[2:] if isinstance(size, int)]
        width = int(np.prod(sizes)) if len(sizes) == len(before) - 2 else 0
        if width and after[1] == len(own) * width:
            return [ChannelTensor(node.outputs[0], np.repeat(own, width), 1)]
    if after[0] is not None and after[0] == before[0] and after[1] == len(own):
        return [ChannelTensor(node.outputs[0], own, 1)]
    return None


def _concat(node: gs.Node, inputs: Inputs, cells: Cells, view: View) -> Outputs:
    axis = next(iter(inputs.values())).axis
    rank = view.rank(node.outputs[0])
    given = None if rank is None else normal_axes(node.attrs["axis"], rank)
    if given is None or any(carried.axis != axis for carried in inputs.values()):
        return None
    if given[0] != axis:
        return _joined(node, inputs, cells, view)
    parts = []
    for position, tensor in enumerate(node.inputs):
        if position in inputs:
            parts.append(inputs[position].cells)
            continue
        shape = view.shape(tensor)
        size = None if shape is None else shape[axis]
        if not isinstance(size, int):
            return None
        parts.append(cells.fresh(size))
        cells.fix(parts[-1], "it is joined with channels that no layer makes")
    return [ChannelTensor(node.outputs[0], np.concatenate(parts), axis)]


def _split(node: gs.Node, inputs: Inputs, cells: Cells, view: View) -> Outputs:
    rank = view.rank(node.inputs[0])
    given = None if rank is None else normal_axes(node.attrs.get("axis", 0), rank)
    if set(inputs) != {0} or given is None:
        return None
    x = inputs[0]
    if given[0] != x.axis:
        return [ChannelTensor(tensor, x.cells, x.axis) for tensor in node.outputs]
    shapes = [view.shape(tensor) for tensor in node.outputs]
    sizes = [shape[x.axis] for shape in shapes if shape is not None]
    known = [size for size in sizes if isinstance(size, int)]
    if len(known) != len(node.outputs) or sum(known) != len(x.cells):
        return None
    parts = np.split(x.cells, np.cumsum(known)[:-1])
    return [ChannelTensor(t, part, x.axis) for t, part in zip(node.outputs, parts, strict=True)]


def _joined(node: gs.Node, inputs: Inputs, cells: Cells, view: View) -> Outputs:
    """Sum, largest or least of tensors that are scaled alike."""
    first = next(iter(inputs.values()))
    ranks = {view.rank(tensor) for tensor in node.inputs}
    if len(inputs) != len(node.inputs) or len(ranks) > 1 or None in ranks:
        return None
    if any(c.axis != first.axis or len(c.cells) != len(first.cells) for c in inputs.values()):
        return None
    for other in inputs.values():
        cells.unite(first.cells, other.cells)
    return [ChannelTensor(node.outputs[0], first.cells, first.axis)]


def _gated(node: gs.Node, inputs: Inputs, cells: Cells, view: View) -> Outputs:
    """A factor, such as that of squeeze-and-excite, leaves the scale of the other as it is."""
    if len(inputs) != 1 or (node.op == "Div" and 0 not in inputs):
        return None
    ((position, x),) = inputs.items()
    shape, result = view.shape(node.inputs[position]), view.shape(node.outputs[0])
    if shape is None or result is None or len(shape) != len(result):
        return None
    if result[x.axis] != len(x.cells):
        return None
    return [ChannelTensor(node.outputs[0], x.cells, x.axis)]


def _homogeneous(has: Callable[[Traits], bool]) -> frozenset[str]:
    return operators_with(lambda t: t.homogeneous >= Homogeneous.POSITIVE and has(t))


RULES: dict[str, Rule] = {
    **dict.fromkeys(_homogeneous(lambda t: t.elementwise and t.data == (0,)), _alone),
    "Clip": _alone,  # whose bounds are scaled too
    **dict.fromkeys(_homogeneous(lambda t: t.pooling), _pool),
    **dict.fromkeys(_homogeneous(lambda t: t.reduction), _reduce),
    **dict.fromkeys(RESHAPES, _reshape),
    **dict.fromkeys(_homogeneous(lambda t: t.broadcasts and t.data is None), _joined),
    **dict.fromkeys(("Mul", "Div"), _gated),
    "Pad": _pad,
    "Resize": _resize,
    "Transpose": _transpose,
    "Concat": _concat,
    "Split": _split,
}
