"""Programs of known sizes as one function, and their tensors in one arena."""

from __future__ import annotations

import itertools
import mmap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import planish
from planish.backends.contract.prepare import prepare
from planish.backends.tvm.compile.build import scheduled
from planish.backends.tvm.compile.memory import Lifetime, plan
from planish.backends.tvm.compile.single_call import merge_calls
from planish.backends.tvm.program.emit_graph import BlockedEmitter
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.spec.machine import ALIGNMENT, MACHINES

from tests.helpers import graph_of, model_of, relative_error, run_ort

pytest.importorskip("tvm")

# Two results, one of them read again, a constant result and an input passed through.
TEXT = """g (float[{batch}, 6, 5, 6] x) => (float[] y, float[] z, float[] k, float[] same) {{
    c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
    d = Conv <kernel_shape = [1, 1]> (c, v)
    z = Softmax (d)
    e = Conv <kernel_shape = [3, 3], group = 20> (d, u)
    y = Relu (e)
    k = Add (one, one)
    same = Identity (x)
}}"""


def weights():
    normal = np.random.default_rng(0).standard_normal
    shapes = {"w": (20, 6, 3, 3), "v": (20, 20, 1, 1), "u": (20, 1, 3, 3), "one": (3,)}
    return {name: normal(shape).astype(np.float32) for name, shape in shapes.items()}


def feeds(seed: int = 1, batch: int = 2):
    values = np.random.default_rng(seed).standard_normal((batch, 6, 5, 6))
    return {"x": values.astype(np.float32)}


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 8), st.integers(0, 5)), max_size=12))
def test_tensors_that_live_together_lie_apart(drawn) -> None:
    found = sorted((Lifetime(s, f, f + n) for s, f, n in drawn), key=lambda one: one.first)
    offsets, whole = plan(found)
    for one, at in zip(found, offsets, strict=True):
        assert at % ALIGNMENT == 0
        assert at + one.size <= whole
    for (a, at), (b, to) in itertools.combinations(zip(found, offsets, strict=True), 2):
        if a.first <= b.last and b.first <= a.last:
            assert at + a.size <= to or to + b.size <= at


def test_memory_is_used_again() -> None:
    chain = [Lifetime(1000, step, step + 1) for step in range(9)]
    assert plan(chain)[1] == 2 * 1024


def lowered(batch: str, text: str = TEXT):
    return scheduled(program(batch, text).module, MACHINES["avx2"], 1)


def program(batch: str, text: str = TEXT):
    graph = graph_of(text.format(batch=batch), weights())
    return lower_graph(BlockedEmitter(prepare(graph), MACHINES["avx2"]))


def calls(module) -> list[str]:
    bindings = [b for block in module["main"].body.blocks for b in block.bindings]
    return [
        b.value.args[0].name_hint
        for b in bindings
        if getattr(getattr(b.value, "op", None), "name", "") == "relax.call_tir"
    ]


@pytest.mark.parametrize("batch", ["2", "N"])
def test_a_program_of_known_sizes_or_so_many_images_is_one_call(batch) -> None:
    module = lowered(batch)
    assert len(calls(module)) > 4
    assert calls(merge_calls(module, MACHINES["avx2"], 1, sized={})) == ["network"]
    if batch == "N":
        assert merge_calls(module, MACHINES["avx2"], 1) is module


def test_kernels_called_image_by_image_are_those_of_one_image() -> None:
    machine = MACHINES["avx2"]

    def kernels(batch: str) -> set[str]:
        found = program(batch)
        module = scheduled(found.module, machine, 1)
        taken: list[str] = []

        def apart(kernel) -> str:
            taken.append(kernel.without_attr("global_symbol").script())
            return f"kernel_{len(taken)}"

        merge_calls(module, machine, 1, apart=apart, sized=found.sized)
        return set(taken)

    one = kernels("1")
    assert len(one) > 4
    assert kernels("N") == one
    assert kernels("2") != one


def test_a_program_of_other_open_sizes_is_left_alone() -> None:
    text = TEXT.replace("{batch}, 6, 5, 6", "{batch}")
    for sizes in ("N, 6, H, 6", "2, 6, H, W"):
        module = lowered(sizes, text)
        assert merge_calls(module, MACHINES["avx2"], 1, sized={}) is module, sizes


@pytest.mark.parametrize("threads", [1, 2])
def test_one_call_computes_the_same(threads) -> None:
    model = model_of(TEXT.format(batch=2), weights())
    compiled = planish.lower(planish.load(model), backend="tvm", threads=threads)
    expected, found = run_ort(model, feeds()), compiled(feeds())
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        assert relative_error(values, found[name]) <= 1e-4, name


def test_results_stay_when_the_network_runs_again_or_its_input_changes() -> None:
    compiled = planish.lower(
        planish.load(model_of(TEXT.format(batch=2), weights())), backend="tvm", threads=1
    )
    given_, other = feeds(1), feeds(2)
    first = compiled(given_)
    kept = {name: values.copy() for name, values in first.items()}
    given_["x"][:] = 7
    second = compiled(other)
    for name, values in kept.items():
        assert (first[name] == values).all(), name
    assert (second["same"] == other["x"]).all()
    assert (kept["y"] != second["y"]).any()


@pytest.mark.parametrize("dtype", ["bool", "float32", "int64"])
def test_inputs_are_read_wherever_they_lie(dtype) -> None:
    kind = {"bool": "bool", "float32": "float", "int64": "int64"}[dtype]
    compiled = planish.lower(
        graph_of(f"g ({kind}[N, 8] x) => ({kind}[] y) {{ y = Identity (x) }}"),
        backend="tvm",
        threads=1,
    )
    memory = np.zeros(4096, np.uint8)
    aligned = -memory.ctypes.data % ALIGNMENT
    generator = np.random.default_rng(0)
    for offset, rows in ((aligned, 2), (aligned + 8, 2), (aligned + 8, 3), (aligned, 5)):
        size = rows * 8 * np.dtype(dtype).itemsize
        x = memory[offset : offset + size].view(dtype).reshape(rows, 8)
        for writeable in (True, False):
            x.flags.writeable = True
            x[...] = generator.integers(0, 2, x.shape)
            x.flags.writeable = writeable
            found = compiled({"x": x})["y"]
            assert found.dtype == x.dtype
            assert (found == x).all()
            assert not np.shares_memory(found, x)


def test_runs_of_several_threads_do_not_mix() -> None:
    model = model_of(TEXT.format(batch=2), weights())
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1)
    alone = [compiled(feeds(seed))["y"] for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            together = list(pool.map(lambda seed: compiled(feeds(seed))["y"], range(4)))
            assert all((a == b).all() for a, b in zip(alone, together, strict=True))


def test_what_kernels_allocate_is_freed() -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("only Linux tells a process how much memory it has")
    model = model_of(
        """g (float[1, 64, 28, 28] x) => (float[] y) {
            c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
            y = Relu(c)
        }""",
        {"w": np.ones((64, 64, 3, 3), np.float32)},
    )
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1)
    feeds = {"x": np.ones((1, 64, 28, 28), np.float32)}
    for _ in range(20):
        compiled(feeds)
    before = _pages()
    for _ in range(100):
        compiled(feeds)
    assert (_pages() - before) * mmap.PAGESIZE < 8 << 20


def _pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


def test_other_sizes_are_the_same_memory() -> None:
    """No copy is made of what only has other sizes, but of what is an input, or two results."""
    text = """g (float[4, 6, 10] x) => (float[] y, float[] z, float[] same, float[] u) {
        f = Reshape (x, five) s = Softmax (f) u = Unsqueeze (s, axes) v = Squeeze (u, axes)
        z = Reshape (v, three) y = Softmax (z) same = Reshape (x, five)
    }"""
    held = {"five": np.array([12, 20]), "three": np.array([3, 4, 20]), "axes": np.array([1])}
    model = model_of(text, held)
    x = np.random.default_rng(0).standard_normal((4, 6, 10)).astype(np.float32)
    emitter = BlockedEmitter(prepare(planish.load(model), optimize=False), MACHINES["avx2"])
    module = scheduled(lower_graph(emitter).module, MACHINES["avx2"], 1)
    names = {
        str(name.name_hint)
        for name, _ in merge_calls(module, MACHINES["avx2"], 1).functions_items()
    }
    copies = [name for name in names if "reshape" in name or "dims" in name]
    assert len(copies) == 2, names
    compiled = planish.lower(planish.load(model), "tvm", threads=1, optimize=False)
    for name, expected in run_ort(model, {"x": x}).items():
        assert relative_error(expected, compiled({"x": x})[name]) <= 1e-6
