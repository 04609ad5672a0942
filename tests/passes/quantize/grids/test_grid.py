"""The numbers of quantization, against ONNX's own operators and against their definition."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from planish.passes.quantize.grids.formats import INT8, UINT8, WEIGHT8, IntegerFormat
from planish.passes.quantize.grids.grid import grid_of_range, grid_of_weights, lattice_steps

from tests.effort import examples

FORMATS = [IntegerFormat(bits, signed) for bits in (2, 3, 4, 8, 16) for signed in (True, False)]
BOUND = st.floats(-1e6, 1e6, width=32).filter(lambda x: x == 0 or abs(x) > 1e-20)
SETTINGS = settings(max_examples=examples(200))
RNG = np.random.default_rng(11)


def _inside(grid, count=257):
    """Return values over the range that the integers of `grid` span."""
    ends = np.array([grid.format.qmin, grid.format.qmax], np.float64)
    low, high = (ends - float(grid.zero_point)) * float(grid.scale)
    return np.linspace(low, high, count)


@given(low=BOUND, high=BOUND, form=st.sampled_from(FORMATS), symmetric=st.booleans())
@SETTINGS
def test_the_error_inside_the_range_is_at_most_half_a_step(low, high, form, symmetric):
    grid = grid_of_range(min(low, high), max(low, high), form, symmetric=symmetric)
    x = _inside(grid)
    step = float(grid.scale)
    # Half a step, and the rounding of the float32 result.
    most = step / 2 + np.abs(x) * 2.0**-23
    assert np.all(np.abs(x - grid.round(x).astype(np.float64)) <= most)


@given(low=BOUND, high=BOUND, form=st.sampled_from(FORMATS), symmetric=st.booleans())
@SETTINGS
def test_quantization_is_monotone_idempotent_and_keeps_zero(low, high, form, symmetric):
    grid = grid_of_range(min(low, high), max(low, high), form, symmetric=symmetric)
    x = np.sort(np.concatenate([_inside(grid) * 1.5, [0.0]]))
    q = grid.quantize(x).astype(np.int64)
    assert np.all(np.diff(q) >= 0)
    assert q.min() >= form.qmin
    assert q.max() <= form.qmax
    rounded = grid.round(x)
    np.testing.assert_array_equal(grid.quantize(rounded), grid.quantize(x))
    np.testing.assert_array_equal(grid.round(rounded), rounded)
    assert grid.round(np.zeros(1)) == 0


@given(low=BOUND, high=BOUND, form=st.sampled_from(FORMATS))
@SETTINGS
def test_the_range_lies_inside_the_integers(low, high, form):
    low, high = min(low, high, 0), max(low, high, 0)
    grid = grid_of_range(low, high, form)
    ends = (np.array([form.qmin, form.qmax]) - float(grid.zero_point)) * float(grid.scale)
    # The zero point is rounded, which moves the ends by at most half a step.
    room = 0.5001 * float(grid.scale)
    assert ends[0] - room <= low
    assert high <= ends[1] + room
    assert ends[1] - ends[0] == pytest.approx(high - low, rel=1e-6) or high == low == 0


@pytest.mark.parametrize("form", [UINT8, INT8])
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-6, 1e6))
@settings(SETTINGS, max_examples=examples(40))
def test_integers_are_those_of_quantize_linear(form, seed, scale):
    generator = np.random.default_rng(seed)
    grid = grid_of_range(*(np.array([-0.7, 1.1]) * scale), form)
    # Ties too: halves of a step, which round to even.
    halves = (np.arange(-300, 300) / 2) * grid.scale
    x = np.concatenate([generator.standard_normal(300) * scale, halves]).astype(np.float32)
    kind = onnx.TensorProto.UINT8 if form is UINT8 else onnx.TensorProto.INT8
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[N] x, float s, '
        f"{'uint8' if form is UINT8 else 'int8'} z) => ({'uint8' if form is UINT8 else 'int8'}[N] q"
        ", float[N] y) { q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }"
    )
    assert model.graph.output[0].type.tensor_type.elem_type == kind
    zero = grid.zero_point.astype(form.dtype)
    q, y = ReferenceEvaluator(model).run(None, {"x": x, "s": grid.scale, "z": zero})
    # In float32 the quotient is rounded before it is rounded to an integer.
    near_tie = np.abs(np.abs(x / grid.scale.astype(np.float64) % 1 - 0.5)) < 1e-5
    exact_tie = (x.astype(np.float64) / float(grid.scale)) * 2 % 1 == 0
    judged = ~near_tie | exact_tie
    np.testing.assert_array_equal(grid.quantize(x)[judged], q[judged])
    np.testing.assert_array_equal(grid.dequantize(q), y)


def test_the_formula_by_hand():
    grid = grid_of_range(-1.0, 3.0, UINT8)
    assert grid.scale == np.float32(4 / 255)
    assert grid.zero_point == 64  # round(0 + 255 / 4) = round(63.75)
    assert grid.quantize(np.array([-1.0, 0.0, 3.0, 9.0, -9.0])).tolist() == [0, 64, 255, 255, 0]
    symmetric = grid_of_range(-1.0, 3.0, INT8, symmetric=True)
    assert (symmetric.scale, symmetric.zero_point) == (np.float32(3 / 127), 0)
    middle = grid_of_range(-1.0, 3.0, UINT8, symmetric=True)
    assert (middle.scale, middle.zero_point) == (np.float32(3 / 127), 128)


@pytest.mark.parametrize(("low", "high"), [(0.5, 2.0), (-2.0, -0.5)])
def test_a_range_without_zero_is_widened_to_it(low, high):
    grid = grid_of_range(low, high, UINT8)
    assert grid.scale == np.float32(2 / 255)
    assert grid.zero_point == (0 if low > 0 else 255)


def test_a_range_of_nothing_has_a_scale():
    for symmetric in (False, True):
        grid = grid_of_range(0.0, 0.0, INT8, symmetric=symmetric)
        assert grid.scale == 1
        assert grid.round(np.zeros(3)).tolist() == [0, 0, 0]


def test_no_value_becomes_the_zero_point():
    grid = grid_of_range(-1.0, 3.0, UINT8)
    assert grid.quantize(np.array([np.nan, np.inf, -np.inf])).tolist() == [64, 255, 0]


@pytest.mark.parametrize("axis", [0, 1, None])
def test_weights_have_one_scale_a_channel(axis):
    weights = RNG.standard_normal((4, 6, 3, 3)).astype(np.float32)
    grid = grid_of_weights(weights, WEIGHT8, axis)
    over = tuple(i for i in range(4) if i != axis) if axis is not None else None
    expected = np.abs(weights).max(axis=over) / 127
    np.testing.assert_allclose(grid.scale, expected, rtol=1e-6)
    assert not grid.zero_point.any()
    assert np.abs(grid.quantize(weights).astype(int)).max() == 127


def test_unsigned_weights_have_their_zero_in_the_middle():
    weights = RNG.standard_normal((4, 20)).astype(np.float32)
    grid = grid_of_weights(weights, UINT8, 0)
    assert set(grid.zero_point.tolist()) == {128}
    signed = grid_of_weights(weights, WEIGHT8, 0)
    np.testing.assert_array_equal(grid.round(weights), signed.round(weights))


def test_a_channel_without_range_stays_zero_at_the_least_scale():
    weights = np.zeros((3, 5), np.float32)
    weights[1:] = [[0.25], [4.0]]
    grid = grid_of_weights(weights, WEIGHT8, 0)
    assert grid.scale[0] == grid.scale[1] < grid.scale[2]
    assert (grid_of_weights(np.zeros((2, 5)), WEIGHT8, 0).scale == 1).all()
    np.testing.assert_array_equal(grid.round(weights), weights)


@pytest.mark.parametrize("bits", [3, 4, 7, 8])
@given(seed=st.integers(0, 2**32 - 1), exponent=st.integers(-20, 20))
@settings(SETTINGS, max_examples=examples(50))
def test_weights_on_a_grid_keep_it(bits, seed, exponent):
    generator = np.random.default_rng(seed)
    form = IntegerFormat(bits, True, narrow=True)
    most = form.qmax
    integers = generator.integers(-most, most + 1, (6, 9))
    integers[:, 0] = generator.integers(most // 2 + 1, most + 1, 6)  # not always the largest
    scale = generator.uniform(1, 2, (6, 1)).astype(np.float32) * np.float32(2.0**exponent)
    weights = (integers * scale).astype(np.float32)
    found = grid_of_weights(weights, form, 0)
    np.testing.assert_allclose(found.round(weights), weights, rtol=3e-7)


def test_ordinary_weights_lie_on_no_grid():
    rows = RNG.standard_normal((2000, 9)).astype(np.float32)
    assert np.isnan(lattice_steps(rows, 127)).all()


def test_the_step_of_a_grid_is_found():
    row = np.array([[0, 3, -100, 64, 7]]) * np.float32(0.01)
    assert lattice_steps(row, 127)[0] == pytest.approx(0.01, rel=1e-6)
    assert np.isnan(lattice_steps(np.array([[0.0, 5.0, 0.0]]), 127)[0])


@pytest.mark.parametrize("form", FORMATS)
def test_formats_have_the_integers_of_their_bits(form):
    assert form.qmax - form.qmin == 2**form.bits - 1
    assert (form.qmin < 0) == form.signed
    assert str(form) == f"{'' if form.signed else 'u'}int{form.bits}"
    stored = np.array([form.qmin, form.qmax]).astype(form.dtype)
    assert stored.astype(int).tolist() == [form.qmin, form.qmax]
