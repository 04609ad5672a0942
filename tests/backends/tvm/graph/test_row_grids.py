"""Grids between products of rows, as floats: the same bits, and no blocks of bytes."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.backends.contract.prepare import prepare
from planish.backends.tvm.graph.row_grids import fold_row_grids
from planish.backends.tvm.kernels.matmul import MatMul
from planish.backends.tvm.kernels.plain import PlainElementwise
from planish.backends.tvm.program.emit_graph import BlockedEmitter
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.spec.machine import MACHINES
from planish.ir.files.save import to_model

from tests.helpers import model_of, ops, run_ort

pytest.importorskip("tvm")

TEXT = """g (float[N, 3, 5, 8] x) => (float[] y) {
    q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z)
    m = MatMul (d, v) r = QuantizeLinear (m, t, o) e = DequantizeLinear (r, t, o) y = MatMul (e, w)
}"""


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_the_same_bits(kind) -> None:
    normal = np.random.default_rng(0).standard_normal
    weights = {
        "s": np.float32(0.03), "z": kind(100), "t": np.float32(0.07), "o": kind(3),
        "v": normal((8, 20)).astype(np.float32), "w": np.eye(20, dtype=np.float32),
    }  # fmt: skip
    model = model_of(TEXT, weights)
    graph = planish.load(model)
    folded = fold_row_grids(graph, lambda node, _: node.op == "MatMul")
    pair = ["Div", "Round", "Add", "Clip", "Sub", "Mul"]
    assert ops(folded) == [*pair, "MatMul", *pair, "MatMul"]
    assert ops(fold_row_grids(graph, lambda *_: False)) == ops(graph)
    x = 3 * normal((2, 3, 5, 8)).astype(np.float32)
    x[0, 0, 0] = [0.015, 0.045, -0.045, 1e30, -1e30, np.inf, -np.inf, 0]  # halves, out of range
    expected = run_ort(model, {"x": x})["y"]
    assert np.array_equal(run_ort(to_model(folded), {"x": x})["y"], expected)
    made = lower_graph(BlockedEmitter(prepare(graph), MACHINES["avx512-vnni"])).kernels
    assert [type(op) for op in made] == [PlainElementwise, MatMul, MatMul]
    found = planish.lower(graph, "tvm", threads=1)({"x": x})["y"]
    away = np.abs(found - expected) / weights["t"]
    assert away.max() < 1.01
    assert np.mean(away > 0.01) <= 0.01
