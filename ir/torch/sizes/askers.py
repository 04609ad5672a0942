"""Who asked torch.export whether a condition on sizes holds, and whether the graph hangs on it.

While a module is exported, its sizes are symbols. `if h > 64` and `range(h // 8)` have to be
answered all the same: torch.export answers as the example would, and notes the condition. Most of
these answers choose nothing: how a tensor may lie in memory, what PyTorch itself refuses to run.
Those of Python code choose what is computed.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

# Within PyTorch: what works out types, sizes and orders in memory, which the graph does not keep.
_METADATA = (
    "_subclasses/",
    "_meta_registrations.py",
    "_prims_common/",
    "_prims/",
    "_refs/",
    "_library/",
    "fx/",
)
# Where operators of C++ are called. They compare sizes to choose an implementation of the same.
_KERNELS = ("_ops.py", "_export/non_strict_utils.py", "_dynamo/utils.py")
_MOST_DEGENERATE = 1


@dataclass(frozen=True)
class Asker:
    """A line of Python that asked. `within`: the file's path in PyTorch, None outside of it."""

    file: str
    line: int
    function: str
    within: str | None

    @classmethod
    def of(cls, frame: Any, torch: Any) -> Asker:
        """Return the line of a `traceback.FrameSummary`."""
        root = Path(torch.__file__).parent
        file = Path(frame.filename)
        within = file.relative_to(root).as_posix() if file.is_relative_to(root) else None
        return cls(frame.filename, frame.lineno, frame.name, within)

    def __str__(self) -> str:
        """Return where it is, and what stands there."""
        if self.within is not None:
            return f"in PyTorch's {self.function}, {self.within}:{self.line}"
        text = linecache.getline(self.file, self.line).strip()
        return f"{self.file}:{self.line}" + (f": {text}" if text else "")


def chooses(condition: Any, asker: Asker | None) -> bool:
    """Say whether what is computed hangs on `condition`, of sympy, that `asker` asked for."""
    if asker is None:
        return True
    if asker.within is not None:
        if asker.within.startswith(_METADATA):
            return False
        if not _has_remainder(condition):
            if _is_degenerate(condition):
                return False
            if asker.within in _KERNELS and not _has_equation(condition):
                return False
    return not _only_refuses(asker)


def _is_degenerate(condition: Any) -> bool:
    """Say whether `condition` fails for a tensor that is empty or has one element along an axis.

    PyTorch asks for it everywhere, as order in memory and broadcasting are others there; ONNX
    operators are defined on both.
    """
    if condition.is_Relational:
        side, limit, relation = condition.lhs, condition.rhs, condition.rel_op
        if side.is_number:
            side, limit = limit, side
            relation = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(relation, relation)
        if not limit.is_number:
            return False
        most = {"!=": _MOST_DEGENERATE, ">": _MOST_DEGENERATE, ">=": _MOST_DEGENERATE + 1}
        return relation in most and bool(limit <= most[relation])
    return bool(condition.args) and all(map(_is_degenerate, condition.args))


def _has_equation(condition: Any) -> bool:
    if condition.is_Relational:
        return bool(condition.rel_op == "==")
    return any(map(_has_equation, condition.args))


def _has_remainder(condition: Any) -> bool:
    """Say whether a remainder is part of `condition`; it is 0 and 1 for sizes of any length."""
    return "Mod" in type(condition).__name__ or any(map(_has_remainder, condition.args))


def _only_refuses(asker: Asker) -> bool:
    """Say whether the line is a check: PyTorch raises an error where the answer is another one."""
    return any(
        isinstance(statement, ast.Assert)
        or (isinstance(statement, ast.If) and isinstance(statement.body[-1], ast.Raise))
        or (isinstance(statement, ast.Expr) and _is_assertion(statement.value))
        for statement in _statements(asker.file)
        if _asks_at(statement, asker.line)
    )


def _is_assertion(value: ast.expr) -> bool:
    if not isinstance(value, ast.Call):
        return False
    called = value.func
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    return name.lstrip("_").startswith(("assert", "check"))


def _asks_at(statement: ast.stmt, line: int) -> bool:
    asked = statement.test if isinstance(statement, ast.If) else statement
    return asked.lineno <= line <= (asked.end_lineno or asked.lineno)


@lru_cache(maxsize=64)
def _statements(file: str) -> tuple[ast.stmt, ...]:
    """Return all statements of a file of Python; none where its source is not there."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return ()
    return tuple(_those_that_ask(tree))


def _those_that_ask(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert | ast.If | ast.Expr):
            yield node
