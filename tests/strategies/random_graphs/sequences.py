"""Steps: sequences and optional values, from tensors to tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from . import values
from .builder import Builder, info
from .evaluate import elem_type
from .groups import Group


def sequence(b: Builder) -> str | None:
    """A sequence made, changed and read."""
    x = b.tensor(lambda a: a.dtype != values.BFLOAT16 and a.ndim < 6)
    if x is None or b.opset < 11:
        return None
    g = Group(b)
    made = _made(g, x)
    for _ in range(b.rng.randint(0, 3)):
        made = b.rng.choice((_inserted, _erased, _chosen, _grown, _mapped))(g, made, x)
    found = g.close(*dict.fromkeys(_read(g, made) for _ in range(b.rng.randint(1, 2))))
    return b.rng.choice(found) if found else None


def _mate(g: Group, x: str) -> str:
    """Return a tensor of the type of `x`, mostly of its shape: itself, or one that is made."""
    b = g.builder
    own = b.arrays[x]
    if b.chance(0.3):
        return x
    if b.chance(0.4):
        same = b.tensor(lambda a: (a.dtype, a.shape) == (own.dtype, own.shape))
        return same or x
    if b.chance(0.2):
        return b.tensor(lambda a: a.dtype == own.dtype) or x
    if values.is_float(own.dtype):
        return g.one(b.pick("Neg", "Relu", "Sigmoid"), x)
    return g.one("Identity", x)


def _made(g: Group, x: str) -> str:
    b = g.builder
    own = b.arrays[x]
    match b.rng.randrange(3):
        case 0 if own.ndim:
            axis, keeps = b.axis(x), b.pick(None, 0, 1)
            size = own.shape[axis]
            if size and b.chance(0.4):
                return g.one("SplitToSequence", x, b.ints(b.rng.randint(1, size)), axis=axis)
            return g.one("SplitToSequence", x, axis=axis, keepdims=keeps)
        case 1:
            empty = g.one("SequenceEmpty", dtype=elem_type(own))
            return g.one("SequenceInsert", empty, x)
    count = b.rng.randint(1, 3)
    return g.one("SequenceConstruct", x, *(_mate(g, x) for _ in range(count - 1)))


def _position(g: Group) -> str:
    b = g.builder
    return b.constant(np.array(b.pick(0, 0, -1, -1, 1), b.pick(np.int64, np.int32)))


def _inserted(g: Group, made: str, x: str) -> str:
    where = [_position(g)] if g.builder.chance(0.6) else []
    return g.one("SequenceInsert", made, _mate(g, x), *where)


def _erased(g: Group, made: str, x: str) -> str:
    where = [_position(g)] if g.builder.chance(0.6) else []
    return g.one("SequenceErase", g.one("SequenceInsert", made, x), *where)


def _kind(g: Group, x: str) -> onnx.TypeProto:
    tensor = helper.make_tensor_type_proto(elem_type(g.builder.arrays[x]), None)
    return helper.make_sequence_type_proto(tensor)


def _chosen(g: Group, made: str, x: str) -> str:
    """An If whose branches capture a sequence and return one."""
    b = g.builder
    if b.opset < 13:
        return made
    branches = []
    for name in ("then", "else"):
        result = b.fresh()
        op, inputs = b.pick(("SequenceInsert", [made, x]), ("Identity", [made]))
        if op == "Identity" and b.opset < 14:
            op, inputs = "SequenceInsert", [made, x]
        node = helper.make_node(op, inputs, [result], name=f"n_{result}")
        ends = [helper.make_value_info(result, _kind(g, x))]
        branches.append(helper.make_graph([node], name, [], ends))
    condition = b.tensor(lambda a: a.dtype == bool and a.size == 1)
    if condition is None or b.chance(0.4):
        condition = b.constant(np.array(b.chance(0.5)))
    return g.one("If", condition, then_branch=branches[0], else_branch=branches[1])


def _grown(g: Group, made: str, x: str) -> str:
    """A Loop that carries a sequence and captures what it inserts."""
    b = g.builder
    if b.opset < 13:
        return made
    index, keep, carried, still, grown = (b.fresh() for _ in range(5))
    nodes = [
        helper.make_node("Identity", [keep], [still], name=f"n_{still}"),
        helper.make_node("SequenceInsert", [carried, x], [grown], name=f"n_{grown}"),
    ]
    body = helper.make_graph(
        nodes,
        "body",
        [
            helper.make_tensor_value_info(index, TensorProto.INT64, []),
            helper.make_tensor_value_info(keep, TensorProto.BOOL, []),
            helper.make_value_info(carried, _kind(g, x)),
        ],
        [
            helper.make_tensor_value_info(still, TensorProto.BOOL, []),
            helper.make_value_info(grown, _kind(g, x)),
        ],
    )
    trips = b.constant(np.array(b.rng.randint(0, 3)))
    return g.one("Loop", trips, "", made, body=body)


def _mapped(g: Group, made: str, x: str) -> str:
    """A SequenceMap of one operator."""
    b = g.builder
    if b.opset < 17:
        return made
    each, result = b.fresh(), b.fresh()
    op = b.pick("Neg", "Abs", "Relu") if values.is_float(b.arrays[x].dtype) else "Identity"
    elem = elem_type(b.arrays[x])
    body = helper.make_graph(
        [helper.make_node(op, [each], [result], name=f"n_{result}")],
        "map",
        [helper.make_tensor_value_info(each, elem, None)],
        [helper.make_tensor_value_info(result, elem, None)],
    )
    return g.one("SequenceMap", made, body=body)


def _read(g: Group, made: str) -> str:
    b = g.builder
    match b.rng.randrange(4):
        case 0:
            return g.one("SequenceLength", made)
        case 1:
            return g.one(
                "ConcatFromSequence", made, axis=b.pick(0, -1), new_axis=b.pick(None, 0, 1)
            )
    return g.one("SequenceAt", made, _position(g))


def optional(b: Builder) -> str | None:
    """An optional tensor, asked whether it is there, and read."""
    x = b.tensor(lambda a: a.dtype != values.BFLOAT16)
    if x is None or b.opset < 15:
        return None
    g = Group(b)
    empty: dict[str, Any] = {}
    if b.chance(0.25):
        tensor = helper.make_tensor_type_proto(elem_type(b.arrays[x]), None)
        empty = {"type": tensor}
    held = g.one("Optional", *([] if empty else [x]), **empty)
    if b.chance(0.2) and b.opset >= 16:
        held = g.one("Identity", held)
    there = g.one("OptionalHasElement", held)
    if not empty and b.chance(0.4):
        return _first(g.close(g.one("OptionalGetElement", held)))
    if b.chance(0.3):
        return _first(g.close(there))
    branches = []
    for name in ("then", "else"):
        result = b.fresh()
        read = ("OptionalGetElement", held) if name == "then" else ("Identity", x)
        node = helper.make_node(read[0], [read[1]], [result], name=f"n_{result}")
        branches.append(helper.make_graph([node], name, [], [info(result, b.arrays[x])]))
    return _first(g.close(g.one("If", there, then_branch=branches[0], else_branch=branches[1])))


def _first(names: list[str]) -> str | None:
    return names[0] if names else None
