"""bfloat16 graphs through the TVM backend, against float32 with the tolerance of 8 bits."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.backends.contract.prepare import prepare
from planish.backends.tvm.kernels.convolution import Convolution
from planish.backends.tvm.kernels.dot import HalfDot, HalfTapDot
from planish.backends.tvm.kernels.elementwise import Elementwise
from planish.backends.tvm.kernels.winograd.convolution import Winograd
from planish.backends.tvm.program.emit_graph import BlockedEmitter
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.spec.machine import MACHINES

from .instructions import assembly_of, each_isa, make_runnable
from tests.helpers import Array, model_of, relative_error, run_ort

pytest.importorskip("tvm")

# Half a unit in the last of 8 bits for each rounding: of x, of every weight, of each result.
UNIT = 2.0**-9


def normal(*shape: int) -> Array:
    return np.random.default_rng(list(shape)).standard_normal(shape).astype(np.float32)


def halved(text: str, weights: dict[str, Array]) -> gs.Graph:
    """Return the graph of `text` computed in bfloat16, with inputs and outputs in float32."""
    pipeline = planish.Pipeline.parse("convert-precision{to=bfloat16,compute=half}")
    return pipeline.run(planish.load(model_of(text, weights)), verify="off").graph


def check(text: str, weights: dict[str, Array], feeds: dict[str, Array], roundings: int) -> None:
    """Compare with float32: as far off as `roundings` of the largest value are, and no less."""
    expected = run_ort(model_of(text, weights), feeds)["y"]
    found = planish.lower(halved(text, weights), backend="tvm", threads=1)(feeds)["y"]
    error = relative_error(expected, found)
    assert UNIT / 64 < error < roundings * UNIT, error / UNIT


@pytest.mark.parametrize(
    ("channels", "outputs", "size", "attributes", "kernel"),
    [
        (32, 20, (9, 8), "pads = [1, 1, 1, 1]", (3, 3)),
        (17, 33, (6, 5), "strides = [2, 1], pads = [1, 0, 2, 1]", (3, 2)),
        (3, 16, (11, 9), "pads = [3, 3, 3, 3]", (7, 7)),
        (24, 24, (6, 5), "group = 24, pads = [1, 1, 1, 1]", (3, 3)),
        (24, 36, (6, 5), "group = 3, pads = [1, 1, 1, 1]", (3, 3)),
        (20, 16, (13,), "pads = [1, 1]", (3,)),
    ],
)
def test_a_convolution_of_every_kind(channels, outputs, size, attributes, kernel) -> None:
    group = int(attributes.split("group = ")[1].split(",")[0]) if "group" in attributes else 1
    sizes = ", ".join(map(str, size))
    check(
        f"""g (float[N, {channels}, {sizes}] x) => (float[] y) {{
            a = Relu(x)
            c = Conv <{attributes}> (a, w, b)
            y = LeakyRelu <alpha = 0.1> (c)
        }}""",
        {"w": normal(outputs, channels // group, *kernel), "b": normal(outputs)},
        {"x": normal(2, channels, *size)},
        4,
    )


NETWORK = """g (float[N, 6, 9, 8] x) => (float[] y) {
    c = Conv <pads = [1, 1, 1, 1]> (x, w0, b0)
    r = Relu(c)
    d = Conv <pads = [1, 1, 1, 1]> (r, w1)
    s = Add(d, r)
    m = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (s)
    j = Concat <axis = 1> (m, m)
    p = GlobalAveragePool(j)
    f = Flatten(p)
    y = Gemm <transB = 1> (f, w2, b2)
}"""


def network_weights() -> dict[str, Array]:
    return {
        "w0": normal(20, 6, 3, 3) / 7,
        "b0": normal(20),
        "w1": normal(20, 20, 3, 3) / 13,
        "w2": normal(10, 40) / 6,
        "b2": normal(10),
    }


def test_a_network() -> None:
    check(NETWORK, network_weights(), {"x": normal(3, 6, 9, 8)}, 10)


@pytest.mark.parametrize("isa", each_isa("amx", "avx512-vnni"))
def test_every_machine_computes_it_with_the_instruction_or_without(isa, monkeypatch) -> None:
    graph = halved(NETWORK, network_weights())
    feeds = {"x": normal(3, 6, 9, 8)}
    expected = run_ort(model_of(NETWORK, network_weights()), feeds)["y"]
    target = make_runnable(isa, monkeypatch)
    found = planish.lower(graph, backend="tvm", target=target, threads=1)(feeds)["y"]
    assert UNIT / 64 < relative_error(expected, found) < 10 * UNIT


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize(("isa", "has"), [("avx512-vnni", False), ("avx512-bf16", True)])
def test_the_instruction_is_used_where_there_is_one(isa, has) -> None:
    text = "g (float[N, 32, 5, 5] x) => (float[] y) { y = Conv (x, w) }"
    graph = halved(text, {"w": normal(16, 32, 3, 3)})
    assert ("vdpbf16ps" in assembly_of(graph, isa)) == has


def test_results_are_stored_in_two_bytes_and_rounded_to_nearest_even() -> None:
    text = """g (float[N, 20, 3, 3] x) => (float[] y) {
        a = Conv (x, w)
        y = Conv (a, v)
    }"""
    unit = np.eye(20, dtype=np.float32)[:, :, None, None]
    graph = halved(text, {"w": unit, "v": unit})
    # Halfway between two neighbours of 8 bits, below and above an even one, and just beside.
    x = np.float32([1 + UNIT * 2, 1 + UNIT * 6, 1 + UNIT * 2.01, -1 - UNIT * 2, 3.0])
    feeds = {"x": np.resize(x, (1, 20, 3, 3)).astype(np.float32)}
    found = planish.lower(graph, backend="tvm", threads=1)(feeds)["y"]
    rounded = np.float32([1, 1 + UNIT * 8, 1 + UNIT * 4, -1, 3])
    assert found.ravel()[:5].tolist() == rounded.tolist()


@pytest.mark.parametrize("isa", ["avx2", "avx512-bf16"])
def test_what_is_no_number_stays_none(isa, monkeypatch) -> None:
    text = "g (float[N, 20, 2, 2] x) => (float[] y) { c = Conv(x, w) r = Relu(c) y = Conv(r, w) }"
    weights = {"w": np.eye(20, dtype=np.float32)[:, :, None, None]}
    # Rounded by a sum, the bits of the first two would run over into the sign.
    bits = np.uint32([[0x7FFFFFFF, 0xFFFFFFFF], [0x7F800001, 0x40400000]])
    x = np.tile(bits.view(np.float32), (1, 20, 1, 1))
    target = make_runnable(isa, monkeypatch)
    compiled = planish.lower(halved(text, weights), backend="tvm", target=target, threads=1)
    np.testing.assert_array_equal(compiled({"x": x})["y"], x)


@pytest.mark.parametrize("isa", ["avx2", "avx512-bf16"])
def test_short_convolutions_are_taken_where_they_are_faster_than_pairs(isa, monkeypatch) -> None:
    """And kept in float32 inside, as their sums are: only what is stored is rounded."""
    text = """g (float[1, 64, 28, 28] x) => (float[] y) {
        a = Relu(x)
        c = Conv <pads = [1, 1, 1, 1]> (a, w)
        y = Tanh(c)
    }"""
    weights, feeds = {"w": normal(64, 64, 3, 3) / 24}, {"x": normal(1, 64, 28, 28)}
    graph = halved(text, weights)
    emitter = BlockedEmitter(prepare(graph), MACHINES[isa])
    assert any(isinstance(op, Winograd) for op in lower_graph(emitter).kernels)
    target = make_runnable(isa, monkeypatch)
    short = planish.lower(graph, backend="tvm", target=target, threads=1)(feeds)["y"]
    direct = planish.lower(graph, backend="tvm", target=target, threads=1, winograd=False)(feeds)
    assert 0 < relative_error(direct["y"], short) < 1e-4


def test_pairs_of_channels_are_multiplied_at_once() -> None:
    graph = prepare(halved(NETWORK, network_weights()))
    found = lower_graph(BlockedEmitter(graph, MACHINES["avx512-bf16"])).kernels
    dense = [op for op in found if isinstance(op, Convolution)]
    assert {type(op.dot) for op in dense if op.x.lanes} == {HalfDot}
    results = [op.y for op in found if hasattr(op, "y")]
    assert {y.dtype for y in results} == {"bfloat16", "float32"}
    assert [y.channels for y in results if y.dtype == "float32"] == [10, 10]


def kernels_of(text: str, weights: dict[str, Array]) -> list[Any]:
    emitter = BlockedEmitter(prepare(halved(text, weights)), MACHINES["avx512-bf16"])
    return [op for op in lower_graph(emitter).kernels if isinstance(op, Convolution)]


@pytest.mark.parametrize("kernel", [(3, 3), (2, 7), (5, 1), (1, 2)])
@pytest.mark.parametrize("pads", ["0, 0, 0, 0", "1, 2, 0, 1"])
def test_taps_are_pairs_where_channels_are_not_blocked(kernel, pads) -> None:
    text = f"""g (float[N, 3, 9, 11] x) => (float[] y) {{
        c = Conv <strides = [1, 2], pads = [{pads}]> (x, w)
        y = LeakyRelu (c)
    }}"""
    weights = {"w": normal(18, 3, *kernel)}
    (op,) = kernels_of(text, weights)
    assert (type(op.dot) is HalfTapDot) == (kernel[1] > 1)
    check(text, weights, {"x": normal(2, 3, 9, 11)}, 4)


@pytest.mark.parametrize("isa", ["avx2", "avx512-bf16"])
def test_what_is_beside_a_pair_of_one_is_not_read(isa, monkeypatch) -> None:
    """Not even times zero: a number outside the window, or a lane without a channel."""
    text = """g (float[1, 3, 1, 8] x) => (float[] y) {
        c = Conv (x, w)
        d = Conv (c, v)
        y = Conv (d, v)
    }"""
    weights = {"w": normal(7, 3, 1, 3), "v": normal(7, 7, 1, 1)}
    x = normal(1, 3, 1, 8)
    x[..., 3] = np.inf
    target = make_runnable(isa, monkeypatch)
    compiled = planish.lower(halved(text, weights), backend="tvm", target=target, threads=1)
    expected = run_ort(model_of(text, weights), {"x": x})["y"]
    assert np.isfinite(expected).any(axis=1).tolist() == [[[True, *[False] * 3, True, True]]]
    assert np.array_equal(np.isfinite(compiled({"x": x})["y"]), np.isfinite(expected))


def test_flat_rows_are_pairs_of_channels() -> None:
    text = "g (float[N, 33] x) => (float[] y) { a = Gemm (x, w, b) y = Gemm (a, v) }"
    weights = {"w": normal(33, 50), "b": normal(50), "v": normal(50, 7)}
    assert {type(op.dot) for op in kernels_of(text, weights)} == {HalfDot}
    check(text, weights, {"x": normal(3, 33)}, 4)


@pytest.mark.parametrize("isa", ["avx2", "avx512-bf16"])
def test_what_one_convolution_reads_is_computed_as_it_reads(isa, monkeypatch) -> None:
    text = """g (float[1, 20, 12, 9] x) => (float[] y) {
        c = Conv (x, w)
        p = GlobalAveragePool (c)
        g = Sigmoid (p)
        m = Mul (c, g)
        y = Conv (m, w)
    }"""
    weights = {"w": normal(20, 20, 1, 1) / 4}
    assert any(op.prologue.steps for op in kernels_of(text, weights))
    feeds = {"x": normal(1, 20, 12, 9)}
    target = make_runnable(isa, monkeypatch)
    compiled = planish.lower(halved(text, weights), backend="tvm", target=target, threads=1)
    error = relative_error(run_ort(model_of(text, weights), feeds)["y"], compiled(feeds)["y"])
    assert UNIT / 64 < error < 6 * UNIT


def test_what_onnx_runtime_runs_is_given_float32() -> None:
    text = """g (float[1, 20, 8, 8] x) => (float[] y) {
        c = Conv (x, w)
        l = LpPool <kernel_shape = [2, 2], p = 2> (c)
        y = Conv (l, w)
    }"""
    check(text, {"w": normal(20, 20, 1, 1) / 4}, {"x": normal(1, 20, 8, 8)}, 4)


JOINED = """g (float[1, 20, 8, 7] x) => (float[] y) {
    c = Conv (x, w)
    d = Conv (c, v)
    j = Concat <axis = 1> (c, d)
    e = Conv (j, u)
    k = Concat <axis = 1> (c, d, e)
    y = Conv (k, t)
}"""
SHUFFLED = """g (float[1, 20, 8, 7] x) => (float[] y) {
    c = Conv (x, w)
    first, second = Split <axis = 1, num_outputs = 2> (c)
    d = Conv (first, h)
    j = Concat <axis = 1> (second, d)
    y = Conv (j, w)
}"""


@pytest.mark.parametrize("isa", ["avx2", "avx512-bf16"])
@pytest.mark.parametrize(("text", "kernel"), [(JOINED, ""), (SHUFFLED, "LaneShuffle")])
def test_parts_are_written_where_they_are_read(text, kernel, isa, monkeypatch) -> None:
    weights = {
        "w": normal(20, 20, 1, 1) / 4,
        "v": normal(16, 20, 1, 1) / 4,
        "u": normal(8, 36, 1, 1) / 6,
        "t": normal(8, 44, 1, 1) / 6,
        "h": normal(10, 10, 1, 1) / 3,
    }
    weights = {name: w for name, w in weights.items() if f" {name})" in text}
    graph = halved(text, weights)
    found = lower_graph(BlockedEmitter(prepare(graph), MACHINES["avx512-bf16"])).kernels
    assert not any(isinstance(op, Elementwise) for op in found)
    assert {type(op).__name__ for op in found} >= ({kernel} if kernel else set())
    feeds = {"x": normal(1, 20, 8, 7)}
    target = make_runnable(isa, monkeypatch)
    compiled = planish.lower(graph, backend="tvm", target=target, threads=1)
    error = relative_error(run_ort(model_of(text, weights), feeds)["y"], compiled(feeds)["y"])
    assert UNIT / 64 < error < 8 * UNIT


def test_weights_that_are_stored_so_alone_are_constant_to_kernels() -> None:
    weights, feeds = network_weights(), {"x": normal(3, 6, 9, 8)}
    pipeline = planish.Pipeline.parse("convert-precision{to=bfloat16,compute=float32}")
    graph = pipeline.run(planish.load(model_of(NETWORK, weights)), verify="off").graph
    assert any(node.op == "Cast" for node in graph.nodes)
    found = lower_graph(BlockedEmitter(prepare(graph), MACHINES["avx2"])).calls
    assert all(call.kernel for call in found)
    rounded = {name: w.astype(ml_dtypes.bfloat16).astype(np.float32) if w.nbytes > 200 else w
               for name, w in weights.items()}  # fmt: skip
    expected = run_ort(model_of(NETWORK, rounded), feeds)["y"]
    compiled = planish.lower(graph, backend="tvm", threads=1)
    assert relative_error(expected, compiled(feeds)["y"]) < 1e-5


def test_inputs_of_it_are_refused_by_a_sentence() -> None:
    text = "g (bfloat16[N, 4] x) => (bfloat16[N, 4] y) { y = Relu(x) }"
    with pytest.raises(planish.BackendError, match=r"input 'x' is bfloat16.*convert-precision"):
        planish.lower(planish.load(model_of(text, {})), backend="tvm")


def test_constants_are_saved_and_loaded(tmp_path) -> None:
    text = "g (float[N, 128, 3, 2] x) => (float[] y) { y = Mul(x, s) }"
    weights, feeds = {"s": normal(128, 1, 1)}, {"x": normal(2, 128, 3, 2)}
    check(text, weights, feeds, 3)
    compiled = planish.lower(halved(text, weights), backend="tvm", threads=1)
    compiled.save(tmp_path / "network")
    loaded = planish.load_compiled(tmp_path / "network", backend="tvm", threads=1)
    assert np.array_equal(loaded(feeds)["y"], compiled(feeds)["y"])
