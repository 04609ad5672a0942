"""The head of a graph output: its last linear layer, and what stands between the two.

y = softmax(flatten(W x + b)): W gives the classes, which the operators behind it keep apart
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError, need
from ....ir.core.variables import is_standard, label
from ....ir.graph.view import View
from ....ir.ops.linear.layer import Layer, read_layer
from ....ir.ops.traits import traits_of
from ....ir.ops.traits.groups import LAYERS, POOLS, REDUCTIONS, RESHAPES, SOFTMAXES, UNARY

# Classes come out of these; a ConvTranspose as the last layer is left to whoever knows its images.
_LINEAR = LAYERS - {"ConvTranspose"}
# Operators that leave the classes on one axis; whether they do is read from their shapes.
_BEHIND = UNARY | POOLS | REDUCTIONS | SOFTMAXES | RESHAPES | {"Transpose"}
_MOST_BEHIND = 64


@dataclass(frozen=True)
class Head:
    """A linear layer whose outputs stay apart to the ends of the graph.

    `targets`: a Reshape behind it whose constant target names the classes, and the place of it.
    """

    layer: Layer
    targets: tuple[tuple[gs.Node, int], ...]
    results: tuple[gs.Tensor, ...]  # whose shapes change


def read_head(layer: Layer, view: View) -> Head:
    """Follow the outputs of `layer` to the ends of the graph; declines where they get mixed."""
    need(layer.group == 1, f"the last layer, {label(layer.node)}, is a grouped convolution")
    targets: list[tuple[gs.Node, int]] = []
    results = [layer.result]
    for tensor in results:  # grows while it is walked
        axis = _class_axis(tensor, layer, view)
        for node in view.readers(tensor):
            need(len(results) < _MOST_BEHIND, "too many operators stand behind the last layer")
            if node.op == "ArgMax" and is_standard(node):
                continue  # from here on, classes are numbers
            need(
                _data(node, view) is tensor,
                f"{label(node)} behind the last layer reads the classes, and what it does with "
                "another number of them is not known",
            )
            target = _target(node, view)
            result = node.outputs[0]
            place = _class_axis(result, layer, view)
            if target is not None and _names_classes(node, target[place], place == axis, layer):
                targets.append((node, place))
            results.append(result)
    return Head(layer, tuple(targets), tuple(results))


def last_layer(output: gs.Tensor, view: View) -> Layer:
    """Return the linear layer before the graph output `output`; declines where there is none."""
    tensor = output
    for _ in range(_MOST_BEHIND):
        node = need(view.producer(tensor), f"no linear layer stands before output '{output.name}'")
        if is_standard(node) and node.op in _LINEAR:
            return read_layer(node, view)
        if node.op == "Add":
            try:
                return read_layer(node, view)  # the bias of a MatMul
            except DeclinedError:
                pass
        is_end = node.op == "ArgMax" and is_standard(node)
        source = node.inputs[0] if is_end else _data(node, view)
        tensor = need(
            source, f"{label(node)} stands between output '{output.name}' and the last linear layer"
        )
    return need(None, f"too many operators stand before output '{output.name}'")


def _data(node: gs.Node, view: View) -> gs.Tensor | None:
    """Return what `node` reads and hands on, or None where it is no operator to stand behind."""
    traits = traits_of(node, view.opset)
    if traits.known and node.op in _BEHIND:
        return node.inputs[0]
    if traits.broadcasts and len(node.inputs) == 2:
        for data, other in (node.inputs, node.inputs[::-1]):
            number = view.constant(other)
            if number is not None and number.size == 1 and number.ndim <= (view.rank(data) or 0):
                return data
    return None


def _class_axis(tensor: gs.Tensor, layer: Layer, view: View) -> int:
    """Return the axis behind the first that has the size of the layer's outputs; one must."""
    shape = need(view.shape(tensor), f"the shape of '{tensor.name}' is not known")
    places = [axis for axis, size in enumerate(shape) if axis and size == layer.outputs]
    need(
        len(places) == 1,
        f"the {layer.outputs} outputs of the last layer, {label(layer.node)}, are not one axis of "
        f"'{tensor.name}', {list(shape)}",
    )
    return places[0]


def _target(node: gs.Node, view: View) -> list[int] | None:
    """Return the sizes that a Reshape names, or None for another operator."""
    if node.op != "Reshape":
        return None
    target = need(
        view.constant(node.inputs[1]),
        f"the target of {label(node)} behind the last layer is computed; run fold-constants first",
    )
    return [int(size) for size in target.reshape(-1)]


def _names_classes(node: gs.Node, size: int, stays: bool, layer: Layer) -> bool:
    """Say whether `size`, which a Reshape gives the axis of the classes, is their number.

    `stays`: the axis is where it was, so that 0 copies its size.
    """
    copied = size == 0 and stays and not node.attrs.get("allowzero", 0)
    need(size in (-1, layer.outputs) or copied, f"the target of {label(node)} regroups the classes")
    return size == layer.outputs
