"""What commands share that write a report: where it goes, how it is made, what is said of it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import __version__
from ..ir.core.atomic import require_writable
from ..ir.core.errors import PlanishError
from ..ir.core.scaled import scaled
from .show.console import err
from .show.progress import progress_bar

if TYPE_CHECKING:  # most commands that may write a report write none
    from ..tools.report.document import ReportDocument
    from ..tools.report.figures import Measuring

ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report", help="Write a page that shows it all; where called .json, its document alone."
    ),
]


def require_report(path: Path | None, models: int, most: int = 1) -> None:
    """Raise, before any work, where no report can be written to `path` of so many models.

    PlanishError or SaveError, and ModuleNotFoundError where the template library is missing.
    """
    if path is None:
        return
    if models > most:
        some = "one model" if most == 1 else f"{most} models at most"
        raise PlanishError(f"--report is of {some}, and {models} were given; run them one by one")
    require_writable(path)
    if path.suffix != ".json":
        importlib.import_module("jinja2")


def how_made() -> dict[str, Any]:
    """Return what a report says of how it was made: by this command."""
    from ..tools.report.made import made_by

    return made_by(__version__)


@contextmanager
def measuring(options: Measuring) -> Iterator[Measuring]:
    """Show a progress bar while a report is measured; yields `options` with its progress."""
    with progress_bar(err, "report") as update:
        yield replace(options, progress=update)


def write_told(report: ReportDocument, path: Path, tell: Callable[[str], None]) -> None:
    """Write a report and say how large it is, and what it does not know."""
    from ..tools.report.write import write_report

    size = write_report(report, path)
    for line in report.unknown:
        tell(f"not in the report: {line}")
    tell(f"{path}: {scaled(size, 'B')}")
