"""Integers wrap around, divide towards zero and hold more digits than floats: nothing is assumed.

Every rule about signs, ranges, neutral operands, involutions and constants, on the ends of every
integer type, compared with the runtime after all exact passes.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import planish

from tests.helpers import model_of, run_ort

SIGNED, ALL = (
    ["int8", "int16", "int32", "int64"],
    ["int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"],
)
CLIPPED = ["int8", "uint8", "int32", "int64", "uint64"]
CHAINS = {
    "a sum of rectified": ("r = Relu(x) s = Add(r, r) y = Relu(s)", ["int8", "int32"]),
    "a product of rectified": ("r = Relu(x) s = Mul(r, r) y = Relu(s)", ["int32"]),
    "a rectified size": ("a = Abs(x) y = Relu(a)", ["int8", "int32"]),
    "a size twice": ("a = Abs(x) y = Abs(a)", SIGNED),
    "negated twice": ("a = Neg(x) y = Neg(a)", SIGNED),
    "times minus one twice": ("a = Mul(x, m) b = Mul(a, m) y = Add(b, m)", ["int32", "int64"]),
    "added and taken away": ("a = Add(x, big) b = Sub(a, big) y = Abs(b)", ["int32", "int64"]),
    "multiplied and divided": ("a = Mul(x, three) y = Div(a, three)", ["int32", "int64"]),
    "divided and multiplied": ("a = Div(x, three) y = Mul(a, three)", ["int32", "int64"]),
    "divided twice": ("a = Div(x, three) y = Div(a, three)", ["int32", "int64"]),
    "to the power of one": ("p = Pow(x, one) y = Sub(p, one)", ["int32", "int64"]),
    "clipped but for one": ("c = Clip(x, next, big) e = Equal(c, low) y = Not(e)", CLIPPED),
    "clipped by nothing": ("c = Clip(x) e = Equal(c, low) y = Not(e)", CLIPPED),
    "clipped twice": ("a = Clip(x, one, big) y = Clip(a, next, three)", ["int32", "int64"]),
    "bounds in the wrong order": ("a = Clip(x, big, one) y = Clip(a, one, big)", ["int32"]),
    "max of max": ("a = Max(x, one) b = Min(a, three) y = Max(b, next)", ["int32", "int64"]),
    "a max with nothing negative": ("a = Max(x, z) y = Relu(a)", ["int32"]),
    "a remainder": ("a = Abs(x) b = Mod(a, three) y = Relu(b)", ["int32"]),
    "chosen": ("c = Less(x, z) n = Neg(x) a = Where(c, n, x) y = Relu(a)", ["int32"]),
    "summed": ("r = Relu(x) a = ReduceSum(r) y = Relu(a)", ["int32"]),
    "a running sum": ("r = Relu(x) a = CumSum(r, z0) y = Relu(a)", ["int32"]),
    "narrow and wide": ("a = Cast<to = 3>(x) b = Cast<to = 6>(a) y = Relu(b)", ALL),
    "to float and back": ("a = Cast<to = 1>(x) y = Cast<to = 11>(a)", ALL),
    "to double and on": ("a = Cast<to = 11>(x) y = Cast<to = 1>(a)", ALL),
    "to unsigned and back": ("a = Cast<to = 12>(x) y = Cast<to = 7>(a)", ALL),
    "truth and back": ("a = Cast<to = 9>(x) b = Cast<to = 6>(a) y = Cast<to = 9>(b)", ALL),
    "rectified, then narrow": ("r = Relu(x) a = Cast<to = 3>(r) y = Relu(a)", ["int32"]),
    "compared as floats": ("a = Cast<to = 1>(x) b = Cast<to = 1>(big) y = Equal(a, b)", ALL),
}
CASES = [(name, kind) for name, (_, kinds) in CHAINS.items() for kind in kinds]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_what_integers_do_at_the_ends_of_their_type(name, kind):
    limits = np.iinfo(kind)
    ends = [limits.min, limits.min + 1, limits.max, limits.max - 1, limits.max // 2, 0, 1, 2, 7]
    ends += [-1, -2, -7] if limits.min else []
    x = np.array(ends, kind)
    constants = {
        "z": 0,
        "one": 1,
        "three": 3,
        "next": limits.min + 1,
        "big": limits.max,
        "low": limits.min,
    }
    constants |= {"m": -1} if limits.min else {}
    arrays = {key: np.array(value, kind) for key, value in constants.items()}
    model = _model(kind, CHAINS[name][0], arrays | {"z0": np.array(0, np.int64)})
    expected = run_ort(model, {"x": x})["y"]
    steps = planish.Pipeline.parse("exact")
    result = steps.run(planish.load(model), verify="off")
    found = run_ort(planish.to_model(result.graph, portable=True), {"x": x})["y"]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    assert steps.run(result.graph, verify="off").edits == 0


def _model(kind, chain, constants):
    """Return the model; its output gets the type that it has, which text cannot leave open."""
    model = model_of(f"g ({kind}[N] x) => (float[] y) {{ {chain} }}", constants)
    model.graph.output[0].ClearField("type")
    inferred = onnx.shape_inference.infer_shapes(model)
    model.graph.output[0].CopyFrom(inferred.graph.output[0])
    return model
