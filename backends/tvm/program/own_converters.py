"""Element-wise operators and maxima that TVM's converters compute otherwise than ONNX Runtime.

TVM's maximum of NaN and a bound is the bound, and that of nothing is the last finite number: a
network that fails gives ordinary numbers, and minus infinity, of which masks are made, is another.
What kernels have an expression for is computed by it here, too; TVM joins it with its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import onnx_graphsurgeon as gs

from ....ir.core.constant_nodes import value_of_constant_node
from ....ir.graph.view import View
from ....ir.ops.axes.reductions import keeps_dims, read_reduction
from ....ir.ops.opsets import has_attribute
from ....ir.ops.traits import attribute
from ..spec.scalars import SCALARS, written_out
from .value import dtype_of, shape_of, size_of

# What kernels compute in: halves are widened before.
_FLOATS = ("float32", "float64")

# Of one tensor each: a list of expressions.
_UNARY = frozenset(
    {
        "Celu",
        "Clip",
        "Elu",
        "Erf",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Relu",
        "Selu",
        "Sigmoid",
        "Tanh",
    }
)


def converted(builder: Any, node: gs.Node, view: View, inputs: Sequence[Any]) -> Any:
    """Return the expression of `node`; None where TVM's converter is to make it."""
    if node.op == "Constant":
        return _written(builder, node)
    if not inputs or inputs[0] is None or dtype_of(inputs[0]) not in _FLOATS:
        return None
    if compares(node):
        return _COMPARING[node.op](builder, node, view, inputs)
    if node.op in _UNARY and dtype_of(inputs[0]) == "float32":
        attrs = _attributes(node, view)
        return None if attrs is None else _by_element(builder, node.op, inputs[0], attrs)
    return None


def compares(node: gs.Node) -> bool:
    """Say whether the result is one of the elements or its place, found by comparing them."""
    return node.op in _COMPARING


def expanded(builder: Any, node: gs.Node, view: View, inputs: Sequence[Any]) -> Any:
    """Return what an Expand makes of `inputs`, where sizes tell which axes are repeated, else None.

    The sizes asked for may be known at run time alone: an axis of 1 has as many as are asked for,
    and one that provably has them already is left alone.
    """
    from tvm import relax, sym

    x, asked = inputs
    sizes, values = shape_of(x), view.constant(node.inputs[1])
    if values is not None:
        wanted: list[Any] = [int(size) for size in values.reshape(-1)]
    elif isinstance(asked, relax.ShapeExpr):
        wanted = [size_of(size) for size in asked]
    else:
        return None
    if sizes is None or not isinstance(x.ty, relax.TensorType):
        return None
    rank = max(len(sizes), len(wanted))
    before = [*[1] * (rank - len(sizes)), *sizes]
    wanted = [*[1] * (rank - len(wanted)), *wanted]
    found = []
    for size, to in zip(before, wanted, strict=True):
        if isinstance(size, int) and size == 1:
            found.append(to)
        elif (isinstance(to, int) and to == 1) or sym.Analyzer().can_prove_equal(size, to):
            found.append(size)
        else:
            return None
    return builder.emit(relax.op.broadcast_to(x, relax.ShapeExpr(found)))


def _written(builder: Any, node: gs.Node) -> Any:
    """Return the value of a Constant, of which TVM's converter knows one spelling."""
    from tvm import relax

    values = value_of_constant_node(node)
    return (
        None
        if values is None or values.dtype.kind not in "fiub"
        else builder.emit(relax.const(values, str(values.dtype)))
    )


def handed_on(builder: Any, node: gs.Node, view: View, x: Any, result: Any) -> Any:
    """Return `result`, which TVM's converter made of `x`, with NaN where that has it."""
    from tvm import relax

    if dtype_of(x) not in _FLOATS:
        return result
    if node.op == "ThresholdedRelu":  # a product with a comparison is NaN for infinity
        above = relax.op.greater(x, relax.const(float(node.attrs.get("alpha", 1.0)), dtype_of(x)))
        return builder.emit(relax.op.where(above, x, relax.const(0.0, dtype_of(x))))
    # TVM compares in these, and a comparison with NaN is false.
    if node.op in ("Clip", "Sign"):
        return builder.emit(relax.op.where(relax.op.isnan(x), x, result))
    return result


def _attributes(node: gs.Node, view: View) -> dict[str, float] | None:
    """Return what the expression of `node` reads; None where it reads others."""
    if node.op == "Gelu" and attribute(node, "approximate", view.opset) != "none":
        return None
    attrs = {k: float(v) for k, v in node.attrs.items() if isinstance(v, float | int)}
    if node.op != "Clip" or has_attribute(node.op, "min", view.opset):
        return attrs
    for name, tensor in zip(("min", "max"), node.inputs[1:], strict=False):
        if tensor.is_empty():
            continue
        values = view.constant(tensor)
        if values is None or values.size != 1:
            return None
        attrs[name] = float(values.reshape(-1)[0])
    return attrs


def _by_element(builder: Any, op: str, x: Any, attrs: dict[str, float]) -> Any:
    from tvm import te

    def computed(tensor: Any) -> Any:
        return te.compute(
            tensor.shape,
            lambda *at: SCALARS[op]([tensor(*at)], attrs, written_out),
            name=op.lower(),
        )

    return builder.emit_te(computed, x, primfunc_name_hint=op.lower())


def _largest(builder: Any, node: gs.Node, view: View, inputs: Sequence[Any]) -> Any:
    from tvm import relax

    combine = relax.op.maximum if node.op == "Max" else relax.op.minimum
    total = inputs[0]
    for other in inputs[1:]:
        # The second of two is the result where the first is NaN.
        total = relax.op.where(relax.op.isnan(total), total, combine(total, other))
    return builder.emit(total)


def _reduced(builder: Any, node: gs.Node, view: View, inputs: Sequence[Any]) -> Any:
    from tvm import te, tirx

    found = read_reduction(node, view)
    if found is None or not found.axes:
        return None
    sign = -1.0 if node.op == "ReduceMax" else 1.0
    better: Callable[[Any, Any], Any] = (
        (lambda a, b: a > b) if node.op == "ReduceMax" else (lambda a, b: a < b)
    )

    def step(a: Any, b: Any) -> Any:
        return tirx.Select(tirx.any(better(a, b), tirx.isnan(a)), a, b)

    reducer = te.comm_reducer(step, lambda kind: tirx.const(sign * math.inf, kind))

    def computed(tensor: Any) -> Any:
        sizes = list(tensor.shape)
        along = {axis: te.reduce_axis((0, sizes[axis]), f"k{axis}") for axis in found.axes}
        kept = [1 if axis in along else size for axis, size in enumerate(sizes)]
        if not found.keepdims:
            kept = [size for axis, size in enumerate(sizes) if axis not in along]

        def element(*at: Any) -> Any:
            rest = iter(at)
            places = []
            for axis in range(len(sizes)):
                place = next(rest) if found.keepdims or axis not in along else None
                places.append(along.get(axis, place))
            return reducer(tensor(*places), axis=[*along.values()])

        return te.compute(kept, element, name="reduced")

    return builder.emit_te(computed, inputs[0], primfunc_name_hint=node.op.lower())


def _place(builder: Any, node: gs.Node, view: View, inputs: Sequence[Any]) -> Any:
    """Return where the largest or least lies: that before which none is better, or as good.

    Nothing is better than NaN, and NaN than nothing: at the first place it stays, as in ONNX
    Runtime, and elsewhere it is passed by.
    """
    from tvm import te, tirx

    x = inputs[0]
    axis = int(attribute(node, "axis", view.opset)) % len(x.ty.shape)
    keepdims = keeps_dims(node)
    largest, last = node.op == "ArgMax", bool(node.attrs.get("select_last_index", 0))

    def better(a: Any, b: Any) -> Any:
        a, b = (a, b) if largest else (b, a)
        return a >= b if last else a > b

    def step(a: Any, b: Any) -> Any:
        taken = tirx.any(a[0] < tirx.const(0, "int64"), better(b[1], a[1]))
        return tuple(tirx.Select(taken, new, old) for old, new in zip(a, b, strict=True))

    def nowhere(place: Any, value: Any) -> Any:
        return tirx.const(-1, place), tirx.const(0, value)

    def computed(tensor: Any) -> Any:
        sizes = list(tensor.shape)
        along = te.reduce_axis((0, sizes[axis]), "k")
        kept = [*sizes[:axis], *([1] if keepdims else []), *sizes[axis + 1 :]]
        reducer = te.comm_reducer(step, nowhere)

        def element(*at: Any) -> Any:
            value = tensor(*at[:axis], along, *at[axis + keepdims :])
            return reducer((tirx.Cast("int64", along.var), value), axis=along)

        places, _ = te.compute(kept, element, name="placed")
        return te.compute(kept, lambda *at: places(*at), name="place")

    return builder.emit_te(computed, x, primfunc_name_hint=node.op.lower())


_COMPARING: dict[str, Callable[[Any, gs.Node, View, Sequence[Any]], Any]] = {
    **dict.fromkeys(("Max", "Min"), _largest),
    **dict.fromkeys(("ReduceMax", "ReduceMin"), _reduced),
    **dict.fromkeys(("ArgMax", "ArgMin"), _place),
}
