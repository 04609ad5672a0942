"""Indices of TVM's loop nests are simple before loops are cut into parts of unknown beginnings."""

from __future__ import annotations

import pytest

pytest.importorskip("tvm")

import tvm_ffi
from tvm import te, tirx

from planish.backends.tvm.compile.generic import schedule_generic
from planish.backends.tvm.compile.simplify import simplified
from planish.backends.tvm.compile.team import stages_of


def divisions(body: tirx.Stmt) -> list[int]:
    """Return what is divided by in `body`."""
    found: list[int] = []
    for kind in (tirx.FloorDiv, tirx.FloorMod):
        tvm_ffi.structural_walk(body, (kind, lambda node: found.append(int(node.b))))
    return found


def test_a_part_divides_by_nothing_that_is_larger_than_the_axis() -> None:
    import tvm

    x = te.placeholder((1, 128, 64, 64), name="x")
    y = te.compute(
        (1, 128, 64, 64),
        lambda n, c, h, w: x[n, c % 128, ((c // 128 + w + 1) // 65 + h) % 64, (c // 128 + w) % 64],
    )
    module = schedule_generic(tvm.IRModule({"main": te.create_prim_func([x, y])}))
    (stage,) = stages_of(simplified(module["main"])).stages
    assert stage.parts > 1
    # The loop over channels and rows is one: where it stands is all that is divided.
    assert set(divisions(stage.function.body)) <= {64, 8192 // stage.parts}


def test_loops_that_are_plain_stay() -> None:
    import tvm

    x = te.placeholder((8,), name="x")
    kernel = te.create_prim_func([x, te.compute((8,), lambda i: x[i])])
    once = simplified(kernel)
    assert simplified(once) is once
    tvm.ir.assert_structural_equal(simplified(once), once)
