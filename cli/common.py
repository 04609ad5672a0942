"""Options that every command has, and what they set."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..ir.core.errors import PassError, PlanishError, in_words
from .places import require_apart
from .show.console import set_verbosity
from .supervise import doing

QuietOption = Annotated[
    bool, typer.Option("-q", "--quiet", help="Print warnings, errors and --json only.")
]
VerboseOption = Annotated[
    bool, typer.Option("-v", "--verbose", help="Show more, and the traceback of an error.")
]
PluginOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin", help="A Python file that registers passes or backends; repeat for several."
    ),
]
_COMMON: dict[str, tuple[Any, Any]] = {
    "plugin": (PluginOption, None),
    "quiet": (QuietOption, False),
    "verbose": (VerboseOption, False),
}


def with_common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return `command` with `--plugin`, `-q` and `-v` behind its own options."""

    @functools.wraps(command)
    def run(
        *arguments: Any, plugin: list[Path] | None, quiet: bool, verbose: bool, **options: Any
    ) -> Any:
        name = command.__name__.replace("_", "-")
        doing(name)
        _require_finite(options)
        require_apart(name, {**options, "plugin": plugin})
        set_verbosity(quiet=quiet, verbose=verbose, as_json=options.get("as_json", False))
        for path in plugin or ():
            load_plugin(path)
        return command(*arguments, **options)

    own = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _COMMON.items()
    ]
    parameters = [*own.parameters.values(), *added]
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _require_finite(options: Mapping[str, Any]) -> None:
    """Raise PlanishError for a number that is none or has no end: no bound of Typer's stops NaN."""
    for name, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            option = f"--{name.replace('_', '-')}"
            raise PlanishError(f"{option} is '{value}'; give a finite number, or leave it out")


def load_plugin(path: Path) -> None:
    """Run a Python file, once, so that what it registers is there.

    Raises PlanishError with the line where it fails. The file may import its neighbours.
    """
    name = f"planish_plugin_{path.stem}"
    if getattr(sys.modules.get(name), "__file__", None) == str(path.resolve()):
        return
    if path.suffix != ".py" or not path.is_file():
        raise PlanishError(f"--plugin '{path}' is no Python file; give one that ends in .py")
    specification = importlib.util.spec_from_file_location(name, path.resolve())
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    sys.path.append(str(path.resolve().parent))
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # anybody's code
        del sys.modules[name]
        where = f"--plugin '{path}' fails{_line(error, path)}"
        raise PassError(f"{where}: {in_words(error)}") from error


def _line(error: BaseException, path: Path) -> str:
    """Say at which line of the file it was; of a SyntaxError that is in its words."""
    lines, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path.resolve()):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f" in line {lines[-1]}" if lines else ""
