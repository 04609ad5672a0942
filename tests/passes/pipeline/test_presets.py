"""The presets as a whole: fixed points that no pass has alone."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.passes.pipeline.presets import PRESETS
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
    named = {
        each.name
        for item in planish.Pipeline.parse("exact").passes
        for each in getattr(item, "passes", (item,))
    }
    known = planish.passes.pipeline.registry.all_passes()
    ours = {n for n, p in known.items() if p.exact and p.__module__.startswith("planish.")}
    assert named == ours - ON_DEMAND - {step.name for step in LOWERINGS}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_read_back(name):
    pipeline = planish.Pipeline.parse(name)
    assert planish.Pipeline.parse(str(pipeline)) == pipeline
