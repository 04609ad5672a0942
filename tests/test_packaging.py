"""What a built distribution holds."""

import runpy
from pathlib import Path

import setuptools

ROOT = Path(__file__).parents[1]


def test_every_package_is_distributed(monkeypatch):
    given = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", lambda **arguments: given.update(arguments))
    runpy.run_path(str(ROOT / "setup.py"))
    found = {"planish"}
    floors = {path.parent for path in ROOT.glob("*/__init__.py")} - {ROOT / "tests"}
    names = {top.name for top in floors}
    assert names == {"backends", "cli", "integrations", "ir", "passes", "tools"}
    for top in floors:
        for source in top.rglob("*.py"):
            found.add(".".join(("planish", *source.parent.relative_to(ROOT).parts)))
    assert set(given["packages"]) == found
