"""A part of a graph as a graph of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_graphsurgeon as gs

from ....ir.core.build import make_node, make_variable
from ....ir.graph.backward_slice import backward_slice
from ....ir.graph.clone import Copier
from ....ir.graph.types import Types
from ....ir.graph.uses import scopes


def sample_axes(graph: gs.Graph, names: Sequence[str], types: Types) -> dict[str, int]:
    """Return the axis of the samples of the tensors `names` that have it elsewhere than first.

    It is the one axis of the size, or name, that the first axis of the first input has: outputs of
    recurrent layers are [steps, samples, features].
    """
    first = next((t for t in graph.inputs if not isinstance(t, gs.Constant)), None)
    batch = None if first is None or not first.shape else first.shape[0]
    made = {t.name: t for node in graph.nodes for t in node.outputs if t.name in names}
    found = {}
    for name, tensor in made.items():
        known = types.of(tensor)
        shape = () if known is None or known.shape is None else known.shape
        if batch is None or not shape or shape[0] is None or shape[0] == batch:
            continue
        axes = [axis for axis, size in enumerate(shape) if size == batch]
        if len(axes) == 1:
            found[name] = axes[0]
    return found


def samples_first_part(
    graph: gs.Graph, inputs: Sequence[str], outputs: Sequence[str], types: Types
) -> gs.Graph:
    """Return `part_of`, with the samples along the first axis of all outputs."""
    part = part_of(graph, inputs, outputs, types)
    for name, axis in sample_axes(graph, outputs, types).items():
        tensor = next(t for t in part.outputs if t.name == name)
        known = types.of(next(t for n in graph.nodes for t in n.outputs if t.name == name))
        assert known is not None
        assert known.shape is not None
        inner = make_variable(f"{name}_as_it_is", known.dtype)
        for node in part.nodes:
            for tensors in (node.inputs, node.outputs):
                for place, each in enumerate(tensors):
                    if each is tensor:
                        tensors[place] = inner
        rest = [each for each in range(len(known.shape)) if each != axis]
        attrs = {"perm": [axis, *rest]}
        name = f"{name}_samples_first"
        part.nodes.append(make_node("Transpose", name, attrs, [inner], [tensor], None))
    return part


def part_of(
    graph: gs.Graph, inputs: Sequence[str], outputs: Sequence[str], types: Types
) -> gs.Graph:
    """Return the nodes that make the tensors `outputs` from `inputs`, with a free batch size.

    Weights are shared with `graph`; constants are objects of the part's own.
    """
    nodes = backward_slice(graph, outputs, frozenset(inputs))
    tensors: dict[str, gs.Tensor] = {tensor.name: tensor for tensor in graph.inputs}
    tensors.update((t.name, t) for node in graph.nodes for t in node.outputs if t.name)
    shell = gs.Graph(
        nodes,
        opset=graph.opset,
        import_domains=graph.import_domains,
        name=graph.name,
        producer_name=graph.producer_name,
        ir_version=graph.ir_version,
    )
    copier = Copier()
    part = copier.graph(shell)
    part.functions = list(graph.functions)
    read = set(inputs)
    defaults = [t for t in graph.inputs if isinstance(t, gs.Constant) and t.name not in read]
    part.inputs = [_free_batch(copier, tensors[name], types) for name in inputs]
    part.inputs += [copier.tensor(tensor) for tensor in defaults]
    part.outputs = [copier.tensor(tensors[name]) for name in outputs]
    for tensor, name in zip(part.outputs, outputs, strict=True):
        known = types.of(tensors[name])
        if known is not None and isinstance(tensor, gs.Variable):
            tensor.dtype, tensor.shape = known.dtype, None
    return part


def _free_batch(copier: Copier, tensor: gs.Tensor, types: Types) -> gs.Tensor:
    copy = copier.tensor(tensor)
    known = types.of(tensor)
    if known is not None and isinstance(copy, gs.Variable):
        copy.dtype = known.dtype
        sizes = (
            None
            if known.shape is None
            else [d if isinstance(d, int) else None for d in known.shape]
        )
        copy.shape = sizes and [None, *sizes[1:]]
    return copy


def read_once(graph: gs.Graph, names: Iterable[str], nodes: Sequence[gs.Node]) -> set[str]:
    """Return those of `names` that are read by `nodes` of `graph` alone."""
    inside = {id(node) for node in nodes}
    outside = {
        tensor.name
        for scope in scopes(graph)
        for node in scope.nodes
        if id(node) not in inside
        for tensor in node.inputs
    }
    return set(names) - outside
