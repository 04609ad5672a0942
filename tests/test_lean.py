"""A process that only runs artifacts: numpy and TVM are there, and nothing else is."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest

import planish
from planish.backends.contract import registry
from planish.backends.ncnn import artifact as ncnn
from planish.backends.openvino import artifact as openvino
from planish.backends.tvm.runtime import artifact as tvm

from tests.docs.snippets import blocks
from tests.helpers import conv_batchnorm

ROOT = Path(__file__).parents[1]
WITH = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

# Whatever is not of the standard library, of planish, or of what the extra installs, is not there.
LEAN = """
import importlib.abc, sys

allowed = set({allowed!r}) | set(sys.stdlib_module_names)

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        top = name.partition(".")[0]
        if top in {installed!r} and top not in allowed:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)

sys.meta_path.insert(0, Missing())
{code}
"""


def named(requirement: str) -> str:
    return re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]


def installs(name: str) -> set[str]:
    """Return the distributions that installing one brings, without extras."""
    found = {name}
    for requirement in distribution(name).requires or ():
        if "extra ==" not in requirement:
            found |= installs(named(requirement))
    return found


def lean(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `code` where only planish and what `planish[runtime]` names can be imported."""
    wanted = set().union(*(installs(named(r)) for r in WITH["optional-dependencies"]["runtime"]))
    known = packages_distributions()
    allowed = {top for top, owners in known.items() if wanted & set(owners)} | {"planish"}
    text = LEAN.format(allowed=sorted(allowed), installed=sorted(known), code=code)
    return subprocess.run(
        [sys.executable, "-c", text], cwd=folder, capture_output=True, text=True, timeout=120
    )


def test_what_is_missing_is_named_with_what_installs_it(tmp_path):
    done = lean("import planish\nplanish.load", tmp_path)
    last = done.stderr.strip().splitlines()[-1]
    assert "planish.load: this needs the package 'onnx" in last
    assert "pip install onnx" in last


def test_who_wrote_an_artifact_is_found_out_without_any_backend_s_packages(tmp_path):
    seals = {"ncnn": ncnn.SEAL, "openvino": openvino.SEAL, "tvm": tvm.SEAL}
    for name, seal in seals.items():
        (tmp_path / name).write_bytes(seal.family)
        assert registry.get_backend(name).wrote(tmp_path / name)
        assert not registry.get_backend(name).wrote(ROOT / "README.md")
    looks = "from planish.backends.contract.registry import written_by\n"
    done = lean(f"{looks}print([written_by(name) for name in {[*seals]}])", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([*seals])


@pytest.mark.slow
def test_an_artifact_runs_on_numpy_and_tvm_alone(tmp_path):
    pytest.importorskip("tvm")
    planish.lower(planish.load(conv_batchnorm(8)), "tvm").save(tmp_path / "model.planish")
    page = ROOT / "docs" / "guides" / "tvm.md"
    (recipe,) = [block.text for block in blocks(page) if "compiled.inputs" in block.text]
    done = lean(
        f"{recipe}\nprint(compiled)\nprint({{k: v.shape for k, v in outputs.items()}})", tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "TvmModule x float32[" in done.stdout
    assert "'y': (1, " in done.stdout


def test_the_extra_agrees_with_what_others_ask_for():
    extras = WITH["optional-dependencies"]
    tvm = [r.replace("[popen-pool]", "") for r in extras["tvm"]]
    assert set(extras["runtime"]) <= {*tvm, *WITH["dependencies"]}
