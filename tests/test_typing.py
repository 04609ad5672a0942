"""What a type checker of a user sees: decorators leave their item's type, results have theirs."""

from __future__ import annotations

import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from planish.passes.pipeline.registry import register_pass

ROOT = Path(__file__).resolve().parents[1]

USER = """
from __future__ import annotations
from dataclasses import dataclass
from typing import Any
import planish

@planish.register_pass
@dataclass(frozen=True)
class Mine(planish.Pass):
    name = "mine"
    def run(self, graph: Any, context: planish.Context) -> None:
        pass

@planish.register_pass
def plain(graph: Any, prefix: str = "x") -> None:
    pass

@planish.register_pass(exact=True, name="third")
def third(graph: Any) -> None:
    pass

@planish.register_backend
class Own(planish.Backend):
    name = "own"

reveal_type(Mine)
reveal_type(plain)
reveal_type(third)
reveal_type(Own)
reveal_type(planish.optimize("x"))
reveal_type(planish.Pipeline.parse("exact").run("x").verified)
reveal_type(planish.load_compiled("x")({}))
reveal_type(planish.load_compiled("x").inputs[0].shape)
plain(3, prefix=4)
"""
REVEALED = [
    "def () -> user.Mine",
    "def (graph: Any, prefix: str =)",
    "def (graph: Any)",
    "def () -> user.Own",
    "planish.passes.engine.records.Result",
    "bool",
    "dict[str, numpy.ndarray[Any, Any]]",
]


def test_both_forms_of_a_decorator_are_typed():
    alone, called = typing.get_overloads(register_pass)
    assert alone.__annotations__["return"] == alone.__annotations__["item"] == "C"
    assert called.__annotations__["return"] == "Callable[[C], C]"


@pytest.mark.slow
def test_a_type_checker_sees_the_types(tmp_path):
    (tmp_path / "user.py").write_text(USER)
    words = ["-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [sys.executable, *words, "user.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT.parent), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=400,
    )
    own = [line for line in done.stdout.splitlines() if line.startswith("user.py")]
    found = [shown for line in own for shown in re.findall(r'Revealed type is "(.*)"', line)]
    assert found[: len(REVEALED)] == REVEALED
    (error,) = [line for line in own if "error:" in line]
    assert 'argument "prefix" to "plain" has incompatible type "int"' in error.replace("A", "a", 1)
