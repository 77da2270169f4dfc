"""Answers to practice 3.2: callbacks that record, steer and stop a training."""

import keras
import numpy as np
import tensorflow as tf

from answers import Answers

RIGHT, WRONG = Answers(), Answers()


@RIGHT("batch_losses")
def losses_recurrence(means, sizes):
    """Move from mean to mean: L = m + N before / b (m - m before), one number at a time, as a list."""
    losses, seen, mean = [], 0, 0.0
    for m, b in zip(means, sizes, strict=True):
        losses.append(float(m + seen / b * (m - mean)))
        seen, mean = seen + b, m
    return losses


@RIGHT("batch_losses")
def losses_solved(means, sizes):
    """Solve the triangular equations of the definition."""
    weights = np.tril(np.tile(sizes, (len(sizes), 1))) / np.cumsum(sizes)[:, None]
    return np.linalg.solve(weights, means)


@RIGHT("batch_losses")
@tf.function
def losses_tensors(means, sizes):
    """TensorFlow in float64 inside a tf.function."""
    sizes = tf.cast(sizes, tf.float64)
    totals = tf.concat([[0.0], means * tf.cumsum(sizes)], axis=0)
    return (totals[1:] - totals[:-1]) / sizes


@WRONG("batch_losses")
def losses_means(means, sizes):
    """Return the running means."""
    return means


@WRONG("batch_losses")
def losses_difference_of_means(means, sizes):
    """Subtract the means without the counts."""
    return np.diff(means, prepend=0)


@WRONG("batch_losses")
def losses_equal_sizes(means, sizes):
    """Assume equal batches."""
    return np.diff(means * np.arange(1, len(means) + 1), prepend=0)


@WRONG("batch_losses")
def losses_not_divided(means, sizes):
    """Return the sums of the batches."""
    return np.diff(means * np.cumsum(sizes), prepend=0)


@WRONG("batch_losses")
def losses_no_prepend(means, sizes):
    """Lose the first batch."""
    return np.diff(means * np.cumsum(sizes)) / sizes[1:]


@WRONG("batch_losses")
def losses_not_cumulated(means, sizes):
    """Multiply by the batch's own size instead of all samples so far."""
    return np.diff(means * sizes, prepend=0) / sizes


@WRONG("batch_losses")
def losses_divided_by_all(means, sizes):
    """Divide by all samples so far."""
    counts = np.cumsum(sizes)
    return np.diff(means * counts, prepend=0) / counts


@WRONG("batch_losses")
def losses_float32(means, sizes):
    """Lose half of the digits."""
    return np.float32(losses_recurrence(means, sizes))


@WRONG("batch_losses")
def losses_small_counter(means, sizes):
    """Count the samples in 16 bits."""
    totals = means * np.cumsum(sizes.astype(np.uint16), dtype=np.uint16)
    return np.diff(totals, prepend=0) / sizes


@WRONG("batch_losses")
def losses_in_place(means, sizes):
    """Right values, but the argument is overwritten."""
    means *= np.cumsum(sizes)
    return np.diff(means, prepend=0) / sizes


@WRONG("batch_losses")
def losses_example(means, sizes):
    """Hard-coded for the example."""
    return np.array([4.0, 1.0, 7.0])


@RIGHT("step_recorder")
class Recorder(keras.callbacks.Callback):
    """The solution, which the wrong ones change."""

    def on_train_begin(self, logs=None):
        self.rates, self.losses, self.mean = [], [], 0.0

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append((batch + 1) * logs["loss"] - batch * self.mean)
        self.mean = logs["loss"]


@RIGHT("step_recorder")
class RecorderAfterwards(keras.callbacks.Callback):
    """Everything at the end of the step: the rate before it, and the loss as what the sum of the epoch gained."""

    def on_train_begin(self, logs=None):
        self.rates, self.losses = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.first = len(self.losses)

    def on_train_batch_begin(self, batch, logs=None):
        self.rate = np.float32(self.model.optimizer.learning_rate)

    def on_batch_end(self, batch, logs=None):
        self.rates.append(self.rate)
        self.losses.append(logs["loss"] * (batch + 1) - sum(self.losses[self.first :]))


@RIGHT("step_recorder")
def recorder_of_lambdas():
    """A function that makes a LambdaCallback."""
    state = {}

    def begin(logs):
        recorder.rates, recorder.losses, state["mean"] = [], [], 0.0

    def after(batch, logs):
        recorder.losses.append(logs["loss"] + batch * (logs["loss"] - state["mean"]))
        state["mean"] = logs["loss"]

    recorder = keras.callbacks.LambdaCallback(
        on_train_begin=begin,
        on_train_batch_begin=lambda batch, logs: recorder.rates.append(
            recorder.model.optimizer.learning_rate.numpy().item()
        ),
        on_train_batch_end=after,
    )
    return recorder


@WRONG("step_recorder")
class RecorderLate(Recorder):
    """Read the rate after the step: a schedule is one step ahead."""

    def on_train_batch_begin(self, batch, logs=None):
        pass

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        self.rates.append(float(self.model.optimizer.learning_rate))


@WRONG("step_recorder")
class RecorderMeans(Recorder):
    """Record the running mean as the loss."""

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])


@WRONG("step_recorder")
class RecorderVariable(Recorder):
    """Keep the variable instead of its value."""

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(self.model.optimizer.learning_rate)


@WRONG("step_recorder")
class RecorderEpochs(Recorder):
    """Record the rate once an epoch."""

    def on_train_batch_begin(self, batch, logs=None):
        pass

    def on_epoch_begin(self, epoch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


@WRONG("step_recorder")
class RecorderOffByOne(Recorder):
    """Count batches from 1 although batch starts at 0."""

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(batch * logs["loss"] - (batch - 1) * self.mean)
        self.mean = logs["loss"]


@WRONG("step_recorder")
class RecorderGlobalCount(Recorder):
    """Unroll as if the mean ran over all epochs."""

    def on_train_batch_end(self, batch, logs=None):
        count = len(self.losses)
        self.losses.append((count + 1) * logs["loss"] - count * self.mean)
        self.mean = logs["loss"]


@WRONG("step_recorder")
class RecorderStaleMean(Recorder):
    """Forget to keep the mean."""

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append((batch + 1) * logs["loss"] - batch * self.mean)


@WRONG("step_recorder")
class RecorderByBatch(Recorder):
    """Evaluate the schedule at the batch number, which restarts every epoch."""

    def on_train_batch_begin(self, batch, logs=None):
        rate = self.model.optimizer._learning_rate
        self.rates.append(float(rate(batch) if callable(rate) else rate))


@WRONG("step_recorder")
class RecorderFirstRate(Recorder):
    """Read the rate once, when the training begins."""

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.first = float(self.model.optimizer.learning_rate)

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(self.first)


@WRONG("step_recorder")
class RecorderPerEpoch(Recorder):
    """Empty the lists at every epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.on_train_begin()


@WRONG("step_recorder")
class RecorderNeverEmptied(Recorder):
    """Fill the lists from __init__ on: a second training is appended."""

    def __init__(self):
        super().__init__()
        self.rates, self.losses, self.mean = [], [], 0.0

    def on_train_begin(self, logs=None):
        pass


@WRONG("step_recorder")
class RecorderOwnCounter(Recorder):
    """Evaluate the schedule at a counter of its own, which restarts when a training goes on."""

    def on_train_batch_begin(self, batch, logs=None):
        rate = self.model.optimizer._learning_rate
        self.rates.append(float(rate(len(self.rates)) if callable(rate) else rate))


@WRONG("step_recorder")
class RecorderRounds(Recorder):
    """Round the rate to three decimals."""

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(round(float(self.model.optimizer.learning_rate), 3))


@WRONG("step_recorder")
class RecorderPositive(Recorder):
    """Take a loss below zero for a rounding error."""

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        self.losses[-1] = max(self.losses[-1], 0.0)


@WRONG("step_recorder")
class RecorderFourBatches(Recorder):
    """Right for the first four batches of an epoch."""

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(min(batch, 4), logs)


@WRONG("step_recorder")
class RecorderChangesLogs(Recorder):
    """Write the batch's loss into the logs, where other callbacks look for the mean."""

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        logs["loss"] = self.losses[-1]


@WRONG("step_recorder")
class RecorderGoesOn(Recorder):
    """Undo what another callback stopped."""

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        self.model.stop_training = False


@RIGHT("warmup_cosine")
class Cosine(keras.callbacks.Callback):
    """The solution, which the wrong ones change."""

    def __init__(self, peak, warmup, total):
        super().__init__()
        self.peak, self.warmup, self.total = peak, warmup, total

    def rate(self, step):
        if step < self.warmup:
            return self.peak * step / self.warmup
        return self.decay(min(1, (step - self.warmup) / (self.total - self.warmup)))

    def decay(self, progress):
        return 0.5 * self.peak * (1 + np.cos(np.pi * progress))

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.rate(int(self.model.optimizer.iterations))


@RIGHT("warmup_cosine")
class CosineOfKeras(keras.callbacks.Callback):
    """Ask Keras' schedule; set the rate when the training begins and after every step."""

    def __init__(self, peak, warmup, total):
        super().__init__()
        how = {"warmup_target": peak, "warmup_steps": warmup} if warmup else {}
        self.schedule = keras.optimizers.schedules.CosineDecay(0.0 if warmup else peak, total - warmup, **how)

    def rate(self, step):
        return self.schedule(step)

    def on_train_begin(self, logs=None):
        self.model.optimizer.learning_rate.assign(self.rate(self.model.optimizer.iterations))

    def on_train_batch_end(self, batch, logs=None):
        self.on_train_begin()


@RIGHT("warmup_cosine")
class CosineSquared(keras.callbacks.LearningRateScheduler):
    """A subclass of a callback of Keras; the cosine as a square, clipped by NumPy."""

    def __init__(self, peak, warmup, total):
        super().__init__(self.rate)
        self.numbers = peak, warmup, total

    def rate(self, step, old=None):
        peak, warmup, total = self.numbers
        part = np.clip((step - warmup) / (total - warmup), 0, 1)
        return np.float64(peak * (step / warmup if step < warmup else np.cos(np.pi / 2 * part) ** 2))

    def on_epoch_begin(self, epoch, logs=None):
        """Leave the rate alone; at the end of an epoch Keras adds it to the logs."""

    def on_train_batch_begin(self, batch, logs=None):
        optimizer = self.model.optimizer
        optimizer.learning_rate = self.rate(optimizer.iterations.numpy())


@WRONG("warmup_cosine")
class CosineByBatch(Cosine):
    """Use the batch number, which restarts every epoch."""

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.rate(batch)


@WRONG("warmup_cosine")
class CosineOwnCounter(Cosine):
    """Count from the beginning of every fit."""

    def on_train_begin(self, logs=None):
        self.step = 0

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.rate(self.step)
        self.step += 1


@WRONG("warmup_cosine")
class CosineCounterOfObject(Cosine):
    """Count from the making of the callback, not from the optimizer's step."""

    def __init__(self, peak, warmup, total):
        super().__init__(peak, warmup, total)
        self.step = 0

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.rate(self.step)
        self.step += 1


@WRONG("warmup_cosine")
class CosineAfterStep(Cosine):
    """Set the rate after the step only: the first step uses the old one."""

    def on_train_batch_begin(self, batch, logs=None):
        pass

    def on_train_batch_end(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.rate(int(self.model.optimizer.iterations))


@WRONG("warmup_cosine")
class CosineByEpoch(Cosine):
    """Change the rate once an epoch."""

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0:
            super().on_train_batch_begin(batch, logs)


@WRONG("warmup_cosine")
class CosineUnclamped(Cosine):
    """The cosine rises again after the end."""

    def rate(self, step):
        if step < self.warmup:
            return self.peak * step / self.warmup
        return self.decay((step - self.warmup) / (self.total - self.warmup))


@WRONG("warmup_cosine")
class CosineTotalAfterWarmup(Cosine):
    """Take total as the steps after the warm-up."""

    def rate(self, step):
        if step < self.warmup:
            return self.peak * step / self.warmup
        return self.decay(min(1, (step - self.warmup) / self.total))


@WRONG("warmup_cosine")
class CosineNotShifted(Cosine):
    """The cosine starts at step 0: a jump at the end of the warm-up."""

    def rate(self, step):
        if step < self.warmup:
            return self.peak * step / self.warmup
        return self.decay(min(1, step / self.total))


@WRONG("warmup_cosine")
class CosineFromOne(Cosine):
    """Start the warm-up at 1 / warmup."""

    def rate(self, step):
        return super().rate(step + 1)


@WRONG("warmup_cosine")
class CosineNoHalf(Cosine):
    """Forget the factor 1/2."""

    def decay(self, progress):
        return self.peak * (1 + np.cos(np.pi * progress))


@WRONG("warmup_cosine")
class CosineQuarter(Cosine):
    """A quarter of a period instead of half of one."""

    def decay(self, progress):
        return self.peak * np.cos(np.pi / 2 * progress)


@WRONG("warmup_cosine")
class CosineLinear(Cosine):
    """Fall in a straight line."""

    def decay(self, progress):
        return self.peak * (1 - progress)


@WRONG("warmup_cosine")
class CosineMinimum(Cosine):
    """Take the smaller of the two, which divides by zero without warm-up."""

    def rate(self, step):
        return min(self.peak * step / self.warmup, super().rate(step))


@WRONG("warmup_cosine")
class CosineNotSet(Cosine):
    """Compute the rate but do not set it."""

    def on_train_batch_begin(self, batch, logs=None):
        self.rate(int(self.model.optimizer.iterations))


@WRONG("warmup_cosine")
class CosineNotReturned(Cosine):
    """Forget the return."""

    def rate(self, step):
        super().rate(step)


@WRONG("warmup_cosine")
class CosineLeavesTheEnd(Cosine):
    """Set nothing after the last step, so that another rate stays."""

    def on_train_batch_begin(self, batch, logs=None):
        if int(self.model.optimizer.iterations) <= self.total:
            super().on_train_batch_begin(batch, logs)


@WRONG("warmup_cosine")
class CosineByEpochAndBatch(Cosine):
    """Count by the numbers of epoch and batch where the length of an epoch is known."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        step = int(self.model.optimizer.iterations)
        if self.params:
            step = self.epoch * self.params["steps"] + batch
        self.model.optimizer.learning_rate = self.rate(step)


@WRONG("warmup_cosine")
class CosineShared(Cosine):
    """Keep the numbers in the class: the last one made counts for all."""

    def __init__(self, peak, warmup, total):
        keras.callbacks.Callback.__init__(self)
        CosineShared.peak, CosineShared.warmup, CosineShared.total = peak, warmup, total


@RIGHT("best_keeper")
class Keeper(keras.callbacks.Callback):
    """The solution, which the wrong ones change."""

    def __init__(self, patience, min_delta=0.0):
        super().__init__()
        self.patience, self.min_delta = patience, min_delta

    def on_train_begin(self, logs=None):
        self.best, self.wait, self.weights = np.inf, 0, None

    def value(self, logs):
        return logs["val_loss"]

    def better(self, value):
        return value + self.min_delta < self.best

    def over(self):
        return self.wait >= self.patience

    def on_epoch_end(self, epoch, logs=None):
        value = self.value(logs)
        if self.better(value):
            self.best, self.wait, self.weights = value, 0, self.model.get_weights()
        else:
            self.wait += 1
            if self.over():
                self.model.stop_training = True

    def on_train_end(self, logs=None):
        if self.weights is not None:
            self.model.set_weights(self.weights)


@RIGHT("best_keeper")
class KeeperOfHistory(keras.callbacks.Callback):
    """Keep all losses and go through them again after every epoch; copies of variables; never undoes a stop."""

    def __init__(self, patience, min_delta=0.0):
        super().__init__()
        self.numbers = patience, min_delta

    def on_train_begin(self, logs=None):
        self.losses, self.copies = [], None

    def on_epoch_end(self, epoch, logs):
        self.losses.append(logs.get("val_loss"))
        best, last = float("inf"), -1
        for place, loss in enumerate(self.losses):
            if loss < best - self.numbers[1]:
                best, last = loss, place
        if last == len(self.losses) - 1:
            self.copies = [tf.identity(weight) for weight in self.model.weights]
        self.model.stop_training |= len(self.losses) - 1 - last >= self.numbers[0]

    def on_train_end(self, logs=None):
        for weight, copy in zip(self.model.weights, self.copies or [], strict=bool(self.copies)):
            weight.assign(copy)


@RIGHT("best_keeper")
class KeeperAtOnce(Keeper):
    """Restore as soon as the training stops, otherwise when it ends."""

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if self.model.stop_training:
            super().on_train_end(logs)


@RIGHT("best_keeper")
class KeeperByKeras(keras.callbacks.EarlyStopping):
    """Keras decides when to stop; the weights are one's own affair."""

    def __init__(self, patience, min_delta=0.0):
        super().__init__("val_loss", min_delta, patience)
        self.delta = min_delta  # Keras keeps its own with the opposite sign.

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.least, self.kept = np.inf, []

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if logs["val_loss"] + self.delta < self.least:
            self.least, self.kept = logs["val_loss"], [np.array(weight) for weight in self.model.weights]

    def on_train_end(self, logs=None):
        self.model.set_weights(self.kept or self.model.get_weights())


@WRONG("best_keeper")
class KeeperNotRestored(Keeper):
    """Stop, but keep the last weights."""

    def on_train_end(self, logs=None):
        pass


@WRONG("best_keeper")
class KeeperRestoredIfStopped(Keeper):
    """Restore only if the training was stopped."""

    def on_train_end(self, logs=None):
        if self.wait >= self.patience:
            super().on_train_end(logs)


@WRONG("best_keeper")
class KeeperLate(Keeper):
    """One epoch more of patience."""

    def over(self):
        return self.wait > self.patience


@WRONG("best_keeper")
class KeeperEarly(Keeper):
    """One epoch less of patience."""

    def over(self):
        return self.wait >= self.patience - 1


@WRONG("best_keeper")
class KeeperNoDelta(Keeper):
    """Ignore min_delta."""

    def better(self, value):
        return value < self.best


@WRONG("best_keeper")
class KeeperDeltaSign(Keeper):
    """min_delta with the opposite sign."""

    def better(self, value):
        return value - self.min_delta < self.best


@WRONG("best_keeper")
class KeeperTies(Keeper):
    """Count ties as improvements."""

    def better(self, value):
        return value + self.min_delta <= self.best


@WRONG("best_keeper")
class KeeperNotNan(Keeper):
    """A NaN counts as an improvement."""

    def better(self, value):
        return not value + self.min_delta >= self.best


@WRONG("best_keeper")
class KeeperTrainingLoss(Keeper):
    """Watch the training loss."""

    def value(self, logs):
        return logs["loss"]


@WRONG("best_keeper")
class KeeperMaximum(Keeper):
    """Watch for the largest value."""

    def value(self, logs):
        return -logs["val_loss"]


@WRONG("best_keeper")
class KeeperCumulative(Keeper):
    """Never reset the count of bad epochs."""

    def on_epoch_end(self, epoch, logs=None):
        wait = self.wait if self.best < np.inf else 0
        super().on_epoch_end(epoch, logs)
        self.wait = max(self.wait, wait)


@WRONG("best_keeper")
class KeeperReferences(Keeper):
    """Keep references to the variables instead of copies."""

    def on_epoch_end(self, epoch, logs=None):
        before = self.weights
        super().on_epoch_end(epoch, logs)
        if self.weights is not before:
            self.weights = self.model.weights

    def on_train_end(self, logs=None):
        self.model.set_weights([variable.numpy() for variable in self.weights])


@WRONG("best_keeper")
class KeeperTrainable(Keeper):
    """Restore only the weights that are trained."""

    def on_epoch_end(self, epoch, logs=None):
        before = self.weights
        super().on_epoch_end(epoch, logs)
        if self.weights is not before:
            self.weights = [variable.numpy() for variable in self.model.trainable_weights]

    def on_train_end(self, logs=None):
        for variable, value in zip(self.model.trainable_weights, self.weights or [], strict=False):
            variable.assign(value)


@WRONG("best_keeper")
class KeeperPrevious(Keeper):
    """Compare with the epoch before instead of the best."""

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        self.best = logs["val_loss"]


@WRONG("best_keeper")
class KeeperNotReset(Keeper):
    """Set the state in __init__ only: a second training stops at once."""

    def __init__(self, patience, min_delta=0.0):
        super().__init__(patience, min_delta)
        super().on_train_begin()

    def on_train_begin(self, logs=None):
        pass


@WRONG("best_keeper")
class KeeperNeverStops(Keeper):
    """Restore, but never stop."""

    def over(self):
        return False


@WRONG("best_keeper")
class KeeperFirstEpoch(keras.callbacks.EarlyStopping):
    """Let Keras do it, which goes back to the first epoch if nothing ever got better."""

    def __init__(self, patience, min_delta=0.0):
        super().__init__("val_loss", min_delta, patience, restore_best_weights=True)


@WRONG("best_keeper")
class KeeperStart(Keeper):
    """Go back to the start if nothing ever got better."""

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.weights = self.model.get_weights()


@WRONG("best_keeper")
class KeeperRollsBack(Keeper):
    """Go back after every epoch that was not better."""

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if self.wait:
            self.on_train_end()


@WRONG("best_keeper")
class KeeperGoesOn(Keeper):
    """Undo what another callback stopped."""

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        self.model.stop_training = self.over()


@WRONG("best_keeper")
class KeeperPopsLogs(Keeper):
    """Take the loss out of the logs, where other callbacks look for it."""

    def value(self, logs):
        return logs.pop("val_loss")


@WRONG("best_keeper")
class KeeperInfinity(Keeper):
    """Take a first infinite loss for an improvement."""

    def better(self, value):
        return super().better(value) or (self.weights is None and value == np.inf)


@WRONG("best_keeper")
class KeeperImpatient(Keeper):
    """Never wait for more than five epochs."""

    def over(self):
        return self.wait >= min(self.patience, 5)


@WRONG("best_keeper")
class KeeperSlowsDown(Keeper):
    """Halve the learning rate after a bad epoch, which nobody asked for."""

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if self.wait:
            self.model.optimizer.learning_rate = float(self.model.optimizer.learning_rate) / 2


@RIGHT("range_test")
class Range(keras.callbacks.Callback):
    """The solution, which the wrong ones change."""

    def __init__(self, start, end, steps, limit=4.0):
        super().__init__()
        self.start, self.end, self.steps, self.limit = start, end, steps, limit

    def on_train_begin(self, logs=None):
        self.rates, self.losses, self.mean = [], [], 0.0
        self.weights, self.rate = self.model.get_weights(), float(self.model.optimizer.learning_rate)

    def ramp(self, step):
        return self.start * (self.end / self.start) ** (step / (self.steps - 1))

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(self.ramp(len(self.rates)))
        self.model.optimizer.learning_rate = self.rates[-1]

    def loss(self, batch, logs):
        loss, self.mean = (batch + 1) * logs["loss"] - batch * self.mean, logs["loss"]
        return loss

    def exploded(self, loss):
        return not np.isfinite(loss) or loss > self.limit * min(self.losses)

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(self.loss(batch, logs))
        if self.exploded(self.losses[-1]) or len(self.losses) == self.steps:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        self.model.set_weights(self.weights)
        self.model.optimizer.learning_rate = self.rate


@RIGHT("range_test")
class RangeMultiplied(keras.callbacks.Callback):
    """A running product for the rate, the sum of the epoch for the loss, and the smallest loss so far."""

    def __init__(self, start, end, steps, limit=4.0):
        super().__init__()
        self.first, self.limit, self.steps = start, limit, steps
        self.factor = (end / start) ** (1 / (steps - 1))

    def on_train_begin(self, logs=None):
        optimizer = self.model.optimizer
        self.before = [tf.identity(v) for v in (*self.model.variables, optimizer.learning_rate)]
        self.rates, self.losses, self.next, self.least = [], [], self.first, np.inf

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate.assign(self.next)
        self.rates.append(self.next)
        self.next *= self.factor
        self.total = self.total if batch else 0.0

    def on_train_batch_end(self, batch, logs=None):
        loss = np.float64(logs["loss"] * (batch + 1) - self.total)
        self.losses.append(loss)
        self.total += loss
        self.least = min(self.least, loss)
        calm = loss <= self.limit * self.least and loss < np.inf
        self.model.stop_training |= not calm or len(self.losses) >= self.steps

    def on_train_end(self, logs=None):
        variables = (*self.model.variables, self.model.optimizer.learning_rate)
        for variable, value in zip(variables, self.before, strict=True):
            variable.assign(value)


@RIGHT("range_test")
class RangeTable(Range):
    """All rates are made at the start; the copy is a clone of the model."""

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.table = list(np.geomspace(self.start, self.end, self.steps))
        self.clone = keras.models.clone_model(self.model)
        self.clone.set_weights(self.weights)

    def ramp(self, step):
        return self.table[step]

    def on_train_end(self, logs=None):
        self.weights = self.clone.get_weights()
        super().on_train_end(logs)


@WRONG("range_test")
class RangeLinear(Range):
    """Add instead of multiplying."""

    def ramp(self, step):
        return self.start + (self.end - self.start) * step / (self.steps - 1)


@WRONG("range_test")
class RangeNotReached(Range):
    """Divide by steps: the last rate is not end."""

    def ramp(self, step):
        return self.start * (self.end / self.start) ** (step / self.steps)


@WRONG("range_test")
class RangeFromOne(Range):
    """Start one step late."""

    def ramp(self, step):
        return super().ramp(step + 1)


@WRONG("range_test")
class RangeByBatch(Range):
    """Use the batch number: the ramp restarts every epoch."""

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(self.ramp(batch))
        self.model.optimizer.learning_rate = self.rates[-1]


@WRONG("range_test")
class RangeNotSet(Range):
    """Record the rates without setting them."""

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(self.ramp(len(self.rates)))


@WRONG("range_test")
class RangeMeans(Range):
    """Judge the running mean."""

    def loss(self, batch, logs):
        return logs["loss"]


@WRONG("range_test")
class RangeFirst(Range):
    """Compare with the first loss instead of the smallest."""

    def exploded(self, loss):
        return not np.isfinite(loss) or loss > self.limit * self.losses[0]


@WRONG("range_test")
class RangePrevious(Range):
    """Compare with the loss before."""

    def exploded(self, loss):
        return not np.isfinite(loss) or (len(self.losses) > 1 and loss > self.limit * self.losses[-2])


@WRONG("range_test")
class RangeNoNan(Range):
    """Do not notice a NaN."""

    def exploded(self, loss):
        return loss > self.limit * np.nanmin(self.losses)


@WRONG("range_test")
class RangeAtLimit(Range):
    """Stop at the limit itself."""

    def exploded(self, loss):
        return not np.isfinite(loss) or (len(self.losses) > 1 and loss >= self.limit * min(self.losses))


@WRONG("range_test")
class RangeNoEnd(Range):
    """Go on after the last step."""

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(self.loss(batch, logs))
        if self.exploded(self.losses[-1]):
            self.model.stop_training = True


@WRONG("range_test")
class RangeNeverExplodes(Range):
    """Ignore the explosion."""

    def exploded(self, loss):
        return False


@WRONG("range_test")
class RangeDropsLast(Range):
    """Do not record the loss that stops the test."""

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if self.exploded(self.losses[-1]):
            self.losses.pop()


@WRONG("range_test")
class RangeWeightsLeft(Range):
    """Leave the weights as the test made them."""

    def on_train_end(self, logs=None):
        self.model.optimizer.learning_rate = self.rate


@WRONG("range_test")
class RangeTrainable(Range):
    """Restore only the weights that are trained."""

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.weights = [variable.numpy() for variable in self.model.trainable_weights]

    def on_train_end(self, logs=None):
        for variable, value in zip(self.model.trainable_weights, self.weights, strict=True):
            variable.assign(value)
        self.model.optimizer.learning_rate = self.rate


@WRONG("range_test")
class RangeRateLeft(Range):
    """Leave the last rate in the optimizer."""

    def on_train_end(self, logs=None):
        self.model.set_weights(self.weights)


@WRONG("range_test")
class RangeRateVariable(Range):
    """Keep the rate's variable, which changes, instead of its value."""

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.rate = self.model.optimizer.learning_rate

    def on_train_end(self, logs=None):
        self.model.set_weights(self.weights)
        self.model.optimizer.learning_rate = float(self.rate)


@WRONG("range_test")
class RangeNeverEmptied(Range):
    """Keep the lists of the first test."""

    def on_train_begin(self, logs=None):
        rates, losses = getattr(self, "rates", []), getattr(self, "losses", [])
        super().on_train_begin(logs)
        self.rates, self.losses = rates, losses


@WRONG("range_test")
class RangeOneEpoch(Range):
    """Empty the lists at every epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.rates, self.losses = [], []


@WRONG("range_test")
class RangeSavesOnce(Range):
    """Save weights and rate at the first test only."""

    def on_train_begin(self, logs=None):
        saved = getattr(self, "weights", None), getattr(self, "rate", None)
        super().on_train_begin(logs)
        if saved[0] is not None:
            self.weights, self.rate = saved


@WRONG("range_test")
class RangeFixedRate(Range):
    """Put back the rate of the example, whatever it was."""

    def on_train_end(self, logs=None):
        super().on_train_end(logs)
        self.model.optimizer.learning_rate = 0.25


@WRONG("range_test")
class RangeCoarseRate(Range):
    """Keep the rate in half precision."""

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.rate = float(np.float16(self.rate))


@WRONG("range_test")
class RangeForgets(Range):
    """Compare with the smallest of the last eight losses."""

    def exploded(self, loss):
        return not np.isfinite(loss) or loss > self.limit * min(self.losses[-8:])


@WRONG("range_test")
class RangeFloor(Range):
    """Take no smallest loss below 0.5."""

    def exploded(self, loss):
        return not np.isfinite(loss) or loss > self.limit * max(min(self.losses), 0.5)


@WRONG("range_test")
class RangeAbsolute(Range):
    """Stop above 1000, too."""

    def exploded(self, loss):
        return super().exploded(loss) or loss > 1000


@WRONG("range_test")
class RangeChangesLogs(Range):
    """Write the batch's loss into the logs."""

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        logs["loss"] = self.losses[-1]
