"""Where the commands write: results to standard output, all else to standard error."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ..exit_codes import NOBODY_READS
from .printable import as_message, harmless


class _Console(Console):
    def print(self, *objects: Any, **options: Any) -> None:
        """Print; what a name holds that a terminal would obey is written out."""
        super().print(*(harmless(o) if isinstance(o, str) else o for o in objects), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render; what stands in tables and progress bars is written out likewise."""
        for segment in super().render(renderable, options):
            plain = segment.control is not None or segment.text.isprintable()
            yield segment if plain else Segment(harmless(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """End: who read it has left. Nothing is written any more, nor told."""
        with contextlib.suppress(SystemExit):
            super().on_broken_pipe()
        sys.exit(NOBODY_READS)


class _Aside(_Console):
    """Standard error: where that takes nothing, what is told is lost, and the command goes on."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, where it can be."""
        try:
            super().print(*objects, **options)
        except OSError:  # as of a full disk; what is left would fail again at the end
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)


# A pipe or file has no width of its own, and names folded at 80 columns cannot be searched.
out = _Console(soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = _Aside(stderr=True)

_verbose = _as_json = False
_held: list[str] = []  # warnings that go into the JSON


def set_verbosity(*, quiet: bool, verbose: bool, as_json: bool = False) -> None:
    """Set whether results are shown at all, whether more of them is, and whether as JSON."""
    global _verbose, _as_json
    out.quiet, out.stderr, _verbose, _as_json = quiet, False, verbose, as_json
    _held.clear()


def _is_json_alone() -> bool:
    """Say whether JSON goes to standard error, which then holds nothing else."""
    return _as_json and out.stderr


def give_standard_output_away() -> None:
    """Show results on standard error for the rest of the command: something else is written."""
    out.stderr = True


def is_verbose() -> bool:
    """Say whether more is to be shown."""
    return _verbose


def print_plain(line: str) -> None:
    """Print a line as it is: names may hold what Rich reads as markup, and ends of lines."""
    out.print(as_message(line), highlight=False, markup=False)


def print_block(text: str) -> None:
    """Print lines of planish's own as they are: documentation, code."""
    out.print(text, highlight=False, markup=False)


def tell(line: str) -> None:
    """Print a line beside results that a program reads: to standard error, unless --quiet."""
    if not out.quiet and not _is_json_alone():
        err.print(as_message(line), highlight=False, markup=False, soft_wrap=True)


def teller(*, as_json: bool) -> Callable[[str], None]:
    """Return what prints a line about what a command was given: beside JSON, or in front."""
    return tell if as_json else print_plain


def warn(text: str) -> None:
    """Print a warning to standard error, in a line of its own, or have the JSON there hold it."""
    if _is_json_alone():
        _held.append(text)
        return
    err.print(
        f"warning: {as_message(text)}",
        style="yellow",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def print_json(value: Any) -> None:
    """Print a value as JSON, as it is; what is not finite becomes the text "inf", "-inf", "nan"."""
    if _is_json_alone() and isinstance(value, dict):
        value = {**value, "warnings": list(_held)}
    out.file.write(json.dumps(_finite(value), indent=2) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
