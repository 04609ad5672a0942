"""Operators that move nothing: what they give lies already in a blocked tensor."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.ops.quantization.nodes import is_dequantizer, is_quantizer
from ..graph.quantized import quantization_of
from ..spec.layout import Layout
from .blocked import BlockedProgram
from .value import Value


def view_of_blocks(program: BlockedProgram, node: gs.Node) -> bool:
    """Define the outputs of `node` as views of its input's blocks, where they are; say if so.

    Split between blocks, Gather that permutes channels, Flatten of one position, DequantizeLinear
    and QuantizeLinear by the same parameters move nothing.
    """
    source = node.inputs[0]
    if is_dequantizer(node):
        return _dequantized(program, node)
    if is_quantizer(node):
        return _quantized(program, node)
    value = next((v for v in program.values(source) if v.layout is not None), None)
    if value is None or value.layout is None:
        return False
    if node.op == "Split":
        return _split(program, node, value, value.layout)
    if node.op == "Gather":
        return _permute(program, node, value, value.layout)
    shape = program.view.shape(node.outputs[0])
    single = all(size == 1 for size in value.spatial)
    if shape is None or len(shape) != 2 or not single or shape[1] != value.shape[1]:
        return False
    if node.op == "Flatten" and node.attrs.get("axis", 1) != 1:
        return False
    program.define(node.outputs[0], replace(value, shape=value.shape[:2]))
    return True


def _dequantized(program: BlockedProgram, node: gs.Node) -> bool:
    """Define a dequantized tensor as the bytes that stand for it."""
    found = quantization_of(node, program.view)
    result = node.outputs[0]
    if found is None:
        return False
    for value in program.values(node.inputs[0]) or [program.plain_value(node.inputs[0])]:
        # A halo holds the zero of its producer.
        if value.layout is None or value.zero == found.zero or not any(map(any, value.layout.halo)):
            program.define(result, replace(value, zero=found.zero, scale=found.scale))
    return bool(program.values(result))


def _quantized(program: BlockedProgram, node: gs.Node) -> bool:
    """Define what is quantized so already as the result of a QuantizeLinear."""
    quantization = quantization_of(node, program.view)
    for value in program.values(node.inputs[0]):
        if quantization is not None and quantization == value.quantization:
            program.define(node.outputs[0], replace(value, scale=None))
    return bool(program.values(node.outputs[0]))


def _split(program: BlockedProgram, node: gs.Node, value: Value, layout: Layout) -> bool:
    rank = len(value.shape)
    if int(node.attrs.get("axis", 0)) not in (1, 1 - rank):
        return False
    sizes = []
    for tensor in node.outputs:
        shape = program.view.shape(tensor)
        if shape is None or not isinstance(shape[1], int) or not shape[1]:
            return False
        sizes.append(shape[1])
    starts = np.cumsum([0, *sizes])
    found = []
    block = 0
    for start, end in itertools.pairwise(starts):
        first = block
        members: set[int] = set()
        while block < len(layout.blocks) and len(members) < end - start:
            members |= set(layout.blocks[block])
            block += 1
        if members != set(range(start, end)):
            return _split_inside_blocks(program, node, value, starts.tolist())
        own = tuple(tuple(c - int(start) for c in b) for b in layout.blocks[first:block])
        found.append(replace(layout, blocks=own, first=layout.first + first))
    for tensor, part, size in zip(node.outputs, found, sizes, strict=True):
        shape = (value.shape[0], size, *value.shape[2:])
        program.define(tensor, replace(value, layout=part, shape=shape))
    return True


def _split_inside_blocks(
    program: BlockedProgram, node: gs.Node, value: Value, starts: list[int]
) -> bool:
    """Define every part of a split as a copy: its channels share blocks with another's."""
    for tensor, (start, end) in zip(node.outputs, itertools.pairwise(starts), strict=True):
        halo = program.halo(tensor, len(value.spatial))
        program.define(tensor, program.gathered(value, range(start, end), halo))
    return True


def _permute(program: BlockedProgram, node: gs.Node, value: Value, layout: Layout) -> bool:
    indices = program.view.constant(node.inputs[1])
    rank = len(value.shape)
    if indices is None or indices.ndim != 1 or int(node.attrs.get("axis", 0)) not in (1, 1 - rank):
        return False
    order = np.where(indices < 0, indices + layout.channels, indices)
    if sorted(order.tolist()) != list(range(layout.channels)):
        return False
    new = np.argsort(order)
    blocks = tuple(tuple(int(new[c]) for c in held) for held in layout.blocks)
    program.define(node.outputs[0], replace(value, layout=replace(layout, blocks=blocks)))
    return True
