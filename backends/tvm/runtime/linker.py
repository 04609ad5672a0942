"""Machine code to a shared library: the one step that a tool outside of TVM does."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ....ir.core.errors import BackendError

_COMPILERS = ("g++", "gcc", "clang++", "clang", "c++", "cc")
_LINKERS = ("ld.lld", "ld")  # kernels call nothing that the process which loads them lacks


def link(library: Any, path: str | Path, architecture: str) -> None:
    """Write `library`, code for `architecture`, to the shared library `path`.

    Raises BackendError naming the tool where there is none for it or it fails.
    """
    tool, run = _tool(architecture)
    try:
        library.export_library(str(path), fcompile=run)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        text = getattr(error, "stderr", None) or str(error)
        raise BackendError(
            f"'{tool}' cannot link code for {architecture}: {' '.join(text.split())[-300:]}; name "
            "another compiler in CXX"
        ) from error


def _tool(architecture: str) -> tuple[str, Callable[..., None]]:
    """Return the first tool that links for `architecture`, and a function of output and objects."""
    from tvm.support.cc import create_shared

    def compiler(name: str, *options: str) -> tuple[str, Callable[..., None]]:
        def run(output: str, objects: Sequence[str], **_: Any) -> None:
            create_shared(output, objects, list(options), cc=name)

        return name, run

    def linker(name: str) -> tuple[str, Callable[..., None]]:
        def run(output: str, objects: Sequence[str], **_: Any) -> None:
            command = [name, "-shared", "-o", output, *objects]
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
