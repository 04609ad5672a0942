"""Operators that move nothing: what they give lies already in a blocked tensor."""

from __future__ import annotations

from dataclasses import replace

import onnx_graphsurgeon as gs

from ....ir.ops.quantization.nodes import is_dequantizer, is_quantizer
from ....ir.ops.slices import read_slice
from ....ir.ops.traits.groups import RESHAPES
from ....passes.shuffle.routes import picked_channels
from ..graph.depth_to_space import read_depth_to_space
from ..graph.quantized import quantization_of
from ..graph.spatial import is_known
from ..kernels.depth_to_space import can_move, depth_to_space_of
from ..spec.layout import no_halo
from .blocked import BlockedProgram, ChannelPick, SpacePick
from .value import Value


def view_of_blocks(program: BlockedProgram, node: gs.Node) -> bool:
    """Define the outputs of `node` as views of its input's blocks, where they are; say if so.

    Split and Slice where blocks begin, Gather that permutes channels, Flatten of one position,
    DequantizeLinear and QuantizeLinear by the same parameters move nothing. Other channels of a
    Split, Slice or Gather, and what DepthToSpace gives, are copied where they are read.
    """
    source = node.inputs[0]
    if is_dequantizer(node):
        return _dequantized(program, node)
    if is_quantizer(node):
        return _quantized(program, node)
    if node.op == "DepthToSpace":
        return _in_space(program, node)
    if id(source) in program.spaces and node.op == "Slice" and _cropped(program, node):
        return True
    value = next((v for v in program.values(source) if v.layout is not None), None)
    if value is None or value.layout is None:
        return False
    picks = picked_channels(node, program.view)
    if picks is not None:
        for tensor, channels in zip(node.outputs, picks, strict=True):
            _take(program, tensor, value, channels.tolist())
        return True
    if node.op not in RESHAPES:
        return False
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


def _in_space(program: BlockedProgram, node: gs.Node) -> bool:
    """Leave a DepthToSpace to who reads it; False where few channels of one block are together."""
    source = node.inputs[0]
    if not is_known(program.view, source, node.outputs[0]):
        return False
    lanes = program.machine.lanes
    value = program.blocked(source, lambda layout: layout.lanes == lanes)
    blocks = read_depth_to_space(node)
    assert value.layout is not None
    op, _ = depth_to_space_of(value.spec(raw=True), value.layout, blocks, no_halo(2), None)
    if not can_move(op):
        return False
    program.spaces[id(node.outputs[0])] = SpacePick(value, blocks)
    return True


def _cropped(program: BlockedProgram, node: gs.Node) -> bool:
    """Leave a Slice of positions, behind a DepthToSpace, to who reads it; say if it is one."""
    space, parts = program.spaces[id(node.inputs[0])], read_slice(node, program.view)
    if parts is None or not set(parts) <= {2, 3} or any(p.step != 1 for p in parts.values()):
        return False
    height, width = space.value.spatial
    kept = space.blocks.kept(height, width)
    rows, columns = (
        slice(found.start, found.stop)
        for found in (now[parts.get(axis, slice(None))] for axis, now in enumerate(kept, start=2))
    )
    blocks = replace(space.blocks, crop=(rows, columns))
    program.spaces[id(node.outputs[0])] = replace(space, blocks=blocks)
    return True


def _take(program: BlockedProgram, tensor: gs.Tensor, value: Value, channels: list[int]) -> None:
    """Define `tensor` as a view of some `channels` of `value`, or leave them to be copied.

    A view has the first lanes of blocks in a row.
    """
    layout = value.layout
    assert layout is not None
    place = {channel: index for index, channel in enumerate(channels)}
    blocks = [tuple(place[c] for c in held if c in place) for held in layout.blocks]
    taken = [i for i, held in enumerate(blocks) if held]
    first, last = taken[0], taken[-1] + 1
    leading = all(
        all(c in place for c in held[: len(new)])
        for held, new in zip(layout.blocks, blocks, strict=True)
    )
    if len(place) < len(channels) or last - first > len(taken) or not leading:
        program.picks[id(tensor)] = ChannelPick(value, tuple(channels))
        return
    part = replace(layout, blocks=tuple(blocks[first:last]), first=layout.first + first)
    shape = (value.shape[0], len(channels), *value.shape[2:])
    program.define(tensor, replace(value, layout=part, shape=shape))
