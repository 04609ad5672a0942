"""explain_int8 on models with a known defect built in."""

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

import planish
from planish.backends.onnxruntime.explain import explain as explain_module
from planish.backends.onnxruntime.explain.explain import apply_exclusions
from planish.ir.core.errors import GraphError

from tests.helpers import graph_of

pytestmark = pytest.mark.usefixtures("brief_bench")

R = np.random.default_rng(5)


def normal(*shape):
    return (R.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype("f")


WEIGHTS = {
    "wa": normal(16, 4, 3, 3),
    "wb": normal(16, 16, 3, 3),
    "wc": normal(16, 16, 3, 3),
    "wd": normal(10, 16),
    "axes": np.array([2, 3]),
}
BODY = """
    [a] c0 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, wa)
    [ra] c1 = Relu(c0)
    [b] c2 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (c1, wb)
    [rb] c3 = Relu(c2)
    [c] c4 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (ISLAND, wc)
    [p] g = GlobalAveragePool(c4)
    [s] h = Flatten(g)
    [l] y = Gemm <transB = 1> (h, wd)
"""
FEEDS = [{"x": R.standard_normal((1, 4, 16, 16)).astype("f")} for _ in range(4)]


def network(island=""):
    body = BODY.replace("ISLAND", "c3i" if island else "c3")
    if island:
        body = body.replace("    [c] c4", f"    [i] c3i = {island}(c3)\n    [c] c4")
    return graph_of(f"g (float[1, 4, 16, 16] x) => (float[1, 10] y) {{{body}}}", WEIGHTS)


def quantized(graph, options="measure=false"):
    pipeline = planish.Pipeline.parse(f"quantize{{{options}}}")
    return pipeline.run(graph, FEEDS, verify="off").graph


def by_onnxruntime(graph, folder, form=QuantFormat.QDQ):
    class Reader(CalibrationDataReader):
        def __init__(self):
            self._feeds = iter(FEEDS)

        def get_next(self):
            return next(self._feeds, None)

    planish.save(graph, folder / "float.onnx")
    quantize_static(
        str(folder / "float.onnx"),
        str(folder / "int8.onnx"),
        Reader(),
        quant_format=form,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,  # or products saturate on CPUs without a dot product of bytes
    )
    return planish.load(folder / "int8.onnx")


def with_scale(graph, name, factor):
    """Return `graph` with the scale called `name` multiplied, and the integers as they are."""
    model = planish.to_model(graph)
    for tensor in model.graph.initializer:
        if tensor.name == name:
            values = onnx.numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))
            return planish.load(model)
    raise AssertionError(name)


def explain(graph, floats=None, **options):
    return planish.explain_int8(graph, floats, FEEDS, threads=1, **options)


def layer(report, name):
    return next(found for found in report.layers if found.node == name)


@pytest.fixture
def alike_times(monkeypatch):
    """Have all graphs take the same time, so that what is worth most does not turn with noise."""

    def bench(subjects, **options):
        return [SimpleNamespace(median_ms=1.0) for _ in subjects]

    monkeypatch.setattr(explain_module, "bench", bench)


@pytest.fixture(params=["planish", "onnxruntime"])
def healthy(request, tmp_path):
    if request.param == "planish":
        return quantized(network())
    return by_onnxruntime(network(), tmp_path)


def test_a_healthy_model_runs_on_integers_and_every_error_is_small(healthy):
    report = explain(healthy, network(), most=0)
    names = {found.node for found in report.layers}
    assert {"a", "b", "c", "p", "s", "l"} <= names
    assert {layer(report, n).precision for n in "abcp"} == {"int8"}
    for name in "abcl":
        found = layer(report, name)
        assert found.local > 30
        assert found.weights > 30
        assert found.cumulative > 25
        assert found.why_float is None
    assert not report.float_made
    assert not report.unmatched
    assert not report.foreign
    assert report.original.sqnr_db == np.inf
    assert report.before.sqnr_db > 25


def test_errors_add_up_along_the_network(healthy):
    report = explain(healthy, network(), most=0)
    assert layer(report, "c").cumulative < layer(report, "c").local
    assert layer(report, "a").cumulative > layer(report, "c").cumulative


def test_a_weight_with_a_wrong_scale_is_worst_and_taken_back(healthy, alike_times):
    scale = next(
        t.name
        for n in healthy.nodes
        if n.op == "DequantizeLinear" and n.inputs[0].name.startswith("wb_quantized")
        for t in n.inputs[1:2]
    )
    broken = with_scale(healthy, scale, 3)
    report = explain(broken, network(), most=2)
    worst = min(report.layers, key=lambda found: np.inf if found.local is None else found.local)
    assert worst.node == "b"
    assert worst.weights == pytest.approx(-20 * np.log10(2), abs=0.2)  # |3w - w| = 2|w|
    assert layer(report, "a").local > 30
    best = report.suggestions[0]
    assert best.nodes == ("b",)
    assert best.gain_db > 20
    assert best.applied
    repaired = apply_exclusions(broken, best.nodes, network())
    assert planish.compare(network(), repaired, FEEDS).sqnr_db > 25


def test_an_activation_with_a_wrong_scale_is_named_with_both_operators_that_need_it(alike_times):
    broken = with_scale(quantized(network()), "c1_scale", 1 / 20)
    report = explain(broken, network(), most=2)
    worst = min(report.layers, key=lambda found: np.inf if found.local is None else found.local)
    assert worst.node == "a"
    assert worst.rounding < 10 < worst.weights
    best = report.suggestions[0]
    assert set(best.nodes) == {"a", "b"}
    assert best.applied
    repaired = apply_exclusions(broken, best.nodes, network())
    assert planish.compare(network(), repaired, FEEDS).sqnr_db > 25


def test_without_a_float_model_the_wrong_activation_is_found_and_weights_are_unknown(alike_times):
    broken = with_scale(quantized(network()), "c1_scale", 1 / 20)
    report = explain(broken, most=2)
    assert report.float_made
    assert {found.weights for found in report.layers} == {None}
    assert set(report.suggestions[0].nodes) == {"a", "b"}


def test_a_float_island_is_seen_with_the_conversions_beside_it():
    report = explain(quantized(network("Erf")), network("Erf"), most=0)
    found = layer(report, "i")
    assert found.precision == "float32"
    kinds = {c.kind for name in "ibc" for c in layer(report, name).conversions}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert any("DequantizeLinear were left unfused" in remark for remark in report.remarks)


def test_a_convolution_without_a_pair_behind_it_runs_in_float_and_says_why():
    healthy = quantized(network())
    edited = planish.load(planish.to_model(healthy))
    quantizer = next(
        n for n in edited.nodes if n.op == "QuantizeLinear" and "c4" in n.inputs[0].name
    )
    back = quantizer.outputs[0].outputs[0]
    for reader in list(back.outputs[0].outputs):
        reader.inputs[0] = quantizer.inputs[0]
    edited.cleanup()
    report = explain(edited, network(), most=0)
    found = layer(report, "c")
    assert found.precision == "float32"
    assert found.why_float == "its result is not quantized"


def test_a_float_model_is_refused():
    with pytest.raises(GraphError, match="has no quantized layers"):
        explain(network())


def test_the_qoperator_format_is_explained_as_pairs(tmp_path):
    """Its operators are those between pairs, on the same integer kernels."""
    held = by_onnxruntime(network(), tmp_path, QuantFormat.QOperator)
    assert any(node.op == "QLinearConv" for node in held.nodes)
    report = explain(held, network())
    assert {each.op for each in report.layers} >= {"Conv", "Gemm"}
    layers = {each.node: each for each in report.layers if each.op in ("Conv", "Gemm")}
    assert {each.precision for each in layers.values()} == {"int8"}  # as the file runs
    assert report.before.sqnr_db > 15


def test_drawn_feeds_are_told():
    report = planish.explain_int8(quantized(network()), network(), threads=1, most=0)
    assert report.drawn_feeds


def test_an_equalized_layer_is_foreign_and_not_called_wrong():
    floats = network()
    scaled = dict(WEIGHTS)
    factors = R.uniform(0.2, 5, 16).astype("f")
    scaled["wa"] = WEIGHTS["wa"] * factors[:, None, None, None]
    scaled["wb"] = WEIGHTS["wb"] / factors[None, :, None, None]
    text = f"g (float[1, 4, 16, 16] x) => (float[1, 10] y) {{{BODY.replace('ISLAND', 'c3')}}}"
    report = explain(quantized(graph_of(text, scaled)), floats, most=0)
    assert report.foreign == ("a", "b")
    assert layer(report, "a").cumulative is None
    assert layer(report, "c").local > 30
    assert report.before.sqnr_db > 25
