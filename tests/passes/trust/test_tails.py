"""An output of which its last kernel gives no digits is judged by what that kernel reads."""

from __future__ import annotations

import numpy as np
import pytest

from planish.ir.core.errors import VerificationError
from planish.ir.run.reference import Reference
from planish.passes.trust.verify import Verifier

from tests.helpers import graph_of
from tests.passes.trust.changed import become

GENERATOR = np.random.default_rng(5)
X = {"x": GENERATOR.uniform(-1, 1, (16, 64)).astype(np.float32)}
W = (GENERATOR.uniform(-1, 1, (64, 8)) / 8).astype(np.float32)
SCALE = GENERATOR.uniform(0.5, 2, 8).astype(np.float32)
# Scores of what is not there: about exp(-13) each.
WEIGHTS = {"w": W, "scale": SCALE, "scaled": W * SCALE, "b": np.full(8, -13, np.float32)}
BEFORE = "m = MatMul(x, w) s = Mul(m, scale) z = Add(s, b)"
AFTER = "m = MatMul(x, scaled) z = Add(m, b)"


def scores(body: str) -> str:
    return f"g (float[16, 64] x) => (float[16, 8] y) {{ {body} y = Sigmoid(z) }}"


@pytest.mark.parametrize("verify", ["each", "end"])
def test_scores_of_nothing_are_verified_by_what_they_are_made_of(verify):
    result = become(scores(BEFORE), scores(AFTER), WEIGHTS, [X], verify)
    assert result.verified
    assert 0 < result.error <= result.tolerance == 1e-5
    assert "output 'y' is small beside 1" in result.note
    assert "what that reads was compared" in result.note


def test_a_kernel_in_a_local_function_loses_them_too():
    head = '<ir_version: 10, opset_import: ["" : 20, "f" : 1]> '
    function = '<domain: "f", opset_import: ["" : 20]> score (z) => (s) { s = Sigmoid(z) }'
    before, after = (
        f"{head}{scores(body).replace('Sigmoid', 'f.score')} {function}" for body in (BEFORE, AFTER)
    )
    result = become(before, after, WEIGHTS, [X])
    assert result.verified
    assert "what that reads was compared" in result.note


def test_the_other_outputs_are_compared_as_they_are():
    """The error that is told is the largest of all."""
    head = "g (float[16, 64] x) => (float[16, 8] y, float[16, 8] v)"
    before, after = (
        f"{head} {{ {body} y = Sigmoid(z) v = {v} }}"
        for body, v in ((BEFORE, "Identity(m)"), (AFTER, "Div(m, off)"))
    )
    weights = WEIGHTS | {"off": SCALE * np.float32(1 + 8e-6)}
    result = become(before, after, weights, [X])
    assert result.verified
    assert 5e-6 < result.error <= 1e-5


@pytest.mark.parametrize("wrong", ["z = Add(m, other)", "t = Add(m, b) z = Neg(t)"])
def test_a_mistake_that_the_output_hides_is_seen_in_what_it_is_made_of(wrong):
    """exp(-13) and exp(-13.2) are as near to one another as the kernel is to either."""
    weights = WEIGHTS | {"other": np.full(8, -13.2, np.float32)}
    with pytest.raises(VerificationError, match="output 'y' differs by"):
        become(scores(BEFORE), scores(f"m = MatMul(x, scaled) {wrong}"), weights, [X])


def test_what_is_no_sigmoid_of_the_same_is_judged_by_itself():
    """One that is turned round behind the kernel is another output."""
    after = f"g (float[16, 64] x) => (float[16, 8] y) {{ {AFTER} s = Sigmoid(z) y = Neg(s) }}"
    with pytest.raises(VerificationError, match="output 'y' differs by"):
        become(scores(BEFORE), after, WEIGHTS, [X])


def test_what_another_runtime_gives_is_not_what_the_graph_is_made_of():
    """Of a compiled network nobody sees what its kernel reads: nothing was shown of it."""
    graph = graph_of(scores(BEFORE), WEIGHTS)
    run, verifier = Reference(graph), Verifier(graph, [X], 0)
    verifier.check_run(lambda feed: {"y": run(feed)["y"] + np.float32(5e-7)}, graph, "lowering")
    assert not verifier.telling
    assert "was compared" not in verifier.remark
