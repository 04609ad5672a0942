"""Graphs in notebooks, pickled and copied: in a line, whole, and at any depth."""

import copy
import pickle

import numpy as np
import pytest

import planish

from tests.helpers import conv_batchnorm, graph_of, run_ort
from tests.strategies.nested import nested_feeds, nested_model

RNG = np.random.default_rng(0)


def pickled(value):
    return pickle.loads(pickle.dumps(value))


def fused():
    return planish.Pipeline.parse("exact").run(planish.load(conv_batchnorm(8))).graph


DEEP = " ".join(f"t{i} = {'Sin' if i % 2 else 'Neg'}(t{i - 1})" for i in range(1, 3000))

GRAPHS = {
    "deep": lambda: graph_of(f"g (float[4] t0) => (float[4] t2999) {{ {DEEP} }}"),
    "nested": lambda: planish.load(nested_model(1)),
    "functions": fused,
    "default inputs": lambda: graph_of(
        "g (float[N, 4] x, float[4] w) => (float[N, 4] y) { y = Add(x, w) }",
        {"w": np.ones(4, np.float32)},
    ),
}


@pytest.mark.parametrize("how", [pickled, copy.deepcopy, copy.copy])
@pytest.mark.parametrize("kind", GRAPHS)
def test_a_copy_is_the_same_to_the_byte_and_shares_no_part(kind, how):
    graph = GRAPHS[kind]()
    found = how(graph)
    wanted = planish.to_model(graph).SerializeToString(deterministic=True)
    assert planish.to_model(found).SerializeToString(deterministic=True) == wanted
    own = {id(part) for node in graph.nodes for part in (node, *node.inputs, *node.outputs)}
    assert not own & {id(p) for n in found.nodes for p in (n, *n.inputs, *n.outputs)}
    for node in found.nodes:
        assert all(node in tensor.outputs for tensor in node.inputs)
        assert all(tensor.inputs == [node] for tensor in node.outputs)


def test_a_copy_of_nested_bodies_reads_its_own_outer_tensors():
    graph = planish.load(nested_model(3))
    found = planish.to_model(pickled(graph))
    for feed in nested_feeds(3):
        wanted = run_ort(planish.to_model(graph), feed)
        for name, array in run_ort(found, feed).items():
            np.testing.assert_array_equal(array, wanted[name])


def test_weights_of_a_deep_copy_are_its_own():
    graph = planish.load(conv_batchnorm(8))
    found = copy.deepcopy(graph)
    ours, theirs = (
        [t.values for node in g.nodes for t in node.inputs if hasattr(t, "values")]
        for g in (graph, found)
    )
    assert ours
    assert not any(np.shares_memory(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_result_is_pickled():
    result = planish.Pipeline.parse("exact").run(planish.load(conv_batchnorm(8)))
    found = pickled(result)
    assert found.records == result.records
    assert (
        planish.compare(result.graph, found.graph, planish.random_feeds(result.graph)).max_abs == 0
    )


def test_a_notebook_shows_a_line_and_a_small_table(capfd):
    graph = planish.load(conv_batchnorm(8))
    graph.name = "a<b>"
    graph.nodes[0].name = "\x1b[31mred"
    assert repr(graph).startswith("<Graph 'a<b>': x[N, 3, 9, 9] -> y")
    assert "2 nodes (Conv, BatchNormalization)" in repr(graph)
    assert str(graph) == f"{graph}" == repr(graph)
    shown = graph._repr_html_() + planish.cost(graph)._repr_html_()
    assert "a&lt;b&gt;" in shown
    assert "\\x1b[31mred" in shown
    assert shown.isprintable()
    assert "BatchNormalization" in shown
    for name in ("_repr_svg_", "_ipython_display_", "__wrapped__"):
        assert not hasattr(graph, name)
    assert capfd.readouterr() == ("", "")


def test_what_planish_returns_is_shown_in_a_line():
    graph = planish.load(conv_batchnorm(8))
    result = planish.Pipeline.parse("exact").run(graph)
    feeds = planish.random_feeds(graph)
    groups = planish.channel_groups(graph)
    shown = [
        result,
        planish.compare(graph, result.graph, feeds),
        planish.cost(graph),
        planish.Pipeline.parse("int8"),
        *result.records,
        *groups,
        *groups[0].slots,
        *groups[0].carriers,
    ]
    for each in shown:
        assert repr(each).count("\n") == 0
        assert len(repr(each)) < 300
        assert "<table>" in each._repr_html_()
    assert "verified" in repr(result)
    assert "2 -> 1 nodes" in repr(result)
