"""The two networks of a model, and the transformer with a part left out, for the ablation."""

from collections.abc import Mapping
from functools import partial

import keras
import tensorflow as tf

from tf_study.models import causal_vae, video_dit


class FrameBlock(video_dit.Block):
    """A block whose tokens attend only to those of the same latent frame.

    Args:
        frames: how many latent frames the tokens are.
    """

    def __init__(self, width: int, heads: int, frames: int):
        super().__init__(width, heads)
        self.frames = frames

    def attend(self, x, angles):
        shape = tf.shape(x)  # (B, N, d)
        place = shape[1] // self.frames
        apart = tf.reshape(x, (shape[0] * self.frames, place, x.shape[-1]))
        return tf.reshape(
            super().attend(apart, angles[:place]), shape
        )  # Rows and columns turn alike in all frames.


def autoencoder(card: Mapping) -> causal_vae.CausalAutoencoder:
    """Return a new autoencoder as a card or settings have it."""
    return causal_vae.CausalAutoencoder(card["autoencoder_width"], card["latent"], card["channels"])


def transformer(card: Mapping) -> video_dit.VideoDiT:
    """Return a new transformer as a card or settings have it; ``without`` names the part that is left out."""
    time = (card["frames"] - 1) // causal_vae.TIME + 1
    space = card["side"] // causal_vae.SPACE
    labels = (len(card["classes"]), *([len(card["directions"])] if card["directions"] else []))
    block = partial(FrameBlock, frames=time) if card["without"] == "time" else video_dit.Block
    sizes = (card["width"], card["depth"], card["heads"])
    model = video_dit.VideoDiT((time, space, space), card["latent"], labels, *sizes, block)
    if card["without"] == "rope":
        model.angles = tf.zeros_like(model.angles)
    if card["without"] == "zero":
        draw = keras.initializers.GlorotUniform(seed=keras.random.SeedGenerator(0))
        for layer in (*(block.condition for block in model.blocks), model.condition, model.leave):
            layer.kernel.assign(draw(layer.kernel.shape))
    return model
