"""A diffusion transformer for latents of clips: adaLN-Zero blocks and rotary positions in three dimensions.

Built in lectures 17.1, 17.3 and 17.5. Shapes: batch B, latent frames T, height H, width W, tokens N = T H W, width d.
Sources: Peebles and Xie 2022 (DiT, arXiv:2212.09748); rotary positions in time, height and width as in
HunyuanVideo (Kong et al. 2024, 2412.03603). Layers are built when they are made.
"""

import keras
import numpy as np
import tensorflow as tf

from tf_study.models.unet import dense, time_embedding

TIME_WIDTH = 64  # sines and cosines of the time
ROTARY_BASE = 100.0  # latents are small: no axis is longer than a dozen places


def rotary_angles(grid: tuple[int, int, int], head: int, base: float = ROTARY_BASE) -> np.ndarray:
    """Return the angle of each pair of numbers of each token, (T H W, head / 2).

    A third of the pairs turns with the frame, a third with the row, a third with the column.

    Raises:
        ValueError: if ``head`` is not divisible by 6.
    """
    if head % 6:
        raise ValueError("the numbers of a head must be divisible by 6: pairs for three axes")
    frequencies = base ** (-np.arange(head // 6) / (head // 6))
    places = np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij"), -1).reshape(-1, 3)  # (N, 3)
    return (places[:, :, None] * frequencies).reshape(len(places), -1).astype(np.float32)


def rotate(x: tf.Tensor, angles: tf.Tensor) -> tf.Tensor:
    """Turn neighbouring pairs (x[2i], x[2i + 1]) of x (B, N, heads, D) by angles (N, D / 2)."""
    shape, cos, sin = tf.shape(x), tf.cos(angles), tf.sin(angles)
    ahead, across = (
        tf.reshape(tf.stack(pair, -1), (-1, 1, x.shape[-1])) for pair in ((cos, cos), (-sin, sin))
    )  # each (N, 1, D)
    other = tf.reverse(tf.reshape(x, tf.concat([shape[:-1], [-1, 2]], 0)), [-1])  # of the pair
    return x * ahead + tf.reshape(other, shape) * across


def modulate(x: tf.Tensor, shift: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Layer norm without weights, times ``1 + scale``, plus ``shift``; x (B, N, d), the others (B, 1, d)."""
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + 1e-6) * (1 + scale) + shift


class Block(keras.layers.Layer):
    """adaLN-Zero: x (B, N, d), condition (B, d) → (B, N, d); starts as the identity.

    The condition gives shift, scale and gate of the attention, then of the feed-forward network, in this order.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.condition = dense(width, 6 * width, kernel_initializer="zeros")
        self.qkv, self.out = dense(width, 3 * width), dense(width, width)
        self.up, self.down = dense(width, 4 * width), dense(4 * width, width)
        self.built = True

    def attend(self, x, angles):
        """Self-attention between the tokens of x (B, N, d); a clip's places turn queries and keys."""
        shape = tf.shape(x)
        split = tf.reshape(self.qkv(x), (shape[0], shape[1], 3 * self.heads, x.shape[-1] // self.heads))
        qk, v = tf.split(split, [2 * self.heads, self.heads], 2)
        q, k = tf.split(rotate(qk, angles), 2, 2)  # (B, N, heads, D)
        scores = tf.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
        return self.out(tf.reshape(tf.einsum("bhqk,bkhd->bqhd", tf.nn.softmax(scores), v), shape))

    def call(self, x, condition, angles):
        parts = tf.split(self.condition(tf.nn.silu(condition))[:, None], 6, -1)  # each (B, 1, d)
        shift1, scale1, gate1, shift2, scale2, gate2 = parts
        x += gate1 * self.attend(modulate(x, shift1, scale1), angles)
        hidden = tf.nn.gelu(self.up(modulate(x, shift2, scale2)), approximate=True)
        return x + gate2 * self.down(hidden)


class VideoDiT(keras.Model):
    """Noisy latent, time, labels and perhaps a first frame → velocity.

    Args:
        grid: latent frames, height and width; every place is a token.
        latent: numbers at a place, Z.
        labels: how many values each label has; the value after the last stands for none.
        width, depth, heads: of the transformer; ``width / heads`` must be divisible by 6.
        block: makes each of its layers from ``width`` and ``heads``.
    """

    def __init__(self, grid=(3, 4, 4), latent=4, labels=(10, 4), width=96, depth=4, heads=4, block=Block):
        super().__init__()
        self.grid, self.latent, self.labels = tuple(grid), latent, tuple(labels)
        self.angles = tf.constant(rotary_angles(self.grid, width // heads))
        self.enter = dense(2 * latent + 1, width)
        self.time1, self.time2 = dense(TIME_WIDTH, width), dense(width, width)
        self.embeddings = [keras.layers.Embedding(count + 1, width) for count in labels]
        for layer in self.embeddings:
            layer.build()
        self.blocks = [block(width, heads) for _ in range(depth)]
        self.condition = dense(width, 2 * width, kernel_initializer="zeros")
        self.leave = dense(width, latent, kernel_initializer="zeros")
        self.built = True

    def embed(self, time, labels):
        """time (B,) on the scale 0 ... 1000, labels (B, kinds) → condition (B, d)."""
        condition = self.time2(tf.nn.silu(self.time1(time_embedding(time, TIME_WIDTH))))
        for kind, layer in enumerate(self.embeddings):
            condition += layer(labels[:, kind])
        return condition

    def call(self, x, time, labels, first, known):
        """Return the velocity, as x.

        Args:
            x: noisy latent (B, T, H, W, Z).
            time: (B,) on the scale 0 ... 1000.
            labels: (B, kinds), integers.
            first: latent of the first frame (B, H, W, Z), read where ``known`` (B,) is 1 and not where it is 0.
        """
        shape = tf.shape(x)
        known = tf.cast(known, x.dtype)[:, None, None, None]
        hint = tf.concat([first * known, tf.ones_like(first[..., :1]) * known], -1)[:, None]
        hint = tf.pad(hint, ((0, 0), (0, self.grid[0] - 1), (0, 0), (0, 0), (0, 0)))  # zeros after it
        tokens = tf.reshape(tf.concat([x, hint], -1), (shape[0], -1, 2 * self.latent + 1))
        condition = self.embed(time, labels)
        h = self.enter(tokens)
        for block in self.blocks:
            h = block(h, condition=condition, angles=self.angles)
        shift, scale = tf.split(self.condition(tf.nn.silu(condition))[:, None], 2, -1)
        return tf.reshape(self.leave(modulate(h, shift, scale)), shape)
