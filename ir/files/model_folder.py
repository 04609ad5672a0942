"""Folders as Optimum and Transformers have them: an ONNX model, and beside it what configures it.

`config.json` names the labels, `preprocessor_config.json` what becomes of a picture. The model lies
in the folder itself or in `onnx/`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..core.atomic import replacing
from ..core.errors import LoadError, SaveError
from .data_file import data_files, model_files

CONFIG = "config.json"
_PLACES = (".", "onnx")
# Weights of other frameworks, of which the model that is written is no longer one.
_WEIGHTS = frozenset({".bin", ".h5", ".msgpack", ".ot", ".pt", ".pth", ".safetensors", ".tflite"})


@dataclass(frozen=True)
class ModelFolder:
    """A folder, and the ONNX file of its model."""

    path: Path
    model: Path

    @property
    def place(self) -> Path:
        """Where the model lies in the folder."""
        return self.model.relative_to(self.path)

    def others(self) -> tuple[list[Path], list[Path]]:
        """Return what stays beside another model in the place of this one, and what does not.

        Weights of other frameworks and folders do not; the weights of this model are neither.
        """
        own = {*model_files(self.model), *data_files(self.model), *self.model.parents}
        found = [p for p in sorted(self.path.iterdir()) if p not in own and p.name[0] != "."]
        kept = [p for p in found if p.is_file() and p.suffix not in _WEIGHTS]
        return kept, [p for p in found if p not in kept]


def model_folder(path: Path) -> ModelFolder | None:
    """Return the model folder at `path`; None where there is no folder with a `config.json`.

    Raises LoadError where it has no ONNX file, or several.
    """
    if not (path / CONFIG).is_file():
        return None
    places = (path / place for place in _PLACES)
    found = [f for place in places for f in sorted(place.glob("*.onnx")) if f.is_file()]
    if len(found) == 1:
        return ModelFolder(path, found[0])
    if not found:
        raise LoadError(
            f"'{path}' has a {CONFIG} and no .onnx file; export it first: optimum-cli export onnx"
        )
    names = ", ".join(f"'{file}'" for file in found)
    raise LoadError(f"'{path}' has {len(found)} models; name one of them: {names}")


def write_beside(folder: ModelFolder, output: Path, write: Callable[[Path], None]) -> None:
    """Have `write` write a model into the folder `output`, and keep there what `folder` keeps.

    The model is called as in `folder`. A folder that is not there yet appears whole or not at all;
    in one that is, each file does. Raises SaveError.
    """
    if output.resolve() == folder.path.resolve():
        write(folder.model)
        return
    try:
        with _appearing(output) as place:
            (place / folder.place).parent.mkdir(exist_ok=True)
            for file in folder.others()[0]:
                with file.open("rb") as source, replacing(place / file.name) as copy:
                    shutil.copyfileobj(source, copy)
            write(place / folder.place)
    except OSError as error:
        raise SaveError(f"cannot write '{output}': {error.strerror or error}") from error


@contextlib.contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    if path.exists():
        yield path
        return
    hidden = path.with_name(f".{path.name}.{os.getpid()}.part")
    hidden.mkdir()
    try:
        yield hidden
        hidden.rename(path)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
