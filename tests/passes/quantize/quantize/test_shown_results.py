"""Results of If, Loop and Scan that are outputs of the graph and read behind as well."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import model_of, relative_error, run_ort

R = np.random.default_rng(3)
WEIGHTS = {name: (R.standard_normal((8, 8, 3, 3)) / 8).astype(np.float32) for name in ("w", "v")}
HEADER = '<ir_version: 8, opset_import: ["" : 17]> '
SHOWN = """g (float[1, 8, 8, 8] x, bool c) => (float[1, 8, 8, 8] s, float[1, 8, A, B] y) {{
    t = Constant <value = bool {{1}}> () n = Constant <value_int = 3> ()
    h = Conv <pads = [1, 1, 1, 1]> (x, w)
    {0}
    y = Conv (s, w) }}"""
HOLDERS = {
    "Loop": """s = Loop (n, t, h) <body = a (int64 i, bool k, float[1, 8, 8, 8] p) =>
        (bool j, float[1, 8, 8, 8] q) {
            j = Identity (k)
            d = Conv <pads = [1, 1, 1, 1]> (p, v) e = Relu (d) q = Add (e, p) }>""",
    "If": """s = If (c) <
        then_branch = a () => (float[1, 8, 8, 8] q) {
            d = Conv <pads = [1, 1, 1, 1]> (h, v) e = Relu (d) q = Add (e, h) },
        else_branch = b () => (float[1, 8, 8, 8] q) {
            d = Conv <pads = [1, 1, 1, 1]> (h, v) e = Relu (d) q = Add (e, x) }>""",
    "Loop in If": """s = If (c) <
        then_branch = a () => (float[1, 8, 8, 8] q) {
            q = Loop (n, t, h) <body = b (int64 i, bool k, float[1, 8, 8, 8] p) =>
                (bool j, float[1, 8, 8, 8] q2) {
                    j = Identity (k) d = Conv <pads = [1, 1, 1, 1]> (p, v) e = Relu (d)
                    q2 = Add (e, p) }> },
        else_branch = f () => (float[1, 8, 8, 8] q) { q = Identity (h) }>""",
    "Scan": """s1, r = Scan <num_scan_inputs = 1, body =
            a (float[1, 8, 8, 8] p, float[8, 8, 8] z) =>
            (float[1, 8, 8, 8] q, float[1, 8, 8, 8] q2) {
            d = Conv <pads = [1, 1, 1, 1]> (p, v) e = Relu (d) q = Add (e, p) q2 = Identity (q)
        }> (h, x) s = Relu (s1)""",
}


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("before", ["", "exact,"])
def test_a_result_that_is_shown_and_read_behind(holder, before):
    """What holds the body gets another result while the body itself is being changed."""
    model = model_of(HEADER + SHOWN.format(HOLDERS[holder]), WEIGHTS)
    x = R.standard_normal((4, 1, 8, 8, 8)).astype(np.float32)
    data = [{"x": x[i], "c": np.array(i % 2 > 0)} for i in range(4)]
    pipeline = planish.Pipeline.parse(f"{before}quantize{{measure=false,guard=off}}")
    written = planish.to_model(pipeline.run(planish.load(model), data, strict=True).graph)
    for feed in data:
        found, wanted = run_ort(written, feed), run_ort(model, feed)
        assert all(relative_error(wanted[name], found[name]) < 0.1 for name in ("s", "y"))


def test_biases_in_bodies_that_are_not_corrected_are_named():
    text = """g (float[1, 8, 8, 8] x, bool c) => (float[1, 8, A, B] y) {
        y = If (c) <
            then_branch = a () => (float[1, 8, A, B] p) { [one] p = Conv (x, v, b) },
            else_branch = f () => (float[1, 8, A, B] q) { [two] q = Conv (x, w) }> }"""
    model = model_of(HEADER + text, {**WEIGHTS, "b": R.standard_normal(8).astype(np.float32)})
    x = R.standard_normal((2, 1, 8, 8, 8)).astype(np.float32)
    data = [{"x": x[i], "c": np.array(i > 0)} for i in range(2)]
    for option, count in (("", 1), (",correct-bias=false", 0)):
        pipeline = planish.Pipeline.parse(f"quantize{{measure=false,guard=off{option}}}")
        remarks = pipeline.run(planish.load(model), data, verify="off").records[0].remarks
        told = [each for each in remarks if "not corrected" in each]
        assert told == ["1 bias in a body is not corrected: means are taken outside (one)"][:count]
