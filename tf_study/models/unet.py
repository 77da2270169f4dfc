"""The UNet of the diffusion chapters: residual blocks that read a time and a class, one attention in the middle.

Built step by step in lecture 13.3. Layer for layer it is diffusers' ``UNet2DModel`` as :func:`diffusers_config`
says, and :func:`to_torch` writes its weights in that layout. Layers are built when they are made.

Shapes: batch B, height H, width W, channels C, E = 4 * channels[0] numbers that stand for time and class.
Sources: Ho et al. 2020 (arXiv:2006.11239), appendix B; scale and shift from Dhariwal and Nichol 2021 (2105.05233),
section 3 and table 4.
"""

import keras
import numpy as np
import tensorflow as tf

GROUPS = 8  # of every group normalisation
HEAD = 8  # numbers in a head of the attention
EPSILON = 1e-5


def time_embedding(time: tf.Tensor, width: int) -> tf.Tensor:
    """Return cosines, then sines, of ``time`` (B,) times ``10000 ** (-i / (width / 2))``, shape (B, width)."""
    half = width // 2
    frequencies = tf.constant(10000.0 ** (-np.arange(half) / half), tf.float32)
    angles = tf.cast(time, tf.float32)[:, None] * frequencies
    return tf.concat([tf.cos(angles), tf.sin(angles)], -1)


def dense(inputs: int, outputs: int, **options) -> keras.layers.Dense:
    """Return a built dense layer, (..., inputs) → (..., outputs)."""
    layer = keras.layers.Dense(outputs, **options)
    layer.build((None, inputs))
    return layer


def conv(inputs: int, outputs: int, size: int = 3, **options) -> keras.layers.Conv2D:
    """Return a built convolution, (B, H, W, inputs) → (B, H, W, outputs)."""
    layer = keras.layers.Conv2D(outputs, size, **{"padding": "same", **options})
    layer.build((None, None, None, inputs))
    return layer


class GroupNorm(keras.layers.GroupNormalization):
    """Keras' layer for pictures (B, H, W, C), at half its price: means over places, then over a group by a matrix."""

    def build(self, shape):
        super().build(shape)
        size = shape[-1] // self.groups
        together = np.kron(np.eye(self.groups), np.ones((size, size)))  # (C, C), 1 within a group
        self.average = (together / size).astype(np.float32)

    def _mean(self, x):
        return (tf.reduce_mean(x, (1, 2)) @ self.average)[:, None, None]  # (B, 1, 1, C), equal within a group

    def call(self, x):
        x = tf.cast(x, tf.float32)
        x -= self._mean(x)
        gain = tf.math.rsqrt(self._mean(x * x) + self.epsilon) * tf.cast(self.gamma, tf.float32)
        return tf.cast(x * gain + tf.cast(self.beta, tf.float32), self.compute_dtype)


def norm(channels: int) -> GroupNorm:
    """Return a built group normalisation over the last axis."""
    layer = GroupNorm(GROUPS, epsilon=EPSILON)
    layer.build((None, None, None, channels))
    return layer


def silu(x: tf.Tensor) -> tf.Tensor:
    """Return ``x * sigmoid(x)``: as ``tf.nn.silu``, whose gradient of its own makes ten operations more in a graph."""
    return x * tf.sigmoid(x)


class ResBlock(keras.layers.Layer):
    """x (B, H, W, inputs), embedding (B, E) → (B, H, W, outputs); starts as the (projected) identity."""

    def __init__(self, inputs: int, outputs: int, embedding: int):
        super().__init__()
        self.norm1, self.conv1 = norm(inputs), conv(inputs, outputs)
        self.embed = dense(embedding, 2 * outputs)
        self.norm2 = norm(outputs)
        self.conv2 = conv(outputs, outputs, kernel_initializer="zeros")
        self.skip = conv(inputs, outputs, 1) if inputs != outputs else None
        self.built = True

    def call(self, x, embedding):
        h = self.conv1(silu(self.norm1(x)))
        scale, shift = tf.split(self.embed(silu(embedding))[:, None, None], 2, -1)  # (B, 1, 1, outputs)
        h = self.conv2(silu(self.norm2(h) * (1 + scale) + shift))
        return h + (x if self.skip is None else self.skip(x))


class SelfAttention(keras.layers.Layer):
    """Attention between all places of x (B, H, W, C), added to x; starts as the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = norm(channels)
        self.query, self.key, self.value = (dense(channels, channels) for _ in range(3))
        self.out = dense(channels, channels, kernel_initializer="zeros")
        self.built = True

    def call(self, x):
        shape = tf.shape(x)
        heads = (shape[0], shape[1] * shape[2], -1, HEAD)
        h = self.norm(x)
        q, k, v = (tf.reshape(layer(h), heads) for layer in (self.query, self.key, self.value))
        weights = tf.nn.softmax(tf.einsum("bqhd,bkhd->bhqk", q, k) / HEAD**0.5)  # (B, heads, HW, HW)
        return x + self.out(tf.reshape(tf.einsum("bhqk,bkhd->bqhd", weights, v), shape))


class Down(keras.layers.Layer):
    """Halve height and width; one pixel of padding on every side, as torch has it."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = conv(channels, channels, strides=2, padding="valid")
        self.built = True

    def call(self, x):
        return self.conv(tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))))


class Up(keras.layers.Layer):
    """Double height and width: every pixel four times, then a convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = conv(channels, channels)
        self.built = True

    def call(self, x):
        return self.conv(tf.repeat(tf.repeat(x, 2, 1), 2, 2))


class UNet(keras.Model):
    """Noisy picture, time and class → a picture-shaped answer (noise, clean picture or velocity).

    Args:
        channels: of each level, from the finest on; multiples of 8. The sides of a picture must be divisible by
            2 to the power of the levels less one.
        classes: labels that can be asked for; label ``classes`` itself stands for none (Ho and Salimans 2022).
        image_channels: 1 for grey pictures, 3 for coloured ones.
    """

    def __init__(self, channels: tuple[int, ...] = (16, 32), classes: int = 10, image_channels: int = 1):
        super().__init__(
            autocast=False
        )  # In 16 bits the time would have lost its last digits before it is embedded.
        first, embedding = channels[0], 4 * channels[0]
        self.channels, self.classes, self.image_channels = tuple(channels), classes, image_channels
        self.time1, self.time2 = dense(first, embedding), dense(embedding, embedding)
        self.label = keras.layers.Embedding(classes + 1, embedding)
        self.label.build()
        self.enter = conv(image_channels, first)
        self.down, self.halve, self.up, self.double = [], [], [], []
        skips, width = [first], first
        for level, outputs in enumerate(channels):
            self.down.append(ResBlock(width, outputs, embedding))
            skips.append(outputs)
            if level < len(channels) - 1:
                self.halve.append(Down(outputs))
                skips.append(outputs)
            width = outputs
        self.middle1, self.middle2 = (ResBlock(width, width, embedding) for _ in range(2))
        self.attention = SelfAttention(width)
        for level, outputs in reversed(list(enumerate(channels))):
            for _ in range(2):
                self.up.append(ResBlock(width + skips.pop(), outputs, embedding))
                width = outputs
            if level:
                self.double.append(Up(outputs))
        self.norm = norm(first)
        self.leave = conv(first, image_channels, kernel_initializer="zeros")
        self.built = True

    def embed(self, time, label):
        """Time (B,) on the scale 0 ... 1000 and label (B,) → embedding (B, E)."""
        h = time_embedding(time, self.channels[0])
        return self.time2(silu(self.time1(h))) + self.label(label)

    def encode(self, x, embedding):
        """Return the coarsest features before the middle, and the features that wait for the way up."""
        h = self.enter(x)
        skips = [h]
        for level, block in enumerate(self.down):
            h = block(h, embedding=embedding)
            skips.append(h)
            if level < len(self.halve):
                h = self.halve[level](h)
                skips.append(h)
        return h, skips

    def bridge(self, h, embedding):
        """The two blocks at the coarsest level, attention between them."""
        return self.middle2(self.attention(self.middle1(h, embedding=embedding)), embedding=embedding)

    def decode(self, h, skips, embedding):
        """The way up; each block reads what is there beside the newest of ``skips``."""
        skips = list(skips)
        for index, block in enumerate(self.up):
            h = block(tf.concat([h, skips.pop()], -1), embedding=embedding)
            if index % 2 and index // 2 < len(self.double):
                h = self.double[index // 2](h)
        return self.leave(silu(self.norm(h)))

    def call(self, x, time, label):
        """x (B, H, W, image_channels), time (B,) on the scale 0 ... 1000, label (B,) → as x."""
        embedding = self.embed(time, label)
        h, skips = self.encode(x, embedding)
        return self.decode(self.bridge(h, embedding), skips, embedding)


def diffusers_config(model: UNet, side: int) -> dict:
    """Return the arguments with which diffusers' ``UNet2DModel`` is the same network."""
    levels = len(model.channels)
    return dict(
        sample_size=side,
        in_channels=model.image_channels,
        out_channels=model.image_channels,
        block_out_channels=model.channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * levels,
        up_block_types=("UpBlock2D",) * levels,
        num_class_embeds=model.classes + 1,
        resnet_time_scale_shift="scale_shift",
        norm_num_groups=GROUPS,
        attn_norm_num_groups=GROUPS,
        attention_head_dim=HEAD,
        norm_eps=EPSILON,
    )


def to_torch(model: UNet) -> dict[str, np.ndarray]:
    """Return the weights by their names in the state dict of diffusers' ``UNet2DModel``; torch is not imported."""
    state = {"class_embedding.weight": model.label.embeddings.numpy()}

    def put(name, layer):
        kernel, *bias = (weight.numpy() for weight in layer.weights)
        if kernel.ndim == 4:
            kernel = kernel.transpose(3, 2, 0, 1)
        state[f"{name}.weight"] = kernel.T if kernel.ndim == 2 else kernel
        state[f"{name}.bias"] = bias[0]

    def put_block(name, block):
        parts = dict(norm1=block.norm1, conv1=block.conv1, time_emb_proj=block.embed, norm2=block.norm2)
        parts |= dict(conv2=block.conv2) | (dict(conv_shortcut=block.skip) if block.skip else {})
        for part, layer in parts.items():
            put(f"{name}.{part}", layer)

    put("time_embedding.linear_1", model.time1)
    put("time_embedding.linear_2", model.time2)
    put("conv_in", model.enter)
    put("conv_norm_out", model.norm)
    put("conv_out", model.leave)
    for index, block in enumerate(model.down):
        put_block(f"down_blocks.{index}.resnets.0", block)
    for index, layer in enumerate(model.halve):
        put(f"down_blocks.{index}.downsamplers.0.conv", layer.conv)
    put_block("mid_block.resnets.0", model.middle1)
    put_block("mid_block.resnets.1", model.middle2)
    a, name = model.attention, "mid_block.attentions.0"
    for part, layer in dict(group_norm=a.norm, to_q=a.query, to_k=a.key, to_v=a.value).items():
        put(f"{name}.{part}", layer)
    put(f"{name}.to_out.0", a.out)
    for index, block in enumerate(model.up):
        put_block(f"up_blocks.{index // 2}.resnets.{index % 2}", block)
    for index, layer in enumerate(model.double):
        put(f"up_blocks.{index}.upsamplers.0.conv", layer.conv)
    return state
