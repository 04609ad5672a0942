"""What is said of a result that is not exact: distances by output, metrics, speed."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import planish
from planish.ir.metrics.result import MetricResult
from planish.ir.run.comparison import Comparison
from planish.ir.run.distance import OutputComparison
from planish.passes.engine.quality import MeasuredQuality
from planish.passes.trust.measured import measured_parts, noise_warning

from tests.cli.common import X
from tests.helpers import conv_batchnorm, graph_of

FEEDS = [{"x": X}, {"x": -X}]


def output(name, sqnr_db):
    return OutputComparison(
        name=name, max_abs=1, max_rel=1, sqnr_db=sqnr_db, cosine=1, top1_agreement=None
    )


def comparison(**ratios):
    return Comparison(tuple(output(name, ratio) for name, ratio in ratios.items()))


@pytest.mark.parametrize("verify", ["each", "end"])
def test_a_run_that_is_not_exact_says_what_compare_says(verify):
    graph = planish.load(conv_batchnorm(8))
    result = planish.Pipeline.parse("fold-batchnorm,prune{amount=0.5}").run(graph, FEEDS, verify)
    expected = planish.compare(graph, result.graph, FEEDS)
    assert result.comparison.outputs[0].sqnr_db == pytest.approx(expected.sqnr_db, abs=0.01)
    assert result.comparison.outputs[0].max_abs == pytest.approx(expected.max_abs, rel=1e-4)
    assert [m.what for m in result.comparison.metrics] == [m.what for m in expected.metrics]


def test_an_exact_run_has_no_comparison():
    result = planish.Pipeline.parse("exact").run(planish.load(conv_batchnorm(8)), FEEDS)
    assert result.tolerance is not None
    assert result.comparison is None


def test_every_output_has_its_ratio_and_of_many_the_worst_are_named():
    assert measured_parts(comparison(y=21.44), MeasuredQuality()) == ["SQNR 21.4 dB"]
    assert measured_parts(comparison(a=20, b=math.inf), MeasuredQuality()) == [
        "SQNR 20.0 dB (a), exact (b)"
    ]
    (many,) = measured_parts(comparison(**{f"o{i}": 10.0 + i for i in range(9)}), MeasuredQuality())
    assert re.findall(r"\((o\d)\)", many) == ["o0", "o1", "o2", "o3", "o4", "o5"]
    assert many.endswith("and no less of 3 more outputs")


def test_what_a_pass_measured_on_all_samples_counts():
    metric = MetricResult(name="top-1 agreement", subject="of 'y'", value=0.977, samples=64)
    noise = MetricResult(name="SQNR", subject="of output 'y'", value=20, samples=64, unit="dB")
    parts = measured_parts(comparison(y=20), MeasuredQuality((metric, noise), 2.19))
    assert parts == [
        "SQNR 20.0 dB",
        "top-1 agreement 97.7 % on 64 samples",
        "2.19 times as fast as before",
    ]


def test_next_to_noise_is_warned_of():
    assert noise_warning(comparison(y=10.1, z=math.inf), drawn=False) == ""
    found = noise_warning(comparison(y=9, z=-3.2, w=30), drawn=False)
    assert found.startswith("output 'z' is at -3.2 dB and 1 other output, nearly noise")
    assert "scale and mean" in found
    assert "--feeds" in noise_warning(comparison(y=9), drawn=True)


def test_quantize_tells_what_it_judged_by():
    graph = planish.load(conv_batchnorm(8))
    feeds = [{"x": np.random.default_rng(i).standard_normal(X.shape, np.float32)} for i in range(4)]
    text = "fold-batchnorm,quantize{measure=false,min-sqnr=5}"
    result = planish.Pipeline.parse(text).run(graph, feeds)
    (metric,) = result.quality.metrics
    assert metric.samples == 16
    assert metric.value == pytest.approx(result.comparison.sqnr_db, abs=0.5)
    assert result.quality.speedup is None


def test_what_is_no_float_has_no_noise():
    """An index that differs by one is no signal with noise on it, and text is none at all."""
    text = """
        g (float[1,3,8,8] x) => (float[1,4,6,6] c, int64[1,1,6,6] a, string[1,4,6,6] s)
        { c = Conv(x, w) a = ArgMax<axis=1>(c) s = Cast<to=8>(c) }
    """
    generator = np.random.default_rng(0)
    weights = {"w": generator.standard_normal((4, 3, 3, 3), np.float32)}
    feeds = [{"x": generator.standard_normal((1, 3, 8, 8), np.float32)}]
    result = planish.Pipeline.parse("prune{amount=0.9}").run(graph_of(text, weights), feeds)
    assert [each.is_float for each in result.comparison.outputs] == [True, False, False]
    parts = measured_parts(result.comparison, MeasuredQuality())
    assert re.fullmatch(r"SQNR -?[\d.]+ dB", parts[0])
    assert {"a is another", "s is another"} <= set(parts)
    assert "output 'c'" in noise_warning(result.comparison, drawn=False)
    assert "other output" not in noise_warning(result.comparison, drawn=False)
