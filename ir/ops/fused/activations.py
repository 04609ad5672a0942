"""The activations that fused operators take in: their names, attributes and bodies.

    act(x) = f(x), x * f(x) or x * g(f(x)), of ONNX operators over one tensor

The suffix is what the activation is called in the name of a fused operator. Those that
`recognition.functions` spells as local functions keep the bodies they have there.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import onnx_graphsurgeon as gs

from ...core.decline import need
from ...core.variables import FUSED_DOMAIN, is_standard
from ...graph.view import View
from ..opsets import has_operator
from ..traits.schemas import first_default, schema_of
from .bodies import ACTIVATIONS, activation_function


@dataclass(frozen=True)
class BodyStep:
    """One node of the body: `x` goes in, `y` comes out; numbers are float32 constants."""

    op: str
    inputs: tuple[str | float, ...]
    output: str
    attrs: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Activation:
    """An activation: its suffix, body, the first node's attributes, and inputs beside x.

    The attributes have the defaults of the opset, which a fused operator writes out.
    """

    suffix: str
    steps: tuple[BodyStep, ...]
    defaults: tuple[tuple[str, Any], ...] = ()
    operands: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundActivation:
    """An activation in a graph: `tail` are its nodes, `first` the one with its attributes."""

    activation: Activation
    x: gs.Tensor
    tail: tuple[gs.Node, ...]
    first: gs.Node

    @property
    def operands(self) -> tuple[gs.Tensor, ...]:
        """Its inputs beside x, an absent one empty."""
        given = list(self.first.inputs[1:])
        missing = len(self.activation.operands) - len(given)
        return (*given, *[gs.Variable.empty()] * missing)

    def attrs(self, prefix: str) -> dict[str, Any]:
        """Return its attributes, all explicit, under `prefix` + name."""
        return {
            prefix + name: self.first.attrs.get(name, default)
            for name, default in self.activation.defaults
        }


# Standard operators, with the inputs and attributes that they have at an opset.
_OPERATORS = frozenset(
    {
        *("Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu"),
        *("Selu", "Sigmoid", "Softplus", "Swish", "Tanh"),
    }
)
_GATED = "GatedHardSigmoid"
_GATES = {"Sigmoid": "Silu", "HardSigmoid": _GATED}
ACTIVATION_OPS = _OPERATORS | ACTIVATIONS | {"Mul"}


@functools.lru_cache(maxsize=512)
def activation_by_suffix(suffix: str, opset: int) -> Activation | None:
    """Return the activation called `suffix` with its body at `opset`."""
    if _is_function(suffix, opset):
        return Activation(suffix, _steps(activation_function(suffix, opset)))
    if suffix == _GATED:
        gated = (BodyStep("HardSigmoid", ("x",), "gate"), BodyStep("Mul", ("x", "gate"), "y"))
        return Activation(suffix, gated, _defaults("HardSigmoid", opset))
    schema = schema_of(suffix, opset)
    if schema is None or suffix not in _OPERATORS:
        return None
    operands = tuple(port.name for port in schema.inputs[1:])
    step = BodyStep(suffix, ("x", *operands), "y")
    return Activation(suffix, (step,), _defaults(suffix, opset), operands)


def _is_function(name: str, opset: int) -> bool:
    """Say whether it is a local function: up to the opset that brought an operator of the name.

    Mish stays one: its body is faster than the operator (`bodies`).
    """
    return name in ACTIVATIONS and (name == "Mish" or not has_operator(name, opset))


def _defaults(op: str, opset: int) -> tuple[tuple[str, Any], ...]:
    schema = schema_of(op, opset)
    names = () if schema is None else sorted(schema.attributes)
    found = ((name, first_default(op, name, opset)) for name in names)
    return tuple((name, value) for name, value in found if value is not None)


def _steps(function: gs.Function) -> tuple[BodyStep, ...]:
    """Return the body of a local function of one tensor as steps."""
    ends = {function.inputs[0].name: "x", function.outputs[0].name: "y"}

    def name(tensor: gs.Tensor) -> str | float:
        if isinstance(tensor, gs.Constant):
            return float(tensor.values)
        return ends.get(str(tensor.name), str(tensor.name))

    return tuple(
        BodyStep(
            node.op,
            tuple(name(tensor) for tensor in node.inputs),
            str(name(node.outputs[0])),
            tuple(node.attrs.items()),
        )
        for node in function.nodes
    )


def find_activation(node: gs.Node, view: View) -> FoundActivation | None:
    """Return the activation whose result `node` gives; its operator is in `ACTIVATION_OPS`.

    Declines x * f(x) where something else reads f(x).
    """
    if node.op == "Mul":
        return _find_gated(node, view) if is_standard(node) else None
    is_function = node.domain == FUSED_DOMAIN
    if is_function != _is_function(node.op, view.opset):
        return None
    activation = activation_by_suffix(node.op, view.opset)
    if activation is None:
        return None
    return FoundActivation(activation, node.inputs[0], (node,), node)


def _find_gated(node: gs.Node, view: View) -> FoundActivation | None:
    for position in (0, 1):
        gate = view.producer(node.inputs[position])
        x = node.inputs[1 - position]
        if gate is None or not is_standard(gate) or gate.op not in _GATES:
            continue
        if gate.inputs[0] is x:
            need(view.read_only_by(gate.outputs[0], node), "the gate has other readers")
            activation = activation_by_suffix(_GATES[gate.op], view.opset)
            return (
                None if activation is None else FoundActivation(activation, x, (gate, node), gate)
            )
    return None
