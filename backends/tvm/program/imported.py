"""Which converters of TVM's ONNX importer give what ONNX says, as far as that is known.

Those that a search with random graphs found right, some under a condition on attributes or inputs.
Sizes and types of every result are compared with what is inferred besides, so this is about values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.decline import DeclinedError
from ....ir.graph.types import Shape
from ....ir.graph.view import View
from ....ir.ops.axes.named import normal_axes, softmax_axes
from ....ir.ops.axes.reductions import keeps_all_without_axes
from ....ir.ops.parameters import read_parameter
from ....ir.ops.slices import read_slice, takes_all
from ....ir.ops.traits import attribute
from ....ir.ops.windows.pad import read_padding
from .value import is_held

Right = Callable[[gs.Node, View], bool]


def is_right(node: gs.Node, view: View) -> bool:
    """Say whether the converter of `node` is known to be right for what it is given.

    An empty tensor is none of those that TVM's schedules expect, and types of few bits are other
    numbers to it, or none.
    """
    tensors = [tensor for tensor in (*node.inputs, *node.outputs) if not tensor.is_empty()]
    if any(
        0 in (view.shape(tensor) or ()) or not is_held(view.dtype(tensor)) for tensor in tensors
    ):
        return False
    known = _RIGHT.get(node.op)
    return known is not None and known(node, view)


def _always(node: gs.Node, view: View) -> bool:
    return True


def _has_wide_types(node: gs.Node, view: View) -> bool:
    """Say whether no type is a float of fewer than 16 bits, to which TVM does not round."""
    kinds = [dtypes.type_name(view.dtype(t)) for t in (*node.inputs, *node.outputs)]
    return not any(kind.startswith(("float8", "float4")) for kind in kinds)


def _has_constant_bounds(node: gs.Node, view: View) -> bool:
    """Say whether bounds are constant, and mean the same to Python, TVM and ONNX Runtime.

    Of an axis of unknown size TVM takes less than nothing where the end comes before the start.
    """
    parts = read_slice(node, view)
    shape = view.shape(node.inputs[0])
    if parts is None or shape is None:
        return False
    return all(isinstance(shape[at], int) or takes_all(p, shape[at]) for at, p in parts.items())


def _pads_alone(node: gs.Node, view: View) -> bool:
    """Say whether nothing is cropped or mirrored, or all sizes are known."""
    shape = view.shape(node.inputs[0])
    if shape is not None and all(isinstance(size, int) for size in shape):
        return True
    try:
        return not read_padding(node, view).crops
    except DeclinedError:
        return False


def _has_constant_indices(node: gs.Node, view: View) -> bool:
    """Say whether no index can lie outside: what is not constant would be read unchecked."""
    return view.constant(node.inputs[1]) is not None


def _reduces_something(node: gs.Node, view: View) -> bool:
    """Say whether axes are constant, and what they reduce has a size that is known.

    TVM leaves the result of no elements undefined, and takes no axes for all of them.
    """
    shape = view.shape(node.inputs[0])
    axes = read_parameter(node, "axes", view)
    if shape is None or not axes.known:
        return False
    named = normal_axes(axes.ints() or range(len(shape)), len(shape))
    if not axes.ints() and keeps_all_without_axes(node):
        return False
    return _are_known(named, shape)


def _expands_known_sizes(node: gs.Node, view: View) -> bool:
    """Say whether it is known which axes are repeated, and all sizes are numbers or the inputs'.

    TVM repeats no axis whose size is unknown, and compiles no sizes that only a feed tells.
    """
    x, y = view.shape(node.inputs[0]), view.shape(node.outputs[0])
    if x is None or y is None or len(x) > len(y):
        return False
    named = {size for tensor in view.scope.inputs for size in tensor.shape or () if size}
    if not all(isinstance(size, int) or size in named for size in y):
        return False
    pairs = zip(reversed(x), reversed(y), strict=False)
    return all(isinstance(a, int) or (a is not None and a == b) for a, b in pairs)


def _has_known_axis(node: gs.Node, view: View) -> bool:
    """Say whether the axis that the node works along has a size that is known."""
    shape = view.shape(node.inputs[0])
    if shape is None:
        return False
    return _are_known(normal_axes(attribute(node, "axis", view.opset), len(shape)), shape)


def _has_known_axes(node: gs.Node, view: View) -> bool:
    """Say whether all axes over which a Softmax normalizes together have sizes that are known."""
    shape = view.shape(node.inputs[0])
    return shape is not None and _are_known(softmax_axes(node, len(shape), view.opset), shape)


def _are_known(axes: Sequence[int] | None, shape: Shape) -> bool:
    return axes is not None and all(isinstance(shape[axis], int) for axis in axes)


def _has_known_parts(node: gs.Node, view: View) -> bool:
    """Say whether the sizes of the parts are constant, none 0, or follow from one that is known."""
    parts = read_parameter(node, "split", view).ints()
    if parts is not None:
        return all(parts)
    shape = view.shape(node.inputs[0])
    return shape is not None and isinstance(shape[int(node.attrs.get("axis", 0))], int)


def _has_an_open_batch_at_most(node: gs.Node, view: View) -> bool:
    """Say whether all sizes behind the batch are known: LLVM takes minutes for others' indices."""
    shape = view.shape(node.inputs[0])
    return shape is not None and all(isinstance(size, int) for size in shape[1:])


def _moves_depth_first(node: gs.Node, view: View) -> bool:
    """Say whether channels vary fastest in the result: TVM's converter has no other mode."""
    return node.attrs.get("mode", "DCR") == "DCR" and _has_an_open_batch_at_most(node, view)


def _has_known_depth(node: gs.Node, view: View) -> bool:
    """Say whether a product sums over an axis of a size that one of the two tells."""
    left, right = (view.shape(tensor) for tensor in node.inputs[:2])
    if not left or not right:
        return False
    by_rows = len(right) > 1 and not node.attrs.get("transB", 0)
    ends = left[0] if node.attrs.get("transA", 0) else left[-1], right[-2 if by_rows else -1]
    return any(isinstance(size, int) for size in ends)


def _pads_as_told(node: gs.Node, view: View) -> bool:
    """Say whether a window's pads are written down: SAME is not the same for TVM."""
    return not str(node.attrs.get("auto_pad", "NOTSET")).startswith("SAME")


def _is_inference(node: gs.Node, view: View) -> bool:
    return not node.attrs.get("training_mode", 0) and len(node.outputs) == 1


def _has_one_result(node: gs.Node, view: View) -> bool:
    """Say whether nothing but the first result is asked for; the others are placeholders."""
    return len(node.outputs) == 1


def _of_integers(node: gs.Node, view: View) -> bool:
    dtype = view.dtype(node.inputs[0])
    return dtype is not None and dtype.kind in "iu"


def _divides(node: gs.Node, view: View) -> bool:
    """Say whether no integer is divided by 0, or the least of all by -1: both end the process."""
    if not _of_integers(node, view):
        return True
    divisors = view.constant(node.inputs[1])
    return divisors is not None and not np.isin(divisors, (0, -1)).any()


def _steps(node: gs.Node, view: View) -> bool:
    """Say whether the step of a Range is constant and none of 0, by which sizes are divided."""
    step = view.constant(node.inputs[2])
    return step is not None and bool(np.all(step))


def _has_remainders(node: gs.Node, view: View) -> bool:
    return _of_integers(node, view) and _divides(node, view)


def _has_bounds(node: gs.Node, view: View) -> bool:
    """Say whether bounds are constant, or all given: where one is absent, TVM leaves infinity."""
    found = [read_parameter(node, name, view) for name in ("min", "max")]
    dtype = view.dtype(node.inputs[0])
    if dtype not in (np.float16, np.float32, np.float64):
        return True
    if all(each.given for each in found):
        return True
    return dtype == np.float32 and all(each.known for each in found)


def _asks_for_both_signs(node: gs.Node, view: View) -> bool:
    return all(node.attrs.get(f"detect_{sign}", 1) for sign in ("negative", "positive"))


def _has_odd_size(node: gs.Node, view: View) -> bool:
    return bool(int(node.attrs["size"]) % 2)


# What TVM's own converters were seen to compute right: a list of theirs, no trait.
_RIGHT: dict[str, Right] = {
    **dict.fromkeys(
        ("Add", "And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max",
         "Mean", "Min", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor"),
        _always,
    ),
    **dict.fromkeys(
        ("Abs", "Asinh", "Atan", "Ceil", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu",
         "HardSigmoid", "HardSwish", "Identity", "IsNaN", "LeakyRelu", "Log", "Mish",
         "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin",
         "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu"),
        _always,
    ),
    **dict.fromkeys(
        ("Concat", "Constant", "ConstantOfShape", "Flatten", "Reshape", "Shape", "Size",
         "Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze"),
        _always,
    ),
    "Cast": _has_wide_types,
    "DepthToSpace": _has_an_open_batch_at_most,
    "SpaceToDepth": _moves_depth_first,
    **dict.fromkeys(("DequantizeLinear", "QuantizeLinear"), _always),
    **dict.fromkeys(("Gather", "GatherElements", "GatherND"), _has_constant_indices),
    **dict.fromkeys(
        [f"Reduce{name}" for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min",
                                      "Prod", "Sum", "SumSquare")],
        _reduces_something,
    ),
    **dict.fromkeys(("ArgMax", "ArgMin", "TopK"), _has_known_axis),
    **dict.fromkeys(("LogSoftmax", "Softmax"), _has_known_axes),
    **dict.fromkeys(("Gemm", "MatMul"), _has_known_depth),
    "BatchNormalization": _is_inference,
    "Clip": _has_bounds,
    "Conv": _pads_as_told,
    "CumSum": _always,
    "Div": _divides,
    "IsInf": _asks_for_both_signs,
    "Expand": _expands_known_sizes,
    "GroupNormalization": _always,
    "InstanceNormalization": _always,
    "LRN": _has_odd_size,
    "LayerNormalization": _has_one_result,
    "Mod": _has_remainders,
    "Pad": _pads_alone,
    "Range": _steps,
    "Slice": _has_constant_bounds,
    "Split": _has_known_parts,
}  # fmt: skip
