"""The scripts that passes come from, for reproducers of what fails in them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path

from ..engine.contract import Pass
from .builtin import is_builtin
from .from_function import source_of
from .registry import is_installed


def scripts_of(kinds: Iterable[type[Pass]]) -> list[Path] | None:
    """Return the files that register those of `kinds` which a name alone does not find.

    None where one has no file, such as a pass of a notebook.
    """
    found = []
    for kind in kinds:
        if is_builtin(kind) or is_installed(kind):
            continue
        script = _script_of(kind)
        if script is None:
            return None
        found.append(script)
    return list(dict.fromkeys(found))


def _script_of(kind: type[Pass]) -> Path | None:
    try:
        file = inspect.getsourcefile(source_of(kind))
    except TypeError:  # of a class without a module
        return None
    return Path(file).resolve() if file and Path(file).is_file() else None
