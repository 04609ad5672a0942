"""DepthToSpace in other spellings, and what it and a Slice behind it become on TVM."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.backends.contract.prepare import prepare
from planish.backends.tvm.graph.depth_to_space import fold_depth_to_space
from planish.backends.tvm.kernels.depth_to_space import DepthToSpace
from planish.backends.tvm.program.emit_graph import BlockedEmitter
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.spec.machine import MACHINES

from tests.helpers import assert_same_function, model_of, ops, run_ort

pytest.importorskip("tvm")

CHANNELS_LAST = """
    t = Transpose <perm = [0, 2, 3, 1]> (x)  r = Reshape (t, six)
    t6 = Transpose <perm = [0, 1, 3, 2, 4, 5]> (r)  r4 = Reshape (t6, four)
"""
SIX, FOUR = [0, 5, 4, 2, 2, 24], [0, 10, 8, 24]
CUT = "s = Slice ({0}, a, b, axes)"
BOUNDS = {"a": np.array([1, 2]), "b": np.array([9, 99]), "axes": np.array([1, 2])}
ROWS = {
    "channels last": (f"{CHANNELS_LAST} y = Transpose <perm = [0, 3, 1, 2]> (r4)", {}),
    "cropped before": (
        f"{CHANNELS_LAST} {CUT.format('r4')} y = Transpose <perm = [0, 3, 1, 2]> (s)",
        BOUNDS,
    ),
    "channels first": (
        "r = Reshape (x, six) t = Transpose <perm = [0, 1, 4, 2, 5, 3]> (r) y = Reshape (t, four)",
        {"six": np.array([0, 24, 2, 2, 5, 4]), "four": np.array([0, 24, 10, 8])},
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_spellings(name) -> None:
    text, weights = ROWS[name]
    model = model_of(
        f"g (float[N, 96, 5, 4] x) => (float[] y) {{ {text} }}",
        {"six": np.array(SIX), "four": np.array(FOUR), **weights},
    )
    graph = fold_depth_to_space(planish.load(model))
    assert ops(graph) == ["DepthToSpace", *["Slice"] * ("Slice" in text)]
    x = np.arange(2 * 96 * 20, dtype=np.float32).reshape(2, 96, 5, 4)
    assert_same_function(model, graph, {"x": x})


def test_bytes_between_equal_grids() -> None:
    pair = "q{1} = QuantizeLinear ({0}, s, z) d{1} = DequantizeLinear (q{1}, s, z) "
    text = (
        pair.format("x", 0)
        + "t = Transpose <perm = [0, 2, 3, 1]> (d0) " + pair.format("t", 1)
        + "r = Reshape (d1, six) " + pair.format("r", 2)
        + "u = Transpose <perm = [0, 1, 3, 2, 4, 5]> (d2) "
        + "v = Reshape (u, four) " + pair.format("v", 3)
        + "w = Transpose <perm = [0, 3, 1, 2]> (d3) y = Neg(w)"
    )  # fmt: skip
    weights = {"s": np.float32(0.1), "z": np.uint8(7), "six": np.array(SIX), "four": np.array(FOUR)}
    model = model_of(f"g (float[1, 96, 5, 4] x) => (float[] y) {{ {text} }}", weights)
    graph = fold_depth_to_space(planish.load(model))
    assert ops(graph) == ["QuantizeLinear", "DequantizeLinear", "DepthToSpace", "Neg"]
    x = np.random.default_rng(0).standard_normal((1, 96, 5, 4), np.float32)
    assert_same_function(model, graph, {"x": x})


OTHERS = {
    "other neighbours": CHANNELS_LAST.replace("0, 1, 3, 2, 4, 5", "0, 1, 4, 2, 3, 5"),
    "read in between": f"{CHANNELS_LAST} z = Neg(t6)",
    "another grid": CHANNELS_LAST.replace(
        "r = Reshape (t, six)", "q = QuantizeLinear (t, s, o) d = DequantizeLinear (q, s, o)"
        " r = Reshape (d, six)",
    ),
    "every second": f"{CHANNELS_LAST} cut = Slice (r4, a, b, axes, steps)",
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_none(name) -> None:
    weights = {
        **BOUNDS, "six": np.array(SIX), "four": np.array(FOUR), "steps": np.array([2, 2]),
        "s": np.float32(0.1), "o": np.uint8(0),
    }  # fmt: skip
    last = "cut" if name == "every second" else "r4"
    text = OTHERS[name] + f" y = Transpose <perm = [0, 3, 1, 2]> ({last})"
    found = "(float[] y, float[] z)" if "z =" in text else "(float[] y)"
    model = model_of(f"g (float[1, 96, 5, 4] x) => {found} {{ {text} }}", weights)
    graph = planish.load(model)
    assert ops(fold_depth_to_space(graph)) == ops(graph)


NETWORK = """g (float[N, 96, 5, 4] x) => (float[] a, float[] b, float[] c, float[] d, float[] e) {
    r = Relu(x)
    a = DepthToSpace <blocksize = 2> (r)
    crd = DepthToSpace <blocksize = 2, mode = "CRD"> (r)
    b = Slice (crd, starts, ends, axes)
    w2 = Slice (r, zero, many, one)
    p = DepthToSpace <blocksize = 2> (w2)
    cut = Slice (p, starts, ends, axes)
    c = Conv <pads = [1, 1, 1, 1]> (cut, w)
    q = QuantizeLinear (r, s, z)
    f = DequantizeLinear (q, s, z)
    g = DepthToSpace <blocksize = 4> (f)
    h = QuantizeLinear (g, s, z)
    d = DequantizeLinear (h, s, z)
    w3 = Slice (r, zero, nine, one)
    e = DepthToSpace <blocksize = 3, mode = "CRD"> (w3)
}"""


def test_on_tvm() -> None:
    random = np.random.default_rng(1)
    weights = {
        "starts": np.array([1, 0]), "ends": np.array([99, -1]), "axes": np.array([2, 3]),
        "zero": np.array([0]), "many": np.array([64]), "nine": np.array([27]), "one": np.array([1]),
        "w": random.standard_normal((4, 16, 3, 3), np.float32), "s": np.float32(0.02),
        "z": np.uint8(5),
    }  # fmt: skip
    model = model_of(NETWORK, weights)
    graph = planish.load(model)
    feeds = {"x": random.standard_normal((2, 96, 5, 4), np.float32)}
    expected, found = run_ort(model, feeds), planish.lower(graph, "tvm", threads=1)(feeds)
    for name, values in expected.items():
        if name == "c":
            np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-4)
        else:
            assert np.array_equal(found[name], values), name
    made = lower_graph(BlockedEmitter(prepare(graph), MACHINES["avx512"])).kernels
    assert sum(isinstance(op, DepthToSpace) for op in made) == 5
