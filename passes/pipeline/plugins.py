"""Passes that a script registers: loading such a file, and finding it again from the pass."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path

from ...ir.core.errors import PipelineError, in_words
from ..engine.contract import Pass
from .builtin import is_builtin
from .from_function import source_of
from .registry import is_installed


def load_plugin(path: Path) -> None:
    """Run the Python file at `path`, which registers passes or backends; once a process.

    It may import what lies beside it. Raises PipelineError where it cannot be run.
    """
    _load(path.resolve())


@functools.cache
def _load(path: Path) -> None:
    spec = importlib.util.spec_from_file_location(f"planish_plugin_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise PipelineError(f"plugin '{path}' is no Python file; name one that registers passes")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up their annotations
    sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # it is anybody's code
        raise PipelineError(
            f"plugin '{path}' cannot be loaded: {in_words(error)}; what is not for registering "
            "belongs under `if __name__ == '__main__':`"
        ) from error


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
