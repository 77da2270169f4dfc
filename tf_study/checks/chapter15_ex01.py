"""Checks of practice 15.1, reward models: float64 and closed forms as the reference.

What an answer trains is judged by five-fold cross-validation on the real pairs, with a split and a hash of its own:
the answer sees rows of numbers that it cannot find anywhere, never a text, and never a row that it is judged on.
A right answer reaches 0.91 and 0.90 there, the rule "the longer answer" 0.66; one that ignores the weights 0.3 on the
folds that get the swapped pairs with weight 0. What a search for a universal answer finds is scored by two reward models
that nothing but this module holds: a greedy search reaches 2.3 times the best right answer, the best words joined
1.4 and 1.6 times, the best word 0.7 times.
"""

import functools
import itertools
import zlib
from collections import Counter
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.random import default_rng
from scipy.optimize import minimize_scalar
from scipy.special import expit

from tf_study import data
from tf_study.expect import (
    Mismatch,
    expect,
    expect_array,
    expect_close,
    expect_logits,
    expect_model,
    expect_parts,
    expect_returned,
    expect_type,
    untouched,
)
from tf_study.practice import TRAINING_SECONDS, problem

TARGET = 0.82  # of the pairs that a model has not seen
LEAST, MOST = 0.05, 20.0  # temperatures
TIMES = 1.9  # reward of the universal answer over that of the best right answer


# -- the loss ------------------------------------------------------------------------------------------


def _softplus(x) -> np.ndarray:
    return np.logaddexp(0, x)


def _loss(c, r, w, center) -> float:
    return np.mean(w * _softplus(r - c)) + center * np.mean((c + r) ** 2)


def _wrong_losses(c, r, w, center) -> dict[str, float]:
    right = np.mean(w * _softplus(r - c))
    middle = center * np.mean((c + r) ** 2)
    own = c - c.mean(), r - r.mean()
    return {
        "부호가 반대입니다. 나은 답의 보상에서 못한 답의 보상을 뺍니다.": np.mean(w * _softplus(c - r))
        + middle,
        "두 보상을 따로 분류했습니다. 손실은 두 보상의 차이에서 구합니다.": np.mean(
            w * (_softplus(-c) + _softplus(r))
        )
        + middle,
        "로그를 취하지 않았습니다.": np.mean(-w * expit(c - r)) + middle,
        "평균이 아니라 합입니다.": len(c) * (right + middle),
        "가중치의 합으로 나누었습니다. 쌍의 수 N으로 나누세요.": np.sum(w * _softplus(r - c)) / w.sum()
        + middle,
        "쌍의 가중치를 곱하지 않았습니다.": np.mean(_softplus(r - c)) + middle,
        "두 보상에서 배치의 평균을 따로 뺐습니다. 그러면 두 답의 평균 차이가 사라집니다.": _loss(
            *own, w, center
        ),
        "두 보상에서 배치의 평균을 따로 뺐습니다.": np.mean(w * _softplus(own[1] - own[0])) + middle,
        "가운데 맞추기는 보상의 차이가 아니라 합의 제곱입니다.": right + center * np.mean((c - r) ** 2),
        "합을 평균한 뒤에 제곱했습니다. 제곱한 뒤에 평균하세요.": right + center * np.mean(c + r) ** 2,
        "가운데 맞추기에도 쌍의 가중치를 곱했습니다.": right + center * np.mean(w * (c + r) ** 2),
        "가운데 맞추기가 빠졌습니다.": right,
        "가운데 맞추기의 부호가 반대입니다.": right - middle,
    }


@problem("Bradley-Terry 손실", minutes=6)
def bt_loss(answer):
    """Values and both gradients; differences of ±1000, where exponentials overflow."""
    rng = default_rng(1501)
    cases = {
        "예시": ([np.log(3), 0.0], [0.0, 0.0], [1.0, 1.0], 0.0),
        "모두 0": ([0.0] * 4, [0.0] * 4, [1.0] * 4, 0.5),
        "여섯 쌍": (rng.normal(1, 2, 6), rng.normal(0, 2, 6), [1.0] * 6, 0.0),
        "가중치가 다른 다섯 쌍": (rng.normal(1, 2, 5), rng.normal(0, 2, 5), [2.0, 0.0, 3.0, 0.5, 1.5], 0.0),
        "center=0.3": (rng.normal(2, 1, 7), rng.normal(1, 2, 7), 2 * rng.random(7), 0.3),
        "쌍이 하나": ([-1.5], [0.7], [1.0], 0.1),
        "차이가 -1000과 1000": ([-600.0, 400.0], [400.0, -600.0], [1.0, 1.0], 0.0),
    }
    for case, parts in cases.items():
        c, r, w = (np.float32(part) for part in parts[:3])
        center = parts[3]
        tensors = tf.constant(c), tf.constant(r), tf.constant(w)
        with tf.GradientTape() as tape:
            tape.watch(tensors[:2])
            got = answer(*tensors, center)
        expect_returned(got, case)
        found = expect_array(got, case)
        expect(found.shape == (), f"{case}: 수 하나여야 하는데 모양이 {found.shape}입니다.")
        expect(np.isfinite(found), f"{case}: 손실이 {found}입니다. 지수나 0의 로그를 직접 계산하지 마세요.")
        c, r, w = (part.astype(float) for part in (c, r, w))
        known = functools.partial(_wrong_losses, c, r, w, center)
        expect_close(got, _loss(c, r, w, center), case, tol=1e-5, mistakes=known)
        _gradients(tape, got, tensors, (c, r, w, center), case)


def _gradients(tape, got, tensors, parts, case: str) -> None:
    c, r, w, center = parts
    expect(
        isinstance(got, tf.Tensor | tf.Variable),
        f"{case}: 기울기를 구할 수 있게 TensorFlow의 연산으로 계산하세요.",
    )
    push = w * expit(r - c) / len(c)
    middle = 2 * center * (c + r) / len(c)
    for name, slope, right in zip(
        ("chosen", "rejected"), tape.gradient(got, tensors[:2]), (middle - push, middle + push), strict=True
    ):
        name = f"{case}: {name}의 기울기"
        expect(slope is not None, f"{name}가 없습니다. NumPy로 바꾸지 말고 TensorFlow의 연산으로 계산하세요.")
        expect_close(slope, right, name, tol=1e-5)


# -- features ------------------------------------------------------------------------------------------


def _grams(text: str, longest=3, shortest=1, pad=" ", words=True) -> list[str]:
    found = []
    for word in text.split() if words else [text]:
        word = pad + word + pad
        for k in range(shortest, longest + 1):
            found += [word[i : i + k] for i in range(len(word) - k + 1)]
    return found


def _features(texts, buckets, salt=b"", damp=np.log1p, norm="l2", **options) -> np.ndarray:
    x = np.zeros((len(texts), buckets))
    for row, text in zip(x, texts, strict=True):
        for gram in _grams(text, **options):
            row[zlib.crc32(salt + gram.encode()) % buckets] += 1
    x = damp(x)
    size = {"l2": np.linalg.norm(x, axis=1), "l1": x.sum(1), "none": np.ones(len(x))}[norm][:, None]
    return x / np.where(size == 0, 1, size)


@problem("글에서 특징으로", minutes=8)
def features(answer):
    """Short texts whose n-grams can be counted by hand, an empty one, few and many buckets, real answers."""
    pairs = data.preferences_ko(12, seed=1502)
    cases = {
        "예시": (["가나"], 16),
        "낱말 둘": (["가나 다", "다 가나"], 64),
        "되풀이되는 글자": (["아아아아아 네", "네"], 128),
        "빈 글이 섞임": (["", "네.", "   "], 32),
        "빈칸이 여럿, 줄바꿈": (["가  나\n다라"], 256),
        "한글이 아닌 글자": (["f(x)=17×4 ②é", "A a"], 512),
        "통이 하나": (["가나다", "라"], 1),
        "실제 답 12개": ([pair["chosen"] for pair in pairs], 1024),
        "실제 답 12개, 통 4096개": ([pair["rejected"] for pair in pairs], 4096),
    }
    for case, (texts, buckets) in cases.items():
        with untouched(case, texts):
            got = answer(texts, buckets)

        def wrong(texts=texts, buckets=buckets) -> dict[str, np.ndarray]:
            make = functools.partial(_features, texts, buckets)
            return {
                "낱말의 앞뒤에 빈칸을 붙이지 않았습니다.": make(pad=""),
                "낱말로 나누지 않고 글 전체에서 n-그램을 구했습니다.": make(words=False),
                "3글자까지여야 하는데 2글자까지입니다.": make(longest=2),
                "3글자까지여야 하는데 4글자까지입니다.": make(longest=4),
                "1글자부터여야 하는데 2글자부터입니다.": make(shortest=2),
                "세 글자짜리만 구했습니다.": make(shortest=3),
                "log(1 + 횟수)로 바꾸지 않았습니다.": make(damp=lambda x: x),
                "횟수 대신 나왔는지(0이나 1)만 적었습니다.": make(damp=np.sign),
                "행의 길이(제곱합의 제곱근)로 나누지 않았습니다.": make(norm="none"),
                "제곱합의 제곱근이 아니라 합으로 나누었습니다.": make(norm="l1"),
                "길이로 나눈 뒤에 로그를 취했습니다. 로그가 먼저입니다.": np.log1p(make(damp=lambda x: x)),
            }

        found = expect_array(got, case)
        expect(
            found.dtype.kind == "f" and not np.isnan(found).any(),
            f"{case}: NaN이 없는 실수의 배열이어야 합니다. 빈 글의 행은 모두 0입니다.",
        )
        expect_close(got, _features(texts, buckets), case, tol=1e-5, mistakes=wrong)


# -- training ------------------------------------------------------------------------------------------


@functools.cache
def _rows() -> tuple[np.ndarray, np.ndarray]:
    """Return the right and the wrong answers, float32 (N, 8192), under a hash that no notebook uses."""
    pairs = data.preferences_ko()
    return tuple(
        _features([pair[kind] for pair in pairs], 8192, salt=b"15.1").astype(np.float32)
        for kind in ("chosen", "rejected")
    )


@problem("보상 모델의 학습", minutes=10, seconds=TRAINING_SECONDS)
def train_reward(answer):
    """Five folds; in the last two the training pairs come again, swapped, with weight 0.

    An answer whose target is out of reach, were all pairs of the folds to come told apart, trains no more.
    """
    better, worse = _rows()
    rng = default_rng(1503)
    folds = np.array_split(rng.permutation(len(better)), 5)
    right = np.ones(len(better))
    for k, fold in enumerate(folds):
        rest = rng.permutation(np.setdiff1d(np.arange(len(better)), fold))
        parts = [better[rest], worse[rest], np.ones(len(rest), np.float32)]
        if k >= 3:
            parts = [
                np.concatenate([parts[0], parts[1]]),
                np.concatenate([parts[1], parts[0]]),
                np.concatenate([2 * parts[2], 0 * parts[2]]),
            ]
        case = f"{k + 1}번째 묶음을 뺀 쌍"
        with untouched(case, *parts):
            model = answer(*parts)
        expect_model(model, better.shape[1:], case)
        margins = _margins(model, better[fold], worse[fold], case)
        right[fold] = (margins > 0) + 0.5 * (margins == 0)
        first = 0 if k < 3 else 3
        found = right[np.concatenate(folds[first : k + 1])].mean()
        if right[np.concatenate(folds[:3] if k < 3 else folds[3:])].mean() >= TARGET:
            continue
        advice = "스텝과 학습률을 바꾸어 보세요."
        if found <= 1 - TARGET:
            advice = "나은 답과 못한 답이 뒤바뀐 것 같습니다."
        what, hint = (
            ("빼 둔 쌍", f"(무작위 추측은 0.5). {advice}")
            if k < 3
            else ("가중치가 0인 쌍이 섞인 학습", ". 가중치를 손실에 넣었는지 보세요.")
        )
        raise Mismatch(f"{what}: 정확도가 {TARGET:.2f} 이상이어야 하는데 {found:.3f}입니다{hint}")


def _margins(model, better, worse, case: str) -> np.ndarray:
    """Return r(better) - r(worse), after rewards of single rows have been compared with those in the batch."""
    rewards = [
        expect_logits(model(rows), (len(rows), 1), f"{case}, 보상")[:, 0].astype(float)
        for rows in (better, worse)
    ]
    alone = expect_array(model(better[2:3]), case)[0, 0]
    expect_close(alone, rewards[0][2], f"{case}, 답 하나의 보상", tol=1e-3)
    return rewards[0] - rewards[1]


def _pairwise(margins) -> float:
    return float(np.mean((margins > 0) + 0.5 * (margins == 0)))


# -- accuracy and calibration --------------------------------------------------------------------------


@problem("동점이 있는 정확도", minutes=5)
def pair_accuracy(answer):
    """Ties of some, all and no pairs; integers; a constant model, which must be no better than a coin."""
    rng = default_rng(1504)
    cases = {
        "예시": ([2.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, -1.0]),
        "보상이 모두 같음": (np.ones(6), np.ones(6)),
        "동점이 없음": (rng.normal(size=50), rng.normal(size=50)),
        "동점이 많음": (rng.integers(0, 4, 80), rng.integers(0, 3, 80)),
        "언제나 옳음": (np.arange(5.0) + 1, np.arange(5.0)),
        "쌍이 하나": ([0.0], [3.0]),
        "float32": (rng.integers(0, 5, 40).astype(np.float32), rng.integers(0, 5, 40).astype(np.float32)),
    }
    for case, parts in cases.items():
        c, r = map(np.asarray, parts)
        with untouched(case, c, r):
            got = answer(c, r)
        z = c.astype(float) - r
        mistakes = {
            "동점을 맞은 것으로 셌습니다. 보상이 모두 같은 모델이 1.0을 받습니다.": np.mean(z >= 0),
            "동점을 틀린 것으로 셌습니다. 동점은 반으로 셉니다.": np.mean(z > 0),
            "동점인 쌍을 빼고 셌습니다.": np.mean(z[z != 0] > 0) if (z != 0).any() else np.nan,
            "나은 답과 못한 답이 뒤바뀌었습니다.": _pairwise(-z),
            "부호의 평균입니다. -1~1이 아니라 0~1이어야 합니다.": np.mean(np.sign(z)),
            "보상의 차이의 평균입니다.": z.mean(),
            "맞은 쌍의 수입니다. 쌍의 수로 나누세요.": len(z) * _pairwise(z),
            "양수인 보상을 셌습니다. 두 보상을 비교하세요.": np.mean(c > 0),
        }
        expect_close(got, _pairwise(z), case, tol=1e-6, mistakes=mistakes)


def _ece(p, y, bins, equal=False, absolute=True, low=0.0, counted=True, worst=False) -> float:
    place = np.clip(((p - low) / (1 - low) * bins).astype(int), 0, bins - 1)
    gaps, sizes = [], []
    for k in np.unique(place):
        inside = place == k
        gap = p[inside].mean() - np.mean(y[inside])
        gaps.append(abs(gap) if absolute else gap)
        sizes.append(inside.mean() if counted else inside.sum())
    if worst:
        return max(gaps)
    return float(np.mean(gaps) if equal else np.dot(gaps, sizes))


@problem("보정 오차", minutes=8)
def ece(answer):
    """Margins that are too small, too large and right; empty bins, a probability of 1; few pairs."""
    rng = default_rng(1505)
    sure = rng.normal(1, 2, 400)
    cases = {
        "예시": (np.array([np.log(3), np.log(3), -np.log(3), np.log(3)]), np.array([0, 1, 0, 0], bool), 2),
        "확신이 모자란 모델": (0.2 * sure, rng.random(400) < 0.5, 10),
        "확신이 지나친 모델": (4 * sure, rng.random(400) < 0.5, 10),
        "구간 7개": (sure, rng.random(400) < 0.5, 7),
        "구간이 하나": (sure, rng.random(400) < 0.5, 1),
        "뒤집은 쌍이 없음": (sure[:60], np.zeros(60, bool), 10),
        "모두 뒤집음": (sure[:60], np.ones(60, bool), 10),
        "확률이 1이 되는 차이": (
            np.array([800.0, 900.0, -850.0, 700.0, 0.0]),
            np.array([0, 1, 1, 1, 1], bool),
            10,
        ),
    }
    for case, (margins, flip, bins) in cases.items():
        with untouched(case, margins, flip):
            got = answer(margins, flip, bins)
        p, y = expit(np.where(flip, -margins, margins)), ~flip
        chosen = expit(margins)
        top = expit(np.abs(margins))
        mistakes = {
            "쌍의 순서를 뒤집지 않아 정답이 모두 1입니다. 확신이 클수록 오차가 작게 나옵니다.": _ece(
                chosen, np.ones(len(p)), bins
            ),
            "정답만 뒤집고 확률은 뒤집지 않았습니다.": _ece(chosen, y, bins),
            "확률만 뒤집고 정답은 뒤집지 않았습니다.": _ece(p, np.ones(len(p)), bins),
            "정답이 반대입니다. 뒤집은 쌍에서는 첫째 답이 못한 답입니다.": _ece(p, flip, bins),
            "구간을 쌍의 수로 가중하지 않고 똑같이 평균했습니다.": _ece(p, y, bins, equal=True),
            "차이에 절댓값을 취하지 않아 구간끼리 상쇄되었습니다.": _ece(p, y, bins, absolute=False),
            "평균이 아니라 가장 큰 차이입니다.": _ece(p, y, bins, worst=True),
            "0.5 이상의 확률만 구간으로 나누었습니다. 구간은 0~1입니다.": _ece(
                top, margins > 0, bins, low=0.5
            ),
            "확신한 답이 맞았는지를 보았습니다. 첫째 답이 나을 확률을 그대로 쓰세요.": _ece(
                top, margins > 0, bins
            ),
            "쌍의 수로 나누지 않았습니다.": _ece(p, y, bins, counted=False),
        }
        found = expect_array(got, case)
        expect(
            found.dtype.kind == "f" and np.isfinite(found).all(),
            f"{case}: 유한한 수여야 하는데 {found}입니다. 비어 있는 구간은 건너뛰세요.",
        )
        expect_close(got, _ece(p, y, bins), case, tol=1e-5, mistakes=mistakes)


def _temperature(margins, loss: Callable | None = None) -> float:
    def nll(u):
        z = margins / np.exp(u)
        return np.mean(_softplus(-z)) if loss is None else loss(z)

    ends = np.log(LEAST), np.log(MOST)
    best = minimize_scalar(nll, bounds=ends, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(min([best.x, *ends], key=nll)))


@problem("온도", minutes=6)
def temperature(answer):
    """Margins drawn with known temperatures below and above 1, and both ends of the range."""
    rng = default_rng(1506)

    def drawn(count: int, true: float) -> np.ndarray:
        z = rng.normal(0, 3, count)
        return true * np.where(rng.random(count) < expit(z), z, -z)

    cases = {
        "확신이 모자란 모델": drawn(300, 0.25),
        "확신이 지나친 모델": drawn(300, 5.0),
        "T가 1에 가까움": drawn(500, 1.0),
        "쌍이 40개": drawn(40, 0.6),
        "매우 작은 차이": drawn(400, 0.08),
        "매우 큰 차이": drawn(400, 15.0),
        "모두 맞음": np.abs(rng.normal(1, 1, 50)),
        "절반보다 많이 틀림": -np.abs(rng.normal(0, 2, 60)),
    }
    for case, margins in cases.items():
        with untouched(case, margins):
            got = answer(margins)
        found = expect_array(got, case)
        expect(found.shape == (), f"{case}: 수 하나여야 하는데 모양이 {found.shape}입니다.")
        expect(found.dtype.kind in "fiu" and found > 0, f"{case}: 온도는 양수여야 하는데 {found}입니다.")
        right = _temperature(margins)
        if abs(np.log(float(found) / right)) > 0.02:
            _wrong_temperature(float(found), right, margins, case)


def _wrong_temperature(found: float, right: float, margins: np.ndarray, case: str) -> None:
    """Say how a temperature is wrong, by its likely cause."""
    causes = {
        "차이를 온도로 나누지 않고 곱했습니다.": 1 / right,
        "온도가 1보다 작을 수도 있습니다.": max(1.0, right),
        "온도가 1보다 클 수도 있습니다.": min(1.0, right),
        "차이의 표준편차입니다. 손실이 가장 작은 온도를 찾으세요.": margins.std(),
        "제곱 오차가 가장 작은 온도입니다. 음의 로그가능도를 쓰세요.": _temperature(
            margins, lambda z: np.mean(expit(-z) ** 2)
        ),
        "0.05~20의 끝값을 빠뜨렸습니다.": np.clip(found, LEAST, MOST) if not LEAST <= found <= MOST else -1,
    }
    said = [cause for cause, value in causes.items() if value > 0 and abs(np.log(found / value)) < 0.02]
    said += ["0.05~20 밖의 온도입니다."] if not LEAST <= found <= MOST else []
    expect(False, f"{case}: 온도가 {right:.3g}이어야 하는데 {found:.3g}입니다. {' '.join(said[:1])}".rstrip())


# -- length --------------------------------------------------------------------------------------------


def _length_score(c, r, center) -> float:
    return _pairwise(np.abs(r - center) - np.abs(c - center))


def _center(c, r, last=False, score=_length_score) -> int:
    tried = np.arange(min(c.min(), r.min()), max(c.max(), r.max()) + 1)
    scores = np.array([score(c, r, center) for center in tried])
    best = np.flatnonzero(scores >= scores.max() - 1e-12)
    return int(tried[best[-1 if last else 0]])


def _weights(c, r, center) -> np.ndarray:
    gap = np.abs(r - center) - np.abs(c - center)
    right, wrong = np.sum(gap > 0), np.sum(gap < 0)
    return np.select([gap > 0, gap < 0], [(right + wrong) / 2 / right, (right + wrong) / 2 / wrong], 1.0)


@problem("길이 편향의 통제", minutes=9)
def length_control(answer):
    """Better answers near a length, longer and shorter ones; ties of the rule; the real pairs."""
    rng = default_rng(1507)
    pairs = data.preferences_ko()
    cases = {
        "예시": ([5, 5, 6, 9], [2, 9, 3, 6]),
        "길이가 70 근처인 답이 나음": (rng.normal(70, 6, 90), rng.normal(70, 25, 90)),
        "긴 답이 나음": (rng.normal(60, 15, 60), rng.normal(45, 15, 60)),
        "짧은 답이 나음": (rng.normal(30, 9, 80), rng.normal(50, 20, 80)),
        "동점이 많음": (rng.integers(4, 9, 70), rng.integers(1, 12, 70)),
        "쌍이 셋": ([10, 12, 30], [20, 12, 11]),
        "실제 쌍": ([len(p["chosen"]) for p in pairs], [len(p["rejected"]) for p in pairs]),
    }
    for case, parts in cases.items():
        c, r = (np.maximum(1, np.round(part)).astype(int) for part in parts)
        with untouched(case, c, r):
            got = expect_parts(answer(c, r), ("center", "weights"), case)
        center = _center(c, r)
        mistakes = {
            "나은 답의 평균 길이입니다. 규칙의 정확도가 가장 높은 정수를 고르세요.": c.mean(),
            "나은 답의 평균 길이입니다. 규칙의 정확도가 가장 높은 정수를 고르세요. ": int(round(c.mean())),
            "나은 답의 길이의 중앙값입니다.": np.median(c),
            "정확도가 같으면 작은 쪽을 고릅니다.": _center(c, r, last=True),
            "동점을 맞은 것으로 셌습니다.": _center(
                c, r, score=lambda c, r, m: np.mean(np.abs(c - m) <= np.abs(r - m))
            ),
            "동점을 틀린 것으로 셌습니다.": _center(
                c, r, score=lambda c, r, m: np.mean(np.abs(c - m) < np.abs(r - m))
            ),
            "정확도가 가장 낮은 길이입니다. 가까운 쪽이 나은 답입니다.": _center(
                c, r, score=lambda c, r, m: -_length_score(c, r, m)
            ),
            "정확도가 가장 높은 길이가 아니라 그 정확도입니다.": _length_score(c, r, center),
        }
        expect_close(got[0], center, f"{case}, center", tol=0, mistakes=mistakes)

        def wrong(c=c, r=r, center=center) -> dict[str, np.ndarray]:
            right = _weights(c, r, center)
            gap = np.abs(r - center) - np.abs(c - center)
            wins, losses = np.sum(gap > 0), np.sum(gap < 0)
            longer = np.sign(c - r)
            return {
                "가중치가 반대입니다. 규칙이 틀리는 적은 쌍이 더 무거워야 합니다.": _weights(r, c, center),
                "묶음의 크기로 나누기만 했습니다. 맞는 쌍과 틀리는 쌍의 수의 평균을 곱하세요.": right
                / ((wins + losses) / 2),
                "평균이 아니라 합을 곱했습니다.": np.where(gap == 0, 1, 2 * right),
                "쌍 전체의 수를 썼습니다. 동점인 쌍은 세지 않습니다.": np.where(
                    gap == 0, 1, right * len(c) / (wins + losses)
                ),
                "동점인 쌍의 가중치는 1입니다.": np.where(gap == 0, 0, right),
                "동점인 쌍을 틀린 쌍으로 셌습니다.": np.where(
                    gap > 0, len(c) / 2 / wins, len(c) / 2 / (len(c) - wins)
                ),
                "긴 답과 짧은 답으로 나누었습니다. center에 가까운지로 나누세요.": np.select(
                    [longer > 0, longer < 0],
                    [np.mean(longer != 0) * len(c) / 2 / max(1, np.sum(longer == k)) for k in (1, -1)],
                    1.0,
                ),
            }

        expect_close(got[1], _weights(c, r, center), f"{case}, weights", tol=1e-5, mistakes=wrong)


# -- the universal answer ------------------------------------------------------------------------------


@functools.cache
def _judge(salt: bytes) -> tuple[Callable, list[str], float]:
    """Return a linear reward model in closed form, 300 words of right answers, and the best right answer's reward."""
    pairs = data.preferences_ko()
    better, worse = ([pair[kind] for pair in pairs] for kind in ("chosen", "rejected"))
    gaps = _features(better, 4096, salt=salt) - _features(worse, 4096, salt=salt)
    slope = gaps.T @ np.linalg.solve(gaps @ gaps.T + 0.1 * np.eye(len(pairs)), np.ones(len(pairs)))
    words = sorted({word for text in better for word in text.split()})
    some = default_rng(1508).permutation(len(words))[:300]

    @functools.cache
    def places(word: str) -> list[int]:
        return [zlib.crc32(salt + gram.encode()) % 4096 for gram in _grams(word)]

    def one(text: str) -> float:
        """A row of the features times the slope, from what is not 0 in it: a search asks for thousands of texts."""
        counts = Counter(itertools.chain.from_iterable(map(places, text.split())))
        logs = np.log1p(np.fromiter(counts.values(), float))
        return logs @ slope[list(counts)] / max(np.linalg.norm(logs), 1e-12)

    def reward(texts) -> np.ndarray:
        return np.array([one(text) for text in texts])

    return reward, [words[k] for k in some], float(reward(better).max())


@problem("모든 답을 이기는 글", minutes=8)
def universal(answer):
    """A toy reward first, whose best text is known; then two reward models with hashes of their own."""
    marks = {"좋은": 2.0, "나쁜": -3.0, "그저": 0.5}

    def toy(texts) -> np.ndarray:
        return np.array(
            [sum(marks.get(word, 0.1) for word in text.split()) / (1 + len(text)) ** 0.5 for text in texts]
        )

    words = ["나쁜", "그저", "좋은", "것"]
    text = _text(answer, toy, words, 8, "예시")
    expect(text == "좋은 좋은 좋은", f"예시: '좋은 좋은 좋은'이어야 하는데 {text!r}입니다.")
    text = _text(
        answer, lambda texts: np.array([-float(len(text)) for text in texts]), words, 20, "길수록 나쁨"
    )
    expect(text == "것", f"길수록 보상이 낮으면 가장 나은 낱말 하나인 '것'이어야 하는데 {text!r}입니다.")
    for k, salt in enumerate((b"a", b"b")):
        reward, words, best = _judge(salt)
        case = f"보상 모델 {k + 1}"
        text = _text(answer, reward, words, 60, case)
        times = float(reward([text])[0]) / best
        expect(
            times >= TIMES,
            f"{case}: 가장 높은 옳은 답의 {TIMES:g}배 이상이어야 하는데 {times:.2f}배입니다. "
            "낱말 하나를 더할 때마다 이어 붙인 글 전체의 보상을 다시 비교하세요.",
        )


def _text(answer, reward, words, limit, case) -> str:
    with untouched(case, words):
        text = answer(reward, words, limit)
    expect_type(text, str, case)
    expect(text, f"{case}: 빈 글입니다.")
    expect(len(text) <= limit, f"{case}: 글이 {len(text)}자로 {limit}자를 넘습니다.")
    strange = [word for word in text.split(" ") if word not in words]
    expect(not strange, f"{case}: words에 없는 낱말 {strange[:1]}이 있습니다. 빈칸 하나로 이으세요.")
    return text
