"""Graphs of whatever operators ONNX has, drawn from their schemas and not from what rewrites know.

An operator of the opset, operands by its type constraints, attributes by their types. The runtime
refuses most of what is drawn, and what it takes is a graph: any operator beside any other, on all
types and ranks, with negative axes, empty tensors and numbers that overflow.
"""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import helper

from planish.ir.ops.traits.schemas import has_bodies, is_deterministic, operators, schema_of

from tests.strategies.random_graphs import KINDS, Drawn, control, elementwise, movement, values
from tests.strategies.random_graphs.builder import Builder
from tests.strategies.random_graphs.finish import finish

_Kind = onnx.defs.OpSchema.AttrType
_Option = onnx.defs.OpSchema.FormalParameterOption
_OPSETS = range(7, onnx.defs.onnx_opset_version() + 1)
_DTYPES = (*values.FLOATS, *values.SIGNED, *values.UNSIGNED, values.BOOL, values.BFLOAT16)
_TEXTS = (
    "constant", "reflect", "edge", "wrap", "linear", "nearest", "cubic", "asymmetric", "half_pixel",
    "align_corners", "floor", "ceil", "SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET", "add", "mul",
    "max", "min", "none", "sum", "mean", "DCR", "CRD", "LEFT", "RIGHT", "tanh", "bilinear", "avg",
)  # fmt: skip
_CONTROL = (control.if_, control.loop, control.while_, control.scan, control.function)
_TRIES = 4
# The runtime takes their operand at any rank, until it is a constant: then it refuses the model.
_OF_A_SCALAR = ("HannWindow", "HammingWindow", "BlackmanWindow")
# What is common keeps a graph going where few operators take what is there.
_COMMON = (elementwise.unary, elementwise.binary, elementwise.cast, movement.transpose)


def by_grammar(rng: Random) -> Drawn | None:
    """Return a graph; None where the runtime takes the nodes but not the whole."""
    b = Builder(rng=rng, opset=rng.choice(_OPSETS), extreme=rng.random() < 0.5)
    _inputs(b)
    known = sorted(operators())
    for _ in range(rng.randint(3, 14)):
        if b.chance(0.06):
            rng.choice(_CONTROL)(b)
        elif b.chance(0.15):
            rng.choice(_COMMON)(b)
        elif b.chance(0.1):
            rng.choice(KINDS[rng.choice(sorted(KINDS))][1])(b)
        else:
            _operator(b, rng.choice(known))
    return finish(b)


def _inputs(b: Builder) -> None:
    rank = b.rng.randint(0, 6)
    shape = tuple(0 if b.chance(0.04) else b.rng.randint(1, 4) for _ in range(rank))
    for place in range(b.rng.randint(1, 3)):
        dtype = b.pick(*_DTYPES) if place or b.chance(0.4) else np.dtype(np.float32)
        kept = tuple(1 if place and b.chance(0.3) else size for size in shape)
        draw = values.extreme if b.extreme and b.chance(0.3) else values.ordinary
        b.input(draw(b.rng, dtype, kept))
    if b.chance(0.15):
        b.input(values.ordinary(b.rng, values.TEXT, shape[:2]))


def _operator(b: Builder, op: str) -> None:
    schema = schema_of(op, b.opset)
    if schema is None or schema.deprecated or has_bodies(schema) or not is_deterministic(schema):
        return
    for _ in range(_TRIES):
        inputs = _operands(b, schema)
        if inputs is None:
            return
        attributes = {n: _attribute(b, n, a) for n, a in sorted(schema.attributes.items())}
        given = {n: v for n, v in attributes.items() if v is not None}
        if _is_refused(b, op, inputs, given):
            continue
        if b.node(op, inputs, outputs=_count(b, schema), **given):
            return


def _is_refused(b: Builder, op: str, inputs: list[str], attributes: dict[str, Any]) -> bool:
    """Say whether the runtime refuses it in a graph, or ends the process."""
    if op in _OF_A_SCALAR:
        return b.arrays[inputs[0]].ndim > 0
    if op == "STFT" and len(inputs) > 2 and inputs[2]:
        return b.arrays[inputs[2]].ndim == 0
    return op == "GatherND" and attributes.get("batch_dims", 0) < 0


def _count(b: Builder, schema: Any) -> int:
    least = max(schema.min_output, 1)
    return b.rng.randint(least, max(least, min(schema.max_output, 3))) if b.chance(0.3) else least


def _operands(b: Builder, schema: Any) -> list[str] | None:
    """Return names for the inputs, each of a type that the schema allows; None for no such type."""
    bound: dict[str, np.dtype[Any]] = {}
    found: list[str] = []
    shape: tuple[int, ...] | None = None
    most = min(schema.max_input, len(schema.inputs) + 2)
    count = b.rng.randint(schema.min_input, max(most, schema.min_input))
    for place in range(count):
        port = schema.inputs[min(place, len(schema.inputs) - 1)]
        if port.option == _Option.Optional and b.chance(0.4):
            found.append("")
            continue
        dtypes = [bound[port.type_str]] if port.type_str in bound else _dtypes(port)
        name = _operand(b, dtypes, shape, place)
        if name is None:
            return None
        bound[port.type_str] = b.arrays[name].dtype
        shape = b.arrays[name].shape if place == 0 else shape
        found.append(name)
    while found and not found[-1]:
        found.pop()
    return found


def _dtypes(port: Any) -> list[np.dtype[Any]]:
    known = {f"tensor({_name(dtype)})": dtype for dtype in (*_DTYPES, values.TEXT)}
    return [dtype for kind, dtype in known.items() if kind in port.types]


def _name(dtype: np.dtype[Any]) -> str:
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    return {"FLOAT": "float", "DOUBLE": "double"}.get(
        onnx.TensorProto.DataType.Name(kind), onnx.TensorProto.DataType.Name(kind).lower()
    )


def _operand(
    b: Builder, dtypes: list[np.dtype[Any]], shape: tuple[int, ...] | None, place: int
) -> str | None:
    if not dtypes:
        return None
    if place == 0 or b.chance(0.5):
        found = b.tensor(lambda array: array.dtype in dtypes)
        if found is not None:
            return found
    dtype = b.rng.choice(dtypes)
    if dtype == np.int64 and b.chance(0.7):  # axes, sizes, indices
        return b.ints([b.rng.randint(-2, 3) for _ in range(b.rng.randint(0, 4))])
    sizes = () if shape is None or b.chance(0.2) else tuple(b.pick(1, s, s) for s in shape)
    draw = values.extreme if b.extreme and b.chance(0.3) else values.ordinary
    return b.constant(draw(b.rng, dtype, sizes))


def _attribute(b: Builder, name: str, attribute: Any) -> Any:
    if not attribute.required and b.chance(0.6):
        return None
    kind, rng = attribute.type, b.rng
    if kind == _Kind.INT:
        return rng.choice(_TYPES) if name in ("to", "dtype") else rng.randint(-2, 3)
    if kind == _Kind.FLOAT:
        return float(values.special(rng, np.dtype(np.float32), extreme=b.extreme))
    if kind == _Kind.INTS:
        return _ints(b, name)
    if kind == _Kind.FLOATS:
        return [rng.choice((0.0, 0.5, 1.0, 2.0)) for _ in range(rng.randint(1, 4))]
    if kind == _Kind.STRING:
        return rng.choice(_TEXTS)
    return None


_TYPES = [int(helper.np_dtype_to_tensor_dtype(dtype)) for dtype in _DTYPES]


def _ints(b: Builder, name: str) -> list[int]:
    count = b.rng.randint(1, 4)
    if name == "perm":
        order = list(range(b.rng.randint(1, 5)))
        b.rng.shuffle(order)
        return order
    low = -3 if name == "axes" else 0
    return [b.rng.randint(low, 3) for _ in range(count)]
