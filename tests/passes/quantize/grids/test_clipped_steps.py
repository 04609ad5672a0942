"""Steps that cut off what meets little signal, against every step tried one by one."""

import numpy as np
import pytest

from planish.passes.quantize.grids.clipped_steps import clipped_steps, is_peaked


def error(row, step, power, qmax):
    whole = np.clip(np.rint(row / step), -qmax, qmax)
    return float((power * (row - step * whole) ** 2).sum())


def peaked_rows(seed, silent):
    """Rows of which one weight is a hundred times the others; its input has the power `silent`."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(6, 200))
    rows[:, 7] = 100 * generator.choice([-1, 1], 6)
    power = generator.uniform(0.5, 2, 200)
    power[7] = silent
    return rows, power


@pytest.mark.parametrize("qmax", [127, 63, 7])
@pytest.mark.parametrize("silent", [0.0, 1e-6, 1.0])
def test_the_step_of_least_error_where_much_is_gained(silent, qmax):
    rows, power = peaked_rows(0, silent)
    found = clipped_steps(rows, power, qmax)
    for row, step in zip(rows, found, strict=True):
        widest = np.abs(row).max() / qmax
        tried = [widest * 2 ** (-i / 4) for i in range(41)]
        errors = [error(row, each, power, qmax) for each in tried]
        if min(errors) < 0.7 * errors[0]:
            assert step == pytest.approx(tried[int(np.argmin(errors))], rel=1e-12)
        else:
            assert np.isnan(step)


def test_a_loud_channel_keeps_its_weight():
    assert np.isnan(clipped_steps(*peaked_rows(0, 1.0), 127)).all()
    assert not np.isnan(clipped_steps(*peaked_rows(0, 0.0), 127)).any()


def test_even_rows_are_not_looked_at():
    rows = np.random.default_rng(0).normal(size=(5, 300))
    assert not is_peaked(rows, 127).any()
    assert np.isnan(clipped_steps(rows, np.zeros(300), 127)).all()
    assert not is_peaked(np.zeros((2, 3)), 127).any()
