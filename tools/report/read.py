"""A document read back from its JSON."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from ...ir.core.errors import LoadError
from .document import SCHEMA, ReportDocument

_NUMBERS = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}


def read_report(found: Mapping[str, Any], source: str) -> ReportDocument:
    """Return the document that `ReportDocument.as_json` made; `source` names it in messages.

    Keys that are not known are left out. Raises LoadError where it is of another form.
    """
    if found.get("schema") != SCHEMA:
        raise LoadError(
            f"'{source}' is a report of the form {found.get('schema')!r}, and this planish reads "
            f"{SCHEMA!r}; make it again"
        )
    try:
        report = _of_type(ReportDocument, found)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise LoadError(f"'{source}' is no whole report: {error}; make it again") from error
    assert isinstance(report, ReportDocument)
    return report


def _of_type(kind: Any, value: Any) -> Any:
    """Return `value` as an annotation of the document has it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        known = {
            f.name: _of_type(hints[f.name], value[f.name]) for f in fields(kind) if f.name in value
        }
        return kind(**known)
    if origin in (types.UnionType, typing.Union):
        inner = next(each for each in arguments if each is not types.NoneType)
        return None if value is None else _of_type(inner, value)
    if origin is tuple:
        inner = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_of_type(each, item) for each, item in zip(inner, value, strict=True))
    if origin is dict:
        return {key: _of_type(arguments[1], item) for key, item in value.items()}
    if kind is float and isinstance(value, str):
        return _NUMBERS[value]
    return value
