"""The table of the passes that come with planish: complete, and imported one by one."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import planish.passes
from planish import Pass
from planish.passes.pipeline.builtin import BUILTIN, is_builtin, load_builtin
from planish.passes.pipeline.registry import all_passes


def _passes_in_the_tree():
    found = set()
    for module in pkgutil.walk_packages(planish.passes.__path__, "planish.passes."):
        for kind in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(kind) and issubclass(kind, Pass) and not inspect.isabstract(kind):
                found.add(kind)
    return {kind for kind in found if kind.__module__.startswith("planish.passes.")}


def test_every_pass_is_in_the_table_once():
    loaded = [load_builtin(name) for name in BUILTIN]
    assert set(loaded) == _passes_in_the_tree()
    assert len(set(loaded)) == len(BUILTIN)


@pytest.mark.parametrize("name", BUILTIN)
def test_names_agree(name):
    kind = load_builtin(name)
    assert kind.name == name
    assert is_builtin(kind)
    assert all_passes()[name] is kind


def test_a_class_of_the_same_name_is_another():
    class FoldPad(load_builtin("fold-pad")):
        pass

    assert not is_builtin(FoldPad)


def test_the_table_is_in_order():
    assert list(BUILTIN) == sorted(BUILTIN)


def test_a_pipeline_imports_its_own_passes_alone():
    script = """
import sys
import planish
planish.Pipeline.parse("fold-batchnorm")
rooms = {name.split(".")[2] for name in sys.modules if name.startswith("planish.passes.")}
print(sorted(rooms - {"engine", "trust", "analysis", "pipeline"}))
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout == "['linear']\n", found.stderr
