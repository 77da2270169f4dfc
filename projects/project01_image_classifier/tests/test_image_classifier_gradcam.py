"""Grad-CAM against closed forms, and the overlay."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from image_classifier import gradcam

SHAPES = [(1, 4, 4, 3, 2), (3, 7, 5, 8, 5), (2, 1, 1, 6, 3)]  # (B, h, w, C, classes)


def maps_of(shape):
    return np.random.default_rng(sum(shape)).normal(size=shape[:4]).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_average_pooling_and_dense_give_cam(shape):
    """There a channel's weight is the head's divided by the area, so it is Zhou et al.'s CAM (2016)."""
    maps = maps_of(shape)
    dense = keras.layers.Dense(shape[4])
    pool = keras.layers.GlobalAveragePooling2D()
    dense.build((None, shape[3]))
    for index in range(shape[4]):
        found = gradcam.gradcam(tf.constant(maps), lambda values: dense(pool(values)), index).numpy()
        cam = np.maximum(maps @ dense.kernel.numpy()[:, index], 0)
        np.testing.assert_allclose(found, cam / (shape[1] * shape[2]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES[:2])
def test_head_that_tells_positions_apart(shape):
    """Weights are the gradient's average over positions, whatever the head does."""
    maps = maps_of(shape)
    area = shape[1:3]
    kernel = np.random.default_rng(1).normal(size=(*shape[1:4], shape[4])).astype(np.float32)
    found = gradcam.gradcam(
        tf.constant(maps), lambda values: tf.tensordot(values, kernel, axes=3), shape[4] - 1
    ).numpy()
    gradient = kernel[..., -1]  # (h, w, C), the same for every picture
    np.testing.assert_allclose(found, np.maximum(maps @ gradient.mean(axis=(0, 1)), 0), rtol=1e-4, atol=1e-6)
    by_position = np.maximum((maps * gradient).sum(axis=-1), 0)
    assert np.abs(found - by_position / np.prod(area)).max() > 0.01


def test_finished_model(trained, pictures):
    explain, model = gradcam.load_explain(trained), keras.models.load_model(trained / "model.keras")
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    maps = model.get_layer("backbone")(picture[None].astype(np.float32)).numpy()[0]
    for index, weights in enumerate(model.get_layer("head").kernel.numpy().T):
        expected = np.maximum(maps @ weights, 0) / np.prod(maps.shape[:2])
        np.testing.assert_allclose(explain(picture, index), expected, rtol=1e-3, atol=1e-5)


def test_it_points_at_the_half_with_the_colour(trained):
    explain = gradcam.load_explain(trained)
    noise = np.random.default_rng(0).normal(0, 40, (32, 32, 3))
    red, blue = (200, 60, 60), (60, 60, 200)
    picture = np.clip(noise + np.where(np.arange(32)[:, None] < 16, red, blue), 0, 255).astype(np.uint8)
    heat = explain(picture, 0)  # 빨강, the first of the classes in Unicode's order
    left, right = np.split(heat, 2, axis=1)
    assert left.sum() > right.sum()


def test_overlay():
    picture = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    np.testing.assert_array_equal(gradcam.overlay(picture, np.zeros((4, 4))), picture)
    heat = np.zeros((4, 4))
    heat[0, 0] = 1e-3
    shown = gradcam.overlay(picture, heat)
    assert shown.shape == picture.shape and shown.dtype == np.uint8
    np.testing.assert_array_equal(shown[20:], picture[20:])
    np.testing.assert_array_equal(shown, gradcam.overlay(picture, 1e5 * heat))
    bright = np.array((252, 255, 164))  # the upper end of the colour map
    expected = (1 - gradcam.STRENGTH) * picture[0, 0] + gradcam.STRENGTH * bright
    assert np.abs(shown[0, 0] - expected).max() < 2
