"""Feeds: checked against the graph, drawn with a seed, read from files."""

import ml_dtypes
import numpy as np
import pytest
from PIL import Image

import planish
from planish.ir.core.errors import FeedError
from planish.ir.run.feeds import check_feeds

from tests.helpers import graph_of, run_ort

GRAPH = "g (float[N, 3, 8, 6] x, int64[N] k) => (float[N, 3, 8, 6] y) { y = Relu(x) }"
ONE = "g (float[N, 3, 8, 6] x) => (float[N, 3, 8, 6] y) { y = Relu(x) }"
FIXED = "g (float[2, 3, 8, 6] x) => (float[2, 3, 8, 6] y) { y = Relu(x) }"


def feed(n=2):
    return {"x": np.zeros((n, 3, 8, 6), np.float32), "k": np.zeros(n, np.int64)}


def test_what_fits_is_accepted():
    check_feeds(feed(), graph_of(GRAPH))
    check_feeds(feed(5), graph_of(GRAPH))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"z": np.zeros(2)}, ["'z' is no input", "'x'", "'k'"]),
        ({"x": None}, ["no feed for graph input 'x'", "'k'"]),
        ({"x": [1.0]}, ["'x' is a list"]),
        ({"x": np.zeros((2, 3, 8, 6))}, ["'x' is float64", "float32"]),
        ({"k": np.zeros(2, np.int32)}, ["'k' is int32", "int64"]),
        (
            {"x": np.zeros((2, 3, 8, 6), ">f4")},
            ["'x' is float32 in big-endian byte order", "float32;"],
        ),
        ({"k": np.array(["2020", "2021"], "datetime64[D]")}, ["'k' is datetime64", "int64"]),
        ({"x": np.zeros((2, 3, 8), np.float32)}, ["[2, 3, 8]", "[N, 3, 8, 6]"]),
        ({"k": np.zeros(7, np.int64)}, ["'k' has 7", "'N'", "'x' has 2"]),
        ({"x": np.zeros((2, 3, 6, 8), np.float32)}, ["[2, 3, 6, 8]", "[N, 3, 8, 6]"]),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    given = {**feed(), **change}
    given = {name: array for name, array in given.items() if array is not None}
    graph = graph_of(GRAPH)
    for use in (lambda: check_feeds(given, graph), lambda: planish.lower(graph)(given)):
        with pytest.raises(FeedError) as caught:
            use()
        for word in words:
            assert word in str(caught.value)


def test_arrays_without_names_are_refused():
    graph = graph_of(GRAPH)
    for use in (lambda: check_feeds([], graph), lambda: planish.lower(graph)(np.zeros(2))):
        with pytest.raises(FeedError, match="give a dict of arrays, for 'x', 'k'"):
            use()


def test_random_feeds_have_a_seed_and_the_shapes_of_the_inputs():
    graph = graph_of(GRAPH)
    first, second = planish.random_feeds(graph, samples=2, seed=3)
    again = planish.random_feeds(graph, samples=2, seed=3)
    other = planish.random_feeds(graph, samples=1, seed=4)[0]
    np.testing.assert_array_equal(first["x"], again[0]["x"])
    np.testing.assert_array_equal(second["x"], again[1]["x"])
    assert not np.array_equal(first["x"], second["x"])
    assert not np.array_equal(first["x"], other["x"])
    assert first["x"].shape[1:] == (3, 8, 6)
    assert first["x"].shape[0] == first["k"].shape[0]
    assert first["x"].dtype == np.float32
    assert set(first["k"].tolist()) <= {0, 1}
    check_feeds(first, graph)


def test_one_given_shape_sets_the_sizes_of_the_same_name():
    drawn = planish.random_feeds(graph_of(GRAPH), shapes={"x": [5, 3, 8, 6]})[0]
    assert drawn["x"].shape == (5, 3, 8, 6)
    assert drawn["k"].shape == (5,)


def test_random_floats_are_standard_normal():
    drawn = planish.random_feeds(graph_of(ONE), shapes={"x": [200, 3, 8, 6]})[0]["x"]
    assert abs(drawn.mean()) < 5 / np.sqrt(drawn.size)
    assert abs(drawn.std() - 1) < 5 / np.sqrt(2 * drawn.size)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16), ("double", np.float64),
        ("bool", np.bool_), ("uint8", np.uint8), ("int32", np.int32), ("string", object),
        ("complex64", np.complex64), ("float8e4m3fn", ml_dtypes.float8_e4m3fn),
    ],
)  # fmt: skip
def test_every_element_type_can_be_drawn(kind, dtype):
    graph = graph_of(f"g ({kind}[4] x, {kind} s) => ({kind}[4] y) {{ y = Identity(x) }}")
    drawn = planish.random_feeds(graph)[0]
    assert drawn["x"].dtype == dtype
    assert drawn["x"].shape == (4,)
    assert drawn["s"].shape == ()
    check_feeds(drawn, graph)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": [1]}, "'z'"),
        ({"x": [2, 3, 8]}, r"\[2, 3, 8\] given for 'x' does not fit"),
        ({"x": [2, 4, 8, 6]}, r"does not fit the graph input's \[N, 3, 8, 6\]"),
        ({"x": [-1, 3, 8, 6]}, "negative"),
    ],
)
def test_shapes_that_cannot_be_drawn(shapes, message):
    with pytest.raises(FeedError, match=message):
        planish.random_feeds(graph_of(GRAPH), shapes=shapes)


def test_an_input_of_unknown_rank_needs_a_shape():
    graph = graph_of("g (float[] x) => (float[] y) { y = Relu(x) }")
    graph.inputs[0].shape = None
    with pytest.raises(FeedError, match="no declared rank"):
        planish.random_feeds(graph)
    assert planish.random_feeds(graph, shapes={"x": [2, 2]})[0]["x"].shape == (2, 2)


def test_npz_gives_one_batch_after_the_other(tmp_path):
    x = np.random.default_rng(0).standard_normal((6, 3, 8, 6)).astype(np.float32)
    k = np.arange(6)
    np.savez(tmp_path / "f.npz", x=x, k=k)
    singles = list(planish.load_feeds(tmp_path / "f.npz", graph_of(GRAPH)))
    assert [f["k"].tolist() for f in singles] == [[0], [1], [2], [3], [4], [5]]
    np.testing.assert_array_equal(np.concatenate([f["x"] for f in singles]), x)
    np.savez(tmp_path / "f.npz", x=x)
    pairs = list(planish.load_feeds(tmp_path / "f.npz", graph_of(FIXED)))
    assert [f["x"].shape[0] for f in pairs] == [2, 2, 2]
    np.testing.assert_array_equal(np.concatenate([f["x"] for f in pairs]), x)
    np.savez(tmp_path / "f.npz", x=x[:5])
    with pytest.raises(FeedError, match=r"5 samples.*batch size 2"):
        planish.load_feeds(tmp_path / "f.npz", graph_of(FIXED))


def test_other_files_and_pickles_are_refused(tmp_path):
    (tmp_path / "f.bin").write_bytes(b"no archive")
    with pytest.raises(FeedError, match=r"cannot be read as \.npz"):
        planish.load_feeds(tmp_path / "f.bin", graph_of(ONE))
    np.save(tmp_path / "f.npy", np.array([{"a": 1}], object))
    with pytest.raises(FeedError, match=r"cannot be read as \.npy"):
        planish.load_feeds(tmp_path / "f.npy", graph_of(ONE))
    np.savez(tmp_path / "f.npz", x=np.array([{"a": 1}], object))
    with pytest.raises(FeedError, match="cannot be read"):
        planish.load_feeds(tmp_path / "f.npz", graph_of(ONE))


def test_images_are_scaled_and_normalized_by_the_formula(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 6, 3)).astype(np.uint8)
    Image.fromarray(pixels[0]).save(tmp_path / "b.png")
    Image.fromarray(pixels[1]).save(tmp_path / "a.PNG")
    (tmp_path / "notes.txt").write_text("not an image")
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.25, 0.5]
    found = list(planish.load_feeds(tmp_path, graph_of(ONE), mean=mean, std=std))
    assert len(found) == 2
    for given, image in zip(found, pixels[::-1], strict=True):  # in order of name
        expected = ((image / 255 - mean) / std).transpose(2, 0, 1)[None]
        assert given["x"].dtype == np.float32
        np.testing.assert_allclose(given["x"], expected, rtol=1e-6, atol=1e-6)
    run_ort(planish.to_model(graph_of(ONE)), found[0])


def test_images_of_another_size_are_resized(tmp_path):
    Image.new("L", (50, 20), 51).save(tmp_path / "gray.png")
    (found,) = planish.load_feeds(tmp_path, graph_of(ONE))
    np.testing.assert_allclose(found["x"], np.full((1, 3, 8, 6), 0.2, np.float32), rtol=1e-6)


def test_folders_that_do_not_fit(tmp_path):
    with pytest.raises(FeedError, match="holds no image"):
        planish.load_feeds(tmp_path, graph_of(ONE))
    (tmp_path / "a.png").write_text("broken")
    with pytest.raises(FeedError, match=r"a\.png.*cannot be read as an image"):
        list(planish.load_feeds(tmp_path, graph_of(ONE)))
    with pytest.raises(FeedError, match=r"one input of shape \[N, C, H, W\]"):
        planish.load_feeds(tmp_path, graph_of(GRAPH))
    with pytest.raises(FeedError, match=r"1 images.*batch size 2"):
        planish.load_feeds(tmp_path, graph_of(FIXED))


@pytest.mark.parametrize("shape", ["1000000, 1000000", "9223372036854775807, 2", "N, 2000000000"])
def test_what_does_not_fit_in_memory_is_refused(shape):
    graph = graph_of(f"g (float[{shape}] x) => (float[{shape}] y) {{ y = Neg(x) }}")
    with pytest.raises(FeedError, match="makes the inputs larger than the 67108864 elements"):
        planish.random_feeds(graph)
    result = planish.Pipeline.parse("eliminate-identities").run(graph)
    assert not result.verified
    assert "give feeds, or a smaller shape" in result.note


def test_dynamic_axes_give_way_to_large_ones(monkeypatch):
    monkeypatch.setattr("planish.ir.run.feeds._MOST_ELEMENTS", 1000)
    graph = graph_of("g (float[N, 3, H, 9, 6] x) => (float[] y) { y = Neg(x) }")
    assert planish.random_feeds(graph)[0]["x"].shape == (1, 3, 1, 9, 6)


def test_given_shapes_are_bounded_too():
    graph = graph_of("g (float[N, M] x) => (float[N, M] y) { y = Neg(x) }")
    with pytest.raises(FeedError, match=r"'x' of shape \[100000, 100000\]"):
        planish.random_feeds(graph, shapes={"x": (100000, 100000)})


def test_pictures_are_drawn_of_all_values():
    for declared in ("uint8[N, H, W, 3]", "uint8[N, 1, H, W]"):
        graph = graph_of(f"g ({declared} x) => ({declared} y) {{ y = Identity(x) }}")
        (feed,) = planish.random_feeds(graph)
        assert (feed["x"].min(), feed["x"].max()) == (0, 255)
    (feed,) = planish.random_feeds(
        graph_of("g (uint8[9, 9] x) => (uint8[9, 9] y) { y = Identity(x) }")
    )
    assert feed["x"].max() == 1
