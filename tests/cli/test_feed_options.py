"""What --feeds are told to be, and the words for how images become inputs."""

import json

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.cli.common import X, assert_refused
from tests.helpers import model_of


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, size in enumerate(((20, 12), (9, 9), (40, 40))):
        pixels = np.random.default_rng(index).integers(0, 256, (*size, 3), np.uint8)
        pixels[0, 0], pixels[-1, -1] = 0, 255
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def big(tmp_path):
    """A model of open sizes, whose result is its input."""
    text = "g (float[N, 3, H, W] x) => (float[N, 3, H, W] y) { y = Relu(x) }"
    onnx.save(model_of(text), tmp_path / "big.onnx")
    return tmp_path / "big.onnx"


def test_a_folder(call, model, photos):
    code, shown, error = call("optimize", model, "--feeds", photos)
    assert code == 0
    assert "3 images -> x [1,3,9,9], RGB, resized from 9x9..40x40 by squash, values 0." in shown
    assert "warning" not in error


def test_options_in_the_words_people_use(call, big, photos):
    words = ["--pixels", "0..255", "--resize", "letterbox", "--size", "32x16", "--bgr"]
    code, shown, _ = call("compare", big, big, "--feeds", photos, *words)
    assert code == 0
    line = "3 images -> x [1,3,32,16], BGR, resized from 9x9..40x40 by letterbox, values 0.00..2"
    assert line in shown
    code, shown, _ = call("compare", big, big, "--feeds", photos / "1.png", "--std", "1/255")
    assert "1 image -> x [1,3,224,224], RGB, resized from 9x9 by squash, values 0.00..2" in shown
    code, shown, _ = call("bisect", big, "--feeds", photos, "--preprocess", "yolo", "--size", "32")
    assert "[1,3,32,32], RGB, resized from 9x9..40x40 by letterbox, values" in shown
    code, shown, _ = call("optimize", big, "--feeds", photos, "--preprocess", "imagenet")
    assert "by crop, values -2.0" in shown


def test_a_function_of_ones_own(call, big, photos, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def tiny(picture):\n    return picture[:4, :4].transpose(2, 0, 1) - 1.0\n"
    )
    own = f"{tmp_path}/mine.py:tiny"
    code, shown, _ = call("optimize", big, "--feeds", photos, "--preprocess", own, "--size", "4")
    assert code == 0
    assert "[1,3,4,4], RGB, by tiny, values -1.00..250.00" in shown
    assert_refused(
        call("optimize", big, "--feeds", photos, "--preprocess", own, "--bgr"), "leave --bgr out"
    )
    assert_refused(
        call("optimize", big, "--feeds", photos, "--preprocess", f"{own}y"),
        "has no function 'tinyy'; it has tiny",
    )


def test_arrays_and_random_inputs(call, model, tmp_path):
    np.save(tmp_path / "x.npy", X)
    _, shown, _ = call("optimize", model, "--feeds", tmp_path / "x.npy")
    assert f"4 batches of {tmp_path}/x.npy -> x [1,3,9,9], values -" in shown
    _, shown, _ = call("optimize", model)
    assert "random inputs -> x [" in shown
    _, shown, _ = call("optimize", model, "-q", "--feeds", tmp_path / "x.npy")
    assert shown == ""


def test_a_scale_that_cannot_be_right_is_warned_of(call, big, photos):
    options = ["--feeds", photos, "--mean", "104,117,123", "--size", "32"]
    code, _, error = call("optimize", big, *options)
    assert code == 0
    assert "warning: mean 123 is subtracted from pixels in 0..1" in error
    _, _, error = call("optimize", big, *options, "--pixels", "0..255")
    assert "warning" not in error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--resize", "letterbx"], "did you mean 'letterbox'?"),
        (["--preprocess", "imagnet"], "did you mean 'imagenet'?"),
        (["--pixels", "255"], "--pixels is '255'; give 0..1"),
        (["--size", "4x4x4"], "--size is '4x4x4'"),
        (["--mean", "a"], "--mean is 'a', not a number"),
        (["--std", "1/0"], "--std is '1/0', not a number"),
    ],
)
def test_what_is_no_word(call, big, photos, options, words):
    assert_refused(call("optimize", big, "--feeds", photos, *options), words)


def test_what_would_change_nothing(call, model):
    for option in (["--bgr"], ["--size", "9"], ["--preprocess", "yolo"]):
        assert_refused(call("optimize", model, *option), option[0], "inputs are drawn")


def test_json_is_json_alone(call, model):
    code, shown, error = call("compare", model, model, "--json")
    assert code == 0
    assert json.loads(shown)
    assert "random inputs -> x [" in error


@pytest.fixture
def of_bytes(tmp_path):
    text = "g (uint8[N, 3, 8, 8] x) => (float[N, 3, 8, 8] y) { a = Cast<to = 1>(x) y = Relu(a) }"
    onnx.save(model_of(text), tmp_path / "bytes.onnx")
    return tmp_path / "bytes.onnx"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--pixels", "0..1"], "leave --pixels out"),
        (["--pixels", "0..255", "--mean", "0"], "leave --pixels and --mean out"),
        (["--std", "2"], "leave --std out"),
        (["--preprocess", "imagenet"], "leave --preprocess out"),
    ],
)
def test_pixels_that_are_taken_as_they_are_are_not_scaled(call, of_bytes, photos, options, named):
    refused = call("optimize", of_bytes, "--feeds", photos, *options)
    assert_refused(refused, "input 'x' takes pixels as they are, 0..255", named)


def test_pixels_may_be_said_to_be_as_they_are(call, of_bytes, photos):
    code, shown, error = call("optimize", of_bytes, "--feeds", photos, "--pixels", "0..255")
    assert code == 0, error
    assert "3 images -> x [1,3,8,8] uint8, RGB" in shown
    assert "alpha" not in shown


def test_alpha_is_said_to_be_dropped(call, model, tmp_path):
    Image.new("RGBA", (9, 9), (9, 200, 90, 0)).save(tmp_path / "clear.png")
    code, shown, _ = call("optimize", model, "--feeds", tmp_path / "clear.png")
    assert code == 0
    assert "1 image -> x [1,3,9,9], RGB, of that size, alpha dropped, values 0.04..0.78" in shown
