"""Feeds that can be read once are kept on disk while a run needs them again."""

import os
import tempfile
import tracemalloc

import ml_dtypes
import numpy as np
import pytest

from planish.ir.core.errors import FeedError
from planish.ir.run.replay import replayable


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The place of temporary files, empty at the beginning."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def items(count=5):
    for index in range(count):
        yield {"x": np.full((2, 3), index, np.float32)}


def values(feeds):
    return [float(feed["x"][0, 0]) for feed in feeds]


def open_files():
    return len(os.listdir("/proc/self/fd"))


def test_what_begins_anew_is_given_back_as_it_is(folder):
    class Anew:
        def __iter__(self):
            return items()

    for feeds in ([], [1], (), Anew(), None):
        with replayable(feeds) as found:
            assert found is feeds


def test_a_generator_is_read_once_and_replayed(folder):
    with replayable(items()) as feeds:
        for _ in range(3):
            assert values(feeds) == [0, 1, 2, 3, 4]


def test_a_loop_that_stops_early_leaves_the_rest_to_the_next(folder):
    drawn = []

    def telling():
        for index, feed in enumerate(items()):
            drawn.append(index)
            yield feed

    with replayable(telling()) as feeds:
        first = iter(feeds)
        assert next(first)["x"][0, 0] == 0
        assert drawn == [0]
        assert values(feeds) == [0, 1, 2, 3, 4]
        assert values(first) == [1, 2, 3, 4]
        assert drawn == [0, 1, 2, 3, 4]


def test_loops_within_one_another(folder):
    with replayable(items(3)) as feeds:
        pairs = [(a, b) for a in values(feeds) for b in values(feeds)]
        assert pairs == [(a, b) for a in range(3) for b in range(3)]
        crossed = list(zip(values(iter(feeds)), values(iter(feeds)), strict=True))
        assert crossed == [(0, 0), (1, 1), (2, 2)]
    with replayable(items(3)) as feeds:
        together = [(float(a["x"][0, 0]), float(b["x"][0, 0])) for a, b in zip(feeds, feeds)]  # noqa: B905
        assert together == [(0, 0), (1, 1), (2, 2)]


def test_every_type_comes_back_as_it_was(folder):
    feed = {
        "half": np.ones(2, np.float16),
        "brain": np.ones(2, ml_dtypes.bfloat16),
        "text": np.array(["a", "bc"], object),
        "scalar": np.array(3),
        "transposed": np.arange(6).reshape(2, 3).T,
    }
    with replayable(iter([feed])) as feeds:
        list(feeds)
        (again,) = feeds
    assert again.keys() == feed.keys()
    for name, array in feed.items():
        assert again[name].dtype == array.dtype
        np.testing.assert_array_equal(again[name], array)


def test_the_length_is_known_once_all_was_read(folder):
    import operator

    with replayable(items(4)) as feeds:
        assert operator.length_hint(feeds) == 0
        list(feeds)
        assert operator.length_hint(feeds) == 4
    with replayable(iter([1, 2, 3])) as feeds:
        assert operator.length_hint(feeds) == 3


def test_nothing_is_left_behind(folder):
    before = open_files()

    def interrupted():
        yield from items(2)
        raise KeyboardInterrupt

    with replayable(items()) as feeds:
        list(feeds)
    with pytest.raises(KeyboardInterrupt), replayable(interrupted()) as feeds:
        list(feeds)
    with pytest.raises(ZeroDivisionError), replayable(items()) as feeds:
        [1 / feed["x"][0, 0].item() for feed in feeds]
    assert list(folder.iterdir()) == []
    assert open_files() == before


def test_a_source_that_fails_fails_in_every_loop(folder):
    def failing():
        yield from items(2)
        raise ValueError("the camera is gone")

    with replayable(failing()) as feeds:
        for _ in range(2):
            with pytest.raises(ValueError, match="the camera is gone"):
                list(feeds)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_a_full_disk_is_told(folder, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "w+b"))  # noqa: SIM115
    with (
        pytest.raises(FeedError, match=r"kept in '.*', and that failed: .*No space left.*TMPDIR"),
        replayable(items(1)) as feeds,
    ):
        list(feeds)


def test_memory_is_that_of_one_item(folder):
    def large():
        for _ in range(60):
            yield {"x": np.ones(250_000, np.float32)}

    tracemalloc.start()
    with replayable(large()) as feeds:
        assert sum(1 for _ in feeds) == 60
        assert sum(1 for _ in feeds) == 60
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 1_000_000
