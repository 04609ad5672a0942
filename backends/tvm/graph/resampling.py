"""What Resize and Upsample compute: a sum along each axis, whose weights are the same everywhere.

    y[.., p, ..] = sum over k of w[p, k] * x[.., i[p, k], ..]       one axis after the other

Which elements, and how much of each, follows from scales or sizes, coordinate transformation,
rounding, cubic coefficients, antialiasing and what is done at the borders, with differences from
opset to opset. All of it is linear along an axis: what the reference runtime makes of unit vectors
are the weights.

Source: ONNX operator Resize.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ....ir.ops.opsets import position_of
from ....ir.ops.parameters import read_parameter
from ..spec.layout import Array

# Unit vectors of an axis and what becomes of them, in elements.
_MOST_ELEMENTS = 1 << 24
# Their result is not the product of what is done along each axis (a value for all that lies
# outside in any of them), or depends on more than one axis, or moves an axis whose scale is 1.
_NOT_SEPARATE = ("tf_crop_and_resize", "tf_half_pixel_for_nn")


@dataclass(frozen=True, eq=False)
class AxisSampling:
    """Along one axis, which elements each result is a sum of: [results, taps], and weights."""

    places: Array
    weights: Array

    @property
    def taps(self) -> int:
        """The number of elements that a result is a sum of."""
        return int(self.places.shape[1])

    def repeats(self, times: int) -> bool:
        """Say whether every element stands `times` times in a row."""
        if not times or self.taps != 1 or (self.weights != 1).any():
            return False
        return bool((self.places[:, 0] == np.arange(len(self.places)) // times).all())


def read_resampling(node: gs.Node, view: View) -> list[AxisSampling | None] | None:
    """Return what happens along each spatial axis, None for one that stays; None if not known.

    Sizes of the node's input and output, batch apart, are known.
    """
    x, y = view.shape(node.inputs[0]), view.shape(node.outputs[0])
    assert x is not None
    assert y is not None
    if not _is_separate(node):
        return None
    factors = _factors(node, view, len(x))
    if factors is None:
        return None
    given, values = factors
    # By scales a batch of any size stays what it is, also where inference does not say so.
    wanted = [1.0, 1.0] if given == "scales" else list(x[:2])
    if list(values[:2]) != wanted:
        return None
    found: list[AxisSampling | None] = []
    for axis in range(2, len(x)):
        size, value = x[axis], values[axis]
        assert isinstance(size, int)
        if value == (1.0 if given == "scales" else size):
            found.append(None)
            continue
        one = _sampling(_description(node, view.opset), len(x), axis, size, given, value)
        if one is None or len(one.places) != y[axis]:
            return None
        found.append(one)
    return found


def _is_separate(node: gs.Node) -> bool:
    mode = node.attrs.get("coordinate_transformation_mode", "half_pixel")
    policy = node.attrs.get("keep_aspect_ratio_policy", "stretch")
    return mode not in _NOT_SEPARATE and policy == "stretch"


def _factors(node: gs.Node, view: View, rank: int) -> tuple[str, list[Any]] | None:
    """Return "scales" or "sizes", and one for every axis; None where they are not constant."""
    for name in ("sizes", "scales"):
        if name == "sizes" and position_of(node.op, name, view.opset) is None:
            continue
        found = read_parameter(node, name, view)
        if not found.known:
            return None
        if found.values is None or not found.values.size:
            continue
        values = found.values.reshape(-1).tolist()
        axes = node.attrs.get("axes") or range(rank)
        x = view.shape(node.inputs[0])
        assert x is not None
        whole = [1.0] * rank if name == "scales" else list(x)
        if len(values) != len(axes):
            return None
        for axis, value in zip(axes, values, strict=True):
            whole[axis] = value
        return name, whole
    return None


def _description(node: gs.Node, opset: int) -> bytes:
    """Return the node without what belongs to single axes, and its opset, as a model."""
    skipped = ("axes", "scales", "height_scale", "width_scale")
    attrs = {name: value for name, value in node.attrs.items() if name not in skipped}
    proto = onnx.helper.make_node(node.op, [], ["y"], **attrs)
    graph = onnx.helper.make_graph([proto], "resampling", [], [])
    opsets = [onnx.helper.make_opsetid("", opset)]
    return bytes(
        onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    )


@lru_cache(maxsize=256)
def _sampling(
    description: bytes, rank: int, axis: int, size: int, given: str, value: float
) -> AxisSampling | None:
    """Return what the reference runtime does along `axis`, None where it fails or is large."""
    if size * size * (value if given == "scales" else value / size) > _MOST_ELEMENTS:
        return None
    shape = [1] * rank
    shape[0], shape[axis] = size, size
    factors: list[Any] = [1.0] * rank if given == "scales" else list(shape)
    factors[axis] = value
    try:
        made = _resized(description, np.eye(size, dtype=np.float32).reshape(shape), given, factors)
    except Exception:  # ONNX Runtime's own have no common base
        return None
    return _tables(made.reshape(size, -1).T)


def _resized(description: bytes, x: Array, given: str, factors: Sequence[Any]) -> Array:
    import onnxruntime as ort

    model = onnx.ModelProto.FromString(description)
    (node,) = model.graph.node
    opset = model.opset_import[0].version
    position = position_of(node.op_type, given, opset)
    if position is None:  # Upsample of opset 7
        node.attribute.append(onnx.helper.make_attribute(given, factors))
        node.input.append("x")
    else:
        kind = np.float32 if given == "scales" else np.int64
        node.input.extend(["x", *[""] * (position - 1), given])
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(np.asarray(factors, kind), given)
        )
        if node.op_type == "Resize" and opset == 11:  # which asks for what it does not read
            node.input[1] = "roi"
            model.graph.initializer.append(
                onnx.numpy_helper.from_array(np.zeros(0, np.float32), "roi")
            )
            if given == "sizes":
                node.input[2] = "none"
                model.graph.initializer.append(
                    onnx.numpy_helper.from_array(np.zeros(0, np.float32), "none")
                )
    model.graph.input.append(onnx.helper.make_tensor_value_info("x", 1, list(x.shape)))
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info("y"))
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"x": x})[0])


def _tables(weights: Array) -> AxisSampling:
    """Return [results, size] weights without their zeros; shorter rows repeat a place, for 0."""
    taps = max(1, int((weights != 0).sum(axis=1).max(initial=0)))
    places = np.zeros((len(weights), taps), np.int32)
    held = np.zeros((len(weights), taps), np.float32)
    for row, values in enumerate(weights):
        (found,) = np.nonzero(values)
        places[row, : len(found)] = found
        places[row, len(found) :] = found[-1] if len(found) else 0
        held[row, : len(found)] = values[found]
    return AxisSampling(places, held)
