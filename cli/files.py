"""Models that commands read and write: files, several of them, and the standard streams as `-`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_graphsurgeon as gs

from ..ir.core.atomic import require_writable
from ..ir.core.errors import LoadError, PlanishError, SaveError
from ..ir.core.whole_file import read_stream
from ..ir.files.data_file import bytes_on_disk, require_spared
from ..ir.files.load import load as load_model
from ..ir.files.load import load_lazily
from ..ir.files.model_folder import ModelFolder, model_folder, write_beside
from ..ir.files.save import save, to_model
from ..ir.files.unchanged import files_of
from .show.console import give_standard_output_away
from .supervise import reading_from, while_doing

STREAM = Path("-")


@dataclass(frozen=True)
class ModelJob:
    """A model to read and where it is to be written, None for nowhere.

    `folder`: the one that the model lies in, where `output` is to be one like it.
    """

    model: Path
    output: Path | None
    folder: ModelFolder | None = None

    @property
    def written(self) -> Path | None:
        """The file that the model is written to."""
        return self.output / self.folder.place if self.output and self.folder else self.output


def load(path: Path, *, lazily: bool = False) -> gs.Graph:
    """Read a model from a file, or from standard input where `path` is `-`; see `planish.load`.

    Of a folder with a `config.json`, it is the one inside. `lazily`: large weights stay in the file
    until they are asked for.
    """
    with while_doing(f"load '{path}'"):
        if path == STREAM:
            return load_model(from_standard_input())
        graph = load_lazily(model_file(path)) if lazily else load_model(model_file(path))
    reading_from([(str(file.path), file.size) for file in files_of(graph)])
    return graph


def model_file(path: Path) -> Path:
    """Return `path`, or the model inside where it is a model folder."""
    folder = model_folder(path)
    return path if folder is None else folder.model


def from_standard_input() -> bytes:
    """Return the bytes of the model that is piped in. Raises PlanishError where none can be."""
    if sys.stdin.isatty():
        raise PlanishError("'-' reads the model from standard input, which is a terminal; pipe one")
    try:
        return read_stream(sys.stdin.buffer)
    except ValueError as error:
        raise LoadError(f"cannot read standard input: {error}; pipe a model") from error


def write(graph: gs.Graph, job: ModelJob, *, portable: bool) -> None:
    """Write what became of the model of `job`, if it says where; see `planish.save`.

    `-` is standard output; into a folder goes what else was in that of the model.
    """
    if job.output is None:
        return None
    if job.folder is not None:
        return write_beside(
            job.folder, job.output, lambda path: save(graph, path, portable=portable)
        )
    if job.output != STREAM:
        return save(graph, job.output, portable=portable)
    model = to_model(graph, portable=portable)
    sys.stdout.buffer.write(model.SerializeToString(deterministic=True))
    sys.stdout.buffer.flush()
    return None


def tell_left_out(job: ModelJob, tell: Callable[[str], None]) -> None:
    """Tell what is in the folder of the model and did not go where it was written."""
    left = [] if job.folder is None or job.output is None else job.folder.others()[1]
    if left and job.folder is not None and job.output != job.folder.path:
        names = ", ".join(f"'{path.name}'" for path in left)
        tell(f"left in '{job.folder.path}': {names}, of another framework or folders")


def size_on_disk(path: Path | None) -> int | None:
    """Return the bytes of a model's file and its weights; None of no file, streams and pipes."""
    return bytes_on_disk(path) if path is not None and path.is_file() else None


def jobs_of(
    models: Sequence[Path], output: Path | None, *, of_models: bool = True
) -> list[ModelJob]:
    """Return each model to read with where it is to be written.

    Two models without `output` are one and where to write it, as `cp` has it; several with a folder
    go there under their own names. A model folder goes to a folder, if not to a file that is called
    `.onnx`. `of_models`: whether models are written, and not what a backend loads, for which there
    is no `-` and no folder. Raises SaveError where that cannot be written.
    """
    if output is None and len(models) == 2:
        found: list[tuple[Path, Path | None]] = [(models[0], models[1])]
    elif len(models) > 1:
        found = _into(models, output)
    else:
        found = [(models[0], output)]
    return [_job(model, path, of_models) for model, path in found]


def _job(model: Path, output: Path | None, of_models: bool) -> ModelJob:
    if output == STREAM and not of_models:
        raise SaveError("what a backend loads is a file; give its name to -o, not '-'")
    folder = model_folder(model)
    file = model if folder is None else folder.model
    if output == STREAM:
        _take_standard_output()
    elif output is not None and folder is not None and of_models and output.suffix != ".onnx":
        _require_folder(output, folder)
        return ModelJob(file, output, folder)
    elif output is not None:
        require_writable(output)
        require_spared(output, file)
    return ModelJob(file, output)


def _require_folder(output: Path, folder: ModelFolder) -> None:
    if output.exists() and not output.is_dir():
        raise SaveError(
            f"cannot write '{output}': '{folder.path}' is a folder, and this is none; name a folder"
        )
    require_writable(output / folder.model.name if output.is_dir() else output)


def _into(models: Sequence[Path], folder: Path | None) -> list[tuple[Path, Path | None]]:
    if folder is None or folder == STREAM or folder.is_file():
        given = "no -o" if folder is None else f"-o '{folder}'"
        raise SaveError(f"{len(models)} models with {given}; give a folder for them, -o FOLDER")
    names = [path.name for path in models]
    for path in models:
        if path == STREAM or names.count(path.name) > 1:
            raise SaveError(f"'{path}' has no name of its own in '{folder}'; run it alone")
    folder.mkdir(exist_ok=True)
    return [(path, folder / path.name) for path in models]


def _take_standard_output() -> None:
    """Have what is shown go to standard error: a model goes to standard output."""
    if os.isatty(sys.stdout.fileno()):
        raise SaveError("'-o -' writes the model to standard output, a terminal; redirect it")
    give_standard_output_away()
