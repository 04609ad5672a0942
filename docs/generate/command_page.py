"""The page of the command line, from the functions behind the commands."""

from __future__ import annotations

import enum
import inspect
import types
import typing
from typing import Any

from typer.models import ArgumentInfo

from planish.cli.main import COMMANDS, function_of

from pages import Page, plain, table

_INTRO = """# The command `planish`

Also `python -m planish`. Tables and reports go to standard output, progress and errors to standard
error. A refusal is one message and leaves no file behind. `planish --version` says which version
this is; `planish --install-completion` makes the shell complete commands, passes and their options.
A model that is called `-` is read from standard input, and written to standard output; what is told
goes to standard error then. `NO_COLOR=1` leaves colours out. [`--json`](json.md) prints what a
program reads, `-q` warnings and errors alone, `-v` more: operators before and after, every layer or
search step, options in listings, the traceback of an error. Options that nothing would read beside
others are refused by name.

| exit code | means |
|---|---|
| 0 | done; the last lines say whether it was verified (`--strict`: 3 where an edit was not) |
| 1 | a comparison or search found a difference |
| 2 | refused, with one message that says what to do: an option, a file, or what the machine lacks |
| 3 | a verification failed: a network differs from what it is to be, or `--strict` cannot tell |
| 4 | a mistake of planish, or native code that ended the process; the message says what to report |
| 130 | interrupted |
| 141 | who read standard output has left, as `head` does |

On Linux a command runs in a process that another waits for, so that there is a message also where
native code ends it, such as a kernel whose division traps: it says at what, with code 4.
`PLANISH_SUPERVISE=0` has one process alone, as some profilers need.

"""
_WORDS = {"Path": "path", "str": "text", "int": "number", "float": "number"}


def page() -> Page:
    """Return the page: a section a command, with its arguments and options."""
    commands = {name.replace("_", "-"): function_of(name) for name in COMMANDS}
    sections = [_section(name, callback) for name, callback in sorted(commands.items())]
    return Page("reference/commands.md", "", _INTRO + "\n\n".join(sections) + "\n")


def _section(name: str, callback: Any) -> str:
    parameters = list(inspect.signature(callback, eval_str=True).parameters.values())
    arguments = [_usage(each) for each in parameters if isinstance(_info(each), ArgumentInfo)]
    usage = " ".join(["planish", name, *arguments, "[OPTIONS]"])
    parts = [f"## {name}", plain(inspect.getdoc(callback) or ""), f"```text\n{usage}\n```"]
    if parameters:
        parts.append(table(["", "takes", "default", "what it is"], map(_row, parameters)))
    return "\n\n".join(parts)


def _info(parameter: inspect.Parameter) -> Any:
    return parameter.annotation.__metadata__[0]


def _usage(parameter: inspect.Parameter) -> str:
    many = typing.get_origin(parameter.annotation.__origin__) is list
    return f"{parameter.name.upper()}..." if many else parameter.name.upper()


def _row(parameter: inspect.Parameter) -> list[str]:
    info = _info(parameter)
    kind = _kind(parameter.annotation.__origin__)
    return [
        ", ".join(f"`{name}`" for name in _spellings(parameter, info, kind)),
        _takes(kind),
        _default(parameter.default),
        plain(info.help or ""),
    ]


def _spellings(parameter: inspect.Parameter, info: Any, kind: type) -> list[str]:
    if isinstance(info, ArgumentInfo):
        return [_usage(parameter)]
    name = parameter.name.replace("_", "-")
    own = [f"--{name}", f"--no-{name}"] if kind is bool else [f"--{name}"]
    # Inside Annotated, what Typer takes for the default is the first spelling.
    given = [text for text in (info.default, *info.param_decls) if str(text).startswith("-")]
    return [word for text in given or own for word in text.split("/")]


def _kind(annotation: Any) -> type:
    """Return the type of one value: what is optional, or a list, is taken for what it holds."""
    while typing.get_origin(annotation) in (list, types.UnionType, typing.Union):
        inner = [each for each in typing.get_args(annotation) if each is not types.NoneType]
        annotation = inner[0]
    return typing.cast(type, annotation)


def _takes(kind: type) -> str:
    if issubclass(kind, enum.Enum):
        return " ".join(f"`{each.value}`" for each in kind)
    return "" if kind is bool else _WORDS.get(kind.__name__, kind.__name__)


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    if value is None or value is False:
        return ""
    return "yes" if value is True else f"`{getattr(value, 'value', value)}`"
