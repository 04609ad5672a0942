"""Sizes that only the feeds tell: right where they fit, refused where ONNX Runtime refuses them.

What TVM's own operators are not told they read beside: the memory of another tensor.
"""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.ir.core.errors import BackendError, ExecutionError

from tests.helpers import Array, graph_of, model_of, relative_error, run_ort

pytest.importorskip("tvm")


def normal(*shape: int) -> Array:
    return np.random.default_rng(list(shape)).standard_normal(shape).astype(np.float32)


# What is computed, constants, sizes of `x` (and of `y`) that fit, and sizes that do not.
CASES = {
    "Gather": ("z = Gather <axis = 0> (x, c)", {"c": np.array([5, 0])}, [(6, 3)], [(5, 3)]),
    "Gather from the end": ("z = Gather (x, c)", {"c": np.array([-5])}, [(5, 3)], [(4, 3)]),
    "GatherElements": (
        "z = GatherElements <axis = 0> (x, c)", {"c": np.array([[5, 0, 0]])}, [(6, 3)],
        [(5, 3), (6, 1)],
    ),
    "GatherND": ("z = GatherND(x, c)", {"c": np.array([[3, -2]])}, [(4, 2)], [(3, 2), (4, 1)]),
    "Split": (
        "z, v = Split <axis = 0> (x, c)", {"c": np.array([2, 2])}, [(4, 3)], [(2, 3), (6, 3)],
    ),
    "Split evenly": ("z, v = Split <axis = 0, num_outputs = 2> (x)", {}, [(4, 3), (5, 3)], []),
    "Reshape": ("z = Reshape(x, c)", {"c": np.array([2, 6])}, [(4, 3), (3, 4)], [(1, 3), (6, 3)]),
    "Reshape, the rest": ("z = Reshape(x, c)", {"c": np.array([2, -1])}, [(4, 3)], [(1, 3)]),
    "SpaceToDepth": (
        "z = SpaceToDepth <blocksize = 2> (x)", {}, [(1, 2, 4, 6)], [(1, 2, 3, 6), (1, 2, 4, 5)],
    ),
    "DepthToSpace": (
        "z = DepthToSpace <blocksize = 2> (x)", {}, [(1, 8, 3, 1)], [(1, 6, 3, 1)],
    ),
    "Conv": (
        "z = Conv <pads = [1, 1, 1, 1]> (x, c)", {"c": normal(4, 3, 3, 3)}, [(2, 3, 1, 5)],
        [(2, 5, 4, 4), (2, 1, 4, 4)],
    ),
    "Squeeze": ("z = Squeeze(x, c)", {"c": np.array([0])}, [(1, 3)], [(2, 3)]),
    "Add": ("z = Add(x, c)", {"c": normal(4, 3)}, [(1, 3), (4, 3), (4, 1)], [(2, 3)]),
    "Expand": ("z = Expand(x, c)", {"c": np.array([4, 3])}, [(1, 3), (4, 1)], [(2, 3)]),
    "Concat": ("z = Concat <axis = 1> (x, c)", {"c": normal(4, 3)}, [(4, 5)], [(1, 5), (9, 5)]),
    "BatchNormalization": (
        "z = BatchNormalization(x, c, c, c, d)", {"c": normal(3), "d": np.abs(normal(3))},
        [(2, 3, 4)], [(2, 5, 4), (2, 1, 4)],
    ),
    "Gemm": ("z = Gemm(x, c, d)", {"c": normal(3, 8), "d": normal(4, 8)}, [(4, 3)], [(2, 3)]),
    "MatMul": ("z = MatMul(x, c)", {"c": normal(3, 8)}, [(4, 3)], [(4, 5), (4, 1)]),
}  # fmt: skip
PAIRS = {
    "MatMul of two": ("z = MatMul(x, y)", [((2, 3), (3, 5))], [((2, 3), (4, 5)), ((2, 3), (1, 5))]),
    "Gemm of two": (
        "z = Gemm <transA = 1, transB = 1> (x, y)", [((3, 2), (5, 3))], [((3, 2), (5, 4))],
    ),
    "Conv of two": (
        "z = Conv <group = 2> (x, y)", [((1, 4, 3, 3), (4, 2, 1, 1))],
        [((1, 4, 3, 3), (4, 4, 1, 1)), ((1, 4, 3, 3), (4, 1, 1, 1))],
    ),
    "Add of two": (
        "z = Add(x, y)", [((1, 3), (4, 3)), ((4, 3), (1, 3)), ((4, 3), (4, 1))], [((2, 3), (4, 3))],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_one_input(kind) -> None:
    text, constants, fit, unfit = CASES[kind]
    sizes = ", ".join("ABCD"[: len(fit[0])])
    results = text.split(" = ")[0].split(", ")
    outputs = ", ".join(f"float[] {name}" for name in results)
    _check(
        f"g (float[{sizes}] x) => ({outputs}) {{ {text} }}",
        constants,
        [{"x": normal(*shape)} for shape in fit],
        [{"x": normal(*shape)} for shape in unfit],
    )


@pytest.mark.parametrize("kind", PAIRS)
def test_two_inputs(kind) -> None:
    text, fit, unfit = PAIRS[kind]
    first, second = (", ".join(names[: len(fit[0][0])]) for names in ("ABCD", "EFGH"))
    if kind.startswith("Conv"):  # the sizes of a window are known
        second = "4, F, 1, 1"
    _check(
        f"g (float[{first}] x, float[{second}] y) => (float[] z) {{ {text} }}",
        {},
        [{"x": normal(*x), "y": normal(*y)} for x, y in fit],
        [{"x": normal(*x), "y": normal(*y)} for x, y in unfit],
    )


def _check(text: str, constants: dict[str, Array], fit, unfit) -> None:
    model = model_of(text, constants)
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1)
    for feeds in fit:
        found = compiled(feeds)
        for name, values in run_ort(model, feeds).items():
            assert found[name].shape == values.shape
            assert relative_error(values, found[name]) <= 1e-5
    for feeds in unfit:
        with pytest.raises(ExecutionError, match=r"do not fit|could not run|expected"):
            compiled(feeds)


def test_a_view_of_a_batch_is_compared_with_nothing() -> None:
    """What names alone show to fit costs no comparison, and no copy by ONNX Runtime."""
    from planish.backends.contract.prepare import prepare
    from planish.backends.tvm.program.emit_graph import BlockedEmitter
    from planish.backends.tvm.program.lowering import lower_graph
    from planish.backends.tvm.spec.machine import MACHINES

    text = """g (float[N, 64, 12] x) => (float[] z) {
        a = Reshape(x, heads)
        t = Transpose <perm = [0, 2, 1, 3]> (a)
        z = Reshape(t, rows)
    }"""
    shapes = {"heads": np.array([0, 64, 3, 4]), "rows": np.array([-1, 64, 4])}
    graph = planish.load(model_of(text, shapes))
    module = lower_graph(BlockedEmitter(prepare(graph), MACHINES["avx2"])).module
    assert "match_cast" not in module.script()
    assert "onnxruntime" not in module.script()


def test_an_empty_batch_of_a_recurrent_layer_is_refused() -> None:
    """ONNX Runtime ends the process on it."""
    model = model_of(
        "g (float[T, N, 3] x) => (float[] z) { z = LSTM <hidden_size = 2> (x, w, r) }",
        {"w": normal(1, 8, 3), "r": normal(1, 8, 2)},
    )
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1)
    feeds = {"x": normal(4, 5, 3)}
    assert relative_error(run_ort(model, feeds)["z"], compiled(feeds)["z"]) <= 1e-5
    with pytest.raises(ExecutionError, match="LSTM of an empty batch"):
        compiled({"x": normal(4, 0, 3)})


def test_expand_to_the_sizes_of_another_tensor() -> None:
    """An axis of one element has as many as are asked for, whatever that is; no other runtime."""
    text = (
        "g (float[n, 4, 3] x) => (float[] y) { s = Shape (x) r = ReduceSum (x, axes) "
        "e = Expand (r, s) a = Div (x, e) y = Relu (a) }"
    )
    model = model_of(text, {"axes": np.array([2])})
    compiled = planish.lower(planish.load(model), "tvm", threads=1, optimize=False)
    assert not any("ONNX Runtime" in remark for remark in compiled.remarks)
    for n in (1, 3):
        x = np.random.default_rng(n).uniform(0.5, 1.5, (n, 4, 3)).astype(np.float32)
        assert relative_error(run_ort(model, {"x": x})["y"], compiled({"x": x})["y"]) <= 1e-6


def test_a_rank_that_nothing_tells_comes_before_what_the_compiler_says_of_it():
    graph = graph_of("g (float[N, 4] x, int64[K] s) => (float y) { y = Reshape(x, s) }")
    with pytest.raises(BackendError, match=r"'y': the rank or type of 'y' is not known \(TVM"):
        planish.lower(graph, "tvm", threads=1)
