"""Objects of a certificate's file, of which fields are read that have to be of a type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from ..core.errors import CertificateError


@dataclass(frozen=True)
class Fields:
    """An object of the file. Reading a field that is of another type raises CertificateError."""

    held: Mapping[str, Any]
    path: Path
    place: str = ""

    def wrong(self, name: str) -> CertificateError:
        """Return the error that names a field."""
        where = f"{self.place}{name}"
        return CertificateError(f"'{self.path}' is no whole certificate: '{where}' is not right")

    def value(self, name: str) -> Any:
        """Return a field that has to be there."""
        if name not in self.held:
            raise self.wrong(name)
        return self.held[name]

    def text(self, name: str) -> str:
        """Return a text."""
        found = self.value(name)
        if not isinstance(found, str) or not _is_unicode(found):
            raise self.wrong(name)
        return found

    def name(self, name: str) -> str:
        """Return a text that can be printed."""
        found = self.text(name)
        if not found.isprintable():
            raise self.wrong(name)
        return found

    def word(self, name: str, known: Sequence[str]) -> str:
        """Return one of the words that are known."""
        found = self.text(name)
        if found not in known:
            raise self.wrong(name)
        return found

    def count(self, name: str) -> int:
        """Return a whole number."""
        found = self.value(name)
        if not is_count(found):
            raise self.wrong(name)
        return int(found)

    def number(self, name: str) -> float:
        """Return a finite number from 0 on."""
        found = self.value(name)
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise self.wrong(name)
        if not 0 <= found < 1e300:
            raise self.wrong(name)
        return float(found)

    def number_of(self, name: str, found: Any) -> float:
        """Return an item that has to be a finite number from 0 on."""
        return Fields({name: found}, self.path, self.place).number(name)

    def truth(self, name: str) -> bool:
        """Return a truth value."""
        found = self.value(name)
        if not isinstance(found, bool):
            raise self.wrong(name)
        return found

    def object(self, name: str) -> Fields:
        """Return an object."""
        found = self.value(name)
        if not isinstance(found, dict):
            raise self.wrong(name)
        return Fields(found, self.path, f"{self.place}{name}.")

    def items(self, name: str) -> list[Any]:
        """Return a list."""
        found = self.value(name)
        if not isinstance(found, list):
            raise self.wrong(name)
        return found

    def objects(self, name: str) -> Iterator[Fields]:
        """Yield the objects of a list."""
        for at, each in enumerate(self.items(name)):
            where = f"{name}[{at}]"
            if not isinstance(each, dict):
                raise self.wrong(where)
            yield Fields(each, self.path, f"{where}.")

    def pair(self, name: str, found: Any) -> tuple[str, str]:
        """Return a list of two texts."""
        if not isinstance(found, list) or [type(each) for each in found] != [str, str]:
            raise self.wrong(name)
        return found[0], found[1]

    def counts(self) -> dict[str, int]:
        """Return whole numbers by name."""
        return {name: self.count(name) for name in self.held}


def is_count(found: Any) -> TypeGuard[int]:
    """Say whether a value is a whole number, and no larger than any count is."""
    return type(found) is int and 0 <= found < 1 << 31


def _is_unicode(text: str) -> bool:
    return not any(0xD800 <= ord(each) < 0xE000 for each in text)
