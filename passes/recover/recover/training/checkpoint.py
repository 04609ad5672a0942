"""A file that a stopped run goes on from, as if it had never stopped.

It holds what stages have finished, where the present one is, and what the run was of: another
graph, teacher, feeds or option makes it another run, which is refused.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx_graphsurgeon as gs

from .....ir.core.atomic import replacing
from .....ir.core.errors import RefusedError
from .....ir.core.variables import dense_values
from .....ir.proto.to_proto import to_proto
from ..weights import Values
from .workers import Workers

_VERSION = 1
_LARGE = 1 << 10


class TrainingJournal:
    """Stages of a run by name: their results, and the state of the one that is not done yet.

    Without a `path` it remembers nothing. Raises RefusedError where the file at `path` is of
    another run, saying what differs, or no checkpoint at all.
    """

    def __init__(self, path: str | None, identity: Mapping[str, str], workers: Workers) -> None:
        self._path = None if path is None else Path(path)
        self._identity = dict(identity)
        self._workers = workers
        self._done: dict[str, Any] = {}
        self._state: tuple[str, Any] | None = None
        self.resumed = False
        found = workers.agreed(self._read() if workers.is_main else None)
        if found is not None:
            self._done, self._state = found["done"], found["state"]
            self.resumed = True

    def result(self, stage: str) -> Any:
        """Return what `stage` was finished with, or None."""
        return self._done.get(stage)

    def state(self, stage: str) -> Any:
        """Return the state in which `stage` stopped, or None."""
        return self._state[1] if self._state is not None and self._state[0] == stage else None

    def finish(self, stage: str, result: Any) -> None:
        """Keep the result of a stage, of plain values and tensors, and write the file."""
        self._done[stage], self._state = result, None
        self._write()

    def keep(self, stage: str, state: Any) -> None:
        """Keep the state of a stage, and write the file."""
        self._state = (stage, state)
        self._write()

    def say_how_to_go_on(self) -> None:
        """Warn that the run was stopped, and how it goes on."""
        if self._path is not None and self._workers.is_main:
            warnings.warn(
                f"recover stopped; the same command goes on from '{self._path}'", stacklevel=2
            )

    def _write(self) -> None:
        if self._path is None or not self._workers.is_main:
            return
        import torch

        content = {
            "version": _VERSION,
            "identity": self._identity,
            "done": self._done,
            "state": self._state,
        }
        try:
            with replacing(self._path) as file:
                torch.save(content, file)
        except OSError as error:
            raise RefusedError(
                f"cannot write checkpoint '{self._path}': {error.strerror or error}; check the "
                "path, its permissions and the free space"
            ) from error

    def _read(self) -> Any:
        if self._path is None or not self._path.exists():
            return None
        import torch

        try:
            found = torch.load(self._path, map_location="cpu", weights_only=True)
            version = found["version"]
        except Exception as error:  # the file may be anything
            raise RefusedError(
                f"'{self._path}' is no checkpoint that can be read ({_first_line(error)}); delete "
                "it, or name another file"
            ) from error
        if version != _VERSION:
            raise RefusedError(
                f"checkpoint '{self._path}' has version {version}, this planish writes {_VERSION}; "
                "delete it, or name another file"
            )
        theirs = found["identity"]
        differing = [
            _difference(key, theirs.get(key), self._identity.get(key))
            for key in {**theirs, **self._identity}
            if theirs.get(key) != self._identity.get(key)
        ]
        if differing:
            raise RefusedError(
                f"checkpoint '{self._path}' is of another run: {', '.join(differing)}; run with "
                "what it was made with, delete it, or name another file"
            )
        return found


def _difference(key: str, theirs: str | None, ours: str | None) -> str:
    if key in ("graph", "teacher", "feeds"):
        return f"another {key}" if key != "feeds" else "other feeds"
    return f"{key} was {theirs}, now {ours}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:100] if lines else type(error).__name__


def digest(graph: gs.Graph) -> str:
    """Return a hash of a graph with its weights."""
    model, weights = to_proto(graph, leave_out=_is_large)
    found = hashlib.sha256(model.SerializeToString(deterministic=True))
    for constant in weights:
        values = dense_values(constant)
        assert values is not None
        found.update(values.tobytes())
    return found.hexdigest()


def _is_large(constant: gs.Constant) -> bool:
    values = dense_values(constant)
    return values is not None and values.dtype.kind not in "OUS" and values.nbytes > _LARGE


def pack(values: Values) -> dict[str, tuple[str, Any]]:
    """Return weights as a checkpoint holds them: type and tensor by name."""
    from .....ir.torch.tensors import to_tensor

    return {name: (array.dtype.name, to_tensor(array)) for name, array in values.items()}


def unpack(packed: Mapping[str, tuple[str, Any]]) -> Values:
    """Return weights that `pack` packed."""
    import ml_dtypes
    import numpy as np

    from .....ir.torch.tensors import to_array

    return {
        name: to_array(tensor, getattr(ml_dtypes, dtype, None) or np.dtype(dtype))
        for name, (dtype, tensor) in packed.items()
    }
