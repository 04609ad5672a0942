import subprocess
import sys

import planish

from tests.helpers import conv_batchnorm, ops, run_pass


def test_exact_folds_and_verifies():
    result = run_pass(planish.load(conv_batchnorm()), "exact")
    assert ops(result.graph) == ["Conv"]
    assert result.verified


def test_heavy_packages_are_imported_where_used():
    script = """
import sys
import planish
planish.Pipeline.parse("exact,prune,recover,quantize")
print(sorted({"torch", "accelerate", "matplotlib", "sklearn", "tvm"} & set(sys.modules)))
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout == "[]\n", found.stderr
