"""Nouns and verbs agree with their number."""

import pytest

from planish.ir.core.counted import counted


@pytest.mark.parametrize(
    ("count", "words", "said"),
    [
        (0, ("node",), "0 nodes"),
        (1, ("node",), "1 node"),
        (2, ("more site",), "2 more sites"),
        (1, ("layer stays", "layers stay"), "1 layer stays"),
        (3, ("layer stays", "layers stay"), "3 layers stay"),
    ],
)
def test_counted(count, words, said):
    assert counted(count, *words) == said
