"""Inputs and outputs of 16 bits: the same numbers as with Casts around the graph."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest

import planish

from tests.helpers import graph_of, ops, relative_error, run_ort

R = np.random.default_rng(0)
WEIGHTS = {
    "w": R.standard_normal((8, 3, 3, 3)).astype(np.float32),
    "v": R.standard_normal((16, 8)).astype(np.float32),
    "one": np.array(1, np.int64),
    "zero": np.float32(0),
}
X = "g (float[N, 3, 8, 8] x) => (float[N, 8, 6, 6] y"
BODIES = {
    "a layer": f"{X}) {{ y = Conv (x, w) }}",
    "two readers of an input": f"""{X}, float[N, 3, 8, 8] z)
        {{ y = Conv (x, w)  z = Exp (x) }}""",
    "an output that is read": f"""{X}, float[N, 8, 6, 6] c)
        {{ c = Conv (x, w)  y = Relu (c) }}""",
    "an output that stays float32 inside": f"{X}) {{ c = Conv (x, w)  y = Softmax (c) }}",
    "an input that is an output": f"""{X}, float[N, 3, 8, 8] z)
        {{ z = Identity (x)  y = Conv (x, w) }}""",
    "integers beside": """g (float[N, 3, 8, 8] x, int64[N] i) => (float[N, 8, 6, 6] y, int64[N] j)
        { y = Conv (x, w)  j = Add (i, one) }""",
    "read in a branch": """g (float[N, 3, 8, 8] x, bool b) => (float[N, 3, 8, 8] y) {
        y = If (b) < then_branch = t () => (float[N, 3, 8, 8] p) { p = Relu (x) },
                     else_branch = e () => (float[N, 3, 8, 8] q) { q = Exp (x) } > }""",
    "nothing to convert": "g (float[N, 3] x) => (float[N, 3] y) { y = Exp (x) }",
}


def _feed(graph):
    kinds = {t.name: t for t in graph.inputs}
    made = {}
    for name, tensor in kinds.items():
        shape = [2 if isinstance(d, str) else d for d in tensor.shape]
        if tensor.dtype == np.float32:
            made[name] = R.standard_normal(shape).astype(np.float16).astype(np.float32)
        else:
            made[name] = np.ones(shape, tensor.dtype)
    return made


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_numbers_are_those_with_casts_around(body):
    used = {key: value for key, value in WEIGHTS.items() if f", {key})" in body}
    graph = graph_of(body, used)
    feed = _feed(graph)
    plain = planish.Pipeline.parse("convert-precision").run(graph).graph
    narrow = planish.Pipeline.parse("convert-precision{keep-io=false}").run(graph).graph
    floats = [t for t in (*narrow.inputs, *narrow.outputs) if t.name not in ("i", "j", "b")]
    assert {np.dtype(t.dtype) for t in floats} == {np.dtype(np.float16)}
    assert [t.name for t in narrow.outputs] == [t.name for t in graph.outputs]
    model = planish.to_model(narrow)
    onnx.checker.check_model(model, full_check=True)
    given = {k: a.astype(np.float16) if a.dtype == np.float32 else a for k, a in feed.items()}
    wanted, found = run_ort(planish.to_model(plain), feed), run_ort(model, given)
    for name, array in wanted.items():
        rounded = array.astype(np.float16) if array.dtype == np.float32 else array
        assert found[name].dtype == rounded.dtype
        assert relative_error(rounded, found[name]) <= 1e-3
    again = planish.Pipeline.parse("convert-precision{keep-io=false}").run(narrow)
    assert ops(again.graph) == ops(narrow)


def test_no_cast_is_left_around_a_layer():
    graph = graph_of(BODIES["a layer"], {"w": WEIGHTS["w"]})
    result = planish.Pipeline.parse("convert-precision{keep-io=false}").run(graph, verify="each")
    assert ops(result.graph) == ["Conv"]
    assert result.records[0].error is not None
    assert any("at the end" in remark for remark in result.records[0].remarks)


def test_passes_behind_see_the_types_that_callers_give():
    """The types change when all has run: what follows is verified on the feeds as they are."""
    graph = graph_of(BODIES["a layer"], {"w": WEIGHTS["w"]})
    text = "convert-precision{keep-io=false},eliminate-identities,quantize-weights"
    result = planish.Pipeline.parse(text).run(graph, [_feed(graph)], verify="each")
    assert np.dtype(result.graph.inputs[0].dtype) == np.float16
    assert result.verified


def test_bfloat16():
    graph = graph_of(BODIES["a layer"], {"w": WEIGHTS["w"]})
    text = "convert-precision{to=bfloat16,keep-io=false}"
    result = planish.Pipeline.parse(text).run(graph).graph
    assert np.dtype(result.inputs[0].dtype) == np.dtype(ml_dtypes.bfloat16)
    assert np.dtype(result.outputs[0].dtype) == np.dtype(ml_dtypes.bfloat16)


def test_graphs_of_either_type_are_compared():
    graph = graph_of(BODIES["a layer"], {"w": WEIGHTS["w"]})
    narrow = planish.Pipeline.parse("convert-precision{keep-io=false}").run(graph).graph
    assert planish.compare(graph, narrow, [_feed(graph)]).sqnr_db > 50
