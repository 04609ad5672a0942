"""Inputs and outputs of a session, in the types that numpy has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..contract.port import Port

# Where ONNX Runtime calls a type otherwise than numpy.
_NAMES = {"float": "float32", "double": "float64", "string": "str"}


def ports_of(arguments: Iterable[Any]) -> tuple[Port, ...]:
    """Return inputs or outputs of a session; what is no tensor has the runtime's name for it."""
    return tuple(Port(each.name, _dtype(each.type), _sizes(each)) for each in arguments)


def _dtype(kind: str) -> str:
    inner = kind.removeprefix("tensor(").removesuffix(")") if kind.startswith("tensor(") else kind
    return _NAMES.get(inner, inner)


def _sizes(argument: Any) -> tuple[int | str | None, ...] | None:
    return tuple(argument.shape) if argument.type.startswith("tensor(") else None
