"""What every command has: -h, -q, -v, --plugin, and an exit code that says what went wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from planish.cli import main as main_module
from planish.cli.common import with_common_options
from planish.cli.main import COMMANDS
from planish.ir.core.errors import VerificationError

from tests.cli.common import assert_refused

NAMES = [name.replace("_", "-") for name in COMMANDS]


@pytest.fixture
def raising(monkeypatch):
    """Return a function that has the command `backends` raise an exception."""

    def raising(error):
        def backends() -> None:
            raise error

        made = with_common_options(backends)
        monkeypatch.setattr(main_module, "function_of", lambda _: made)

    return raising


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_and_the_common_options(call, name):
    code, shown, err = call(name, "-h")
    assert (code, err) == (0, "")
    assert shown == call(name, "--help")[1]
    for option in ("-q", "-v", "--plugin"):
        assert option in shown


def test_quiet_is_silent_and_lasts_for_one_command(call, model, out):
    assert call("optimize", model, "-o", out, "-q") == (0, "", "")
    assert out.exists()
    assert call("passes")[1] != ""


def test_verbose_shows_where_an_error_comes_from(call):
    code, _, err = call("inspect", "nowhere.onnx", "-v")
    assert code == 2
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: cannot read 'nowhere.onnx'")


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (VerificationError("output 'y' differs"), 3, "output 'y' differs"),
        (RuntimeError("odd"), 4, "RuntimeError: odd; this is a bug in planish"),
        (EOFError("no data left"), 4, "EOFError: no data left; this is a bug in planish"),
        (MemoryError(), 2, "out of memory"),
        (OSError(5, "Input/output error", "f"), 2, "cannot use 'f'"),
    ],
)
def test_the_exit_code_says_what_went_wrong(call, raising, error, code, says):
    raising(error)
    assert_refused(call("backends"), says, as_=code)


@pytest.mark.slow
def test_a_plugin_registers_passes_for_one_command(tmp_path, model):
    (tmp_path / "neighbour.py").write_text("NAME = 'dropped-names'\n")
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        textwrap.dedent(
            """
            import planish
            from neighbour import NAME

            @planish.register_pass(name=NAME)
            def drop(graph, prefix: str = "x"):
                "Take the names of nodes away. It is a test."
                for node in graph.nodes:
                    node.name = ""
            """
        )
    )
    words = [sys.executable, "-m", "planish", "optimize", model, "--plugin", plugin]
    done = subprocess.run(
        [*words, "-p", "dropped-names{prefix=y}"], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "dropped-names" in done.stdout


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import planish\n1 / 0\n", "in line 2: ZeroDivisionError: division by zero"),
        ("def", "SyntaxError"),
        ("import sys\nsys.exit(7)\n", "in line 2: SystemExit: 7"),
        ("import no_such_module_here\n", "ModuleNotFoundError"),
        ("import planish\nplanish.register_pass(3)\n", "in line 2: 3 is neither a Pass"),
    ],
)
def test_a_plugin_that_fails_is_named_with_its_line(call, tmp_path, text, says):
    plugin = tmp_path / "broken.py"
    plugin.write_text(text)
    assert_refused(call("passes", "--plugin", plugin), "broken.py", says)


def test_a_plugin_is_a_python_file(call, tmp_path):
    assert_refused(call("passes", "--plugin", tmp_path / "none.py"), "none.py")
    assert_refused(call("passes", "--plugin", tmp_path), "no Python file")


@pytest.mark.slow
@pytest.mark.parametrize("colours", [True, False])
def test_no_color_is_heeded_on_a_terminal(colours):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
    environment |= {"TERM": "xterm-256color"} | ({} if colours else {"NO_COLOR": "1"})
    words = [sys.executable, "-m", "planish", "inspect", "nowhere.onnx"]
    done = subprocess.run(words, stdout=theirs, stderr=theirs, env=environment, timeout=60)
    os.close(theirs)
    shown = os.read(ours, 10_000)
    os.close(ours)
    assert done.returncode == 2
    assert b"nowhere.onnx" in shown
    assert (b"\x1b[31m" in shown) == colours
