"""Passes of scripts: loaded from a file, and found again by the reproducers of their failures."""

import shlex

import pytest

import planish
from planish.cli.common import load_plugin
from planish.ir.core.errors import VerificationError
from planish.passes.pipeline import registry

from tests.cli.conftest import call  # noqa: F401  (a fixture)
from tests.helpers import graph_of

SCRIPT = '''
import planish
from {helper} import FACTOR

@planish.register_pass(exact=True)
def {name}(graph):
    """Scale, and call it exact."""
    for node in graph.nodes:
        if node.op == "Mul":
            node.inputs[1].values = node.inputs[1].values * FACTOR
'''


@pytest.fixture(autouse=True)
def registered():
    """Forget what a test registers."""
    before = dict(registry.REGISTERED)
    yield
    registry.REGISTERED.clear()
    registry.REGISTERED.update(before)


@pytest.fixture
def script(tmp_path, request):
    """Return a file that registers a pass called after the test, with a module beside it."""
    name = request.node.name.partition("[")[0]
    (tmp_path / f"{name}_helper.py").write_text("FACTOR = 1.5\n")
    path = tmp_path / f"{name}_plugin.py"
    path.write_text(SCRIPT.format(name=name, helper=f"{name}_helper"))
    return path, name.replace("_", "-")


def network():
    import numpy as np

    return graph_of("g (float[4] x) => (float[4] y) { y = Mul(x, w) }", {"w": np.ones(4, "f")})


@pytest.mark.parametrize("verify", ["each", "end"])
def test_a_reproducer_loads_the_script(call, script, tmp_path, verify):  # noqa: F811
    path, name = script
    load_plugin(path)
    load_plugin(path)  # once more is no conflict
    result = planish.Pipeline.parse(name).run(
        network(), verify=verify, strict=False, reproducer=tmp_path / "r"
    )
    (failure,) = result.failures
    assert (tmp_path / "r" / path.name).read_text() == path.read_text()
    words = shlex.split(failure.command)
    assert words[:2] == ["planish", "optimize"]
    assert words[words.index("--plugin") + 1] == str(path)
    code, _, err = call(*words[1:])
    assert code == 3
    assert "output 'y' differs by 0.5 of its range" in err


def test_a_pass_without_a_file_is_reproduced_in_python(tmp_path):
    code = "def double(graph): w = graph.nodes[0].inputs[1]; w.values = w.values * 2"
    space = {"__name__": "__main__"}
    exec(compile(code, "<cell 1>", "exec"), space)
    planish.register_pass(space["double"], exact=True)
    result = planish.Pipeline.parse("double").run(
        network(), strict=False, reproducer=tmp_path / "r"
    )
    with pytest.raises(VerificationError, match="differs by 1 of its range"):
        exec(result.failures[0].command, {"planish": planish})


def test_installed_passes_need_no_plugin(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_INSTALLED", {"installed"})

    @planish.register_pass(name="installed")
    def fail(graph):
        raise KeyError("lost")

    result = planish.Pipeline.parse("installed").run(
        network(), strict=False, reproducer=tmp_path / "r"
    )
    assert "--plugin" not in result.failures[0].command


@pytest.mark.parametrize("command", ["optimize", "compile", "bisect"])
def test_commands_take_plugins(call, script, tmp_path, monkeypatch, command):  # noqa: F811
    monkeypatch.setenv("PLANISH_STRICT", "0")
    path, name = script
    planish.save(network(), tmp_path / "m.onnx")
    code, shown, err = call(command, tmp_path / "m.onnx", "-p", name, "--plugin", path)
    assert "unknown pass" not in shown + err
    assert code == (1 if command == "bisect" else 0)
    assert name in call("passes", "--plugin", path)[1]
