"""Checks of practice 3.1: a convergence measure, three optimizer steps, a schedule and a fair comparison."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf
from scipy.special import log_softmax, softmax

from tf_study.checks.eager import eagerly
from tf_study.checks.schedules import keras_cosine
from tf_study.expect import expect, expect_array, expect_close, expect_parts, expect_type, untouched
from tf_study.practice import TRAINING_SECONDS, problem

STEPS = 6
MAKERS = {
    "모멘텀": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "Adam": lambda: keras.optimizers.Adam(0.05),
}


@problem("목표까지의 걸음 수", minutes=5)
def steps_to_target(answer):
    """The first index at or below the target, fastest first."""
    cases = {
        "예시": (
            {"A": [2.0, 1.0, 0.5], "B": [2.0, 0.4, 0.6], "C": [2.0, 1.5, 1.2]},
            0.5,
            {"B": 1, "A": 2, "C": None},
        ),
        "목표와 꼭 같은 손실": (
            {"A": [3.0, 2.0, 1.0, 0.0], "B": [3.0, 1.0, 1.0, 1.0]},
            1.0,
            {"B": 1, "A": 2},
        ),
        "내려갔다가 다시 오르는 손실": (
            {"A": [5.0, 0.2, 4.0, 0.1, 3.0], "B": [5.0, 4.0, 3.0, 0.3, 0.2]},
            0.5,
            {"A": 1, "B": 3},
        ),
        "처음부터 목표 아래": ({"A": [1.0, 0.5], "B": [0.1, 0.05]}, 0.5, {"B": 0, "A": 1}),
        "아무도 닿지 못함": ({"B": [2.0, 1.0], "A": [2.0, 1.5]}, 0.1, {"B": None, "A": None}),
        "동점": (
            {"나": [2.0, 1.0, 0.0], "가": [2.0, 0.5, 0.1], "다": [2.0, 1.9, 0.0]},
            0.2,
            {"나": 2, "가": 2, "다": 2},
        ),
        "NaN과 무한대로 발산": (
            {"A": [2.0, np.inf, np.nan], "B": [2.0, 1.0, 0.3], "C": [np.nan] * 3},
            0.3,
            {"B": 2, "A": None, "C": None},
        ),
        "길이가 다르고 음수인 목표": (
            {"A": [0.0, -1.0, -2.0, -3.0], "B": [0.0, -2.5]},
            -2.0,
            {"B": 1, "A": 2},
        ),
    }
    for case, (histories, target, first) in cases.items():
        given = {name: np.array(losses) for name, losses in histories.items()}
        with untouched(case, *given.values()):
            got = answer(given, target)
        expect(list(given) == list(histories), f"{case}: 받은 사전을 바꾸었습니다. 새 리스트에 담으세요.")
        expect_type(got, list, case)
        expect(
            all(isinstance(item, tuple) and len(item) == 2 for item in got),
            f"{case}: 리스트의 원소는 (이름, 걸음 수) 튜플이어야 합니다.",
        )
        names = [str(name) for name, _ in got]
        expect(
            sorted(names) == sorted(first),
            f"{case}: 이름이 {sorted(first)}여야 하는데 {sorted(names)}입니다.",
        )
        for name, steps in got:
            if first[name] is None:
                expect(
                    steps is None,
                    f"{case}: {name}의 손실은 목표 {target:g}에 닿지 않으니 None이어야 하는데 나온 값은 {steps}입니다.",
                )
                continue
            expect(
                steps is None or (isinstance(steps, int | np.integer) and not isinstance(steps, bool)),
                f"{case}: {name}의 걸음 수는 정수여야 하는데 {type(steps).__name__}입니다.",
            )
            expect(
                steps is not None and int(steps) == first[name],
                f"{case}: {name}의 손실이 목표 {target:g} 이하가 되는 첫 번호는 {first[name]}인데 "
                f"나온 값은 {steps}입니다.",
            )
        expect(
            names == list(first),
            f"{case}: 순서가 {', '.join(first)}여야 하는데 {', '.join(names)}입니다. "
            "빠른 것이 앞, None이 맨 뒤, 동점은 받은 순서입니다.",
        )


@problem("모멘텀 한 걸음", minutes=10)
def momentum_step(answer):
    """Momentum and Nesterov momentum against Keras' SGD."""
    rng = np.random.default_rng(301)
    cases = {
        "예시": (np.array([1.0]), np.array([-0.6]), np.array([[2.0]]), (0.1, 0.5)),
        "음수가 섞인 (5,)": _momentum_case(rng, (5,), (0.05, 0.9)),
        "행렬 (3, 2)": _momentum_case(rng, (3, 2), (0.3, 0.99)),
        "스칼라 ()": _momentum_case(rng, (), (0.01, 0.8)),
        "학습률이 1보다 큰 (2, 1, 3)": _momentum_case(rng, (2, 1, 3), (1.7, 0.3)),
    }
    for case, (theta, v, gradients, (lr, mu)) in cases.items():
        for nesterov in (False, True):
            name = f"{case}, {'네스테로프' if nesterov else '모멘텀'}"
            optimizer = keras.optimizers.SGD(lr, momentum=mu, nesterov=nesterov)
            ours = (theta, v)
            reference = _trajectory(optimizer, theta, (v,), gradients)
            for t, (g, (old, new)) in enumerate(zip(gradients, reference, strict=True), start=1):
                result = _call(
                    answer, ours, (g, lr, mu, nesterov), ("theta", "v", "g"), ("θ", "v"), f"{name}, {t}걸음"
                )
                theta_old, v_old = old
                fresh = mu * v_old - lr * g
                expect_close(
                    result[1],
                    new[1],
                    f"{name}, {t}걸음의 v",
                    mistakes={
                        "기울기에 학습률을 곱하지 않았습니다.": mu * v_old - g,
                        "기울기의 부호가 반대입니다.": mu * v_old + lr * g,
                        "부호와 학습률을 뺀 식 μv + g입니다. 이 문제의 속도에는 -η가 들어 있습니다.": mu
                        * v_old
                        + g,
                        "기울기에 (1 - μ)를 곱했습니다. 모멘텀은 이동 평균이 아니라 누적입니다.": mu * v_old
                        - lr * (1 - mu) * g,
                        "지난 속도에 μ를 곱하지 않았습니다.": v_old - lr * g,
                        "속도를 고치지 않고 그대로 돌려주었습니다.": v_old,
                        "지난 속도를 더하지 않았습니다.": -lr * g,
                    },
                )
                expect_close(
                    result[0],
                    new[0],
                    f"{name}, {t}걸음의 θ",
                    mistakes={
                        "새 속도가 아니라 지난 속도를 더했습니다.": theta_old + v_old,
                        "속도를 빼지 말고 더해야 합니다.": theta_old - fresh,
                        "nesterov가 참인데 보통 모멘텀으로 움직였습니다.": theta_old + fresh,
                        "nesterov가 거짓인데 네스테로프로 움직였습니다.": theta_old + mu * fresh - lr * g,
                        "네스테로프 식에 새 속도 대신 지난 속도를 넣었습니다.": theta_old
                        + mu * v_old
                        - lr * g,
                        "네스테로프 식에서 속도에 μ를 곱하지 않았습니다.": theta_old + fresh - lr * g,
                    },
                )
                ours = (np.array(result[0]), np.array(result[1]))


@problem("RMSprop 한 걸음", minutes=10)
def rmsprop_step(answer):
    """RMSprop against Keras, whose epsilon stands under the root."""
    rng = np.random.default_rng(302)
    cases = {
        "예시": (np.array([1.0]), np.array([5.0]), np.array([[5.0]]), (0.3, 0.8, 1e-7)),
        "v = 0에서 시작하는 (4,)": (*_rms_case(rng, (4,)), (0.01, 0.9, 1e-7)),
        "행렬 (2, 3)": (*_rms_case(rng, (2, 3)), (0.1, 0.99, 1e-7)),
        "스칼라 ()": (*_rms_case(rng, ()), (0.05, 0.5, 1e-3)),
        "기울기가 0.0001쯤인 (3,)": (*_rms_case(rng, (3,), scale=1e-4), (0.1, 0.9, 1e-7)),
        "ε = 0.1인 (2, 2)": (*_rms_case(rng, (2, 2)), (0.2, 0.7, 0.1)),
        "기울기가 모두 0인 (3,)": (rng.normal(size=3), np.zeros(3), np.zeros((2, 3)), (0.1, 0.9, 1e-7)),
    }
    for case, (theta, v, gradients, (lr, rho, eps)) in cases.items():
        optimizer = keras.optimizers.RMSprop(lr, rho=rho, epsilon=eps)
        ours = (theta, v)
        reference = _trajectory(optimizer, theta, (v,), gradients)
        for t, (g, (old, new)) in enumerate(zip(gradients, reference, strict=True), start=1):
            result = _call(
                answer, ours, (g, lr, rho, eps), ("theta", "v", "g"), ("θ", "v"), f"{case}, {t}걸음"
            )
            theta_old, v_old = old
            expect_close(
                result[1],
                new[1],
                f"{case}, {t}걸음의 v",
                tol=1e-6,
                mistakes={
                    "기울기를 제곱하지 않았습니다.": rho * v_old + (1 - rho) * g,
                    "(1 - ρ)를 곱하지 않았습니다.": rho * v_old + g**2,
                    "ρ와 1 - ρ의 자리가 바뀌었습니다.": (1 - rho) * v_old + rho * g**2,
                    "제곱근까지 저장했습니다.": np.sqrt(new[1]),
                    "v를 고치지 않고 그대로 돌려주었습니다.": v_old,
                },
            )
            with np.errstate(divide="ignore", invalid="ignore"):
                mistakes = {
                    "입실론이 제곱근 밖에 있습니다.": theta_old - lr * g / (np.sqrt(new[1]) + eps),
                    "입실론을 더하지 않았습니다.": theta_old - lr * g / np.sqrt(new[1]),
                    "새 v가 아니라 지난 v로 나누었습니다.": theta_old - lr * g / np.sqrt(v_old + eps),
                    "제곱근을 씌우지 않았습니다.": theta_old - lr * g / (new[1] + eps),
                    "기울기의 반대쪽으로 움직여야 합니다.": theta_old + lr * g / np.sqrt(new[1] + eps),
                    "v로 나누지 않았습니다.": theta_old - lr * g,
                }
            expect_close(result[0], new[0], f"{case}, {t}걸음의 θ", tol=1e-6, mistakes=mistakes)
            ours = (np.array(result[0]), np.array(result[1]))


@problem("편향을 보정하는 Adam 한 걸음", minutes=15)
def adam_step(answer):
    """Algorithm 1 of the paper against Keras, whose epsilon is converted step by step."""
    rng = np.random.default_rng(303)
    zero = np.zeros
    cases = {
        "예시": (np.array([1.0]), zero(1), zero(1), np.array([[5.0], [0.0]]), 0, (0.1, 0.5, 0.96, 1e-8)),
        "기본값, (5,)": (*_adam_case(rng, (5,)), 0, (0.1, 0.9, 0.999, 1e-8)),
        "행렬 (3, 2)": (*_adam_case(rng, (3, 2)), 0, (0.02, 0.8, 0.95, 1e-8)),
        "스칼라 ()": (*_adam_case(rng, ()), 0, (0.3, 0.5, 0.6, 1e-8)),
        "기울기가 100쯤인 (2, 3)": (*_adam_case(rng, (2, 3), scale=100), 0, (0.1, 0.9, 0.99, 1e-8)),
        "입실론이 기울기만큼 큰 (3,)": (*_adam_case(rng, (3,)), 0, (0.5, 0.9, 0.9, 0.5)),
        "학습 도중인 t = 40부터, (4,)": (
            rng.normal(size=4),
            rng.normal(size=4),
            rng.uniform(1, 2, size=4),
            rng.normal(size=(STEPS, 4)),
            39,
            (0.1, 0.9, 0.99, 1e-8),
        ),
        "기울기가 모두 0인 (2,)": (
            rng.normal(size=2),
            zero(2),
            zero(2),
            zero((2, 2)),
            0,
            (0.1, 0.9, 0.99, 1e-8),
        ),
    }
    for case, (theta, m, v, gradients, done, (lr, beta1, beta2, eps)) in cases.items():
        # Keras adds its epsilon to the uncorrected root, which equals the paper's rule with this epsilon.
        optimizer = keras.optimizers.Adam(lr, beta_1=beta1, beta_2=beta2, epsilon=eps)
        ours = (theta, m, v)
        reference = _trajectory(optimizer, theta, (m, v), gradients, done)
        for t, (g, (old, new)) in enumerate(zip(gradients, reference, strict=True), start=done + 1):
            c1, c2 = 1 - beta1**t, 1 - beta2**t
            paper_eps = eps / np.sqrt(c2)
            result = _call(
                answer,
                ours,
                (g, t, lr, beta1, beta2, paper_eps),
                ("theta", "m", "v", "g"),
                ("θ", "m", "v"),
                f"{case}, t = {t}",
            )
            theta_old, m_old, v_old = old
            _, m_new, v_new = new
            expect_close(
                result[1],
                m_new,
                f"{case}, t = {t}의 m",
                mistakes={
                    "보정한 값을 저장했습니다. 다음 걸음에 넘길 것은 보정하기 전의 m입니다.": m_new / c1,
                    "β₁과 1 - β₁의 자리가 바뀌었습니다.": (1 - beta1) * m_old + beta1 * g,
                    "(1 - β₁)을 곱하지 않았습니다.": beta1 * m_old + g,
                    "β₁ 자리에 β₂를 썼습니다.": beta2 * m_old + (1 - beta2) * g,
                },
            )
            expect_close(
                result[2],
                v_new,
                f"{case}, t = {t}의 v",
                mistakes={
                    "보정한 값을 저장했습니다. 다음 걸음에 넘길 것은 보정하기 전의 v입니다.": v_new / c2,
                    "기울기를 제곱하지 않았습니다.": beta2 * v_old + (1 - beta2) * g,
                    "β₂와 1 - β₂의 자리가 바뀌었습니다.": (1 - beta2) * v_old + beta2 * g**2,
                    "β₂ 자리에 β₁을 썼습니다.": beta1 * v_old + (1 - beta1) * g**2,
                    "기울기가 아니라 m을 제곱했습니다.": beta2 * v_old + (1 - beta2) * m_new**2,
                },
            )

            def moved(top, bottom, theta_old=theta_old, lr=lr):
                with np.errstate(divide="ignore", invalid="ignore"):
                    return theta_old - lr * top / bottom

            expect_close(
                result[0],
                new[0],
                f"{case}, t = {t}의 θ",
                mistakes={
                    "두 모멘트의 편향을 보정하지 않았습니다.": moved(m_new, np.sqrt(v_new) + paper_eps),
                    "v의 편향을 보정하지 않았습니다.": moved(m_new / c1, np.sqrt(v_new) + paper_eps),
                    "m의 편향을 보정하지 않았습니다.": moved(m_new, np.sqrt(v_new / c2) + paper_eps),
                    "입실론이 제곱근 안에 있습니다.": moved(m_new / c1, np.sqrt(v_new / c2 + paper_eps)),
                    "입실론을 보정하기 전의 제곱근에 더했습니다.": moved(
                        m_new / c1 * np.sqrt(c2), np.sqrt(v_new) + paper_eps
                    ),
                    "분자에 m̂이 아니라 기울기를 썼습니다.": moved(g, np.sqrt(v_new / c2) + paper_eps),
                    "제곱근을 씌우지 않았습니다.": moved(m_new / c1, v_new / c2 + paper_eps),
                    "기울기의 반대쪽으로 움직여야 합니다.": 2 * theta_old - new[0],
                },
            )
            ours = tuple(np.array(part) for part in result)


@problem("웜업과 코사인 스케줄", minutes=10)
def warmup_cosine(answer):
    """Linear warm-up and cosine decay against Keras' CosineDecay."""
    cases = {
        "예시": (np.array([0, 2, 4, 8, 12, 100]), 0.1, 4, 12, 0.02),
        "바닥이 0인 0~119걸음": (np.arange(120), 0.5, 20, 100, 0.0),
        "웜업이 없는 0~49걸음": (np.arange(50), 0.01, 0, 40, 0.001),
        "웜업이 한 걸음": (np.arange(12), 2.0, 1, 10, 0.5),
        "학습률이 1보다 큰 모양 (2, 3)": (np.array([[0, 7, 3], [29, 30, 31]]), 3.0, 7, 30, 0.3),
    }
    for case, (steps, peak, warmup, total, floor) in cases.items():
        expected = keras_cosine(steps, peak, warmup, total, floor)
        with untouched(case, steps):
            got = answer(steps, peak, warmup, total, floor)
        late = keras_cosine(steps, peak, 0, total, floor)
        ramp = np.minimum(steps / max(warmup, 1), 1) if warmup else np.ones(steps.shape)
        longer = keras_cosine(np.maximum(steps - warmup, 0), peak, 0, total, floor)
        expect_close(
            got,
            expected,
            case,
            mistakes={
                "코사인의 진행률은 웜업이 끝난 걸음부터 잽니다.": np.where(steps < warmup, peak * ramp, late),
                "웜업이 끝난 뒤 남은 걸음은 total_steps - warmup_steps입니다.": np.where(
                    steps < warmup, peak * ramp, longer
                ),
                "웜업이 없습니다.": late,
                "웜업을 코사인에 곱했습니다. 두 구간은 이어 붙입니다.": ramp * late,
                "바닥 floor를 더하지 않았습니다.": keras_cosine(steps, peak, warmup, total, 0.0),
                "코사인이 아니라 직선으로 줄였습니다.": np.where(
                    steps < warmup,
                    peak * ramp,
                    floor + (peak - floor) * (1 - np.clip((steps - warmup) / (total - warmup), 0, 1)),
                ),
                "코사인의 반 주기(0에서 π까지)가 아니라 4분의 1 주기를 썼습니다.": np.where(
                    steps < warmup,
                    peak * ramp,
                    floor
                    + (peak - floor) * np.cos(np.clip((steps - warmup) / (total - warmup), 0, 1) * np.pi / 2),
                ),
            },
        )
    for step in (0, 3, 10, 11, 55, 99, 100, 250):
        got = answer(step, 0.3, 10, 100, 0.03)
        expect_close(got, keras_cosine(step, 0.3, 10, 100, 0.03), f"정수 하나 step = {step}")


@problem("공정한 비교", minutes=20, seconds=TRAINING_SECONDS)
def compare_optimizers(answer):
    """Same weights, same batches, one history per optimizer."""
    opt = keras.optimizers
    line = _model([keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")], 1)
    ones = np.ones((2, 1), np.float32)
    _histories(
        answer,
        line,
        "mse",
        {"학습률 0.25": lambda: opt.SGD(0.25), "학습률 0.5": lambda: opt.SGD(0.5)},
        (ones, ones, 2, 2),
        "예시",
        {"학습률 0.25": ([1, 0.25, 0.0625], [1, 1, 0.25], None), "학습률 0.5": ([1, 0, 0], [1, 1, 0], None)},
    )

    x, y, kernel, bias = _classification()
    regression = _model([keras.layers.Dense(3)], 4)
    regression.set_weights([kernel, bias])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    _histories(
        answer,
        regression,
        loss,
        MAKERS,
        (x, y, 3, 16),
        "마지막 배치가 2개뿐인 소프트맥스 회귀 (50, 4), 배치는 받은 순서대로",
        {name: (*_softmax_regression(name, 3, 16), _softmax_regression(name, 3, 50)[0]) for name in MAKERS},
    )

    start = keras.initializers.GlorotUniform(seed=304)
    hidden = keras.layers.Dense(8, activation="relu", kernel_initializer=start)
    norm = keras.layers.BatchNormalization(momentum=0.5)  # So that two epochs leave a trace.
    deep = _model([hidden, norm, keras.layers.Dense(3, kernel_initializer=start)], 4)
    makers = {"Adam": lambda: opt.Adam(0.02), "SGD": lambda: opt.SGD(0.1)}
    inputs, case = (x, y, 2, 25), "배치 정규화가 있는 신경망"
    one = _histories(answer, deep, loss, makers, inputs, case)
    makers = dict(reversed(makers.items()))
    two = _histories(answer, deep, loss, makers, inputs, f"{case}, 옵티마이저의 순서를 뒤집음")
    for name in makers:
        expect(
            np.allclose(one[name], two[name], rtol=2e-3, atol=1e-4),
            f"{case}: 옵티마이저의 순서를 바꾸자 {name}의 손실이 달라졌습니다. 앞의 학습이 뒤의 학습에 영향을 줍니다.",
        )


@functools.cache
def _classification() -> tuple[np.ndarray, ...]:
    """Return 50 samples of three classes, inputs (50, 4) and labels, and start weights (4, 3) and (3,)."""
    rng = np.random.default_rng(304)
    x = rng.normal(size=(50, 4)).astype(np.float32)
    y = (x @ rng.normal(size=(4, 3)) + rng.normal(size=(50, 3))).argmax(axis=1).astype(np.int32)
    order = np.argsort(y, kind="stable")  # Sorted by class, so that the order of the batches matters.
    return x[order], y[order], rng.normal(size=(4, 3)), rng.normal(size=3)


def _model(layers: Sequence, width: int):
    return keras.Sequential([keras.Input((width,)), *layers])


def _histories(
    answer: Callable, model, loss, makers: dict, inputs: tuple, case: str, expected: dict | None = None
) -> dict[str, np.ndarray]:
    """Call the answer and return its histories.

    Args:
        makers: name → function that makes an optimizer.
        inputs: x, y, epochs and batch size.
        expected: name → the right history, the one made of running averages and the one with a single batch
            (``None`` where it is the right one), or ``None``.
    """
    x, y, epochs, batch = inputs
    start = model.get_weights()
    logits = np.asarray(model(x))
    first = float(
        np.mean((logits - y) ** 2)
        if loss == "mse"
        else -np.mean(log_softmax(logits, 1)[np.arange(len(y)), y])
    )
    x, y = x.copy(), y.copy()
    with untouched(case, x, y), eagerly():
        got = answer(model, loss, dict(makers), x, y, epochs, batch)
    finish, _ = model.get_weights(), model.set_weights(start)
    expect_type(got, dict, case)
    expect(
        list(got) == list(makers),
        f"{case}: 키가 {list(makers)}여야 하는데 {[str(key) for key in got]}입니다.",
    )
    got = {name: expect_array(losses, f"{case}, {name}") for name, losses in got.items()}
    for name, losses in got.items():
        expect(
            losses.shape == (epochs + 1,),
            f"{case}, {name}: 손실의 모양이 (에포크 수 + 1,) = {(epochs + 1,)}이어야 하는데 {losses.shape}입니다. "
            "0번은 학습 전의 손실입니다.",
        )
    for name, losses in got.items():
        expect(
            np.isclose(losses[0], first, rtol=1e-4, atol=1e-6),
            f"{case}, {name}: 학습 전의 손실이 {first:.4f}여야 하는데 {float(losses[0]):.4f}입니다. 모든 옵티마이저가 "
            "받은 모델의 가중치에서(학습하지 않는 가중치까지) 출발해야 합니다.",
        )
        if expected is not None:
            right, running, whole = expected[name]
            mistakes = {
                "fit의 loss는 에포크 동안의 평균입니다. 에포크가 끝난 가중치로 손실을 다시 재세요.": running
            }
            if whole is not None:
                mistakes["batch_size를 쓰지 않고 전체를 한 배치로 썼습니다."] = whole
            expect_close(losses, right, f"{case}, {name}", tol=1e-3, mistakes=mistakes)
        expect(losses[-1] < losses[0], f"{case}, {name}: 손실이 줄지 않았습니다.")
    for weight, old, new in zip(model.weights, start, finish, strict=True):
        expect(
            np.array_equal(old, new),
            f"{case}: 비교가 끝난 모델의 가중치 {weight.path}이 처음과 다릅니다. 마지막에도 처음 가중치로 되돌리세요.",
        )
    return got


@functools.cache
def _softmax_regression(name: str, epochs: int, size: int) -> tuple[list, list]:
    """Train by the closed form of the gradient, batches in order; also return Keras' running averages.

    Args:
        name: which of ``MAKERS`` makes the optimizer.
        epochs: how often to go through the data of ``_classification``.
        size: samples in a batch.
    """
    x, y, *weights = _classification()
    optimizer = MAKERS[name]()
    kernel, bias = (keras.Variable(weight, dtype="float32") for weight in weights)
    one_hot = np.eye(len(weights[1]))[y]

    def loss(rows):
        logits = x[rows] @ np.asarray(kernel) + np.asarray(bias)
        return -np.sum(one_hot[rows] * log_softmax(logits, axis=1)), softmax(logits, axis=1)

    every = slice(None)
    history, running = [loss(every)[0] / len(x)], [loss(every)[0] / len(x)]
    for _ in range(epochs):
        total = 0.0
        for begin in range(0, len(x), size):
            rows = slice(begin, begin + size)
            value, p = loss(rows)
            total += value
            delta = ((p - one_hot[rows]) / len(p)).astype(np.float32)
            optimizer.apply([tf.constant(x[rows].T @ delta), tf.constant(delta.sum(0))], [kernel, bias])
        history.append(loss(every)[0] / len(x))
        running.append(total / len(x))
    return history, running


def _trajectory(optimizer, theta, slots: tuple, gradients, done: int = 0) -> Iterator[tuple[tuple, tuple]]:
    """Yield (θ, *slots) before and after every step that Keras makes in float64."""
    variable = keras.Variable(theta, dtype="float64")
    optimizer.build([variable])
    states = optimizer.variables[2:]  # After the step counter and the learning rate.
    for state, value in zip(states, slots, strict=True):
        state.assign(value)
    optimizer.iterations.assign(done)
    for g in gradients:
        before = tuple(item.numpy() for item in (variable, *states))
        optimizer.apply([tf.constant(g, tf.float64)], [variable])
        yield before, tuple(item.numpy() for item in (variable, *states))


def _call(answer: Callable, state: tuple, rest: tuple, arrays: tuple, parts: tuple, case: str) -> Sequence:
    """Call a step function; require as many results as states and untouched inputs."""
    given = [np.array(item) for item in (*state, rest[0])]
    with contextlib.ExitStack() as stack:
        for name, array in zip(arrays, given, strict=True):
            stack.enter_context(untouched(f"{case}, 입력 {name}", array))
        return expect_parts(answer(*given, *rest[1:]), parts, case)


def _momentum_case(rng: np.random.Generator, shape: tuple, options: tuple) -> tuple:
    return rng.normal(size=shape), rng.normal(size=shape), rng.normal(size=(STEPS, *shape)), options


def _rms_case(rng: np.random.Generator, shape: tuple, scale: float = 1.0) -> tuple:
    return rng.normal(size=shape), np.zeros(shape), scale * rng.normal(size=(STEPS, *shape))


def _adam_case(rng: np.random.Generator, shape: tuple, scale: float = 1.0) -> tuple:
    gradients = scale * rng.normal(size=(STEPS, *shape))
    return rng.normal(size=shape), np.zeros(shape), np.zeros(shape), gradients
