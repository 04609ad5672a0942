"""Windows that read what several others read, counted tap by tap."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.ir.core.decline import DeclinedError
from planish.ir.ops.windows.taps import Window, cover, place


def _line(kernel, stride=1, dilation=1, begin=0, end=0):
    return Window((kernel,), (stride,), (dilation,), (begin,), (end,))


def _reads(window, size):
    """Return the input positions that each output reads, tap by tap."""
    (k, s, d, begin, end) = (
        part[0]
        for part in (
            window.kernel, window.strides, window.dilations, window.begins, window.ends)
    )  # fmt: skip
    outputs = (size + begin + end - d * (k - 1) - 1) // s + 1
    return [[o * s - begin + j * d for j in range(k)] for o in range(outputs)]


@st.composite
def _windows(draw):
    stride = draw(st.integers(1, 3))
    return [
        _line(
            draw(st.integers(1, 3)),
            stride,
            draw(st.integers(1, 2)),
            draw(st.integers(0, 3)),
            draw(st.integers(0, 3)),
        )
        for _ in range(2)
    ]


@given(windows=_windows(), size=st.integers(5, 9), known=st.booleans())
def test_a_cover_reads_what_its_windows_read(windows, size, known):
    try:
        wide = cover(windows, [size if known else None])
    except DeclinedError:
        return
    everything = _reads(wide, size)
    for window in windows:
        parts = _reads(window, size)
        assert len(parts) == len(everything)
        (at,) = place(window, wide)
        for part, whole in zip(parts, everything, strict=True):
            assert whole[at : at + window.kernel[0]] == part
    assert wide.begins[0] >= 0
    assert wide.ends[0] >= 0


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ([_line(3, 1, 1, 1, 1), _line(1)], _line(3, 1, 1, 1, 1)),
        ([_line(1), _line(5, 1, 1, 2, 2), _line(3, 1, 1, 1, 1)], _line(5, 1, 1, 2, 2)),
        ([_line(3, 2, 2, 2, 2), _line(1, 2)], _line(3, 2, 2, 2, 2)),
        ([_line(3, 1, 1, 2, 0), _line(3, 1, 1, 0, 2)], _line(5, 1, 1, 2, 2)),
        ([_line(1, 1, 3), _line(1)], _line(1)),
    ],
)
def test_covers(windows, expected):
    for order in itertools.permutations(windows):
        assert cover(order, [None]) == expected


@pytest.mark.parametrize(
    ("windows", "reason"),
    [
        ([_line(3, 1), _line(3, 2)], "the branches have different strides"),
        ([_line(3, 1, 1, 1, 1), _line(3, 1, 2, 2, 2)], "the branches have different dilations"),
        (
            [_line(3, 1, 2, 2, 2), _line(2, 1, 2, 1, 1)],
            "the branches' taps do not lie on one grid",
        ),
        (
            [_line(3, 2, 1, 0, 1), _line(1, 2)],
            "the branches' results differ in size, or may for some input",
        ),
    ],
)
def test_no_cover(windows, reason):
    with pytest.raises(DeclinedError, match=reason):
        cover(windows, [None])


def test_attributes_there_and_back():
    attrs = {
        "dilations": [1, 2],
        "kernel_shape": [3, 5],
        "pads": [1, 2, 3, 4],
        "strides": [2, 1],
    }
    window = Window.of(attrs)
    assert (window.begins, window.ends) == ((1, 2), (3, 4))
    assert window.attrs == attrs
    assert window.is_padded
    assert not Window.point(3).is_padded
    assert Window.point(3).kernel == (1, 1, 1)


def test_the_window_of_one_tap_reads_its_own_position():
    for rank in (1, 2, 3):
        one, zero = (1,) * rank, (0,) * rank
        assert Window.point(rank) == Window(one, one, one, zero, zero)


@pytest.mark.parametrize("size", [9, "n", None])
def test_one_window_covers_itself(size):
    for window in (_line(3, 2, 2, 1, 4), _line(1, 2, 1, 0, 0), _line(2, 1, 3, 0, 1)):
        assert cover([window], [size]) == window


@pytest.mark.parametrize(
    ("windows", "reason"),
    [
        ([_line(3, 1), _line(3, 2)], "the branches have different strides"),
        ([_line(2, 1, 1), _line(2, 1, 2)], "the branches have different dilations"),
        ([_line(2, 1, 2), _line(1, 1, 1, -1)], "the branches' taps do not lie on one grid"),
        ([_line(3), _line(1)], "the branches' results differ in size, or may for some input"),
    ],
)
def test_what_no_window_covers(windows, reason):
    with pytest.raises(DeclinedError) as declined:
        cover(windows, ["n"])
    assert str(declined.value) == reason


def test_results_of_one_size_by_its_size_alone():
    windows = [_line(2, 2), _line(1, 2)]  # 4 and 5 outputs of 9, 5 and 5 of 10
    assert cover(windows, [10]).kernel == (2,)
    with pytest.raises(DeclinedError, match="differ in size"):
        cover(windows, [9])
