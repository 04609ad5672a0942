"""Element-wise operators in a row: how large their code gets, and what they compute."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.backends.tvm.compile.build import scheduled
from planish.backends.tvm.graph.prepare import prepare
from planish.backends.tvm.program.emit_graph import BlockedEmitter
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.spec.machine import MACHINES

from tests.helpers import model_using, relative_error, run_ort

pytest.importorskip("tvm")
import tvm_ffi
from tvm import ir

WEIGHTS = {"w": np.random.default_rng(0).standard_normal((8, 4, 3, 3)).astype(np.float32)}
OPS = ("Sigmoid", "Tanh", "Elu", "Sigmoid")
LAYERS = {
    "float[1, 4, 9, 9] x": "t0 = Conv <pads = [1, 1, 1, 1]> (x, w)",
    "float[7, 9] x": "t0 = Neg(x)",
}


def chain(inputs: str, count: int):
    steps = [f"t{i + 1} = {op}(t{i})" for i, op in enumerate(OPS[:count])]
    body = " ".join([LAYERS[inputs], *steps, f"y = Abs(t{count})"])
    return model_using(WEIGHTS if "w" in LAYERS[inputs] else {}, body, inputs)


def expressions(model) -> int:
    """Count the expressions of all kernels that a network is compiled from."""
    machine = MACHINES["avx2"]
    lowered = lower_graph(BlockedEmitter(prepare(planish.load(model)), machine))
    found: list[None] = []
    for _, function in scheduled(lowered.module, machine, 1).functions_items():
        tvm_ffi.structural_walk(function, (ir.Expr, lambda _: found.append(None)))
    return len(found)


@pytest.mark.parametrize("inputs", LAYERS)
def test_code_grows_with_the_operators_alone(inputs) -> None:
    """Each of them writes its argument down twenty times."""
    two, three, four = (expressions(chain(inputs, count)) for count in (2, 3, 4))
    assert three - two < two
    assert four - three < two


@pytest.mark.parametrize("inputs", LAYERS)
def test_a_row_of_exponentials_is_computed(inputs) -> None:
    model = chain(inputs, 4)
    sizes = {"x": (1, 4, 9, 9) if "w" in LAYERS[inputs] else (7, 9)}
    feed = {"x": np.random.default_rng(1).standard_normal(sizes["x"]).astype(np.float32)}
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1)
    assert not any("ONNX Runtime" in line for line in compiled.remarks)
    assert relative_error(run_ort(model, feed)["y"], compiled(feed)["y"]) < 1e-6
