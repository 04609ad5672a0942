"""The fused squeeze-and-excite blocks of the domain `planish`: names, inputs and bodies.

    x * gate(W2 act(W1 mean(x) + b1) + b2)    SqueezeExcite<Act><Gate>, SqueezeExciteGemm<...>

Inputs are X, W1, B1, W2, B2; attributes of the two activations are prefixed `activation_` and
`gate_`. The layers are 1x1 convolutions, or Gemms with transB.
"""

from __future__ import annotations

import functools

import onnx_graphsurgeon as gs

from ...core.variables import FUSED_DOMAIN
from ..parameters import spell
from .activations import Activation
from .operators import Body

_PREFIX = "SqueezeExcite"
_INPUTS = ("X", "W1", "B1", "W2", "B2")


def is_squeeze_excite(called: gs.Node | gs.Function) -> bool:
    """Say whether a node calls such a block, or whether a function is one."""
    name = called.name if isinstance(called, gs.Function) else called.op
    return called.domain == FUSED_DOMAIN and str(name).startswith(_PREFIX)


def weights_of(node: gs.Node) -> tuple[gs.Tensor, gs.Tensor]:
    """Return the weights of the two layers of a block."""
    return node.inputs[1], node.inputs[3]


@functools.lru_cache(maxsize=256)
def squeeze_excite_function(
    activation: Activation, gate: Activation, opset: int, *, matrix: bool
) -> gs.Function:
    """Return the local function for models of `opset`; `matrix`: its layers are Gemms."""
    body = Body()
    body.step("GlobalAveragePool", ["X"], "pooled")
    squeezed, opened, scale = ("flat", "gated", "scale") if matrix else ("pooled", "scale", "scale")
    op, attrs = ("Gemm", {"transB": 1}) if matrix else ("Conv", {})
    if matrix:
        body.step("Flatten", ["pooled"], squeezed, attrs={"axis": 1})
    body.step(op, [squeezed, "W1", "B1"], "reduced", attrs=attrs)
    body.activate(activation, "reduced", "activated", "activation_")
    body.step(op, ["activated", "W2", "B2"], "expanded", attrs=attrs)
    body.activate(gate, "expanded", opened, "gate_")
    if matrix:
        stated, constants = spell("Unsqueeze", opset, {"axes": [2, 3]})
        axes = [body.constant("axes", values) for values in constants.values()]
        body.step("Unsqueeze", [opened, *axes], scale, attrs=stated)
    body.step("Mul", ["X", scale], "Y")
    name = f"{_PREFIX}{'Gemm' if matrix else ''}{activation.suffix}{gate.suffix}"
    return body.function(name, _INPUTS, "Y", opset)
