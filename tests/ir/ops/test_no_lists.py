"""`ir/ops` is the one place that knows operators: no other module lists them.

A list is a set, tuple, list or `|`-pattern of three operators or more, or their names in one text.
Tables from operator to function say how, not what, and are no lists. Each exception stands here,
and says why where it stands.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import planish
from planish.ir.ops.traits import operators_with
from planish.ir.ops.traits.groups import LAYERS
from planish.ir.ops.traits.schemas import operators
from planish.passes.quantize.quantize_weights.linear_weights import WeightedOp

ROOT = Path(planish.__file__).parent
FLOORS = ("ir", "passes", "backends", "tools", "cli")
FEWEST = 3
_LISTS = {ast.Set, ast.Tuple, ast.List, ast.Dict, ast.MatchOr}
# By the name of the file, which may move.
EXCEPTIONS = {
    ("__init__.py", "KEPT"),
    ("emit_elementwise.py", "_LAST"),
    ("emit_elementwise.py", "_MORE"),
    ("emit_moves.py", "_MOVES"),
    ("executed.py", "_CONVERTERS"),
    ("groups.py", "AGNOSTIC"),
    ("lower_batchnorm.py", "_BLOCKED"),
    ("lower_batchnorm.py", "_BLOCKING"),
    ("measured.py", "_PASSED"),
    ("slots.py", "_OF_COORDINATES"),
    ("elementwise.py", "_ROLES"),
    ("__init__.py", "_ASKS_TYPES"),
    ("folder.py", "_BOUNDED"),
    ("__init__.py", "_SUMS"),
    ("imported.py", "_RIGHT"),
    ("adapters.py", "_FIRST_SUFFICES"),
    ("units.py", "ARITHMETIC"),
    ("requantization_barrier.py", "_REQUANTIZED"),
    ("linear_weights.py", "WeightedOp"),
    ("linear_weights.py", "_RETURN"),
    ("clamps.py", "RecognizeClamp"),
    ("sigmoids.py", "RecognizeHardSigmoid"),
    ("maps.py", "_OF_IMAGES"),
    ("measured.py", "_end_of_branch"),
    ("own_converters.py", "_UNARY"),
    ("draw.py", "_FACTORS"),
    ("elementwise.py", "UNARY"),
    ("elementwise.py", "BINARY"),
    ("elementwise.py", "LAYERS"),
    ("shapes.py", "REDUCTIONS"),
}


def lists_in(source: str) -> Iterator[tuple[str, bool]]:
    """Yield the definition that holds a list of operators, and whether a comment stands by it."""
    lines = source.splitlines()
    for statement in ast.parse(source).body:
        owner = _name_of(statement)
        for node in filter(_may_list, ast.walk(statement)):
            if len(_operators_in(node)) >= FEWEST:
                around = lines[statement.lineno - 2 : statement.lineno]
                inside = lines[node.lineno - 2 : node.end_lineno]
                yield owner, any("#" in line for line in (*around, *inside))


def _name_of(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Assign):
        return ast.unparse(statement.targets[0])
    if isinstance(statement, ast.AnnAssign):
        return ast.unparse(statement.target)
    return getattr(statement, "name", "")


def _may_list(node: ast.AST) -> bool:
    """Say whether `_operators_in` knows the kind of `node`, or it is a text: few are."""
    kind = type(node)
    return kind in _LISTS or (kind is ast.Constant and isinstance(node.value, str))


def _operators_in(node: ast.AST) -> list[str]:
    match node:
        case ast.Set(elts=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts):
            found = [p.value for p in parts if isinstance(p, ast.Constant)]
        case ast.Dict(keys=keys, values=values):
            plain = [not _is_function(value) for value in values]
            found = [
                key.value
                for key, given in zip(keys, plain, strict=True)
                if given and isinstance(key, ast.Constant)
            ]
        case ast.MatchOr(patterns=patterns):
            values = [p.value for p in patterns if isinstance(p, ast.MatchValue)]
            found = [value.value for value in values if isinstance(value, ast.Constant)]
        case ast.Constant(value=str(text)) if all(w in operators() for w in text.split()):
            found = text.split()
        case _:
            found = []
    return [name for name in found if name in operators()]


def _is_function(value: ast.expr) -> bool:
    return isinstance(value, ast.Name | ast.Attribute | ast.Lambda | ast.Call)


def _found() -> dict[tuple[str, str], bool]:
    files = (file for floor in FLOORS for file in sorted((ROOT / floor).rglob("*.py")))
    places = {file: str(file.relative_to(ROOT)) for file in files}
    return {
        (file.name, owner): explained
        for file, place in places.items()
        if not place.startswith("ir/ops/")
        for owner, explained in lists_in(file.read_text(encoding="utf-8"))
    }


def test_only_the_table_lists_operators():
    found = _found()
    assert found.keys() - EXCEPTIONS == set(), "ask ir/ops/traits instead"
    assert EXCEPTIONS - found.keys() == set(), "these are no exceptions any more"
    assert [place for place, explained in found.items() if not explained] == []


@pytest.mark.parametrize(
    ("source", "owner"),
    [
        ('_A = frozenset({"Relu", "Elu", "Tanh"})', "_A"),
        ('_A: dict[str, int] = {"Relu": 1, "Elu": 2, "Tanh": 3}', "_A"),
        ('_A = "Relu Elu Tanh".split()', "_A"),
        ('def f(op):\n    return op in ("Relu", "Elu", "Tanh")', "f"),
        ('def f(op):\n    match op:\n        case "Relu" | "Elu" | "Tanh":\n            pass', "f"),
        ('class C:\n    ops = frozenset({"Relu", "Elu", "Tanh"})', "C"),
        ('_A = {**dict.fromkeys(("Relu", "Elu", "Tanh"), f)}', "_A"),
    ],
)
def test_lists_are_found(source, owner):
    assert list(lists_in(source)) == [(owner, False)]
    assert list(lists_in(f"# Why.\n{source}")) == [(owner, True)]


@pytest.mark.parametrize(
    "source",
    [
        '_A = frozenset({"Relu", "Elu"})',
        '_A = {"Relu": relu, "Elu": lambda x: x, "Tanh": partial(f, 1)}',
        '_A = ("relu", "elu", "tanh")',
        '_A = "Relu, Elu and Tanh"',
    ],
)
def test_what_is_no_list(source):
    assert list(lists_in(source)) == []


def test_the_layers_that_an_option_names():
    recurrent = operators_with(lambda traits: traits.recurrent)
    assert set(get_args(WeightedOp)) == LAYERS | recurrent | {"Gather"}
