"""Right and wrong answers to practice 12.2."""

import math
import sys
from fractions import Fraction

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from answers import Answers
from tf_study import optimizers
from tf_study.models.llama import SwiGLU

RIGHT, WRONG = Answers(), Answers()


@WRONG("gate")
def gate_float_index(scores, bias, k, scale):
    """Return the chosen numbers as floats."""
    index, weights = _gate(scores, bias, k, scale)
    return tf.cast(index, tf.float32), weights


def _gate(scores, bias, k, scale, choose="biased", weigh="scores", divide="chosen", scaled=True, order=False):
    choice = {
        "biased": scores + bias,
        "scores": scores,
        "minus": scores - bias,
        "smallest": -scores - bias,
        "absolute": tf.abs(scores + bias),
        "product": scores * (1 + bias),
    }[choose]
    index = tf.math.top_k(choice, k).indices
    index = tf.sort(index) if order else index
    source = {
        "scores": scores,
        "biased": scores + bias,
        "softmax": tf.nn.softmax(scores),
        "exp": tf.exp(scores),
        "square": scores**2,
    }[weigh]
    chosen = tf.gather(source, index, batch_dims=1)
    total = {
        "chosen": tf.reduce_sum(chosen, -1, keepdims=True),
        "nothing": 1.0,
        "everything": tf.reduce_sum(source, -1, keepdims=True),
        "k": float(k),
        "tokens": tf.reduce_sum(chosen, 0, keepdims=True),
        "with epsilon": tf.reduce_sum(chosen, -1, keepdims=True) + 1e-3,
    }[divide]
    return index, (scale if scaled else 1.0) * chosen / total


RIGHT("gate")(_gate)


@RIGHT("gate")
def gate_numpy(scores, bias, k, scale):
    """NumPy only."""
    s = scores.numpy()
    index = np.argsort(-(s + np.asarray(bias)), axis=1, kind="stable")[:, :k]
    chosen = np.take_along_axis(s, index, 1)
    return index, np.float32(scale) * chosen / chosen.sum(1, keepdims=True)


@RIGHT("gate")
@tf.function
def gate_repeated_argmax(scores, bias, k, scale):
    """One after another in a graph; the weights as a softmax of log s."""
    choice, found = scores + bias, []
    for _ in range(k):
        found.append(tf.argmax(choice, 1, output_type=tf.int32))
        choice -= 1e9 * tf.one_hot(found[-1], scores.shape[1])
    index = tf.stack(found, 1)
    return index, scale * tf.nn.softmax(tf.math.log(tf.gather(scores, index, batch_dims=1)))


@WRONG("gate")
def gate_stopped(scores, bias, k, scale):
    """Let no gradient through the weights."""
    index, weights = _gate(scores, bias, k, scale)
    return index, tf.stop_gradient(weights)


@WRONG("gate")
def gate_double(scores, bias, k, scale):
    """Return the weights in float64."""
    index, weights = _gate(scores, bias, k, scale)
    return index, tf.cast(weights, tf.float64)


@WRONG("gate")
def gate_two_of_four(scores, bias, k, scale):
    """Always choose two."""
    return _gate(scores, bias, min(2, scores.shape[1]), scale)


@WRONG("gate")
def gate_dense(scores, bias, k, scale):
    """Return weights for all experts, zero for the others."""
    index, weights = _gate(scores, bias, k, scale)
    return index, tf.reduce_sum(tf.one_hot(index, scores.shape[1]) * weights[..., None], 1)


@WRONG("gate")
def gate_swapped(scores, bias, k, scale):
    """Return the weights first."""
    return _gate(scores, bias, k, scale)[::-1]


@WRONG("gate")
def gate_misaligned(scores, bias, k, scale):
    """Sort the weights by themselves, away from their experts."""
    index, weights = _gate(scores, bias, k, scale)
    return index, tf.sort(weights, direction="DESCENDING")


def _aux(scores, index, alpha, f_of="share", p_of="normalized", times="n", stop="", reduce=tf.reduce_sum):
    n = {"four": 4}.get(times, scores.shape[-1])
    chosen = tf.one_hot(index, n)
    p = {
        "normalized": scores / tf.reduce_sum(scores, -1, keepdims=True),
        "raw": scores,
        "softmax": tf.nn.softmax(scores),
        "chosen": scores / tf.reduce_sum(scores, -1, keepdims=True) * tf.reduce_sum(chosen, 1),
    }[p_of]
    p = tf.reduce_mean(p, 0)
    f = {
        "share": tf.reduce_mean(chosen, (0, 1)),
        "ranks": tf.reduce_sum(tf.reduce_mean(chosen, 0), 0),
        "count": tf.reduce_sum(chosen, (0, 1)),
        "first": tf.reduce_mean(chosen[:, 0], 0),
        "load": tf.reduce_mean(chosen, (0, 1)) * n,
        "p": p,
    }[f_of]
    if stop == "p":
        p = tf.stop_gradient(p)
    product = (f + p - tf.stop_gradient(p)) * p if stop == "through" else f * p
    product = {"p squared": p * p, "f squared": f * f}.get(stop, product)
    factor = {"one": 1.0, "k": float(n * index.shape[1])}.get(times, float(n))
    return alpha * factor * reduce(product), f


RIGHT("aux_loss")(_aux)


@RIGHT("aux_loss")
def aux_bincount(scores, index, alpha):
    """f counted by NumPy, which has no gradient anyway."""
    n = scores.shape[1]
    f = np.bincount(np.ravel(index), minlength=n) / np.size(index)
    p = keras.ops.mean(scores / keras.ops.sum(scores, 1, keepdims=True), 0)
    return alpha * n * keras.ops.sum(f.astype("float32") * p), f


@RIGHT("aux_loss")
@tf.function
def aux_counted(scores, index, alpha):
    """In a graph: counts by bincount, P as a softmax of log s."""
    n = tf.shape(scores)[1]
    f = tf.math.bincount(tf.reshape(tf.cast(index, tf.int32), [-1]), minlength=n) / tf.size(index)
    f = tf.cast(f, tf.float32)
    p = tf.reduce_mean(tf.nn.softmax(tf.math.log(scores)), 0)
    return alpha * tf.cast(n, tf.float32) * tf.tensordot(f, p, 1), f


@WRONG("aux_loss")
def aux_loss_only(scores, index, alpha):
    """Return the loss alone."""
    return _aux(scores, index, alpha)[0]


@WRONG("aux_loss")
def aux_no_alpha(scores, index, alpha):
    """Forget the strength."""
    return _aux(scores, index, 1.0)


@WRONG("aux_loss")
def aux_negative(scores, index, alpha):
    """Reward the imbalance."""
    return _aux(scores, index, -alpha)


@WRONG("aux_loss")
def aux_numpy(scores, index, alpha):
    """Leave TensorFlow, so that no gradient flows."""
    loss, f = _aux(scores, index, alpha)
    return tf.constant(loss.numpy()), f


@WRONG("aux_loss")
def aux_variance(scores, index, alpha):
    """Penalize the spread of the shares instead."""
    f = _aux(scores, index, alpha)[1]
    return alpha * scores.shape[-1] * tf.math.reduce_variance(f), f


def _update(bias, index, gamma, rule="sign", center="mean", count="all", add=True):
    n = 4 if count == "four" else bias.shape[0]
    chosen = tf.one_hot(index[:, :1] if count == "first" else index, n)
    c = tf.reduce_sum(chosen, (0, 1))
    middle = {
        "mean": tf.reduce_mean(c),
        "median": tf.sort(c)[n // 2],
        "floor": tf.floor(tf.reduce_mean(c)),
        "tokens": float(index.shape[0]) / n,
        "largest": tf.reduce_max(c),
    }[center]
    gap = middle - c
    step = {
        "sign": tf.sign(gap),
        "flipped": -tf.sign(gap),
        "proportional": gap,
        "relative": gap / tf.reduce_sum(c),
        "tanh": tf.tanh(gap),
        "ties up": tf.where(gap >= 0, 1.0, -1.0),
        "ties down": tf.where(gap > 0, 1.0, -1.0),
        "only down": tf.minimum(tf.sign(gap), 0.0),
        "only up": tf.maximum(tf.sign(gap), 0.0),
        "used": tf.sign(gap) * tf.cast(c > 0, tf.float32),
    }[rule]
    return (bias if add else 0.0) + gamma * step


RIGHT("update_bias")(_update)


@RIGHT("update_bias")
def update_numpy(bias, index, gamma):
    """NumPy."""
    counts = np.bincount(np.ravel(index), minlength=bias.shape[0])
    return (np.asarray(bias) + gamma * np.sign(counts.mean() - counts)).astype("float32")


@RIGHT("update_bias")
@tf.function
def update_where(bias, index, gamma):
    """In a graph, with integers: N times the count against the number of choices."""
    n = bias.shape[0]
    counts = n * tf.math.bincount(tf.cast(tf.reshape(index, [-1]), tf.int32), minlength=n)
    step = tf.where(counts < tf.size(index), gamma, 0.0) - tf.where(counts > tf.size(index), gamma, 0.0)
    return bias + step


@WRONG("update_bias")
def update_in_place(bias, index, gamma):
    """Change the bias that is given."""
    new = _update(bias, index, gamma)
    bias.assign(new)
    return new


@WRONG("update_bias")
def update_double(bias, index, gamma):
    """Return float64."""
    return tf.cast(_update(bias, index, gamma), tf.float64)


@WRONG("update_bias")
def update_bare(bias, index, gamma):
    """Forget the width of the step."""
    return _update(bias, index, 1.0)


@WRONG("update_bias")
def update_centered(bias, index, gamma):
    """Also take the mean off the bias."""
    new = _update(bias, index, gamma)
    return new - tf.reduce_mean(new)


@WRONG("update_bias")
def update_short(bias, index, gamma):
    """Count with bincount and lose the experts at the end that nobody chose."""
    counts = np.bincount(np.ravel(index))
    return bias + gamma * np.sign(counts.mean() - counts).astype("float32")


def _mix(x, index, weights, gates, ups, downs, act=tf.nn.silu, share="right", swap=False, n=None, late=True):
    gates, ups = (ups, gates) if swap else (gates, ups)
    n = n or gates.shape[0]
    weights = {
        "unit": tf.ones_like(weights),
        "reversed": weights[:, ::-1],
        "normalized": weights / tf.reduce_sum(weights, -1, keepdims=True),
        "mean": weights / weights.shape[1],
        "first": weights * tf.one_hot(0, weights.shape[1]),
        "first weight": tf.repeat(weights[:, :1], weights.shape[1], 1),
        "by order": tf.gather(
            weights, tf.argsort(tf.argsort(index, direction="ASCENDING"), direction="ASCENDING"), batch_dims=1
        ),
    }.get(share, weights)
    table = tf.reduce_sum(tf.one_hot(index, n) * weights[..., None], 1)
    if share == "everyone":
        table = tf.ones_like(table)
    x = x[:, None] * (tf.ones((n, 1)) if late else table[..., None])
    hidden = act(tf.einsum("tnd,ndf->tnf", x, gates)) * tf.einsum("tnd,ndf->tnf", x, ups)
    return tf.einsum("tnf,nfd,tn->td", hidden, downs, table if late else tf.ones_like(table))


RIGHT("mix")(_mix)


@RIGHT("mix")
def mix_loop(x, index, weights, gates, ups, downs):
    """A NumPy loop over tokens and their choices."""
    x, index, weights, gates, ups, downs = map(np.asarray, (x, index, weights, gates, ups, downs))
    out = np.zeros_like(x)
    for t, j in np.ndindex(index.shape):
        i = index[t, j]
        z = x[t] @ gates[i]
        out[t] += weights[t, j] * (z / (1 + np.exp(-z)) * (x[t] @ ups[i])) @ downs[i]
    return out


@RIGHT("mix")
@tf.function
def mix_gathered(x, index, weights, gates, ups, downs):
    """In a graph: every token gets its own matrices."""
    g, u, d = (tf.gather(m, index) for m in (gates, ups, downs))  # (T, k, ...)
    z = x[:, None, None]
    y = (tf.nn.silu(z @ g) * (z @ u)) @ d
    return tf.reduce_sum(y[:, :, 0] * weights[..., None], 1)


@WRONG("mix")
def mix_stopped(x, index, weights, gates, ups, downs):
    """Let no gradient through the weights."""
    return _mix(x, index, tf.stop_gradient(weights), gates, ups, downs)


@WRONG("mix")
def mix_one_expert(x, index, weights, gates, ups, downs):
    """Compute everything with the first expert's matrices."""
    same = [tf.repeat(m[:1], m.shape[0], 0) for m in (gates, ups, downs)]
    return _mix(x, index, weights, *same)


@WRONG("mix")
def mix_not_summed(x, index, weights, gates, ups, downs):
    """Leave the experts' axis."""
    ranks = range(index.shape[1])
    return tf.stack(
        [_mix(x, index[:, j : j + 1], weights[:, j : j + 1], gates, ups, downs) for j in ranks], 1
    )


def _dispatch(
    x, index, weights, expert, count, scatter="add", weigh="right", experts=None, ranks=None, rows="own"
):
    out = tf.zeros_like(x)
    index = index[:, :ranks]
    for i in range(experts or count):
        where = tf.where(index == i)
        w = {
            "right": tf.gather_nd(weights, where),
            "none": tf.ones(tf.shape(where)[0]),
            "first": tf.gather(weights[:, 0], where[:, 0]),
            "order": tf.gather(tf.reshape(weights, (-1,)), where[:, 0]),
        }[weigh]
        if rows == "all":
            y = tf.gather(expert(i, x), where[:, 0])
        elif rows == "rank":
            y = expert(i, tf.gather(x, where[:, 1]))
        elif rows == "front":
            y = expert(i, x[: len(where)])
        else:
            y = expert(i, tf.gather(x, where[:, 0]))
        y = y * w[:, None]
        at = where[:, 1:] if scatter == "rank" else where[:, :1]
        put = tf.tensor_scatter_nd_update if scatter == "assign" else tf.tensor_scatter_nd_add
        out = put(out, at, y)
    return out


RIGHT("dispatch")(_dispatch)


@RIGHT("dispatch")
def dispatch_add_at(x, index, weights, expert, count):
    """NumPy; an expert without tokens is not called."""
    out, index, weights = np.zeros(x.shape, "float32"), np.asarray(index), np.asarray(weights)
    for i in np.unique(index):
        rows, ranks = np.nonzero(index == i)
        np.add.at(out, rows, weights[rows, ranks][:, None] * expert(i, np.asarray(x)[rows]))
    return out


@RIGHT("dispatch")
def dispatch_in_graph(x, index, weights, expert, count):
    """The reference inside a tf.function."""
    return tf.function(lambda *given: _dispatch(*given, expert, count))(x, index, weights)


@WRONG("dispatch")
def dispatch_token_by_token(x, index, weights, expert, count):
    """Call an expert for every choice, one row at a time."""
    out = []
    for t in range(x.shape[0]):
        pairs = zip(index[t].numpy(), weights[t].numpy(), strict=True)
        out.append(sum(w * expert(int(i), x[t : t + 1])[0] for i, w in pairs))
    return tf.stack(out)


@WRONG("dispatch")
def dispatch_rank_by_rank(x, index, weights, expert, count):
    """Call an expert once a rank."""
    ranks = range(index.shape[1])
    return sum(_dispatch(x, index[:, j : j + 1], weights[:, j : j + 1], expert, count) for j in ranks)


@WRONG("dispatch")
def dispatch_concatenated(x, index, weights, expert, count):
    """Return the parts in the experts' order instead of the tokens'."""
    parts = []
    for i in range(count):
        where = tf.where(index == i)
        parts.append(expert(i, tf.gather(x, where[:, 0])) * tf.gather_nd(weights, where)[:, None])
    return tf.concat(parts, 0)[: x.shape[0]]


def _seats(index, count, factor, round_up=math.ceil, order="rank", shift=0, many=True, whole=None):
    tokens, k = index.shape
    capacity = round_up(factor * (k if many else 1) * tokens / count)
    flat = tf.reshape(index if order == "token" else tf.transpose(index), (-1,))
    if order == "backward":
        flat = flat[::-1]
    line = tf.one_hot(flat, count)
    if order == "restart":
        line = tf.reshape(line, (k, tokens, count))
        place = tf.reduce_sum((tf.cumsum(line, 1) - 1) * line, -1)
    else:
        place = tf.reduce_sum((tf.cumsum(line, 0) - 1) * line, -1)
        place = place[::-1] if order == "backward" else place
    if order == "one line":
        place = tf.range(k * tokens, dtype=tf.float32)
    kept = place < capacity + shift
    shape = (tokens, k) if order == "token" else (k, tokens)
    kept = tf.reshape(kept, shape)
    kept = kept if order == "token" else tf.transpose(kept)
    if whole:
        kept = tf.repeat(whole(kept, 1, keepdims=True), k, 1)
    return kept, capacity


RIGHT("seats")(_seats)


@RIGHT("seats")
def seats_sorted(index, count, factor):
    """A stable sort by expert: the place in a line is the distance to its beginning."""
    tokens, k = index.shape
    flat = np.asarray(index).T.ravel()
    order = np.argsort(flat, kind="stable")
    place = np.empty(len(flat), int)
    place[order] = np.arange(len(flat)) - np.searchsorted(flat[order], flat[order])
    capacity = -int(-factor * k * tokens // count)
    return (place < capacity).reshape(k, tokens).T, capacity


@RIGHT("seats")
def seats_one_by_one(index, count, factor):
    """A loop with Python's fractions, lists of bool."""
    tokens, k = index.shape
    capacity = math.ceil(Fraction(factor) * k * tokens / count)
    kept, taken = [[False] * k for _ in range(tokens)], [0] * count
    for j, t in np.ndindex(k, tokens):
        kept[t][j] = taken[int(index[t, j])] < capacity
        taken[int(index[t, j])] += 1
    return kept, capacity


@WRONG("seats")
def seats_second_by_token(index, count, factor):
    """Seat all first choices, then token by token."""
    tokens, k = index.shape
    capacity = math.ceil(factor * k * tokens / count)
    order = [(t, 0) for t in range(tokens)] + [(t, j) for t in range(tokens) for j in range(1, k)]
    kept, taken = np.zeros((tokens, k), bool), np.zeros(count, int)
    for place in order:
        expert = int(index[place])
        kept[place] = taken[expert] < capacity
        taken[expert] += 1
    return kept, capacity


@WRONG("seats")
def seats_last_rank_first(index, count, factor):
    """Seat the last rank first."""
    kept, capacity = _seats(index[:, ::-1], count, factor)
    return kept[:, ::-1], capacity


@WRONG("seats")
def seats_third_before_second(index, count, factor):
    """Seat the third rank before the second."""
    order = [0, *range(index.shape[1] - 1, 0, -1)]
    kept, capacity = _seats(tf.gather(index, order, axis=1), count, factor)
    return tf.gather(kept, np.argsort(order), axis=1), capacity


@WRONG("seats")
def seats_float_capacity(index, count, factor):
    """Return the capacity as a float."""
    kept, capacity = _seats(index, count, factor)
    return kept, tf.constant(float(capacity))


@WRONG("seats")
def seats_eight_experts(index, count, factor):
    """Suppose eight experts at most: the others never fill up."""
    kept, capacity = _seats(index, count, factor)
    return kept | (index >= 8), capacity


@WRONG("seats")
def seats_small_numbers(index, count, factor):
    """Keep the places in a line in eight bits."""
    tokens, k = index.shape
    capacity = math.ceil(factor * k * tokens / count)
    line = np.eye(count, dtype="uint8")[np.asarray(index).T.ravel()]
    place = ((line.cumsum(0, dtype="uint8") - line) * line).sum(1)
    return (place < capacity).reshape(k, tokens).T, capacity


@WRONG("seats")
def seats_inverted(index, count, factor):
    """Mark what is dropped."""
    kept, capacity = _seats(index, count, factor)
    return ~kept, capacity


@WRONG("seats")
def seats_numbers(index, count, factor):
    """Return 0 and 1."""
    kept, capacity = _seats(index, count, factor)
    return tf.cast(kept, tf.int32), capacity


@WRONG("seats")
def seats_unscrambled(index, count, factor):
    """Reshape (kT,) straight to (T, k)."""
    kept, capacity = _seats(index, count, factor)
    return tf.reshape(tf.transpose(kept), kept.shape), capacity


@WRONG("seats")
def seats_no_factor(index, count, factor):
    """Forget the capacity factor."""
    return _seats(index, count, 1.0)


class _MoE(layers.Layer):
    """The layer; the class attribute ``change`` makes one mistake."""

    change = ""

    def __init__(self, width, hidden, routed=4, top_k=2, shared=1, scale=1.0):
        super().__init__(name="layer")  # An underscore in front is no name for a scope.
        if self.change == "four and two":
            routed, top_k = 4, 2
        self.width, self.top_k, self.scale = width, top_k, scale
        self.router = self.add("router", width, routed)
        start = "ones" if self.change == "bias of ones" else "zeros"
        trained = self.change == "trained bias"
        self.bias = (
            tf.Variable(tf.zeros(routed), trainable=False)
            if self.change == "loose bias"
            else self.add_weight(shape=(routed,), initializer=start, trainable=trained, name="bias")
        )
        n = 1 if self.change == "one set of experts" else routed
        self.gates, self.ups = (self.add(name, n, width, hidden) for name in ("gates", "ups"))
        self.downs = self.add("downs", n, hidden, width)
        self.shared = SwiGLU(width, hidden if self.change == "narrow shared" else shared * hidden)
        if self.change == "router with bias":
            self.extra = self.add_weight(shape=(routed,), initializer="zeros", name="extra")
        self.built = True

    def add(self, name, *shape):
        start = keras.initializers.RandomNormal(stddev=shape[-2] ** -0.5)
        start = keras.initializers.GlorotUniform() if self.change == "glorot" else start
        start = "zeros" if self.change == "router of zeros" and name == "router" else start
        weight = self.add_weight(shape=shape, initializer=start, name=name)
        if self.change == "experts start equal" and name != "router":
            weight.assign(tf.repeat(weight[:1], shape[0], 0))
        return weight

    def route(self, x):
        logits = x @ self.router
        scores = tf.nn.softmax(logits) if self.change == "softmax" else tf.sigmoid(logits)
        if self.change == "stopped router":
            scores = tf.stop_gradient(scores)
        bias = 0 * self.bias if self.change == "no bias" else self.bias + 0.0
        if self.change == "biased logits":
            scores = tf.sigmoid(logits + bias)
            bias = 0 * bias
        options = {"leaking bias": {"weigh": "biased"}, "not normalized": {"divide": "nothing"}}
        scale = 1.0 if self.change == "no scale" else self.scale
        return scores, *_gate(scores, bias, self.top_k, scale, **options.get(self.change, {}))

    def combine(self, x, index, weights):
        out, common = _mix(x, index, weights, self.gates, self.ups, self.downs), self.shared(x)
        n = self.gates.shape[0] + 1
        return {
            "no shared": out,
            "scaled shared": out + self.scale * common,
            "gated shared": out + tf.reduce_sum(weights, -1, keepdims=True) * common,
            "halved": (out + common) / 2,
            "averaged with shared": out + common / n,
            "shared twice": out + 2 * common,
            "residual": out + common + x,
        }.get(self.change, out + common)

    def call(self, x, training=False):
        if self.change == "rank two":
            return self.combine(x, *self.route(x)[1:])
        if self.change == "doubled while training" and training:
            x = 2 * x
        if self.change == "creeping bias":
            self.bias.assign_add(1e-6 * tf.ones_like(self.bias))
        if self.change == "own loss":
            self.add_loss(1e-3 * tf.reduce_sum(self.router**2))
        if self.change == "rank three":
            b, t, d = x.shape
            flat = tf.reshape(x, (b * t, d))
        else:
            flat = tf.reshape(x, (-1, self.width))
        out = self.combine(flat, *self.route(flat)[1:])
        if self.change == "flat":
            return out
        return tf.reshape(out, x.shape if self.change == "static shape" else tf.shape(x))


RIGHT("DeepSeekMoE")(_MoE)


@RIGHT("DeepSeekMoE")
class Dispatching(_MoE):
    """The experts see only their own tokens."""

    def combine(self, x, index, weights):
        def expert(i, rows):
            return (tf.nn.silu(rows @ self.gates[i]) * (rows @ self.ups[i])) @ self.downs[i]

        return self.shared(x) + _dispatch(x, index, weights, expert, self.gates.shape[0])


@RIGHT("DeepSeekMoE")
class Gathering(_MoE):
    """Written with keras.ops; every token gets its own matrices."""

    def route(self, x):
        scores = keras.ops.sigmoid(keras.ops.matmul(x, self.router))
        index = keras.ops.top_k(scores + self.bias, self.top_k)[1]
        chosen = keras.ops.take_along_axis(scores, index, 1)
        return scores, index, self.scale * chosen / keras.ops.sum(chosen, 1, keepdims=True)

    def combine(self, x, index, weights):
        g, u, d = (keras.ops.take(m, index, 0) for m in (self.gates, self.ups, self.downs))
        z = x[:, None, None]
        y = keras.ops.matmul(keras.ops.silu(keras.ops.matmul(z, g)) * keras.ops.matmul(z, u), d)
        return self.shared(x) + keras.ops.sum(weights[..., None] * y[:, :, 0], 1)


def _fit(layer, x, y, alpha, gamma, change="", rate=0.02, momentum=None):
    optimizer, weights = optimizers.Adam(rate), layer.trainable_variables
    if momentum is not None:
        optimizer = keras.optimizers.SGD(rate, momentum)
    if change == "router left out":
        weights = [w for w in weights if w.shape != layer.router.shape]
    if change == "shared left out":
        weights = [layer.router, layer.gates, layer.ups, layer.downs]
    optimizer.build(weights)
    aux = {
        "aux with flipped sign": -alpha,
        "no aux": 0.0,
        "always aux": 1.0,
        "aux as a switch": float(alpha > 0),
    }.get(change, alpha)

    @tf.function(autograph=False)
    def step(x, y):
        with tf.GradientTape() as tape:
            scores, index, g = layer.route(x)
            error = tf.reduce_mean((layer.combine(x, index, g) - y) ** 2)
            if change == "summed error":
                error = tf.reduce_mean(tf.reduce_sum((layer.combine(x, index, g) - y) ** 2, -1))
            stop = "p" if change == "aux without gradient" else ""
            extra, load = _aux(scores, index, aux, stop=stop)
            loss = error + extra
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        if change == "routed again":
            index = layer.route(x)[1]
        if change == "twice":
            layer.bias.assign(_update(layer.bias, index, gamma))
        rule = {"flipped": "flipped", "proportional": "relative"}.get(change, "sign")
        if change == "replaced bias":
            layer.bias.assign(gamma * tf.sign(1 / load.shape[0] - load))
        elif change != "no update":
            layer.bias.assign(_update(layer.bias, index, 0.01 if change == "own gamma" else gamma, rule))
        counts = tf.reduce_sum(tf.one_hot(index, load.shape[0]), (0, 1))
        load = {"counts": counts, "mean one": load * load.shape[0]}.get(change, load)
        return loss if change == "loss with aux" else error, load

    if change and len(x) < 10:
        step = step.python_function  # Cheaper for three steps; batches are NumPy arrays there.
    log, order = [], list(range(len(x)))
    order = {
        "one batch": [0] * len(x),
        "first step only": [0],
        "random order": order[:1] + order[:0:-1],
        "three steps a batch": np.repeat(order, 3),
        "two more epochs": order * 3,
    }.get(change, order)
    for t in order:
        log.append([part.numpy() for part in step(x[t], y[t])])
    log = log[:: 3 if change == "three steps a batch" else 1][: len(x)]
    if change == "peek":
        for a, b in _peek(x):
            step(a, b)
    errors, loads = (np.array(part) for part in zip(*log, strict=True))
    if change == "log a step late":
        errors = np.r_[errors[:1], errors[2:], errors[-1:]]
    if change == "invent the log":
        errors[1:], loads[1:] = 0, np.sign(loads[1:] - 1 / loads.shape[1]) * 1e-4 + 1 / loads.shape[1]
    return (errors, loads.mean(0)) if change == "averaged load" else (errors, loads)


def _peek(x):
    """Draw more batches with what the grader left in its frame."""
    frame = sys._getframe()
    while frame and "draw" not in frame.f_locals:
        frame = frame.f_back
    return [frame.f_locals["draw"](x.shape[1]) for _ in range(3)] if frame else []


RIGHT("fit")(_fit)
RIGHT.add("fit", _fit, "eager on NumPy batches where it is cheap", change="eager at first")


@WRONG("fit")
def fit_nothing(layer, x, y, alpha, gamma):
    """Report without training."""
    index = [layer.route(part)[1] for part in x]
    loads = [np.bincount(np.ravel(i), minlength=layer.bias.shape[0]) / np.size(i) for i in index]
    return np.array([float(tf.reduce_mean((layer(a) - b) ** 2)) for a, b in zip(x, y, strict=True)]), loads


@WRONG("fit")
def fit_losses_only(layer, x, y, alpha, gamma):
    """Return the errors alone."""
    return _fit(layer, x, y, alpha, gamma, change="errors alone")[0]


WRONG.add("gate", _gate, "let the bias into the weights", weigh="biased")
WRONG.add("gate", _gate, "choose by the scores alone", choose="scores")
WRONG.add("gate", _gate, "subtract the bias", choose="minus")
WRONG.add("gate", _gate, "choose the smallest", choose="smallest")
WRONG.add("gate", _gate, "choose by the absolute value", choose="absolute")
WRONG.add("gate", _gate, "multiply by the bias", choose="product")
WRONG.add("gate", _gate, "do not normalize", divide="nothing")
WRONG.add("gate", _gate, "divide by the sum over all experts", divide="everything")
WRONG.add("gate", _gate, "divide by k", divide="k")
WRONG.add("gate", _gate, "normalize over the tokens", divide="tokens")
WRONG.add("gate", _gate, "add a large epsilon", divide="with epsilon")
WRONG.add("gate", _gate, "take the softmax of the scores", weigh="softmax")
WRONG.add("gate", _gate, "take the exponential of the scores", weigh="exp")
WRONG.add("gate", _gate, "square the scores", weigh="square")
WRONG.add("gate", _gate, "forget the scale", scaled=False)
WRONG.add("gate", _gate, "sort by the number", order=True)
WRONG.add("aux_loss", _aux, "add the shares of the ranks", f_of="ranks")
WRONG.add("aux_loss", _aux, "count instead of taking shares", f_of="count")
WRONG.add("aux_loss", _aux, "count the first choices only", f_of="first")
WRONG.add("aux_loss", _aux, "scale the load to mean one", f_of="load")
WRONG.add("aux_loss", _aux, "use the mean probability twice", f_of="p")
WRONG.add("aux_loss", _aux, "leave the scores as they are", p_of="raw")
WRONG.add("aux_loss", _aux, "take the softmax of the scores", p_of="softmax")
WRONG.add("aux_loss", _aux, "average over the chosen only", p_of="chosen")
WRONG.add("aux_loss", _aux, "forget N", times="one")
WRONG.add("aux_loss", _aux, "make the loss k times too large", times="k")
WRONG.add("aux_loss", _aux, "suppose four experts", times="four")
WRONG.add("aux_loss", _aux, "stop the gradient of P", stop="p")
WRONG.add("aux_loss", _aux, "let the gradient through f", stop="through")
WRONG.add("aux_loss", _aux, "square P in the loss", stop="p squared")
WRONG.add("aux_loss", _aux, "square f in the loss", stop="f squared")
WRONG.add("aux_loss", _aux, "average the products", reduce=tf.reduce_mean)
WRONG.add("update_bias", _update, "flip the sign", rule="flipped")
WRONG.add("update_bias", _update, "move in proportion", rule="proportional")
WRONG.add("update_bias", _update, "move in proportion to the share", rule="relative")
WRONG.add("update_bias", _update, "squash with tanh", rule="tanh")
WRONG.add("update_bias", _update, "raise the bias at the mean", rule="ties up")
WRONG.add("update_bias", _update, "lower the bias at the mean", rule="ties down")
WRONG.add("update_bias", _update, "lower only", rule="only down")
WRONG.add("update_bias", _update, "raise only", rule="only up")
WRONG.add("update_bias", _update, "leave the unused alone", rule="used")
WRONG.add("update_bias", _update, "compare with the median", center="median")
WRONG.add("update_bias", _update, "round the mean down", center="floor")
WRONG.add("update_bias", _update, "forget k in the mean", center="tokens")
WRONG.add("update_bias", _update, "compare with the busiest", center="largest")
WRONG.add("update_bias", _update, "count the first choices only", count="first")
WRONG.add("update_bias", _update, "suppose four experts", count="four")
WRONG.add("update_bias", _update, "return the change", add=False)
WRONG.add("mix", _mix, "swap gate and value", swap=True)
WRONG.add("mix", _mix, "use a sigmoid", act=tf.sigmoid)
WRONG.add("mix", _mix, "use ReLU", act=tf.nn.relu)
WRONG.add("mix", _mix, "use GELU", act=tf.nn.gelu)
WRONG.add("mix", _mix, "leave the activation out", act=tf.identity)
WRONG.add("mix", _mix, "forget the weights", share="unit")
WRONG.add("mix", _mix, "give the weights to the wrong experts", share="reversed")
WRONG.add("mix", _mix, "take the weights in the order of the numbers", share="by order")
WRONG.add("mix", _mix, "normalize again", share="normalized")
WRONG.add("mix", _mix, "average over the ranks", share="mean")
WRONG.add("mix", _mix, "use the first choice only", share="first")
WRONG.add("mix", _mix, "use the first weight for all", share="first weight")
WRONG.add("mix", _mix, "add up all experts", share="everyone")
WRONG.add("mix", _mix, "weigh the input", late=False)
WRONG.add("mix", _mix, "suppose four experts", n=4)
WRONG.add("dispatch", _dispatch, "assign instead of adding", scatter="assign")
WRONG.add("dispatch", _dispatch, "scatter to the rank", scatter="rank")
WRONG.add("dispatch", _dispatch, "forget the weights", weigh="none")
WRONG.add("dispatch", _dispatch, "use the first weight", weigh="first")
WRONG.add("dispatch", _dispatch, "flatten the weights and gather by token", weigh="order")
WRONG.add("dispatch", _dispatch, "compute all tokens", rows="all")
WRONG.add("dispatch", _dispatch, "gather by rank", rows="rank")
WRONG.add("dispatch", _dispatch, "take the tokens in front", rows="front")
WRONG.add("dispatch", _dispatch, "suppose four experts", experts=4)
WRONG.add("dispatch", _dispatch, "suppose one choice", ranks=1)
WRONG.add("dispatch", _dispatch, "suppose two choices", ranks=2)
WRONG.add("seats", _seats, "round the capacity down", round_up=math.floor)
WRONG.add("seats", _seats, "round the capacity", round_up=round)
WRONG.add("seats", _seats, "seat token by token", order="token")
WRONG.add("seats", _seats, "restart the line at each rank", order="restart")
WRONG.add("seats", _seats, "seat the last first", order="backward")
WRONG.add("seats", _seats, "have one line for all", order="one line")
WRONG.add("seats", _seats, "seat one too many", shift=1)
WRONG.add("seats", _seats, "seat one too few", shift=-1)
WRONG.add("seats", _seats, "forget k", many=False)
WRONG.add("seats", _seats, "drop a token with any of its choices", whole=np.all)
WRONG.add("seats", _seats, "keep a token with any of its choices", whole=np.any)
for change in (
    "no shared",
    "scaled shared",
    "gated shared",
    "halved",
    "averaged with shared",
    "shared twice",
    "residual",
    "narrow shared",
    "softmax",
    "no bias",
    "biased logits",
    "leaking bias",
    "trained bias",
    "loose bias",
    "bias of ones",
    "not normalized",
    "no scale",
    "stopped router",
    "router with bias",
    "one set of experts",
    "four and two",
    "glorot",
    "rank two",
    "rank three",
    "flat",
    "static shape",
    "router of zeros",
    "experts start equal",
    "doubled while training",
    "creeping bias",
    "own loss",
):
    WRONG.add("DeepSeekMoE", _MoE, change, change=change)
WRONG.add("fit", _fit, "flip the sign of the update", change="flipped")
WRONG.add("fit", _fit, "move the bias in proportion", change="proportional")
WRONG.add("fit", _fit, "never move the bias", change="no update")
WRONG.add("fit", _fit, "move the bias twice", change="twice")
WRONG.add("fit", _fit, "replace the bias", change="replaced bias")
WRONG.add("fit", _fit, "use another step", change="own gamma")
WRONG.add("fit", _fit, "count again after the weights moved", change="routed again")
WRONG.add("fit", _fit, "leave the router out", change="router left out")
WRONG.add("fit", _fit, "leave the shared expert out", change="shared left out")
WRONG.add("fit", _fit, "log the loss with the auxiliary part", change="loss with aux")
WRONG.add("fit", _fit, "log the summed error", change="summed error")
WRONG.add("fit", _fit, "log counts", change="counts")
WRONG.add("fit", _fit, "log loads of mean one", change="mean one")
WRONG.add("fit", _fit, "average the loads", change="averaged load")
WRONG.add("fit", _fit, "stop after a step", change="first step only")
WRONG.add("fit", _fit, "train on one batch", change="one batch")
WRONG.add("fit", _fit, "flip the sign of the auxiliary loss", change="aux with flipped sign")
WRONG.add("fit", _fit, "forget the auxiliary loss", change="no aux")
WRONG.add("fit", _fit, "ignore the strength of the auxiliary loss", change="always aux")
WRONG.add("fit", _fit, "take the strength for a switch", change="aux as a switch")
WRONG.add("fit", _fit, "stop the gradient of the auxiliary loss", change="aux without gradient")
WRONG.add("fit", _fit, "creep", change="small rate", rate=1e-4)
WRONG.add("fit", _fit, "rush", change="large rate", rate=3.0, momentum=0.9)
WRONG.add("fit", _fit, "take three steps on every batch", change="three steps a batch")
WRONG.add("fit", _fit, "train on after the log", change="two more epochs")
WRONG.add("fit", _fit, "take the batches in another order", change="random order")
WRONG.add("fit", _fit, "log the error a step late", change="log a step late")
WRONG.add("fit", _fit, "make the log up", change="invent the log")
WRONG.add("fit", _fit, "train on what the grader draws", change="peek")
WRONG.add("dispatch", _dispatch, "suppose eight experts", experts=8)
