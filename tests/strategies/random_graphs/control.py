"""Steps: If, Loop, and calls of local functions."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import AttributeProto, FunctionProto, helper, numpy_helper

from . import elementwise, idioms, movement, reductions
from .builder import Builder, info

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
    child: Builder, name: str, inputs: list[onnx.ValueInfoProto], outputs: list[str]
) -> onnx.GraphProto:
    """Return the subgraph; what it returns and does not make itself goes through an Identity."""
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
        [info(n, child.arrays[n]) for n in results],
        [numpy_helper.from_array(array, n) for n, array in child.initializers.items()],
    )


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
