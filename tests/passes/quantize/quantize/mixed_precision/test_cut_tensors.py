"""One node changed: what runs again, and that it gives what the whole variant gives."""

import numpy as np
import pytest

import planish
from planish.ir.graph.clone import clone
from planish.passes.quantize.quantize.mixed_precision import cut_tensors
from planish.passes.quantize.quantize.mixed_precision.cut_tensors import CutTensors
from planish.passes.quantize.quantize.mixed_precision.steps import MeasuredSteps

from tests.helpers import graph_of, run_ort


def _network():
    lines = [
        f"[n{i}] b{i} = Conv<pads=[1, 1, 1, 1]>(a{i - 1}, w{i}) a{i} = LeakyRelu<alpha=0.5>(b{i})"
        for i in range(1, 13)
    ]
    text = (
        "g (float[1, 4, 6, 6] a0) => (float[1, 4, 6, 6] y, float[1, 4, 6, 6] a3, float[2] k, "
        "float[1, 4, 6, 6] a0) "
        f"{{ {' '.join(lines)} y = Add(a12, a2) }}"
    )
    generator = np.random.default_rng(0)
    weights = {
        f"w{i}": generator.standard_normal((4, 4, 3, 3)).astype(np.float32) / 6
        for i in range(1, 13)
    }
    return graph_of(text, weights | {"k": np.array([1, 2], np.float32)})


def _changed(graph, *names):
    copy = clone(graph)
    for node in copy.nodes:
        if node.name in names:
            node.inputs[1].values = node.inputs[1].values * np.float32(0.5)
    return copy


@pytest.mark.parametrize("names", [["n1"], ["n2"], ["n3"], ["n7"], ["n12"], ["n4", "n10"]])
def test_a_variant_gives_what_it_gives_as_a_whole(names):
    graph = _network()
    known = CutTensors(graph)
    run = known.run_of(_changed(graph, *names))
    feeds = [np.random.default_rng(s).standard_normal((1, 4, 6, 6)) for s in range(2)]
    for index, x in enumerate(feeds):
        feed = {"a0": x.astype(np.float32)}
        wanted = run_ort(planish.to_model(_changed(graph, *names)), feed)
        found = run(index, feed)
        assert found.keys() == wanted.keys()
        for output, values in wanted.items():
            np.testing.assert_allclose(found[output], values, rtol=1e-5, atol=1e-5)


def test_only_a_few_nodes_run_again_and_what_is_behind_is_made_ready_once(monkeypatch):
    graph = _network()
    sizes = []
    made = cut_tensors.run_part

    def counting(part, nodes, *rest, **options):
        sizes.append(len(nodes))
        return made(part, nodes, *rest, **options)

    monkeypatch.setattr(cut_tensors, "run_part", counting)
    known = CutTensors(graph)
    feed = {"a0": np.ones((1, 4, 6, 6), np.float32)}
    for _ in range(2):
        known.run_of(_changed(graph, "n7"))(0, feed)
    whole, between, behind, again = sizes
    assert whole == len(graph.nodes)
    assert between == again <= 4
    assert between + behind < whole


def test_what_would_take_too_much_memory_is_not_kept(monkeypatch):
    monkeypatch.setattr(cut_tensors, "_MOST_BYTES", 1)
    graph = _network()
    known = CutTensors(graph)
    feed = {"a0": np.ones((1, 4, 6, 6), np.float32)}
    wanted = run_ort(planish.to_model(_changed(graph, "n7")), feed)
    for _ in range(2):
        found = known.run_of(_changed(graph, "n7"))(0, feed)
        np.testing.assert_allclose(found["y"], wanted["y"], rtol=1e-5, atol=1e-5)
    assert not known._kept


def test_steps_go_on_where_the_last_one_ended():
    told = []
    steps = MeasuredSteps(lambda fraction, note="": told.append((round(fraction, 3), note)))
    steps.begin(2, "a")
    for fraction in (0.5, 1.0, 0.5, 1.0, 1.0):
        steps(fraction)
    steps.begin(4, "b")
    steps(1.0)
    assert told == [(0.25, "a"), (0.5, "a"), (0.75, "a"), (1, "a"), (1, "a"), (0.25, "b")]


def test_a_graph_with_sequences_runs_as_a_whole():
    text = """g (float[1, 4, 6, 6] a) => (float[1, 8, 6, 6] y) {
        [n1] b = Conv(a, w) c = Relu(b) s = SequenceConstruct(b, c) t = SequenceInsert(s, a, i)
        u = SequenceErase(t, i) d = ConcatFromSequence<axis = 1>(u)
        [n2] e = Conv(d, v) y = Neg(e) }"""
    generator = np.random.default_rng(0)
    weights = {
        "w": generator.standard_normal((4, 4, 1, 1)).astype(np.float32),
        "v": generator.standard_normal((8, 8, 1, 1)).astype(np.float32),
        "i": np.array(0, np.int64),
    }
    graph = graph_of(text, weights)
    feed = {"a": generator.standard_normal((1, 4, 6, 6)).astype(np.float32)}
    wanted = run_ort(planish.to_model(_changed(graph, "n2")), feed)
    found = CutTensors(graph).run_of(_changed(graph, "n2"))(0, feed)
    np.testing.assert_allclose(found["y"], wanted["y"], rtol=1e-5, atol=1e-5)
