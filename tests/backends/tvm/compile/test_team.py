"""Kernels that share threads which are started once."""

from __future__ import annotations

import itertools
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import planish
from planish.backends.tvm.compile.team import stages_of
from planish.backends.tvm.program.emit_graph import BlockedEmitter
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.spec.machine import MACHINES
from planish.backends.tvm.spec.open_sizes import sizes_of, with_values

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


def kernels(text: str, **weights: np.ndarray) -> list:
    module = lower_graph(BlockedEmitter(graph_of(text, weights), MACHINES["avx2"])).module
    return [f for v, f in module.functions_items() if v.name_hint != "main"]


# As many rows as there are parts, or more: 10,800.
@pytest.mark.parametrize(("batch", "images"), [("1", 1), ("N", 1), ("900", 900), ("N", 900)])
@pytest.mark.parametrize("cut", [1, 2, 7, 64])
def test_ranges_of_parts_make_the_whole(cut, batch, images) -> None:
    import tvm

    text = f"""g (float[{batch}, 20, 5, 3] x) => (float[] y) {{
        a = Relu (x) y = MaxPool <kernel_shape = [2, 2]> (a)
    }}"""
    *_, kernel = [k for k in kernels(text) if "max" in str(k.attrs["global_symbol"])]
    (stage,) = stages_of(kernel).stages
    values = {one: tvm.tirx.const(images, "int64") for one in sizes_of(kernel)}
    parts = int(tvm.sym.Analyzer().simplify(with_values(stage.parts, values)))
    assert parts == min(4096, images * 12)
    shared = stage.function.with_attr("global_symbol", "main")
    target = tvm.target.Target(MACHINES["avx2"].llvm(1))
    run = tvm.compile(tvm.IRModule({"main": shared}), target=target)["main"]
    x, y = ([int(with_values(n, values)) for n in one.ty.shape] for one in kernel.params)
    given = tvm.runtime.tensor(normal(*x))
    whole, found = (tvm.runtime.tensor(np.full(y, np.nan, np.float32)) for _ in range(2))
    run(given, whole, 0, parts)
    assert not np.isnan(whole.numpy()).any()
    bounds = [parts * i // cut for i in range(cut + 1)]
    for first, last in itertools.pairwise(bounds):
        assert np.isnan(found.numpy()).any() or first == last
        run(given, found, first, last)
    assert (found.numpy() == whole.numpy()).all()


def test_a_loop_that_reads_what_another_writes_is_a_stage_of_its_own() -> None:
    """Zeros are put around the input of a graph in a loop of their own."""
    text = """g (float[1, 8, 9, 9] x) => (float[] y) {
        y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (x, w)
    }"""
    for each in kernels(text, w=normal(8, 8, 3, 3)):  # with a border it is read in place
        assert len(stages_of(each).stages) == 1
        assert not stages_of(each).scratch
    text = text.replace("float[1, 8, 9, 9] x", "float[1, 3, 9, 9] x")
    found = [stages_of(kernel) for kernel in kernels(text, w=normal(8, 3, 3, 3))]
    assert sorted((len(each.stages), len(each.scratch)) for each in found)[-1] == (2, 1)


# Layers that need each other, layers that do not, one with a padded copy of its input, small ones
# that are one part, and one whose rows are summed by all threads.
DEEP = """g (float[1, 3, 19, 17] x) => (float[] y, float[] z) {
    a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (x, first)
    b = Relu (a)
    c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (b, w)
    d = Conv <kernel_shape = [1, 1]> (b, v)
    e = Conv <kernel_shape = [1, 1]> (b, u)
    f = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (b)
    g0 = Add (c, d) h = Mul (g0, e) i = Sub (h, f)
    j = GlobalAveragePool (i)
    k = Conv <kernel_shape = [1, 1]> (j, v) l = Relu (k) m = Conv <kernel_shape = [1, 1]> (l, u)
    n = Sigmoid (m)
    o = Mul (i, n)
    p = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 40> (o, deep)
    q = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (p, w)
    y = Softmax <axis = 3> (q)
    z = GlobalMaxPool (q)
}"""
DEEP_WEIGHTS = {
    "first": normal(40, 3, 3, 3),
    "w": normal(40, 40, 3, 3) / 16,
    "v": normal(40, 40, 1, 1) / 5,
    "u": normal(40, 40, 1, 1)[::-1] / 5,
    "deep": normal(40, 1, 3, 3),
}


def test_a_system_that_cannot_let_threads_sleep_runs_on_those_of_tvm(monkeypatch) -> None:
    model = model_of(TEXT.format(rows=7), {"w": normal(40, 5, 3, 3)})
    with monkeypatch.context() as patch:
        patch.setattr("platform.system", lambda: "Darwin")
        compiled = planish.lower(planish.load(model), backend="tvm", threads=3, check_kernels=False)
        feeds = {"x": normal(1, 5, 7, 3)}
        found = [compiled(feeds) for _ in range(3)][-1]
    for name, values in run_ort(model, feeds).items():
        assert relative_error(values, found[name]) <= 1e-5, name


def test_results_are_the_same_bits_whoever_does_what(monkeypatch) -> None:
    """With more threads than cores, and others that are busy, the system stops some of them."""
    monkeypatch.setattr("planish.backends.tvm.runtime.runner.core_numbers", lambda: [0] * 16)
    model = model_of(DEEP, DEEP_WEIGHTS)
    compiled = planish.lower(planish.load(model), backend="tvm", threads=3)
    runners = {n: _with_threads(compiled, n) for n in (1, 2, 3, 8, 16)}
    feeds = [{"x": normal(1, 3, 19, 17) + turn} for turn in range(2)]
    wanted = [runners[1](feed) for feed in feeds]
    for name, values in run_ort(model, feeds[0]).items():
        assert relative_error(values, wanted[0][name]) <= 1e-4, name
    for count, run in runners.items():
        for turn in range(40):
            found = run(feeds[turn % 2])
            for name, values in wanted[turn % 2].items():
                assert (values == found[name]).all(), (count, turn, name)


def test_so_many_images_as_are_fed_are_the_same_bits_as_kernels_on_their_own() -> None:
    model = model_of(DEEP.replace("float[1,", "float[N,"), DEEP_WEIGHTS)
    compiled = planish.lower(planish.load(model), backend="tvm", threads=3, check_kernels=False)
    apart = compiled.calls_apart()
    feeds = {n: {"x": np.repeat(normal(1, 3, 19, 17), n, 0)} for n in (1, 2, 3, 7, 8, 33, 0)}
    for n, feed in feeds.items():
        feed["x"] += np.arange(n, dtype=np.float32).reshape(n, 1, 1, 1) / 8
    wanted = {n: apart(feed) for n, feed in feeds.items()}
    for name, values in run_ort(model, feeds[7]).items():
        assert relative_error(values, wanted[7][name]) <= 1e-4, name

    def check(n: int) -> None:
        found = compiled(feeds[n])
        for name, values in wanted[n].items():
            assert found[name].shape == values.shape, (n, name)
            assert (found[name] == values).all(), (n, name)

    turns = [1, 2, 3, 7, 8, 33, 0, 33, 1, 8]
    for n in turns:
        check(n)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check, turns * 4))


def test_results_are_the_same_bits_however_many_threads_it_is_cut_for() -> None:
    """A gate before a 1x1 convolution, and a 3x3 one, which on one thread Winograd is best for."""
    text = """g (float[1, 48, 7, 7] x) => (float[] y, float[] z) {
        a = GlobalAveragePool (x) b = Conv (a, u) c = Sigmoid (b) d = Mul (x, c) y = Conv (d, v)
        z = Conv <pads = [1, 1, 1, 1]> (x, w)
    }"""
    weights = {"u": normal(48, 48, 1, 1), "v": normal(128, 48, 1, 1), "w": normal(128, 48, 3, 3)}
    model, feeds = model_of(text, weights), {"x": normal(1, 48, 7, 7)}
    wanted = run_ort(model, feeds)
    found = []
    for threads in (1, 16):
        lowered = planish.lower(planish.load(model), "tvm", threads=threads, check_kernels=False)
        found.append(lowered(feeds))
    for name, values in wanted.items():
        assert relative_error(values, found[0][name]) <= 1e-5, name
        assert (found[0][name] == found[1][name]).all(), name


def _with_threads(compiled, threads: int):
    """Return the same code on another number of threads, as a loaded artifact would run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.planish"
        compiled.save(path)
        return planish.load_compiled(path, backend="tvm", threads=threads)
