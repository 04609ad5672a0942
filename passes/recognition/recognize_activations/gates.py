"""Activations that are products: x * f(x), in every order and association.

Silu(x) = x * sigmoid(x) = x / (1 + exp(-x))    HardSwish(x) = x * HardSigmoid(x; 1/6, 1/2)
Mish(x) = x * tanh(softplus(x))                 softplus(x) = log(1 + exp(x))
Gelu(x) = x * (1 + erf(x / sqrt(2))) / 2
        ~ x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.decline import need
from ....ir.graph.view import View
from ....ir.ops.fused.bodies import (
    CUBIC,
    SQRT_2_OVER_PI,
    activation_function,
    has_body,
    needs_float32,
)
from ....ir.ops.opsets import has_operator
from ..expressions import Polynomial, need_private, polynomial, producer_of, tolerance_of
from ..replacement import Recognition, RecognizedOperator
from .clamps import read_clamp
from .tails import need_tails_unread

# The operator of the standard and its attributes, in place of a function.
_STANDARD = {
    "HardSwish": ("HardSwish", {}),
    "Gelu": ("Gelu", {"approximate": "none"}),
    "GeluTanh": ("Gelu", {"approximate": "tanh"}),
}
Inner = tuple[gs.Node, ...]


class RecognizeGate(Recognition):
    """Write HardSwish, Silu, Mish or Gelu for the product of x and a function of x."""

    ops = frozenset({"Mul", "Div"})

    def match(self, node: gs.Node, view: View) -> RecognizedOperator | None:
        """Return the activation that the product is."""
        product = polynomial(node.outputs[0], view)
        if len(product.atoms) != 2:
            return None
        for gate, x in itertools.permutations(product.atoms.values()):
            producer = producer_of(gate, view, *_GATES)
            found = None if producer is None else _GATES[producer.op](product, x, producer, view)
            if found is not None and producer is not None:
                name, inner = found
                nodes = need_private((*product.nodes, producer, *inner), node, view)
                return activation(name, x, nodes, view)
        return None


class RecognizeOperator(Recognition):
    """Write the function for Mish, which ONNX Runtime computes several times more slowly."""

    ops = frozenset({"Mish"})

    def match(self, node: gs.Node, view: View) -> RecognizedOperator | None:
        """Return the call of planish.Mish."""
        x = node.inputs[0]
        if node.domain == "planish" or view.dtype(x) != np.float32:
            return None
        return activation("Mish", x, (node,), view)


class RecognizeDividedSilu(Recognition):
    """Write Silu for x / (1 + exp(-x))."""

    ops = frozenset({"Div"})

    def match(self, node: gs.Node, view: View) -> RecognizedOperator | None:
        """Return the Silu of the dividend."""
        x = node.inputs[0]
        divisor = polynomial(node.inputs[1], view)
        if len(divisor.atoms) != 1:
            return None
        (power,) = divisor.atoms.values()
        exponential = producer_of(power, view, "Exp")
        if exponential is None:
            return None
        exponent = polynomial(exponential.inputs[0], view, stop=x)
        tolerance = tolerance_of(view.dtype(x))
        if not exponent.is_near((-1, x), tolerance=tolerance):
            return None
        if not divisor.is_near((1,), (1, power), tolerance=tolerance):
            return None
        need_tails_unread("Sigmoid", node.outputs[0], view)
        nodes = need_private((*divisor.nodes, exponential, *exponent.nodes), node, view)
        return activation("Silu", x, nodes, view)


def activation(
    name: str, x: gs.Tensor, nodes: tuple[gs.Node, ...], view: View
) -> RecognizedOperator:
    """Return the operator for activation `name` of `x`: the standard's, or a local function.

    Functions that hold constants are for float32: the constants of a body have one type.
    """
    dtype = view.dtype(x)
    if name != "Silu":
        need(dtype is not None, "the type of its input is not known")
        need(dtype != np.float64, f"ONNX Runtime has no {name} of float64")
    op, attrs = _STANDARD.get(name, ("", {}))
    if has_operator(op, view.opset):
        return RecognizedOperator(op, (x,), nodes, dict(attrs))
    if name == "Mish" and has_operator("Mish", view.opset) and dtype != np.float32:
        return RecognizedOperator("Mish", (x,), nodes)
    need(
        dtype == np.float32 or not needs_float32(name),
        f"{name} of {dtypes.type_name(dtype)} has no operator in opset {view.opset}",
    )
    need(has_body(name, view.opset), f"{name} cannot be written in opset {view.opset}")
    found = RecognizedOperator(name, (x,), nodes, function=activation_function(name, view.opset))
    # The longer body of Mish takes a fraction of the time.
    need(name == "Mish" or found.is_no_longer, "written out as a function, it takes more nodes")
    return found


Found = tuple[str, Inner]


def _hard(product: Polynomial, x: gs.Tensor, gate: gs.Node, view: View) -> Found | None:
    """HardSwish: x * clamp(x / 6 + 1/2; 0, 1), scaled by any number before or after."""
    tolerance = tolerance_of(view.dtype(x))
    result = gate.outputs[0]
    scale = product.coefficient(x, result)
    if not product.is_near((scale, x, result), tolerance=tolerance):
        return None
    inner = polynomial(gate.inputs[0], view, stop=x)
    if gate.op == "HardSigmoid":
        slope, shift = (gate.attrs.get(k, d) for k, d in (("alpha", 0.2), ("beta", 0.5)))
        low, high = 0.0, 1.0
    else:
        clamp = read_clamp(gate, view)
        if clamp is None:
            return None
        slope, shift, low, high = 1.0, 0.0, clamp.low, clamp.high
    found = Polynomial(
        {key: scale * slope * value for key, value in inner.terms.items()},
        inner.atoms,
        passed=abs(scale * slope) * inner.passed,
    )
    found.terms[()] = found.terms.get((), 0.0) + scale * shift
    holds = (
        found.is_near((1 / 6, x), (1 / 2,), tolerance=tolerance)
        and low == 0
        and abs(scale * high - 1) <= tolerance
    )
    return ("HardSwish", inner.nodes) if holds else None


def _silu(product: Polynomial, x: gs.Tensor, gate: gs.Node, view: View) -> Found | None:
    tolerance = tolerance_of(view.dtype(x))
    inner = polynomial(gate.inputs[0], view, stop=x)
    if not inner.is_near((1, x), tolerance=tolerance):
        return None
    holds = product.is_near((1, x, gate.outputs[0]), tolerance=tolerance)
    return ("Silu", inner.nodes) if holds else None


def _erf(product: Polynomial, x: gs.Tensor, gate: gs.Node, view: View) -> Found | None:
    tolerance = tolerance_of(view.dtype(x))
    if not product.is_near((0.5, x), (0.5, x, gate.outputs[0]), tolerance=tolerance):
        return None
    inner = polynomial(gate.inputs[0], view, stop=x)
    holds = inner.is_near((math.sqrt(0.5), x), tolerance=tolerance)
    return ("Gelu", inner.nodes) if holds else None


def _tanh(product: Polynomial, x: gs.Tensor, gate: gs.Node, view: View) -> Found | None:
    """Mish or the tanh form of Gelu."""
    tolerance = tolerance_of(view.dtype(x))
    if product.is_near((1, x, gate.outputs[0]), tolerance=tolerance):
        inner = _softplus(gate.inputs[0], x, view)
        return None if inner is None else ("Mish", inner)
    if not product.is_near((0.5, x), (0.5, x, gate.outputs[0]), tolerance=tolerance):
        return None
    cubic = polynomial(gate.inputs[0], view, stop=x)
    holds = cubic.is_near(
        (SQRT_2_OVER_PI, x), (SQRT_2_OVER_PI * CUBIC, x, x, x), tolerance=tolerance
    )
    return ("GeluTanh", cubic.nodes) if holds else None


def _softplus(result: gs.Tensor, x: gs.Tensor, view: View) -> Inner | None:
    """Return the nodes of softplus(x); log(1 + exp(x)) overflows, but its tanh is 1 by then."""
    node = producer_of(result, view, "Softplus", "Log")
    if node is None:
        return None
    if node.op == "Softplus":
        return (node,) if node.inputs[0] is x else None
    argument = polynomial(node.inputs[0], view)
    for power in argument.atoms.values():
        exponential = producer_of(power, view, "Exp")
        if exponential is not None and exponential.inputs[0] is x:
            holds = argument.is_near((1,), (1, power), tolerance=0.0)
            return (node, *argument.nodes, exponential) if holds else None
    return None


_GATES: dict[str, Callable[[Polynomial, gs.Tensor, gs.Node, View], Found | None]] = {
    "Sigmoid": _silu,
    "HardSigmoid": _hard,
    "Clip": _hard,
    "Erf": _erf,
    "Tanh": _tanh,
}
