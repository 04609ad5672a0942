"""Odd feeds, odd weights, odd graphs, and random networks."""

import warnings

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, reject, settings

import planish
from planish.ir.core.errors import FeedError, PassError
from planish.passes.quantize.instruction_set import saturates

from tests.effort import examples
from tests.helpers import graph_of, ops, reasons, run_ort, run_pass
from tests.strategies import networks

RNG = np.random.default_rng(8)
QUANTIZE = "quantize{measure=false}"
SETTINGS = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


WEIGHTS = {"w": normal(4, 3, 3, 3), "b": normal(4), "v": normal(4, 4, 3, 3)}
TEXT = """g (float[N, 3, H, W] x) => (float[N, 4, P, Q] y) {
    a = Conv<pads=[1, 1, 1, 1]>(x, w, b) r = Relu(a) y = Conv<pads=[1, 1, 1, 1]>(r, v)
}"""


def feeds(*arrays):
    return [{"x": np.asarray(array, np.float32)} for array in arrays]


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0, 1e-30, 1e30])
def test_constant_inputs(value):
    graph = graph_of(TEXT, WEIGHTS)
    data = feeds(np.full((1, 3, 6, 6), value))
    result = run_pass(graph, QUANTIZE, feeds=data)
    expected = planish.compare(graph, result.graph, data)
    assert expected.sqnr_db > 25 or expected.max_abs < 1e-25


def test_activations_that_are_never_anything_but_zero():
    dead = {**WEIGHTS, "b": np.full(4, -1e3, np.float32)}
    graph = graph_of(TEXT, dead)
    data = feeds(normal(1, 3, 6, 6))
    result = run_pass(graph, QUANTIZE, feeds=data)
    assert planish.compare(graph, result.graph, data).max_abs == 0


def test_channels_without_range_keep_their_bias():
    weights = {**WEIGHTS, "w": WEIGHTS["w"].copy(), "b": np.array([5, -3, 0.5, 1e-9], np.float32)}
    weights["w"][:2] = 0
    graph = graph_of(
        "g (float[N, 3, H, W] x) => (float[N, 4, P, Q] y) { y = Conv(x, w, b) }", weights
    )
    data = feeds(normal(1, 3, 6, 6))
    result = run_pass(graph, "quantize{measure=false,calibration=min-max}", feeds=data)
    found = run_ort(planish.to_model(result.graph), data[0])["y"]
    step = 0.51 * next(
        float(n.inputs[1].values)
        for n in result.graph.nodes
        if n.op == "QuantizeLinear" and n.inputs[0].name == "y_float"
    )
    assert np.abs(found[:, 0] - 5).max() <= step
    assert np.abs(found[:, 1] + 3).max() <= step


def test_a_bias_that_int32_cannot_hold_widens_the_weights_scale():
    weights = {**WEIGHTS, "w": WEIGHTS["w"] * 1e-9, "b": np.full(4, 50.0, np.float32)}
    graph = graph_of(
        "g (float[N, 3, H, W] x) => (float[N, 4, P, Q] y) { y = Conv(x, w, b) }", weights
    )
    data = feeds(normal(1, 3, 6, 6))
    result = run_pass(graph, QUANTIZE, feeds=data)
    found = run_ort(planish.to_model(result.graph), data[0])["y"]
    np.testing.assert_allclose(found, 50, rtol=5e-3)


@pytest.mark.parametrize(("value", "kind"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_feeds_that_no_scale_fits_are_refused_with_their_place(value, kind):
    bad = normal(1, 3, 6, 6)
    bad[0, 1, 2, 3] = value
    graph = graph_of(TEXT, WEIGHTS)
    data = feeds(normal(1, 3, 6, 6), bad)
    with pytest.raises((FeedError, PassError), match=f"tensor 'x' holds {kind} in sample 1"):
        planish.Pipeline.parse(QUANTIZE).run(graph, data, verify="off")


def test_no_feeds_at_all_are_refused():
    with pytest.raises((FeedError, PassError), match="no feeds"):
        planish.Pipeline.parse(QUANTIZE).run(graph_of(TEXT, WEIGHTS), [], verify="off")


def test_random_inputs_are_drawn_with_a_remark():
    graph = graph_of(TEXT, WEIGHTS)
    result = planish.Pipeline.parse(QUANTIZE).run(graph)
    assert "no feeds were given" in result.records[0].remarks[0]
    assert "QuantizeLinear" in ops(result.graph)


def test_dynamic_sizes_stay_dynamic():
    graph = graph_of(TEXT, WEIGHTS)
    result = run_pass(graph, QUANTIZE, feeds=feeds(normal(1, 3, 6, 6), normal(2, 3, 9, 5)))
    for shape in ((1, 3, 7, 7), (5, 3, 12, 4)):
        found = planish.compare(graph, result.graph, feeds(normal(*shape)))
        assert found.sqnr_db > 20


def test_weights_that_callers_may_override_stay_float():
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20]> g (float[N, 3, 6, 6] x, float[4, 3, 3, 3] w) '
        "=> (float[N, 4, 4, 4] y) { y = Conv(x, w) }"
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(WEIGHTS["w"], "w"))
    result = run_pass(planish.load(model), QUANTIZE, feeds=feeds(normal(1, 3, 6, 6)))
    assert ops(result.graph) == ["Conv"]
    assert reasons(result) == {"its weight is no constant"}


def test_bodies_that_no_sample_runs_stay_as_they_are():
    graph = graph_of(
        """g (float[N, 3, 6, 6] x, bool c) => (float[N, 4, P, Q] y) {
            a = Conv(x, w, b)
            y = If(c) <
                then_branch = t () => (float[N, 4, P, Q] p) { p = Conv<pads=[1, 1, 1, 1]>(a, v) },
                else_branch = e () => (float[N, 4, P, Q] q) { q = Relu(a) }
            >
        }""",
        WEIGHTS,
    )
    data = [{"x": normal(1, 3, 6, 6), "c": np.array(flag)} for flag in (True, False)]
    result = run_pass(graph, QUANTIZE, feeds=[feed | {"c": np.array(False)} for feed in data])
    assert any("1 layer of a body stays float" in told for told in result.records[0].remarks)
    assert "no sample shows what it works on" in " ".join(reasons(result))
    branch = next(n for n in result.graph.nodes if n.op == "If").attrs["then_branch"]
    assert [node.op for node in branch.nodes] == ["Conv"]
    assert ops(result.graph).count("QuantizeLinear") == 2
    assert planish.compare(graph, result.graph, data).sqnr_db > 30


def test_sixteen_bit_floats_stay_as_they_are():
    graph = graph_of(
        "g (float16[N, 3, 6, 6] x) => (float16[N, 4, 4, 4] y) { y = Conv(x, w) }",
        {"w": WEIGHTS["w"].astype(np.float16)},
    )
    result = run_pass(graph, QUANTIZE, feeds=[{"x": normal(1, 3, 6, 6).astype(np.float16)}])
    assert result.edits == 0
    assert reasons(result) == {"it works on float16, and only float32 is quantized"}


def test_saturating_products_get_weights_of_seven_bits():
    graph = graph_of(TEXT, WEIGHTS)
    data = feeds(normal(1, 3, 6, 6))
    pipeline = planish.Pipeline.parse(QUANTIZE)
    safe = pipeline.run(graph, data, target="cpu{isa=avx2}")
    exact = pipeline.run(graph, data, target="cpu{isa=avx512-vnni}")
    assert any("saturate" in remark for remark in safe.records[0].remarks)
    assert not any("saturate" in remark for remark in exact.records[0].remarks)
    for result, most in ((safe, 63), (exact, 127)):
        stored = [
            node.inputs[0].values
            for node in result.graph.nodes
            if node.op == "DequantizeLinear" and node.inputs[0].dtype == np.int8
        ]
        assert [int(np.abs(q.astype(int)).max()) for q in stored] == [most, most]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("cpu{isa=avx2}", True),
        ("cpu{threads=2, isa=avx512}", True),
        ("cpu{isa=avx512-vnni}", False),
        ("cpu{isa=avx-vnni}", False),
        ("cpu{isa=avx512-bf16}", False),
        ("cpu{isa=amx}", False),
        ("cpu{isa=neon}", False),
        ("cuda", False),
        ("tensorrt", False),
    ],
)
def test_which_targets_saturate(target, expected):
    assert saturates(target) == expected


@given(case=networks())
@settings(SETTINGS, max_examples=examples(60))
def test_random_networks_quantize_run_and_stay_near(case):
    graph = planish.load(case.model)
    data = {
        name: np.nan_to_num(array, nan=0.5, posinf=2, neginf=-2)
        for name, array in case.feeds.items()
    }
    original = run_ort(case.model, data)
    pipeline = planish.Pipeline.parse(QUANTIZE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = pipeline.run(graph, [data], verify="off")
        except (FeedError, PassError) as error:
            if "holds" in str(error):  # the network itself makes NaN or infinity
                reject()
            raise
    assert pipeline.run(result.graph, [data], verify="off").edits == 0
    model = planish.to_model(result.graph)
    assert not any(node.domain == "planish" for node in model.graph.node)
    found = run_ort(model, data)
    assert {n: a.shape for n, a in found.items()} == {n: a.shape for n, a in original.items()}
    wide = pipeline.parse("quantize{measure=false,activations=int16}").run(graph, [data], "off")
    _assert_near(original, found, 0)
    _assert_near(original, run_ort(planish.to_model(wide.graph), data), 12)


def _assert_near(original, found, least):
    for name, a in original.items():
        b = found[name].astype(np.float64)
        a = a.astype(np.float64)
        noise = np.square(a - b).sum()
        assert noise == 0 or 10 * np.log10(np.square(a).sum() / noise) > least, name
