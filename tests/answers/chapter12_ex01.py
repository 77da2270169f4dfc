"""Right and wrong answers to practice 12.1.

Each part of the model is written once, with options that make its mistakes.
"""

import functools

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from answers import Answers
from tf_study.models.llama import parameter_count

RIGHT, WRONG = Answers(), Answers()


def _norm(
    a, gain, eps, dtype=tf.float32, centre=False, outside=False, total=False, axis=-1, root=True, back=True
):
    x = tf.cast(a, dtype or a.dtype)
    x -= tf.reduce_mean(x, -1, keepdims=True) if centre else 0
    square = (tf.reduce_sum if total else tf.reduce_mean)(x * x, axis, keepdims=True)
    eps = tf.cast(eps, x.dtype)
    scale = (tf.sqrt(square) + eps if outside else tf.sqrt(square + eps)) if root else square + eps
    x = tf.math.divide_no_nan(x, scale)
    return tf.cast(x, a.dtype) * gain if back else x * tf.cast(gain, x.dtype)


RIGHT("rms_norm")(_norm)


@RIGHT("rms_norm")
def norm_numpy(a, gain, eps):
    """NumPy in float64, back to the type of the input."""
    x = np.asarray(a, float)
    x = x / np.sqrt(np.mean(x**2, -1, keepdims=True) + eps)
    return (x * np.asarray(gain, float)).astype(np.asarray(a).dtype)


@RIGHT("rms_norm")
@tf.function
def norm_by_length(a, gain, eps):
    """In a graph: the length of the vector over the root of n."""
    x = tf.cast(a, tf.float64)
    n = tf.cast(tf.shape(x)[-1], tf.float64)
    long = tf.sqrt(tf.linalg.norm(x, axis=-1, keepdims=True) ** 2 + n * tf.cast(eps, tf.float64))
    return tf.cast(x * tf.sqrt(n) / long, a.dtype) * gain


@WRONG("rms_norm")
def norm_without_gain(a, gain, eps):
    """Forget the gain."""
    return _norm(a, tf.ones_like(gain), eps)


@WRONG("rms_norm")
def norm_spread(a, gain, eps):
    """Divide by the standard deviation without subtracting the mean."""
    x = tf.cast(a, tf.float32)
    x /= tf.sqrt(tf.math.reduce_variance(x, -1, keepdims=True) + eps)
    return tf.cast(x, a.dtype) * gain


@WRONG("rms_norm")
def norm_without_eps(a, gain, eps):
    """Leave out epsilon."""
    return _norm(a, gain, 0.0)


@WRONG("rms_norm")
def norm_small_eps(a, gain, eps):
    """Write epsilon as a number."""
    return _norm(a, gain, 1e-5)


def _turn(x, positions, base, pairs="half", sign=1, fresh=False, denominator=1.0, late=False, mixed=False):
    depth = x.shape[-1]
    theta = base ** (-np.arange(0, depth, 2) / (depth * denominator))
    positions = tf.range(x.shape[-2]) if fresh else positions
    positions = tf.cast(positions, x.dtype) if late else positions  # In float16 these are rounded.
    angles = sign * tf.cast(positions, tf.float32)[:, None] * theta.astype("float32")
    cos, sin = tf.cast(tf.cos(angles), x.dtype), tf.cast(tf.sin(angles), x.dtype)
    if pairs == "interleaved":
        first, second = x[..., 0::2], x[..., 1::2]
        return tf.reshape(tf.stack([first * cos - second * sin, second * cos + first * sin], -1), x.shape)
    first, second = tf.split(x, 2, -1)
    if mixed:
        return tf.reshape(tf.stack([first * cos - second * sin, second * cos + first * sin], -1), x.shape)
    return tf.concat([first * cos - second * sin, second * cos + first * sin], -1)


RIGHT("rotate")(_turn)


@RIGHT("rotate")
def turn_complex(x, positions, base):
    """Products of complex numbers in NumPy."""
    a = np.asarray(x, float)
    half = a.shape[-1] // 2
    angles = np.outer(positions, float(base) ** (-np.arange(half) / half))
    z = (a[..., :half] + 1j * a[..., half:]) * np.exp(1j * angles)
    return np.concatenate([z.real, z.imag], -1).astype(x.dtype.as_numpy_dtype)


@RIGHT("rotate")
@tf.function
def turn_half(x, positions, base):
    """In a graph, as Hugging Face does: x cos + rotate_half(x) sin."""
    depth = x.shape[-1]
    theta = tf.exp(-tf.math.log(float(base)) * tf.range(0, depth, 2, tf.float32) / depth)
    angles = tf.tile(tf.cast(positions, tf.float32)[:, None] * theta, (1, 2))
    y = tf.cast(x, tf.float32)
    other = tf.concat([-y[..., depth // 2 :], y[..., : depth // 2]], -1)
    return tf.cast(y * tf.cos(angles) + other * tf.sin(angles), x.dtype)


@WRONG("rotate")
def turn_fixed_base(x, positions, base):
    """Ignore the base."""
    return _turn(x, positions, 10000.0)


@WRONG("rotate")
def turn_reflected(x, positions, base):
    """Take the minus sign for the second half too, which is no rotation."""
    first, second = tf.split(x, 2, -1)
    turned = tf.split(_turn(x, positions, base), 2, -1)
    cosine = tf.split(_turn(tf.concat([second, 0 * second], -1), positions, base), 2, -1)
    return tf.concat([turned[0], 2 * cosine[0] - turned[1]], -1)


@WRONG("rotate")
def turn_three_axes(x, positions, base):
    """Suppose (B, T, D): the positions run along the second axis."""
    moved = _turn(tf.reshape(x, (*x.shape[:2], -1, x.shape[-1]))[:, :, 0], positions, base)
    return (
        moved if len(x.shape) == 3 else tf.broadcast_to(tf.reshape(moved, (*moved.shape[:2], 1, -1)), x.shape)
    )


@WRONG("rotate")
def turn_added(x, positions, base):
    """Add the sines and cosines instead."""
    ones = tf.concat([tf.ones_like(x[..., ::2]), tf.zeros_like(x[..., ::2])], -1)
    return x + _turn(ones, positions, base)


def _feed(x, w, v, w2, act=tf.nn.silu):
    return (act(x @ w) * (x @ v)) @ w2


RIGHT("swiglu")(_feed)


@RIGHT("swiglu")
def feed_numpy(x, w, v, w2):
    """NumPy with the tanh form of the sigmoid."""
    z = np.asarray(x) @ np.asarray(w)
    return (z * (1 + np.tanh(z / 2)) / 2 * (np.asarray(x) @ np.asarray(v))) @ np.asarray(w2)


@RIGHT("swiglu")
@tf.function
def feed_layers(x, w, v, w2):
    """In a graph: one product with both matrices side by side, keras.activations."""
    gate, up = keras.ops.split(tf.tensordot(x, tf.concat([w, v], 1), 1), 2, -1)
    return tf.tensordot(keras.activations.swish(gate) * up, w2, 1)


@WRONG("swiglu")
def feed_swapped(x, w, v, w2):
    """Swap gate and up."""
    return _feed(x, v, w, w2)


@WRONG("swiglu")
def feed_both(x, w, v, w2):
    """Take Swish of the value too."""
    return (tf.nn.silu(x @ w) * tf.nn.silu(x @ v)) @ w2


@WRONG("swiglu")
def feed_late(x, w, v, w2):
    """Take Swish of the product."""
    return tf.nn.silu((x @ w) * (x @ v)) @ w2


@WRONG("swiglu")
def feed_sum(x, w, v, w2):
    """Add instead of multiplying."""
    return (tf.nn.silu(x @ w) + x @ v) @ w2


@WRONG("swiglu")
def feed_wide(x, w, v, w2):
    """Forget the last projection."""
    return tf.nn.silu(x @ w) * (x @ v)


@WRONG("swiglu")
def feed_plain(x, w, v, w2):
    """Use two matrices as in the first transformer."""
    return tf.nn.relu(x @ w) @ w2


@WRONG("swiglu")
def feed_overflow(x, w, v, w2):
    """Write Swish with exp(z), which overflows."""
    z = x @ w
    return (z * tf.exp(z) / (1 + tf.exp(z)) * (x @ v)) @ w2


def _attend(q, k, v, copy=tf.repeat, power=0.5, fill=-1e9, shift=0, late=True, mask=True, axis=-1):
    (_, heads, length, depth), (groups, keys) = q.shape, k.shape[1:3]
    if copy is tf.tile:
        k, v = (tf.tile(z, (1, heads // groups, 1, 1)) for z in (k, v))
    else:
        k, v = (tf.repeat(z, heads // groups, axis=1) for z in (k, v))
    scores = tf.matmul(q, k, transpose_b=True) / depth**power
    seen = tf.range(keys) < tf.range(length)[:, None] + 1 + shift + (keys - length if late else 0)
    return tf.nn.softmax(tf.where(seen, scores, fill) if mask else scores, axis) @ v


RIGHT("grouped_attention")(_attend)


@RIGHT("grouped_attention")
def attend_grouped(q, k, v):
    """No copies: the heads of a group as one more axis, an additive mask."""
    (b, heads, length, depth), (groups, keys) = q.shape, k.shape[1:3]
    q = tf.reshape(q, (b, groups, heads // groups, length, depth)) * depth**-0.5
    future = np.triu(np.full((length, keys), -1e9, "float32"), keys - length + 1)
    weights = tf.nn.softmax(tf.einsum("bgrtd,bgsd->bgrts", q, k) + future)
    return tf.reshape(tf.einsum("bgrts,bgse->bgrte", weights, v), (b, heads, length, -1))


@RIGHT("grouped_attention")
def attend_loop(q, k, v):
    """NumPy, one head and one query at a time over the keys it sees."""
    q, k, v = (np.asarray(z, float) for z in (q, k, v))
    (b, heads, length, depth), (groups, keys) = q.shape, k.shape[1:3]
    out = np.zeros((b, heads, length, v.shape[-1]))
    for i, h, t in np.ndindex(b, heads, length):
        g, end = h * groups // heads, keys - length + t + 1
        scores = k[i, g, :end] @ q[i, h, t] / depth**0.5
        power = np.exp(scores - scores.max())
        out[i, h, t] = power / power.sum() @ v[i, g, :end]
    return out.astype("float32")


@RIGHT("grouped_attention")
@tf.function
def attend_keras(q, k, v):
    """In a graph, with keras.ops and einsum."""
    shape, keys = tf.shape(q), tf.shape(k)[2]
    seen = tf.range(keys) <= tf.range(keys - shape[2], keys)[:, None]
    k, v = (keras.ops.repeat(z, q.shape[1] // z.shape[1], axis=1) for z in (k, v))
    scores = tf.einsum("bhtd,bhsd->bhts", q, k) / tf.sqrt(tf.cast(shape[3], tf.float32))
    return tf.einsum("bhts,bhse->bhte", keras.ops.softmax(tf.where(seen, scores, scores.dtype.min)), v)


@WRONG("grouped_attention")
def attend_masked_late(q, k, v):
    """Mask after the softmax, so that the weights do not add up to one."""
    (_, heads, length, depth), (groups, keys) = q.shape, k.shape[1:3]
    k, v = (tf.repeat(z, heads // groups, axis=1) for z in (k, v))
    weights = tf.nn.softmax(tf.matmul(q, k, transpose_b=True) / depth**0.5)
    seen = tf.range(keys) <= tf.range(keys - length, keys)[:, None]
    return tf.where(seen, weights, 0.0) @ v


@WRONG("grouped_attention")
def attend_first_group(q, k, v):
    """Let every head read the first keys and values."""
    return _attend(q, k[:, :1], v[:, :1])


@WRONG("grouped_attention")
def attend_mean_query(q, k, v):
    """Average the queries of a group."""
    times = q.shape[1] // k.shape[1]
    mean = tf.reduce_mean(tf.reshape(q, (q.shape[0], k.shape[1], times, *q.shape[2:])), 2)
    return tf.repeat(_attend(mean, k, v), times, axis=1)


@WRONG("grouped_attention")
def attend_overflow(q, k, v):
    """Take exponentials without subtracting the largest score."""
    (_, heads, length, depth), (groups, keys) = q.shape, k.shape[1:3]
    k, v = (tf.repeat(z, heads // groups, axis=1) for z in (k, v))
    seen = tf.range(keys) <= tf.range(keys - length, keys)[:, None]
    power = tf.where(seen, tf.exp(tf.matmul(q, k, transpose_b=True) / depth**0.5), 0.0)
    return power / tf.reduce_sum(power, -1, keepdims=True) @ v


@WRONG("grouped_attention")
def attend_transposed(q, k, v):
    """Return (B, T, H, E)."""
    return tf.transpose(_attend(q, k, v), (0, 2, 1, 3))


def weight(layer, *shape, std=None):
    initializer = keras.initializers.RandomNormal(stddev=std) if std else "ones"
    return layer.add_weight(shape=shape, initializer=initializer)


class _Attention(layers.Layer):
    """The attention layer; the class attribute ``change`` makes one mistake."""

    change = ""

    def __init__(self, config):
        super().__init__()
        c = self.config = config
        queries, groups = c.heads * c.head_dim, c.kv_heads * c.head_dim
        self.w_q, self.w_k, self.w_v = (
            weight(self, c.width, n, std=c.width**-0.5) for n in (queries, groups, groups)
        )
        self.w_o = weight(self, queries, c.width, std=queries**-0.5)
        self.built = True

    def call(self, x, cache=None):
        c, (b, length, _), change = self.config, x.shape, self.change
        depth = c.width // c.heads if change == "head size from the width" else c.head_dim

        def split(z, heads):
            if change == "reshape straight to (B, H, T, D)":
                return tf.reshape(z, (b, heads, length, depth))
            if change == "columns of a head far apart":
                return tf.transpose(tf.reshape(z, (b, length, depth, heads)), (0, 3, 1, 2))
            return tf.transpose(tf.reshape(z, (b, length, heads, depth)), (0, 2, 1, 3))

        start = 0 if cache is None or change == "positions from zero" else cache[0].shape[2]
        start += {"positions from one": 1, "one position late": cache is not None}.get(change, 0)
        place = tf.range(start, start + length)
        base = 10000.0 if change == "fixed base" else c.rope_base
        turn = (lambda z, at: z) if change == "no rotation" else functools.partial(_turn, base=base)
        q, k, v = (
            split(x @ self.w_q, c.heads),
            split(x @ self.w_k, c.kv_heads),
            split(x @ self.w_v, c.kv_heads),
        )
        q = q if change == "query not rotated" else turn(q, place)
        v = turn(v, place) if change == "value rotated" else v
        late = change in ("keys kept before the rotation", "keys rotated again")
        k = k if change == "keys kept before the rotation" else turn(k, place)
        if cache is not None and change != "cache ignored":
            pairs = [
                (new, old) if change == "new keys in front" else (old, new)
                for old, new in zip(cache, (k, v), strict=True)
            ]
            k, v = (tf.concat(pair, 2) for pair in pairs)
            if change == "cached values dropped":
                v = tf.concat([tf.zeros_like(cache[1]), v[:, :, -length:]], 2)
        kept = (k, v)
        if late:
            k = turn(k, tf.range(k.shape[2]))
        if change == "copies cached":
            kept = tuple(tf.repeat(z, c.heads // c.kv_heads, 1) for z in kept)
            k, v = (z[:, :: c.heads // c.kv_heads] for z in (k, v)) if cache is None else kept
        if change == "only new keys cached":
            kept = tuple(z[:, :, -length:] for z in kept)
        if change == "old cache returned" and cache is not None:
            kept = cache
        out = _attend(q, k, v, late=change != "mask from position zero")
        out = out if change == "heads not swapped back" else tf.transpose(out, (0, 2, 1, 3))
        out = tf.reshape(out, (b, length, -1))
        out = out if change == "no output projection" else out @ self.w_o
        return out if change == "no cache returned" else (out, kept)


RIGHT("Attention")(_Attention)


@RIGHT("Attention")
class FusedAttention(_Attention):
    """One product for all three, the cache kept as NumPy arrays."""

    def call(self, x, cache=None):
        c, (b, length, _) = self.config, x.shape
        z = x @ tf.concat([self.w_q, self.w_k, self.w_v], 1)
        z = tf.transpose(tf.reshape(z, (b, length, -1, c.head_dim)), (0, 2, 1, 3))
        q, k, v = tf.split(z, [c.heads, c.kv_heads, c.kv_heads], 1)
        start = np.shape(cache[0])[2] if cache else 0
        q, k = (turn_complex(part, np.arange(start, start + length), c.rope_base) for part in (q, k))
        if cache:
            k, v = (np.concatenate(pair, 2) for pair in zip(cache, (k, v.numpy()), strict=True))
        out = attend_grouped(tf.constant(q), tf.constant(k), tf.constant(v))
        return tf.einsum("bhte,hed->btd", out, tf.reshape(self.w_o, (c.heads, c.head_dim, -1))), [k, v]


class _Block(layers.Layer):
    """The block; the class attribute ``change`` makes one mistake."""

    change = ""

    def __init__(self, config):
        super().__init__()
        c = self.config = config
        self.attention = _Attention(c)
        self.attention_gain, self.feed_forward_gain = weight(self, c.width), weight(self, c.width)
        self.w, self.v = (weight(self, c.width, c.hidden, std=c.width**-0.5) for _ in range(2))
        self.w2 = weight(self, c.hidden, c.width, std=c.hidden**-0.5)
        self.built = True

    def call(self, x, cache=None):
        change, eps = self.change, 1e-5 if self.change == "fixed epsilon" else self.config.eps
        given = None if change == "cache not handed on" else cache

        def first(z):
            return z if change == "no first norm" else _norm(z, self.attention_gain, eps)

        def second(z):
            gain = self.attention_gain if change == "one gain for both" else self.feed_forward_gain
            return z if change == "no second norm" else _norm(z, gain, eps, centre=change == "layer norm")

        def feed(z):
            gate, up = (self.v, self.w) if change == "gate and up swapped" else (self.w, self.v)
            return _feed(z, gate, up, self.w2)

        if change == "post-norm":
            mixed, cache = self.attention(x, cache=given)
            x = first(x + mixed)
            return second(x + feed(x)), cache
        mixed, new = self.attention(first(x), cache=given)
        if change == "parallel":
            return x + mixed + feed(second(x)), new
        x = {"no first skip": mixed, "normed skip": first(x) + mixed}.get(change, x + mixed)
        fed = feed(second(x))
        x = {"no second skip": fed, "normed second skip": second(x) + fed, "no feed-forward": x}.get(
            change, x + fed
        )
        return x, cache if change == "old cache returned" else new


RIGHT("LlamaBlock")(_Block)


@RIGHT("LlamaBlock")
class LoopedBlock(_Block):
    """Both halves by the same line."""

    def call(self, x, cache=None):
        new = None

        def attend(z):
            nonlocal new
            out, new = self.attention(z, cache=cache)
            return out

        halves = (
            (self.attention_gain, attend),
            (self.feed_forward_gain, lambda z: feed_numpy(z, self.w, self.v, self.w2)),
        )
        for gain, part in halves:
            x += part(_norm(x, gain, self.config.eps))
        return x, new


class _Llama(keras.Model):
    """The model; the class attribute ``change`` makes one mistake."""

    change = ""

    def __init__(self, config):
        super().__init__()
        c = self.config = config
        std = 0.02 if self.change == "small embedding" else 1.0
        self.embedding = weight(self, c.vocab, c.width, std=std)
        self.blocks = [_Block(c) for _ in range(c.layers)]
        if self.change == "one block shared":
            self.blocks = self.blocks[:1] * c.layers
        self.gain = weight(self, c.width)
        self.head = weight(self, c.width, c.vocab, std=1.0 if self.change == "large head" else c.width**-0.5)
        self.bias = weight(self, c.vocab) if self.change == "bias in the head" else None
        self.built = True

    def call(self, tokens, cache=None):
        change = self.change
        x = tf.gather(self.embedding, tokens)
        x *= self.config.width**0.5 if change == "scaled embedding" else 1.0
        new = list(cache or [None] * len(self.blocks))
        old = list(new)
        blocks = self.blocks[::-1] if change == "blocks reversed" else self.blocks
        for i, block in enumerate(blocks[:1] if change == "one block" else blocks):
            given = {"cache not handed on": None, "cache of the first block for all": old[0]}.get(
                change, old[i]
            )
            x, new[i] = block(x, cache=given)
        x = x if change == "no last norm" else _norm(x, self.gain, self.config.eps)
        logits = x @ (tf.transpose(self.embedding) if change == "tied embedding" else self.head)
        logits = logits + (self.bias if self.bias is not None else 0)
        logits = tf.nn.softmax(logits) if change == "softmax" else logits
        logits = logits[:, -1:] if change == "last logits only" else logits
        return logits, new[-1] if change == "last cache only" else new

    @classmethod
    def parameter_count(cls, c):
        right, change = parameter_count(c), cls.change
        return {
            "keys and values counted for H heads": right
            + c.layers * 2 * c.width * c.head_dim * (c.heads - c.kv_heads),
            "last norm not counted": right - c.width,
            "head not counted": right - c.vocab * c.width,
            "two matrices in SwiGLU": right - c.layers * c.width * c.hidden,
            "head size taken from the width": right
            - c.layers * 2 * c.width * (c.head_dim - c.width // c.heads) * (c.heads + c.kv_heads),
            "always 8B": 8_030_261_248,
        }.get(change, right)


RIGHT("MiniLlama")(_Llama)


@WRONG("MiniLlama")
class FloatCount(_Llama):
    """Count in floats."""

    @staticmethod
    def parameter_count(config):
        return float(_Llama.parameter_count(config))


@WRONG("MiniLlama")
class FrozenHead(_Llama):
    """The output matrix does not learn."""

    def __init__(self, config):
        super().__init__(config)
        self.head.trainable = False


@RIGHT("MiniLlama")
class KerasLlama(keras.Model):
    """Weights of keras.layers, which the names point to; the count from the sizes of the weights."""

    def __init__(self, config):
        super().__init__()
        c = self.config = config
        table = layers.Embedding(c.vocab, c.width, keras.initializers.RandomNormal(stddev=1.0))
        dense = layers.Dense(
            c.vocab, use_bias=False, kernel_initializer=keras.initializers.RandomNormal(stddev=c.width**-0.5)
        )
        table.build((None,))
        dense.build((None, c.width))
        self.parts = [table, dense]
        self.embedding, self.head = table.embeddings, dense.kernel
        self.blocks = [_Block(c) for _ in range(c.layers)]
        self.gain = weight(self, c.width)
        self.built = True

    def call(self, tokens, cache=None):
        x, new = self.parts[0](tokens), []
        for block, old in zip(self.blocks, cache or [None] * len(self.blocks), strict=True):
            x, pair = block(x, cache=old)
            new.append(pair)
        return self.parts[1](_norm(x, self.gain, self.config.eps)), new

    @staticmethod
    def parameter_count(c):
        heads = [c.heads, c.heads, c.kv_heads, c.kv_heads]
        block = sum(c.width * c.head_dim * h for h in heads) + (3 * c.hidden + 2) * c.width
        return c.width * (2 * c.vocab + 1) + c.layers * block


def _generate(tokens, count, llama=None):
    """Write with the cache; without a model, as an untrained one would."""
    chosen, cache, new = [], None, tokens
    for _ in range(count):
        logits, cache = llama(new, cache=cache) if llama is not None else _noise(new)
        new = tf.argmax(logits[:, -1], -1, output_type=tf.int32)[:, None]
        chosen.append(new)
    return tf.concat(chosen, 1)


def _noise(tokens):
    draw = np.random.default_rng(int(tf.reduce_sum(tokens)))
    return tf.constant(draw.normal(size=(*tokens.shape, 20)), tf.float32), None


@WRONG("generate")
def write_untrained(tokens, count, llama=None):
    """Leave the model untrained."""
    return _generate(tokens, count, llama)


@WRONG("generate")
def write_last_seen(tokens, count, llama=None):
    """Train a model that sees only the last syllable: it guesses."""
    if llama is not None:
        return _generate(tokens, count, llama)
    table = np.random.default_rng(0).permutation(20)
    out = [np.asarray(tokens)[:, -1]]
    for _ in range(count):
        out.append(table[out[-1]])
    return np.stack(out[1:], 1)


@WRONG("generate")
def write_seen(tokens, count, llama=None):
    """Guess among the syllables of the prompt, in no order."""
    if llama is not None:
        return _generate(tokens, count, llama)
    draw = np.random.default_rng(0)
    return np.stack([draw.choice(row, count) for row in np.asarray(tokens)])


@WRONG("generate")
def write_fixed_distance(tokens, count, llama=None):
    """Copy from a fixed distance of eight instead of looking for the syllable."""
    if llama is not None:
        return _generate(tokens, count, llama)
    whole = np.asarray(tokens)
    for _ in range(count):
        whole = np.concatenate([whole, whole[:, -8:-7]], 1)
    return whole[:, -count:]


def _reader(tokens, count, llama=None, mode=""):
    """Copy perfectly without a model, so that only the handling of a given model is at fault."""
    if llama is None:
        rows = []
        for row in np.asarray(tokens).tolist():
            period = next(n for n in range(1, len(row)) if row[n] == row[0])
            rows.append([row[(len(row) + i) % period] for i in range(count)])
        return np.array(rows)
    whole, cache, chosen = tokens, None, []
    for i in range(count):
        if mode == "no cache":
            logits, _ = llama(whole)
        elif mode == "no cache, last token":
            logits, _ = llama(whole if i == 0 else whole[:, -1:])
        elif mode == "whole text with the cache":
            logits, cache = llama(whole, cache=cache)
        elif mode == "stale cache":
            logits, new = llama(whole if i == 0 else whole[:, -1:], cache=cache)
            cache = new if cache is None else cache
        elif mode == "prompt twice":
            if i == 0:
                _, cache = llama(whole)
            logits, cache = llama(whole[:, -1:], cache=cache)
        elif mode == "token by token":
            for t in range(whole.shape[1] if i == 0 else 1):
                at = t if i == 0 else -1
                logits, cache = llama(whole[:, at : at + 1 or None], cache=cache)
        elif mode == "prompt token by token, twice":
            for t in range(0 if i else whole.shape[1]):
                logits, cache = llama(whole[:, t : t + 1], cache=cache)
            logits, cache = llama(whole[:, -1:], cache=cache)
        else:
            logits, cache = llama(whole if i == 0 else whole[:, -1:], cache=cache)
        row = logits[:, 0] if mode == "first logits" else logits[:, -1]
        best = tf.argmin(row, -1) if mode == "smallest" else tf.argmax(row, -1)
        if mode == "sampled":
            best = tf.random.stateless_categorical(row, 1, (i, 7))[:, 0]
        if mode == "first row for all":
            best = tf.repeat(best[:1], len(best))
        chosen.append(tf.cast(best, tf.int32)[:, None])
        whole = tf.concat([whole, chosen[-1]], 1)
    result = whole if mode == "prompt included" else tf.concat(chosen, 1)
    return tf.cast(result, tf.float32) if mode == "floats" else result


RIGHT("generate")(_reader)
RIGHT.add("generate", _reader, "read the prompt a token at a time", mode="token by token")
WRONG.add("rms_norm", _norm, "add epsilon outside the root", outside=True)
WRONG.add("rms_norm", _norm, "subtract the mean", centre=True)
WRONG.add("rms_norm", _norm, "take the statistics in the type of the input", dtype=None)
WRONG.add("rms_norm", _norm, "sum instead of averaging", total=True)
WRONG.add("rms_norm", _norm, "normalize over the first axis", axis=0)
WRONG.add("rms_norm", _norm, "normalize over all axes", axis=None)
WRONG.add("rms_norm", _norm, "leave out the root", root=False)
WRONG.add("rms_norm", _norm, "return float32 whatever came", back=False)
WRONG.add("rotate", _turn, "pair neighbours", pairs="interleaved")
WRONG.add("rotate", _turn, "turn the other way", sign=-1)
WRONG.add("rotate", _turn, "count positions from zero", fresh=True)
WRONG.add("rotate", _turn, "divide the exponent by D/2", denominator=0.5)
WRONG.add("rotate", _turn, "divide the exponent by 2D", denominator=2.0)
WRONG.add("rotate", _turn, "keep the positions in the type of the input", late=True)
WRONG.add("rotate", _turn, "interleave the two halves in the end", mixed=True)
WRONG.add("swiglu", _feed, "use the sigmoid (GLU)", act=tf.nn.sigmoid)
WRONG.add("swiglu", _feed, "use ReLU (ReGLU)", act=tf.nn.relu)
WRONG.add("swiglu", _feed, "use GELU (GEGLU)", act=tf.nn.gelu)
WRONG.add("swiglu", _feed, "leave out the activation", act=tf.identity)
WRONG.add("grouped_attention", _attend, "tile the heads", copy=tf.tile)
WRONG.add("grouped_attention", _attend, "forget the root of D", power=0.0)
WRONG.add("grouped_attention", _attend, "divide by D", power=1.0)
WRONG.add("grouped_attention", _attend, "set hidden scores to zero", fill=0.0)
WRONG.add("grouped_attention", _attend, "see one key too many", shift=1)
WRONG.add("grouped_attention", _attend, "do not see the own position", shift=-1)
WRONG.add("grouped_attention", _attend, "count the queries from zero with a cache", late=False)
WRONG.add("grouped_attention", _attend, "see every key", mask=False)
WRONG.add("grouped_attention", _attend, "normalize over the queries", axis=-2)
for change in (
    "positions from zero",
    "positions from one",
    "one position late",
    "value rotated",
    "no rotation",
    "query not rotated",
    "fixed base",
    "keys kept before the rotation",
    "keys rotated again",
    "cache ignored",
    "new keys in front",
    "cached values dropped",
    "copies cached",
    "only new keys cached",
    "old cache returned",
    "mask from position zero",
    "reshape straight to (B, H, T, D)",
    "columns of a head far apart",
    "head size from the width",
    "heads not swapped back",
    "no output projection",
    "no cache returned",
):
    WRONG.add("Attention", _Attention, change, change=change)
for change in (
    "post-norm",
    "no first skip",
    "no second skip",
    "normed skip",
    "normed second skip",
    "no first norm",
    "no second norm",
    "one gain for both",
    "layer norm",
    "fixed epsilon",
    "parallel",
    "no feed-forward",
    "gate and up swapped",
    "cache not handed on",
    "old cache returned",
):
    WRONG.add("LlamaBlock", _Block, change, change=change)
for change in (
    "no last norm",
    "one block",
    "one block shared",
    "blocks reversed",
    "scaled embedding",
    "small embedding",
    "large head",
    "tied embedding",
    "bias in the head",
    "softmax",
    "last logits only",
    "last cache only",
    "cache not handed on",
    "cache of the first block for all",
    "keys and values counted for H heads",
    "last norm not counted",
    "head not counted",
    "two matrices in SwiGLU",
    "head size taken from the width",
    "always 8B",
):
    WRONG.add("MiniLlama", _Llama, change, change=change)
for mode in (
    "no cache",
    "no cache, last token",
    "whole text with the cache",
    "stale cache",
    "prompt twice",
    "prompt token by token, twice",
    "first logits",
    "smallest",
    "sampled",
    "first row for all",
    "prompt included",
    "floats",
):
    WRONG.add("generate", _reader, mode, mode=mode)
