"""Activations on known values: what an operator that works on each element makes of a constant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..graph.view import View

Array = np.ndarray[Any, Any]

# Operator -> function of the values and of the attributes' values, with the operator's defaults.
_FUNCTIONS: dict[str, tuple[Callable[..., Array], dict[str, float]]] = {
    "Relu": (lambda x: np.maximum(x, 0), {}),
    "LeakyRelu": (lambda x, alpha: np.where(x < 0, alpha * x, x), {"alpha": 0.01}),
    "Elu": (lambda x, alpha: np.where(x < 0, alpha * np.expm1(x), x), {"alpha": 1.0}),
    "Sigmoid": (lambda x: 1 / (1 + np.exp(-x)), {}),
    "Tanh": (np.tanh, {}),
    "Softplus": (lambda x: np.log1p(np.exp(x)), {}),
    "HardSigmoid": (
        lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1),
        {"alpha": 0.2, "beta": 0.5},
    ),
    "HardSwish": (lambda x: x * np.clip(x / 6 + 0.5, 0, 1), {}),
    "Abs": (np.abs, {}),
    "Identity": (lambda x: x, {}),
}


def constant_result(node: gs.Node, values: Array, view: View) -> Array | None:
    """Return what `node` makes of `values`, float64; NaN stays NaN, and so does what overflows.

    None where the operator is not one that works on each element alone.
    """
    if node.op == "Clip":
        bounds = _bounds(node, view)
        if bounds is None:
            return None
        result = np.minimum(np.maximum(values, bounds[0]), bounds[1])
    elif node.op in _FUNCTIONS:
        function, defaults = _FUNCTIONS[node.op]
        attrs = {name: node.attrs.get(name, value) for name, value in defaults.items()}
        with np.errstate(over="ignore", invalid="ignore"):
            result = function(values, **attrs)
    else:
        return None
    return np.where(np.isfinite(result), result, np.nan)


def _bounds(node: gs.Node, view: View) -> tuple[float, float] | None:
    if view.opset < 11:
        return node.attrs.get("min", -np.inf), node.attrs.get("max", np.inf)
    found = [-np.inf, np.inf]
    for position, tensor in enumerate(node.inputs[1:3]):
        if tensor.is_empty():
            continue
        bound = view.constant(tensor)
        if bound is None or bound.size != 1:
            return None
        found[position] = float(bound.reshape(()))
    return found[0], found[1]
