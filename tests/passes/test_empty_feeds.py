"""Feeds with no samples, or with one."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.ir.core.errors import FeedError

from tests.helpers import graph_of

RNG = np.random.default_rng(1)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


WEIGHTS = {"w": normal(6, 3, 3, 3), "v": normal(6, 6, 3, 3), "g": normal(6, 5)}
TEXT = """g (float[N, 3, 8, 8] x) => (float[N, 5] y) {
    c = Conv(x, w) r = Relu(c) d = Conv(r, v) p = GlobalAveragePool(d) f = Flatten(p)
    y = MatMul(f, g) }"""
MEASURING = [
    "quantize{measure=false}",
    "quantize{measure=false,min-sqnr=20}",
    "quantize{measure=false,calibration=entropy}",
    "equalize-ranges{per-channel=false}",
    "int8",
    "prune{amount=0.3,granularity=channel,criterion=activation}",
    "prune{amount=0.3,granularity=channel,criterion=reconstruction}",
    "prune{amount=0.3},recover{steps=2}",
    "quantize{measure=false},reconstruct-blocks{steps=2}",
]


@pytest.mark.parametrize("pipeline", MEASURING)
def test_empty_batches_alone_are_no_samples(pipeline):
    feeds = [{"x": normal(0, 3, 8, 8)}] * 2
    with pytest.raises(FeedError, match="give at least one"):
        planish.Pipeline.parse(pipeline).run(graph_of(TEXT, WEIGHTS), feeds, verify="off")


@pytest.mark.parametrize("pipeline", ["round-adaptively", "correct-bias"])
def test_without_samples_nothing_is_rounded(pipeline):
    feeds = [{"x": normal(0, 3, 8, 8)}]
    result = planish.Pipeline.parse(pipeline).run(graph_of(TEXT, WEIGHTS), feeds, verify="off")
    assert result.edits == 0


@pytest.mark.parametrize("pipeline", [*MEASURING[:4], "round-adaptively", "correct-bias"])
def test_empty_batches_among_others_change_nothing(pipeline):
    graph, x = graph_of(TEXT, WEIGHTS), normal(2, 3, 8, 8)
    run = planish.Pipeline.parse(pipeline).run
    expected = run(graph, [{"x": x}], verify="off").graph
    feeds = [{"x": x[:0]}, {"x": x}, {"x": x[:0]}]
    found = run(graph, feeds, verify="off").graph
    if "adaptively" not in pipeline and "correct" not in pipeline:  # these draw positions by batch
        assert planish.to_model(found) == planish.to_model(expected)
    assert [node.op for node in found.nodes] == [node.op for node in expected.nodes]


@pytest.mark.parametrize("mode", ["blocks", "end-to-end"])
@pytest.mark.parametrize("batch", ["N", "1", "2"])
def test_one_sample_is_enough_to_learn_from(mode, batch):
    graph = graph_of(TEXT.replace("N, 3", f"{batch}, 3").replace("N, 5", f"{batch}, 5"), WEIGHTS)
    feeds = [{"x": normal(2 if batch == "2" else 1, 3, 8, 8)}]
    pipeline = planish.Pipeline.parse(f"prune{{amount=0.3}},recover{{steps=2,mode={mode}}}")
    assert pipeline.run(graph, feeds, strict=True).records[-1].edits
