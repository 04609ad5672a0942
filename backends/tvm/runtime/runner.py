"""What runs a compiled network: numpy arrays in and out, TVM's virtual machine in between."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ....ir.core.cpu import core_numbers
from ....ir.core.errors import ExecutionError
from ....ir.core.in_native_code import in_native_code
from ..spec.layout import Array
from ..spec.machine import ALIGNMENT
from .built import Built
from .freed_memory import FreedMemory
from .header import Header, Tensor
from .linker import loaded
from .onnx_node import register, take_error
from .pool import join, run_with_helpers, wait_for_leaving
from .threads import Turn, allow, making_code, run_on

_LARGE_PAGE = 2 << 20

NO_GPU = (
    "this machine has no CUDA driver or no GPU that it sees; run it on a machine with an NVIDIA "
    "GPU, its driver, and a TVM with CUDA"
)


class Runner:
    """A library and its constants, to be called with a dict of arrays.

    TVM makes machine code of a library that was just compiled for its first run: one that is only
    saved needs none.
    """

    _joined = False  # whether it runs on the pool of helpers

    def __init__(
        self, header: Header, built: Built, constants: list[Array], threads: int | None
    ) -> None:
        import tvm

        register()
        self.header = header
        self._built = built
        own = len(constants) - len(header.defaults)
        self.defaults = dict(zip(header.defaults, constants[own:], strict=True))
        self.constants = constants[:own]
        self._device = tvm.cuda() if header.target == "cuda" else tvm.cpu()
        self._runtime = tvm.runtime
        self._copies: dict[str, Any] = {}
        self._freed = None if all(map(_is_known, header.inputs)) else FreedMemory()
        # Made at the first run, in its turn: a lock of its own would stay taken in a fork.
        self._machine: Any = None
        self._main: Any = None
        self._library: Any = None
        # Copied here: what constants are mapped from may change before the first run.
        if header.target == "cuda":
            self._packed = [tvm.runtime.tensor(values, self._device) for values in self.constants]
        else:
            arena = [np.empty(header.arena, np.uint8)] if header.arena else []
            lasting = _in_large_pages([*self.constants, *arena])
            self._packed = [_tensor(values) for values in lasting]
        self._running = Turn()  # the virtual machine and the copies serve one run
        cores = len(core_numbers())
        self.threads = threads or cores
        self._at_once = min(self.threads, cores)

    @property
    def machine(self) -> Any:
        """TVM's virtual machine, with machine code."""
        if self._machine is None:
            from tvm import relax

            if self._built.device:
                _attach(self._built.library, self._built.device)
            with making_code:
                code = self._built.code
                library = loaded(code) if code else self._built.library
                self._library = getattr(library, "mod", library)
                self._joined = join(self._library, self._at_once)
                self._machine = relax.VirtualMachine(library, self._device)
        return self._machine

    def _code(self) -> Any:
        """Return the function that runs, of a machine that no other thread had at a fork."""
        if self._running.was_interrupted():
            self._machine = self._main = None
        if self._main is None:
            self._main = self.machine["main"]
        return self._main

    def __call__(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once: name -> array in, name -> array out. Concurrent calls wait for each other."""
        names = [tensor.name for tensor in self.header.inputs]
        results = [tensor.name for tensor in self.header.outputs]
        with self._running, in_native_code:
            # numpy's ascontiguousarray would make one axis of none.
            feeds = {**self.defaults, **feeds}
            if self._freed is not None:
                self._freed.before(feeds[name] for name in names)
            given = [self._lent(name, np.require(feeds[name], None, "C")) for name in names]
            main = self._code()
            found = self._on_threads(lambda: self._called(main, [*given, *self._packed]))
            return {name: _array(name, found[i]) for i, name in enumerate(results)}

    def _on_threads(self, run: Callable[[], Any]) -> Any:
        """Return what `run` returns, on as many threads as there are cores at most."""
        if not self._joined:
            return run_on(self.threads, run)
        allow(self._at_once)
        return run_with_helpers(self._library, self._at_once, run)

    def __del__(self) -> None:
        """Let go of code and memory when no helper is at them."""
        if self._joined:
            wait_for_leaving()

    def _called(self, main: Any, given: list[Any]) -> Any:
        """Return the results; raises ExecutionError where a run fails."""
        take_error()
        try:
            return main(*given)
        except Exception as error:  # TVM's own, or Python's by the name that TVM raised it under
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            if "match_cast" in reason:
                reason = f"sizes in the feeds do not fit each other or the model: {reason}"
            text = f"the compiled network could not run: {reason}"
            raise take_error() or ExecutionError(text) from error

    def _lent(self, name: str, values: Array) -> Any:
        """Return `values` for the time of a run: where they are if aligned, else a copy.

        Memory of a copy is kept for the next run, since new pages cost more than the copy.
        """
        if self.header.target == "cuda":
            return self._runtime.tensor(values, self._device)
        # DLPack of numpy takes no read-only arrays.
        aligned = values.ctypes.data % ALIGNMENT == 0
        if aligned and values.size and values.flags.writeable and _has_dlpack(values):
            return self._runtime.from_dlpack(values)
        kept = self._copies.get(name)
        if kept is None or tuple(kept.shape) != values.shape or kept.dtype != str(values.dtype):
            kept = self._copies[name] = self._runtime.empty(values.shape, str(values.dtype))
        return kept.copyfrom(values)


def _is_known(tensor: Tensor) -> bool:
    """Say whether feeds tell nothing of the sizes of `tensor`."""
    return tensor.shape is not None and all(isinstance(size, int) for size in tensor.shape)


def _array(name: str, found: Any) -> Array:
    """Return the result `found` as numpy has it; raises ExecutionError where there is none."""
    if any(size < 0 for size in found.shape):
        raise ExecutionError(
            f"the compiled network could not run: for these feeds output '{name}' has the sizes "
            f"{list(map(int, found.shape))}"
        )
    values: Array = found.numpy()
    return values


def _has_dlpack(values: Array) -> bool:
    """Say whether numpy lends the memory of `values`: not that of bfloat16, no type of its own."""
    return bool(values.dtype.kind != "V")


def _tensor(values: Array) -> Any:
    """Return `values` for TVM where they are, or a copy."""
    import tvm

    make = tvm.runtime.from_dlpack if _has_dlpack(values) else tvm.runtime.tensor
    return make(values)


def _in_large_pages(constants: list[Array]) -> list[Array]:
    """Return copies side by side in large pages, where the system has them.

    A network reads all of its weights once a run: with pages of 4 KiB, every other cache line that
    is not there yet needs an address that is not there yet either.
    """
    sizes = [values.nbytes + -values.nbytes % ALIGNMENT for values in constants]
    # Not shared, as Python's default is: after a fork each process writes its own.
    memory = mmap.mmap(-1, max(1, sum(sizes)) + _LARGE_PAGE, access=mmap.ACCESS_COPY)
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


def _attach(library: Any, device: bytes) -> None:
    """Give `library`, loaded or just built, the kernels of a GPU that is here."""
    import tvm_ffi

    kernels = tvm_ffi.get_global_func("ffi.Module.load_from_bytes.cuda")(device)
    getattr(library, "mod", library).imports[0].import_module(kernels)
