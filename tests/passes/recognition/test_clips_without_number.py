"""The bounds of a Clip: a bound that is no number is none to reckon with."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, model_of, run_pass

X = np.array([-2, 0.3, 0.7, 5], np.float32)


@pytest.mark.parametrize("first", [("low", "bad"), ("bad", "high")])
@pytest.mark.parametrize("second", [("tiny", "half"), ("", "half"), ("tiny", "")])
def test_two_clips_of_which_one_has_no_number(first, second):
    model = model_of(
        f"g (float[4] x) => (float[] y) {{ c = Clip({', '.join(('x', *first))}) "
        f"y = Clip({', '.join(('c', *second))}) }}",
        {
            "bad": np.float32(np.nan),
            "low": np.float32(-1),
            "high": np.float32(3),
            "tiny": np.float32(1e-5),
            "half": np.float32(0.5),
        },
    )
    result = run_pass(planish.load(model), "exact", verify="off")
    assert_same_function(model, result.graph, {"x": X}, 0)
