"""Merge a convolution or Gemm with the residual Add and the activation after it.

    act(W * x + b)        -> ConvRelu, ConvClip, ConvTransposeSilu, GemmRelu, ...
    act(W * x + b + z)    -> ConvAddRelu, ...
    W * x + b + z         -> ConvAdd, ...

The result is a local function of the domain `planish` whose body is what it replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.core.variables import is_standard
from ...ir.graph.edit import Edit
from ...ir.graph.functions import call_function
from ...ir.graph.parts import is_written_out
from ...ir.graph.view import View
from ...ir.ops.fused.activations import ACTIVATION_OPS, FoundActivation, find_activation
from ...ir.ops.fused.operators import GEMM, GEMM_DEFAULTS, LINEARS, Fused, fused_function
from ...ir.ops.opsets import aligns
from ...ir.ops.windows.attributes import explicit_window
from ..engine.context import Context
from ..engine.rewrite import Rewrite, RewritePass, drive, root_ops
from .explicit_bias import with_bias


@dataclass(frozen=True)
class FuseConvActivation(RewritePass):
    """Fuse Conv, ConvTranspose or Gemm with a residual Add, an activation, or both.

    The Add is taken in where both of its operands have the same shape; where both come from a
    linear operator, the second is fused.
    """

    name: ClassVar[str] = "fuse-conv-activation"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the rewrites, of which those of a later one must not forestall an earlier one."""
        return (_FuseActivation(), _FuseAdd())

    def starts_at(self) -> frozenset[str]:
        """Return where the rewrites are tried."""
        return root_ops(self.rewrites())

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Fuse with activations first: an Add fused alone would hide its activation's operator."""
        for rewrite in self.rewrites():
            drive(graph, (rewrite,), context)


@dataclass(frozen=True)
class _ConvWithActivation:
    fused: Fused
    removed: tuple[gs.Node, ...]  # from the linear operator to the last result
    inputs: tuple[gs.Tensor, ...]
    attrs: dict[str, Any]


class _FuseIntoConv(Rewrite[_ConvWithActivation]):
    def rewrite(self, site: _ConvWithActivation, edit: Edit) -> None:
        last = site.removed[-1]
        for node in site.removed:
            edit.remove(node)
        call_function(
            edit,
            fused_function(site.fused, edit.graph.opset),
            with_bias(edit, site.fused, site.inputs, site.attrs, restored=self.restores(site)),
            last.outputs[0],
            site.attrs,
            of=site.removed,
            at=last,
        )

    def restores(self, site: _ConvWithActivation) -> bool:
        return all(map(is_written_out, site.removed))


class _FuseActivation(_FuseIntoConv):
    ops = ACTIVATION_OPS

    def match(self, node: gs.Node, view: View) -> _ConvWithActivation | None:
        found = find_activation(node, view)
        if found is None:
            return None
        producer = view.producer(found.x)
        if producer is None or not is_standard(producer):
            return None
        add, other = None, None
        if producer.op == "Add":
            residual = _residual(producer, view)
            if residual is None:
                return None
            add, (producer, other) = producer, residual
        if producer.op not in LINEARS:
            return None
        need(
            view.read_only_by(found.x, *found.tail), f"the value before {node.op} has other readers"
        )
        return _site(producer, add, other, found, view)


class _FuseAdd(_FuseIntoConv):
    ops = frozenset({"Add"})

    def match(self, node: gs.Node, view: View) -> _ConvWithActivation | None:
        residual = _residual(node, view) if is_standard(node) else None
        return None if residual is None else _site(residual[0], node, residual[1], None, view)


def _site(
    linear: gs.Node,
    add: gs.Node | None,
    other: gs.Tensor | None,
    found: FoundActivation | None,
    view: View,
) -> _ConvWithActivation:
    """Return the site of `linear`, the Add of `other` and the activation, each where there is."""
    inputs = [*linear.inputs, *[gs.Variable.empty()] * (3 - len(linear.inputs))]
    removed = [linear]
    if add is not None and other is not None:
        need(
            view.same_shape(linear.outputs[0], other),
            "the residual is broadcast, or its shape is not known",
        )
        inputs.append(other)
        removed.append(add)
    kind = LINEARS[linear.op]
    if kind is GEMM:
        need(aligns("Gemm", view.opset), "Gemm broadcasts its bias only from opset 7 on")
        attrs = {**GEMM_DEFAULTS, **linear.attrs}
    else:
        attrs = explicit_window(linear, view)
    if found is not None:
        inputs += found.operands
        attrs |= found.attrs("activation_")
        removed += found.tail
    fused = Fused(kind, add is not None, None if found is None else found.activation)
    return _ConvWithActivation(fused, tuple(removed), tuple(inputs), attrs)


def _residual(add: gs.Node, view: View) -> tuple[gs.Node, gs.Tensor] | None:
    """Return the linear operator that `add` alone reads, and the other operand."""
    for position in (1, 0):
        producer = view.producer(add.inputs[position])
        if (
            producer is not None
            and producer.op in LINEARS
            and is_standard(producer)
            and view.read_only_by(producer.outputs[0], add)
        ):
            return producer, add.inputs[1 - position]
    return None
