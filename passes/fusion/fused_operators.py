"""The fused operators of the domain `planish`: their names, attributes and bodies.

    Conv<Act>(X, W, B, ...)       = act(Conv(X, W, B))
    ConvAdd<Act>(X, W, B, Z, ...) = act(Conv(X, W, B) + Z)       and likewise with Gemm

`<Act>` is Relu, Clip, LeakyRelu, Sigmoid, Tanh, HardSigmoid, HardSwish, Silu (x * Sigmoid(x)) or
GatedHardSigmoid (x * HardSigmoid(x)). Attributes of the linear operator keep their ONNX names and
are all explicit; those of the activation are prefixed `activation_`. An absent bias is an empty
input. The body is the unfused subgraph, so any runtime with local functions computes the same.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from ...ir.variables import FUSED_DOMAIN

_LOWEST, _HIGHEST = -3.4028234663852886e38, 3.4028234663852886e38


@dataclass(frozen=True)
class Activation:
    """An activation: its suffix, the ONNX operator, attribute defaults, and whether x gates it."""

    suffix: str
    op: str
    defaults: tuple[tuple[str, float], ...] = ()
    gated: bool = False
    bounds: bool = False  # reads min and max as inputs


@dataclass(frozen=True)
class Linear:
    """A linear operator that takes a fused activation: formal inputs and attribute types."""

    op: str
    inputs: tuple[str, str, str]
    attributes: tuple[tuple[str, type], ...]


CONV = Linear(
    "Conv",
    ("X", "W", "B"),
    tuple(
        (name, int if name == "group" else list[int])
        for name in ("dilations", "group", "kernel_shape", "pads", "strides")
    ),
)
GEMM = Linear(
    "Gemm",
    ("A", "B", "C"),
    (("alpha", float), ("beta", float), ("transA", int), ("transB", int)),
)
GEMM_DEFAULTS = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}


def activation_of(op: str, opset: int, *, gated: bool = False) -> Activation | None:
    """Return the activation computed by ONNX operator `op`, or by x * op(x) if `gated`."""
    hard = (("alpha", 0.2), ("beta", 0.5))
    if gated:
        return {
            "Sigmoid": Activation("Silu", "Sigmoid", gated=True),
            "HardSigmoid": Activation("GatedHardSigmoid", "HardSigmoid", hard, gated=True),
        }.get(op)
    clip = (
        Activation("Clip", "Clip", bounds=True)
        if opset >= 11
        else Activation("Clip", "Clip", (("max", _HIGHEST), ("min", _LOWEST)))
    )
    return {
        "Relu": Activation("Relu", "Relu"),
        "Clip": clip,
        "LeakyRelu": Activation("LeakyRelu", "LeakyRelu", (("alpha", 0.01),)),
        "Sigmoid": Activation("Sigmoid", "Sigmoid"),
        "Tanh": Activation("Tanh", "Tanh"),
        "HardSigmoid": Activation("HardSigmoid", "HardSigmoid", hard),
        "HardSwish": Activation("HardSwish", "HardSwish"),
    }.get(op)


@functools.lru_cache(maxsize=512)
def fused_function(
    linear: Linear, activation: Activation, residual: bool, opset: int
) -> gs.Function:
    """Return the local function of one fused operator for models of `opset`."""
    formals = [*linear.inputs, *(["Z"] if residual else [])]
    bounds = ["min", "max"] if activation.bounds else []
    tensors = {name: gs.Variable(name) for name in (*formals, *bounds, "Y")}
    nodes: list[gs.Node] = []

    def step(op: str, inputs: list[gs.Tensor], output: gs.Tensor, attrs: dict[str, Any]) -> None:
        nodes.append(gs.Node(op, op, attrs, inputs, [output]))

    references = {name: _reference(name, kind) for name, kind in linear.attributes}
    x: gs.Tensor = gs.Variable("linear")
    step(linear.op, [tensors[name] for name in linear.inputs], x, references)
    if residual:
        summed = gs.Variable("sum")
        step("Add", [x, tensors["Z"]], summed, {})
        x = summed
    shaped = {name: _reference(f"activation_{name}", float) for name, _ in activation.defaults}
    result = gs.Variable("gate") if activation.gated else tensors["Y"]
    step(activation.op, [x, *(tensors[name] for name in bounds)], result, shaped)
    if activation.gated:
        step("Mul", [x, result], tensors["Y"], {})
    attributes = [name for name, _ in linear.attributes]
    attributes += [f"activation_{name}" for name, _ in activation.defaults]
    return gs.Function(
        f"{linear.op}{'Add' if residual else ''}{activation.suffix}",
        FUSED_DOMAIN,
        nodes=nodes,
        inputs=[tensors[name] for name in (*formals, *bounds)],
        outputs=[tensors["Y"]],
        opset=opset,
        import_domains=[onnx.helper.make_opsetid("", opset)],
        attrs=dict.fromkeys(attributes),
    )


def _reference(name: str, kind: type) -> gs.Node.AttributeRef:
    from typing import List  # noqa: UP035 - GraphSurgeon compares with typing.List

    spelled = List[int] if kind == list[int] else kind  # noqa: UP006
    return gs.Node.AttributeRef(name, spelled)
