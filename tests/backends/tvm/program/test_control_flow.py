"""Branches, loops and sequences: ONNX Runtime runs them whole, whatever flows in and out."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import planish
from planish.ir.core.errors import BackendError

from tests.helpers import model_using, run_ort

pytest.importorskip("tvm")

RNG = np.random.default_rng(0)
WEIGHTS = {
    "two": np.int64(2),
    "parts": np.int64([1, 3, 1]),
    "first": np.int64(0),
    "last": np.int64(-1),
    "none": np.float32(0),
    "some": np.float32([0.5]),
    "large": RNG.standard_normal((6, 20)).astype(np.float32),
    "yes": np.bool_(True),
    "three": np.int64(3),
    "axis": np.int64([0]),
}
SIGN = "s = ReduceSum <keepdims = 0> (x) c = Greater (s, none) e = Mul (x, x)"
BRANCHES = f"""{SIGN} r = If (c) <
    then_branch = t () => (float[m, 20] p) {{ q = MatMul (e, large) p = Relu (q) }},
    else_branch = u () => (float[m, 20] p) {{ k = Constant <value_float = 0.5> ()
        q = MatMul (x, large) p = Mul (q, k) }}> y = Tanh (r)"""
NESTED = f"""{SIGN} y = If (c) <
    then_branch = t () => (float[m, 6] p) {{ d = Greater (s, three1) p = If (d) <
        then_branch = v () => (float[m, 6] o) {{ o = Mul (e, some) }},
        else_branch = w () => (float[m, 6] o) {{ o = Identity (x) }}> }},
    else_branch = u () => (float[m, 6] p) {{ p = Neg (e) }}>""".replace("three1", "none")
LOOP = """a = Abs (x) y, z = Loop (n, yes, a) <body = b (int64 i, bool c, float[N, 6] v)
    => (bool d, float[N, 6] w, float[6] g) {
        d = Identity (c) w = Add (v, x) g = ReduceMax <keepdims = 0> (w, axis) }>"""
SEQUENCES = {
    "split": "s = SplitToSequence (x, two) a = SequenceAt (s, first) b = SequenceAt (s, last) "
    "c = ReduceSum (b) d = Add (a, c) y = Relu (d)",
    "parts": "s = SplitToSequence (x, parts) a = SequenceAt (s, last) y = Sub (x, a)",
    "length": "s = SplitToSequence (x, two) n = SequenceLength (s) f = Cast <to = 1> (n) "
    "y = Mul (x, f)",
    "joined": "s = SplitToSequence (x, two) y = ConcatFromSequence <axis = 0> (s)",
    "inserted": "s = SequenceConstruct (x, x) r = Sin (x) t = SequenceInsert (s, r) "
    "u = Identity (t) v = SequenceErase (u, first) y = ConcatFromSequence <axis = 1> (v)",
}


def feeds(rows: int, sign: int = 1) -> dict:
    return {"x": sign * np.abs(RNG.standard_normal((rows, 6)).astype(np.float32))}


def agree(model: onnx.ModelProto, given: list[dict], operator: str) -> None:
    compiled = planish.lower(planish.load(model), "tvm", threads=1)
    assert operator in compiled.remarks[-1]
    for feed in given:
        wanted, found = run_ort(model, feed), compiled(feed)
        for name, values in wanted.items():
            assert found[name].dtype == values.dtype
            np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", ["4", "N"])
@pytest.mark.parametrize("body", [BRANCHES, NESTED], ids=["weights", "nested"])
def test_branches_by_a_condition_of_the_run(body, rows) -> None:
    model = model_using(WEIGHTS, body, f"float[{rows}, 6] x")
    agree(model, [feeds(4), feeds(4, -1)], "If")


def test_a_loop_carries_and_gathers() -> None:
    model = model_using(WEIGHTS, LOOP, "float[N, 6] x, int64 n", outputs="float[k, 6] z, ")
    agree(model, [{**feeds(r), "n": np.asarray(r - 1)} for r in (1, 3, 5)], "Loop")


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences(name) -> None:
    """The last part is smaller than the others, or as large."""
    model = model_using(WEIGHTS, SEQUENCES[name], "float[N, 6] x")
    agree(model, [feeds(5), feeds(2)] if name != "parts" else [feeds(5)], "Sequence")


def test_results_of_two_ranks_are_refused() -> None:
    body = f"""{SIGN} y = If (c) <
        then_branch = t () => (float[1, 6] p) {{ p = ReduceMax <keepdims = 1> (x, axis) }},
        else_branch = u () => (float[6] p) {{ p = ReduceMax <keepdims = 0> (x, axis) }}>"""
    model = model_using(WEIGHTS, body, "float[4, 6] x")
    with pytest.raises(BackendError, match=r"run If .* rank .* give If a constant condition"):
        planish.lower(planish.load(model), "tvm", threads=1)


def test_a_sequence_is_no_output() -> None:
    found = planish.load(model_using(WEIGHTS, "y = SplitToSequence (x, two)", "float[N, 6] x"))
    with pytest.raises(BackendError, match="output 'y' is a sequence"):
        planish.lower(found, "tvm", threads=1)
