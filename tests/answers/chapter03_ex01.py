"""Answers to practice 3.1: steps to a target, optimizer steps, a schedule and a fair comparison."""

import functools

import numpy as np
import tensorflow as tf

from answers import Answers

RIGHT, WRONG = Answers(), Answers()

keras = tf.keras


def _ranked(first):
    return sorted(first.items(), key=lambda item: (item[1] is None, item[1] or 0))


@RIGHT("steps_to_target")
def steps_by_loop(histories, target):
    """Plain loops, and a sort by one number."""
    first = {}
    for name, losses in histories.items():
        first[name] = next((t for t, loss in enumerate(losses) if loss <= target), None)
    return sorted(first.items(), key=lambda item: np.inf if item[1] is None else item[1])


@RIGHT("steps_to_target")
def steps_numpy_integers(histories, target):
    """argmax where something holds; the numbers stay NumPy integers and the order comes from a stable argsort."""
    names, reached = list(histories), [losses <= target for losses in histories.values()]
    steps = [hit.argmax() if hit.any() else None for hit in reached]
    order = np.argsort([10**9 if step is None else step for step in steps], kind="stable")
    return [(names[place], steps[place]) for place in order]


@WRONG("steps_to_target")
def steps_cleaned_in_place(histories, target):
    """Replace NaN in the given arrays."""
    for losses in histories.values():
        losses[np.isnan(losses)] = np.inf
    return steps_by_loop(histories, target)


@WRONG("steps_to_target")
def steps_taken_out(histories, target):
    """Take every history out of the given dictionary."""
    return steps_by_loop({name: histories.pop(name) for name in list(histories)}, target)


@WRONG("steps_to_target")
def steps_argmax(histories, target):
    """Take argmax of the condition, which is 0 where nothing holds."""
    return _ranked({name: int(np.argmax(losses <= target)) for name, losses in histories.items()})


@WRONG("steps_to_target")
def steps_strict(histories, target):
    """Ask for a loss below the target instead of at or below it."""
    first = {}
    for name, losses in histories.items():
        hits = np.flatnonzero(losses < target)
        first[name] = int(hits[0]) if len(hits) else None
    return _ranked(first)


@WRONG("steps_to_target")
def steps_from_one(histories, target):
    """Count from one."""
    first = {}
    for name, losses in histories.items():
        hits = np.flatnonzero(losses <= target)
        first[name] = int(hits[0]) + 1 if len(hits) else None
    return _ranked(first)


@WRONG("steps_to_target")
def steps_lowest(histories, target):
    """Take the step of the lowest loss."""
    first = {
        name: int(np.argmin(losses)) if losses.min() <= target else None for name, losses in histories.items()
    }
    return _ranked(first)


@WRONG("steps_to_target")
def steps_count_above(histories, target):
    """Count the losses above the target, which fails if the loss rises again."""
    first = {}
    for name, losses in histories.items():
        count = int(np.sum(losses > target))
        first[name] = count if count < len(losses) else None
    return _ranked(first)


@WRONG("steps_to_target")
def steps_stays(histories, target):
    """Take the step after which the loss stays below the target."""
    first = {}
    for name, losses in histories.items():
        above = np.flatnonzero(~(losses <= target))
        steps = int(above[-1]) + 1 if len(above) else 0
        first[name] = steps if steps < len(losses) else None
    return _ranked(first)


@WRONG("steps_to_target")
def steps_unsorted(histories, target):
    """Keep the order of the histories."""
    first = {}
    for name, losses in histories.items():
        hits = np.flatnonzero(losses <= target)
        first[name] = int(hits[0]) if len(hits) else None
    return list(first.items())


@WRONG("steps_to_target")
def steps_falsy_last(histories, target):
    """Treat step 0 like None when sorting."""
    first = dict(steps_unsorted(histories, target))
    return sorted(first.items(), key=lambda item: item[1] or 10**9)


@WRONG("steps_to_target")
def steps_by_name(histories, target):
    """Break ties by name instead of the given order."""
    first = dict(steps_unsorted(histories, target))
    return sorted(first.items(), key=lambda item: (item[1] is None, item[1] or 0, item[0]))


@WRONG("steps_to_target")
def steps_minus_one(histories, target):
    """Say -1 instead of None."""
    return [(name, -1 if steps is None else steps) for name, steps in _right_steps(histories, target)]


@WRONG("steps_to_target")
def steps_dropped(histories, target):
    """Leave out what never reaches the target."""
    return [(name, steps) for name, steps in _right_steps(histories, target) if steps is not None]


@WRONG("steps_to_target")
def steps_dict(histories, target):
    """Return a dictionary."""
    return dict(_right_steps(histories, target))


@WRONG("steps_to_target")
def steps_example(histories, target):
    """Return the result of the example."""
    return [("B", 1), ("A", 2), ("C", None)]


def _right_steps(histories, target):
    return _ranked(dict(steps_unsorted(histories, target)))


@RIGHT("momentum_step")
def momentum_expanded(theta, v, g, lr, mu=0.9, nesterov=False):
    """Both rules multiplied out; returned as a list."""
    far = mu * mu * v - (1 + mu) * lr * g
    new = mu * v - lr * g
    return [theta + (far if nesterov else new), new]


@RIGHT("momentum_step")
def momentum_tensors(theta, v, g, lr, mu=0.9, nesterov=False):
    """TensorFlow in float64, with a copy that is changed in place."""
    velocity = np.array(v)
    velocity *= mu
    velocity -= lr * g
    step = tf.constant(velocity) * (mu if nesterov else 1.0)
    return tf.constant(theta) + step - (lr * tf.constant(g) if nesterov else 0.0), velocity


@WRONG("momentum_step")
def momentum_torch(theta, v, g, lr, mu=0.9, nesterov=False):
    """Keep the velocity without the learning rate, as PyTorch does."""
    v = mu * v + g
    return theta - lr * (mu * v + g if nesterov else v), v


@WRONG("momentum_step")
def momentum_averaged(theta, v, g, lr, mu=0.9, nesterov=False):
    """Use a moving average instead of a sum."""
    v = mu * v - lr * (1 - mu) * g
    return theta + (mu * v - lr * g if nesterov else v), v


@WRONG("momentum_step")
def momentum_uphill(theta, v, g, lr, mu=0.9, nesterov=False):
    """Add the gradient."""
    v = mu * v + lr * g
    return theta + (mu * v + lr * g if nesterov else v), v


@WRONG("momentum_step")
def momentum_old_velocity(theta, v, g, lr, mu=0.9, nesterov=False):
    """Move by the old velocity."""
    new = mu * v - lr * g
    return theta + (mu * v - lr * g if nesterov else v), new


@WRONG("momentum_step")
def momentum_never_nesterov(theta, v, g, lr, mu=0.9, nesterov=False):
    """Ignore nesterov."""
    v = mu * v - lr * g
    return theta + v, v


@WRONG("momentum_step")
def momentum_always_nesterov(theta, v, g, lr, mu=0.9, nesterov=False):
    """Always use Nesterov's rule."""
    v = mu * v - lr * g
    return theta + mu * v - lr * g, v


@WRONG("momentum_step")
def momentum_nesterov_twice(theta, v, g, lr, mu=0.9, nesterov=False):
    """Forget the factor mu in Nesterov's rule."""
    v = mu * v - lr * g
    return theta + (v - lr * g if nesterov else v), v


@WRONG("momentum_step")
def momentum_no_memory(theta, v, g, lr, mu=0.9, nesterov=False):
    """Plain gradient descent."""
    return theta - lr * g, -lr * g


@WRONG("momentum_step")
def momentum_fixed_mu(theta, v, g, lr, mu=0.9, nesterov=False):
    """Always use mu = 0.9."""
    v = 0.9 * v - lr * g
    return theta + (0.9 * v - lr * g if nesterov else v), v


@WRONG("momentum_step")
def momentum_in_place(theta, v, g, lr, mu=0.9, nesterov=False):
    """Change the velocity of the caller."""
    v *= mu
    v -= lr * g
    return theta + (mu * v - lr * g if nesterov else v), v


@WRONG("momentum_step")
def momentum_only_theta(theta, v, g, lr, mu=0.9, nesterov=False):
    """Return only the parameters."""
    return theta + mu * v - lr * g


@WRONG("momentum_step")
def momentum_swapped(theta, v, g, lr, mu=0.9, nesterov=False):
    """Return the velocity first."""
    v = mu * v - lr * g
    return v, theta + (mu * v - lr * g if nesterov else v)


@WRONG("momentum_step")
def momentum_example(theta, v, g, lr, mu=0.9, nesterov=False):
    """Return the result of the example."""
    return np.array([0.55 if nesterov else 0.5]), np.array([-0.5])


@WRONG("momentum_step")
def momentum_unchanged(theta, v, g, lr, mu=0.9, nesterov=False):
    """Return the inputs."""
    return theta, v


@RIGHT("rmsprop_step")
def rmsprop_interpolated(theta, v, g, lr, rho=0.9, eps=1e-7):
    """v moves towards the square by a share of the distance."""
    new = v + (1 - rho) * (np.square(g) - v)
    return theta - lr * g * (new + eps) ** -0.5, new


@RIGHT("rmsprop_step")
def rmsprop_by_tensorflow(theta, v, g, lr, rho=0.9, eps=1e-7):
    """TensorFlow inside a tf.function."""

    @tf.function
    def step(theta, v, g):
        v = rho * v + (1 - rho) * tf.square(g)
        return theta - lr * g * tf.math.rsqrt(v + eps), v

    return step(tf.constant(theta), tf.constant(v), tf.constant(g))


@WRONG("rmsprop_step")
def rmsprop_epsilon_outside(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Put epsilon outside the root, as PyTorch does."""
    v = rho * v + (1 - rho) * g**2
    return theta - lr * g / (np.sqrt(v) + eps), v


@WRONG("rmsprop_step")
def rmsprop_no_epsilon(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Divide without epsilon."""
    v = rho * v + (1 - rho) * g**2
    with np.errstate(invalid="ignore"):
        return theta - lr * g / np.sqrt(v), v


@WRONG("rmsprop_step")
def rmsprop_old_average(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Divide by the old average."""
    return theta - lr * g / np.sqrt(v + eps), rho * v + (1 - rho) * g**2


@WRONG("rmsprop_step")
def rmsprop_summed(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Forget (1 - rho)."""
    v = rho * v + g**2
    return theta - lr * g / np.sqrt(v + eps), v


@WRONG("rmsprop_step")
def rmsprop_adagrad(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Sum the squares as AdaGrad does."""
    v = v + g**2
    return theta - lr * g / np.sqrt(v + eps), v


@WRONG("rmsprop_step")
def rmsprop_swapped_rho(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Swap rho and 1 - rho."""
    v = (1 - rho) * v + rho * g**2
    return theta - lr * g / np.sqrt(v + eps), v


@WRONG("rmsprop_step")
def rmsprop_not_squared(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Average the absolute gradients."""
    v = rho * v + (1 - rho) * np.abs(g)
    return theta - lr * g / np.sqrt(v + eps), v


@WRONG("rmsprop_step")
def rmsprop_no_root(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Forget the root."""
    v = rho * v + (1 - rho) * g**2
    return theta - lr * g / (v + eps), v


@WRONG("rmsprop_step")
def rmsprop_whole_norm(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Average over all coordinates instead of each."""
    v = rho * v + (1 - rho) * np.mean(g**2) * np.ones_like(g)
    return theta - lr * g / np.sqrt(v + eps), v


@WRONG("rmsprop_step")
def rmsprop_uphill(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Add the step."""
    v = rho * v + (1 - rho) * g**2
    return theta + lr * g / np.sqrt(v + eps), v


@WRONG("rmsprop_step")
def rmsprop_in_place(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Change the parameters of the caller."""
    v = rho * v + (1 - rho) * g**2
    theta -= lr * g / np.sqrt(v + eps)
    return theta, v


@WRONG("rmsprop_step")
def rmsprop_example(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Return the result of the example."""
    return np.array([0.5]), np.array([9.0])


@RIGHT("adam_step")
def adam_efficient(theta, m, v, g, t, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    """The order of Section 2 of the paper: the rate takes both corrections, epsilon is scaled along."""
    m, v = m + (1 - beta1) * (g - m), v + (1 - beta2) * (g * g - v)
    root = np.sqrt(1 - beta2**t)
    return theta - lr * root / (1 - beta1**t) * m / (np.sqrt(v) + eps * root), m, v


@RIGHT("adam_step")
def adam_by_tensorflow(theta, m, v, g, t, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    """TensorFlow in float64; returned as a list."""
    theta, m, v, g = (tf.constant(item) for item in (theta, m, v, g))
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * tf.square(g)
    step = tf.divide(m / (1 - beta1**t), tf.sqrt(v / (1 - beta2**t)) + eps)
    return [theta - lr * step, m, v]


def _adam(change):
    """Return an Adam step in which one thing is changed."""

    @functools.wraps(change)
    def step(theta, m, v, g, t, lr, beta1=0.9, beta2=0.999, eps=1e-8):
        with np.errstate(divide="ignore", invalid="ignore"):
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            return change(theta, m, v, g, t, lr, beta1, beta2, eps)

    return step


@WRONG("adam_step")
@_adam
def adam_not_corrected(theta, m, v, g, t, lr, beta1, beta2, eps):
    """No bias correction."""
    return theta - lr * m / (np.sqrt(v) + eps), m, v


@WRONG("adam_step")
@_adam
def adam_corrected_first_only(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Correct only the first moment."""
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v) + eps), m, v


@WRONG("adam_step")
@_adam
def adam_corrected_second_only(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Correct only the second moment."""
    return theta - lr * m / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@WRONG("adam_step")
@_adam
def adam_stores_corrected(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Hand the corrected moments to the next step."""
    m, v = m / (1 - beta1**t), v / (1 - beta2**t)
    return theta - lr * m / (np.sqrt(v) + eps), m, v


@WRONG("adam_step")
@_adam
def adam_from_zero(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Count t from zero: division by zero."""
    t = t - 1
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@WRONG("adam_step")
@_adam
def adam_late(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Count t one too high."""
    t = t + 1
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@WRONG("adam_step")
@_adam
def adam_product(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Divide by 1 - beta at every step instead of 1 - beta**t."""
    return theta - lr * m / (1 - beta1) / (np.sqrt(v / (1 - beta2)) + eps), m, v


@WRONG("adam_step")
@_adam
def adam_epsilon_inside(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Put epsilon under the root."""
    return theta - lr * m / (1 - beta1**t) / np.sqrt(v / (1 - beta2**t) + eps), m, v


@WRONG("adam_step")
@_adam
def adam_epsilon_hat(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Add epsilon to the uncorrected root, as Keras does."""
    return theta - lr * np.sqrt(1 - beta2**t) / (1 - beta1**t) * m / (np.sqrt(v) + eps), m, v


@WRONG("adam_step")
@_adam
def adam_no_epsilon(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Divide without epsilon."""
    return theta - lr * m / (1 - beta1**t) / np.sqrt(v / (1 - beta2**t)), m, v


@WRONG("adam_step")
@_adam
def adam_no_root(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Forget the root."""
    return theta - lr * m / (1 - beta1**t) / (v / (1 - beta2**t) + eps), m, v


@WRONG("adam_step")
@_adam
def adam_raw_gradient(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Use the gradient instead of the first moment."""
    return theta - lr * g / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@WRONG("adam_step")
@_adam
def adam_uphill(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Add the step."""
    return theta + lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@WRONG("adam_step")
@_adam
def adam_only_theta(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Return only the parameters."""
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)


@WRONG("adam_step")
@_adam
def adam_order(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Return the second moment before the first."""
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), v, m


@WRONG("adam_step")
def adam_swapped_betas(theta, m, v, g, t, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    """Swap the two betas."""
    m = beta2 * m + (1 - beta2) * g
    v = beta1 * v + (1 - beta1) * g**2
    return theta - lr * m / (1 - beta2**t) / (np.sqrt(v / (1 - beta1**t)) + eps), m, v


@WRONG("adam_step")
def adam_squared_moment(theta, m, v, g, t, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    """Square the first moment instead of the gradient."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * m**2
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@WRONG("adam_step")
def adam_defaults(theta, m, v, g, t, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    """Ignore the arguments beta1 and beta2."""
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g**2
    return theta - lr * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + eps), m, v


@WRONG("adam_step")
def adam_in_place(theta, m, v, g, t, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    """Change the moments of the caller."""
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g**2
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


def _cosine(step, peak, start, total, floor):
    part = np.clip((step - start) / (total - start), 0, 1)
    return floor + 0.5 * (peak - floor) * (1 + np.cos(np.pi * part))


def _ramp(step, peak, warmup):
    return peak * np.asarray(step) / max(warmup, 1)


@RIGHT("warmup_cosine")
def warmup_piecewise(step, peak, warmup_steps, total_steps, floor=0.0):
    """The cosine as a square; the parts are chosen by multiplication."""
    step = np.asarray(step, float)
    done = np.minimum((step - warmup_steps) / (total_steps - warmup_steps), 1)
    late = floor + (peak - floor) * np.cos(np.pi / 2 * done) ** 2
    return late * (step >= warmup_steps) + peak / max(warmup_steps, 1) * step * (step < warmup_steps)


@RIGHT("warmup_cosine")
def warmup_one_by_one(step, peak, warmup_steps, total_steps, floor=0.0):
    """One number at a time, for arrays by np.vectorize."""

    def rate(t):
        if t < warmup_steps:
            return peak * t / warmup_steps
        if t >= total_steps:
            return float(floor)
        return (
            peak + floor + (peak - floor) * np.cos(np.pi * (t - warmup_steps) / (total_steps - warmup_steps))
        ) / 2

    return np.vectorize(rate, otypes=[float])(step) if np.ndim(step) else rate(step)


@WRONG("warmup_cosine")
def cosine_in_place(step, peak, warmup_steps, total_steps, floor=0.0):
    """Limit the given steps in place."""
    if isinstance(step, np.ndarray):
        np.minimum(step, total_steps, out=step)
    return warmup_piecewise(step, peak, warmup_steps, total_steps, floor)


@WRONG("warmup_cosine")
def warmup_from_start(step, peak, warmup_steps, total_steps, floor=0.0):
    """Measure the cosine's progress from step 0."""
    late = _cosine(step, peak, 0, total_steps, floor)
    return np.where(np.asarray(step) < warmup_steps, _ramp(step, peak, warmup_steps), late)


@WRONG("warmup_cosine")
def warmup_too_long(step, peak, warmup_steps, total_steps, floor=0.0):
    """Let the cosine take total_steps after the warm-up."""
    late = _cosine(step, peak, warmup_steps, total_steps + warmup_steps, floor)
    return np.where(np.asarray(step) < warmup_steps, _ramp(step, peak, warmup_steps), late)


@WRONG("warmup_cosine")
def warmup_none(step, peak, warmup_steps, total_steps, floor=0.0):
    """Leave the warm-up out."""
    return _cosine(step, peak, 0, total_steps, floor)


@WRONG("warmup_cosine")
def warmup_no_floor(step, peak, warmup_steps, total_steps, floor=0.0):
    """Ignore the floor."""
    late = _cosine(step, peak, warmup_steps, total_steps, 0.0)
    return np.where(np.asarray(step) < warmup_steps, _ramp(step, peak, warmup_steps), late)


@WRONG("warmup_cosine")
def warmup_floor_added(step, peak, warmup_steps, total_steps, floor=0.0):
    """Add the floor to the whole cosine, so that the peak is too high."""
    late = floor + _cosine(step, peak, warmup_steps, total_steps, 0.0)
    return np.where(np.asarray(step) < warmup_steps, _ramp(step, peak, warmup_steps), late)


@WRONG("warmup_cosine")
def warmup_not_clipped(step, peak, warmup_steps, total_steps, floor=0.0):
    """Let the cosine rise again after total_steps."""
    part = (np.asarray(step) - warmup_steps) / (total_steps - warmup_steps)
    late = floor + 0.5 * (peak - floor) * (1 + np.cos(np.pi * part))
    return np.where(np.asarray(step) < warmup_steps, _ramp(step, peak, warmup_steps), late)


@WRONG("warmup_cosine")
def warmup_off_by_one(step, peak, warmup_steps, total_steps, floor=0.0):
    """Start the warm-up at peak / warmup_steps."""
    late = _cosine(step, peak, warmup_steps, total_steps, floor)
    return np.where(np.asarray(step) < warmup_steps, _ramp(np.asarray(step) + 1, peak, warmup_steps), late)


@WRONG("warmup_cosine")
def warmup_linear(step, peak, warmup_steps, total_steps, floor=0.0):
    """Decay along a line."""
    part = np.clip((np.asarray(step) - warmup_steps) / (total_steps - warmup_steps), 0, 1)
    late = floor + (peak - floor) * (1 - part)
    return np.where(np.asarray(step) < warmup_steps, _ramp(step, peak, warmup_steps), late)


@WRONG("warmup_cosine")
def warmup_quarter(step, peak, warmup_steps, total_steps, floor=0.0):
    """Use a quarter of the cosine's period."""
    part = np.clip((np.asarray(step) - warmup_steps) / (total_steps - warmup_steps), 0, 1)
    late = floor + (peak - floor) * np.cos(np.pi / 2 * part)
    return np.where(np.asarray(step) < warmup_steps, _ramp(step, peak, warmup_steps), late)


@WRONG("warmup_cosine")
def warmup_divides_by_zero(step, peak, warmup_steps, total_steps, floor=0.0):
    """Fail without a warm-up."""
    late = _cosine(step, peak, warmup_steps, total_steps, floor)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.minimum(peak * np.asarray(step) / np.asarray(warmup_steps), late)


@WRONG("warmup_cosine")
def warmup_scalar_only(step, peak, warmup_steps, total_steps, floor=0.0):
    """Work for one step only."""
    if step < warmup_steps:
        return peak * step / warmup_steps
    return _cosine(step, peak, warmup_steps, total_steps, floor)


@WRONG("warmup_cosine")
def warmup_array_only(step, peak, warmup_steps, total_steps, floor=0.0):
    """Return an array of shape (1,) for one step."""
    step = np.atleast_1d(step)
    late = _cosine(step, peak, warmup_steps, total_steps, floor)
    return np.where(step < warmup_steps, _ramp(step, peak, warmup_steps), late)


@WRONG("warmup_cosine")
def warmup_example(step, peak, warmup_steps, total_steps, floor=0.0):
    """Return the result of the example."""
    return np.array([0, 0.05, 0.1, 0.06, 0.02, 0.02])


@RIGHT("compare_optimizers")
def compare_by_hand(model, loss, makers, x, y, epochs, batch_size):
    """Gradients by a tape, batch after batch, without compile; the weights are kept as tensors."""
    start, loss = [tf.identity(w) for w in model.weights], keras.losses.get(loss)
    mean = lambda x, y, **how: tf.reduce_mean(loss(y, model(x, **how)))  # noqa: E731
    histories = {}
    for name in makers:
        optimizer, losses = makers[name](), [mean(x, y)]
        for first in epochs * list(range(0, len(x), batch_size)):
            rows = slice(first, first + batch_size)
            with tf.GradientTape() as tape:
                value = mean(x[rows], y[rows], training=True)
            optimizer.apply(tape.gradient(value, model.trainable_weights), model.trainable_weights)
            losses += [mean(x, y)] if rows.stop >= len(x) else []
        histories[name] = losses
        for weight, value in zip(model.weights, start, strict=True):
            weight.assign(value)
    return histories


@RIGHT("compare_optimizers")
def compare_epoch_by_epoch(model, loss, makers, x, y, epochs, batch_size):
    """fit for one epoch at a time on a tf.data pipeline, evaluate in between, finally put everything back."""
    data, start = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size), model.get_weights()
    whole, histories = tf.data.Dataset.from_tensors((x, y)), {name: [] for name in makers}
    try:
        for name, losses in histories.items():
            model.set_weights(start)
            model.compile(makers[name](), loss, run_eagerly=True)
            losses.append(model.evaluate(whole, verbose=0))
            for _ in range(epochs):
                model.fit(data, verbose=0)
                losses.append(model.evaluate(whole, verbose=0))
    finally:
        model.set_weights(start)
    return histories


def _compare(
    model,
    loss,
    makers,
    x,
    y,
    epochs,
    batch_size,
    continued=False,
    shuffle=False,
    running=False,
    first=True,
    restored=True,
    one_batch=False,
    same_optimizer=False,
    result=dict,
):
    """Compare in the right way but for the options."""
    start, histories, optimizer = model.get_weights(), {}, None
    size, rng = len(x) if one_batch else batch_size, np.random.default_rng(0)
    for name, make in makers.items():
        if not continued:
            model.set_weights(start)
        optimizer = optimizer if optimizer and same_optimizer else make()
        model.compile(optimizer, loss, run_eagerly=True)
        losses = [model.test_on_batch(x, y)] if first else []
        for _ in range(epochs):
            model.reset_metrics()
            order = rng.permutation(len(x)) if shuffle else np.arange(len(x))
            for rows in np.split(order, range(size, len(x), size)):
                average = model.train_on_batch(x[rows], y[rows])  # Of the epoch until now.
            model.reset_metrics()
            losses.append(average if running else model.test_on_batch(x, y))
        histories[name] = np.array(losses)
    if restored:
        model.set_weights(start)
    return result(histories.items())


for _what, _options in {
    "Train on from where the last optimizer stopped.": {"continued": True},
    "Shuffle the batches.": {"shuffle": True},
    "Return the average loss during each epoch.": {"running": True},
    "Leave out the loss before training.": {"first": False},
    "Leave the model trained.": {"restored": False},
    "Ignore the batch size.": {"one_batch": True},
    "Use the first optimizer for all.": {"same_optimizer": True},
    "Return a list.": {"result": list},
}.items():
    WRONG.add("compare_optimizers", _compare, _what, **_options)


@WRONG("compare_optimizers")
def compare_trainable_only(model, loss, makers, x, y, epochs, batch_size):
    """Forget the moving averages of batch normalisation when restoring."""
    start = [variable.numpy() for variable in model.trainable_variables]
    whole, histories = model.get_weights(), {}
    for name, make in makers.items():
        for variable, value in zip(model.trainable_variables, start, strict=True):
            variable.assign(value)
        histories |= _compare(model, loss, {name: make}, x, y, epochs, batch_size, restored=False)
    model.set_weights(whole)
    return histories


@WRONG("compare_optimizers")
def compare_cloned(model, loss, makers, x, y, epochs, batch_size):
    """Clone the model, which draws new weights."""
    histories = {}
    for name, make in makers.items():
        histories |= _compare(keras.models.clone_model(model), loss, {name: make}, x, y, epochs, batch_size)
    return histories


@WRONG("compare_optimizers")
def compare_no_training(model, loss, makers, x, y, epochs, batch_size):
    """Measure without training."""
    model.compile("sgd", loss)
    value = model.evaluate(x, y, verbose=0)
    return {name: np.full(epochs + 1, value) for name in makers}


@WRONG("compare_optimizers")
def compare_example(model, loss, makers, x, y, epochs, batch_size):
    """Return the result of the example."""
    return {"학습률 0.25": np.array([1, 0.25, 0.0625]), "학습률 0.5": np.array([1.0, 0, 0])}
