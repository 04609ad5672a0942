"""Kernels as objects of their own, made once each, side by side, and linked.

    network -> call planish_1f8a...        planish_1f8a... in one of many objects

In one module LLVM puts kernels that are called once into the function that calls them, and its time
grows faster than the size of a function. What LLVM does needs no lock of Python, so that objects
are made on as many cores as there are. A kernel's symbol is the digest of all that its code depends
on: equal kernels of any network are one object, which a cache may hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....ir.core.cpu import core_numbers
from ..spec.machine import CpuMachine
from ..spec.sources import sources
from .code_cache import CodeCache
from .pointer_kernels import register_pipeline

# What decides what code a loop nest becomes, beside TVM and LLVM.
_COMPILING = "compile/*.py"


@dataclass(frozen=True)
class KernelObject:
    """An object file that defines `symbol`, once it is made."""

    symbol: str
    made: Future[bytes]

    @property
    def code(self) -> bytes:
        """The object; raises what TVM does where there is none."""
        return self.made.result()


class KernelCompiler:
    """Makes objects of kernels, functions of pointers, for `machine`; `cache`: None keeps none.

    Each is made once, for whoever asks: who links a network, and who compares its kernels.
    """

    def __init__(self, machine: CpuMachine, threads: int, cache: CodeCache | None = None) -> None:
        self._target = machine.llvm(threads)
        self._cache = cache
        self._objects: dict[str, KernelObject] = {}
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def begin(self, kernel: Any) -> KernelObject:
        """Begin to make the object of `kernel`, unless it is begun."""
        kernel = kernel.without_attr("global_symbol")
        symbol = f"planish_{self._digest(kernel)}"
        with self._lock:
            if symbol not in self._objects:
                self._pool = self._pool or ThreadPoolExecutor(len(core_numbers()))
                made = self._pool.submit(self._made, symbol, kernel)
                self._objects[symbol] = KernelObject(symbol, made)
            return self._objects[symbol]

    def stop(self) -> None:
        """Make nothing more of what was begun."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool, self._objects = None, {}

    def _digest(self, kernel: Any) -> str:
        """Return the digest of a kernel and of all else that its code depends on.

        The text has no more than some digits of a number, the hash no more than 64 bits of all.
        """
        import tvm
        import tvm_ffi

        parts = [
            kernel.script(),
            tvm_ffi.structural_hash(kernel),
            self._target,
            tvm.__version__,
            tvm.target.codegen.llvm_version_major(),
            sources(_COMPILING),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]

    def _made(self, symbol: str, kernel: Any) -> bytes:
        found = self._cache.get(symbol) if self._cache else None
        if found is None:
            found = self._compiled(symbol, kernel)
            if self._cache:
                self._cache.put(symbol, found)
        return found

    def _compiled(self, symbol: str, kernel: Any) -> bytes:
        import tvm

        target = tvm.target.Target(self._target)
        with target, tvm.transform.PassContext(opt_level=3):
            pipeline = register_pipeline(apart=True)
            code = tvm.tirx.build(tvm.IRModule({symbol: kernel}), target=target, pipeline=pipeline)
        with _file() as path:
            code.write_to_file(str(path), "o")
            return path.read_bytes()


@contextlib.contextmanager
def _file() -> Iterator[Path]:
    """Give a file to write to, in memory where the system can: LLVM ends where a disk is full."""
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("part.o"), "wb") as file:
            yield Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
        return
    with tempfile.TemporaryDirectory(prefix="planish-") as folder:
        yield Path(folder) / "part.o"
