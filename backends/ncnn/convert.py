"""A graph as layers of ncnn, one operator at a time; what ncnn has not is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.decline import DeclinedError
from ...ir.core.errors import BackendError
from ...ir.core.variables import dense_values, is_standard, label
from ...ir.graph.clone import clone
from ...ir.graph.types import TensorType
from ...ir.graph.view import View
from ...ir.ops.quantization.nodes import DEQUANTIZE, QUANTIZE
from ...ir.ops.traits.groups import RESHAPES
from ..contract.prepare import prepare, typed_view
from .elementwise import (
    BINARY,
    LAYERS,
    UNARY,
    convert_batchnorm,
    convert_binary,
    convert_clip,
    convert_gelu,
    convert_hard_swish,
    convert_layer_norm,
    convert_limited,
    convert_power,
    convert_prelu,
    convert_softplus,
    convert_unary,
)
from .integers import carry_grid, convert_dequantizer, convert_quantizer
from .linear import convert_convolution, convert_matrix, convert_transposed
from .model import NcnnLayer
from .scope import NcnnScope
from .shapes import (
    REDUCTIONS,
    convert_concat,
    convert_depth_to_space,
    convert_gather,
    convert_identity,
    convert_reduction,
    convert_reshape,
    convert_slice,
    convert_softmax,
    convert_split,
    convert_transpose,
)
from .windows import convert_global_pool, convert_pad, convert_pool, convert_resize

Convert = Callable[[NcnnScope, gs.Node], None]

CONVERTERS: dict[str, Convert] = {
    **dict.fromkeys((*UNARY, *LAYERS), convert_unary),
    "Exp": convert_limited,
    "Log": convert_limited,
    "Reciprocal": convert_limited,
    "Softplus": convert_softplus,
    **dict.fromkeys(BINARY, convert_binary),
    **dict.fromkeys(REDUCTIONS, convert_reduction),
    **dict.fromkeys(("MaxPool", "AveragePool"), convert_pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), convert_global_pool),
    **dict.fromkeys(RESHAPES, convert_reshape),
    **dict.fromkeys(("Identity", "Dropout"), convert_identity),
    **dict.fromkeys(("Gemm", "MatMul"), convert_matrix),
    **dict.fromkeys(("Resize", "Upsample"), convert_resize),
    "Conv": convert_convolution,
    "ConvTranspose": convert_transposed,
    "BatchNormalization": convert_batchnorm,
    "HardSwish": convert_hard_swish,
    "LayerNormalization": convert_layer_norm,
    "Gelu": convert_gelu,
    "Clip": convert_clip,
    "Pow": convert_power,
    "PRelu": convert_prelu,
    "Pad": convert_pad,
    "Transpose": convert_transpose,
    "Concat": convert_concat,
    "Split": convert_split,
    "Slice": convert_slice,
    "Gather": convert_gather,
    "Softmax": convert_softmax,
    "DepthToSpace": convert_depth_to_space,
    QUANTIZE: convert_quantizer,
    DEQUANTIZE: convert_dequantizer,
}


@dataclass(frozen=True, kw_only=True)
class NcnnModel:
    """Layers, and the blobs and sizes of inputs and outputs for one image, in the graph's order."""

    layers: Sequence[NcnnLayer]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    remarks: tuple[str, ...]


def convert(graph: gs.Graph, precision: str = "float32") -> NcnnModel:
    """Return `graph` for one image, computed in `precision`.

    Raises BackendError naming node and reason.
    """
    given = inputs_of(graph)
    for tensor in given:
        if not tensor.shape or tensor.dtype != np.float32:
            told = "no type" if tensor.dtype is None else dtypes.type_name(tensor.dtype)
            raise BackendError(
                f"ncnn takes images of float32, and input '{tensor.name}' is {told} "
                f"{tensor.shape}; lower it to 'onnxruntime' or 'tvm'"
            )
    if not given:
        raise BackendError("ncnn takes images, and the graph has no inputs")
    view = typed_view(prepare(_for_images(graph, 1)))
    if not all(tensor.shape[0] == 1 for tensor in given):
        _require_images_apart(view, typed_view(prepare(_for_images(graph, 2))))
    to = NcnnScope(view, precision)
    inputs = tuple(_declined(f"input '{t.name}'", to.input, t) for t in view.scope.inputs)
    for node in view.scope.nodes:
        if all(view.is_constant(tensor) for tensor in node.outputs):
            continue
        where = f"node {label(node)}"
        known = CONVERTERS.get(node.op) if is_standard(node) else None
        if known is None:
            raise BackendError(
                f"ncnn has no {node.op} here, at {where}; lower it to 'onnxruntime' or 'tvm'"
            )
        _declined(where, carry_grid, to, node)
        _declined(where, known, to, node)
    outputs = tuple(_declined(f"output '{t.name}'", to.blob, t) for t in view.scope.outputs)
    shapes = tuple(_declined(f"output '{t.name}'", to.shape, t) for t in view.scope.outputs)
    return NcnnModel(
        layers=to.layers,
        inputs=inputs,
        outputs=outputs,
        shapes=shapes,
        remarks=tuple(f"{text}: {_some(nodes)}" for text, nodes in to.remarks.items()),
    )


def inputs_of(graph: gs.Graph) -> list[gs.Variable]:
    """Return the inputs that must be fed; those with values by default are constants here."""
    return [tensor for tensor in graph.inputs if not isinstance(tensor, gs.Constant)]


def _declined(where: str, step: Callable[..., Any], *args: object) -> Any:
    try:
        return step(*args)
    except DeclinedError as declined:
        raise BackendError(
            f"ncnn cannot hold {where}: {declined}; lower it to 'onnxruntime' or 'tvm'"
        ) from declined


def _some(nodes: Sequence[str]) -> str:
    return f"{', '.join(nodes[:3])} ({len(nodes)} in all)" if len(nodes) > 3 else ", ".join(nodes)


def _for_images(graph: gs.Graph, images: int) -> gs.Graph:
    """Return a copy of `graph` whose inputs hold so many images."""
    copy = clone(graph)
    copy.inputs = inputs_of(copy)
    for tensor in copy.inputs:
        if tensor.shape:
            tensor.shape = [images, *tensor.shape[1:]]
    for tensor in copy.outputs:
        tensor.shape = None
    return copy


def _require_images_apart(one: View, two: View) -> None:
    """Raise BackendError where tensors of two images are no two tensors of one image.

    Batches are run image by image: what joins images would be another function. `one` and `two` are
    of the same graph for so many images.
    """
    nodes, others = one.scope.nodes, two.scope.nodes
    if [node.op for node in nodes] != [node.op for node in others]:
        raise _joined("the graph")
    of_images = {id(tensor) for tensor in one.scope.inputs}
    for node, other in zip(nodes, others, strict=True):
        if of_images.isdisjoint(map(id, node.inputs)):
            continue
        if not all(map(_is_same_constant, node.inputs, other.inputs)):
            raise _joined(f"node {label(node)}")
        for tensor, double in zip(node.outputs, other.outputs, strict=True):
            of_images.add(id(tensor))
            if not tensor.is_empty() and not _is_double(one.type(tensor), two.type(double)):
                raise _joined(f"node {label(node)}")


def _is_same_constant(one: gs.Tensor, two: gs.Tensor) -> bool:
    """Say whether floats that do not hang on images are the same for two of them."""
    values, others = dense_values(one), dense_values(two)
    if values is None or others is None or values is others or not dtypes.is_float(values.dtype):
        return True
    return np.array_equal(values, others)


def _joined(what: str) -> BackendError:
    return BackendError(
        f"ncnn runs a batch image by image, and {what} joins images, or has sizes for so many; "
        "lower a batch of 1, with set-shapes"
    )


def _is_double(one: TensorType | None, two: TensorType | None) -> bool:
    if one is None or two is None or not one.shape or not two.shape:
        return False
    return one.shape[0] == 1 and two.shape == (2, *one.shape[1:])
