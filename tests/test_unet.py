"""The package's UNet against diffusers' ``UNet2DModel``."""

import tf_study  # noqa: F401  isort: skip

import numpy as np
import pytest
import tensorflow as tf

from tf_study.models import unet

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

SHAPES = {"14": ((16, 32), 14, 1), "16, three levels": ((8, 16, 24), 16, 3), "28": ((16, 16, 32), 28, 1)}


@pytest.mark.parametrize(("channels", "side", "image_channels"), SHAPES.values(), ids=SHAPES)
def test_unet_equals_diffusers(channels, side, image_channels):
    random = np.random.default_rng(0)
    ours = unet.UNet(channels, image_channels=image_channels)
    for weight in ours.weights:  # Zeros and ones otherwise: a layer that is left out would go unnoticed.
        weight.assign(random.normal(0, 0.2, weight.shape))
    theirs = diffusers.UNet2DModel(**unet.diffusers_config(ours, side)).eval()
    theirs.load_state_dict({name: torch.tensor(value) for name, value in unet.to_torch(ours).items()})
    x = random.normal(size=(2, side, side, image_channels)).astype(np.float32)
    time, label = np.array([10, 900], np.float32), np.array([3, 10])
    with torch.no_grad():
        expected = theirs(
            torch.tensor(x.transpose(0, 3, 1, 2)), torch.tensor(time), torch.tensor(label)
        ).sample
    expected = expected.numpy().transpose(0, 2, 3, 1)
    actual = ours(x, time=time, label=label).numpy()
    assert np.abs(actual - expected).max() < 1e-5 * np.abs(expected).max()


def test_a_new_unet_answers_zero_and_its_blocks_pass_their_input_on():
    model = unet.UNet((8, 16))
    x = tf.random.stateless_normal((2, 8, 8, 1), (1, 2))
    assert not model(x, time=tf.constant([1.0, 500.0]), label=tf.constant([0, 10])).numpy().any()
    features = tf.random.stateless_normal((2, 4, 4, 16), (3, 4))
    embedding = tf.random.stateless_normal((2, 32), (5, 6))
    np.testing.assert_array_equal(model.bridge(features, embedding), features)
