"""The fenced blocks of a page of documentation, and how they are run.

`python` blocks of a page run in order in one namespace. Of `bash` blocks the lines that call
`planish` run in this process; of `make` and `pip install` lines, targets and extras must exist. A
comment before a block says more:

    <!-- not run: needs a GPU -->            it cannot run here, and why
    <!-- refused -->                         its last line ends with exit code 1 or 2
    <!-- in planish.passes.cleanup -->       its relative imports are those of a file there
    <!-- after: register_pass(Mine) -->      Python that a reader does elsewhere
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from planish.cli.main import main

ROOT = Path(__file__).resolve().parent.parent.parent
MODULE = "snippet"
_BLOCK = re.compile(
    r"(?:^[ ]*<!-- (?P<mark>(?:not run: |after: |in )[^\n]+|refused) -->\n\n?)?"
    r"^(?P<indent>[ ]*)```(?P<language>python|bash)\b[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block: where it starts, what it is written in, and what it says."""

    line: int
    language: str
    text: str
    mark: str = ""

    @property
    def runs(self) -> bool:
        """Whether the block is one that can run here."""
        return not self.mark.startswith("not run")


def blocks(page: Path) -> Iterator[Block]:
    """Return the blocks of `page` in order."""
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        body = re.sub(f"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
        yield Block(line, found["language"], body, found["mark"] or "")


def run(block: Block, page: Path, namespace: dict[str, Any]) -> str:
    """Run `block` in the present folder and return what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        if block.language == "python":
            _run_python(block, page, namespace)
        else:
            lines = list(_commands(block.text))
            for line in lines:
                _run_command(line, refused=block.mark == "refused" and line == lines[-1])
    return shown.getvalue()


def _run_python(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    kind, _, what = block.mark.partition(" ")
    if kind == "after:":
        exec(what, namespace)
    # Lines of a failure are those of the page.
    code = compile("\n" * block.line + block.text, str(page), "exec")
    if kind == "in":
        namespace.update(_run_as_module(code, what))
    else:
        exec(code, namespace)
    for name in re.findall(r"^def (test_\w+)", block.text, re.MULTILINE):
        namespace[name]()


def _run_as_module(code: CodeType, package: str) -> dict[str, Any]:
    """Return what `code` defines as a module of `package`, which stays among Python's modules."""
    module = ModuleType(f"{package}.{MODULE}")
    module.__package__ = package
    sys.modules[module.__name__] = module
    exec(code, module.__dict__)
    return {name: value for name, value in vars(module).items() if not name.startswith("__")}


def _commands(text: str) -> Iterator[list[str]]:
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def _run_command(words: list[str], *, refused: bool) -> None:
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
    elif words[:2] == ["pip", "install"]:
        _check_extras(words[2:])
    else:
        assert words[0] == "planish", f"{words} cannot be run; mark the block as not run, and why"
        code = call_planish(words[1:])
        assert (code in (1, 2)) if refused else (code == 0), (words, code)


def _check_extras(words: list[str]) -> None:
    for extras in re.findall(r"(?:planish|\.)\[([\w,]+)\]", " ".join(words)):
        for extra in extras.split(","):
            assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def call_planish(arguments: list[str]) -> int:
    """Run the command `planish` in this process and return its exit code."""
    given, sys.argv = sys.argv, ["planish", *arguments]
    try:
        with warnings.catch_warnings():
            main()
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        sys.argv = given
    return 0
