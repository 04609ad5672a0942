"""Targets: what a graph is lowered for, as text: `cpu`, `cuda`, `cpu{threads=2}`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .errors import BackendError, PipelineError
from .kind import kind_of
from .nearest import nearest
from .option_text.items import Word, read_items

_INTEGERS = frozenset({"threads"})


@dataclass(frozen=True)
class Target:
    """A kind of device and its options, such as the instruction set."""

    kind: str
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read `kind{key=value,...}`; raises BackendError with carets under the place."""
        if not isinstance(text, str):
            raise BackendError(f"the target is {kind_of(text)}; give its text, such as 'cpu'")
        try:
            items = read_items(text)
        except PipelineError as error:
            raise BackendError(f"target: {error}") from error
        if len(items) != 1:
            raise BackendError(f"target '{text}' names {len(items)} devices; name one")
        options: dict[str, str] = {}
        for key, value in items[0].options:
            if not isinstance(value, Word):
                raise BackendError(f"option '{key.text}' of target '{text}' needs one value")
            if key.text in options:
                raise BackendError(f"option '{key.text}' of target '{text}' is given twice")
            if key.text in _INTEGERS and not value.text.isdecimal():
                raise BackendError(
                    f"option '{key.text}' of target '{text}' takes a whole number, not "
                    f"'{value.text}'"
                )
            options[key.text] = value.text
        return cls(items[0].name.text, tuple(options.items()))

    def known_options(self, known: Sequence[str]) -> dict[str, str]:
        """Return the options; raises BackendError for one that is not among `known`."""
        for name, _ in self.options:
            if name not in known:
                raise BackendError(
                    f"target '{self}' has the unknown option '{name}'{nearest(name, known)}"
                )
        return dict(self.options)

    @property
    def threads(self) -> int | None:
        """The `threads` option, or None."""
        found = dict(self.options).get("threads")
        return None if found is None else int(found)

    def __str__(self) -> str:
        """Write the target as text that `parse` reads back."""
        inner = ",".join(f"{key}={value}" for key, value in self.options)
        return f"{self.kind}{{{inner}}}" if inner else self.kind
