"""Narrow floats inside If, Loop and Scan, whose own inputs and results stay float32."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import planish
from planish.ir.graph.uses import scopes

from tests.helpers import graph_of, relative_error, run_ort, run_pass

R = np.random.default_rng(0)
WEIGHTS = {key: (R.standard_normal((8, 8, 3, 3)) / 9).astype(np.float32) for key in ("w", "v", "u")}
CONV = "Conv <pads = [1, 1, 1, 1]>"
T = "float[1, 8, 6, 6]"
IF = f"""g ({T} x, bool b) => ({T} y) {{
    c = {CONV} (x, w)
    y = If (b) < then_branch = t () => ({T} p) {{ p = {CONV} (c, v) }},
                 else_branch = e () => ({T} q) {{ k = {CONV} (c, u)  q = Relu (k) }} > }}"""
SHARED = f"""g ({T} x, bool b) => ({T} y) {{
    c = {CONV} (x, w)
    y = If (b) < then_branch = t () => ({T} p) {{ p = {CONV} (c, w) }},
                 else_branch = e () => ({T} q) {{ k = {CONV} (c, w)  q = Relu (k) }} > }}"""
LOOP = f"""g ({T} x, int64 n, bool b) => ({T} y) {{
    y = Loop (n, b, x) < body = t (int64 i, bool a, {T} s) => (bool o, {T} p) {{
        o = Identity (a)  k = {CONV} (s, w)  r = Relu (k)  p = {CONV} (r, v) }} > }}"""


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
@pytest.mark.parametrize("text", [IF, LOOP], ids=["if", "loop"])
def test_layers_in_bodies_are_narrow(text, kind):
    used = {key: held for key, held in WEIGHTS.items() if f", {key})" in text}
    graph = graph_of(text, used)
    result = run_pass(graph, f"convert-precision{{to={kind},compute=half}}", verify="off")
    model = planish.to_model(result.graph)
    onnx.checker.check_model(model, full_check=True)
    kinds = {
        t.dtype
        for scope in scopes(result.graph)
        for node in scope.nodes
        for t in node.inputs
        if t.name and node.op == "Conv"
    }
    assert {np.dtype(each).name for each in kinds} == {kind}
    if kind == "float16":  # ONNX Runtime has no kernels of bfloat16
        _assert_near(graph, model)


def test_a_weight_that_several_scopes_read():
    """It is read as float32 elsewhere, wherever one looks, and so stays: narrow it would be two."""
    graph = graph_of(SHARED, {"w": WEIGHTS["w"]})
    result = run_pass(graph, "convert-precision", verify="off")
    _assert_near(graph, planish.to_model(result.graph))


def _assert_near(graph, model):
    names = {t.name for t in graph.inputs}
    for chosen in (True, False):
        feeds = {"x": R.standard_normal((1, 8, 6, 6)).astype(np.float32), "b": np.array(chosen)}
        if "n" in names:
            feeds |= {"n": np.array(3 if chosen else 0), "b": np.array(True)}
        wanted = run_ort(planish.to_model(graph), feeds)["y"]
        assert relative_error(wanted, run_ort(model, feeds)["y"]) < 5e-3
