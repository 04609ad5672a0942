"""A pipeline that quantizes with less than the preset says what the preset does besides."""

from __future__ import annotations

import numpy as np
import pytest

from planish import Pipeline
from planish.passes.pipeline.attempt import members
from planish.passes.pipeline.presets import PRESETS
from planish.passes.pipeline.registry import all_passes

from tests.helpers import graph_of

RNG = np.random.default_rng(0)
WEIGHTS = {
    "w": RNG.standard_normal((8, 3, 3, 3)).astype(np.float32),
    "v": RNG.standard_normal((8, 8, 3, 3)).astype(np.float32),
}
TEXT = """g (float[N, 3, 8, 8] x) => (float[N, 8, 4, 4] y) {
    a = Conv(x, w) r = Relu(a) y = Conv(r, v) }"""
FEEDS = [{"x": RNG.standard_normal((1, 3, 8, 8)).astype(np.float32)} for _ in range(4)]
QUANTIZE = "quantize{measure=false,guard=off}"


def _told(pipeline):
    result = Pipeline.parse(pipeline).run(graph_of(TEXT, WEIGHTS), FEEDS, verify="off")
    return [r for record in result.records for r in record.remarks if "preset int8" in r]


@pytest.mark.parametrize(
    ("before", "missing"),
    [
        ("", "equalize-ranges and round-adaptively"),
        ("exact,", "equalize-ranges and round-adaptively"),
        ("exact,equalize-ranges,", "round-adaptively"),
        ("exact,correct-bias,round-adaptively,", "equalize-ranges"),
    ],
)
def test_what_the_preset_does_besides_is_said_once(before, missing):
    (told,) = _told(f"{before}{QUANTIZE}")
    assert told.startswith(f"the preset int8 also runs {missing} before it, ")


@pytest.mark.parametrize("text", ["int8", f"exact,equalize-ranges,round-adaptively,{QUANTIZE}"])
def test_nothing_is_said_where_all_of_it_ran(text, brief_bench):
    assert _told(text) == []


def test_nothing_is_said_where_nothing_was_quantized():
    assert _told("exact,quantize{operators=[MatMul],measure=false}") == []


def test_what_is_said_is_what_the_preset_has():
    passes = [each for item in Pipeline.parse(PRESETS["int8"]).passes for each in members(item)]
    preparing = {each.name for each in passes if each.prepares}
    (told,) = _told(QUANTIZE)
    assert preparing == {each for each in all_passes() if f" {each} " in told}
