"""Asking the table."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import onnx_graphsurgeon as gs

from ...core.variables import FUSED_DOMAIN, is_standard
from . import arithmetic, layers, movement, schemas, unary
from .lines import Known, Line
from .model import NOTHING, Integers, Traits
from .recognized import NEWEST, RECOGNIZED, FusedName, read_name, value_of

_TABLE: dict[str, Line] = {
    **unary.FUNCTIONS,
    **arithmetic.ARITHMETIC,
    **movement.MOVEMENT,
    **movement.CONSTANTS,
    **layers.LAYERS,
    **layers.POOLING,
    **layers.REDUCTIONS,
    **layers.ALONG_AXES,
    **layers.NORMALIZATIONS,
    **layers.QUANTIZERS,
    **layers.RECURRENT,
    **layers.RANDOM,
}
_UNLISTED = Line({"data": None})


def traits_of(node_or_op: gs.Node | str, opset: int) -> Traits:
    """Return what is known of a node, or of an operator whose attributes have their defaults.

    `NOTHING` for operators of unknown domains and those that `opset` does not have.
    """
    if isinstance(node_or_op, str):
        return _of_operator(node_or_op, opset)
    node = node_or_op
    if node.domain == FUSED_DOMAIN:
        return _of_function(str(node.op))
    if not is_standard(node):
        return NOTHING
    return _of_attributes(str(node.op), opset, node.attrs)


def operators_with(has: Callable[[Traits], bool]) -> frozenset[str]:
    """Return the operators, of any opset, for which `has` holds with attributes at their defaults.

    Recognized functions of the domain `planish` are among them, by their names there.
    """
    named = {op for op in schemas.operators() if any(map(has, _versions(op)))}
    return frozenset(named | {name for name in RECOGNIZED if has(_of_function(name))})


@functools.cache
def _versions(op: str) -> tuple[Traits, ...]:
    return tuple(_of_operator(op, opset) for opset in schemas.opsets_of(op))


@functools.lru_cache(maxsize=4096)
def _of_operator(op: str, opset: int) -> Traits:
    return _of_attributes(op, opset, {})


@functools.lru_cache(maxsize=1024)
def _of_function(name: str) -> Traits:
    if name in RECOGNIZED:
        op, attributes = RECOGNIZED[name]
        return _of_attributes(op, NEWEST, attributes)
    parts = read_name(name)
    return NOTHING if parts is None else _of_fused(parts)


def _of_fused(parts: FusedName) -> Traits:
    """Return what is known of a layer with the activation and the pooling behind it."""
    known, name = _of_operator(parts.layer, NEWEST), parts.activation
    activation = _of_function(name) if name in RECOGNIZED else _of_operator(name, NEWEST)
    low, high = activation.low, activation.high
    if parts.pool and not _of_operator(parts.pool, NEWEST).selects:  # a mean, up to rounding
        low, high = (0.0 if low >= 0 else -math.inf), (0.0 if high <= 0 else math.inf)
    unknown: Known = {"weighted": None, "data": None, "nan": False, "integers": Integers.NONE}
    return replace(known, low=low, high=high, **unknown)


def _of_attributes(op: str, opset: int, attributes: Mapping[str, Any]) -> Traits:
    refine = _TABLE.get(op, _UNLISTED).refine
    names = () if refine is None else refine.attributes
    if not names:
        return _refined(op, opset, ())
    values = tuple(value_of(op, attributes, name, opset) for name in names)
    if any(isinstance(value, gs.Node.AttributeRef) for value in values):
        return _stated_alone(op, opset)  # whoever calls the function decides
    return _refined(op, opset, values)


@functools.lru_cache(maxsize=4096)
def _refined(op: str, opset: int, values: tuple[Any, ...]) -> Traits:
    known = _known(op, opset)
    refine = _TABLE.get(op, _UNLISTED).refine
    if known is None:
        return NOTHING
    return Traits(**known if refine is None else known | refine(opset, values))


@functools.lru_cache(maxsize=4096)
def _known(op: str, opset: int) -> Known | None:
    """Return what holds whatever the attributes are."""
    schema = schemas.schema_of(op, opset)
    if schema is None:
        return None
    found = _stated(op, schema) | dict(_TABLE.get(op, _UNLISTED).known)
    if not schemas.takes_integers(schema, found.get("data", Traits().data)):
        found["integers"] = Integers.NONE  # those came with a later version
    return found


def _stated_alone(op: str, opset: int) -> Traits:
    schema = schemas.schema_of(op, opset)
    return NOTHING if schema is None else replace(NOTHING, **_stated(op, schema))


def _stated(op: str, schema: Any) -> Known:
    """Return the traits that the schema states."""
    return {
        "op": op,
        "since": int(schema.since_version),
        "pure": schemas.is_deterministic(schema) and schemas.gives_tensors(schema),
        "bodies": schemas.has_bodies(schema),
        "windowed": "kernel_shape" in schema.attributes,
        "layer": op if op in layers.LAYERS else "",
    }
