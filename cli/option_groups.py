"""Options that several commands take together: one parameter of a command, several of its line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

Command = Callable[..., Any]


def takes_group(parameter: str, build: Callable[..., Any]) -> Callable[[Command], Command]:
    """Return a decorator that puts the options `build` takes in place of a command's `parameter`.

    They are its own parameters, annotated as Typer reads options; the command gets what it returns.
    """

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True)
        options = inspect.signature(build, eval_str=True).parameters.values()
        names = [option.name for option in options]

        @functools.wraps(command)
        def run(*arguments: Any, **found: Any) -> Any:
            written = {name: found.pop(name) for name in names if name in found}
            return command(*arguments, **{parameter: build(**written)}, **found)

        parameters: list[inspect.Parameter] = []
        for each in own.parameters.values():
            parameters.extend(options if each.name == parameter else [each])
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [each.replace(kind=kind) for each in parameters]
        run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate
