"""What TVM has no kernel for, or a wrong one, runs on ONNX Runtime; constants run nowhere."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.ir.core.errors import BackendError

from tests.helpers import graph_of, model_of

pytest.importorskip("tvm")

from tests.backends.tvm.compared import check, normal

NODES = {
    "ScatterND": "y = ScatterND(x, place, row)",
    "Split with an empty part": "y, z = Split <axis = 1> (x, parts)",
    "Slice of nothing": "y = Slice(x, two, one, zero, two)",
    "ConstantOfShape": "y = ConstantOfShape(i)",
    "no inputs": "y = RandomlessRange(zero)",
    "Shape of any size": "y = Shape(n)",
    "weights that are inputs": "y = MatMul(x, w)",
    "MaxPool with indices": "y, z = MaxPool <kernel_shape = [2]> (v)",
    "Col2Im": "y = Col2Im(columns, size, block)",
    "NonZero": "y = NonZero(n)",
}


@pytest.mark.parametrize("kind", NODES)
def test_what_tvm_has_no_kernel_for_runs_all_the_same(kind) -> None:
    step = NODES[kind].replace("RandomlessRange(zero)", "Shape(row)")
    constants = {
        "place": np.array([[1]]),
        "row": normal(1, 4),
        "parts": np.array([0, 4]),
        "two": np.array([2]),
        "one": np.array([1]),
        "zero": np.array([0]),
        "size": np.array([5, 5]),
        "block": np.array([1, 5]),
    }
    kinds = {
        "x": ("float[3, 4]", normal(3, 4)),
        "w": ("float[4, 2]", normal(4, 2)),
        "n": ("float[N, 2]", normal(3, 2)),
        "v": ("float[1, 4, 6]", normal(1, 4, 6)),
        "i": ("int64[1]", np.array([3])),
        "columns": ("float[1, 5, 5]", normal(1, 5, 5)),
    }
    read = [name.strip() for name in step.split("(")[1].rstrip(")").split(",")]
    first = "int64" if step.startswith(("y = Shape", "y = NonZero")) else "float"
    second = ", int64[] z" if "MaxPool" in step else ", float[] z" if " z " in step else ""
    model = model_of(
        f"g ({', '.join(f'{kinds[n][0]} {n}' for n in read if n in kinds)}) => "
        f"({first}[] y{second}) {{ {step} }}",
        {name: values for name, values in constants.items() if name in read},
    )
    check(model, {name: kinds[name][1] for name in read if name in kinds}, optimize=False)


def test_what_nothing_runs_is_refused_by_name() -> None:
    graph = graph_of("g (float[2] x) => (float[] y) { y = Frobnicate(x) }")
    graph.nodes[0].domain = "unheard.of"
    with pytest.raises(BackendError, match=r"Frobnicate.*'y'.*unheard\.of"):
        planish.lower(graph, backend="tvm", optimize=False)


def test_what_onnx_runtime_makes_of_constants_is_a_constant() -> None:
    model = model_of(
        """g (float[3, 3] x) => (float[] y) {
            places = Constant <value = int64[2, 1] {0, 2}> ()
            rows = ConstantOfShape <value = float[1] {2.5}> (wide)
            none = ScatterND(ones, places, rows)
            y = Add(x, none)
        }""",
        {"wide": np.array([2, 3]), "ones": np.ones((3, 3), np.float32)},
    )
    check(model, {"x": normal(3, 3)}, optimize=False)


def test_a_converter_with_another_shape_is_not_believed(monkeypatch) -> None:
    from planish.backends.tvm.program import emit_onnx

    monkeypatch.setattr(emit_onnx, "is_right", lambda node, view: True)
    model = model_of(
        "g (float[3, 5] x) => (float[] y) { y = Slice(x, last, far, zero, back) }",
        {
            "last": np.array([-1]),
            "far": np.array([2**63 - 1]),  # for ONNX Runtime the begin, going backwards
            "zero": np.array([0]),
            "back": np.array([-1]),
        },
    )
    check(model, {"x": normal(3, 5)}, optimize=False)


def test_constants_that_are_nodes_are_not_left_to_onnx_runtime() -> None:
    model = model_of(
        "g (float[4] x) => (float[4] y) { c = Constant <value_float = 2.5> () y = Mul(x, c) }"
    )
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1, optimize=False)
    assert not any("ONNX Runtime" in line for line in compiled.remarks)
    assert compiled({"x": np.ones(4, np.float32)})["y"].tolist() == [2.5] * 4
