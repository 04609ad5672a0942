"""Numbers on the command line: NaN, infinities and what is out of bounds are refused everywhere."""

from __future__ import annotations

import inspect
import math
import typing

import pytest
from typer.models import OptionInfo

from planish.cli.main import COMMANDS, function_of
from planish.ir.core.errors import PlanishError
from planish.ir.core.quantities import read_bytes, read_factor, read_seconds
from planish.ir.core.share import share

from tests.cli.common import assert_refused

_OF_EITHER_SIGN = {"class_axis"}


def numbers(kind):
    """Yield command, name and Typer's option of every option that is a number of this kind."""
    for command in COMMANDS:
        for each in inspect.signature(function_of(command)).parameters.values():
            option = next(iter(getattr(each.annotation, "__metadata__", ())), None)
            taken = typing.get_args(typing.get_args(each.annotation)[0] or ()) if option else ()
            taken = taken or typing.get_args(each.annotation)[:1]
            if isinstance(option, OptionInfo) and kind in taken:
                yield command, each.name, option


def test_every_number_has_a_least_one():
    found = [*numbers(float), *numbers(int)]
    assert {"reduce", "doctor", "compare", "inspect", "bench"} <= {name for name, *_ in found}
    free = [(c, n) for c, n, option in found if option.min is None and n not in _OF_EITHER_SIGN]
    assert free == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_float_is_nan_or_without_end(value):
    for command, name, _ in numbers(float):
        with pytest.raises(PlanishError, match=f"--{name.replace('_', '-')} is '{value}'; give a"):
            function_of(command)(plugin=None, quiet=False, verbose=False, **{name: value})


@pytest.mark.parametrize("text", ["nan", "inf", "-1"])
def test_they_are_refused_on_a_command_line(call, model, text):
    code, shown, err = call("compare", model, model, f"--tolerance={text}")
    assert (code, shown) == (2, "")
    assert "--tolerance" in err


@pytest.mark.parametrize("read", [read_factor, read_bytes, read_seconds, share])
def test_texts_are_finite_too(read):
    for text in ("nan", "inf", "1e999"):
        with pytest.raises(PlanishError, match=f"--x is '{text}'; give"):
            read(text, "--x")


def test_pixels_are_finite(call, model, tmp_path):
    assert_refused(call("compare", model, model, "--feeds", tmp_path, "--pixels", "0..nan"), "nan")


def test_no_option_of_a_pass_is_nan(call, model):
    assert_refused(call("optimize", model, "-p", "fold-constants{growth=nan}"), "takes a number")


def test_more_threads_than_any_runtime_takes(call, model):
    assert_refused(call("bench", model, "--threads", 10**20), "threads is 100000000000000000000")
