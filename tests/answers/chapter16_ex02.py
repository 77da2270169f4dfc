"""Right and wrong answers to practice 16.2."""

import keras
import numpy as np
import tensorflow as tf

from answers import Answers
from tf_study.models.llama import linear

RIGHT, WRONG = Answers(), Answers()


# -- log_gate ------------------------------------------------------------------------------------------


def _gate(logits, tau=16.0, log=True, power=-1, sign=1.0, flip=1.0, inner=False):
    x = flip * (logits / tau if inner else logits)
    found = tf.math.log_sigmoid(x) if log else tf.sigmoid(x)
    return sign * found * (1.0 if inner else tau**power)


RIGHT("log_gate")(_gate)


@RIGHT("log_gate")
def log_gate_softplus(logits, tau=16.0):
    """The other name of the same function."""
    return -tf.nn.softplus(-logits) / tau


@RIGHT("log_gate")
def log_gate_by_parts(logits, tau=16.0):
    """What does not overflow, written out."""
    return (tf.minimum(logits, 0.0) - tf.math.log1p(tf.exp(-tf.abs(logits)))) / tau


WRONG.add("log_gate", _gate, "sigmoid over 16", log=False)
WRONG.add("log_gate", _gate, "times 16", power=1)
WRONG.add("log_gate", _gate, "no divisor", power=0)
WRONG.add("log_gate", _gate, "gates above one", sign=-1.0)
WRONG.add("log_gate", _gate, "one minus the sigmoid", flip=-1.0)
WRONG.add("log_gate", _gate, "logits over 16", inner=True)


@WRONG("log_gate")
def log_gate_not_logged(logits, tau=16.0):
    """The gate, not its logarithm."""
    return tf.sigmoid(logits) ** (1 / tau)


@WRONG("log_gate")
def log_gate_softmax(logits, tau=16.0):
    """Channels that share what is kept."""
    return tf.nn.log_softmax(logits) / tau


@WRONG("log_gate")
def log_gate_underflow(logits, tau=16.0):
    """The logarithm of a sigmoid that is zero."""
    return tf.math.log(tf.sigmoid(logits)) / tau


@WRONG("log_gate")
def log_gate_always_16(logits, tau=16.0):
    """tau is not used."""
    return tf.math.log_sigmoid(logits) / 16.0


@WRONG("log_gate")
def log_gate_numpy(logits, tau=16.0):
    """Right values, but no gradient passes."""
    return tf.constant(-np.logaddexp(0, -logits.numpy()) / tau)


# -- step ----------------------------------------------------------------------------------------------


def _step(q, k, v, g, S, late=False, on="key", log=False, sign=1.0, read="new", write=1.0, mix=False):
    keep = {"key": g[..., None], "value": g[..., None, :], "none": tf.zeros_like(g)[..., None]}[on]
    keep = keep if log else tf.exp(sign * keep)
    add = write * k[..., :, None] * v[..., None, :]
    add = (1 - keep) * add if mix else add
    after = keep * (S + add) if late else keep * S + add
    used = {"new": after, "old": S, "kept": keep * S}[read]
    return tf.einsum("bhk,bhkv->bhv", q, used), after


RIGHT("step")(_step)


@RIGHT("step")
def step_products(q, k, v, g, S):
    """Matrix products; a list."""
    S = tf.linalg.matmul(tf.linalg.diag(tf.exp(g)), S) + k[..., None] @ v[..., None, :]
    return [tf.squeeze(q[..., None, :] @ S, 2), S]


@RIGHT("step")
def step_sums(q, k, v, g, S):
    """The state is not read: its parts are."""
    old = tf.reduce_sum((q * tf.exp(g))[..., None] * S, 2)
    new = tf.reduce_sum(q * k, -1, keepdims=True) * v
    return old + new, tf.exp(g)[..., None] * S + tf.einsum("bhk,bhv->bhkv", k, v)


WRONG.add("step", _step, "decay after adding", late=True)
WRONG.add("step", _step, "decay on the value axis", on="value")
WRONG.add("step", _step, "no decay", on="none")
WRONG.add("step", _step, "log gate as the gate", log=True)
WRONG.add("step", _step, "growing instead of fading", sign=-1.0)
WRONG.add("step", _step, "the state before is read", read="old")
WRONG.add("step", _step, "the token itself is not read", read="kept")
WRONG.add("step", _step, "one minus the gate on what is added", mix=True)


@WRONG("step")
def step_transposed(q, k, v, g, S):
    """v k^T for k v^T."""
    S = tf.exp(g)[..., None] * S + v[..., :, None] * k[..., None, :]
    return tf.einsum("bhk,bhkv->bhv", q, S), S


@WRONG("step")
def step_read_across(q, k, v, g, S):
    """q along the values."""
    S = _step(q, k, v, g, S)[1]
    return tf.einsum("bhv,bhkv->bhk", q, S), S


@WRONG("step")
def step_state_first(q, k, v, g, S):
    """The two results the other way round."""
    return _step(q, k, v, g, S)[::-1]


# -- recurrent -----------------------------------------------------------------------------------------


def _zeros(k, v):
    return tf.zeros((*k.shape[:-2], k.shape[-1], v.shape[-1]))


def _loop(q, k, v, g, state=None, start=True, axis=2, first_gate=True, states=False, only="", **options):
    S = _zeros(k, v) if state is None or not start else state
    out, every = [], []
    for t in range(q.shape[2]):
        gate = g[:, :, t] if first_gate or t else tf.zeros_like(g[:, :, t])
        o, S = _step(q[:, :, t], k[:, :, t], v[:, :, t], gate, S, **options)
        out.append(o)
        every.append(S)
    found = tf.stack(out, axis), tf.stack(every, 2) if states else S
    return found[0] if only == "output" else (out[-1], S) if only == "last" else found


RIGHT("recurrent")(_loop)


@RIGHT("recurrent")
def recurrent_scan(q, k, v, g, state=None):
    """tf.scan over the tokens."""
    parts = [tf.transpose(x, (2, 0, 1, 3)) for x in (q, k, v, g)]
    start = _zeros(k, v) if state is None else state

    def one(before, token):
        return _step(*token, before[1])

    out, states = tf.scan(one, parts, initializer=(tf.zeros_like(v[:, :, 0]), start))
    return tf.transpose(out, (1, 2, 0, 3)), states[-1]


@RIGHT("recurrent")
def recurrent_unstacked(q, k, v, g, state=None):
    """Tokens taken apart first; the recurrence written again."""
    S = _zeros(k, v) if state is None else state
    out = []
    for qt, kt, vt, keep in zip(*(tf.unstack(x, axis=2) for x in (q, k, v, tf.exp(g))), strict=True):
        S = keep[..., None] * S + kt[..., None] * vt[..., None, :]
        out.append(tf.reduce_sum(qt[..., None] * S, -2)[:, :, None])
    return tf.concat(out, 2), S


WRONG.add("recurrent", _loop, "state not returned", only="output")
WRONG.add("recurrent", _loop, "initial state ignored", start=False)
WRONG.add("recurrent", _loop, "only the last output", only="last")
WRONG.add("recurrent", _loop, "all states", states=True)
WRONG.add("recurrent", _loop, "tokens in front", axis=0)
WRONG.add("recurrent", _loop, "first gate not used", first_gate=False)
WRONG.add("recurrent", _loop, "decay after adding", late=True)
WRONG.add("recurrent", _loop, "state before is read", read="old")


@WRONG("recurrent")
def recurrent_start_added(q, k, v, g, state=None):
    """The initial state is added at the end, unfaded."""
    out, S = _loop(q, k, v, g)
    return (out, S) if state is None else (out + q @ state, S + state)


# -- parallel ------------------------------------------------------------------------------------------


def _product(
    q, k, v, g, low=0, exclusive=False, sign=1.0, keys=True, axis=-2, mask=True, total=True, upper=False
):
    b = sign * (tf.cumsum(g, axis, exclusive=exclusive) if total else g)
    scores = tf.matmul(q * tf.exp(b), k * tf.exp(-b) if keys else k, transpose_b=True)
    if mask:
        ones = np.ones((q.shape[-2], q.shape[-2]), "f")
        scores *= np.triu(ones) if upper else np.tril(ones, low)
    return scores @ v


RIGHT("parallel")(_product)


@RIGHT("parallel")
def parallel_differences(q, k, v, g):
    """A mask a channel, (..., T, T, K): nothing overflows."""
    b = tf.cumsum(g, -2)
    gap = tf.minimum(b[..., :, None, :] - b[..., None, :, :], 0.0)
    scores = tf.einsum("...ik,...jk,...ijk->...ij", q, k, tf.exp(gap))
    return tf.linalg.band_part(scores, -1, 0) @ v


@RIGHT("parallel")
def parallel_from_the_end(q, k, v, g):
    """The exponents counted from the last token; only differences matter."""
    b = tf.cumsum(g, -2) - tf.reduce_sum(g, -2, keepdims=True)
    scores = (q * tf.exp(b)) @ tf.linalg.matrix_transpose(k / tf.exp(b))
    place = tf.range(q.shape[-2])
    return tf.where(place[:, None] >= place, scores, 0.0) @ v


WRONG.add("parallel", _product, "no mask", mask=False)
WRONG.add("parallel", _product, "strict mask", low=-1)
WRONG.add("parallel", _product, "upper half", upper=True)
WRONG.add("parallel", _product, "exclusive sum", exclusive=True)
WRONG.add("parallel", _product, "decay on q only", keys=False)
WRONG.add("parallel", _product, "signs swapped", sign=-1.0)
WRONG.add("parallel", _product, "sum over channels", axis=-1)
WRONG.add("parallel", _product, "gates not summed", total=False)


@WRONG("parallel")
def parallel_scalar(q, k, v, g):
    """The mean of the gates for all channels."""
    return _product(q, k, v, tf.reduce_mean(g, -1, keepdims=True) + tf.zeros_like(g))


@WRONG("parallel")
def parallel_softmax(q, k, v, g):
    """Weights that sum to one."""
    b = tf.cumsum(g, -2)
    scores = tf.matmul(q * tf.exp(b), k * tf.exp(-b), transpose_b=True)
    keep = np.tril(np.ones((q.shape[-2], q.shape[-2]), bool))
    return tf.nn.softmax(tf.where(keep, scores, -1e9)) @ v


@WRONG("parallel")
def parallel_four_axes(q, k, v, g):
    """Only (B, H, T, K)."""
    b = tf.cumsum(g, 2)
    scores = (q * tf.exp(b)) @ tf.transpose(k * tf.exp(-b), (0, 1, 3, 2))
    return (scores * np.tril(np.ones((q.shape[2], q.shape[2]), "f"))) @ v


@WRONG("parallel")
def parallel_numpy(q, k, v, g):
    """Right values, but no gradient passes."""
    return tf.constant(_product(q, k, v, g).numpy())


@WRONG("parallel")
def parallel_no_gates(q, k, v, g):
    """Plain linear attention."""
    return _product(q, k, v, tf.zeros_like(g))


# -- chunkwise -----------------------------------------------------------------------------------------


def _cut(x, size):
    x = tf.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % size), (0, 0)))
    return tf.reshape(x, (*x.shape[:2], -1, size, x.shape[3]))


def _chunkwise(q, k, v, g, size, state=None, start=True, keep="last", add="rest", read="before", faded=True,
               trim=True):  # fmt: skip
    length = q.shape[2]
    q, k, v, g = (_cut(x, size) for x in (q, k, v, g))  # (B, H, n, C, ...)
    b = tf.cumsum(g, 3)
    last = b[:, :, :, -1:]
    exponent = {"rest": last - b, "none": tf.zeros_like(b), "b": b, "sign": b - last}[add]
    added = tf.matmul(k * tf.exp(exponent), v, transpose_a=True)  # (B, H, n, K, V)
    left = {"last": last, "none": tf.zeros_like(last), "one": g[:, :, :, -1:]}[keep]
    S = tf.zeros_like(added[:, :, 0]) if state is None or not start else state
    before, after = [], []
    for i in range(q.shape[2]):
        before.append(S)
        S = tf.exp(left[:, :, i, 0])[..., None] * S + added[:, :, i]
        after.append(S)
    used = {"before": before, "after": after, "none": [tf.zeros_like(S) for _ in before]}[read]
    out = _product(q, k, v, g) + (q * tf.exp(b) if faded else q) @ tf.stack(used, 2)
    out = tf.reshape(out, (*out.shape[:2], -1, out.shape[4]))
    return out[:, :, :length] if trim else out, S


RIGHT("chunkwise")(_chunkwise)


@RIGHT("chunkwise")
def chunkwise_slices(q, k, v, g, size, state=None):
    """A slice at a time; the last one may be short."""
    S, out = _zeros(k, v) if state is None else state, []
    for start in range(0, q.shape[2], size):
        qc, kc, vc, gc = (x[:, :, start : start + size] for x in (q, k, v, g))
        b = tf.cumsum(gc, 2)
        out.append(parallel_differences(qc, kc, vc, gc) + (qc * tf.exp(b)) @ S)
        rest = tf.reduce_sum(gc, 2, keepdims=True) - b
        kept = tf.exp(tf.reduce_sum(gc, 2))[..., None]
        S = kept * S + tf.einsum("bhck,bhcv->bhkv", kc * tf.exp(rest), vc)
    return tf.concat(out, 2), S


@RIGHT("chunkwise")
def chunkwise_scan(q, k, v, g, size, state=None):
    """The states by tf.scan."""
    length = q.shape[2]
    q, k, v, g = (_cut(x, size) for x in (q, k, v, g))
    b = tf.cumsum(g, 3)
    added = tf.matmul(k * tf.exp(b[:, :, :, -1:] - b), v, transpose_a=True)
    kept = tf.exp(b[:, :, :, -1])[..., None]
    first = tf.zeros_like(added[:, :, 0]) if state is None else state
    moved = [tf.transpose(x, (2, 0, 1, 3, 4)) for x in (kept, added)]
    states = tf.scan(lambda S, part: part[0] * S + part[1], moved, initializer=first)
    before = tf.transpose(tf.concat([first[None], states[:-1]], 0), (1, 2, 0, 3, 4))
    out = _product(q, k, v, g) + (q * tf.exp(b)) @ before
    return tf.reshape(out, (*out.shape[:2], -1, out.shape[4]))[:, :, :length], states[-1]


WRONG.add("chunkwise", _chunkwise, "right only where one chunk is all", read="none")
WRONG.add("chunkwise", _chunkwise, "state without decay", keep="none")
WRONG.add("chunkwise", _chunkwise, "state faded by one gate", keep="one")
WRONG.add("chunkwise", _chunkwise, "b for what is left", add="b")
WRONG.add("chunkwise", _chunkwise, "b minus the last", add="sign")
WRONG.add("chunkwise", _chunkwise, "keys not faded", add="none")
WRONG.add("chunkwise", _chunkwise, "initial state ignored", start=False)
WRONG.add("chunkwise", _chunkwise, "its own chunk twice", read="after")
WRONG.add("chunkwise", _chunkwise, "read without decay", faded=False)
WRONG.add("chunkwise", _chunkwise, "padding returned", trim=False)


@WRONG("chunkwise")
def chunkwise_whole(q, k, v, g, size, state=None):
    """One product over the whole sequence: overflows."""
    out, S = chunkwise_slices(q, k, v, g, q.shape[2], state)
    b = tf.cumsum(g, 2)
    first = 0.0 if state is None else (q * tf.exp(b)) @ state
    return _product(q, k, v, g) + first, S


@WRONG("chunkwise")
def chunkwise_square(q, k, v, g, size, state=None):
    """Finite, but with a mask a channel of T x T."""
    return chunkwise_slices(q, k, v, g, q.shape[2], state)


@WRONG("chunkwise")
def chunkwise_tail_lost(q, k, v, g, size, state=None):
    """Whole chunks only."""
    whole = q.shape[2] - q.shape[2] % size
    return _chunkwise(*(x[:, :, :whole] for x in (q, k, v, g)), size, state)


@WRONG("chunkwise")
def chunkwise_running_sum(q, k, v, g, size, state=None):
    """b goes on from chunk to chunk, and so does what is subtracted."""
    b = tf.cumsum(g, 2)
    out, S = chunkwise_slices(q * tf.exp(b), k * tf.exp(-b), v, tf.zeros_like(g), size, state)
    return out, tf.exp(b[:, :, -1])[..., None] * S


@WRONG("chunkwise")
def chunkwise_numpy(q, k, v, g, size, state=None):
    """Right values, but not a graph."""
    out, S = _chunkwise(q, k, v, g, size, state)
    return tf.constant(out.numpy()), S


@WRONG("chunkwise")
def chunkwise_gates_padded(q, k, v, g, size, state=None):
    """What is padded fades the state: the last gate again."""
    more = -q.shape[2] % size
    q, k, v = (tf.pad(x, ((0, 0), (0, 0), (0, more), (0, 0))) for x in (q, k, v))
    g = tf.concat([g, tf.repeat(g[:, :, -1:], more, 2)], 2)
    out, S = _chunkwise(q, k, v, g, size, state)
    return out[:, :, : q.shape[2] - more], S


# -- GatedLinearAttention ------------------------------------------------------------------------------


@RIGHT("GatedLinearAttention")
class _Layer(keras.layers.Layer):
    scale, norm, gate, gain_used, tau, bias, split_how, merge_how, start, learns = (
        "K", "heads", "silu", True, 16.0, True, "transpose", "transpose", True, True,
    )  # fmt: skip

    def __init__(self, width, heads, size=16):
        super().__init__()
        self.heads, self.size = heads, size
        self.query, self.key = linear(width, width // 2), linear(width, width // 2)
        self.value, self.swish, self.out = (linear(width, width) for _ in range(3))
        self.forget_down = linear(width, 16)
        self.forget_up = keras.layers.Dense(width // 2)
        self.forget_up.build((None, 16))
        self.gain = self.add_weight(shape=(width // heads,), initializer="ones", name="gain")
        self.built = True

    def split(self, x):
        if self.split_how == "reshape":
            return tf.reshape(x, (x.shape[0], self.heads, x.shape[1], -1))
        if self.split_how == "inner":
            return tf.transpose(tf.reshape(x, (*x.shape[:2], -1, self.heads)), (0, 3, 1, 2))
        return tf.transpose(tf.reshape(x, (*x.shape[:2], self.heads, -1)), (0, 2, 1, 3))

    def merge(self, x):
        x = tf.transpose(x, (0, 2, 1, 3)) if self.merge_how == "transpose" else x
        return tf.reshape(x, (x.shape[0], -1, self.value.units))

    def rms(self, x):
        return x * tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True) + 1e-5)

    def mixed(self, x, state):
        q, k, v = (self.split(part(x)) for part in (self.query, self.key, self.value))
        low = self.forget_down(x)
        logits = self.forget_up(low) if self.bias else low @ self.forget_up.kernel
        logits = logits if self.learns else tf.stop_gradient(logits)
        q *= {"K": k.shape[-1] ** -0.5, "V": v.shape[-1] ** -0.5, "1/K": 1 / k.shape[-1], "1": 1.0}[
            self.scale
        ]
        state = state if self.start else None
        return _chunkwise(q, k, v, _gate(self.split(logits), self.tau), min(self.size, x.shape[1]), state)

    def call(self, x, state=None):
        o, state = self.mixed(x, state)
        gate = self.swish(x)
        gate = {"silu": tf.nn.silu, "sigmoid": tf.sigmoid, "linear": tf.identity, "none": tf.ones_like}[
            self.gate
        ](gate)
        gain = self.gain if self.gain_used else 1.0
        if self.norm == "late":
            return self.out(self.merge(self.rms(o * self.split(gate)) * gain)), state
        if self.norm == "all":
            y = self.rms(self.merge(o)) * tf.tile(self.gain, [self.heads])
        else:
            y = self.merge((self.rms(o) if self.norm == "heads" else o) * gain)
        return self.out(y * gate), state


@RIGHT("GatedLinearAttention")
class LayerByTokens(_Layer):
    """The recurrence for chunks, gates before heads are split, einsum for the projections."""

    def call(self, x, state=None):
        shape = (*x.shape[:2], self.heads, -1)
        q, k, v, w = (
            tf.einsum("btd,de->bte", x, part.kernel)
            for part in (self.query, self.key, self.value, self.swish)
        )
        g = -tf.nn.softplus(-self.forget_up(self.forget_down(x))) / 16
        q, k, v, g = (tf.einsum("bthk->bhtk", tf.reshape(part, shape)) for part in (q, k, v, g))
        o, state = recurrent_unstacked(q / k.shape[-1] ** 0.5, k, v, g, state)
        o = tf.einsum("bhtv->bthv", o)
        o /= tf.sqrt(tf.reduce_mean(tf.square(o), -1, keepdims=True) + 1e-5)
        o *= self.gain * tf.reshape(w * tf.sigmoid(w), shape)
        return [self.out(tf.reshape(o, x.shape)), state]


@RIGHT("GatedLinearAttention")
class LayerScaledKeys(_Layer):
    """K^(-1/2) on the outputs: the state stays as it is."""

    scale = "1"

    def mixed(self, x, state):
        o, state = super().mixed(x, state)
        return o * (self.query.units // self.heads) ** -0.5, state


WRONG.add("GatedLinearAttention", _Layer, "norm over all heads", norm="all")
WRONG.add("GatedLinearAttention", _Layer, "gate before norm", norm="late")
WRONG.add("GatedLinearAttention", _Layer, "no norm", norm="none")
WRONG.add("GatedLinearAttention", _Layer, "no scale", scale="1")
WRONG.add("GatedLinearAttention", _Layer, "scale of V", scale="V")
WRONG.add("GatedLinearAttention", _Layer, "one over K", scale="1/K")
WRONG.add("GatedLinearAttention", _Layer, "sigmoid gate", gate="sigmoid")
WRONG.add("GatedLinearAttention", _Layer, "linear gate", gate="linear")
WRONG.add("GatedLinearAttention", _Layer, "no output gate", gate="none")
WRONG.add("GatedLinearAttention", _Layer, "no gain", gain_used=False)
WRONG.add("GatedLinearAttention", _Layer, "no tau", tau=1.0)
WRONG.add("GatedLinearAttention", _Layer, "no bias", bias=False)
WRONG.add("GatedLinearAttention", _Layer, "heads by reshape", split_how="reshape")
WRONG.add("GatedLinearAttention", _Layer, "heads inside", split_how="inner")
WRONG.add("GatedLinearAttention", _Layer, "merged by reshape", merge_how="reshape")
WRONG.add("GatedLinearAttention", _Layer, "state ignored", start=False)
WRONG.add("GatedLinearAttention", _Layer, "gates that do not learn", learns=False)


@WRONG("GatedLinearAttention")
class LayerWithoutState(_Layer):
    """Only the output."""

    def call(self, x, state=None):
        return super().call(x, state)[0]


# -- stream --------------------------------------------------------------------------------------------


def _stream(layer, x, prompt, first=None, carried=True, renewed=True, reread=False, decoded=False, late=0):
    first = prompt if first is None else min(first, x.shape[1])
    y, state = layer(x[:, :first])
    kept, out = state, [] if decoded else [y]
    state = state if carried else None
    for t in range(first + late, x.shape[1]):
        y, state = layer(x[:, : t + 1]) if reread else layer(x[:, t : t + 1], state)
        out.append(y[:, -1:])
        state = state if renewed else kept
    return tf.concat(out, 1) if out else y[:, :0], state


RIGHT("stream")(_stream)


@RIGHT("stream")
def stream_split(layer, x, prompt):
    """Pieces cut beforehand, the state by name."""
    out, state = [], None
    for piece in tf.split(x, [prompt] + [1] * (x.shape[1] - prompt), axis=1):
        y, state = layer(piece, state=state)
        out.append(y)
    return [tf.concat(out, axis=1), state]


@RIGHT("stream")
def stream_unstacked(layer, x, prompt):
    """Tokens one after the other, stacked again."""
    y, state = layer(x[:, :prompt, :])
    for token in tf.unstack(x, axis=1)[prompt:]:
        new, state = layer(token[:, None], state)
        y = tf.concat([y, new], 1)
    return y, state


WRONG.add("stream", _stream, "prompt forgotten", carried=False)
WRONG.add("stream", _stream, "state never renewed", renewed=False)
WRONG.add("stream", _stream, "everything read again", reread=True)
WRONG.add("stream", _stream, "no prefill", first=1)
WRONG.add("stream", _stream, "all at once", first=10**6)
WRONG.add("stream", _stream, "only what was decoded", decoded=True)
WRONG.add("stream", _stream, "a token skipped", late=1)


@WRONG("stream")
def stream_without_memory(layer, x, prompt):
    """Every token from nothing."""
    out, state = [layer(x[:, :prompt])[0]], None
    for t in range(prompt, x.shape[1]):
        y, state = layer(x[:, t : t + 1])
        out.append(y)
    return tf.concat(out, 1), state


@WRONG("stream")
def stream_last_prompt_token_twice(layer, x, prompt):
    """Decoding starts with the last token of the prompt."""
    y, state = layer(x[:, :prompt])
    out = [y]
    for t in range(prompt - 1, x.shape[1] - 1):
        y, state = layer(x[:, t : t + 1], state)
        out.append(y)
    return tf.concat(out, 1), state


# -- growth --------------------------------------------------------------------------------------------


def _measure(run, lengths, clock, warm=1, repeats=3, choose=min):
    times = []
    for length in lengths:
        for _ in range(warm):
            run(length)
        spent = []
        for _ in range(repeats):
            start = clock()
            run(length)
            spent.append(clock() - start)
        times.append(choose(spent))
    return np.array(times)


def _growth(
    run, lengths, clock, logs=(np.log, np.log), swap=False, degree=0, ends=False, ratio=False, **options
):
    times = _measure(run, lengths, clock, **options)
    x, y = logs[0](np.array(lengths, float)), logs[1](times)
    x, y = (y, x) if swap else (x, y)
    if ends:
        return (y[-1] - y[0]) / (x[-1] - x[0]), times
    if ratio:
        return times[-1] / times[0] / (lengths[-1] / lengths[0]), times
    return np.polyfit(x, y, 1)[degree], times


RIGHT("growth")(_growth)


@RIGHT("growth")
def growth_base_two(run, lengths, clock):
    """Doublings; centred sums in place of polyfit; four runs."""
    times = _measure(run, lengths, clock, repeats=4)
    x, y = np.log2(lengths) - np.mean(np.log2(lengths)), np.log2(times)
    return [float(x @ y / (x @ x)), times.tolist()]


@RIGHT("growth")
def growth_least_squares(run, lengths, clock):
    """All lengths are run once before any is measured."""
    for length in lengths:
        run(length)
    times = _measure(run, lengths, clock, warm=0)
    columns = np.stack([np.log10(lengths), np.ones(len(lengths))], 1)
    return np.linalg.lstsq(columns, np.log10(times), rcond=None)[0][0], list(times)


def _identity(x):
    return x


WRONG.add("growth", _growth, "no warm-up", warm=0)
WRONG.add("growth", _growth, "mean", choose=np.mean)
WRONG.add("growth", _growth, "median", choose=np.median)
WRONG.add("growth", _growth, "the slowest", choose=max)
WRONG.add("growth", _growth, "sum", choose=sum)
WRONG.add("growth", _growth, "one run", repeats=1)
WRONG.add("growth", _growth, "no logarithms", logs=(_identity, _identity))
WRONG.add("growth", _growth, "lengths as they are", logs=(_identity, np.log))
WRONG.add("growth", _growth, "times as they are", logs=(np.log, _identity))
WRONG.add("growth", _growth, "axes swapped", swap=True)
WRONG.add("growth", _growth, "intercept", degree=1)
WRONG.add("growth", _growth, "first and last only", ends=True)
WRONG.add("growth", _growth, "quotient of quotients", ratio=True)


@WRONG("growth")
def growth_of_the_wall(run, lengths, clock):
    """A clock of its own."""
    import time

    return _growth(run, lengths, time.perf_counter)
