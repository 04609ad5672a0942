"""Which calls may run at once, and how long the tensors between them live."""

from __future__ import annotations

import pytest

pytest.importorskip("tvm")

from tvm import relax

from planish.backends.tvm.compile.call_sequence import PlacedTensor
from planish.backends.tvm.compile.phases import Step, lives_of, phases_of
from planish.backends.tvm.compile.team import KernelStage


def _steps(*kinds):
    """Return calls in a row, each of which reads what the one before wrote, and the tensors."""
    tensors = [PlacedTensor(relax.TensorType([4], "float32")) for _ in range(len(kinds) + 1)]
    steps = []
    for place, (parts, each) in enumerate(kinds):
        read, written = tensors[place : place + 2]
        steps.append(
            Step(
                function=f"f{place}",
                operands=[read, written],
                written=[written],
                stage=None if parts is None else KernelStage(None, parts),
                each=each,
            )
        )
    return steps, tensors


@pytest.mark.parametrize(
    ("kinds", "lives"),
    [
        ([(4, True), (4, True), (4, True)], [(0, 0), (0, 1), (1, 2), (2, 2)]),
        ([(1, False), (1, False)], [(0, 0), (0, 1), (1, 1)]),
        ([(None, True), (None, True)], [(0, 0), (0, 1), (1, 1)]),
        # While one thread has an image in the second, another has one in the first.
        ([(1, True), (1, True), (1, True)], [(0, 0), (0, 0), (0, 0), (0, 0)]),
        ([(6, True), (1, True), (1, True), (4, False)], [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)]),
        ([(1, True), (4, True), (1, True)], [(0, 0), (0, 1), (1, 2), (2, 2)]),
    ],
)
def test_memory_is_given_on_where_no_image_needs_it(kinds, lives):
    steps, tensors = _steps(*kinds)
    found = lives_of(phases_of(steps))
    first = found[tensors[0]][0]
    assert [tuple(at - first for at in found[tensor]) for tensor in tensors] == lives
