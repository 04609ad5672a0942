"""Merge convolutions that read one tensor alike into one, with their outputs stacked.

    [W x + b; V x + c] = [W; V] x + [b; c]

Where the results meet again, side by side in a Concat, the Concat is done with. Elsewhere a Split
hands them out, and copies them, which mostly costs more than one operator saves. Measured on ONNX
Runtime 1.31 (AVX-512, one thread, each kind of case merged over apart; above 1 is faster):

    into a Concat: 1x1 of 32 to 832 channels, 2 to 3 siblings        1.01 to 1.42
                   3x3 [8, 8] of 64 channels, 14 x 14                1.65
                   MatMul, Gemm of 1 to 256 rows                     1.00 to 1.41
    with a Split:  1x1 of GoogLeNet's blocks ([64, 96, 16], ...)     0.92 to 1.00
                   1x1 [16, 16] and [64, 64]                         0.70 to 0.95
                   MatMul [768] * 3 and [192] * 3, 197 rows (QKV)    0.92 to 0.94
                   [20, 20]                                          0.96 to 1.01
                   [20, 20, 20]                                      1.02 to 1.05
                   [4, 4], [12, 4]                                   1.02 to 1.17
                   3x3 [4, 1], [2, 2, 2]                             1.59 to 2.19
                   Gemm [7, 7, 7], 32 rows                           1.19

A runtime computes outputs in blocks as wide as its vectors, of 8 or 16: a Split pays where the
siblings fill theirs so badly that merging them saves a third of the blocks. A sibling that fills
its blocks is worse than no gain: cutting it off takes it out of the blocked layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError, need
from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.build import build_split
from ...engine.context import Context
from ...engine.rewrite import Rewrite, RewritePass, drive
from .siblings import (
    SIBLING_OPS,
    SiblingLayer,
    StackedSiblings,
    is_activation,
    linear_source,
    read_sibling,
    stack,
)

_BLOCK = 16
_NARROW_BLOCK = 8
_MOST_READERS = 64


@dataclass(frozen=True)
class MergeSiblingConvolutions(RewritePass):
    """Merge convolutions (or Gemm, MatMul) of one tensor and one window, stacking their outputs.

    Always where a Concat stacks them anyway. An activation that follows all of them follows the
    merged one.

    - `only-measured`: where a Split must hand the outputs out, merge only what was measured to pay;
      `false` merges wherever it is possible.
    """

    name: ClassVar[str] = "merge-sibling-convolutions"
    only_measured: bool = True

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the rewrites for siblings that meet in a Concat, and for those that do not."""
        return (_MergeIntoConcat(), _MergeAndSplit(self.only_measured))

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Run them one after the other: a Split in front of a Concat would be for nothing."""
        for rewrite in self.rewrites():
            drive(graph, (rewrite,), context)


@dataclass(frozen=True)
class _SiblingConcat:
    concat: gs.Node
    parts: tuple[gs.Tensor | StackedSiblings, ...]


class _MergeIntoConcat(Rewrite[_SiblingConcat]):
    ops = frozenset({"Concat"})

    def match(self, node: gs.Node, view: View) -> _SiblingConcat | None:
        parts: list[gs.Tensor | StackedSiblings] = []
        refusal: DeclinedError | None = None
        for source, tensors in _runs(node, view):
            if source is None or len(tensors) == 1:
                parts += tensors
                continue
            try:
                parts += _stacked(tensors, node, view)
            except DeclinedError as reason:
                refusal = refusal or reason
                parts += tensors
        if any(isinstance(part, StackedSiblings) for part in parts):
            return _SiblingConcat(node, tuple(parts))
        if refusal is not None:
            raise refusal
        return None

    def rewrite(self, site: _SiblingConcat, edit: Edit) -> None:
        result = site.concat.outputs[0]
        edit.remove(site.concat)
        alone = len(site.parts) == 1
        inputs = [
            part.write(edit, result if alone else None)
            if isinstance(part, StackedSiblings)
            else part
            for part in site.parts
        ]
        if not alone:
            edit.node("Concat", inputs, [result], site.concat.attrs, at=site.concat)


def _runs(concat: gs.Node, view: View) -> list[tuple[gs.Tensor | None, list[gs.Tensor]]]:
    """Return the inputs of `concat`, neighbours that linear operators make of one tensor joined."""
    runs: list[tuple[gs.Tensor | None, list[gs.Tensor]]] = []
    for tensor in concat.inputs:
        source = linear_source(tensor, view)
        if runs and source is not None and runs[-1][0] is source:
            runs[-1][1].append(tensor)
        else:
            runs.append((source, [tensor]))
    return runs


def _stacked(
    tensors: Sequence[gs.Tensor], concat: gs.Node, view: View
) -> list[gs.Tensor | StackedSiblings]:
    """Merge neighbours among `tensors`; declines where no two can be."""
    groups: list[list[SiblingLayer]] = []
    refusal = DeclinedError("its neighbours read one tensor, but not in the same way")
    parts: list[gs.Tensor | list[SiblingLayer]] = []
    for tensor in tensors:
        try:
            sibling = read_sibling(tensor, view)
            need(
                view.only_reader(tensor) is concat,
                "what the Concat reads has other readers",
            )
            _need_channel_axis(concat, sibling, view)
        except DeclinedError as reason:
            refusal = reason
            parts.append(tensor)
            continue
        last = parts[-1] if parts else None
        if isinstance(last, list) and last[0].like(sibling, view):
            last.append(sibling)
        else:
            groups.append([sibling])
            parts.append(groups[-1])
    if all(len(group) == 1 for group in groups):
        raise refusal
    return [
        part
        if isinstance(part, gs.Tensor)
        else (part[0].result if len(part) == 1 else stack(part, view))
        for part in parts
    ]


def _need_channel_axis(concat: gs.Node, sibling: SiblingLayer, view: View) -> None:
    axis, channels = concat.attrs["axis"], sibling.layer.axis
    if axis != channels:
        rank = need(view.rank(sibling.result), "its rank is not known")
        need(axis % rank == channels % rank, "the Concat does not join channels")


class _MergeAndSplit(Rewrite[StackedSiblings]):
    ops = SIBLING_OPS

    def __init__(self, only_measured: bool) -> None:
        self._only_measured = only_measured

    def match(self, node: gs.Node, view: View) -> StackedSiblings | None:
        if view.fan_out(node.inputs[0]) > _MOST_READERS:
            return None  # listing them for each of them would be quadratic
        beside = [
            reader
            for reader in view.readers(node.inputs[0])
            if reader.op == node.op
            and is_standard(reader)
            and reader.attrs.get("group", 1) == 1
            and reader.inputs[0] is node.inputs[0]
            and view.producer(reader.outputs[0]) is reader
        ]
        if len(beside) < 2 or beside[0] is not node:
            return None
        refusal: DeclinedError | None = None
        for activated in (True, False):
            siblings: list[SiblingLayer] = []
            for reader in beside:
                try:
                    siblings.append(read_sibling(_shown(reader, activated, view), view))
                except DeclinedError as reason:
                    refusal = refusal or reason
            for sibling in siblings:
                alike = [other for other in siblings if sibling.like(other, view)]
                if len(alike) < 2:
                    continue
                if not self._only_measured or _fills_blocks_badly(alike):
                    return stack(alike, view)
                refusal = DeclinedError(
                    "a Split would cost more than one operator saves (measured)"
                )
        if refusal is not None:
            raise refusal
        return None

    def rewrite(self, site: StackedSiblings, edit: Edit) -> None:
        results = [sibling.result for sibling in site.siblings]
        at = site.first.nodes[0]
        merged = site.write(edit)
        build_split(edit, merged, results, site.first.layer.axis, site.sizes, at=at)


def _shown(node: gs.Node, activated: bool, view: View) -> gs.Tensor:
    """Return the result of the layer at `node`: with the bias of a MatMul, and its activation."""
    tensor = node.outputs[0]
    reader = view.only_reader(tensor)
    if (
        reader is not None
        and (node.op, reader.op) == ("MatMul", "Add")
        and is_standard(reader)
        and any(map(view.is_constant, reader.inputs))
    ):
        tensor, reader = reader.outputs[0], view.only_reader(reader.outputs[0])
    if activated and reader is not None and is_activation(reader, tensor):
        return reader.outputs[0]
    return tensor


def _fills_blocks_badly(siblings: Sequence[SiblingLayer]) -> bool:
    sizes = [sibling.layer.outputs for sibling in siblings]
    apart = sum(-(-size // _BLOCK) for size in sizes)
    together = -(-sum(sizes) // _BLOCK)
    return all(size % _NARROW_BLOCK for size in sizes) and 2 * apart >= 3 * together
