"""The table of rewrites, planish's column: every pattern is rewritten, and the numbers hold."""

from __future__ import annotations

from functools import partial

import onnx
import pytest

from benchmarks.patterns.subjects import PATTERNS
from benchmarks.peers import by_planish
from benchmarks.rewrites import cell


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
def test_pattern_is_rewritten(pattern):
    model = onnx.shape_inference.infer_shapes(pattern.build(), data_prop=True)
    assert not pattern.folded(model)
    assert cell(pattern, model, partial(by_planish, portable=pattern.portable)) == "yes"


def test_names_are_those_of_one_pattern_each():
    names = [pattern.name for pattern in PATTERNS]
    assert len(names) == len(set(names))
