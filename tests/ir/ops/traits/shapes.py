"""Sizes and the batch that an operator keeps."""

from __future__ import annotations

from planish.ir.ops.traits import Traits

from tests.ir.ops.traits.cases import Case
from tests.ir.ops.traits.samples import assert_near, sample


def keeps_shape(case: Case, t: Traits) -> None:
    assert case.run().shape == case.inputs[0].shape


def keeps_batch(case: Case, t: Traits) -> None:
    data = sample(case)
    before = case.of(*data)
    assert len(before) == len(data[0])
    if len(before) == 1:
        return
    changed = [x.copy() for x in data]
    for x in changed:
        x[1] = x[0]
    after = case.of(*changed)
    assert_near(after[0], before[0])
    assert_near(after[1], before[0])
