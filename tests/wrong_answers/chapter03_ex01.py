"""Wrong answers to practice 3.1; every one of them must be marked ❌."""

import functools

import numpy as np
import tensorflow as tf

keras = tf.keras


def _ranked(first):
    return sorted(first.items(), key=lambda item: (item[1] is None, item[1] or 0))


def steps_argmax(histories, target):
    """Take argmax of the condition, which is 0 where nothing holds."""
    return _ranked({name: int(np.argmax(losses <= target)) for name, losses in histories.items()})


def steps_strict(histories, target):
    """Ask for a loss below the target instead of at or below it."""
    first = {}
    for name, losses in histories.items():
        hits = np.flatnonzero(losses < target)
        first[name] = int(hits[0]) if len(hits) else None
    return _ranked(first)


def steps_from_one(histories, target):
    """Count from one."""
    first = {}
    for name, losses in histories.items():
        hits = np.flatnonzero(losses <= target)
        first[name] = int(hits[0]) + 1 if len(hits) else None
    return _ranked(first)


def steps_lowest(histories, target):
    """Take the step of the lowest loss."""
    first = {
        name: int(np.argmin(losses)) if losses.min() <= target else None for name, losses in histories.items()
    }
    return _ranked(first)


def steps_count_above(histories, target):
    """Count the losses above the target, which fails if the loss rises again."""
    first = {}
    for name, losses in histories.items():
        count = int(np.sum(losses > target))
        first[name] = count if count < len(losses) else None
    return _ranked(first)


def steps_stays(histories, target):
    """Take the step after which the loss stays below the target."""
    first = {}
    for name, losses in histories.items():
        above = np.flatnonzero(~(losses <= target))
        steps = int(above[-1]) + 1 if len(above) else 0
        first[name] = steps if steps < len(losses) else None
    return _ranked(first)


def steps_unsorted(histories, target):
    """Keep the order of the histories."""
    first = {}
    for name, losses in histories.items():
        hits = np.flatnonzero(losses <= target)
        first[name] = int(hits[0]) if len(hits) else None
    return list(first.items())


def steps_falsy_last(histories, target):
    """Treat step 0 like None when sorting."""
    first = dict(steps_unsorted(histories, target))
    return sorted(first.items(), key=lambda item: item[1] or 10**9)


def steps_by_name(histories, target):
    """Break ties by name instead of the given order."""
    first = dict(steps_unsorted(histories, target))
    return sorted(first.items(), key=lambda item: (item[1] is None, item[1] or 0, item[0]))


def steps_minus_one(histories, target):
    """Say -1 instead of None."""
    return [(name, -1 if steps is None else steps) for name, steps in _right_steps(histories, target)]


def steps_dropped(histories, target):
    """Leave out what never reaches the target."""
    return [(name, steps) for name, steps in _right_steps(histories, target) if steps is not None]


def steps_dict(histories, target):
    """Return a dictionary."""
    return dict(_right_steps(histories, target))


def steps_example(histories, target):
    """Return the result of the example."""
    return [("B", 1), ("A", 2), ("C", None)]


def _right_steps(histories, target):
    return _ranked(dict(steps_unsorted(histories, target)))


def momentum_torch(theta, v, g, lr, mu=0.9, nesterov=False):
    """Keep the velocity without the learning rate, as PyTorch does."""
    v = mu * v + g
    return theta - lr * (mu * v + g if nesterov else v), v


def momentum_averaged(theta, v, g, lr, mu=0.9, nesterov=False):
    """Use a moving average instead of a sum."""
    v = mu * v - lr * (1 - mu) * g
    return theta + (mu * v - lr * g if nesterov else v), v


def momentum_uphill(theta, v, g, lr, mu=0.9, nesterov=False):
    """Add the gradient."""
    v = mu * v + lr * g
    return theta + (mu * v + lr * g if nesterov else v), v


def momentum_old_velocity(theta, v, g, lr, mu=0.9, nesterov=False):
    """Move by the old velocity."""
    new = mu * v - lr * g
    return theta + (mu * v - lr * g if nesterov else v), new


def momentum_never_nesterov(theta, v, g, lr, mu=0.9, nesterov=False):
    """Ignore nesterov."""
    v = mu * v - lr * g
    return theta + v, v


def momentum_always_nesterov(theta, v, g, lr, mu=0.9, nesterov=False):
    """Always use Nesterov's rule."""
    v = mu * v - lr * g
    return theta + mu * v - lr * g, v


def momentum_nesterov_twice(theta, v, g, lr, mu=0.9, nesterov=False):
    """Forget the factor mu in Nesterov's rule."""
    v = mu * v - lr * g
    return theta + (v - lr * g if nesterov else v), v


def momentum_no_memory(theta, v, g, lr, mu=0.9, nesterov=False):
    """Plain gradient descent."""
    return theta - lr * g, -lr * g


def momentum_fixed_mu(theta, v, g, lr, mu=0.9, nesterov=False):
    """Always use mu = 0.9."""
    v = 0.9 * v - lr * g
    return theta + (0.9 * v - lr * g if nesterov else v), v


def momentum_in_place(theta, v, g, lr, mu=0.9, nesterov=False):
    """Change the velocity of the caller."""
    v *= mu
    v -= lr * g
    return theta + (mu * v - lr * g if nesterov else v), v


def momentum_only_theta(theta, v, g, lr, mu=0.9, nesterov=False):
    """Return only the parameters."""
    return theta + mu * v - lr * g


def momentum_swapped(theta, v, g, lr, mu=0.9, nesterov=False):
    """Return the velocity first."""
    v = mu * v - lr * g
    return v, theta + (mu * v - lr * g if nesterov else v)


def momentum_example(theta, v, g, lr, mu=0.9, nesterov=False):
    """Return the result of the example."""
    return np.array([0.55 if nesterov else 0.5]), np.array([-0.5])


def momentum_unchanged(theta, v, g, lr, mu=0.9, nesterov=False):
    """Return the inputs."""
    return theta, v


def rmsprop_epsilon_outside(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Put epsilon outside the root, as PyTorch does."""
    v = rho * v + (1 - rho) * g**2
    return theta - lr * g / (np.sqrt(v) + eps), v


def rmsprop_no_epsilon(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Divide without epsilon."""
    v = rho * v + (1 - rho) * g**2
    with np.errstate(invalid="ignore"):
        return theta - lr * g / np.sqrt(v), v


def rmsprop_old_average(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Divide by the old average."""
    return theta - lr * g / np.sqrt(v + eps), rho * v + (1 - rho) * g**2


def rmsprop_summed(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Forget (1 - rho)."""
    v = rho * v + g**2
    return theta - lr * g / np.sqrt(v + eps), v


def rmsprop_adagrad(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Sum the squares as AdaGrad does."""
    v = v + g**2
    return theta - lr * g / np.sqrt(v + eps), v


def rmsprop_swapped_rho(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Swap rho and 1 - rho."""
    v = (1 - rho) * v + rho * g**2
    return theta - lr * g / np.sqrt(v + eps), v


def rmsprop_not_squared(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Average the absolute gradients."""
    v = rho * v + (1 - rho) * np.abs(g)
    return theta - lr * g / np.sqrt(v + eps), v


def rmsprop_no_root(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Forget the root."""
    v = rho * v + (1 - rho) * g**2
    return theta - lr * g / (v + eps), v


def rmsprop_whole_norm(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Average over all coordinates instead of each."""
    v = rho * v + (1 - rho) * np.mean(g**2) * np.ones_like(g)
    return theta - lr * g / np.sqrt(v + eps), v


def rmsprop_uphill(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Add the step."""
    v = rho * v + (1 - rho) * g**2
    return theta + lr * g / np.sqrt(v + eps), v


def rmsprop_in_place(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Change the parameters of the caller."""
    v = rho * v + (1 - rho) * g**2
    theta -= lr * g / np.sqrt(v + eps)
    return theta, v


def rmsprop_example(theta, v, g, lr, rho=0.9, eps=1e-7):
    """Return the result of the example."""
    return np.array([0.5]), np.array([9.0])


def _adam(change):
    """Return an Adam step in which one thing is changed."""

    @functools.wraps(change)
    def step(theta, m, v, g, t, lr, beta1=0.9, beta2=0.999, eps=1e-8):
        with np.errstate(divide="ignore", invalid="ignore"):
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            return change(theta, m, v, g, t, lr, beta1, beta2, eps)

    return step


@_adam
def adam_not_corrected(theta, m, v, g, t, lr, beta1, beta2, eps):
    """No bias correction."""
    return theta - lr * m / (np.sqrt(v) + eps), m, v


@_adam
def adam_corrected_first_only(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Correct only the first moment."""
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v) + eps), m, v


@_adam
def adam_corrected_second_only(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Correct only the second moment."""
    return theta - lr * m / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@_adam
def adam_stores_corrected(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Hand the corrected moments to the next step."""
    m, v = m / (1 - beta1**t), v / (1 - beta2**t)
    return theta - lr * m / (np.sqrt(v) + eps), m, v


@_adam
def adam_from_zero(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Count t from zero: division by zero."""
    t = t - 1
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@_adam
def adam_late(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Count t one too high."""
    t = t + 1
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@_adam
def adam_product(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Divide by 1 - beta at every step instead of 1 - beta**t."""
    return theta - lr * m / (1 - beta1) / (np.sqrt(v / (1 - beta2)) + eps), m, v


@_adam
def adam_epsilon_inside(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Put epsilon under the root."""
    return theta - lr * m / (1 - beta1**t) / np.sqrt(v / (1 - beta2**t) + eps), m, v


@_adam
def adam_epsilon_hat(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Add epsilon to the uncorrected root, as Keras does."""
    return theta - lr * np.sqrt(1 - beta2**t) / (1 - beta1**t) * m / (np.sqrt(v) + eps), m, v


@_adam
def adam_no_epsilon(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Divide without epsilon."""
    return theta - lr * m / (1 - beta1**t) / np.sqrt(v / (1 - beta2**t)), m, v


@_adam
def adam_no_root(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Forget the root."""
    return theta - lr * m / (1 - beta1**t) / (v / (1 - beta2**t) + eps), m, v


@_adam
def adam_raw_gradient(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Use the gradient instead of the first moment."""
    return theta - lr * g / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@_adam
def adam_uphill(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Add the step."""
    return theta + lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@_adam
def adam_only_theta(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Return only the parameters."""
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)


@_adam
def adam_order(theta, m, v, g, t, lr, beta1, beta2, eps):
    """Return the second moment before the first."""
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), v, m


def adam_swapped_betas(theta, m, v, g, t, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    """Swap the two betas."""
    m = beta2 * m + (1 - beta2) * g
    v = beta1 * v + (1 - beta1) * g**2
    return theta - lr * m / (1 - beta2**t) / (np.sqrt(v / (1 - beta1**t)) + eps), m, v


def adam_squared_moment(theta, m, v, g, t, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    """Square the first moment instead of the gradient."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * m**2
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


def adam_defaults(theta, m, v, g, t, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    """Ignore the arguments beta1 and beta2."""
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g**2
    return theta - lr * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + eps), m, v


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


def warmup_from_start(step, peak, warmup_steps, total_steps, floor=0.0):
    """Measure the cosine's progress from step 0."""
    late = _cosine(step, peak, 0, total_steps, floor)
    return np.where(np.asarray(step) < warmup_steps, _ramp(step, peak, warmup_steps), late)


def warmup_too_long(step, peak, warmup_steps, total_steps, floor=0.0):
    """Let the cosine take total_steps after the warm-up."""
    late = _cosine(step, peak, warmup_steps, total_steps + warmup_steps, floor)
    return np.where(np.asarray(step) < warmup_steps, _ramp(step, peak, warmup_steps), late)


def warmup_none(step, peak, warmup_steps, total_steps, floor=0.0):
    """Leave the warm-up out."""
    return _cosine(step, peak, 0, total_steps, floor)


def warmup_no_floor(step, peak, warmup_steps, total_steps, floor=0.0):
    """Ignore the floor."""
    late = _cosine(step, peak, warmup_steps, total_steps, 0.0)
    return np.where(np.asarray(step) < warmup_steps, _ramp(step, peak, warmup_steps), late)


def warmup_floor_added(step, peak, warmup_steps, total_steps, floor=0.0):
    """Add the floor to the whole cosine, so that the peak is too high."""
    late = floor + _cosine(step, peak, warmup_steps, total_steps, 0.0)
    return np.where(np.asarray(step) < warmup_steps, _ramp(step, peak, warmup_steps), late)


def warmup_not_clipped(step, peak, warmup_steps, total_steps, floor=0.0):
    """Let the cosine rise again after total_steps."""
    part = (np.asarray(step) - warmup_steps) / (total_steps - warmup_steps)
    late = floor + 0.5 * (peak - floor) * (1 + np.cos(np.pi * part))
    return np.where(np.asarray(step) < warmup_steps, _ramp(step, peak, warmup_steps), late)


def warmup_off_by_one(step, peak, warmup_steps, total_steps, floor=0.0):
    """Start the warm-up at peak / warmup_steps."""
    late = _cosine(step, peak, warmup_steps, total_steps, floor)
    return np.where(np.asarray(step) < warmup_steps, _ramp(np.asarray(step) + 1, peak, warmup_steps), late)


def warmup_linear(step, peak, warmup_steps, total_steps, floor=0.0):
    """Decay along a line."""
    part = np.clip((np.asarray(step) - warmup_steps) / (total_steps - warmup_steps), 0, 1)
    late = floor + (peak - floor) * (1 - part)
    return np.where(np.asarray(step) < warmup_steps, _ramp(step, peak, warmup_steps), late)


def warmup_quarter(step, peak, warmup_steps, total_steps, floor=0.0):
    """Use a quarter of the cosine's period."""
    part = np.clip((np.asarray(step) - warmup_steps) / (total_steps - warmup_steps), 0, 1)
    late = floor + (peak - floor) * np.cos(np.pi / 2 * part)
    return np.where(np.asarray(step) < warmup_steps, _ramp(step, peak, warmup_steps), late)


def warmup_divides_by_zero(step, peak, warmup_steps, total_steps, floor=0.0):
    """Fail without a warm-up."""
    late = _cosine(step, peak, warmup_steps, total_steps, floor)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.minimum(peak * np.asarray(step) / np.asarray(warmup_steps), late)


def warmup_scalar_only(step, peak, warmup_steps, total_steps, floor=0.0):
    """Work for one step only."""
    if step < warmup_steps:
        return peak * step / warmup_steps
    return _cosine(step, peak, warmup_steps, total_steps, floor)


def warmup_array_only(step, peak, warmup_steps, total_steps, floor=0.0):
    """Return an array of shape (1,) for one step."""
    step = np.atleast_1d(step)
    late = _cosine(step, peak, warmup_steps, total_steps, floor)
    return np.where(step < warmup_steps, _ramp(step, peak, warmup_steps), late)


def warmup_example(step, peak, warmup_steps, total_steps, floor=0.0):
    """Return the result of the example."""
    return np.array([0, 0.05, 0.1, 0.06, 0.02, 0.02])


def _compare(model, loss, makers, x, y, epochs, batch_size, change=()):
    """Compare in the right way but for what ``change`` names."""
    start, histories, fixed = model.get_weights(), {}, None
    shuffle = "shuffle" in change
    for name, make in makers.items():
        if "continue" not in change:
            model.set_weights(start)
        fixed = fixed or make()
        model.compile(fixed if "same optimizer" in change else make(), loss)
        first = model.evaluate(x, y, batch_size=len(x), verbose=0)
        size = len(x) if "one batch" in change else batch_size
        log = model.fit(
            x,
            y,
            size,
            epochs,
            validation_data=(x, y),
            validation_batch_size=len(x),
            shuffle=shuffle,
            verbose=0,
        ).history
        losses = log["loss"] if "running" in change else log["val_loss"]
        histories[name] = np.array(losses if "no first" in change else [first, *losses])
    if "not restored" not in change:
        model.set_weights(start)
    return list(histories.values()) if "list" in change else histories


def compare_continued(model, loss, makers, x, y, epochs, batch_size):
    """Train on from where the last optimizer stopped."""
    return _compare(model, loss, makers, x, y, epochs, batch_size, ["continue"])


def compare_shuffled(model, loss, makers, x, y, epochs, batch_size):
    """Shuffle the batches."""
    return _compare(model, loss, makers, x, y, epochs, batch_size, ["shuffle"])


def compare_running(model, loss, makers, x, y, epochs, batch_size):
    """Return the average loss during each epoch."""
    return _compare(model, loss, makers, x, y, epochs, batch_size, ["running"])


def compare_no_first(model, loss, makers, x, y, epochs, batch_size):
    """Leave out the loss before training."""
    return _compare(model, loss, makers, x, y, epochs, batch_size, ["no first"])


def compare_not_restored(model, loss, makers, x, y, epochs, batch_size):
    """Leave the model trained."""
    return _compare(model, loss, makers, x, y, epochs, batch_size, ["not restored"])


def compare_one_batch(model, loss, makers, x, y, epochs, batch_size):
    """Ignore the batch size."""
    return _compare(model, loss, makers, x, y, epochs, batch_size, ["one batch"])


def compare_same_optimizer(model, loss, makers, x, y, epochs, batch_size):
    """Use the first optimizer for all."""
    return _compare(model, loss, makers, x, y, epochs, batch_size, ["same optimizer"])


def compare_list(model, loss, makers, x, y, epochs, batch_size):
    """Return a list."""
    return _compare(model, loss, makers, x, y, epochs, batch_size, ["list"])


def compare_trainable_only(model, loss, makers, x, y, epochs, batch_size):
    """Forget the moving averages of batch normalisation when restoring."""
    start = [variable.numpy() for variable in model.trainable_variables]
    whole, histories = model.get_weights(), {}
    for name, make in makers.items():
        for variable, value in zip(model.trainable_variables, start, strict=True):
            variable.assign(value)
        histories |= _compare(model, loss, {name: make}, x, y, epochs, batch_size, ["not restored"])
    model.set_weights(whole)
    return histories


def compare_cloned(model, loss, makers, x, y, epochs, batch_size):
    """Clone the model, which draws new weights."""
    histories = {}
    for name, make in makers.items():
        histories |= _compare(keras.models.clone_model(model), loss, {name: make}, x, y, epochs, batch_size)
    return histories


def compare_no_training(model, loss, makers, x, y, epochs, batch_size):
    """Measure without training."""
    model.compile("sgd", loss)
    value = model.evaluate(x, y, verbose=0)
    return {name: np.full(epochs + 1, value) for name in makers}


def compare_example(model, loss, makers, x, y, epochs, batch_size):
    """Return the result of the example."""
    return {"학습률 0.25": np.array([1, 0.25, 0.0625]), "학습률 0.5": np.array([1.0, 0, 0])}


WRONG = {
    "steps_to_target": [
        steps_argmax,
        steps_strict,
        steps_from_one,
        steps_lowest,
        steps_count_above,
        steps_stays,
        steps_unsorted,
        steps_falsy_last,
        steps_by_name,
        steps_minus_one,
        steps_dropped,
        steps_dict,
        steps_example,
    ],
    "momentum_step": [
        momentum_torch,
        momentum_averaged,
        momentum_uphill,
        momentum_old_velocity,
        momentum_never_nesterov,
        momentum_always_nesterov,
        momentum_nesterov_twice,
        momentum_no_memory,
        momentum_fixed_mu,
        momentum_in_place,
        momentum_only_theta,
        momentum_swapped,
        momentum_example,
        momentum_unchanged,
    ],
    "rmsprop_step": [
        rmsprop_epsilon_outside,
        rmsprop_no_epsilon,
        rmsprop_old_average,
        rmsprop_summed,
        rmsprop_adagrad,
        rmsprop_swapped_rho,
        rmsprop_not_squared,
        rmsprop_no_root,
        rmsprop_whole_norm,
        rmsprop_uphill,
        rmsprop_in_place,
        rmsprop_example,
    ],
    "adam_step": [
        adam_not_corrected,
        adam_corrected_first_only,
        adam_corrected_second_only,
        adam_stores_corrected,
        adam_from_zero,
        adam_late,
        adam_product,
        adam_epsilon_inside,
        adam_epsilon_hat,
        adam_no_epsilon,
        adam_no_root,
        adam_raw_gradient,
        adam_uphill,
        adam_only_theta,
        adam_order,
        adam_swapped_betas,
        adam_squared_moment,
        adam_defaults,
        adam_in_place,
    ],
    "warmup_cosine": [
        warmup_from_start,
        warmup_too_long,
        warmup_none,
        warmup_no_floor,
        warmup_floor_added,
        warmup_not_clipped,
        warmup_off_by_one,
        warmup_linear,
        warmup_quarter,
        warmup_divides_by_zero,
        warmup_scalar_only,
        warmup_array_only,
        warmup_example,
    ],
    "compare_optimizers": [
        compare_continued,
        compare_shuffled,
        compare_running,
        compare_no_first,
        compare_not_restored,
        compare_one_batch,
        compare_same_optimizer,
        compare_list,
        compare_trainable_only,
        compare_cloned,
        compare_no_training,
        compare_example,
    ],
}
