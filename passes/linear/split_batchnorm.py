"""Fold BatchNormalization behind a Concat into the linear operators before it.

    s * [W1 x1 + b1, W2 x2 + b2, ...] + t  =  [s1 (W1 x1 + b1) + t1, s2 (W2 x2 + b2) + t2, ...]

where s and t are cut into the channels of each branch. Other per-channel Mul, Div, Add, Sub and Neg
behind the Concat go the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.decline import DeclinedError, need
from ...ir.core.variables import is_standard
from ...ir.graph.edit import Edit
from ...ir.graph.view import View
from ...ir.ops.linear.affine import affine_below, composed, read_affine
from ...ir.ops.linear.kernel import Kernel
from ...ir.ops.linear.layer import Layer, read_layer, write_layer
from ...ir.ops.linear.storing import need_storable
from ..engine.rewrite import Rewrite, RewritePass


@dataclass(frozen=True)
class SplitBatchnorm(RewritePass):
    """Fold BatchNormalization behind a Concat of channels into the linear operators before it.

    Every branch must end in a Conv, ConvTranspose, Gemm or MatMul that only this Concat reads, or
    in another Concat of such; otherwise one operator would become several.
    """

    name: ClassVar[str] = "split-batchnorm"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_SplitOverConcat(),)


@dataclass(frozen=True)
class _NormalizedConcat:
    branches: tuple[tuple[Layer, Kernel], ...]
    concat: gs.Node
    chain: tuple[gs.Node, ...]  # the affine nodes, the first at the Concat


class _SplitOverConcat(Rewrite[_NormalizedConcat]):
    ops = frozenset({"Concat"})

    def match(self, node: gs.Node, view: View) -> _NormalizedConcat | None:
        reader = view.only_reader(node.outputs[0])
        first = None if reader is None else read_affine(reader, view)
        if first is None:
            return None
        rank = need(view.rank(node.outputs[0]), "the rank of the Concat before it is unknown")
        axis = node.attrs.get("axis", 1) % rank
        leaves = _leaves(node, axis, rank, view)
        layers = [_branch(tensor, reader, axis, rank, view) for tensor, reader in leaves]
        channels = sum(layer.outputs for layer in layers)
        chain = affine_below(first, rank, axis, channels, view)
        need(
            first.on_channels(rank, axis, channels),
            "its constant is not one value per channel of the Concat before it",
        )
        kernels = [layer.kernel() for layer in layers]
        bias = np.concatenate([kernel.full_bias() for kernel in kernels])
        composed(chain, rank, axis, channels, bias).need_conditioned(layers[0].weight.dtype)
        total = composed(chain, rank, axis, channels)
        branches, start = [], 0
        for layer, kernel in zip(layers, kernels, strict=True):
            part = slice(start, start + layer.outputs)
            shift = total.shift[part] if total.shift[part].any() else None
            need(
                shift is None or _takes_bias(layer, rank),
                "MatMul in a branch of the Concat before it would need an Add for its bias",
            )
            folded = kernel.then_affine(total.scale[part], shift)
            need_storable(folded, layer.weight.dtype)
            branches.append((layer, folded))
            start = part.stop
        return _NormalizedConcat(tuple(branches), node, tuple(affine.node for affine in chain))

    def rewrite(self, site: _NormalizedConcat, edit: Edit) -> None:
        result = site.chain[-1].outputs[0]
        for node in reversed(site.chain):
            edit.remove(node)
        concat = site.concat
        edit.remove(concat)
        for layer, kernel in site.branches:
            write_layer(edit, layer, kernel)
        edit.node("Concat", concat.inputs, [result], concat.attrs, at=concat)


def _leaves(concat: gs.Node, axis: int, rank: int, view: View) -> list[tuple[gs.Tensor, gs.Node]]:
    """Return the tensors that `concat` and the ones nested in it join, each with its reader."""
    found: list[tuple[gs.Tensor, gs.Node]] = []
    pending = [(tensor, concat) for tensor in reversed(concat.inputs)]
    while pending:
        tensor, reader = pending.pop()
        inner = view.producer(tensor)
        nested = (
            inner is not None
            and inner.op == "Concat"
            and is_standard(inner)
            and inner.attrs.get("axis", 1) % rank == axis
        )
        if inner is not None and nested:
            need(view.read_only_by(tensor, reader), "a Concat before it has other readers")
            pending.extend((part, inner) for part in reversed(inner.inputs))
        else:
            found.append((tensor, reader))
    return found


def _branch(tensor: gs.Tensor, reader: gs.Node, axis: int, rank: int, view: View) -> Layer:
    """Return the linear operator that gives `tensor` to `reader` alone, or decline."""
    producer = need(view.producer(tensor), "a branch of the Concat before it is a graph input")
    need(
        view.read_only_by(tensor, reader),
        f"a branch of the Concat before it, from {producer.op}, has other readers",
    )
    try:
        layer = read_layer(producer, view)
    except DeclinedError as problem:
        raise DeclinedError(f"in a branch of the Concat before it, {problem}") from None
    need(layer.axis % rank == axis, f"the Concat before it does not join channels of {layer.op}")
    return layer


def _takes_bias(layer: Layer, rank: int) -> bool:
    """Say whether a bias costs no operator: a MatMul of matrices becomes a Gemm."""
    return layer.op != "MatMul" or layer.added is not None or rank == 2
