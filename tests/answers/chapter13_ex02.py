"""Right and wrong answers to practice 13.2."""

import keras
import numpy as np
import tensorflow as tf

from answers import Answers
from tf_study import optimizers

RIGHT, WRONG = Answers(), Answers()
NONE = 10


# -- drop_labels ---------------------------------------------------------------------------------------


def _drop(labels, rate, seed, none=NONE, shape=None, less=True, fixed=False):
    drawn = tf.random.stateless_uniform(
        tf.shape(labels) if shape is None else shape, (1, 2) if fixed else seed
    )
    return tf.where(drawn < rate if less else drawn > rate, none, labels)


RIGHT("drop_labels")(_drop)


@RIGHT("drop_labels")
def drop_by_mask(labels, rate, seed):
    """Arithmetic on a mask."""
    keep = tf.cast(tf.random.stateless_uniform(tf.shape(labels), seed) >= rate, labels.dtype)
    return keep * labels + (1 - keep) * NONE


@RIGHT("drop_labels")
def drop_binomial(labels, rate, seed):
    """Bernoulli draws of TensorFlow's own."""
    gone = tf.random.stateless_binomial(tf.shape(labels), seed, counts=1.0, probs=rate, output_dtype=tf.int32)
    return labels + gone * (NONE - labels)


WRONG.add("drop_labels", _drop, "the whole batch or nothing", shape=())
WRONG.add("drop_labels", _drop, "digit 0 for none", none=0)
WRONG.add("drop_labels", _drop, "digit 9 for none", none=9)
WRONG.add("drop_labels", _drop, "-1 for none", none=-1)
WRONG.add("drop_labels", _drop, "kept with probability rate", less=False)
WRONG.add("drop_labels", _drop, "the seed ignored", fixed=True)


@WRONG("drop_labels")
def drop_first(labels, rate, seed):
    """Always the first ones."""
    return tf.where(
        tf.cast(tf.range(tf.size(labels)), tf.float32) < rate * tf.size(labels, tf.float32), NONE, labels
    )


@WRONG("drop_labels")
def drop_exact_number(labels, rate, seed):
    """A fixed number of places, shuffled."""
    drawn = tf.random.stateless_uniform(tf.shape(labels), seed)
    rank = tf.argsort(tf.argsort(drawn))
    return tf.where(tf.cast(rank, tf.float32) < rate * tf.size(labels, tf.float32), NONE, labels)


@WRONG("drop_labels")
def drop_by_class(labels, rate, seed):
    """One decision for every class."""
    classes = tf.random.stateless_uniform((NONE,), seed)
    return tf.where(tf.gather(classes, labels) < rate, NONE, labels)


@WRONG("drop_labels")
def drop_zeroed(labels, rate, seed):
    """Multiply by the mask."""
    return labels * tf.cast(tf.random.stateless_uniform(tf.shape(labels), seed) >= rate, labels.dtype)


@WRONG("drop_labels")
def drop_to_random(labels, rate, seed):
    """Another digit instead of none."""
    other = tf.random.stateless_uniform(tf.shape(labels), seed, maxval=10, dtype=tf.int32)
    return tf.where(tf.random.stateless_uniform(tf.shape(labels), seed) < rate, other, labels)


@WRONG("drop_labels")
def drop_in_numpy(labels, rate, seed):
    """NumPy, which a tf.function cannot trace."""
    drawn = np.random.default_rng(np.asarray(seed)).random(len(labels))
    return np.where(drawn < rate, NONE, np.asarray(labels)).astype(np.int32)


# -- pair ----------------------------------------------------------------------------------------------


def _pair(
    x0, t, noise, swap=False, sign=1, last=False, root=False, first=False, decay=True, target="v", order=1, one=False
):  # fmt: skip
    t = t[:1] if first else t
    part = t if last else tf.reshape(t, (-1, *[1] * (len(x0.shape) - 1)))
    noise_used = noise[:1] + 0 * noise if one else noise
    a, b = (1 - part, part) if not swap else (part, 1 - part)
    if root:
        a, b = tf.sqrt(a), tf.sqrt(b)
    xt = (a if decay else 1) * x0 + b * noise_used
    v = {"v": sign * (noise - x0), "noise": noise, "xt": xt - x0, "x0": x0}[target]
    return (xt, v)[::order]


RIGHT("pair")(_pair)


@RIGHT("pair")
def pair_by_velocity(x0, t, noise):
    """Go from the picture along the velocity; a list."""
    v = noise - x0
    return [x0 + tf.einsum("b...,b->b...", v, t), v]


@RIGHT("pair")
def pair_in_numpy(x0, t, noise):
    """Sample by sample."""
    mixed = [(1 - s) * a + s * e for a, s, e in zip(x0.numpy(), t.numpy(), noise.numpy(), strict=True)]
    return np.stack(mixed), noise.numpy() - x0.numpy()


WRONG.add("pair", _pair, "t = 1 is the picture", swap=True)
WRONG.add("pair", _pair, "the velocity towards the picture", sign=-1)
WRONG.add("pair", _pair, "t along the last axis", last=True)
WRONG.add("pair", _pair, "square roots", root=True)
WRONG.add("pair", _pair, "the first time for all", first=True)
WRONG.add("pair", _pair, "noise added to the picture", decay=False)
WRONG.add("pair", _pair, "the noise as target", target="noise")
WRONG.add("pair", _pair, "the picture as target", target="x0")
WRONG.add("pair", _pair, "the added part as target", target="xt")
WRONG.add("pair", _pair, "the other order", order=-1)
WRONG.add("pair", _pair, "the same noise for all", one=True)


# -- combine -------------------------------------------------------------------------------------------


def _combine(cond, uncond, w, convention, sign=1, start="u", shape=True, ignore=False, reverse=False, plus=1):
    w = tf.cast(w, tf.float32)
    if shape:
        w = tf.reshape(w, (-1, *[1] * (len(cond.shape) - 1)))
    paper = (convention == "paper") != reverse
    full = w if ignore or not paper else w + plus
    base = {"u": uncond, "c": cond, "nothing": 0 * cond}[start]
    return base + full * sign * (cond - uncond)


RIGHT("combine")(_combine)


@RIGHT("combine")
def combine_as_written(cond, uncond, w, convention):
    """Each convention as its paper writes it."""
    w = np.reshape(w, (-1,) + (1,) * (cond.ndim - 1)).astype("float32")
    if convention == "paper":
        return (1 + w) * cond - w * uncond
    return w * cond + (1 - w) * uncond


@RIGHT("combine")
def combine_from_condition(cond, uncond, w, convention):
    """Start from the conditional prediction, in NumPy."""
    extra = np.asarray(w) - (convention == "scale")
    difference = cond.numpy() - uncond.numpy()
    return cond.numpy() + (extra.T * difference.T).T


WRONG.add("combine", _combine, "u + w (u - c)", sign=-1)
WRONG.add("combine", _combine, "c + w (c - u), which is 1 + w", start="c")
WRONG.add("combine", _combine, "the difference alone", start="nothing")
WRONG.add("combine", _combine, "w along the last axis", shape=False)
WRONG.add("combine", _combine, "one convention for both", ignore=True)
WRONG.add("combine", _combine, "the conventions swapped", reverse=True)
WRONG.add("combine", _combine, "paper as w - 1", plus=-1)


@WRONG("combine")
def combine_swapped(cond, uncond, w, convention):
    """The two predictions swapped."""
    return _combine(uncond, cond, w, convention)


@WRONG("combine")
def combine_clipped(cond, uncond, w, convention):
    """Never below no guidance."""
    return _combine(cond, uncond, tf.maximum(tf.cast(w, tf.float32), 1.0), convention)


# -- guided_velocity -----------------------------------------------------------------------------------


def _guided(
    model, x, t, labels, w, none=NONE, scale=1000.0, swap=False, twist=False, join=True, start="u", half=False, time=2,
    double=False,
):  # fmt: skip
    count = len(labels)
    times = tf.fill([time * count], tf.constant(scale * t, tf.float32))
    empty = tf.fill([count], none)
    if not join:
        c, u = (model(x, time=times[:count], label=label) for label in (labels, empty))
    elif half:
        c = model(x, time=times[:count], label=labels)
        u = tf.zeros_like(c)
    else:
        pictures = tf.repeat(x, 2, 0) if twist else tf.concat([x, x], 0)
        both = model(pictures, time=times, label=tf.concat([labels, empty], 0))
        c, u = tf.split(both, 2)
        c, u = (u, c) if swap else (c, u)
        if double:
            return tf.concat([c, u], 0)
    return _combine(c, u, w, "scale", start=start)


RIGHT("guided_velocity")(_guided)


@RIGHT("guided_velocity")
def guided_interleaved(model, x, t, labels, w):
    """Each picture beside its copy, none first."""
    pairs = tf.reshape(tf.stack([tf.fill(tf.shape(labels), NONE), labels], 1), [-1])
    both = model(tf.repeat(x, 2, 0), tf.ones(2 * len(x)) * (1000 * t), pairs)
    return combine_as_written(both[1::2], both[::2], w, "scale")


@RIGHT("guided_velocity")
def guided_in_numpy(model, x, t, labels, w):
    """Arrays, none first."""
    x, labels = np.asarray(x), np.asarray(labels)
    empty = np.full_like(labels, NONE)
    both = model(
        x=np.concatenate([x, x]), time=np.full(2 * len(x), 1000 * t), label=np.append(empty, labels)
    ).numpy()
    u, c = both[: len(x)], both[len(x) :]
    return u + np.reshape(w, (-1, 1, 1, 1)) * (c - u)


WRONG.add("guided_velocity", _guided, "two calls", join=False)
WRONG.add("guided_velocity", _guided, "digit 0 for none", none=0)
WRONG.add("guided_velocity", _guided, "t between 0 and 1", scale=1.0)
WRONG.add("guided_velocity", _guided, "the halves swapped", swap=True)
WRONG.add("guided_velocity", _guided, "pictures repeated, labels joined", twist=True)
WRONG.add("guided_velocity", _guided, "c + w (c - u)", start="c")
WRONG.add("guided_velocity", _guided, "only with the label", half=True)
WRONG.add("guided_velocity", _guided, "times not doubled", time=1)
WRONG.add("guided_velocity", _guided, "both halves returned", double=True)


@WRONG("guided_velocity")
def guided_both_labelled(model, x, t, labels, w):
    """The label in both halves."""
    times = tf.fill([2 * len(labels)], 1000.0 * t)
    c, u = tf.split(model(tf.concat([x, x], 0), times, tf.concat([labels, labels], 0)), 2)
    return _combine(c, u, w, "scale")


# -- plan ----------------------------------------------------------------------------------------------


def _plan(
    steps, w, low, high, outside=1.0, flip=False, late=False, open_ends=False, up=False, mirror=False, lower=True,
    upper=True, short=0,
):  # fmt: skip
    times = np.linspace(1, 0, steps + 1)
    at = times[1:] if late else times[:-1]
    at = 1 - at if mirror else at
    eps = -1e-9 if open_ends else 1e-9
    inside = np.ones(steps, bool)
    if lower:
        inside &= at >= low - eps
    if upper:
        inside &= at <= high + eps
    inside = ~inside if flip else inside
    times = times[::-1] if up else times
    return times[: len(times) - short], np.where(inside, w, outside)


RIGHT("plan")(_plan)


@RIGHT("plan")
def plan_by_loop(steps, w, low, high):
    """One step after the other; plain comparisons."""
    times = [(steps - k) / steps for k in range(steps + 1)]
    return np.array(times), np.array([w if low <= t <= high else 1.0 for t in times[:-1]])


@RIGHT("plan")
def plan_from_ones(steps, w, low, high):
    """Ones, overwritten inside."""
    times = np.arange(steps, -1, -1) / steps
    weights = np.ones(steps)
    weights[(low <= times[:-1]) & (times[:-1] <= high)] = w
    return times, weights


WRONG.add("plan", _plan, "0 outside, which drops the label", outside=0.0)
WRONG.add("plan", _plan, "guidance outside", flip=True)
WRONG.add("plan", _plan, "t counted from the other end", mirror=True)
WRONG.add("plan", _plan, "by the time where a step ends", late=True)
WRONG.add("plan", _plan, "without the ends", open_ends=True)
WRONG.add("plan", _plan, "times upwards", up=True)
WRONG.add("plan", _plan, "no lower end", lower=False)
WRONG.add("plan", _plan, "no upper end", upper=False)
WRONG.add("plan", _plan, "no last time", short=1)


@WRONG("plan")
def plan_with_last_weight(steps, w, low, high):
    """A weight for time 0, too."""
    times, weights = _plan(steps, w, low, high)
    return times, np.append(weights, 1.0)


@WRONG("plan")
def plan_to_last_step(steps, w, low, high):
    """A grid that has as many times as steps."""
    times = np.linspace(1, 0, steps)
    return times, np.where((low <= times) & (times <= high), w, 1.0)


# -- sample --------------------------------------------------------------------------------------------


def _sample(
    model, x, labels, times, weights, sign=1, even=False, end=False, again=False, swap=False, first=False,
    always=False, late=False, noisy=False, guided=_guided, **options,
):  # fmt: skip
    begin = x
    for k, w in enumerate(weights):
        t, s = float(times[k]), float(times[k + 1])
        asked = s if late else t
        w = weights[0] if first else w
        if w == 1 and not always:
            v = model(x, time=tf.fill([len(labels)], tf.constant(1000 * asked, tf.float32)), label=labels)
        else:
            v = guided(model, x, asked, labels, float(w), **options)
        s = t - (times[0] - times[-1]) / len(weights) if even else s
        s = 0.0 if end and k == len(weights) - 1 else t + sign * (s - t)
        clean, noise = x - t * v, x + (1 - t) * v
        noise = begin if again else noise
        x = s * clean + (1 - s) * noise if swap else (1 - s) * clean + s * noise
        if noisy:
            x = x + 0.05 * tf.random.stateless_normal(tf.shape(x), (k, 1))
    return x


RIGHT("sample")(_sample)


@RIGHT("sample")
def sample_by_euler(model, x, labels, times, weights):
    """Euler's method; interleaved pairs."""
    for t, s, w in zip(times[:-1], times[1:], weights, strict=True):
        t, s = np.float32(t), np.float32(s)
        if w == 1:
            v = model(x, tf.fill(labels.shape, 1000 * t), labels)
        else:
            v = guided_interleaved(model, x, t, labels, w)
        x = x + (s - t) * v
    return x


@RIGHT("sample")
def sample_in_numpy(model, x, labels, times, weights):
    """Arrays, in place on a copy."""
    x, labels = np.array(x), np.asarray(labels)
    for k in range(len(times) - 1):
        if weights[k] != 1:
            v = guided_in_numpy(model, x, times[k], labels, weights[k])
        else:
            v = model(x, np.full(len(x), 1000 * times[k]), labels).numpy()
        x += (times[k + 1] - times[k]) * v
    return x


WRONG.add("sample", _sample, "towards the noise", sign=-1)
WRONG.add("sample", _sample, "equal steps on any grid", even=True)
WRONG.add("sample", _sample, "to the guess of the picture at the end", end=True)
WRONG.add("sample", _sample, "the first noise mixed in again", again=True)
WRONG.add("sample", _sample, "the two shares swapped", swap=True)
WRONG.add("sample", _sample, "the first weight for all", first=True)
WRONG.add("sample", _sample, "twice the rows also at w = 1", always=True)
WRONG.add("sample", _sample, "the model asked where the step ends", late=True)
WRONG.add("sample", _sample, "noise after every step, also the last", noisy=True)
WRONG.add("sample", _sample, "two calls", join=False)
WRONG.add("sample", _sample, "digit 0 for none", none=0)
WRONG.add("sample", _sample, "t between 0 and 1", scale=1.0)


# -- train ---------------------------------------------------------------------------------------------


def _train(
    model, pictures, labels, steps, batch, seed, drop=_drop, mix=_pair, rate=0.1, scale=1000.0, frozen=(), apply=True,
    total=False, count=None, shuffle=False, one_time=False, one_noise=False, learning=8e-3, up=False,
):  # fmt: skip
    x, y = tf.constant(pictures), tf.constant(labels)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=learning, warmup_steps=steps // 20
    )
    optimizer = optimizers.Adam(schedule, beta_2=0.99)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(k):
        key = lambda name: (seed + ["rows", "drop", "t", "noise"].index(name), 0 * k if name in frozen else k)  # noqa: E731
        rows = tf.random.stateless_uniform((batch,), key("rows"), maxval=len(labels), dtype=tf.int32)
        clean, label = tf.gather(x, rows), tf.gather(y, tf.reverse(rows, [0]) if shuffle else rows)
        label = drop(label, rate, key("drop"))
        t = tf.random.stateless_uniform((1 if one_time else batch,), key("t")) * tf.ones(batch)
        shape = (1, *clean.shape[1:]) if one_noise else clean.shape
        noise = tf.random.stateless_normal(shape, key("noise")) * tf.ones_like(clean)
        mixed, target = mix(clean, t, noise)
        with tf.GradientTape() as tape:
            square = (model(mixed, time=scale * t, label=label) - target) ** 2
            loss = tf.reduce_sum(square) if total else tf.reduce_mean(square)
        gradients = tape.gradient(loss, model.trainable_variables)
        if apply:
            optimizer.apply([-tf.convert_to_tensor(g) for g in gradients] if up else gradients)
        return loss

    return [float(step(tf.constant(k))) for k in range(steps if count is None else count)]


RIGHT("train")(_train)


@RIGHT("train")
def train_on_pipeline(model, pictures, labels, steps, batch, seed):
    """A pipeline of tf.data, TensorFlow's own generator, AdamW with a constant rate."""
    data = tf.data.Dataset.from_tensor_slices((pictures, labels)).shuffle(len(labels), seed=seed).repeat()
    random = tf.random.Generator.from_seed(seed)
    optimizer = optimizers.AdamW(5e-3, weight_decay=1e-4)
    optimizer.build(model.trainable_weights)  # Else the step would be traced twice.

    @tf.function(reduce_retracing=True)
    def step(clean, label):
        label = tf.where(random.uniform((batch,)) < 0.1, NONE, label)
        t, noise = random.uniform((batch,)), random.normal(clean.shape)
        mixed, target = pair_by_velocity(clean, t, noise)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(target - model(mixed, t * 1000, label)))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_weights), model.trainable_weights, strict=True)
        )
        return loss

    return np.array([step(*rows).numpy() for rows in data.batch(batch).take(steps)])


WRONG.add("train", _train, "no label dropped", rate=0.0)
WRONG.add("train", _train, "every second label dropped", rate=0.5)
WRONG.add("train", _train, "the whole batch or nothing", drop=lambda *a: _drop(*a, shape=()))
WRONG.add("train", _train, "digit 0 for none", drop=lambda *a: _drop(*a, none=0))
WRONG.add("train", _train, "t between 0 and 1", scale=1.0)
WRONG.add("train", _train, "one time for the batch", one_time=True)
WRONG.add("train", _train, "one noise for the batch", one_noise=True)
WRONG.add("train", _train, "the same noise at every step", frozen=("noise",))
WRONG.add("train", _train, "the same times at every step", frozen=("t",))
WRONG.add("train", _train, "the same batch at every step", frozen=("rows", "drop"))
WRONG.add("train", _train, "labels of other pictures", shuffle=True)
WRONG.add("train", _train, "the velocity towards the picture", mix=lambda *a: _pair(*a, sign=-1))
WRONG.add("train", _train, "the noise as target", mix=lambda *a: _pair(*a, target="noise"))
WRONG.add("train", _train, "t = 1 is the picture", mix=lambda *a: _pair(*a, swap=True))
WRONG.add("train", _train, "a loss that is a sum", total=True)
WRONG.add("train", _train, "nothing applied", apply=False)
WRONG.add("train", _train, "uphill", up=True)
WRONG.add("train", _train, "half of the steps", count=40)
WRONG.add("train", _train, "a rate that hardly moves", learning=3e-4)


@WRONG("train")
def train_with_numpy_noise(model, pictures, labels, steps, batch, seed):
    """NumPy's noise inside a tf.function is drawn once, when it is traced."""

    def frozen(x, t, noise):
        return _pair(x, t, tf.constant(np.random.default_rng(0).normal(size=x.shape), tf.float32))

    return _train(model, pictures, labels, steps, batch, seed, mix=frozen)


@WRONG("train")
def train_without_losses(model, pictures, labels, steps, batch, seed):
    """Return the model."""
    _train(model, pictures, labels, steps, batch, seed)
    return model


# -- scan ----------------------------------------------------------------------------------------------


def _scan(
    draw, judge, weights, seeds, least, rule="both", last=False, index=False, total=False, other=False, strict=False,
    fallback="accuracy", tie=min,
):  # fmt: skip
    found = [[judge(draw(w, s + other * k)) for s in seeds] for k, w in enumerate(weights)]
    found = np.array(found)  # (W, S, 3)
    table = found[:, -1] if last else found.sum(1) if total else found.mean(1)
    accuracy, distance, diversity = table.T
    enough = accuracy > least if strict else accuracy >= least
    rows = np.flatnonzero(enough) if rule == "both" else np.arange(len(weights))
    measure = {"both": distance, "distance": distance, "accuracy": -accuracy, "diversity": -diversity}[rule]
    if not len(rows):
        rows = np.arange(len(weights))
        measure = {"accuracy": -accuracy, "distance": distance}[fallback]
    lowest = measure[rows].min()
    equal = [k for k in rows if measure[k] == lowest]
    best = tie(equal, key=lambda k: weights[k])
    return table, best if index else weights[best]


RIGHT("scan")(_scan)


@RIGHT("scan")
def scan_by_sorting(draw, judge, weights, seeds, least):
    """Rows of tuples, sorted."""
    rows = []
    for w in weights:
        scores = [judge(draw(w, seed)) for seed in seeds]
        rows.append((w, *(sum(column) / len(seeds) for column in zip(*scores, strict=True))))
    good = sorted((row[2], row[0]) for row in rows if row[1] >= least)
    if not good:
        good = sorted((-row[1], row[0]) for row in rows)
    return [row[1:] for row in rows], good[0][1]


@RIGHT("scan")
def scan_with_penalty(draw, judge, weights, seeds, least):
    """Seeds outside; what is not accurate enough lies behind all others."""
    table = np.mean([[judge(draw(w, seed)) for w in weights] for seed in seeds], 0)
    low = table[:, 0] < least
    order = np.lexsort((weights, np.where(low, -table[:, 0], table[:, 1]), low))
    return tf.constant(table), np.float64(weights[order[0]])


WRONG.add("scan", _scan, "the nearest, however accurate", rule="distance")
WRONG.add("scan", _scan, "the most accurate", rule="accuracy")
WRONG.add("scan", _scan, "the most diverse", rule="diversity")
WRONG.add("scan", _scan, "the last seed alone", last=True)
WRONG.add("scan", _scan, "sums", total=True)
WRONG.add("scan", _scan, "the row's number", index=True)
WRONG.add("scan", _scan, "other noise for every weight", other=True)
WRONG.add("scan", _scan, "more accurate than asked for", strict=True)
WRONG.add("scan", _scan, "the nearest where none is accurate enough", fallback="distance")
WRONG.add("scan", _scan, "the larger of equals", tie=max)


@WRONG("scan")
def scan_twice(draw, judge, weights, seeds, least):
    """Draw everything again for the choice."""
    _scan(draw, judge, weights, seeds, least)
    return _scan(draw, judge, weights, seeds, least)
