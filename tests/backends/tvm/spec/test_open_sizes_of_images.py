"""Sizes that grow with the number of images."""

from __future__ import annotations

import pytest

from planish.backends.tvm.spec.open_sizes import (
    is_planned,
    per_image,
    sizes_given,
    sizes_of,
    told_last,
)

tvm = pytest.importorskip("tvm")


def _tensor(*shape):
    return tvm.relax.TensorType(list(shape), "float32")


def _function(*shapes):
    """Return a function that takes tensors of these sizes, and does nothing."""
    from tvm import tirx

    params = [tirx.decl_buffer(shape, "float32") for shape in shapes]
    return tirx.PrimFunc(params, tirx.Evaluate(tirx.const(0, "int32")))


def test_a_tensor_is_planned_where_its_size_is_so_much_an_image() -> None:
    n, m = (tvm.tirx.Var(name, "int64") for name in "nm")
    assert is_planned([2, tvm.tirx.const(3, "int64")])
    assert is_planned([n, 4])
    assert is_planned([4, (n * 7) * 7])
    assert [per_image(size) for size in (n, 49 * n, 5)] == [1, 49, 5]
    for other in ([n, n], [n, m], [n + 1, 4], [n * m], [tvm.tirx.floordiv(n, 2)], [n * n]):
        assert not is_planned(other), other


def test_sizes_of_a_kernel_are_those_of_its_tensors_or_are_not_told() -> None:
    n, rows, other = (tvm.tirx.Var(name, "int64") for name in ("n", "rows", "other"))
    kernel = _function((rows, 4), (rows, 4))
    assert sizes_of(kernel) == [rows]
    (found,) = sizes_given(kernel, [_tensor(n * 7, 4), _tensor(7 * n, 4)])
    assert tvm.sym.Analyzer().can_prove_equal(found, n * 7)
    assert sizes_given(kernel, [_tensor(n * 7, 4), _tensor(n * 6, 4)]) is None
    assert sizes_given(kernel, [_tensor(n, 4), _tensor(n, 5)]) is None
    assert sizes_given(_function((rows, 4), (rows * 2, 4)), [_tensor(n, 4), _tensor(n, 4)]) is None
    assert sizes_given(_function((rows * 2, 4)), [_tensor(n * 2, 4)]) is None
    assert sizes_given(_function((rows, other)), [_tensor(n, 3)]) == [n, 3]
    assert sizes_given(_function((2, 4)), [_tensor(2, 4)]) == []


def test_a_kernel_that_is_given_a_size_is_not_told_it_again() -> None:
    from tvm import tirx

    n, m, images = (tirx.Var(name, "int64") for name in ("n", "m", "images"))
    buffers = [tirx.decl_buffer(shape, "float32") for shape in ((n * 6, 4), (m, 4))]
    kernel = tirx.PrimFunc([*buffers, n], tirx.Evaluate(tirx.const(0, "int32")))
    assert sizes_of(kernel) == [n, m]
    assert told_last(kernel) == [1]
    given = [_tensor(images * 6, 4), _tensor(images, 4), images]
    assert sizes_given(kernel, given) == [images, images]
    assert sizes_given(kernel, [*given[:2], images + 1]) is None
