"""The reasons for which a pass leaves a site alone, as they stand in its source.

From the class of the pass, every definition that it uses is followed, as far as it lies in the same
room or says what an operator means; the reasons are what is given there to `need`,
`context.decline` and `DeclinedError`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from ...engine.contract import Pass
from .source import Place, Source, definition_of, nodes_of

_OPEN = "..."  # stands for what depends on the site
_DEEPEST = 4
_PACKAGE = __name__.partition(".passes.")[0]


def reasons_of(kind: type[Pass]) -> tuple[str, ...]:
    """Return the reasons of a pass, the nearest to its class first, each once."""
    packages = (_room(kind.__module__), f"{_PACKAGE}.ir.ops")
    found: dict[str, None] = {}
    for source, definition in _reached((kind.__module__, kind.__name__), packages):
        for node in nodes_of(definition):
            reason = _reason(node)
            if reason is not None:
                here = _Expression(reason, source, definition, packages)
                found |= dict.fromkeys(here.texts())
    return tuple(text for text in found if text.strip(f" {_OPEN}"))


def _room(module: str) -> str:
    """Return the package whose modules belong to the pass: a room, or the whole of a plug-in."""
    parts = module.split(".")
    return ".".join(parts[:3] if module.startswith(f"{_PACKAGE}.passes.") else parts[:1])


def _reached(start: Place, packages: tuple[str, ...]) -> Iterator[tuple[Source, ast.stmt]]:
    """Yield the definitions used from `start` on, the nearest first."""
    waiting, seen = [start], set()
    for place in waiting:  # grows while it is walked
        found = definition_of(place, packages)
        if found is not None and id(found[1]) not in seen:
            seen.add(id(found[1]))
            yield found
            source, definition = found
            waiting.extend(source.uses(definition))


def _reason(node: ast.AST) -> ast.expr | None:
    """Return what a call gives as its reason to leave something alone."""
    if not isinstance(node, ast.Call) or not node.args:
        return None
    name = _called(node)
    if name in ("need", "decline") and len(node.args) == 2:
        return node.args[1]
    return node.args[0] if name == "DeclinedError" else None


def _functions(inside: ast.stmt) -> list[ast.FunctionDef]:
    return [node for node in nodes_of(inside) if isinstance(node, ast.FunctionDef)]


def _calls(inside: ast.stmt, function: str) -> Iterator[ast.Call]:
    for node in nodes_of(inside):
        if isinstance(node, ast.Call) and _called(node) == function:
            yield node


def _called(call: ast.Call) -> str:
    """Return the name of what is called, as a function or a method."""
    if isinstance(call.func, ast.Name):
        return call.func.id
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


@dataclass(frozen=True)
class _Expression:
    """An expression in a definition, and the packages in which its names are looked up."""

    node: ast.expr
    source: Source
    inside: ast.stmt
    packages: tuple[str, ...]

    def texts(self, depth: int = 0) -> Iterator[str]:
        """Yield the texts that it can be, as far as they stand in the source."""
        if isinstance(self.node, ast.Constant):
            yield from (self.node.value,) if isinstance(self.node.value, str) else ()
        elif isinstance(self.node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else _OPEN for p in self.node.values)
            yield "".join(map(str, parts))
        elif depth < _DEEPEST:
            for part in self._parts():
                yield from part.texts(depth + 1)

    def _parts(self) -> Iterator[_Expression]:
        """Yield what it can be: its branches, what its name holds, what its function returns."""
        if isinstance(self.node, ast.IfExp):
            yield from map(self._beside, (self.node.body, self.node.orelse))
        elif isinstance(self.node, ast.BoolOp):
            yield from map(self._beside, self.node.values)
        elif isinstance(self.node, ast.Name):
            yield from self._held(self.node.id)
            yield from self._passed(self.node.id)
        elif isinstance(self.node, ast.Call):
            yield from self._returned(_called(self.node))

    def _beside(self, node: ast.expr) -> _Expression:
        return _Expression(node, self.source, self.inside, self.packages)

    def _held(self, name: str) -> Iterator[_Expression]:
        for source, inside in self._definitions(name) or [(self.source, self.inside)]:
            for node in nodes_of(inside):
                if isinstance(node, ast.Assign) and any(
                    isinstance(target, ast.Name) and target.id == name for target in node.targets
                ):
                    yield _Expression(node.value, source, inside, self.packages)

    def _passed(self, name: str) -> Iterator[_Expression]:
        """Yield what the module passes for `name` where that is a parameter, by its position."""
        for function in _functions(self.inside):
            names = [each.arg for each in function.args.args]
            if name not in names:
                continue
            place = names.index(name) - (names[0] == "self")
            for inside in self.source.definitions.values():
                for call in _calls(inside, function.name):
                    if place < len(call.args):
                        yield _Expression(call.args[place], self.source, inside, self.packages)

    def _returned(self, name: str) -> Iterator[_Expression]:
        for source, inside in self._definitions(name):
            for node in nodes_of(inside):
                if isinstance(node, ast.Return) and node.value is not None:
                    yield _Expression(node.value, source, inside, self.packages)

    def _definitions(self, name: str) -> list[tuple[Source, ast.stmt]]:
        found = definition_of((self.source.name, name), self.packages)
        return [found] if found else []
