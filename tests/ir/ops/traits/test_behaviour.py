"""Every trait of every operator, shown on a runtime: ONNX Runtime, or the reference where it lacks.

For each operator of the table a node is made in every version and form (`cases`); each trait that
the table states of it has a check in one of the modules beside. A false entry fails that check.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterable
from dataclasses import fields

import numpy as np
import pytest

from planish.ir.ops.traits import Traits
from planish.ir.ops.traits.lookup import _TABLE
from planish.ir.ops.traits.recognized import RECOGNIZED

_CHECKS = "families", "integers", "shapes", "special_values", "values"
pytest.register_assert_rewrite(*(f"tests.ir.ops.traits.{name}" for name in _CHECKS))

from tests.ir.ops.traits import families, integers, shapes, special_values, values  # noqa: E402
from tests.ir.ops.traits.cases import Case, NoRuntimeError, cases_of, cases_of_function  # noqa: E402
from tests.ir.ops.traits.samples import RNG  # noqa: E402

_STATED = {
    "pure": families.pure,
    "windowed": families.windowed,
    "elementwise": families.elementwise,
    "comparison": families.comparison,
    "logical": families.logical,
    "movement": families.movement,
    "fills": families.fills,
    "reduction": families.reduction,
    "arg_reduction": families.arg_reduction,
    "pooling": families.pooling,
    "weighted": families.weighted,
    "layer": families.layer,
    "normalization": families.normalization,
    "softmax": families.softmax,
    "cumulative": families.cumulative,
    "resampling": families.resampling,
    "recurrent": families.recurrent,
    "quantizer": families.quantizer,
    "constant": families.constant,
    "random": families.random,
    "trains": families.trains,
    "commutative": values.commutative,
    "monotone": values.monotone,
    "homogeneous": values.homogeneous,
    "keeps_nonnegative": values.keeps_nonnegative,
    "keeps_nonpositive": values.keeps_nonpositive,
    "low": values.in_range,
    "high": values.in_range,
    "exact": values.exact,
    "rounds_once": values.rounds_once,
    "continuous": values.continuous,
    "loses_tails": values.loses_tails,
    "integral": values.integral,
    "gives_back": values.gives_back,
    "keeps_single": values.keeps_single,
    "keeps_uniform": values.keeps_uniform,
    "idempotent": values.idempotent,
    "involution": values.involution,
    "neutral": special_values.neutral,
    "zero": special_values.zero,
    "negative_zero": special_values.negative_zero,
    "nan": special_values.nan,
    "ends": special_values.ends,
    "of_nothing": special_values.of_nothing,
    "integers": integers.integers,
    "keeps_shape": shapes.keeps_shape,
    "keeps_batch": shapes.keeps_batch,
}


# What the other checks ask for, or `test_lookup`.
_USED = {"op", "since", "bodies", "operands", "moved_outputs", "data"}


_NOTHING_SAID = Traits()


def test_every_trait_has_a_check():
    assert {field.name for field in fields(Traits)} == _STATED.keys() | _USED


def check(case: Case) -> list[str]:
    """Check every trait that the table states of a case; return their names."""
    traits = case.traits
    checked = []
    seed = zlib.crc32(str(case).encode())
    RNG.bit_generator.state = np.random.default_rng(seed).bit_generator.state
    for name, function in _STATED.items():
        if getattr(traits, name) != getattr(_NOTHING_SAID, name):
            try:
                function(case, traits)
            except NoRuntimeError:
                raise
            except Exception as error:
                raise AssertionError(f"{case}: {name}: {error!r}"[:2000]) from error
            checked.append(name)
    return checked


# Versions before opset 7 run where ONNX Runtime still does; later ones must, but for these.
_OLD = set(range(1, 7))


_NOWHERE = {"GlobalLpPool": {22}, "Multinomial": {22}, "Scatter": {11}, "Upsample": {10}}


@pytest.mark.parametrize("op", sorted(_TABLE))
def test_operators(op):
    _check_all(cases_of(op), _OLD | _NOWHERE.get(op, set()))


@pytest.mark.parametrize("name", sorted(set(RECOGNIZED) - {"LayerNormalization"}))
def test_functions_of_the_domain_planish(name):
    _check_all(cases_of_function(name), set())


def _check_all(cases: Iterable[Case], may_miss: set[int]) -> None:
    ran = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in cases:
            try:
                case.run()
            except NoRuntimeError:
                assert case.opset in may_miss, case
                continue
            check(case)
            ran += 1
    assert ran
