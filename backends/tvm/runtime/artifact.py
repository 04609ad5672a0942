"""A compiled network as one file; to load it takes numpy and TVM's runtime only.

    magic | length of header | header (JSON) | library (ELF) | GPU kernels | weights, aligned

The weights are mapped, so a file loads as fast as its library, and processes share them. As a
program, `python -m planish.backends.tvm.runtime.artifact FILE` runs the network once on zeros.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import platform
import struct
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from ....ir.core.cpu import cpu_flags
from ..spec.layout import Array
from ..spec.machine import ALIGNMENT, FLAGS
from .built import Built
from .header import Header, Tensor, host_architecture
from .imports import without_torch
from .runner import NO_GPU, Runner

_MAGIC = b"planish-tvm-1\n"
_SAID = ("target", "isa", "architecture", "tvm", "arena")


class ArtifactError(Exception):
    """A file that is no artifact, or one for another machine or version."""


def write(file: IO[bytes], head: Header, built: Built, constants: list[Array]) -> None:
    """Write an artifact to `file`; raises BackendError where its library cannot be linked."""
    from .linker import link

    with tempfile.TemporaryDirectory(prefix="planish-") as folder:
        path = Path(folder) / "network.so"
        link(built.library, path, head.architecture)
        code = path.read_bytes()
    listing = [{"dtype": str(c.dtype), "shape": list(c.shape)} for c in constants]
    sizes = {"code": len(code), "device": len(built.device), "constants": listing}
    described = json.dumps({**asdict(head), **sizes}).encode()
    file.write(_MAGIC + struct.pack("<Q", len(described)) + described + code + built.device)
    for values in constants:
        file.write(b"\0" * (-file.tell() % ALIGNMENT))
        file.write(np.ascontiguousarray(values).view(np.uint8).data)


def load(path: str | Path, threads: int | None = None) -> Runner:
    """Return the network in `path`. Raises ArtifactError naming the file and what is wrong."""
    with without_torch():
        import tvm

    try:
        with open(path, "rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"cannot read '{path}': {error}") from error
    head, code, device, listing, at = _read(path, data)
    if head.tvm != tvm.__version__:
        raise ArtifactError(
            f"'{path}' was compiled with TVM {head.tvm} and this is {tvm.__version__}; lower the "
            "model again"
        )
    if head.architecture != host_architecture():
        raise ArtifactError(
            f"'{path}' is code for {head.architecture} and this machine is {platform.machine()}; "
            "lower the model again for it"
        )
    if head.target == "cuda":
        _check_gpu(path, head.isa)
    else:
        _check_isa(path, head.isa)
    constants = []
    for entry in listing:
        at += -at % ALIGNMENT
        if at + _bytes(entry) > len(data):
            raise ArtifactError(f"'{path}' is cut short: it has {len(data)} bytes; lower it again")
        dtype = np.dtype(entry["dtype"])
        size = _bytes(entry)
        values = np.frombuffer(data, dtype, size // dtype.itemsize, at)
        constants.append(values.reshape(entry["shape"]))
        at += size
    handle, name = tempfile.mkstemp(prefix="planish-", suffix=".so")
    try:
        with os.fdopen(handle, "wb") as temporary:
            temporary.write(code)
        library = tvm.runtime.load_module(name)
    finally:
        os.unlink(name)
    return Runner(head, Built(library, head.arena, device), constants, threads)


def _read(
    path: str | Path, data: mmap.mmap
) -> tuple[Header, bytes, bytes, list[dict[str, Any]], int]:
    start = len(_MAGIC) + 8
    if data[: len(_MAGIC)] != _MAGIC or len(data) < start:
        raise ArtifactError(f"'{path}' is no network compiled by planish's TVM backend")
    (length,) = struct.unpack("<Q", data[len(_MAGIC) : start])
    try:
        found = json.loads(data[start : start + length])
        inputs, outputs = (
            [Tensor(**entry) for entry in found[key]] for key in ("inputs", "outputs")
        )
        size, more, listing = (found[key] for key in ("code", "device", "constants"))
        head = Header(**{key: found[key] for key in _SAID}, inputs=inputs, outputs=outputs)
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"'{path}' is damaged: its header cannot be read") from error
    begin = start + length
    middle, end = begin + size, begin + size + more
    if end > len(data):
        raise ArtifactError(f"'{path}' is cut short: it has {len(data)} bytes; lower it again")
    return head, data[begin:middle], data[middle:end], listing, end


def _bytes(entry: dict[str, Any]) -> int:
    return int(math.prod(entry["shape"]) * np.dtype(entry["dtype"]).itemsize)


def _check_isa(path: str | Path, isa: str) -> None:
    missing = sorted(FLAGS.get(isa, set()) - cpu_flags())
    if missing:
        raise ArtifactError(
            f"'{path}' is code for isa '{isa}' and this CPU lacks {', '.join(missing)}; lower the "
            "model again for it"
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
    network = load(sys.argv[1])
    sizes = {t.name: [d if isinstance(d, int) else 1 for d in t.shape or []] for t in
             network.header.inputs}  # fmt: skip
    zeros = {t.name: np.zeros(sizes[t.name], t.dtype) for t in network.header.inputs}
    for name, values in network(zeros).items():
        print(name, values.dtype, values.shape)
