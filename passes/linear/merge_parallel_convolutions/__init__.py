"""Merge parallel linear branches on one tensor, added together, into one operator.

    W * x + V * x - (s x + t) = (W + V - diag(s)) * x - t

Kernels of different sizes are padded with zeros into the largest, where their windows align: 3x3
with pad 1, 1x1 without pad, 5x5 with pad 2. The identity, alone or scaled by channel, is a 1x1
convolution with a diagonal weight (Ding et al., "RepVGG: Making VGG-style ConvNets Great Again",
CVPR 2021, section 3.3; "Diverse Branch Block", CVPR 2021, transforms I to VI). An average pool
whose windows all count alike is a convolution with equal weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError, need
from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.linear.conditioning import need_conditioned
from ....ir.ops.linear.kernel import Array, Kernel
from ....ir.ops.linear.layer import channel_vector, write_layer
from ....ir.ops.linear.storing import need_storable
from ....ir.ops.opsets import aligns
from ....ir.ops.traits.groups import LAYERS
from ...engine.rewrite import Rewrite, RewritePass
from .branches import (
    MergedBranches,
    ParallelBranch,
    channelwise_branch,
    layer_branch,
    merge,
    steps_from,
)

# The sums that `_MergeSum` reads the terms and signs of; a mean of them is none.
_SUMS = frozenset({"Add", "Sum", "Sub"})
_LAYERS = LAYERS


@dataclass(frozen=True)
class MergeParallelConvolutions(RewritePass):
    """Merge convolutions (or Gemm, MatMul) of one tensor, added or subtracted, into one.

    The tensor itself and its BatchNormalization, scaled copy or average pool, added to them, are
    taken in, and so are constants by channel. Branches are merged where one kernel multiplies no
    more often than they do apart; any order of Add, Sum and Sub will do.
    """

    name: ClassVar[str] = "merge-parallel-convolutions"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_MergeSum(),)


@dataclass(frozen=True)
class _Term:
    """What a sum adds, or, where `negative`, subtracts."""

    tensor: gs.Tensor
    negative: bool


@dataclass(frozen=True)
class _SumOfBranches:
    sums: tuple[gs.Node, ...]  # the last one first
    merged: tuple[tuple[MergedBranches, Kernel], ...]
    others: tuple[_Term, ...]


class _MergeSum(Rewrite[_SumOfBranches]):
    ops = _SUMS

    def match(self, node: gs.Node, view: View) -> _SumOfBranches | None:
        above = view.only_reader(node.outputs[0])
        if not aligns("Add", view.opset) or (above is not None and _is_sum(above)):
            return None  # Add broadcast by attribute; or the sum above takes this one in
        sums, leaves = _flattened(node, view)
        groups = _by_source(leaves, view)
        if not groups:
            return None
        refusal: DeclinedError | None = None
        merged: list[MergedBranches] = []
        for group in groups:
            try:
                merged += group.merged(view)
            except DeclinedError as reason:
                refusal = refusal or reason
        if not merged:
            assert refusal is not None
            raise refusal
        taken = {
            id(part.nodes[0].outputs[0] if part.nodes else m.layer.source)
            for m in merged
            for part in m.branches
        }
        others = [term for term in leaves if id(term.tensor) not in taken]
        return _with_constants(tuple(sums), merged, others, view)

    def rewrite(self, site: _SumOfBranches, edit: Edit) -> None:
        last = site.sums[0]
        for node in site.sums:
            edit.remove(node)
        for merged, _ in site.merged:
            for branch in merged.branches:
                for node in branch.nodes:
                    edit.remove(node)
        result = last.outputs[0]
        alone = not site.others and len(site.merged) == 1
        made: list[gs.Tensor] = []
        for merged, kernel in site.merged:
            made.append(result if alone else edit.variable(f"{result.name}_part"))
            write_layer(edit, merged.layer, kernel, result=made[-1], attrs=merged.attrs)
        terms = [*site.others, *(_Term(tensor, negative=False) for tensor in made)]
        total = terms.pop().tensor
        while terms:
            term = terms.pop()
            summed = edit.variable(f"{result.name}_part") if terms else result
            if term.negative:
                edit.node("Sub", [total, term.tensor], [summed], at=last)
            else:
                edit.node("Add", [term.tensor, total], [summed], at=last)
            total = summed


def _is_sum(node: gs.Node) -> bool:
    return node.op in _SUMS and is_standard(node)


def _flattened(root: gs.Node, view: View) -> tuple[list[gs.Node], list[_Term]]:
    """Return the sums of which `root` is the last, and what they add up, in order."""
    sums, leaves, pending = [root], [], _terms(root, negative=False)
    while pending:
        term = pending.pop()
        node = view.producer(term.tensor)
        if node is not None and _is_sum(node) and view.only_reader(term.tensor) is not None:
            sums.append(node)
            pending += _terms(node, negative=term.negative)
        else:
            leaves.append(term)
    return sums, leaves


def _terms(node: gs.Node, *, negative: bool) -> list[_Term]:
    """Return what a sum adds, the last first; `negative` where the sum itself is subtracted."""
    terms = [_Term(tensor, negative) for tensor in node.inputs]
    if node.op == "Sub":
        terms[1] = _Term(node.inputs[1], not negative)
    return terms[::-1]


@dataclass
class _BranchesOfSource:
    """What a sum adds up that is linear in one tensor."""

    layers: list[tuple[gs.Node, bool]]  # the bools: what is subtracted
    maps: list[tuple[tuple[gs.Node, ...], bool]]

    def merged(self, view: View) -> list[MergedBranches]:
        """Return the branches put together; declines where no two can be."""
        branches: list[ParallelBranch] = []
        refusal: DeclinedError | None = None
        for node, negative in self.layers:
            try:
                need(
                    view.only_reader(node.outputs[0]), f"the result of {node.op} has other readers"
                )
                branches.append(layer_branch(node, view, negative=negative))
            except DeclinedError as reason:
                refusal = refusal or reason
        largest = max(branches, key=lambda branch: branch.work, default=None)
        for steps, negative in self.maps:
            try:
                if largest is not None:
                    found = channelwise_branch(steps, largest, view, negative=negative)
                    branches.append(found)
            except DeclinedError as reason:
                refusal = refusal or reason
        if len(branches) < 2 or largest is None or largest.layer is None:
            raise refusal or DeclinedError("no two of its branches can be read")
        layer = largest.layer
        rank = 0 if largest.window is None else len(largest.window.kernel)
        shape = view.shape(layer.source)
        return merge(branches, [None] * rank if shape is None else shape[len(shape) - rank :])


def _by_source(leaves: Sequence[_Term], view: View) -> list[_BranchesOfSource]:
    """Return the groups of at least two branches, one of them a layer, on one tensor each."""
    groups: dict[int, _BranchesOfSource] = {}
    rest: list[_Term] = []
    for leaf in leaves:
        node = view.producer(leaf.tensor)
        if node is not None and node.op in _LAYERS and is_standard(node):
            group = groups.setdefault(id(node.inputs[0]), _BranchesOfSource([], []))
            group.layers.append((node, leaf.negative))
        else:
            rest.append(leaf)
    for leaf in rest:
        found = steps_from(groups, leaf.tensor, view) if groups else None
        if found is not None:
            groups[id(found[0])].maps.append((found[1], leaf.negative))
    return [group for group in groups.values() if len(group.layers) + len(group.maps) > 1]


def _with_constants(
    sums: tuple[gs.Node, ...], merged: list[MergedBranches], others: list[_Term], view: View
) -> _SumOfBranches:
    """Add to the first of `merged` the constants by channel among `others`."""
    layer, kernel = merged[0].layer, merged[0].kernel()
    rank = layer.weight.ndim if layer.is_spatial else layer.rank
    kept, shifts = [], []
    for term in others:
        values = view.constant(term.tensor)
        shift = None
        if values is not None:
            shift = channel_vector(values, rank, layer.axis, layer.outputs)
        if shift is None:
            kept.append(term)
        else:
            shift = -shift if term.negative else shift
            shifts.append(shift)
            kernel = kernel.then_affine(np.ones(layer.outputs), shift)
    kernels = [kernel, *(part.kernel() for part in merged[1:])]
    for part, summed in zip(merged, kernels, strict=True):
        terms = [*part.biases(), *(shifts if part is merged[0] else ())]
        _need_conditioned(terms, summed, part.layer.weight.dtype)
        need_storable(summed, part.layer.weight.dtype)
    return _SumOfBranches(sums, tuple(zip(merged, kernels, strict=True)), tuple(kept))


def _need_conditioned(terms: Sequence[Array], summed: Kernel, dtype: Any) -> None:
    """Decline where biases and constants cancel that are too large to: rounding of a sum shows."""
    if len(terms) > 1:
        need_conditioned(np.stack(terms), summed.full_bias(), dtype)
