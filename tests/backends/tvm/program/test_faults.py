"""Mistakes of planish's own: raised in strict runs, else said, and ONNX Runtime runs the node."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.ir.core.errors import BackendError, PlanishError

from tests.helpers import model_using, relative_error, run_ort

pytest.importorskip("tvm")

from planish.backends.tvm.check.network import OwnFaultWarning
from planish.backends.tvm.compile import build
from planish.backends.tvm.program import emit_graph, emit_onnx, own_converters
from planish.backends.tvm.program.faults import is_own

WEIGHTS = {
    "w": np.random.default_rng(0).standard_normal((8, 3, 3, 3)).astype(np.float32),
    "axes": np.int64([1]),
}
BODY = "a = Conv <pads = [1, 1, 1, 1]> (x, w) b = Relu (a) c = ReduceMax (b, axes) y = Tanh (c)"


def _raise(*args, **given):
    raise KeyError("table")


# Where planish's own code may fail: kernels, converters, and what is asked before them.
PLACES = {
    "a kernel": ("Conv", lambda patch: patch.setitem(emit_graph.KERNELS, "Conv", _FAILING)),
    "a converter": (
        "ReduceMax",
        lambda patch: patch.setitem(own_converters._COMPARING, "ReduceMax", _raise),
    ),
    "before it": ("ReduceMax", lambda patch: patch.setattr(emit_onnx, "required_before", _raise)),
    "rows": ("ReduceMax", lambda patch: patch.setattr(emit_graph, "emit_rows", _raise)),
}
_FAILING = emit_graph.KERNELS["Conv"]._replace(emit=_raise)


@pytest.fixture(params=list(PLACES))
def broken(monkeypatch, request) -> str:
    op, breaks = PLACES[request.param]
    breaks(monkeypatch)
    return op


def model():
    return model_using(WEIGHTS, BODY, "float[2, 3, 9, 7] x")


def test_a_strict_run_raises_it(broken) -> None:
    with pytest.raises(KeyError, match="table"):
        planish.lower(planish.load(model()), "tvm", threads=1, strict=True)


def test_it_is_said_and_the_node_runs_elsewhere(broken) -> None:
    pattern = rf"left {broken} .* to ONNX Runtime: KeyError: 'table'; report at https://"
    with pytest.warns(OwnFaultWarning, match=pattern):
        compiled = planish.lower(planish.load(model()), "tvm", threads=1, strict=False)
    assert broken in compiled.remarks[-1]
    feeds = {"x": np.random.default_rng(1).standard_normal((2, 3, 9, 7)).astype(np.float32)}
    assert relative_error(run_ort(model(), feeds)["y"], compiled(feeds)["y"]) < 1e-5


def test_what_the_environment_says_is_the_default(monkeypatch, broken) -> None:
    with pytest.raises(KeyError, match="table"):
        planish.lower(planish.load(model()), "tvm", threads=1)
    monkeypatch.delenv("PLANISH_STRICT")
    with pytest.warns(OwnFaultWarning):
        planish.lower(planish.load(model()), "tvm", threads=1)


def test_what_fails_everywhere_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr(emit_graph, "emit_onnx", _raise)
    found = planish.load(model_using(WEIGHTS, "y = ReduceMax (x, axes)", "float[2, 3, 9, 7] x"))
    with pytest.warns(OwnFaultWarning), pytest.raises(BackendError, match="cannot run ReduceMax"):
        planish.lower(found, "tvm", threads=1, strict=False)


def test_compiling(monkeypatch) -> None:
    monkeypatch.setattr(build, "merge_calls", _raise)
    with pytest.raises(KeyError, match="table"):
        planish.lower(planish.load(model()), "tvm", threads=1, strict=True)


def test_whose_an_exception_is() -> None:
    import tvm

    def caught(code) -> Exception:
        try:
            code()
        except Exception as error:
            return error
        raise AssertionError

    own = compile("def fail(code): code()", "own.py", "exec")
    names: dict = {"__name__": "planish.own"}
    exec(own, names)
    fail = names["fail"]
    assert is_own(caught(lambda: fail(lambda: fail(5))))
    assert is_own(caught(lambda: fail(lambda: np.moveaxis(np.zeros(2), 5, 0))))
    assert not is_own(caught(lambda: fail(lambda: tvm.tirx.Select(1, 2, "x"))))
    assert not is_own(caught(lambda: fail(lambda: tvm.relax.const("a"))))
    assert not is_own(caught(lambda: fail(lambda: tvm.tirx.Var("a", "flot"))))
    assert not is_own(PlanishError("a sentence"))
