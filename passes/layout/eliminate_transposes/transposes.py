"""Rewrites of a Transpose alone: two in a row, one that only Shape reads, one that moves nothing.

transpose(transpose(x, p), q) = transpose(x, p q)
shape(transpose(x, p)) = shape(x)[p]
transpose(x, p) = reshape(x, ...)   where p moves axes of size one alone
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.axes.permutation import (
    Order,
    is_identity,
    moves_only_ones,
    perm_of,
    permuted,
    then,
)
from ....ir.ops.axes.ports import Array
from ....ir.ops.build import build_reshape
from ...engine.rewrite import Rewrite
from .regrouped import target_of
from .relayout import write_shape


@dataclass(frozen=True, kw_only=True)
class _MergedTranspose:
    node: gs.Node
    source: gs.Tensor
    perm: Order
    inner: gs.Node | None  # goes where nothing else reads it
    shapes: tuple[gs.Node, ...]
    like: TensorType | None


class MergeTransposes(Rewrite[_MergedTranspose]):
    """Merge a Transpose with the one before it; leave one out that moves nothing, or that only
    Shape operators read.
    """

    ops = frozenset({"Transpose"})

    def match(self, node: gs.Node, view: View) -> _MergedTranspose | None:
        """Return what `node` can be replaced by."""
        perm = perm_of(node, view)
        if perm is None:
            return None
        source, result = node.inputs[0], node.outputs[0]
        inner = view.producer(source)
        first = perm_of(inner, view)
        if inner is not None and first is not None:
            merged = then(first, perm)
            alone = view.read_only_by(source, node)
            like = view.type(result)
            return _MergedTranspose(
                node=node,
                source=inner.inputs[0],
                perm=merged,
                inner=inner if alone else None,
                shapes=(),
                like=like,
            )
        if is_identity(perm):
            return (
                None
                if view.is_output(result)
                else _MergedTranspose(
                    node=node, source=source, perm=perm, inner=None, shapes=(), like=None
                )
            )
        readers = view.readers(result)
        shapes = tuple(r for r in readers if r.op == "Shape" and is_standard(r))
        same_scope = all(view.producer(r.outputs[0]) is r for r in shapes)
        if shapes and len(shapes) == len(readers) and same_scope and not view.is_output(result):
            return _MergedTranspose(
                node=node, source=source, perm=perm, inner=None, shapes=shapes, like=None
            )
        return None

    def rewrite(self, site: _MergedTranspose, edit: Edit) -> None:
        """Replace the node."""
        result = site.node.outputs[0]
        edit.remove(site.node)
        for shape in site.shapes:
            edit.remove(shape)
            write_shape(site.source, site.perm, shape, edit)
        if site.inner is not None:
            edit.remove(site.inner)
        if site.shapes:
            return
        if not is_identity(site.perm):
            edit.node("Transpose", [site.source], [result], {"perm": list(site.perm)}, at=site.node)
        elif id(result) in edit.uses.pinned:
            edit.node("Identity", [site.source], [result], at=site.node)
        else:
            edit.replace(result, site.source)


class ReshapeInstead(Rewrite[tuple[gs.Node, Array]]):
    """Make a Transpose that moves only axes of size one a Reshape, which copies nothing."""

    ops = frozenset({"Transpose"})

    def match(self, node: gs.Node, view: View) -> tuple[gs.Node, Array] | None:
        """Return the shape to ask for, with at most one unknown size."""
        perm = perm_of(node, view)
        shape = view.shape(node.inputs[0])
        if perm is None or shape is None or is_identity(perm):
            return None
        if not moves_only_ones(shape, perm):
            return None
        target = target_of(permuted(shape, perm), range(len(perm)), perm)
        if target is None:
            return None
        # What is left of no elements, where another size is copied, may be any size.
        need(not {0, -1} <= set(target.tolist()), "two of its sizes are known only when it runs")
        return node, target

    def rewrite(self, site: tuple[gs.Node, Array], edit: Edit) -> None:
        """Replace the node."""
        node, target = site
        edit.remove(node)
        build_reshape(edit, node.inputs[0], node.outputs[0], target, at=node)
