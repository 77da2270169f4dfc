"""Wrong answers to practice 7.1; every one of them must be marked ❌."""

import functools

import numpy as np
import tensorflow as tf
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tf_study import data
from tf_study.profile import pick
from wrong_answers import variants, with_mistake

keras, layers = tf.keras, tf.keras.layers


def _wave(length, depth, start=0, own=False, base=10000.0, swap=False):
    column = np.arange(depth) if own else np.arange(depth) // 2 * 2
    angle = np.arange(start, start + length)[:, None] / base ** (column / depth)
    even = np.arange(depth) % 2 == swap
    return np.where(even, np.sin(angle), np.cos(angle)).astype("float32")


def wave_halves(length, depth):
    """Put the sines before the cosines."""
    table = _wave(length, depth)
    return np.hstack([table[:, ::2], table[:, 1::2]])


def wave_double(length, depth):
    """Return float64."""
    return _wave(length, depth).astype(float)


def wave_transposed(length, depth):
    """Return (d, T)."""
    return _wave(length, depth).T


def wave_sines(length, depth):
    """Fill the odd columns with sines too."""
    table = _wave(length, depth)
    table[:, 1::2] = table[:, 0::2]
    return table


def _attention(q, k, v, mask=None, scale=0.5, fill=None, after=True, axis=-1):
    scores = tf.matmul(q, k, transpose_b=True) / q.shape[-1] ** scale
    if mask is None:
        weights = tf.nn.softmax(scores, axis)
    else:
        weights = tf.nn.softmax(tf.where(mask, scores, scores.dtype.min if fill is None else fill), axis)
        weights = tf.where(mask, weights, tf.zeros_like(weights)) if after else weights
    return tf.matmul(weights, v), weights


def attend_everything(q, k, v, mask=None):
    """Ignore the mask."""
    return _attention(q, k, v)


def attend_masked_late(q, k, v, mask=None):
    """Mask after the softmax only."""
    _, weights = _attention(q, k, v)
    weights = weights if mask is None else tf.where(mask, weights, 0.0)
    return tf.matmul(weights, v), weights


def attend_inverted(q, k, v, mask=None):
    """Take true for hidden."""
    return _attention(q, k, v, mask if mask is None else ~mask)


def attend_overflow(q, k, v, mask=None):
    """Take the exponential without subtracting the largest score."""
    power = tf.exp(tf.matmul(q, k, transpose_b=True) / q.shape[-1] ** 0.5)
    power = power if mask is None else tf.where(mask, power, 0.0)
    weights = tf.math.divide_no_nan(power, tf.reduce_sum(power, -1, keepdims=True))
    return tf.matmul(weights, v), weights


def attend_three_axes(q, k, v, mask=None):
    """Suppose a batch axis and no heads."""
    scores = tf.einsum("btd,bsd->bts", q, k) / q.shape[-1] ** 0.5
    weights = tf.nn.softmax(scores if mask is None else tf.where(mask, scores, scores.dtype.min))
    return tf.einsum("bts,bse->bte", weights, v), weights


def attend_swapped_results(q, k, v, mask=None):
    """Return the weights first."""
    return _attention(q, k, v, mask)[::-1]


def _heads(x, real, w_q, w_k, w_v, w_o, heads, **change):
    b, t, _ = x.shape

    def split(z):
        if change.get("scramble"):
            return tf.reshape(z, (b, heads, t, -1))
        if change.get("interleave"):
            return tf.transpose(tf.reshape(z, (b, t, -1, heads)), (0, 3, 1, 2))
        return tf.transpose(tf.reshape(z, (b, t, heads, -1)), (0, 2, 1, 3))

    mask = {"key": real[:, None, None, :], "query": real[:, None, :, None], "none": None}
    q, k, v = (split(x @ w) for w in (w_q, w_k, w_v))
    q = q * change.get("factor", 1.0)
    out, weights = _attention(q, k, v, mask[change.get("mask", "key")])
    out = out if change.get("stuck") else tf.transpose(out, (0, 2, 1, 3))
    out = tf.reshape(out, (b, t, -1))
    return (out if change.get("bare") else out @ w_o), weights


def heads_full_scale(x, real, w_q, w_k, w_v, w_o, heads):
    """Divide by the root of all columns instead of one head's."""
    return _heads(x, real, w_q, w_k, w_v, w_o, heads, factor=heads**-0.5)


def heads_averaged(x, real, w_q, w_k, w_v, w_o, heads):
    """Average the weights over the heads."""
    out, weights = _heads(x, real, w_q, w_k, w_v, w_o, heads)
    return out, tf.reduce_mean(weights, 1)


def heads_single(x, real, w_q, w_k, w_v, w_o, heads):
    """Use one head and repeat its weights."""
    out, weights = _heads(x, real, w_q, w_k, w_v, w_o, 1)
    return out, tf.repeat(weights, heads, axis=1)


class _Block(layers.Layer):
    """The block with one mistake, chosen by the class attribute ``change``."""

    change = ""

    def __init__(self, d, heads, d_ff, dropout):
        super().__init__()
        self.attention = layers.MultiHeadAttention(heads, key_dim=d // heads)
        self.widen, self.narrow = layers.Dense(d_ff, activation="relu"), layers.Dense(d)
        self.norms = [layers.LayerNormalization(epsilon=1e-5) for _ in range(2)]
        self.dropout = layers.Dropout(dropout)

    def call(self, x, real):
        first, second = self.norms
        [norm.build(x.shape) for norm in self.norms if not norm.built]
        drop = (lambda z: z) if self.change == "no dropout" else self.dropout
        mask = {"no mask": None, "query mask": real[:, :, None]}.get(self.change, real[:, None])

        def attend(z):
            return self.attention(z, z, attention_mask=mask)

        def feed(z):
            return self.narrow(self.widen(z))

        if self.change == "post-norm":
            x = first(x + drop(attend(x)))
            return second(x + drop(feed(x)))
        if self.change == "no skip":
            return drop(feed(second(drop(attend(first(x))))))
        if self.change == "parallel":
            return x + drop(attend(first(x))) + drop(feed(second(x)))
        if self.change == "late dropout":
            x = drop(x + attend(first(x)))
            return drop(x + feed(second(x)))
        if self.change == "raw key":
            z = first(x)
            x = x + drop(self.attention(z, x, attention_mask=mask))
            return x + drop(feed(second(x)))
        if self.change == "normed skip":
            x = first(x)
            x = second(x + drop(attend(x)))
            return x + drop(feed(x))
        if self.change == "causal":
            z = first(x)
            x = x + drop(self.attention(z, z, attention_mask=mask, use_causal_mask=True))
            return x + drop(feed(second(x)))
        x = x + drop(attend(first(x)))
        if self.change == "one norm":
            return x + drop(feed(first(x)))
        return x + drop(feed(x if self.change == "no second norm" else second(x)))


def _mean(x, real):
    m = tf.cast(real, x.dtype)[..., None]
    return tf.reduce_sum(m * x, 1) / tf.maximum(tf.reduce_sum(m, 1), 1)


def mean_everything(x, real):
    """Average over the padding too."""
    return tf.reduce_mean(x, 1)


def mean_over_length(x, real):
    """Divide by T."""
    return tf.reduce_mean(tf.cast(real, x.dtype)[..., None] * x, 1)


def mean_sum(x, real):
    """Add without dividing."""
    return tf.reduce_sum(tf.cast(real, x.dtype)[..., None] * x, 1)


def mean_nan(x, real):
    """Divide by zero for an empty sentence."""
    m = tf.cast(real, x.dtype)[..., None]
    return tf.reduce_sum(m * x, 1) / tf.reduce_sum(m, 1)


def mean_plus_one(x, real):
    """Avoid the division by zero by adding one."""
    m = tf.cast(real, x.dtype)[..., None]
    return tf.reduce_sum(m * x, 1) / (tf.reduce_sum(m, 1) + 1)


def mean_prefix(x, real):
    """Take as many rows from the front as there are real ones."""
    front = tf.range(x.shape[1]) < tf.reduce_sum(tf.cast(real, tf.int32), 1)[:, None]
    return _mean(x, front)


def mean_keepdims(x, real):
    """Keep the axis."""
    return _mean(x, real)[:, None]


def mean_single(x, real):
    """Return float32 whatever came."""
    return tf.cast(_mean(x, real), tf.float32)


def mean_max(x, real):
    """Take the largest instead."""
    return tf.reduce_max(tf.where(real[..., None], x, tf.zeros_like(x)), 1)


class _Classifier(keras.Model):
    """The classifier with one mistake, chosen by the class attribute ``change``."""

    change = ""

    def __init__(self, vocab, classes, d, heads, d_ff, blocks, dropout):
        super().__init__()
        kind = variants(_Block, "no mask")[0] if self.change == "padding in blocks" else _Block
        self.embedding = layers.Embedding(vocab, d)
        self.blocks = [kind(d, heads, d_ff, dropout) for _ in range(blocks)]
        if self.change == "shared block" and blocks:
            self.blocks = self.blocks[:1] * blocks
        self.norm = layers.LayerNormalization(epsilon=1e-5)
        self.head = layers.Dense(classes, activation="softmax" if self.change == "softmax" else None)
        self.dropout = layers.Dropout(dropout)
        self.table = layers.Embedding(500, d) if self.change == "learned position" else None

    def call(self, ids, training=None):
        real, d, change = ids != 0, self.embedding.output_dim, self.change
        x, wave = self.embedding(ids), _wave(ids.shape[1], self.embedding.output_dim)
        if self.table is not None:
            wave = self.table(tf.range(ids.shape[1]))
        x = x if change == "no scale" else x * d**0.5
        x = x if change == "no position" else x + wave * (d**0.5 if change == "scaled position" else 1.0)
        x = x if change == "no first dropout" else self.dropout(x)
        for block in self.blocks[:1] if change == "one block" else self.blocks:
            x = block(x, real)
        x = x if change == "no last norm" else self.norm(x)
        if not self.norm.built:
            self.norm.build(x.shape)
        pooled = {"first token": x[:, 0], "padding in mean": tf.reduce_mean(x, 1)}.get(change, _mean(x, real))
        return self.head(pooled if change == "no last dropout" else self.dropout(pooled))


class Untold(_Classifier):
    """Leave out ``training``, so that fit switches dropout off."""

    def call(self, ids):
        return super().call(ids)


@functools.lru_cache(maxsize=1)
def _baseline():
    """A baseline that would reach the target if its output were not spoilt below."""
    texts, labels = data.nsmc(train=pick(small=None, full=30_000))[0]
    words = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), sublinear_tf=True)
    return words, LogisticRegression(C=10, max_iter=300).fit(words.fit_transform(texts), labels)


def _scores(texts):
    """Return good logits, shape (N, 2)."""
    words, classifier = _baseline()
    z = classifier.decision_function(words.transform(texts))
    return np.stack([-z, z], axis=1)


def reviews_positive(texts):
    """Call everything positive."""
    return np.tile([0.0, 1.0], (len(texts), 1))


def reviews_guessed(texts):
    """Guess."""
    return np.array([np.random.default_rng(len(text)).normal(size=2) for text in texts])


def reviews_two_words(texts):
    """Look for two words."""
    return np.array([[0.1 + text.count("별로"), text.count("최고")] for text in texts])


def reviews_flipped(texts):
    """Swap the columns."""
    return _scores(texts)[:, ::-1]


def reviews_one_column(texts):
    """Return one logit a review."""
    return _scores(texts)[:, 1]


def reviews_classes(texts):
    """Return classes."""
    return _scores(texts).argmax(1)


def reviews_centered(texts):
    """Center over the reviews given, so that a review's logits depend on its neighbours."""
    scores = _scores(texts)
    return scores - scores.mean(0)


def reviews_sorted(texts):
    """Lose the order of the reviews."""
    return _scores(sorted(texts))


WRONG = {
    "positional_encoding": [
        wave_halves,
        with_mistake(_wave, "use the number of the column in the exponent of the cosine", own=True),
        with_mistake(_wave, "count positions from one", start=1),
        with_mistake(_wave, "swap sine and cosine", swap=True),
        with_mistake(_wave, "use another base", base=1000.0),
        wave_double,
        wave_transposed,
        wave_sines,
    ],
    "attention": [
        with_mistake(_attention, "forget the square root of d", scale=0.0),
        with_mistake(_attention, "divide by d", scale=1.0),
        attend_everything,
        attend_masked_late,
        attend_inverted,
        with_mistake(_attention, "set hidden scores to zero, which is no small score", fill=0.0, after=False),
        with_mistake(
            _attention, "set hidden scores to -10, which leaves them a little weight", fill=-10.0, after=False
        ),
        with_mistake(_attention, "set hidden scores to -100 and zero their weights after", fill=-100.0),
        with_mistake(_attention, "leave a query that sees nothing with equal weights", after=False),
        with_mistake(_attention, "normalize over the queries", axis=-2),
        attend_overflow,
        attend_three_axes,
        attend_swapped_results,
    ],
    "multi_head": [
        with_mistake(_heads, "reshape straight to (B, h, T, k)", scramble=True),
        with_mistake(_heads, "join the heads without swapping the axes back", stuck=True),
        with_mistake(_heads, "take every h-th column for a head", interleave=True),
        with_mistake(_heads, "forget the output matrix", bare=True),
        with_mistake(_heads, "mask the queries", mask="query"),
        with_mistake(_heads, "ignore the padding", mask="none"),
        heads_full_scale,
        heads_averaged,
        heads_single,
    ],
    "EncoderBlock": variants(
        _Block,
        "post-norm",
        "no skip",
        "parallel",
        "late dropout",
        "no dropout",
        "raw key",
        "normed skip",
        "causal",
        "one norm",
        "no second norm",
        "no mask",
        "query mask",
    ),
    "masked_mean": [
        mean_everything,
        mean_over_length,
        mean_sum,
        mean_nan,
        mean_plus_one,
        mean_prefix,
        mean_keepdims,
        mean_single,
        mean_max,
    ],
    "TextClassifier": [
        Untold,
        *variants(
            _Classifier,
            "no position",
            "learned position",
            "no scale",
            "scaled position",
            "no first dropout",
            "no last dropout",
            "one block",
            "shared block",
            "no last norm",
            "first token",
            "padding in mean",
            "padding in blocks",
            "softmax",
        ),
    ],
    "classify": [
        reviews_positive,
        reviews_guessed,
        reviews_two_words,
        reviews_flipped,
        reviews_one_column,
        reviews_classes,
        reviews_centered,
        reviews_sorted,
    ],
}
