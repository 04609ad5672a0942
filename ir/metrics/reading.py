"""What a graph says of its outputs: along which axis the classes lie, and what ends the network.

From an output back to the layer that makes its features, axes are followed through what moves
them. A Softmax, ArgMax or TopK on that way, or beside it, names the axis of the classes; else it
is the axis that the layer makes: the channels of a convolution, the last axis of a product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ..core import dtypes
from ..core.variables import exotic_type, is_standard, node_key
from ..graph.types import Shape
from ..graph.uses import Uses
from ..graph.view import View
from ..ops.axes.named import normal_axes, softmax_axes
from ..ops.shapes.infer import infer_types
from ..ops.traits import attribute, traits_of
from .axis_maps import AxisMap, map_back

# No head of a network is longer from its layer to its output.
_MOST_STEPS = 64


@dataclass(frozen=True, kw_only=True)
class OutputReading:
    """What is known of one output from the graph alone.

    `class_axis`, and `because`, what says so; None where nothing does. `ending`: the operators from
    the output back to the layer that makes its features, included. `is_ids`: it holds indices of
    classes, as ArgMax and TopK give them; `best_first`: the axis along which those of TopK are in
    order. `is_ranked`: it holds the largest scores in order. `is_squashed`: whether a Sigmoid or
    Softmax stands between it and the layers that it comes from; None where that is not known.
    `parts`: the sizes that each Concat joins, on the way back. `batch`: the name that the batch has
    where it is dynamic.
    """

    name: str
    shape: Shape | None
    is_float: bool
    class_axis: int | None = None
    because: str = ""
    ending: tuple[str, ...] = ()
    is_ids: bool = False
    is_ranked: bool = False
    is_squashed: bool | None = None
    parts: tuple[tuple[int, ...], ...] = ()
    best_first: int | None = None
    batch: str | None = None

    @property
    def rank(self) -> int | None:
        """The number of axes, None where it is unknown."""
        return None if self.shape is None else len(self.shape)


def read_outputs(
    graph: gs.Graph, ranks: Mapping[str, int] | None = None
) -> dict[str, OutputReading]:
    """Return what `graph` says of each of its outputs that is a tensor, by name.

    `ranks`: those of the outputs, where they are known from a run and may not be from the graph.
    """
    view = View(graph, Uses(graph), infer_types(graph).of)
    tensors = [t for t in graph.outputs if exotic_type(t) is None]
    batch, known = _batch_name(graph), ranks or {}
    walks = (_Walk(view, tensor, batch, known.get(tensor.name)) for tensor in tensors)
    return {tensor.name: walk.reading() for tensor, walk in zip(tensors, walks, strict=True)}


def _batch_name(graph: gs.Graph) -> str | None:
    """Return the name of a dynamic first axis that all inputs share."""
    inputs = [t for t in graph.inputs if not isinstance(t, gs.Constant) and t.shape]
    names = {t.shape[0] for t in inputs}
    (name,) = names if len(names) == 1 else (None,)
    return name if isinstance(name, str) else None


class _Walk:
    """Follows one output back."""

    def __init__(self, view: View, output: gs.Tensor, batch: str | None, rank: int | None) -> None:
        self._view, self._output, self._batch = view, output, batch
        dtype = output.dtype if view.dtype(output) is None else view.dtype(output)
        self._is_float = dtype is not None and dtypes.is_float(dtype)
        known = view.shape(output)
        declared = None if output.shape is None else tuple(output.shape)
        self._shape = known if known is not None else declared
        if rank is not None and (self._shape is None or len(self._shape) != rank):
            self._shape = (None,) * rank
        self._ending: list[str] = []

    def reading(self) -> OutputReading:
        """Return what is known of the output."""
        ids = self._ids()
        if ids is not None:
            node, best = ids
            because = f"{node.op} '{node_key(node)}' gives indices"
            return self._made(because=because, is_ids=True, best_first=best)
        axis, because = self._class_axis()
        first = self._view.producer(self._output)
        return self._made(axis, because, is_ranked=first is not None and first.op == "TopK")

    def _made(
        self,
        axis: int | None = None,
        because: str = "",
        is_ids: bool = False,
        is_ranked: bool = False,
        best_first: int | None = None,
    ) -> OutputReading:
        return OutputReading(
            name=self._output.name,
            shape=self._shape,
            is_float=self._is_float,
            class_axis=axis,
            because=because,
            ending=tuple(self._ending),
            is_ids=is_ids,
            is_ranked=is_ranked,
            is_squashed=_is_squashed(self._output, self._view),
            parts=tuple(_parts(self._output, self._view)),
            best_first=best_first,
            batch=self._batch,
        )

    def _ids(self) -> tuple[gs.Node, int | None] | None:
        """Return the node that gives indices of classes, if these are such.

        With the axis along which they are in order, where it gives several.
        """
        if self._is_float:
            return None
        for tensor, rank, axes, node in self._steps():
            if traits_of(node, self._view.opset).arg_reduction:
                return node, None
            if node.op == "TopK":
                at = normal_axes(attribute(node, "axis", self._view.opset), rank)
                best = axes.index(at[0]) if at and at[0] in axes else None
                return (node, best) if tensor is node.outputs[-1] else None
        return None

    def _class_axis(self) -> tuple[int | None, str]:
        rank = None if self._shape is None else len(self._shape)
        if rank is None or rank < 2:
            return None, ""
        layer: tuple[int | None, str] = (None, "")
        for tensor, tensor_rank, axes, node in self._steps():
            for other in (node, *self._view.readers(tensor)):
                at = self._normalized(other, tensor, tensor_rank)
                if at is not None and at in axes:
                    return axes.index(at), f"{other.op} '{node_key(other)}' is along it"
            made = _features_axis(node, tensor_rank, self._view)
            if made is not None and made in axes:
                layer = axes.index(made), f"{node.op} '{node_key(node)}' makes it"
        if layer[0] is None and rank == 2:
            return 1, "the output has two axes, and the first is the batch"
        return layer

    def _steps(self) -> Iterator[tuple[gs.Tensor, int, AxisMap, gs.Node]]:
        """Yield tensors from the output back: rank, where its axes are there, and who makes it."""
        self._ending.clear()
        tensor = self._output
        rank = len(self._shape or ())
        axes: AxisMap = tuple(range(rank))
        for _ in range(_MOST_STEPS):
            node = self._view.producer(tensor)
            if node is None:
                return
            self._ending.append(str(node.op))
            yield tensor, rank, axes, node
            if _features_axis(node, rank, self._view) is not None:
                return
            found = map_back(node, tensor, rank, self._view)
            if found is None:
                return
            tensor, moved = found
            rank = self._view.rank(tensor) or len(moved)
            axes = tuple(None if axis is None else moved[axis] for axis in axes)

    def _normalized(self, node: gs.Node, tensor: gs.Tensor, rank: int) -> int | None:
        """Return the axis of `tensor` along which `node`, its maker or reader, weighs elements."""
        known = traits_of(node, self._view.opset)
        if known.softmax:
            joined = softmax_axes(node, rank, self._view.opset)
            shape = self._view.shape(tensor) or (None,) * rank
            wide = [axis for axis in joined or () if shape[axis] != 1]
            return wide[0] if len(wide) == 1 else None
        reads = any(tensor is each for each in node.inputs)
        if (known.arg_reduction and reads) or node.op == "TopK":
            found = normal_axes(attribute(node, "axis", self._view.opset), rank)
            return found[0] if found else None
        return None


def _features_axis(node: gs.Node, rank: int, view: View) -> int | None:
    """Return the axis that holds the outputs of the linear layer `node`, if it is one.

    `rank` is that of its result. A product of two activations, as in attention, is none.
    """
    known = traits_of(node, view.opset)
    if not known.layer or rank < 2:
        return None
    if known.windowed or known.layer == "Gemm":
        return 1
    if not node.outputs or len(node.inputs) < 2:
        return None
    if _is_weight(node.inputs[1], view):
        return rank - 1
    return rank - 2 if _is_weight(node.inputs[0], view) else None


def _is_squashed(output: gs.Tensor, view: View) -> bool | None:
    """Say whether a Sigmoid or Softmax is met on some way from `output` back to a layer.

    Exp counts, of which either is made. None where bodies or operators that are no standard ones
    may hide it.
    """
    left, met = [output], set[int]()
    while left:
        tensor = left.pop()
        node = view.producer(tensor)
        if node is None or id(node) in met:
            continue
        met.add(id(node))
        if "Sigmoid" in node.op or "Softmax" in node.op or node.op == "Exp":
            return True
        if not is_standard(node) or any(isinstance(a, gs.Graph) for a in node.attrs.values()):
            return None
        if _features_axis(node, view.rank(tensor) or 2, view) is None:
            left.extend(node.inputs)
    return False


def _parts(output: gs.Tensor, view: View) -> Iterator[tuple[int, ...]]:
    """Yield what each Concat from `output` back through first inputs to a layer joins: sizes."""
    tensor = output
    for _ in range(_MOST_STEPS):
        node = view.producer(tensor)
        if node is None or not node.inputs or traits_of(node, view.opset).layer:
            return
        if node.op == "Concat":
            found = normal_axes(attribute(node, "axis", view.opset), view.rank(tensor) or 0)
            shapes = [view.shape(each) for each in node.inputs]
            sizes = [shape[found[0]] for shape in shapes if found and shape is not None]
            yield tuple(size for size in sizes if isinstance(size, int))
        tensor = node.inputs[0]


def _is_weight(tensor: gs.Tensor, view: View) -> bool:
    """Say whether no graph input decides `tensor`, as far as a few nodes before it say."""
    for _ in range(4):
        if isinstance(tensor, gs.Constant):
            return True
        node = view.producer(tensor)
        if node is None:
            return False
        if not node.inputs:
            return True
        tensor = node.inputs[0]
    return False
