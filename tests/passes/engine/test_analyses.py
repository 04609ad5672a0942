"""Types after edits: what is inferred again is what the whole graph would be inferred to be."""

from __future__ import annotations

from random import Random

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.ir.graph.types import without_made_up
from planish.ir.ops.shapes.infer import infer_types
from planish.passes.engine import analyses

from tests.effort import examples
from tests.helpers import graph_of
from tests.strategies.random_graphs import KINDS, graph

CHAIN = """g (float[N, 4, H, H] x) => (float[N, M] y) {
    a = Conv(x, w)
    b = Relu(a)
    c = Conv(b, w)
    d = Relu(c)
    s = Shape(d)
    k = Constant<value_ints = [0]>()
    n = Gather(s, k)
    m = Constant<value_ints = [-1]>()
    t = Concat<axis = 0>(n, m)
    y = Reshape(d, t)
}"""
WEIGHTS = {"w": np.zeros((4, 4, 3, 3), np.float32)}


def _known(graph, types):
    """Return the types of all results, made-up names counted up in the order they come in."""
    names: dict[str, str] = {}

    def told(size):
        return size if without_made_up(size) == size else names.setdefault(size, f"?{len(names)}")

    found = {}
    for tensor in (t for node in graph.nodes for t in node.outputs if t.name):
        kind = types.of(tensor)
        shape = None if kind is None or kind.shape is None else tuple(map(told, kind.shape))
        found[tensor.name] = None if kind is None else (kind.dtype, shape)
    return found


def _check_names(updated, whole):
    """An update may not know that two sizes without a name are one; it says of no two that are not.

    All else is told as of the whole graph.
    """
    sizes: dict[object, object] = {}
    for name, wanted in whole.items():
        found = updated[name]
        assert (found is None) == (wanted is None), name
        if wanted is None:
            continue
        assert found[0] == wanted[0], name
        assert (found[1] is None) == (wanted[1] is None), name
        for mine, theirs in zip(found[1] or (), wanted[1] or (), strict=True):
            made_up = isinstance(mine, str) and mine.startswith("?")
            assert sizes.setdefault(mine, theirs) == theirs if made_up else mine == theirs, name


@pytest.fixture
def updates(monkeypatch):
    """Hold every update to the whole inference; return how many there were, by their success."""
    real, counts = analyses.updated_types, {True: 0, False: 0, "fewer names": 0}

    def checked(graph, types, edited, uses, known):
        found = real(graph, types, edited, uses, known)
        counts[found is not None] += 1
        if found is not None:
            updated, whole = _known(graph, found), _known(graph, infer_types(graph))
            counts["fewer names"] += updated != whole
            _check_names(updated, whole)
        return found

    monkeypatch.setattr(analyses, "updated_types", checked)
    return counts


@pytest.mark.parametrize("kind", KINDS)
def test_random_graphs(kind, updates):
    """Every edit of `exact`."""
    pipeline = planish.Pipeline.parse("exact")
    for number in range(examples(40)):
        drawn = graph(kind, Random(f"update {kind} {number}"))
        if drawn is not None:
            pipeline.run(planish.load(drawn.model), verify="off", strict=True)
    assert updates[True]
    assert updates["fewer names"] <= 0.1 * updates[True]


def _edited(change, updates):
    """Return the types by name before and after `change` edits the chain."""
    made = graph_of(CHAIN, WEIGHTS)
    known = analyses.Analyses(made)
    before = _known(made, known.types)
    with planish.Edit(made, None, known.uses) as edit:
        change(edit, {node.outputs[0].name: node for node in made.nodes})
    known.follow(edit)
    return before, _known(made, known.types), updates


def test_a_size_that_nobody_knows_keeps_its_name(updates):
    """The same convolution in another node."""

    def change(edit, nodes):
        old = nodes["a"]
        edit.remove(old)
        edit.node("Conv", list(old.inputs), list(old.outputs), at=old)

    before, after, counts = _edited(change, updates)
    assert before == after
    assert counts[True] == 1


def test_what_follows_from_another_size(updates):
    """A smaller window: all behind it has other sizes, and an integer list other values."""

    def change(edit, nodes):
        old = nodes["c"]
        edit.set_input(old, 1, edit.constant(np.zeros((5, 4, 1, 1), np.float32), "v"))

    before, after, counts = _edited(change, updates)
    assert before["d"][1][1] == 4
    assert after["d"][1][1] == 5
    assert after["y"][1][0] == before["y"][1][0] == "N"
    assert counts[True] == 1


def test_values_of_lists_of_sizes(updates):
    """A list that becomes known gives a Reshape its sizes, though the list's own type stays."""

    def change(edit, nodes):
        edit.set_input(nodes["y"], 1, edit.constant(np.array([6, -1]), "sizes"))

    _, after, counts = _edited(change, updates)
    assert after["y"][1][0] == 6
    assert counts[True] == 1

    def before_the_reshape(edit, nodes):
        edit.set_input(nodes["t"], 0, edit.constant(np.array([6]), "six"))

    _, after, counts = _edited(before_the_reshape, updates)
    assert after["y"][1][0] == 6


def test_two_sizes_that_were_one(updates):
    """What was made up for one size does not stay the name of another."""

    def change(edit, nodes):
        old = nodes["b"]
        edit.remove(old)
        edit.node("Conv", [*old.inputs, nodes["a"].inputs[1]], list(old.outputs), at=old)

    before, after, counts = _edited(change, updates)
    assert before["a"][1] == before["b"][1]
    assert after["a"][1][2] != after["b"][1][2]
    assert counts[True] == 1


def test_made_up_names_are_not_written():
    """They mean something in one inference only."""
    made = graph_of(CHAIN, WEIGHTS)
    known = analyses.Analyses(made)
    conv = made.nodes[0]
    with planish.Edit(made, None, known.uses) as edit:
        new = edit.variable("new", known.types.of(conv.outputs[0]))
        edit.node("Neg", [conv.outputs[0]], [new], at=made.nodes[1])
        edit.set_input(made.nodes[1], 0, new)
    assert isinstance(new, gs.Variable)
    assert new.shape == ["N", 4, None, None]
