"""Checks of practice 12.1: RMSNorm, RoPE, SwiGLU, grouped-query attention, the cache, a block, a small Llama.

The references are formulas in float64, one token, head and query at a time, and the layers of Keras.
"""

import contextlib
import functools
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from scipy.special import erf, expit, softmax

from tf_study.expect import (
    Mismatch,
    expect,
    expect_array,
    expect_close,
    expect_integers,
    expect_logits,
    expect_parts,
    expect_returned,
    expect_trainable,
    expect_type,
)
from tf_study.models import llama
from tf_study.models.llama import Config
from tf_study.practice import TRAINING_SECONDS, problem

TARGET = 0.90
SYLLABLES, PERIODS = 20, (4, 10)  # As in the notebook's small profile.
CASES = {
    "GQA, 헤드 6개와 2개": Config(19, 12, 2, heads=6, kv_heads=2, hidden=10, head_dim=4),
    "MHA, 헤드 3개": Config(11, 12, 1, heads=3, kv_heads=3, hidden=7, eps=0.05),
    "MQA, 헤드 4개와 1개": Config(13, 8, 3, heads=4, kv_heads=1, hidden=20, rope_base=100.0),
    "H·D가 d와 다름": Config(
        9, 10, 2, heads=4, kv_heads=2, hidden=6, head_dim=6, rope_base=500000.0, eps=1e-2
    ),
}
ROPE_MISTAKES = {
    "이웃한 성분을 짝지었습니다. 짝은 (i, i+D/2)입니다.": {"pairs": "interleaved"},
    "반대로 돌렸습니다. 사인의 부호를 보세요.": {"sign": -1},
    "positions를 쓰지 않고 자리 0부터 돌렸습니다.": {"fresh": True},
    "지수의 분모는 D입니다. 짝의 번호 i에는 2를 곱합니다.": {"step": 1},
    "지수의 분모를 D/2로 두었습니다.": {"step": 4},
    "base를 쓰지 않고 10000으로 두었습니다.": {"base": 10000.0},
    "각속도의 지수에 음의 부호가 없습니다.": {"step": -2},
}


@problem("RMSNorm", minutes=5)
def rms_norm(answer):
    """The formula in float64 and Keras' layer; in float16 the squares overflow or vanish."""
    got = answer(tf.constant([1.0, 2.0, 2.0, 4.0]), tf.constant([1.0, 1.0, 1.0, 10.0]), 0.0)
    expect_close(
        got, [0.4, 0.8, 0.8, 16.0], "예시", dtype="float32", mistakes=_norms([1, 2, 2, 4], [1, 1, 1, 10], 0.0)
    )
    rng = np.random.default_rng(1201)
    for case, (shape, scale, shift, eps, dtype) in {
        "모양 (3, 8)": ((3, 8), 1.0, 0.5, 1e-5, "float32"),
        "모양 (2, 5, 4)": ((2, 5, 4), 3.0, -2.0, 1e-6, "float32"),
        "모양 (2, 3, 4, 6)": ((2, 3, 4, 6), 1.0, 1.0, 0.3, "float32"),
        "모양 (7,)": ((7,), 1.0, 0.0, 1e-5, "float32"),
        "아주 작은 값": ((4, 16), 1e-3, 0.0, 1e-5, "float32"),
        "0인 벡터": ((2, 3), 0.0, 0.0, 1e-5, "float32"),
        "float64": ((3, 5), 1.0, 0.0, 1e-5, "float64"),
        "float16, 제곱이 65504를 넘는 값": ((3, 32), 800.0, 300.0, 1e-5, "float16"),
        "float16, 작은 값": ((3, 32), 2e-4, 0.0, 1e-8, "float16"),
    }.items():
        a, gain = (shift + scale * rng.normal(size=shape)).astype(dtype), rng.uniform(0.5, 2, shape[-1])
        if scale == 0:
            a = np.zeros(shape, dtype)
        gain = gain.astype(dtype)
        tol = 3e-3 if dtype == "float16" else 1e-5
        got = answer(tf.constant(a), tf.constant(gain), eps)
        expected = _norm(a, gain, eps)
        expect_close(got, expected, case, tol=tol, dtype=dtype, mistakes=_norms(a, gain, eps))
    layer = layers.RMSNormalization(epsilon=1e-3)
    layer.build((2, 9))
    layer.set_weights([gain := rng.normal(size=9).astype("float32")])
    a = rng.normal(size=(2, 9)).astype("float32")
    expect_close(answer(tf.constant(a), tf.constant(gain), 1e-3), layer(a), "Keras의 RMSNormalization")


def _norm(a, gain, eps: float) -> np.ndarray:
    a = np.asarray(a, float)
    return a / np.sqrt(np.mean(a**2, -1, keepdims=True) + eps) * np.asarray(gain, float)


def _norms(a, gain, eps: float) -> dict[str, np.ndarray]:
    """Return what known mistakes give."""
    a, gain = np.asarray(a, float), np.asarray(gain, float)
    centred = a - a.mean(-1, keepdims=True)
    with np.errstate(all="ignore"):
        wrong = {
            "ε은 제곱근 안에 더합니다.": a / (np.sqrt(np.mean(a**2, -1, keepdims=True)) + eps) * gain,
            "평균을 뺐습니다. RMSNorm은 빼지 않습니다.": _norm(centred, gain, eps),
            "분모에만 평균을 뺀 값(표준편차)을 썼습니다.": a
            / np.sqrt(np.var(a, -1, keepdims=True) + eps)
            * gain,
            "제곱을 평균하지 않고 더했습니다.": a / np.sqrt(np.sum(a**2, -1, keepdims=True) + eps) * gain,
            "배율 g를 곱하지 않았습니다.": _norm(a, 1.0, eps),
            "모든 축에서 평균했습니다. 마지막 축에서만 합니다.": a / np.sqrt(np.mean(a**2) + eps) * gain,
            "제곱근을 씌우지 않았습니다.": a / (np.mean(a**2, -1, keepdims=True) + eps) * gain,
            "통계를 float16으로 내어 제곱이 넘쳤습니다. float32로 내세요.": 0 * a,
        }
    return {text: np.where(np.isfinite(value), value, 0) for text, value in wrong.items()}


@problem("RoPE", minutes=10)
def rotate(answer):
    """A product of complex numbers, one pair at a time; then that scores keep under a shift."""
    got = answer(tf.constant([[1.0, 1.0, 0.0, 0.0]]), tf.constant([1]), 10000.0)
    right = [[np.cos(1), np.cos(0.01), np.sin(1), np.sin(0.01)]]
    expect_close(got, right, "예시", mistakes=_turns(np.array([[1.0, 1, 0, 0]]), [1], 10000.0))
    rng = np.random.default_rng(1202)
    for case, (front, depth, positions, base, dtype) in {
        "(T, D), 자리 0부터": ((), 8, range(5), 10000.0, "float32"),
        "(B, T, D), 자리 40부터": ((3,), 6, range(40, 44), 10000.0, "float32"),
        "(B, H, T, D), base 500000": ((2, 4), 8, range(3), 500000.0, "float32"),
        "(B, H, T, D), B = H = T": ((4, 4), 4, range(7, 11), 100.0, "float32"),
        "D = 2, 자리 하나": ((2,), 2, [13], 10000.0, "float32"),
        "이어지지 않은 자리": ((1, 2), 10, [7, 3, 3, 250], 1000.0, "float32"),
        "float16, 자리 3001부터": ((2,), 4, range(3001, 3006), 10000.0, "float16"),
    }.items():
        x = rng.normal(size=(*front, len(positions), depth)).astype(dtype)
        got = answer(tf.constant(x), tf.constant(list(positions)), base)
        expected, tol = _turn(x, positions, base), 1e-4 if dtype == "float32" else 4e-3
        expect_close(got, expected, case, tol=tol, dtype=dtype, mistakes=_turns(x, positions, base))
    q, k = (tf.constant(rng.normal(size=(1, 12)), tf.float32) for _ in range(2))
    for gap in (0, 5, -3):
        scores = [
            float(
                tf.reduce_sum(
                    answer(q, tf.constant([30 + s + gap]), 100.0) * answer(k, tf.constant([30 + s]), 100.0)
                )
            )
            for s in (0, 200)
        ]
        expect_close(scores[1], scores[0], f"간격 {gap}인 두 자리를 200칸 옮긴 점수", tol=1e-3)


def _turn(x, positions, base: float, pairs="half", sign=1, fresh=False, step=2) -> np.ndarray:
    """Rotate x (..., T, D) in float64; the options make known mistakes."""
    x = np.asarray(x, float)
    half = x.shape[-1] // 2
    positions = np.arange(x.shape[-2]) if fresh else np.asarray(positions)
    theta = [float(base) ** (-step * i / x.shape[-1]) for i in range(half)]
    first, second = (x[..., :half], x[..., half:]) if pairs == "half" else (x[..., 0::2], x[..., 1::2])
    z = (first + 1j * second) * np.exp(sign * 1j * np.outer(positions, theta))
    if pairs == "half":
        return np.concatenate([z.real, z.imag], -1)
    return np.stack([z.real, z.imag], -1).reshape(x.shape)


def _turns(x, positions, base: float) -> dict[str, np.ndarray]:
    return {text: _turn(x, positions, **({"base": base} | change)) for text, change in ROPE_MISTAKES.items()}


@problem("SwiGLU", minutes=5)
def swiglu(answer):
    """The formula in float64."""
    rng = np.random.default_rng(1203)
    for case, (front, d, hidden, out) in {
        "(N, d)": ((4,), 6, 16, 6),
        "(B, T, d)": ((2, 5), 8, 20, 8),
        "안쪽이 더 좁음": ((3, 2), 9, 4, 9),
        "폭이 모두 같음": ((4, 4), 4, 4, 4),
        "축이 넷": ((2, 1, 3), 5, 7, 5),
        "벡터 하나": ((1,), 3, 8, 2),
    }.items():
        x, w, v, w2 = (
            rng.normal(0.3, 1, size=s).astype("float32")
            for s in ((*front, d), (d, hidden), (d, hidden), (hidden, out))
        )
        got = answer(*(tf.constant(m) for m in (x, w, v, w2)))
        expect_close(got, _feed(x, w, v, w2), case, tol=1e-4, mistakes=_gates(x, w, v, w2))
    log3 = float(np.log(3.0))
    got = answer(*(tf.constant(m) for m in ([[1.0]], [[log3]], [[4.0]], [[1.0]])))
    expect_close(got, [[3 * log3]], "예시")
    big = tf.constant([[200.0, -200.0]])
    eye = tf.eye(2)
    expect_close(answer(big, eye, eye, eye), [[40000.0, 0.0]], "아주 큰 입력")


def _feed(x, w, v, w2, act=lambda z: z * expit(z)) -> np.ndarray:
    x, w, v, w2 = (np.asarray(m, float) for m in (x, w, v, w2))
    return (act(x @ w) * (x @ v)) @ w2


def _gates(x, w, v, w2) -> dict[str, np.ndarray]:
    x, w, v, w2 = (np.asarray(m, float) for m in (x, w, v, w2))
    silu = lambda z: z * expit(z)  # noqa: E731 (short)
    return {
        "문과 값이 바뀌었습니다. Swish는 xW에 씌웁니다.": _feed(x, v, w, w2),
        "Swish가 아니라 시그모이드를 썼습니다.": _feed(x, w, v, w2, expit),
        "Swish가 아니라 ReLU를 썼습니다.": _feed(x, w, v, w2, lambda z: np.maximum(z, 0)),
        "Swish가 아니라 GELU를 썼습니다.": _feed(x, w, v, w2, lambda z: z * (1 + erf(z / np.sqrt(2))) / 2),
        "활성화 함수를 빠뜨렸습니다.": _feed(x, w, v, w2, lambda z: z),
        "곱하지 않고 더했습니다.": (silu(x @ w) + x @ v) @ w2,
        "Swish를 값에도 씌웠습니다.": (silu(x @ w) * silu(x @ v)) @ w2,
        "Swish를 곱한 뒤에 씌웠습니다.": silu((x @ w) * (x @ v)) @ w2,
        "W₂를 곱하지 않았습니다.": silu(x @ w) * (x @ v),
    }


@problem("GQA", minutes=15)
def grouped_attention(answer):
    """One query at a time over the keys it may see; at last Keras' grouped-query layer."""
    rng = np.random.default_rng(1204)
    q, k, v = (
        np.zeros((1, 2, 1, 4), "float32"),
        np.zeros((1, 1, 3, 4), "float32"),
        np.float32([[[[3], [6], [0]]]]),
    )
    got = answer(*(tf.constant(m) for m in (q, k, v)))
    expect_close(got, [[[[3.0]], [[3.0]]]], "예시", mistakes=_attends(q, k, v))
    for case, (b, h, g, t, s, d, e, scale) in {
        "MHA, T = S": (2, 3, 3, 5, 5, 4, 4, 1.0),
        "GQA, T = S": (2, 6, 2, 4, 4, 8, 8, 1.0),
        "GQA, H/G = 2": (1, 6, 3, 5, 5, 2, 2, 1.0),
        "MQA, T = S": (3, 4, 1, 6, 6, 4, 4, 1.0),
        "새 쿼리 하나 (T = 1, S = 7)": (2, 4, 2, 1, 7, 4, 4, 1.0),
        "새 쿼리 셋 (T = 3, S = 8)": (2, 6, 2, 3, 8, 4, 4, 1.0),
        "값의 폭이 다름": (2, 4, 2, 3, 5, 6, 9, 1.0),
        "D = 1, 키 하나": (1, 2, 2, 1, 1, 1, 3, 1.0),
        "아주 큰 점수": (2, 4, 2, 4, 6, 4, 4, 200.0),
        "B = H = T = S": (4, 4, 2, 4, 4, 4, 4, 1.0),
    }.items():
        q, k, v = (rng.normal(size=m).astype("float32") for m in ((b, h, t, d), (b, g, s, d), (b, g, s, e)))
        k *= scale
        got = answer(*(tf.constant(m) for m in (q, k, v)))
        expect_close(got, _attend(q, k, v), case, tol=1e-4, mistakes=_attends(q, k, v))
    x, (h, g, d) = rng.normal(size=(2, 5, 12)).astype("float32"), (6, 3, 4)
    layer = layers.GroupQueryAttention(d, h, g, use_bias=False)
    layer.build(x.shape, x.shape)
    wq, wk, wv = (rng.normal(size=(12, n, d)).astype("float32") / 4 for n in (h, g, g))
    layer.set_weights([wq, wk, wv, rng.normal(size=(h, d, 12)).astype("float32") / 5])
    heads = [tf.constant(np.einsum("btc,chd->bhtd", x, w)) for w in (wq, wk, wv)]
    got = expect_array(answer(*heads), "Keras의 GroupQueryAttention")
    mixed = np.einsum("bhtd,hdc->btc", got, layer.get_weights()[3])
    expect_close(mixed, layer(x, x, use_causal_mask=True), "Keras의 GroupQueryAttention", tol=1e-4)


def _attend(q, k, v, order="repeat", scale=0.5, shift=0, late=True, mask=True) -> np.ndarray:
    """Attend in float64, one head and one query at a time; the options make known mistakes.

    The query t of T stands at position S - T + t, and sees the keys up to it, ``shift`` more of them.
    """
    q, k, v = (np.asarray(m, float) for m in (q, k, v))
    (batch, heads, length, depth), (groups, keys) = q.shape, k.shape[1:3]
    out = np.zeros((batch, heads, length, v.shape[-1]))
    for b, h, t in np.ndindex(batch, heads, length):
        g = h // (heads // groups) if order == "repeat" else h % groups
        seen = (keys - length if late else 0) + t + 1 + shift if mask else keys
        scores = k[b, g, : max(seen, 0)] @ q[b, h, t] / depth**scale
        out[b, h, t] = softmax(scores) @ v[b, g, : len(scores)] if len(scores) else v[b, g].mean(0)
    return out


def _attends(q, k, v) -> dict[str, np.ndarray]:
    return {
        "키와 값의 헤드를 잘못 짝지었습니다. 쿼리 헤드 h는 헤드 ⌊h/(H/G)⌋를 봅니다.": _attend(
            q, k, v, order="tile"
        ),
        "점수를 √D로 나누지 않았습니다.": _attend(q, k, v, scale=0),
        "점수를 √D가 아니라 D로 나누었습니다.": _attend(q, k, v, scale=1),
        "뒤의 키까지 보았습니다.": _attend(q, k, v, mask=False),
        "마스크가 한 칸 어긋나 바로 다음 키까지 보았습니다.": _attend(q, k, v, shift=1),
        "마스크가 한 칸 어긋나 자기 자리의 키를 보지 못했습니다.": _attend(q, k, v, shift=-1),
        "S > T일 때 쿼리를 자리 0부터 세었습니다. 쿼리는 마지막 T자리입니다.": _attend(q, k, v, late=False),
    }


@problem("캐시가 있는 어텐션 층", minutes=15)
def Attention(answer):  # noqa: N802 (named after the learner's class)
    """The same text read at once and in pieces; the cache holds rotated keys and plain values."""
    rng = np.random.default_rng(1205)
    for case, config in CASES.items():
        layer, b = answer(config), 2
        _draw(layer, rng)
        x = rng.normal(size=(b, 9, config.width)).astype("float32")
        expected, k, v = _layer(layer, config, x)
        for pieces in ((9,), (5, 4), (1,) * 9, (4, 1, 3, 1)):
            start, cache = 0, None
            for size in pieces:
                end, text = start + size, f"{case}, 토큰 {start}개 뒤의 {size}개"
                got = _call(layer, x[:, start:end], cache, text)
                out, cache = expect_parts(got, ("출력", "캐시"), text)
                _check_cache(cache, k[:, :, :end], v[:, :, :end], x[:, :end], layer, config, text, start)
                about = functools.partial(_layers, layer, config, x[:, :end], start)
                expect_close(out, expected[:, start:end], f"{text}: 출력", tol=1e-4, mistakes=about)
                start = end
        _, cache = layer(tf.constant(x[:, :6]))
        for sign in (1, -1):  # Two ways to go on from one cache.
            whole = np.concatenate([x[:, :6], sign * x[:, 6:]], 1)
            out, _ = layer(tf.constant(whole[:, 6:]), cache=cache)
            text = f"{case}: 같은 캐시에서 두 번 이어 쓰기"
            expect_close(out, _layer(layer, config, whole)[0][:, 6:], text, tol=1e-4)


def _call(layer, x, cache, text: str):
    got = layer(tf.constant(x)) if cache is None else layer(tf.constant(x), cache=cache)
    expect_returned(got, text)
    return got


def _check_cache(cache, k, v, x, layer, config: Config, text: str, start: int) -> None:
    """Compare the keys and values of a cache, (B, G, S, D) each."""
    cache = expect_parts(cache, ("키", "값"), f"{text}: 캐시")
    times = config.heads // config.kv_heads

    def mistakes():
        return {
            "돌리기 전의 키를 넣었습니다. 돌린 뒤에 넣으세요.": _layer(layer, config, x, turned=False)[1],
            "캐시가 있는데도 자리를 0부터 세었습니다.": _layer(layer, config, x, start=start)[1],
            "새 토큰의 키만 남겼습니다. 앞의 키에 이어 붙이세요.": k[:, :, start:],
            "H개로 복사한 뒤의 키를 넣었습니다. 복사하기 전의 G개를 넣으세요.": np.repeat(k, times, 1),
        }

    expect_close(cache[0], k, f"{text}: 캐시의 키", tol=1e-4, mistakes=mistakes)
    about = {"값을 돌렸습니다. 돌리는 것은 쿼리와 키뿐입니다.": _turn(v, range(v.shape[2]), config.rope_base)}
    expect_close(cache[1], v, f"{text}: 캐시의 값", tol=1e-4, mistakes=about)


def _draw(layer, rng: np.random.Generator) -> None:
    """Draw every weight, gains away from 1 too, so that leaving one out shows."""
    for weight in layer.weights:
        values = rng.uniform(0.4, 1.8, weight.shape)
        weight.assign(
            values if len(weight.shape) == 1 else rng.normal(size=weight.shape) * weight.shape[0] ** -0.5
        )


def _layer(layer, c: Config, x, turned=True, start=0, still=(), bare=False, scramble=False):
    """Return the output (B, T, d) of a learner's attention layer and its keys and values, in float64.

    Mistakes: ``start`` counts the positions from there on from 0 again; ``still`` names what is not rotated.
    """
    x, positions = np.asarray(x, float), np.arange(np.shape(x)[1])
    positions = np.where(positions < start, positions, positions - start)

    def split(weight, heads):
        z = x @ np.asarray(weight, float)
        if scramble:
            return z.reshape(len(x), heads, -1, c.head_dim)
        return z.reshape(*x.shape[:2], heads, c.head_dim).transpose(0, 2, 1, 3)

    q, k, v = split(layer.w_q, c.heads), split(layer.w_k, c.kv_heads), split(layer.w_v, c.kv_heads)
    q = _turn(q, positions, c.rope_base) if turned and "q" not in still else q
    k = _turn(k, positions, c.rope_base) if turned and "k" not in still else k
    out = _attend(q, k, v).transpose(0, 2, 1, 3).reshape(*x.shape[:2], -1)
    return (out if bare else out @ np.asarray(layer.w_o, float)), k, v


def _layers(layer, c: Config, x, start: int) -> dict[str, np.ndarray]:
    wrong = {
        "쿼리와 키를 돌리지 않았습니다.": {"turned": False},
        "쿼리를 돌리지 않았습니다.": {"still": ("q",)},
        "W_O를 곱하지 않았습니다.": {"bare": True},
        "(B, T, ...)를 곧장 (B, H, T, D)로 바꾸어 자리가 섞였습니다.": {"scramble": True},
    }
    return {text: _layer(layer, c, x, **change)[0][:, start:] for text, change in wrong.items()}


@problem("Llama 블록", minutes=10)
def LlamaBlock(answer):  # noqa: N802 (named after the learner's class)
    """The block in float64, at once and in pieces."""
    rng = np.random.default_rng(1206)
    for case, config in CASES.items():
        block = answer(config)
        _draw(block, rng)
        x = rng.normal(0.5, 2, size=(2, 7, config.width)).astype("float32")
        expected = _block(block, config, x)
        mistakes = {  # Options of _block, and what they stand for.
            "정규화를 더한 뒤에 했습니다(post-norm).": {"post": True},
            "어텐션의 잔차 연결이 없습니다.": {"skips": (0, 1)},
            "순방향 신경망의 잔차 연결이 없습니다.": {"skips": (1, 0)},
            "잔차 연결이 둘 다 없습니다.": {"skips": (0, 0)},
            "둘째 정규화에도 어텐션의 배율을 썼습니다.": {"gains": (0, 0)},
            "두 배율이 바뀌었습니다.": {"gains": (1, 0)},
            "어텐션 앞의 정규화가 없습니다.": {"gains": (None, 1)},
            "순방향 신경망 앞의 정규화가 없습니다.": {"gains": (0, None)},
            "순방향 신경망에 어텐션을 더하기 전의 x를 넣었습니다.": {"parallel": True},
            "첫째 잔차로 정규화한 값을 더했습니다. 더하는 것은 x입니다.": {"normed": (1, 0)},
            "둘째 잔차로 정규화한 값을 더했습니다.": {"normed": (0, 1)},
            "문과 값이 바뀌었습니다. W가 문입니다.": {"swapped": True},
            "config.eps를 쓰지 않았습니다.": {"c": replace(config, eps=1e-5)},
        }
        for pieces in ((7,), (4, 3), (1, 1, 5)):
            start, cache = 0, None
            for size in pieces:
                end, text = start + size, f"{case}, 토큰 {start}개 뒤의 {size}개"
                got = _call(block, x[:, start:end], cache, text)
                out, cache = expect_parts(got, ("출력", "캐시"), text)
                about = functools.partial(_blocks, block, config, x, mistakes, slice(start, end))
                expect_close(out, expected[:, start:end], f"{text}: 출력", tol=1e-4, mistakes=about)
                k, _ = expect_parts(cache, ("키", "값"), f"{text}: 캐시")
                kept = np.shape(k)[2]
                expect(kept == end, f"{text}: 캐시에 토큰 {end}개가 있어야 하는데 {kept}개입니다.")
                start = end


def _blocks(block, config: Config, x, mistakes: dict[str, dict], part: slice) -> dict[str, np.ndarray]:
    return {
        text: _block(block, **({"c": config, "x": x} | change))[:, part] for text, change in mistakes.items()
    }


def _block(
    block, c: Config, x, post=False, skips=(1, 1), gains=(0, 1), parallel=False, normed=(0, 0), swapped=False
):
    """Compute a learner's block in float64; the options make known mistakes."""
    x = np.asarray(x, float)
    all_gains = (block.attention_gain, block.feed_forward_gain)
    parts = (
        lambda z: _layer(block.attention, c, z)[0],
        lambda z: _feed(z, *((block.v, block.w) if swapped else (block.w, block.v)), block.w2),
    )
    first = x
    for part, index, skip, kept in zip(parts, gains, skips, normed, strict=True):

        def norm(z, index=index):
            return z if index is None else _norm(z, all_gains[index], c.eps)

        if post:
            x = norm(x + part(x))
        else:
            x = skip * (norm(x) if kept else x) + part(norm(first if parallel else x))
    return x


@problem("작은 Llama", minutes=15)
def MiniLlama(answer):  # noqa: N802 (named after the learner's class)
    """Logits in float64 at once and in pieces, against the package's Llama too; the count of parameters."""
    rng = np.random.default_rng(1207)
    for number, (case, config) in enumerate(CASES.items()):
        model = answer(config)
        expect_type(model, keras.Model, case)
        if number == 0:  # Soon, because it costs nothing; an answer without it is judged all the same.
            with contextlib.suppress(NotImplementedError):
                _check_count(answer.parameter_count)
        tokens = rng.integers(0, config.vocab, (2, 7))
        first = expect_parts(model(tf.constant(tokens)), ("로짓", "캐시"), case)
        expect_logits(first[0], (2, 7, config.vocab), case)
        expect(
            len({id(block) for block in model.blocks}) == config.layers,
            f"{case}: self.blocks에 서로 다른 블록 {config.layers}개가 있어야 합니다.",
        )
        count = llama.parameter_count(config)
        real = model.count_params()
        expect(real == count, f"{case}: 파라미터가 {count}개여야 하는데 모델에는 {real}개가 있습니다.")
        expect_trainable(model, case)
        spread = float(np.std(np.asarray(model.embedding)))
        expect(0.6 < spread < 1.5, f"{case}: 임베딩의 표준편차가 1쯤이어야 하는데 {spread:.2f}입니다.")
        spread = float(np.std(np.asarray(model.head))) * config.width**0.5
        expect(
            0.6 < spread < 1.5,
            f"{case}: 출력층의 표준편차가 1/√d의 {spread:.2f}배입니다. 1/√d쯤이어야 합니다.",
        )
        _draw(model, rng)
        expected = _logits(model, config, tokens)
        for pieces in ((7,), (3, 1, 3)):
            start, cache = 0, None
            for size in pieces:
                end, text = start + size, f"{case}, 토큰 {start}개 뒤의 {size}개"
                got = _call(model, tokens[:, start:end], cache, text)
                logits, cache = expect_parts(got, ("로짓", "캐시"), text)
                about = functools.partial(_models, model, config, tokens, slice(start, end))
                expect_close(logits, expected[:, start:end], f"{text}: 로짓", tol=1e-4, mistakes=about)
                names = [f"블록 {i}의 캐시" for i in range(config.layers)]
                for name, pair in zip(names, expect_parts(cache, names, f"{text}: 캐시"), strict=True):
                    keys = np.shape(expect_parts(pair, ("키", "값"), f"{text}: {name}")[0])
                    shape = (2, config.kv_heads, end, config.head_dim)
                    expect(keys == shape, f"{text}: {name}의 키가 {shape} 모양이어야 하는데 {keys}입니다.")
                start = end
        other = _theirs(config)
        _copy(model, other)
        expect_close(
            model(tf.constant(tokens))[0], other(tokens)[0], f"{case}: tf_study.models.llama의 로짓", tol=1e-4
        )
    _check_count(answer.parameter_count)


def _logits(model, c: Config, tokens, last=True, scale=1.0, blocks=None) -> np.ndarray:
    """Compute a learner's model in float64; the options make known mistakes."""
    x = scale * np.asarray(model.embedding, float)[tokens]
    for block in model.blocks if blocks is None else blocks:
        x = _block(block, c, x)
    return (_norm(x, model.gain, c.eps) if last else x) @ np.asarray(model.head, float)


def _models(model, c: Config, tokens, part: slice) -> dict[str, np.ndarray]:
    wrong = {
        "마지막 정규화를 빠뜨렸습니다.": _logits(model, c, tokens, last=False),
        "로짓이 아니라 확률입니다.": softmax(_logits(model, c, tokens), axis=-1),
        "임베딩에 √d를 곱했습니다.": _logits(model, c, tokens, scale=c.width**0.5),
        "블록을 하나만 지났습니다.": _logits(model, c, tokens, blocks=model.blocks[:1]),
        "블록을 거꾸로 지났습니다.": _logits(model, c, tokens, blocks=model.blocks[::-1]),
    }
    return {text: value[:, part] for text, value in wrong.items()}


@functools.cache
def _theirs(c: Config) -> llama.Llama:
    """The package's model, once for all answers: all its weights are copied."""
    return llama.Llama(c)


def _copy(model, other: llama.Llama) -> None:
    """Copy a learner's weights into the package's model."""
    pairs = [
        (other.embedding.embeddings, model.embedding),
        (other.norm.gain, model.gain),
        (other.head.kernel, model.head),
    ]
    for mine, block in zip(model.blocks, other.blocks, strict=True):
        a, f = block.attention, block.feed_forward
        pairs += [
            (block.attention_norm.gain, mine.attention_gain),
            (block.feed_forward_norm.gain, mine.feed_forward_gain),
        ]
        dense = zip((a.query, a.key, a.value, a.out), "qkvo", strict=True)
        pairs += [(layer.kernel, getattr(mine.attention, f"w_{letter}")) for layer, letter in dense]
        pairs += [(f.gate.kernel, mine.w), (f.up.kernel, mine.v), (f.down.kernel, mine.w2)]
    for target, source in pairs:
        target.assign(source)


def _check_count(count) -> None:
    big = {"Llama 3 8B": (llama.LLAMA3_8B, 8_030_261_248), "Llama 3 70B": (llama.LLAMA3_70B, 70_553_706_496)}
    for case, (config, expected) in (
        big | {case: (c, llama.parameter_count(c)) for case, c in CASES.items()}
    ).items():
        got = count(config)
        case = f"{case}의 parameter_count"
        expect_integers(got, case)
        parts = llama.parameter_parts(config)
        full = llama.parameter_parts(replace(config, kv_heads=config.heads))
        mistakes = {
            "키와 값의 헤드를 H개로 세었습니다.": expected - parts["attention"] + full["attention"],
            "마지막 정규화의 배율을 빠뜨렸습니다.": expected - config.width,
            "정규화의 배율을 빠뜨렸습니다.": expected - parts["norm"],
            "출력층의 행렬을 빠뜨렸습니다.": expected - parts["head"],
            "SwiGLU의 행렬은 셋입니다.": expected - parts["feed_forward"] // 3,
        }
        hint = next((text for text, value in mistakes.items() if got == value != expected), "")
        expect(got == expected, f"{case}: {expected:,}개여야 하는데 {got:,}개입니다. {hint}".rstrip())


@problem("학습과 생성", minutes=25, seconds=TRAINING_SECONDS)
def generate(answer):
    """Greedy tokens of a model whose answers are known and which counts what it reads; then the trained one."""
    rng = np.random.default_rng(1208)
    for batch, length, count in ((1, 3, 5), (4, 6, 1), (2, 1, 9), (3, 8, 7)):
        case = f"검사기의 모델, 프롬프트 ({batch}, {length}), 새 토큰 {count}개"
        model, prompt = _Oracle(11), rng.integers(0, 11, (batch, length)).astype("int32")
        got = _tokens(answer(tf.constant(prompt), count, model), (batch, count), case)
        expect_close(got, model.expected(prompt, count), case, tol=0)
        expect(
            model.read < length + count + 1,
            f"{case}: 모델이 토큰 {model.read}개를 읽었습니다. 캐시가 있으면 {length + count - 1}개로 됩니다.",
        )
    rows = _rows(rng, 128, 32)
    prompt, rest = rows[:, :16], rows[:, 16:]
    got = _tokens(answer(tf.constant(prompt), 16), rest.shape, "학습한 모델")
    accuracy = float(np.mean(got == rest))
    expect(
        accuracy >= TARGET,
        f"이어 쓴 글자의 정확도가 {TARGET:.2f} 이상이어야 하는데 {accuracy:.2f}입니다(앞 글자 하나만 보면 0.05, "
        "앞에 나온 글자에서 아무거나 고르면 0.19쯤). 학습 걸음과 학습률을 보세요.",
    )


def _tokens(got, shape: tuple[int, int], case: str) -> np.ndarray:
    got = expect_array(got, case)
    if got.shape != shape:
        raise Mismatch(f"{case}: 새 토큰의 모양이 {shape}이어야 하는데 {got.shape}입니다.")
    expect(got.dtype.kind in "iu", f"{case}: 토큰은 정수여야 하는데 자료형이 {got.dtype}입니다.")
    return got


def _rows(rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    """Return rows (count, length) that repeat a few different syllables."""
    period = rng.integers(PERIODS[0], PERIODS[1] + 1, count)
    order = np.argsort(rng.random((count, SYLLABLES)), 1)
    return order[np.arange(count)[:, None], np.arange(length) % period[:, None]].astype("int32")


class _Oracle:
    """A model whose next token depends on every token before it, and which counts the tokens it reads."""

    def __init__(self, vocab: int):
        self.vocab, self.read = vocab, 0

    def __call__(self, tokens, cache=None):
        tokens = np.asarray(tokens)
        expect(tokens.ndim == 2, f"모델에는 (B, T) 토큰을 넣어야 하는데 모양이 {tokens.shape}입니다.")
        if cache is None:
            past = np.zeros((len(tokens), 0), int)
        else:
            past = np.asarray(cache[0][0])[:, 0, :, 0].astype(int)
        expect(len(past) == len(tokens), "캐시와 토큰의 배치 크기가 다릅니다.")
        whole = np.concatenate([past, tokens], 1)
        self.read += tokens.shape[1]
        states = np.stack([self.state(whole[:, : t + 1]) for t in range(past.shape[1], whole.shape[1])], 1)
        logits = -3 - 0.1 * ((np.arange(self.vocab) - states[..., None]) % self.vocab)
        keys = tf.constant(whole[:, None, :, None], tf.float32)
        return tf.constant(logits, tf.float32), [(keys, keys)]

    def state(self, whole: np.ndarray) -> np.ndarray:
        """Return the token that follows: 2s + token + 1 modulo V, over all tokens."""
        state = np.zeros(len(whole), int)
        for column in whole.T:
            state = (2 * state + column + 1) % self.vocab
        return state

    def expected(self, prompt: np.ndarray, count: int) -> np.ndarray:
        for _ in range(count):
            prompt = np.concatenate([prompt, self.state(prompt)[:, None]], 1)
        return prompt[:, -count:]
