"""Who produces and who reads each tensor: the index that keeps passes linear.

GraphSurgeon's own lists find an entry by comparing nodes field by field, which is quadratic for a
tensor with many readers. This index is built once, answers in constant time, and is kept up to date
by `Edit` alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import onnx_graphsurgeon as gs

from ..core.variables import subgraphs_of
from ..proto.metadata import quantization_of


class Uses:
    """Index of producers and readers over a graph and all of its subgraphs."""

    def __init__(self, graph: gs.Graph) -> None:
        self.tensor_names: set[str] = set()
        self.node_names: set[str] = set()
        self.pinned: set[int] = set()
        self.interface_inputs: set[int] = set()
        self._readers: dict[int, dict[int, int]] = {}
        self._reads: dict[int, int] = {}
        self._producer: dict[int, gs.Node] = {}
        self._nodes: dict[int, gs.Node] = {}
        self._scope: dict[int, gs.Graph] = {}
        self._tensors: dict[int, gs.Tensor] = {}  # holds references, so that ids stay taken
        self._index(graph)

    def scope(self, node: gs.Node) -> gs.Graph | None:
        """Return the graph that holds `node`, or None once it was removed."""
        return self._scope.get(id(node))

    def producer(self, tensor: gs.Tensor) -> gs.Node | None:
        """Return the node that produces `tensor`, or None."""
        return self._producer.get(id(tensor))

    def readers(self, tensor: gs.Tensor) -> list[gs.Node]:
        """Return the nodes that read `tensor`, in any scope, each once."""
        return [self._nodes[key] for key in self._readers.get(id(tensor), ())]

    def reads(self, tensor: gs.Tensor) -> int:
        """Count the node inputs that are `tensor`; a node may count several times."""
        return self._reads.get(id(tensor), 0)

    def fan_out(self, tensor: gs.Tensor) -> int:
        """Count the nodes that read `tensor`, without listing them."""
        return len(self._readers.get(id(tensor), ()))

    def add(self, node: gs.Node, scope: gs.Graph) -> None:
        """Enter `node`, which `scope` holds or will hold, and its subgraphs."""
        self._nodes[id(node)] = node
        self._scope[id(node)] = scope
        if node.name:
            self.node_names.add(node.name)
        for tensor in node.inputs:
            self.link(tensor, node)
        for tensor in node.outputs:
            if tensor.name:
                self._hold(tensor)
                self._producer[id(tensor)] = node
        for subgraph in subgraphs_of(node):
            self._index(subgraph)

    def discard(self, node: gs.Node) -> None:
        """Forget `node` and everything inside its subgraphs."""
        for tensor in node.inputs:
            self.unlink(tensor, node)
        for tensor in node.outputs:
            if self._producer.get(id(tensor)) is node:
                del self._producer[id(tensor)]
        for subgraph in subgraphs_of(node):
            self.pinned.difference_update(id(t) for t in subgraph.outputs)
            for inner in subgraph.nodes:
                self.discard(inner)
        self._scope.pop(id(node), None)

    def link(self, tensor: gs.Tensor, node: gs.Node) -> None:
        """Enter one read of `tensor` by `node`."""
        if not tensor.name:
            return
        self._hold(tensor)
        counts = self._readers.setdefault(id(tensor), {})
        counts[id(node)] = counts.get(id(node), 0) + 1
        self._reads[id(tensor)] = self._reads.get(id(tensor), 0) + 1

    def unlink(self, tensor: gs.Tensor, node: gs.Node) -> None:
        """Take one read of `tensor` by `node` back."""
        counts = self._readers.get(id(tensor), {})
        if id(node) not in counts:
            return
        self._reads[id(tensor)] -= 1
        counts[id(node)] -= 1
        if not counts[id(node)]:
            del counts[id(node)]

    def relink(self) -> None:
        """Write the index back to GraphSurgeon's own `inputs` and `outputs` lists of tensors."""
        nodes = [node for key, node in self._nodes.items() if key in self._scope]
        # Absent optional tensors are not in the index; they are cleared with their node.
        absent = (t for node in nodes for t in (*node.inputs, *node.outputs) if not t.name)
        for tensor in itertools.chain(self._tensors.values(), absent):
            list.clear(tensor.inputs)
            list.clear(tensor.outputs)
        for node in nodes:
            for tensor in node.outputs:
                list.append(tensor.inputs, node)
            for tensor in node.inputs:
                list.append(tensor.outputs, node)

    def _hold(self, tensor: gs.Tensor) -> None:
        self._tensors[id(tensor)] = tensor
        self.tensor_names.add(tensor.name)
        parameters = quantization_of(tensor)
        if parameters:
            self.tensor_names.update(parameter.name for _, parameter in parameters)

    def _index(self, graph: gs.Graph) -> None:
        for tensor in graph.inputs:
            self._hold(tensor)
            self.interface_inputs.add(id(tensor))
        for tensor in graph.outputs:
            self._hold(tensor)
            self.pinned.add(id(tensor))
        for node in graph.nodes:
            self.add(node, graph)


def scopes(graph: gs.Graph) -> Iterator[gs.Graph]:
    """Yield `graph` and all graphs nested in it, outer before inner."""
    pending = [graph]
    while pending:
        scope = pending.pop()
        yield scope
        # `subgraphs_of` spelled out: this runs over all nodes several times a pass.
        pending.extend(
            value
            for node in scope.nodes
            for value in node.attrs.values()
            if isinstance(value, gs.Graph)
        )
