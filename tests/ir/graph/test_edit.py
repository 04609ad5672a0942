"""Edits and the index of uses: what they change, count and keep in step."""

from __future__ import annotations

import random

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from planish.ir.core.errors import PassError
from planish.ir.graph.edit import Edit
from planish.ir.graph.uses import Uses, scopes
from planish.ir.graph.view import View
from planish.ir.graph.wellformed import check

from tests.helpers import graph_of, ops

CHAIN = "g (float[2] x) => (float[2] y) { a = Relu(x) b = Neg(a) c = Add(b, b) y = Abs(c) }"
BRANCH = """g (float[2] x, bool t) => (float[2] y) {
    a = Relu(x)
    y = If (t) <
        then_branch = then () => (float[2] p) { p = Neg(a) },
        else_branch = other () => (float[2] q) { u = Abs(a) q = Add(u, w) }>
}"""
W = {"w": np.ones(2, np.float32)}


def assert_lists_agree(graph):
    """GraphSurgeon's lists of every tensor hold just the nodes that list that tensor."""
    producers, consumers, tensors = {}, {}, {}
    for scope in scopes(graph):
        for node in scope.nodes:
            for tensor in node.outputs:
                producers.setdefault(id(tensor), []).append(id(node))
                tensors[id(tensor)] = tensor
            for tensor in node.inputs:
                consumers.setdefault(id(tensor), []).append(id(node))
                tensors[id(tensor)] = tensor
        for tensor in (*scope.inputs, *scope.outputs):
            tensors[id(tensor)] = tensor
    for key, tensor in tensors.items():
        assert [id(n) for n in tensor.inputs] == producers.get(key, []), tensor.name
        assert sorted(map(id, tensor.outputs)) == sorted(consumers.get(key, [])), tensor.name


def _node(graph, op):
    return next(n for scope in scopes(graph) for n in scope.nodes if n.op == op)


def _view(graph, edit):
    return View(graph, edit.uses, lambda tensor: None)


def test_replace_reaches_every_read_and_leaves_outputs():
    graph = graph_of(CHAIN)
    edit = Edit(graph)
    relu, neg, add = graph.nodes[:3]
    assert edit.begin()
    edit.replace(neg.outputs[0], relu.outputs[0])
    assert [t.name for t in add.inputs] == ["a", "a"]
    assert edit.uses.reads(relu.outputs[0]) == 3
    assert edit.uses.reads(neg.outputs[0]) == 0
    assert edit.uses.readers(relu.outputs[0]) == [neg, add]
    edit.replace(graph.outputs[0], relu.outputs[0])
    assert graph.outputs[0].name == "y"
    edit.commit()
    assert edit.count == 1
    assert_lists_agree(graph)


SPACED = """g (float[2] x, bool t) => (float[2] y, float[2] z) {
    a = Clip(x, , w) b = Neg(a) c = Add(b, b)
    z = If (t) <
        then_branch = then () => (float[2] p) { p = Neg(a) },
        else_branch = other () => (float[2] q) { q = Add(c, w) }>
    d = Abs(c) y = Clip(d, , w)
}"""


def _double(edit, node):
    made = edit.variable("made")
    edit.node("Add", [node.inputs[0], node.inputs[0]], [made], at=node)
    edit.set_input(node, 0, made)


def _bypass(edit, node):
    edit.replace(node.outputs[0], node.inputs[0])
    if id(node.outputs[0]) not in edit.uses.pinned:
        edit.remove(node)


def _copy(edit, node):
    if id(node.outputs[0]) not in edit.uses.pinned:
        made = edit.variable("copy")
        attrs = dict(node.attrs)
        edit.rename_output(node, node.outputs[0], made)
        edit.node(node.op, list(node.inputs), [edit.variable("other")], attrs, at=node)


@pytest.mark.parametrize("seed", range(12))
def test_lists_agree_after_every_commit_of_one_batch(seed):
    """What was written before is right as well where only some tensors have changed since."""
    graph, draw = graph_of(SPACED, W), random.Random(seed)
    removed = {}
    with Edit(graph) as edit:
        for _ in range(8):
            for change in draw.choices([_double, _bypass, _copy], k=draw.randint(1, 3)):
                nodes = [n for scope in scopes(graph) for n in scope.nodes if n.op != "If"]
                node = draw.choice([n for n in nodes if edit.uses.scope(n) is not None])
                removed.update((id(t), t) for t in (*node.inputs, *node.outputs) if t.name)
                change(edit, node)
            edit.commit()
            check(graph)
            assert_lists_agree(graph)
            assert list(edit.uses.scopes(graph)) == list(scopes(graph))
            there = {id(node) for scope in scopes(graph) for node in scope.nodes}
            for tensor in removed.values():
                assert {id(n) for n in (*tensor.inputs, *tensor.outputs)} <= there


def test_scopes_are_seen_to_come_and_to_go():
    graph = graph_of(BRANCH, W)
    with Edit(graph) as edit:
        chosen, result = graph.nodes[-1], graph.outputs[0]
        edit.begin()
        edit.remove(chosen)
        edit.node("Neg", [chosen.inputs[0]], [result], at=chosen)
        edit.commit()
        assert list(edit.uses.scopes(graph)) == [graph]
        last = graph.nodes[-1]
        edit.remove(last)
        edit.node("If", list(chosen.inputs), [result], dict(chosen.attrs), at=last)
        edit.commit()
        assert len(list(edit.uses.scopes(graph))) == 3
    assert_lists_agree(graph)


def test_one_begin_counts_one_edit_and_none_counts_nothing():
    graph = graph_of(CHAIN)
    edit = Edit(graph)
    assert edit.begin()
    assert edit.count == 0  # nothing changed yet
    for node in graph.nodes[1:3]:
        edit.set_input(node, 0, graph.inputs[0])
    assert edit.count == 1
    edit.set_input(graph.nodes[3], 0, graph.inputs[0])
    assert edit.count == 1
    edit.commit()
    assert_lists_agree(graph)


def test_limit():
    graph = graph_of(CHAIN)
    edit = Edit(graph, 1)
    assert edit.begin()
    edit.set_input(graph.nodes[1], 0, graph.inputs[0])
    assert not edit.begin()
    assert not Edit(graph, 0).begin()


def test_node_takes_place_name_and_scope():
    graph = graph_of(BRANCH, W)
    neg = _node(graph, "Neg")
    neg.name = "inner"
    edit = Edit(graph)
    edit.begin()
    edit.remove(neg)
    made = edit.node("Abs", [neg.inputs[0]], [neg.outputs[0]], at=neg)
    scope = edit.uses.scope(made)
    edit.commit()
    assert made.name == "inner"
    assert ops(graph) == ["Relu", "If"]
    assert ops(scope) == ["Abs"]
    check(graph)
    assert_lists_agree(graph)


def test_commit_twice_places_new_nodes_once():
    graph = graph_of(CHAIN)
    edit = Edit(graph)
    edit.begin()
    add = graph.nodes[2]
    made = edit.node("Exp", [add.inputs[0]], [edit.variable("e")], at=add)
    edit.set_input(add, 0, made.outputs[0])
    edit.commit()
    assert ops(graph) == ["Relu", "Neg", "Exp", "Add", "Abs"]
    edit.begin()
    edit.set_input(add, 1, made.outputs[0])
    edit.commit()
    edit.commit()
    assert ops(graph) == ["Relu", "Neg", "Exp", "Add", "Abs"]
    check(graph)
    assert_lists_agree(graph)


def test_absent_inputs_are_listed_once_after_every_commit():
    graph = graph_of("g (float[2] x, float lo) => (float[2] y) { c = Clip(x, , lo) y = Neg(c) }")
    for _ in range(2):
        edit = Edit(graph)
        edit.begin()
        edit.set_input(graph.nodes[1], 0, graph.nodes[0].outputs[0])
        edit.commit()
        assert_lists_agree(graph)


def test_rename_output_moves_producer_and_readers():
    graph = graph_of("g (float[2] x) => (float[2] y) { a = Relu(x) y = Identity(a) b = Neg(a) }")
    relu, identity, neg = graph.nodes
    a, y = relu.outputs[0], graph.outputs[0]
    edit = Edit(graph)
    edit.begin()
    edit.remove(identity)
    edit.rename_output(relu, a, y)
    assert edit.uses.producer(y) is relu
    assert edit.uses.producer(a) is None
    edit.commit()
    assert relu.outputs[0] is y
    assert neg.inputs[0] is y
    check(graph)
    assert_lists_agree(graph)


def _renamed(edit, holder, result):
    edit.rename_output(holder, result, edit.variable("z"))


def _rebuilt(edit, holder, result):
    edit.remove(holder)
    edit.node("If", list(holder.inputs), [result], dict(holder.attrs), at=holder)


@pytest.mark.parametrize("move", [_renamed, _rebuilt])
@pytest.mark.parametrize("again", [False, True])
def test_a_node_whose_bodies_change_in_the_same_batch(move, again):
    """What was removed inside stays away, what was added stays, and its order is right."""
    graph = graph_of(BRANCH, W)
    edit = Edit(graph)
    absolute, add = graph.nodes[-1].attrs["else_branch"].nodes
    holder, u = graph.nodes[-1], absolute.outputs[0]
    edit.begin()
    edit.remove(absolute)
    source = edit.variable("s")
    made = edit.node("Neg", [source], [u], at=add)
    last = edit.node("Abs", list(absolute.inputs), [source], at=made)
    if again:
        edit.remove(made)
        made = edit.node("Floor", [source], [u], at=last)
    move(edit, holder, holder.outputs[0])
    assert edit.uses.producer(u) is made
    assert edit.uses.readers(source) == [made]
    edit.commit()
    body = graph.nodes[-1].attrs["else_branch"]
    assert [node.op for node in body.nodes] == ["Abs", "Floor" if again else "Neg", "Add"]
    assert_lists_agree(graph)
    assert list(map(len, (made.inputs, made.outputs))) == [1, 1]


def test_a_removed_body_reads_nothing_any_more():
    graph = graph_of(BRANCH, W)
    edit = Edit(graph)
    neg, a = graph.nodes[-1].attrs["then_branch"].nodes[0], graph.nodes[0].outputs[0]
    edit.begin()
    edit.node("Floor", [a], [edit.variable("f")], at=neg)
    edit.remove(graph.nodes[-1])
    assert edit.uses.readers(a) == []


def test_refusals_name_what_is_wrong():
    graph = graph_of(CHAIN)
    relu, neg = graph.nodes[:2]
    edit = Edit(graph)
    with pytest.raises(PassError, match=r"tensor 'a' already has the producer Relu -> 'a'"):
        edit.node("Abs", [graph.inputs[0]], [relu.outputs[0]], at=neg)
    stranger = gs.Node("Abs", "stranger")
    with pytest.raises(PassError, match=r"'stranger' \(Abs\) is not in the graph"):
        edit.node("Abs", [graph.inputs[0]], [edit.variable("v")], at=stranger)
    edit.begin()
    edit.remove(neg)
    with pytest.raises(PassError, match=r"Neg -> 'b' was removed twice"):
        edit.remove(neg)
    with pytest.raises(PassError, match=r"was removed and cannot produce 'y'"):
        edit.rename_output(neg, neg.outputs[0], graph.outputs[0])


def test_names_are_fresh_in_every_scope():
    graph = graph_of(BRANCH, W)
    edit = Edit(graph)
    names = [edit.variable(hint).name for hint in ("a", "a", "u", "x", "p", "w", "new")]
    assert names == ["a_1", "a_2", "u_1", "x_1", "p_1", "w_1", "new"]
    assert edit.constant(np.ones(1), "new").name == "new_1"


def test_constants_are_fresh_and_read_only():
    edit = Edit(graph_of(CHAIN))
    values = np.ones(2, np.float32)
    made = edit.constant(values, "k")
    assert not made.values.flags.writeable
    assert values.flags.writeable


def test_shared_constant_stays_for_its_other_reader():
    graph = graph_of("g (float[2] x) => (float[2] y) { a = Mul(x, w) y = Add(a, w) }", W)
    mul, add = graph.nodes
    old = mul.inputs[1]
    edit = Edit(graph)
    edit.begin()
    edit.set_input(mul, 1, edit.constant(np.zeros(2, np.float32), "w"))
    edit.commit()
    assert add.inputs[1] is old
    np.testing.assert_array_equal(old.values, np.ones(2))
    assert mul.inputs[1].name == "w_1"
    check(graph)
    assert_lists_agree(graph)


def test_captures_count_as_reads_and_go_with_their_node():
    graph = graph_of(BRANCH, W)
    relu, branch = graph.nodes
    edit = Edit(graph)
    view = _view(graph, edit)
    captured = relu.outputs[0]
    assert {n.op for n in view.readers(captured)} == {"Neg", "Abs"}
    assert view.only_reader(captured) is None
    inner = _node(graph, "Abs")
    assert view.producer(inner.outputs[0]) is None  # of another scope
    assert view.is_output(_node(graph, "Neg").outputs[0])
    edit.begin()
    edit.remove(branch)
    assert view.readers(captured) == []
    assert edit.uses.scope(inner) is None
    assert not view.is_output(_node(graph, "Neg").outputs[0])


def test_capture_is_no_sole_reader_of_this_scope():
    graph = graph_of(BRANCH.replace("u = Abs(a)", "u = Abs(x)"), W)
    view = _view(graph, Edit(graph))
    assert [n.op for n in view.readers(graph.nodes[0].outputs[0])] == ["Neg"]
    assert view.only_reader(graph.nodes[0].outputs[0]) is None


def test_read_only_by():
    graph = graph_of(CHAIN)
    relu, neg, add, last = graph.nodes
    view = _view(graph, Edit(graph))
    assert view.read_only_by(relu.outputs[0], neg)
    assert view.only_reader(relu.outputs[0]) is neg
    assert not view.read_only_by(relu.outputs[0], add)
    assert not view.read_only_by(neg.outputs[0], add)  # read twice
    assert view.only_reader(neg.outputs[0]) is None
    assert not view.read_only_by(last.outputs[0])  # a graph output


def test_overridable_initializer_is_not_constant():
    graph = graph_of("g (float[2] x, float[2] w) => (float[2] y) { y = Mul(x, w) }", W)
    view = _view(graph, Edit(graph))
    weight = graph.nodes[0].inputs[1]
    assert isinstance(weight, gs.Constant)
    assert view.constant(weight) is None


def _fan(count):
    x = gs.Variable("x", np.float32, [1])
    one = gs.Constant("one", np.ones(1, np.float32))
    nodes, last = [], x
    for i in range(count):
        made = gs.Variable(f"t{i}", np.float32, [1])
        node = gs.Node("Add", f"n{i}")
        node.inputs, node.outputs = [last], [made]
        list.append(node.inputs, one)  # GraphSurgeon's own append is linear in the readers
        nodes.append(node)
        last = made
    return gs.Graph(nodes, [x], [last], opset=20), one


def test_high_fan_out_takes_linear_work():
    """Counts index entries made and listed, on a constant that every node reads."""

    class Counting(Uses):
        work = 0

        def readers(self, tensor):
            found = super().readers(tensor)
            Counting.work += 1 + len(found)
            return found

        def link(self, tensor, node):
            Counting.work += 1
            super().link(tensor, node)

        def unlink(self, tensor, node):
            Counting.work += 1
            super().unlink(tensor, node)

    def work(count):
        graph, one = _fan(count)
        edit = Edit(graph, None, Counting(graph))
        Counting.work = 0
        view = _view(graph, edit)
        two = edit.constant(np.full(1, 2, np.float32), "two")
        for node in graph.nodes:
            assert not view.read_only_by(one, node)
            assert view.only_reader(one) is None
        for node in graph.nodes:
            edit.begin()
            edit.set_input(node, 1, two)
        edit.begin()
        edit.replace(two, one)
        edit.commit()
        assert edit.count == count + 1
        assert len(one.outputs) == count
        return Counting.work

    small, large = work(1_000), work(10_000)
    assert large < 11 * small
    assert large < 20 * 10_000


def test_counting_reads_lists_nothing(monkeypatch):
    graph, one = _fan(50)
    uses = Uses(graph)
    monkeypatch.setattr(uses, "_readers", None)
    assert uses.reads(one) == 50


def test_hub_with_many_readers_is_edited_without_listing_them():
    lines = " ".join(f"r{i} = Neg(h)" for i in range(20))
    graph = graph_of(f"g (float[2] x) => (float[2] r0) {{ h = Relu(x) {lines} }}")
    edit = Edit(graph)
    edit.uses.readers = None  # listing readers would raise
    edit.begin()
    edit.set_input(graph.nodes[0], 0, graph.inputs[0])
    assert edit.uses.fan_out(graph.nodes[0].outputs[0]) == 20
    assert edit.touched == [graph.nodes[0]]


def test_take_name():
    graph = graph_of(CHAIN)
    edit = Edit(graph)
    dead = graph.nodes[0].outputs[0]
    made = edit.constant(np.ones(2, np.float32), "a")
    edit.take_name(made, dead)
    assert (made.name, dead.name) == ("a", "a_1")
    assert edit.variable("a_1").name == "a_1"
