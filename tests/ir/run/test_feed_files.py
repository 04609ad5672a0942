"""Feeds from files: read in pieces, any number of times, broken files named."""

import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

import planish
from planish.ir.core.errors import FeedError
from planish.ir.run import describe_feeds

from tests.helpers import graph_of

ONE = "g (float[N, 3, 8, 6] x) => (float[N, 3, 8, 6] y) { y = Relu(x) }"
TWO = "g (float[N, 2] x, int64[N] k) => (float[N, 2] y) { y = Relu(x) }"
FIXED = "g (float[2, 3, 8, 6] x) => (float[2, 3, 8, 6] y) { y = Relu(x) }"
ROWS = "g (float[N, K] x) => (float[N, K] y) { y = Relu(x) }"


def images(count=7, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 3, 8, 6)).astype(np.float32)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_a_file_can_be_looped_over_again_and_by_two_loops_at_once(tmp_path, write):
    x = images()
    write(tmp_path / "f.npz", x=x)
    feeds = planish.load_feeds(tmp_path / "f.npz", graph_of(ONE))
    assert len(feeds) == 7
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate([feed["x"] for feed in feeds]), x)
    for index, (one, other) in enumerate(zip(feeds, feeds, strict=True)):
        np.testing.assert_array_equal(one["x"], x[index : index + 1])
        np.testing.assert_array_equal(other["x"], x[index : index + 1])


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_batches_of_a_dynamic_graph(tmp_path, write):
    x, k = np.arange(14, dtype=np.float32).reshape(7, 2), np.arange(7)
    write(tmp_path / "f.npz", x=x, k=k)
    feeds = planish.load_feeds(tmp_path / "f.npz", graph_of(TWO), batch=3)
    assert len(feeds) == 3
    assert [feed["k"].tolist() for feed in feeds] == [[0, 1, 2], [3, 4, 5], [6]]
    np.testing.assert_array_equal(np.concatenate([feed["x"] for feed in feeds]), x)


def test_batches_that_do_not_fit_the_graph(tmp_path):
    np.savez(tmp_path / "f.npz", x=images(6))
    assert len(planish.load_feeds(tmp_path / "f.npz", graph_of(FIXED), batch=2)) == 3
    with pytest.raises(FeedError, match=r"batches of 3 samples do not fit.*2, the graph's own"):
        planish.load_feeds(tmp_path / "f.npz", graph_of(FIXED), batch=3)
    with pytest.raises(FeedError, match=r"batches of 0 samples.*1 or more"):
        planish.load_feeds(tmp_path / "f.npz", graph_of(ONE), batch=0)


def test_arrays_saved_column_by_column(tmp_path):
    x = np.asfortranarray(images())
    assert not x.flags.c_contiguous
    np.savez(tmp_path / "f.npz", x=x)
    feeds = list(planish.load_feeds(tmp_path / "f.npz", graph_of(ONE), batch=4))
    assert [feed["x"].shape for feed in feeds] == [(4, 3, 8, 6), (3, 3, 8, 6)]
    np.testing.assert_array_equal(np.concatenate([feed["x"] for feed in feeds]), x)


def test_samples_without_elements(tmp_path):
    np.savez(tmp_path / "f.npz", x=np.zeros((2, 0), np.float32))
    feeds = planish.load_feeds(tmp_path / "f.npz", graph_of(ROWS))
    assert [feed["x"].shape for feed in feeds] == [(1, 0), (1, 0)]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "found no arrays"),
        ({"x": np.float32(3)}, r"found \{'x': 0\}"),
        ({"x": np.zeros((0, 3, 8, 6), np.float32)}, r"found \{'x': 0\}"),
        ({"x": images(2), "z": images(3)}, r"found \{'x': 2, 'z': 3\}"),
        ({"z": images(2)}, r"f\.npz': feed 'z' is no input"),
        ({"x": images(2).astype(np.float64)}, r"f\.npz': feed 'x' is float64"),
        ({"x": images(2)[:, :, :4]}, r"f\.npz': feed 'x' has shape \[1, 3, 4, 6\]"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(tmp_path, arrays, words):
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(FeedError, match=words):
        planish.load_feeds(tmp_path / "f.npz", graph_of(ONE))


STATEFUL = """g (float[N, 4] x, float[2, N, 3] state, int64 rate) => (float[N, 4] y) {
    y = Relu(x)
}"""


@pytest.mark.parametrize("batch", [1, 2])
def test_inputs_without_an_axis_of_samples_have_a_value_a_batch(tmp_path, batch):
    x = np.arange(24, dtype=np.float32).reshape(6, 4)
    steps = 6 // batch
    state = np.arange(steps * 2 * batch * 3, dtype=np.float32).reshape(steps, 2, batch, 3)
    rate = np.arange(steps) + 8000
    np.savez(tmp_path / "f.npz", state=state, x=x, rate=rate)
    feeds = planish.load_feeds(tmp_path / "f.npz", graph_of(STATEFUL), batch=batch)
    assert len(feeds) == steps
    for place, feed in enumerate(feeds):
        np.testing.assert_array_equal(feed["x"], x[place * batch : (place + 1) * batch])
        np.testing.assert_array_equal(feed["state"], state[place])
        assert feed["rate"].shape == ()
        assert feed["rate"] == rate[place]


def test_batches_in_a_row_are_arrays_of_one_axis_more(tmp_path):
    x = images(6).reshape(3, 2, 3, 8, 6)
    np.savez(tmp_path / "f.npz", x=x)
    feeds = planish.load_feeds(tmp_path / "f.npz", graph_of(FIXED))
    np.testing.assert_array_equal(np.stack([feed["x"] for feed in feeds]), x)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (
            {"state": np.zeros((4, 2, 1, 3), np.float32)},
            "3 batches of 1, but 4 values of '(state|rate)'",
        ),
        ({"state": np.zeros((6, 1, 3), np.float32)}, "one axis more than it has"),
    ],
)
def test_values_of_batches_that_do_not_fit_their_samples(tmp_path, arrays, words):
    x = np.zeros((3, 4), np.float32)
    np.savez(tmp_path / "f.npz", x=x, rate=np.full(len(arrays["state"]), 8000), **arrays)
    with pytest.raises(FeedError, match=words):
        planish.load_feeds(tmp_path / "f.npz", graph_of(STATEFUL))


def test_members_that_are_no_arrays(tmp_path):
    np.savez(tmp_path / "f.npz", x=images())
    with zipfile.ZipFile(tmp_path / "f.npz", "a") as archive:
        archive.writestr("notes.txt", "these are no numbers")
    with pytest.raises(FeedError, match=r"f\.npz' cannot be read as \.npz.*magic"):
        planish.load_feeds(tmp_path / "f.npz", graph_of(ONE))


def test_a_file_that_breaks_off_or_goes_away_is_named_in_the_loop(tmp_path):
    path = tmp_path / "f.npz"
    np.savez(path, x=images(3))
    with zipfile.ZipFile(path) as archive:
        whole = archive.read("x.npy")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", whole[:-100])
    feeds = planish.load_feeds(path, graph_of(ONE))
    with pytest.raises(FeedError, match=r"f\.npz' cannot be read: .*ends 100 bytes before"):
        list(feeds)
    np.savez(path, z=images(3))
    with pytest.raises(FeedError, match=r"f\.npz' cannot be read: .*x\.npy"):
        list(feeds)
    path.unlink()
    with pytest.raises(FeedError, match=r"f\.npz' cannot be read"):
        list(feeds)


def test_a_damaged_file_is_named_in_the_loop(tmp_path):
    path = tmp_path / "f.npz"
    np.savez(path, x=images(300))
    data = bytearray(path.read_bytes())
    data[len(data) - 2000] ^= 1
    path.write_bytes(data)
    feeds = planish.load_feeds(path, graph_of(ONE))
    with pytest.raises(FeedError, match=r"f\.npz' cannot be read: Bad CRC"):
        list(feeds)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_a_file_is_never_in_memory_as_a_whole(tmp_path, write):
    x = np.random.default_rng(0).integers(0, 9, (400, 5_000)).astype(np.float32)
    write(tmp_path / "f.npz", x=x)
    size = x.nbytes
    del x
    graph = graph_of(ROWS)
    tracemalloc.start()
    count = sum(len(feed["x"]) for feed in planish.load_feeds(tmp_path / "f.npz", graph))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 400
    assert peak < size / 20


def test_images_are_read_as_they_are_used(tmp_path):
    for index in range(5):
        Image.new("RGB", (6, 8), (index, 0, 255)).save(tmp_path / f"{index}.png")
    feeds = planish.load_feeds(tmp_path, graph_of(ONE), batch=2)
    assert len(feeds) == 3
    assert [len(feed["x"]) for feed in feeds] == [2, 2, 1]
    red = [feed["x"][:, 0, 0, 0] * 255 for feed in feeds]
    np.testing.assert_allclose(np.concatenate(red), range(5), rtol=1e-6)
    (tmp_path / "3.png").write_text("broken now")
    loop = iter(feeds)
    assert len(next(loop)["x"]) == 2
    with pytest.raises(FeedError, match=r"3\.png' cannot be read as an image"):
        next(loop)


def _png(width: int, height: int) -> bytes:
    """Return a picture of zeros, of which there are no more pixels than of one row."""
    parts = [b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)]
    parts += [b"IDAT" + zlib.compress(bytes(width + 1)), b"IEND"]
    chunks = [struct.pack(">I", len(p) - 4) + p + struct.pack(">I", zlib.crc32(p)) for p in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    "data",
    [_png(30_000, 30_000), _png(50, 50)[:40], b"\x89PNG\r\n\x1a\n" + bytes(50), b"GIF89a"],
    ids=["unfolds", "cut", "zeros", "begin"],
)
def test_a_picture_that_cannot_be_read_is_named(data, tmp_path):
    (tmp_path / "a.png").write_bytes(data)
    feeds = planish.load_feeds(tmp_path, graph_of(ONE))
    assert list(describe_feeds._sizes_of(feeds.files)) in ([], [(50, 50)])
    with pytest.raises(FeedError, match=r"a\.png' cannot be read as an image"):
        next(iter(feeds))
