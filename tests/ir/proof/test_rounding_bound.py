"""How far rounding may move a window: by hand, against what is measured, and forged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

import planish
from planish.ir.core.errors import CertificateError
from planish.passes.trust.prove.certify import Origin, certify

from tests.helpers import graph_of, model_of, run_ort

RANDOM = np.random.default_rng(0)
HELD = {
    "w": RANDOM.standard_normal((4, 3, 3, 3)).astype(np.float32),
    "b": RANDOM.standard_normal(4).astype(np.float32),
    "s": RANDOM.uniform(0.5, 2, 4).astype(np.float32),
    "v": RANDOM.uniform(0.5, 2, 4).astype(np.float32),
    "two": np.float32(2),
    "four": np.float32(4),
    "half": np.float16(0.3),
    "also": np.float16(0.7),
    "both": np.float16(0.21),
    "large": np.float16(100),
}
ROW = "g (float[5] x) => (float[] y)"
HALF = "g (float16[5] x) => (float16[] y)"
IMAGE = "g (float[2,3,6,6] x) => (float[] y)"
_FACTOR = HELD["s"] / np.sqrt(HELD["v"] + np.float32(1e-5))
HELD["f"] = HELD["w"] * _FACTOR[:, None, None, None]
HELD["c"] = (HELD["b"] - HELD["s"]) * _FACTOR + HELD["s"]


def _held(text):
    return {k: v for k, v in HELD.items() if any(f"{k}{end}" in text for end in (")", ","))}


def _certified(head, before, after, largest=1.0):
    texts = [f"{head} {{ {body} }}" for body in (before, after)]
    graphs = [graph_of(text, _held(text)) for text in texts]
    origin = Origin(graphs[0], planish.clone(graphs[0]))
    found = certify(*graphs, origin, [], lambda names: dict.fromkeys(names, largest))
    assert not found.open_outputs
    return texts, graphs, found


@pytest.mark.parametrize("largest", [1.0, 3.0])
def test_it_is_that_of_the_roundings_on_the_way_of_a_term(largest):
    _, _, found = _certified(ROW, "a = Mul(x, two) y = Add(a, a)", "y = Mul(x, four)", largest)
    (window,) = found.windows
    expected = (2 + 1) * 2.0**-24 * 4 * largest  # two on one side, one on the other
    assert window.ranges == (largest,)
    assert expected <= window.bound.absolute <= 1.1 * expected
    assert expected <= 4 * largest * window.bound.relative <= 1.1 * expected
    assert (window.bound.type, window.bound.overflows) == ("float32", False)


@pytest.mark.parametrize(
    ("head", "before", "after"),
    [
        (
            IMAGE,
            "k = Conv<pads=[1,1,1,1]>(x, w, b) y = BatchNormalization(k, s, s, s, v)",
            "y = Conv<pads=[1,1,1,1]>(x, f, c)",
        ),
        (IMAGE, "y = GlobalAveragePool(x)", "y = ReduceMean<keepdims=1>(x, axes)"),
        (HALF, "a = Mul(x, half) y = Mul(a, also)", "y = Mul(x, both)"),
    ],
    ids=["folded", "mean", "float16"],
)
def test_what_is_measured_stays_under_it(head, before, after):
    HELD["axes"] = np.array([2, 3])
    texts, _, found = _certified(head, before, after)
    dtype, shape = (np.float16, (5,)) if head == HALF else (np.float32, (2, 3, 6, 6))
    apart = 0.0
    for _ in range(20):
        feed = {"x": RANDOM.uniform(-1, 1, shape).astype(dtype)}
        models = [model_of(text, _held(text)) for text in texts]
        if dtype == np.float16:
            a, b = (ReferenceEvaluator(model).run(["y"], feed)[0] for model in models)
        else:
            a, b = (run_ort(model, feed)["y"] for model in models)
        apart = max(apart, float(np.abs(a.astype(np.float64) - b).max()))
    (window,) = found.windows
    assert 0 < apart <= window.bound.absolute
    assert window.bound.relative < 80 * (2**-11 if dtype == np.float16 else 2**-24)


@pytest.mark.parametrize(
    ("largest", "flags"), [(1.0, (False, False)), (1e3, (True, False)), (1e-8, (False, True))]
)
def test_halves_that_leave_their_range_are_told(largest, flags):
    _, _, found = _certified(
        HALF, "a = Mul(x, large) y = Neg(a)", "n = Neg(x) y = Mul(n, large)", largest
    )
    (window,) = found.windows
    assert (window.bound.overflows, window.bound.underflows) == flags


def test_what_has_no_bound_says_why():
    head = "g (float[5] x, float[5] z) => (float[] y)"
    _, _, found = _certified(head, "q = Div(x, z) y = Neg(q)", "n = Neg(x) y = Div(n, z)")
    (window,) = found.windows
    assert "Div by what varies" in window.bound.none


def test_a_checker_finds_bounds_itself():
    _, graphs, found = _certified(
        IMAGE, "y = GlobalAveragePool(x)", "y = ReduceMean<keepdims=1>(x, axes)"
    )
    (window,) = found.windows
    checked = planish.check_certificate(*graphs, found)
    assert checked.windows[0].bound == window.bound
    for change, message in (
        ({"bound": replace(window.bound, absolute=window.bound.absolute / 3)}, "rounding may move"),
        ({"bound": replace(window.bound, type="float16", overflows=True)}, "rounding may move"),
        ({"ranges": (9.0,)}, "rounding may move"),
        ({"ranges": ()}, "its ranges are not those"),
    ):
        forged = replace(found, windows=(replace(window, **change),))
        with pytest.raises(CertificateError, match=message):
            planish.check_certificate(*graphs, forged)


def test_ranges_are_those_of_the_feeds():
    graph = graph_of(
        f"{IMAGE} {{ k = Conv(x, w, b) y = BatchNormalization(k, s, s, s, v) }}",
        {k: HELD[k] for k in "wbsv"},
    )
    feed = {"x": np.full((2, 3, 6, 6), -7.0, np.float32)}
    for feeds, largest in (([feed], 7.0), (None, 1.0)):
        result = planish.Pipeline.parse("exact").run(graph, feeds, verify="prove")
        assert [each.ranges for each in result.certificate.windows] == [(largest,)]
        assert all(result.certificate.bound(edit).absolute > 0 for edit in result.certificate.edits)
