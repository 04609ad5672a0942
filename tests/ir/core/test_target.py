"""The text of targets."""

import pytest

from planish.ir.core.errors import BackendError
from planish.ir.core.target import Target


@pytest.mark.parametrize(
    ("text", "kind", "options", "threads"),
    [
        ("cpu", "cpu", (), None),
        ("cuda", "cuda", (), None),
        ("cpu{threads=2}", "cpu", (("threads", "2"),), 2),
        (" cpu { isa = avx512-vnni , threads = 12 } ", "cpu",
         (("isa", "avx512-vnni"), ("threads", "12")), 12),
    ],
)  # fmt: skip
def test_text_is_read_and_written(text, kind, options, threads):
    target = Target.parse(text)
    assert (target.kind, target.options, target.threads) == (kind, options, threads)
    assert Target.parse(str(target)) == target


def test_the_canonical_text():
    assert str(Target.parse("cpu{ threads = 2 }")) == "cpu{threads=2}"
    assert str(Target("cuda")) == "cuda"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "target"),
        ("cpu{", "target"),
        ("cpu}", "target"),
        ("cpu,cuda", "names 2 devices"),
        ("cpu{threads}", "'threads'.*needs one value"),
        ("cpu{isa=[a,b]}", "'isa'.*needs one value"),
        ("cpu{threads=1,threads=2}", "given twice"),
        ("cpu{threads=two}", "whole number, not 'two'"),
        ("cpu{threads=-1}", "whole number, not '-1'"),
        ("cpu{threads=1.5}", "whole number, not '1.5'"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(BackendError, match=message):
        Target.parse(text)
