"""What the import contract cannot see: circles between files, and the names in them."""

import ast
import functools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("backends", "cli", "ir", "passes", "tools")


def _modules() -> dict[str, Path]:
    files = [*ROOT.glob("__*.py"), *(p for floor in FLOORS for p in (ROOT / floor).rglob("*.py"))]
    found = {}
    for path in files:
        parts = ["planish", *path.relative_to(ROOT).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()
_ASKED = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.Call)


@functools.cache
def _nodes(name: str) -> list[ast.AST]:
    """Return the nodes of a module that tests ask for: imports, classes and calls."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, _ASKED)]


def _imports(name: str) -> Iterator[str]:
    """Yield the modules of the package that a module names, in functions and for types as well."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in _nodes(name):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in MODULES else base


def _circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one module (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in arrows[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            circle = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(circle) > 1:
                found.append(sorted(circle))

    for name in arrows:
        if name not in index:
            visit(name)
    return found


def test_circles_are_found() -> None:
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a", "f"}, "f": {"e"}}
    assert _circles(arrows) == [["b", "c"], ["e", "f"]]


def test_no_modules_import_each_other() -> None:
    """Neither a package's `__init__` and what is in it: a package's pass stands above its helpers.

    The root is left out: it offers names of everything, which everything may not take from it.
    """
    arrows = {name: set(_imports(name)) & MODULES.keys() - {name} for name in MODULES}
    assert (
        "planish.ir.graph.view"
        in arrows["planish.ir.graph.edit"] | arrows["planish.passes.engine.rewrite"]
    )
    assert _circles(arrows) == []


def _classes() -> Iterator[tuple[str, ast.ClassDef]]:
    for name in MODULES:
        for node in _nodes(name):
            if isinstance(node, ast.ClassDef):
                yield name, node


def test_class_names_are_unique() -> None:
    """A name that is searched for leads to one class."""
    places: dict[str, list[str]] = defaultdict(list)
    for module, node in _classes():
        places[node.name].append(module)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def _by_position(node: ast.ClassDef) -> int:
    """Return how many fields of a dataclass can be given by position."""
    calls = [ast.unparse(each) for each in node.decorator_list]
    if not any(call.startswith("dataclass") and "kw_only=True" not in call for call in calls):
        return 0
    kinds = [ast.unparse(each.annotation) for each in node.body if isinstance(each, ast.AnnAssign)]
    if "KW_ONLY" in kinds:
        del kinds[kinds.index("KW_ONLY") :]
    return sum("ClassVar" not in kind for kind in kinds)


def test_dataclasses_over_five_fields_are_keyword_only() -> None:
    assert [f"{module}.{node.name}" for module, node in _classes() if _by_position(node) > 5] == []


def test_no_call_passes_ten_values_by_position() -> None:
    found = [
        f"{module}:{node.lineno}"
        for module in MODULES
        for node in _nodes(module)
        if isinstance(node, ast.Call)
        and sum(not isinstance(each, ast.Starred) for each in node.args) >= 10
    ]
    assert found == []


def test_tests_lie_in_the_rooms_of_the_package() -> None:
    folders = {path.parent for floor in FLOORS for path in (ROOT / "tests" / floor).rglob("*.py")}
    wanted = [str(path.relative_to(ROOT / "tests")) for path in sorted(folders)]
    assert [folder for folder in wanted if not (ROOT / folder).is_dir()] == []
