"""The `planish` command: a thin layer over the public names.

Tables and reports go to standard output, progress and errors to standard error. Exit codes: 0 done,
1 a comparison or search found a difference, 2 refused with one clear message, 3 a verification
failed, 4 planish or a library it uses failed (`supervise` has a message also where native code
ended the process), 130 interrupted.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, NoReturn

import typer
import typer.core
import typer.main

from .. import __version__
from ..ir.core.errors import PlanishError, VerificationError
from ..ir.core.extras import missing_package
from ..ir.core.garbage_collection import paused_gc
from ..ir.core.interrupts import was_interrupted
from .common import with_common_options
from .exit_codes import FAILED, NOBODY_READS, REFUSED, VERIFICATION_FAILED
from .show.console import err, is_verbose, print_plain, set_verbosity, warn
from .show.printable import as_message
from .supervise import INTERRUPTED, keep_report

# Each is the function of that name in the module of that name.
COMMANDS = (
    "optimize",
    "compile",
    "bench",
    "compare",
    "diff",
    "inspect",
    "explain_int8",
    "report",
    "passes",
    "backends",
    "bisect",
    "reduce",
    "doctor",
    "search",
    "check_certificate",
    "sweep",
)


class _EndedTooSoonError(Exception):
    """An EOFError, of which Typer would make `Aborted.`."""


class _NobodyReadsError(Exception):
    """Who read standard output has left, as `head` does."""


class _Imported(Mapping[str, Any]):
    """The commands by name; the module of one is imported when it is asked for."""

    def __init__(self) -> None:
        self._modules = {name.replace("_", "-"): name for name in COMMANDS}

    def __getitem__(self, name: str) -> Any:
        return _command(name, function_of(self._modules[name]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


def function_of(command: str) -> Callable[..., Any]:
    """Return the function behind one of `COMMANDS`, with the options that every command has."""
    with paused_gc():
        found = getattr(importlib.import_module(f".{command}", __package__), command)
    return with_common_options(found)


@functools.cache
def _command(name: str, function: Callable[..., Any]) -> Any:
    alone = typer.Typer(add_completion=False)
    alone.command(name)(function)
    return typer.main.get_command(alone)


class _Commands(typer.core.TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        # Nothing is added to them.
        self.commands = _Imported()  # type: ignore[assignment]

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what Typer has an exit of its own for ends as `main` decides."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError as error:
            raise _NobodyReadsError from error
        except EOFError as error:
            raise _EndedTooSoonError from error
        except Exception as error:
            if was_interrupted(error):
                raise KeyboardInterrupt from error
            raise


app = typer.Typer(
    cls=_Commands,
    help="Make convolutional networks smaller and faster, with proof that they compute the same.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print_plain(f"planish {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=_show_version
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; every refusal is one message, and an exit code that says its kind."""
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    set_verbosity(quiet=False, verbose=False)
    try:
        app(standalone_mode=True)
    except VerificationError as error:
        _refuse(str(error), VERIFICATION_FAILED)
    except PlanishError as error:
        _refuse(str(error))
    except OSError as error:  # what no module could name better, such as a folder for --dump
        where = "" if error.filename is None else f" '{error.filename}'"
        _refuse(f"cannot use{where}: {error.strerror or error}; check the path and its permissions")
    except _NobodyReadsError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(NOBODY_READS)
    except MemoryError as error:
        _refuse(f"out of memory: {error or 'no details'}; use a smaller batch or shape")
    except (KeyboardInterrupt, SystemExit) as error:  # Typer makes a silent exit of Ctrl-C
        if not was_interrupted(error):
            raise
        err.print(INTERRUPTED)
        sys.exit(130)
    except Exception as error:  # a mistake of planish: still one message, and what is needed
        cause = error.__cause__ if isinstance(error, _EndedTooSoonError) else None
        missing = missing_package(cause or error)
        _refuse(missing or _as_a_bug(cause or error), REFUSED if missing else FAILED)


def _as_a_bug(error: BaseException) -> str:
    """Return a message for what no module foresaw, and put the traceback where it can be sent."""
    kept = keep_report("".join(traceback.format_exception(error)))
    what = " ".join(str(error).split()) or "no details"
    return (
        f"{type(error).__name__}: {what}; this is a bug in planish: report it at "
        f"https://github.com/planish/planish/issues with the model{kept and f' and {kept}'}"
    )


def _refuse(message: str, code: int = REFUSED) -> NoReturn:
    if is_verbose():
        err.print(traceback.format_exc(), highlight=False, markup=False, soft_wrap=True)
    text = f"error: {as_message(message)}"
    err.print(text, style="red", highlight=False, markup=False, soft_wrap=True)
    sys.exit(code)


def _show_warning(message: Warning | str, *_: Any) -> None:
    warn(str(message))


if __name__ == "__main__":
    main()
