"""What goes into a sequence or comes out of one stays float32; the rest is narrow."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest

import planish

from tests.helpers import model_of, relative_error, run_ort

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w": normal(8, 3, 3, 3),
    "w2": normal(8, 3, 3, 3),
    "v": normal(8, 8, 3, 3),
    "v4": normal(9, 4, 3, 3),
    "sizes": np.array([4, 4], np.int64),
}
BODIES = {
    "construct": "a = Conv(x, w) b = Conv(x, w2) s = SequenceConstruct(a, b) c = SequenceAt(s, i) "
    "y = Conv(c, v)",
    "split": "a = Conv(x, w) s = SplitToSequence <axis = 1> (a, sizes) c = SequenceAt(s, i) "
    "y = Conv(c, v4)",
    "insert": "e = SequenceEmpty() a = Conv(x, w) s = SequenceInsert(e, a) b = Conv(x, w2) "
    "t = SequenceInsert(s, b) c = SequenceAt(t, i) y = Conv(c, v)",
    "concat": "a = Conv(x, w) b = Conv(x, w2) s = SequenceConstruct(a, b) "
    "y = ConcatFromSequence <axis = 1> (s)",
    "identity": "a = Conv(x, w) j = Identity(a) y = Conv(j, v)",
}


@pytest.mark.parametrize("options", ["", "{to=bfloat16}", "{compute=float32}"])
@pytest.mark.parametrize("name", BODIES)
def test_types_of_sequences_hold(name, options):
    named = set(re.findall(r"\w+", BODIES[name]))
    weights = {key: values for key, values in WEIGHTS.items() if key in named}
    text = f"g (float[N, 3, 8, 8] x, int64 i) => (float[] y) {{ {BODIES[name]} }}"
    model = onnx.shape_inference.infer_shapes(model_of(text, weights))
    feeds = [{"x": normal(2, 3, 8, 8), "i": np.array(index)} for index in (0, 1)]
    pipeline = planish.Pipeline.parse(f"convert-precision{options}")
    result = pipeline.run(planish.load(model), feeds, strict=True)
    written = planish.to_model(result.graph)
    onnx.shape_inference.infer_shapes(written, check_type=True, strict_mode=True)
    tolerance = 3e-2 if "bfloat" in options else 5e-3
    assert result.edits
    for feed in feeds:
        expected = run_ort(model, feed)["y"]
        assert relative_error(expected, run_ort(written, feed)["y"]) < tolerance
    if name == "identity" and not options:  # it takes sequences too, and is no reason to stay
        assert not any("sequences" in d.reason for r in result.records for d in r.declined)
