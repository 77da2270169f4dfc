"""Right and wrong answers to practice 13.1."""

import math

import numpy as np
import tensorflow as tf
from scipy.special import logsumexp, softmax

from answers import Answers

RIGHT, WRONG = Answers(), Answers()


# -- schedule ------------------------------------------------------------------------------------------


def _schedule(kind, T, clip=0.999, again=True, offset=0.008, square=True, late=False, root=False, first=True):
    if kind == "linear":
        beta = np.linspace(1e-4, 0.02, T)
        raw = np.cumprod(1 - beta)
    else:
        angle = (np.arange(T + 1) / T + offset) / (1 + offset) * np.pi / 2
        f = np.cos(angle) ** (2 if square else 1)
        beta, raw = np.minimum(1 - f[1:] / f[:-1], clip), f[1:] / f[0]
    table = np.cumprod(1 - beta) if again else raw
    if not first:
        return beta, table
    beta = np.append(0.0, beta)
    table = np.append(table, table[-1]) if late else np.append(1.0, table)
    return beta, np.sqrt(table) if root else table


RIGHT("schedule")(_schedule)


@RIGHT("schedule")
def schedule_by_loop(kind, T):
    """One step after the other."""
    f = lambda t: math.cos((t / T + 0.008) / 1.008 * math.pi / 2) ** 2  # noqa: E731
    beta, table = [0.0], [1.0]
    for t in range(1, T + 1):
        if kind == "linear":
            new = 1e-4 + (t - 1) / (T - 1) * (0.02 - 1e-4)
        else:
            new = min(1 - f(t) / f(t - 1), 0.999)
        beta.append(new)
        table.append(table[-1] * (1 - new))
    return np.array(beta), np.array(table)


@RIGHT("schedule")
def schedule_in_tensorflow(kind, T):
    """Tensors, the product as a sum of logarithms."""
    if kind == "linear":
        beta = tf.linspace(tf.constant(1e-4, tf.float64), 0.02, T)
    else:
        u = (tf.range(T + 1, dtype=tf.float64) / T + 0.008) / 1.008
        f = tf.cos(u * np.pi / 2) ** 2
        beta = tf.clip_by_value(1 - f[1:] / f[:-1], 0.0, 0.999)
    beta = tf.concat([tf.zeros(1, tf.float64), beta], 0)
    return beta.numpy(), tf.exp(tf.cumsum(tf.math.log1p(-beta))).numpy()


WRONG.add("schedule", _schedule, "no clip", clip=1.0)
WRONG.add("schedule", _schedule, "clip at 0.02", clip=0.02)
WRONG.add("schedule", _schedule, "alpha_bar from the formula, not from the clipped betas", again=False)
WRONG.add("schedule", _schedule, "no offset", offset=0.0)
WRONG.add("schedule", _schedule, "no square", square=False)
WRONG.add("schedule", _schedule, "the product begins one step late", late=True)
WRONG.add("schedule", _schedule, "square roots", root=True)
WRONG.add("schedule", _schedule, "T entries", first=False)


@WRONG("schedule")
def schedule_scaled(kind, T):
    """Betas in proportion to 1000 / T."""
    beta, table = _schedule(kind, T)
    if kind == "linear":
        beta = np.minimum(beta * 1000 / T, 0.999)
        table = np.cumprod(1 - beta)
    return beta, table


@WRONG("schedule")
def schedule_alpha(kind, T):
    """The factors instead of their product."""
    beta, _ = _schedule(kind, T)
    return beta, 1 - beta


@WRONG("schedule")
def schedule_swapped(kind, T):
    """The other order."""
    return _schedule(kind, T)[::-1]


@WRONG("schedule")
def schedule_always_linear(kind, T):
    """Ignore the kind."""
    return _schedule("linear", T)


# -- q_sample ------------------------------------------------------------------------------------------


def _column(values, x):
    return np.reshape(values, (-1, *[1] * (x.ndim - 1)))


def _q_sample(x0, t, noise, alpha_bar, power=(0.5, 0.5), shift=0, column=True, swap=False, first=False):
    ab = alpha_bar[np.maximum(np.asarray(t) - shift, 0)]
    if first:
        ab = np.full(len(x0), np.ravel(ab)[0])
    if column:
        ab = _column(ab, x0)
    a, b = ab ** power[0], (1 - ab) ** power[1]
    return b * x0 + a * noise if swap else a * x0 + b * noise


RIGHT("q_sample")(_q_sample)


@RIGHT("q_sample")
def q_sample_by_loop(x0, t, noise, alpha_bar):
    """Sample by sample."""
    t = np.broadcast_to(t, len(x0))
    return np.stack(
        [
            alpha_bar[k] ** 0.5 * x + (1 - alpha_bar[k]) ** 0.5 * z
            for x, k, z in zip(x0, t, noise, strict=True)
        ]
    )


@RIGHT("q_sample")
def q_sample_in_tensorflow(x0, t, noise, alpha_bar):
    """Gather, then new axes; float32."""
    ab = tf.cast(tf.gather(alpha_bar, tf.broadcast_to(t, [len(x0)])), tf.float32)
    ab = tf.reshape(ab, [-1] + [1] * (x0.ndim - 1))
    mixed = tf.sqrt(ab) * tf.cast(x0, tf.float32) + tf.sqrt(1 - ab) * tf.cast(noise, tf.float32)
    return mixed.numpy()


@RIGHT("q_sample")
def q_sample_transposed(x0, t, noise, alpha_bar):
    """Broadcast over the last axis of the transposed arrays."""
    ab = alpha_bar[t]
    return (np.sqrt(ab) * x0.T + np.sqrt(1 - ab) * noise.T).T


WRONG.add("q_sample", _q_sample, "1 - alpha_bar without a root", power=(0.5, 1))
WRONG.add("q_sample", _q_sample, "alpha_bar without a root", power=(1, 0.5))
WRONG.add("q_sample", _q_sample, "no roots", power=(1, 1))
WRONG.add("q_sample", _q_sample, "one step early", shift=1)
WRONG.add("q_sample", _q_sample, "times along the last axis", column=False)
WRONG.add("q_sample", _q_sample, "coefficients swapped", swap=True)
WRONG.add("q_sample", _q_sample, "the first sample's time for all", first=True)


@WRONG("q_sample")
def q_sample_alpha(x0, t, noise, alpha_bar):
    """alpha of one step for alpha_bar."""
    beta = 1 - alpha_bar / np.append(1.0, alpha_bar[:-1])
    return _q_sample(x0, t, noise, 1 - beta)


@WRONG("q_sample")
def q_sample_shared_noise(x0, t, noise, alpha_bar):
    """The noise of one sample for all."""
    return _q_sample(x0, t, np.broadcast_to(noise[:1], noise.shape), alpha_bar)


@WRONG("q_sample")
def q_sample_own_noise(x0, t, noise, alpha_bar):
    """Noise of its own."""
    return _q_sample(x0, t, np.random.default_rng(0).normal(size=x0.shape), alpha_bar)


@WRONG("q_sample")
def q_sample_tensor(x0, t, noise, alpha_bar):
    """A tensor, which NumPy's methods do not know."""
    return tf.constant(_q_sample(x0, t, noise, alpha_bar))


@WRONG("q_sample")
def q_sample_in_place(x0, t, noise, alpha_bar):
    """Write into x0."""
    x0 *= np.sqrt(_column(alpha_bar[t], x0))
    x0 += np.sqrt(1 - _column(alpha_bar[t], x0)) * noise
    return x0


# -- predict -------------------------------------------------------------------------------------------


def _predict(
    xt, t, output, kind, alpha_bar, sign=1, divide=True, root=True, swap=False, column=True, norm=False
):
    ab = _column(alpha_bar[t], xt) if column else alpha_bar[t]
    a, b = (np.sqrt(ab), np.sqrt(1 - ab)) if root else (ab, 1 - ab)
    if kind == "eps":
        x0, eps = (xt - b * output) / (a if divide else 1), output
    elif kind == "x0":
        x0, eps = output, (xt - a * output) / (b if divide else 1)
    else:
        x0, eps = a * xt - sign * b * output, b * xt + sign * a * output
        if norm:
            x0, eps = x0 / a, eps / b
    return (eps, x0) if swap else (x0, eps)


RIGHT("predict")(_predict)


@RIGHT("predict")
def predict_by_signal(xt, t, output, kind, alpha_bar):
    """Find x0 first, then the noise from the two."""
    shape = [-1] + [1] * (xt.ndim - 1)
    a, b = (np.reshape(c[t], shape) for c in (alpha_bar**0.5, (1 - alpha_bar) ** 0.5))
    x0 = {"eps": (xt - b * output) / a, "x0": output, "v": a * xt - b * output}[kind]
    return [x0, (xt - a * x0) / b]


@RIGHT("predict")
def predict_by_angle(xt, t, output, kind, alpha_bar):
    """alpha_bar as the cosine of an angle, in tensors; v turns (x_t, v) back."""
    angle = tf.reshape(tf.acos(tf.sqrt(tf.gather(alpha_bar, t))), [-1] + [1] * (xt.ndim - 1))
    c, s = tf.cos(angle), tf.sin(angle)
    if kind == "v":
        return (c * xt - s * output).numpy(), (s * xt + c * output).numpy()
    if kind == "eps":
        return (xt / c - tf.tan(angle) * output).numpy(), output
    return output, (xt / s - output / tf.tan(angle)).numpy()


WRONG.add("predict", _predict, "the other sign of v", sign=-1)
WRONG.add("predict", _predict, "no division", divide=False)
WRONG.add("predict", _predict, "no roots", root=False)
WRONG.add("predict", _predict, "noise first", swap=True)
WRONG.add("predict", _predict, "times along the last axis", column=False)
WRONG.add("predict", _predict, "v divided again", norm=True)


@WRONG("predict")
def predict_v_is_eps(xt, t, output, kind, alpha_bar):
    """Take v for the noise."""
    return _predict(xt, t, output, "eps" if kind == "v" else kind, alpha_bar)


@WRONG("predict")
def predict_x0_only(xt, t, output, kind, alpha_bar):
    """Return x0 alone."""
    return _predict(xt, t, output, kind, alpha_bar)[0]


@WRONG("predict")
def predict_clipped(xt, t, output, kind, alpha_bar):
    """Clip x0 to half the range of pictures."""
    x0, eps = _predict(xt, t, output, kind, alpha_bar)
    return np.clip(x0, -0.5, 0.5), eps


# -- posterior -----------------------------------------------------------------------------------------


def _posterior(
    xt, x0, t, s, alpha_bar, previous=False, full=False, spread=False, bar=False, swap=False, root=True,
    norm=True, wrong_root=False, upside=False,
):  # fmt: skip
    ab, before = alpha_bar[t], alpha_bar[t - 1 if previous else s]
    alpha = ab if bar else ab / before
    first, second = np.sqrt(ab if wrong_root else before) * (1 - alpha), np.sqrt(alpha) * (1 - before)
    if not root:
        first, second = before * (1 - alpha), alpha * (1 - before)
    if swap:
        first, second = second, first
    mean = (first * x0 + second * xt) / ((1 - ab) if norm else 1)
    variance = (1 - alpha) * (1 if full else (1 - before) / (1 - ab))
    if upside:
        variance = (1 - alpha) * (1 - ab) / (1 - before) if s else 0.0
    return mean, np.sqrt(variance) if spread else variance


RIGHT("posterior")(_posterior)


@RIGHT("posterior")
def posterior_by_precision(xt, x0, t, s, alpha_bar):
    """Bayes: precisions add up, the means by their precisions."""
    if s == 0:
        return x0, 0
    alpha = alpha_bar[t] / alpha_bar[s]
    prior, likelihood = 1 / (1 - alpha_bar[s]), alpha / (1 - alpha)
    variance = 1 / (prior + likelihood)
    mean = variance * (prior * np.sqrt(alpha_bar[s]) * x0 + np.sqrt(alpha) / (1 - alpha) * xt)
    return mean, variance


@RIGHT("posterior")
def posterior_by_conditioning(xt, x0, t, s, alpha_bar):
    """The conditional mean of two correlated Gaussians; in tensors."""
    gain = math.sqrt(alpha_bar[t] / alpha_bar[s]) * (1 - alpha_bar[s]) / (1 - alpha_bar[t])
    x0 = tf.constant(x0)
    mean = alpha_bar[s] ** 0.5 * x0 + gain * (xt - alpha_bar[t] ** 0.5 * x0)
    return mean.numpy(), tf.constant(1 - alpha_bar[s] - gain**2 * (1 - alpha_bar[t]))


WRONG.add("posterior", _posterior, "t - 1 instead of s", previous=True)
WRONG.add("posterior", _posterior, "beta as variance", full=True)
WRONG.add("posterior", _posterior, "the spread instead of the variance", spread=True)
WRONG.add("posterior", _posterior, "alpha_bar for alpha", bar=True)
WRONG.add("posterior", _posterior, "coefficients swapped", swap=True)
WRONG.add("posterior", _posterior, "coefficients without roots", root=False)
WRONG.add("posterior", _posterior, "not divided by 1 - alpha_bar", norm=False)
WRONG.add("posterior", _posterior, "x0 by the root of alpha_bar at t", wrong_root=True)
WRONG.add("posterior", _posterior, "the ratio of the variance upside down", upside=True)


@WRONG("posterior")
def posterior_forgets_data(xt, x0, t, s, alpha_bar):
    """The mean of x_t scaled back."""
    _, variance = _posterior(xt, x0, t, s, alpha_bar)
    return xt / np.sqrt(alpha_bar[t] / alpha_bar[s]), variance


# -- ddim_step -----------------------------------------------------------------------------------------


def _ddim_step(
    x0, eps, t, s, alpha_bar, eta, noise, less=2, ratio=True, inner=True, outer=True, power=1, use_eta=True,
    previous=False, root_eta=False, at=None, draw=True,
):  # fmt: skip
    ab, before = alpha_bar[t], alpha_bar[t - 1 if previous else s]
    variance = (1 - ab / before if inner else 1) * ((1 - before) / (1 - ab) if ratio else 1)
    weight = (np.sqrt(eta) if root_eta else eta) if use_eta else 1.0
    sigma = weight * np.sqrt(variance)
    rest = 1 - before - (sigma**less if less else 0)
    target = alpha_bar[t] if at == "t" else before
    return np.sqrt(target) * x0 + np.sqrt(np.maximum(rest, 0)) * eps + draw * sigma**power * noise


RIGHT("ddim_step")(_ddim_step)


@RIGHT("ddim_step")
def ddim_by_posterior(x0, eps, t, s, alpha_bar, eta, noise):
    """The spread of the posterior times eta."""
    x0, eps, noise = map(tf.constant, (x0, eps, noise))
    sigma = eta * posterior_by_conditioning(x0, x0, t, s, alpha_bar)[1] ** 0.5
    moved = alpha_bar[s] ** 0.5 * x0 + (1 - alpha_bar[s] - sigma**2) ** 0.5 * eps + sigma * noise
    return moved.numpy()


@RIGHT("ddim_step")
def ddim_by_angle(x0, eps, t, s, alpha_bar, eta, noise):
    """Split the noise by an angle: a share of the old, the rest new."""
    alpha = alpha_bar[t] / alpha_bar[s]
    new = eta * math.sqrt((1 - alpha) / (1 - alpha_bar[t]))
    mixed = math.sqrt(1 - new * new) * eps + new * noise
    return math.sqrt(alpha_bar[s]) * x0 + math.sqrt(1 - alpha_bar[s]) * mixed


WRONG.add("ddim_step", _ddim_step, "nothing taken from the direction", less=0)
WRONG.add("ddim_step", _ddim_step, "sigma instead of its square taken from the direction", less=1)
WRONG.add("ddim_step", _ddim_step, "sigma without the ratio: noise at the last step, too", ratio=False)
WRONG.add("ddim_step", _ddim_step, "sigma without 1 - alpha", inner=False)
WRONG.add("ddim_step", _ddim_step, "sigma squared times the noise", power=2)
WRONG.add("ddim_step", _ddim_step, "always eta = 1", use_eta=False)
WRONG.add("ddim_step", _ddim_step, "eta inside the root", root_eta=True)
WRONG.add("ddim_step", _ddim_step, "t - 1 instead of s", previous=True)
WRONG.add("ddim_step", _ddim_step, "x0 by the root of alpha_bar at t", at="t")
WRONG.add("ddim_step", _ddim_step, "no new noise", draw=False)


@WRONG("ddim_step")
def ddim_without_roots(x0, eps, t, s, alpha_bar, eta, noise):
    """alpha_bar itself."""
    return alpha_bar[s] * x0 + (1 - alpha_bar[s]) * eps


# -- times ---------------------------------------------------------------------------------------------


@RIGHT("times")
def times_rounded(T, steps):
    """linspace."""
    return np.linspace(T, 0, steps + 1).round().astype(int)


@RIGHT("times")
def times_half_up(T, steps):
    """Whole numbers only, halves rounded up."""
    return np.array([(2 * T * (steps - k) + steps) // (2 * steps) for k in range(steps + 1)])


@RIGHT("times")
def times_reversed(T, steps):
    """Up, then turned, in tensors."""
    up = tf.range(steps + 1, dtype=tf.float64) * T / steps
    return tf.reverse(tf.cast(tf.round(up), tf.int32), [0]).numpy()


@WRONG("times")
def times_upwards(T, steps):
    """From 0 to T."""
    return times_rounded(T, steps)[::-1]


@WRONG("times")
def times_without_zero(T, steps):
    """Without the last one."""
    return times_rounded(T, steps)[:-1]


@WRONG("times")
def times_leading(T, steps):
    """Multiples of T // steps, which do not begin at T."""
    return np.append((np.arange(steps) * (T // steps))[::-1], 0)


@WRONG("times")
def times_fixed_stride(T, steps):
    """T, then always T // steps less."""
    return np.append(T - np.arange(steps) * (T // steps), 0)


@WRONG("times")
def times_floored(T, steps):
    """Cut off instead of rounded."""
    return np.linspace(T, 0, steps + 1).astype(int)


@WRONG("times")
def times_real(T, steps):
    """No whole numbers."""
    return np.linspace(T, 0, steps + 1)


@WRONG("times")
def times_to_one(T, steps):
    """End at 1."""
    return np.linspace(T, 1, steps + 1).round().astype(int)


@WRONG("times")
def times_list(T, steps):
    """A list, from which nothing can be subtracted."""
    return times_rounded(T, steps).tolist()


@WRONG("times")
def times_all(T, steps):
    """Every time there is."""
    return np.arange(T, -1, -1)


# -- denoise -------------------------------------------------------------------------------------------


def _denoise(
    xt, t, alpha_bar, centers, weights, std, share=True, scaled=True, factor=2, wide=True, inner=True,
    safe=True, root=True, mode=False, noise_only=False,
):  # fmt: skip
    ab = alpha_bar[t]
    signal = np.sqrt(ab) if root else ab
    v = (ab * std**2 if wide else 0) + 1 - ab
    away = xt[:, None] - (signal if scaled else 1) * centers  # (N, K, d)
    logits = -(away**2).sum(-1) / (factor * (1 - ab if noise_only else v))
    if share:
        logits = logits + np.log(weights)
    if safe:
        logits = logits - logits.max(1, keepdims=True)
    odds = np.exp(logits)
    r = odds / odds.sum(1, keepdims=True)
    if mode:
        r = np.eye(len(centers))[r.argmax(1)]
    means = centers + inner * signal * std**2 / v * (xt[:, None] - signal * centers)
    return (r[..., None] * means).sum(1)


RIGHT("denoise")(_denoise)


@RIGHT("denoise")
def denoise_by_products(xt, t, alpha_bar, centers, weights, std):
    """Squares multiplied out, the softmax of SciPy."""
    ab = alpha_bar[t]
    v = ab * std**2 + 1 - ab
    logits = np.log(weights) + (np.sqrt(ab) * xt @ centers.T - ab * (centers**2).sum(1) / 2) / v
    return (softmax(logits, 1) @ centers * (1 - ab) + np.sqrt(ab) * std**2 * xt) / v


@RIGHT("denoise")
def denoise_by_score(xt, t, alpha_bar, centers, weights, std):
    """Tweedie: the gradient of log p(x_t) by automatic differentiation."""
    ab, x, centers = alpha_bar[t], tf.constant(xt), tf.constant(centers)
    v = ab * std**2 + 1 - ab
    with tf.GradientTape() as tape:
        tape.watch(x)
        square = tf.reduce_sum((x[:, None] - ab**0.5 * centers) ** 2, -1)
        density = tf.reduce_logsumexp(tf.math.log(weights) - square / (2 * v), 1)
    return ((x + (1 - ab) * tape.gradient(density, x)) / ab**0.5).numpy()


@RIGHT("denoise")
def denoise_by_loop(xt, t, alpha_bar, centers, weights, std):
    """Sample by sample with logsumexp."""
    ab, found = alpha_bar[t], []
    v = ab * std**2 + (1 - ab)
    for x in xt:
        logits = [
            math.log(w) - np.sum((x - ab**0.5 * c) ** 2) / 2 / v
            for w, c in zip(weights, centers, strict=True)
        ]
        r = np.exp(logits - logsumexp(logits))
        found.append(r @ (centers + ab**0.5 * std**2 / v * (x - ab**0.5 * centers)))
    return np.array(found)


WRONG.add("denoise", _denoise, "no weights", share=False)
WRONG.add("denoise", _denoise, "centers as they are", scaled=False)
WRONG.add("denoise", _denoise, "divided by v instead of 2 v", factor=1)
WRONG.add("denoise", _denoise, "v without the spread of the data", wide=False)
WRONG.add("denoise", _denoise, "the distance by the noise alone", noise_only=True)
WRONG.add("denoise", _denoise, "the mean of the centers", inner=False)
WRONG.add("denoise", _denoise, "exp of the raw logits", safe=False)
WRONG.add("denoise", _denoise, "alpha_bar without a root", root=False)
WRONG.add("denoise", _denoise, "the nearest center", mode=True)


@WRONG("denoise")
def denoise_noise(xt, t, alpha_bar, centers, weights, std):
    """The noise instead of the data."""
    x0 = _denoise(xt, t, alpha_bar, centers, weights, std)
    return (xt - np.sqrt(alpha_bar[t]) * x0) / np.sqrt(1 - alpha_bar[t])


# -- sample --------------------------------------------------------------------------------------------


def _sample(
    xT, model, grid, alpha_bar, eta, rng, previous=False, shape=None, once=False, step=_ddim_step, late=False,
    last=False, flip=False, only=False, short=False, **options,
):  # fmt: skip
    x, path, kept = xT, [xT], None
    for t, s in zip(grid[:-1], grid[1:], strict=True):
        asked = s if late else t
        x0 = model(x, max(asked, 1))
        _, eps = _predict(x, t, x0, "x0", alpha_bar)
        size = {None: x.shape, "one sample": x.shape[1:], "one value": (len(x), 1)}[shape]
        z = kept if once and kept is not None else rng.standard_normal(size)
        kept = z
        x = step(x0, eps, t, s, alpha_bar, eta, z, previous=previous, **options)
        if last:
            x = x + eta * 0.1 * z
        path.append(x)
    if only:
        return x
    path = path[1:] if short else path
    return np.stack(path[::-1] if flip else path)


RIGHT("sample")(_sample)


@RIGHT("sample")
def sample_into_array(xT, model, grid, alpha_bar, eta, rng):
    """Fill an array; noise only where there is a spread."""
    path = np.zeros((len(grid), *xT.shape))
    path[0] = xT
    for k in range(1, len(grid)):
        t, s = int(grid[k - 1]), int(grid[k])
        x0 = model(path[k - 1], t)
        eps = (path[k - 1] - alpha_bar[t] ** 0.5 * x0) / (1 - alpha_bar[t]) ** 0.5
        noise = rng.normal(size=xT.shape) if eta > 0 and s > 0 else 0.0
        path[k] = ddim_by_angle(x0, eps, t, s, alpha_bar, eta, noise)
    return path


@RIGHT("sample")
def sample_in_tensorflow(xT, model, grid, alpha_bar, eta, rng):
    """TensorFlow's own noise, for all steps at once."""
    generator = tf.random.Generator.from_seed(int(rng.integers(2**31)))
    path = [xT]
    noises = generator.normal((len(grid) - 1, *xT.shape), dtype=tf.float64).numpy()
    for t, s, z in zip(grid, grid[1:], noises, strict=False):
        x0, eps = predict_by_signal(path[-1], t, model(path[-1], t), "x0", alpha_bar)
        path.append(ddim_by_angle(x0, eps, t, s, alpha_bar, eta, z))
    return np.stack(path)


WRONG.add("sample", _sample, "t - 1 instead of the grid's next time", previous=True)
WRONG.add("sample", _sample, "the noise of one sample for all", shape="one sample")
WRONG.add("sample", _sample, "one value for all coordinates", shape="one value")
WRONG.add("sample", _sample, "noise drawn once", once=True)
WRONG.add("sample", _sample, "the model asked at s", late=True)
WRONG.add("sample", _sample, "noise after every step, also the last", last=True)
WRONG.add("sample", _sample, "the end of the path first", flip=True)
WRONG.add("sample", _sample, "the end alone", only=True)
WRONG.add("sample", _sample, "the path without its start", short=True)
WRONG.add("sample", _sample, "nothing taken from the direction", less=0)
WRONG.add("sample", _sample, "sigma without the ratio", ratio=False)
WRONG.add("sample", _sample, "never new noise", draw=False)
WRONG.add("sample", _sample, "always new noise", use_eta=False)


@WRONG("sample")
def sample_every_time(xT, model, grid, alpha_bar, eta, rng):
    """Every time between the ends of the grid."""
    return _sample(xT, model, np.arange(grid[0], grid[-1] - 1, -1), alpha_bar, eta, rng)


@WRONG("sample")
def sample_to_zero(xT, model, grid, alpha_bar, eta, rng):
    """Return the model's last guess at the end."""
    path = _sample(xT, model, grid, alpha_bar, eta, rng)
    path[-1] = model(path[-2], grid[-2])
    return path


@WRONG("sample")
def sample_in_place(xT, model, grid, alpha_bar, eta, rng):
    """Write into x_T: every entry of the path is the last."""
    path = [xT]
    for t, s in zip(grid[:-1], grid[1:], strict=True):
        x0, eps = _predict(xT, t, model(xT, t), "x0", alpha_bar)
        xT[:] = _ddim_step(x0, eps, t, s, alpha_bar, eta, rng.standard_normal(xT.shape))
        path.append(xT)
    return np.stack(path)
