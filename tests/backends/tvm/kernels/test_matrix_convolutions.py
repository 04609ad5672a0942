"""Convolutions as products of tiles (AMX): the code, and numbers on a stand-in for the unit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.backends.contract.prepare import prepare
from planish.backends.tvm.kernels.amx import choice
from planish.backends.tvm.kernels.amx.plan import MatrixConvolution
from planish.backends.tvm.program.emit_graph import BlockedEmitter
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.spec.machine import MACHINES

from ..instructions import assembly_of, make_runnable
from ..quantized_net import check
from ..test_bfloat16 import UNIT, halved, normal
from ..test_integer import conv_net
from tests.helpers import model_of, relative_error, run_ort

pytest.importorskip("tvm")

# What touches a tile register, or says that there are some: instructions of a listing.
_INSTRUCTION = re.compile(
    r"^\s+(ldtilecfg|tilerelease|tilezero|tileload\w*|tilestored|tdp\w+)\b", re.M
)


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take products of tiles wherever channels allow them, however slow."""
    choice.choose_matrix.cache_clear()
    monkeypatch.setattr(choice, "_WORTH", float("inf"))
    yield
    choice.choose_matrix.cache_clear()


def kernels(graph: gs.Graph, isa: str = "amx") -> list[Any]:
    """Return the convolutions of `graph` that are products of tiles."""
    choice.choose_matrix.cache_clear()
    found = lower_graph(BlockedEmitter(prepare(graph), MACHINES[isa])).kernels
    return [op for op in found if isinstance(op, MatrixConvolution)]


def assert_tiles_are_let_go(graph: gs.Graph, product: str) -> None:
    """Assert that one function uses registers: between a configuration and a release of them."""
    used = {"ldtilecfg", "tilerelease", "tilezero", "tileloadd", "tilestored", product}
    functions = re.split(r"^\.Lfunc_end\d+:", assembly_of(graph, "amx"), flags=re.MULTILINE)
    (listing,) = filter(None, map(_INSTRUCTION.findall, functions))
    assert set(listing) == used
    emitted = instructions_of(graph)
    assert (emitted[0], emitted[-1]) == ("ldtilecfg", "tilerelease")
    for end in (emitted[0], emitted[-1]):
        assert listing.count(end) == emitted.count(end) == 1


def instructions_of(graph: gs.Graph) -> list[str]:
    """Return the instructions of tiles in the order of the loop nests of `graph`."""
    import tvm_ffi
    from tvm import ir
    from tvm.target.codegen import llvm_get_intrinsic_name

    lowered = lower_graph(BlockedEmitter(prepare(graph), MACHINES["amx"]))
    found = []

    def look(call: Any) -> None:
        if getattr(call.op, "name", "") == "tirx.call_llvm_intrin":
            name = str(llvm_get_intrinsic_name(int(call.args[0].value)))
            found.append(name.rpartition(".")[2])

    for name in lowered.kernels.values():
        tvm_ffi.structural_walk(lowered.module[name].body, (ir.Call, look))
    return found


def test_bytes_are_multiplied_in_tiles() -> None:
    assert_tiles_are_let_go(planish.load(conv_net(64, 64, (20, 20))[0]), "tdpbusd")


def test_bfloat16_is_multiplied_in_tiles() -> None:
    text = "g (float[1, 64, 20, 20] x) => (float[] y) { r = Relu(x) y = Conv (r, w) }"
    assert_tiles_are_let_go(halved(text, {"w": normal(64, 64, 3, 3)}), "tdpbf16ps")


@pytest.mark.parametrize("isa", ["avx512-vnni", "avx512-bf16", "avx512"])
def test_no_other_machine_has_tiles(isa, everywhere) -> None:
    model, _, _ = conv_net(64, 64, (20, 20))
    assert not kernels(planish.load(model), isa)


BYTES = [
    {"channels": 100, "outputs": 40, "size": (5, 17), "dtype": np.int8},
    {
        "channels": 40,
        "outputs": 56,
        "size": (11, 21),
        "attributes": "pads = [1, 0, 2, 1], strides = [2, 3], dilations = [1, 2]",
    },
    {"channels": 72, "outputs": 24, "size": (7, 5), "kernel": 1, "bias": "float"},
    {"channels": 20, "outputs": 40, "size": (8, 7), "kernel": 1, "attributes": "strides = [2, 3]"},
    {"channels": 24, "outputs": 36, "size": (6, 6), "group": 3},
    {"channels": 20, "outputs": 18, "size": (3, 4, 5), "kernel": 2, "dtype": np.int8},
    {"channels": 16, "outputs": 66, "size": (35,), "attributes": "pads = [2, 0]", "kernel": 4},
]


@pytest.mark.parametrize("case", BYTES, ids=str)
def test_bytes_give_the_same_integers_as_vectors(case, everywhere, monkeypatch) -> None:
    model, feeds, _ = conv_net(**case)
    graph, target = planish.load(model), make_runnable("amx", monkeypatch)
    assert len(kernels(graph)) == 1
    tiles = planish.lower(graph, backend="tvm", target=target, threads=1)(feeds)["y"]
    assert len(np.unique(tiles)) > 8
    choose_vectors(monkeypatch)
    vectors = planish.lower(graph, backend="tvm", target=target, threads=1)(feeds)["y"]
    np.testing.assert_array_equal(tiles, vectors)


def choose_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no products of tiles until the test ends."""
    choice.choose_matrix.cache_clear()
    monkeypatch.setattr(choice, "_WORTH", 0)


def test_images_are_counted_through(everywhere, monkeypatch) -> None:
    """Where positions are, tiles have rows of two images; four threads share the output blocks."""
    model, feeds, step = conv_net(72, 104, (5, 3), kernel=1, dtype=np.int8)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    (op,) = kernels(planish.load(model))
    assert op.plan.columns == 30
    assert choice.choose_matrix(op.conv, MACHINES["amx"], 4).plan.cuts == 4
    target = make_runnable("amx", monkeypatch)
    check(model, feeds, {"y": step}, target)
    one, four = (
        planish.lower(planish.load(model), backend="tvm", target=target, threads=threads)(feeds)
        for threads in (1, 4)
    )
    np.testing.assert_array_equal(one["y"], four["y"])


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"channels": 64, "outputs": 64, "size": (14, 14)}, True),
        ({"channels": 256, "outputs": 64, "size": (7, 7), "kernel": 1}, True),
        ({"channels": 256, "outputs": 64, "size": (1, 1), "kernel": 1}, False),  # one row
        ({"channels": 16, "outputs": 16, "size": (14, 14), "kernel": 1}, False),  # few bytes of it
        ({"channels": 64, "outputs": 64, "size": (14, 14), "group": 16}, False),  # share blocks
    ],
)
def test_few_positions_and_channels_stay_with_vectors(given, taken) -> None:
    assert bool(kernels(planish.load(conv_net(**given)[0]))) == taken


def test_two_threads_share_what_is_one_run() -> None:
    (op,) = kernels(planish.load(conv_net(256, 256, (7, 7))[0]))
    assert (op.plan.run_rows, op.plan.run_columns, op.plan.cuts) == (7, 7, 1)
    assert choice.choose_matrix(op.conv, MACHINES["amx"], 2).plan.cuts == 2


def test_rows_of_many_images_are_tiles() -> None:
    weights = {"w": normal(256, 64)}
    for images, taken in ((1, False), (64, True)):
        text = f"g (float[{images}, 256] x) => (float[] y) {{ a = Relu (x) y = Gemm (a, w) }}"
        assert bool(kernels(halved(text, weights))) == taken


HALVES = {
    "odd sizes": (
        "x, 40, 9, 21", "c = Conv <pads = [1, 0, 2, 1], dilations = [1, 2]> (a, w)",
        {"w": normal(33, 40, 3, 3)},
    ),
    "strides": ("x, 33, 8, 19", "c = Conv <strides = [2, 3]> (a, w)", {"w": normal(24, 33, 1, 1)}),
    "groups": ("x, 96, 5, 7", "c = Conv <group = 3> (a, w)", {"w": normal(60, 32, 2, 2)}),
    "rows": ("x, 33", "c = Gemm (a, w)", {"w": normal(33, 50)}),
    "a prologue": (
        "x, 40, 12, 9",
        "p = GlobalAveragePool (a) g = Sigmoid (p) m = Mul (a, g) c = Conv (m, w)",
        {"w": normal(20, 40, 1, 1)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HALVES)
def test_bfloat16_is_as_close_to_float32_as_its_roundings(name, everywhere, monkeypatch) -> None:
    sizes, body, weights = HALVES[name]
    shape = [2, *map(int, sizes.split(",")[1:])]
    text = f"""g (float[{", ".join(map(str, shape))}] x) => (float[] y) {{
        a = LeakyRelu (x)
        {body}
        y = LeakyRelu <alpha = 0.1> (c)
    }}"""
    graph, feeds = halved(text, weights), {"x": normal(*shape)}
    found = kernels(graph)
    assert len(found) == 1
    assert bool(found[0].conv.prologue.steps) == (name == "a prologue")
    expected = run_ort(model_of(text, weights), feeds)["y"]
    target = make_runnable("amx", monkeypatch)
    result = planish.lower(graph, backend="tvm", target=target, threads=1)(feeds)["y"]
    assert UNIT / 64 < relative_error(expected, result) < 6 * UNIT
