"""Machine code to a shared library: the one step that a tool outside of TVM does."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ....ir.core.errors import BackendError
from .quiet import quietly

_OBJECTS = ("lib0.o", "devc.o")  # what TVM calls them
_COMPILERS = ("g++", "gcc", "clang++", "clang", "c++", "cc")
# Names that nobody finds are left out: TVM renames one when it makes machine code of a library, and
# what is saved after a run is to be the same bytes as before.
_STRIPPED = ("-s",) if platform.system() == "Linux" else ()
_LINKERS = ("ld.lld", "ld")  # kernels call nothing that the process which loads them lacks


def has_linker(architecture: str) -> bool:
    """Say whether code for `architecture` can be linked here."""
    try:
        _tool(architecture)
    except BackendError:
        return False
    return True


def loaded(code: bytes) -> Any:
    """Return the library of machine code, which TVM loads from a file only.

    Raises OSError or RuntimeError where it cannot be written or loaded.
    """
    with _on_disk(code) as name:
        return _loaded(name)


@contextlib.contextmanager
def symbols(code: bytes) -> Iterator[ctypes.CDLL]:
    """Give the functions of machine code by their symbols, for as long as the block lasts.

    TVM has loaded it, which tells it where the functions of its runtime are. Raises as `loaded`.
    """
    import _ctypes

    with _on_disk(code) as name:
        library = _loaded(name)
        found = ctypes.CDLL(name)
    try:
        yield found
    finally:
        _ctypes.dlclose(found._handle)
        del library


def _loaded(name: str) -> Any:
    import tvm

    with quietly():
        return tvm.runtime.load_module(name)


@contextlib.contextmanager
def _on_disk(code: bytes) -> Iterator[str]:
    handle, name = tempfile.mkstemp(prefix="planish-", suffix=".so")
    try:
        with os.fdopen(handle, "wb") as temporary:
            temporary.write(code)
        yield name
    finally:
        os.unlink(name)


def linked(architecture: str, objects: Sequence[bytes], library: Any = None) -> bytes:
    """Return `objects`, code for `architecture`, and a `library` of TVM's as a shared library.

    Raises as `link`, and OSError where there is no place for temporary files.
    """
    with tempfile.TemporaryDirectory(prefix="planish-") as folder:
        path = Path(folder) / "network.so"
        link(path, architecture, objects, library)
        return path.read_bytes()


def link(path: Path, architecture: str, objects: Sequence[bytes], library: Any = None) -> None:
    """Write `objects`, code for `architecture`, and a `library` of TVM's to a shared one, `path`.

    Raises BackendError naming the tool where there is none for it or it fails.
    """
    tool, run = _tool(architecture)
    folder = str(path.parent)
    with _in_memory(folder):
        try:
            others = _written(objects, path.parent)

            def with_others(output: str, own: Sequence[str], **given: Any) -> None:
                run(output, [*own, *others], **given)

            with quietly():
                if library is None:
                    with_others(str(path), [])
                else:
                    library.export_library(str(path), fcompile=with_others, workspace_dir=folder)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            text = getattr(error, "stderr", None) or str(error)
            raise BackendError(
                f"'{tool}' cannot link code for {architecture} in '{folder}': "
                f"{' '.join(text.split())[-300:]}; give the folder more space or set TMPDIR to "
                "another, or name another compiler in CXX"
            ) from error


def _written(objects: Sequence[bytes], folder: Path) -> list[str]:
    paths = [folder / f"part{index}.o" for index in range(len(objects))]
    for path, code in zip(paths, objects, strict=True):
        path.write_bytes(code)
    return list(map(str, paths))


@contextlib.contextmanager
def _in_memory(folder: str) -> Iterator[None]:
    """Let the object files that LLVM writes in `folder` lie in memory, where the system can.

    LLVM ends the process where a disk is full. The linker, a process of its own, only fails.
    """
    with contextlib.ExitStack() as files:
        if hasattr(os, "memfd_create"):
            for name in _OBJECTS:
                file = files.enter_context(open(os.memfd_create(name), "wb", closefd=True))
                os.symlink(f"/proc/{os.getpid()}/fd/{file.fileno()}", Path(folder) / name)
        yield


def _tool(architecture: str) -> tuple[str, Callable[..., None]]:
    """Return the first tool that links for `architecture`, and a function of output and objects."""
    from tvm.support.cc import create_shared

    def compiler(name: str, *options: str) -> tuple[str, Callable[..., None]]:
        def run(output: str, objects: Sequence[str], **_: Any) -> None:
            create_shared(output, objects, [*options, *_STRIPPED], cc=name)

        return name, run

    def linker(name: str) -> tuple[str, Callable[..., None]]:
        def run(output: str, objects: Sequence[str], **_: Any) -> None:
            command = [name, "-shared", *_STRIPPED, "-o", output, *objects]
            subprocess.run(command, check=True, capture_output=True, text=True)

        return name, run

    asked = os.environ.get("CXX") or os.environ.get("CC")
    if asked:
        return compiler(asked)
    here = platform.machine().lower().replace("amd64", "x86_64").replace("arm64", "aarch64")
    triple = f"{architecture}-linux-gnu"
    cross = [f"{triple}-g++", f"{triple}-gcc"]
    for name in _COMPILERS if here == architecture else cross:
        if shutil.which(name):
            return compiler(name)
    for name in () if here == architecture else ("clang++", "clang"):
        if shutil.which(name):
            return compiler(name, f"--target={triple}", "-fuse-ld=lld", "-nostdlib")
    for name in _LINKERS if here == architecture else _LINKERS[:1]:
        if shutil.which(name):
            return linker(name)
    wanted = "gcc or lld" if here == architecture else f"{triple}-gcc or lld"
    raise BackendError(
        f"there is no linker for {architecture} here, which a library needs: install {wanted}, or "
        "name a compiler for it in CXX"
    )
