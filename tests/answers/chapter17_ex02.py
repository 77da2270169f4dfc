"""Right and wrong answers to practice 17.2."""

import keras
import numpy as np
import tensorflow as tf

from answers import Answers
from tf_study import optimizers
from tf_study.models.unet import dense
from tf_study.models.video_dit import rotate

RIGHT, WRONG = Answers(), Answers()
NONE = (10, 4)


# -- modulate ------------------------------------------------------------------------------------------


def _modulate(
    x, shift, scale, plus=1.0, eps=1e-6, axis=-1, power=0.5, late=False, swap=False, inside=False, norm=True
):
    def normed(x):
        mean = tf.reduce_mean(x, axis, keepdims=True)
        variance = tf.reduce_mean((x - mean) ** 2, axis, keepdims=True)
        return (x - mean) / (variance + eps) ** power if norm else x

    if swap:
        shift, scale = scale, shift
    shape = [-1, *[1] * (len(x.shape) - 2), x.shape[-1]]
    shift, scale = tf.reshape(shift, shape), tf.reshape(scale, shape) + plus
    if late:
        return normed(x * scale + shift)
    return (normed(x) + shift) * scale if inside else normed(x) * scale + shift


RIGHT("modulate")(_modulate)


@RIGHT("modulate")
def modulate_with_keras(x, shift, scale):
    """Keras' layer norm without weights; axes put in one at a time."""
    while len(shift.shape) < len(x.shape):
        shift, scale = shift[:, None], scale[:, None]
    norm = keras.layers.LayerNormalization(epsilon=1e-6, center=False, scale=False)
    return tf.add(norm(x) * scale, norm(x) + shift)


@RIGHT("modulate")
def modulate_sample_by_sample(x, shift, scale):
    """One sample after the other, the mean of squares instead of the variance."""
    found = []
    for one, move, size in zip(*map(tf.unstack, (x, shift, scale)), strict=True):
        one = one - tf.reduce_mean(one, -1, keepdims=True)
        one /= tf.sqrt(tf.reduce_mean(tf.square(one), -1, keepdims=True) + 1e-6)
        found.append(one + one * size + move)
    return tf.stack(found)


@RIGHT("modulate")
def modulate_with_batch_norm(x, shift, scale):
    """TensorFlow's own normalization."""
    for _ in x.shape[2:]:
        shift, scale = map(lambda part: tf.expand_dims(part, 1), (shift, scale))
    return tf.nn.batch_normalization(x, *tf.nn.moments(x, [-1], keepdims=True), shift, 1 + scale, 1e-6)


WRONG.add("modulate", _modulate, "gamma for one plus gamma", plus=0.0)
WRONG.add("modulate", _modulate, "shift and scale swapped", swap=True)
WRONG.add("modulate", _modulate, "shift before scale", inside=True)
WRONG.add("modulate", _modulate, "norm after modulation", late=True)
WRONG.add("modulate", _modulate, "norm along the tokens", axis=-2)
WRONG.add("modulate", _modulate, "one mean for the batch", axis=None)
WRONG.add("modulate", _modulate, "the epsilon of Keras", eps=1e-3)
WRONG.add("modulate", _modulate, "the epsilon of PyTorch", eps=1e-5)
WRONG.add("modulate", _modulate, "variance instead of deviation", power=1.0)
WRONG.add("modulate", _modulate, "no norm", norm=False)


@WRONG("modulate")
def modulate_as_in_the_lecture(x, shift, scale):
    """What is given has no axis for the tokens: numbers (B, d) meet the last two axes."""
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + 1e-6) * (1 + scale) + shift


@WRONG("modulate")
def modulate_three_axes(x, shift, scale):
    """Only right for (B, N, d)."""
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + 1e-6) * (1 + scale[:, None]) + shift[:, None]


@WRONG("modulate")
def modulate_with_numpy(x, shift, scale):
    """NumPy: right numbers, no gradient."""
    return tf.constant(_modulate(x, shift, scale).numpy())


@WRONG("modulate")
def modulate_frozen_moments(x, shift, scale):
    """Mean and variance count as constants."""
    shape = [-1, *[1] * (len(x.shape) - 2), x.shape[-1]]
    mean, variance = map(tf.stop_gradient, tf.nn.moments(x, -1, keepdims=True))
    return (x - mean) * tf.math.rsqrt(variance + 1e-6) * (1 + tf.reshape(scale, shape)) + tf.reshape(
        shift, shape
    )


# -- AdaLNZeroBlock ------------------------------------------------------------------------------------


class Branches(keras.layers.Layer):
    """What the notebook gives: attention and feed-forward network."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = dense(width, 3 * width), dense(width, width)
        self.up, self.down = dense(width, 4 * width), dense(4 * width, width)
        self.built = True

    def attend(self, x, angles):
        shape = tf.shape(x)
        split = tf.reshape(self.qkv(x), (shape[0], shape[1], 3, self.heads, x.shape[-1] // self.heads))
        q, k, v = tf.unstack(split, axis=2)
        scores = tf.einsum("bqhd,bkhd->bhqk", rotate(q, angles), rotate(k, angles)) / q.shape[-1] ** 0.5
        return self.out(tf.reshape(tf.einsum("bhqk,bkhd->bqhd", tf.nn.softmax(scores), v), shape))

    def feed(self, x):
        return self.down(tf.nn.gelu(self.up(x), approximate=True))


@RIGHT("AdaLNZeroBlock")
class _Block(Branches):
    order, silu, plus, gate, residual, first, same, start = (
        (0, 1, 2, 3, 4, 5),
        True,
        1.0,
        "out",
        True,
        "attend",
        False,
        "zeros",
    )

    def __init__(self, width, heads):
        super().__init__(width, heads)
        self.condition = dense(width, 6 * width, kernel_initializer=self.start)

    def call(self, x, condition, angles):
        parts = tf.split(self.condition(tf.nn.silu(condition) if self.silu else condition)[:, None], 6, -1)
        parts = [parts[k] for k in self.order]
        branches = [lambda u: self.attend(u, angles), self.feed]
        pairs = list(zip(branches, (parts[:3], parts[3:]), strict=True))
        start = x
        for branch, (shift, scale, gate) in pairs if self.first == "attend" else pairs[::-1]:
            seen = self.normed(start if self.same else x, shift, scale)
            moved = branch(gate * seen if self.gate == "in" else seen)
            moved *= {"out": gate, "plus": 1 + gate}.get(self.gate, 1.0)
            x = x + moved if self.residual else moved
        return x

    def normed(self, x, shift, scale):
        mean, variance = tf.nn.moments(x, -1, keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + 1e-6) * (self.plus + scale) + shift


@RIGHT("AdaLNZeroBlock")
class BlockByHand(Branches):
    """A layer that is built when it is called, parts along an axis of six."""

    def __init__(self, width, heads):
        super().__init__(width, heads)
        self.condition = keras.layers.Dense(
            6 * width, "linear", kernel_initializer=keras.initializers.Zeros()
        )

    def call(self, x, condition, angles):
        six = tf.reshape(self.condition(condition * tf.sigmoid(condition)), (-1, 1, 6, x.shape[-1]))
        for start, branch in ((0, lambda u: self.attend(u, angles)), (3, self.feed)):
            seen = modulate_with_keras(x, six[:, 0, start], six[:, 0, start + 1])
            x = x + six[:, :, start + 2] * branch(seen)
        return x


WRONG.add("AdaLNZeroBlock", _Block, "gamma for one plus gamma", plus=0.0)
WRONG.add("AdaLNZeroBlock", _Block, "silu forgotten", silu=False)
WRONG.add("AdaLNZeroBlock", _Block, "scale, shift, gate", order=(1, 0, 2, 4, 3, 5))
WRONG.add("AdaLNZeroBlock", _Block, "gate, shift, scale", order=(1, 2, 0, 4, 5, 3))
WRONG.add("AdaLNZeroBlock", _Block, "shift, gate, scale", order=(0, 2, 1, 3, 5, 4))
WRONG.add("AdaLNZeroBlock", _Block, "shifts, scales, gates", order=(0, 2, 4, 1, 3, 5))
WRONG.add("AdaLNZeroBlock", _Block, "the network's part first", order=(3, 4, 5, 0, 1, 2))
WRONG.add("AdaLNZeroBlock", _Block, "the same three for both", order=(0, 1, 2, 0, 1, 2))
WRONG.add("AdaLNZeroBlock", _Block, "gate on the input of the branch", gate="in")
WRONG.add("AdaLNZeroBlock", _Block, "no gate", gate="none")
WRONG.add("AdaLNZeroBlock", _Block, "gate plus one", gate="plus")
WRONG.add("AdaLNZeroBlock", _Block, "no residual", residual=False)
WRONG.add("AdaLNZeroBlock", _Block, "network before attention", first="feed")
WRONG.add("AdaLNZeroBlock", _Block, "both from the same x", same=True)
WRONG.add("AdaLNZeroBlock", _Block, "random start", start="glorot_uniform")


@WRONG("AdaLNZeroBlock")
class BlockWithGain(_Block):
    """A layer norm with a gain and a bias of its own, besides those of the condition."""

    def __init__(self, width, heads):
        super().__init__(width, heads)
        self.norms = [keras.layers.LayerNormalization(epsilon=1e-6) for _ in range(2)]
        for norm in self.norms:
            norm.build((None, None, width))

    def call(self, x, condition, angles):
        parts = tf.split(self.condition(tf.nn.silu(condition))[:, None], 6, -1)
        x += parts[2] * self.attend(self.norms[0](x) * (1 + parts[1]) + parts[0], angles)
        return x + parts[5] * self.feed(self.norms[1](x) * (1 + parts[4]) + parts[3])


@WRONG("AdaLNZeroBlock")
class BlockOfTheSyllabus(_Block):
    """alpha * LN(x) * (1 + gamma) + beta: what comes in is lost where alpha is zero."""

    def call(self, x, condition, angles):
        parts = tf.split(self.condition(tf.nn.silu(condition))[:, None], 6, -1)
        x = parts[2] * self.normed(x, 0.0, parts[1]) + parts[0]
        x += self.attend(x, angles)
        x = parts[5] * self.normed(x, 0.0, parts[4]) + parts[3]
        return x + self.feed(x)


@WRONG("AdaLNZeroBlock")
class BlockZeroAtTheEnd(_Block):
    """The last layers start at zero, and the gates at what the condition gives."""

    def __init__(self, width, heads):
        super().__init__(width, heads)
        for layer in (self.out, self.down):
            layer.kernel.assign(0 * layer.kernel)


@WRONG("AdaLNZeroBlock")
class BlockWithoutPlaces(_Block):
    """Attention that does not turn."""

    def attend(self, x, angles):
        return super().attend(x, 0 * angles)


@WRONG("AdaLNZeroBlock")
class BlockRemembers(_Block):
    """The condition of the first call is kept, so that every later step hears of the first time."""

    kept = None

    def call(self, x, condition, angles):
        if self.kept is None:
            self.kept = condition
        return super().call(x, self.kept, angles)


@WRONG("AdaLNZeroBlock")
class BlockOfFewTokens(_Block):
    """Right until a clip has more tokens than the examples: later ones are left as they are."""

    def call(self, x, condition, angles):
        return tf.concat([super().call(x[:, :16], condition, angles[:16]), x[:, 16:]], 1)


# -- FinalLayer ----------------------------------------------------------------------------------------


@RIGHT("FinalLayer")
class _Final(keras.layers.Layer):
    swap, plus, silu, residual, begin, norm = False, 1.0, True, False, "zeros", True

    def __init__(self, width, outputs):
        super().__init__()
        self.condition = dense(width, 2 * width, kernel_initializer="zeros")
        self.leave = dense(width, outputs, kernel_initializer=self.begin)
        self.built = True

    def call(self, x, condition):
        shift, scale = tf.split(self.condition(tf.nn.silu(condition) if self.silu else condition), 2, -1)
        if self.swap:
            shift, scale = scale, shift
        mean, variance = tf.nn.moments(x, -1, keepdims=True) if self.norm else (0.0, 1.0)
        seen = (x - mean) / tf.sqrt(variance + 1e-6) * (self.plus + scale[:, None]) + shift[:, None]
        return self.leave(x + seen if self.residual else seen)


@RIGHT("FinalLayer")
class FinalLayerOfKeras(keras.layers.Layer):
    """Keras' own parts."""

    def __init__(self, width, outputs):
        super().__init__()
        zero = {"kernel_initializer": "zeros", "bias_initializer": "zeros"}
        self.condition = keras.layers.Dense(2 * width, **zero)
        self.leave = keras.layers.Dense(outputs, **zero)

    def call(self, x, condition):
        two = self.condition(keras.activations.silu(condition))
        width = x.shape[-1]
        return self.leave(modulate_with_keras(x, two[:, :width], two[:, width:]))


WRONG.add("FinalLayer", _Final, "scale before shift", swap=True)
WRONG.add("FinalLayer", _Final, "gamma for one plus gamma", plus=0.0)
WRONG.add("FinalLayer", _Final, "silu forgotten", silu=False)
WRONG.add("FinalLayer", _Final, "x is added", residual=True)
WRONG.add("FinalLayer", _Final, "random start", begin="glorot_uniform")
WRONG.add("FinalLayer", _Final, "no norm", norm=False)


@WRONG("FinalLayer")
class FinalLayerWithGate(_Final):
    """Three parts, as in a block."""

    def __init__(self, width, outputs):
        super().__init__(width, outputs)
        self.condition = dense(width, 3 * width, kernel_initializer="zeros")

    def call(self, x, condition):
        shift, scale, gate = tf.split(self.condition(tf.nn.silu(condition)), 3, -1)
        return self.leave(gate[:, None] * modulate_with_keras(x, shift, scale))


# -- flow_batch ----------------------------------------------------------------------------------------


def _batch(clean, seed, spread=None, target="velocity", swap=False, one_time=False, alone=False, root=False,
           same=False, plain=False, variance=False, seen=False, missing=False, fixed=False):  # fmt: skip
    first, second = tf.unstack(tf.random.split((1, 2) if fixed else seed, 2))
    count = tf.shape(clean)[:1]
    one = tf.ones_like(count) if one_time else count
    if spread is None or plain:
        t = tf.random.stateless_uniform(one, first)
    else:
        t = tf.sigmoid(
            (spread**0.5 if variance else 1.0 if seen else spread) * tf.random.stateless_normal(one, first)
        )
    t = t * tf.ones(count)
    shape = tf.concat([[1], tf.shape(clean)[1:]], 0) if alone else tf.shape(clean)
    noise = tf.random.stateless_normal(shape, first if same else second) * tf.ones_like(clean)
    share = tf.reshape(t, [-1] + [1] * (len(clean.shape) - 1))
    share, rest = (1 - share, share) if swap else (share, 1 - share)
    if root:
        share, rest = tf.sqrt(share), tf.sqrt(rest)
    aims = {"velocity": clean - noise, "back": noise - clean, "noise": noise, "clean": clean}
    return share * clean + (1.0 if missing else rest) * noise, t, aims[target]


RIGHT("flow_batch")(_batch)


@RIGHT("flow_batch")
def flow_batch_by_velocity(clean, seed, spread):
    """Go from the noise along the velocity; seeds folded in, one more number for the noise."""
    keys = [tf.random.fold_in(tf.cast(seed, tf.int32), k) for k in (0, 1)]
    noise = tf.random.stateless_normal(tf.shape(clean), keys[1])
    velocity = clean - noise
    if spread is None:
        t = tf.random.stateless_uniform((len(clean),), keys[0])
    else:
        t = 1 / (1 + tf.exp(-tf.random.stateless_normal((len(clean),), keys[0], stddev=spread)))
    mixed = tf.transpose(tf.transpose(noise) + t * tf.transpose(velocity))
    return mixed, t, velocity


WRONG.add("flow_batch", _batch, "the velocity towards the noise", target="back")
WRONG.add("flow_batch", _batch, "the noise as target", target="noise")
WRONG.add("flow_batch", _batch, "the clip as target", target="clean")
WRONG.add("flow_batch", _batch, "t = 1 is noise", swap=True)
WRONG.add("flow_batch", _batch, "one time for the batch", one_time=True)
WRONG.add("flow_batch", _batch, "one noise for the batch", alone=True)
WRONG.add("flow_batch", _batch, "square roots", root=True)
WRONG.add("flow_batch", _batch, "the noise as it is", missing=True)
WRONG.add("flow_batch", _batch, "one seed for both", same=True)
WRONG.add("flow_batch", _batch, "always uniform", plain=True)
WRONG.add("flow_batch", _batch, "spread as variance", variance=True)
WRONG.add("flow_batch", _batch, "spread unused", seen=True)
WRONG.add("flow_batch", _batch, "seed unused", fixed=True)


@WRONG("flow_batch")
def flow_batch_last_axis(clean, seed, spread):
    """Times along the last axis, where the sides are equal; right elsewhere."""
    mixed, t, target = _batch(clean, seed, spread)
    if clean.shape[0] == clean.shape[-1]:
        mixed = (clean - target) * (1 - t) + t * clean
    return mixed, t, target


@WRONG("flow_batch")
def flow_batch_thousand(clean, seed, spread):
    """Times on the scale of the model."""
    mixed, t, target = _batch(clean, seed, spread)
    return mixed, 1000 * t, target


@WRONG("flow_batch")
def flow_batch_with_numpy(clean, seed, spread):
    """NumPy's generator: no tf.function can run it."""
    rng = np.random.default_rng(np.array(seed))
    t = (
        rng.uniform(size=len(clean))
        if spread is None
        else 1 / (1 + np.exp(-spread * rng.normal(size=len(clean))))
    )
    clean = clean.numpy()
    noise, t = rng.normal(size=clean.shape).astype("f"), t.astype("f")
    share = t.reshape(-1, *[1] * (clean.ndim - 1))
    return (1 - share) * noise + share * clean, t, clean - noise


# -- flow_loss -----------------------------------------------------------------------------------------


def _loss(model, clean, labels, rate, seed, scale=1000.0, whole=False, none=NONE, half=False, batch=_batch,
          measure="mean", coupled=False, keep=False, exact=False, calls=1, frozen=False):  # fmt: skip
    first, second = tf.unstack(tf.random.split(seed, 2))
    mixed, t, target = batch(clean, first, None)
    chance = tf.random.stateless_uniform((1, 1) if whole else (len(labels), 1), second)
    if coupled:
        chance = t[:, None]
    if exact:
        chance = tf.cast(tf.range(len(labels)), tf.float32)[:, None] / len(labels)
    gone = chance > rate if keep else chance < rate
    if half:
        gone = tf.concat([gone, tf.random.stateless_uniform((len(labels), 1), second + 1) < rate], 1)
    told = tf.where(gone, tf.constant([none]), labels)
    for _ in range(calls):
        got = model(mixed, time=scale * t, labels=told)
    if frozen:
        got = tf.stop_gradient(got)
    square = (got - target) ** 2
    return {
        "mean": lambda: tf.reduce_mean(square),
        "sum": lambda: tf.reduce_sum(square),
        "root": lambda: tf.sqrt(tf.reduce_mean(square)),
        "each": lambda: tf.reduce_mean(square, tf.range(1, len(clean.shape))),
        "samples": lambda: tf.reduce_mean(tf.reduce_sum(square, tf.range(1, len(clean.shape)))),
        "absolute": lambda: tf.reduce_mean(abs(got - target)),
        "half": lambda: tf.reduce_mean(square) / 2,
    }[measure]()


RIGHT("flow_loss")(_loss)


@RIGHT("flow_loss")
def flow_loss_of_keras(model, clean, labels, rate, seed):
    """Keras' loss; labels put together from two parts."""
    mixed, t, target = flow_batch_by_velocity(clean, tf.random.fold_in(seed, 7), None)
    gone = tf.cast(tf.random.stateless_uniform(tf.shape(t), tf.random.fold_in(seed, 8)) < rate, tf.int32)[
        :, None
    ]
    told = (1 - gone) * labels + gone * tf.constant([NONE])
    return tf.reduce_mean(keras.losses.mean_squared_error(target, model(mixed, t * 1000, told)))


WRONG.add("flow_loss", _loss, "t between 0 and 1", scale=1.0)
WRONG.add("flow_loss", _loss, "the whole batch or nothing", whole=True)
WRONG.add("flow_loss", _loss, "digit 0 and direction 0 for none", none=(0, 0))
WRONG.add("flow_loss", _loss, "one of two labels", half=True)
WRONG.add("flow_loss", _loss, "early times lose their labels", coupled=True)
WRONG.add("flow_loss", _loss, "the first rows lose their labels", exact=True)
WRONG.add("flow_loss", _loss, "rate for the share kept", keep=True)
WRONG.add("flow_loss", _loss, "a sum", measure="sum")
WRONG.add("flow_loss", _loss, "a sum over each sample", measure="samples")
WRONG.add("flow_loss", _loss, "a root", measure="root")
WRONG.add("flow_loss", _loss, "one number a sample", measure="each")
WRONG.add("flow_loss", _loss, "absolute errors", measure="absolute")
WRONG.add("flow_loss", _loss, "a half", measure="half")
WRONG.add("flow_loss", _loss, "the velocity towards the noise", batch=lambda *a: _batch(*a, target="back"))
WRONG.add("flow_loss", _loss, "t = 1 is noise", batch=lambda *a: _batch(*a, swap=True))
WRONG.add("flow_loss", _loss, "two calls", calls=2)
WRONG.add("flow_loss", _loss, "no gradient", frozen=True)


# -- guided_velocity -----------------------------------------------------------------------------------


def _guided(model, x, t, labels, w, combine="scale", scale=1000.0, none=NONE, repeat=False, twice=False):
    without = tf.tile(tf.constant([none]), (len(labels), 1))
    time = tf.fill([2 * len(labels)], tf.cast(scale * t, tf.float32))
    if twice:
        c, u = (model(x, time=time[: len(x)], labels=some) for some in (labels, without))
    else:
        doubled = tf.repeat(x, 2, 0) if repeat else tf.concat([x, x], 0)
        c, u = tf.split(model(doubled, time=time, labels=tf.concat([labels, without], 0)), 2)
    return {
        "scale": u + w * (c - u),
        "more": c + w * (c - u),
        "away": u + w * (u - c),
        "swapped": c + w * (u - c),
        "difference": w * (c - u),
        "with": c,
    }[combine]


RIGHT("guided_velocity")(_guided)


@RIGHT("guided_velocity")
def guided_interleaved(model, x, t, labels, w):
    """Neighbouring rows, the one without labels first."""
    pairs = tf.reshape(tf.stack([tf.zeros_like(labels) + tf.constant(NONE), labels], 1), (-1, 2))
    both = model(tf.repeat(x, 2, 0), tf.ones(len(pairs)) * float(t) * 1000, pairs)
    u, c = both[::2], both[1::2]
    return (1 - w) * u + w * c


WRONG.add("guided_velocity", _guided, "c + w (c - u)", combine="more")
WRONG.add("guided_velocity", _guided, "u + w (u - c)", combine="away")
WRONG.add("guided_velocity", _guided, "c and u swapped", combine="swapped")
WRONG.add("guided_velocity", _guided, "the difference alone", combine="difference")
WRONG.add("guided_velocity", _guided, "no guidance", combine="with")
WRONG.add("guided_velocity", _guided, "t between 0 and 1", scale=1.0)
WRONG.add("guided_velocity", _guided, "digit 0 and direction 0 for none", none=(0, 0))
WRONG.add("guided_velocity", _guided, "states repeated and labels joined", repeat=True)
WRONG.add("guided_velocity", _guided, "two calls", twice=True)


# -- sample --------------------------------------------------------------------------------------------


def _sample(model, x, labels, times, w, sign=1.0, even=False, late=False, back=False, whole=False, restart=False,
            skip=0, guided=_guided, moved=True):  # fmt: skip
    start = x
    for t, after in list(zip(times[:-1], times[1:], strict=True))[skip:]:
        step = 1 / (len(times) - 1) if even else after - t if moved else 1.0
        if whole and after == times[-1]:
            step = 1 - t
        asked = after if late else 1 - t if back else t
        x = (start if restart else x) + sign * step * guided(model, x, asked, labels, w)
    return x


RIGHT("sample")(_sample)


@RIGHT("sample")
def sample_by_prediction(model, x, labels, times, w):
    """Guess clip and noise, mix them for the next time."""
    for k in range(len(times) - 1):
        t, after = float(times[k]), float(times[k + 1])
        v = guided_interleaved(model, x, t, labels, w)
        clean, noise = x + (1 - t) * v, x - t * v
        x = (1 - after) * noise + after * clean
    return x


WRONG.add("sample", _sample, "back to the noise", sign=-1.0)
WRONG.add("sample", _sample, "equal steps", even=True)
WRONG.add("sample", _sample, "the time at the end of a step", late=True)
WRONG.add("sample", _sample, "time from 1 to 0", back=True)
WRONG.add("sample", _sample, "always to the end", whole=True)
WRONG.add("sample", _sample, "from the noise every time", restart=True)
WRONG.add("sample", _sample, "the first step left out", skip=1)
WRONG.add("sample", _sample, "steps of one", moved=False)
WRONG.add("sample", _sample, "the other convention", guided=lambda *a: _guided(*a, combine="more"))
WRONG.add("sample", _sample, "no guidance", guided=lambda *a: _guided(*a, combine="with"))


@WRONG("sample")
def sample_backwards(model, x, labels, times, w):
    """From 1 to 0, as where 1 is noise."""
    return _sample(model, x, labels, times[::-1], w)


# -- train ---------------------------------------------------------------------------------------------


def _train(model, latents, labels, steps, batch, seed, loss=_loss, rate=0.1, frozen=(), shuffle=False, peak=8e-3,
           up=False, apply=True, count=None, last=False):  # fmt: skip
    latents, labels = tf.constant(latents), tf.constant(labels)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=peak, warmup_steps=steps // 10
    )
    optimizer = optimizers.Adam(schedule, beta_2=0.99)
    weights = model.trainable_variables[-last:]
    optimizer.build(weights)

    @tf.function
    def step(k):
        rows = tf.random.stateless_uniform(
            (batch,), (seed, 0 * k if "rows" in frozen else k), maxval=len(labels), dtype=tf.int32
        )
        told = tf.gather(labels, tf.reverse(rows, [0]) if shuffle else rows)
        with tf.GradientTape() as tape:
            found = loss(
                model, tf.gather(latents, rows), told, rate, (seed + 1, 0 * k if "loss" in frozen else k)
            )
        gradients = tape.gradient(found, weights)
        if apply:
            optimizer.apply([-tf.convert_to_tensor(part) for part in gradients] if up else gradients)
        return found

    for k in range(steps if count is None else count):
        yield float(step(tf.constant(k)))


RIGHT("train")(_train)


@RIGHT("train")
def train_on_pipeline(model, latents, labels, steps, batch, seed):
    """A pipeline of tf.data, AdamW with a constant rate, numbers of NumPy."""
    data = (
        tf.data.Dataset.from_tensor_slices((latents, labels))
        .shuffle(len(labels), seed=seed)
        .repeat()
        .batch(batch)
    )
    optimizer = optimizers.AdamW(3e-3, weight_decay=1e-4)
    optimizer.build(model.trainable_variables)  # Else the step would be traced twice.

    @tf.function
    def step(clean, told, key):
        with tf.GradientTape() as tape:
            loss = flow_loss_of_keras(model, clean, told, 0.1, key)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    for k, rows in enumerate(data.take(steps)):
        yield step(*rows, tf.constant([seed, k])).numpy()


WRONG.add("train", _train, "the last bias alone", last=True)
WRONG.add("train", _train, "no label dropped", rate=0.0)
WRONG.add("train", _train, "every second label dropped", rate=0.5)
WRONG.add("train", _train, "the same batch at every step", frozen=("rows",))
WRONG.add("train", _train, "the same noise at every step", frozen=("loss",))
WRONG.add("train", _train, "labels of other clips", shuffle=True)
WRONG.add("train", _train, "t between 0 and 1", loss=lambda *a: _loss(*a, scale=1.0))
WRONG.add("train", _train, "a loss that is a sum", loss=lambda *a: _loss(*a, measure="sum"))
WRONG.add(
    "train",
    _train,
    "the velocity towards the noise",
    loss=lambda *a: _loss(*a, batch=lambda *b: _batch(*b, target="back")),
)
WRONG.add(
    "train",
    _train,
    "one time for the batch",
    loss=lambda *a: _loss(*a, batch=lambda *b: _batch(*b, one_time=True)),
)
WRONG.add("train", _train, "nothing applied", apply=False)
WRONG.add("train", _train, "uphill", up=True)
WRONG.add("train", _train, "half of the steps", count=40)


@WRONG("train")
def train_as_list(model, latents, labels, steps, batch, seed):
    """All losses at the end: nobody sees how far it is."""
    return list(_train(model, latents, labels, steps, batch, seed))


@WRONG("train")
def train_then_tell(model, latents, labels, steps, batch, seed):
    """A generator that first does everything."""
    yield from list(_train(model, latents, labels, steps, batch, seed))
