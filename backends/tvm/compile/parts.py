"""Kernels as objects of their own, made side by side and linked.

    network -> call planish_convolution_3 ...        planish_convolution_3 in one of many objects

In one module LLVM puts kernels that are called once into the function that calls them, and its time
grows faster than the size of a function. What LLVM does needs no lock of Python, so that parts take
as many cores as there are.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ....ir.core.cpu import core_numbers
from ..runtime.threads import making_code
from ..spec.machine import CpuMachine
from .pointer_kernels import register_pipeline

# Kernels of an object, so that what TVM and LLVM do once for each is little.
_TOGETHER = 4


def objects_of(kernels: Mapping[str, Any], machine: CpuMachine, threads: int) -> list[bytes]:
    """Return object files of `kernels`, functions of pointers by name, in their order."""
    names = list(kernels)
    parts = [
        {name: kernels[name] for name in names[at : at + _TOGETHER]}
        for at in range(0, len(names), _TOGETHER)
    ]
    pipeline = register_pipeline(apart=True)
    with making_code, ThreadPoolExecutor(len(core_numbers())) as pool:
        return list(pool.map(lambda part: _object(part, machine, threads, pipeline), parts))


def _object(kernels: Mapping[str, Any], machine: CpuMachine, threads: int, pipeline: str) -> bytes:
    import tvm

    module = tvm.IRModule(dict(kernels))
    target = tvm.target.Target(machine.llvm(threads))
    with target, tvm.transform.PassContext(opt_level=3):
        code = tvm.tirx.build(module, target=target, pipeline=pipeline)
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
