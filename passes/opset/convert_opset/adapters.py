"""What changed in standard operators between opsets, and how a node is written in the later form.

An operator keeps its meaning from one version to the next unless its attributes, its inputs or a
default differ; then it stands in one of two tables here, or a node of it is declined. `_SAME`
lists the changes that only add something whose default is the old meaning; `_ADAPTERS` say how to
write the old meaning down. Source: ONNX operator changelog.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.build import build, build_resize, clip_parameters, even_split
from ....ir.ops.parameters import input_of, need_parameter, read_parameter
from ....ir.ops.traits.groups import REDUCTIONS
from ....ir.ops.traits.recognized import attribute
from ....ir.ops.traits.schemas import opsets_of, schema_of

Change = Callable[[Edit], gs.Node]
Adapter = Callable[[gs.Node, View], Change]

# (operator, version): what this version added means the old thing by default.
_SAME = frozenset(
    {
        *(("ArgMax", 12), ("ArgMin", 12), ("AveragePool", 10), ("AveragePool", 19)),
        *(("Cast", 19), ("Cast", 24), ("CastLike", 19), ("CastLike", 24)),
        *(("Constant", 11), ("Constant", 12), ("DepthToSpace", 11)),
        *(("DequantizeLinear", 13), ("DequantizeLinear", 21), ("DequantizeLinear", 23)),
        *(("GRU", 14), ("GatherND", 12), ("Gemm", 11), ("LSTM", 14), ("Loop", 11)),
        *(("LpPool", 18), ("MaxPool", 8), ("MaxPool", 10), ("OptionalHasElement", 18)),
        *(("Pad", 18), ("QuantizeLinear", 13), ("QuantizeLinear", 19), ("QuantizeLinear", 21)),
        *(("QuantizeLinear", 23), ("RNN", 14), ("Reshape", 14), ("Resize", 18)),
        *(("ScatterElements", 16), ("ScatterND", 16), ("Shape", 15), ("SpaceToDepth", 28)),
        ("TopK", 11),
    }
)
OLDEST = 7  # before, arithmetic broadcast by an attribute
LEAST_TARGET = 13  # adapters write forms that are right from here on


def changes(op: str, opset: int, target: int) -> tuple[int, ...]:
    """Return the versions of `op` between the two opsets at which a node must be written anew."""
    return tuple(
        version
        for version, differs in _history(op)
        if opset < version <= target and differs and (op, version) not in _SAME
    )


def adapt(node: gs.Node, view: View, target: int) -> Change | None:
    """Return the change that writes `node` as `target` has it, None where it stays as it is.

    Declines where there is no such form, or it depends on what is not known of the graph.
    """
    found = changes(node.op, view.opset, target)
    if not found:
        return None
    adapters = [_ADAPTERS.get((node.op, version)) for version in found]
    need(
        all(adapters),
        f"opset {found[-1]} has another {node.op}, which planish cannot write this one as",
    )
    need(len(adapters) == 1 or node.op in _FIRST_SUFFICES, f"{node.op} changed more than once")
    first = adapters[0]
    assert first is not None
    return first(node, view)


@functools.cache
def _history(op: str) -> tuple[tuple[int, bool], ...]:
    """Return each version of `op` after the first, and whether it differs in more than types."""
    known = list(filter(None, (schema_of(op, version) for version in opsets_of(op))))
    return tuple(
        (after.since_version, after.deprecated or _form(before) != _form(after))
        for before, after in itertools.pairwise(known)
    )


def _form(schema: Any) -> tuple[Any, ...]:
    if schema.name == "GroupNormalization":  # its scale became one a channel, in the same form
        return (schema.since_version,)
    attributes = {
        name: (attribute.required, attribute.default_value.SerializeToString(deterministic=True))
        for name, attribute in schema.attributes.items()
    }
    return attributes, schema.min_input, len(schema.inputs), len(schema.outputs)


def _outputs(node: gs.Node) -> list[gs.Tensor]:
    outputs = list(node.outputs)
    while not outputs[-1].name:
        outputs.pop()
    return outputs


def _rewritten(
    node: gs.Node, inputs: Sequence[gs.Tensor], attrs: dict[str, Any], op: str = ""
) -> Change:
    given = list(inputs)
    while given and not given[-1].name:
        given.pop()

    def change(edit: Edit) -> gs.Node:
        edit.remove(node)
        return edit.node(op or node.op, given, _outputs(node), attrs, at=node)

    return change


def _respelled(node: gs.Node, parameters: Mapping[str, Any]) -> Change:
    """Return the change that states `parameters` where the later opset has them."""
    attrs = {name: value for name, value in node.attrs.items() if name not in parameters}

    def change(edit: Edit) -> gs.Node:
        edit.remove(node)
        return build(edit, node.op, [node.inputs[0]], _outputs(node), parameters, attrs, at=node)

    return change


def _as_inputs(*names: str) -> Adapter:
    """Return the adapter that turns the integer attributes `names` into inputs after the first."""

    def adapter(node: gs.Node, view: View) -> Change:
        values = {name: need_parameter(node, name, view) for name in names}
        return _respelled(
            node, {k: None if v is None else np.atleast_1d(v) for k, v in values.items()}
        )

    return adapter


def _bounds(node: gs.Node, view: View) -> Change:
    """Clip before opset 11: bounds from attributes to inputs, of the type of what is clipped."""
    dtype = need(view.dtype(node.inputs[0]), "the type of what it clips is unknown")
    return _respelled(node, clip_parameters(node.attrs.get("min"), node.attrs.get("max"), dtype))


def _padding(node: gs.Node, view: View) -> Change:
    """Pad before opset 11: pads and value from attributes to inputs."""
    dtype = need(view.dtype(node.inputs[0]), "the type of what it pads is unknown")
    value = np.asarray(node.attrs.get("value", 0.0), dtype)
    return _respelled(node, {"pads": need_parameter(node, "pads", view), "value": value})


def _dropout(node: gs.Node, view: View) -> Change:
    """Dropout before opset 12 returns its input; the ratio matters in training alone."""
    mask = node.outputs[1] if len(node.outputs) > 1 else None
    unread = mask is None or not mask.name or not (view.fan_out(mask) or view.is_output(mask))
    need(unread, "its mask is read, which was of another type in older opsets")
    return _rewritten(node, node.inputs[:1], {})


def _softmax(node: gs.Node, view: View) -> Change:
    """Softmax before opset 13 normalizes over `axis` and all axes after it, together."""
    axis = int(attribute(node, "axis", view.opset))
    rank = view.rank(node.inputs[0])
    if axis == -1 or (rank is not None and axis % rank == rank - 1):
        return _rewritten(node, node.inputs[:1], {**node.attrs, "axis": -1})
    need(view.opset >= 9 or axis >= 0, "Flatten takes no negative axis before opset 9")

    def change(edit: Edit) -> gs.Node:
        x, y = node.inputs[0], node.outputs[0]
        edit.remove(node)
        shape, flat, soft = (edit.variable(f"{y.name}_{part}") for part in ("shape", "rows", "of"))
        edit.node("Shape", [x], [shape], at=node)
        edit.node("Flatten", [x], [flat], {"axis": axis}, at=node)
        edit.node(node.op, [flat], [soft], {"axis": -1}, at=node)
        return edit.node("Reshape", [soft, shape], [y], at=node)

    return change


def _split(node: gs.Node, view: View) -> Change:
    """Split: sizes become an input at opset 13, and what splits evenly says so from 18 on."""
    if read_parameter(node, "split", view).given:
        if input_of("Split", "split", view.opset) is None:
            return _respelled(node, {"split": need_parameter(node, "split", view)})
        return _rewritten(node, node.inputs, dict(node.attrs))

    def change(edit: Edit) -> gs.Node:
        attrs = {**node.attrs, **even_split(len(_outputs(node)), edit.graph.opset)}
        return _rewritten(node, node.inputs, attrs)(edit)

    return change


def _upsample(node: gs.Node, view: View) -> Change:
    """Upsample is Resize with the coordinates of the first Resize."""
    attrs = {**node.attrs, **_FIRST_RESIZE}
    held = attrs.pop("scales", None)

    def change(edit: Edit) -> gs.Node:
        y = node.outputs[0]
        scales = (
            node.inputs[1]
            if held is None
            else edit.constant(np.asarray(held, np.float32), f"{y.name}_scales")
        )
        edit.remove(node)
        return build_resize(edit, node.inputs[0], y, scales=scales, attrs=attrs, at=node)

    return change


def _resize_10(node: gs.Node, view: View) -> Change:
    """Resize of opset 10: nobody wrote down which pixel is nearest where it shrinks."""
    x, given = node.inputs
    if attribute(node, "mode", view.opset) == "nearest":
        scales = need(view.constant(given), "its scales are not constant")
        need(
            (scales >= 1).all(), "which pixel is nearest when shrinking was not defined in opset 10"
        )
    attrs = {**node.attrs, **_FIRST_RESIZE}

    def change(edit: Edit) -> gs.Node:
        edit.remove(node)
        return build_resize(edit, x, node.outputs[0], scales=given, attrs=attrs, at=node)

    return change


def _resize_11(node: gs.Node, view: View) -> Change:
    """Resize of opset 11: an empty tensor stood for an absent input, and one mode is gone."""
    mode = attribute(node, "coordinate_transformation_mode", view.opset)
    need(mode != "tf_half_pixel_for_nn", f"Resize has no mode {mode} any more")
    sized = len(node.inputs) > 3 and bool(node.inputs[3].name)
    crops = mode == "tf_crop_and_resize"
    kept = [True, crops, not sized, sized]
    inputs = [
        t if keep else gs.Variable.empty() for t, keep in zip(node.inputs, kept, strict=False)
    ]
    return _rewritten(node, inputs, dict(node.attrs))


def _roi_align(node: gs.Node, view: View) -> Change:
    mode = {"coordinate_transformation_mode": "output_half_pixel"}
    return _rewritten(node, node.inputs, {**mode, **node.attrs})


def _grid_sample(node: gs.Node, view: View) -> Change:
    names = {"bilinear": "linear", "bicubic": "cubic"}
    mode = attribute(node, "mode", view.opset)
    attrs = {**node.attrs, "mode": names.get(mode, mode)}
    return _rewritten(node, node.inputs, attrs)


def _batchnorm(node: gs.Node, view: View) -> Change:
    attrs = dict(node.attrs)
    need(attrs.pop("spatial", 1), "it has statistics for every pixel, which later opsets lack")
    need(not any(t.name for t in node.outputs[1:]), "it updates its statistics")
    return _rewritten(node, node.inputs, attrs)


def _scatter(node: gs.Node, view: View) -> Change:
    return _rewritten(node, node.inputs, dict(node.attrs), "ScatterElements")


_FIRST_RESIZE = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
_ADAPTERS: dict[tuple[str, int], Adapter] = {
    ("BatchNormalization", 9): _batchnorm,
    ("BatchNormalization", 14): _batchnorm,
    ("Clip", 11): _bounds,
    ("Dropout", 12): _dropout,
    ("GridSample", 20): _grid_sample,
    ("Hardmax", 13): _softmax,
    ("LogSoftmax", 13): _softmax,
    ("Pad", 11): _padding,
    ("ReduceSum", 13): _as_inputs("axes"),
    ("Resize", 11): _resize_10,
    ("Resize", 13): _resize_11,
    ("RoiAlign", 16): _roi_align,
    ("Scatter", 11): _scatter,
    ("Slice", 10): _as_inputs("starts", "ends", "axes"),
    ("Softmax", 13): _softmax,
    ("Split", 13): _split,
    ("Split", 18): _split,
    ("Squeeze", 13): _as_inputs("axes"),
    ("TopK", 10): _as_inputs("k"),
    ("Unsqueeze", 13): _as_inputs("axes"),
    ("Upsample", 9): _upsample,
    ("Upsample", 10): _upsample,
    **{(op, 18): _as_inputs("axes") for op in REDUCTIONS - {"ReduceSum"}},
}
# Of these the first adapter writes a form that the later changes leave alone.
_FIRST_SUFFICES = frozenset({"BatchNormalization", "Resize", "Split", "Upsample"})
