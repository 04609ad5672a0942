"""Bodies of If and Loop in a report: their nodes, what they read, and what became of them."""

import numpy as np
import pytest

import planish
from planish.passes.analysis.roofline import Machine
from planish.tools.report.build import GivenModel, model_report, two_models
from planish.tools.report.figures import Measuring
from planish.tools.report.page import page

from tests.helpers import model_of
from tests.tools.report.conftest import MADE

MEASURING = Measuring(backends=(), machine=Machine(1e11, 1e10))
TEXT = """g (float[2, 3] x, bool c) => (float[2, 3] y) {
    [before] a = Relu(x)
    [choice] b = If (c) <
        then_branch = t () => (t1) { [sum] t0 = Add(a, k) [%(op)s] t1 = %(op)s(t0) },
        else_branch = e () => (e1) { [deep] e1 = If (c) <
            then_branch = u () => (u1) { [minus] u1 = Neg(a) },
            else_branch = v () => (v1) { [same] v1 = Identity(x) }> }>
    [last] y = Sigmoid(b) }"""


def _graph(op="Tanh"):
    return planish.load(model_of(TEXT % {"op": op}, {"k": np.ones(3, np.float32)}))


def _given(graph):
    return GivenModel(graph=graph, file="m.onnx", bytes=1)


def test_nodes_of_bodies_stand_behind_the_others_and_in_a_group_of_their_holder():
    report = model_report(_given(_graph()), made=MADE, measuring=MEASURING)
    (entry,) = report.graphs
    names = [node.name for node in entry.nodes]
    assert names[:3] == ["before", "choice", "last"]
    assert sorted(names[3:]) == ["Tanh", "deep", "minus", "same", "sum"]
    reads = {n.name: {names[i] if i >= 0 else "input" for i in n.inputs} for n in entry.nodes}
    assert reads == {
        "before": {"input"},
        "choice": {"input", "Tanh", "deep"},
        "last": {"choice"},
        "sum": {"before"},
        "Tanh": {"sum"},
        "deep": {"input", "minus", "same"},
        "minus": {"before"},
        "same": {"input"},
    }
    (group,) = entry.groups
    assert (group.kind, group.label) == ("body", "If")
    assert [names[at] for at in group.nodes[:1]] == ["choice"]
    assert {names[at] for at in group.nodes} == {"choice", *names[3:]}
    assert {n.name: n.body for n in entry.nodes}["sum"] == "then_branch of 'choice'"
    assert {n.name: n.body for n in entry.nodes}["minus"] == "then_branch of 'deep'"
    assert {len(measure.values) for measure in report.measures} == {len(names)}
    moved = next(measure for measure in report.measures if measure.id == "bytes")
    assert moved.values[names.index("sum")] == 4 * (6 + 3 + 6)
    assert moved.values[names.index("same")] == 4 * (6 + 6)
    assert moved.values[names.index("choice")] is None  # what runs of it, data say
    assert moved.total == 2 * 4 * (6 + 6)
    assert "one run of the body" in moved.note


def test_what_became_of_nodes_in_bodies_is_linked():
    report = two_models(_given(_graph()), _given(_graph("Softsign")), made=MADE)
    before, after = report.graphs
    kinds = {before.nodes[link.before[0]].name: link.kind for link in report.links}
    assert kinds["Tanh"] == "replaced"
    assert {kinds[name] for name in ("sum", "deep", "minus", "same", "before")} == {"same"}
    for side, entry in enumerate((before, after)):
        linked = [at for link in report.links for at in (link.before, link.after)[side]]
        assert sorted(linked) == list(range(len(entry.nodes)))
    assert "then_branch of" not in page(report)  # it is in the document, packed


def test_times_of_nodes_in_bodies_are_theirs_and_in_no_total():
    feeds = [{"x": np.ones((2, 3), np.float32), "c": np.array(True)}]
    measuring = Measuring(machine=Machine(1e11, 1e10), threads=1)
    report = model_report(_given(_graph()), made=MADE, feeds=feeds, measuring=measuring)
    time = next(measure for measure in report.measures if measure.id == "time-onnxruntime")
    of = dict(zip((node.name for node in report.graphs[0].nodes), time.values, strict=True))
    assert 0 < of["sum"] < of["choice"]
    assert of["minus"] is None  # the branch that does not run
    outer = sum(of[name] for name in ("before", "choice", "last"))
    assert time.rest == pytest.approx(time.total - outer)


@pytest.mark.parametrize("name", ["choice", "deep"])
def test_a_body_of_one_model_alone_is_gone(name):
    graph = _graph()
    other = planish.load(
        model_of("g (float[2, 3] x, bool c) => (float[2, 3] y) { y = Sigmoid(x) }")
    )
    report = two_models(_given(graph), _given(other), made=MADE)
    place = [n.name for n in report.graphs[0].nodes].index(name)
    assert all(place not in link.before or not link.after for link in report.links)
