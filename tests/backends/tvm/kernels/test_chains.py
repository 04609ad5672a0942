"""Element-wise operators in a row: how large their code gets, and what they compute."""

from __future__ import annotations

import math

import numpy as np
import pytest

import planish
from planish.backends.contract.prepare import prepare
from planish.backends.tvm.compile.build import scheduled
from planish.backends.tvm.kernels.convolution import Convolution
from planish.backends.tvm.program.emit_graph import BlockedEmitter
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.spec.machine import MACHINES
from planish.backends.tvm.spec.scalars import SCALARS

from tests.helpers import model_using, relative_error, run_ort

pytest.importorskip("tvm")
import tvm_ffi
from tvm import ir, tirx

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


@pytest.mark.parametrize("op", ["Celu", "Elu", "Erf", "Gelu", "Selu", "Sigmoid", "Tanh"])
def test_an_operator_is_as_long_as_its_series(op) -> None:
    """What is read several times is held: an exponential reads its argument twenty times."""
    size = 0

    def count(expr) -> None:
        nonlocal size
        found: list[None] = []
        tvm_ffi.structural_walk(expr, (ir.Expr, lambda _: found.append(None)))
        size += len(found)

    def hold(expr):
        count(expr)
        return tirx.Var("held", "float32")

    count(SCALARS[op]([tirx.Var("x", "float32")], {}, hold))
    assert size < 150


def test_the_order_of_a_sum_makes_no_other_kernel() -> None:
    weights = {"w": np.random.default_rng(0).standard_normal((8, 8, 1, 1)).astype(np.float32)}
    body = """a = Conv (x, w) b = Conv (a, w) c = Add (b, a) d = Relu (c)
              e = Conv (d, w) f = Add (a, e) g = Relu (f)
              y = MaxPool <kernel_shape = [3, 3]> (g)"""
    model = planish.load(model_using(weights, body, "float[1, 8, 9, 9] x"))
    lowered = lower_graph(BlockedEmitter(prepare(model), MACHINES["avx2"]))
    convolutions = [op for op in lowered.kernels if isinstance(op, Convolution)]
    assert len(convolutions) == 2
    assert sum(isinstance(call.op, Convolution) for call in lowered.calls) == 3


@pytest.mark.parametrize("inputs", LAYERS)
def test_a_row_of_exponentials_is_computed(inputs) -> None:
    model = chain(inputs, 4)
    sizes = {"x": (1, 4, 9, 9) if "w" in LAYERS[inputs] else (7, 9)}
    feed = {"x": np.random.default_rng(1).standard_normal(sizes["x"]).astype(np.float32)}
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1)
    assert not any("ONNX Runtime" in line for line in compiled.remarks)
    assert relative_error(run_ort(model, feed)["y"], compiled(feed)["y"]) < 1e-6


def test_the_error_function_is_right_to_its_last_places() -> None:
    """Everywhere, as a kernel of ours has it and as TVM's do; GELU within its own cancellation."""
    unit = {"w": np.eye(16, dtype=np.float32).reshape(16, 16, 1, 1)}
    model = model_using(
        unit,
        "c = Conv(x, w) y = Erf(c) f = Flatten(x) z = Erf(f) g = Gelu(f) h = Gelu(c)",
        "float[1, 16, 50, 50] x",
        outputs="float[] z, float[] g, float[] h, ",
        opset=20,
    )
    parts = [np.linspace(-5, 5, 39000), np.geomspace(1e-30, 1, 998), [0.0, 40.0]]
    x = np.concatenate(parts).astype(np.float32)
    found = planish.lower(planish.load(model), backend="tvm", threads=1)(
        {"x": x.reshape(1, 16, 50, 50)}
    )
    exact = np.array([math.erf(value) for value in x.tolist()])
    units = np.spacing(np.abs(exact).astype(np.float32))
    gelu = (
        x.astype(np.float64) * (1 + np.array([math.erf(v / math.sqrt(2)) for v in x.tolist()])) / 2
    )
    for name in "yz":
        assert (np.abs(found[name].ravel() - exact) <= 1.2 * units).all()
    for name in "gh":
        assert (np.abs(found[name].ravel() - gelu) <= 3e-7 * np.abs(x)).all()


def test_functions_that_pass_through_zero_are_as_exact_there() -> None:
    """Against doubles: in a kernel of ours and behind TVM's converters, from 1e-30 to 100."""
    scale, alpha = 1.05070102214813232421875, 1.67326319217681884765625
    names = {
        "Tanh": np.tanh,
        "Elu": lambda x: np.where(x < 0, np.expm1(x), x),
        "Celu <alpha = 0.5>": lambda x: np.where(x < 0, 0.5 * np.expm1(2 * x), x),
        "Selu": lambda x: scale * np.where(x < 0, alpha * np.expm1(x), x),
    }
    steps = ["c = Conv(x, w)", "f = Flatten(x)"]
    for at, name in enumerate(names):
        steps += [f"k{at} = {name} (c)", f"t{at} = {name} (f)"]
    model = model_using(
        {"w": np.eye(16, dtype=np.float32).reshape(16, 16, 1, 1)},
        " ".join([*steps, "y = Abs(f)"]),
        "float[1, 16, 10, 20] x",
        outputs="".join(f"float[] k{at}, float[] t{at}, " for at in range(len(names))),
        opset=20,
    )
    below = [-np.geomspace(1e-30, 100, 1600), np.geomspace(1e-30, 100, 1600)]
    x = np.concatenate(below).astype(np.float32)
    found = planish.lower(
        planish.load(model), backend="tvm", threads=1, check_kernels=False, strict=True
    )({"x": x.reshape(1, 16, 10, 20)})
    for at, function in enumerate(names.values()):
        exact = function(x.astype(np.float64))
        units = np.spacing(np.abs(exact).astype(np.float32))
        for kind in "kt":
            assert (np.abs(found[f"{kind}{at}"].ravel() - exact) <= 3 * units).all()
