"""Replace sequences of tensors by the tensors.

SequenceAt(SplitToSequence(x, sizes), i)          = Split(x, sizes)[i]
ConcatFromSequence(SequenceConstruct(a, b, ...))  = Concat(a, b, ...)

PyTorch's exporter spells `chunk` and `split` with sequences unless its own optimizer runs; runtimes
copy every element of a sequence, and no optimizer sees through one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.graph.edit import Edit
from ...ir.graph.types import Shape
from ...ir.graph.view import View
from ...ir.ops.build import build_split
from ..engine.rewrite import Rewrite, RewritePass


@dataclass(frozen=True)
class EliminateSequences(RewritePass):
    """Replace splitting and joining through sequences by Split and Concat.

    The sequence must be read by those operators alone, at constant positions, and the size of the
    axis that is split must be static.
    """

    name: ClassVar[str] = "eliminate-sequences"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the rewrites for splitting and for joining."""
        return (_SplitSequence(), _Join())


@dataclass(frozen=True)
class _KnownSplit:
    node: gs.Node
    axis: int
    sizes: tuple[int, ...]
    readers: tuple[tuple[gs.Node, int], ...]


class _SplitSequence(Rewrite[_KnownSplit]):
    ops = frozenset({"SplitToSequence"})

    def match(self, node: gs.Node, view: View) -> _KnownSplit | None:
        axis = node.attrs.get("axis", 0)
        shape = need(view.shape(node.inputs[0]), "the rank of its input is unknown")
        total = shape[axis]
        need(isinstance(total, int), "the size of the axis it splits is not static")
        need(len(node.inputs) > 1, "it removes the axis it splits (no sizes are given)")
        split = need(view.constant(node.inputs[1]), "its sizes are not constant")
        sizes = _sizes(split, int(str(total)))
        need(not view.is_output(node.outputs[0]), "the sequence is a graph output")
        readers = []
        for reader in view.readers(node.outputs[0]):
            need(reader.op == "SequenceAt", f"the sequence is read by {reader.op}")
            need(view.producer(reader.outputs[0]) is reader, "it is read inside a subgraph")
            position = need(view.constant(reader.inputs[1]), "it is read at a variable position")
            index = int(position)
            need(-len(sizes) <= index < len(sizes), f"position {index} is outside the sequence")
            readers.append((reader, index % len(sizes)))
        return _KnownSplit(node, axis, sizes, tuple(readers)) if readers else None

    def rewrite(self, site: _KnownSplit, edit: Edit) -> None:
        outputs: dict[int, gs.Tensor] = {}
        twins = []
        for reader, index in site.readers:
            edit.remove(reader)
            if index in outputs:
                twins.append((reader, outputs[index]))
            outputs.setdefault(index, reader.outputs[0])
        edit.remove(site.node)
        name = site.node.outputs[0].name
        parts = [outputs.get(i) or edit.variable(name) for i in range(len(site.sizes))]
        made = build_split(edit, site.node.inputs[0], parts, site.axis, site.sizes, at=site.node)
        for reader, tensor in twins:
            edit.node("Identity", [tensor], [reader.outputs[0]], at=made)


def _sizes(split: np.ndarray[Any, Any], total: int) -> tuple[int, ...]:
    """Return the sizes of the parts: equal chunks with a smaller last one, or as listed."""
    if split.ndim:
        return tuple(int(size) for size in split)
    chunk = int(split)
    return tuple(min(chunk, total - start) for start in range(0, total, chunk))


def _joins(shapes: Sequence[Shape | None], axis: int) -> bool:
    """Say whether all may have one rank, and one size along the others: empty tensors need not."""
    known = [shape for shape in shapes if shape is not None]
    if len({len(shape) for shape in known}) > 1:
        return False
    sides = [side for at, side in enumerate(zip(*known, strict=True)) if at != axis % len(known[0])]
    return all(len({size for size in side if isinstance(size, int)}) <= 1 for side in sides)


class _Join(Rewrite[tuple[gs.Node, gs.Node]]):
    ops = frozenset({"ConcatFromSequence"})

    def match(self, node: gs.Node, view: View) -> tuple[gs.Node, gs.Node] | None:
        source = view.producer(node.inputs[0])
        if source is None or source.op != "SequenceConstruct":
            return None
        need(not node.attrs.get("new_axis", 0), "it stacks along a new axis")
        need(view.read_only_by(source.outputs[0], node), "the sequence has other readers")
        shapes = [view.shape(tensor) for tensor in source.inputs]
        need(_joins(shapes, int(node.attrs["axis"])), "Concat takes no tensors of such sizes")
        return source, node

    def rewrite(self, site: tuple[gs.Node, gs.Node], edit: Edit) -> None:
        source, node = site
        edit.remove(node)
        edit.remove(source)
        attrs = {"axis": node.attrs["axis"]}
        edit.node("Concat", list(source.inputs), [node.outputs[0]], attrs, at=node)
