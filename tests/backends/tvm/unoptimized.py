"""Machine code as LLVM first has it, for tests whose subject is not what LLVM makes of it."""

from __future__ import annotations

import dataclasses
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from planish.backends.tvm.runtime.runner import Runner
from planish.backends.tvm.runtime.threads import making_code
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
    compile_, machine = tvm.compile, Runner.machine

    def compiled(*given: Any, **options: Any) -> Any:
        found = compile_(*given, **options)
        return SimpleNamespace(mod=_linked(found.mod)) if found.mod.kind == "llvm" else found

    def linked(self: Runner) -> Any:
        built = self._built
        if not (built.code or built.device) and _is_compiled(built.library):
            with making_code:
                self._built = dataclasses.replace(built, code=_code(built.library))
        return machine.__get__(self)

    patch.setattr(tvm, "compile", compiled)
    patch.setattr(Runner, "machine", property(linked))


def _is_compiled(library: Any) -> bool:
    """Say whether `library` has code that LLVM has not generated yet."""
    return [part.kind for part in getattr(library, "mod", library).imports] == ["llvm"]


def _code(library: Any) -> bytes:
    """Return what TVM's `library` and its code are as a shared library."""
    with tempfile.TemporaryDirectory() as folder:
        made = f"{folder}/code.so"
        library.export_library(made, fcompile=_link, workspace_dir=folder)
        return Path(made).read_bytes()


def _linked(code: Any) -> Any:
    """Return a module of TVM's `code`, which LLVM has not generated yet, that can be called."""
    import tvm

    with tempfile.TemporaryDirectory() as folder:
        made, library = f"{folder}/code.o", f"{folder}/code.so"
        code.write_to_file(made, "o")
        _link(library, [made])
        return tvm.runtime.load_module(library)


def _link(library: str, objects: Sequence[str], **_: Any) -> None:
    subprocess.run(["ld", "-shared", "-o", library, *objects], check=True)
