"""Wrong answers to practice 3.2; the docstring of each says the mistake."""

import keras
import numpy as np


def losses_means(means, sizes):
    """Return the running means."""
    return means


def losses_difference_of_means(means, sizes):
    """Subtract the means without the counts."""
    return np.diff(means, prepend=0)


def losses_equal_sizes(means, sizes):
    """Assume equal batches."""
    return np.diff(means * np.arange(1, len(means) + 1), prepend=0)


def losses_not_divided(means, sizes):
    """Return the sums of the batches."""
    return np.diff(means * np.cumsum(sizes), prepend=0)


def losses_no_prepend(means, sizes):
    """Lose the first batch."""
    return np.diff(means * np.cumsum(sizes)) / sizes[1:]


def losses_not_cumulated(means, sizes):
    """Multiply by the batch's own size instead of all samples so far."""
    return np.diff(means * sizes, prepend=0) / sizes


def losses_divided_by_all(means, sizes):
    """Divide by all samples so far."""
    counts = np.cumsum(sizes)
    return np.diff(means * counts, prepend=0) / counts


def losses_in_place(means, sizes):
    """Right values, but the argument is overwritten."""
    means *= np.cumsum(sizes)
    return np.diff(means, prepend=0) / sizes


def losses_example(means, sizes):
    """Hard-coded for the example."""
    return np.array([4.0, 1.0, 7.0])


class Recorder(keras.callbacks.Callback):
    """A right recorder that the wrong ones change."""

    def on_train_begin(self, logs=None):
        self.rates, self.losses, self.mean = [], [], 0.0

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append((batch + 1) * logs["loss"] - batch * self.mean)
        self.mean = logs["loss"]


class RecorderLate(Recorder):
    """Read the rate after the step: a schedule is one step ahead."""

    def on_train_batch_begin(self, batch, logs=None):
        pass

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        self.rates.append(float(self.model.optimizer.learning_rate))


class RecorderMeans(Recorder):
    """Record the running mean as the loss."""

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])


class RecorderVariable(Recorder):
    """Keep the variable instead of its value."""

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(self.model.optimizer.learning_rate)


class RecorderEpochs(Recorder):
    """Record the rate once an epoch."""

    def on_train_batch_begin(self, batch, logs=None):
        pass

    def on_epoch_begin(self, epoch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


class RecorderOffByOne(Recorder):
    """Count batches from 1 although batch starts at 0."""

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(batch * logs["loss"] - (batch - 1) * self.mean)
        self.mean = logs["loss"]


class RecorderGlobalCount(Recorder):
    """Unroll as if the mean ran over all epochs."""

    def on_train_batch_end(self, batch, logs=None):
        count = len(self.losses)
        self.losses.append((count + 1) * logs["loss"] - count * self.mean)
        self.mean = logs["loss"]


class RecorderStaleMean(Recorder):
    """Forget to keep the mean."""

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append((batch + 1) * logs["loss"] - batch * self.mean)


class RecorderByBatch(Recorder):
    """Evaluate the schedule at the batch number, which restarts every epoch."""

    def on_train_batch_begin(self, batch, logs=None):
        rate = self.model.optimizer._learning_rate
        self.rates.append(float(rate(batch) if callable(rate) else rate))


class RecorderFirstRate(Recorder):
    """Read the rate once, when the training begins."""

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.first = float(self.model.optimizer.learning_rate)

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(self.first)


class RecorderPerEpoch(Recorder):
    """Empty the lists at every epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.on_train_begin()


class RecorderNeverEmptied(Recorder):
    """Fill the lists from __init__ on: a second training is appended."""

    def __init__(self):
        super().__init__()
        self.rates, self.losses, self.mean = [], [], 0.0

    def on_train_begin(self, logs=None):
        pass


class Cosine(keras.callbacks.Callback):
    """A right callback that the wrong ones change."""

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


class CosineByBatch(Cosine):
    """Use the batch number, which restarts every epoch."""

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.rate(batch)


class CosineOwnCounter(Cosine):
    """Count from the beginning of every fit."""

    def on_train_begin(self, logs=None):
        self.step = 0

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.rate(self.step)
        self.step += 1


class CosineCounterOfObject(Cosine):
    """Count from the making of the callback, not from the optimizer's step."""

    def __init__(self, peak, warmup, total):
        super().__init__(peak, warmup, total)
        self.step = 0

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.rate(self.step)
        self.step += 1


class CosineAfterStep(Cosine):
    """Set the rate after the step only: the first step uses the old one."""

    def on_train_batch_begin(self, batch, logs=None):
        pass

    def on_train_batch_end(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.rate(int(self.model.optimizer.iterations))


class CosineByEpoch(Cosine):
    """Change the rate once an epoch."""

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0:
            super().on_train_batch_begin(batch, logs)


class CosineUnclamped(Cosine):
    """The cosine rises again after the end."""

    def rate(self, step):
        if step < self.warmup:
            return self.peak * step / self.warmup
        return self.decay((step - self.warmup) / (self.total - self.warmup))


class CosineTotalAfterWarmup(Cosine):
    """Take total as the steps after the warm-up."""

    def rate(self, step):
        if step < self.warmup:
            return self.peak * step / self.warmup
        return self.decay(min(1, (step - self.warmup) / self.total))


class CosineNotShifted(Cosine):
    """The cosine starts at step 0: a jump at the end of the warm-up."""

    def rate(self, step):
        if step < self.warmup:
            return self.peak * step / self.warmup
        return self.decay(min(1, step / self.total))


class CosineFromOne(Cosine):
    """Start the warm-up at 1 / warmup."""

    def rate(self, step):
        return super().rate(step + 1)


class CosineNoHalf(Cosine):
    """Forget the factor 1/2."""

    def decay(self, progress):
        return self.peak * (1 + np.cos(np.pi * progress))


class CosineQuarter(Cosine):
    """A quarter of a period instead of half of one."""

    def decay(self, progress):
        return self.peak * np.cos(np.pi / 2 * progress)


class CosineLinear(Cosine):
    """Fall in a straight line."""

    def decay(self, progress):
        return self.peak * (1 - progress)


class CosineMinimum(Cosine):
    """Take the smaller of the two, which divides by zero without warm-up."""

    def rate(self, step):
        return min(self.peak * step / self.warmup, super().rate(step))


class CosineNotSet(Cosine):
    """Compute the rate but do not set it."""

    def on_train_batch_begin(self, batch, logs=None):
        self.rate(int(self.model.optimizer.iterations))


class CosineNotReturned(Cosine):
    """Forget the return."""

    def rate(self, step):
        super().rate(step)


class Keeper(keras.callbacks.Callback):
    """A right callback that the wrong ones change."""

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


class KeeperNotRestored(Keeper):
    """Stop, but keep the last weights."""

    def on_train_end(self, logs=None):
        pass


class KeeperRestoredIfStopped(Keeper):
    """Restore only if the training was stopped."""

    def on_train_end(self, logs=None):
        if self.wait >= self.patience:
            super().on_train_end(logs)


class KeeperLate(Keeper):
    """One epoch more of patience."""

    def over(self):
        return self.wait > self.patience


class KeeperEarly(Keeper):
    """One epoch less of patience."""

    def over(self):
        return self.wait >= self.patience - 1


class KeeperNoDelta(Keeper):
    """Ignore min_delta."""

    def better(self, value):
        return value < self.best


class KeeperDeltaSign(Keeper):
    """min_delta with the opposite sign."""

    def better(self, value):
        return value - self.min_delta < self.best


class KeeperTies(Keeper):
    """Count ties as improvements."""

    def better(self, value):
        return value + self.min_delta <= self.best


class KeeperNotNan(Keeper):
    """A NaN counts as an improvement."""

    def better(self, value):
        return not value + self.min_delta >= self.best


class KeeperTrainingLoss(Keeper):
    """Watch the training loss."""

    def value(self, logs):
        return logs["loss"]


class KeeperMaximum(Keeper):
    """Watch for the largest value."""

    def value(self, logs):
        return -logs["val_loss"]


class KeeperCumulative(Keeper):
    """Never reset the count of bad epochs."""

    def on_epoch_end(self, epoch, logs=None):
        wait = self.wait if self.best < np.inf else 0
        super().on_epoch_end(epoch, logs)
        self.wait = max(self.wait, wait)


class KeeperReferences(Keeper):
    """Keep references to the variables instead of copies."""

    def on_epoch_end(self, epoch, logs=None):
        before = self.weights
        super().on_epoch_end(epoch, logs)
        if self.weights is not before:
            self.weights = self.model.weights

    def on_train_end(self, logs=None):
        self.model.set_weights([variable.numpy() for variable in self.weights])


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


class KeeperPrevious(Keeper):
    """Compare with the epoch before instead of the best."""

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        self.best = logs["val_loss"]


class KeeperNotReset(Keeper):
    """Set the state in __init__ only: a second training stops at once."""

    def __init__(self, patience, min_delta=0.0):
        super().__init__(patience, min_delta)
        super().on_train_begin()

    def on_train_begin(self, logs=None):
        pass


class KeeperNeverStops(Keeper):
    """Restore, but never stop."""

    def over(self):
        return False


class Range(keras.callbacks.Callback):
    """A right callback that the wrong ones change."""

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


class RangeLinear(Range):
    """Add instead of multiplying."""

    def ramp(self, step):
        return self.start + (self.end - self.start) * step / (self.steps - 1)


class RangeNotReached(Range):
    """Divide by steps: the last rate is not end."""

    def ramp(self, step):
        return self.start * (self.end / self.start) ** (step / self.steps)


class RangeFromOne(Range):
    """Start one step late."""

    def ramp(self, step):
        return super().ramp(step + 1)


class RangeByBatch(Range):
    """Use the batch number: the ramp restarts every epoch."""

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(self.ramp(batch))
        self.model.optimizer.learning_rate = self.rates[-1]


class RangeNotSet(Range):
    """Record the rates without setting them."""

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(self.ramp(len(self.rates)))


class RangeMeans(Range):
    """Judge the running mean."""

    def loss(self, batch, logs):
        return logs["loss"]


class RangeFirst(Range):
    """Compare with the first loss instead of the smallest."""

    def exploded(self, loss):
        return not np.isfinite(loss) or loss > self.limit * self.losses[0]


class RangePrevious(Range):
    """Compare with the loss before."""

    def exploded(self, loss):
        return not np.isfinite(loss) or (len(self.losses) > 1 and loss > self.limit * self.losses[-2])


class RangeNoNan(Range):
    """Do not notice a NaN."""

    def exploded(self, loss):
        return loss > self.limit * np.nanmin(self.losses)


class RangeAtLimit(Range):
    """Stop at the limit itself."""

    def exploded(self, loss):
        return not np.isfinite(loss) or (len(self.losses) > 1 and loss >= self.limit * min(self.losses))


class RangeNoEnd(Range):
    """Go on after the last step."""

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(self.loss(batch, logs))
        if self.exploded(self.losses[-1]):
            self.model.stop_training = True


class RangeNeverExplodes(Range):
    """Ignore the explosion."""

    def exploded(self, loss):
        return False


class RangeDropsLast(Range):
    """Do not record the loss that stops the test."""

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if self.exploded(self.losses[-1]):
            self.losses.pop()


class RangeWeightsLeft(Range):
    """Leave the weights as the test made them."""

    def on_train_end(self, logs=None):
        self.model.optimizer.learning_rate = self.rate


class RangeTrainable(Range):
    """Restore only the weights that are trained."""

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.weights = [variable.numpy() for variable in self.model.trainable_weights]

    def on_train_end(self, logs=None):
        for variable, value in zip(self.model.trainable_weights, self.weights, strict=True):
            variable.assign(value)
        self.model.optimizer.learning_rate = self.rate


class RangeRateLeft(Range):
    """Leave the last rate in the optimizer."""

    def on_train_end(self, logs=None):
        self.model.set_weights(self.weights)


class RangeRateVariable(Range):
    """Keep the rate's variable, which changes, instead of its value."""

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.rate = self.model.optimizer.learning_rate

    def on_train_end(self, logs=None):
        self.model.set_weights(self.weights)
        self.model.optimizer.learning_rate = float(self.rate)


class RangeNeverEmptied(Range):
    """Keep the lists of the first test."""

    def on_train_begin(self, logs=None):
        rates, losses = getattr(self, "rates", []), getattr(self, "losses", [])
        super().on_train_begin(logs)
        self.rates, self.losses = rates, losses


class RangeOneEpoch(Range):
    """Empty the lists at every epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.rates, self.losses = [], []


WRONG = {
    "batch_losses": [
        losses_means,
        losses_difference_of_means,
        losses_equal_sizes,
        losses_not_divided,
        losses_no_prepend,
        losses_not_cumulated,
        losses_divided_by_all,
        losses_in_place,
        losses_example,
    ],
    "step_recorder": [
        RecorderLate,
        RecorderMeans,
        RecorderVariable,
        RecorderEpochs,
        RecorderOffByOne,
        RecorderGlobalCount,
        RecorderStaleMean,
        RecorderByBatch,
        RecorderFirstRate,
        RecorderPerEpoch,
        RecorderNeverEmptied,
    ],
    "warmup_cosine": [
        CosineByBatch,
        CosineOwnCounter,
        CosineCounterOfObject,
        CosineAfterStep,
        CosineByEpoch,
        CosineUnclamped,
        CosineTotalAfterWarmup,
        CosineNotShifted,
        CosineFromOne,
        CosineNoHalf,
        CosineQuarter,
        CosineLinear,
        CosineMinimum,
        CosineNotSet,
        CosineNotReturned,
    ],
    "best_keeper": [
        KeeperNotRestored,
        KeeperRestoredIfStopped,
        KeeperLate,
        KeeperEarly,
        KeeperNoDelta,
        KeeperDeltaSign,
        KeeperTies,
        KeeperNotNan,
        KeeperTrainingLoss,
        KeeperMaximum,
        KeeperCumulative,
        KeeperReferences,
        KeeperTrainable,
        KeeperPrevious,
        KeeperNotReset,
        KeeperNeverStops,
    ],
    "range_test": [
        RangeLinear,
        RangeNotReached,
        RangeFromOne,
        RangeByBatch,
        RangeNotSet,
        RangeMeans,
        RangeFirst,
        RangePrevious,
        RangeNoNan,
        RangeAtLimit,
        RangeNoEnd,
        RangeNeverExplodes,
        RangeDropsLast,
        RangeWeightsLeft,
        RangeTrainable,
        RangeRateLeft,
        RangeRateVariable,
        RangeNeverEmptied,
        RangeOneEpoch,
    ],
}
