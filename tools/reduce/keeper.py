"""The best case so far, on disk."""

from __future__ import annotations

import time
from pathlib import Path

from ...ir.core.atomic import replacing
from ...ir.core.errors import SaveError
from .case import Case
from .script import reproducer_of
from .suspects import Suspect

_SECONDS = 5.0


class Keeper:
    """Writes cases to `path`, and to a script of that name that shows the fault.

    Both are whole or as before at any time. `source`: see `reproducer_of`.
    """

    def __init__(self, path: Path, suspect: Suspect, source: str = "") -> None:
        self.path, self.script = path, path.with_suffix(".py")
        self._suspect, self._source = suspect, source
        self._nodes, self._written = -1, 0.0

    def see(self, case: Case, shows: str) -> None:
        """Write a better case, where it has fewer nodes or the last one is some seconds old."""
        now = time.monotonic()
        if case.nodes != self._nodes or now - self._written > _SECONDS:
            self.write(case, shows)
            self._nodes, self._written = case.nodes, now

    def write(self, case: Case, shows: str) -> None:
        """Write `case`. Raises SaveError."""
        text = reproducer_of(case, self._suspect, shows, self.path, self._source)
        try:
            with replacing(self.path) as file:
                file.write(case.model.SerializeToString(deterministic=True))
            with replacing(self.script) as file:
                file.write(text.encode())
        except OSError as error:
            raise SaveError(f"cannot write '{self.path}': {error.strerror or error}") from error
