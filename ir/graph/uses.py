"""Who produces and who reads each tensor: the index that keeps passes linear.

GraphSurgeon's own lists find an entry by comparing nodes field by field, which is quadratic for a
tensor with many readers. This index is built once, answers in constant time, and is kept up to date
by `Edit` alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import onnx_graphsurgeon as gs

from ..core.file_values import let_go, lies_in_file
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
        self._places: dict[int, int] = {}  # of nodes, in the order in which they came
        self._nesting: set[int] = set()  # nodes with subgraphs
        self._changed: dict[int, gs.Tensor] | None = None  # since `relink`; None for all tensors
        self._unread: list[gs.Constant] = []
        self._index(graph)

    def scopes(self, graph: gs.Graph) -> Iterator[gs.Graph]:
        """Yield `graph`, of which this is the index, and all graphs nested in it."""
        return scopes(graph) if self._nesting else iter((graph,))

    @property
    def nests(self) -> bool:
        """Whether there are graphs inside the nodes."""
        return bool(self._nesting)

    def scope(self, node: gs.Node) -> gs.Graph | None:
        """Return the graph that holds `node`, or None once it was removed."""
        return self._scope.get(id(node))

    def producer(self, tensor: gs.Tensor) -> gs.Node | None:
        """Return the node that produces `tensor`, or None."""
        return self._producer.get(id(tensor))

    def producer_in(self, tensor: gs.Tensor, scope: gs.Graph) -> gs.Node | None:
        """Return the node of `scope` that produces `tensor`, or None."""
        node = self._producer.get(id(tensor))
        return node if node is not None and self._scope.get(id(node)) is scope else None

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
        self._places.setdefault(id(node), len(self._places))
        self._scope[id(node)] = scope
        if node.name:
            self.node_names.add(node.name)
        for tensor in node.inputs:
            self.link(tensor, node)
        for tensor in node.outputs:
            if tensor.name:
                self._hold(tensor)
                self._producer[id(tensor)] = node
            self._change(tensor)
        for subgraph in subgraphs_of(node):
            self._nesting.add(id(node))
            self._index(subgraph)

    def produce(self, node: gs.Node, position: int, tensor: gs.Tensor) -> None:
        """Make `node` produce `tensor` at output `position`; its subgraphs are not looked at."""
        old = node.outputs[position]
        if self._producer.get(id(old)) is node:
            del self._producer[id(old)]
        self._change(old)
        list.__setitem__(node.outputs, position, tensor)
        if tensor.name:
            self._hold(tensor)
            self._producer[id(tensor)] = node
        self._change(tensor)

    def discard(self, node: gs.Node) -> None:
        """Forget `node` and everything inside its subgraphs."""
        for tensor in node.inputs:
            self.unlink(tensor, node)
        for tensor in node.outputs:
            if self._producer.get(id(tensor)) is node:
                del self._producer[id(tensor)]
            self._change(tensor)
        for subgraph in subgraphs_of(node) if self._nesting else ():
            self._nesting.discard(id(node))
            self.pinned.difference_update(id(t) for t in subgraph.outputs)
            for inner in subgraph.nodes:
                self.discard(inner)
        self._scope.pop(id(node), None)

    def link(self, tensor: gs.Tensor, node: gs.Node) -> None:
        """Enter one read of `tensor` by `node`."""
        if self._changed is not None:
            self._changed[id(tensor)] = tensor
        if not tensor.name:
            return
        self._hold(tensor)
        key, reader = id(tensor), id(node)
        counts = self._readers.get(key)
        if counts is None:
            counts = self._readers[key] = {}
        counts[reader] = counts.get(reader, 0) + 1
        self._reads[key] = self._reads.get(key, 0) + 1

    def unlink(self, tensor: gs.Tensor, node: gs.Node) -> None:
        """Take one read of `tensor` by `node` back."""
        self._change(tensor)
        key, reader = id(tensor), id(node)
        counts = self._readers.get(key, {})
        if reader not in counts:
            return
        self._reads[key] -= 1
        counts[reader] -= 1
        if not counts[reader]:
            del counts[reader]
            if not counts and lies_in_file(tensor):
                self._unread.append(tensor)

    def let_go(self) -> None:
        """Give the memory of weights back that nothing reads any more and that lie in a file."""
        for tensor in self._unread:
            if not self.reads(tensor):
                let_go(tensor)
        self._unread.clear()

    def set_interface(self, graph: gs.Graph) -> None:
        """Enter other inputs and outputs of `graph`, the outermost of the index."""
        inner = (each for each in scopes(graph) if each is not graph)
        self.pinned = {id(t) for each in (graph, *inner) for t in each.outputs}
        self.interface_inputs = {id(t) for each in scopes(graph) for t in each.inputs}
        for tensor in (*graph.inputs, *graph.outputs):
            self._hold(tensor)

    def relink(self) -> None:
        """Write the index back to GraphSurgeon's own `inputs` and `outputs` lists of tensors.

        What has not changed since the last time is as it was written.
        """
        changed, self._changed = self._changed, {}
        # Absent optional tensors are not in the index.
        if changed is None or not all(tensor.name for tensor in changed.values()):
            self._relink_all()
            return
        for key, tensor in changed.items():
            producer = self._producer.get(key)
            list.clear(tensor.inputs)
            if producer is not None and id(producer) in self._scope:
                list.append(tensor.inputs, producer)
            list.clear(tensor.outputs)
            reads = self._readers.get(key, {})
            for reader in sorted(reads, key=self._places.__getitem__):
                if reader in self._scope:
                    list.extend(tensor.outputs, [self._nodes[reader]] * reads[reader])

    def _relink_all(self) -> None:
        nodes = [node for key, node in self._nodes.items() if key in self._scope]
        # They are cleared with their node.
        absent = (t for node in nodes for t in (*node.inputs, *node.outputs) if not t.name)
        for tensor in itertools.chain(self._tensors.values(), absent):
            list.clear(tensor.inputs)
            list.clear(tensor.outputs)
        for node in nodes:
            for tensor in node.outputs:
                list.append(tensor.inputs, node)
            for tensor in node.inputs:
                list.append(tensor.outputs, node)

    def _change(self, tensor: gs.Tensor) -> None:
        if self._changed is not None:
            self._changed[id(tensor)] = tensor

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
