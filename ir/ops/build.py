"""Operators written as the opset of a graph has them, through an `Edit`.

What a parameter is at that opset, attribute or input, its schema says (`parameters`). Constants are
named after the first output and the parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..graph.edit import Edit
from .opsets import has_attribute, needs_input
from .parameters import input_of, spell

Array = np.ndarray[Any, Any]
Attributes = Mapping[str, Any]
Bounds = Mapping[int, tuple[int, int, int]]


def build(
    edit: Edit,
    op: str,
    inputs: Sequence[gs.Tensor],
    outputs: Sequence[gs.Tensor],
    parameters: Mapping[str, Any],
    attrs: Attributes | None = None,
    *,
    at: gs.Node,
) -> gs.Node:
    """Add a node of `op` with its `parameters` where the opset of the graph has them.

    `inputs` are the tensors before them; a parameter that is None is left out.
    """
    opset = edit.graph.opset
    stated, constants = spell(op, opset, parameters)
    names = {input_of(op, name, opset): name for name in parameters}
    given = list(inputs)
    for position in sorted(constants):
        given += [gs.Variable.empty() for _ in range(position - len(given))]
        name = f"{outputs[0].name}_{names[position]}"
        given.append(edit.constant(constants[position], name))
    return edit.node(op, given, outputs, {**(attrs or {}), **stated}, at=at)


def build_slice(edit: Edit, x: gs.Tensor, y: gs.Tensor, bounds: Bounds, *, at: gs.Node) -> gs.Node:
    """Add a Slice of `x`; see `slice_parameters`."""
    return build(edit, "Slice", [x], [y], slice_parameters(bounds), at=at)


def slice_parameters(bounds: Bounds) -> dict[str, Any]:
    """Return the parameters of a Slice with these starts, ends and steps by axis.

    Ends are as ONNX has them (`slices`). Steps are left out where all are one: opset 9 has none.
    """
    starts, ends, steps = (list(column) for column in zip(*bounds.values(), strict=True))
    plain = all(step == 1 for step in steps)
    found: dict[str, Any] = {"starts": starts, "ends": ends, "axes": list(bounds)}
    return found if plain else {**found, "steps": steps}


def build_split(
    edit: Edit,
    x: gs.Tensor,
    parts: Sequence[gs.Tensor],
    axis: int,
    sizes: Sequence[int],
    *,
    at: gs.Node,
) -> gs.Node:
    """Add a Split of `x` along `axis` into `parts` of these sizes."""
    return build(edit, "Split", [x], parts, {"split": list(sizes)}, {"axis": axis}, at=at)


def build_unsqueeze(
    edit: Edit, x: gs.Tensor, y: gs.Tensor, axes: Sequence[int], *, at: gs.Node
) -> gs.Node:
    """Add an Unsqueeze that gives `y` axes of size one at `axes`."""
    return build(edit, "Unsqueeze", [x], [y], {"axes": list(axes)}, at=at)


def build_reshape(
    edit: Edit, x: gs.Tensor, y: gs.Tensor, target: Sequence[int] | Array, *, at: gs.Node
) -> gs.Node:
    """Add a Reshape of `x` to the constant `target`, of sizes, 0 (as it was) and -1 (the rest)."""
    return build(edit, "Reshape", [x], [y], {"shape": np.asarray(target, np.int64)}, at=at)


def build_resize(
    edit: Edit,
    x: gs.Tensor,
    y: gs.Tensor,
    *,
    scales: gs.Tensor | None = None,
    sizes: gs.Tensor | None = None,
    roi: gs.Tensor | None = None,
    attrs: Attributes,
    at: gs.Node,
) -> gs.Node:
    """Add a Resize of `x` to `sizes`, or by `scales`; `roi` is for one mode of coordinates.

    Where an opset does not let a tensor before the last be absent (11 and 12), it is empty.
    """
    opset = edit.graph.opset
    named = {"roi": roi, "scales": scales, "sizes": sizes}
    given = {input_of("Resize", name, opset): t for name, t in named.items() if t is not None}
    inputs = [x]
    for position in range(1, max(filter(None, given), default=0) + 1):
        tensor = given.get(position)
        if tensor is None and needs_input("Resize", position, opset):
            tensor = edit.constant(np.zeros(0, np.float32), f"{y.name}_none")
        inputs.append(gs.Variable.empty() if tensor is None else tensor)
    return edit.node("Resize", inputs, [y], dict(attrs), at=at)


def build_clip(
    edit: Edit,
    x: gs.Tensor,
    y: gs.Tensor,
    low: float | None,
    high: float | None,
    dtype: Any,
    *,
    at: gs.Node,
) -> gs.Node:
    """Add a Clip of `x`, of element type `dtype`; a bound that is None is absent."""
    return build(edit, "Clip", [x], [y], clip_parameters(low, high, dtype), at=at)


def clip_parameters(low: float | None, high: float | None, dtype: Any) -> dict[str, Array | None]:
    """Return the parameters of a Clip of element type `dtype`."""
    bounds = {"min": low, "max": high}
    return {name: None if b is None else np.array(b, dtype) for name, b in bounds.items()}


def needs_bias(op: str, opset: int) -> bool:
    """Say whether the linear operator `op` has to be given a bias: Gemm before opset 11."""
    return needs_input(op, 2, opset)


def even_split(count: int, opset: int) -> dict[str, Any]:
    """Return the attributes of a Split into `count` parts as equal as they can be."""
    return {"num_outputs": count} if has_attribute("Split", "num_outputs", opset) else {}
