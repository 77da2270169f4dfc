"""Checks of practice 13.2, guidance without a classifier: stubs that note what they are asked, digits that are read.

The answers take and give tensors. Time 0 is the picture and 1 the noise, a model reads 1000 times that, and label 10
stands for none. The model of :func:`train` is a table with one number a label, whose exact optimum is known; only an
answer that feeds it well is given a network. What that draws is read by the nearest neighbours among the test digits,
which no answer is handed.
"""

import itertools

import keras
import numpy as np
import tensorflow as tf
from numpy.random import default_rng

from tf_study import diffusion
from tf_study.checks.eager import eagerly
from tf_study.expect import (
    expect,
    expect_array,
    expect_close,
    expect_integers,
    expect_parts,
    expect_type,
    untouched,
)
from tf_study.models.unet import dense, time_embedding
from tf_study.practice import TRAINING_SECONDS, problem

NONE = diffusion.CLASSES
DRAWS = 20_000
TIMES = 64  # numbers that tell the network the time
SIDE, STEPS, BATCH, RATE = 8, 240, 128, 0.1  # of the training that is judged
GUIDANCE, PICTURES, TARGET = 3.0, 100, 0.7  # accuracy at this guidance; guessing gives 0.1


@problem("레이블 드롭아웃", minutes=5)
def drop_labels(answer):
    """Shares of 20,000 labels, by class and by place; numbers of dropped labels in small batches; a tf.function."""
    labels = default_rng(0).integers(0, NONE, DRAWS).astype(np.int32)

    def drop(given, rate, seed, case):
        got = expect_integers(answer(tf.constant(given), rate, seed), case)
        expect(got.shape == given.shape, f"{case}: 모양이 {given.shape}이어야 하는데 {got.shape}입니다.")
        return got

    expect_close(drop(labels, 0.0, (1, 2), "rate=0"), labels, "rate=0", tol=0)
    everything = {"레이블 없음은 10입니다. 0은 숫자 0의 레이블입니다.": np.zeros_like(labels)}
    got = drop(labels, 1.0, (1, 2), "rate=1")
    expect_close(got, np.full_like(labels, NONE), "rate=1", tol=0, mistakes=everything)
    for rate, seed in ((0.1, (3, 4)), (0.35, (5, 0))):
        case = f"레이블 {DRAWS:,}개, rate={rate:g}"
        got = drop(labels, rate, seed, case)
        gone = got != labels
        others = np.unique(got[gone])
        expect(
            set(others) <= {NONE},
            f"{case}: 남은 레이블은 그대로, 버린 레이블은 {NONE}이어야 하는데 {others[:3].tolist()}이 나왔습니다.",
        )
        share = gone.mean()
        whole = " 배치를 통째로 정하지 말고 샘플마다 따로 정하세요." if share in (0, 1) else ""
        whole = whole or (" 버릴 확률이 rate입니다." if abs(share + rate - 1) < 0.02 else "")
        expect(
            abs(share - rate) < 5 * np.sqrt(rate * (1 - rate) / DRAWS),
            f"{case}: 버린 비율이 {rate:g} 근처여야 하는데 {share:.3f}입니다.{whole}",
        )
        parts = {f"숫자 {digit}": gone[labels == digit] for digit in range(NONE)}
        parts |= {"앞쪽 절반": gone[: DRAWS // 2], "뒤쪽 절반": gone[DRAWS // 2 :]}
        for name, part in parts.items():
            expect(
                abs(part.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / len(part)),
                f"{case}: {name}에서 버린 비율이 {part.mean():.3f}입니다. 클래스와 위치에 상관없이 뽑으세요.",
            )
        expect_close(drop(labels, rate, seed, case), got, f"{case}, 같은 시드로 다시", tol=0)
        inside = tf.function(lambda given, seed, rate=rate: answer(given, rate, seed))
        inside = expect_array(inside(tf.constant(labels), tf.constant(seed)), f"{case}, tf.function 안")
        expect_close(inside, got, f"{case}, tf.function 안", tol=0)
    few, rate, seeds = np.full(8, 7, np.int32), 0.25, 150
    counts = [np.sum(drop(few, rate, (k, 9), "레이블 8개") == NONE) for k in range(seeds)]
    spread = 8 * rate * (1 - rate)  # the variance of the number dropped, estimated to 12 % of itself
    found = np.var(counts)
    expect(
        found > spread / 2,
        f"레이블 8개, 시드 {seeds}개: 버린 개수의 분산이 {spread:g} 근처여야 하는데 {found:.2f}입니다. "
        "개수를 정해 두지 말고 샘플마다 따로 뽑고, 시드를 쓰는지도 보세요.",
    )
    expect(
        found < 2 * spread,
        f"레이블 8개, 시드 {seeds}개: 버린 개수의 분산이 {spread:g} 근처여야 하는데 {found:.2f}입니다. "
        "샘플마다 다른 난수를 뽑으세요.",
    )


def _along(numbers, like) -> np.ndarray:
    """Numbers (B,) or one number → the shape that multiplies the samples of ``like``."""
    return np.stack([np.full(like.shape[1:], n, np.float32) for n in np.broadcast_to(numbers, len(like))])


@problem("학습 쌍", minutes=5)
def pair(answer):
    """A time of its own for every sample, in shapes where the wrong axis goes unnoticed."""
    rng = default_rng(1)
    shapes = {
        "(4, 4, 4, 4)": (4, 4, 4, 4),
        "(3, 2, 2, 1)": (3, 2, 2, 1),
        "(1, 5, 3, 1)": (1, 5, 3, 1),
        "(6, 6)": (6, 6),
    }
    for name, shape in shapes.items():
        case = f"그림 {name}"
        x0, noise = rng.uniform(-1, 1, shape).astype("f"), rng.normal(size=shape).astype("f")
        t = np.append(rng.uniform(0.05, 0.95, shape[0]), [0.0, 1.0])[-shape[0] :].astype("f")
        got = expect_parts(answer(*map(tf.constant, (x0, t, noise))), ("x_t", "v"), case)
        share = _along(t, x0)
        xt, v = (1 - share) * x0 + share * noise, noise - x0
        first = _along(t[0], x0)
        about_xt = {
            "x_t와 v의 순서가 바뀌었습니다.": v,
            "데이터와 노이즈의 계수가 바뀌었습니다. t=0이 데이터입니다.": share * x0 + (1 - share) * noise,
            "데이터의 계수 1 - t가 빠졌습니다.": x0 + share * noise,
            "이 실습의 경로에는 제곱근이 없습니다.": np.sqrt(1 - share) * x0 + np.sqrt(share) * noise,
            "모든 샘플에 첫 샘플의 시각을 썼습니다.": (1 - first) * x0 + first * noise,
            "모든 샘플에 첫 샘플의 노이즈를 더했습니다.": (1 - share) * x0 + share * noise[[0] * len(noise)],
        }
        if len(set(shape)) == 1:
            about_xt["t를 샘플 축이 아니라 마지막 축에 곱했습니다."] = (1 - t) * x0 + t * noise
        about_v = {
            "부호가 반대입니다. 속도는 데이터에서 노이즈로 향합니다.": x0 - noise,
            "노이즈를 돌려주었습니다. 속도는 두 점의 차이입니다.": noise,
            "데이터를 돌려주었습니다. 속도는 두 점의 차이입니다.": x0,
            "x_t에서 데이터를 뺐습니다.": xt - x0,
        }
        expect_close(got[0], xt, f"{case}, x_t", mistakes=about_xt)
        expect_close(got[1], v, f"{case}, v", mistakes=about_v)


@problem("가이던스의 두 관례", minutes=5)
def combine(answer):
    """Both conventions, one guidance for all samples or one for each."""
    rng = default_rng(2)
    cases = {
        "w=3": (3.0, (2, 3, 3, 1)),
        "w=1": (1.0, (2, 3, 3, 1)),
        "w=0": (0.0, (2, 3, 3, 1)),
        "w=-0.5": (-0.5, (1, 2, 2, 1)),
        "w가 샘플마다 다름 (4, 4, 4, 4)": (np.array([0, 1, 3, 8], "f"), (4, 4, 4, 4)),
        "w가 샘플마다 다름 (3, 2, 2, 1)": (np.array([1.5, 0, 2], "f"), (3, 2, 2, 1)),
    }
    for (name, (w, shape)), convention in itertools.product(cases.items(), ("scale", "paper")):
        case = f"{convention}, {name}"
        c, u = rng.normal(size=(2, *shape)).astype("f")
        each, last = _along(w, c), w + (convention == "paper")
        full = each + (convention == "paper")
        expected = u + full * (c - u)
        got = answer(tf.constant(c), tf.constant(u), tf.constant(w) if np.ndim(w) else w, convention)
        other = {
            "scale": "w=0이 가이던스 없음인 관례의 값입니다. cond가 아니라 uncond에서 시작하는 식입니다.",
            "paper": "w=1이 가이던스 없음인 관례의 값입니다. paper에서는 w=0이 cond입니다.",
        }
        mistakes = {
            other[convention]: u + (2 * each + 1 - full) * (c - u),
            "괄호 안의 부호가 반대입니다.": u + full * (u - c),
            "w가 1만큼 커졌습니다.": c + full * (c - u),
            "cond와 uncond가 바뀌었습니다.": c + full * (u - c),
            "uncond에 w를 곱했습니다.": each * u + (1 - each) * c,
            "uncond를 더하지 않았습니다.": full * (c - u),
        }
        if len(set(shape)) == 1:
            mistakes["w를 샘플 축이 아니라 마지막 축에 곱했습니다."] = u + last * (c - u)
        expect_close(got, expected, case, tol=1e-4, mistakes=mistakes)


class _Stub:
    """A model that answers each row by its own picture, time and label, and notes what it was asked."""

    def __init__(self, seed: int, case: str):
        self.gain, self.shift = default_rng(seed).normal(size=(2, NONE + 1)).astype("f")
        self.case, self.asked = case, []

    def __call__(self, x, time, label):
        x, time, label = (expect_array(value, f"{self.case}: 모델의 입력") for value in (x, time, label))
        for name, value in (("시각", time), ("레이블", label)):
            expect(
                value.shape == x.shape[:1],
                f"{self.case}: 모델에 그림을 {len(x)}장 주면 {name}의 모양은 {x.shape[:1]}이어야 하는데 "
                f"{value.shape}입니다.",
            )
        label = expect_integers(label, f"{self.case}: 모델에 준 레이블")
        expect(
            label.min() >= 0 and label.max() <= NONE,
            f"{self.case}: 모델에 준 레이블이 0~{NONE} 밖입니다: {sorted(set(label.tolist()))}",
        )
        self.asked.append((time, label))
        return tf.constant(self.velocity(x, time, label))

    def velocity(self, x, time, label) -> np.ndarray:
        """What it says: smooth in the picture, different for every time and label."""
        place = (slice(None), *[None] * (x.ndim - 1))
        gain, shift = self.gain[label][place], self.shift[label][place]
        return (np.tanh(gain * x) + shift * (0.5 + time[place] / 1000)).astype("f")

    def guided(self, x, t, labels, w) -> np.ndarray:
        """The reference: without + w (with - without)."""
        time = np.full(len(x), 1000 * t)
        without = self.velocity(x, time, np.full(len(x), NONE))
        return without + _along(w, x) * (self.velocity(x, time, labels) - without)


def _expect_time(time, t: float, case: str) -> None:
    expect(
        not np.allclose(time, t) or t == 0,
        f"{case}: 모델에 준 시각이 t 그대로({t:g})입니다. 모델은 1000t를 읽습니다.",
    )
    expect(
        np.allclose(time, 1000 * t, rtol=1e-5, atol=1e-3),
        f"{case}: 모델에 준 시각이 {1000 * t:g}이어야 하는데 {time.ravel()[0]:g}입니다.",
    )


@problem("한 번에 두 예측", minutes=10)
def guided_velocity(answer):
    """One call of twice the rows, half of them without a label."""
    cases = {
        "w=3": (3, 0.25, 3.0),
        "w=0": (2, 1.0, 0.0),
        "그림 한 장, w=1.5": (1, 0.625, 1.5),
        "w가 샘플마다 다름": (4, 0.75, np.array([0, 1, 2, 8], "f")),
    }
    for index, (case, (count, t, w)) in enumerate(cases.items()):
        rng, model = default_rng(index), _Stub(index, case)
        x = rng.normal(size=(count, 4, 4, 1)).astype("f")
        labels = rng.permutation(NONE)[:count].astype(np.int32)
        given = tf.constant(w) if np.ndim(w) else w
        got = answer(model, tf.constant(x), t, tf.constant(labels), given)
        expect(
            len(model.asked) == 1, f"{case}: 모델을 한 번만 불러야 하는데 {len(model.asked)}번 불렀습니다."
        )
        time, label = model.asked[0]
        expect(
            len(label) == 2 * count,
            f"{case}: 그림 {2 * count}장을 한 번에 주어야 하는데 {len(label)}장을 주었습니다.",
        )
        _expect_time(time, t, case)
        wanted = sorted([*labels.tolist(), *[NONE] * count])
        expect(
            sorted(label.tolist()) == wanted,
            f"{case}: 레이블이 {labels.tolist()}와 {NONE} {count}개여야 하는데 {label.tolist()}입니다.",
        )
        place = _along(w, x)
        time = np.full(count, 1000 * t)
        c = model.velocity(x, time, labels)
        u = model.velocity(x, time, np.full(count, NONE))
        mistakes = {
            "결과를 나눌 때 cond와 uncond가 바뀌었습니다.": c + place * (u - c),
            "cond에서 시작했으니 w가 1만큼 커졌습니다.": c + place * (c - u),
            "결과의 짝이 어긋났습니다. 그림과 레이블을 같은 순서로 두 배로 만드세요.": u
            + place * (np.roll(c, 1, 0) - u),
            "cond만 돌려주었습니다.": c,
            "결과가 두 배 그대로입니다.": np.concatenate([c, u]),
        }
        expect_close(got, model.guided(x, t, labels, w), case, tol=1e-4, mistakes=mistakes)


@problem("시간 격자와 구간", minutes=5)
def plan(answer):
    """Grids whose times are exact in binary, so that the ends of the interval are certain to count."""
    cases = [(4, 3.0, 0.25, 0.75), (8, 2.0, 0.25, 0.5), (16, 8.0, 0.3125, 0.9375), (5, 1.5, 0.0, 1.0)]
    cases += [(8, 0.0, 0.5, 1.0), (8, 3.0, 0.0, 0.375), (1, 4.0, 0.2, 0.6), (10, 5.0, 0.35, 0.65)]
    for steps, w, low, high in cases:
        case = f"{steps}스텝, w={w:g}, 구간 {low:g}~{high:g}"
        times, weights = expect_parts(answer(steps, w, low, high), ("times", "weights"), case)
        grid = np.array([1 - k / steps for k in range(steps + 1)])
        inside = (low - 1e-9 <= grid) & (grid <= high + 1e-9)
        for name, got, length in (("times", times, steps + 1), ("weights", weights, steps)):
            expect_type(got, np.ndarray, f"{case}, {name}")
            why = " 스텝이 n번이면 시각은 n + 1개입니다." if name == "times" and got.shape == (steps,) else ""
            why = why or (
                " 마지막 시각 0에서는 모델을 부르지 않습니다." if got.shape == (length + 1,) else ""
            )
            expect(
                got.shape == (length,),
                f"{case}, {name}: 모양이 {(length,)}이어야 하는데 {got.shape}입니다.{why}",
            )
        late = (low - 1e-9 <= grid[1:]) & (grid[1:] <= high + 1e-9)
        flipped = (low - 1e-9 <= 1 - grid[:-1]) & (1 - grid[:-1] <= high + 1e-9)
        open_ends = (low + 1e-9 < grid[:-1]) & (grid[:-1] < high - 1e-9)
        mistakes = {
            "구간 밖의 가중치가 0입니다. 0이면 레이블까지 무시하니 1을 쓰세요.": np.where(
                inside[:-1], w, 0.0
            ),
            "안과 밖이 바뀌었습니다.": np.where(inside[:-1], 1.0, w),
            "시각의 방향이 반대입니다. 첫 스텝은 t=1(노이즈)에서 시작합니다.": np.where(flipped, w, 1.0),
            "스텝이 끝나는 시각으로 정했습니다. 모델을 부르는 시각으로 정하세요.": np.where(late, w, 1.0),
            "구간의 양 끝도 구간에 듭니다.": np.where(open_ends, w, 1.0),
            "구간을 쓰지 않았습니다.": np.full(steps, w),
            "구간의 아래쪽 끝을 쓰지 않았습니다.": np.where(grid[:-1] <= high + 1e-9, w, 1.0),
            "구간의 위쪽 끝을 쓰지 않았습니다.": np.where(grid[:-1] >= low - 1e-9, w, 1.0),
        }
        backwards = {"0에서 1로 올라갑니다. 샘플러는 1에서 0으로 내려옵니다.": grid[::-1]}
        expect_close(times, grid, f"{case}, times", mistakes=backwards)
        expect_close(weights, np.where(inside[:-1], w, 1.0), f"{case}, weights", mistakes=mistakes)


@problem("가이던스 샘플러", minutes=10)
def sample(answer):
    """Grids that end early, are uneven, or guide at some steps only; what the model is asked is counted."""
    cases = {
        "4스텝, w=3": (np.linspace(1, 0, 5), np.full(4, 3.0)),
        "한 스텝, w=0": (np.array([1.0, 0.0]), np.array([0.0])),
        "가이던스 없음": (np.linspace(1, 0, 6), np.ones(5)),
        "가운데만 w=4": (np.linspace(1, 0, 9), np.array([1, 1, 4, 4, 4, 1, 1, 1.0])),
        "간격이 다른 격자": (np.array([1, 0.9, 0.5, 0.4, 0.0]), np.array([2.0, 1, 0, 1])),
        "t=0.25에서 멈추는 격자": (np.array([1, 0.75, 0.25]), np.array([2.0, 1.5])),
        "t=0.5에서 시작하는 격자": (np.array([0.5, 0.3, 0.0]), np.array([1.0, 2.5])),
    }
    for index, (case, (times, weights)) in enumerate(cases.items()):
        rng, model = default_rng(index), _Stub(index, case)
        x = rng.normal(size=(3, 4, 4, 1)).astype("f")
        labels = rng.permutation(NONE)[:3].astype(np.int32)
        with untouched(case, times, weights):
            got = answer(model, tf.constant(x), tf.constant(labels), times, weights)
        _expect_asked(model, times, weights, labels, case)

        def path(model=model, x=x, labels=labels, times=times, weights=weights, **options):
            return _euler(model, x, labels, times, weights, **options)

        def mistakes(path=path, times=times, weights=weights, x=x):
            even = np.linspace(times[0], times[-1], len(times))
            return {
                "x가 노이즈 쪽으로 갔습니다. 스텝의 크기 s - t는 음수입니다.": path(sign=-1),
                "모든 스텝의 크기가 같습니다. 격자의 이웃한 시각을 쓰세요.": path(moves=np.diff(even)),
                "마지막에 격자의 끝이 아니라 예측한 데이터까지 갔습니다.": path(
                    moves=[*np.diff(times)[:-1], -times[-2]]
                ),
                "예측한 노이즈 대신 처음 노이즈를 다시 섞었습니다.": path(again=x),
                "두 계수가 바뀌었습니다. 시각 s에서 데이터의 계수가 1 - s입니다.": path(swap=True),
                "모든 스텝에 첫 가중치를 썼습니다.": path(weights=np.full(len(weights), weights[0])),
            }

        expect_close(got, path(), case, tol=1e-4, mistakes=mistakes)


def _euler(model, x, labels, times, weights, sign=1, moves=None, again=None, swap=False) -> np.ndarray:
    moves = np.diff(times) if moves is None else moves
    for t, w, move in zip(times[:-1], weights, moves, strict=True):
        v = model.guided(x, t, labels, w)
        clean, noise, s = x - t * v, x + (1 - t) * v, t + sign * move
        noise = noise if again is None else again
        x = (s * clean + (1 - s) * noise if swap else (1 - s) * clean + s * noise).astype("f")
    return x


def _expect_asked(model: _Stub, times, weights, labels, case: str) -> None:
    """One call a step at the time where it begins, of twice the rows where there is guidance."""
    steps = len(weights)
    expect(
        len(model.asked) == steps,
        f"{case}: 모델을 스텝마다 한 번, 모두 {steps}번 불러야 하는데 {len(model.asked)}번 불렀습니다.",
    )
    for k, (time, label) in enumerate(model.asked):
        where = f"{case}, {k + 1}번째 스텝"
        if np.allclose(time, 1000 * times[k + 1], atol=1e-3) and times[k + 1] != times[k]:
            expect(False, f"{where}: 스텝이 시작하는 시각이 아니라 끝나는 시각을 주었습니다.")
        _expect_time(time, times[k], where)
        guided = weights[k] != 1
        rows = len(labels) * (1 + guided)
        why = (
            "w=1이면 레이블 있는 예측만 필요합니다." if not guided else "w가 1이 아니면 두 예측이 필요합니다."
        )
        expect(
            len(label) == rows, f"{where}: 모델에 {rows}장을 주어야 하는데 {len(label)}장을 주었습니다. {why}"
        )
        wanted = sorted([*labels.tolist(), *[NONE] * (len(labels) * guided)])
        expect(
            sorted(label.tolist()) == wanted,
            f"{where}: 모델에 준 레이블이 {wanted}이어야 하는데 {sorted(label.tolist())}입니다.",
        )


class _Table(keras.Model):
    """Says one number for every label, whatever the picture, and notes its inputs in ``seen``.

    For pictures that are one grey all over, :func:`_grey` of their label, the best number is minus that grey.
    """

    def __init__(self):
        super().__init__(name="table")
        self.classes, self.image_channels = NONE, 1
        self.table = self.add_weight(shape=(NONE + 1,), initializer="zeros", name="table")
        self.seen = []
        self.built = True

    def call(self, x, time, label):
        tf.numpy_function(lambda *asked: self.seen.append(asked), [x, time, label], [])
        return tf.zeros_like(x) + tf.gather(self.table, label)[:, None, None, None]


def _grey(label) -> np.ndarray:
    return ((np.asarray(label) - 4.5) / 4.5).astype("f")


class Small(keras.Model):
    """Dense layers for pictures of 8×8, which need no convolution; time and label are added before each."""

    def __init__(self, width: int = 192, depth: int = 2):
        super().__init__()
        self.classes, self.image_channels = NONE, 1
        self.time, self.label = dense(TIMES, width), keras.layers.Embedding(NONE + 1, width)
        self.label.build()
        self.enter = dense(SIDE**2, width)
        self.inner = [dense(width, width) for _ in range(depth)]
        self.leave = dense(width, SIDE**2, kernel_initializer="zeros")
        self.built = True

    def call(self, x, time, label):
        """x (B, 8, 8, 1), time (B,) on the scale 0 ... 1000, label (B,) → as x."""
        told = self.time(time_embedding(time, TIMES)) + self.label(label)
        h = self.enter(tf.reshape(x, (-1, SIDE**2)))
        for inner in self.inner:
            h = h + inner(tf.nn.silu(h + told))
        return tf.reshape(self.leave(h), tf.shape(x))


@problem("CFG의 학습", minutes=15, seconds=TRAINING_SECONDS)
def train(answer):
    """A table first, whose inputs and optimum are known; then a network, judged by what it draws."""
    _train_table(answer)
    (pictures, labels), (others, truth) = diffusion.digits(SIDE)
    keras.utils.set_random_seed(0)
    model, case = Small(), f"8×8 숫자, {STEPS}스텝"
    with untouched(case, pictures, labels):
        losses = answer(model, pictures, labels, STEPS, BATCH, 0)
    _expect_losses(losses, STEPS, case)
    wanted = np.repeat(np.arange(NONE, dtype=np.int32), PICTURES // NONE)
    with eagerly():  # A graph would take longer than its ten steps.
        drawn = diffusion.sample(model, wanted, steps=10, guidance=GUIDANCE, side=SIDE)
    accuracy = float(np.mean(_read(drawn, others, truth) == wanted))
    expect(
        accuracy >= TARGET,
        f"{case}: w={GUIDANCE:g}으로 그린 {PICTURES}장의 정확도가 {TARGET:g} 이상이어야 하는데 {accuracy:.2f}입니다"
        "(무작위 추측은 0.1). 학습률과 그 스케줄을 바꾸어 보세요.",
    )


def _read(pictures, known, labels, neighbours: int = 3) -> np.ndarray:
    """The digit of most of the three nearest known pictures, the nearest if all three differ."""
    a, b = (np.reshape(x, (len(x), -1)).astype(float) for x in (pictures, known))
    away = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)
    nearest = labels[np.argsort(away, 1)[:, :neighbours]]
    votes = (nearest[:, :, None] == np.arange(NONE)).sum(1)
    votes = votes + 0.5 * (nearest[:, :1] == np.arange(NONE))
    return votes.argmax(1)


def _expect_losses(losses, steps: int, case: str) -> np.ndarray:
    got = expect_array(losses, f"{case}, 손실")
    expect(got.shape == (steps,), f"{case}: 손실이 {steps}개여야 하는데 모양이 {got.shape}입니다.")
    expect(got.dtype.kind == "f" and np.isfinite(got).all(), f"{case}: 손실이 유한한 실수여야 합니다.")
    return got


def _train_table(answer) -> None:
    steps, batch, case = 80, 32, "80스텝, 점검용 모델"
    labels = np.arange(400, dtype=np.int32) % NONE
    pictures = np.broadcast_to(_grey(labels)[:, None, None, None], (400, 4, 4, 1)).copy()
    model = _Table()
    with untouched(case, pictures, labels):
        losses = answer(model, pictures, labels, steps, batch, 5)
    expect(
        len(model.seen) == steps,
        f"{case}: 모델을 스텝마다 한 번, 모두 {steps}번 불러야 하는데 {len(model.seen)}번 불렀습니다.",
    )
    for x, time, label in model.seen:
        shapes = x.shape == (batch, 4, 4, 1) and time.shape == label.shape == (batch,)
        expect(
            shapes,
            f"{case}: 모델에 그림 {batch}장과 시각, 레이블을 {batch}개씩 주어야 하는데 모양이 {x.shape}, "
            f"{time.shape}, {label.shape}입니다.",
        )
    x, time, label = (np.stack([step[k] for step in model.seen]) for k in range(3))  # (steps, batch, …)
    _expect_times(time, case)
    _expect_dropped(label, batch, case)
    _expect_mixed(x[..., 0].reshape(steps, batch, -1), time / 1000, label, case)
    losses, first = _expect_losses(losses, steps, case), 1 + np.mean(pictures**2)
    expect(
        abs(losses[0] / first - 1) < 0.3,
        f"{case}: 첫 손실이 {first:.2f} 근처여야 하는데 {losses[0]:.3g}입니다. 제곱 오차의 평균인지, 목표가 v인지 보세요.",
    )
    table = model.table.numpy()
    expect(np.any(table != 0), f"{case}: 가중치가 바뀌지 않았습니다.")
    like = np.corrcoef(table[:NONE], -_grey(np.arange(NONE)))[0, 1]
    expect(
        like > 0.8,
        f"{case}: 가중치가 v의 평균 쪽으로 가야 하는데 둘의 상관이 {like:.2f}입니다. 목표의 부호와 기울기를 보세요.",
    )


def _expect_times(time, case: str) -> None:
    """Uniform between 0 and 1000, another for each sample and each step."""
    expect(time.max() > 1.5, f"{case}: 모델에 0~1의 시각을 주었습니다. 1000을 곱해 주세요.")
    expect(time.std(1).min() > 50, f"{case}: 배치의 모든 샘플에 같은 시각을 썼습니다.")
    expect(
        time.std(0).max() > 1e-3,
        f"{case}: 스텝마다 같은 시각이 나옵니다. tf.function 안에서는 스텝의 번호를 시드로 쓰세요.",
    )
    expect(
        time.min() >= 0 and time.max() <= 1000 and abs(time.mean() - 500) < 5 * 289 / np.sqrt(time.size),
        f"{case}: 시각이 0~1000에서 균등해야 하는데 {time.min():.0f}~{time.max():.0f}, 평균 {time.mean():.0f}입니다.",
    )


def _expect_dropped(label, batch: int, case: str) -> None:
    expect(label.min() >= 0 and label.max() <= NONE, f"{case}: 레이블이 0~{NONE} 밖입니다.")
    expect(
        label.std(0).max() > 0 and len({row.tobytes() for row in label}) > 1,
        f"{case}: 스텝마다 같은 배치가 나옵니다. tf.function 안에서는 스텝의 번호를 시드로 쓰세요.",
    )
    counts = (label == NONE).sum(1)
    share = counts.sum() / label.size
    whole = " 샘플마다 따로 버리세요." if set(counts) == {0, batch} else ""
    expect(
        abs(share - RATE) < 5 * np.sqrt(RATE * (1 - RATE) / label.size),
        f"{case}: 레이블을 {RATE:g}의 비율로 버려야 하는데 {share:.3f}입니다.{whole}",
    )
    expect(counts.max() < batch, f"{case}: 한 배치의 레이블을 모두 버렸습니다. 샘플마다 따로 버리세요.")


def _expect_mixed(x, t, label, case: str) -> None:
    """x is (1 - t) grey + t noise: greys from the means, noise from what is left of every picture."""
    known, size = label < NONE, x.shape[-1]
    off = (x.mean(-1) - (1 - t) * _grey(label))[known] / np.maximum(t[known], 0.02) * np.sqrt(size)
    expect(
        0.7 < np.sqrt(np.mean(off**2)) < 1.3,
        f"{case}: 모델에 준 그림이 (1 - t)x_0 + tε이 아닙니다. 그림, 시각, 레이블의 순서가 같은지도 보세요.",
    )
    noise = (x - x.mean(-1, keepdims=True)) / np.maximum(t, 0.02)[..., None]  # (steps, batch, pixels)
    expect(
        0.8 < noise.std() < 1.2, f"{case}: 노이즈의 표준편차가 1이어야 하는데 {noise.std():.2f} 근처입니다."
    )
    expect(noise.mean(1).std() < 0.5, f"{case}: 배치의 모든 샘플에 같은 노이즈를 더했습니다.")
    expect(
        noise.mean(0).std() < 0.5,
        f"{case}: 스텝마다 같은 노이즈를 더했습니다. tf.function 안에서는 스텝의 번호를 시드로 쓰세요.",
    )


@problem("w의 선택", minutes=5)
def scan(answer):
    """Invented measurements: means over seeds, one noise for all weights, the rule in its three parts."""
    plain = {0.0: (0.1, 20.0, 1.6), 1.0: (0.92, 4.0, 1.0), 1.5: (0.97, 3.0, 0.8), 3.0: (1.0, 9.0, 0.6)}
    cases = {
        "정확도 조건이 고르는 표": (plain | {0.5: (0.6, 2.0, 1.3)}, 0.9),
        "조건과 거리의 순서가 같은 표": (plain, 0.9),
        "정확도가 조건과 같은 w": (plain | {2.0: (0.75, 1.0, 0.7)}, 0.75),
        "조건을 채우는 w가 없는 표": (
            {0.0: (0.1, 9.0, 1.5), 3.0: (0.5, 8.0, 0.6), 1.0: (0.75, 9.5, 1.0)},
            0.9,
        ),
        "거리가 같은 두 w": ({3.0: (1.0, 2.0, 0.5), 1.5: (0.9, 2.0, 0.8), 1.0: (0.5, 1.0, 1.0)}, 0.8),
    }
    for case, (measured, least) in cases.items():
        weights, seeds, drawn = list(measured), [4, 7, 9], []
        shift = {4: -0.5, 7: 0.0, 9: 0.5}  # powers of two, so that the means are exact

        def draw(w, seed, drawn=drawn, asked=(weights, seeds), case=case):
            expect(
                w in asked[0] and seed in asked[1],
                f"{case}: draw({w}, {seed})는 주어진 weights와 seeds에 없는 값입니다.",
            )
            drawn.append((float(w), int(seed)))
            return np.array([w, seed], float)

        def judge(pictures, measured=measured, shift=shift):
            w, seed = np.asarray(pictures)
            accuracy, distance, diversity = measured[float(w)]
            up = shift[int(seed)]
            return accuracy + up / 4, distance - up, diversity + up

        got = expect_parts(answer(draw, judge, weights, seeds, least), ("table", "best"), case)
        asked = set(itertools.product(weights, seeds))
        missing = asked - set(drawn)
        expect(not missing, f"{case}: 그리지 않은 (w, 시드)가 있습니다: {sorted(missing)[:3]}")
        expect(
            len(drawn) == len(asked),
            f"{case}: (w, 시드)마다 한 번씩 {len(asked)}번 그려야 하는데 {len(drawn)}번 그렸습니다.",
        )
        table = np.array([measured[w] for w in weights])
        one = table + np.array([0.125, -0.5, 0.5])
        mistakes = {
            "마지막 시드의 값입니다. 시드의 평균을 구하세요.": one,
            "첫 시드의 값입니다. 시드의 평균을 구하세요.": 2 * table - one,
            "시드의 합입니다. 평균을 구하세요.": 3 * table,
        }
        expect_close(got[0], table, f"{case}, table", mistakes=mistakes)
        best = _best(weights, table, least)
        index = {"w가 아니라 표의 줄 번호를 돌려주었습니다.": float(weights.index(best))}
        expect_close(got[1], best, f"{case}, best", mistakes=index)


def _best(weights, table, least: float) -> float:
    """The nearest of the weights that are accurate enough, else the most accurate; the smaller of equals."""
    rows = [(w, *row[:2]) for w, row in zip(weights, table.tolist(), strict=True)]
    good = [row for row in rows if row[1] >= least]
    if good:
        return min(good, key=lambda row: (row[2], row[0]))[0]
    return min(rows, key=lambda row: (-row[1], row[0]))[0]
