"""Models that commands read and write: files, several of them, and the standard streams as `-`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import onnx_graphsurgeon as gs

from ..ir.core.atomic import require_writable
from ..ir.core.errors import PlanishError, SaveError
from ..ir.files.data_file import bytes_on_disk
from ..ir.files.load import load as load_model
from ..ir.files.save import save, to_model
from .show.console import give_standard_output_away
from .supervise import while_doing

_STREAM = Path("-")


def load(path: Path) -> gs.Graph:
    """Read a model from a file, or from standard input where `path` is `-`; see `planish.load`."""
    with while_doing(f"load '{path}'"):
        return load_model(path) if path != _STREAM else _from_standard_input()


def _from_standard_input() -> gs.Graph:
    if sys.stdin.isatty():
        raise PlanishError("'-' reads the model from standard input, which is a terminal; pipe one")
    return load_model(sys.stdin.buffer.read())


def write(graph: gs.Graph, path: Path, *, portable: bool) -> None:
    """Write a model to a file, or to standard output where `path` is `-`; see `planish.save`."""
    if path != _STREAM:
        return save(graph, path, portable=portable)
    model = to_model(graph, portable=portable)
    sys.stdout.buffer.write(model.SerializeToString(deterministic=True))
    sys.stdout.buffer.flush()
    return None


def size_on_disk(path: Path | None) -> int | None:
    """Return the bytes of a model's file and its weights; None of no file and of streams."""
    return None if path is None or path == _STREAM else bytes_on_disk(path)


def pairs(
    models: Sequence[Path], output: Path | None, *, streams: bool = True
) -> list[tuple[Path, Path | None]]:
    """Return each model to read with where it is to be written, None for nowhere.

    Two models without `output` are one and where to write it, as `cp` has it; several with a folder
    go there under their own names. `streams`: whether `-` may be written to. Raises SaveError where
    that cannot be written.
    """
    if output is None and len(models) == 2:
        found: list[tuple[Path, Path | None]] = [(models[0], models[1])]
    elif len(models) > 1:
        found = _into(models, output)
    else:
        found = [(models[0], output)]
    for _, path in found:
        if path == _STREAM and not streams:
            raise SaveError("what a backend loads is a file; give its name to -o, not '-'")
        if path == _STREAM:
            _take_standard_output()
        elif path is not None:
            require_writable(path)
    return found


def _into(models: Sequence[Path], folder: Path | None) -> list[tuple[Path, Path | None]]:
    if folder is None or folder == _STREAM or folder.is_file():
        given = "no -o" if folder is None else f"-o '{folder}'"
        raise SaveError(f"{len(models)} models with {given}; give a folder for them, -o FOLDER")
    names = [path.name for path in models]
    for path in models:
        if path == _STREAM or names.count(path.name) > 1:
            raise SaveError(f"'{path}' has no name of its own in '{folder}'; run it alone")
    folder.mkdir(exist_ok=True)
    return [(path, folder / path.name) for path in models]


def _take_standard_output() -> None:
    """Have what is shown go to standard error: a model goes to standard output."""
    if os.isatty(sys.stdout.fileno()):
        raise SaveError("'-o -' writes the model to standard output, a terminal; redirect it")
    give_standard_output_away()
