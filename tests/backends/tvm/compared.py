"""Results of the TVM backend beside ONNX Runtime's, on models of a few nodes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import planish

from tests.helpers import Array, relative_error, run_ort

pytest.importorskip("tvm")


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def check(model: onnx.ModelProto, *cases: dict[str, Array], optimize: bool = True) -> None:
    """Compare with ONNX Runtime on each of `cases`, feeds all."""
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1, optimize=optimize)
    for feeds in cases:
        expected, found = run_ort(model, feeds), compiled(feeds)
        assert expected.keys() == found.keys()
        for name, values in expected.items():
            if values.dtype.kind in "iub":
                assert found[name].dtype == values.dtype, name
                assert np.array_equal(found[name], values), name
            else:
                assert relative_error(values, found[name]) <= 1e-4, name
