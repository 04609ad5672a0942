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


def _used(body):
    named = set(re.findall(r"\w+", body))
    return {name: values for name, values in WEIGHTS.items() if name in named}


def run(body, pipeline):
    graph = graph_of(f"g (float[N, 3, 8, 8] x) => (float[] y) {{ {body} }}", _used(body))
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


def test_reasons_that_differ_in_names_and_numbers_are_one():
    record = run(
        "a = MatMul(x, n) b = MatMul(a, m) c = Conv(x, w) r = ReduceMean<keepdims = 0>(c)"
        "s = Add(b, r) y = Relu(s)",
        "quantize-dynamically",
    )
    assert record.remarks == (
        "nothing was done: of 3 sites, at 2 its weight has 2400 values, and below 65536 quantizing "
        "the input costs more than it saves, and 1 other reason",
    )


def test_what_is_computed_does_not_hide_that_nothing_was_done():
    record = run("t = Transpose(m) y = MatMul(x, t)", "quantize-dynamically{least=1}")
    assert record.edits == 0
    assert record.remarks[0] == "nothing was done: of 1 site, at 1 its weight is not constant"
    assert COMPUTED in record.remarks[1]


def test_a_substitution_without_feeds_that_replaces_nothing_says_why():
    graph = graph_of(f"g (float[N, 3, 8, 8] x) => (float[] y) {{ {PLAIN} }}", _used(PLAIN))
    pipeline = planish.Pipeline.parse("substitute-depthwise{measure=false,max-error=1e-6}")
    record = pipeline.run(graph, verify="off").records[-1]
    assert record.edits == 0
    assert len(record.remarks) == 1
    assert record.remarks[0].startswith("nothing was done: of ")


def test_pruning_channels_says_which_layers_have_computed_weights():
    body = "f = Flatten(x) t = Transpose(k) a = MatMul(f, t) r = Relu(a) y = MatMul(r, l)"
    used = {"k": normal(64, 192), "l": normal(64, 10)}
    pipeline = "prune{granularity=channel,amount=0.5}"

    def remarks(pipeline):
        graph = graph_of(f"g (float[N, 3, 8, 8] x) => (float[] y) {{ {body} }}", used)
        record = planish.Pipeline.parse(pipeline).run(graph, verify="off").records[-1]
        return record.edits, record.remarks

    edits, told = remarks(pipeline)
    assert edits == 0
    assert any(COMPUTED in remark for remark in told)
    edits, told = remarks(f"simplify,{pipeline}")
    assert edits
    assert not any(COMPUTED in remark for remark in told)


def test_a_reason_that_the_pass_gives_is_the_only_one():
    twice = run(PLAIN, "prune{amount=0.5},prune{amount=0.5}")
    assert twice.remarks == ("nothing more to prune: what was asked for is masked already",)


def test_normalizations_that_would_stay_float_among_integers_are_told():
    body = "c = Conv(x, w) n1 = BatchNormalization(c, s, s, s, s) y = Relu(n1)"
    used = {"w": WEIGHTS["w"], "s": np.ones(8, np.float32)}
    for before, told in (("", True), ("exact,", False)):
        graph = graph_of(f"g (float[N, 3, 8, 8] x) => (float[] y) {{ {body} }}", used)
        pipeline = planish.Pipeline.parse(f"{before}quantize{{measure=false,guard=off}}")
        record = pipeline.run(graph, FEEDS, verify="off").records[-1]
        found = [r for r in record.remarks if "run the preset exact before" in r]
        assert len(found) == told
