"""Names with options, and groups of them, read from text.

    text   = item *("," item)
    item   = name ["{" [option *("," option)] "}"] / group "(" item *("," item) ")"
    option = key ["=" value]              ; a key alone means true
    value  = word / string / "[" [value *("," value)] "]"

Pipelines and targets are written like this. Strings are quoted as in JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass

from ..errors import PipelineError

_TOKEN = re.compile(r'\s*(?:([{}()\[\],=])|("(?:[^"\\]|\\.)*")|([^\s{}()\[\],="]+))')
_DEEPEST = 20


@dataclass(frozen=True)
class Word:
    """A piece of text with its place, so that an error can point at it."""

    text: str
    start: int
    quoted: bool = False
    written: int | None = None  # characters it takes in the text, where not those of `text`

    @property
    def end(self) -> int:
        """Index just after the word."""
        return self.start + max(len(self.text) if self.written is None else self.written, 1)


Value = Word | list["Value"]


@dataclass(frozen=True)
class Item:
    """One name with its options, or a group of items, as written."""

    name: Word
    options: tuple[tuple[Word, Value | None], ...]
    group: tuple[Item, ...] | None = None


def read_items(text: str, groups: Collection[str] = ()) -> list[Item]:
    """Split `text` into items; raises PipelineError with carets under the place.

    `groups` are the names that are followed by items in parentheses.
    """
    return _ItemReader(text, groups).items()


def fail(text: str, word: Word, message: str) -> PipelineError:
    """Return a PipelineError that shows `text` with carets under `word`."""
    line = "".join(" " if char.isspace() or not char.isprintable() else char for char in text)
    carets = " " * word.start + "^" * (word.end - word.start)
    return PipelineError(f"{message}\n  {line}\n  {carets}")


class _ItemReader:
    def __init__(self, text: str, groups: Collection[str]) -> None:
        self._text = text
        self._groups = groups
        self._tokens: list[tuple[str, Word]] = []
        position = 0
        end = len(text.rstrip())
        while position < end:
            found = _TOKEN.match(text, position)
            if found is None:
                start = text.index('"', position)
                raise fail(text, Word('"', start), "a quoted string is not closed; add '\"'")
            mark, string, bare = found.groups()
            start = found.start(1 if mark else 2 if string else 3)
            if string:
                try:
                    word = Word(json.loads(string), start, quoted=True, written=len(string))
                except ValueError:
                    raise fail(
                        text, Word(string, start), "a quoted string is not valid JSON"
                    ) from None
                self._tokens.append(("value", word))
            else:
                self._tokens.append((mark or "word", Word(mark or bare, start)))
            position = found.end()
        self._next = 0

    def items(self) -> list[Item]:
        items = [self._item()]
        while self._accept(","):
            items.append(self._item())
        kind, word = self._peek()
        if kind != "end":
            raise fail(self._text, word, f"expected ',' between passes, found '{word.text}'")
        return items

    def _item(self, depth: int = 0) -> Item:
        name = self._expect("word", "a pass name")
        if name.text in self._groups:
            return self._group(name, depth)
        options: list[tuple[Word, Value | None]] = []
        if self._accept("{") and not self._accept("}"):
            while True:
                key = self._expect("word", "an option name")
                options.append((key, self._value() if self._accept("=") else None))
                if not self._accept(","):
                    break
            self._expect("}", "',' or '}'")
        return Item(name, tuple(options))

    def _group(self, name: Word, depth: int) -> Item:
        if depth > _DEEPEST:
            raise fail(self._text, name, f"groups are nested over {_DEEPEST} deep")
        self._expect("(", f"'(' after '{name.text}'")
        items = [self._item(depth + 1)]
        while self._accept(","):
            items.append(self._item(depth + 1))
        self._expect(")", "',' or ')'")
        return Item(name, (), tuple(items))

    def _value(self, depth: int = 0) -> Value:
        if depth > _DEEPEST:
            raise fail(self._text, self._peek()[1], f"lists are nested over {_DEEPEST} deep")
        if self._accept("["):
            values: list[Value] = []
            if self._accept("]"):
                return values
            values.append(self._value(depth + 1))
            while self._accept(","):
                values.append(self._value(depth + 1))
            self._expect("]", "',' or ']'")
            return values
        kind, word = self._peek()
        if kind not in ("word", "value"):
            raise fail(self._text, word, f"expected a value, found {_found(kind, word)}")
        self._next += 1
        return word

    def _peek(self) -> tuple[str, Word]:
        if self._next < len(self._tokens):
            return self._tokens[self._next]
        return "end", Word("", len(self._text))

    def _accept(self, kind: str) -> bool:
        if self._peek()[0] != kind:
            return False
        self._next += 1
        return True

    def _expect(self, kind: str, what: str) -> Word:
        found, word = self._peek()
        if found != kind:
            raise fail(self._text, word, f"expected {what}, found {_found(found, word)}")
        self._next += 1
        return word


def _found(kind: str, word: Word) -> str:
    return "the end of the text" if kind == "end" else f"'{word.text}'"
