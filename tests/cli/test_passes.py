"""`planish passes NAME`, `--version`, and what the shell completes."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import planish
from planish.cli.completion import complete_backend, complete_pass, complete_pipeline

from tests.cli.common import assert_refused


def test_a_pass_is_described(call):
    code, shown, err = call("passes", "push-affine")
    assert (code, err) == (0, "")
    lines = shown.splitlines()
    assert lines[0] == "push-affine (exact)"
    assert lines[1].endswith("BatchNormalization into the layers after them.")
    assert "    W * (s x + t) + b = (W s) * x + (b + W * t)" in shown
    row = next(line for line in lines if line.startswith("map-limit"))
    assert row.split()[1:4] == ["whole", "number", "1048576"]
    assert "- the map of ... elements is larger than map-limit" in lines
    assert "\\n" not in shown
    assert call("passes", "prune")[1].startswith("prune (approximate)\n")


def test_what_must_be_given_is_named(call):
    code, shown, _ = call("passes", "replace-head")
    assert code == 0
    row = next(line for line in shown.splitlines() if line.startswith("classes"))
    assert "(must be given)" in row


def test_a_preset_is_expanded(call):
    code, shown, err = call("passes", "cleanup")
    assert (code, err) == (0, "")
    assert shown.splitlines()[0] == "cleanup (preset)"
    body = shown[shown.index("    repeat(") :]
    assert planish.Pipeline.parse(body) == planish.Pipeline.parse("cleanup")
    assert "\n        eliminate-dead-code,\n" in body
    assert body.endswith("\n    ),\n    eliminate-unused-functions\n")


def test_an_unknown_name_is_refused_with_the_nearest(call):
    assert_refused(call("passes", "fold-batchnorms"), "did you mean 'fold-batchnorm'?")
    assert_refused(call("passes", "exakt"), "did you mean 'exact'?")


def test_the_version_is_one(call):
    code, shown, _ = call("--version")
    assert (code, shown) == (0, f"planish {planish.__version__}\n")
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert "version" in project["project"]["dynamic"]
    read = project["tool"]["setuptools"]["dynamic"]["version"]
    assert read == {"attr": "planish.__version__"}


def test_pipelines_complete_pass_by_pass():
    assert complete_pass("fold-b") == [
        (
            "fold-batchnorm",
            "Fold BatchNormalization into the Conv, ConvTranspose, Gemm or MatMul that feeds it",
        )
    ]
    assert [name for name, _ in complete_pass("exa")] == ["exact"]
    for text, wanted in [
        ("exa", ["exact"]),
        ("exact,fold-b", ["exact,fold-batchnorm"]),
        ("repeat(fold-b", ["repeat(fold-batchnorm"]),
        ("exact,prune{amo", ["exact,prune{amount="]),
        ("prune{amount=0.5,crit", ["prune{amount=0.5,criterion="]),
        ("prune{amount=0.5},fold-b", ["prune{amount=0.5},fold-batchnorm"]),
        ("int8{calib", ["int8{calibration="]),
        ("nothing{a", []),
        ("nothing-like-it", []),
    ]:
        assert [name for name, _ in complete_pipeline(text)] == wanted


def test_values_of_options_are_not_completed_as_passes():
    assert complete_pipeline("prune{criterion=") == []


def test_backends_complete():
    assert [name for name, _ in complete_backend("onnx")] == ["onnxruntime"]


COMPLETED = """
import os, sys
sys.argv[0] = "planish"
from planish.cli.main import main
for words in sys.argv[1:]:
    os.environ.update(COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
    try:
        main()
    except SystemExit as ended:
        print(ended.code)
"""


def test_the_shell_is_told():
    asked = [
        "planish optimize m.onnx -p exact,fold-ba",
        "planish compile m.onnx --backend onnx",
    ]
    done = subprocess.run(
        [sys.executable, "-c", COMPLETED, *asked],
        capture_output=True,
        text=True,
        env={**os.environ, "_PLANISH_COMPLETE": "complete_bash"},
    )
    assert done.stdout.split() == ["exact,fold-batchnorm", "0", "onnxruntime", "0"], done.stderr


def test_an_example_is_shown(call):
    code, shown, _ = call("passes", "correct-bias")
    assert code == 0
    example = shown[shown.index("An example:") :]
    for title in ("pipeline:", "feeds:", "before:", "after:"):
        assert f"\n{title}\n" in example
    assert "    correct-bias{bits=4}\n" in example
    assert '    {"x": [[1, 2], [1, 4]]}\n' in example
    assert "       float[1] w_bias = {1.5}\n" in example
