"""A compiled network as one file; to load it takes numpy and TVM's runtime only.

    seal | length of header | header (JSON) | library (ELF) | GPU kernels | weights, aligned

The weights are mapped, so a file loads as fast as its library, and processes share them. It holds
native code: loading one is running a program, so load those of people you trust. As a program,
`python -m planish.backends.tvm.runtime.artifact FILE` runs the network once on zeros.
"""

from __future__ import annotations

import importlib.util
import mmap
import os
import platform
import struct
import sys
import tempfile
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ....ir.core.cpu import cpu_flags
from ...contract.sealed import ArtifactError, Seal, SealedWriter
from ..spec.amx import withheld
from ..spec.layout import Array
from ..spec.machine import ALIGNMENT, FLAGS, MACHINES
from .built import Built
from .header import Contents, Header, from_json, host_architecture, to_json
from .imports import without_torch
from .linker import linked, loaded
from .runner import NO_GPU, Runner

__all__ = ["SEAL", "ArtifactError", "Loaded", "copy", "describe", "load", "write"]

SEAL = Seal(backend="TVM backend", family=b"planish-tvm-", magic=b"planish-tvm-3\n")

_EMPTY = np.empty(0, np.uint8)
_LENGTH = struct.Struct("<Q")


def write(file: IO[bytes], head: Header, built: Built, constants: list[Array]) -> None:
    """Write an artifact to `file`, which is empty.

    Raises BackendError where its library cannot be linked, OSError where something is full.
    """
    code = built.code or linked(head.architecture, [], built.library)

    def fill(writer: SealedWriter) -> None:
        described = to_json(head, len(code), len(built.device), constants)
        writer.write(_LENGTH.pack(len(described)) + described)
        writer.write(code)
        writer.write(built.device)
        for values in constants:
            writer.write(bytes(-writer.at % ALIGNMENT))
            writer.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)

    SEAL.write(file, fill)


class Loaded(NamedTuple):
    """A network, and the bytes of its artifact."""

    runner: Runner
    data: mmap.mmap


def load(path: str | Path, threads: int | None = None) -> Loaded:
    """Return the network in `path`. Raises ArtifactError naming the file and what is wrong.

    Nothing of the file is run, and no memory taken that it asks for, before all of it is checked.
    """
    with without_torch():
        import tvm

    data = SEAL.open(path)
    head, contents, at = _read(path, data)
    _check_machine(path, head, tvm.__version__)
    middle, end = at + contents.code, at + contents.code + contents.device
    constants = _constants(data, contents, end)
    library = _library(path, data[at:middle])
    built = Built(library, arena=head.arena, device=data[middle:end])
    return Loaded(Runner(head, built, constants, threads), data)


def describe(path: str | Path) -> Header:
    """Return what an artifact says of itself, without loading it. Raises ArtifactError."""
    return _read(path, SEAL.open(path))[0]


def copy(file: IO[bytes], data: mmap.mmap) -> None:
    """Write an artifact that was loaded from `data`, whatever lies under its name by now."""
    with memoryview(data) as whole:
        file.write(whole)


def _read(path: str | Path, data: mmap.mmap) -> tuple[Header, Contents, int]:
    """Return the header, what lies behind it, and where; they take up the file, byte for byte."""
    begin = SEAL.start + _LENGTH.size
    try:
        (length,) = _LENGTH.unpack(data[SEAL.start : begin])
        at = begin + length
        head, contents = from_json(data[begin:at])
    except (struct.error, ValueError, OverflowError) as error:
        raise ArtifactError(
            f"'{path}' is damaged: its header cannot be read; lower the model again"
        ) from error
    end = at + contents.code + contents.device
    for part in contents.constants:
        end += -end % ALIGNMENT + part.size
    if end != len(data):
        raise ArtifactError(
            f"'{path}' is damaged: it has {len(data)} bytes and its header speaks of {end}; lower "
            "the model again"
        )
    return head, contents, at


def _check_machine(path: str | Path, head: Header, version: str) -> None:
    """Raise ArtifactError where the network was made for another TVM, machine or GPU."""
    if head.tvm != version:
        raise ArtifactError(
            f"'{path}' was compiled with TVM {head.tvm} and this is {version}; lower the model "
            "again"
        )
    if head.architecture != host_architecture():
        raise ArtifactError(
            f"'{path}' is code for {head.architecture} and this machine is {platform.machine()}; "
            "lower the model again for it"
        )
    if head.onnxruntime and importlib.util.find_spec("onnxruntime") is None:
        raise ArtifactError(
            f"'{path}' leaves {len(head.elsewhere)} of its nodes to ONNX Runtime, which is not "
            f"installed: {', '.join(head.elsewhere[:3])}; pip install onnxruntime, of which it was "
            f"made with {head.onnxruntime}"
        )
    _check_memory(path, head.arena)
    if head.target == "cuda":
        _check_gpu(path, head.isa)
    else:
        _check_isa(path, head.isa)


def _check_memory(path: str | Path, arena: int) -> None:
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # a system that does not tell
        return
    if arena > memory:
        raise ArtifactError(
            f"'{path}' works in {arena} bytes of memory and this machine has {memory}; lower the "
            "model for smaller inputs"
        )


def _constants(data: mmap.mmap, contents: Contents, at: int) -> list[Array]:
    found = []
    for part in contents.constants:
        at += -at % ALIGNMENT
        values = np.frombuffer(data, np.uint8, part.size, at) if part.size else _EMPTY
        found.append(values.view(part.dtype).reshape(part.shape))
        at += part.size
    return found


def _library(path: str | Path, code: bytes) -> Any:
    """Return the library of machine code."""
    try:
        return loaded(code)
    except (OSError, RuntimeError) as error:
        raise ArtifactError(
            f"the library in '{path}' cannot be loaded: {error}; check that "
            f"'{tempfile.gettempdir()}' has space and may hold programs, or set TMPDIR to a folder "
            "that has and may"
        ) from error


def _check_isa(path: str | Path, isa: str) -> None:
    if isa not in MACHINES:
        raise ArtifactError(
            f"'{path}' is code for isa '{isa}', which this planish does not know; lower the model "
            "again"
        )
    needed = FLAGS.get(isa, set())
    missing = sorted(needed - cpu_flags())
    lacks = f"this CPU lacks {', '.join(missing)}" if missing else withheld(needed)
    if lacks:
        raise ArtifactError(
            f"'{path}' is code for isa '{isa}' and {lacks}; lower the model again for it"
        )


def _check_gpu(path: str | Path, arch: str) -> None:
    """Check that a GPU here runs code for `arch`: its own, or an older one's, which is PTX too."""
    import tvm

    gpu = tvm.cuda()
    if not gpu.exist:
        raise ArtifactError(f"'{path}' is code for arch '{arch}', and {NO_GPU}")
    here = gpu.compute_version.replace(".", "")
    if int(here) < int(arch.removeprefix("sm_")):
        raise ArtifactError(
            f"'{path}' is code for arch '{arch}' and the GPU here has 'sm_{here}'; lower the model "
            f"again with target 'cuda{{arch=sm_{here}}}'"
        )


if __name__ == "__main__":
    network = load(sys.argv[1]).runner
    sizes = {t.name: [d if isinstance(d, int) else 1 for d in t.shape or []] for t in
             network.header.inputs}  # fmt: skip
    zeros = {t.name: np.zeros(sizes[t.name], t.dtype) for t in network.header.inputs}
    for name, values in network(zeros).items():
        print(name, values.dtype, values.shape)
