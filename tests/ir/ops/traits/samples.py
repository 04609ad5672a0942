"""Operands to draw for a case, and how results are compared."""

from __future__ import annotations

import math

import numpy as np

from tests.ir.ops.traits.cases import Array, Case

F = np.float32


RNG = np.random.default_rng()  # its state is set for each case


# Where functions of real numbers are defined.
DOMAINS = {
    "Acos": (-1, 1),
    "Acosh": (1, 6),
    "Asin": (-1, 1),
    "Atanh": (-0.95, 0.95),
    "Log": (0.05, 6),
    "Sqrt": (0, 6),
    "Bernoulli": (0, 1),
}


_EXTREMES = np.array(
    [
        *(0, -0.0, np.nan, np.inf, -np.inf, 1e-40, -1e-40, 1e-30, 3.4e38, -3.4e38),
        *(1, -1, 0.5, -0.5, 2.5, -2.5, 20, -20, 88.8, -88.8, 1e4, -1e4, 4e9, -4e9),
    ],
    F,
)


def is_float(case: Case) -> bool:
    return all(case.inputs[i].dtype == F for i in case.data)


def sample(case: Case, low: float = -3, high: float = 3) -> list[Array]:
    """Return random data, in the domain of the operator."""
    least, most = DOMAINS.get(case.op, (-math.inf, math.inf))
    low = max(low, least)
    high = max(min(high, most), low)
    return [_random(case.inputs[i], low, high) for i in case.data]


def _random(like: Array, low: float, high: float) -> Array:
    if like.dtype == F:
        return RNG.uniform(low, high, like.shape).astype(F)
    if like.dtype.kind in "OU":
        return RNG.permutation(like.reshape(-1)).reshape(like.shape)
    top = 2 if like.dtype == bool else 9
    return RNG.integers(0, top, like.shape).astype(like.dtype)


def extremes(case: Case) -> list[Array]:
    return [RNG.choice(_EXTREMES, case.inputs[i].shape) for i in case.data]


def as_real(array: Array) -> Array:
    return array.astype(np.float64)


def assert_near(found: Array, expected: Array, tolerance: float = 1e-5) -> None:
    assert found.shape == expected.shape
    if found.dtype.kind not in "fiub":
        np.testing.assert_array_equal(found, expected)
        return
    a, b = as_real(found), as_real(expected)
    scale = np.abs(b[np.isfinite(b)]).max(initial=1e-30)
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)


def at_most(lower: Array, upper: Array, slack: float = 0.0) -> bool:
    """Say whether no element of `lower` is above that of `upper`, NaN left out.

    `slack` is a part of the largest element: runtimes approximate some functions no better.
    """
    a, b = as_real(lower), as_real(upper)
    known = np.isfinite(a) & np.isfinite(b)
    return bool(np.all((a - b)[known] <= slack * np.abs(b[known]).max(initial=0)))


def same(a: Array, b: Array) -> bool:
    if a.dtype.kind in "OU":
        return bool(np.array_equal(a, b))
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def differs(a: Array, b: Array) -> set[int]:
    """Return where two results of one shape differ, counted along all axes."""
    both = np.isnan(a) & np.isnan(b) if a.dtype.kind == "f" else np.zeros(a.shape, bool)
    return set(np.flatnonzero((a != b) & ~both).tolist())
