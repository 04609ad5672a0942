"""Pictures as feeds: resizing, scales, layouts and types, against numpy and Pillow."""

import numpy as np
import pytest
from PIL import Image

import planish
from planish.ir.core.errors import FeedError
from planish.ir.run.describe_feeds import described, scale_doubts, seen_values
from planish.ir.run.preprocessing import Preprocessing, preset

from tests.helpers import graph_of


def graph(declared="float[N, 3, 4, 6]", body="y = Identity(x)", weights=None):
    return graph_of(f"g ({declared} x) => ({declared} y) {{ {body} }}", weights)


@pytest.fixture
def photo(tmp_path):
    """A picture of 8 x 6, in which each pixel is another."""
    pixels = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def one(path, made, **steps):
    feeds = planish.load_feeds(path, made, preprocessing=Preprocessing(**steps))
    (feed,) = feeds
    return feed["x"]


SAME = "float[N, 3, 8, 6]"
PIXELS = np.arange(8 * 6 * 3, dtype="f8").reshape(8, 6, 3)


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        ({}, PIXELS / 255),
        ({"pixels": (0, 255)}, PIXELS),
        ({"pixels": (-1, 1)}, PIXELS / 127.5 - 1),
        ({"std": (1 / 255,)}, PIXELS),
        ({"pixels": (0, 255), "mean": (1, 2, 3), "std": (4,)}, (PIXELS - [1, 2, 3]) / 4),
        ({"bgr": True, "mean": (0.1, 0.2, 0.3)}, PIXELS[..., ::-1] / 255 - [0.1, 0.2, 0.3]),
    ],
)
def test_scales(photo, steps, wanted):
    found = one(photo, graph(SAME), **steps)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0].transpose(1, 2, 0), wanted, rtol=1e-5, atol=1e-5)


def test_layouts_types_and_grey(photo):
    np.testing.assert_array_equal(one(photo, graph("uint8[N, 8, 6, 3]"))[0], PIXELS)
    np.testing.assert_array_equal(
        one(photo, graph("uint8[N, 3, 8, 6]"), bgr=True)[0], PIXELS[..., ::-1].transpose(2, 0, 1)
    )
    assert one(photo, graph("float16[N, 8, 6, 3]")).dtype == np.float16
    grey = one(photo, graph("float[N, 1, 8, 6]"))
    expected = np.asarray(Image.open(photo).convert("L"), np.float64) / 255
    np.testing.assert_allclose(grey[0, 0], expected, rtol=1e-6)
    assert one(photo, graph("float[N, H, W, 1]"), size=(8, 6)).shape == (1, 8, 6, 1)


def test_a_letterbox_keeps_the_ratio_and_is_grey_around(tmp_path):
    Image.new("RGB", (60, 30), (255, 0, 0)).save(tmp_path / "wide.png")
    found = one(tmp_path, graph("float[N, 3, 20, 20]"), resize="letterbox", pixels=(0, 255))[0]
    np.testing.assert_array_equal(
        found[:, 5:15], np.broadcast_to([[[255]], [[0]], [[0]]], (3, 10, 20))
    )
    np.testing.assert_array_equal(found[:, :5], np.full((3, 5, 20), 114))
    np.testing.assert_array_equal(found[:, 15:], np.full((3, 5, 20), 114))


def test_a_crop_is_the_middle(tmp_path):
    picture = np.zeros((10, 30, 3), np.uint8)
    picture[:, 10:20] = 255
    Image.fromarray(picture).save(tmp_path / "wide.png")
    found = one(tmp_path, graph("float[N, 3, 10, 10]"), resize="crop")
    np.testing.assert_array_equal(found, np.ones((1, 3, 10, 10)))
    kept = one(tmp_path, graph("float[N, 3, 10, 10]"), resize="crop", kept=0.5)
    np.testing.assert_array_equal(kept, np.ones((1, 3, 10, 10)))


def test_imagenet_is_that_of_torchvision(tmp_path):
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 256, (48, 64, 3), np.uint8)).save(tmp_path / "a.png")
    feeds = planish.load_feeds(
        tmp_path, graph("float[N, 3, 28, 28]"), preprocessing=preset("imagenet")
    )
    picture = Image.open(tmp_path / "a.png").resize((42, 32), Image.Resampling.BILINEAR)
    middle = np.asarray(picture, np.float64)[2:30, 7:35] / 255  # CenterCrop(28) of [32, 42]
    wanted = (middle - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(
        next(iter(feeds))["x"][0].transpose(1, 2, 0), wanted, rtol=1e-4, atol=1e-5
    )


def test_a_function_of_ones_own(photo):
    found = one(photo, graph("float[N, 3, 2, 2]"), function=lambda p: p[:2, :2].transpose(2, 0, 1))
    np.testing.assert_array_equal(found[0].transpose(1, 2, 0), PIXELS[:2, :2])
    for function, words in (
        (lambda p: p, "gave [8, 6, 3], and the network takes [3, 2, 2]"),
        (len, ""),
    ):
        with pytest.raises(FeedError) as caught:
            one(photo, graph("float[N, 3, 2, 2]"), function=function)
        assert words in str(caught.value)


def test_one_array(tmp_path):
    x = np.random.default_rng(0).standard_normal((5, 3, 4, 6)).astype("f")
    np.save(tmp_path / "x.npy", x)
    feeds = planish.load_feeds(tmp_path / "x.npy", graph(), batch=2)
    assert [len(feed["x"]) for feed in feeds] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([feed["x"] for feed in feeds]), x)
    np.save(tmp_path / "x.npy", x[0])
    (feed,) = planish.load_feeds(tmp_path / "x.npy", graph())
    np.testing.assert_array_equal(feed["x"], x[:1])
    np.save(tmp_path / "x.npy", x.astype("f8"))
    with pytest.raises(FeedError, match=r"is float64.*\.astype"):
        planish.load_feeds(tmp_path / "x.npy", graph())
    two = graph_of("g (float[N] x, float[N] z) => (float[N] y) { y = Add(x, z) }")
    with pytest.raises(FeedError, match="holds one array, and the graph has the inputs x, z"):
        planish.load_feeds(tmp_path / "x.npy", two)


def line(path, made, **steps):
    feeds = planish.load_feeds(path, made, preprocessing=Preprocessing(**steps))
    return described(feeds, seen_values(feeds), path)


def test_what_feeds_are(tmp_path, photo):
    Image.new("RGB", (30, 20), (255, 0, 0)).save(tmp_path / "wide.png")
    found = line(tmp_path, graph(), resize="letterbox", bgr=True)
    assert found == (
        "2 images -> x [1,3,4,6], BGR, resized from 8x6..20x30 by letterbox, values 0.00..1.00"
    )
    assert line(photo, graph("uint8[N, 8, 6, 3]")) == (
        "1 image -> x [1,8,6,3] uint8, RGB, of that size, values 0..143"
    )
    np.savez(tmp_path / "f.npz", x=np.zeros((2, 3, 4, 6), "f"))
    assert line(tmp_path / "f.npz", graph()) == (
        f"2 batches of {tmp_path}/f.npz -> x [1,3,4,6], values 0.00..0.00"
    )


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ({"mean": (123.0, 117.0, 104.0)}, "mean 123 is subtracted from pixels in 0..1"),
        ({"std": (58.0,)}, "std 58 divides pixels in 0..1"),
        ({"pixels": (0, 255), "mean": (123.0, 117.0, 104.0), "std": (58.0,)}, ""),
        ({"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}, ""),
        ({"std": (1 / 255,)}, ""),
        ({"pixels": (0, 255)}, ""),
        ({"pixels": (0, 255), "std": (1 / 255,)}, "makes up to 65025 of them; give --pixels 0..1"),
        ({"pixels": (0, 255), "mean": (0.5,), "std": (0.2,)}, "the std times 255"),
        ({"pixels": (0, 255), "mean": (0.485, 0.456, 0.406)}, "changes little; give --pixels 0..1"),
    ],
)
def test_a_scale_that_cannot_be_right(photo, steps, words):
    feeds = planish.load_feeds(photo, graph(SAME), preprocessing=Preprocessing(**steps))
    doubts = scale_doubts(feeds, seen_values(feeds), graph(SAME))
    assert len(doubts) == bool(words)
    assert words in "".join(doubts)


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("y = Sub(x, m)", {"m": np.float32(127.5)}),
        (
            "y = BatchNormalization(x, s, b, m, v)",
            {
                "s": np.ones(3, "f"),
                "b": np.zeros(3, "f"),
                "m": np.full(3, 120, "f"),
                "v": np.full(3, 3600, "f"),
            },
        ),
    ],
)
def test_a_network_that_shifts_its_input_by_more_than_the_feeds(photo, body, weights):
    made = graph(SAME, body, weights)
    for pixels, doubted in (((0, 1), True), ((0, 255), False)):
        feeds = planish.load_feeds(photo, made, preprocessing=Preprocessing(pixels=pixels))
        assert bool(scale_doubts(feeds, seen_values(feeds), made)) == doubted


@pytest.mark.parametrize(
    ("declared", "steps", "words"),
    [
        ("float[N, 5, 4, 6]", {}, "images fit a graph with one input"),
        ("int64[N, 3, 4, 6]", {}, "float or uint8"),
        ("uint8[N, 3, 4, 6]", {"mean": (0.5,)}, "takes pixels as they are"),
        ("uint8[N, 3, 4, 6]", {"pixels": (0, 1)}, "takes pixels as they are"),
        ("uint8[N, 3, 4, 6]", {"pixels": (-1, 1)}, "leave pixels, mean and std out"),
        ("float[N, 1, 4, 6]", {"mean": (0.5, 0.5, 0.5)}, "mean has 3 values, and images 1"),
        ("float[N, 3, 4, 6]", {"size": (8, 8)}, "size is 8x8"),
    ],
)
def test_what_is_refused(photo, declared, steps, words):
    with pytest.raises(FeedError) as caught:
        one(photo, graph(declared), **steps)
    assert words in str(caught.value)
    for wrong in ({"std": (0.0,)}, {"pixels": (1, 0)}, {"resize": "letterbx"}):
        with pytest.raises(FeedError):
            Preprocessing(**wrong)


@pytest.mark.parametrize("steps", [{}, {"pixels": (0, 255)}, {"pixels": (0.0, 255.0), "bgr": True}])
def test_bytes_stay_bytes(photo, steps):
    found = one(photo, graph("uint8[N, 3, 4, 6]"), **steps)
    assert found.dtype == np.uint8
    floats = one(photo, graph("float[N, 3, 4, 6]"), **{**steps, "pixels": (0, 255)})
    np.testing.assert_allclose(found, floats, rtol=0, atol=1e-4)


def test_many_feeds_are_shown_in_a_line(tmp_path):
    from PIL import Image

    for index in range(30):
        Image.new("RGB", (8, 6)).save(tmp_path / f"{index}.png")
    np.save(tmp_path / "x.npy", np.zeros((30, 3, 8, 6), np.float32))
    np.savez(tmp_path / "x.npz", x=np.zeros((30, 3, 8, 6), np.float32))
    found = [
        planish.load_feeds(path, graph(SAME))
        for path in (tmp_path, tmp_path / "x.npy", tmp_path / "x.npz")
    ]
    assert [repr(feeds).split(" -> ")[0] for feeds in found] == [
        "<ImageFeeds 30 images",
        "<NpyFeeds 30 samples",
        "<NpzFeeds 30 samples",
    ]
    for feeds in found:
        assert len(repr(feeds)) < 300
        assert "x" in repr(feeds).split(" -> ")[1]
