"""A chain of element-wise operators as the ONNX nodes that it stands for.

It is run three times: as it is, and twice with its input and the result of every step moved by
what rounding may do to them. What that changes is what the order of additions may change, as where
a step rounds to whole numbers.

Source: the rounding yardstick of verification (docs/verification.md); Higham, Accuracy and
Stability of Numerical Algorithms, 2002, section 2.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from ..runtime.onnx_node import session_of
from ..spec.chain import (
    LOOKUP,
    ChainInput,
    ChainStep,
    ConstantInput,
    ElementwiseChain,
    OperandInput,
    StepInput,
)
from ..spec.layout import Array

_OPSET = 20
_UNIT = 2.0**-22  # two units in the last place of a float32
_ROUNDS = ("QuantizeLinear", LOOKUP)


def run_chain(
    chain: ElementwiseChain, value: Array, operands: Sequence[Array], moved: float, seed: int = 0
) -> tuple[Array, Array]:
    """Return the chain of `value` [N, C, D, H, W], and what moving by rounding changes.

    `operands` broadcast to `value`, of which `moved` is how far it may be off.
    """
    if not chain.steps:
        return value, np.full_like(value, moved)
    session = session_of(_model(chain, [operand.ndim for operand in operands]))
    signs = np.random.default_rng(seed).choice(np.array([-1, 1], np.float32), value.shape)
    given = {f"o{i}": operand for i, operand in enumerate(operands)}
    found = []
    for sign in (0, 1, -1):
        part = sign * signs * np.float32(_UNIT)
        feeds = {"v": value + np.float32(moved * sign), "e": 1 + part, "f": 1 - part, **given}
        known = {each.name for each in session.get_inputs()}
        feeds = {name: array for name, array in feeds.items() if name in known}
        found.append(np.asarray(session.run(None, feeds)[0], np.float32))
    base = found[0]
    with np.errstate(invalid="ignore", over="ignore"):
        away = [np.abs(other.astype(np.float64) - base) for other in found[1:]]
    return base, np.maximum(*away)


def _model(chain: ElementwiseChain, ranks: Sequence[int]) -> bytes:
    nodes: list[onnx.NodeProto] = []
    held: list[onnx.TensorProto] = []

    def constant(values: Array) -> str:
        name = f"c{len(held)}"
        held.append(onnx.numpy_helper.from_array(values, name))
        return name

    def named(source: ChainInput) -> str:
        match source:
            case ConstantInput(number):
                return constant(np.asarray(number, np.float32))
            case OperandInput(position):
                return f"o{position}"
            case StepInput(step):
                return "v" if step < 0 else f"s{step}"

    for index, step in enumerate(chain.steps):
        exact = step.op in _ROUNDS
        result = f"s{index}" if exact else f"r{index}"
        nodes += _nodes(step, [named(source) for source in step.inputs], result, constant)
        if not exact:
            nodes.append(helper.make_node("Mul", [result, "ef"[index % 2]], [f"s{index}"]))
    last = f"s{len(chain.steps) - 1}"
    ranked = {"v": 5, "e": 5, "f": 5, **{f"o{i}": rank for i, rank in enumerate(ranks)}}
    inputs = [
        helper.make_tensor_value_info(name, 1, [None] * rank) for name, rank in ranked.items()
    ]
    graph = helper.make_graph(
        nodes, "chain", inputs, [helper.make_tensor_value_info(last, 1, None)], held
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


def _nodes(
    step: ChainStep, inputs: list[str], result: str, hold: Callable[[Array], str]
) -> list[onnx.NodeProto]:
    """Return ONNX nodes that compute `step`, bytes as float32; `hold` names a constant."""
    make = helper.make_node
    attrs = dict(step.attrs)
    if step.op == LOOKUP:
        value, table = inputs
        return [
            *_nodes(replace(step, op="QuantizeLinear"), [value], f"{result}_index", hold),
            make("Cast", [f"{result}_index"], [f"{result}_at"], to=7),
            make("Gather", [table, f"{result}_at"], [result]),
        ]
    if step.op in ("QuantizeLinear", "DequantizeLinear"):
        kind = np.dtype(np.int8 if attrs["low"] < 0 else np.uint8)
        parameters = [
            hold(np.asarray(attrs["scale"], np.float32)),
            hold(np.asarray(attrs["zero"], kind)),
        ]
        elem = helper.np_dtype_to_tensor_dtype(kind)
        between = f"{result}_bytes"
        if step.op == "QuantizeLinear":
            bounds = [hold(np.asarray(attrs[name], kind)) for name in ("low", "high")]
            return [
                make(step.op, [*inputs, *parameters], [f"{result}_free"]),
                make("Clip", [f"{result}_free", *bounds], [between]),
                make("Cast", [between], [result], to=1),
            ]
        return [
            make("Cast", inputs, [between], to=elem),
            make(step.op, [between, *parameters], [result]),
        ]
    if step.op == "Clip":
        bounds = [
            hold(np.asarray(attrs[name], np.float32)) if name in attrs else ""
            for name in ("min", "max")
        ]
        return [make("Clip", [*inputs, *bounds], [result])]
    if step.op == "Cast":  # between types of real numbers; what is stored rounds
        return [make("Identity", inputs, [result])]
    return [make(step.op, inputs, [result], **attrs)]
