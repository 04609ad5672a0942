"""An approximate pass that leaves alone what it was asked to change says so, and what to run."""

from __future__ import annotations

import re

import numpy as np
import pytest

import planish

from tests.helpers import graph_of

RNG = np.random.default_rng(3)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w": normal(8, 3, 3, 3),
    "m": normal(300, 8),
    "n": normal(8, 300),
    "zero": np.float32(0),
    "eight": np.array([8], np.int64),
}
# As exporters write them: a weight transposed, a bias of zeros made in the type of the input.
RAW = """e = CastLike(zero, x) b = Expand(e, eight) c = Conv(x, w, b) r = Relu(c)
    p = GlobalAveragePool(r) f = Flatten(p) t = Transpose(m) y = MatMul(f, t)"""
PLAIN = "c = Conv(x, w) r = Relu(c) p = GlobalAveragePool(r) f = Flatten(p) y = MatMul(f, n)"
FEEDS = [{"x": normal(2, 3, 8, 8)} for _ in range(2)]
COMPUTED = "with an operand that is computed from constants; run the preset simplify before"
PASSES = [
    "quantize{measure=false}",
    "quantize-dynamically{least=1}",
    "quantize-weights",
    "round-adaptively",
    "correct-bias",
    "substitute-depthwise{measure=false}",
    "decompose-svd{measure=false}",
]


def run(body, pipeline):
    named = set(re.findall(r"\w+", body))
    used = {name: values for name, values in WEIGHTS.items() if name in named}
    graph = graph_of(f"g (float[N, 3, 8, 8] x) => (float[] y) {{ {body} }}", used)
    return planish.Pipeline.parse(pipeline).run(graph, FEEDS, verify="off").records[-1]


@pytest.mark.parametrize("pipeline", PASSES)
def test_operands_computed_from_constants_are_told(pipeline):
    assert any(COMPUTED in remark for remark in run(RAW, pipeline).remarks)
    folded = run(RAW, f"simplify,{pipeline}")
    assert not any(COMPUTED in remark for remark in folded.remarks)


@pytest.mark.parametrize("pipeline", PASSES)
def test_a_pass_that_does_nothing_says_why(pipeline):
    record = run("y = Softmax(x)", pipeline)
    assert record.edits == 0
    assert record.remarks


def test_the_most_frequent_reason_is_told():
    record = run(PLAIN, "quantize-dynamically")
    assert record.remarks == (
        "nothing was done: of 2 sites, at 1 convolutions on integers need ranges: `quantize` "
        "calibrates them, and 1 other reason",
    )


@pytest.mark.parametrize("pipeline", ["fold-batchnorm", "eliminate-identities"])
def test_exact_passes_are_silent(pipeline):
    assert run(PLAIN, pipeline).remarks == ()


def test_what_depends_on_the_input_is_not_computed_from_constants():
    record = run(
        "s = ReduceMean<keepdims = 0>(x) u = Mul(w, s) c = Conv(x, u) y = Relu(c)",
        "quantize{measure=false}",
    )
    assert not any(COMPUTED in remark for remark in record.remarks)


def test_what_the_pass_itself_computes_is_no_reason_to_simplify():
    record = run(PLAIN, "prune{amount=0.5}")
    assert record.edits
    assert not any(COMPUTED in remark for remark in record.remarks)
