"""Checks of practice 3.2: callbacks that record, steer and stop a training."""

import functools
from collections.abc import Callable, Iterable, Sequence
from numbers import Real

import keras
import numpy as np
import tensorflow as tf

from tf_study.checks.schedules import keras_cosine
from tf_study.expect import expect, expect_close, expect_returned, expect_type, untouched
from tf_study.practice import problem


@problem("누적 평균에서 배치 손실 되찾기", minutes=5)
def batch_losses(answer):
    """The loss of every batch from the running means that Keras reports."""
    rng = np.random.default_rng(301)
    cases = {
        "예시": ([4, 1, 7], [2, 2, 1]),
        "크기가 같은 배치 6개": (rng.exponential(size=6), [32] * 6),
        "마지막 배치가 작은 5개": (rng.exponential(size=5), [16, 16, 16, 16, 3]),
        "배치 하나": ([0.7], [8]),
        "크기가 1인 배치 4개": (rng.exponential(size=4), [1] * 4),
        "크기가 제각각인 배치 7개": (rng.exponential(size=7), rng.integers(1, 20, 7)),
        "음수 손실이 섞인 배치 5개": (rng.normal(size=5), [4, 4, 4, 4, 2]),
        "샘플이 4만 개씩인 배치 3개": (rng.exponential(size=3), [40_000] * 3),
    }
    for case, (losses, sizes) in cases.items():
        losses, sizes = np.array(losses, float), np.array(sizes)
        means = np.array([np.average(losses[:k], weights=sizes[:k]) for k in range(1, len(losses) + 1)])
        counts = np.arange(1, len(means) + 1)
        with untouched(case, means, sizes):
            got = answer(means, sizes)
        expect_close(
            got,
            losses,
            case,
            tol=1e-8,
            dtype=np.float64,
            mistakes={
                "누적 평균을 그대로 돌려주었습니다.": means,
                "배치의 크기를 쓰지 않고 모두 같다고 보았습니다.": np.diff(counts * means, prepend=0),
                "배치의 크기로 나누지 않은 합입니다.": losses * sizes,
                "샘플 수를 곱하지 않고 평균끼리 뺐습니다.": np.diff(means, prepend=0),
            },
        )


@problem("걸음마다 적는 콜백", minutes=15)
def step_recorder(answer):
    """The rate that every step used and the loss of every batch."""
    rng = np.random.default_rng(302)
    halving = keras.optimizers.schedules.ExponentialDecay(0.8, decay_steps=1, decay_rate=0.5)
    stairs = keras.optimizers.schedules.PiecewiseConstantDecay([2, 4], [0.3, 0.1, 0.02])
    cases = {
        "예시": (halving, [], [[3, 1]]),
        "학습률이 아주 작은 상수, 배치 3개씩 2에포크": (2e-4, [], rng.exponential(size=(2, 3))),
        "계단 스케줄, 배치 7개씩 2에포크": (stairs, [], rng.exponential(size=(2, 7))),
        "손실이 음수인 배치 4개씩 2에포크": (halving, [], -rng.exponential(size=(2, 4))),
        "배치가 하나인 3에포크": (halving, [], rng.exponential(size=(3, 1))),
        "앞의 콜백이 걸음마다 학습률을 바꿀 때": (
            1.0,
            [_RateSetter([0.4, 0.1, 0.7, 0.2, 0.9, 0.3])],
            rng.exponential(size=(2, 3)),
        ),
    }
    for case, (rate, others, losses) in cases.items():
        model, callback = _model(rate), _callback(answer, case)
        for fit in ("", ", 같은 콜백으로 이어서 학습"):
            start = int(model.optimizer.iterations)
            used, _ = _drive([*others, callback], model, losses, case + fit)
            _expect_rates(callback, used, case + fit, rate, start)
            _expect_losses(callback, np.ravel(losses), case + fit, losses)
    case = "앞의 콜백이 3걸음에서 학습을 멈출 때"
    used, _ = _drive([_Stopper(3), _callback(answer, case)], _model(0.1), np.ones((2, 4)), case)
    expect(len(used) == 3, f"{case}: 학습이 멈추지 않았습니다. stop_training을 건드리지 마세요.")
    case = "fit으로 학습한 선형 회귀"
    X, y = rng.normal(size=(12, 2)), rng.normal(size=(12, 1))
    model, callback = _model(halving), _callback(answer, case)
    model.fit(_batches(X, y), epochs=2, shuffle=False, verbose=0, callbacks=[callback])
    rates = 0.8 * 0.5 ** np.arange(6)
    losses, _ = _descend(X, y, 4, rates)
    _expect_rates(callback, rates, case, halving)
    _expect_losses(callback, losses, case, np.reshape(losses, (2, 3)))


@problem("웜업과 코사인을 따르는 콜백", minutes=15)
def warmup_cosine(answer):
    """A callback that sets the rate of keras' CosineDecay with warm-up."""
    cases = {
        "예시": (0.1, 2, 6),
        "웜업 5걸음, 모두 40걸음": (0.03, 5, 40),
        "웜업이 없는 10걸음": (0.5, 0, 10),
        "웜업 1걸음, 모두 2걸음": (2.0, 1, 2),
        "웜업이 더 긴 20걸음": (1e-3, 15, 20),
    }
    # All of them are made first, so that none may change another.
    callbacks = {case: _callback(answer, case, *options) for case, options in cases.items()}
    for case, (peak, warmup, total) in cases.items():
        callback = callbacks[case]
        steps = np.arange(total + 4)
        expected = keras_cosine(steps, peak, warmup, total)
        expect_close(
            [_number(callback.rate(int(step)), f"{case}, rate({step})") / peak for step in steps],
            expected / peak,
            f"{case}, rate(t) / peak (t = 0, …, {total + 3})",
            tol=1e-5,
            mistakes=lambda steps=steps, peak=peak, warmup=warmup, total=total: {
                "한 걸음 늦습니다. 0번 걸음부터 셉니다.": keras_cosine(steps - 1, peak, warmup, total) / peak,
                "한 걸음 이릅니다. 0번 걸음부터 셉니다.": keras_cosine(steps + 1, peak, warmup, total) / peak,
                "total은 웜업까지 더한 걸음 수입니다.": keras_cosine(steps, peak, warmup, total + warmup)
                / peak,
            },
        )
    for case, (peak, warmup, total) in cases.items():
        model, callback = _model(0.7), callbacks[case]
        for start, shape in ((0, (2, 3)), (6, (1, 4)), (10, (1, 3))):
            fit = {0: "처음 학습", 6: "이어서 학습", 10: "새 콜백으로 이어서 학습"}[start]
            if start == 10:  # A new callback goes on where the optimizer stands, whatever its rate was.
                callback = _callback(answer, case, peak, warmup, total)
                model.optimizer.learning_rate = 0.7
            used, _ = _drive([callback], model, np.ones(shape), f"{case}, {fit}")
            steps = start + np.arange(shape[0] * shape[1])
            batches = np.tile(np.arange(shape[1]), shape[0])
            where = f"{case}, {fit}에서 쓴 학습률 / peak"
            expect_close(
                used / peak,
                keras_cosine(steps, peak, warmup, total) / peak,
                where,
                mistakes=lambda options=(peak, warmup, total), start=start, steps=steps, batches=batches: {
                    "이어서 학습할 때 0번 걸음부터 다시 세었습니다.": keras_cosine(steps - start, *options)
                    / options[0],
                    "걸음 수 대신 에포크마다 0으로 돌아가는 배치 번호를 썼습니다.": keras_cosine(
                        batches, *options
                    )
                    / options[0],
                    "학습률을 바꾸지 않았습니다.": np.full(len(steps), 0.7) / options[0],
                },
            )
    case = "fit으로 두 번 학습한 선형 회귀"
    got = _fit_twice(0.7, [_callback(answer, case, 0.2, 2, 4)])
    expect_close(got, _fit_twice_with_schedule(), f"{case}, CosineDecay로 학습한 가중치와 비교")


def _fit_twice(rate, callbacks: Sequence = ()) -> np.ndarray:
    """Return the weights after four steps, at whose end the schedule is over, and two more that change nothing."""
    rng = np.random.default_rng(303)
    X, y = rng.normal(size=(8, 2)), rng.normal(size=(8, 1))
    model = _model(rate)
    for epochs in (2, 1):
        model.fit(_batches(X, y), epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)
    return model.get_weights()[0]


@functools.cache
def _fit_twice_with_schedule() -> np.ndarray:
    return _fit_twice(keras.optimizers.schedules.CosineDecay(0.0, 2, warmup_target=0.2, warmup_steps=2))


@problem("가장 좋은 가중치로 되돌리는 조기 종료", minutes=15)
def best_keeper(answer):
    """Stop like keras' EarlyStopping and restore the best weights."""
    rng = np.random.default_rng(304)
    cases = {
        "예시": ([0.9, 0.7, 0.69, 0.6, 0.62, 0.61, 0.3], 2, 0.02),
        "끝까지 나아지는 손실": ([5, 4, 3, 2, 1], 2, 0),
        "계속 나빠지는 손실": ([1, 2, 3, 4, 5], 3, 0),
        "멈추지 않고 끝나는 손실": ([3, 1, 2, 2.5], 5, 0),
        "모두 같은 손실": ([2, 2, 2, 2, 2], 2, 0),
        "참을성 1": ([3, 2, 2.5, 1], 1, 0),
        "손실이 음수로 내려갈 때": ([1, -1, -2, -1.5, -1.75, -5], 2, 0.5),
        "1에포크로 끝나는 학습": ([0.5], 2, 0),
        "조금씩만 나아져 min_delta에 못 미칠 때": ([1, 0.875, 0.75, 0.625, 0.5, 0.375], 3, 0.25),
        "도중에 NaN이 나올 때": ([3, 2, np.nan, 1, np.nan, np.nan, 0.5], 2, 0),
    }
    for index, patience in enumerate((1, 2, 3, 8)):
        values = rng.integers(0, 12, 18) / 8
        cases[f"무작위 손실열 {index + 1}"] = (values, patience, (index % 3) / 8)
    model = _model(0.1)
    for case, (values, patience, delta) in cases.items():
        callback = _callback(answer, case, patience, delta)
        epochs, kept = _stopped_early(tuple(values), patience, delta)
        _expect_early(model, callback, values, epochs, kept, case)
        if case == "예시":
            _expect_early(model, callback, values, epochs, kept, f"{case}, 같은 콜백으로 다시 학습")
    for value in (np.nan, np.inf):
        case = f"검증 손실이 모두 {value}라서 한 번도 나아지지 않을 때"
        _expect_early(model, _callback(answer, case, 3, 0.0), [value] * 2, 2, 2, case)
    case = "앞의 콜백이 3에포크에서 학습을 멈출 때"
    _expect_early(model, _callback(answer, case, 2, 0.0), [3, 1, 2, 0, 0], 3, 2, case, [_Stopper(3)])
    for case, make, rate in (
        ("fit으로 학습한 선형 회귀", _model, 0.3),
        ("fit으로 학습한 배치 정규화 모델", _normalized, 0.1),
    ):
        model = make(rate)
        epochs, got = _fit_until_worse(model, _callback(answer, case, 1, 0.0))
        wanted, expected = _fitted_by_keras(make, rate)
        expect(
            epochs == wanted,
            f"{case}: EarlyStopping은 {wanted}에포크에서, 이 콜백은 {epochs}에포크에서 멈춥니다.",
        )
        _expect_weights(model, got, expected, case)


@problem("학습률 범위 시험", minutes=20)
def range_test(answer):
    """Raise the rate step by step, stop when the loss explodes, put everything back."""
    rng = np.random.default_rng(305)
    noisy = rng.uniform(1, 1.9, size=(4, 5))
    cases = {
        "예시": ((0.01, 1.0, 5, 4.0), [[2, 1, 1.5], [5, 3, 1]], 4),
        "손실이 수천이지만 폭발하지 않아 steps걸음을 다 쓸 때": ((1e-4, 10.0, 12, 2.0), 2000 * noisy, 12),
        "최솟값에서 열네 걸음 뒤에 폭발하는 작은 손실": (
            (1e-3, 1.0, 20, 4.0),
            [[0.2, 0.1, *[0.3] * 12], [0.3, 0.5, 0.1]],
            16,
        ),
        "한 에포크를 다 채우고 끝날 때": ((1e-3, 1.0, 5, 3.0), noisy, 5),
        "처음 손실보다 작지만 최솟값의 limit배를 넘을 때": (
            (1e-3, 1.0, 9, 3.0),
            [[8, 4, 2], [1, 2.5, 3.5], [1, 1, 1]],
            6,
        ),
        "꼭 limit배인 손실은 넘지 않은 것": ((1e-3, 1.0, 6, 4.0), [[2, 1], [4, 2], [4.5, 1]], 5),
        "손실이 NaN이 될 때": ((1e-3, 1.0, 8, 4.0), [[2, 1], [1.5, np.nan], [1, 1], [1, 1]], 4),
        "손실이 무한대가 될 때": ((1e-3, 1.0, 8, 4.0), [[2, 1], [np.inf, 1], [1, 1], [1, 1]], 3),
        "에포크 도중에 누적 평균으로는 가려지는 폭발": ((1e-2, 1.0, 7, 5.0), [[1, 1, 1, 1, 6, 1, 1]], 5),
        "학습률이 내려가는 시험": ((1.0, 1e-3, 4, 9.0), noisy, 4),
        "두 걸음뿐인 시험": ((0.1, 0.4, 2, 4.0), [[1, 2, 3]], 2),
    }
    trainings = {"": (_model(0.3), 0.3, 0.5), ", 같은 콜백으로 다른 모델을 학습": (_model(0.1), 0.1, -2.0)}
    for case, (options, losses, length) in cases.items():
        callback = _callback(answer, case, *options)
        flat = np.concatenate(losses)[:length]
        for fit, (model, rate, weight) in trainings.items():
            model.optimizer.learning_rate = rate
            model.optimizer.iterations.assign(0)
            before = [np.full((2, 1), weight, np.float32)]
            model.set_weights(before)
            used, _ = _drive([callback], model, losses, case + fit, move=True)
            _expect_range(callback, model, used, options, flat, before, rate, case + fit)
    case = "fit으로 학습한 선형 회귀"
    X, y = rng.normal(size=(16, 2)), rng.normal(size=(16, 1))
    options = (1e-2, 50.0, 8, 20.0)
    rates = np.geomspace(*options[:3])
    losses, _ = _descend(X, y, 4, rates)
    stop = next(k for k in range(8) if losses[k] > 20 * min(losses[: k + 1]))
    model, callback = _model(0.25), _callback(answer, case, *options)
    before = [np.zeros((2, 1), np.float32)]
    model.fit(_batches(X, y), epochs=2, shuffle=False, verbose=0, callbacks=[callback])
    _expect_range(callback, model, rates[: stop + 1], options, losses[: stop + 1], before, 0.25, case)
    case, model = "fit으로 학습한 배치 정규화 모델", _normalized(0.25)
    before = model.get_weights()
    callback = _callback(answer, case, 1e-3, 0.1, 4, 20.0)
    model.fit(_batches(X, y), epochs=1, shuffle=False, verbose=0, callbacks=[callback])
    _expect_weights(model, model.get_weights(), before, case)


class _Stopper(keras.callbacks.Callback):
    """Stops the training after the given number of steps."""

    def __init__(self, steps: int):
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch, logs=None):
        self.steps -= 1
        self.model.stop_training = self.model.stop_training or self.steps == 0


class _Reader(keras.callbacks.Callback):
    """Keeps what the callbacks before it left of the logs."""

    def on_train_batch_end(self, batch, logs=None):
        self.logs = dict(logs)

    def on_epoch_end(self, epoch, logs=None):
        self.logs = dict(logs)


class _RateSetter(keras.callbacks.Callback):
    """Assigns the next of the given rates before every step."""

    def __init__(self, rates: Sequence[float]):
        super().__init__()
        self.rates = rates

    def on_train_begin(self, logs=None):
        self.step = 0

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.rates[self.step]
        self.step += 1


def _model(rate) -> keras.Model:
    """Return a linear model of two inputs with weights (2, 1) equal to 0, compiled with SGD."""
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((2,)), layer])
    model.compile(keras.optimizers.SGD(rate), "mse", run_eagerly=True)
    return model


def _normalized(rate: float) -> keras.Model:
    """Return a compiled model with weights that are not trained: the moving averages."""
    layers = [keras.layers.BatchNormalization(momentum=0.5), keras.layers.Dense(1, kernel_initializer="ones")]
    model = keras.Sequential([keras.Input((2,)), *layers])
    model.compile(keras.optimizers.SGD(rate), "mse", run_eagerly=True)
    return model


def _batches(X: np.ndarray, y: np.ndarray) -> tf.data.Dataset:
    """Return batches of four in the order of the arrays; from arrays Keras would trace three functions a training."""
    return tf.data.Dataset.from_tensor_slices((X, y)).batch(4)


def _expect_weights(model: keras.Model, got: list, expected: list, case: str) -> None:
    """Compare all weights of ``model``; those that are not trained get a message of their own."""
    for variable, value, wanted in zip(model.weights, got, expected, strict=True):
        if not variable.trainable:
            expect(
                np.allclose(value, wanted, atol=1e-5),
                f"{case}: 학습하지 않는 가중치 {variable.path}(배치 정규화의 이동 평균)도 되돌리세요.",
            )
    for variable, value, wanted in zip(model.weights, got, expected, strict=True):
        expect_close(value, wanted, f"{case}, 남은 가중치 {variable.path}")


def _callback(answer, case: str, *arguments) -> keras.callbacks.Callback:
    callback = answer(*arguments)
    expect_type(callback, keras.callbacks.Callback, case)
    return callback


def _drive(
    callbacks: list,
    model: keras.Model,
    losses: Iterable[Sequence[float]],
    case: str,
    valid: Sequence[float] | None = None,
    move: bool = False,
) -> tuple[np.ndarray, int]:
    """Call the hooks in the order of ``fit`` with the given batch losses, without training.

    Args:
        losses: one row per epoch, one loss per batch.
        case: which training this is, in Korean.
        valid: validation loss of every epoch; the weights are set to the epoch's number, from 1.
        move: change the weights in every step.

    Returns:
        The rate of every step, and the number of epochs.

    Raises:
        Mismatch: if a callback changes the logs, or the weights before the training is over.
    """
    reader = _Reader()
    hooks = keras.callbacks.CallbackList([*callbacks, reader], model=model)
    model.stop_training, used, weight = False, [], None

    def call(hook, number: int, logs: dict) -> None:
        hook(number, dict(logs))
        for name, value in logs.items():  # Further entries are usual; Keras' own callbacks make them.
            left = reader.logs.get(name)
            expect(
                str(left) == str(value),  # As text, because NaN does not equal itself.
                f"{case}: logs의 {name!r} 값을 바꾸었습니다(받은 값 {value}, 남은 값 {left}). "
                "다음 콜백도 읽으니 그대로 두세요.",
            )
        expect(
            weight is None or model.stop_training or np.array_equal(model.get_weights()[0], weight),
            f"{case}: 학습이 끝나기 전에 가중치를 바꾸었습니다. 되돌리는 일은 학습이 끝날 때 한 번만 합니다.",
        )

    hooks.on_train_begin()
    for epoch, row in enumerate(losses):
        hooks.on_epoch_begin(epoch)
        total = 0.0
        for batch, loss in enumerate(row):
            hooks.on_train_batch_begin(batch)
            used.append(float(model.optimizer.learning_rate))
            model.optimizer.iterations.assign_add(1)
            if valid is not None or move:
                weight = np.full((2, 1), epoch + 1 if valid is not None else 9.0 + batch)
                model.set_weights([weight])
            total += float(loss)
            logs = {"loss": total / (batch + 1)}
            call(hooks.on_train_batch_end, batch, logs)
            if model.stop_training:
                break
        if valid is not None:
            logs["val_loss"] = float(valid[epoch])
        call(hooks.on_epoch_end, epoch, logs)
        if model.stop_training:
            break
    hooks.on_train_end(dict(logs))
    return np.array(used), epoch + 1


def _early_stopping(patience: int, delta: float) -> keras.callbacks.EarlyStopping:
    return keras.callbacks.EarlyStopping(
        "val_loss", patience=patience, min_delta=delta, restore_best_weights=True
    )


@functools.cache
def _stopped_early(values: tuple[float, ...], patience: int, delta: float) -> tuple[int, int]:
    """Return after how many epochs keras' EarlyStopping stops and which epoch's weights it leaves."""
    return _early(_reference(), [_early_stopping(patience, delta)], values, "EarlyStopping")


@functools.cache
def _reference() -> keras.Model:
    """Return the model that keras' EarlyStopping is driven with; no answer sees it."""
    return _model(0.1)


@functools.cache
def _fitted_by_keras(make: Callable, rate: float) -> tuple[int, list]:
    return _fit_until_worse(make(rate), _early_stopping(1, 0.0))


def _fit_until_worse(model: keras.Model, callback) -> tuple[int, list]:
    """Fit with the callback and return after how many epochs it stops and the weights it leaves."""
    X = np.random.default_rng(305).normal(size=(12, 2))
    y = 5 * X @ [[1], [-1]]  # Validated on -y: the better the training, the worse the validation.
    training, validation = _batches(X[:8], y[:8]), _batches(X[8:], -y[8:])
    options = {"validation_data": validation, "shuffle": False, "verbose": 0}
    history = model.fit(training, epochs=8, callbacks=[callback], **options)
    return len(history.epoch), model.get_weights()


def _early(model: keras.Model, callbacks: list, values: Sequence[float], case: str) -> tuple[int, int]:
    """Return after how many epochs the callbacks stop and which epoch's weights are left."""
    model.set_weights([np.zeros((2, 1))])
    model.optimizer.learning_rate = 0.1
    # The training loss falls all the time: whoever watches it does not stop.
    losses = [[10.0 - epoch] for epoch in range(len(values))]
    used, epochs = _drive(callbacks, model, losses, case, valid=values)
    used = np.append(used, float(model.optimizer.learning_rate))
    expect_close(used, np.full(len(used), 0.1), f"{case}, 그대로 두어야 하는 학습률")
    return epochs, round(float(model.get_weights()[0][0, 0]))


def _expect_early(model, callback, values, epochs: int, kept: int, case: str, others: Sequence = ()) -> None:
    got_epochs, got_kept = _early(model, [*others, callback], values, case)
    expect(
        got_epochs == epochs,
        f"{case}: {epochs}에포크까지 학습해야 하는데 {got_epochs}에포크까지 학습했습니다.",
    )
    expect(
        got_kept == kept,
        f"{case}: {kept}에포크의 가중치가 남아야 하는데 {got_kept}에포크의 가중치가 남았습니다.",
    )


def _descend(X, y, size: int, rates) -> tuple[np.ndarray, np.ndarray]:
    """Gradient descent on the mean squared error from weights 0, one batch per rate, in NumPy."""
    w, losses = np.zeros((X.shape[1], 1)), []
    for step, rate in enumerate(rates):
        start = step * size % len(X)
        part, error = X[start : start + size], X[start : start + size] @ w - y[start : start + size]
        losses.append(float(np.mean(error**2)))
        w = w - rate * 2 / size * part.T @ error
    return np.array(losses), w


def _number(value, case: str) -> float:
    expect_returned(value, case)
    return float(value)


def _floats(callback, name: str, case: str) -> list[float]:
    """Return the list that the callback keeps under ``name``."""
    values = getattr(callback, name, None)
    expect(isinstance(values, list), f"{case}: self.{name}가 리스트가 아닙니다.")
    for value in values:
        expect(
            isinstance(value, Real),
            f"{case}: self.{name}에 {type(value).__name__}형인 값이 들어 있습니다. float()로 바꾸어 적으세요.",
        )
    return [float(value) for value in values]


def _expect_rates(callback, used, case: str, rate, start: int = 0) -> None:
    """Compare with the rates that were used from step ``start`` on, relative to the largest."""
    late = {}
    if callable(rate):
        mistake = "한 걸음 늦게 읽었습니다. 배치가 끝나면 걸음 수가 이미 1 늘어 있습니다."
        late[mistake] = [float(rate(start + step + 1)) / max(used) for step in range(len(used))]
    rates = np.array(_floats(callback, "rates", case))
    expect_close(rates / max(used), used / max(used), f"{case}, rates / {max(used):g}", mistakes=late)


def _expect_losses(callback, expected, case: str, rows) -> None:
    means = np.concatenate([np.cumsum(row) / np.arange(1, len(row) + 1) for row in np.asarray(rows, float)])
    expect_close(
        _floats(callback, "losses", case),
        expected,
        f"{case}, losses",
        tol=1e-4,
        mistakes={"에포크의 처음부터 평균한 값을 그대로 적었습니다.": means},
    )


def _expect_range(callback, model, used, options, losses, before, rate: float, case: str) -> None:
    start, end, steps, _ = options
    length = len(losses)
    expect(
        len(used) == length,
        f"{case}: {length}걸음에서 멈춰야 하는데 {len(used)}걸음을 학습했습니다.",
    )
    rates = np.geomspace(start, end, steps)[:length]
    mistakes = {
        "곱하지 않고 더해 가며 올렸습니다.": np.linspace(start, end, steps)[:length],
        "마지막 걸음이 end에 닿지 않습니다. 걸음이 steps개이면 간격은 steps - 1개입니다.": np.geomspace(
            start, end, steps + 1
        )[:length],
    }
    expect_close(used, rates, f"{case}, 걸음마다 쓴 학습률", mistakes=mistakes)
    got = _floats(callback, "rates", case)
    expect_close(got, rates, f"{case}, rates", mistakes=mistakes)
    got = _floats(callback, "losses", case)
    expect(
        len(got) == length,
        f"{case}: 멈추게 한 손실까지 {length}개를 적어야 하는데 self.losses에 {len(got)}개가 있습니다.",
    )
    finite = np.isfinite(losses)
    expect_close(np.array(got)[finite], np.asarray(losses)[finite], f"{case}, losses", tol=1e-4)
    expect(
        not np.isfinite(np.array(got)[~finite]).any(),
        f"{case}: NaN이나 무한대인 손실을 다른 값으로 적었습니다.",
    )
    expect_close(model.get_weights()[0], before[0], f"{case}, 시험이 끝난 뒤의 가중치", tol=1e-6)
    expect_close(float(model.optimizer.learning_rate), rate, f"{case}, 시험이 끝난 뒤의 학습률")
