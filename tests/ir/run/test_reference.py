"""The reference runtime, against onnx.reference and numpy."""

import os

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

import planish
from planish.ir.core.errors import ExecutionError, FeedError
from planish.ir.run.reference import Reference, evaluate

from tests.helpers import conv_batchnorm, graph_of


def test_against_the_evaluator_of_onnx():
    model = conv_batchnorm(4)
    graph = planish.load(model)
    for feed, found in zip(
        feeds := planish.random_feeds(graph, samples=2),
        map(Reference(graph), feeds),
        strict=True,
    ):
        (expected,) = ReferenceEvaluator(model).run(None, feed)
        np.testing.assert_allclose(found["y"], expected, rtol=1e-5, atol=1e-5)


def test_scalars_keep_their_rank():
    graph = graph_of("g (float x) => (float y) { y = Neg(x) }")
    found = Reference(graph)({"x": np.array(3, np.float32)})["y"]
    assert found.shape == ()
    assert found == -3


def test_optimizations_are_off_unless_asked_for():
    graph = graph_of("g (float[2] x) => (float[2] y) { a = Identity(x)\n b = Neg(a)\n y = Neg(b) }")
    feeds = {"x": np.array([1, -2], np.float32)}
    for optimized in (False, True):
        found = Reference(graph, optimized=optimized, threads=1)(feeds)
        np.testing.assert_array_equal(found["y"], feeds["x"])


def test_feeds_are_checked():
    run = Reference(graph_of("g (float[2] x) => (float[2] y) { y = Neg(x) }"))
    with pytest.raises(FeedError, match="'z'"):
        run({"z": np.zeros(2, np.float32)})
    with pytest.raises(FeedError, match=r"\[3\]"):
        run({"x": np.zeros(3, np.float32)})


def test_inputs_that_are_not_contiguous():
    graph = graph_of("g (float[3, 2] x) => (float[3, 2] y) { y = Neg(x) }")
    x = np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2].T
    np.testing.assert_array_equal(Reference(graph)({"x": x})["y"], -x)


def test_an_unknown_operator_is_refused():
    graph = graph_of("g (float[2] x) => (float[2] y) { y = Neg(x) }")
    graph.nodes[0].op = "Nonsense"
    with pytest.raises(ExecutionError, match="Nonsense"):
        Reference(graph)


def test_evaluate_computes_a_part_from_its_constants():
    graph = graph_of(
        "g (float[2] x) => (float[2] y) { s = Add(a, b)\n t = Mul(s, b)\n y = Add(x, t) }",
        {"a": np.array([1, 2], np.float32), "b": np.array([3, 4], np.float32)},
    )
    nodes = graph.nodes[:2]
    t, s = evaluate(graph, nodes, [nodes[1].outputs[0], nodes[0].outputs[0]])
    np.testing.assert_array_equal(s, [4, 6])
    np.testing.assert_array_equal(t, [12, 24])
    assert [node.op for node in graph.nodes] == ["Add", "Mul", "Add"]
    assert [tensor.name for tensor in graph.outputs] == ["y"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are Linux's to give")
def test_sums_are_shared_out_alike_wherever_it_runs():
    """A runtime that takes as many threads as there are cores gives other last digits on others."""
    graph = graph_of("g (float[2] x) => (float[2] y) { y = Neg(x) }")
    cores = os.sched_getaffinity(0)
    counts = set()
    for given in (cores, {min(cores)}):
        os.sched_setaffinity(0, given)
        try:
            session = Reference(graph)._session
            counts.add(session.get_session_options().intra_op_num_threads)
        finally:
            os.sched_setaffinity(0, cores)
    assert len(counts) == 1
    assert counts.pop() > 0  # 0: as many as there are cores


@pytest.mark.parametrize("fused", ["a Gelu whose half is read twice", "int8 behind a Reshape"])
def test_optimizations_that_break_a_graph_are_left_out(fused):
    """ONNX Runtime fuses and moves nodes so that it refuses what is left."""
    if fused == "int8 behind a Reshape":
        graph = graph_of(
            """<ir_version: 10, opset_import: ["" : 21]> g (int8[2,2,1,1] x) => (float[4] y) {
                t = DequantizeLinear(x, s, z) y = Reshape(t, four) }""",
            {"s": np.float32(0.25), "z": np.int8(0), "four": np.array([4])},
        )
        feeds = {"x": np.arange(4, dtype=np.int8).reshape(2, 2, 1, 1)}
    else:
        graph = graph_of(
            """<ir_version: 9, opset_import: ["" : 13]> g (float[1,1,1] x) => (float[] y, float[] z)
            { a = Pow(x, three) b = Mul(a, c) d = Add(b, x) e = Mul(d, f) h = Tanh(e)
              half = Mul(x, k) i = Add(h, one) y = Mul(half, i) z = Conv(half, w) }""",
            {
                "three": np.float32(3),
                "c": np.float32(0.044715),
                "one": np.float32([1]),
                "f": np.float32(0.7978846),
                "k": np.float32(0.5),
                "w": np.ones((1, 1, 1), "f"),
            },
        )
        feeds = {"x": np.full((1, 1, 1), 0.5, np.float32)}
    wanted = Reference(graph)(feeds)
    found = Reference(graph, optimized=True)(feeds)
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5)
