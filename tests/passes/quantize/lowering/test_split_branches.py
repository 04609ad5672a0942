"""Branches of one layer with unlike ranges get grids of their own."""

from __future__ import annotations

import re

import numpy as np
import pytest

import planish
from planish.ir.graph.clone import clone
from planish.passes.engine.context import Context
from planish.passes.quantize.lowering.split_branches import split_branches

from tests.helpers import graph_of, ops, relative_error, run_ort

RNG = np.random.default_rng(8)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w": normal(8, 3, 3, 3),
    "wide": np.concatenate([400 * normal(4, 8, 1, 1), normal(3, 8, 1, 1)]),
    "bias": np.concatenate([400 * normal(4), normal(3)]),
    "even": normal(7, 8, 1, 1),
    "matrix": np.concatenate([400 * normal(8, 4), normal(8, 3)], axis=1),
    "rows": np.concatenate([400 * normal(8, 4), normal(8, 3)], axis=1).T.copy(),
    "back": np.concatenate([400 * normal(8, 4, 1, 1), normal(8, 3, 1, 1)], axis=1),
    "boxes_w": 400 * normal(4, 8, 1, 1),
    "scores_w": normal(3, 8, 1, 1),
    "sizes": np.array([4, 3], np.int64),
    "v": normal(5, 4, 1, 1) / 400,
    "u": normal(5, 3, 1, 1),
    "vm": normal(4, 5) / 400,
    "um": normal(3, 5),
}
STEM = "c = Conv <pads = [1, 1, 1, 1]> (x, w) r = Relu(c) "
FLAT = STEM + "p = GlobalAveragePool(r) f = Flatten(p) "
HEADS = "a = Conv(p, v) z = Conv(q, u)"
DENSE = "a = MatMul(m, vm) z = MatMul(n, um)"
BODIES = {
    "Conv": STEM + "s = Conv(r, wide, bias) p, q = Split <axis = 1> (s, sizes) " + HEADS,
    "Conv and Relu": STEM
    + "s = Conv(r, wide, bias) t = Relu(s) p, q = Split <axis = 1> (t, sizes) "
    + HEADS,
    "ConvTranspose": STEM
    + "s = ConvTranspose(r, back, bias) p, q = Split <axis = 1> (s, sizes) "
    + HEADS,
    "MatMul": FLAT + "s = MatMul(f, matrix) m, n = Split <axis = -1> (s, sizes) " + DENSE,
    "Gemm": FLAT
    + "s = Gemm <transB = 1> (f, rows, bias) m, n = Split <axis = 1> (s, sizes) "
    + DENSE,
}
FEEDS = [{"x": normal(2, 3, 8, 8)} for _ in range(8)]


def graph_with(body, outputs="float[] a, float[] z"):
    named = set(re.findall(r"\w+", body))
    used = {name: values for name, values in WEIGHTS.items() if name in named}
    return graph_of(f"g (float[N, 3, 8, 8] x) => ({outputs}) {{ {body} }}", used)


def sqnr(graph, found):
    sums = {}
    for feed in FEEDS:
        expected = run_ort(planish.to_model(graph), feed)
        have = run_ort(planish.to_model(found, portable=True), feed)
        for name, array in expected.items():
            wide = array.astype(np.float64)
            total = sums.setdefault(name, np.zeros(2))
            total += (wide**2).sum(), ((wide - have[name]) ** 2).sum()
    return {name: 10 * np.log10(signal / noise) for name, (signal, noise) in sums.items()}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_each_branch_is_as_good_as_alone(body):
    graph = graph_with(body)
    pipeline = planish.Pipeline.parse("quantize{measure=false}")
    result = pipeline.run(graph, FEEDS, strict=True)
    assert "Split" not in ops(result.graph)
    assert min(sqnr(graph, result.graph).values()) > 28
    assert pipeline.run(result.graph, FEEDS).edits == 0


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_taken_apart_it_computes_the_same(body):
    graph = graph_with(body)
    found = clone(graph)
    context = Context(found)
    split_branches(found, context, ("s",))
    assert context.edits == 1
    assert "Split" not in ops(found)
    for name, array in run_ort(planish.to_model(graph), FEEDS[0]).items():
        assert relative_error(array, run_ort(planish.to_model(found), FEEDS[0])[name]) < 1e-5


def test_branches_that_are_alike_stay_together():
    graph = graph_with(BODIES["Conv"].replace("wide, bias", "even"))
    result = planish.Pipeline.parse("quantize{measure=false}").run(graph, FEEDS)
    assert ops(result.graph).count("Split") == 1


@pytest.mark.parametrize(
    "pipeline",
    [
        "exact,quantize{measure=false}",
        "simplify,equalize-ranges,round-adaptively,quantize{measure=false}",
    ],
)
def test_boxes_and_scores_are_as_good_as_without_merging(pipeline):
    body = STEM + "a = Conv(r, boxes_w) q = Conv(r, scores_w) z = Sigmoid(q)"
    graph = graph_with(body)
    plain = planish.Pipeline.parse("quantize{measure=false}").run(graph, FEEDS)
    result = planish.Pipeline.parse(pipeline).run(graph, FEEDS)
    merged = planish.Pipeline.parse("simplify").run(graph, FEEDS)
    assert ops(merged.graph).count("Conv") == 2
    before, after = sqnr(graph, plain.graph), sqnr(graph, result.graph)
    assert all(after[name] > before[name] - 1 for name in before)


@pytest.mark.parametrize(
    "body",
    [
        STEM + "s = Conv(r, wide) p, q = Split <axis = 1> (s, sizes) e = Relu(s) a = Conv(p, v) "
        "k = Conv(q, u) z = GlobalAveragePool(e)",
        STEM + "s = Conv(r, wide, x0) p, q = Split <axis = 1> (s, sizes) " + HEADS,
        STEM + "s = Conv(r, even) p, q = Split <axis = 2> (s, three) a = Conv(p, u7) z = Relu(q)",
    ],
    ids=["read elsewhere", "bias of a feed", "another axis"],
)
def test_what_is_no_layer_of_branches_is_left_alone(body):
    extra = {"three": np.array([4, 4], np.int64), "u7": normal(5, 7, 1, 1)}
    named = set(re.findall(r"\w+", body))
    used = {n: v for n, v in (WEIGHTS | extra).items() if n in named}
    graph = graph_of(
        f"g (float[N, 3, 8, 8] x, float[7] x0) => (float[] a, float[] z) {{ {body} }}", used
    )
    feeds = [feed | {"x0": normal(7)} for feed in FEEDS]
    result = planish.Pipeline.parse("quantize{measure=false}").run(graph, feeds, strict=True)
    assert "Split" in ops(result.graph)
