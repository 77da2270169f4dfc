"""A small video autoencoder that never looks ahead: 3-D convolutions, causal in time (lecture 17.2).

The first frame stands alone, every later latent frame holds four: ``T' = (T - 1) / 4 + 1``, and height and width
shrink by four. Clips are float32 (B, T, H, W, C), latents (B, T', H/4, W/4, Z). Layers are built when they are made.
Sources: causal convolutions and the first frame kept apart from MAGVIT-v2 (Yu et al. 2023, arXiv:2310.05737); a
norm over channels alone, which unlike a group norm over (T, H, W) stays causal, as in Wan (2025, 2503.20314).
"""

import keras
import tensorflow as tf

TIME, SPACE = 4, 4  # how many frames, and pixels on a side, a latent stands for


class CausalConv3D(keras.layers.Layer):
    """3x3x3 convolution whose answer at frame t depends on frames up to t.

    The first frame stands twice more before the clip; height and width are padded with zeros.

    Args:
        inputs, outputs: channels.
        strides: in time, height and width.
    """

    def __init__(self, inputs: int, outputs: int, strides: tuple[int, int, int] = (1, 1, 1)):
        super().__init__()
        self.conv = keras.layers.Conv3D(outputs, 3, strides)
        self.conv.build((None, None, None, None, inputs))
        self.built = True

    def call(self, x):
        first, rest = tf.split(x, [1, -1], 1)  # Slices would give gradients as long as x.
        x = tf.concat([first, first, first, rest], 1)
        return self.conv(tf.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0))))


def channel_norm(x: tf.Tensor) -> tf.Tensor:
    """Divide by the root mean square over the channels of each place, so that no frame hears of another."""
    return x * tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True) + 1e-6)


def enlarge(x: tf.Tensor, time: int = 1, space: int = 1) -> tf.Tensor:
    """Repeat pixels ``space`` times in both directions, and frames ``time`` times but for the first frame."""
    first, rest = tf.split(tf.repeat(tf.repeat(x, space, 2), space, 3), [1, -1], 1)
    return tf.concat([first, tf.repeat(rest, time, 1)], 1)


class CausalAutoencoder(keras.Model):
    """Clips (B, T, H, W, channels) ↔ latents (B, (T - 1) / 4 + 1, H / 4, W / 4, latent).

    Args:
        width: channels of the finest features.
        latent: numbers at a place of the latent, Z.
        channels: 1 for grey clips.
    """

    def __init__(self, width: int = 24, latent: int = 4, channels: int = 1):
        super().__init__()
        self.width, self.latent, self.channels = width, latent, channels
        self.down = [
            CausalConv3D(channels, width, (1, 2, 2)),
            CausalConv3D(width, 2 * width, (2, 2, 2)),
            CausalConv3D(2 * width, 2 * width, (2, 1, 1)),
        ]
        self.to_latent = CausalConv3D(2 * width, latent)
        self.from_latent = CausalConv3D(latent, 2 * width)
        self.up = [
            CausalConv3D(2 * width, 2 * width),
            CausalConv3D(2 * width, width),
            CausalConv3D(width, width // 2),
        ]
        self.leave = CausalConv3D(width // 2, channels)
        # What brings the latents of the training clips to mean 0 and deviation 1; measured after training.
        self.mean = self.add_weight(shape=(latent,), initializer="zeros", trainable=False, name="mean")
        self.deviation = self.add_weight(
            shape=(latent,), initializer="ones", trainable=False, name="deviation"
        )
        self.built = True

    def encode(self, clip):
        """clip (B, T, H, W, C) → latent (B, T', H/4, W/4, Z); T is a multiple of 4 and one more."""
        x = clip
        for layer in self.down:
            x = tf.nn.silu(channel_norm(layer(x)))
        return (self.to_latent(x) - self.mean) / self.deviation

    def decode(self, latent):
        """latent (B, T', H', W', Z) → clip (B, 4 (T' - 1) + 1, 4 H', 4 W', C)."""
        x = tf.nn.silu(channel_norm(self.from_latent(latent * self.deviation + self.mean)))
        for layer, (time, space) in zip(self.up, ((2, 1), (2, 2), (1, 2)), strict=True):
            x = tf.nn.silu(channel_norm(layer(enlarge(x, time, space))))
        return self.leave(x)

    def call(self, clip):
        return self.decode(self.encode(clip))
