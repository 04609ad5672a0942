"""A compiled network as one file, and what runs it; needs numpy and TVM's runtime only.

    magic | length of header | header (JSON) | library (ELF) | GPU kernels | weights, aligned

The weights are mapped, so a file loads as fast as its library, and processes share them. As a
program, `python artifact.py FILE` prints the header and runs the network once on zeros.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import json
import math
import mmap
import os
import platform
import struct
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

Array = np.ndarray[Any, Any]

_MAGIC = b"planish-tvm-1\n"
_ALIGNMENT = 64
_LARGE_PAGE = 2 << 20
_told = threading.local()

NO_GPU = (
    "this machine has no CUDA driver or no GPU that it sees; run it on a machine with an NVIDIA "
    "GPU, its driver, and a TVM with CUDA"
)


class ArtifactError(Exception):
    """A file that is no artifact, or one for another machine or version."""


@dataclass(frozen=True)
class Tensor:
    """Name, element type and sizes of an input or output; unknown sizes are names or null."""

    name: str
    dtype: str
    shape: list[int | str | None] | None


@dataclass(frozen=True)
class Header:
    """What an artifact was made for: `isa` is an instruction set, or a GPU's architecture."""

    target: str
    isa: str
    architecture: str
    tvm: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class Runner:
    """A library and its constants, ready to be called with a dict of arrays."""

    def __init__(
        self, header: Header, library: Any, constants: list[Array], threads: int | None
    ) -> None:
        import tvm
        from tvm import relax

        self.header = header
        self.constants = constants
        self._device = tvm.cuda() if header.target == "cuda" else tvm.cpu()
        self.machine = relax.VirtualMachine(library, self._device)
        self._runtime = tvm.runtime
        self._copies: dict[str, Any] = {}
        self._running = threading.Lock()  # the virtual machine and the copies serve one run
        self.threads = threads or len(_core_numbers())
        use_threads(self.threads)
        self._main = self.machine["main"]
        if header.target == "cuda":
            self._packed = [tvm.runtime.tensor(values, self._device) for values in constants]
        else:
            self._packed = [tvm.runtime.from_dlpack(v) for v in _in_large_pages(constants)]

    def __call__(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once: name -> array in, name -> array out. Concurrent calls wait for each other."""
        names = [tensor.name for tensor in self.header.inputs]
        results = [tensor.name for tensor in self.header.outputs]
        with self._running:
            given = [self._lent(name, np.ascontiguousarray(feeds[name])) for name in names]
            use_threads(self.threads)
            found = self._main(*given, *self._packed)
            return {name: found[i].numpy() for i, name in enumerate(results)}

    def _lent(self, name: str, values: Array) -> Any:
        """Return `values` for the time of a run: where they are if aligned, else a copy.

        Memory of a copy is kept for the next run, since new pages cost more than the copy.
        """
        if self.header.target == "cuda":
            return self._runtime.tensor(values, self._device)
        # DLPack of numpy takes no read-only arrays.
        if values.ctypes.data % _ALIGNMENT == 0 and values.flags.writeable:
            return self._runtime.from_dlpack(values)
        kept = self._copies.get(name)
        if kept is None or tuple(kept.shape) != values.shape or kept.dtype != str(values.dtype):
            kept = self._copies[name] = self._runtime.empty(values.shape, str(values.dtype))
        return kept.copyfrom(values)


def use_threads(count: int) -> None:
    """Let TVM run on `count` threads of those cores that this process may use.

    TVM keeps one pool for each calling thread and fixes its size at its first use, at half of the
    cores unless a list of cores is given; no larger number is heard later. What a thread was told
    last is kept here, since telling takes as long as a small layer.
    """
    import tvm

    if getattr(_told, "threads", None) == count:
        return
    share_all_cores = -3
    cores = [str(core) for core in _core_numbers()]
    tvm.get_global_func("runtime.config_threadpool")(share_all_cores, count, cores)
    _told.threads = count


def _in_large_pages(constants: list[Array]) -> list[Array]:
    """Return copies side by side in large pages, where the system has them.

    A network reads all of its weights once a run: with pages of 4 KiB, every other cache line that
    is not there yet needs an address that is not there yet either.
    """
    sizes = [values.nbytes + -values.nbytes % _ALIGNMENT for values in constants]
    memory = mmap.mmap(-1, max(1, sum(sizes)) + _LARGE_PAGE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(memory, np.uint8)
    at = -whole.ctypes.data % _LARGE_PAGE
    found = []
    for values, size in zip(constants, sizes, strict=True):
        copy = whole[at : at + values.nbytes].view(values.dtype).reshape(values.shape)
        copy[...] = values
        found.append(copy)
        at += size
    return found


def header(graph: Any, machine: Any) -> Header:
    """Return the header of `graph` compiled for the CPU `machine`."""
    return header_for(graph, "cpu", machine.isa, machine.architecture)


def header_for(graph: Any, target: str, isa: str, architecture: str) -> Header:
    """Return the header of `graph` compiled for a kind of target, run from `architecture`."""
    import tvm

    return Header(
        target,
        isa,
        architecture,
        tvm.__version__,
        [_tensor(t) for t in graph.inputs],
        [_tensor(t) for t in graph.outputs],
    )


def write(
    file: IO[bytes], head: Header, library: Any, constants: list[Array], device: bytes = b""
) -> None:
    """Write an artifact to `file`; raises BackendError where its library cannot be linked.

    `device`: the kernels of a GPU.
    """
    from .linker import link

    with tempfile.TemporaryDirectory(prefix="planish-") as folder:
        path = Path(folder) / "network.so"
        link(library, path, head.architecture)
        code = path.read_bytes()
    listing = [{"dtype": str(c.dtype), "shape": list(c.shape)} for c in constants]
    sizes = {"code": len(code), "device": len(device), "constants": listing}
    described = json.dumps({**asdict(head), **sizes}).encode()
    file.write(_MAGIC + struct.pack("<Q", len(described)) + described + code + device)
    for values in constants:
        file.write(b"\0" * (-file.tell() % _ALIGNMENT))
        file.write(np.ascontiguousarray(values).data)


@contextlib.contextmanager
def without_torch() -> Iterator[None]:
    """Let what is imported here by this thread find no torch, unless it is there already.

    TVM imports it where it is installed, which takes seconds, only to exchange tensors with it.
    """
    thread = threading.get_ident()

    class Absent(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "torch" and threading.get_ident() == thread:
                raise ModuleNotFoundError("torch is not needed to run a network", name=name)

    absent = Absent()
    sys.meta_path.insert(0, absent)
    try:
        yield
    finally:
        sys.meta_path.remove(absent)


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
        at += -at % _ALIGNMENT
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
    if device:
        attach(library, device)
    return Runner(head, library, constants, threads)


def attach(library: Any, device: bytes) -> None:
    """Give `library`, loaded or just built, the kernels of a GPU that is here."""
    import tvm_ffi

    kernels = tvm_ffi.get_global_func("ffi.Module.load_from_bytes.cuda")(device)
    getattr(library, "mod", library).imports[0].import_module(kernels)


def host_architecture() -> str:
    """Return the name of this machine's instruction set family."""
    return platform.machine().lower().replace("amd64", "x86_64")


def _read(
    path: str | Path, data: mmap.mmap
) -> tuple[Header, bytes, bytes, list[dict[str, Any]], int]:
    start = len(_MAGIC) + 8
    if data[: len(_MAGIC)] != _MAGIC or len(data) < start:
        raise ArtifactError(f"'{path}' is no network compiled by planish's TVM backend")
    (length,) = struct.unpack("<Q", data[len(_MAGIC) : start])
    try:
        found = json.loads(data[start : start + length])
        tensors = {
            key: [Tensor(**entry) for entry in found.pop(key)] for key in ("inputs", "outputs")
        }
        size, more, listing = (found.pop(key) for key in ("code", "device", "constants"))
        head = Header(found["target"], found["isa"], found["architecture"], found["tvm"], **tensors)
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
    needed = {
        "avx2": {"avx2", "fma"},
        "avx512": {"avx512f", "avx512vl", "avx512dq", "avx512bw"},
        "avx512-vnni": {"avx512f", "avx512vl", "avx512_vnni"},
        "avx512-bf16": {"avx512f", "avx512_vnni", "avx512_bf16"},
    }.get(isa, set())
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return
    missing = sorted(needed - set(flags.partition(":")[2].split()))
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


def _tensor(tensor: Any) -> Tensor:
    shape = tensor.shape
    sizes = None if shape is None else [d if isinstance(d, int | str) else None for d in shape]
    return Tensor(tensor.name, str(np.dtype(tensor.dtype)), sizes)


def _core_numbers() -> list[int]:
    affinity = getattr(os, "sched_getaffinity", None)
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))


if __name__ == "__main__":
    network = load(sys.argv[1])
    sizes = {t.name: [d if isinstance(d, int) else 1 for d in t.shape or []] for t in
             network.header.inputs}  # fmt: skip
    zeros = {t.name: np.zeros(sizes[t.name], t.dtype) for t in network.header.inputs}
    for name, values in network(zeros).items():
        print(name, values.dtype, values.shape)
