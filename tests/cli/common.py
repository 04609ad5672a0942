"""What both files of command tests need."""

import numpy as np

X = np.random.default_rng(1).standard_normal((4, 3, 9, 9)).astype(np.float32)


def assert_refused(result, *words, as_=2):
    code, _, err = result
    assert code == as_
    assert err.startswith("error: ")
    assert err.count("error:") == 1
    assert "Traceback" not in err
    for word in words:
        assert word in err
