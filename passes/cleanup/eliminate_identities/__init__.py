"""Remove operators that return their input.

f(x) = x        for Identity; data movement that moves nothing; windows of one element; arithmetic
                with a neutral operand, or on values that are in range already
W x + 0 = W x   for the bias of Conv, ConvTranspose and Gemm
Concat(x, e) = x   where e has no elements
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.build import needs_bias
from ....ir.ops.traits.groups import BIASED_LAYERS
from ...engine.rewrite import Rewrite, RewritePass
from ..bypass import Bypass
from . import arithmetic as identity_arithmetic
from . import movement as identity_movement
from . import windows as identity_windows


@dataclass(frozen=True)
class EliminateIdentities(RewritePass):
    """Remove operators that return their input unchanged.

    Left alone where it joins a graph input or constant directly to a graph output, since both
    names must stay.
    """

    name: ClassVar[str] = "eliminate-identities"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the rewrites for whole operators, zero biases and empty parts."""
        return (_RemoveIdentity(), _DropZeroBias(), _DropEmptyParts())


_RULES = {**identity_movement.RULES, **identity_windows.RULES}


class _RemoveIdentity(Bypass):
    ops = frozenset({*_RULES, *identity_arithmetic.OPS})

    def returned(self, node: gs.Node, view: View) -> gs.Tensor | None:
        if not node.inputs:
            return None
        rule = _RULES.get(node.op)
        if rule is None:
            return identity_arithmetic.returned_operand(node, view)
        return node.inputs[0] if rule(node, view) else None


class _DropZeroBias(Rewrite[gs.Node]):
    """Leave a zero bias out, whatever its shape: PyTorch's exporter gives Conv3d one of [M, N].

    The input goes, not only its name: ONNX Runtime lays a convolution out in blocks (NCHWc) only
    where there is no empty third input, and a network of 3x3 convolutions is twice as fast then.
    """

    ops = BIASED_LAYERS

    def match(self, node: gs.Node, view: View) -> gs.Node | None:
        if not is_standard(node) or len(node.inputs) < 3 or node.inputs[2].is_empty():
            return None
        if needs_bias(node.op, view.opset):
            return None
        bias = view.constant(node.inputs[2])
        return None if bias is None or bias.any() else node

    def rewrite(self, site: gs.Node, edit: Edit) -> None:
        edit.remove(site)
        edit.node(site.op, site.inputs[:2], site.outputs, site.attrs, at=site, domain=site.domain)


class _DropEmptyParts(Rewrite[tuple[gs.Node, list[gs.Tensor]]]):
    """Leave parts without elements out of a Concat; PyTorch's exporter writes empty states."""

    ops = frozenset({"Concat"})

    def match(self, node: gs.Node, view: View) -> tuple[gs.Node, list[gs.Tensor]] | None:
        axis = node.attrs.get("axis", 1)
        kept = [t for t in node.inputs if (shape := view.shape(t)) is None or shape[axis] != 0]
        kept = kept or list(node.inputs[:1])
        return (node, kept) if len(kept) < len(node.inputs) else None

    def rewrite(self, site: tuple[gs.Node, list[gs.Tensor]], edit: Edit) -> None:
        node, kept = site
        edit.remove(node)
        edit.node("Concat", kept, list(node.outputs), node.attrs, at=node)
