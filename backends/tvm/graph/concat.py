"""Concatenations whose parts are written where they are wanted, so that nothing is copied.

    y = Concat(a, b, c)     a, b and c are ranges of y's blocks, and their producers write there

A row of concatenations that grows (each has the parts of the one before it, and more: DenseNet)
is one buffer of the last one's size. A tensor has one placement; where it is wanted twice, or where
it lies as something else made it, the concatenation copies it to its range.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import is_dequantizer, is_quantizer
from ..spec.layout import Halo, covers, no_halo
from .groups import REAL
from .halos import Halos
from .quantized import quantization_of


@dataclass(frozen=True)
class ConcatBuffer:
    """A buffer of `total` blocks; part i starts at block `firsts[i]` and has `counts[i]` of them.

    `parts` are the tensors, by id.
    """

    parts: list[int]
    firsts: list[int]
    counts: list[int]
    total: int
    halo: Halo


@dataclass(frozen=True)
class ConcatPlacement:
    """Part `index` of `buffer`."""

    buffer: ConcatBuffer
    index: int

    @property
    def first(self) -> int:
        """The first block."""
        return self.buffer.firsts[self.index]

    @property
    def count(self) -> int:
        """The number of blocks."""
        return self.buffer.counts[self.index]


@dataclass
class ConcatPlan:
    """The buffers of concatenations, and the placements of the tensors that are parts, by id."""

    buffers: dict[int, ConcatBuffer] = field(default_factory=dict)
    placements: dict[int, ConcatPlacement] = field(default_factory=dict)


def plan_concats(
    nodes: Sequence[gs.Node], view: View, lanes: int, halos: Halos, can: Callable[[gs.Node], bool]
) -> ConcatPlan:
    """Return where the inputs of every concatenation that `can` be emitted are to lie.

    The number of images must be known. A part whose readers want a wider border than the buffer has
    is not placed.
    """
    found = ConcatPlan()
    longest: dict[int, ConcatBuffer] = {}
    for node in reversed(nodes):
        if node.op != "Concat" or not can(node):
            continue
        shape = view.shape(node.outputs[0])
        if shape is None or not isinstance(shape[0], int):
            continue
        if view.dtype(node.outputs[0]) not in REAL:
            continue
        tensors, whole = stored_of(node, view)
        parts = [id(tensor) for tensor in tensors]
        known = longest.get(parts[0])
        halo = halos.get(id(whole), no_halo(len(shape) - 2))
        if known is None or known.parts[: len(parts)] != parts or not covers(known.halo, halo):
            known = _buffer(tensors, view, lanes, halo)
            longest[parts[0]] = known
            for index, tensor in enumerate(tensors):
                if covers(known.halo, halos.get(id(tensor), no_halo(len(shape) - 2))):
                    found.placements.setdefault(id(tensor), ConcatPlacement(known, index))
        found.buffers[id(node)] = known
    return found


def stored_of(node: gs.Node, view: View) -> tuple[list[gs.Tensor], gs.Tensor]:
    """Return what is stored of the parts and the result of a Concat.

    That is their bytes where all parts are dequantized, and the result is quantized, by one grid.
    """
    result = node.outputs[0]
    made = [view.producer(tensor) for tensor in node.inputs]
    readers = view.readers(result)
    if len(readers) == 1 and is_quantizer(readers[0]) and not view.is_output(result):
        grid = quantization_of(readers[0], view)
        bytes_ = [
            one.inputs[0]
            for one in made
            if one is not None and is_dequantizer(one) and quantization_of(one, view) == grid
        ]
        if grid is not None and len(bytes_) == len(made):
            return bytes_, readers[0].outputs[0]
    return list(node.inputs), result


def _buffer(tensors: Sequence[gs.Tensor], view: View, lanes: int, halo: Halo) -> ConcatBuffer:
    counts = []
    for tensor in tensors:
        shape = view.shape(tensor)
        assert shape is not None
        assert isinstance(shape[1], int)
        counts.append(math.ceil(shape[1] / lanes))
    firsts = [0, *itertools.accumulate(counts[:-1])]
    return ConcatBuffer([id(tensor) for tensor in tensors], firsts, counts, sum(counts), halo)
