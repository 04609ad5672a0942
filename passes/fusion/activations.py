"""The activations that fused operators take in: their names, attributes and bodies.

    act(x) = f(x), x * f(x) or x * g(f(x)), of ONNX operators over one tensor

The suffix is what the activation is called in the name of a fused operator.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import onnx_graphsurgeon as gs

from ...ir.variables import FUSED_DOMAIN, is_standard
from ...ir.view import View
from ..contract import need

_LOWEST, _HIGHEST = -3.4028234663852886e38, 3.4028234663852886e38


@dataclass(frozen=True)
class Step:
    """One node of the body over tensors by name: `x` goes in, `y` comes out."""

    op: str
    inputs: tuple[str, ...]
    output: str
    attrs: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Activation:
    """An activation: its suffix, body, the first node's attributes, and inputs beside x."""

    suffix: str
    steps: tuple[Step, ...]
    defaults: tuple[tuple[str, Any], ...] = ()
    operands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
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


_HARD = (("alpha", 0.2), ("beta", 0.5))


def _unary(op: str, *defaults: tuple[str, Any], operands: tuple[str, ...] = ()) -> Activation:
    return Activation(op, (Step(op, ("x", *operands), "y"),), defaults, operands)


def _gated(suffix: str, *ops: str, defaults: tuple[tuple[str, Any], ...] = ()) -> Activation:
    """Return x * f(x), where f is `ops` one after the other."""
    names = ["x", *[f"gate{i}" for i in range(len(ops))]]
    steps = [
        Step(op, (before,), after) for op, before, after in zip(ops, names, names[1:], strict=False)
    ]
    return Activation(suffix, (*steps, Step("Mul", ("x", names[-1]), "y")), defaults)


_PLAIN = {
    found.suffix: found
    for found in (
        _unary("Relu"),
        _unary("LeakyRelu", ("alpha", 0.01)),
        _unary("Sigmoid"),
        _unary("Tanh"),
        _unary("HardSigmoid", *_HARD),
        _unary("Elu", ("alpha", 1.0)),
        _unary("Selu", ("alpha", 1.6732631921768188), ("gamma", 1.0507010221481323)),
        _unary("Softplus"),
        _unary("PRelu", operands=("slope",)),
        _unary("HardSwish"),
        _unary("Mish"),
        _unary("Gelu", ("approximate", "none")),
        _unary("Swish", ("alpha", 1.0)),
        _gated("Silu", "Sigmoid"),
        _gated("GatedHardSigmoid", "HardSigmoid", defaults=_HARD),
    )
}
# Operators of the standard that came late, and what stands for them before.
_SINCE = {"HardSwish": 14, "Mish": 18, "Gelu": 20, "Swish": 24}
_BEFORE = {
    "HardSwish": Activation(
        "HardSwish",
        (
            Step("HardSigmoid", ("x",), "gate", (("alpha", 1 / 6), ("beta", 0.5))),
            Step("Mul", ("x", "gate"), "y"),
        ),
    ),
    "Mish": _gated("Mish", "Softplus", "Tanh"),
}
_GATES = {"Sigmoid": "Silu", "HardSigmoid": "GatedHardSigmoid"}
# Local functions of the domain `planish` that are activations themselves.
_FUNCTIONS = frozenset({"Silu", "Mish", "HardSwish"})
ACTIVATION_OPS = frozenset(_PLAIN) - {"GatedHardSigmoid"} | {"Clip", "Mul"}


@functools.lru_cache(maxsize=512)
def activation_by_suffix(suffix: str, opset: int) -> Activation | None:
    """Return the activation called `suffix` with its body at `opset`."""
    if suffix == "Clip":
        if opset >= 11:
            return _unary("Clip", operands=("min", "max"))
        return _unary("Clip", ("max", _HIGHEST), ("min", _LOWEST))
    if opset < _SINCE.get(suffix, 0):
        return _BEFORE.get(suffix)
    return _PLAIN.get(suffix)


def find_activation(node: gs.Node, view: View) -> Found | None:
    """Return the activation whose result `node` gives; its operator is in `ACTIVATION_OPS`.

    Declines x * f(x) where something else reads f(x).
    """
    if node.op == "Mul":
        return _find_gated(node, view) if is_standard(node) else None
    known = node.op in _FUNCTIONS if node.domain == FUSED_DOMAIN else node.op != "Silu"
    activation = activation_by_suffix(node.op, view.opset) if known else None
    if activation is None:
        return None
    return Found(activation, node.inputs[0], (node,), node)


def _find_gated(node: gs.Node, view: View) -> Found | None:
    for position in (0, 1):
        gate = view.producer(node.inputs[position])
        x = node.inputs[1 - position]
        if gate is None or not is_standard(gate) or gate.op not in _GATES:
            continue
        if gate.inputs[0] is x:
            need(view.read_only_by(gate.outputs[0], node), "the gate has other readers")
            activation = _PLAIN[_GATES[gate.op]]
            return Found(activation, x, (gate, node), gate)
    return None
