"""What a graph costs: multiply-accumulates, parameters and bytes, node by node."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.constant_nodes import value_of_constant_node
from ...ir.core.counted import counted
from ...ir.core.errors import GraphError
from ...ir.core.nearest import nearest
from ...ir.core.scaled import scaled
from ...ir.core.shown import Shown, Summary
from ...ir.core.variables import FUSED_DOMAIN, is_standard, label, subgraphs_of
from ...ir.files.given import Model, as_graph
from ...ir.graph.clone import clone
from ...ir.graph.types import Shape, Types
from ...ir.ops.fused.operators import fused_parts
from ...ir.ops.fused.squeeze_excite import is_squeeze_excite, weights_of
from ...ir.ops.linear.operators import linear_operator, reads_transposed
from ...ir.ops.shapes.infer import infer_types
from ...ir.ops.traits.groups import READ_NO_VALUES
from ...ir.ops.traits.recognized import NEWEST
from ...ir.ops.windows.attributes import window_attributes
from ...ir.ops.windows.sizes import outputs_of
from ...ir.proto.write_values import stored_bytes
from ...ir.run.contradiction import contradiction_told
from ...ir.run.feeds import dynamic_size, is_size
from .constants.computed_types import with_computed_sizes


@dataclass(frozen=True, kw_only=True)
class NodeCost:
    """Cost of one node at one size of its dynamic dimensions.

    `macs`: multiply-accumulates of Conv, ConvTranspose, Gemm and MatMul and of fused operators
    built on them, 0 for all others, None where a shape is unknown. `parameters`: elements of its
    constants, those of Constant nodes too, shared ones counted at their first reader.
    `bytes_moved`: bytes of inputs, constants and outputs, each read or written once, None where a
    shape is unknown.
    """

    node: str
    op: str
    output_shape: tuple[int | str | None, ...] | None
    macs: int | None
    parameters: int
    bytes_moved: int | None


@dataclass(frozen=True, kw_only=True, repr=False)
class GraphCost(Shown):
    """Cost of a graph; totals leave out nodes whose shapes are unknown, counted in `unknown`."""

    nodes: tuple[NodeCost, ...]
    macs: int
    parameters: int
    weight_bytes: int
    bytes_moved: int
    unknown: int

    def _summary(self) -> Summary:
        line = (
            f"{counted(len(self.nodes), 'node')}, {scaled(self.macs)} MACs, "
            f"{scaled(self.parameters)} parameters, {scaled(self.weight_bytes, 'B')} of weights"
        )
        rows = [
            (each.node, scaled(each.macs), scaled(each.parameters), scaled(each.bytes_moved, "B"))
            for each in sorted(self.nodes, key=lambda node: -(node.macs or 0))
        ]
        unknown = f", {self.unknown} of unknown shape" if self.unknown else ""
        return Summary(line + unknown, rows, ("node", "MACs", "parameters", "bytes moved"))


def cost(graph: Model, sizes: Mapping[str, int] | None = None) -> GraphCost:
    """Return the cost of every node of the main graph of `graph`, in linear time.

    `sizes` gives values for dynamic dimensions of the inputs by name. Others count as 1 on the
    first axis, elsewhere as `random_feeds` draws them. Sizes that depend on data, bodies of If,
    Loop and Scan, and local functions that hold a layer or such a body, count as unknown. Raises
    GraphError for sizes of no dynamic dimension.
    """
    graph = as_graph(graph)
    _check_sizes(graph, sizes or {})
    with contradiction_told(graph):
        return _cost(graph, sizes or {})


def costs_in_bodies(graph: gs.Graph) -> dict[int, NodeCost]:
    """Return the cost of every node in a body of If, Loop or Scan, by the node's `id`.

    Of one run of the body, at the sizes that `cost` takes. A node that holds bodies itself is
    unknown. Raises GraphError where the graph contradicts itself.
    """
    with contradiction_told(graph):
        types = infer_types(graph)
        sized = graph
        if any(_is_dynamic(tensor) for tensor in graph.inputs):
            sized = _with_sizes(graph, {})
        of_sizes = with_computed_sizes(sized, infer_types(sized))
        counter = _CostCounter(of_sizes, _unknown_functions(graph))
        for node in sized.nodes:  # weights are counted at their first reader
            counter.node(node, None)
        return {
            id(node): counter.node(same, _first_shape(node, types))
            for node, same in zip(_inner_nodes(graph), _inner_nodes(sized), strict=True)
        }


def _inner_nodes(graph: gs.Graph) -> list[gs.Node]:
    """Return the nodes of all bodies in `graph`, at any depth."""
    found: list[gs.Node] = []
    waiting = list(graph.nodes)
    while waiting:
        for body in subgraphs_of(waiting.pop()):
            found += body.nodes
            waiting += body.nodes
    return found


def _check_sizes(graph: gs.Graph, sizes: Mapping[str, int]) -> None:
    """Raise GraphError where no input has a dimension of a name in `sizes`."""
    dims = [dim for tensor in graph.inputs if _is_dynamic(tensor) for dim in tensor.shape]
    known = {dim for dim in dims if isinstance(dim, str)}
    for name in sizes:
        if name not in known:
            hint = nearest(name, known) or "; no dimension of an input has a name"
            raise GraphError(f"size given for '{name}', which is no dynamic dimension{hint}")


def _cost(graph: gs.Graph, sizes: Mapping[str, int]) -> GraphCost:
    types = infer_types(graph)
    dynamic = any(_is_dynamic(tensor) for tensor in graph.inputs)
    if not dynamic:
        types = with_computed_sizes(graph, types)
    shown = [_first_shape(node, types) for node in graph.nodes]
    if dynamic:
        graph = _with_sizes(graph, sizes)
        types = with_computed_sizes(graph, infer_types(graph))
    counter = _CostCounter(types, _unknown_functions(graph))
    nodes = tuple(counter.node(node, shape) for node, shape in zip(graph.nodes, shown, strict=True))
    return GraphCost(
        nodes=nodes,
        macs=sum(n.macs or 0 for n in nodes),
        parameters=sum(n.parameters for n in nodes),
        weight_bytes=counter.weight_bytes,
        bytes_moved=sum(n.bytes_moved or 0 for n in nodes),
        unknown=sum(n.macs is None or n.bytes_moved is None for n in nodes),
    )


def _first_shape(node: gs.Node, types: Types) -> Shape | None:
    found = types.of(node.outputs[0]) if node.outputs else None
    return None if found is None else found.shape


def _is_dynamic(tensor: gs.Tensor) -> bool:
    return isinstance(tensor, gs.Variable) and any(not is_size(dim) for dim in tensor.shape or ())


def _with_sizes(graph: gs.Graph, sizes: Mapping[str, int]) -> gs.Graph:
    """Return a copy whose inputs have sizes: shape inference cannot compute with names."""
    copy = clone(graph)
    for tensor in copy.inputs:
        if _is_dynamic(tensor):
            tensor.shape = [
                dim if is_size(dim) else sizes.get(dim, 1 if axis == 0 else typical)
                for axis, dim in enumerate(tensor.shape)
                for typical in [dynamic_size(axis, len(tensor.shape))]
            ]
    return copy


def _unknown_functions(graph: gs.Graph) -> frozenset[tuple[str, str]]:
    """Return the local functions whose MACs nothing tells, by domain and name.

    They hold a layer or a body, or call one that does; fused operators are known by themselves.
    """
    calls: dict[tuple[str, str], set[tuple[str, str]]] = {}
    found = set()
    for function in graph.functions:
        key = (function.domain, function.name)
        calls[key] = {(node.domain or "", node.op) for node in function.nodes}
        if any(linear_operator(node) or subgraphs_of(node) for node in function.nodes):
            found.add(key)
    waiting = list(found)
    callers = defaultdict(list)
    for key, called in calls.items():
        for each in called:
            callers[each].append(key)
    while waiting:
        for caller in callers[waiting.pop()]:
            if caller not in found:
                found.add(caller)
                waiting.append(caller)
    return frozenset(key for key in found if key[0] != FUSED_DOMAIN)


class _CostCounter:
    def __init__(self, types: Types, unknown: frozenset[tuple[str, str]]) -> None:
        self._types = types
        self._unknown = unknown
        self._counted: set[int] = set()
        self.weight_bytes = 0

    def node(self, node: gs.Node, shape: Shape | None) -> NodeCost:
        parameters = 0
        # What looks at no value of its input does not own it either.
        read = () if node.op in READ_NO_VALUES and is_standard(node) else node.inputs
        for tensor in read:
            elements, stored = _held(tensor)
            if stored and id(tensor) not in self._counted:
                self._counted.add(id(tensor))
                parameters += elements
                self.weight_bytes += stored
        tensors = [t for t in (*read, *node.outputs) if t.name]
        sizes = [self._bytes(t) for t in tensors]
        moved = None if None in sizes else sum(size for size in sizes if size is not None)
        has_body = bool(subgraphs_of(node))
        if _is_constant_node(node):
            moved = 0  # its readers read it
        return NodeCost(
            node=label(node),
            op=node.op,
            output_shape=shape,
            macs=None if has_body else self._macs(node),
            parameters=parameters,
            bytes_moved=None if has_body else moved,
        )

    def _macs(self, node: gs.Node) -> int | None:
        if is_squeeze_excite(node):
            return self._macs_of_squeeze_excite(node)
        op = linear_operator(node)
        if op is None:
            return None if (node.domain or "", node.op) in self._unknown else 0
        if len(node.inputs) < 2 or not node.outputs:
            return None
        x, w, y = (self._shape(t) for t in (node.inputs[0], node.inputs[1], node.outputs[0]))
        if x is None or w is None or y is None or not x or not w:
            return None
        if op == "Conv":
            fused = fused_parts(node, NEWEST)
            if fused is not None and fused.pool is not None:
                y = (x[0], w[0], *_before_pooling(node, x[2:]))
            return math.prod(y) * math.prod(w[1:])
        if op == "ConvTranspose":
            return math.prod(x) * math.prod(w[1:])
        if op == "Gemm":
            return math.prod(y) * x[0 if reads_transposed(node) else -1]
        return math.prod(y) * x[-1]

    def _macs_of_squeeze_excite(self, node: gs.Node) -> int | None:
        """Return the MACs of its two layers: each weight meets one value a sample."""
        x, first, second = (self._shape(t) for t in (node.inputs[0], *weights_of(node)))
        if not x or first is None or second is None:
            return None
        return x[0] * (math.prod(first) + math.prod(second))

    def _shape(self, tensor: gs.Tensor) -> tuple[int, ...] | None:
        found = self._types.of(tensor)
        if found is None or found.shape is None:
            return None
        sizes = tuple(dim for dim in found.shape if isinstance(dim, int))
        return sizes if len(sizes) == len(found.shape) else None

    def _bytes(self, tensor: gs.Tensor) -> int | None:
        found, shape = self._types.of(tensor), self._shape(tensor)
        if found is None or shape is None:
            return None
        return dtypes.byte_size(math.prod(shape), found.dtype)


def _held(tensor: gs.Tensor) -> tuple[int, int]:
    """Return the elements and bytes of a constant, one that a Constant node holds too, or zeros."""
    if isinstance(tensor, gs.Constant):
        return math.prod(tensor.shape), stored_bytes(tensor)
    node = tensor.inputs[0] if len(tensor.inputs) == 1 else None
    held = value_of_constant_node(node) if node is not None and _is_constant_node(node) else None
    return (0, 0) if held is None else (held.size, held.nbytes)


def _is_constant_node(node: gs.Node) -> bool:
    return node.op == "Constant" and is_standard(node)


def _before_pooling(node: gs.Node, sizes: tuple[int, ...]) -> list[int]:
    """Return the spatial sizes of the convolution in a fused operator, whose window is explicit."""
    window = window_attributes("Conv", node.attrs, node.attrs["kernel_shape"])
    axes = zip(sizes, window.reaches, window.strides, window.begins, window.ends, strict=True)
    return [outputs_of(*axis) for axis in axes]
