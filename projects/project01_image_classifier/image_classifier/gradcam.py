"""Where the model looked: Grad-CAM (R. Selvaraju et al., 2017, arXiv:1610.02391)."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from matplotlib import colormaps
from PIL import Image

from image_classifier import storage

Explain = Callable[[np.ndarray, int], np.ndarray]  # uint8 (side, side, 3), class → float32 (h, w), >= 0

STRENGTH = 0.65  # share of the colour in the overlay where the map is largest


def gradcam(maps: tf.Tensor, head: Callable[[tf.Tensor], tf.Tensor], index) -> tf.Tensor:
    """Return the positions that speak for a class.

    A channel weighs as much as the class's score grows with it, on average over all positions; the weighted
    sum of the channels is cut off at zero, since only what speaks for the class is wanted.

    Args:
        maps: what the last convolution gives, (B, h, w, C).
        head: the rest of the model, maps → scores before the softmax, (B, classes).
        index: the class.

    Returns:
        (B, h, w), not negative.
    """
    with tf.GradientTape() as tape:
        tape.watch(maps)
        score = head(maps)[:, index]
    weights = tf.reduce_mean(tape.gradient(score, maps), axis=(1, 2))  # (B, C)
    return tf.nn.relu(tf.einsum("bhwc,bc->bhw", maps, weights))


def load_explain(folder: Path) -> Explain:
    """Return Grad-CAM of a finished model. It may be used from several threads at once.

    Raises:
        StudyError: if the folder holds no finished model, or its Keras file is missing or damaged.
    """
    folder = Path(folder)
    path = storage.checked(folder, storage.read_card(folder), storage.FILES["keras"])
    model = keras.models.load_model(path)
    backbone, pool, head = (model.get_layer(name) for name in ("backbone", "pool", "head"))

    @tf.function(
        input_signature=[tf.TensorSpec(model.input_shape[1:], tf.uint8), tf.TensorSpec((), tf.int32)]
    )
    def run(picture, index):
        maps = backbone(tf.cast(picture, tf.float32)[None], training=False)
        return gradcam(maps, lambda values: head(pool(values)), index)[0]

    return lambda picture, index: run(picture, index).numpy()


def overlay(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay a map over a picture: the larger its values, the more colour; where it is zero, the picture stays.

    Args:
        picture: uint8 (side, side, 3).
        heat: (h, w), not negative; scaled so that its largest value is 1.

    Returns:
        uint8 (side, side, 3).
    """
    size = picture.shape[1::-1]
    heat = np.asarray(heat, np.float32)
    large = np.asarray(Image.fromarray(heat / (heat.max() or 1)).resize(size, Image.Resampling.BILINEAR))
    colour = 255 * colormaps["inferno"](large)[..., :3]
    share = STRENGTH * large[..., None]
    return np.rint((1 - share) * picture + share * colour).astype(np.uint8)
