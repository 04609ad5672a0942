"""A backend with options as text: `onnxruntime{optimization=extended,spinning=false}`.

Written as pipelines and targets are. Values have no declared types: `true`, `false`, `none`,
numbers and lists are read as such, and what is quoted is text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...ir.core.errors import BackendError, PipelineError
from ...ir.core.kind import kind_of
from ...ir.core.option_text.items import Value, read_items
from ...ir.core.option_text.options import show_value

_WORDS = {"true": True, "false": False, "none": None}


@dataclass(frozen=True)
class BackendText:
    """The name of a backend, and options of its `lower`."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> BackendText:
        """Read `name{option=value,...}`. Raises BackendError with carets under the place."""
        try:
            items = read_items(as_text(text))
        except PipelineError as error:
            raise BackendError(f"backend: {error}") from error
        if len(items) != 1:
            raise BackendError(f"backend '{text}' names {len(items)} backends; name one")
        options: dict[str, Any] = {}
        for key, value in items[0].options:
            name = key.text.replace("-", "_")
            if name in options:
                raise BackendError(f"option '{key.text}' of backend '{text}' is given twice")
            options[name] = True if value is None else _value(value)
        return cls(items[0].name.text, options)

    def with_options(self, **others: Any) -> BackendText:
        """Return the same backend with these options as well."""
        return BackendText(self.name, {**self.options, **others})

    def __str__(self) -> str:
        """Write it as text that `parse` reads back."""
        shown = [f"{key.replace('_', '-')}={show_value(v)}" for key, v in self.options.items()]
        return f"{self.name}{{{','.join(shown)}}}" if shown else self.name


def as_text(backend: object) -> str:
    """Return `backend` where it is text. Raises BackendError that says what it is instead."""
    if not isinstance(backend, str):
        raise BackendError(
            f"the backend is {kind_of(backend)}; give its name, such as 'onnxruntime'"
        )
    return backend


def _value(value: Value) -> Any:
    if isinstance(value, list):
        return [_value(each) for each in value]
    if value.quoted:
        return value.text
    if value.text in _WORDS:
        return _WORDS[value.text]
    for kind in (int, float):
        try:
            return kind(value.text)
        except ValueError:
            continue
    return value.text
