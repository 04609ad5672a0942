"""The operators between the pairs of a quantized graph, which a runtime may compute on integers."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import converts, is_quantizer
from ....ir.ops.quantization.pairs import Pair, find_pairs
from ....ir.ops.quantization.weights import stored_weight
from ....ir.ops.traits import traits_of
from ...engine.context import Context
from .scoped_views import ScopedViews
from .units import BOUNDING

# Their integer kernels may give the sums as floats at once.
_FLOAT_RESULT = frozenset({"Gemm", "MatMul"})


class Pairs:
    """The pairs on the activations of a graph and its bodies, and the operators that need them."""

    def __init__(self, graph: gs.Graph, context: Context) -> None:
        self.views = ScopedViews(graph, context)
        self.nodes = [node for scope in context.uses.scopes(graph) for node in scope.nodes]
        self.all = [
            pair
            for scope in context.uses.scopes(graph)
            for pair in find_pairs(self.views.of(scope))
        ]
        self._by_source: dict[int, list[Pair]] = {}
        self._by_result: dict[int, Pair] = {}
        for pair in self.all:
            self._by_source.setdefault(id(pair.source), []).append(pair)
            self._by_result.update((id(d.outputs[0]), pair) for d in pair.dequantizers)
        self._units = {id(node) for node in self.nodes if self._is_unit(node)}

    def view(self, node: gs.Node) -> View:
        """Return the view of the scope that holds `node`."""
        return self.views.of_node(node)

    def behind(self, tensor: gs.Tensor) -> list[Pair]:
        """Return the pairs on `tensor`."""
        return self._by_source.get(id(tensor), [])

    def before(self, tensor: gs.Tensor) -> Pair | None:
        """Return the pair that `tensor` comes out of."""
        return self._by_result.get(id(tensor))

    def is_unit(self, node: gs.Node) -> bool:
        """Say whether pairs stand on all sides of `node`, so that a runtime may use integers."""
        return id(node) in self._units

    def producer(self, pair: Pair) -> gs.Node | None:
        """Return the operator whose result `pair` quantizes, past a Relu or Clip it saturates."""
        view = self.view(pair.quantizer)
        node = view.producer(pair.source)
        if node is None or node.op not in BOUNDING:
            return node
        first = view.producer(node.inputs[0])
        if first is not None and self.is_unit(first) and self.result(first) is pair.source:
            return first
        return node

    def readers(self, pair: Pair) -> list[gs.Node]:
        """Return the operators that read what `pair` dequantizes, each once."""
        view = self.view(pair.quantizer)
        found = {id(node): node for d in pair.dequantizers for node in view.readers(d.outputs[0])}
        return list(found.values())

    def around(self, node: gs.Node) -> Iterator[Pair]:
        """Yield the pairs that `node` reads from, and those on its results."""
        for tensor in node.inputs:
            pair = self.before(tensor)
            if pair is not None:
                yield pair
        for tensor in node.outputs:
            yield from self.behind(tensor)
        if node.outputs:
            yield from self.behind(self.result(node))

    def result(self, node: gs.Node) -> gs.Tensor:
        """Return the first result of `node`, past the Relu or Clip that alone reads it."""
        result = node.outputs[0]
        reader = self.view(node).only_reader(result)
        if reader is not None and reader.op in BOUNDING and reader.inputs[0] is result:
            return reader.outputs[0]
        return result

    def _is_unit(self, node: gs.Node) -> bool:
        if converts(node) or not node.inputs:
            return False
        view = self.view(node)
        places = traits_of(node, view.opset).data_of(len(node.inputs))
        data = [node.inputs[place] for place in places]
        if not any(self.before(tensor) for tensor in data):
            return False
        if not all(self.before(t) or stored_weight(t, view) is not None for t in data):
            return False
        if node.op in _FLOAT_RESULT:
            return True
        results = [t for t in (*node.outputs[1:], self.result(node)) if t.name]
        return all(
            self._only_quantized(t, view) or self._only_quantized(node.outputs[0], view)
            for t in results
        )

    def _only_quantized(self, tensor: gs.Tensor, view: View) -> bool:
        readers = view.readers(tensor)
        return bool(readers) and not view.is_output(tensor) and all(map(is_quantizer, readers))
