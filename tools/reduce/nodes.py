"""Fewer nodes: the graph is cut at tensors, which become inputs and outputs, and nodes bypassed."""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from .case import Array, Case, graphs_of, graphs_of_node, reads
from .search import DeltaSearch, shortest, without_parts

# Elements of a tensor that may become a constant.
_SMALL = 1 << 12
_FEW = 64
# Of which it is tried to make their results constants.
_FEW_NODES = 4


def reduce_parts(search: DeltaSearch) -> None:
    """Halve the graph from both ends."""
    _one_output(search)
    _first_part(search)
    _one_output(search)
    _last_part(search)


def reduce_nodes(search: DeltaSearch) -> None:
    """Leave the nodes without which the fault does not show, after `reduce_parts`."""
    _without_nodes(search)
    _bypass(search)
    _one_output(search)
    _fewer_inputs(search)
    _plain(search)
    _bodies(search)


def _one_output(search: DeltaSearch) -> None:
    outputs = list(search.best.model.graph.output)
    if len(outputs) < 2:
        return
    if len(outputs) <= _FEW and any(
        search.attempt(_with_outputs(search.best, [each]), "one output") for each in outputs
    ):
        return

    def attempt(gone: list[onnx.ValueInfoProto]) -> bool:
        names = {each.name for each in gone}
        kept = [o for o in search.best.model.graph.output if o.name not in names]
        return bool(kept) and search.attempt(_with_outputs(search.best, kept), "fewer outputs")

    without_parts(outputs, attempt)


def _with_outputs(case: Case, outputs: list[onnx.ValueInfoProto]) -> Case:
    return case.with_graph(case.model.graph.node, outputs)


def _first_part(search: DeltaSearch) -> None:
    """Halve the end of the graph: the last node of what is left makes the fault show."""
    whole = search.best

    def attempt(count: int) -> bool:
        nodes = list(whole.model.graph.node)
        read = {v.name for v in whole.model.graph.output}.union(*map(reads, nodes[count:]))
        made = [n for node in nodes[:count] for n in node.output if n in read]
        return search.attempt(_shown(search, whole, nodes[:count], made), "first part")

    shortest(len(whole.model.graph.node), attempt)


def _last_part(search: DeltaSearch) -> None:
    """Halve the beginning, whose results become inputs."""
    whole = search.best
    nodes = list(whole.model.graph.node)

    def attempt(count: int) -> bool:
        kept = nodes[len(nodes) - count :]
        return search.attempt(_cut(search, whole, kept), "last part")

    shortest(len(nodes), attempt)


def _shown(
    search: DeltaSearch, case: Case, nodes: list[onnx.NodeProto], names: list[str]
) -> Case | None:
    """Return these nodes with the tensors of these names as outputs; None where there are none."""
    declared = {v.name: v for v in case.model.graph.output}
    infos = [declared.get(name) or search.known.info(name, sized=False) for name in names]
    outputs = [info for info in infos if info is not None]
    return _cut(search, case, nodes, outputs) if outputs else None


def _cut(
    search: DeltaSearch,
    case: Case,
    nodes: list[onnx.NodeProto],
    outputs: list[onnx.ValueInfoProto] | None = None,
    *,
    constant: bool = False,
    open_sizes: bool = True,
) -> Case | None:
    """Return these nodes of `case`, of which what others made is an input, or a constant.

    None where the type or value of such a tensor is not known, or no output is left.
    """
    graph, known = case.model.graph, search.known
    made = {name for node in nodes for name in node.output}
    if outputs is None:
        outputs = [v for v in graph.output if v.name in made]
    if not outputs:
        return None
    elsewhere = {name for node in graph.node for name in node.output if name} - made
    missing = sorted(set().union(*map(reads, nodes)) & elsewhere)
    inputs, constants, feed = [], [], {}
    for name in missing:
        array = known.arrays.get(name)
        if constant:
            tensor = _constant(name, array)
            if tensor is None:
                return None
            constants.append(tensor)
            continue
        info = known.info(name, open_sizes=open_sizes)
        if info is None or (case.feed and array is None):
            return None
        inputs.append(info)
        if array is not None:
            feed[name] = array
    return case.with_graph(nodes, outputs, inputs, constants, feed)


def _constant(name: str, array: Array | None) -> onnx.TensorProto | None:
    if array is None or array.size > _SMALL:
        return None
    try:
        return numpy_helper.from_array(array, name)
    except (TypeError, ValueError, KeyError):  # a type that it does not write
        return None


def _without_nodes(search: DeltaSearch) -> None:
    """Take nodes away in chunks; what they made becomes an input, or else a constant."""
    without_parts(_keys(search.best), lambda gone: _take_out(search, set(gone)))


def _take_out(search: DeltaSearch, gone: set[str]) -> bool:
    case = search.best
    nodes = [node for node in case.model.graph.node if not gone & set(node.output)]
    removed = [node for node in case.model.graph.node if gone & set(node.output)]
    if not removed:
        return True
    made = {name for node in nodes for name in node.output}
    read = set().union(*map(reads, nodes))
    left = tuple(v.name for v in case.model.graph.output if v.name in made)
    # What only they have read: nodes that nothing reads any more may be part of the fault.
    ends = tuple(sorted(set().union(*map(reads, removed)) & made - read - set(left)))
    ways = [(left, False, True), (left + ends, False, True)]
    if len(removed) <= _FEW_NODES:
        ways += [(left or ends, True, True)]
    if _has_open_sizes(search, read - made):
        ways += [(left or ends, False, False)]
    return any(
        search.attempt(_without(search, nodes, names, constant, open_sizes), "without nodes")
        for names, constant, open_sizes in dict.fromkeys(ways)
    )


def _without(
    search: DeltaSearch,
    nodes: list[onnx.NodeProto],
    names: tuple[str, ...],
    constant: bool,
    open_sizes: bool,
) -> Case | None:
    outputs = _outputs(search, search.best, list(names)) if names else None
    if outputs is None:
        return None
    return _cut(search, search.best, nodes, outputs, constant=constant, open_sizes=open_sizes)


def _has_open_sizes(search: DeltaSearch, names: set[str]) -> bool:
    kinds = [search.known.types[name] for name in names if name in search.known.types]
    return any(d.HasField("dim_param") for kind in kinds for d in kind.tensor_type.shape.dim)


def _outputs(search: DeltaSearch, case: Case, names: list[str]) -> list[onnx.ValueInfoProto] | None:
    declared = {v.name: v for v in case.model.graph.output}
    found = [declared.get(name) or search.known.info(name, sized=False) for name in names]
    return [info for info in found if info is not None] or None


def _keys(case: Case) -> list[str]:
    """Return one output of each node, which names it."""
    return [name for node in case.model.graph.node if (name := next(filter(None, node.output), ""))]


def _bypass(search: DeltaSearch) -> None:
    """Have those that read a node's result read one of its operands of the same type and shape."""
    for key in reversed(_keys(search.best)):
        node = next((n for n in search.best.model.graph.node if key in n.output), None)
        if node is None or len(list(filter(None, node.output))) != 1:
            continue
        alike = [n for n in dict.fromkeys(node.input) if n and search.known.is_alike(n, key)]
        any(search.attempt(_read_instead(search, key, name), "bypass") for name in alike)


def _read_instead(search: DeltaSearch, old: str, new: str) -> Case | None:
    """Return the case whose nodes read `new` where they read `old`, which no node makes then."""
    case = search.best.copy()
    graph = case.model.graph
    nodes = [node for node in graph.node if old not in node.output]
    for node in nodes:
        for part in [node, *(n for g in graphs_of_node(node) for n in g.node)]:
            part.input[:] = [new if name == old else name for name in part.input]
    if any(v.name == old for v in graph.output):
        made = {name for node in nodes for name in node.output}
        if new not in made:
            return None
        names = [new if v.name == old else v.name for v in graph.output]
        outputs = _outputs(search, case, list(dict.fromkeys(names)))
        return None if outputs is None else case.with_graph(nodes, outputs)
    return case.with_graph(nodes, graph.output)


def _fewer_inputs(search: DeltaSearch) -> None:
    """Have one input stand for another of its type and shape, or a constant for it."""
    for value in list(search.best.model.graph.input):
        others = [v.name for v in search.best.model.graph.input if v.name != value.name]
        alike = [name for name in others if search.known.is_alike(name, value.name)]
        for name in alike[:1]:
            search.attempt(_read_instead(search, value.name, name), "one input")


def _plain(search: DeltaSearch) -> None:
    if search.best.model.graph.value_info:
        case = search.best.copy()
        del case.model.graph.value_info[:]
        search.attempt(case, "no types inside")


def _bodies(search: DeltaSearch) -> None:
    """Put the branch of an If in its place, and take nodes out of bodies."""
    for key in _keys(search.best):
        for position in range(2):
            if search.attempt(_branch(search, key, position), "one branch"):
                break
    bodies = len(list(graphs_of(search.best.model.graph)))
    for place in range(1, bodies):
        _without_inner_nodes(search, place)


def _branch(search: DeltaSearch, key: str, position: int) -> Case | None:
    case = search.best.copy()
    graph = case.model.graph
    found = [(i, n) for i, n in enumerate(graph.node) if key in n.output and n.op_type == "If"]
    if not found:
        return None
    index, node = found[0]
    bodies = [a.g for a in node.attribute if a.HasField("g")]
    if position >= len(bodies):
        return None
    body, taken = bodies[position], {n for each in graph.node for n in each.output}
    if taken & {n for each in body.node for n in each.output}:
        return None
    results = [
        onnx.helper.make_node("Identity", [inner.name], [outer])
        for inner, outer in zip(body.output, node.output, strict=True)
        if outer
    ]
    nodes = [*graph.node[:index], *body.node, *results, *graph.node[index + 1 :]]
    return case.with_graph(nodes, graph.output, constants=body.initializer)


def _without_inner_nodes(search: DeltaSearch, place: int) -> None:
    graph = _body(search.best, place)
    for key in reversed([n for node in graph.node for n in node.output if n]):
        node = next((n for n in _body(search.best, place).node if key in n.output), None)
        for name in dict.fromkeys(filter(None, node.input)) if node is not None else ():
            if search.attempt(_inner_bypass(search.best, place, key, name), "inner bypass"):
                break


def _body(case: Case, place: int) -> onnx.GraphProto:
    found = list(graphs_of(case.model.graph))
    return found[place] if place < len(found) else onnx.GraphProto()


def _inner_bypass(case: Case, place: int, old: str, new: str) -> Case:
    made = case.copy()
    body = _body(made, place)
    kept = [node for node in body.node if old not in node.output]
    for node in kept:
        node.input[:] = [new if name == old else name for name in node.input]
    inner = {name for node in kept for name in node.output}
    for value in body.output:
        if value.name == old and new in inner:
            value.name = new
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del body.node[:]
    body.node.extend(copies)
    return made.with_graph(made.model.graph.node, made.model.graph.output)
