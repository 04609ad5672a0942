"""Layers in the bodies of If and Loop on integers, by ranges observed in there."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

import planish
from planish.ir.graph.uses import scopes

from tests.helpers import model_of, ops, relative_error, run_ort, run_pass

R = np.random.default_rng(0)
PLAIN = "quantize{measure=false,guard=off}"
WEIGHTS = {
    name: (R.standard_normal((8, 8, 3, 3)) / 8).astype(np.float32) for name in ("w", "v", "u")
}
HEADER = '<ir_version: 8, opset_import: ["" : 17]> '
# Both branches call theirs alike; one reads an input of the graph, one what another layer gives.
BRANCHES = """g (float[1, 8, 8, 8] x, bool c) => (float[1, 8, A, B] y) {
    h = Conv <pads = [1, 1, 1, 1]> (x, w)
    y = If (c) <
        then_branch = a () => (float[1, 8, A, B] p) {
            k = Conv <pads = [1, 1, 1, 1]> (h, v) r = Relu (k) p = Conv (r, u) },
        else_branch = b () => (float[1, 8, A, B] p) {
            k = Conv <pads = [1, 1, 1, 1]> (x, v) p = Conv (k, w) }
    > }"""
FLAT = {
    True: """h = Conv <pads = [1, 1, 1, 1]> (x, w) k = Conv <pads = [1, 1, 1, 1]> (h, v)
        r = Relu (k) y = Conv (r, u)""",
    False: "k = Conv <pads = [1, 1, 1, 1]> (x, v) y = Conv (k, w)",
}
STEPS = """g (float[1, 8, 8, 8] x, int64 n) => (float[1, 8, 8, 8] y) {
    t = Constant <value = bool {1}> ()
    h = Conv <pads = [1, 1, 1, 1]> (x, w)
    s = Loop (n, t, h) <body = a (int64 i, bool k, float[1, 8, 8, 8] p) =>
        (bool j, float[1, 8, 8, 8] q) {
            j = Identity (k) c = Conv <pads = [1, 1, 1, 1]> (p, v)
            d = Conv <pads = [1, 1, 1, 1]> (h, u) q = Add (c, d) }>
    y = Conv <pads = [1, 1, 1, 1]> (s, w) }"""


def _x():
    return R.standard_normal((1, 8, 8, 8)).astype(np.float32)


def _feeds(flags):
    return [{"x": _x(), "c": np.array(flag)} for flag in flags]


def _all_nodes(graph):
    return [node for scope in scopes(graph) for node in scope.nodes]


def _grids(graph):
    """Return scale and zero point of each activation, in order of their sizes."""
    pairs = [node.inputs[1:] for node in _all_nodes(graph) if node.op == "QuantizeLinear"]
    return sorted((float(scale.values), int(zero.values)) for scale, zero in pairs)


def _fused(model, tmp_path):
    """Return how often each operator stands in ONNX Runtime's graph, bodies included."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    nodes = _all_nodes(planish.load(tmp_path / "optimized.onnx"))
    return [node.op for node in nodes]


@pytest.mark.parametrize("flag", [True, False])
def test_a_branch_becomes_what_it_would_be_outside(flag):
    """With samples that run it alone, its integers are those of the network without an If."""
    data = _feeds([flag] * 3)
    flat = model_of(
        f"{HEADER} g (float[1, 8, 8, 8] x) => (float[1, 8, 6, 6] y) {{ {FLAT[flag]} }}",
        {name: values for name, values in WEIGHTS.items() if f"{name})" in FLAT[flag]},
    )
    text = f"{PLAIN[:-1]},calibration=min-max}}"
    wanted = run_pass(planish.load(flat), text, feeds=[{"x": feed["x"]} for feed in data])
    found = run_pass(planish.load(model_of(HEADER + BRANCHES, WEIGHTS)), text, feeds=data)
    there, outside = (np.array(_grids(result.graph)) for result in (found, wanted))
    assert len(outside) == (4 if flag else 3)
    for grid in outside:  # beside that of the layer before the If
        assert np.isclose(there, grid, rtol=1e-5).all(axis=1).any()


def assert_near(model, written, feeds, most):
    for feed in feeds:
        assert relative_error(run_ort(model, feed)["y"], run_ort(written, feed)["y"]) < most


def test_both_branches_run_on_integers(tmp_path):
    model, data = model_of(HEADER + BRANCHES, WEIGHTS), _feeds([True, False] * 3)
    result = run_pass(planish.load(model), PLAIN, feeds=data)
    written = planish.to_model(result.graph)
    assert_near(model, written, data, 0.05)
    fused = _fused(written, tmp_path)
    assert fused.count("QLinearConv") == 5
    assert "Conv" not in fused
    assert ops(result.graph).count("QuantizeLinear") == 2  # once, for the bodies too
    again = run_pass(result.graph, PLAIN, feeds=data)
    assert again.edits == 0


def test_the_branch_that_no_sample_runs_stays_float():
    model = model_of(HEADER + BRANCHES, WEIGHTS)
    result = run_pass(planish.load(model), PLAIN, feeds=_feeds([True] * 3))
    (told,) = (text for text in result.records[0].remarks if "bodies" in text)
    assert told.startswith("2 layers of bodies stay float")
    assert "quantize-weights" in told
    feed = _feeds([False])[0]
    written = planish.to_model(result.graph)
    assert relative_error(run_ort(model, feed)["y"], run_ort(written, feed)["y"]) < 0.05


@pytest.mark.parametrize("steps", [1, 3])
def test_a_loop(steps, tmp_path):
    model = model_of(HEADER + STEPS, WEIGHTS)
    data = [{"x": _x(), "n": np.array(n)} for n in (0, steps, steps)]
    result = run_pass(planish.load(model), PLAIN, feeds=data)
    written = planish.to_model(result.graph)
    assert_near(model, written, data, 0.06)
    fused = _fused(written, tmp_path)
    assert fused.count("QLinearConv") == 4
    assert "Conv" not in fused


def test_the_ranges_are_those_of_all_steps():
    """A state that doubles at each step: its grid reaches as far as the last one."""
    text = """g (float[1, 4] x) => (float[1, 4] y) {
        n = Constant <value_int = 5> () t = Constant <value = bool {1}> ()
        y = Loop (n, t, x) <body = a (int64 i, bool k, float[1, 4] p) =>
            (bool j, float[1, 4] q) { j = Identity (k) q = MatMul (p, d) }> }"""
    model = model_of(HEADER + text, {"d": 2 * np.eye(4, dtype=np.float32)})
    feed = {"x": np.array([[1.0, 0.5, 0.0, -1.0]], np.float32)}
    result = run_pass(planish.load(model), f"{PLAIN[:-1]},calibration=min-max}}", feeds=[feed])
    (node,) = (n for n in _all_nodes(result.graph) if n.op == "QuantizeLinear")
    np.testing.assert_allclose(node.inputs[1].values, 2 * 2**4 / 255, rtol=1e-6)


def test_a_body_within_a_body():
    text = """g (float[1, 8, 8, 8] x, int64 n) => (float[1, 8, 8, 8] y) {
        t = Constant <value = bool {1}> () one = Constant <value_int = 1> ()
        y = Loop (n, t, x) <body = a (int64 i, bool k, float[1, 8, 8, 8] p) =>
            (bool j, float[1, 8, 8, 8] q) {
                j = Identity (k) first = Less (i, one)
                q = If (first) <
                    then_branch = b () => (float[1, 8, 8, 8] r) {
                        r = Conv <pads = [1, 1, 1, 1]> (p, v) },
                    else_branch = d () => (float[1, 8, 8, 8] s) {
                        s = Conv <pads = [1, 1, 1, 1]> (p, u) }
                > }> }"""
    model = model_of(HEADER + text, {name: WEIGHTS[name] for name in "vu"})
    data = [{"x": _x(), "n": np.array(3)} for _ in range(3)]
    result = run_pass(planish.load(model), PLAIN, feeds=data)
    found = [node.op for node in _all_nodes(result.graph)]
    # What either branch reads and what each gives.
    assert found.count("QuantizeLinear") == 3
    written = planish.to_model(result.graph)
    assert_near(model, written, data, 0.06)


SCAN = """g (float[3, 1, 8] x, float[1, 8] z) => (float[1, 8] y, float[3, 1, 8] o) {
    m = MatMul (z, d)
    y, o = Scan <num_scan_inputs = 1, ATTRIBUTES body = a (float[1, 8] s, float[1, 8] e) =>
        (float[1, 8] n, float[1, 8] f) { BODY n = Add (s, k) f = Relu (n) }> (m, x) }"""


def _scan(body, attributes=""):
    text = SCAN.replace("BODY", body).replace("ATTRIBUTES", attributes)
    return model_of(HEADER + text, {"d": R.standard_normal((8, 8)).astype(np.float32) / 3})


@pytest.mark.parametrize(
    "attributes", ["", "scan_output_directions = [1], scan_output_axes = [0],"]
)
def test_a_scan(attributes, tmp_path):
    model = _scan("k = MatMul (e, d)", attributes)
    data = [{"x": _x()[0, :3, :1], "z": _x()[0, 0, :1]} for _ in range(3)]
    result = run_pass(planish.load(model), f"{PLAIN[:-1]},calibration=min-max}}", feeds=data)
    written = planish.to_model(result.graph)
    for feed in data:
        wanted, found = run_ort(model, feed), run_ort(written, feed)
        assert all(relative_error(wanted[name], found[name]) < 0.05 for name in wanted)
    assert "MatMul" not in _fused(written, tmp_path)
    largest = max(feed["x"].max() for feed in data) - min(feed["x"].min() for feed in data)
    scales = [n.inputs[1].values for n in _all_nodes(result.graph) if n.op == "QuantizeLinear"]
    assert any(np.isclose(scale, largest / 255, rtol=1e-5) for scale in scales)


def test_layers_of_a_body_within_a_scan_are_named():
    body = """h = ReduceMax <keepdims = 0> (e) c = Cast <to = 9> (h)
        k = If (c) < then_branch = t () => (float[1, 8] u) { u = MatMul (e, d) },
                     else_branch = l () => (float[1, 8] v) { v = Neg (e) }>"""
    data = [{"x": _x()[0, :3, :1], "z": _x()[0, 0, :1]} for _ in range(2)]
    result = run_pass(planish.load(_scan(body)), PLAIN, feeds=data)
    (told,) = (text for text in result.records[0].remarks if "body" in text)
    assert told.startswith("1 layer of a body stays float")
    assert "MatMul 'u'" in told
    assert "QuantizeLinear" in ops(result.graph)


def test_layers_of_bodies_go_back_to_float_for_a_bound():
    model, data = model_of(HEADER + BRANCHES, WEIGHTS), _feeds([True, False] * 2)
    pipeline = "quantize{measure=false,calibration=min-max,min-sqnr=34,reduce-range=true}"
    result = run_pass(planish.load(model), pipeline, feeds=data)
    floats = [d for d in result.records[0].declined if "stays float" in d.reason]
    assert 0 < len(floats) < 5
    said = next(text for text in result.records[0].remarks if "the same without" in text)
    text = said.partition(": ")[2]
    again = run_pass(planish.load(model), text, feeds=data)
    for feed in data:
        np.testing.assert_array_equal(
            run_ort(planish.to_model(again.graph), feed)["y"],
            run_ort(planish.to_model(result.graph), feed)["y"],
        )


@pytest.mark.parametrize("move", ["MaxPool <kernel_shape = [2, 2]> (h)", "Reshape (h, shape)"])
def test_bodies_read_what_integers_move_through_behind_a_barrier(move):
    """ONNX Runtime aborts the process where nothing stands between."""
    text = f"""g (float[1, 8, 8, 8] x, bool c) => (float[] y) {{
        k = Conv <pads = [1, 1, 1, 1]> (x, w) h = Relu (k) r = {move}
        y = If (c) <
            then_branch = a () => (float[] p) {{ p = Sin (r) }},
            else_branch = b () => (float[] q) {{ q = Cos (r) }}
        > }}"""
    weights = {"w": WEIGHTS["w"], "shape": np.array([1, 8, 64])}
    model = model_of(HEADER + text, {k: v for k, v in weights.items() if f"{k})" in text})
    data = _feeds([True, False])
    result = run_pass(planish.load(model), PLAIN, feeds=data)
    assert ops(result.graph)[-3:-1] == [move.split()[0], "LeakyRelu"]
    assert ops(run_pass(result.graph, "exact").graph)[-3:-1] == [move.split()[0], "LeakyRelu"]
    written = planish.to_model(result.graph)
    session = ort.InferenceSession(written.SerializeToString(), providers=["CPUExecutionProvider"])
    for feed in data:
        assert relative_error(run_ort(model, feed)["y"], session.run(None, feed)[0]) < 0.1


def test_integers_that_a_relu_hands_on_enter_a_body_behind_a_barrier(tmp_path):
    """Nor may only a body read what is quantized right behind a pair."""
    text = """g (float[4, 8] x, bool c) => (float[4, 8] y) {
        h = Relu (x) g = MatMul (x, u)
        y = If (c) <
            then_branch = a () => (float[4, 8] p) {
                r = Relu (h)
                p = If (c) <
                    then_branch = d () => (float[4, 8] s) {
                        f = Reshape (r, shape) s = MatMul (f, v) },
                    else_branch = e () => (float[4, 8] t) { t = Relu (g) }
                > },
            else_branch = b () => (float[4, 8] q) { q = MatMul (h, w) }
        > }"""
    weights = {name: R.standard_normal((8, 8)).astype(np.float32) for name in "uvw"}
    model = model_of(HEADER + text, weights | {"shape": np.array([-1, 8])})
    data = [{"x": _x()[0, 0, :4], "c": np.array(flag)} for flag in (True, False)]
    result = run_pass(planish.load(model), PLAIN, feeds=data)
    written = planish.to_model(result.graph)
    fused = _fused(written, tmp_path)
    assert "LeakyRelu" in fused
    assert_near(model, written, data, 0.1)


def test_nodes_are_told_apart_from_tensors_of_other_bodies():
    """One node has the name of what an unnamed one of another body gives; only one was run."""
    model = model_of(HEADER + BRANCHES, WEIGHTS)
    (branch,) = (n for n in model.graph.node if n.op_type == "If")
    first, second = (
        next(a.g for a in branch.attribute if a.name == name)
        for name in ("then_branch", "else_branch")
    )
    second.node[0].output[0] = second.node[1].input[0] = "other"
    first.node[0].name = "other"
    data = _feeds([True] * 2)
    result = run_pass(planish.load(model), PLAIN, feeds=data)
    written = planish.to_model(result.graph)
    for feed in _feeds([True, False]):
        assert relative_error(run_ort(model, feed)["y"], run_ort(written, feed)["y"]) < 0.1


@pytest.mark.parametrize("first", ["c,d,q", "h,y"])
def test_what_one_scope_has_on_integers_is_extended_to_others(first):
    model = model_of(HEADER + STEPS, WEIGHTS)
    data = [{"x": _x(), "n": np.array(n)} for n in (0, 2, 3)]
    part = run_pass(planish.load(model), f"{PLAIN[:-1]},exclude=[{first}]}}", feeds=data)
    whole = run_pass(part.graph, f"{PLAIN[:-1]},extend=true}}", feeds=data)
    assert part.edits > 0
    assert whole.edits > 0
    written = planish.to_model(whole.graph)
    session = ort.InferenceSession(written.SerializeToString(), providers=["CPUExecutionProvider"])
    for feed in data:
        assert relative_error(run_ort(model, feed)["y"], session.run(None, feed)[0]) < 0.06


def test_where_no_layer_was_seen_the_graph_is_the_float_one():
    text = """g (float[1, 8, 8, 8] x, int64 n) => (float[1, 8, 8, 8] y) {
        t = Constant <value = bool {1}> ()
        y = Loop (n, t, x) <body = a (int64 i, bool k, float[1, 8, 8, 8] p) =>
            (bool j, float[1, 8, 8, 8] q) {
                j = Identity (k) c = Conv <pads = [1, 1, 1, 1]> (p, w) r = Relu (c)
                q = Add (r, p) }> }"""
    model = model_of(HEADER + text, {"w": WEIGHTS["w"]})
    data = [{"x": _x(), "n": np.array(0)} for _ in range(2)]
    exact, found = (
        planish.Pipeline.parse(names).run(planish.load(model), data)
        for names in ("exact", f"exact,{PLAIN}")
    )
    a, b = (planish.to_model(r.graph).SerializeToString() for r in (exact, found))
    assert a == b
    assert found.records[-1].edits == 0
    assert found.records[-1].undone == "there is nothing to quantize"
