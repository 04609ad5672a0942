"""A pass of one's own: two scales in a row become one.

(x * a) * b = x * (a * b),   a and b constant
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_graphsurgeon as gs

import planish


class _Pair(planish.Rewrite):
    ops = frozenset({"Mul"})

    def match(self, node: gs.Node, view: planish.View) -> Any:
        """Return the two nodes and what they multiply by, or None."""
        first = view.producer(node.inputs[0])
        inner = None if first is None or first.op != "Mul" else view.constant(first.inputs[1])
        outer = view.constant(node.inputs[1])
        if inner is None or outer is None:
            return None
        planish.need(view.fan_out(node.inputs[0]) == 1, "something else reads the inner product")
        return first, node, inner * outer

    def rewrite(self, site: Any, edit: planish.Edit) -> None:
        """Have the outer node multiply what the inner one did, by both."""
        first, node, product = site
        edit.set_input(node, 0, first.inputs[0])
        edit.set_input(node, 1, edit.constant(product, "scale"))
        edit.remove(first)


@planish.register_pass
@dataclass(frozen=True)
class MergeScales(planish.RewritePass):
    """Multiply once where two constants follow one another."""

    name = "merge-scales"

    def rewrites(self) -> tuple[planish.Rewrite, ...]:
        """Return the one rewrite."""
        return (_Pair(),)
