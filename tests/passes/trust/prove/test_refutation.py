"""Wrong rewrites: none is proved, and each is refuted by a concrete input."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.passes.trust.prove.certify import Origin, certify
from planish.passes.trust.prove.refute import refute

from tests.helpers import graph_of, model_of, run_ort
from tests.passes.trust.changed import become

RANDOM = np.random.default_rng(0)
WEIGHTS = {
    "w": RANDOM.standard_normal((4, 3, 3, 3)).astype(np.float32),
    "s": RANDOM.uniform(0.5, 2, 4).astype(np.float32),
    "v": RANDOM.uniform(0.5, 2, 4).astype(np.float32),
    "two": np.float32(2),
    "zero": np.float32(0),
    "one": np.int32(1),
    "low": np.float32(-1e6),
    "high": np.float32(1e6),
    "slope": np.float32(0.01),
    "half": np.float32(0.5),
    "big": np.float32(2**23),
    "three": np.float32(3),
    "rows": np.array([0, 2, 1, 3]),
    "others": np.array([0, 1, 2, 3]),
}
IMAGES = "g (float[2,3,6,6] x) => (float[] y)"
ROWS = "g (float[4,5] x) => (float[] y)"
WHOLE = "g (int32[4,5] x) => (bool[] y)"
NORM = "c = Conv<pads=[1,1,1,1]>(x, w) y = BatchNormalization<epsilon={}>(c, s, s, s, v)"

# What a pass may get wrong, before and after.
WRONG = {
    "sign": (ROWS, "y = Sub(x, two)", "y = Add(x, two)"),
    "axis": (ROWS, "y = Softmax<axis=0>(x)", "y = Softmax<axis=1>(x)"),
    "epsilon": (IMAGES, NORM.format("1e-3"), NORM.format("1e-5")),
    "border": (
        IMAGES,
        "p = Pad(x, pads, one_more) y = Conv(p, w)",
        "y = Conv<pads=[1,1,1,1]>(x, w)",
    ),
    "stride": (IMAGES, "y = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w)",
               "y = Conv<strides=[2,2], pads=[0,0,2,2]>(x, w)"),
    "wrap": (WHOLE, "a = Add(x, one) y = Greater(a, x)", "y = Equal(x, x)"),
    "range": (ROWS, "a = Cast<to=10>(x) y = Cast<to=1>(a)", "y = Identity(x)"),
    "NaN": (ROWS, "y = Sub(x, x)", "k = Shape(x) y = ConstantOfShape(k)"),
    "NaN of a product": (ROWS, "y = Mul(x, zero)", "k = Shape(x) y = ConstantOfShape(k)"),
    "bound": (ROWS, "y = Clip(x, low, high)", "y = Identity(x)"),
    "slope": (ROWS, "y = LeakyRelu<alpha=0.02>(x)", "m = Mul(x, slope) y = Max(x, m)"),
    "equal": (ROWS, "c = Equal(x, three) y = Where(c, half, x)", "y = Identity(x)"),
    "order": ("g (float[4,4] x) => (float[] y)", "y = Gather(x, rows)", "y = Gather(x, others)"),
    "mean": (IMAGES, "y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(x)",
             "y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(x)"),
    "cast": (
        "g (int32[4,5] x) => (int32[] y)",
        "f = Cast<to=1>(x) y = Cast<to=6>(f)",
        "y = Identity(x)",
    ),
    "tail": (ROWS, "y = HardSigmoid<alpha=0.2, beta=0.5>(x)",
             "m = Mul(x, fifth) y = Add(m, half)"),
}  # fmt: skip
WEIGHTS["pads"] = np.array([0, 0, 1, 1, 0, 0, 1, 1])
WEIGHTS["one_more"] = np.float32(0.125)
WEIGHTS["fifth"] = np.float32(0.2)


def _texts(kind):
    head, before, after = WRONG[kind]
    return f"{head} {{ {before} }}", f"{head} {{ {after} }}"


def _weights(*texts):
    return {k: v for k, v in WEIGHTS.items() if any(f"{k})" in t or f"{k}," in t for t in texts)}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_rewrite_is_refuted_by_an_input_on_which_it_differs(kind):
    texts = _texts(kind)
    before, after = (graph_of(text, _weights(text)) for text in texts)
    found = certify(before, after, Origin(before, planish.clone(before)), [])
    assert found.open_outputs or "NaN" in kind
    refuted = refute(before, after, 0, finite=bool(found.open_outputs))
    assert refuted is not None
    assert refuted.output == "y"
    a, b = (run_ort(model_of(text, _weights(text)), refuted.feed)["y"] for text in texts)
    assert not (np.array_equal(a, b) if a.dtype.kind == "i" else np.allclose(a, b, 1e-4, 1e-6))


@pytest.mark.parametrize("kind", ["wrap", "bound", "NaN", "equal"])
def test_what_samples_miss_is_rolled_back_and_told(kind):
    before, after = _texts(kind)
    weights = _weights(before, after)
    assert not become(before, after, weights).failures
    result = become(before, after, weights, verify="prove", strict=False)
    (failure,) = result.failures
    assert failure.pass_name == "become"
    assert "output 'y' differs" in failure.error
    assert result.edits == 0
    assert result.certificate.is_complete
    with pytest.raises(planish.VerificationError, match="output 'y' differs"):
        become(before, after, weights, verify="prove", strict=True)


def test_a_term_that_is_small_beside_the_others_is_refuted():
    """Where results are 0 but at a few places, too; verification looks at the largest of them."""
    weight = RANDOM.standard_normal((8, 16, 3, 3)).astype(np.float32)
    other = weight.copy()
    weight[2, 3, 1, 1], other[2, 3, 1, 1] = 1e-6, -1e-6
    head = "g (float[2,16,9,9] x) => (float[] y)"
    texts = [f"{head} {{ y = Conv<pads=[1,1,1,1]>(x, {name}) }}" for name in ("w", "v")]
    assert not become(*texts, {"w": weight, "v": other}).failures
    with pytest.raises(planish.VerificationError, match=r"element \[\d, 2, .* of output 'y' is"):
        become(*texts, {"w": weight, "v": other}, verify="prove", strict=False)


def test_what_stays_open_is_no_success():
    """Nor where nothing of the edit is left but nodes that are the same."""
    result = become(
        "g (int8[4] x) => (int8[] y) { a = Cast<to=1>(x) y = Cast<to=3>(a) }",
        "g (int8[4] x) => (int8[] y) { y = Identity(x) }",
        {},
        verify="prove",
        strict=False,
    )
    assert result.edits
    assert result.certificate.proved == 0
    assert result.certificate.verdict().startswith("proved 0 of ")


def test_a_rounding_idiom_that_goes_is_not_proved():
    """Adding 2^23 and taking it away again rounds to whole numbers; no law of arithmetic knows."""
    result = become(
        f"{ROWS} {{ a = Add(x, big) y = Sub(a, big) }}",
        f"{ROWS} {{ y = Identity(x) }}",
        {"big": WEIGHTS["big"]},
        verify="prove",
        strict=False,
    )
    (left,) = result.certificate.open_outputs
    assert "rounding moves the sides" in left.reason
    assert result.certificate.proved == 0


RIGHT = {
    "relu twice": (ROWS, "a = Relu(x) y = Relu(a)", "y = Relu(x)"),
    "relu and clip": (ROWS, "a = Relu(x) y = Clip(a, low, high)", "y = Clip(x, zero, high)"),
    "hard swish": (
        ROWS,
        "a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)",
        "y = HardSwish(x)",
    ),
    "leaky": (
        ROWS,
        "c = Greater(x, zero) m = Mul(x, slope) y = Where(c, x, m)",
        "y = LeakyRelu<alpha=0.01>(x)",
    ),
    "leaky at zero": (
        ROWS,
        "c = GreaterOrEqual(x, zero) m = Mul(x, slope) y = Where(c, x, m)",
        "m = Mul(x, slope) y = Max(x, m)",
    ),
    "clip of sigmoid": (ROWS, "a = Sigmoid(x) y = Clip(a, zero, unit)", "y = Sigmoid(x)"),
    "relu of a scaled": (ROWS, "a = Relu(x) y = Mul(a, two)", "a = Mul(x, two) y = Relu(a)"),
    "pool of relu": (
        IMAGES,
        "a = Relu(x) y = MaxPool<kernel_shape=[2,2]>(a)",
        "a = MaxPool<kernel_shape=[2,2]>(x) y = Relu(a)",
    ),
    "max of two": (
        "g (float[4,5] x, float[4,5] z) => (float[] y)",
        "c = Greater(x, z) y = Where(c, x, z)",
        "y = Max(z, x)",
    ),
    "abs": (ROWS, "a = Neg(x) y = Max(x, a)", "y = Abs(x)"),
    "transposed": (
        IMAGES,
        "t = Transpose<perm=[0,2,3,1]>(x) r = Sigmoid(t) y = Transpose<perm=[0,3,1,2]>(r)",
        "y = Sigmoid(x)",
    ),
}
WEIGHTS |= {"six": np.float32(6), "unit": np.float32(1)}


@pytest.mark.parametrize("kind", RIGHT)
def test_a_right_rewrite_is_proved(kind):
    head, *bodies = RIGHT[kind]
    texts = [f"{head} {{ {body} }}" for body in bodies]
    before, after = (graph_of(text, _weights(text)) for text in texts)
    found = certify(before, after, Origin(before, planish.clone(before)), [])
    assert not found.open_outputs, found.open_outputs
    planish.check_certificate(before, after, found)
