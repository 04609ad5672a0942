import subprocess
import sys

import onnx

import planish

from tests.helpers import conv_batchnorm, ops, run_pass


def test_exact_folds_and_verifies():
    result = run_pass(planish.load(conv_batchnorm()), "exact")
    assert ops(result.graph) == ["Conv"]
    assert result.verified


def test_heavy_packages_are_imported_where_used():
    """Passes find the stopwatch without the backends being imported, too."""
    script = """
import sys
from planish.passes.engine.stopwatch import find_profiler, find_stopwatch
print("planish.backends.onnxruntime.stopwatch" in sys.modules)
print(find_profiler("cpu").__module__, find_stopwatch("cpu{threads=1}").__module__)
import planish
planish.Pipeline.parse("exact,prune,recover,quantize")
planish.integrations.__name__
hosts = {"onnx_ir", "onnxoptimizer", "onnxscript", "onnxsim", "olive", "openvino", "transformers"}
heavy = {"torch", "accelerate", "matplotlib", "sklearn", "tvm"} | hosts
print(sorted(heavy & set(sys.modules)))
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    here = "planish.backends.onnxruntime"
    assert found.stdout == f"False\n{here}.profiler {here}.stopwatch\n[]\n", found.stderr


def test_optimize_imports_nothing_of_other_commands(tmp_path):
    """It is to start within a few tenths of a second."""
    onnx.save(conv_batchnorm(), tmp_path / "model.onnx")
    script = """
import sys
from planish.cli.main import main
sys.argv = ["planish", "optimize", "model.onnx", "-o", "out.onnx", "--json"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
others = ("planish.tools", "planish.ir.proof", "planish.passes.trust.prove", "torch")
print(*(name for name in sys.modules if name.startswith(others)))
"""
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path
    )
    assert (tmp_path / "out.onnx").exists(), found.stderr
    assert found.stdout.endswith("}\n\n")


def test_public_names_are_there_before_they_are_imported():
    script = """
import sys
import planish
assert set(planish.__all__) <= set(dir(planish))
print(sorted({"numpy", "onnx", "onnxruntime", "onnx_graphsurgeon"} & set(sys.modules)))
names = {}
exec("from planish import *", names)
print(sorted(set(planish.__all__) - set(names)))
print(planish.channel_groups.__name__, planish.ir.__name__, hasattr(planish, "loud"))
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout == "[]\n[]\nchannel_groups planish.ir False\n", found.stderr
