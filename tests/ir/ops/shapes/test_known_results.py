"""Of like nodes with like operands inference is asked once; of others each time."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.ir.ops.shapes import update
from planish.ir.ops.shapes.infer import infer_types
from planish.passes.engine.analyses import Analyses

from tests.helpers import graph_of

W = np.zeros((4, 4, 3, 3), np.float32)
SAME = "Conv <pads = [1, 1, 1, 1]>"


@pytest.fixture
def asked(monkeypatch):
    """Return the operators of the nodes that inference is asked of, a list a time."""
    real, found = update.infer_cut, []

    def recorded(cut, *args):
        found.append([node.op for node in cut.nodes])
        return real(cut, *args)

    monkeypatch.setattr(update, "infer_cut", recorded)
    return found


def types_after(graph, change):
    """Return the types by name after `change` has edited, which are those of the whole graph."""
    known = Analyses(graph)
    before = known.types
    assert before.problem is None
    with planish.Edit(graph, None, known.uses) as edit:
        change(edit, {node.outputs[0].name: node for node in graph.nodes})
    known.follow(edit)
    wanted, types = infer_types(graph), known.types
    found = {t.name: types.of(t) for node in graph.nodes for t in node.outputs}
    assert found == {t.name: wanted.of(t) for node in graph.nodes for t in node.outputs}
    return {name: kind.shape for name, kind in found.items()}


def again(edit, node, **attrs):
    """Put a like node in the place of `node`, with other weights of the same shape."""
    edit.remove(node)
    inputs = [
        edit.constant(np.asarray(t.values) + 1, t.name) if isinstance(t, gs.Constant) else t
        for t in node.inputs
    ]
    edit.node(node.op, inputs, list(node.outputs), {**node.attrs, **attrs}, at=node)


CHAIN = f"""g (float[N, 4, 8, 8] x) => (float[N, 4, 8, 8] z) {{
    a = {SAME} (x, w) b = {SAME} (a, w) c = {SAME} (b, w) r = Relu(c) s = Relu(r) t = Relu(s)
    u = Relu(t) v = Relu(u) z = Relu(v) }}"""


def test_like_layers_are_inferred_once(asked):
    def change(edit, nodes):
        for name in "abc":
            again(edit, nodes[name])

    assert types_after(graph_of(CHAIN, {"w": W}), change)["c"] == ("N", 4, 8, 8)
    assert asked == [["Conv"]]


def test_what_the_first_of_them_changes_reaches_the_others():
    """All were like one another before, and none is like another afterwards."""

    def change(edit, nodes):
        again(edit, nodes["a"], pads=[0, 0, 0, 0])
        again(edit, nodes["b"])
        again(edit, nodes["c"])

    found = types_after(graph_of(CHAIN.replace("4, 8, 8] z", "4, 6, 6] z"), {"w": W}), change)
    assert found["a"] == found["b"] == found["c"] == found["z"] == ("N", 4, 6, 6)


def test_attributes_and_sizes_of_operands_tell_nodes_apart():
    def change(edit, nodes):
        again(edit, nodes["a"])
        again(edit, nodes["b"], strides=[2, 2])
        edit.set_input(nodes["c"], 1, edit.constant(np.zeros((5, 4, 3, 3), np.float32), "wide"))

    found = types_after(graph_of(CHAIN.replace("4, 8, 8] z", "5, 4, 4] z"), {"w": W}), change)
    assert [found[name] for name in "abc"] == [("N", 4, 8, 8), ("N", 4, 4, 4), ("N", 5, 4, 4)]


@pytest.mark.parametrize(
    ("of", "first", "second", "shapes"),
    [
        ("Reshape({}, k)", np.array([2, 8]), np.array([8, 2]), [(2, 8), (8, 2)]),
        ("Resize({}, , k)", np.float32([1, 2]), np.float32([1, 3]), [(4, 8), (4, 12)]),
    ],
)
def test_values_of_short_lists_tell_nodes_apart(of, first, second, shapes):
    y, z = of.format("a"), of.format("b")
    graph = graph_of(
        f"""g (float[4, 4] x) => (float[] y, float[] z) {{
            a = Relu(x) b = Relu(x) y = {y} z = {z} }}""",
        {"k": first},
    )

    def change(edit, nodes):
        edit.set_input(nodes["y"], 0, nodes["b"].outputs[0])
        edit.set_input(nodes["z"], len(nodes["z"].inputs) - 1, edit.constant(second, "other"))

    found = types_after(graph, change)
    assert [found["y"], found["z"]] == shapes


def test_sizes_that_only_a_run_tells_are_inferred_each_time():
    """Two lists of one type hold other sizes."""
    graph = graph_of(
        """g (float[4, 4] x) => (float[] y, float[] z) {
            a = Concat <axis = 0> (m, n) b = Concat <axis = 0> (n, m)
            y = Reshape(x, a) z = Reshape(x, b) }""",
        {"m": np.array([2]), "n": np.array([8])},
    )

    def change(edit, nodes):
        for name in ("y", "z"):
            old = nodes[name]
            edit.remove(old)
            edit.node("Reshape", list(old.inputs), list(old.outputs), at=old)

    found = types_after(graph, change)
    assert (found["y"], found["z"]) == ((2, 8), (8, 2))


def test_sizes_without_a_name_stay_those_of_one_another():
    """Half of a named size is called otherwise each time that inference is asked."""
    graph = graph_of(
        """g (float[1, 4, H, 8] x) => (float[] y, float[] z) {
            a = Relu(x) b = Relu(x) c = Conv <strides = [2, 2]> (a, w)
            d = Conv <strides = [2, 2]> (b, w) y = Neg(c) z = Neg(d) }""",
        {"w": np.zeros((4, 4, 1, 1), np.float32)},
    )
    known = Analyses(graph)
    apart = known.types.of(graph.nodes[2].outputs[0]).shape
    with planish.Edit(graph, None, known.uses) as edit:
        for node in graph.nodes[2:4]:
            again(edit, node)
    known.follow(edit)
    found = {t.name: known.types.of(t).shape for node in graph.nodes for t in node.outputs}
    assert found["c"] == found["y"] == apart
    assert found["d"] == found["z"]
    assert (found["c"] == found["d"]) == (
        len({infer_types(graph).of(t).shape for n in graph.nodes[2:4] for t in n.outputs}) == 1
    )
