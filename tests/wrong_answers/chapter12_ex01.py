"""Wrong answers to practice 12.1; every one of them must be marked ❌.

Each part of the model is written once, with options that make its mistakes.
"""

import functools

import numpy as np
import tensorflow as tf

from tf_study.llama import parameter_count
from wrong_answers import variants, with_mistake

keras, layers = tf.keras, tf.keras.layers


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


def norm_without_gain(a, gain, eps):
    """Forget the gain."""
    return _norm(a, tf.ones_like(gain), eps)


def norm_spread(a, gain, eps):
    """Divide by the standard deviation without subtracting the mean."""
    x = tf.cast(a, tf.float32)
    x /= tf.sqrt(tf.math.reduce_variance(x, -1, keepdims=True) + eps)
    return tf.cast(x, a.dtype) * gain


def norm_without_eps(a, gain, eps):
    """Leave out epsilon."""
    return _norm(a, gain, 0.0)


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


def turn_fixed_base(x, positions, base):
    """Ignore the base."""
    return _turn(x, positions, 10000.0)


def turn_reflected(x, positions, base):
    """Take the minus sign for the second half too, which is no rotation."""
    first, second = tf.split(x, 2, -1)
    turned = tf.split(_turn(x, positions, base), 2, -1)
    cosine = tf.split(_turn(tf.concat([second, 0 * second], -1), positions, base), 2, -1)
    return tf.concat([turned[0], 2 * cosine[0] - turned[1]], -1)


def turn_three_axes(x, positions, base):
    """Suppose (B, T, D): the positions run along the second axis."""
    moved = _turn(tf.reshape(x, (*x.shape[:2], -1, x.shape[-1]))[:, :, 0], positions, base)
    return (
        moved if len(x.shape) == 3 else tf.broadcast_to(tf.reshape(moved, (*moved.shape[:2], 1, -1)), x.shape)
    )


def turn_added(x, positions, base):
    """Add the sines and cosines instead."""
    ones = tf.concat([tf.ones_like(x[..., ::2]), tf.zeros_like(x[..., ::2])], -1)
    return x + _turn(ones, positions, base)


def _feed(x, w, v, w2, act=tf.nn.silu):
    return (act(x @ w) * (x @ v)) @ w2


def feed_swapped(x, w, v, w2):
    """Swap gate and up."""
    return _feed(x, v, w, w2)


def feed_both(x, w, v, w2):
    """Take Swish of the value too."""
    return (tf.nn.silu(x @ w) * tf.nn.silu(x @ v)) @ w2


def feed_late(x, w, v, w2):
    """Take Swish of the product."""
    return tf.nn.silu((x @ w) * (x @ v)) @ w2


def feed_sum(x, w, v, w2):
    """Add instead of multiplying."""
    return (tf.nn.silu(x @ w) + x @ v) @ w2


def feed_wide(x, w, v, w2):
    """Forget the last projection."""
    return tf.nn.silu(x @ w) * (x @ v)


def feed_plain(x, w, v, w2):
    """Use two matrices as in the first transformer."""
    return tf.nn.relu(x @ w) @ w2


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


def attend_masked_late(q, k, v):
    """Mask after the softmax, so that the weights do not add up to one."""
    (_, heads, length, depth), (groups, keys) = q.shape, k.shape[1:3]
    k, v = (tf.repeat(z, heads // groups, axis=1) for z in (k, v))
    weights = tf.nn.softmax(tf.matmul(q, k, transpose_b=True) / depth**0.5)
    seen = tf.range(keys) <= tf.range(keys - length, keys)[:, None]
    return tf.where(seen, weights, 0.0) @ v


def attend_first_group(q, k, v):
    """Let every head read the first keys and values."""
    return _attend(q, k[:, :1], v[:, :1])


def attend_mean_query(q, k, v):
    """Average the queries of a group."""
    times = q.shape[1] // k.shape[1]
    mean = tf.reduce_mean(tf.reshape(q, (q.shape[0], k.shape[1], times, *q.shape[2:])), 2)
    return tf.repeat(_attend(mean, k, v), times, axis=1)


def attend_overflow(q, k, v):
    """Take exponentials without subtracting the largest score."""
    (_, heads, length, depth), (groups, keys) = q.shape, k.shape[1:3]
    k, v = (tf.repeat(z, heads // groups, axis=1) for z in (k, v))
    seen = tf.range(keys) <= tf.range(keys - length, keys)[:, None]
    power = tf.where(seen, tf.exp(tf.matmul(q, k, transpose_b=True) / depth**0.5), 0.0)
    return power / tf.reduce_sum(power, -1, keepdims=True) @ v


def attend_transposed(q, k, v):
    """Return (B, T, H, E)."""
    return tf.transpose(_attend(q, k, v), (0, 2, 1, 3))


def weight(layer, *shape, std=None):
    initializer = keras.initializers.RandomNormal(stddev=std) if std else "ones"
    return layer.add_weight(shape=shape, initializer=initializer)


class _Attention(layers.Layer):
    """The attention layer with one mistake, chosen by the class attribute ``change``."""

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


class _Block(layers.Layer):
    """The block with one mistake, chosen by the class attribute ``change``."""

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


class _Llama(keras.Model):
    """The model with one mistake, chosen by the class attribute ``change``."""

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


def write_untrained(tokens, count, llama=None):
    """Leave the model untrained."""
    return _generate(tokens, count, llama)


def write_last_seen(tokens, count, llama=None):
    """Train a model that sees only the last syllable: it guesses."""
    if llama is not None:
        return _generate(tokens, count, llama)
    table = np.random.default_rng(0).permutation(20)
    out = [np.asarray(tokens)[:, -1]]
    for _ in range(count):
        out.append(table[out[-1]])
    return np.stack(out[1:], 1)


def write_seen(tokens, count, llama=None):
    """Guess among the syllables of the prompt, in no order."""
    if llama is not None:
        return _generate(tokens, count, llama)
    draw = np.random.default_rng(0)
    return np.stack([draw.choice(row, count) for row in np.asarray(tokens)])


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


def _readers(*modes):
    return [with_mistake(_reader, mode, mode=mode) for mode in modes]


WRONG = {
    "rms_norm": [
        with_mistake(_norm, "add epsilon outside the root", outside=True),
        with_mistake(_norm, "subtract the mean", centre=True),
        with_mistake(_norm, "take the statistics in the type of the input", dtype=None),
        with_mistake(_norm, "sum instead of averaging", total=True),
        with_mistake(_norm, "normalize over the first axis", axis=0),
        with_mistake(_norm, "normalize over all axes", axis=None),
        with_mistake(_norm, "leave out the root", root=False),
        with_mistake(_norm, "return float32 whatever came", back=False),
        norm_without_gain,
        norm_spread,
        norm_without_eps,
        norm_small_eps,
    ],
    "rotate": [
        with_mistake(_turn, "pair neighbours", pairs="interleaved"),
        with_mistake(_turn, "turn the other way", sign=-1),
        with_mistake(_turn, "count positions from zero", fresh=True),
        with_mistake(_turn, "divide the exponent by D/2", denominator=0.5),
        with_mistake(_turn, "divide the exponent by 2D", denominator=2.0),
        with_mistake(_turn, "keep the positions in the type of the input", late=True),
        with_mistake(_turn, "interleave the two halves in the end", mixed=True),
        turn_fixed_base,
        turn_reflected,
        turn_three_axes,
        turn_added,
    ],
    "swiglu": [
        feed_swapped,
        feed_both,
        feed_late,
        feed_sum,
        feed_wide,
        feed_plain,
        feed_overflow,
        with_mistake(_feed, "use the sigmoid (GLU)", act=tf.nn.sigmoid),
        with_mistake(_feed, "use ReLU (ReGLU)", act=tf.nn.relu),
        with_mistake(_feed, "use GELU (GEGLU)", act=tf.nn.gelu),
        with_mistake(_feed, "leave out the activation", act=tf.identity),
    ],
    "grouped_attention": [
        with_mistake(_attend, "tile the heads", copy=tf.tile),
        with_mistake(_attend, "forget the root of D", power=0.0),
        with_mistake(_attend, "divide by D", power=1.0),
        with_mistake(_attend, "set hidden scores to zero", fill=0.0),
        with_mistake(_attend, "see one key too many", shift=1),
        with_mistake(_attend, "do not see the own position", shift=-1),
        with_mistake(_attend, "count the queries from zero with a cache", late=False),
        with_mistake(_attend, "see every key", mask=False),
        with_mistake(_attend, "normalize over the queries", axis=-2),
        attend_masked_late,
        attend_first_group,
        attend_mean_query,
        attend_overflow,
        attend_transposed,
    ],
    "Attention": variants(
        _Attention,
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
    ),
    "LlamaBlock": variants(
        _Block,
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
    ),
    "MiniLlama": variants(
        _Llama,
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
    ),
    "generate": [
        write_untrained,
        write_last_seen,
        write_seen,
        write_fixed_distance,
        *_readers(
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
        ),
    ],
}
