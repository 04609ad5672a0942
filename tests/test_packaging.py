"""What a built distribution holds."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_package_is_distributed():
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = set(tomllib.load(file)["tool"]["setuptools"]["packages"])
    found = {"planish"}
    for top in ("backends", "ir", "passes"):
        for init in (ROOT / top).rglob("__init__.py"):
            found.add(".".join(("planish", *init.parent.relative_to(ROOT).parts)))
    assert listed == found
