"""Sums of squares of large or small data: what passes find does not depend on the unit."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.passes.analysis.observe.moments import Moments
from planish.passes.analysis.observe.squares import LEAST, MOST, fits, unit_of

from tests.helpers import graph_of, run_ort

RNG = np.random.default_rng(4)
WEIGHTS = {
    "w": RNG.standard_normal((6, 3, 3, 3)).astype(np.float32),
    "v": RNG.standard_normal((5, 6, 3, 3)).astype(np.float32),
    "g": RNG.standard_normal((5, 4)).astype(np.float32),
}
# Without biases, the network is homogeneous: k x gives k y.
TEXT = """g (float[N, 3, 8, 8] x) => (float[N, 4] y) {
    c = Conv <pads = [1, 1, 1, 1]> (x, w) r = Relu(c) d = Conv(r, v)
    p = GlobalAveragePool(d) f = Flatten(p) y = MatMul(f, g) }"""
X = [RNG.standard_normal((2, 3, 8, 8)).astype(np.float32) for _ in range(6)]
PIPELINES = [
    "round-adaptively",
    "round-adaptively{bits=4,per-channel=false}",
    "correct-bias",
    "equalize-ranges{per-channel=false},quantize{measure=false}",
    "quantize{measure=false,calibration=entropy}",
    "quantize{measure=false,min-sqnr=25}",
    "prune{amount=0.3,criterion=reconstruction,granularity=channel}",
    "decompose-svd{ratio=0.5,measure=false}",
    "prune{amount=0.3},recover{steps=3}",
    "exact,quantize{measure=false},recover{steps=3,mode=end-to-end}",
]


def sqnr(graph, found, feeds):
    signal = noise = 0.0
    for feed in feeds:
        want = run_ort(planish.to_model(graph), feed)["y"].astype(np.float64)
        have = run_ort(planish.to_model(found, portable=True), feed)["y"]
        signal, noise = signal + (want**2).sum(), noise + ((want - have) ** 2).sum()
    return 10 * np.log10(signal / noise) if noise else 200.0


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_unit_of_the_data_changes_nothing(pipeline):
    graph = graph_of(TEXT, WEIGHTS)
    found = []
    # Scores of pruning have a floor.
    small = () if "prune" in pipeline else (2.0**-66,)
    for unit in (1.0, 2.0**66, 2.0**110, *small):
        feeds = [{"x": x * np.float32(unit)} for x in X]
        result = planish.Pipeline.parse(pipeline).run(graph, feeds, strict=True)
        found.append(sqnr(graph, result.graph, feeds))
    assert np.isfinite(found).all()
    assert np.ptp(found) < 1.0, found


@pytest.mark.parametrize("unit", [2.0**66, 2.0**110])
def test_errors_are_explained(unit):
    graph = graph_of(TEXT, WEIGHTS)
    feeds = [{"x": x * np.float32(unit)} for x in X]
    result = planish.Pipeline.parse("quantize{measure=false}").run(graph, feeds)
    report = planish.explain_int8(result.graph, graph, feeds, threads=1, most=0)
    shown = [layer.cumulative for layer in report.layers if layer.cumulative is not None]
    assert shown
    assert all(20 < error < 80 for error in shown)


@pytest.mark.parametrize("unit", [1e-30, 1e-12, 1.0, 1e12, 1e25, 3e37])
def test_moments_are_those_of_float64(unit):
    x = (RNG.standard_normal((1, 5, 700)) + 2).astype(np.float32) * np.float32(unit)
    y = RNG.standard_normal((1, 3, 700)).astype(np.float32) * np.float32(unit)
    moments = Moments()
    for at in range(0, 700, 100):
        moments.add(x[..., at : at + 100], y[..., at : at + 100])
    wide_x, wide_y = x[0].astype(np.float64), y[0].astype(np.float64)
    expected = np.cov(wide_x, wide_y, bias=True)
    np.testing.assert_allclose(
        moments.input_moment()[0], expected[:5, :5], rtol=1e-5, atol=1e-5 * unit**2
    )
    np.testing.assert_allclose(
        moments.cross_moment()[0], expected[5:, :5], rtol=1e-4, atol=1e-4 * unit**2
    )
    np.testing.assert_allclose(moments.output_moment()[0], np.diag(expected)[5:], rtol=1e-5)
    np.testing.assert_allclose(moments.mean_input[0], wide_x.mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize("magnitude", [0.0, 1e-38, LEAST, 1e-3, 1.0, 1e9, MOST, 3e38, np.inf])
def test_units_are_powers_of_two_that_make_squares_fit(magnitude):
    unit = unit_of(magnitude)
    assert np.frexp(unit)[0] == 0.5
    if fits(magnitude):
        assert unit == 1.0
    elif np.isfinite(magnitude):
        assert 0.5 <= magnitude / unit < 1
