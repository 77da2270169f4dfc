"""Wrong answers to practice 12.2. Each has one mistake, which its docstring names."""

import math

import numpy as np
import tensorflow as tf

from tf_study.llama import SwiGLU
from wrong_answers import variants, with_mistake

keras, layers = tf.keras, tf.keras.layers


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


def gate_two_of_four(scores, bias, k, scale):
    """Always choose two."""
    return _gate(scores, bias, min(2, scores.shape[1]), scale)


def gate_dense(scores, bias, k, scale):
    """Return weights for all experts, zero for the others."""
    index, weights = _gate(scores, bias, k, scale)
    return index, tf.reduce_sum(tf.one_hot(index, scores.shape[1]) * weights[..., None], 1)


def gate_swapped(scores, bias, k, scale):
    """Return the weights first."""
    return _gate(scores, bias, k, scale)[::-1]


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


def aux_loss_only(scores, index, alpha):
    """Return the loss alone."""
    return _aux(scores, index, alpha)[0]


def aux_no_alpha(scores, index, alpha):
    """Forget the strength."""
    return _aux(scores, index, 1.0)


def aux_negative(scores, index, alpha):
    """Reward the imbalance."""
    return _aux(scores, index, -alpha)


def aux_numpy(scores, index, alpha):
    """Leave TensorFlow, so that no gradient flows."""
    loss, f = _aux(scores, index, alpha)
    return tf.constant(loss.numpy()), f


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


def update_bare(bias, index, gamma):
    """Forget the width of the step."""
    return _update(bias, index, 1.0)


def update_centered(bias, index, gamma):
    """Also take the mean off the bias."""
    new = _update(bias, index, gamma)
    return new - tf.reduce_mean(new)


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
    x = x[:, None] * (1.0 if late else table[..., None])
    x = tf.broadcast_to(x, (x.shape[0], n, x.shape[2]))
    hidden = act(tf.einsum("tnd,ndf->tnf", x, gates)) * tf.einsum("tnd,ndf->tnf", x, ups)
    return tf.einsum("tnf,nfd,tn->td", hidden, downs, table if late else tf.ones_like(table))


def mix_one_expert(x, index, weights, gates, ups, downs):
    """Compute everything with the first expert's matrices."""
    same = [tf.repeat(m[:1], m.shape[0], 0) for m in (gates, ups, downs)]
    return _mix(x, index, weights, *same)


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
            "none": tf.ones(len(where)),
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


def dispatch_token_by_token(x, index, weights, expert, count):
    """Call an expert for every choice, one row at a time."""
    out = []
    for t in range(x.shape[0]):
        pairs = zip(index[t].numpy(), weights[t].numpy(), strict=True)
        out.append(sum(w * expert(int(i), x[t : t + 1])[0] for i, w in pairs))
    return tf.stack(out)


def dispatch_rank_by_rank(x, index, weights, expert, count):
    """Call an expert once a rank."""
    ranks = range(index.shape[1])
    return sum(_dispatch(x, index[:, j : j + 1], weights[:, j : j + 1], expert, count) for j in ranks)


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


def seats_inverted(index, count, factor):
    """Mark what is dropped."""
    kept, capacity = _seats(index, count, factor)
    return ~kept, capacity


def seats_numbers(index, count, factor):
    """Return 0 and 1."""
    kept, capacity = _seats(index, count, factor)
    return tf.cast(kept, tf.int32), capacity


def seats_unscrambled(index, count, factor):
    """Reshape (kT,) straight to (T, k)."""
    kept, capacity = _seats(index, count, factor)
    return tf.reshape(tf.transpose(kept), kept.shape), capacity


def seats_no_factor(index, count, factor):
    """Forget the capacity factor."""
    return _seats(index, count, 1.0)


class _MoE(layers.Layer):
    """The layer with one mistake, chosen by the class attribute ``change``."""

    change = ""

    def __init__(self, width, hidden, routed=4, top_k=2, shared=1, scale=1.0):
        super().__init__()
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
        return self.add_weight(shape=shape, initializer=start, name=name)

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

    def call(self, x):
        if self.change == "rank two":
            return self.combine(x, *self.route(x)[1:])
        if self.change == "rank three":
            b, t, d = x.shape
            flat = tf.reshape(x, (b * t, d))
        else:
            flat = tf.reshape(x, (-1, self.width))
        out = self.combine(flat, *self.route(flat)[1:])
        if self.change == "flat":
            return out
        return tf.reshape(out, x.shape if self.change == "static shape" else tf.shape(x))


def _fit(layer, x, y, alpha, gamma, change="", rate=0.02, momentum=None):
    optimizer, weights = keras.optimizers.Adam(rate), layer.trainable_variables
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

    @tf.function
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

    log = []
    for t in range(len(x)):
        t = 0 if change == "one batch" else t
        log.append([part.numpy() for part in step(x[t], y[t])])
        if change == "first step only":
            break
    errors, loads = (np.array(part) for part in zip(*log, strict=True))
    return (errors, loads.mean(0)) if change == "averaged load" else (errors, loads)


def fit_nothing(layer, x, y, alpha, gamma):
    """Report without training."""
    index = [layer.route(part)[1] for part in x]
    loads = [np.bincount(np.ravel(i), minlength=layer.bias.shape[0]) / np.size(i) for i in index]
    return np.array([float(tf.reduce_mean((layer(a) - b) ** 2)) for a, b in zip(x, y, strict=True)]), loads


def fit_losses_only(layer, x, y, alpha, gamma):
    """Return the errors alone."""
    return _fit(layer, x, y, alpha, gamma)[0]


WRONG = {
    "gate": [
        gate_float_index,
        with_mistake(_gate, "let the bias into the weights", weigh="biased"),
        with_mistake(_gate, "choose by the scores alone", choose="scores"),
        with_mistake(_gate, "subtract the bias", choose="minus"),
        with_mistake(_gate, "choose the smallest", choose="smallest"),
        with_mistake(_gate, "choose by the absolute value", choose="absolute"),
        with_mistake(_gate, "multiply by the bias", choose="product"),
        with_mistake(_gate, "do not normalize", divide="nothing"),
        with_mistake(_gate, "divide by the sum over all experts", divide="everything"),
        with_mistake(_gate, "divide by k", divide="k"),
        with_mistake(_gate, "normalize over the tokens", divide="tokens"),
        with_mistake(_gate, "add a large epsilon", divide="with epsilon"),
        with_mistake(_gate, "take the softmax of the scores", weigh="softmax"),
        with_mistake(_gate, "take the exponential of the scores", weigh="exp"),
        with_mistake(_gate, "square the scores", weigh="square"),
        with_mistake(_gate, "forget the scale", scaled=False),
        with_mistake(_gate, "sort by the number", order=True),
        gate_two_of_four,
        gate_dense,
        gate_swapped,
        gate_misaligned,
    ],
    "aux_loss": [
        with_mistake(_aux, "add the shares of the ranks", f_of="ranks"),
        with_mistake(_aux, "count instead of taking shares", f_of="count"),
        with_mistake(_aux, "count the first choices only", f_of="first"),
        with_mistake(_aux, "scale the load to mean one", f_of="load"),
        with_mistake(_aux, "use the mean probability twice", f_of="p"),
        with_mistake(_aux, "leave the scores as they are", p_of="raw"),
        with_mistake(_aux, "take the softmax of the scores", p_of="softmax"),
        with_mistake(_aux, "average over the chosen only", p_of="chosen"),
        with_mistake(_aux, "forget N", times="one"),
        with_mistake(_aux, "make the loss k times too large", times="k"),
        with_mistake(_aux, "suppose four experts", times="four"),
        with_mistake(_aux, "stop the gradient of P", stop="p"),
        with_mistake(_aux, "let the gradient through f", stop="through"),
        with_mistake(_aux, "square P in the loss", stop="p squared"),
        with_mistake(_aux, "square f in the loss", stop="f squared"),
        with_mistake(_aux, "average the products", reduce=tf.reduce_mean),
        aux_loss_only,
        aux_no_alpha,
        aux_negative,
        aux_numpy,
        aux_variance,
    ],
    "update_bias": [
        with_mistake(_update, "flip the sign", rule="flipped"),
        with_mistake(_update, "move in proportion", rule="proportional"),
        with_mistake(_update, "move in proportion to the share", rule="relative"),
        with_mistake(_update, "squash with tanh", rule="tanh"),
        with_mistake(_update, "raise the bias at the mean", rule="ties up"),
        with_mistake(_update, "lower the bias at the mean", rule="ties down"),
        with_mistake(_update, "lower only", rule="only down"),
        with_mistake(_update, "raise only", rule="only up"),
        with_mistake(_update, "leave the unused alone", rule="used"),
        with_mistake(_update, "compare with the median", center="median"),
        with_mistake(_update, "round the mean down", center="floor"),
        with_mistake(_update, "forget k in the mean", center="tokens"),
        with_mistake(_update, "compare with the busiest", center="largest"),
        with_mistake(_update, "count the first choices only", count="first"),
        with_mistake(_update, "suppose four experts", count="four"),
        with_mistake(_update, "return the change", add=False),
        update_bare,
        update_centered,
        update_short,
    ],
    "mix": [
        with_mistake(_mix, "swap gate and value", swap=True),
        with_mistake(_mix, "use a sigmoid", act=tf.sigmoid),
        with_mistake(_mix, "use ReLU", act=tf.nn.relu),
        with_mistake(_mix, "use GELU", act=tf.nn.gelu),
        with_mistake(_mix, "leave the activation out", act=tf.identity),
        with_mistake(_mix, "forget the weights", share="unit"),
        with_mistake(_mix, "give the weights to the wrong experts", share="reversed"),
        with_mistake(_mix, "take the weights in the order of the numbers", share="by order"),
        with_mistake(_mix, "normalize again", share="normalized"),
        with_mistake(_mix, "average over the ranks", share="mean"),
        with_mistake(_mix, "use the first choice only", share="first"),
        with_mistake(_mix, "use the first weight for all", share="first weight"),
        with_mistake(_mix, "add up all experts", share="everyone"),
        with_mistake(_mix, "weigh the input", late=False),
        with_mistake(_mix, "suppose four experts", n=4),
        mix_one_expert,
        mix_not_summed,
    ],
    "dispatch": [
        with_mistake(_dispatch, "assign instead of adding", scatter="assign"),
        with_mistake(_dispatch, "scatter to the rank", scatter="rank"),
        with_mistake(_dispatch, "forget the weights", weigh="none"),
        with_mistake(_dispatch, "use the first weight", weigh="first"),
        with_mistake(_dispatch, "flatten the weights and gather by token", weigh="order"),
        with_mistake(_dispatch, "compute all tokens", rows="all"),
        with_mistake(_dispatch, "gather by rank", rows="rank"),
        with_mistake(_dispatch, "take the tokens in front", rows="front"),
        with_mistake(_dispatch, "suppose four experts", experts=4),
        with_mistake(_dispatch, "suppose one choice", ranks=1),
        with_mistake(_dispatch, "suppose two choices", ranks=2),
        dispatch_token_by_token,
        dispatch_rank_by_rank,
        dispatch_concatenated,
    ],
    "seats": [
        with_mistake(_seats, "round the capacity down", round_up=math.floor),
        with_mistake(_seats, "round the capacity", round_up=round),
        with_mistake(_seats, "seat token by token", order="token"),
        with_mistake(_seats, "restart the line at each rank", order="restart"),
        with_mistake(_seats, "seat the last first", order="backward"),
        with_mistake(_seats, "have one line for all", order="one line"),
        with_mistake(_seats, "seat one too many", shift=1),
        with_mistake(_seats, "seat one too few", shift=-1),
        with_mistake(_seats, "forget k", many=False),
        with_mistake(_seats, "drop a token with any of its choices", whole=np.all),
        with_mistake(_seats, "keep a token with any of its choices", whole=np.any),
        seats_inverted,
        seats_numbers,
        seats_unscrambled,
        seats_no_factor,
    ],
    "DeepSeekMoE": variants(
        _MoE,
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
    ),
    "fit": [
        with_mistake(_fit, "flip the sign of the update", change="flipped"),
        with_mistake(_fit, "move the bias in proportion", change="proportional"),
        with_mistake(_fit, "never move the bias", change="no update"),
        with_mistake(_fit, "move the bias twice", change="twice"),
        with_mistake(_fit, "replace the bias", change="replaced bias"),
        with_mistake(_fit, "use another step", change="own gamma"),
        with_mistake(_fit, "count again after the weights moved", change="routed again"),
        with_mistake(_fit, "leave the router out", change="router left out"),
        with_mistake(_fit, "leave the shared expert out", change="shared left out"),
        with_mistake(_fit, "log the loss with the auxiliary part", change="loss with aux"),
        with_mistake(_fit, "log the summed error", change="summed error"),
        with_mistake(_fit, "log counts", change="counts"),
        with_mistake(_fit, "log loads of mean one", change="mean one"),
        with_mistake(_fit, "average the loads", change="averaged load"),
        with_mistake(_fit, "stop after a step", change="first step only"),
        with_mistake(_fit, "train on one batch", change="one batch"),
        with_mistake(_fit, "flip the sign of the auxiliary loss", change="aux with flipped sign"),
        with_mistake(_fit, "forget the auxiliary loss", change="no aux"),
        with_mistake(_fit, "ignore the strength of the auxiliary loss", change="always aux"),
        with_mistake(_fit, "take the strength for a switch", change="aux as a switch"),
        with_mistake(_fit, "stop the gradient of the auxiliary loss", change="aux without gradient"),
        with_mistake(_fit, "creep", rate=1e-4),
        with_mistake(_fit, "rush", rate=3.0, momentum=0.9),
        fit_nothing,
        fit_losses_only,
    ],
}
