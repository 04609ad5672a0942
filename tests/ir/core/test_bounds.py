"""Options of passes that are out of their bounds are refused before anything runs."""

import math

import pytest

from planish import Pipeline
from planish.ir.core.bounds import require_within
from planish.ir.core.errors import PlanishError, RefusedError


@pytest.mark.parametrize(
    ("bounds", "wanted"),
    [
        ((2, 8), "a number from 2 to 8"),
        ((9,), "a number of 9 or more"),
        ((-math.inf,), "a finite number"),
    ],
)
def test_what_is_wanted_is_said(bounds, wanted):
    for value in (math.nan, math.inf, -math.inf):
        with pytest.raises(RefusedError, match=f"bits is {value}; give {wanted}"):
            require_within("bits", value, *bounds)


def test_bounds_are_within():
    for value in (2, 8):
        require_within("bits", value, 2, 8)
    for value in (1, 9):
        with pytest.raises(RefusedError):
            require_within("bits", value, 2, 8)


@pytest.mark.parametrize(
    "text",
    [
        "align-channels{multiple=0}",
        "align-depthwise{multiple=-4}",
        "correct-bias{input-variance=-1}",
        "correct-bias{input-mean=inf}",
        "embed-preprocessing{mean=inf}",
        "embed-preprocessing{std=[1,inf,1]}",
        "embed-preprocessing{divide-by=inf}",
        "equalize-ranges{headroom=-1}",
        "equalize-ranges{weight-bits=1}",
        "equalize-ranges{activation-bits=-1}",
    ],
)
def test_a_pass_says_it_while_it_is_read(text):
    option = text.partition("{")[2].partition("=")[0]
    with pytest.raises(PlanishError, match=f"{option} is "):
        Pipeline.parse(text)
