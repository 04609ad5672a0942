"""The source of modules: what each top-level name is, and which names its definition uses."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# A module and a name in it; no name for the module itself.
Place = tuple[str, str]


@dataclass
class Source:
    """One module: its definitions, and what its other names were imported from."""

    name: str
    definitions: dict[str, ast.stmt] = field(default_factory=dict)
    imports: dict[str, Place] = field(default_factory=dict)

    def uses(self, definition: ast.AST) -> Iterator[Place]:
        """Yield the places of all names that `definition` uses, of this module or imported."""
        for node in nodes_of(definition):
            if isinstance(node, ast.Name):
                if node.id in self.imports:
                    yield self.imports[node.id]
                elif node.id in self.definitions:
                    yield self.name, node.id
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module, name = self.imports.get(node.value.id, ("", ""))
                yield (f"{module}.{name}", node.attr)


@functools.cache  # passes share what says what operators mean, and are described one by one
def nodes_of(definition: ast.AST) -> tuple[ast.AST, ...]:
    """Return all nodes of a definition, as `ast.walk` yields them."""
    return tuple(ast.walk(definition))


@functools.cache
def read_source(module: str) -> Source | None:
    """Read a module's file, or return None where it has none that is Python."""
    try:
        spec = importlib.util.find_spec(module)
        text = Path(spec.origin).read_text("utf-8") if spec and spec.origin else ""
        tree = ast.parse(text)
    except (AttributeError, ImportError, OSError, SyntaxError, ValueError):
        return None
    package = module if spec and spec.submodule_search_locations else module.rpartition(".")[0]
    source = Source(module)
    for statement in tree.body:
        for name in _defined(statement):
            source.definitions[name] = statement
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                source.imports[alias.asname or alias.name] = base, alias.name
    return source


def definition_of(place: Place, packages: Sequence[str]) -> tuple[Source, ast.stmt] | None:
    """Return where a name is defined, through the modules of `packages` that import it."""
    for _ in range(10):
        source = read_source(place[0]) if _lies_in(place[0], packages) else None
        if source is None:
            return None
        if place[1] in source.definitions:
            return source, source.definitions[place[1]]
        if place[1] not in source.imports:
            return None
        place = source.imports[place[1]]
    return None


def _lies_in(module: str, packages: Sequence[str]) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in packages)


def _defined(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    targets = [getattr(statement, "target", None), *getattr(statement, "targets", ())]
    yield from (target.id for target in targets if isinstance(target, ast.Name))
