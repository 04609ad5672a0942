"""Target cuda without a GPU: the source that is generated, what it computes, artifacts, errors."""

from __future__ import annotations

import functools
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

import planish
from planish.backends.contract.prepare import prepare
from planish.backends.tvm.check.nodes import check_nodes, without_fallbacks
from planish.backends.tvm.cuda.compile import compiler
from planish.backends.tvm.cuda.compile.gpu import GpuToolchain
from planish.backends.tvm.cuda.program import emit_elementwise
from planish.backends.tvm.cuda.spec.gpu import Gpu, arch_here
from planish.backends.tvm.kernels.settings import Settings
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.tuning.cache import Cache
from planish.ir.core.errors import BackendError

from tests.backends.tvm.cuda.emulator import Emulated, is_possible
from tests.helpers import Array, model_of, relative_error, run_ort

pytest.importorskip("tvm")
needs_nvcc = pytest.mark.skipif(not is_possible(), reason="needs nvcc and a C++ compiler")
DTYPES = {"float16": np.float16, "float": np.float32}

RESIDUAL = """c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w, b)
    r = Relu(c)
    d = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r, w)
    a = Add(d, r)
    y = Relu(a)"""


def normal(*shape: int, dtype: type = np.float32, seed: int = 0) -> Array:
    values = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return (values / max(1, np.prod(shape[1:])) ** 0.5).astype(dtype)


def model(kind: str, body: str, channels: int, weights: dict[str, tuple[int, ...]], batch="2"):
    dtype = DTYPES[kind]
    return model_of(
        f"g ({kind}[{batch}, {channels}, 7, 6] x) => ({kind}[] y) {{ {body} }}",
        {name: normal(*shape, dtype=dtype) for name, shape in weights.items()},
    )


def device_function(source: str, part: str) -> str:
    found = re.search(rf"\w*{part}\w*_kernel\([^;{{]*\) \{{.*?\n\}}", source, re.S)
    assert found is not None, part
    return found.group()


@functools.cache
def emulated(kind: str, body: str, channels: int, weights: tuple[tuple[str, tuple[int, ...]], ...]):
    """Return a model and what runs it here, compiled once for all tests that ask."""
    proto = model(kind, body, channels, dict(weights))
    with tempfile.TemporaryDirectory() as folder:  # what is loaded stays
        return proto, Emulated(planish.load(proto), Path(folder))


def residual(kind: str) -> Emulated:
    return emulated(kind, RESIDUAL, 16, (("w", (16, 16, 3, 3)), ("b", (16,))))[1]


@needs_nvcc
@pytest.mark.parametrize(
    ("kind", "channels", "body", "weights"),
    [
        ("float16", 16, RESIDUAL, {"w": (16, 16, 3, 3), "b": (16,)}),
        pytest.param(
            "float", 16, RESIDUAL, {"w": (16, 16, 3, 3), "b": (16,)}, marks=pytest.mark.slow
        ),
        (
            "float16",
            3,
            """c = Conv <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x, w)
            s = Sigmoid(c) y = Mul(c, s)""",
            {"w": (20, 3, 3, 3)},
        ),
        (
            "float",
            4,
            """c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 4> (x, w, b)
            r = Clip(c, low, high)
            p = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (r)
            q = Conv <kernel_shape = [1, 1]> (p, v)
            j = Concat <axis = 1> (p, q)
            m = GlobalAveragePool(j) f = Flatten(m) y = Gemm <transB = 1> (f, n)""",
            {"w": (4, 1, 3, 3), "b": (4,), "v": (8, 4, 1, 1), "n": (5, 12),
             "low": (), "high": ()},
        ),
        (
            "float16",
            32,
            "y = Conv <kernel_shape = [3, 3], group = 2> (x, w)",
            {"w": (32, 16, 3, 3)},
        ),
        (
            "float",
            6,
            """c = Conv <kernel_shape = [1, 1]> (x, w)
            t = ConvTranspose <kernel_shape = [2, 2], strides = [2, 2]> (c, v) y = Softmax(t)""",
            {"w": (8, 6, 1, 1), "v": (8, 4, 2, 2)},
        ),
    ],
)  # fmt: skip
def test_kernels_compute_what_onnx_runtime_does(kind, channels, body, weights) -> None:
    proto, network = emulated(kind, body, channels, tuple(weights.items()))
    feeds = {"x": normal(2, channels, 7, 6, dtype=DTYPES[kind], seed=1)}
    tolerance = 1e-4 if kind == "float" else 4e-3
    expected = run_ort(proto, feeds)["y"]
    for backwards in (False, True):
        found = network(feeds, backwards=backwards)["y"]
        assert relative_error(expected, found) <= tolerance


@needs_nvcc
def test_operators_that_move_elements_are_imported(tmp_path) -> None:
    proto = model_of(
        """g (float[2, 8, 7, 6] x) => (float[] y) {
            c = Conv <kernel_shape = [1, 1]> (x, w)
            g = Reshape(c, groups)
            t = Transpose <perm = [0, 2, 1, 3, 4]> (g)
            s = Reshape(t, whole)
            k = Gather <axis = 2> (s, row)
            y = Relu(k)
        }""",
        {
            "w": normal(8, 8, 1, 1),
            "groups": np.array([0, 2, 4, 7, 6]),
            "whole": np.array([0, 8, 7, 6]),
            "row": np.array(3),
        },
    )
    feeds = {"x": normal(2, 8, 7, 6, seed=1)}
    found = Emulated(planish.load(proto), tmp_path)(feeds)["y"]
    expected = run_ort(proto, feeds)["y"]
    assert found.shape == expected.shape
    assert relative_error(expected, found) <= 1e-4


@needs_nvcc
def test_half_precision_convolutions_are_single_kernels_on_tensor_cores() -> None:
    network = residual("float16")
    # In and out of channels last, and one kernel for each convolution with all that follows it.
    assert sorted(n.split("_")[0] for n in network._kernels) == [
        "fused", "fused", "transpose", "transpose1",
    ]  # fmt: skip
    for part in ("convolution_", "convolution1"):
        body = device_function(network.source, part)
        assert "nvcuda::wmma::mma_sync" in body
        assert "*(uint4*)(" in body  # eight halves at once
        assert "__syncthreads" in body


@needs_nvcc
def test_single_precision_stays_single_precision() -> None:
    source = residual("float").source
    assert "wmma" not in source
    assert "tf32" not in source


@pytest.fixture(scope="module")
def compiled():
    if compiler.find_nvcc() is None:
        pytest.skip("needs nvcc")
    proto = model("float16", RESIDUAL, 16, {"w": (16, 16, 3, 3), "b": (16,)}, batch="N")
    return planish.lower(planish.load(proto), backend="tvm", target="cuda{arch=sm_90}")


def test_an_artifact_is_written_and_refused_without_a_gpu(compiled, tmp_path) -> None:
    path = tmp_path / "network.planish"
    compiled.save(path)
    data = path.read_bytes()
    assert b'"target": "cuda", "isa": "sm_90"' in data
    assert b"__global__" not in data  # nothing is left to compile where it is loaded
    if arch_here() is None:
        missing = "'sm_90', and this machine has no CUDA driver"
        with pytest.raises(BackendError, match=missing):
            planish.load_compiled(path, backend="tvm")
        with pytest.raises(BackendError, match=missing):
            compiled({"x": np.zeros((1, 16, 7, 6), np.float16)})


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("cuda{arch=sm_91}", "unknown arch 'sm_91'.*sm_90"),
        ("cuda{isa=avx2}", "unknown option 'isa'"),
        ("cudda", "no target 'cudda'.*cuda"),
    ],
)
def test_an_unknown_gpu_is_refused(target, message) -> None:
    proto = model("float", "y = Relu(x)", 4, {})
    with pytest.raises(BackendError, match=message):
        planish.lower(planish.load(proto), backend="tvm", target=target)


def test_a_machine_without_a_compiler_is_told_so(monkeypatch) -> None:
    monkeypatch.setattr(compiler, "find_nvcc", lambda: None)
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match="neither nvcc nor NVRTC"):
        compiler.compile_cuda("", compiler.Gpu("sm_80"))


def test_a_compiler_that_knows_no_such_gpu_is_quoted(monkeypatch, tmp_path) -> None:
    fake = tmp_path / "nvcc"
    fake.write_text('#!/bin/sh\necho "nvcc fatal : Unsupported gpu architecture" >&2\nexit 1\n')
    fake.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(fake))
    with pytest.raises(BackendError, match="'sm_70': nvcc fatal : Unsupported gpu architecture"):
        compiler.compile_cuda("", compiler.Gpu("sm_70"))


@needs_nvcc
def test_nodes_are_compared_one_by_one(tmp_path, monkeypatch) -> None:
    """The check of a GPU's nodes, kernels of planish's own among them, on the emulator."""
    body = """c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w) r = Relu (c)
        g = Tanh (r) y = Transpose <perm = [0, 2, 3, 1]> (g)"""
    found = prepare(planish.load(model("float", body, 5, {"w": (6, 5, 3, 3)})))
    toolchain = GpuToolchain(Gpu("sm_80"))

    def run(graph, feed, toolchain):
        lowered = lower_graph(toolchain.single_emitter(graph))
        results = Emulated(graph, Path(tempfile.mkdtemp(dir=tmp_path)), lowered=lowered)(feed)
        return without_fallbacks(results, graph, lowered)

    def report():
        lowered = lower_graph(toolchain.emitter(found, Settings()))
        cache = Cache(str(tmp_path / f"{len(list(tmp_path.iterdir()))}.sqlite"), quiet=True)
        return check_nodes(lowered, found, toolchain, cache, run)

    first = report()
    assert (first.right, first.others, first.wrong) == (4, 0, [])
    monkeypatch.setitem(emit_elementwise._OWN, "Relu", lambda operands, attrs: operands[0])
    second = report()
    assert [one.op for one in second.wrong] == ["Relu"]
    assert second.right == 3


@pytest.mark.parametrize("kind", list(DTYPES))
def test_elements_stay_channels_last(kind) -> None:
    """Whatever the sizes: none of these is left to ONNX Runtime, which lies beyond a copy."""
    body = """c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
        s = Sigmoid (c) m = Mul (s, c) t = Tanh (m) y = Add (t, b)"""
    given = prepare(planish.load(model(kind, body, 5, {"w": (6, 5, 3, 3), "b": (6, 1, 1)})))
    lowered = lower_graph(GpuToolchain(Gpu("sm_80")).emitter(given, Settings()))
    assert not [call for call in lowered.calls if call.kernel]
    assert {single.node.op for single in lowered.singles} == {node.op for node in given.nodes}
