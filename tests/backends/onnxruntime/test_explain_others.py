"""explain_int8 on graphs whose integers are in bodies, or on grids that are found at run time."""

from __future__ import annotations

import numpy as np
import pytest
from onnxruntime.quantization import quantize_dynamic

import planish
from planish.backends.onnxruntime.explain.explain import apply_exclusions
from planish.ir.core.errors import GraphError
from planish.ir.graph.uses import scopes

from tests.helpers import model_of, ops, relative_error, run_ort

pytestmark = pytest.mark.usefixtures("brief_bench")

R = np.random.default_rng(7)
HEADER = '<ir_version: 8, opset_import: ["" : 17]> '
KERNELS = {
    name: (R.standard_normal((8, 8, 3, 3)) / 8).astype(np.float32) for name in ("w", "v", "u")
}
BODIES = {
    "If": """g (float[1, 8, 8, 8] x, bool c) => (float[1, 8, A, B] y) {
        y = If (c) <
            then_branch = a () => (float[1, 8, A, B] p) {
                [one] k = Conv (x, v) [two] p = Conv (k, u) },
            else_branch = b () => (float[1, 8, A, B] p) {
                [one] k = Conv (x, u) [three] p = Conv (k, w) }> }""",
    "Loop": """g (float[1, 8, 8, 8] x, bool c) => (float[1, 8, 8, 8] y) {
        t = Constant <value = bool {1}> () n = Constant <value_int = 3> ()
        y = Loop (n, t, x) <body = a (int64 i, bool k, float[1, 8, 8, 8] p) =>
            (bool j, float[1, 8, 8, 8] q) {
                j = Identity (k) [one] d = Conv <pads = [1, 1, 1, 1]> (p, w)
                [two] q = Conv <pads = [1, 1, 1, 1]> (d, v) }> }""",
}
PLAIN = "quantize{measure=false,guard=off}"


def _feeds():
    x = R.standard_normal((4, 1, 8, 8, 8)).astype(np.float32)
    return [{"x": x[i], "c": np.array(i % 2 > 0)} for i in range(4)]


def _model(text, weights):
    used = {name: held for name, held in weights.items() if f"{name})" in text}
    return model_of(HEADER + text, used)


@pytest.mark.parametrize("holder", BODIES)
@pytest.mark.parametrize("known", [True, False])
def test_layers_of_bodies_are_reported(holder, known):
    model, feeds = _model(BODIES[holder], KERNELS), _feeds()
    graph = planish.Pipeline.parse(PLAIN).run(planish.load(model), feeds, verify="off").graph
    floats = planish.load(model) if known else None
    report = planish.explain_int8(graph, floats, feeds, threads=1)
    layers = [layer for layer in report.layers if layer.inside is not None and layer.op == "Conv"]
    assert len(layers) == (4 if holder == "If" else 2)
    assert {(layer.precision, layer.inside) for layer in layers} == {("int8", "y")}
    assert all(layer.ms > 0 for layer in layers)  # of both branches, which samples take in turn
    assert 15 < report.before.sqnr_db < 60  # the float model made of it is float inside too
    (told,) = (text for text in report.remarks if "errors are not measured" in text)
    assert all(layer.node in told for layer in layers)
    assert not any(layer.node in report.unmatched for layer in layers)


def test_a_body_is_taken_back_whole():
    model, feeds = _model(BODIES["If"], KERNELS), _feeds()
    graph = planish.Pipeline.parse(PLAIN).run(planish.load(model), feeds, verify="off").graph
    report = planish.explain_int8(graph, planish.load(model), feeds, threads=1)
    (best,) = (found for found in report.suggestions if "in the body of y" in found.why)
    taken = planish.to_model(apply_exclusions(graph, best.nodes, planish.load(model)))
    for feed in feeds:
        assert relative_error(run_ort(model, feed)["y"], run_ort(taken, feed)["y"]) < 1e-6


def test_an_integer_operator_without_a_form_as_pairs_is_named():
    """Beside layers that have one, which are explained."""
    text = """g (float[1, 4] x) => (float[1, 4] y) {
        q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) a = Add (d, d)
        b = QuantizeLinear (a, s, z) e = DequantizeLinear (b, s, z)
        m = MatMulInteger (q, w, z) f = Cast <to = 1> (m) r = Mul (f, s) y = Add (e, r) }"""
    weight = R.integers(-9, 9, (4, 4)).astype(np.int8)
    graph = planish.load(
        model_of(HEADER + text, {"s": np.float32(0.05), "z": np.uint8(120), "w": weight})
    )
    feeds = [{"x": R.uniform(-2, 2, (1, 4)).astype(np.float32)}]
    report = planish.explain_int8(graph, None, feeds, threads=1, most=0)
    assert {"MatMulInteger", "Add"} <= {each.op for each in report.layers}
    (told,) = (text for text in report.remarks if "no form with QuantizeLinear" in text)
    assert told.startswith("1 integer operator has")
    assert "MatMulInteger 'm'" in told


def test_stored_weights_are_said_to_compute_in_float():
    text = """g (float[1, 4] x) => (float[1, 4] y) {
        f = Cast <to = 1> (w) r = Mul (f, s) y = MatMul (x, r) }"""
    weight = R.integers(-9, 9, (4, 4)).astype(np.int8)
    graph = planish.load(model_of(HEADER + text, {"w": weight, "s": np.float32(0.1)}))
    with pytest.raises(GraphError, match="stores weights as integers and computes in float"):
        planish.explain_int8(graph)


MATRICES = {
    "w": (R.standard_normal((64, 96)) / 8).astype(np.float32),
    "v": (R.standard_normal((96, 64)) / 8).astype(np.float32),
    "b": R.standard_normal(96).astype(np.float32),
}
DENSE = """g (float[N, 64] x) => (float[N, 64] y, float[N, 96] a) {
    [one] m = MatMul (x, w) a = Add (m, b) r = Relu (a) [two] y = MatMul (r, v) }"""


@pytest.fixture(params=["planish", "onnxruntime"])
def dynamic(request, tmp_path):
    """Return a network and the same on integers whose grids are found at run time."""
    model = model_of(HEADER + DENSE, MATRICES)
    planish.save(planish.load(model), tmp_path / "float.onnx")
    if request.param == "planish":
        return model, planish.Pipeline.parse("quantize-dynamically{least=0}").run(
            planish.load(model), verify="off"
        ).graph
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "int8.onnx")
    return model, planish.load(tmp_path / "int8.onnx")


@pytest.mark.parametrize("known", [True, False])
def test_grids_that_are_found_at_run_time(dynamic, known):
    model, graph = dynamic
    feeds = [{"x": R.standard_normal((5, 64)).astype(np.float32)} for _ in range(3)]
    report = planish.explain_int8(
        graph, planish.load(model) if known else None, feeds, threads=1, most=0
    )
    layers = [layer for layer in report.layers if layer.op == "MatMul"]
    assert [layer.precision for layer in layers] == ["int8 -> float32"] * 2
    assert all(layer.cumulative > 20 for layer in layers)
    assert not known or all(layer.weights > 30 for layer in layers)
    assert 20 < report.before.sqnr_db < 60
    assert not any("no form" in text for text in report.remarks)


def test_one_of_them_goes_back_and_the_other_stays(dynamic):
    model, graph = dynamic
    name = next(layer.node for layer in _layers(graph) if layer.op == "MatMul")
    taken = apply_exclusions(graph, [name], planish.load(model))
    nodes = [node.op for scope in scopes(taken) for node in scope.nodes]
    assert nodes.count("MatMul") == nodes.count("MatMulInteger") == 1
    assert ops(taken).count("DynamicQuantizeLinear") == 1
    feed = {"x": R.standard_normal((5, 64)).astype(np.float32)}
    wanted, found = run_ort(model, feed), run_ort(planish.to_model(taken), feed)
    assert relative_error(wanted["a"], found["a"]) < 1e-6
    assert 1e-4 < relative_error(wanted["y"], found["y"]) < 0.1


def _layers(graph):
    feeds = [{"x": R.standard_normal((2, 64)).astype(np.float32)}]
    return planish.explain_int8(graph, None, feeds, threads=1, most=0).layers


def test_sizes_that_values_decide_may_differ_from_the_float_model():
    """What is above a bound, as boxes after NMS: one more or less than in float."""
    text = """g (float[N, 64] x) => (float[1, K] y) {
        [one] a = MatMul (x, w) f = Flatten <axis = 0> (a) c = Greater (f, t) n = NonZero (c)
        i = Cast <to = 1> (n) z = Constant <value_ints = [0]> () o = Constant <value_ints = [1]> ()
        s = Slice (i, o, e, z) y = Sqrt (s) }"""
    held = {"w": MATRICES["w"], "t": np.float32(1.0), "e": np.array([2])}
    model = model_of(HEADER + text, held)
    rng = np.random.default_rng(1)
    feeds = [{"x": rng.standard_normal((5, 64)).astype(np.float32)} for _ in range(3)]
    graph = planish.Pipeline.parse(PLAIN).run(planish.load(model), feeds, verify="off").graph
    counts = [run_ort(each, feed)["y"].size
              for each in (model, planish.to_model(graph)) for feed in feeds]  # fmt: skip
    assert counts[:3] != counts[3:]
    for floats in (planish.load(model), None):
        report = planish.explain_int8(graph, floats, feeds, threads=1, most=0)
        by_name = {layer.node: layer for layer in report.layers}
        assert by_name["one"].cumulative > 20
        assert by_name["y"].cumulative is None


@pytest.mark.parametrize("opsets", [(12, 17), (17, 13)])
def test_a_float_model_of_another_opset(opsets):
    """Quantizing raises opsets; Squeeze has its axes elsewhere then."""
    header = '<ir_version: 8, opset_import: ["" : {0}]> '
    text = "g (float[N, 64, 1] x) => (float[N, 64] y) {{ {0} [one] a = MatMul (s, w) r = Relu (a)" \
        " [two] y = MatMul (r, v) }}"  # fmt: skip
    old, new = "s = Squeeze <axes = [2]> (x)", "s = Squeeze (x, two)"
    held = {"w": MATRICES["w"], "v": MATRICES["v"]}
    models = [
        model_of(
            header.format(opset) + text.format(old if opset < 13 else new),
            held | ({} if opset < 13 else {"two": np.array([2])}),
        )
        for opset in opsets
    ]
    feeds = [{"x": R.standard_normal((5, 64, 1)).astype(np.float32)} for _ in range(3)]
    graph = planish.Pipeline.parse(PLAIN).run(planish.load(models[1]), feeds, verify="off").graph
    report = planish.explain_int8(graph, planish.load(models[0]), feeds, threads=1, most=0)
    layers = [layer for layer in report.layers if layer.op == "MatMul"]
    assert [layer.cumulative > 20 for layer in layers] == [True, True]


def test_absent_inputs_and_results_lead_nowhere():
    """A recurrent layer has many of both, and none of them is that of another node."""
    text = """g (float[5, 1, 8] x) => (float[1, 1, 6] y, float[1, 1, 6] z) {
        , h, c = LSTM <hidden_size = 6> (x, W, R, , , i) y = Identity (h)
        q = QuantizeLinear (h, s, o) d = DequantizeLinear (q, s, o)
        , k, = LSTM <hidden_size = 6> (x, W, R, , , d) z = Relu (k) }"""
    held = {
        "W": (R.standard_normal((1, 24, 8)) / 3).astype(np.float32),
        "R": (R.standard_normal((1, 24, 6)) / 3).astype(np.float32),
        "i": np.zeros((1, 1, 6), np.float32),
        "s": np.float32(0.01),
        "o": np.uint8(128),
    }
    graph = planish.load(model_of(HEADER + text, held))
    feeds = [{"x": R.standard_normal((5, 1, 8)).astype(np.float32)}]
    report = planish.explain_int8(graph, None, feeds, threads=1, most=0)
    layers = [layer for layer in report.layers if layer.op == "LSTM"]
    assert [layer.ms > 0 for layer in layers] == [True, True]


def test_large_weights_that_only_bodies_read():
    """Both models have them, of one name, and bodies read inputs of the graph."""
    text = """g (float[1, 8, 8, 8] x, bool c) => (float[1, 8, A, B] y) {
        h = Conv (x, w) y = If (c) <
            then_branch = a () => (float[1, 8, A, B] p) {
                f = Flatten (x) m = MatMul (f, big) s = ReduceMean <keepdims = 0> (m)
                p = Add (h, s) },
            else_branch = b () => (float[1, 8, A, B] q) { q = Relu (h) }> }"""
    big = (R.standard_normal((512, 64)) / 20).astype(np.float32)
    model, feeds = model_of(HEADER + text, {"w": KERNELS["w"], "big": big}), _feeds()
    graph = (
        planish.Pipeline.parse("quantize{measure=false,guard=off,operators=[Conv]}")
        .run(planish.load(model), feeds, verify="off")
        .graph
    )
    report = planish.explain_int8(graph, planish.load(model), feeds, threads=1, most=0)
    layers = {layer.op: layer for layer in report.layers}
    assert layers["Conv"].cumulative > 20
    assert layers["If"].cumulative > 20
