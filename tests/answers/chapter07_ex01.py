"""Right and wrong answers to practice 7.1."""

import functools

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from answers import Answers
from tf_study import data
from tf_study.profile import pick

RIGHT, WRONG = Answers(), Answers()


def _wave(length, depth, start=0, own=False, base=10000.0, swap=False):
    column = np.arange(depth) if own else np.arange(depth) // 2 * 2
    angle = np.arange(start, start + length)[:, None] / base ** (column / depth)
    even = np.arange(depth) % 2 == swap
    return np.where(even, np.sin(angle), np.cos(angle)).astype("float32")


RIGHT("positional_encoding")(_wave)


@RIGHT("positional_encoding")
@tf.function
def wave_shifted(length, depth):
    """In a graph, in float32: a cosine is a sine a quarter turn ahead."""
    column = tf.range(depth)
    power = tf.cast(column // 2 * 2, tf.float32) / tf.cast(depth, tf.float32)
    angle = tf.cast(tf.range(length), tf.float32)[:, None] * tf.exp(-np.log(10000.0) * power)
    return tf.where(column % 2 == 0, tf.sin(angle), tf.cos(angle))


@RIGHT("positional_encoding")
def wave_complex(length, depth):
    """Real and imaginary parts of exp(i angle), side by side."""
    angle = np.outer(np.arange(length), 10000.0 ** (-2 * np.arange(depth // 2) / depth))
    z = np.exp(1j * angle)
    return np.stack([z.imag, z.real], -1).reshape(length, depth).astype("float32")


@WRONG("positional_encoding")
def wave_halves(length, depth):
    """Put the sines before the cosines."""
    table = _wave(length, depth)
    return np.hstack([table[:, ::2], table[:, 1::2]])


@WRONG("positional_encoding")
def wave_double(length, depth):
    """Return float64."""
    return _wave(length, depth).astype(float)


@WRONG("positional_encoding")
def wave_transposed(length, depth):
    """Return (d, T)."""
    return _wave(length, depth).T


@WRONG("positional_encoding")
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


RIGHT("attention")(_attention)


@RIGHT("attention")
def attend_numpy(q, k, v, mask=None):
    """NumPy: exponentials below the largest visible score, 0 where nothing is seen."""
    scores = np.asarray(q) @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    seen = np.broadcast_to(True if mask is None else mask, scores.shape)
    top = np.where(seen, scores, -np.inf).max(-1, keepdims=True)
    power = np.where(seen, np.exp(np.where(seen, scores - np.where(np.isfinite(top), top, 0), 0)), 0)
    weights = power / np.maximum(power.sum(-1, keepdims=True), 1e-30)
    return (weights @ np.asarray(v)).astype("float32"), weights.astype("float32")


@RIGHT("attention")
@tf.function
def attend_log(q, k, v, mask=None):
    """In a graph: log-sum-exp over -inf, NaN of the empty rows replaced; a list returned."""
    scores = tf.einsum("...td,...sd->...ts", q, k) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = tf.where(mask, scores, -np.inf)
    weights = tf.exp(scores - tf.reduce_logsumexp(scores, -1, keepdims=True))
    weights = tf.where(tf.math.is_nan(weights), 0.0, weights)
    return [weights @ v, weights]


@WRONG("attention")
def attend_everything(q, k, v, mask=None):
    """Ignore the mask."""
    return _attention(q, k, v)


@WRONG("attention")
def attend_masked_late(q, k, v, mask=None):
    """Mask after the softmax only."""
    _, weights = _attention(q, k, v)
    weights = weights if mask is None else tf.where(mask, weights, 0.0)
    return tf.matmul(weights, v), weights


@WRONG("attention")
def attend_inverted(q, k, v, mask=None):
    """Take true for hidden."""
    return _attention(q, k, v, mask if mask is None else ~mask)


@WRONG("attention")
def attend_overflow(q, k, v, mask=None):
    """Take the exponential without subtracting the largest score."""
    power = tf.exp(tf.matmul(q, k, transpose_b=True) / q.shape[-1] ** 0.5)
    power = power if mask is None else tf.where(mask, power, 0.0)
    weights = tf.math.divide_no_nan(power, tf.reduce_sum(power, -1, keepdims=True))
    return tf.matmul(weights, v), weights


@WRONG("attention")
def attend_three_axes(q, k, v, mask=None):
    """Suppose a batch axis and no heads."""
    scores = tf.einsum("btd,bsd->bts", q, k) / q.shape[-1] ** 0.5
    weights = tf.nn.softmax(scores if mask is None else tf.where(mask, scores, scores.dtype.min))
    return tf.einsum("bts,bse->bte", weights, v), weights


@WRONG("attention")
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


RIGHT("multi_head")(_heads)


@RIGHT("multi_head")
def heads_loop(x, real, w_q, w_k, w_v, w_o, heads):
    """One head at a time with its own columns; the outputs joined in the end."""
    parts = zip(*(tf.split(w, heads, axis=1) for w in (w_q, w_k, w_v)), strict=True)
    done = [_attention(x @ q, x @ k, x @ v, real[:, None]) for q, k, v in parts]
    return tf.concat([out for out, _ in done], -1) @ w_o, tf.stack([weights for _, weights in done], 1)


@RIGHT("multi_head")
@tf.function
def heads_summed(x, real, w_q, w_k, w_v, w_o, heads):
    """In a graph: matrices with an axis for the heads, the output as a sum over heads."""
    d = x.shape[-1]
    q, k, v = (tf.einsum("btd,dhe->bhte", x, tf.reshape(w, (d, heads, -1))) for w in (w_q, w_k, w_v))
    out, weights = attend_log(q, k, v, real[:, None, None])
    return tf.einsum("bhte,heo->bto", out, tf.reshape(w_o, (heads, -1, w_o.shape[1]))), weights


@WRONG("multi_head")
def heads_full_scale(x, real, w_q, w_k, w_v, w_o, heads):
    """Divide by the root of all columns instead of one head's."""
    return _heads(x, real, w_q, w_k, w_v, w_o, heads, factor=heads**-0.5)


@WRONG("multi_head")
def heads_averaged(x, real, w_q, w_k, w_v, w_o, heads):
    """Average the weights over the heads."""
    out, weights = _heads(x, real, w_q, w_k, w_v, w_o, heads)
    return out, tf.reduce_mean(weights, 1)


@WRONG("multi_head")
def heads_single(x, real, w_q, w_k, w_v, w_o, heads):
    """Use one head and repeat its weights."""
    out, weights = _heads(x, real, w_q, w_k, w_v, w_o, 1)
    return out, tf.repeat(weights, heads, axis=1)


class _Block(layers.Layer):
    """The block; the class attribute ``change`` makes one mistake."""

    change = ""

    def __init__(self, d, heads, d_ff, dropout):
        super().__init__()
        self.attention = layers.MultiHeadAttention(heads, key_dim=d // heads)
        self.widen, self.narrow = layers.Dense(d_ff, activation="relu"), layers.Dense(d)
        self.norms = [layers.LayerNormalization(epsilon=1e-5) for _ in range(2)]
        self.dropout = layers.Dropout(dropout)

    def build(self, input_shape=None):
        """Leave the parts to the first call; without this Keras would trace ``call`` beforehand to build them."""

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


RIGHT("EncoderBlock")(_Block)


@RIGHT("EncoderBlock")
class LoopedBlock(_Block):
    """Both halves by the same line, the mask with an axis for the queries."""

    def call(self, x, real, training=None):
        mask = tf.repeat(real[:, None], x.shape[1], axis=1)
        halves = lambda z: self.attention(z, z, z, attention_mask=mask), lambda z: self.narrow(self.widen(z))
        for norm, half in zip(self.norms, halves, strict=True):
            x = keras.ops.add(self.dropout(half(norm(x)), training=training), x)
        return x


class _Unmasked(_Block):
    change = "no mask"


def _mean(x, real):
    m = tf.cast(real, x.dtype)[..., None]
    return tf.reduce_sum(m * x, 1) / tf.maximum(tf.reduce_sum(m, 1), 1)


RIGHT("masked_mean")(_mean)


@RIGHT("masked_mean")
@tf.function
def mean_safe(x, real):
    """In a graph: a division without NaN, the sum as a product of matrices."""
    m = tf.cast(real, x.dtype)
    return tf.math.divide_no_nan(tf.einsum("bt,btd->bd", m, x), tf.reduce_sum(m, 1, keepdims=True))


@RIGHT("masked_mean")
def mean_numpy(x, real):
    """NumPy, one sentence at a time."""
    rows = zip(np.asarray(x), np.asarray(real), strict=True)
    return np.stack([row[m].sum(0) / max(1, m.sum()) for row, m in rows]).astype(x.dtype.as_numpy_dtype)


@WRONG("masked_mean")
def mean_everything(x, real):
    """Average over the padding too."""
    return tf.reduce_mean(x, 1)


@WRONG("masked_mean")
def mean_over_length(x, real):
    """Divide by T."""
    return tf.reduce_mean(tf.cast(real, x.dtype)[..., None] * x, 1)


@WRONG("masked_mean")
def mean_sum(x, real):
    """Add without dividing."""
    return tf.reduce_sum(tf.cast(real, x.dtype)[..., None] * x, 1)


@WRONG("masked_mean")
def mean_nan(x, real):
    """Divide by zero for an empty sentence."""
    m = tf.cast(real, x.dtype)[..., None]
    return tf.reduce_sum(m * x, 1) / tf.reduce_sum(m, 1)


@WRONG("masked_mean")
def mean_plus_one(x, real):
    """Avoid the division by zero by adding one."""
    m = tf.cast(real, x.dtype)[..., None]
    return tf.reduce_sum(m * x, 1) / (tf.reduce_sum(m, 1) + 1)


@WRONG("masked_mean")
def mean_prefix(x, real):
    """Take as many rows from the front as there are real ones."""
    front = tf.range(x.shape[1]) < tf.reduce_sum(tf.cast(real, tf.int32), 1)[:, None]
    return _mean(x, front)


@WRONG("masked_mean")
def mean_keepdims(x, real):
    """Keep the axis."""
    return _mean(x, real)[:, None]


@WRONG("masked_mean")
def mean_single(x, real):
    """Return float32 whatever came."""
    return tf.cast(_mean(x, real), tf.float32)


@WRONG("masked_mean")
def mean_max(x, real):
    """Take the largest instead."""
    return tf.reduce_max(tf.where(real[..., None], x, tf.zeros_like(x)), 1)


class _Classifier(keras.Model):
    """The classifier; the class attribute ``change`` makes one mistake."""

    change = ""

    def __init__(self, vocab, classes, d, heads, d_ff, blocks, dropout):
        super().__init__()
        kind = _Unmasked if self.change == "padding in blocks" else _Block
        self.embedding = layers.Embedding(vocab, d)
        self.blocks = [kind(d, heads, d_ff, dropout) for _ in range(blocks)]
        if self.change == "shared block" and blocks:
            self.blocks = self.blocks[:1] * blocks
        self.norm = layers.LayerNormalization(epsilon=1e-5)
        self.head = layers.Dense(classes, activation="softmax" if self.change == "softmax" else None)
        self.dropout = layers.Dropout(dropout)
        self.table = layers.Embedding(500, d) if self.change == "learned position" else None

    def build(self, input_shape=None):
        """Leave the parts to the first call, as above."""

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


RIGHT("TextClassifier")(_Classifier)


@RIGHT("TextClassifier")
class Pooled(_Classifier):
    """Keras' own pooling over a mask, another block, a list of layers in one loop."""

    def __init__(self, vocab, classes, d, heads, d_ff, blocks, dropout):
        super().__init__(vocab, classes, d, heads, d_ff, 0, dropout)
        self.blocks = [LoopedBlock(d, heads, d_ff, dropout) for _ in range(blocks)]
        self.pool = layers.GlobalAveragePooling1D()

    def call(self, ids, training=False):
        real, x = keras.ops.not_equal(ids, 0), self.embedding(ids)
        x = self.dropout(x * x.shape[-1] ** 0.5 + wave_complex(*x.shape[1:]), training=training)
        for block in self.blocks:
            x = block(x, real, training=training)
        some = keras.ops.any(real, 1)[:, None]  # Keras' mean divides by zero without.
        x = keras.ops.where(some, self.pool(self.norm(x), mask=keras.ops.logical_or(real, ~some)), 0.0)
        return self.head(self.dropout(x, training=training))


@WRONG("TextClassifier")
class Frozen(_Classifier):
    """The embedding does not learn."""

    def __init__(self, vocab, classes, d, heads, d_ff, blocks, dropout):
        super().__init__(vocab, classes, d, heads, d_ff, blocks, dropout)
        self.embedding.trainable = False


@WRONG("TextClassifier")
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


RIGHT("classify")(_scores)


@RIGHT("classify")
def reviews_list(texts):
    """Log probabilities in a list, a review at a time."""
    return [_baseline()[1].predict_log_proba(_baseline()[0].transform([text]))[0] for text in texts]


@WRONG("classify")
def reviews_looked_up(texts):
    """Look the reviews up in the public sets."""
    known = {}
    for found, labels in data.nsmc(test=pick(small=None, full=2000)):
        known.update(zip(found, labels, strict=True))
    labels = np.array([known.get(text, 0) for text in texts])
    return 4.0 * np.eye(2)[labels] - 2


@WRONG("classify")
def reviews_positive(texts):
    """Call everything positive."""
    return np.tile([0.0, 1.0], (len(texts), 1))


@WRONG("classify")
def reviews_guessed(texts):
    """Guess."""
    return np.array([np.random.default_rng(len(text)).normal(size=2) for text in texts])


@WRONG("classify")
def reviews_two_words(texts):
    """Look for two words."""
    return np.array([[0.1 + text.count("별로"), text.count("최고")] for text in texts])


@WRONG("classify")
def reviews_flipped(texts):
    """Swap the columns."""
    return _scores(texts)[:, ::-1]


@WRONG("classify")
def reviews_one_column(texts):
    """Return one logit a review."""
    return _scores(texts)[:, 1]


@WRONG("classify")
def reviews_classes(texts):
    """Return classes."""
    return _scores(texts).argmax(1)


@WRONG("classify")
def reviews_centered(texts):
    """Center over the reviews given, so that a review's logits depend on its neighbours."""
    scores = _scores(texts)
    return scores - scores.mean(0)


@WRONG("classify")
def reviews_sorted(texts):
    """Lose the order of the reviews."""
    return _scores(sorted(texts))


WRONG.add(
    "positional_encoding", _wave, "use the number of the column in the exponent of the cosine", own=True
)
WRONG.add("positional_encoding", _wave, "count positions from one", start=1)
WRONG.add("positional_encoding", _wave, "swap sine and cosine", swap=True)
WRONG.add("positional_encoding", _wave, "use another base", base=1000.0)
WRONG.add("attention", _attention, "forget the square root of d", scale=0.0)
WRONG.add("attention", _attention, "divide by d", scale=1.0)
WRONG.add(
    "attention", _attention, "set hidden scores to zero, which is no small score", fill=0.0, after=False
)
WRONG.add(
    "attention",
    _attention,
    "set hidden scores to -10, which leaves them a little weight",
    fill=-10.0,
    after=False,
)
WRONG.add("attention", _attention, "set hidden scores to -100 and zero their weights after", fill=-100.0)
WRONG.add("attention", _attention, "leave a query that sees nothing with equal weights", after=False)
WRONG.add("attention", _attention, "normalize over the queries", axis=-2)
WRONG.add("multi_head", _heads, "reshape straight to (B, h, T, k)", scramble=True)
WRONG.add("multi_head", _heads, "join the heads without swapping the axes back", stuck=True)
WRONG.add("multi_head", _heads, "take every h-th column for a head", interleave=True)
WRONG.add("multi_head", _heads, "forget the output matrix", bare=True)
WRONG.add("multi_head", _heads, "mask the queries", mask="query")
WRONG.add("multi_head", _heads, "ignore the padding", mask="none")
for change in (
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
):
    WRONG.add("EncoderBlock", _Block, change, change=change)
for change in (
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
):
    WRONG.add("TextClassifier", _Classifier, change, change=change)
