"""What `planish optimize` takes of memory beside the size of the model, in processes of its own."""

import pytest

from benchmarks.memory import FEW, peak_of, write_model


@pytest.mark.slow
@pytest.mark.parametrize("beside", [False, True])
def test_old_and_new_weights_are_not_all_there_at_once(beside, tmp_path):
    """Read, run, folded, run again and written: 200 MB of weights, every one of them replaced."""
    small, large, out = (tmp_path / f"{name}.onnx" for name in ("small", "large", "out"))
    write_model(small, 0.1, beside=beside, channels=FEW)
    size = write_model(large, 200, beside=beside, channels=256)
    libraries, found = (peak_of(model, out, "end") for model in (small, large))
    assert found.resident - libraries.resident < 1.5 * size
    assert out.stat().st_size > 0.9 * size
