"""Machine code as LLVM first has it, for tests whose subject is not what LLVM makes of it."""

from __future__ import annotations

import platform
import shutil
import subprocess
import tempfile
from types import SimpleNamespace
from typing import Any

import pytest

from planish.backends.tvm.spec.machine import CpuMachine


def leave_unoptimized(patch: pytest.MonkeyPatch) -> None:
    """Let LLVM take the code as it is, in half of the time, until `patch` is undone."""
    llvm = CpuMachine.llvm

    def plain(self: CpuMachine, threads: int) -> dict[str, Any]:
        return {**llvm(self, threads), "opt-level": 0}

    patch.setattr(CpuMachine, "llvm", plain)
    if platform.system() == "Linux" and shutil.which("ld"):
        _link_instead_of_jit(patch)


def _link_instead_of_jit(patch: pytest.MonkeyPatch) -> None:
    """Let the linker make what runs: TVM's JIT generates code at its best level in any case."""
    tvm = pytest.importorskip("tvm")
    relax = pytest.importorskip("tvm.relax")
    compile_, start = tvm.compile, relax.VirtualMachine

    def compiled(*given: Any, **options: Any) -> Any:
        found = compile_(*given, **options)
        return SimpleNamespace(mod=_linked(found.mod)) if found.mod.kind == "llvm" else found

    def started(library: Any, *more: Any) -> Any:
        module = getattr(library, "mod", None)
        (code, *others) = list(module.imports) if module else [None]
        if others or code is None or code.kind != "llvm":
            return start(library, *more)  # loaded, or for a GPU
        module.clear_imports()
        module.import_module(_linked(code))
        try:
            return start(library, *more)
        finally:  # what is saved has the object
            module.clear_imports()
            module.import_module(code)

    patch.setattr(tvm, "compile", compiled)
    patch.setattr(relax, "VirtualMachine", started)


def _linked(code: Any) -> Any:
    """Return a module of TVM's `code`, which LLVM has not generated yet, that can be called."""
    import tvm

    with tempfile.TemporaryDirectory() as folder:
        made, library = f"{folder}/code.o", f"{folder}/code.so"
        code.write_to_file(made, "o")
        subprocess.run(["ld", "-shared", "-o", library, made], check=True)
        return tvm.runtime.load_module(library)
