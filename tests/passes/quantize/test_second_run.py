"""A second `int8` finds nothing left to do in what the first gave, and neither does `exact`.

That holds behind `exact,quantize` as well, whatever else stands in the pipeline.
"""

import numpy as np
import pytest

import planish

from tests.helpers import graph_of, run_pass

OPTIONS = "{measure=false,guard=off}"
PIPELINES = [
    f"int8{OPTIONS}",
    f"exact,quantize{OPTIONS}",
    f"exact,correct-bias,quantize{OPTIONS},eliminate-dead-code",
]
BODIES = {
    "constants that are alike": "r = Relu(x) a = Conv(r, w, b) e = Relu(a) y = Conv(e, v, b)",
    "movements between pairs": (
        "a = Conv(x, w, b) t = Transpose<perm=[0, 2, 3, 1]>(a) m = MatMul(t, k) "
        "u = Transpose<perm=[0, 3, 1, 2]>(m) y = Conv(u, v)"
    ),
    "an activation that stays float": "s = Sigmoid(x) p = Mul(x, s) y = Conv(p, w, b)",
    "an activation on integers": "a = Conv(x, w, b) s = Sigmoid(a) p = Mul(a, s) y = Conv(p, v)",
    "operands of unlike ranges": (
        "a = Conv(x, w, b) e = Mul(a, far) k = Concat<axis=1>(a, e) h = Conv(k, wide) "
        "i = Conv(a, v) y = Add(h, i)"
    ),
    "a transposed convolution": (
        "a = ConvTranspose<strides=[2, 2]>(x, up, b) r = Relu(a) y = Conv(r, v, b)"
    ),
}


def normal(*shape, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


CONSTANTS = {
    "w": normal(4, 4, 1, 1, seed=0),
    "v": normal(4, 4, 1, 1, seed=1),
    "b": normal(4, seed=2),
    "k": normal(4, 4, seed=3),
    "wide": normal(4, 8, 1, 1, seed=4),
    "up": normal(4, 4, 2, 2, seed=5),
    "far": np.float32([9]).reshape(()),
}


@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_nothing_is_left(body, pipeline):
    text = f"g (float[N, 4, 5, 5] x) => (float[] y) {{ {body} }}"
    used = {k: v for k, v in CONSTANTS.items() if f", {k})" in body or f", {k}, " in body}
    feeds = [{"x": normal(2, 4, 5, 5, seed=seed)} for seed in range(4)]
    made = run_pass(graph_of(text, used), pipeline, feeds=feeds, verify="off").graph
    assert any(node.op == "QuantizeLinear" for node in made.nodes)
    again = planish.Pipeline.parse("exact,quantize{measure=false}").run(made, feeds, verify="off")
    assert again.edits == 0, [r for r in again.records if r.edits]


def test_only_what_ran_before_is_run_again():
    """A group behind sees the edits itself; single passes and what stayed float ask for nothing."""
    text = f"g (float[N, 4, 5, 5] x) => (float[] y) {{ {BODIES['constants that are alike']} }}"
    graph = graph_of(text, {k: CONSTANTS[k] for k in ("w", "v", "b")})
    feeds = [{"x": normal(2, 4, 5, 5, seed=seed)} for seed in range(4)]

    def rounds(pipeline):
        records = planish.Pipeline.parse(pipeline).run(graph, feeds).records
        return [(r.name, r.round) for r in records if r.name == "deduplicate-constants" and r.edits]

    assert rounds(f"repeat(deduplicate-constants),quantize{OPTIONS}")[-1:] == [
        ("deduplicate-constants", 2)
    ]
    behind = f"repeat(deduplicate-constants),quantize{OPTIONS},deduplicate-constants"
    assert rounds(behind)[-1:] == [("deduplicate-constants", 1)]  # which leaves it nothing
    assert not rounds(f"deduplicate-constants,quantize{OPTIONS}")
    assert not rounds(f"repeat(deduplicate-constants),quantize{OPTIONS},repeat(fold-pad)")
    assert not rounds("repeat(deduplicate-constants),quantize{operators=[Gemm]}")
