"""Narrow floats: where they are, where Casts stand, and what stays float32 and why."""

from __future__ import annotations

from collections import Counter

import ml_dtypes
import numpy as np
import onnx
import onnx.reference
import onnxruntime as ort
import pytest

import planish
from planish.ir.core.errors import PassError

from tests.helpers import graph_of, model_of, ops, reasons, relative_error, run_ort, run_pass

R = np.random.default_rng(0)
HALF, BRAIN = "convert-precision", "convert-precision{to=bfloat16,compute=half}"


def _normal(*shape, scale=0.1):
    return (R.standard_normal(shape) * scale).astype(np.float32)


CHAIN = """g (float[N, 3, 9, 9] x) => (float[N, 10] y) {
    c = Conv <pads = [1, 1, 1, 1]> (x, w, b) r = Relu (c) d = Conv (r, v) s = Add (d, t)
    p = GlobalAveragePool (s) f = Flatten (p) y = Gemm (f, m, k) }"""
WEIGHTS = {
    "w": (32, 3, 3, 3),
    "b": (32,),
    "v": (32, 32, 3, 3),
    "t": (32, 1, 1),
    "m": (32, 10),
    "k": (10,),
}


def _chain(opset=20, kind=np.float32):
    header = f'<ir_version: 9, opset_import: ["" : {opset}]>\n'
    weights = {name: _normal(*shape).astype(kind) for name, shape in WEIGHTS.items()}
    return model_of(header + CHAIN, weights), {"x": _normal(4, 3, 9, 9, scale=1)}


def _rounded(model, kind):
    """Return the model with its weights rounded by numpy, and float32 everywhere."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for held in copy.graph.initializer:
        values = onnx.numpy_helper.to_array(held).astype(kind).astype(np.float32)
        held.CopyFrom(onnx.numpy_helper.from_array(values, held.name))
    return copy


def _kinds(graph):
    return Counter(str(t.dtype) for node in graph.nodes for t in node.outputs)


def _remarks(result):
    return " ".join(text for record in result.records for text in record.remarks)


@pytest.mark.parametrize("opset", [7, 9, 13, 17, 20, 22])
def test_a_chain_has_one_cast_at_each_end(opset):
    model, feeds = _chain(opset)
    result = run_pass(planish.load(model), HALF)
    inner = ["Conv", "Relu", "Conv", "Add", "GlobalAveragePool", "Flatten", "Gemm"]
    assert ops(result.graph) == ["Cast", *inner, "Cast"]
    assert _kinds(result.graph) == {"float16": 8, "float32": 1}
    assert result.graph.opset == opset
    written = planish.to_model(result.graph)
    onnx.checker.check_model(written, full_check=True)
    assert {t.name for t in written.graph.initializer} == set(WEIGHTS)
    assert {t.data_type for t in written.graph.initializer} == {onnx.TensorProto.FLOAT16}
    assert written.graph.input == model.graph.input
    assert written.graph.output[0].name == "y"
    expected, found = run_ort(model, feeds)["y"], run_ort(written, feeds)["y"]
    assert 0 < relative_error(expected, found) < 2e-3
    assert relative_error(run_ort(_rounded(model, np.float16), feeds)["y"], found) < 2e-3
    if opset >= 13:
        again = onnx.reference.ReferenceEvaluator(written).run(None, feeds)[0]
        assert relative_error(expected, again) < 4e-3


def test_a_pass_over_half_the_edits_leaves_a_graph_that_runs():
    model, feeds = _chain()
    pipeline = planish.Pipeline.parse(HALF)
    expected = run_ort(model, feeds)["y"]
    for limit in range(8):
        result = pipeline.run(planish.load(model), verify="off", limit=limit)
        assert result.edits == min(limit, 7)
        found = run_ort(planish.to_model(result.graph), feeds)["y"]
        assert relative_error(expected, found) < 2e-3


def test_bfloat16_raises_the_opset_where_that_converts_more():
    model, feeds = _chain()
    result = run_pass(planish.load(model), BRAIN, verify="off")
    assert result.graph.opset == 22
    assert _kinds(result.graph) == {"bfloat16": 8, "float32": 1}
    assert "from 20 to 22" in _remarks(result)
    assert "does not load this graph" in _remarks(result)
    written = planish.to_model(result.graph)
    onnx.checker.check_model(written, full_check=True)
    again = onnx.reference.ReferenceEvaluator(written).run(None, feeds)[0]
    assert relative_error(run_ort(model, feeds)["y"], again) < 4e-2
    assert relative_error(run_ort(_rounded(model, ml_dtypes.bfloat16), feeds)["y"], again) < 4e-2


def test_bfloat16_keeps_an_opset_that_has_it_already():
    text = "g (float[N, 64] x) => (float[] y) { a = MatMul (x, w) y = Relu (a) }"
    for opset, after in ((9, 13), (13, 13), (14, 14)):
        header = f'<ir_version: 9, opset_import: ["" : {opset}]>\n'
        graph = planish.load(model_of(header + text, {"w": _normal(64, 64)}))
        result = run_pass(graph, BRAIN, verify="off")
        assert result.graph.opset == after
        assert ops(result.graph) == ["Cast", "MatMul", "Relu", "Cast"]


def test_bfloat16_on_the_cpu_is_how_constants_are_stored():
    model, feeds = _chain()
    result = run_pass(planish.load(model), "convert-precision{to=bfloat16}")
    assert Counter(ops(result.graph))["Cast"] == 3  # of w, v and m; the others are short
    assert result.graph.opset == 20
    found = run_ort(planish.to_model(result.graph), feeds)["y"]
    expected = run_ort(model, feeds)["y"]
    assert 1e-4 < relative_error(expected, found) < 2e-2
    assert "bfloat16" not in _kinds(result.graph)


def test_constants_alone_are_those_rounded_by_hand(tmp_path):
    model, feeds = _chain()
    keep = {"b", "k", "t"}  # too short
    rounded = _rounded(model, np.float16)
    originals = {t.name: t for t in model.graph.initializer}
    for held in rounded.graph.initializer:
        if held.name in keep:
            held.CopyFrom(originals[held.name])
    result = run_pass(planish.load(model), "convert-precision{compute=float32}")
    written = planish.to_model(result.graph)
    found = run_ort(written, feeds)["y"]
    assert relative_error(run_ort(rounded, feeds)["y"], found) < 1e-6
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(written.SerializeToString(), options)
    assert "Cast" not in {n.op_type for n in onnx.load(tmp_path / "optimized.onnx").graph.node}


@pytest.mark.parametrize("options", ["", "{compute=float32}", "{to=bfloat16}"])
def test_the_file_halves(options):
    weights = {f"w{i}": _normal(64, 64, 3, 3) for i in range(4)}
    body = " ".join(
        f"x{i + 1} = Conv <pads = [1, 1, 1, 1]> (x{i}, w{i}) x{i + 1}r = Relu (x{i + 1})"
        for i in range(4)
    )
    graph = graph_of(f"g (float[N, 64, 8, 8] x0) => (float[] x4r) {{ {body} }}", weights)
    result = run_pass(graph, "convert-precision" + options)
    before, after = (planish.to_model(g).ByteSize() for g in (graph, result.graph))
    assert 0.5 < after / before < 0.505


BIG = {"w": (64, 8, 3, 3), "v": (64, 64, 3, 3)}
HEAD = "g (float[N, 8, 9, 9] x) => (float[] y) {"


def _graph(body, extra=(), head=HEAD, opset=20):
    header = f'<ir_version: 9, opset_import: ["" : {opset}]>\n'
    weights = {k: _normal(*s) for k, s in BIG.items() if f" {k})" in body or f" {k}," in body}
    graph = planish.load(model_of(header + head + body + "}", weights | dict(extra)))
    for node in graph.nodes:
        node.name = "n_" + node.outputs[0].name
    return graph


def test_one_cast_a_tensor_whoever_reads_it():
    graph = _graph(
        "a = Conv (x, w) b = Conv (x, w) c = Add (a, b) e = Softmax (c) f = Exp (c) h = Add (e, f) "
        "i = Conv (h, v) j = Relu (h) y = Conv (j, v)"
    )
    result = run_pass(graph, HALF)
    casts = [n.inputs[0].name for n in result.graph.nodes if n.op == "Cast"]
    # x, the sum and h once each for two readers; y at the end.
    assert len(casts) == len(set(casts)) == 4
    assert reasons(result) == {
        "keep names Softmax", "keep names Exp", "it would need more Casts than it has as float32",
    }  # fmt: skip


def test_an_output_that_is_read_inside_too():
    head = HEAD.replace("y)", "a, float[] r, float[] y)")
    graph = _graph("a = Conv (x, w) r = Relu (a) y = Conv (a, v)", head=head)
    result = run_pass(graph, HALF)
    assert sorted(ops(result.graph)) == ["Cast", "Cast", "Cast", "Conv", "Conv", "Relu"]
    assert [t.name for t in result.graph.outputs] == ["a", "r", "y"]
    kinds = {n.name: str(n.inputs[0].dtype) for n in result.graph.nodes}
    assert kinds["n_y"] == "float16"
    assert kinds["n_r"] == "float32"  # which needs no Cast of its own


def test_what_takes_any_type_reads_what_is_there():
    graph = _graph(
        "a = Conv (x, w) s = Shape (a) i = Cast <to = 7> (a) n = IsNaN (a) r = Relu (a) "
        "y = Relu (r)",
        head=HEAD.replace("y)", "y, int64[] s, int64[] i, bool[] n)"),
    )
    result = run_pass(graph, HALF)
    assert Counter(ops(result.graph))["Cast"] == 3  # x, the one to integers, y
    assert result.edits == 6


LARGE = np.full((64, 1, 1), 1e5, np.float32)
TINY = np.full((64, 1, 1), 1e-9, np.float32)
MIXED = np.where(np.arange(64) < 3, 1e-9, 1).astype(np.float32).reshape(64, 1, 1)
SLICE = {"one": np.array([1], np.int64), "two": np.array([2], np.int64)}
LEFT = {
    "beyond": ("a = Conv (x, w) y = Add (a, k)", {"k": LARGE}, "Add", HALF,
               "its constant 'k' reaches 1e+05, beyond float16"),
    "all lost": ("a = Conv (x, w) y = Add (a, k)", {"k": TINY}, "Add", HALF,
                 "its constant 'k' is so small that it would become 0"),
    "divided by what is lost": (
        "a = Conv (x, w) y = Div (a, k)", {"k": MIXED}, "Div", HALF,
        "its constant 'k' is so small that it would become 0"),
    "kept": ("a = Conv (x, w) y = Softmax (a)", {}, "Softmax", HALF, "keep names Softmax"),
    "excluded": ("a = Conv (x, w) y = Conv (a, v)", {}, "Conv", HALF + "{exclude=[n_y]}",
                 "it is excluded"),
    "coordinates": (
        "a = Conv (x, w) y = RoiAlign (a, k, i)",
        {"k": np.ones((1, 4), np.float32), "i": np.zeros(1, np.int64)}, "RoiAlign", HALF,
        "coordinates need more digits than float16 has"),
    "body": (
        "a = Conv (x, w) y = If (k) <then_branch = t () => (float[] p) { p = Relu (a) },"
        " else_branch = e () => (float[] q) { q = Abs (a) }>", {"k": np.array(True)}, "If", HALF,
        {"what goes into the bodies of If and comes out stays float32",
         "Casts around it would take more space than it saves"}),
    "no such type": (
        "a = Conv (x, w) s = Shape (a) y = RandomNormalLike <dtype = 1, seed = 1.0> (a)", {},
        "RandomNormalLike", HALF, "the type of its result is an attribute of its own"),
    "quantized": (
        "a = Conv (x, w) b = Conv (a, v) q = QuantizeLinear (b, k) d = DequantizeLinear (q, k)"
        " y = Relu (d)",
        {"k": np.array(0.1, np.float32)}, "Relu", HALF,
        "it runs on integers, whose scales are float32"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "extra", "op", "pipeline", "reason"), LEFT.values(), ids=LEFT.keys()
)
def test_stays_float32(body, extra, op, pipeline, reason):
    graph = _graph(body, extra, opset=22)
    result = run_pass(graph, pipeline)
    assert result.edits > 0
    assert reasons(result) == ({reason} if isinstance(reason, str) else reason)
    stayed = [n for n in result.graph.nodes if n.op == op][-1]
    assert {str(t.dtype) for t in stayed.outputs} == {"float32"}


def test_sizes_are_counted_in_float32():
    graph = _graph(
        "a = Conv (x, w) s = Shape (a) o = Gather (s, one) f = Cast <to = 1> (o) h = Mul (f, k)"
        " b = Div (a, h) y = Conv (b, v)",
        SLICE | {"k": np.array(0.5, np.float32)},
    )
    result = run_pass(graph, HALF)
    assert reasons(result) == {"it computes with sizes, which float16 does not hold exactly"}
    kinds = {n.name: str(n.outputs[0].dtype) for n in result.graph.nodes}
    assert kinds["n_b"] == "float16"
    # a, of 49 columns and rows in 64 channels: 32 exactly
    found = planish.compare(graph, result.graph, planish.random_feeds(graph))
    assert found.worst.max_rel < 2e-3


def test_feeds_show_what_overflows():
    graph = _graph(
        "a = Conv (x, w) b = Mul (a, k) c = Tanh (b) y = Conv (c, v)",
        {"k": np.array(6e3, np.float32)},
    )
    feeds = [{"x": _normal(1, 8, 9, 9, scale=10)} for _ in range(3)]
    blind = run_pass(graph, HALF)
    assert not reasons(blind)
    seen = run_pass(graph, HALF, feeds=feeds)
    assert len(reasons(seen)) == 1
    assert all(
        "'b' reaches" in reason and "too near to infinity" in reason for reason in reasons(seen)
    )
    kinds = {n.name: str(n.outputs[0].dtype) for n in seen.graph.nodes}
    assert [kinds[name] == "float16" for name in ("n_a", "n_b", "n_c", "n_y")] == [1, 0, 0, 1]


def test_without_feeds_random_numbers_show_what_overflows():
    graph = _graph(
        "a = Conv (x, w) b = Mul (a, k) c = Tanh (b) y = Conv (c, v)",
        {"k": np.array(6e4, np.float32)},
    )
    result = run_pass(graph, HALF)
    kinds = {n.name: str(n.outputs[0].dtype) for n in result.graph.nodes}
    assert [kinds[name] == "float16" for name in ("n_a", "n_b", "n_c", "n_y")] == [1, 0, 0, 1]
    assert "no feeds were given" in _remarks(result)
    found = planish.compare(graph, result.graph, planish.random_feeds(graph, seed=3))
    assert found.worst.max_rel < 2e-3


def test_a_graph_that_cannot_be_run_is_converted_all_the_same():
    text = "g (float[N, 64] x) => (float[] y) { a = MatMul (x, w) y = other.Unknown (a) }"
    header = '<ir_version: 9, opset_import: ["" : 20, "other" : 1]>\n'
    model = model_of(header + text, {"w": _normal(64, 64)})
    result = run_pass(planish.load(model), HALF, verify="off")
    assert ops(result.graph) == ["Cast", "MatMul", "Cast", "Unknown"]


def test_bounds_beyond_all_values_bound_nothing():
    most = np.finfo(np.float32).max
    graph = _graph("a = Conv (x, w) y = Clip (a, l, h)", {"l": np.float32(0), "h": most})
    result = run_pass(graph, HALF)
    assert ops(result.graph) == ["Cast", "Conv", "Clip", "Cast"]
    low = _graph("a = Conv (x, w) y = Clip (a, h)", {"h": np.float32(1e5)})
    assert reasons(run_pass(low, HALF)) == {"its constant 'h' reaches 1e+05, beyond float16"}


def test_values_that_become_zero_are_counted():
    model, _ = _chain()
    for held in model.graph.initializer:
        if held.name == "w":
            values = onnx.numpy_helper.to_array(held).copy()
            values[0, 0, 0, :2] = 1e-9
            held.CopyFrom(onnx.numpy_helper.from_array(values, "w"))
    for options in ("", "{compute=float32}"):
        result = run_pass(planish.load(model), "convert-precision" + options)
        assert "2 values of constants are too small for float16 and became 0" in _remarks(result)


def test_without_weights_nothing_is_gained():
    graph = _graph("a = Relu (x) b = Add (a, x) y = Sigmoid (b)")
    result = run_pass(graph, HALF)
    assert result.edits == 0
    assert reasons(result) == {"Casts around it would take more space than it saves"}


def test_a_weight_that_callers_may_replace_is_cast():
    model, feeds = _chain()
    model.graph.input.append(onnx.helper.make_tensor_value_info("v", 1, [32, 32, 3, 3]))
    result = run_pass(planish.load(model), HALF)
    assert [t.name for t in result.graph.inputs] == ["x", "v"]
    assert sorted(n.inputs[0].name for n in result.graph.nodes if n.op == "Cast")[0] == "v"
    feeds["v"] = _normal(32, 32, 3, 3)
    expected, found = (run_ort(m, feeds)["y"] for m in (model, planish.to_model(result.graph)))
    assert relative_error(expected, found) < 2e-3


def test_integer_weights_stay_integers():
    graph = _graph("a = Conv (x, w) b = Conv (a, v) y = Relu (b)", opset=21)
    pipeline = "quantize-weights{form=dequantize}," + HALF
    assert "Casts around it would take more space than it saves" in reasons(
        run_pass(graph, pipeline)
    )
    result = run_pass(graph, pipeline, target="cuda", verify="off")
    assert Counter(ops(result.graph))["Cast"] == 2
    scales = [n for n in result.graph.nodes if n.op == "DequantizeLinear"]
    assert {str(n.inputs[0].dtype) for n in scales} == {"int8"}
    assert {str(t.dtype) for n in scales for t in (n.inputs[1], n.outputs[0])} == {"float16"}


def test_fused_operators_are_opened():
    graph = _graph("a = Conv (x, w) y = Relu (a)")
    fused = run_pass(graph, "fuse-conv-activation")
    assert ops(run_pass(fused.graph, HALF).graph) == ["Cast", "Conv", "Relu", "Cast"]


def test_refuses_a_name_that_no_node_has():
    with pytest.raises(PassError, match=r"exclude names the node 'n_z', .*did you mean 'n_y'"):
        planish.Pipeline.parse(HALF + "{exclude=[n_z]}").run(_graph("y = Conv (x, w)"))


def test_beside_an_operand_of_unknown_type_nodes_stay():
    """Narrow and float32 operands in one node would load nowhere."""
    text = """<ir_version: 9, opset_import: ["" : 20, "other" : 1]>
        g (float[4, 8] x) => (float[4, 64] y) {
            h = MatMul (x, w) u = other.Sharpen (x) s = Add (h, u) y = MatMul (s, v) }"""
    weights = {"w": _normal(8, 64), "v": _normal(64, 64)}
    result = run_pass(graph_of(text, weights), HALF, verify="off")
    types = {node.op: node.outputs[0].dtype for node in result.graph.nodes}
    assert types["MatMul"] == np.float16
    assert types["Add"] != np.float16
    assert "the type of 'u' is unknown" in reasons(result)
