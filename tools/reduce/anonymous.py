"""A case that says nothing of whose it was: names, texts and metadata are replaced."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx

from .case import Case, graphs_of
from .search import DeltaSearch

_PRODUCER = ("producer_name", "producer_version", "domain", "model_version")


def make_anonymous(search: DeltaSearch) -> dict[str, str] | None:
    """Replace names; return the new by the old, or None where the fault shows with the old alone.

    Names of local functions stay where it does not show without them.
    """
    for functions in (True, False):
        made, names = anonymous(search.best, functions=functions)
        if search.attempt(made, "names"):
            return names
    return None


def anonymous(case: Case, *, functions: bool = True) -> tuple[Case, dict[str, str]]:
    """Return the case with names that tell nothing, without texts and metadata, and the names."""
    made = case.copy()
    model = made.model
    for name in _PRODUCER:
        model.ClearField(name)
    _drop_texts(model)
    names = _NewNames()
    graph = model.graph
    held = {t.name for t in graph.initializer}
    for value in graph.input:
        names.give(value.name, "w" if value.name in held else "x")
    for value in graph.output:
        names.give(value.name, "y")
    for tensor in graph.initializer:
        names.give(tensor.name, "w")
    for body in graphs_of(graph):
        _rename_graph(body, names)
    if functions:
        _rename_functions(model)
    for function in model.functions:
        _rename_function(function)
    _drop_unused(model)
    feed = {names.of(name): array for name, array in made.feed.items()}
    return Case(model, feed), names.new


class _NewNames:
    """New names in the order in which old ones come."""

    def __init__(self) -> None:
        self.new: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def give(self, old: str, kind: str) -> str:
        """Return the new name of `old`, of a kind where it has none yet; "" keeps its meaning."""
        if not old:
            return ""
        if old not in self.new:
            count = self._counts.get(kind, 0)
            self._counts[kind] = count + 1
            self.new[old] = f"{kind}{count}"
        return self.new[old]

    def of(self, old: str) -> str:
        """Return the new name of a tensor."""
        return self.give(old, "t")


def _rename_graph(graph: onnx.GraphProto, names: _NewNames) -> None:
    graph.name = "graph"
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = names.of(value.name)
        _rename_sizes(value.type, names)
    for tensor in graph.initializer:
        tensor.name = names.of(tensor.name)
    for sparse in graph.sparse_initializer:
        sparse.values.name = names.of(sparse.values.name)
    for annotation in graph.quantization_annotation:
        annotation.tensor_name = names.of(annotation.tensor_name)
        for entry in annotation.quant_parameter_tensor_names:
            entry.value = names.of(entry.value)
    _rename_nodes(graph.node, names)


def _rename_nodes(nodes: Iterable[onnx.NodeProto], names: _NewNames) -> None:
    for node in nodes:
        node.input[:] = map(names.of, node.input)
        node.output[:] = map(names.of, node.output)
        node.name = names.give(f"node {node.name} {node.output[:1]}", "n") if node.name else ""
        for attribute in node.attribute:
            if attribute.HasField("t") and attribute.t.name:
                attribute.t.name = names.give(f"tensor {attribute.t.name}", "v")


def _rename_sizes(kind: onnx.TypeProto, names: _NewNames) -> None:
    for dim in kind.tensor_type.shape.dim:
        if dim.HasField("dim_param"):
            dim.dim_param = names.give(f"size {dim.dim_param}", "N")
        dim.ClearField("denotation")


def _rename_functions(model: onnx.ModelProto) -> None:
    keys = {(f.domain, f.name): f"F{i}" for i, f in enumerate(model.functions)}
    domains = {domain: f"local{i}" for i, domain in enumerate(dict.fromkeys(d for d, _ in keys))}
    nodes = [n for graph in graphs_of(model.graph) for n in graph.node]
    for node in [*nodes, *(n for f in model.functions for n in f.node)]:
        key = (node.domain, node.op_type)
        if key in keys:
            node.domain, node.op_type = domains[node.domain], keys[key]
    for function in model.functions:
        function.name = keys[function.domain, function.name]
        function.domain = domains[function.domain]
    for imports in (model.opset_import, *(f.opset_import for f in model.functions)):
        for each in imports:
            each.domain = domains.get(each.domain, each.domain)


def _rename_function(function: onnx.FunctionProto) -> None:
    names = _NewNames()
    function.input[:] = map(names.of, function.input)
    function.output[:] = map(names.of, function.output)
    _rename_nodes(function.node, names)
    for node in function.node:
        for attribute in node.attribute:
            for body in graphs_of(attribute.g) if attribute.HasField("g") else ():
                _rename_graph(body, names)
    del function.value_info[:]


def _drop_unused(model: onnx.ModelProto) -> None:
    """Drop functions that nothing calls, and the domains that nothing is of."""
    bodies = {(f.domain, f.name): f for f in model.functions}
    called: set[tuple[str, str]] = set()
    waiting: list[Any] = [n for graph in graphs_of(model.graph) for n in graph.node]
    domains = {""}
    while waiting:
        node = waiting.pop()
        domains.add(node.domain)
        key = (node.domain, node.op_type)
        if key in bodies and key not in called:
            called.add(key)
            waiting += list(bodies[key].node)
    kept = [f for key, f in bodies.items() if key in called]
    copies = [onnx.FunctionProto.FromString(f.SerializeToString()) for f in kept]
    del model.functions[:]
    model.functions.extend(copies)
    imports = [
        (i.domain, i.version) for i in model.opset_import if i.domain in domains | {"ai.onnx"}
    ]
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(*each) for each in imports)


def _drop_texts(message: Any) -> None:
    """Clear doc strings, metadata and denotations at any depth."""
    for item, value in message.ListFields():
        if item.name in ("doc_string", "metadata_props", "denotation"):
            message.ClearField(item.name)
        elif item.message_type is not None:
            for each in value if hasattr(value, "extend") else [value]:
                _drop_texts(each)
