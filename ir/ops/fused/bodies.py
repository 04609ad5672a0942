"""Activations and normalizations as local functions of the domain `planish`.

Silu(x) = x * sigmoid(x)          HardSwish(x) = x * HardSigmoid(x; 1/6, 1/2)
Mish(x) = x * n / (n + 2)         with n = e * (e + 2), e = exp(min(x, 20))
Gelu(x) = x * (1 + erf(x / sqrt(2))) / 2
GeluTanh(x) = x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2

Mish is x * tanh(softplus(x)). With e = exp(x), tanh(log(1 + e)) = ((1 + e)^2 - 1) / ((1 + e)^2 +
1) is a quotient that needs one Exp: of it ONNX Runtime's CPU has a vector kernel, of Softplus none,
and the quotient takes a fraction of the time (1.3 ms against 11 ms for 64 x 56 x 56 floats).
Nothing cancels, so that it keeps the relative accuracy of Exp for x of either sign; from 20 on it
is 1.

Gelu is spelled as ONNX Runtime's own fusion wants it, which turns it into one kernel again.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ...core.variables import FUSED_DOMAIN

SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
CUBIC = 0.044715
# One line a node: operator, operands (numbers are constants), result. None leaves the range of
# floats where the function is within it: half of X is multiplied, and not half taken of a product.
BodyLine = tuple[str, tuple[str | float, ...], str]
_BODIES: dict[str, tuple[BodyLine, ...]] = {
    "Silu": (("Sigmoid", ("X",), "s"), ("Mul", ("X", "s"), "Y")),
    "HardSwish": (("HardSigmoid", ("X",), "gate"), ("Mul", ("X", "gate"), "Y")),
    "Mish": (
        ("Min", ("X", 20.0), "c"),
        ("Exp", ("c",), "e"),
        ("Add", ("e", 2.0), "a"),
        ("Mul", ("e", "a"), "n"),
        ("Add", ("n", 2.0), "d"),
        ("Div", ("n", "d"), "q"),
        ("Mul", ("X", "q"), "Y"),
    ),
    "Gelu": (
        ("Div", ("X", math.sqrt(2)), "a"),
        ("Erf", ("a",), "e"),
        ("Add", ("e", 1.0), "b"),
        ("Mul", ("X", 0.5), "h"),
        ("Mul", ("h", "b"), "Y"),
    ),
    "GeluTanh": (
        ("Mul", ("X", "X"), "square"),
        ("Mul", ("square", CUBIC * SQRT_2_OVER_PI), "a"),
        ("Add", ("a", SQRT_2_OVER_PI), "b"),
        ("Mul", ("X", "b"), "c"),
        ("Tanh", ("c",), "t"),
        ("Add", ("t", 1.0), "d"),
        ("Mul", ("X", 0.5), "h"),
        ("Mul", ("h", "d"), "Y"),
    ),
}
ACTIVATIONS = frozenset(_BODIES)
# The opset from which the operators of a body broadcast, where it is later than the others'.
_FIRST_OPSETS = {"Mish": 8}
_ATTRIBUTES = {"HardSigmoid": {"alpha": 1 / 6, "beta": 0.5}}


def doubled_gelu(name: str) -> tuple[BodyLine, ...]:
    """Return the lines of twice the function `name`, which takes half of X: without that half."""
    half = next(line for line in _BODIES[name] if line[:2] == ("Mul", ("X", 0.5)))
    return tuple(
        (op, tuple("X" if operand == half[2] else operand for operand in operands), result)
        for op, operands, result in _BODIES[name]
        if result != half[2]
    )


def needs_float32(name: str) -> bool:
    """Say whether the body of function `name` holds constants, which have a type: float32."""
    return any(isinstance(t, float) for _, operands, _ in _BODIES[name] for t in operands)


def has_body(name: str, opset: int) -> bool:
    """Say whether function `name` can be written with the operators of `opset`."""
    return opset >= _FIRST_OPSETS.get(name, 1)


@functools.lru_cache(maxsize=64)
def activation_function(name: str, opset: int) -> gs.Function:
    """Return the local function `name`(X) -> Y, element-wise, for models of `opset`."""
    tensors: dict[str | float, gs.Tensor] = {}

    def tensor(key: str | float) -> gs.Tensor:
        if key not in tensors:
            tensors[key] = (
                gs.Variable(key)
                if isinstance(key, str)
                else gs.Constant(f"constant_{len(tensors)}", np.array(key, np.float32))
            )
        return tensors[key]

    nodes = [
        gs.Node(
            op,
            f"{op}_{index}",
            dict(_ATTRIBUTES.get(op, {})),
            [tensor(operand) for operand in operands],
            [tensor(result)],
        )
        for index, (op, operands, result) in enumerate(_BODIES[name])
    ]
    return gs.Function(
        name,
        FUSED_DOMAIN,
        nodes=nodes,
        inputs=[tensor("X")],
        outputs=[tensor("Y")],
        opset=opset,
        import_domains=[onnx.helper.make_opsetid("", opset)],
        attrs={},
    )


@functools.lru_cache(maxsize=64)
def layer_normalization_function(opset: int) -> gs.Function:
    """Return LayerNormalization(X, Scale, B, epsilon; axes) -> Y for models before opset 17.

    `axes` are the last ones, counted from the end; Scale and B have their shape; epsilon is a
    scalar of the type of X.
    """
    from typing import List  # noqa: UP035 - GraphSurgeon compares with typing.List

    names = ("X", "Scale", "B", "epsilon", "mean", "d", "square", "var", "v", "s", "n", "m", "Y")
    t: dict[str, gs.Tensor] = {name: gs.Variable(name) for name in names}
    reduce = {"axes": gs.Node.AttributeRef("axes", List[int]), "keepdims": 1}  # noqa: UP006
    lines = (
        ("ReduceMean", ("X",), "mean"),
        ("Sub", ("X", "mean"), "d"),
        ("Mul", ("d", "d"), "square"),
        ("ReduceMean", ("square",), "var"),
        ("Add", ("var", "epsilon"), "v"),
        ("Sqrt", ("v",), "s"),
        ("Div", ("d", "s"), "n"),
        ("Mul", ("n", "Scale"), "m"),
        ("Add", ("m", "B"), "Y"),
    )
    nodes = [
        gs.Node(
            op,
            f"{op}_{index}",
            dict(reduce) if op == "ReduceMean" else {},
            [t[name] for name in operands],
            [t[result]],
        )
        for index, (op, operands, result) in enumerate(lines)
    ]
    return gs.Function(
        "LayerNormalization",
        FUSED_DOMAIN,
        nodes=nodes,
        inputs=[t[name] for name in names[:4]],
        outputs=[t["Y"]],
        opset=opset,
        import_domains=[onnx.helper.make_opsetid("", opset)],
        attrs={"axes": None},
    )
