"""Teaches the small backbone the ten classes of CIFAR-10: ``python -m image_classifier.pretraining`` stores it again.

It takes half a minute, which every training would spend anew on the same weights.
"""

import keras
import numpy as np
from keras import layers

from image_classifier import model
from tf_study import data, model_folder


def train(net: keras.Model, pictures: int = 4000, epochs: int = 12, batch: int = 64) -> None:
    """Teach the backbone the pictures of CIFAR-10; no head is kept."""
    (x, y), _ = data.cifar10(train=pictures, test=1)
    source = keras.Sequential([net, layers.GlobalAveragePooling2D(), layers.Dense(10)])
    steps = epochs * -(-pictures // batch)
    model.compile_for(source, keras.optimizers.schedules.CosineDecay(3e-3, steps))
    source.fit(x.astype("float32"), y.ravel(), batch_size=batch, epochs=epochs, verbose=0)


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    backbone = model.small()
    train(backbone)
    model_folder.write_npz(model.WEIGHTS, (np.asarray(weight, np.float16) for weight in backbone.weights))
