"""Checks of practice 12.2: a DeepSeekMoE layer: gate, balance, experts, dispatch, capacity, layer, training."""

import functools
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from math import ceil

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from scipy.special import softmax

from tf_study.expect import (
    Mismatch,
    expect,
    expect_array,
    expect_close,
    expect_parts,
    expect_returned,
    expect_type,
    untouched,
)
from tf_study.models.llama import SwiGLU
from tf_study.practice import TRAINING_SECONDS, problem

STEPS, BATCH, WIDTH, KINDS = 200, 128, 16, 4
ERROR, SHARE = 0.45, 0.30  # what `fit` must reach; knowing only what all kinds share gives 0.75
CALLS = 6  # calls of `combine` in a step that a layer can note


@problem("시그모이드 게이트와 편향", minutes=5)
def gate(answer):
    """The k largest of s + b by sorting, and their weights from s alone."""
    rng = np.random.default_rng(1201)
    cases = {
        "예시": ([[0.9, 0.6, 0.3, 0.1]], [-0.7, 0.0, 0.0, 0.3], 2, 1.0),
        "예시, 배율 2.5": ([[0.9, 0.6, 0.3, 0.1]], [-0.7, 0.0, 0.0, 0.3], 2, 2.5),
        "편향이 모두 0": (_sigmoid(rng.normal(size=(6, 4))), np.zeros(4), 2, 1.0),
        "T = N = 16, k = 8, 배율 2.5": (_sigmoid(rng.normal(size=(16, 16))), rng.normal(size=16), 8, 2.5),
        "k = 1": (_sigmoid(rng.normal(size=(9, 5))), rng.normal(size=5), 1, 0.7),
        "k = N": (_sigmoid(rng.normal(size=(4, 3))), rng.normal(size=3), 3, 1.0),
        "s + b가 모두 음수": (_sigmoid(rng.normal(size=(8, 6))), rng.normal(-4, 1, 6), 3, 1.0),
        "아주 작은 점수": (_sigmoid(rng.normal(-14, 1, size=(7, 4))), 1e-7 * rng.normal(size=4), 2, 1.0),
    }
    for case, (s, b, k, scale) in cases.items():
        s, b = np.asarray(s, "float32").astype(float), np.asarray(b, "float32").astype(float)
        index = np.argsort(-(s + b), axis=1)[:, :k]
        chosen, biased = np.take_along_axis(s, index, 1), np.take_along_axis(s + b, index, 1)
        total = chosen.sum(1, keepdims=True)
        about_index = {
            "편향 없이 골랐습니다. 고를 때는 s + b를 씁니다.": np.argsort(-s, axis=1)[:, :k],
            "편향을 뺐습니다.": np.argsort(b - s, axis=1)[:, :k],
            "가장 작은 것부터 골랐습니다.": np.argsort(s + b, axis=1)[:, :k],
            "고른 번호를 s + b가 큰 것부터 늘어놓으세요.": np.sort(index, axis=1),
        }
        about_weights = {
            "가중치에 편향이 들어갔습니다. b는 고를 때만 씁니다.": scale
            * biased
            / biased.sum(1, keepdims=True),
            "고른 점수의 합으로 나누지 않았습니다.": scale * chosen,
            "배율 c를 곱하지 않았습니다.": chosen / total,
            "고르지 않은 전문가까지 더한 합으로 나누었습니다.": scale * chosen / s.sum(1, keepdims=True),
            "소프트맥스를 썼습니다.": scale * softmax(chosen, axis=1),
        }
        scores = tf.constant(s, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(scores)
            got = answer(scores, tf.constant(b, tf.float32), k, scale)
            got = expect_parts(got, ("번호", "가중치"), case)
            first = got[1][:, 0] if tf.is_tensor(got[1]) else None
        expect(expect_array(got[0], case).dtype.kind in "iu", f"{case}: 번호는 정수여야 합니다.")
        expect_close(got[0], index, f"{case}: 번호", tol=0, mistakes=about_index)
        dtype = None if isinstance(got[1], list) else "float32"
        expect_close(got[1], scale * chosen / total, f"{case}: 가중치", dtype=dtype, mistakes=about_weights)
        if first is not None and k > 1:  # NumPy has no gradient; with k = 1 the weight is constant.
            gradient = tape.gradient(first, scores)
            expect(gradient is not None, f"{case}: 가중치에서 점수로 기울기가 흐르지 않습니다.")
            slopes = np.zeros(s.shape)
            np.put_along_axis(slopes, index, -scale * chosen[:, :1] / total**2, 1)
            np.put_along_axis(slopes, index[:, :1], scale * (total - chosen[:, :1]) / total**2, 1)
            expect_close(gradient, slopes, f"{case}: 첫째 가중치에서 점수로 흐른 기울기", tol=1e-3)


def _sigmoid(z) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(z, float)))


def _choices(rng: np.random.Generator, tokens: int, count: int, k: int) -> np.ndarray:
    """Return k different experts for every token, in any order, shape (T, k)."""
    return np.argsort(rng.random((tokens, count)), axis=1)[:, :k].astype("int32")


@problem("부하 균형의 보조 손실", minutes=5)
def aux_loss(answer):
    """Shares counted one choice at a time, and the gradient in closed form with f held fixed."""
    rng = np.random.default_rng(1202)
    even = np.array([[i % 4, (i + 1) % 4] for i in range(8)])
    skewed = np.array([[0, 1], [0, 1], [0, 2], [0, 1], [0, 3]])
    cases = {
        "예시": (np.array([[0.6, 0.2]] * 3 + [[0.2, 0.6]]), np.array([[0], [0], [0], [1]]), 0.01),
        "고른 부하, k = 2": (np.full((8, 4), 0.3), even, 0.01),
        "치우친 부하, k = 2": (_sigmoid(rng.normal([2, 0, -1, -2], 1, (5, 4))), skewed, 0.1),
        "N = 7, k = 3": (_sigmoid(rng.normal(size=(20, 7))), _choices(rng, 20, 7, 3), 10.0),
        "뽑히지 않은 전문가": (_sigmoid(rng.normal(size=(6, 9))), _choices(rng, 6, 4, 2), 0.5),
        "소프트맥스의 확률": (softmax(2 * rng.normal(size=(12, 6)), axis=1), _choices(rng, 12, 6, 2), 0.3),
        "토큰 하나": (_sigmoid(rng.normal(size=(1, 3))), np.array([[2]]), 2.0),
    }
    for case, (s, index, alpha) in cases.items():
        (tokens, n), k = s.shape, index.shape[1]
        counts = Counter(index.ravel().tolist())
        f = np.array([counts[i] / (k * tokens) for i in range(n)])
        total = s.sum(1, keepdims=True)
        p = (s / total).mean(0)
        loss = alpha * n * float(f @ p)
        about_f = {
            "순위마다 낸 비율을 더해 k배가 되었습니다. kT로 나누세요.": k * f,
            "비율이 아니라 횟수입니다.": k * tokens * f,
            "평균이 1이 되도록 N을 곱했습니다.": n * f,
            "고른 횟수가 아니라 점수의 평균입니다.": p,
        }
        about = {
            "순위마다 낸 f를 더해 k배가 되었습니다.": k * loss,
            "N을 곱하지 않았거나, 더하지 않고 평균했습니다.": loss / n,
            "α를 곱하지 않았습니다.": loss / alpha,
            "점수를 토큰마다 합이 1이 되게 나누지 않았습니다.": alpha * n * float(f @ s.mean(0)),
            "소프트맥스를 한 번 더 썼습니다.": alpha * n * float(f @ softmax(s, axis=1).mean(0)),
            "f 대신 P를 제곱했습니다.": alpha * n * float(p @ p),
            "P 대신 f를 제곱했습니다.": alpha * n * float(f @ f),
        }
        scores = tf.constant(s, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(scores)
            got = expect_parts(answer(scores, tf.constant(index), alpha), ("손실", "f"), case)
        expect(tf.is_tensor(got[0]), f"{case}: 손실이 텐서가 아니어서 기울기가 흐르지 않습니다.")
        expect_close(got[1], f, f"{case}: f", mistakes=about_f)
        expect_close(got[0], loss, f"{case}: 손실", mistakes=about)
        gradient = tape.gradient(got[0], scores)
        expect(
            gradient is not None, f"{case}: 손실에서 점수로 기울기가 흐르지 않습니다. P는 상수가 아닙니다."
        )
        right = alpha * n / tokens * (f - (s / total) @ f[:, None]) / total
        also = alpha * n / tokens * (p - (s / total) @ p[:, None]) / total
        mistakes = {"기울기가 P뿐 아니라 f로도 흘렀습니다. f는 상수입니다.": right + also}
        expect_close(gradient, right, f"{case}: 점수에 대한 기울기", tol=1e-4, mistakes=mistakes)


@problem("편향 갱신", minutes=5)
def update_bias(answer):
    """Counts as integers, compared with the mean as a fraction."""
    rng = np.random.default_rng(1203)
    cases = {
        "예시": ([0.1, 0.0, 0.0, -0.2], [[0, 1], [0, 1], [0, 2], [0, 3]], 0.1),
        "모두 같은 횟수": ([0.3, -0.3, 0.0], [[0, 1], [1, 2], [2, 0]], 0.05),
        "한 번도 뽑히지 않은 마지막 전문가": (np.zeros(5), [[0], [1], [0], [2]], 0.01),
        "N = 8, k = 3": (rng.normal(size=8), _choices(rng, 40, 8, 3), 0.001),
        "한 전문가로 몰림": (np.zeros(6), np.zeros((10, 1), int), 0.02),
        "평균이 정수가 아님": (rng.normal(0, 5, size=7), _choices(rng, 11, 7, 2), 0.5),
    }
    for case, (bias, index, gamma) in cases.items():
        bias, index = np.asarray(bias, float), np.asarray(index)
        counts = np.bincount(index.ravel(), minlength=len(bias))
        mean = Fraction(index.size, len(bias))
        sign = np.array([(mean > int(c)) - (mean < int(c)) for c in counts])
        first = np.bincount(index[:, 0], minlength=len(bias))
        mistakes = {
            "부호가 반대입니다. 바쁜 전문가의 편향은 내립니다.": bias - gamma * sign,
            "차이에 비례해 바꾸었습니다. 부호만 씁니다.": bias + gamma * (float(mean) - counts),
            "비율의 차이에 비례해 바꾸었습니다. 부호만 씁니다.": bias
            + gamma * (1 / len(bias) - counts / index.size),
            "횟수가 평균과 같은 전문가의 편향은 그대로 둡니다.": bias + gamma * np.where(sign >= 0, 1, -1),
            "횟수가 평균과 같은 전문가의 편향은 그대로 둡니다. ": bias + gamma * np.where(sign > 0, 1, -1),
            "첫째 선택만 세었습니다.": bias + gamma * np.sign(first.mean() - first),
            "지금의 편향에 더하지 않았습니다.": gamma * sign,
            "γ를 곱하지 않았습니다.": bias + sign,
            "평균을 내림했거나, 뽑히지 않은 전문가의 편향을 그대로 두었습니다.": bias
            + gamma * sign * (counts > 0),
        }
        given = tf.Variable(bias, dtype=tf.float32, trainable=False)
        got = answer(given, tf.constant(index, tf.int32), gamma)
        dtype = None if isinstance(got, list) else "float32"
        expect_close(got, bias + gamma * sign, case, tol=1e-6, dtype=dtype, mistakes=mistakes)
        expect_close(given, bias, f"{case}: 받은 bias", tol=1e-6, mistakes=None)


def _draw_experts(rng: np.random.Generator, n: int, d: int, hidden: int) -> list[np.ndarray]:
    """Return the stacked matrices of n SwiGLU networks: gates, ups (n, d, F) and downs (n, F, d)."""
    shapes = (n, d, hidden), (n, d, hidden), (n, hidden, d)
    return [(rng.normal(size=shape) / shape[1] ** 0.5).astype("float32") for shape in shapes]


def _swiglu(u, gate, up, down, act=lambda z: z * _sigmoid(z)) -> np.ndarray:
    u, gate, up, down = (np.asarray(a, float) for a in (u, gate, up, down))
    return (act(u @ gate) * (u @ up)) @ down


def _by_token(x, index, weights, gates, ups, downs) -> np.ndarray:
    """Return the weighted sum over the chosen experts of every token, one by one in double precision."""
    out = np.zeros(x.shape)
    for t, u in enumerate(x):
        for i, w in zip(index[t], weights[t], strict=True):
            out[t] += float(w) * _swiglu(u, gates[i], ups[i], downs[i])
    return out


@problem("쌓은 전문가", minutes=10)
def mix(answer):
    """Token by token over the chosen experts; all sizes differ so that mixed-up axes fail."""
    rng = np.random.default_rng(1204)
    for case, (tokens, n, k, d, hidden) in {
        "T = 5, N = 4, k = 2": (5, 4, 2, 3, 6),
        "k = 1": (7, 3, 1, 4, 5),
        "k = N": (4, 3, 3, 5, 2),
        "N = 9, k = 6": (12, 9, 6, 6, 7),
        "T = k = 2": (2, 4, 2, 3, 5),
        "토큰 하나": (1, 5, 2, 4, 3),
    }.items():
        x = rng.normal(size=(tokens, d)).astype("float32")
        index, weights = _choices(rng, tokens, n, k), rng.uniform(0.1, 2, (tokens, k)).astype("float32")
        experts = _draw_experts(rng, n, d, hidden)
        gates, ups, downs = experts
        every = np.stack([_swiglu(x, *(m[i] for m in experts)) for i in range(n)], 1)  # (T, N, d)
        chosen = np.take_along_axis(every, index[..., None], 1)
        in_order = np.take_along_axis(every, np.sort(index, 1)[..., None], 1)
        raw = [_swiglu(x, *(m[i] for m in experts), act=_sigmoid) for i in range(n)]
        mistakes = {
            "문(gates)과 값(ups)이 바뀌었습니다.": _by_token(x, index, weights, ups, gates, downs),
            "가중치를 곱하지 않았습니다.": chosen.sum(1),
            "고르지 않은 전문가까지 더했습니다.": every.sum(1),
            "가중치가 다른 전문가에 곱해졌습니다.": (in_order * weights[..., None]).sum(1),
            "가중치가 다른 전문가에 곱해졌습니다. ": (chosen * weights[:, ::-1, None]).sum(1),
            "더하지 않고 평균했습니다.": (chosen * weights[..., None]).mean(1),
            "첫째 전문가만 더했습니다.": chosen[:, 0] * weights[:, :1],
            "SiLU가 아니라 시그모이드를 썼습니다.": (
                np.take_along_axis(np.stack(raw, 1), index[..., None], 1) * weights[..., None]
            ).sum(1),
        }
        given = [tf.constant(a) for a in (x, index, weights, *experts)]
        expected = _by_token(x, index, weights, *experts)
        with tf.GradientTape() as tape:
            tape.watch(given[2])
            got = answer(*given)
            total = tf.reduce_sum(got) if tf.is_tensor(got) else None
        expect_close(got, expected, case, tol=1e-4, mistakes=mistakes)
        if total is not None:  # NumPy has no gradient.
            gradient = tape.gradient(total, given[2])
            expect(gradient is not None, f"{case}: 출력에서 가중치로 기울기가 흐르지 않습니다.")
            expect_close(gradient, chosen.sum(-1), f"{case}: 가중치로 흐른 기울기", tol=1e-4)


@problem("고른 토큰만 배차", minutes=10)
def dispatch(answer):
    """A recording expert sees which rows are computed; the sum is made token by token.

    Who digs the record out of the expert's closure and fills it by hand cheats himself, see ``practice.py``.
    """
    rng = np.random.default_rng(1205)
    for case, (tokens, n, k, used) in {
        "T = 6, N = 4, k = 2": (6, 4, 2, 4),
        "k = 1": (9, 3, 1, 3),
        "N = 12, k = 3": (15, 12, 3, 12),
        "k = N": (4, 3, 3, 3),
        "토큰이 없는 전문가": (5, 7, 2, 3),
        "토큰 하나": (1, 5, 2, 5),
    }.items():
        d = 4
        x = rng.normal(size=(tokens, d)).astype("float32")
        index, weights = _choices(rng, tokens, used, k), rng.uniform(0.1, 2, (tokens, k)).astype("float32")
        experts = _draw_experts(rng, n, d, 5)
        expert, seen = _recording_expert(experts, d)
        got = answer(tf.constant(x), tf.constant(index), tf.constant(weights), expert, n)
        expect_returned(got, case)
        _seen_rows(seen, x, index, case)
        every = np.stack([_swiglu(x, *(m[i] for m in experts)) for i in range(n)], 1)
        parts = np.take_along_axis(every, index[..., None], 1) * weights[..., None]  # (T, k, d)
        last = np.argmax(index, 1)[:, None, None]
        mistakes = {
            "한 토큰의 둘째 전문가가 첫째의 결과를 덮어썼습니다. 자리에 더하세요.": np.take_along_axis(
                parts, last, 1
            )[:, 0],
            "가중치를 곱하지 않았습니다.": np.take_along_axis(every, index[..., None], 1).sum(1),
            "모든 순위에 첫째의 가중치를 곱했습니다.": (
                np.take_along_axis(every, index[..., None], 1) * weights[:, :1, None]
            ).sum(1),
        }
        expect_close(got, parts.sum(1), case, tol=1e-4, mistakes=mistakes)


def _recording_expert(experts, d: int) -> tuple[Callable, list]:
    """Return an expert without further arguments, and the list in which it notes what it computes."""
    seen = []

    def compute(i, rows):
        seen.append((int(i), np.array(rows)))
        return _swiglu(rows, *(m[int(i)] for m in experts)).astype("float32")

    def expert(i, rows):
        if tf.executing_eagerly():
            return tf.constant(compute(i, rows))
        return tf.ensure_shape(tf.numpy_function(compute, [i, rows], tf.float32), (None, d))

    return expert, seen


def _seen_rows(seen: list, x, index, case: str) -> None:
    """Every expert must have been called at most once, on the rows of its tokens and no others."""
    calls = Counter(i for i, _ in seen)
    often = [i for i, count in calls.items() if count > 1]
    expect(
        not often,
        f"{case}: expert를 전문가마다 한 번만 불러야 하는데 {often[:1] and often[0]}번은 여러 번 불렀습니다.",
    )
    rows = {i: part for i, part in seen}
    for i in range(int(index.max()) + 1):
        tokens = np.flatnonzero((index == i).any(1))
        part = rows.get(i, np.zeros((0, x.shape[1])))
        expect(
            part.ndim == 2 and len(part) == len(tokens),
            f"{case}: 전문가 {i}번이 계산할 토큰은 {len(tokens)}개인데 받은 모양이 {part.shape}입니다.",
        )
        if len(tokens):
            order, mine = np.lexsort(x[tokens].T), np.lexsort(part.T)
            expect(
                np.allclose(part[mine], x[tokens][order]),
                f"{case}: 전문가 {i}번이 자기를 고르지 않은 토큰을 받았습니다.",
            )
    idle = [i for i, part in rows.items() if len(part) and not (index == i).any()]
    expect(not idle, f"{case}: 아무도 고르지 않은 전문가 {idle[:1] and idle[0]}번이 토큰을 받았습니다.")


@problem("용량과 버린 선택", minutes=10)
def seats(answer):
    """Choices take their seats one at a time: all first ranks, then all second ranks, and so on."""
    rng = np.random.default_rng(1206)
    cases = {
        "예시": (np.array([[0, 1], [0, 2], [0, 1], [1, 0]]), 3, 0.75),
        "T = 40, N = 4, k = 2": (_choices(rng, 40, 4, 2), 4, 1.0),
        "나누어떨어지지 않는 용량": (_choices(rng, 11, 4, 1), 4, 1.0),
        "N = 8, k = 3, CF = 1.25": (_choices(rng, 33, 8, 3), 8, 1.25),
        "한 전문가로 몰림": (np.zeros((12, 1), int), 4, 2.0),
        "첫째와 둘째가 겨룸": (np.array([[1, 0]] * 4 + [[0, 1]] * 4), 4, 1.5),
        "자리가 넉넉함": (_choices(rng, 20, 5, 2), 5, 5.0),
        "뽑히지 않은 전문가": (_choices(rng, 16, 3, 2), 6, 0.5),
        "셋째까지 버림, N = 12, k = 4": (_choices(rng, 30, 12, 4), 12, 0.75),
        "둘째와 셋째가 겨룸": (np.array([[2, 0, 1]] * 3 + [[2, 1, 0]] * 3), 3, 0.75),
        "줄이 256보다 김": (np.repeat([[0], [1]], [400, 200], axis=0), 2, 1.0),
    }
    for case, (index, n, factor) in cases.items():
        tokens, k = index.shape
        capacity = ceil(Fraction(factor) * k * tokens / n)
        got = answer(tf.constant(index, tf.int32), n, factor)
        got = expect_parts(got, ("남은 선택", "용량"), case)
        about = {
            "내림하거나 반올림했습니다. 용량은 올림합니다.": int(factor * k * tokens / n),
            "k를 곱하지 않았습니다.": ceil(Fraction(factor) * tokens / n),
            "CF를 곱하지 않았거나, 나누어떨어지는데도 1을 더했습니다.": ceil(Fraction(k * tokens, n)),
        }
        expect_close(got[1], capacity, f"{case}: 용량", tol=0, mistakes=about)
        kind = np.asarray(got[1]).dtype
        expect(kind.kind in "iu", f"{case}: 용량은 정수여야 하는데 자료형이 {kind}입니다.")
        kept = _seated(index, [range(tokens)] * k, capacity)
        mistakes = functools.partial(_seat_mistakes, index, capacity)
        expect_close(got[0], kept, f"{case}: 남은 선택", tol=0, dtype=bool, mistakes=mistakes)


def _seat_mistakes(index, capacity: int) -> dict[str, np.ndarray]:
    tokens, k = index.shape
    forward = [range(tokens)] * k
    by_token = [(t, j) for t in range(tokens) for j in range(k)]
    rank_first = [(t, 0) for t in range(tokens)] + [(t, j) for t, j in by_token if j]
    alone = [_seated(index[:, j : j + 1], forward[:1], capacity)[:, 0] for j in range(k)]
    return {
        "토큰마다 순위를 다 앉혔습니다. 모든 토큰의 첫째가 먼저입니다.": _seat(index, by_token, capacity),
        "둘째부터는 토큰마다 앉혔습니다. 모든 토큰의 둘째가 셋째보다 먼저입니다.": _seat(
            index, rank_first, capacity
        ),
        "순위마다 줄을 처음부터 다시 세었습니다.": np.stack(alone, 1),
        "뒤의 토큰부터 앉혔습니다.": _seated(index, [range(tokens - 1, -1, -1)] * k, capacity),
        "마지막 순위부터 앉혔습니다.": _seated(index[:, ::-1], forward, capacity)[:, ::-1],
        "자리가 하나 많습니다. 줄 번호는 0부터 셉니다.": _seated(index, forward, capacity + 1),
        "자리가 하나 모자랍니다. 줄 번호는 0부터 셉니다.": _seated(index, forward, capacity - 1),
        "참과 거짓이 바뀌었습니다. 앉은 선택이 참입니다.": ~_seated(index, forward, capacity),
    }


def _seated(index, ranks: list, capacity: int) -> np.ndarray:
    """Seat rank after rank; ``ranks`` holds the order of the tokens for each."""
    return _seat(index, [(t, j) for j, order in enumerate(ranks) for t in order], capacity)


def _seat(index, order: list[tuple[int, int]], capacity: int) -> np.ndarray:
    kept, taken = np.zeros(index.shape, bool), Counter()
    for place in order:
        expert = int(index[place])
        kept[place] = taken[expert] < capacity
        taken[expert] += 1
    return kept


@problem("DeepSeekMoE 층", minutes=15)
def DeepSeekMoE(answer):  # noqa: N802 (named after the learner's class)
    """Sizes, what is trained, the values against a loop over tokens, leading axes, and gradients."""
    rng = np.random.default_rng(1207)
    for case, (d, hidden, n, k, shared, scale) in {
        "예시 (기본값)": (16, 32, 4, 2, 1, 1.0),
        "N = 6, k = 3, 배율 2.5": (5, 7, 6, 3, 1, 2.5),
        "공유 2개": (8, 6, 5, 1, 2, 0.5),
    }.items():
        options = {} if "기본값" in case else dict(routed=n, top_k=k, shared=shared, scale=scale)
        layer = answer(d, hidden, **options)
        expect_type(layer, layers.Layer, case)
        _check_weights(layer, d, hidden, n, shared, case)
        for weight in layer.trainable_weights:
            weight.assign(rng.normal(size=weight.shape) / weight.shape[-2] ** 0.5)
        layer.bias.assign(rng.normal(size=n))
        bias = layer.bias.numpy()
        for front in ((6,), (2, 5), (), (2, 1, 3)):
            x = rng.normal(size=(*front, d)).astype("float32")
            text = f"{case}, 입력 {x.shape}"
            got = _called(layer, x, text, "" if front == (6,) else "앞의 축이 몇이든 받아야 합니다.")
            flat = x.reshape(-1, d)
            expected = _layer_by_token(layer, flat, k, scale).reshape(x.shape)
            mistakes = functools.partial(_layer_mistakes, layer, flat, k, scale, x.shape)
            expect_close(got, expected, text, tol=1e-4, mistakes=mistakes)
        learning = layer(tf.constant(x), training=True)
        expect_close(learning, got, f"{case}: training=True로 부른 출력", tol=1e-5)
        expect(not layer.losses, f"{case}: add_loss로 더한 손실이 있습니다. 보조 손실은 문제 8에서 더합니다.")
        expect(
            np.array_equal(layer.bias.numpy(), bias),
            f"{case}: 층을 부르기만 했는데 편향이 바뀌었습니다. 편향은 문제 8에서 고칩니다.",
        )
        _check_route(layer, flat, k, scale, case)
        _check_gradients(layer, rng.normal(size=(40, d)).astype("float32"), k, case)
    unknown = tf.TensorSpec((None, None, d), tf.float32)
    x = rng.normal(size=(3, 2, d)).astype("float32")
    run, case = (
        tf.function(lambda z: layer(z), input_signature=[unknown]),
        "tf.function 안에서 모양을 모르는 입력",
    )
    got = _called(run, x, case, "x.shape에는 모르는 크기가 None으로 들어 있습니다.")
    expect_close(got, _layer_by_token(layer, x.reshape(-1, d), k, scale).reshape(x.shape), case, tol=1e-4)


def _called(layer, x, case: str, why: str) -> tf.Tensor:
    """Return the output; an error is said together with ``why``, unless that is empty."""
    try:
        got = layer(tf.constant(x))
    except NotImplementedError:
        raise
    except Exception as error:
        if not why:
            raise
        raise Mismatch(f"{case}: {type(error).__name__} 오류가 났습니다. {why}") from None
    expect_returned(got, case)
    return got


def _check_weights(layer, d: int, hidden: int, n: int, shared: int, case: str) -> None:
    shapes = {"router": (d, n), "bias": (n,), "gates": (n, d, hidden), "ups": (n, d, hidden)}
    shapes["downs"] = (n, hidden, d)
    for name, shape in shapes.items():
        weight = getattr(layer, name, None)
        expect(
            isinstance(weight, keras.Variable),
            f"{case}: add_weight로 만든 가중치 self.{name}가 없습니다.",
        )
        real = tuple(weight.shape)
        expect(real == shape, f"{case}: self.{name}의 모양이 {shape}이어야 하는데 {real}입니다.")
    expect_type(getattr(layer, "shared", None), SwiGLU, f"{case}: self.shared")
    width = layer.shared.gate.kernel.shape[1]
    expect(
        width == shared * hidden,
        f"{case}: 공유 전문가의 안쪽 폭이 {shared * hidden}이어야 하는데 {width}입니다.",
    )
    count, real = d * n + n + 3 * d * hidden * (n + shared), layer.count_params()
    expect(real == count, f"{case}: 파라미터가 {count}개여야 하는데 {real}개입니다.")
    frozen = [tuple(w.shape) for w in layer.non_trainable_weights]
    expect(frozen == [(n,)], f"{case}: 학습하지 않는 가중치는 편향 하나여야 하는데 모양이 {frozen}입니다.")
    expect(not np.any(layer.bias.numpy()), f"{case}: 편향은 0에서 시작합니다.")
    if d * hidden > 400:  # Enough numbers to tell the spread; the router has only 64.
        for name, off in {"router": 0.4, "gates": 0.15, "ups": 0.15, "downs": 0.15}.items():
            weight = getattr(layer, name).numpy()
            spread, right = float(weight.std()), shapes[name][-2] ** -0.5
            expect(
                abs(spread / right - 1) < off,
                f"{case}: self.{name}의 표준편차가 {right:.3f}쯤이어야 하는데 {spread:.3f}입니다.",
            )
            same = name != "router" and np.array_equal(weight[0], weight[1])
            expect(not same, f"{case}: self.{name}의 전문가들이 똑같은 값에서 시작합니다.")


def _layer_by_token(layer, x, k: int, scale: float, **change) -> np.ndarray:
    """Return the output for x (T, d) one token at a time; the options make known mistakes."""
    router, bias, *experts = (
        getattr(layer, name).numpy().astype(float) for name in ("router", "bias", "gates", "ups", "downs")
    )
    logits = x.astype(float) @ router
    s = softmax(logits, axis=1) if change.get("soft") else _sigmoid(logits)
    choice = s if change.get("unbiased") else s + bias
    index = np.argsort(-choice, axis=1)[:, :k]
    chosen = np.take_along_axis(choice if change.get("leak") else s, index, 1)
    total = 1.0 if change.get("raw") else chosen.sum(1, keepdims=True)
    weights = (1.0 if change.get("unscaled") else scale) * chosen / total
    common = _swiglu(
        x, *(part.kernel.numpy() for part in (layer.shared.gate, layer.shared.up, layer.shared.down))
    )
    return _by_token(x, index, weights, *experts) + change.get("shared", 1.0) * common


def _layer_mistakes(layer, x, k: int, scale: float, shape) -> dict:
    wrong = {
        "공유 전문가를 더하지 않았습니다.": dict(shared=0.0),
        "공유 전문가에도 배율을 곱했습니다. 공유 전문가는 그대로 더합니다.": dict(shared=scale),
        "공유 전문가에 1/2을 곱했습니다. 공유 전문가는 그대로 더합니다.": dict(shared=0.5),
        "점수에 시그모이드가 아니라 소프트맥스를 썼습니다.": dict(soft=True),
        "고를 때 편향을 더하지 않았습니다.": dict(unbiased=True),
        "가중치에 편향이 들어갔습니다.": dict(leak=True),
        "고른 점수의 합으로 나누지 않았습니다.": dict(raw=True),
        "배율을 곱하지 않았습니다.": dict(unscaled=True),
    }
    values = {text: _layer_by_token(layer, x, k, scale, **change) for text, change in wrong.items()}
    right = _layer_by_token(layer, x, k, scale)
    values["입력을 더했습니다. 잔차 연결은 블록이 합니다."] = right + x
    return {text: value.reshape(shape) for text, value in values.items()}


def _check_route(layer, x, k: int, scale: float, case: str) -> None:
    got = expect_parts(layer.route(tf.constant(x)), ("점수", "번호", "가중치"), f"{case}: route")
    s = _sigmoid(x.astype(float) @ layer.router.numpy())
    index = np.argsort(-(s + layer.bias.numpy()), axis=1)[:, :k]
    chosen = np.take_along_axis(s, index, 1)
    expect_close(got[0], s, f"{case}: route의 점수", tol=1e-5)
    expect_close(got[1], index, f"{case}: route의 번호", tol=0)
    expect_close(got[2], scale * chosen / chosen.sum(1, keepdims=True), f"{case}: route의 가중치", tol=1e-4)
    zero = np.zeros((len(x), 1))
    alone = layer.combine(tf.constant(x), tf.constant(zero, tf.int32), tf.constant(zero, tf.float32))
    common = layer.shared(tf.constant(x))
    expect_close(alone, common, f"{case}: combine에 가중치 0을 주면 공유 전문가만", tol=1e-5)


def _check_gradients(layer, x, k: int, case: str) -> None:
    weights = layer.trainable_weights
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant(x)) ** 2)
    for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        name = weight.path.split("/")[-1]
        expect(gradient is not None, f"{case}: {name} 가중치로 기울기가 흐르지 않습니다.")
        # The single weight of k = 1 is always c, so that nothing reaches the router.
        still = k > 1 and not np.abs(tf.convert_to_tensor(gradient)).max() > 1e-4
        expect(not still, f"{case}: {name} 가중치의 기울기가 0입니다.")


class _Layer(layers.Layer):
    """What `fit` is given: a layer with the names of problem 7 that notes how it is used.

    Every call of `combine` adds a row to ``notes``: the number of the batch (-1 if it is none of x), the error, a
    number that changes with the weights, and the shares (N,). They are kept in a variable since a graph can write it.
    """

    def __init__(self, x, y, hidden: int, n: int, k: int, seed: int):
        super().__init__(name="layer")  # An underscore in front is no name for a scope.
        d, draw = x.shape[-1], np.random.default_rng(seed)
        self.width, self.top_k, self.scale = d, k, 1.0

        def add(*shape):
            values = draw.normal(size=shape) / shape[-2] ** 0.5
            weight = self.add_weight(shape=shape)
            weight.assign(values)
            return weight

        self.router = add(d, n)
        self.gates, self.ups, self.downs = add(n, d, hidden), add(n, d, hidden), add(n, hidden, d)
        self.bias = self.add_weight(shape=(n,), initializer="zeros", trainable=False)
        self.shared = SwiGLU(d, hidden)
        for part in (self.shared.gate, self.shared.up, self.shared.down):
            part.kernel.assign(draw.normal(size=part.kernel.shape) / part.kernel.shape[0] ** 0.5)
        self.x_ends, self.y = tf.constant(x[:, :: x.shape[1] - 1]), tf.constant(y)
        self.probe = tf.constant(draw.normal(size=(hidden, d)), tf.float32)
        self.notes = tf.Variable(np.full((CALLS * len(x), 3 + n), np.nan, "float32"), trainable=False)
        self.built = True

    def parts(self) -> dict[str, np.ndarray]:
        """Return the trained weights by the names that a learner knows."""
        own = {name: getattr(self, name).numpy() for name in ("router", "gates", "ups", "downs")}
        return own | {
            f"shared.{name}": getattr(self.shared, name).kernel.numpy() for name in ("gate", "up", "down")
        }

    def route(self, x):
        scores = tf.sigmoid(tf.matmul(x, self.router))  # NumPy's @ would turn the router into an array.
        index = tf.math.top_k(scores + self.bias, self.top_k).indices
        weights = tf.gather(scores, index, batch_dims=1)
        return scores, index, weights / tf.reduce_sum(weights, -1, keepdims=True)

    def combine(self, x, index, weights):
        share = tf.reduce_sum(tf.one_hot(index, self.bias.shape[0]) * weights[..., None], 1)  # (T, N)
        hidden = tf.nn.silu(tf.einsum("td,ndf->tnf", x, self.gates)) * tf.einsum("td,ndf->tnf", x, self.ups)
        out = tf.einsum("tnf,nfd,tn->td", hidden, self.downs, share) + self.shared(x)
        self._note(tf.convert_to_tensor(x), index, out)
        return out

    def call(self, x):
        flat = tf.reshape(x, (-1, self.width))
        return tf.reshape(self.combine(flat, *self.route(flat)[1:]), tf.shape(x))

    def _note(self, x, index, out) -> None:
        number, error = tf.constant(-1), tf.constant(0.0)
        if x.shape[0] in (None, self.y.shape[1]):
            ends = tf.stack([x[0], x[-1]])
            same = tf.reduce_all(self.x_ends == ends, (1, 2))
            number = tf.where(tf.reduce_any(same), tf.argmax(same, output_type=tf.int32), -1)
            error = tf.reduce_mean((out - tf.gather(self.y, tf.maximum(number, 0))) ** 2)
        state = tf.reduce_sum(self.shared.down.kernel * self.probe) + tf.reduce_sum(self.router)
        shares = tf.reduce_mean(tf.one_hot(index, self.bias.shape[0]), (0, 1))
        row = tf.concat([[tf.cast(number, tf.float32), error, state], shares], 0)
        self.notes.assign(tf.concat([self.notes[1:], row[None]], 0))


def _task(seed: int) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Return a function that draws tokens and targets (count, d) of four kinds; the matrices are drawn here."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0]
    shared, own = rng.normal(size=(WIDTH, WIDTH)), rng.normal(size=(KINDS, WIDTH, WIDTH))
    maps = (shared + own - own.mean(0)) / WIDTH**0.5
    centers = 4 * (basis[:KINDS] - basis[:KINDS].mean(0))

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        kind, noise = rng.integers(0, KINDS, count), rng.normal(size=(count, WIDTH))
        x = centers[kind] + noise + 5 * basis[KINDS]
        return x.astype("float32"), np.einsum("td,tde->te", noise, maps[kind]).astype("float32")

    return draw


@problem("균형 잡힌 학습", minutes=20, seconds=TRAINING_SECONDS)
def fit(answer):
    """Three steps, then training to the target, then the auxiliary loss alone; the log must tell the truth.

    The layer notes every batch, error and share, so that neither the log nor the number of steps can be invented.
    The test tokens are drawn after the training. Nothing hinders an answer that imports this module.
    """
    draw = _task(1208)
    x, y = (part.reshape(STEPS, BATCH, WIDTH) for part in draw(STEPS * BATCH))
    _short_run(answer, x[:3], y[:3])
    layer, case = _Layer(x, y, 16, 4, 2, seed=2), "α = 0, γ = 0.005"
    _, loads = _fitted(answer, layer, x, y, 0.0, 0.005, case)
    _follows(layer, loads, 0.005, case)
    test_x, test_y = draw(2000)
    error = float(tf.reduce_mean((layer(test_x) - test_y) ** 2))
    expect(error <= ERROR, f"{case}: 테스트 오차가 {ERROR:.2f} 이하여야 하는데 {error:.2f}입니다.")
    share = float(loads[-50:].mean(0).max())
    expect(
        share <= SHARE,
        f"{case}: 마지막 50걸음에서 가장 바쁜 전문가의 몫이 {SHARE:.2f} 이하여야 하는데 {share:.2f}입니다.",
    )
    x, y, case = x[:80], y[:80], "α = 1, γ = 0"
    loads = _fitted(answer, _Layer(x, y, 16, 4, 2, seed=2), x, y, 1.0, 0.0, case)[1]
    share = float(loads[-30:].mean(0).max())
    expect(
        share <= SHARE + 0.03,
        f"{case}: 보조 손실만으로도 고르게 되어야 하는데 가장 바쁜 전문가의 몫이 {share:.2f}입니다.",
    )


def _short_run(answer, x, y) -> None:
    """What is logged must be what the layer gives before each step, and all of it must learn."""
    n, k, alpha, gamma, case = 6, 3, 2.0, 0.25, "세 걸음, N = 6, k = 3, α = 2, γ = 0.25"
    layer = _Layer(x, y, 8, n, k, seed=5)
    before = layer.parts()
    scores, index, _ = (np.asarray(part) for part in layer.route(x[0]))
    load = np.bincount(index.ravel(), minlength=n) / index.size
    extra = alpha * n * load @ (scores / scores.sum(1, keepdims=True)).mean(0)
    _, loads = _fitted(answer, layer, x, y, alpha, gamma, case, extra)
    still = [name for name, value in layer.parts().items() if np.array_equal(value, before[name])]
    expect(not still, f"{case}: 학습하지 않은 가중치가 있습니다. layer.{', layer.'.join(still)}")
    _follows(layer, loads, gamma, case)
    ends = [layer.router.numpy()]
    for strength in (1.0, 0.0):
        twin = _Layer(x, y, 8, n, k, seed=5)
        answer(twin, x, y, strength, gamma)
        ends.append(twin.router.numpy())
    same = np.allclose(ends[0], ends[1]) or np.allclose(ends[1], ends[2])
    expect(not same, "세 걸음: alpha를 바꾸어도 라우터가 똑같이 학습합니다. 보조 손실에 alpha를 곱하세요.")


def _fitted(answer, layer, x, y, alpha: float, gamma: float, case: str, extra=0.0) -> list[np.ndarray]:
    """Return what was logged if it is what the layer noted; ``extra`` is the auxiliary loss of the first step."""
    with untouched(case, x, y):
        got = expect_parts(answer(layer, x, y, alpha, gamma), ("오차", "몫"), case)
    steps, n, parts = len(x), layer.bias.shape[0], []
    for name, part, shape in zip(("오차", "몫"), got, ((steps,), (steps, n)), strict=True):
        part = expect_array(part, f"{case}: {name}").astype(float)
        expect(part.shape == shape, f"{case}: {name}의 모양이 {shape}이어야 하는데 {part.shape}입니다.")
        expect(np.isfinite(part).all(), f"{case}: {name}에 NaN 또는 무한대가 있습니다.")
        parts.append(part)
    notes = layer.notes.numpy()
    notes = notes[np.isfinite(notes[:, 0])]
    expect(len(notes), f"{case}: layer.combine을 부르지 않았습니다.")
    expect(len(notes) < layer.notes.shape[0], f"{case}: layer.combine을 걸음마다 {CALLS}번 넘게 불렀습니다.")
    numbers, states = notes[:, 0].astype(int), notes[:, 2]
    order = numbers[np.diff(numbers, prepend=-1) != 0]  # Trials before the first batch do not matter.
    if not np.array_equal(order, range(steps)):
        wrong = next((t for t, number in enumerate(order[:steps]) if number != t), min(len(order) - 1, steps))
        shown = ", ".join(map(str, order[max(wrong - 2, 0) : wrong + 3]))
        raise Mismatch(
            f"{case}: 0번부터 {steps - 1}번까지 배치를 차례로 한 번씩 써야 하는데 {wrong}걸음 앞뒤로 "
            f"[{shown}]번을 썼습니다."
        )
    first = notes[np.unique(numbers, return_index=True)[1]]
    first = first[first[:, 0] >= 0]
    about = {"보조 손실까지 더했습니다. 오차만 기록하세요.": first[0, 1] + extra}
    expect_close(parts[0][0], first[0, 1], f"{case}: 첫 걸음의 오차", tol=1e-4, mistakes=about)
    expect_close(parts[0], first[:, 1], f"{case}: 고치기 전의 오차", tol=1e-3)
    shares = first[:, 3:]
    about = {
        "비율이 아니라 횟수입니다.": shares * x.shape[1] * layer.top_k,
        "평균이 1인 부하입니다.": n * shares,
    }
    expect_close(parts[1], shares, f"{case}: 고치기 전의 몫", mistakes=about)
    moved = 1 + int((np.abs(np.diff(states)) > 1e-5).sum())  # The last step is seen only by a call after it.
    expect(
        moved <= steps + 1,
        f"{case}: 배치 하나에 옵티마이저를 한 번씩 써야 하는데, 가중치가 {moved - 1}번 넘게 바뀌었습니다.",
    )
    return parts


def _follows(layer, loads, gamma: float, case: str) -> None:
    """The bias must be what the logged loads make of it, one step of γ at a time."""
    n = loads.shape[1]
    signs = np.where(np.abs(loads - 1 / n) < 1e-6, 0.0, np.sign(1 / n - loads)).sum(0)
    mistakes = {
        "부호가 반대입니다.": -gamma * signs,
        "편향을 고치지 않았습니다.": 0 * signs,
        "한 걸음에 두 번 고쳤습니다.": 2 * gamma * signs,
    }
    about = f"{case}: 학습한 뒤의 편향"
    expect_close(layer.bias.numpy(), gamma * signs, about, tol=1e-4, mistakes=mistakes)
