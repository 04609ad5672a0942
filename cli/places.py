"""Files that a command writes: none is read by the same command, and no two are one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..ir.core.errors import SaveError
from ..ir.core.user_function import names_function

_WRITTEN = frozenset({"output", "out_file", "report", "html", "model_explorer"})
# A person may say that a model is to be replaced by what is made of it.
_IN_PLACE = {"output", "models"}
_STREAM = Path("-")
# Parameters that are no options on the line.
_ARGUMENTS = frozenset({"model", "models", "a", "b", "source"})


def _script(output: Path) -> Path:
    return output.with_suffix(".py")


# What some commands write beside their output.
_BESIDE: Mapping[str, tuple[Callable[[Path], Path], str]] = {
    "reduce": (_script, "the script that shows the fault"),
    "doctor": (_script, "the script that shows the fault"),
    "search": (lambda output: output.with_suffix(".search"), "the folder of what was tried"),
    "sweep": (lambda output: output.with_suffix(".sweep"), "the folder of what was measured"),
}


def require_apart(command: str, options: Mapping[str, Any]) -> None:
    """Raise SaveError where a file that `command` writes is one that it reads, or writes twice.

    Else a page would take the place of the model that it is of. Folders and streams may be shared.
    """
    found = [
        (name, _named(name), path) for name, value in options.items() for path in _files(value)
    ]
    output = options.get("output")
    if command in _BESIDE and output is not None and output.name:
        beside, what = _BESIDE[command]
        found.append(("output", what, beside(output)))
    for (a, first, one), (b, second, other) in itertools.combinations(found, 2):
        if _WRITTEN & {a, b} and {a, b} != _IN_PLACE and _is_one(one, other):
            raise SaveError(f"'{other}' would be {first} and {second}; name another file")


def _files(value: Any) -> Iterator[Path]:
    """Yield the files that the value of an option names."""
    for each in value if isinstance(value, list | tuple) else [value]:
        if isinstance(each, Path) and each != _STREAM and not each.is_dir():
            yield each
        elif isinstance(each, str) and names_function(each):
            yield Path(each.rpartition(":")[0])


def _is_one(a: Path, b: Path) -> bool:
    try:
        return a.samefile(b)
    except (OSError, ValueError):
        return a == b


def _named(parameter: str) -> str:
    if parameter in _ARGUMENTS:
        return "the model that is read"
    return {"out_file": "OUT", "original": "--float"}.get(
        parameter, f"--{parameter.replace('_', '-')}"
    )
