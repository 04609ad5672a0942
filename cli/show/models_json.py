"""`--json` of a command that takes several models."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .console import print_json


@contextlib.contextmanager
def models_json(*, shown: bool, alone: bool = False) -> Iterator[list[Any]]:
    """Give a list for what each model came to, and print it in the end, where it is `shown`.

    Where a model is refused, those before it are printed: their files are written. `alone`: there
    is one model, and its object is printed by itself.
    """
    found: list[Any] = []
    try:
        yield found
    except Exception:
        if shown and found:
            print_json({"models": found})
        raise
    if shown:
        print_json(found[0] if alone else {"models": found})
