"""mypy --strict over the package `planish`, whatever the checkout's folder is called.

The repository root is the package, so mypy cannot find it by name: every module is handed over with
the name it is imported by.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mypy import build, main
from mypy.modulefinder import BuildSource

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("ir", "passes", "backends", "cli")


def sources() -> list[BuildSource]:
    """Return every module of the package."""
    paths = [*ROOT.glob("_*.py"), *(p for floor in FLOORS for p in (ROOT / floor).rglob("*.py"))]
    found = []
    for path in sorted(paths):
        parts = ("planish", *path.relative_to(ROOT).with_suffix("").parts)
        name = ".".join(parts).removesuffix(".__init__")
        found.append(BuildSource(str(path), name, None))
    return found


if __name__ == "__main__":
    _, options = main.process_options(
        ["--config-file", str(ROOT / "pyproject.toml"), "-c", "pass", *sys.argv[1:]]
    )
    result = build.build(sources(), options)
    for line in result.errors:
        print(line)
    print(f"{len(result.errors)} lines of errors" if result.errors else "mypy: no issues")
    sys.exit(bool(result.errors))
