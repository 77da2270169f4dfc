"""Wrong answers to practice 7.2; every one of them must be marked ❌."""

import functools

import numpy as np
import tensorflow as tf
from scipy.special import xlogy
from sklearn.decomposition import PCA

from tf_study import data
from wrong_answers import with_mistake

keras, layers = tf.keras, tf.keras.layers


def _softplus(logits):
    return tf.reduce_mean(tf.nn.softplus(logits))


def _d_loss(a, b, smooth=0.0):
    return _softplus(-a) + smooth * tf.reduce_mean(a) + _softplus(b)


def d_half(real_logits, fake_logits, smooth=0.0):
    """Take the mean of the two terms."""
    return _d_loss(real_logits, fake_logits, smooth) / 2


def d_one_batch(real_logits, fake_logits, smooth=0.0):
    """Join both batches into one mean."""
    real = tf.nn.softplus(-real_logits) + smooth * real_logits
    return 2 * tf.reduce_mean(tf.concat([real, tf.nn.softplus(fake_logits)], axis=0))


def d_swapped(real_logits, fake_logits, smooth=0.0):
    """Label the real ones 0."""
    return _d_loss(fake_logits, real_logits, smooth)


def d_both_smooth(real_logits, fake_logits, smooth=0.0):
    """Smooth the labels of the fakes too."""
    return _d_loss(real_logits, fake_logits, smooth) - smooth * tf.reduce_mean(fake_logits)


def d_no_smooth(real_logits, fake_logits, smooth=0.0):
    """Ignore the smoothing."""
    return _d_loss(real_logits, fake_logits)


def d_scaled(real_logits, fake_logits, smooth=0.0):
    """Scale the real term by 1 - smooth instead of changing its label."""
    return (1 - smooth) * _softplus(-real_logits) + _softplus(fake_logits)


def d_naive(real_logits, fake_logits, smooth=0.0):
    """Take the logarithm of the sigmoid, which is infinite for sure mistakes."""
    p, q = tf.sigmoid(real_logits), tf.sigmoid(fake_logits)
    real = (1 - smooth) * tf.math.log(p) + smooth * tf.math.log(1 - p)
    return -tf.reduce_mean(real) - tf.reduce_mean(tf.math.log(1 - q))


def d_from_probabilities(real_logits, fake_logits, smooth=0.0):
    """Forget from_logits."""
    cross = keras.losses.BinaryCrossentropy()
    ones, zeros = tf.ones_like(real_logits), tf.zeros_like(fake_logits)
    return cross((1 - smooth) * ones, real_logits) + cross(zeros, fake_logits)


def g_saturating(fake_logits):
    """Minimize log(1 - D)."""
    return -_softplus(fake_logits)


def g_helps(fake_logits):
    """Label the fakes 0."""
    return _softplus(fake_logits)


def g_sum(fake_logits):
    """Add instead of averaging."""
    return tf.reduce_sum(tf.nn.softplus(-fake_logits))


def g_naive(fake_logits):
    """Take the logarithm of the sigmoid."""
    return -tf.reduce_mean(tf.math.log(tf.sigmoid(fake_logits)))


def g_epsilon(fake_logits):
    """Keep the logarithm finite, which kills the slope."""
    return -tf.reduce_mean(tf.math.log(tf.sigmoid(fake_logits) + 1e-7))


def g_critic(fake_logits):
    """Use the loss of WGAN."""
    return -tf.reduce_mean(fake_logits)


def g_numpy(fake_logits):
    """Leave TensorFlow, so that no gradient flows."""
    return np.float32(np.logaddexp(0, -fake_logits.numpy()).mean())


def _optimal(p, q, dx, at_zero=0.5, epsilon=0.0):
    total = p + q + epsilon
    d = np.divide(p, total, out=np.full(total.shape, at_zero), where=total > 0)
    rest = np.divide(q, total, out=np.full(total.shape, 0.5), where=total > 0)
    return d, dx * (xlogy(p, d) + xlogy(q, rest)).sum()


def optimal_swapped(p, q, dx):
    """Return the probability of a fake."""
    return _optimal(q, p, dx)


def optimal_nan(p, q, dx):
    """Divide 0 by 0."""
    with np.errstate(all="ignore"):
        return p / (p + q), _optimal(p, q, dx)[1]


def optimal_zero(p, q, dx):
    """Call it a fake where there is neither."""
    return _optimal(p, q, dx, at_zero=0.0)


def optimal_epsilon(p, q, dx):
    """Add a small number to the denominator, which is large beside small densities."""
    return _optimal(p, q, dx, epsilon=1e-8)


def optimal_no_dx(p, q, dx):
    """Add without the width."""
    return _optimal(p, q, 1.0)


def optimal_loss(p, q, dx):
    """Return the loss."""
    d, v = _optimal(p, q, dx)
    return d, -v


def optimal_cancels(p, q, dx):
    """Take 1 - D, which is 0 where q is small beside p."""
    d, _ = _optimal(p, q, dx)
    with np.errstate(all="ignore"):
        return d, dx * (xlogy(p, d) + xlogy(q, 1 - d)).sum()


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


def generator_sigmoid(latent):
    """Draw in [0, 1]."""
    return _generator(latent, "sigmoid")


def generator_linear(latent):
    """Leave the range open."""
    return _generator(latent, None)


def generator_normalized(latent):
    """Normalize after tanh, which leaves the range."""
    return _generator(latent, tail=[layers.BatchNormalization()])


def generator_32(latent):
    """Begin with 8 x 8 and end with 32 x 32."""
    return _generator(latent, size=8)


def generator_large(latent):
    """Exceed the number of parameters, in either profile."""
    return _generator(latent, width=256)


def generator_fixed_latent(latent):
    """Take 64 numbers whatever is asked."""
    return _generator(64)


def generator_first_coordinate(latent):
    """Use the first latent coordinate only."""
    inputs = keras.Input((latent,))
    return keras.Model(inputs, _generator(1)(inputs[:, :1]))


def generator_own_noise(latent):
    """Add noise at inference too."""
    inputs = keras.Input((latent,))
    noisy = layers.Lambda(lambda z: z + tf.random.normal(tf.shape(z)))(inputs)
    return keras.Model(inputs, _generator(latent)(noisy))


def generator_one_gray(latent):
    """Draw one gray value for the whole picture."""
    row = [layers.Dense(1, "tanh"), layers.RepeatVector(784), layers.Reshape((28, 28, 1))]
    return keras.Sequential([keras.Input((latent,)), *row])


def _discriminator(*tail, head=(), width=16):
    stack = [keras.Input((28, 28, 1)), *head, layers.Conv2D(width, 4, 2, "same")]
    stack += [layers.LeakyReLU(negative_slope=0.2), layers.Conv2D(2 * width, 4, 2, "same")]
    return keras.Sequential([*stack, layers.LeakyReLU(negative_slope=0.2), *tail])


def discriminator_sigmoid():
    """Return probabilities."""
    return _discriminator(layers.Flatten(), layers.Dense(1, "sigmoid"))


def discriminator_relu():
    """Cut the logit at 0."""
    return _discriminator(layers.Flatten(), layers.Dense(1, "relu"))


def discriminator_two():
    """Return two classes."""
    return _discriminator(layers.Flatten(), layers.Dense(2))


def discriminator_map():
    """Forget to flatten: a logit for each field."""
    return _discriminator(layers.Dense(1))


def discriminator_brightness():
    """See the mean brightness only."""
    return keras.Sequential([keras.Input((28, 28, 1)), layers.GlobalAveragePooling2D(), layers.Dense(1)])


def discriminator_upper_half():
    """See the upper half only."""
    return _discriminator(layers.Flatten(), layers.Dense(1), head=[layers.Cropping2D(((0, 14), (0, 0)))])


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


def step_eager(G, D, real, z, opt_g, opt_d, smooth):
    """Return Python floats, which a graph does not have."""
    return tuple(float(loss.numpy()) for loss in _train(G, D, real, z, opt_g, opt_d, smooth))


_CALLS = np.random.default_rng(0)


_train_set = functools.lru_cache(maxsize=1)(lambda: data.mnist(train=5000, test=1000)[0])
_components = functools.lru_cache(maxsize=1)(
    lambda: PCA(50, svd_solver="full").fit(_real(3000).reshape(3000, -1))
)


def _real(n, digits=10):
    """Return n training pictures of the first digits, another choice at every call."""
    images, labels = _train_set()
    images = images[labels < digits]
    return images[_CALLS.integers(0, len(images), n)][..., None].astype("float32") / 127.5 - 1


def _noised(images, scale):
    return (images + scale * _CALLS.normal(size=images.shape)).clip(-1, 1)


def draw_noise(n):
    """Draw uniform noise."""
    return _CALLS.uniform(-1, 1, (n, 28, 28, 1))


def draw_mean(n):
    """Draw the mean picture with some noise."""
    return _noised(np.repeat(_real(2000).mean(axis=0, keepdims=True), n, axis=0), 0.1)


def draw_one_digit(n):
    """Draw zeros only, displaced so that none is a copy."""
    return np.roll(_real(n, digits=1), 2, axis=(1, 2))


def draw_seven_digits(n):
    """Leave three digits out, displaced so that none is a copy."""
    return np.roll(_real(n, digits=7), 1, axis=2)


def draw_copies(n):
    """Hand over training pictures."""
    return _real(n)


def draw_noised_copies(n):
    """Hand over training pictures with noise."""
    return _noised(_real(n), 0.1)


def draw_principal(n):
    """Draw normal numbers along the principal components."""
    pca = _components()
    z = _CALLS.normal(size=(n, 50)) * np.sqrt(pca.explained_variance_)
    return pca.inverse_transform(z).reshape(n, 28, 28, 1).clip(-1, 1)


def draw_overlaid(n):
    """Lay two training pictures on each other."""
    return np.maximum(_real(n), _real(n))


def draw_unit_range(n):
    """Draw in [0, 1]."""
    return (_real(n) + 1) / 2


def draw_thousand(n):
    """Draw 1,000 whatever is asked."""
    return _real(1000)


def draw_same(n):
    """Draw the same pictures at every call."""
    return np.random.default_rng(1).uniform(-1, 1, (n, 28, 28, 1))


def draw_batch_statistics(n):
    """Draw the same picture whenever asked for a single one, as batch normalization in training mode does."""
    return _real(n) if n > 1 else np.zeros((1, 28, 28, 1))


WRONG = {
    "discriminator_loss": [
        d_half,
        d_one_batch,
        d_swapped,
        d_both_smooth,
        d_no_smooth,
        d_scaled,
        d_naive,
        d_from_probabilities,
    ],
    "generator_loss": [g_saturating, g_helps, g_sum, g_naive, g_epsilon, g_critic, g_numpy],
    "optimal_discriminator": [
        optimal_swapped,
        optimal_nan,
        optimal_zero,
        optimal_epsilon,
        optimal_no_dx,
        optimal_loss,
        optimal_cancels,
        optimal_log_d,
    ],
    "build_generator": [
        generator_sigmoid,
        generator_linear,
        generator_normalized,
        generator_32,
        generator_large,
        generator_fixed_latent,
        generator_first_coordinate,
        generator_own_noise,
        generator_one_gray,
    ],
    "build_discriminator": [
        discriminator_sigmoid,
        discriminator_relu,
        discriminator_two,
        discriminator_map,
        discriminator_brightness,
        discriminator_upper_half,
        discriminator_large,
    ],
    "train_step": [
        with_mistake(_train, "judge the generator by the discriminator before its update", together=True),
        with_mistake(_train, "move the discriminator with the generator's loss too", both=True),
        with_mistake(_train, "move the generator with the discriminator's loss too", leak=True),
        with_mistake(_train, "draw the fakes as at inference", training=False),
        with_mistake(_train, "use the saturating loss", loss=lambda b: -_softplus(b)),
        with_mistake(_train, "let the generator help the discriminator", loss=_softplus),
        with_mistake(_train, "use fakes made outside the generator's tape", outside=True),
        with_mistake(_train, "swap the optimizers", swapped=True),
        with_mistake(_train, "ignore the smoothing", hard=True),
        with_mistake(_train, "move the discriminator uphill", ascent=True),
        with_mistake(_train, "return the generator's loss first", reversed=True),
        step_eager,
    ],
    "draw_digits": [
        draw_noise,
        draw_mean,
        draw_one_digit,
        draw_seven_digits,
        draw_copies,
        draw_noised_copies,
        draw_principal,
        draw_overlaid,
        draw_unit_range,
        draw_thousand,
        draw_same,
        draw_batch_statistics,
    ],
}
