"""Rectifiers with a slope: LeakyRelu and PRelu.

LeakyRelu(x; a) = max(x, a x)               for 0 < a <= 1
                = relu(x) - a relu(-x) = relu(x) + a min(x, 0)
PRelu(x; a)     the same with a constant tensor for a
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.graph.view import View
from ..expressions import Polynomial, need_kernel, need_private, polynomial, producer_of
from ..replacement import Recognition, RecognizedOperator
from .clamps import read_clamp


class RecognizeLeakyMaximum(Recognition):
    """Write LeakyRelu for the greater one of x and a x."""

    ops = frozenset({"Max"})

    def match(self, node: gs.Node, view: View) -> RecognizedOperator | None:
        """Return the LeakyRelu with the factor as alpha."""
        if len(node.inputs) != 2 or node.inputs[0] is node.inputs[1]:
            return None
        for x, scaled in (node.inputs, reversed(node.inputs)):
            if producer_of(scaled, view, "Mul", "Div") is None:
                continue
            product = polynomial(scaled, view, stop=x)
            slope = product.coefficient(x)
            if product.is_near((slope, x), tolerance=0.0) and 0 < slope <= 1:
                need_kernel("LeakyRelu", x, view)
                nodes = need_private(product.nodes, node, view)
                return RecognizedOperator("LeakyRelu", (x,), nodes, {"alpha": slope})
        return None


class RecognizeRectifiedSum(Recognition):
    """Write LeakyRelu or PRelu for the sum of Relu(x) and the scaled negative part of x."""

    ops = frozenset({"Add", "Sub"})

    def match(self, node: gs.Node, view: View) -> RecognizedOperator | None:
        """Return the rectifier with the slope of the negative part."""
        for position in (0, 1):
            positive = producer_of(node.inputs[position], view, "Relu")
            if positive is None:
                continue
            x = positive.inputs[0]
            found = self._match(node, positive, x, view)
            if found is not None:
                return found
        return None

    def _match(
        self, node: gs.Node, positive: gs.Node, x: gs.Tensor, view: View
    ) -> RecognizedOperator | None:
        total = polynomial(node.outputs[0], view)
        kept = total.coefficient(positive.outputs[0])
        if len(total.terms) != 2 or kept != 1:
            return None
        for part in total.atoms.values():
            below = _negative_part(part, x, view)
            if below is None:
                continue
            sign, inner = below
            found = _slope(total, part, positive.outputs[0], x, sign, view)
            if found is not None:
                need_kernel("LeakyRelu" if isinstance(found, float) else "PRelu", x, view)
                nodes = need_private((*total.nodes, positive, *inner), node, view)
                if isinstance(found, float):
                    return RecognizedOperator("LeakyRelu", (x,), nodes, {"alpha": found})
                return RecognizedOperator("PRelu", (x, found), nodes)
        return None


def _negative_part(
    part: gs.Tensor, x: gs.Tensor, view: View
) -> tuple[float, tuple[gs.Node, ...]] | None:
    """Return the sign and nodes of min(x, 0) or of relu(-x), its negative."""
    node = producer_of(part, view, "Relu", "Min")
    if node is None:
        return None
    clamp = read_clamp(node, view)
    if clamp is None:
        return None
    if node.op == "Min":
        return (1.0, (node,)) if clamp.source is x and clamp.high == 0 else None
    negated = polynomial(clamp.source, view, stop=x)
    return (-1.0, (node, *negated.nodes)) if negated.is_near((-1, x), tolerance=0.0) else None


def _slope(
    total: Polynomial, part: gs.Tensor, positive: gs.Tensor, x: gs.Tensor, sign: float, view: View
) -> float | np.ndarray | None:
    value = total.coefficient(part)
    if value:
        return sign * value
    for other in total.atoms.values():
        value = total.coefficient(part, other)
        slope = view.constant(other)
        if not value or slope is None:
            continue
        shape = view.shape(x)
        need(
            shape is not None
            and slope.ndim <= len(shape)
            and all(
                size in (1, dim) for size, dim in zip(slope.shape[::-1], shape[::-1], strict=False)
            ),
            "its slopes are of another shape than its input",
        )
        return np.asarray(slope * slope.dtype.type(sign * value))
    return None
