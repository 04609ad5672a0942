"""The TVM backend as a backend: targets, options, errors, and artifacts."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys

import numpy as np
import pytest

import planish
from planish.backends.tvm.compile.shape_order import order_sizes
from planish.backends.tvm.runtime import linker
from planish.backends.tvm.runtime.feed_check import check_feeds
from planish.backends.tvm.runtime.header import Header, Tensor
from planish.backends.tvm.spec.machine import MACHINES, host_isa, runs_here
from planish.ir.core.errors import BackendError

from .instructions import each_isa, make_runnable
from tests.backends.tvm.small_network import conv_relu
from tests.helpers import model_of, relative_error, run_ort

pytest.importorskip("tvm")


@pytest.fixture(scope="module")
def model():
    return conv_relu()


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("tvm") / "network.planish"
    planish.lower(planish.load(model), backend="tvm", threads=1).save(path)
    return path


def feeds_of(batch: int = 2):
    return {"x": np.random.default_rng(1).standard_normal((batch, 3, 9, 9)).astype(np.float32)}


def test_a_saved_network_computes_the_same(model, saved) -> None:
    loaded = planish.load_compiled(saved, backend="tvm", threads=1)
    feeds = feeds_of()
    assert relative_error(run_ort(model, feeds)["y"], loaded(feeds)["y"]) <= 1e-4


def test_a_loaded_network_can_be_saved_again(saved, tmp_path) -> None:
    again = tmp_path / "again.planish"
    planish.load_compiled(saved, backend="tvm").save(again)
    assert again.read_bytes() == saved.read_bytes()


def test_machine_code_is_made_for_the_first_run(model, tmp_path, monkeypatch) -> None:
    """What is saved is the same before and after."""
    from tvm import relax

    start, started = relax.VirtualMachine, []
    monkeypatch.setattr(relax, "VirtualMachine", lambda *a: started.append(a) or start(*a))
    network = planish.lower(planish.load(model), backend="tvm", threads=1)
    network.save(tmp_path / "before")
    assert not started
    for _ in range(2):
        network(feeds_of())
    network.save(tmp_path / "after")
    assert len(started) == 1
    assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes()


@pytest.mark.parametrize("places", list(itertools.permutations([2, 3, 5])))
def test_sizes_are_computed_in_one_order(places) -> None:
    from tvm.ir import IRModule
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script.builder import ir as script

    with IRBuilder() as builder:
        with script.prim_func(s_tir=True):
            script.func_name("shape_func")
            script.func_attr({"tirx.is_host_func": True})
            sizes = script.arg("H", script.buffer((6,), "int64"))
            for place in places:
                script.buffer_store(sizes, sizes[0] * place, [place])
        ordered = order_sizes(IRModule({"shape_func": builder.get()}))
    stores = ordered["shape_func"].body.seq
    assert [int(store.indices[0]) for store in stores] == [2, 3, 5]
    assert [int(store.value.b) for store in stores] == [2, 3, 5]


def test_a_network_of_any_batch_is_lowered_to_the_same_bytes(model, saved, tmp_path) -> None:
    for index in range(4):
        again = tmp_path / f"{index}.planish"
        planish.lower(planish.load(model), backend="tvm", threads=1).save(again)
        assert again.read_bytes() == saved.read_bytes()


def test_an_artifact_runs_without_torch_and_onnx(saved) -> None:
    code = f"""
import runpy, sys
for name in ("torch", "onnx", "onnxruntime", "onnx_graphsurgeon"):
    sys.modules[name] = None
sys.argv = ["artifact.py", {str(saved)!r}]
runpy.run_module("planish.backends.tvm.runtime.artifact", run_name="__main__")
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout == "y float32 (1, 20, 9, 9)\n", found.stderr


@pytest.mark.parametrize(
    "after",
    [
        "import importlib.util; assert importlib.util.find_spec('torch')",
        pytest.param("import torch", marks=pytest.mark.slow),
    ],
)
def test_planish_loads_and_runs_an_artifact_without_torch_and_onnx(saved, after) -> None:
    code = f"""
import sys
import numpy as np
import planish
network = planish.load_compiled({str(saved)!r}, threads=1)
found = network({{"x": np.zeros((1, 3, 9, 9), np.float32)}})
print(found["y"].shape)
names = {{"torch", "onnx", "onnxruntime", "onnx_graphsurgeon"}}
print(sorted(names & set(sys.modules)))
{after}
import planish.backends.onnxruntime.backend
print(planish.lower is not None)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout == "(1, 20, 9, 9)\n[]\nTrue\n", found.stderr


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "no feed for input 'x'"),
        ([np.zeros((1, 3, 9, 9))], "feeds are a list; give a dict of arrays, for 'x'"),
        ({"z": np.zeros((1, 3, 9, 9), np.float32)}, "feed 'z' is no input.*'x'"),
        ({"x": [1.0]}, "feed 'x' is a list"),
        ({"x": np.zeros((1, 3, 9, 9))}, "feed 'x' is float64, but the input is float32"),
        ({"x": np.zeros((3, 9, 9), np.float32)}, "'x' has shape 3 x 9 x 9.*N x 3 x 9 x 9|1 x"),
        ({"x": np.zeros((1, 3, 9, 8), np.float32)}, "'x' has shape 1 x 3 x 9 x 8"),
    ],
)
def test_a_loaded_network_refuses_wrong_feeds(saved, feeds, message) -> None:
    loaded = planish.load_compiled(saved, backend="tvm", threads=1)
    with pytest.raises(planish.PlanishError, match=message):
        loaded(feeds)


def test_sizes_of_one_name_are_equal() -> None:
    shapes = [["N", 3], ["N", 4]]
    inputs = [Tensor(name, "float32", shapes[i]) for i, name in enumerate("ab")]
    header = Header(
        target="cpu", isa="avx2", architecture="x86_64", tvm="0", inputs=inputs, outputs=[]
    )
    check_feeds({"a": np.zeros((2, 3), "f"), "b": np.zeros((2, 4), "f")}, header)
    with pytest.raises(planish.PlanishError, match="'b' has shape 5 x 4, but the input has 2 x 4"):
        check_feeds({"a": np.zeros((2, 3), "f"), "b": np.zeros((5, 4), "f")}, header)
    with pytest.raises(planish.PlanishError, match="'b' is float32 in big-endian byte order, but"):
        check_feeds({"a": np.zeros((2, 3), "f"), "b": np.zeros((2, 4), ">f4")}, header)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("cpux", "has no target 'cpux'.*cpu"),
        ("cpu{isa=avx-512}", "unknown isa 'avx-512'.*avx512"),
        ("cpu{lanes=8}", "unknown option 'lanes'"),
    ],
)
def test_an_unknown_target_is_refused(model, target, message) -> None:
    with pytest.raises(BackendError, match=message):
        planish.lower(planish.load(model), backend="tvm", target=target)


def test_an_unknown_option_is_refused(model) -> None:
    with pytest.raises(BackendError, match=r"no option 'optimise'.*optimize"):
        planish.lower(planish.load(model), backend="tvm", optimise=True)


def test_an_operator_that_tvm_has_not_is_named() -> None:
    graph = planish.load(
        model_of(
            """<ir_version: 10, opset_import: ["" : 20, "mine" : 1]>
            g (float[N, 3] x) => (float[N, 3] y) { y = mine.Cube(x) }"""
        )
    )
    with pytest.raises(BackendError, match=r"Cube.*domain 'mine'"):
        planish.lower(graph, backend="tvm", optimize=False)


@pytest.mark.parametrize("isa", each_isa("amx"))
def test_code_is_generated_for_every_instruction_set(model, isa, monkeypatch) -> None:
    target, feeds = f"cpu{{isa={isa}}}", feeds_of()
    if not runs_here(isa):
        compiled = planish.lower(planish.load(model), backend="tvm", target=target)
        with pytest.raises(BackendError, match=f"isa '{isa}'"):
            compiled(feeds)
    make_runnable(isa, monkeypatch)
    compiled = planish.lower(planish.load(model), backend="tvm", target=target)
    assert relative_error(run_ort(model, feeds)["y"], compiled(feeds)["y"]) <= 1e-4


def test_this_machine_is_known() -> None:
    assert host_isa() in MACHINES
    assert runs_here(host_isa())


def test_wrong_feeds_are_refused(model) -> None:
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1)
    with pytest.raises(planish.PlanishError, match="'x'"):
        compiled({"x": np.zeros((1, 4, 9, 9), np.float32)})


def test_a_missing_linker_is_named(model, tmp_path, monkeypatch) -> None:
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1)
    for name in ("CXX", "CC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(linker.shutil, "which", lambda name: None)
    with pytest.raises(BackendError, match=r"no linker for x86_64|no linker for aarch64"):
        compiled.save(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("ld") is None, reason="there is no ld here")
def test_a_linker_alone_is_enough(model, tmp_path, monkeypatch) -> None:
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1)
    for name in ("CXX", "CC"):
        monkeypatch.delenv(name, raising=False)
    which = shutil.which
    monkeypatch.setattr(linker.shutil, "which", lambda n: which(n) if n == "ld" else None)
    compiled.save(tmp_path / "c")
    loaded = planish.load_compiled(tmp_path / "c", backend="tvm", threads=1)
    feeds = feeds_of()
    assert np.array_equal(loaded(feeds)["y"], compiled(feeds)["y"])


def test_a_linker_that_fails_is_named(model, tmp_path, monkeypatch) -> None:
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1)
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(BackendError, match="'false' cannot link code for"):
        compiled.save(tmp_path / "c")
