"""Code of a program, as it was compiled or loaded."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any


@dataclass(frozen=True)
class Built:
    """A library for the host, and what a run of it needs besides.

    `code`: it linked already, where `library` is only a part. `arena`: bytes of memory that every
    run is to be lent. `device`: the kernels of a GPU in TVM's
    serialized form, `source` their CUDA source. `elsewhere`: nodes that ONNX Runtime runs.
    `single_call`: all kernels are one function's calls.
    """

    library: Any
    _: KW_ONLY
    arena: int = 0
    device: bytes = b""
    source: str = ""
    code: bytes = b""
    elsewhere: tuple[str, ...] = ()
    single_call: bool = False
