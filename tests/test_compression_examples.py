"""What the examples of compression are made of; the examples themselves take minutes."""

from pathlib import Path

import pytest

import planish

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def digits(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import compress_digits

    return compress_digits


def variant(module, label, accuracy, milliseconds):
    costs = {"macs": 0, "zeros": 0.0, "milliseconds": milliseconds, "seconds": 0.0}
    return module.Variant(label=label, graph=None, accuracy=accuracy, **costs)


def test_every_pipeline_of_the_examples_is_one(digits, monkeypatch):
    import compress_efficientnet_lite

    texts = [*digits.pipelines().values(), *compress_efficientnet_lite.pipelines(0.25).values()]
    assert len(texts) == 12
    for text in texts:
        assert str(planish.Pipeline.parse(str(planish.Pipeline.parse(text))))


def test_the_frontier_holds_what_nothing_beats(digits):
    variants = [
        variant(digits, "slow and good", 0.99, 3.0),
        variant(digits, "beaten", 0.97, 2.5),
        variant(digits, "middle", 0.98, 2.0),
        variant(digits, "as fast, worse", 0.96, 2.0),
        variant(digits, "fast", 0.90, 1.0),
    ]
    assert [v.label for v in digits.frontier(variants)] == ["fast", "middle", "slow and good"]


def test_the_picture_is_a_png(digits, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "frontier.png"
    digits.draw([variant(digits, "a", 0.9, 1.0), variant(digits, "b", 0.95, 2.0)], path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 5000


def test_feeds_carry_labels_in_order(digits):
    import numpy as np

    images, labels = np.zeros((130, 1, 8, 8), np.float32), np.arange(130)
    feeds = digits.Labelled("x", images, labels)
    assert len(feeds) == 3
    for _ in range(2):
        found = list(feeds)
        assert [len(feed["x"]) for feed in found] == [64, 64, 2]
        assert np.concatenate([feed["digit"] for feed in found]).tolist() == labels.tolist()
