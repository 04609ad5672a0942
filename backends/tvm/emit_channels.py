"""Operators that keep channels apart: element-wise, pooling, joins, enlargement, views."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.view import View
from .emit_chain import Epilogue
from .groups import Group, can_be_operand, is_scalar_operator
from .layout import Layout
from .program import Program, Value, batch_of
from .schedules.elementwise import Elementwise, elementwise
from .schedules.reduction import Reduction, reduction
from .schedules.windows import Windows, windows
from .spatial import is_known, read_window, spatial_sizes

_FLOAT = np.dtype(np.float32)


def can_emit_pool(node: gs.Node, view: View) -> bool:
    """Say whether `node` is a pooling of float32 with known sizes that the kernels express."""
    if not is_known(view, node.inputs[0], node.outputs[0]) or view.rank(node.inputs[0]) == 2:
        return False
    if view.dtype(node.inputs[0]) != _FLOAT or len(node.outputs) != 1:
        return False
    if node.op.startswith("Global"):
        return True
    attrs = node.attrs
    if any(d != 1 for d in attrs.get("dilations") or []):
        return False
    padded = any(attrs.get("pads") or []) or attrs.get("auto_pad", "NOTSET") != "NOTSET"
    if node.op == "MaxPool":
        return not attrs.get("storage_order", 0)
    return not (attrs.get("count_include_pad", 0) and (padded or attrs.get("ceil_mode", 0)))


def emit_pool(program: Program, view: View, group: Group) -> None:
    """Emit MaxPool, AveragePool and their global forms."""
    node = group.anchor
    x = program.blocked(node.inputs[0])
    assert x.layout is not None
    images = x.shape[0]
    shape = program.shape_from(view, node.outputs[0])
    spatial = spatial_sizes(shape)
    y = x.layout.with_halo(program.halo(group.result, len(spatial)))
    form = y.form(spatial)
    end = Epilogue(program, view, y, images)
    end.follow(group, node.outputs[0])
    args = [x.expr, *end.args]
    if node.op.startswith("Global"):
        whole = Reduction(
            "max" if node.op == "GlobalMaxPool" else "mean",
            x.form(),
            form,
            end.chain,
            batch_of(images),
        )
        expr = program.call("global_pool", whole, reduction, args, form, images)
    else:
        window = read_window(node, view)
        pool = Windows(
            "max" if node.op == "MaxPool" else "average",
            x.form(),
            form,
            window.kernel,
            window.strides,
            window.dilations,
            window.pads,
            end.chain,
            batch_of(images),
        )
        expr = program.call(
            pool.kind, pool, lambda op: windows(op, program.machine), args, form, images
        )
    program.define(group.result, Value(expr, y, (images, *shape[1:]), spatial))


def can_emit_scalar(node: gs.Node, view: View) -> bool:
    """Say whether `node` is element-wise and reads a tensor of its result's shape."""
    return (
        is_scalar_operator(node, view)
        and is_known(view, node.outputs[0])
        and _main(node, view) is not None
    )


def _main(node: gs.Node, view: View) -> gs.Tensor | None:
    """Return the input that has the shape of the result, where the others broadcast to it."""
    shape = view.shape(node.outputs[0])
    if shape is None:
        return None
    bounds = node.op == "Clip"
    for tensor in node.inputs:
        others = [] if bounds else [t for t in node.inputs if t is not tensor]
        if (
            not view.is_constant(tensor)
            and view.shape(tensor) == shape
            and all(can_be_operand(other, shape, view) for other in others)
        ):
            return tensor
    return None


def emit_scalar(program: Program, view: View, group: Group) -> bool:
    """Emit an element-wise group in the blocked layout; False where no input is in one."""
    node = group.anchor
    operands = [t for t in node.inputs if not t.is_empty() and not view.is_constant(t)]
    shape = program.shape_from(view, node.outputs[0])
    candidates = [t for t in operands if view.shape(t) == shape]
    main = next((t for t in candidates if any(v.layout for v in program.held(t))), None)
    if main is None:
        return False
    x = program.blocked(main)
    assert x.layout is not None
    images = x.shape[0]
    spatial = spatial_sizes(shape)
    y = x.layout.with_halo(program.halo(group.result, len(spatial)))
    end = Epilogue(program, view, y, images)
    end.lead(node, main, len(shape))
    end.follow(group, node.outputs[0])
    form = y.form(spatial)
    op = Elementwise((x.form(),), ((1, 1, 1),), form, end.chain, batch_of(images))
    expr = program.call("elementwise", op, elementwise, [x.expr, *end.args], form, images)
    program.define(group.result, Value(expr, y, (images, *shape[1:]), spatial))
    return True


def can_emit_concat(node: gs.Node, view: View) -> bool:
    """Say whether `node` joins float32 channels of known number."""
    rank = view.rank(node.outputs[0])
    axis = int(node.attrs.get("axis", 1))
    return (
        rank is not None
        and rank >= 3
        and axis in (1, 1 - rank)
        and view.dtype(node.outputs[0]) == _FLOAT
        and is_known(view, node.outputs[0], *node.inputs)
        and not any(view.is_constant(t) for t in node.inputs)
    )


def emit_concat(program: Program, view: View, group: Group) -> None:
    """Emit a concatenation: the blocks of all inputs one after the other, none of them split."""
    node = group.anchor
    parts = [program.blocked(tensor) for tensor in node.inputs]
    images = parts[0].shape[0]
    shape = program.shape_from(view, node.outputs[0])
    spatial = spatial_sizes(shape)
    blocks: list[tuple[int, ...]] = []
    start = 0
    for part in parts:
        assert part.layout is not None
        blocks += [tuple(start + c for c in held) for held in part.layout.blocks]
        start += part.layout.channels
    halo = program.halo(group.result, len(spatial))
    y = Layout(program.machine.lanes, tuple(blocks), halo, 0, len(blocks))
    form = y.form(spatial)
    end = Epilogue(program, view, y, images)
    end.follow(group, node.outputs[0])
    forms = tuple(part.form() for part in parts)
    scales = ((1, 1, 1),) * len(parts)
    op = Elementwise(forms, scales, form, end.chain, batch_of(images))
    args = [*(part.expr for part in parts), *end.args]
    expr = program.call("concat", op, elementwise, args, form, images)
    program.define(group.result, Value(expr, y, (images, *shape[1:]), spatial))


def can_emit_resize(node: gs.Node, view: View) -> bool:
    """Say whether `node` repeats every position a whole number of times."""
    if not is_known(view, node.inputs[0], node.outputs[0]) or node.op != "Resize":
        return False
    x, y = view.shape(node.inputs[0]), view.shape(node.outputs[0])
    assert x is not None
    assert y is not None
    attrs = node.attrs
    modes = (
        attrs.get("coordinate_transformation_mode", "half_pixel"),
        attrs.get("nearest_mode", "round_prefer_floor"),
    )
    whole = all(b % a == 0 for a, b in zip(x[2:], y[2:], strict=True))  # type: ignore[operator]
    return (
        view.dtype(node.inputs[0]) == _FLOAT
        and attrs.get("mode", "nearest") == "nearest"
        and (
            modes == ("asymmetric", "floor")
            or (modes[0].endswith("half_pixel") and modes[1].startswith("round"))
        )
        and x[:2] == y[:2]
        and whole
        and len(x) >= 3
    )


def emit_resize(program: Program, view: View, group: Group) -> None:
    """Emit an enlargement by repetition."""
    node = group.anchor
    x = program.blocked(node.inputs[0])
    assert x.layout is not None
    images = x.shape[0]
    shape = program.shape_from(view, node.outputs[0])
    spatial = spatial_sizes(shape)
    y = x.layout.with_halo(program.halo(group.result, len(spatial)))
    end = Epilogue(program, view, y, images)
    end.follow(group, node.outputs[0])
    form = y.form(spatial)
    here = x.form()
    first, second, third = (b // a for a, b in zip(here.spatial, form.spatial, strict=True))
    op = Elementwise((here,), ((first, second, third),), form, end.chain, batch_of(images))
    expr = program.call("resize", op, elementwise, [x.expr, *end.args], form, images)
    program.define(group.result, Value(expr, y, (images, *shape[1:]), spatial))


def view_of_blocks(program: Program, view: View, node: gs.Node) -> bool:
    """Define the outputs of `node` as views of its input's blocks, where they are; say if so.

    Split between blocks, Gather that permutes channels, and Flatten of one position move nothing.
    """
    source = node.inputs[0]
    value = next((v for v in program.held(source) if v.layout is not None), None)
    if value is None or value.layout is None:
        return False
    if node.op == "Split":
        return _split(program, view, node, value, value.layout)
    if node.op == "Gather":
        return _permute(program, view, node, value, value.layout)
    shape = view.shape(node.outputs[0])
    single = all(size == 1 for size in value.spatial)
    if shape is None or len(shape) != 2 or not single or shape[1] != value.shape[1]:
        return False
    if node.op == "Flatten" and node.attrs.get("axis", 1) != 1:
        return False
    program.define(node.outputs[0], replace(value, shape=value.shape[:2]))
    return True


def _split(program: Program, view: View, node: gs.Node, value: Value, layout: Layout) -> bool:
    rank = len(value.shape)
    if int(node.attrs.get("axis", 0)) not in (1, 1 - rank):
        return False
    sizes = []
    for tensor in node.outputs:
        shape = view.shape(tensor)
        if shape is None or not isinstance(shape[1], int):
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
        program.define(tensor, Value(value.expr, part, shape, value.spatial))
    return True


def _split_inside_blocks(program: Program, node: gs.Node, value: Value, starts: list[int]) -> bool:
    """Define every part of a split as a copy: its channels share blocks with another's."""
    for tensor, (start, end) in zip(node.outputs, itertools.pairwise(starts), strict=True):
        halo = program.halo(tensor, len(value.spatial))
        program.define(tensor, program.taken(value, range(start, end), halo))
    return True


def _permute(program: Program, view: View, node: gs.Node, value: Value, layout: Layout) -> bool:
    indices = view.constant(node.inputs[1])
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
