"""What a compiled network says of itself: what it was made for, its inputs and outputs."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_TEXTS = ("target", "isa", "architecture", "tvm", "kernels", "onnxruntime", "verdict")

_SHOWN = 5  # nodes in a line


@dataclass(frozen=True)
class Tensor:
    """Name, element type and sizes of an input or output; unknown sizes are names or null."""

    name: str
    dtype: str
    shape: list[int | str | None] | None


@dataclass(frozen=True, kw_only=True)
class Header:
    """What an artifact was made for: `isa` is an instruction set, or a GPU's architecture.

    `arena`: bytes of memory that a run works in, if it is to be given them. `kernels`: what
    comparing them one by one has found. `elsewhere`: nodes that ONNX Runtime runs, and
    `onnxruntime` its version, empty where it is not needed. `verdict`: what comparing the network
    with its model has found, empty where they were not compared. `defaults`: the inputs that need
    no feed; their values are the last of the constants, in this order.
    """

    target: str
    isa: str
    architecture: str
    tvm: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    arena: int = 0
    kernels: str = ""
    elsewhere: tuple[str, ...] = ()
    onnxruntime: str = ""
    verdict: str = ""
    defaults: tuple[str, ...] = ()


@dataclass(frozen=True)
class StoredConstant:
    """A constant in an artifact."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Its bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Contents:
    """What lies behind a header: bytes of the library and of GPU kernels, and the constants."""

    code: int
    device: int
    constants: tuple[StoredConstant, ...]


def header_of(
    graph: Any,
    *,
    target: str,
    isa: str,
    architecture: str,
    arena: int = 0,
    kernels: str = "",
    elsewhere: Sequence[str] = (),
) -> Header:
    """Return the header of `graph` compiled for a kind of target, run from `architecture`."""
    import onnxruntime
    import tvm

    from ....ir.core.variables import dense_values

    return Header(
        target=target,
        isa=isa,
        architecture=architecture,
        tvm=tvm.__version__,
        inputs=[_described(t) for t in graph.inputs],
        outputs=[_described(t) for t in graph.outputs],
        arena=arena,
        kernels=kernels,
        elsewhere=tuple(elsewhere),
        onnxruntime=onnxruntime.__version__ if elsewhere else "",
        defaults=tuple(t.name for t in graph.inputs if dense_values(t) is not None),
    )


def default_values(graph: Any) -> list[np.ndarray[Any, Any]]:
    """Return the values of the inputs of `graph` that have defaults, in order."""
    from ....ir.core.variables import dense_values

    found = map(dense_values, graph.inputs)
    # numpy's ascontiguousarray would make one axis of none.
    return [np.require(values, None, "C") for values in found if values is not None]


def remarks_of(head: Header) -> tuple[str, ...]:
    """Return what a person should know of a network: lines on its kernels and what it needs."""
    lines = [f"kernels: {head.kernels}"] if head.kernels else []
    if head.elsewhere:
        shown = ", ".join(head.elsewhere[:_SHOWN])
        more = len(head.elsewhere) - _SHOWN
        rest = f" and {more} more" if more > 0 else ""
        lines.append(f"needs ONNX Runtime, made with {head.onnxruntime}, which runs {shown}{rest}")
    return tuple(lines)


def lines_of(head: Header) -> list[str]:
    """Return all that a header says, for people."""
    made = f"compiled by TVM {head.tvm} for {head.target}, isa {head.isa}, from {head.architecture}"
    sides = [("input", tensor) for tensor in head.inputs]
    sides += [("output", tensor) for tensor in head.outputs]
    ends = [f"{side} {t.name}: {t.dtype} {t.shape}" for side, t in sides]
    return [made, *ends, f"lowered: {head.verdict or 'not verified'}", *remarks_of(head)]


def host_architecture() -> str:
    """Return the name of this machine's instruction set family."""
    return platform.machine().lower().replace("amd64", "x86_64")


def to_json(head: Header, code: int, device: int, constants: Sequence[Any]) -> bytes:
    """Return a header, and what lies behind it, as text."""
    listing = [{"dtype": str(c.dtype), "shape": list(c.shape)} for c in constants]
    sizes = {"code": code, "device": device, "constants": listing}
    return json.dumps({**asdict(head), **sizes}).encode()


def from_json(text: bytes) -> tuple[Header, Contents]:
    """Return what `to_json` was given. Raises ValueError where that is not what `text` says."""
    try:
        found = json.loads(text)
        head = Header(
            **{key: _text(found[key]) for key in _TEXTS},
            inputs=[_tensor(entry) for entry in found["inputs"]],
            outputs=[_tensor(entry) for entry in found["outputs"]],
            arena=_size(found["arena"]),
            defaults=tuple(_text(name) for name in found.get("defaults", ())),
            elsewhere=tuple(_text(name) for name in _list(found["elsewhere"])),
        )
        parts = tuple(_part(entry) for entry in found["constants"])
        if not {*head.defaults} <= {t.name for t in head.inputs} or len(head.defaults) > len(parts):
            raise ValueError("defaults of no inputs")
        device = _size(found["device"])
        if (head.target == "cuda") != bool(device):
            raise ValueError(f"{device} bytes of GPU kernels for target '{head.target}'")
        return head, Contents(_size(found["code"]), device, parts)
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no header of a network: {error}") from error


def _described(tensor: Any) -> Tensor:
    shape = tensor.shape
    sizes = None if shape is None else [d if isinstance(d, int | str) else None for d in shape]
    return Tensor(tensor.name, str(np.dtype(tensor.dtype)), sizes)


def _text(found: Any) -> str:
    if not isinstance(found, str):
        raise ValueError(f"{found!r} is no text")
    return found


def _list(found: Any) -> list[Any]:
    if not isinstance(found, list):
        raise ValueError(f"{found!r} is no list")
    return found


def _size(found: Any) -> int:
    if type(found) is not int or found < 0:
        raise ValueError(f"{found!r} is no size")
    return found


def _tensor(found: Any) -> Tensor:
    shape = found["shape"]
    if shape is not None:
        shape = [size if size is None or isinstance(size, str) else _size(size) for size in shape]
    return Tensor(_text(found["name"]), str(_dtype(found["dtype"])), shape)


def _part(found: Any) -> StoredConstant:
    return StoredConstant(_dtype(found["dtype"]), tuple(_size(size) for size in found["shape"]))


def _dtype(found: Any) -> np.dtype[Any]:
    dtype = np.dtype(_text(found))
    if dtype.hasobject or dtype.names or dtype.subdtype or not dtype.itemsize:
        raise ValueError(f"{found!r} is no type of numbers")
    return dtype
