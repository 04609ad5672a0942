"""Affine maps of images."""

from __future__ import annotations

import math

import numpy as np
import torch

from planish.passes.recover.recover.training.augment import (
    apply_maps,
    apply_to_labels,
    draw_maps,
)

from tests.passes.recover.recover.small import normal


def test_maps_flip_turn_and_cut() -> None:
    image = torch.tensor(normal(0, 1, 2, 5, 5))
    identity = apply_maps(image, draw_maps((), 1, [0], 1.0))
    np.testing.assert_allclose(identity, image, atol=1e-5)
    flips = [apply_maps(image, draw_maps(("flip",), 1, [seed], 1.0)) for seed in range(20)]
    straight = [torch.allclose(found, image, atol=1e-5) for found in flips]
    mirrored = [torch.allclose(found, image.flip(3), atol=1e-5) for found in flips]
    assert all(a != b for a, b in zip(straight, mirrored, strict=True))
    assert 3 < sum(mirrored) < 17
    maps = draw_maps(("rotate",), 200, [0], 1.0)
    turns = np.degrees(np.arctan2(maps[:, 1, 0], maps[:, 0, 0]))
    assert 8 < np.abs(turns).max() <= 10
    np.testing.assert_allclose(np.linalg.det(maps[:, :, :2]), 1, atol=1e-6)
    windows = draw_maps(("crop",), 200, [0], 1.0)
    corners = np.abs(windows[:, :, 2]) + np.abs(windows[:, [0, 1], [0, 1]])
    assert corners.max() <= 1 + 1e-6
    assert windows[:, 0, 0].min() < 0.82


def test_a_turned_circle_of_a_wide_image_stays_a_circle() -> None:
    height, width = 40, 80
    maps = draw_maps(("rotate",), 1, [3], height / width)
    # In pixels the map is a rotation: lengths stay.
    scale = np.diag([width / 2, height / 2])
    pixels = scale @ maps[0, :, :2].astype(np.float64) @ np.linalg.inv(scale)
    np.testing.assert_allclose(pixels @ pixels.T, np.eye(2), atol=1e-6)
    assert math.degrees(abs(math.atan2(pixels[1, 0], pixels[0, 0]))) > 0.5


def test_maps_of_a_share_are_those_of_the_batch() -> None:
    whole = draw_maps(("flip", "crop", "rotate"), 8, [1, 2], 1.0)
    assert whole.shape == (8, 2, 3)
    again = draw_maps(("flip", "crop", "rotate"), 8, [1, 2], 1.0)
    np.testing.assert_array_equal(whole, again)


def test_labels_move_with_their_images() -> None:
    """Those that are no maps of an image stay."""
    classes = torch.randint(0, 300, (4, 8, 6), generator=torch.Generator().manual_seed(0))
    flip = np.tile(np.array([[-1, 0, 0], [0, 1, 0]], np.float32), (4, 1, 1))
    assert apply_to_labels(classes, flip).tolist() == classes.flip(2).tolist()
    assert apply_to_labels(classes[:, 0, 0], flip).tolist() == classes[:, 0, 0].tolist()
