"""mypy --strict over the package `planish` and the template plug-in, which sees public names alone.

The repository root is the package, whatever the checkout's folder is called, so mypy cannot find it
by name: every module is handed over with the name it is imported by.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mypy import build, main
from mypy.modulefinder import BuildSource

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("ir", "passes", "backends", "integrations", "tools", "cli")
PLUGIN = ROOT / "examples" / "plugin" / "src"


def sources() -> list[BuildSource]:
    """Return every module of both."""
    paths = [*ROOT.glob("_*.py"), *(p for floor in FLOORS for p in (ROOT / floor).rglob("*.py"))]
    own = [_source(path, "planish", *path.relative_to(ROOT).parts) for path in sorted(paths)]
    return own + [_source(p, *p.relative_to(PLUGIN).parts) for p in sorted(PLUGIN.rglob("*.py"))]


def _source(path: Path, *parts: str) -> BuildSource:
    name = ".".join(parts).removesuffix(".py").removesuffix(".__init__")
    return BuildSource(str(path), name, None)


if __name__ == "__main__":
    _, options = main.process_options(
        ["--config-file", str(ROOT / "pyproject.toml"), "-c", "pass", *sys.argv[1:]]
    )
    result = build.build(sources(), options)
    for line in result.errors:
        print(line)
    print(f"{len(result.errors)} lines of errors" if result.errors else "mypy: no issues")
    sys.exit(bool(result.errors))
