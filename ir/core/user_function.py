"""A function of the user's own, named by its file: `FILE.py:function`."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import RefusedError, in_words

_SEPARATOR = ".py:"


def names_function(text: str) -> bool:
    """Say whether `text` names a function of a file, `file.py:function`."""
    return _SEPARATOR in text


def load_function(text: str, what: str) -> Callable[..., Any]:
    """Return the function that `file.py:function` names; messages call it `what`.

    Raises RefusedError where there is no such file or function, or the file cannot be run.
    """
    name, _, function = text.rpartition(":")
    path = Path(name)
    if not path.is_file():
        raise RefusedError(f"{what} is '{text}', but there is no file '{name}'")
    spec = importlib.util.spec_from_file_location(_module_name(path), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # anybody's code
        raise RefusedError(f"{what} '{name}' cannot be read: {in_words(error)}") from error
    found = getattr(module, function, None)
    if not callable(found):
        there = [n for n in vars(module) if callable(getattr(module, n)) and n[0] != "_"]
        raise RefusedError(
            f"{what} is '{text}', but '{name}' has no function '{function}'; it has "
            f"{', '.join(sorted(there)) or 'none'}"
        )
    made: Callable[..., Any] = found
    return made


def _module_name(path: Path) -> str:
    return f"planish_user_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
