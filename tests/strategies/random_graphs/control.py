"""Steps: If, Loop, Scan, and calls of local functions."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import AttributeProto, FunctionProto, helper, numpy_helper

from . import elementwise, idioms, movement, reductions
from .builder import Builder, info
from .evaluate import Array

_INNER = (
    elementwise.unary,
    elementwise.unary,
    elementwise.binary,
    elementwise.chain,
    elementwise.clipped,
    elementwise.where,
    idioms.spelled,
    idioms.no_op,
    movement.transpose,
    movement.reshape,
    movement.slice_,
    reductions.reduction,
)


def _steps(child: Builder, count: int) -> None:
    for _ in range(count):
        child.rng.choice(_INNER)(child)


def _graph(
    child: Builder,
    name: str,
    inputs: list[onnx.ValueInfoProto],
    outputs: list[str],
    *,
    ranked: bool = False,
) -> onnx.GraphProto:
    """Return the subgraph; what it returns and does not make itself goes through an Identity.

    `ranked`: the ranks of its outputs are declared.
    """
    made = {n for node in child.nodes for n in node.output}
    results = []
    for output in outputs:
        if output not in made or output in results:
            (output,) = child.node("Identity", [output])
        results.append(output)
    return helper.make_graph(
        child.nodes,
        name,
        inputs,
        [info(n, child.arrays[n], _ranked(child.arrays[n]) if ranked else None) for n in results],
        [numpy_helper.from_array(array, n) for n, array in child.initializers.items()],
    )


def _ranked(array: Array) -> list[None]:
    return [None] * array.ndim


def if_(b: Builder) -> str | None:
    """An If whose condition is constant, an input or computed."""
    x = b.tensor(lambda a: a.dtype.kind in "fiu")
    condition = b.tensor(lambda a: a.dtype == bool and a.size == 1)
    if condition is None or b.chance(0.4):
        condition = b.constant(np.array(b.chance(0.5)))
    if x is None:
        return None
    branches = []
    for name in ("then", "else"):
        child = b.child(name)
        _steps(child, child.rng.randint(0, 3))
        kind = b.arrays[x].dtype
        made = [n for n, a in child.arrays.items() if n not in b.arrays and a.dtype == kind]
        branches.append(_graph(child, name, [], [made[-1] if made else x]))
        b.fragile |= child.fragile
    then, other = branches
    return b.one("If", condition, then_branch=then, else_branch=other)


def loop(b: Builder) -> str | None:
    """A Loop of a few rounds with one carried tensor and, now and then, stacked results."""
    x = b.tensor(lambda a: a.dtype.kind in "fi")
    if x is None:
        return None
    child = b.child("body")
    names = [child.fresh() for _ in range(3)]
    start = (np.array(0, np.int64), np.array(True), b.arrays[x])
    child.arrays.update(zip(names, start, strict=True))
    carried = names[2]
    for _ in range(child.rng.randint(1, 3)):
        made = child.rng.choice((elementwise.unary, elementwise.binary, idioms.spelled))(child)
        array = child.arrays[made] if made else None
        if array is not None and (array.dtype, array.shape) == (start[2].dtype, start[2].shape):
            carried = made
    outputs = [names[1], carried] + ([carried] if b.chance(0.4) else [])
    declared = [
        info(n, a, () if n != names[2] else None) for n, a in zip(names, start, strict=True)
    ]
    graph = _graph(child, "body", declared, outputs)
    b.fragile |= child.fragile
    count = len(outputs) - 1
    # What is stacked of no rounds has the sizes that inference knows, which may be none.
    trips = b.constant(np.array(b.pick(0, 1, 2, 3) if count == 1 else b.pick(1, 2), np.int64))
    inputs = [trips, b.pick("", b.constant(np.array(True))), x]
    made = b.node("Loop", inputs, outputs=count, body=graph)
    return b.rng.choice(made) if made else None


def while_(b: Builder) -> str | None:
    """A Loop that goes on while something that is computed is small enough."""
    x = b.tensor(lambda a: a.dtype == np.float32)
    if x is None:
        return None
    child = b.child("body")
    index, keep, carried = (child.fresh() for _ in range(3))
    start = (np.array(0, np.int64), np.array(True), b.arrays[x])
    child.arrays.update(zip((index, keep, carried), start, strict=True))
    grown = child.one("Add", carried, child.constant(np.array(1, np.float32)))
    if grown is None:
        return None
    if child.chance(0.4) and (inner := if_(child)) and child.arrays[inner].dtype == np.float32:
        total = child.one("Add", grown, inner)
        same = total and child.arrays[total].shape == start[2].shape
        grown = total if same else grown
    counted = child.one("Less", index, child.constant(np.array(child.pick(0, 1, 2), np.int64)))
    if counted is None:
        return None
    declared = [info(index, start[0], ()), info(keep, start[1], ()), info(carried, start[2])]
    graph = _graph(child, "body", declared, [counted, grown])
    b.fragile |= child.fragile
    trips = b.pick("", b.constant(np.array(4)))
    return b.one("Loop", trips, b.constant(np.array(True)), x, body=graph)


def scan(b: Builder) -> str | None:
    """A Scan over an axis, forwards or backwards, with what it carries and what it captures."""
    x = b.tensor(lambda a: a.dtype.kind in "fi" and 0 < a.ndim < 5 and 0 not in a.shape)
    if x is None:
        return None
    axis = b.axis(x) if b.opset >= 11 else b.rng.randrange(b.arrays[x].ndim)
    piece = np.asarray(np.take(b.arrays[x], 0, axis))
    first = b.constant(np.zeros_like(piece))
    child = b.child("scan")
    names = [child.fresh() for _ in range(2)]
    child.arrays.update(zip(names, (b.arrays[first], piece), strict=True))
    carried = child.one(child.pick("Add", "Sub", "Mul", "Max"), *names) or names[1]
    _steps(child, child.rng.randint(0, 2))
    stacked = [n for n, a in child.arrays.items() if n not in b.arrays and a.dtype == piece.dtype]
    declared = [info(name, piece) for name in names]
    graph = _graph(child, "scan", declared, [carried, stacked[-1]], ranked=True)
    b.fragile |= child.fragile
    result = child.arrays[graph.output[1].name]
    axes = range(result.ndim + 1) if result.size else (0,)  # of nothing the runtime crashes
    found = b.node(
        "Scan",
        [first, x],
        outputs=2,
        body=graph,
        num_scan_inputs=1,
        scan_input_axes=[axis] if axis or b.chance(0.2) else None,
        scan_input_directions=b.pick(None, [0], [1]),
        scan_output_axes=b.pick(None, None, [b.rng.choice(axes)]),
        scan_output_directions=b.pick(None, None, [1]),
    )
    return b.rng.choice(found) if found else None


def nested(b: Builder) -> str | None:
    """A function that calls another, or has a branch that captures its input."""
    x = b.floating()
    if x is None:
        return None
    inner = function(b)
    child = b.child("h", only_nodes=True)
    child.arrays["X"] = b.arrays[x]
    if inner and b.functions and child.chance(0.6):
        child.one(b.rng.choice(b.functions).name, "X", domain="local")
    else:
        if_(child)
    made = [n for n in child.arrays if n != "X" and n not in child.constants]
    if not made:
        return None
    return _called(b, child, made[-1], x, f"H{len(b.functions)}")


def _called(b: Builder, child: Builder, result: str, x: str, name: str) -> str | None:
    made_by = FunctionProto(name=name, domain="local")
    made_by.opset_import.append(helper.make_opsetid("", b.opset))
    made_by.opset_import.append(helper.make_opsetid("local", 1))
    made_by.input.append("X")
    made_by.output.append(result)
    made_by.node.extend(child.nodes)
    b.functions.append(made_by)
    b.fragile |= child.fragile
    found = b.one(name, x, domain="local")
    if found is None:
        b.functions.pop()
    return found


def function(b: Builder) -> str | None:
    """A call of a local function, a new one or one that is there."""
    x = b.floating()
    if x is None:
        return None
    if b.functions and b.chance(0.4):
        name = b.rng.choice(b.functions).name
        return b.one(name, x, domain="local")
    child = b.child("f", only_nodes=True)
    child.functions = []
    child.arrays["X"] = b.arrays[x]
    for _ in range(b.rng.randint(1, 3)):
        child.rng.choice(_INNER)(child)
    made = [n for n in child.arrays if n != "X" and n not in child.constants]
    if not made:
        return None
    made_by = FunctionProto(name=f"F{len(b.functions)}", domain="local")
    made_by.opset_import.append(helper.make_opsetid("", b.opset))
    made_by.input.append("X")
    made_by.output.append(made[-1])
    made_by.node.extend(child.nodes)
    attrs = {}
    leaky = next((n for n in made_by.node if n.op_type == "LeakyRelu" and n.attribute), None)
    if leaky:
        leaky.attribute[0].CopyFrom(
            AttributeProto(name="alpha", ref_attr_name="slope", type=AttributeProto.FLOAT)
        )
        made_by.attribute.append("slope")
        attrs["slope"] = 0.2
    b.functions.append(made_by)
    b.fragile |= child.fragile
    found = b.one(made_by.name, x, domain="local", **attrs)
    if found is None:
        b.functions.pop()
    return found
