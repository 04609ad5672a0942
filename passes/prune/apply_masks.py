"""Bake masks into the weights below them.

Mul(W, M) = W'      one constant, where W and M are constant and M is a mask
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.graph.edit import Edit
from ...ir.graph.view import View
from ...ir.ops.masks import Masked, read_masked
from ..engine.rewrite import Rewrite, RewritePass


@dataclass(frozen=True)
class ApplyMasks(RewritePass):
    """Multiply masks into their weights, for good: each product becomes one constant.

    It has the weight's name where nothing else reads that. The numbers of a masked graph do not
    change; what the mask held back is lost.
    """

    name: ClassVar[str] = "apply-masks"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_Bake(),)


class _Bake(Rewrite[Masked]):
    ops = frozenset({"Mul"})

    def match(self, node: gs.Node, view: View) -> Masked | None:
        masked = read_masked(node)
        if masked is None:
            return None
        need(view.is_constant(masked.weight), "a caller may override the weight: it is an input")
        need(view.is_constant(masked.mask), "a caller may override the mask: it is an input")
        need(not view.is_output(node.outputs[0]), "its result is a graph output")
        return masked

    def rewrite(self, site: Masked, edit: Edit) -> None:
        weight, product = site.weight, site.node.outputs[0]
        baked = edit.constant(site.values(), weight.name)
        edit.replace(product, baked)
        edit.remove(site.node)
        if not edit.uses.reads(weight) and id(weight) not in edit.uses.pinned:
            edit.take_name(baked, weight)
