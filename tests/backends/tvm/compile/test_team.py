"""Kernels that share threads which are started once."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.backends.tvm.compile.team import of_share
from planish.backends.tvm.program.emit_graph import BlockedEmitter
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.spec.machine import MACHINES

from tests.helpers import graph_of, model_of, relative_error, run_ort

pytest.importorskip("tvm")

# Loops of 1 to 7 turns, so that shares of 3 and 5 threads are uneven and some are empty.
TEXT = """g (float[1, 5, {rows}, 3] x) => (float[] y, float[] z) {{
    a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
    b = Relu (a)
    c = MaxPool <kernel_shape = [2, 2], pads = [0, 0, 1, 1]> (b)
    y = Add (c, a)
    z = GlobalAveragePool (y)
}}"""


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("threads", [1, 3, 5])
def test_shares_cover_all_work_once(rows, threads) -> None:
    model = model_of(TEXT.format(rows=rows), {"w": normal(40, 5, 3, 3)})
    compiled = planish.lower(planish.load(model), backend="tvm", threads=threads)
    feeds = {"x": normal(1, 5, rows, 3)}
    expected = run_ort(model, feeds)
    for _ in range(3):
        found = compiled(feeds)
        for name, values in expected.items():
            assert relative_error(values, found[name]) <= 1e-5, name


@pytest.mark.parametrize("threads", [1, 2, 3, 7, 64])
def test_shares_of_any_number_of_threads_make_the_whole(threads) -> None:
    """As TVM cuts ticks; a pool has no more threads than the machine that tests has cores."""
    import tvm

    text = """g (float[1, 20, 5, 3] x) => (float[] y) {
        a = Relu (x) y = MaxPool <kernel_shape = [2, 2]> (a)
    }"""
    *_, kernel = [k for k in kernels(text) if "max" in str(k.attrs["global_symbol"])]
    shared = of_share(kernel).with_attr("global_symbol", "main")
    target = tvm.target.Target(MACHINES["avx2"].llvm(1))
    run = tvm.compile(tvm.IRModule({"main": shared}), target=target)["main"]
    x, y = ([int(size) for size in one.ty.shape] for one in kernel.params)
    given = tvm.runtime.tensor(normal(*x))
    whole, found = (tvm.runtime.tensor(np.full(y, np.nan, np.float32)) for _ in range(2))
    run(given, whole, 0, 1024)
    assert not np.isnan(whole.numpy()).any()
    step = -(-1024 // threads)
    shares = [(min(i * step, 1024), min((i + 1) * step, 1024)) for i in range(threads)]
    for first, last in shares:
        left = np.isnan(found.numpy()).any()
        assert left or threads > 3  # then some have nothing to do
        run(given, found, first, last)
    assert (found.numpy() == whole.numpy()).all()


def kernels(text: str, **weights: np.ndarray) -> list:
    module = lower_graph(BlockedEmitter(graph_of(text, weights), MACHINES["avx2"])).module
    return [f for v, f in module.functions_items() if v.name_hint != "main"]


def test_a_loop_that_reads_what_another_writes_is_not_shared() -> None:
    """Zeros are put around the input of a graph in a loop of their own."""
    text = """g (float[1, 8, 9, 9] x) => (float[] y) {
        y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (x, w)
    }"""
    shared = [of_share(kernel) for kernel in kernels(text, w=normal(8, 8, 3, 3))]
    assert all(kernel is not None for kernel in shared)  # with a border it is read in place
    text = text.replace("float[1, 8, 9, 9] x", "float[1, 3, 9, 9] x")
    shared = [of_share(kernel) for kernel in kernels(text, w=normal(8, 3, 3, 3))]
    assert shared.count(None) == 1
