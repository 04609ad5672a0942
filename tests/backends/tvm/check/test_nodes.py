"""Single nodes beside ONNX Runtime: right ones are compared once, wrong ones are not used."""

from __future__ import annotations

import re
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest

import planish

from tests.helpers import model_of, model_using, relative_error, run_ort

pytest.importorskip("tvm")

from planish.backends.contract.prepare import prepare
from planish.backends.tvm.check import nodes as checking
from planish.backends.tvm.check.check import cache_of_checks
from planish.backends.tvm.check.nodes import NodeReport, check_nodes, run_nodes
from planish.backends.tvm.check.report import WrongKernelWarning
from planish.backends.tvm.compile.cpu import CpuToolchain
from planish.backends.tvm.kernels.settings import Settings
from planish.backends.tvm.program import emit_onnx
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.spec.machine import MACHINES, host_isa


@pytest.fixture(autouse=True)
def folders(monkeypatch, tmp_path) -> None:
    """Keep what is found in a file of the test's own, which begins empty, and what is written."""
    monkeypatch.setenv("PLANISH_CACHE", str(tmp_path / "cache.sqlite"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


WEIGHTS = {
    "places": np.int64([0, -1]),
    "sizes": np.int64([0, 3, -1]),
    "one": np.int64([1]),
    "first": np.int32(1),
    "half": np.float32(0.5),
    "step": np.float32(0.05),
    "zero": np.uint8(120),
    "around": np.int64([0, 1, 0, 0, 2, 0]),
}
BODIES = {
    "moves": "a = Reshape (x, sizes) b = Transpose <perm = [0, 2, 1]> (a) "
    "y = Gather <axis = 2> (b, places)",
    "pads": "y = Pad (x, around, half)",
    "reductions": "a = ReduceMax <keepdims = 1> (x, one) b = Sub (x, a) "
    "y = ReduceLogSumExp (b, one)",
    "integers": "a = ArgMax <axis = 1> (x) b = Cast <to = 1> (a) y = Erf (b)",
    "searches": "a, b = TopK <axis = 1> (x, one) c = Cast <to = 1> (b) y = Add (c, a)",
    "comparisons": "a = Abs (x) b = Pow (a, half) c = Less (b, x) d = Not (c) y = Where (d, b, x)",
    "sums": "y = CumSum (x, first)",
    "poles": "a = Tan (x) y = Reciprocal (a)",
    "bytes": "a = Cast <to = 2> (x) b = QuantizeLinear (x, step, zero) c = Max (a, b) "
    "y = Cast <to = 1> (c)",
    "moved bytes": "a = QuantizeLinear (x, step, zero) b = DequantizeLinear (a, step, zero) "
    "c = Transpose <perm = [2, 0, 1]> (b) d = QuantizeLinear (c, step, zero) "
    "y = DequantizeLinear (d, step, zero)",
}


def model(name: str, batch: int | str = 2) -> onnx.ModelProto:
    return model_using(WEIGHTS, BODIES[name], f"float[{batch}, 6, 7] x")


def checked(name: str, batch: int | str = 2, **options) -> NodeReport:
    toolchain = CpuToolchain(MACHINES[host_isa()], 1)
    graph = prepare(planish.load(model(name, batch)))
    lowered = lower_graph(toolchain.emitter(graph, Settings()))
    assert lowered.singles
    return check_nodes(lowered, graph, toolchain, cache_of_checks(), **options)


@pytest.mark.parametrize(
    ("name", "batch"), [(name, "N" if i % 2 else 2) for i, name in enumerate(BODIES)]
)
def test_right_nodes_are_found_right(name, batch) -> None:
    report = checked(name, batch)
    assert report.right > 0
    assert not report.others
    assert not report.wrong, [(one.op, one.fault) for one in report.wrong]


def test_a_node_is_not_compared_twice() -> None:
    runs = []

    def counted(graph, feed, toolchain):
        runs.append([node.op for node in graph.nodes])
        return run_nodes(graph, feed, toolchain)

    first = checked("reductions", run=counted)
    assert len(runs) == 1  # one program of all nodes
    assert checked("reductions", run=counted) == first
    assert len(runs) == 1
    checked("reductions", 3, run=counted)  # other sizes, other code
    assert len(runs) == 2


def test_free_sizes_are_small_and_odd() -> None:
    seen = []

    def watched(graph, feed, toolchain):
        seen.extend(values.shape for values in feed.values())
        return run_nodes(graph, feed, toolchain)

    checked("sums", "N", run=watched)
    assert seen == [(3, 6, 7)]


def _wrong(monkeypatch, op: str) -> None:
    """Have the converter of `op` give something else."""
    kept = emit_onnx._converted

    def converted(view, tensors, node, proto):
        from tvm import relax

        found = kept(view, tensors, node, proto)
        if node.op == op:
            found[0] = tensors.builder.emit(relax.op.add(found[0], relax.const(1e-3, "float32")))
        return found

    monkeypatch.setattr(emit_onnx, "_converted", converted)


def test_a_wrong_node_is_named_and_not_used(monkeypatch) -> None:
    _wrong(monkeypatch, "Pow")
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 6, 7)).astype(np.float32)}
    message = r"TVM's Pow of '\w+' is wrong: .*; ONNX Runtime runs these nodes"
    with pytest.warns(WrongKernelWarning, match=message) as caught:
        compiled = planish.lower(planish.load(model("comparisons")), "tvm", threads=1)
    assert compiled.remarks[0].endswith("1 wrong and not used")
    assert "which runs Pow" in compiled.remarks[1]
    expected = run_ort(model("comparisons"), feeds)["y"]
    assert relative_error(expected, compiled(feeds)["y"]) < 1e-6
    (folder,) = re.findall(r"are in '([^']*)'", str(caught[0].message))
    assert {path.name for path in Path(folder).iterdir()} == {"model.onnx", "feeds.npz", "key.json"}
    alone = onnx.load(Path(folder) / "model.onnx")
    assert [node.op_type for node in alone.graph.node] == ["Pow"]
    with np.load(Path(folder) / "feeds.npz") as stored:
        run_ort(alone, dict(stored))


def test_it_is_off_by_an_option(monkeypatch) -> None:
    monkeypatch.setattr(checking, "run_nodes", None)
    compiled = planish.lower(planish.load(model("sums")), "tvm", threads=1, check_kernels=False)
    assert compiled.remarks == ("kernels: not compared one by one",)


def test_what_fails_among_others_is_found_alone() -> None:
    def fussy(graph, feed, toolchain):
        if any(node.op == "Pow" for node in graph.nodes):
            raise planish.PlanishError("no powers")
        return run_nodes(graph, feed, toolchain)

    report = checked("comparisons", run=fussy)
    assert [(one.op, one.fault) for one in report.wrong] == [("Pow", "no powers")]
    assert report.right > 2


def test_a_size_that_two_inputs_have_is_one() -> None:
    model = model_of("g (float[N, 6] x) => (float[N, N] y) { t = Transpose(x) y = MatMul(x, t) }")
    with warnings.catch_warnings():
        warnings.simplefilter("error", WrongKernelWarning)
        compiled = planish.lower(planish.load(model), backend="tvm", threads=1)
    feeds = {"x": np.random.default_rng(3).standard_normal((4, 6)).astype(np.float32)}
    assert relative_error(run_ort(model, feeds)["y"], compiled(feeds)["y"]) <= 1e-5
