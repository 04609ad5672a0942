"""Activations of one variable: HardSigmoid, Sigmoid, Softplus, Softsign.

HardSigmoid(x; a, b) = clamp(a x + b; 0, 1)     Sigmoid(x) = 1 / (1 + exp(-x))
Softsign(x) = x / (1 + |x|)                     Softplus(x) = x for x > 20, up to rounding

Log(1 + exp(x)) stays: it overflows where Softplus does not, and ONNX Runtime runs it faster.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.graph.view import View
from ..expressions import (
    ScalarAffine,
    affine,
    affine_steps,
    is_near,
    need_kernel,
    need_private,
    polynomial,
    producer_of,
    scalar,
    tolerance_of,
)
from ..replacement import Recognition, RecognizedOperator
from .clamps import read_clamp
from .tails import need_tails_unread

# From here on softplus(x) - x = log(1 + exp(-x)) is less than half a unit in float32's last place.
_SOFTPLUS_IS_LINEAR = 15.0


class RecognizeHardSigmoid(Recognition):
    """Write HardSigmoid for a clamp of a x + b, scaled to reach from 0 to 1."""

    ops = frozenset({"Clip", "Mul", "Div"})  # the last node: a clamp, or what scales it

    def match(self, node: gs.Node, view: View) -> RecognizedOperator | None:
        """Return the HardSigmoid with the alpha and beta that the constants give."""
        outer = ScalarAffine(node.outputs[0])
        clip: gs.Node | None = node
        if node.op != "Clip":
            outer = affine(node.outputs[0], view)
            clip = producer_of(outer.source, view, "Clip") if outer.nodes else None
        clamp = None if clip is None else read_clamp(clip, view)
        if clip is None or clamp is None or clamp.low != 0 or outer.shift != 0:
            return None
        inner = affine(clamp.source, view)
        x = inner.source
        if not inner.shift:
            return None
        if not is_near(outer.scale * clamp.high, 1, tolerance_of(view.dtype(x))):
            return None
        need_kernel("HardSigmoid", x, view)
        nodes = need_private((*outer.nodes, clip, *inner.nodes), node, view)
        attrs = {"alpha": inner.scale * outer.scale, "beta": inner.shift * outer.scale}
        return RecognizedOperator("HardSigmoid", (x,), nodes, attrs)


class RecognizeSigmoid(Recognition):
    """Write Sigmoid for the reciprocal of 1 + exp(-x)."""

    ops = frozenset({"Reciprocal", "Div"})

    def match(self, node: gs.Node, view: View) -> RecognizedOperator | None:
        """Return the Sigmoid of what is negated below the exponential."""
        divisor = node.inputs[-1]
        if node.op == "Div" and scalar(node.inputs[0], divisor, view) != 1:
            return None
        total = polynomial(divisor, view)
        if len(total.atoms) != 1:
            return None
        (power,) = total.atoms.values()
        exponential = producer_of(power, view, "Exp")
        if exponential is None or not total.is_near((1,), (1, power), tolerance=0.0):
            return None
        for step in affine_steps(exponential.inputs[0], view):
            if step.scale == -1 and step.shift == 0:
                need_tails_unread("Sigmoid", node.outputs[0], view)
                inner = (*total.nodes, exponential, *step.nodes)
                return RecognizedOperator(
                    "Sigmoid", (step.source,), need_private(inner, node, view)
                )
        return None


class RecognizeSoftsign(Recognition):
    """Write Softsign for x / (1 + |x|)."""

    ops = frozenset({"Div"})

    def match(self, node: gs.Node, view: View) -> RecognizedOperator | None:
        """Return the Softsign of the dividend."""
        x = node.inputs[0]
        total = polynomial(node.inputs[1], view)
        for size in total.atoms.values():
            absolute = producer_of(size, view, "Abs")
            if absolute is not None and absolute.inputs[0] is x:
                if not total.is_near((1,), (1, size), tolerance=0.0):
                    return None
                need_kernel("Softsign", x, view)
                nodes = need_private((*total.nodes, absolute), node, view)
                return RecognizedOperator("Softsign", (x,), nodes)
        return None


class RecognizeSoftplus(Recognition):
    """Write Softplus for Where(x > 20, x, Softplus(x)), as PyTorch's exporter spells it."""

    ops = frozenset({"Where"})

    def match(self, node: gs.Node, view: View) -> RecognizedOperator | None:
        """Return the Softplus of which a part is replaced by its asymptote."""
        condition, x, curve = node.inputs
        above = producer_of(condition, view, "Greater")
        softplus = producer_of(curve, view, "Softplus")
        if above is None or softplus is None or softplus.inputs[0] is not x:
            return None
        if above.inputs[0] is not x:
            return None
        threshold = scalar(above.inputs[1], x, view)
        need(
            threshold is not None and threshold >= _SOFTPLUS_IS_LINEAR,
            f"below {_SOFTPLUS_IS_LINEAR:g} Softplus is not its input yet",
        )
        return RecognizedOperator("Softplus", (x,), need_private((above, softplus), node, view))
