"""Weights stored as integers: the same function as with weights rounded by hand, in less space."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import onnx
import onnx.reference
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import planish
from planish.ir.core.errors import PipelineError

from tests.effort import examples
from tests.helpers import graph_of, model_of, ops, reasons, relative_error, run_ort, run_pass
from tests.strategies import networks

R = np.random.default_rng(0)
_DT = {(4, True): ml_dtypes.int4, (4, False): ml_dtypes.uint4, (8, True): np.int8}
CASTS = ["Cast", "Mul"]


def _normal(*shape):
    return R.standard_normal(shape).astype(np.float32)


CONV = """g (float[N, 32, 5, 5] x) => (float[N, 16, 5, 5] y) {
    y = Conv <pads = [1, 1, 1, 1]> (x, w, b) }"""
TRANSPOSED = """g (float[N, 16, 5, 5] x) => (float[N, 32, 7, 7] y) { y = ConvTranspose (x, w) }"""
MATMUL = "g (float[N, 512] x) => (float[N, 256] y) { y = MatMul (x, w) }"
GEMM = "g (float[N, 512] x) => (float[N, 256] y) { y = Gemm <transB = 1, alpha = 0.5> (x, w, b) }"
CASES = {
    "Conv": (CONV, (16, 32, 3, 3), (3, 32, 5, 5), 16, 0),
    "ConvTranspose": (TRANSPOSED, (16, 32, 3, 3), (1, 16, 5, 5), 0, 1),
    "MatMul": (MATMUL, (512, 256), (3, 512), 0, 1),
    "Gemm": (GEMM, (256, 512), (3, 512), 256, 0),
}


def _case(name, opset=20):
    text, shape, size, bias, axis = CASES[name]
    weights = {"w": _normal(*shape)}
    if bias:
        weights["b"] = _normal(bias)
    header = f'<ir_version: 9, opset_import: ["" : {opset}]>\n'
    return model_of(header + text, weights), {"x": _normal(*size)}, axis


def _by_hand(values, bits, axis):
    """Round `values` to the symmetric grid of their largest magnitude, channel by channel."""
    qmax = 2 ** (bits - 1) - 1
    others = tuple(i for i in range(values.ndim) if i != axis)
    scale = (np.abs(values).max(axis=others, keepdims=True) / qmax).astype(np.float32)
    q = np.clip(np.rint(values.astype(np.float64) / scale), -qmax - (bits < 8), qmax)
    return (q * scale).astype(np.float32)


def _with_weight(model, values):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for initializer in copy.graph.initializer:
        if initializer.name == "w":
            initializer.CopyFrom(onnx.numpy_helper.from_array(values, "w"))
    return copy


def _weight_of(model):
    return next(onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name == "w")


@pytest.mark.parametrize("form", ["dequantize", "arithmetic"])
@pytest.mark.parametrize("bits", [8, 4, 3, 2])
@pytest.mark.parametrize("name", CASES)
def test_is_the_network_with_rounded_weights(name, bits, form):
    model, feeds, axis = _case(name)
    options = f"bits={bits},form={form},scale=max,scales=float32,block-size=none"
    result = run_pass(planish.load(model), f"quantize-weights{{{options}}}")
    expected = run_ort(_with_weight(model, _by_hand(_weight_of(model), bits, axis)), feeds)
    written = planish.to_model(result.graph)
    onnx.checker.check_model(written, full_check=True)
    assert relative_error(expected["y"], run_ort(written, feeds)["y"]) < 2e-6
    again = onnx.reference.ReferenceEvaluator(written).run(None, feeds)[0]
    assert relative_error(expected["y"], again) < 1e-5
    stored = {t.data_type for t in written.graph.initializer}
    assert (onnx.TensorProto.INT8 if bits == 8 else onnx.TensorProto.INT4) in stored
    assert result.graph.opset == (20 if bits == 8 else 21)
    op = name
    assert ops(result.graph) == ([*CASTS, op] if form == "arithmetic" else ["DequantizeLinear", op])


@pytest.mark.parametrize("form", ["dequantize", "arithmetic"])
@pytest.mark.parametrize("name", CASES)
def test_blocks_and_zero_points(name, form):
    model, feeds, _ = _case(name)
    expected = run_ort(model, feeds)["y"]
    errors = {}
    for options in (
        "block-size=none",
        "block-size=16",
        "block-size=16,symmetric=false,signed=false",
    ):
        pipeline = f"quantize-weights{{bits=4,form={form},{options}}}"
        result = run_pass(planish.load(model), pipeline)
        written = planish.to_model(result.graph)
        onnx.checker.check_model(written, full_check=True)
        found = run_ort(written, feeds)["y"]
        again = onnx.reference.ReferenceEvaluator(written).run(None, feeds)[0]
        assert relative_error(found, again) < 1e-5
        errors[options] = float(((found - expected) ** 2).sum() / (expected**2).sum())
    channel, block, shifted = errors.values()
    assert 0 < shifted < block < channel < 0.03


def test_blocks_lie_along_the_inputs():
    model, _, _ = _case("Conv")
    result = run_pass(
        planish.load(model), "quantize-weights{bits=4,form=dequantize,block-size=16,scales=float32}"
    )
    node = result.graph.nodes[0]
    assert node.attrs == {"axis": 1, "block_size": 16}
    assert node.inputs[1].shape == (16, 2, 3, 3)


def test_channels_shorter_than_a_block_have_one_scale():
    weights = {"w": _normal(64, 8, 3, 3)}
    graph = graph_of("g (float[1, 8, 5, 5] x) => (float[] y) { y = Conv (x, w) }", weights)
    result = run_pass(graph, "quantize-weights{bits=4,form=dequantize,block-size=32}")
    assert result.graph.nodes[-2].attrs == {"axis": 0}


@pytest.mark.parametrize(("count", "shape"), [(1, (7, 5, 3, 3)), (1, (9, 17, 1, 3))])
def test_odd_counts_pack(tmp_path, count, shape):
    values = _normal(*shape)
    assert values.size % 2 == count
    graph = graph_of(
        f"g (float[1, {shape[1]}, 5, 5] x) => (float[1, {shape[0]}, a, b] y) {{ y = Conv (x, w) }}",
        {"w": values},
    )
    result = run_pass(graph, "quantize-weights{bits=4,form=dequantize}")
    q = next(t for t in result.graph.nodes[-2].inputs if t.dtype == ml_dtypes.int4)
    feeds = {"x": _normal(1, shape[1], 5, 5)}
    expected = run_ort(planish.to_model(result.graph), feeds)["y"]
    for external in (False, True):
        path = tmp_path / f"{external}.onnx"
        planish.save(result.graph, path, external=external)
        onnx.checker.check_model(str(path))
        proto = next(t for t in onnx.load(path).graph.initializer if t.name == q.name)
        assert len(proto.raw_data) == (values.size + 1) // 2
        loaded = planish.load(path)
        again = next(t for node in loaded.nodes for t in node.inputs if t.name == q.name)
        np.testing.assert_array_equal(again.values.astype(int), q.values.astype(int))
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(str(path), options)
        assert relative_error(expected, session.run(None, feeds)[0]) < 1e-6


@pytest.mark.parametrize(("bits", "part"), [(8, 0.25), (4, 0.125), (3, 0.125), (2, 0.125)])
def test_files_are_a_quarter_and_an_eighth(tmp_path, bits, part):
    weights = {"w": _normal(192, 192, 3, 3), "v": _normal(192, 192)}
    model = model_of(
        """g (float[N, 192, 4, 4] x) => (float[N, 192] y) {
            c = Conv (x, w) p = GlobalAveragePool (c) f = Flatten (p) y = MatMul (f, v) }""",
        weights,
    )
    sizes = []
    for graph in (
        planish.load(model),
        planish.Pipeline.parse(f"quantize-weights{{bits={bits}}}").run(planish.load(model)).graph,
    ):
        planish.save(graph, tmp_path / "model.onnx")
        sizes.append((tmp_path / "model.onnx").stat().st_size)
    assert part < sizes[1] / sizes[0] < 1.03 * part


def test_runtimes_fold_or_fuse_what_auto_writes(tmp_path):
    weights = {"w": _normal(64, 64, 3, 3), "v": _normal(512, 64), "b": _normal(512)}
    graph = graph_of(
        """g (float[N, 64, 6, 6] x) => (float[N, 512] y) {
            c = Conv <pads = [1, 1, 1, 1]> (x, w) r = Relu (c) p = GlobalAveragePool (r)
            f = Flatten (p) y = Gemm <transB = 1> (f, v, b) }""",
        weights,
    )
    wide = {"v": _normal(512, 64)}
    assert wide["v"].size < 1 << 17
    result = run_pass(graph, "quantize-weights")
    assert result.graph.nodes[-1].attrs == {"transB": 1}  # a small matrix: left as it lies
    big, _, _ = _case("Gemm")
    fused = run_pass(planish.load(big), "quantize-weights{bits=4}")
    for found, expected, banned in (
        (result.graph, {"Conv"}, {"DequantizeLinear", "Cast", "Mul"}),
        (fused.graph, {"MatMulNBits"}, {"DequantizeLinear", "Cast", "Gemm"}),
    ):
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        options.log_severity_level = 4
        ort.InferenceSession(planish.to_model(found).SerializeToString(), options)
        run = {n.op_type for n in onnx.load(tmp_path / "optimized.onnx").graph.node}
        assert expected <= run
        assert not run & banned


@pytest.mark.parametrize(
    ("after", "fuses"),
    [("Relu (h)", False), ("Clip (h)", False), ("Add (h, x)", False), ("Sigmoid (h)", True)],
)
def test_matrices_whose_result_goes_into_another_fusion_are_multiplied_at_loading(
    after, fuses, tmp_path
):
    graph = graph_of(
        f"g (float[1, 512] x) => (float[] y) {{ h = MatMul (x, v) r = {after} y = MatMul (r, w) }}",
        {"v": _normal(512, 512), "w": _normal(512, 512)},
    )
    result = run_pass(graph, "quantize-weights{bits=4}")
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(planish.to_model(result.graph).SerializeToString(), options)
    run = [n.op_type for n in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert "DequantizeLinear" not in run
    assert run.count("MatMulNBits") == 1 + fuses


def test_scales_of_a_depthwise_network_with_dead_channels_take_little():
    c = 480
    weights = {"e": _normal(c, 80, 1, 1), "d": _normal(c, 1, 3, 3), "p": _normal(112, c, 1, 1)}
    for name in ("e", "d"):  # training leaves channels that do nothing
        weights[name][:40] *= 1e-8
        weights[name][3] = (
            1e-9 * np.arange(weights[name][3].size).reshape(weights[name][3].shape) % 7
        )
    graph = graph_of(
        f"""g (float[1, 80, 7, 7] x) => (float[] y) {{
            a = Conv (x, e) b = Clip (a) h = Conv <group = {c}, pads = [1, 1, 1, 1]> (b, d)
            k = Clip (h) y = Conv (k, p) }}""",
        weights,
    )
    whole = sum(values.nbytes for values in weights.values())
    for bits, most in ((8, 0.25 * 1.03), (4, 0.125 * 1.05)):
        result = run_pass(graph, f"quantize-weights{{bits={bits}}}")
        held = planish.to_model(result.graph).graph.initializer
        assert {t.data_type for t in held if t.name.endswith("scale")} == {onnx.TensorProto.FLOAT16}
        stored = sum(len(t.raw_data) or int(np.prod(t.dims)) // 2 for t in held)
        assert stored / whole < most
        report = planish.compare(graph, result.graph, planish.random_feeds(graph))
        assert report.worst.sqnr_db > (30 if bits == 8 else 12)


@given(case=networks(), bits=st.sampled_from((8, 4)))
@settings(
    max_examples=examples(25),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_each_weight_keeps_its_share_of_the_signal(case, bits):
    """The noise of b bits is at most (step/2)^2 a weight, a step being max |w| / qmax a channel."""
    graph = planish.load(case.model)
    options = f"{{bits={bits},form=dequantize,scale=max}}"
    result = planish.Pipeline.parse("quantize-weights" + options).run(graph, verify="off")
    before = {t.name: t.values for n in graph.nodes for t in n.inputs if hasattr(t, "values")}
    qmax = 2 ** (bits - 1) - 1
    for node in result.graph.nodes:
        if node.op != "DequantizeLinear" or "_quantized" not in node.inputs[0].name:
            continue
        name = node.inputs[0].name.partition("_quantized")[0]
        scale = node.inputs[1]
        scale = scale.values if hasattr(scale, "values") else scale.inputs[0].inputs[0].values
        w = np.asarray(before[name], np.float64)
        q = np.asarray(node.inputs[0].values).astype(np.float64)
        if q.shape != w.shape:
            w = w.T
        axis, size = node.attrs["axis"], node.attrs.get("block_size")
        s = np.asarray(scale, np.float64)
        if size:
            s = np.take(np.repeat(s, size, axis=axis), range(w.shape[axis]), axis=axis)
        else:
            s = s.reshape([-1 if i == axis else 1 for i in range(w.ndim)])
        assert (np.abs(w - q * s) <= 0.5 * s * (1 + 1e-3) + 1e-12).all()
        used = np.broadcast_to(s, w.shape)[q != 0]  # zeros have any step
        assert (used <= 1.02 * max(np.abs(w).max() / qmax, 4e-6)).all()


SHARED = """g (float[N, 32, 5, 5] x) => (float[N, 32, 5, 5] y, float[] z) {
    a = Conv <pads = [1, 1, 1, 1]> (x, w) y = Conv <pads = [1, 1, 1, 1]> (a, w) z = OP }"""


def test_a_shared_weight_is_stored_once():
    graph = graph_of(SHARED.replace("OP", "Relu(y)"), {"w": _normal(32, 32, 3, 3)})
    result = run_pass(graph, "quantize-weights")
    assert result.edits == 1
    assert ops(result.graph) == ["Cast", "Mul", "Conv", "Conv", "Relu"] or ops(result.graph) == [
        "Cast", "Cast", "Mul", "Conv", "Conv", "Relu"
    ]  # fmt: skip


LEFT = {
    "read by others": (
        SHARED.replace("OP", "Abs(w)"), {"w": (32, 32, 3, 3)}, "",
        "its weight is read by others too, which need it as it is"),
    "used differently": (
        SHARED.replace("OP", "ConvTranspose(x, w)"), {"w": (32, 32, 3, 3)}, "",
        "its weight is shared by operators that use it differently"),
    "a graph input": (
        "g (float[1, 8, 5, 5] x, float[16, 8, 3, 3] w) => (float[] y) { y = Conv (x, w) }", {}, "",
        "its weight is computed, not constant"),
    "computed": (
        "g (float[1, 8, 5, 5] x) => (float[] y) { v = Abs(w) y = Conv (x, v) }",
        {"w": (16, 8, 3, 3)}, "", "its weight is computed, not constant"),
    "tiny": (
        "g (float[1, 3, 5, 5] x) => (float[] y) { y = Conv (x, w) }", {"w": (4, 3, 3, 3)}, "",
        "its weight is too small for integers to save space"),
    "other operators": (
        "g (float[1, 8, 5, 5] x) => (float[] y) { y = Conv (x, w) }", {"w": (64, 8, 3, 3)},
        "{operators=[Gemm,MatMul]}", "operators does not name Conv"),
    "excluded": (
        "g (float[1, 8, 5, 5] x) => (float[] y) { y = Conv (x, w) }", {"w": (64, 8, 3, 3)},
        '{exclude=["named"]}', "it is excluded"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "shapes", "options", "reason"), LEFT.values(), ids=LEFT)
def test_leaves_alone(text, shapes, options, reason):
    graph = graph_of(text, {name: _normal(*shape) for name, shape in shapes.items()})
    for node in graph.nodes:
        node.name = "named"
    result = run_pass(graph, "quantize-weights" + options)
    assert result.edits == 0
    assert reasons(result) == {reason}


def test_a_weight_that_callers_may_replace_stays():
    model, _, _ = _case("MatMul")
    model.graph.input.append(onnx.helper.make_tensor_value_info("w", 1, [512, 256]))
    result = run_pass(planish.load(model), "quantize-weights")
    assert reasons(result) == {"its weight is a graph input, which callers may replace"}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_stay(bad):
    model, _, _ = _case("MatMul")
    values = _weight_of(model).copy()
    values[3, 4] = bad
    result = run_pass(planish.load(_with_weight(model, values)), "quantize-weights", verify="off")
    assert reasons(result) == {"its weight holds NaN or infinity"}


@pytest.mark.parametrize("form", ["dequantize", "arithmetic"])
def test_integers_are_never_quantized_again(form):
    model, _, _ = _case("Conv")
    first = run_pass(planish.load(model), f"quantize-weights{{form={form},symmetric=false}}")
    second = run_pass(first.graph, "quantize-weights{bits=4}")
    assert second.edits == 0
    assert second.graph.opset == 20
    assert reasons(second) == {"its weight is quantized already"}


def test_an_opset_that_cannot_rise_leaves_the_model():
    model = model_of(
        '<ir_version: 8, opset_import: ["" : 18]> '
        "g (float[1, 8, 5, 5] x) => (float[] y) { "
        "c = Conv (x, w) y = GroupNormalization <num_groups = 4> (c, s, t) }",
        {"w": _normal(64, 8, 3, 3), "s": _normal(4), "t": _normal(4)},
    )
    result = run_pass(planish.load(model), "quantize-weights{bits=4}")
    assert result.edits == 0
    assert any("it keeps the model at opset 18" in reason for reason in reasons(result))


@pytest.mark.parametrize("opset", [9, 11, 13, 17])
def test_eight_bits_keep_the_opset(opset):
    model, feeds, _ = _case("Gemm", opset)
    result = run_pass(planish.load(model), "quantize-weights")
    assert result.graph.opset == opset
    expected, found = (run_ort(m, feeds)["y"] for m in (model, planish.to_model(result.graph)))
    assert 1e-4 < relative_error(expected, found) < 2e-2


def test_half_weights_stay_half():
    model = model_of(
        "g (float16[N, 32, 5, 5] x) => (float16[] y) { y = Conv (x, w) }",
        {"w": _normal(64, 32, 3, 3).astype(np.float16)},
    )
    result = run_pass(planish.load(model), "quantize-weights{bits=4}")
    assert result.edits == 2
    feeds = {"x": _normal(2, 32, 5, 5).astype(np.float16)}
    expected, found = (run_ort(m, feeds)["y"] for m in (model, planish.to_model(result.graph)))
    assert found.dtype == np.float16
    assert relative_error(expected.astype(np.float32), found.astype(np.float32)) < 0.15


def test_fused_operators_are_opened():
    graph = graph_of(
        "g (float[N, 32, 5, 5] x) => (float[] y) { c = Conv (x, w) y = Relu (c) }",
        {"w": _normal(32, 32, 3, 3)},
    )
    fused = run_pass(graph, "fuse-conv-activation")
    assert ops(fused.graph) == ["ConvRelu"]
    result = run_pass(fused.graph, "quantize-weights")
    assert ops(result.graph)[-2:] == ["Conv", "Relu"]


def test_refuses_blocks_of_one():
    with pytest.raises(PipelineError, match="block-size is 1; give 2 or more, or none"):
        planish.Pipeline.parse("quantize-weights{block-size=1}")


OPTIONS = st.sampled_from(
    ("", "{form=dequantize}", "{bits=4}", "{bits=4,form=dequantize,block-size=2}",
     "{bits=4,symmetric=false,signed=false}")
)  # fmt: skip


@given(case=networks(), options=OPTIONS)
@settings(
    max_examples=examples(40),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_random_networks(case, options):
    pipeline = planish.Pipeline.parse("quantize-weights" + options)
    result = pipeline.run(planish.load(case.model), verify="off")
    assert pipeline.run(result.graph, verify="off").edits == 0
    expected, found = (
        run_ort(model, case.feeds) for model in (case.model, planish.to_model(result.graph))
    )
    for (name, array), other in itertools.zip_longest(expected.items(), found.values()):
        assert (array.shape, array.dtype) == (other.shape, other.dtype), name
    if not result.edits:
        assert all(relative_error(expected[k], found[k]) == 0 for k in expected)


TABLES = {
    "rows": "y = Gather (w, i)",
    "columns": "y = Gather <axis = -1> (w, i)",
    "two readers": "a = Gather (w, i)  b = Gather (w, j)  y = Concat <axis = 0> (a, b)",
}


@pytest.mark.parametrize("opset", [12, 13, 17, 20])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("body", TABLES.values(), ids=TABLES)
def test_a_table_is_looked_up_as_integers(body, symmetric, opset):
    """What is found is what a table rounded by hand holds; negative indices count from the end."""
    table = _normal(300, 300) + np.float32(0.0 if symmetric else 3.0)
    header = f'<ir_version: 7, opset_import: ["" : {opset}]>\n'
    model = model_of(
        f"{header} g (int64[N, 3] i, int64[N, 3] j) => (float[] y) {{ {body} }}", {"w": table}
    )
    feeds = {key: R.integers(-300, 300, (2, 3)) for key in "ij"}
    text = f"quantize-weights{{symmetric={str(symmetric).lower()},scales=float32}}"
    result = run_pass(planish.load(model), text)
    held = {t.name: t.values for t in result.graph.tensors().values() if hasattr(t, "values")}
    stored = [v for v in held.values() if v.shape == table.shape]
    assert [v.dtype for v in stored] == [np.int8]
    assert "DequantizeLinear" not in ops(result.graph)
    found = run_ort(planish.to_model(result.graph), feeds)["y"]
    if symmetric:
        axis = 1 if "axis = -1" in body else 0
        rounded = _with_weight(model, _by_hand(table, 8, axis))
        assert relative_error(run_ort(rounded, feeds)["y"], found) <= 1e-6
    assert 0 < relative_error(run_ort(model, feeds)["y"], found) <= 0.01


GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@pytest.mark.parametrize("form", ["dequantize", "arithmetic"])
@pytest.mark.parametrize("opset", [11, 14, 22])
@pytest.mark.parametrize("op", GATES)
def test_both_weights_of_a_recurrent_layer(op, opset, form):
    """Bidirectional: rows of a gate share their scale in both directions."""
    rows, inputs, hidden = GATES[op] * 32, 24, 32
    weights = {"w": _normal(2, rows, inputs), "r": _normal(2, rows, hidden) / 4}
    header = f"""<ir_version: 7, opset_import: ["" : {opset}]>
        g (float[T, N, {inputs}] x) => (float[] y) {{
            y = {op} <hidden_size = {hidden}, direction = "bidirectional"> (x, w, r) }}"""
    model, feeds = model_of(header, weights), {"x": _normal(5, 2, inputs)}
    text = f"quantize-weights{{form={form},scales=float32}}"
    result = run_pass(planish.load(model), text)
    assert result.records[0].edits == 2
    rounded = model_of(header, {key: _by_hand(values, 8, 1) for key, values in weights.items()})
    wanted = run_ort(rounded, feeds)["y"]
    assert relative_error(wanted, run_ort(planish.to_model(result.graph), feeds)["y"]) <= 1e-5
