"""Times of single layers: which nodes they are of, and what is counted."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.backends.contract.layer_times import LayerTime, LayerTimes
from planish.backends.tvm.kernels.transposed import Transposed
from planish.backends.tvm.profile import peak
from planish.backends.tvm.profile.layers import time_layers
from planish.backends.tvm.spec.calls import KernelCall
from planish.backends.tvm.spec.machine import runs_here
from planish.ir.core.errors import BackendError
from planish.passes.analysis.cost import cost

from tests.helpers import model_of

pytest.importorskip("tvm")

# `second` and `third` share a kernel; LogSoftmax and CumSum are the importer's.
TEXT = """g (float[N, 16, 9, 9] x) => (float[N, 10] y, float[N, 16, 9, 9] p) {
    [first] a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
    [first_relu] b = Relu(a)
    [second] c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (b, v)
    [second_relu] d = Relu(c)
    [third] h = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (d, r)
    [third_relu] i = Relu(h)
    [grouped] e = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 16> (i, u)
    [pool] p = MaxPool <kernel_shape = [1, 1]> (e)
    [up] f = ConvTranspose <kernel_shape = [2, 2], strides = [2, 2]> (i, t)
    [mean] m = GlobalAveragePool(f)
    [flat] n = Flatten(m)
    [dense] o = Gemm <transB = 1> (n, s)
    [soft] q = LogSoftmax <axis = 1> (o)
    [sum] y = CumSum(q, axis)
}"""
SHAPES = {
    "w": (16, 16, 3, 3),
    "v": (16, 16, 3, 3),
    "r": (16, 16, 3, 3),
    "u": (16, 1, 3, 3),
    "t": (16, 8, 2, 2),
    "s": (10, 8),
}


@pytest.fixture(scope="module")
def model():
    draw = np.random.default_rng(0).standard_normal
    weights = {name: draw(shape).astype(np.float32) for name, shape in SHAPES.items()}
    return model_of(TEXT, {**weights, "axis": np.array(1, np.int64)})


@pytest.fixture(scope="module")
def feeds():
    return {"x": np.random.default_rng(1).standard_normal((2, 16, 9, 9)).astype(np.float32)}


@pytest.fixture(scope="module", autouse=True)
def _brief():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peak, "_SECONDS", 0.05)
        yield


@pytest.fixture(scope="module")
def compiled(model):
    return planish.lower(planish.load(model), backend="tvm", threads=1, optimize=False)


@pytest.fixture(scope="module")
def before(compiled, feeds):
    """Return what the network computes before its layers are timed."""
    return {name: values.copy() for name, values in compiled(feeds).items()}


@pytest.fixture(scope="module")
def times(compiled, feeds, before):
    return compiled.time_layers(feeds, rounds=3)


def test_every_node_is_in_one_layer(times) -> None:
    found = [node for layer in times.layers for node in layer.nodes]
    wanted = ["first", "first_relu", "second", "second_relu", "grouped", "pool", "up", "mean"]
    wanted += ["third", "third_relu"]
    assert sorted(found) == sorted([*wanted, "dense", "soft", "sum"])  # `flat` moves nothing
    of = {node: layer for layer in times.layers for node in layer.nodes}
    assert of["first"] is of["first_relu"]
    assert of["second"].kernel == of["third"].kernel  # equal layers share one
    assert of["second"] is not of["third"]
    assert of["soft"] is of["sum"]


def test_multiply_adds_are_those_of_the_operators(times, model) -> None:
    graph = planish.load(model)
    costs = cost(graph, {"N": 2}).nodes
    wanted = {node.name: c.macs for node, c in zip(graph.nodes, costs, strict=True)}
    for layer in times.layers:
        assert layer.multiply_adds == sum(wanted[node] or 0 for node in layer.nodes), layer
    assert sum(layer.multiply_adds for layer in times.layers) == cost(graph, {"N": 2}).macs


def test_layers_that_multiply_have_a_part_of_the_peak(times) -> None:
    parts = [times.of_peak(layer) for layer in times.layers if layer.multiply_adds]
    assert parts
    assert all(part is not None and part > 0 for part in parts)
    assert all(layer.seconds > 0 for layer in times.layers)
    assert times.rest > 0


def test_the_network_runs_on_as_before(compiled, feeds, before, times) -> None:
    after = compiled(feeds)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_rates_and_shares() -> None:
    layer = LayerTime(kernel="k", nodes=("a",), seconds=0.5, multiply_adds=1000)
    other = LayerTime(kernel="m", nodes=(), seconds=0.25, multiply_adds=0)
    foreign = LayerTime(kernel="i", nodes=(), seconds=0.25, multiply_adds=1000, dtype="uint8")
    times = LayerTimes((layer, other, foreign), {"float32": 8000.0}, 0.125, 1.0)
    assert layer.rate == 4000
    assert other.rate is None
    assert times.of_peak(layer) == 0.5
    assert times.of_peak(other) is None
    assert times.of_peak(foreign) is None
    assert times.total == 1.125


class Scripted:
    """A virtual machine that calls what it is told to."""

    def __init__(self, *runs):
        self.runs = iter(runs)
        self.watch = None

    def set_instrument(self, watch):
        self.watch = watch

    def __call__(self):
        names = next(self.runs)
        for name in names if self.watch else []:
            self.watch(None, name, True, None, np.zeros((3, 2)))
            self.watch(None, name, False, None, np.zeros((3, 2)))


class Counted:
    multiply_adds = 7


def test_calls_are_matched_in_order() -> None:
    calls = [
        KernelCall("k", ("a",), Counted()),
        KernelCall("", ("b",)),
        KernelCall("", ("c",)),
        KernelCall("k", ("d",), Counted()),
        KernelCall("", ("e",)),
    ]
    run = ["vm.alloc", "k", "f1", "vm.alloc", "f2", "k", "f3"]
    machine = Scripted(run, run, run)
    layers, _ = time_layers(machine, machine, calls, 2)
    assert [(layer.kernel, layer.nodes, layer.multiply_adds) for layer in layers] == [
        ("k", ("a",), 21),
        ("f1, f2", ("b", "c"), 0),
        ("k", ("d",), 21),
        ("f3", ("e",), 0),
    ]
    assert machine.watch is None


def test_runs_that_differ_are_refused() -> None:
    machine = Scripted(["k"], ["k"], ["k", "k"])
    with pytest.raises(BackendError, match="same kernels every time"):
        time_layers(machine, machine, [KernelCall("k")], 2)


def test_the_positions_of_a_transposed_convolution_are_counted_once(compiled) -> None:
    ops = [call.op for call in compiled._layers.calls if isinstance(call.op, Transposed)]
    assert [op.multiply_adds for op in ops] == [16 * 8 * 18 * 18]


def test_a_saved_network_has_no_layers_to_show(compiled, feeds, tmp_path) -> None:
    compiled.save(tmp_path / "c")
    with pytest.raises(BackendError, match="lower the model itself"):
        planish.load_compiled(tmp_path / "c", backend="tvm").time_layers(feeds)


def test_onnxruntime_tells_its_layers_too(model, feeds) -> None:
    compiled = planish.lower(planish.load(model), threads=1, optimization="none")
    times = compiled.time_layers(feeds, rounds=2)
    counted = {layer.kernel: layer.multiply_adds for layer in times.layers}
    assert counted["first"] == 2 * 16 * 16 * 9 * 81
    assert counted["soft"] == 0
    assert times.peaks["float32"] > 0
    assert times.whole > 0


BYTES = """g (float[1, 16, 9, 9] x) => (float[] y) {
    x_q = QuantizeLinear(x, s, z)
    x_d = DequantizeLinear(x_q, s, z)
    w = DequantizeLinear(w_q, s)
    c = Conv <pads = [1, 1, 1, 1]> (x_d, w)
    c_q = QuantizeLinear(c, s, z)
    y = DequantizeLinear(c_q, s, z)
}"""


# What has no instruction for bytes multiplies floats.
@pytest.mark.parametrize("isa", ["avx2", "avx512-vnni"])
def test_integers_stand_beside_a_peak_of_their_own(isa) -> None:
    if not runs_here(isa):
        pytest.skip(f"this machine does not run {isa}")
    values = {"w_q": np.ones((16, 16, 3, 3), np.int8), "s": np.float32(0.1), "z": np.uint8(128)}
    graph = planish.load(model_of(BYTES, values))
    compiled = planish.lower(graph, backend="tvm", target=f"cpu{{isa={isa}}}", threads=2)
    found = compiled.time_layers({"x": np.ones((1, 16, 9, 9), np.float32)}, rounds=2)
    dtypes = {layer.dtype for layer in found.layers if layer.multiply_adds}
    wanted = {"uint8"} if isa == "avx512-vnni" else {"float32"}
    assert dtypes == wanted
    assert set(found.peaks) == {"float32", *wanted}
    assert all(peak > 0 for peak in found.peaks.values())
