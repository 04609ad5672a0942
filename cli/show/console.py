"""Where the commands write: results to standard output, all else to standard error."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

# A pipe or file has no width of its own, and names folded at 80 columns cannot be searched.
out = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True)

_verbose = False


def set_verbosity(*, quiet: bool, verbose: bool) -> None:
    """Set whether results are shown at all, and whether more of them is."""
    global _verbose
    out.quiet, _verbose = quiet, verbose


def is_verbose() -> bool:
    """Say whether more is to be shown."""
    return _verbose


def print_plain(line: str) -> None:
    """Print a line as it is: names may hold what Rich reads as markup."""
    out.print(line, highlight=False, markup=False)


def tell(line: str) -> None:
    """Print a line beside results that a program reads: to standard error, unless --quiet."""
    if not out.quiet:
        err.print(line, highlight=False, markup=False, soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning to standard error, in a line of its own."""
    err.print(f"warning: {text}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as JSON, as it is."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
