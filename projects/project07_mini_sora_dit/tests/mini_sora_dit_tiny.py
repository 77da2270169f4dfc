"""Two networks of a few layers, where training is tested and not the networks."""

import keras

from tf_study.models import causal_vae, video_dit
from tf_study.models.causal_vae import SPACE, TIME


class TinyAutoencoder(keras.Model):
    """Arguments, shapes and attributes as those of ``tf_study.models.causal_vae.CausalAutoencoder``."""

    def __init__(self, width, latent, channels):
        super().__init__()
        self.latent, self.channels = latent, channels
        self.down = causal_vae.CausalConv3D(channels, latent, (TIME, SPACE, SPACE))
        self.up = causal_vae.CausalConv3D(latent, channels)
        self.mean, self.deviation = (
            self.add_weight(shape=(latent,), initializer=start, trainable=False)
            for start in ("zeros", "ones")
        )
        self.built = True

    def encode(self, clip):
        return (self.down(clip) - self.mean) / self.deviation

    def decode(self, latent):
        return self.up(causal_vae.enlarge(latent * self.deviation + self.mean, TIME, SPACE))

    def call(self, clip):
        return self.decode(self.encode(clip))


class TinyTransformer(video_dit.VideoDiT):
    """What is before and after the blocks, and no block."""

    def __init__(self, grid, latent, labels, width, depth, heads, block):
        super().__init__(grid, latent, labels, width, 0, heads)


def install(assign=setattr):
    """Let the program make these networks; ``assign`` is as ``setattr``."""
    assign(causal_vae, "CausalAutoencoder", TinyAutoencoder)
    assign(video_dit, "VideoDiT", TinyTransformer)
