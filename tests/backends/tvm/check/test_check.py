"""Kernels beside what their descriptions mean: right ones pass once, wrong ones are not used."""

from __future__ import annotations

import re
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

import planish
from planish.ir.core.errors import BackendError, VerificationError

from ..instructions import make_runnable
from tests.helpers import model_of, model_using, relative_error, run_ort

pytest.importorskip("tvm")

from planish.backends.contract.prepare import prepare
from planish.backends.tvm.check import check as checking
from planish.backends.tvm.check.check import check_kernels
from planish.backends.tvm.check.report import WrongKernelWarning
from planish.backends.tvm.check.trial import draw_trial
from planish.backends.tvm.compile.cpu import CpuToolchain
from planish.backends.tvm.kernels import global_pooling, repack, tiles, windows
from planish.backends.tvm.kernels.settings import Settings
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.spec.machine import MACHINES, host_isa


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """Keep what is found in a file of the test's own, which begins empty."""
    path = tmp_path / "cache.sqlite"
    monkeypatch.setenv("PLANISH_CACHE", str(path))
    return path


@pytest.fixture(autouse=True)
def folders(monkeypatch, tmp_path) -> None:
    """Have what is written of wrong kernels removed with the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def normal(*shape: int):
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w": normal(20, 6, 1, 1),
    "first": normal(8, 6, 3, 3),
    "other": normal(20, 6, 1, 1) + np.float32(1),
    "wide": normal(40, 20, 3, 3),
    "deep": normal(13, 20, 1, 1),
    "parts": normal(20, 5, 3, 3),
    "each": normal(20, 1, 3, 3),
    "up": normal(20, 7, 3, 2),
    "flat": normal(20, 11),
    "gain": normal(20),
    "offset": normal(20, 1)[:, 0],
    "wide_of_20": normal(4, 20, 3, 3),
    "five": normal(20, 4, 3, 3),
    "odd": np.array([1, 3]),
    "second": np.array([2]),
    "line": normal(9, 20, 5),
    "volume": normal(5, 3, 2, 3, 3),
    "scale": normal(20, 1, 1),
    "each1": normal(20),
    "each1b": normal(2, 20)[0],
    "four": normal(4),
    "square": normal(9, 9),
    "field": normal(7, 9),
    "slope": np.abs(normal(20, 1, 1)),
    "half": np.float32([1, 1, 1.7, 1.3]),
    "twice": np.float32([1, 1, 2, 2]),
    "six": np.float32(6),
    "none": np.float32(0),
    "step": np.float32(0.05),
    "zero": np.uint8(120),
    "fine": np.float32(0.02),
    "low": np.int8(-3),
    "qw": np.random.default_rng(0).integers(-127, 128, (20, 20, 3, 3)).astype(np.int8),
    "qg": np.random.default_rng(1).integers(-127, 128, (20, 4, 3, 3)).astype(np.int8),
    "qu": np.random.default_rng(2).integers(-127, 128, (20, 2, 3, 3)).astype(np.int8),
    "qs": np.full(20, 0.01, np.float32),
    "qz": np.zeros(20, np.int8),
}
BEGIN = "a = Conv (x, w)"
PADS = "<pads = [1, 1, 1, 1]>"
QUANTIZED = """
    p = QuantizeLinear (a, step, zero) b = DequantizeLinear (p, step, zero)
    v = DequantizeLinear <axis = 0> (qw, qs, qz)
"""
BODIES = {
    "convolution": f"y = Conv {PADS} (a, wide)",
    "strides": "y = Conv <strides = [2, 3], pads = [0, 2, 1, 0], dilations = [2, 1]> (a, wide)",
    "groups and one over": f"y = Conv <group = 5, {PADS[1:-1]}> (a, five)",
    "groups": "y = Conv <group = 4, pads = [1, 1, 1, 1]> (a, parts)",
    "depthwise": "y = Conv <group = 20, strides = [2, 1], pads = [1, 0, 1, 2]> (a, each)",
    "prologue": "m = Mul (a, scale) r = Relu (m) g = GlobalMaxPool (a) "
    "c = Conv (r, deep) h = ReduceSum (g) y = Add (c, h)",
    "transposed": "y = ConvTranspose <strides = [2, 3], pads = [1, 0, 0, 1]> (a, up)",
    "max": "y = MaxPool <kernel_shape = [3, 2], strides = [2, 2], pads = [1, 1, 1, 0]> (a)",
    "ceil": "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (a)",
    "average": "y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (a)",
    "counted": "y = AveragePool <kernel_shape = [3, 3], pads = [1, 0, 1, 0], "
    "count_include_pad = 1> (a)",
    "mean": "y = GlobalAveragePool (a)",
    "borders": f"m = GlobalAveragePool (a) c = Conv {PADS} (m, wide) g = GlobalMaxPool (a) "
    f"d = Conv {PADS} (g, wide) y = Add (c, d)",
    "chain": "s = Sigmoid (a) m = Mul (s, a) l = LeakyRelu (m) c = Clip (l, none, six) "
    "y = Add (c, a)",
    "slopes": "p = PRelu (a, slope) h = HardSwish (p) n = Neg (h) e = Floor (n) y = Sub (e, a)",
    "quotient": "c = Conv (x, other) q = Div (a, c) e = Elu (q) y = Sqrt (e)",
    "repeated": 'y = Resize <mode = "nearest", nearest_mode = "floor", '
    'coordinate_transformation_mode = "asymmetric"> (a, , twice)',
    "resampled": 'y = Resize <mode = "linear"> (a, , half)',
    "placed": f"b = Conv {PADS} (a, parts4) ab = Concat <axis = 1> (a, a) "
    "y = GlobalMaxPool (ab)".replace(", parts4", ", wide"),
    "joined": f"b = Conv {PADS} (a, wide) ab = Concat <axis = 1> (a, b) r = Relu (ab) "
    "y = MaxPool <kernel_shape = [2, 2]> (r)",
    "split": "b, c = Split <axis = 1, num_outputs = 2> (a) d = Relu (b) e = Sigmoid (c) "
    "y = Add (d, e)",
    "instance": "y = InstanceNormalization (a, each1, each1b)",
    "layer": "y = LayerNormalization <axis = 2> (a, field, field)",
    "groups of a norm": "y = GroupNormalization <num_groups = 4> (a, four, four)",
    "softmax": "y = Softmax <axis = 2> (a)",
    "channels": "t = Transpose <perm = [0, 2, 3, 1]> (a) l = LayerNormalization (t, gain, offset) "
    f"u = Transpose <perm = [0, 3, 1, 2]> (l) y = Conv {PADS} (u, wide_of_20)",
    "sums": "l = ReduceL2 (a, odd) m = ReduceMean (a, second) y = Add (l, m)",
    "matrices": "c = Add (a, scale) t = Transpose <perm = [0, 1, 3, 2]> (c) y = MatMul (c, t)",
    "one matrix": "y = MatMul (a, square)",
    "matrix": "p = GlobalAveragePool (a) f = Flatten (p) y = Gemm (f, flat)",
    "bytes": f"{QUANTIZED} c = Conv {PADS} (b, v) r = Relu (c) "
    "q = QuantizeLinear (r, step, zero) y = DequantizeLinear (q, step, zero)",
    "signed": "p = QuantizeLinear (a, fine, low) b = DequantizeLinear (p, fine, low) "
    "v = DequantizeLinear <axis = 0> (qw, qs, qz) "
    f"c = Conv {PADS} (b, v) y = MaxPool <kernel_shape = [2, 2]> (c)",
    "bytes of groups": f"{QUANTIZED} g = DequantizeLinear (qg, step) "
    f"c = Conv <group = 5, {PADS[1:-1]}> (b, g) d = Relu (c) "
    "q = QuantizeLinear (d, step, zero) y = DequantizeLinear (q, step, zero)",
    "bytes of ten groups of two": f"{QUANTIZED} g = DequantizeLinear (qu, step) "
    f"y = Conv <group = 10, {PADS[1:-1]}> (b, g)",
    "bytes transposed": f"{QUANTIZED} "
    "y = ConvTranspose <strides = [2, 3], pads = [1, 0, 0, 1]> (b, v)",
    "moved": f"{QUANTIZED} m = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (b) "
    "q = QuantizeLinear (m, step, zero) e = DequantizeLinear (q, step, zero) "
    f"y = Conv {PADS} (e, v)",
}


# Integers where a machine has the instruction: their tests ask for one.
INTEGERS = (
    "bytes",
    "signed",
    "moved",
    "bytes of groups",
    "bytes transposed",
    "bytes of ten groups of two",
)


def graph(name: str, batch: int | str = 2, size: tuple[int, int] = (7, 9)):
    weights = {**WEIGHTS}
    sizes = ", ".join(map(str, (batch, 6, *size)))
    return planish.load(model_using(weights, f"{BEGIN} {BODIES[name]}", f"float[{sizes}] x"))


def lowered_of(found, isa: str = "", threads: int = 1):
    toolchain = CpuToolchain(MACHINES[isa or host_isa()], threads)
    return lower_graph(toolchain.emitter(prepare(found), Settings())), toolchain


def check(found, isa: str = "", threads: int = 1) -> None:
    """Compare all kernels of `found`, each of which is to tell something."""
    lowered, toolchain = lowered_of(found, isa, threads)
    report = check_kernels(lowered, toolchain)
    assert report.right == len(lowered.kernels) > 0
    assert not report.wrong, [(one.kernel.name, one.fault) for one in report.wrong]
    assert all(draw_trial(op, 0).told for op in lowered.kernels)


@pytest.mark.parametrize(
    ("name", "batch", "threads"),
    [
        (name, "N" if i % 3 == 0 else 1 + i % 3, 1 + i % 2)
        for i, name in enumerate(BODIES)
        if name not in INTEGERS
    ],
)
def test_right_kernels_are_found_right(name, batch, threads) -> None:
    check(graph(name, batch), threads=threads)


@pytest.mark.parametrize("size", [(1, 9), (1, 1)])
@pytest.mark.parametrize("name", ["convolution", "depthwise", "max", "transposed"])
def test_axes_of_size_one(name, size) -> None:
    if name == "depthwise" and size == (1, 1):
        size = (1, 2)  # nothing else comes out
    check(graph(name, size=size))


@pytest.mark.parametrize("name", INTEGERS)
def test_integer_products(monkeypatch, name) -> None:
    make_runnable("avx512-vnni", monkeypatch)
    check(graph(name), "avx512-vnni")


@pytest.mark.parametrize("isa", ["avx2", "avx512-bf16"])
@pytest.mark.parametrize("name", ["convolution", "strides", "depthwise", "transposed", "chain"])
def test_bfloat16(monkeypatch, name, isa) -> None:
    make_runnable(isa, monkeypatch)
    pipeline = planish.Pipeline.parse("convert-precision{to=bfloat16,compute=half}")
    check(pipeline.run(graph(name), verify="off").graph, isa)


def test_one_and_three_axes() -> None:
    line = "r = Reshape (x, shape) y = Conv <pads = [2, 2]> (r, line)"
    weights = {**WEIGHTS, "shape": np.int64([2, 20, 21])}
    check(planish.load(model_using(weights, f"c = Relu (x) {line.replace('(x,', '(c,')}",
                                   "float[2, 20, 3, 7] x")))  # fmt: skip
    deep = "y = Conv <pads = [1, 1, 0, 0, 1, 2], strides = [1, 2, 1]> (x, volume)"
    check(planish.load(model_using(WEIGHTS, deep, "float[1, 3, 4, 6, 7] x")))


FAULTS = [
    ("average", windows, "outside_axes", lambda op: [False] * 3, "average"),
    ("depthwise", windows, "padded", None, "depthwise"),
    ("convolution", tiles, "runs", lambda blocks: [(0, len(blocks), 8)], "convolution|winograd"),
    ("mean", global_pooling, "combination", lambda kind: lambda a, b: b, "global_pool"),
]


@pytest.mark.parametrize(("name", "module", "attribute", "fault", "kernel"), FAULTS)
def test_a_wrong_kernel_is_named_and_not_used(
    monkeypatch, name, module, attribute, fault, kernel
) -> None:
    if fault is None:
        kept = module.padded

        def fault(frame, pads, x):
            return kept(frame, [(0, low + high) for low, high in pads], x)

    monkeypatch.setattr(module, attribute, fault)
    found = graph(name)
    feeds = {"x": normal(2, 6, 7, 9)}
    model = model_using(WEIGHTS, f"{BEGIN} {BODIES[name]}", "float[2, 6, 7, 9] x")
    expected = run_ort(model, feeds)["y"]
    message = rf"kernel '({kernel})_\d' .* of '\w+' is wrong"
    with pytest.warns(WrongKernelWarning, match=message) as caught:
        compiled = planish.lower(found, "tvm", threads=1)
    assert relative_error(expected, compiled(feeds)["y"]) < 1e-5
    assert compiled.remarks[0].endswith("wrong and not used")
    assert any("ONNX Runtime" in line for line in compiled.remarks)
    (folder,) = re.findall(r"are in '([^']*)'", str(caught[0].message))
    assert {path.name for path in Path(folder).iterdir()} == {
        "operator.txt", "kernel.txt", "key.json", "operands.npz",
    }  # fmt: skip


def test_what_has_no_node_is_refused(monkeypatch) -> None:
    """A repack that leaves the border as it was: there is no node that could run elsewhere."""
    monkeypatch.setattr(repack, "zero_halo", lambda frame, y: None)
    text = f"y = Conv {PADS} (x, first)"
    found = planish.load(model_using(WEIGHTS, text, "float[2, 6, 7, 9] x"))
    with pytest.raises(
        BackendError, match=r"kernel 'repack_\d+' .* between nodes is wrong: the border"
    ):
        planish.lower(found, "tvm", threads=1)


def test_a_kernel_is_not_compared_twice(monkeypatch, cache) -> None:
    drawn = []

    def counted(op, seed):
        drawn.append(op)
        return draw_trial(op, seed)

    monkeypatch.setattr(checking, "draw_trial", counted)
    planish.lower(graph("average"), "tvm", threads=1)
    first = len(drawn)
    assert first > 0
    planish.lower(graph("average"), "tvm", threads=1)
    assert len(drawn) == first
    planish.lower(graph("max"), "tvm", threads=1)  # with the same convolution
    assert 0 < len(drawn) - first < first
    checking._cache.cache_clear()  # as another process
    count = len(drawn)
    planish.lower(graph("max"), "tvm", threads=1)
    assert len(drawn) == count
    assert Path(f"{cache}.checks").exists()


def test_other_loops_for_one_description_are_compared_again(monkeypatch, cache) -> None:
    planish.lower(graph("average"), "tvm", threads=1)
    monkeypatch.setattr(windows, "outside_axes", lambda op: [False] * 3)
    with pytest.warns(WrongKernelWarning):
        planish.lower(graph("average"), "tvm", threads=1)


def test_it_is_off_by_an_option(monkeypatch) -> None:
    monkeypatch.setattr(windows, "outside_axes", lambda op: [False] * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = planish.lower(graph("average"), "tvm", threads=1, check_kernels=False)
    assert compiled.remarks == ("kernels: not compared one by one",)


def test_a_network_that_is_wrong_names_the_kernel(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(windows, "outside_axes", lambda op: [False] * 3)
    options = {"check_kernels": False, "verify": True, "reproducer": tmp_path}
    message = r"first node whose result is wrong is .*'y'.* by kernel 'average_\d' \(Windows\);"
    with pytest.raises(VerificationError, match=message):
        planish.lower(graph("average"), "tvm", threads=1, **options)


def test_code_that_does_not_run_here_is_not_compared() -> None:
    isa = "neon" if host_isa() != "neon" else "avx2"
    compiled = planish.lower(graph("average"), "tvm", f"cpu{{isa={isa}}}", threads=1)
    assert compiled.remarks == ("kernels: not compared one by one",)


def test_a_cache_that_cannot_be_written_costs_no_warning(monkeypatch, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PLANISH_CACHE", str(tmp_path / "file" / "cache.sqlite"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = planish.lower(graph("max"), "tvm", threads=1)
    assert compiled.remarks[0].endswith("all right")


def test_what_gives_one_number_is_said_to_tell_nothing(cache) -> None:
    text = f"{BEGIN} q = Div (a, a) y = MaxPool <kernel_shape = [2, 2]> (q)"
    found = planish.load(model_using(WEIGHTS, text, "float[2, 6, 7, 9] x"))
    for _ in range(2):
        (line,) = planish.lower(found, "tvm", threads=1, optimize=False).remarks
        assert re.search(r"all right, 1 of which give one number", line)


def test_a_network_without_own_kernels() -> None:
    text = "g (float[3, 3] x) => (float y) { y = Det (x) }"
    compiled = planish.lower(planish.load(model_of(text)), "tvm", threads=1)
    assert compiled.remarks[0] == "kernels: none of planish's own"
