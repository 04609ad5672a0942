import planish

from tests.helpers import conv_batchnorm, ops, run_pass


def test_exact_folds_and_verifies():
    result = run_pass(planish.load(conv_batchnorm()), "exact")
    assert ops(result.graph) == ["Conv"]
    assert result.verified
