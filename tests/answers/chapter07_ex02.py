"""Right and wrong answers to practice 7.2."""

import functools
import math

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from scipy.special import xlogy
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from answers import Answers
from tf_study import data

RIGHT, WRONG = Answers(), Answers()


def _softplus(logits):
    return tf.reduce_mean(tf.nn.softplus(logits))


def _d_loss(a, b, smooth=0.0):
    return _softplus(-a) + smooth * tf.reduce_mean(a) + _softplus(b)


RIGHT("discriminator_loss")(_d_loss)


@RIGHT("discriminator_loss")
def d_keras(real_logits, fake_logits, smooth=0.0):
    """Keras' cross-entropy with smoothed ones."""
    cross = keras.losses.BinaryCrossentropy(from_logits=True)
    real = cross((1 - smooth) * tf.ones_like(real_logits), real_logits)
    return real + cross(tf.zeros_like(fake_logits), fake_logits)


@RIGHT("discriminator_loss")
@tf.function
def d_log_sigmoid(real_logits, fake_logits, smooth=0.0):
    """In a graph: both terms of the real ones by log sigmoid."""
    real = (1 - smooth) * tf.math.log_sigmoid(real_logits) + smooth * tf.math.log_sigmoid(-real_logits)
    return -(tf.reduce_mean(real) + tf.reduce_mean(tf.math.log_sigmoid(-fake_logits)))


@WRONG("discriminator_loss")
def d_half(real_logits, fake_logits, smooth=0.0):
    """Take the mean of the two terms."""
    return _d_loss(real_logits, fake_logits, smooth) / 2


@WRONG("discriminator_loss")
def d_one_batch(real_logits, fake_logits, smooth=0.0):
    """Join both batches into one mean."""
    real = tf.nn.softplus(-real_logits) + smooth * real_logits
    return 2 * tf.reduce_mean(tf.concat([real, tf.nn.softplus(fake_logits)], axis=0))


@WRONG("discriminator_loss")
def d_swapped(real_logits, fake_logits, smooth=0.0):
    """Label the real ones 0."""
    return _d_loss(fake_logits, real_logits, smooth)


@WRONG("discriminator_loss")
def d_both_smooth(real_logits, fake_logits, smooth=0.0):
    """Smooth the labels of the fakes too."""
    return _d_loss(real_logits, fake_logits, smooth) - smooth * tf.reduce_mean(fake_logits)


@WRONG("discriminator_loss")
def d_no_smooth(real_logits, fake_logits, smooth=0.0):
    """Ignore the smoothing."""
    return _d_loss(real_logits, fake_logits)


@WRONG("discriminator_loss")
def d_scaled(real_logits, fake_logits, smooth=0.0):
    """Scale the real term by 1 - smooth instead of changing its label."""
    return (1 - smooth) * _softplus(-real_logits) + _softplus(fake_logits)


@WRONG("discriminator_loss")
def d_naive(real_logits, fake_logits, smooth=0.0):
    """Take the logarithm of the sigmoid, which is infinite for sure mistakes."""
    p, q = tf.sigmoid(real_logits), tf.sigmoid(fake_logits)
    real = (1 - smooth) * tf.math.log(p) + smooth * tf.math.log(1 - p)
    return -tf.reduce_mean(real) - tf.reduce_mean(tf.math.log(1 - q))


@WRONG("discriminator_loss")
def d_from_probabilities(real_logits, fake_logits, smooth=0.0):
    """Forget from_logits."""
    cross = keras.losses.BinaryCrossentropy()
    ones, zeros = tf.ones_like(real_logits), tf.zeros_like(fake_logits)
    return cross((1 - smooth) * ones, real_logits) + cross(zeros, fake_logits)


@RIGHT("generator_loss")
def g_keras(fake_logits):
    """Keras' cross-entropy with ones."""
    return keras.losses.BinaryCrossentropy(from_logits=True)(tf.ones_like(fake_logits), fake_logits)


@RIGHT("generator_loss")
@tf.function
def g_log_sum(fake_logits):
    """In a graph: log(1 + exp(-b)) as a log-sum-exp."""
    return tf.reduce_mean(tf.reduce_logsumexp(tf.stack([tf.zeros_like(fake_logits), -fake_logits]), 0))


@WRONG("generator_loss")
def g_saturating(fake_logits):
    """Minimize log(1 - D)."""
    return -_softplus(fake_logits)


@WRONG("generator_loss")
def g_helps(fake_logits):
    """Label the fakes 0."""
    return _softplus(fake_logits)


@WRONG("generator_loss")
def g_sum(fake_logits):
    """Add instead of averaging."""
    return tf.reduce_sum(tf.nn.softplus(-fake_logits))


@WRONG("generator_loss")
def g_naive(fake_logits):
    """Take the logarithm of the sigmoid."""
    return -tf.reduce_mean(tf.math.log(tf.sigmoid(fake_logits)))


@WRONG("generator_loss")
def g_epsilon(fake_logits):
    """Keep the logarithm finite, which kills the slope."""
    return -tf.reduce_mean(tf.math.log(tf.sigmoid(fake_logits) + 1e-7))


@WRONG("generator_loss")
def g_critic(fake_logits):
    """Use the loss of WGAN."""
    return -tf.reduce_mean(fake_logits)


@WRONG("generator_loss")
def g_numpy(fake_logits):
    """Leave TensorFlow, so that no gradient flows."""
    return np.float32(np.logaddexp(0, -fake_logits.numpy()).mean())


def _optimal(p, q, dx, at_zero=0.5, epsilon=0.0):
    total = p + q + epsilon
    d = np.divide(p, total, out=np.full(total.shape, at_zero), where=total > 0)
    rest = np.divide(q, total, out=np.full(total.shape, 0.5), where=total > 0)
    return d, dx * (xlogy(p, d) + xlogy(q, rest)).sum()


RIGHT("optimal_discriminator")(_optimal)


@RIGHT("optimal_discriminator")
def optimal_loop(p, q, dx):
    """Python's floats, one point at a time; logarithms of ratios."""
    d, v = [], 0.0
    for a, b in zip(p.tolist(), q.tolist(), strict=True):
        d.append(a / (a + b) if a + b else 0.5)
        v += sum(part * math.log(part / (a + b)) for part in (a, b) if part)
    return d, v * dx


@RIGHT("optimal_discriminator")
def optimal_tensors(p, q, dx):
    """TensorFlow in float64: logarithms first, then the sigmoid of their difference."""
    some = p + q > 0
    a, b = (tf.math.log(tf.maximum(tf.constant(part), 1e-300)) for part in (p, q))
    log_d, log_rest = -tf.nn.softplus(b - a), -tf.nn.softplus(a - b)
    return tf.where(some, tf.exp(log_d), 0.5), dx * tf.reduce_sum(p * log_d + q * log_rest)


@WRONG("optimal_discriminator")
def optimal_swapped(p, q, dx):
    """Return the probability of a fake."""
    return _optimal(q, p, dx)


@WRONG("optimal_discriminator")
def optimal_nan(p, q, dx):
    """Divide 0 by 0."""
    with np.errstate(all="ignore"):
        return p / (p + q), _optimal(p, q, dx)[1]


WRONG.add("optimal_discriminator", _optimal, "Call it a fake where there is neither.", at_zero=0.0)


WRONG.add(
    "optimal_discriminator",
    _optimal,
    "Add a small number to the denominator, which is large beside small densities.",
    epsilon=1e-8,
)


@WRONG("optimal_discriminator")
def optimal_no_dx(p, q, dx):
    """Add without the width."""
    return _optimal(p, q, 1.0)


@WRONG("optimal_discriminator")
def optimal_loss(p, q, dx):
    """Return the loss."""
    d, v = _optimal(p, q, dx)
    return d, -v


@WRONG("optimal_discriminator")
def optimal_cancels(p, q, dx):
    """Take 1 - D, which is 0 where q is small beside p."""
    d, _ = _optimal(p, q, dx)
    with np.errstate(all="ignore"):
        return d, dx * (xlogy(p, d) + xlogy(q, 1 - d)).sum()


@WRONG("optimal_discriminator")
def optimal_log_d(p, q, dx):
    """Take log D under both densities."""
    d, _ = _optimal(p, q, dx)
    return d, dx * xlogy(p + q, np.maximum(d, 1e-12)).sum()


def _generator(latent, last="tanh", size=7, width=16, tail=(), head=()):
    stack = [keras.Input((latent,)), *head, layers.Dense(size * size * 2 * width), layers.ReLU()]
    stack += [layers.Reshape((size, size, 2 * width))]
    stack += [layers.Conv2DTranspose(width, 4, 2, "same"), layers.BatchNormalization(), layers.ReLU()]
    stack += [layers.Conv2DTranspose(1, 4, 2, "same", activation=last)]
    return keras.Sequential([*stack, *tail])


RIGHT("build_generator")(_generator)


@RIGHT("build_generator")
def generator_upsampled(latent):
    """Functional: upsampling and convolutions, tanh by an operation of Keras."""
    inputs = keras.Input((latent,))
    h = layers.Reshape((7, 7, 16))(layers.Dense(784, activation="gelu")(inputs))
    for n in (12, 1):
        h = layers.Conv2D(n, 3, padding="same")(layers.UpSampling2D(interpolation="bilinear")(h))
        h = layers.LeakyReLU()(layers.LayerNormalization()(h)) if n > 1 else keras.ops.tanh(h)
    return keras.Model(inputs, h)


@RIGHT("build_generator")
def generator_dense(latent):
    """Dense layers only."""
    stack = [layers.Dense(128, "relu"), layers.Dense(784, "tanh"), layers.Reshape((28, 28, 1))]
    return keras.Sequential([keras.Input((latent,)), *stack])


def _frozen(model):
    model.layers[-1].trainable = False
    return model


@WRONG("build_generator")
def generator_frozen(latent):
    """The last layer does not learn."""
    return _frozen(_generator(latent))


@WRONG("build_generator")
def generator_sigmoid(latent):
    """Draw in [0, 1]."""
    return _generator(latent, "sigmoid")


@WRONG("build_generator")
def generator_linear(latent):
    """Leave the range open."""
    return _generator(latent, None)


WRONG.add(
    "build_generator",
    _generator,
    "Normalize after tanh, which leaves the range.",
    tail=[layers.BatchNormalization()],
)


WRONG.add("build_generator", _generator, "Begin with 8 x 8 and end with 32 x 32.", size=8)


WRONG.add("build_generator", _generator, "Exceed the number of parameters, in either profile.", width=256)


@WRONG("build_generator")
def generator_fixed_latent(latent):
    """Take 64 numbers whatever is asked."""
    return _generator(64)


@WRONG("build_generator")
def generator_first_coordinate(latent):
    """Use the first latent coordinate only."""
    inputs = keras.Input((latent,))
    return keras.Model(inputs, _generator(1)(inputs[:, :1]))


@WRONG("build_generator")
def generator_own_noise(latent):
    """Add noise at inference too."""
    inputs = keras.Input((latent,))
    noisy = layers.Lambda(lambda z: z + tf.random.normal(tf.shape(z)))(inputs)
    return keras.Model(inputs, _generator(latent)(noisy))


@WRONG("build_generator")
def generator_one_gray(latent):
    """Draw one gray value for the whole picture."""
    row = [layers.Dense(1, "tanh"), layers.RepeatVector(784), layers.Reshape((28, 28, 1))]
    return keras.Sequential([keras.Input((latent,)), *row])


def _discriminator(*tail, head=(), width=16):
    stack = [keras.Input((28, 28, 1)), *head, layers.Conv2D(width, 4, 2, "same")]
    stack += [layers.LeakyReLU(negative_slope=0.2), layers.Conv2D(2 * width, 4, 2, "same")]
    return keras.Sequential([*stack, layers.LeakyReLU(negative_slope=0.2), *tail])


@RIGHT("build_discriminator")
def discriminator_convolutional():
    """Convolutions, dropout, a dense logit."""
    return _discriminator(layers.Dropout(0.3), layers.Flatten(), layers.Dense(1))


@WRONG("build_discriminator")
def discriminator_frozen():
    """The last layer does not learn."""
    return _frozen(discriminator_convolutional())


@RIGHT("build_discriminator")
def discriminator_functional():
    """Functional, with a convolution over the whole map for the logit."""
    inputs = keras.Input((28, 28, 1))
    h = keras.ops.leaky_relu(layers.Conv2D(16, 5, 2, "same")(inputs), 0.2)
    h = layers.LeakyReLU(negative_slope=0.2)(layers.SeparableConv2D(24, 5, 2, "same")(h))
    return keras.Model(inputs, layers.Reshape((1,))(layers.Conv2D(1, 7)(h)))


@RIGHT("build_discriminator")
def discriminator_dense():
    """Dense layers only."""
    stack = [layers.Flatten(), layers.Dense(128, "elu"), layers.Dense(1)]
    return keras.Sequential([keras.Input((28, 28, 1)), *stack])


@WRONG("build_discriminator")
def discriminator_sigmoid():
    """Return probabilities."""
    return _discriminator(layers.Flatten(), layers.Dense(1, "sigmoid"))


@WRONG("build_discriminator")
def discriminator_relu():
    """Cut the logit at 0."""
    return _discriminator(layers.Flatten(), layers.Dense(1, "relu"))


@WRONG("build_discriminator")
def discriminator_two():
    """Return two classes."""
    return _discriminator(layers.Flatten(), layers.Dense(2))


@WRONG("build_discriminator")
def discriminator_map():
    """Forget to flatten: a logit for each field."""
    return _discriminator(layers.Dense(1))


@WRONG("build_discriminator")
def discriminator_brightness():
    """See the mean brightness only."""
    return keras.Sequential([keras.Input((28, 28, 1)), layers.GlobalAveragePooling2D(), layers.Dense(1)])


@WRONG("build_discriminator")
def discriminator_upper_half():
    """See the upper half only."""
    return _discriminator(layers.Flatten(), layers.Dense(1), head=[layers.Cropping2D(((0, 14), (0, 0)))])


@WRONG("build_discriminator")
def discriminator_large():
    """Exceed the number of parameters, in either profile."""
    wide = [layers.Flatten(), layers.Dense(1024, "relu"), layers.Dense(1024, "relu"), layers.Dense(1)]
    return keras.Sequential([keras.Input((28, 28, 1)), *wide])


def _train(G, D, real, z, opt_g, opt_d, smooth, **change):
    training = change.get("training", True)
    variables_g, variables_d = G.trainable_variables, D.trainable_variables
    opt_g, opt_d = (opt_d, opt_g) if change.get("swapped") else (opt_g, opt_d)
    smooth = 0.0 if change.get("hard") else smooth
    with tf.GradientTape(persistent=True) as tape:
        fake = G(z, training=training)
        loss_d = _d_loss(D(real, training=True), D(fake, training=True), smooth)
        early = _softplus(-D(fake, training=True))
    slopes, early_slopes = tape.gradient(loss_d, variables_d), tape.gradient(early, variables_g)
    slopes = [-s for s in slopes] if change.get("ascent") else slopes
    opt_d.apply_gradients(zip(slopes, variables_d, strict=True))
    if change.get("leak"):
        for v, s in zip(variables_g, tape.gradient(loss_d, variables_g), strict=True):
            v.assign_sub(0.1 * s)
    if change.get("together"):
        opt_g.apply_gradients(zip(early_slopes, variables_g, strict=True))
        return loss_d, early
    with tf.GradientTape(persistent=True) as tape:
        judged = D(fake if change.get("outside") else G(z, training=training), training=True)
        loss_g = change.get("loss", lambda b: _softplus(-b))(judged)
    opt_g.apply_gradients(zip(tape.gradient(loss_g, variables_g), variables_g, strict=True))
    if change.get("both"):
        for v, s in zip(variables_d, tape.gradient(loss_g, variables_d), strict=True):
            v.assign_sub(opt_g.learning_rate * s)
    return (loss_g, loss_d) if change.get("reversed") else (loss_d, loss_g)


RIGHT("train_step")(_train)


@RIGHT("train_step")
def step_one_tape_each(G, D, real, z, opt_g, opt_d, smooth):
    """The fakes outside the tape, real and fake losses summed by Keras, apply instead of apply_gradients."""
    fake = tf.stop_gradient(G(z, training=True))
    with tf.GradientTape() as tape:
        loss_d = d_keras(D(real, training=True), D(fake, training=True), smooth)
    opt_d.apply(tape.gradient(loss_d, D.trainable_weights), D.trainable_weights)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([weight.value for weight in G.trainable_weights])
        loss_g = g_keras(D(G(z, training=True), training=True))
    slopes = tape.gradient(loss_g, [weight.value for weight in G.trainable_weights])
    opt_g.apply(slopes, G.trainable_weights)
    return [loss_d, loss_g]


@WRONG("train_step")
def step_eager(G, D, real, z, opt_g, opt_d, smooth):
    """Return Python floats, which a graph does not have."""
    return tuple(float(loss.numpy()) for loss in _train(G, D, real, z, opt_g, opt_d, smooth))


_CALLS = np.random.default_rng(0)


_train_set = functools.lru_cache(maxsize=1)(lambda: data.mnist(train=5000, test=1000)[0])
_components = functools.lru_cache(maxsize=1)(
    lambda: PCA(50, svd_solver="covariance_eigh").fit(_real(3000).reshape(3000, -1))
)


def _real(n, digits=10):
    """Return n training pictures of the first digits, another choice at every call."""
    images, labels = _train_set()
    images = images[labels < digits]
    return images[_CALLS.integers(0, len(images), n)][..., None].astype("float32") / 127.5 - 1


def _noised(images, scale):
    return (images + scale * _CALLS.normal(size=images.shape)).clip(-1, 1)


@functools.cache
def _mixtures():
    """A mixture of five normal distributions for each digit in the space of 60 components."""
    images, labels = _train_set()
    flat = images.reshape(len(images), -1) / 127.5 - 1
    pca = PCA(60, svd_solver="covariance_eigh").fit(flat)
    draw, points = np.random.RandomState(0), pca.transform(flat)
    kinds = [GaussianMixture(5, reg_covar=1e-2, random_state=draw) for _ in range(10)]
    return pca, [mixture.fit(points[labels == digit]) for digit, mixture in enumerate(kinds)]


@RIGHT("draw_digits")
def draw_mixture(n):
    """A small generative model that is no GAN."""
    pca, mixtures = _mixtures()
    counts = zip(mixtures, np.bincount(_CALLS.integers(0, 10, n), minlength=10), strict=True)
    points = np.concatenate([mixture.sample(count)[0] for mixture, count in counts if count])
    return pca.inverse_transform(points).reshape(n, 28, 28, 1).clip(-1, 1)


@RIGHT("draw_digits")
def draw_mixture_tensor(n):
    """The same with more contrast, as a tensor."""
    return tf.tanh(2 * tf.constant(draw_mixture(n), tf.float32))


@WRONG("draw_digits")
def draw_noise(n):
    """Draw uniform noise."""
    return _CALLS.uniform(-1, 1, (n, 28, 28, 1))


@WRONG("draw_digits")
def draw_mean(n):
    """Draw the mean picture with some noise."""
    return _noised(np.repeat(_real(2000).mean(axis=0, keepdims=True), n, axis=0), 0.1)


@WRONG("draw_digits")
def draw_one_digit(n):
    """Draw zeros only, displaced so that none is a copy."""
    return np.roll(_real(n, digits=1), 2, axis=(1, 2))


@WRONG("draw_digits")
def draw_seven_digits(n):
    """Leave three digits out, displaced so that none is a copy."""
    return np.roll(_real(n, digits=7), 1, axis=2)


@WRONG("draw_digits")
def draw_copies(n):
    """Hand over training pictures."""
    return _real(n)


@WRONG("draw_digits")
def draw_moved_copies(n):
    """Hand over training pictures, moved by one pixel."""
    return np.roll(_real(n), 1, axis=2)


@WRONG("draw_digits")
def draw_noised_copies(n):
    """Hand over training pictures with noise."""
    return _noised(_real(n), 0.1)


@WRONG("draw_digits")
def draw_principal(n):
    """Draw normal numbers along the principal components."""
    pca = _components()
    z = _CALLS.normal(size=(n, 50)) * np.sqrt(pca.explained_variance_)
    return pca.inverse_transform(z).reshape(n, 28, 28, 1).clip(-1, 1)


@WRONG("draw_digits")
def draw_overlaid(n):
    """Lay two training pictures on each other."""
    return np.maximum(_real(n), _real(n))


@WRONG("draw_digits")
def draw_unit_range(n):
    """Draw in [0, 1]."""
    return (_real(n) + 1) / 2


@WRONG("draw_digits")
def draw_thousand(n):
    """Draw 1,000 whatever is asked."""
    return _real(1000)


@WRONG("draw_digits")
def draw_same(n):
    """Draw the same pictures at every call."""
    return np.random.default_rng(1).uniform(-1, 1, (n, 28, 28, 1))


@WRONG("draw_digits")
def draw_batch_statistics(n):
    """Draw the same picture whenever asked for a single one, as batch normalization in training mode does."""
    return _real(n) if n > 1 else np.zeros((1, 28, 28, 1))


WRONG.add("train_step", _train, "judge the generator by the discriminator before its update", together=True)
WRONG.add("train_step", _train, "move the discriminator with the generator's loss too", both=True)
WRONG.add("train_step", _train, "move the generator with the discriminator's loss too", leak=True)
WRONG.add("train_step", _train, "draw the fakes as at inference", training=False)
WRONG.add("train_step", _train, "use the saturating loss", loss=lambda b: -_softplus(b))
WRONG.add("train_step", _train, "let the generator help the discriminator", loss=_softplus)
WRONG.add("train_step", _train, "use fakes made outside the generator's tape", outside=True)
WRONG.add("train_step", _train, "swap the optimizers", swapped=True)
WRONG.add("train_step", _train, "ignore the smoothing", hard=True)
WRONG.add("train_step", _train, "move the discriminator uphill", ascent=True)
WRONG.add("train_step", _train, "return the generator's loss first", reversed=True)
