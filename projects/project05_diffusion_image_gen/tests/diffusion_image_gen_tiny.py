"""A network with one layer of each kind that the UNet has, where what is done with it is tested and not the network."""

import keras
import numpy as np
import tensorflow as tf

from tf_study.models import unet


class Tiny(keras.Model):
    """Arguments and inputs as those of ``tf_study.models.unet.UNet``."""

    def __init__(self, channels, classes, image_channels):
        super().__init__(autocast=False)
        (width,) = channels
        self.classes, self.image_channels, self.width = classes, image_channels, width
        self.time, self.label = unet.dense(width, width), keras.layers.Embedding(classes + 1, width)
        self.label.build()
        self.enter, self.norm = unet.conv(image_channels, width), unet.norm(width)
        self.leave = unet.conv(width, image_channels, kernel_initializer="zeros")
        self.built = True

    def call(self, x, time, label):
        embedding = self.time(unet.time_embedding(time, self.width)) + self.label(label)
        return self.leave(tf.nn.silu(self.norm(self.enter(x)) + embedding[:, None, None]))


def roughen(model):
    """Return a network after its weights have become random and none of them zero."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(float("gamma" in weight.path), 0.15, weight.shape))
    return model
