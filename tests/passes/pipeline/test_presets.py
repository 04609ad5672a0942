"""The presets as a whole: fixed points that no pass has alone."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.passes.pipeline.presets import PRESETS
from planish.passes.pipeline.repeat import members
from planish.passes.quantize.lowering.lower import LOWERINGS

from tests.helpers import assert_same_function, model_of, ops, run_pass

RNG = np.random.default_rng(11)
STATISTICS = {
    "s": RNG.standard_normal(2).astype(np.float32),
    "b": RNG.standard_normal(2).astype(np.float32),
    "m": RNG.standard_normal(2).astype(np.float32),
    "v": RNG.uniform(0.5, 2, 2).astype(np.float32),
    "w": RNG.standard_normal((2, 1, 2)).astype(np.float32),
}
LOWERED = {
    "its scale goes into the layer after it": (
        "n = BatchNormalization(x, s, b, m, v) y = ConvTranspose <group = 2, strides = [2]> (n, w)",
        "float[] y",
        ["Add", "ConvTranspose"],
    ),
    "two that are equal share a product": (
        "y = BatchNormalization(x, s, b, m, v) z = BatchNormalization(x, s, b, m, v)",
        "float[] y, float[] z",
        ["Mul", "Add", "Add"],
    ),
}


LOWERING = "lower-batchnorm{form=mul-add}"
AGAIN = f"repeat(eliminate-common-subexpressions,deduplicate-constants,push-affine,{LOWERING})"


@pytest.mark.parametrize(("body", "outputs", "expected"), LOWERED.values(), ids=LOWERED)
def test_what_is_lowered_is_looked_at_again(body, outputs, expected):
    model = model_of(f"g (float[N, 2, L] x) => ({outputs}) {{ {body} }}", STATISTICS)
    result = run_pass(planish.load(model), AGAIN)
    assert ops(result.graph) == expected
    feeds = {"x": RNG.standard_normal((3, 2, 10)).astype(np.float32)}
    assert_same_function(model, result.graph, feeds, tolerance=1e-6)


# These undo fusion, raise the opset, or belong to pruning, where asked for; what suits integers
# runs in `quantize`.
ON_DEMAND = {"apply-masks", "convert-opset", "inline-fused-operators", "shrink-channels"}


def test_exact_runs_every_exact_pass_but_those_on_demand():
    named = {each.name for item in planish.Pipeline.parse("exact").passes for each in members(item)}
    known = planish.passes.pipeline.registry.all_passes()
    ours = {
        n
        for n, p in known.items()
        if p.exact and p.keeps_interface and p.__module__.startswith("planish.")
    }
    assert named == ours - ON_DEMAND - {step.name for step in LOWERINGS}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_read_back(name):
    pipeline = planish.Pipeline.parse(name)
    assert planish.Pipeline.parse(str(pipeline)) == pipeline


MATRICES = {"w": RNG.standard_normal((3, 4)), "v": RNG.standard_normal((4, 3)), "c": np.ones(4)}


def test_what_fusion_leaves_is_taken_further():
    """MatMul and Add become a Gemm, which then merges with the one beside it."""
    model = model_of(
        """g (float[2, 3] x) => (float[2, 4] y, float[2, 4] z) {
            m = MatMul(x, w) y = Add(m, c) z = Gemm <transB = 1> (x, v) }""",
        {name: values.astype(np.float32) for name, values in MATRICES.items()},
    )
    graph = run_pass(planish.load(model), "exact").graph
    assert ops(graph) == ["Gemm", "Split"]
    feeds = {"x": RNG.standard_normal((2, 3)).astype(np.float32)}
    assert_same_function(model, graph, feeds, tolerance=1e-6)


def test_what_a_fused_sum_takes_in_is_seen_as_before():
    """The Add between two normalizations is fused, and the second is lowered as well."""
    one = {name: values[:1] for name, values in STATISTICS.items() if name != "w"}
    model = model_of(
        """g (float[1, 1, 4, 4] x) => (float[1, 1, 4, 4] y, float[1, 1, 4, 4] c) {
            r = Abs(x) c = Conv(r, w) n = BatchNormalization(c, s, b, m, v)
            a = Add(r, n) t = BatchNormalization(a, s, b, m, v) y = Mul(t, x) }""",
        {**one, "w": np.full((1, 1, 1, 1), -0.6, np.float32)},
    )
    graph = run_pass(planish.load(model), "exact").graph
    feeds = {"x": RNG.standard_normal((1, 1, 4, 4)).astype(np.float32)}
    assert_same_function(model, graph, feeds)
