"""Casts that keep every value vanish in front of another; those that lose one stay."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, model_of, ops, reasons, run_ort, run_pass

PASS = "eliminate-casts"
TYPES = {
    "bool": (9, np.bool_), "int8": (3, np.int8), "uint8": (2, np.uint8), "int16": (5, np.int16),
    "uint16": (4, np.uint16), "int32": (6, np.int32), "uint32": (12, np.uint32),
    "int64": (7, np.int64), "uint64": (13, np.uint64), "float16": (10, np.float16),
    "bfloat16": (16, ml_dtypes.bfloat16), "float": (1, np.float32), "double": (11, np.float64),
}  # fmt: skip


def _model(a, b, c):
    return model_of(
        f"g ({a}[N] x) => ({c}[N] y) {{ i = Identity(x) h = Cast <to = {TYPES[b][0]}> (i) "
        f"j = Cast <to = {TYPES[c][0]}> (h) y = Identity(j) }}"
    )


def _every(dtype):
    """Return values that a type can tell apart: all of a small one, the edges of a large one."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        edges = [2**k + d for k in range(64) for d in (-1, 0, 1)]
        edges += [-e for e in edges]
        return np.array([e for e in edges if info.min <= e <= info.max], dtype)
    info = ml_dtypes.finfo(dtype)
    edges = [info.max, info.tiny, info.smallest_subnormal, 1 + info.eps, 0, 2.0**24 - 1, 3.75]
    with np.errstate(over="ignore"):
        return np.array([*edges, *np.negative(edges), np.inf, -np.inf, np.nan]).astype(dtype)


@pytest.mark.parametrize(("a", "b"), itertools.permutations(TYPES, 2))
def test_a_cast_there_and_back_vanishes_only_if_no_value_is_lost(a, b):
    """The oracle is numpy: there and back must return every value, edges and infinities too."""
    model = _model(a, b, a)
    values = _every(TYPES[a][1])
    with np.errstate(all="ignore"):
        back = values.astype(TYPES[b][1]).astype(TYPES[a][1])
    wide = np.float64 if np.dtype(TYPES[a][1]).kind not in "iu" else values.dtype
    same = np.array_equal(back.astype(wide), values.astype(wide),
                          equal_nan=wide is np.float64)  # fmt: skip
    wraps = np.dtype(TYPES[a][1]).kind + np.dtype(TYPES[b][1]).kind in ("iu", "ui")
    result = run_pass(planish.load(model), f"{PASS},eliminate-dead-code", verify="off")
    # Signed to unsigned of one width wraps there and back in numpy; ONNX does not promise it.
    expected = same and not (
        wraps and np.dtype(TYPES[a][1]).itemsize >= np.dtype(TYPES[b][1]).itemsize
    )
    if np.dtype(TYPES[a][1]).kind == "i" and np.dtype(TYPES[b][1]).kind == "u":
        expected = False
    assert ops(result.graph).count("Cast") == (0 if expected else 2)


@pytest.mark.parametrize(
    ("a", "b", "c"),
    [
        ("int8", "int32", "int64"), ("uint8", "int64", "float"), ("bool", "float", "int32"),
        ("float16", "float", "double"), ("int32", "int64", "int8"),
        ("int16", "float", "double"), ("float", "double", "bool"), ("int8", "float", "int32"),
        ("float", "double", "float16"),
    ],
)  # fmt: skip
def test_merges(a, b, c):
    model = _model(a, b, c)
    result = run_pass(planish.load(model), f"{PASS},eliminate-dead-code")
    assert ops(result.graph).count("Cast") == 1
    values = _every(TYPES[a][1])
    expected, found = (
        run_ort(m, {"x": values})["y"] for m in (model, planish.to_model(result.graph))
    )
    np.testing.assert_array_equal(found.view(np.uint8), expected.view(np.uint8))


@pytest.mark.parametrize(
    ("a", "b", "c", "reason"),
    [
        ("float", "float16", "float", "float16 does not hold every float32"),
        ("int64", "int32", "int64", "int32 does not hold every int64"),
        ("int32", "float", "int32", "float32 does not hold every int32"),
        ("int8", "uint8", "int32", "uint8 does not hold every int8"),
        ("int16", "float16", "float", "float16 does not hold every int16"),
        ("float16", "bfloat16", "float", "bfloat16 does not hold every float16"),
        ("float", "bool", "float", "bool does not hold every float32"),
        ("float16", "float", "int8", "float16 beyond int8 may convert otherwise from float32"),
        ("int8", "float", "uint8", "int8 beyond uint8 may convert otherwise from float32"),
    ],
)
def test_leaves_alone(a, b, c, reason):
    result = run_pass(planish.load(_model(a, b, c)), PASS, verify="off")
    assert result.edits == 0
    assert reasons(result) == {reason}


def test_strings_stay():
    model = model_of(
        "g (float[N] x) => (string[N] y) { h = Cast <to = 11> (x) y = Cast <to = 8> (h) }"
    )
    assert run_pass(planish.load(model), PASS, verify="off").edits == 0


def test_cast_like():
    model = model_of(
        """g (float16[N] x, float[M] l) => (float16[N] y) {
            h = CastLike(x, l) a = Neg(h) j = CastLike(h, x) k = Exp(a) s = CastLike(k, x)
            y = Add(j, s) }"""
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["CastLike", "Neg", "Exp", "CastLike", "Add"]
    feeds = {"x": np.array([0.5, -2], np.float16), "l": np.zeros(3, np.float32)}
    assert_same_function(model, result.graph, feeds)


def test_a_chain_collapses_in_one_run():
    body = "".join(
        f"t{i + 1} = Cast <to = {k}> (t{i}) " for i, k in enumerate((6, 7, 11, 11, 6, 7))
    )
    model = model_of(f"g (int16[N] x) => (int64[N] y) {{ t0 = Neg(x) {body} y = Neg(t6) }}")
    result = run_pass(planish.load(model), f"{PASS},eliminate-identities,eliminate-dead-code")
    assert ops(result.graph) == ["Neg", "Cast", "Neg"]


def test_names_at_the_interface_stay():
    model = model_of(
        "g (float[N] x) => (float[N] y) { h = Cast <to = 11> (x) y = Cast <to = 1> (h) }"
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Cast", "Cast"]
    assert reasons(result) == {"it joins a graph input or constant to a graph output"}
