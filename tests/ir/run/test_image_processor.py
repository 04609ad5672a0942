"""`preprocessor_config.json` as Preprocessing: by hand, and against Transformers itself."""

import json

import numpy as np
import pytest

from planish.ir.core.errors import FeedError
from planish.ir.run.image_processor import read_processor
from planish.ir.run.preprocessing import Preprocessing

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
COMMON = {"do_resize": True, "do_rescale": True, "do_normalize": True, "resample": 2,
          "rescale_factor": 1 / 255, "image_mean": MEAN, "image_std": STD}  # fmt: skip
SIDES = {"height": 224, "width": 192}
CROP = {"do_center_crop": True, "crop_size": {"height": 224, "width": 224}}
NORMALIZED = {"mean": tuple(MEAN), "std": tuple(STD)}
UNIT = {"pixels": (0.0, 1.0)}


@pytest.fixture
def file(tmp_path):
    """Return a function that writes a configuration, and the path of it."""

    def write(config):
        path = tmp_path / "preprocessor_config.json"
        text = config if isinstance(config, str) else json.dumps(config)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"size": SIDES}, {"resize": "squash", "size": (224, 192)}),
        ({"size": {"shortest_edge": 256}, **CROP},
         {"resize": "crop", "size": (224, 224), "kept": 0.875}),
        ({"size": 256, "do_center_crop": True, "crop_size": 224},
         {"resize": "crop", "size": (224, 224), "kept": 0.875}),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875},
         {"resize": "crop", "size": (224, 224), "kept": 0.875}),
        ({"size": {"shortest_edge": 384}, "crop_pct": 1.0},
         {"resize": "squash", "size": (384, 384), "kept": 1.0}),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.9, **CROP},
         {"resize": "crop", "size": (224, 224), "kept": 0.9}),
        ({"do_resize": False}, {}),
        ({"size": SIDES, "do_flip_channel_order": True}, {"size": (224, 192), "bgr": True}),
    ],
    ids=["squash", "crop", "whole numbers", "ConvNeXt", "large ConvNeXt", "PoolFormer", "as it is",
         "blue first"],
)  # fmt: skip
def test_sizes(said, expected, file):
    found, otherwise = read_processor(file(COMMON | said))
    assert found == Preprocessing(**UNIT, **NORMALIZED, **expected)
    assert otherwise == ""


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"do_normalize": False}, UNIT),
        ({"do_rescale": False}, {"pixels": (0.0, 255.0), **NORMALIZED}),
        ({"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False},
         {"pixels": (-1.0, 1.0)}),
        ({"image_mean": 0.5, "image_std": 0.25}, {**UNIT, "mean": (0.5,), "std": (0.25,)}),
        ({"image_mean": 0.5, "image_std": 0.25, "include_top": True},
         {**UNIT, "mean": (0.5,), "std": (0.0625,)}),
        ({"do_normalize": False, "include_top": True}, {**UNIT, "std": tuple(STD)}),
    ],
)  # fmt: skip
def test_numbers(said, expected, file):
    found, _ = read_processor(file(COMMON | {"size": SIDES} | said))
    assert found == Preprocessing(size=(224, 192), **expected)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"size": {"shortest_edge": 224}}, "pictures of any shape"),
        ({"size": {"shortest_edge": 224}, "do_center_crop": True,
          "crop_size": {"height": 256, "width": 256}}, "a crop of 256 from 224"),
        ({"size": 256, "do_center_crop": True, "crop_size": {"height": 224, "width": 192}},
         "a crop of 224 x 192"),
        ({"size": SIDES, **CROP}, "a resize to one size and a crop to another"),
        ({"size": SIDES, "do_pad": True}, "'do_pad'"),
        ({"do_resize": False, **CROP}, "a crop without a resize"),
        ({"size": {}}, "KeyError: 'height'"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused(said, reason, file):
    with pytest.raises(FeedError, match=rf"preprocessor_config.json' .*{reason}.*--preprocess"):
        read_processor(file(COMMON | said))


@pytest.mark.parametrize("text", ["{", "[]", '"x"'])
def test_what_is_no_configuration_is_refused(text, file):
    with pytest.raises(FeedError, match=r"preprocessor_config.json'"):
        read_processor(file(text))


def test_another_way_of_resizing_is_told(file):
    _, otherwise = read_processor(file(COMMON | {"size": SIDES, "resample": 3}))
    assert otherwise == "pictures are resized bilinearly, and not bicubically"


@pytest.mark.slow  # importing Transformers takes seconds: make test-hosts
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ViTImageProcessorPil", {"size": {"height": 48, "width": 40}}),
        ("BitImageProcessorPil",
         {"size": {"shortest_edge": 64}, "crop_size": {"height": 56, "width": 56}}),
        ("ConvNextImageProcessorPil", {"size": {"shortest_edge": 56}, "crop_pct": 0.875}),
        ("PoolFormerImageProcessorPil",
         {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}}),
        ("EfficientNetImageProcessorPil",
         {"size": {"height": 48, "width": 40}, "rescale_factor": 1 / 127.5, "rescale_offset": True,
          "do_normalize": False}),
        ("EfficientNetImageProcessorPil", {"size": {"height": 48, "width": 40}}),
    ],
)  # fmt: skip
def test_transformers_computes_the_same(kind, options, tmp_path):
    reason = "Transformers is not installed: pip install planish[olive] draws it"
    transformers = pytest.importorskip("transformers", reason=reason)
    from PIL import Image

    processor = getattr(transformers, kind)(resample=2, **options)
    processor.save_pretrained(tmp_path)
    steps, otherwise = read_processor(tmp_path / "preprocessor_config.json")
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((120, 90))
    expected = processor(picture, return_tensors="np")["pixel_values"][0]
    found = steps.scaled(np.asarray(steps.resized(picture, steps.size))).transpose(2, 0, 1)
    assert otherwise == ""
    np.testing.assert_allclose(found, expected, atol=0.02)
