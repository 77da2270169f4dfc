"""Checks of practice 7.1: positions, masked attention, heads, an encoder block, a classifier of Korean reviews."""

import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from scipy.special import log_softmax, softmax

from tf_study.data import unseen
from tf_study.expect import (
    expect,
    expect_accuracy,
    expect_array,
    expect_close,
    expect_logits,
    expect_parts,
    expect_trainable,
    expect_type,
)
from tf_study.practice import TRAINING_SECONDS, problem
from tf_study.profile import pick

TARGET = pick(small=0.80, full=0.82)


@problem("위치 인코딩", minutes=5)
def positional_encoding(answer):
    """Every entry against the formula in Python's own floats."""
    for length, depth in ((2, 4), (1, 2), (7, 6), (3, 10), (50, 8), (400, 64), (5, 128)):
        case = f"positional_encoding({length}, {depth})"
        powers = [10000 ** (2 * (j // 2) / depth) for j in range(depth)]
        own = [10000 ** (j / depth) for j in range(depth)]
        expected = _wave(range(length), powers)
        mistakes = {
            "사인과 코사인이 바뀌었습니다.": expected.reshape(length, -1, 2)[..., ::-1].reshape(
                length, depth
            ),
            "사인을 앞에, 코사인을 뒤에 이어 붙였습니다. 한 열씩 번갈아 놓으세요.": np.hstack(
                [expected[:, ::2], expected[:, 1::2]]
            ),
            "코사인의 지수에 홀수 열의 번호를 썼습니다. 한 짝의 지수는 같습니다.": _wave(range(length), own),
            "첫 자리의 번호는 0입니다.": _wave(range(1, length + 1), powers),
            "지수의 분모는 d입니다.": _wave(range(length), [p ** (1 / 2) for p in powers]),
        }
        # Angles in float32, as PyTorch's tutorials compute them, are off by up to 3e-5 at position 400.
        expect_close(answer(length, depth), expected, case, tol=1e-4, dtype="float32", mistakes=mistakes)


def _wave(positions, powers: list[float]) -> np.ndarray:
    """Return sin at the even and cos at the odd columns of position / power."""
    return np.array([[(math.sin, math.cos)[j % 2](p / w) for j, w in enumerate(powers)] for p in positions])


@problem("마스크가 있는 어텐션", minutes=10)
def attention(answer):
    """One query at a time over the keys it may see, the others left out."""
    q, k = tf.constant([[1.0]]), tf.constant([[np.log(3.0)], [0.0], [5.0]], tf.float32)
    v = tf.constant([[4.0], [8.0], [100.0]])
    got = expect_parts(answer(q, k, v, tf.constant([[True, True, False]])), ("출력", "가중치"), "예시")
    expect_close(got[1], [[0.75, 0.25, 0.0]], "예시: 가중치")
    expect_close(got[0], [[5.0]], "예시: 출력")
    k, seen = tf.constant([[300.0], [-300.0], [-301.0]]), tf.constant([[False, True, True]])
    got = expect_parts(answer(q, k, v, seen), ("출력", "가중치"), "가린 키의 점수가 훨씬 큼")
    expect_close(got[1], [[0.0, 0.731059, 0.268941]], "가린 키의 점수가 훨씬 큼: 가중치", tol=1e-4)
    rng = np.random.default_rng(701)
    ragged = np.arange(6) < np.array([6, 3, 1])[:, None]  # (3, 6)
    for case, (front, sizes, mask, scale) in {
        "마스크 없음 (T, d)": ((), (4, 5, 3, 2), None, 1.0),
        "마스크 없음 (B, h, T, d)": ((2, 3), (4, 5, 2, 3), None, 1.0),
        "(B, T, S) 마스크": ((3,), (2, 6, 4, 5), np.repeat(ragged[:, None], 2, 1), 1.0),
        "(B, 1, S)로 온 마스크": ((3,), (5, 6, 4, 4), ragged[:, None], 1.0),
        "헤드가 있고 (B, 1, 1, S)로 온 마스크": ((3, 2), (4, 6, 3, 2), ragged[:, None, None], 1.0),
        "인과 마스크 (T, S)": ((2,), (6, 6, 2, 3), np.tri(6, dtype=bool), 1.0),
        "모두 가린 쿼리": ((2,), (3, 4, 2, 3), rng.random((2, 3, 4)) < [[[0.5], [0.0], [0.6]]], 1.0),
        "아주 큰 점수": ((2,), (3, 6, 4, 2), ragged[None, 0] & (np.arange(6) % 2 == 0), 100.0),
        "d = 1, 값은 9차원": ((2,), (3, 6, 1, 9), ragged[:2, None], 1.0),
    }.items():
        t, s, d, e = sizes
        q, k, v = (rng.normal(size=(*front, *size)).astype("float32") for size in ((t, d), (s, d), (s, e)))
        k *= scale
        seen = np.broadcast_to(True if mask is None else mask, (*front, t, s))
        weights = _weights(q, k, seen, d**-0.5)
        every = softmax(q @ np.swapaxes(k, -1, -2) * d**-0.5, axis=-1)
        mistakes = {
            "점수를 √d로 나누지 않았습니다.": _weights(q, k, seen, 1.0),
            "점수를 √d가 아니라 d로 나누었습니다.": _weights(q, k, seen, 1 / d),
            "가린 키까지 보았습니다.": every,
            "소프트맥스 뒤에 가리기만 해서 가중치의 합이 1이 아닙니다.": every * seen,
            "마스크의 참과 거짓이 바뀌었습니다.": _weights(q, k, ~seen, d**-0.5),
            "볼 수 있는 키가 없는 쿼리의 가중치는 0이어야 합니다.": weights
            + ~seen.any(-1, keepdims=True) / s,
        }
        inputs = [tf.constant(a) for a in (q, k, v)]
        got = answer(*inputs, None if mask is None else tf.constant(mask))
        got = expect_parts(got, ("출력", "가중치"), case)
        expect_close(got[1], weights, f"{case}: 가중치", tol=1e-4, mistakes=mistakes)
        hidden = float(np.abs(np.asarray(got[1])[~seen]).sum())
        expect(hidden == 0, f"{case}: 가린 키의 가중치가 정확히 0이어야 하는데 합이 {hidden:.2g}입니다.")
        expect_close(got[0], weights @ v, f"{case}: 출력", tol=1e-4)


def _weights(q, k, seen, scale: float) -> np.ndarray:
    """Return weights like ``seen``: a softmax over the visible keys alone, zeros elsewhere."""
    out = np.zeros(seen.shape)
    for row in np.ndindex(seen.shape[:-1]):
        chosen = np.flatnonzero(seen[row])
        if len(chosen):
            out[(*row, chosen)] = softmax(k[row[:-1]][chosen].astype(float) @ q[row] * scale)
    return out


@problem("멀티헤드 어텐션", minutes=10)
def multi_head(answer):
    """The output and the weights against Keras' layer with the same matrices."""
    rng = np.random.default_rng(702)
    for case, (lengths, d, heads, key, value, out) in {
        "(B, T, d) = (3, 5, 6), 헤드 2": ([5, 3, 1], 6, 2, 3, 3, 6),
        "헤드 하나": ([4, 2], 4, 1, 4, 4, 4),
        "T = h = 4": ([4, 3], 8, 4, 2, 2, 8),
        "헤드의 값이 키보다 넓음": ([6, 2, 4], 5, 3, 2, 4, 5),
        "출력의 차원이 다름": ([3, 3], 6, 2, 5, 1, 7),
        "문장 하나": ([2], 4, 2, 2, 2, 4),
    }.items():
        steps = max(lengths)
        x = rng.normal(size=(len(lengths), steps, d)).astype("float32")
        real = np.arange(steps) < np.array(lengths)[:, None]
        layer = layers.MultiHeadAttention(heads, key, value_dim=value, use_bias=False, output_shape=out)
        layer(x, x)
        matrices = [rng.normal(size=w.shape).astype("float32") for w in layer.get_weights()]
        layer.set_weights(matrices)

        def run(mask, layer=layer, x=x):
            pair = layer(x, x, attention_mask=mask, return_attention_scores=True)
            return [np.asarray(part) for part in pair]

        expected, weights = run(tf.constant(real)[:, None])
        flat = [m.reshape(d, -1) for m in matrices[:3]] + [matrices[3].reshape(-1, out)]
        arguments = [tf.constant(a) for a in (x, real, *flat)]
        got = expect_parts(answer(*arguments, heads), ("출력", "가중치"), case)
        about = {
            "채운 자리를 가리지 않았습니다.": run(None)[1],
            "reshape만으로 헤드를 나누어 자리가 섞였습니다.": _scrambled(x, real, flat, heads),
        }
        expect_close(got[1], weights, f"{case}: 가중치", tol=1e-4, mistakes=about)
        values = (x @ flat[2]).reshape(*x.shape[:2], heads, value)
        joined = np.einsum("bhts,bshe->bhte", weights, values)
        about = {
            "출력 행렬 W^O를 곱하지 않았습니다.": np.swapaxes(joined, 1, 2).reshape(*x.shape[:2], -1),
            "축을 되돌리지 않고 합쳐 자리가 섞였습니다.": joined.reshape(*x.shape[:2], -1) @ flat[3],
        }
        expect_close(got[0], expected, f"{case}: 출력", tol=1e-4, mistakes=about)


def _scrambled(x, real, flat: list, heads: int) -> np.ndarray:
    """Return the weights that come of reshaping (B, T, hk) straight to (B, h, T, k)."""
    b, t, _ = x.shape
    q, k = ((x @ w).reshape(b, heads, t, -1) for w in flat[:2])
    return _weights(q, k, np.broadcast_to(real[:, None, None], (b, heads, t, t)), q.shape[-1] ** -0.5)


@problem("인코더 블록", minutes=10)
def EncoderBlock(answer):  # noqa: N802 (named after the learner's class)
    """Each sentence alone in double precision, without its padding; then where dropout acts."""
    rng = np.random.default_rng(703)
    for case, (lengths, d, heads, d_ff) in {
        "(B, T, d) = (3, 5, 8), 헤드 2": ([5, 3, 1], 8, 2, 16),
        "헤드 하나, 좁은 FFN": ([2, 4], 4, 1, 3),
        "문장 하나": ([6], 6, 3, 12),
        "모두 짧아 끝이 다 채워짐": ([2, 1], 4, 2, 8),
    }.items():
        steps = max(lengths) + ("짧아" in case) * 2
        x = rng.normal(1, 2, size=(len(lengths), steps, d)).astype("float32")
        real = np.arange(steps) < np.array(lengths)[:, None]
        block = answer(d, heads, d_ff, 0.5)
        _called(block, x[:1], real[:1], "처음 부름")
        expect(all(norm.built for norm in block.norms), f"{case}: self.norms의 두 층을 모두 써야 합니다.")
        _draw(block, rng)
        out = _called(block, x, real, case)
        for row, n in enumerate(lengths):
            expected = _block(block, x[row, :n])
            mistakes = {
                "정규화를 더한 뒤에 했습니다(post-norm).": _block(block, x[row, :n], post=True),
                "둘째 정규화를 빠뜨렸거나 첫째를 다시 썼습니다.": _block(block, x[row, :n], norms=(0, 0)),
                "둘째 정규화를 빠뜨렸거나 첫째를 다시 썼습니다. ": _block(block, x[row, :n], norms=(0, None)),
                "첫째 정규화를 빠뜨렸습니다.": _block(block, x[row, :n], norms=(None, 1)),
                "잔차 연결이 모자랍니다.": _block(block, x[row, :n], skip=False),
                "채운 자리를 보았습니다.": _block(block, x[row])[:n],
            }
            text = f"{case}: 길이 {n}인 문장"
            expect_close(out[row, :n], expected, text, tol=1e-4, mistakes=mistakes)
        noisy = np.where(real[..., None], x, 50 * rng.normal(size=x.shape)).astype("float32")
        again = _called(block, noisy, real, case)
        expect_close(again[real], out[real], f"{case}: 채운 자리의 값을 바꾼 뒤의 진짜 자리", tol=1e-4)
        order = rng.permutation(lengths[0])
        mixed = _called(block, x[:1, order], real[:1, : lengths[0]], case)
        expect_close(mixed[0], out[0, order], f"{case}: 순서를 섞은 입력", tol=1e-4)
        if d == 8:  # Other sizes do not change dropout.
            _dropped(answer, rng)


def _called(block, x, real, case: str, **options) -> np.ndarray:
    got = block(tf.constant(x), tf.constant(real), **options)
    got = expect_array(got, case)
    expect(got.shape == x.shape, f"{case}: 모양이 {x.shape}이어야 하는데 {got.shape}입니다.")
    return got


def _draw(layer, rng: np.random.Generator) -> None:
    """Draw every weight, biases and scales too, so that leaving one out shows."""
    layer.set_weights([0.5 * rng.normal(size=w.shape) for w in layer.get_weights()])


def _norm(x, layer) -> np.ndarray:
    gamma, beta = layer.get_weights()
    return gamma * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) + beta


def _block(block, x, post: bool = False, norms=(0, 1), skip: bool = True) -> np.ndarray:
    """Compute one sentence (T, d) without padding; the options make known mistakes."""

    def attend(z):
        w_q, b_q, w_k, b_k, w_v, b_v, w_o, out = block.attention.get_weights()
        for h in range(w_q.shape[1]):
            q, k, v = (z @ w[:, h] + b[h] for w, b in ((w_q, b_q), (w_k, b_k), (w_v, b_v)))
            out = out + softmax(q @ k.T / np.sqrt(q.shape[1]), axis=-1) @ v @ w_o[h]
        return out

    def feed(z):
        (w_1, b_1), (w_2, b_2) = block.widen.get_weights(), block.narrow.get_weights()
        return np.maximum(z @ w_1 + b_1, 0) @ w_2 + b_2

    x = x.astype(float)
    for part, index in zip((attend, feed), norms, strict=True):

        def normed(z, index=index):
            return z if index is None else _norm(z, block.norms[index])

        x = normed(x + part(x)) if post else (x if skip else 0.0) + part(normed(x))
    return x


def _dropped(answer: Callable, rng: np.random.Generator) -> None:
    """With one branch silenced, the other must be dropped or doubled entry by entry, and x kept."""
    x, real = rng.normal(size=(2, 30, 8)).astype("float32"), np.ones((2, 30), bool)
    for case, silent in (("어텐션", "narrow"), ("FFN", "attention")):
        block = answer(8, 2, 16, 0.5)
        _called(block, x, real, "학습 모드")
        _draw(block, rng)
        layer = getattr(block, silent)
        *others, kernel, bias = layer.get_weights()
        layer.set_weights([*others, 0 * kernel, 0 * bias])
        branch = _called(block, x, real, "추론 모드") - x
        change = _called(block, x, real, "학습 모드", training=True) - x
        gone, doubled = np.abs(change) < 1e-4, np.abs(change - 2 * branch) < 1e-3
        expect(gone.mean() > 0.3, f"학습 모드: {case}의 결과에 드롭아웃이 걸리지 않았습니다.")
        expect(
            (gone | doubled).all(),
            f"학습 모드: 드롭아웃은 {case}의 결과에만 걸고 잔차 연결의 입력에는 걸지 않습니다.",
        )


@problem("채운 자리를 뺀 평균", minutes=5)
def masked_mean(answer):
    """The mean of the real rows taken one sentence at a time."""
    rng = np.random.default_rng(704)
    cases = {
        "예시": (np.array([[[2.0], [4.0], [9.0]]]), np.array([[True, True, False]])),
        "뒤를 채움": (rng.normal(2, 1, (3, 5, 4)), np.arange(5) < np.array([5, 3, 1])[:, None]),
        "진짜 토큰이 없는 문장": (rng.normal(2, 1, (2, 3, 2)), np.array([[False] * 3, [True, False, False]])),
        "앞과 가운데를 채움": (rng.normal(-3, 1, (4, 6, 3)), rng.random((4, 6)) < 0.5),
        "채운 자리가 아주 큼": (np.array([[[1.0, -1.0], [1e6, 1e6]]]), np.array([[True, False]])),
        "토큰이 하나": (rng.normal(size=(2, 1, 5)), np.ones((2, 1), bool)),
    }
    for case, (x, real) in cases.items():
        for dtype in ("float32", "float64"):
            pairs = list(zip(x.astype(dtype), real, strict=True))
            expected = [row[m].mean(0) if m.any() else np.zeros(x.shape[2]) for row, m in pairs]
            blank = x * real[..., None]
            mistakes = {
                "채운 자리까지 평균했습니다.": x.mean(1),
                "진짜 토큰의 수가 아니라 T로 나누었습니다.": blank.mean(1),
                "더하기만 하고 나누지 않았습니다.": blank.sum(1),
                "진짜 토큰의 수가 아니라 앞에서부터 그 수만큼 더했습니다.": [
                    row[: m.sum()].sum(0) / max(1, m.sum()) for row, m in pairs
                ],
            }
            got = answer(tf.constant(x, dtype), tf.constant(real))
            expect_close(got, expected, f"{case}({dtype})", dtype=dtype, mistakes=mistakes)


@problem("트랜스포머 분류기", minutes=15)
def TextClassifier(answer):  # noqa: N802 (named after the learner's class)
    """Logits of each sentence alone in double precision, the parameter count, padding, order, dropout."""
    rng = np.random.default_rng(705)
    for case, (v, c, d, heads, d_ff, n) in {
        "예시": (10, 3, 8, 2, 16, 2),
        "블록 하나, 클래스 둘": (7, 2, 4, 1, 5, 1),
        "블록 셋": (12, 5, 6, 3, 8, 3),
    }.items():
        model = answer(vocab=v, classes=c, d=d, heads=heads, d_ff=d_ff, blocks=n, dropout=0.5)
        expect_type(model, keras.Model, case)
        sentences = [rng.integers(1, v, size) for size in (5, 3, 1, 4)]
        ids = np.array([np.pad(s, (0, 5 - len(s))) for s in sentences])
        expect_logits(model(tf.constant(ids)), (4, c), case)
        count = v * d + n * (4 * (d * d + d) + 2 * d * d_ff + d_ff + d + 4 * d) + 2 * d + (d + 1) * c
        real = model.count_params()
        expect(real == count, f"{case}: 파라미터가 {count}개여야 하는데 {real}개입니다.")
        expect_trainable(model, case)
        _draw(model, rng)
        got = expect_logits(model(tf.constant(ids)), (4, c), case)
        expected = [_logits(model, s) for s in sentences]
        for s, right, mine in zip(sentences, expected, got, strict=True):

            def mistakes(model=model, s=s, right=right, d=d):
                return {
                    "로짓이 아니라 확률입니다.": softmax(right),
                    "로짓이 아니라 로그 확률입니다.": log_softmax(right),
                    "임베딩에 √d를 곱하지 않았습니다.": _logits(model, s, scale=1.0),
                    "위치 인코딩을 더하지 않았습니다.": _logits(model, s, position=0.0),
                    "위치 인코딩에도 √d를 곱했습니다.": _logits(model, s, position=d**0.5),
                    "마지막 층 정규화를 빠뜨렸습니다.": _logits(model, s, last=False),
                    "첫 토큰의 벡터만 썼습니다.": _logits(model, s, first=True),
                    "채운 자리를 읽었습니다.": _logits(model, np.pad(s, (0, 5 - len(s)))),
                }

            text = f"{case}: 토큰 {len(s)}개 뒤에 0이 {5 - len(s)}개인 문장"
            expect_close(mine, right, text, tol=1e-4, mistakes=mistakes)
        if case != "예시":  # Other sizes change neither padding nor dropout.
            continue
        wider = model(tf.constant(np.pad(ids, ((0, 0), (0, 4)))))
        expect_close(wider, expected, f"{case}: 0을 더 채운 로짓", tol=1e-4)
        expect_close(model(tf.constant(ids[2:3, :2])), expected[2:3], f"{case}: 토큰 하나", tol=1e-4)
        empty = expect_logits(model(tf.constant(np.zeros((1, 3), int))), (1, c), f"{case}: 빈 문장")
        expect_close(empty[0], model.head.get_weights()[1], f"{case}: 빈 문장의 로짓(편향만)")
        _both_dropouts(answer, rng)


def _logits(model, ids, scale=None, position=1.0, last=True, first=False) -> np.ndarray:
    """Compute the logits of one sentence (T,); the options make known mistakes."""
    table = model.embedding.get_weights()[0].astype(float)
    d = table.shape[1]
    wave = _wave(range(len(ids)), [10000 ** (2 * (j // 2) / d) for j in range(d)])
    x = (d**0.5 if scale is None else scale) * table[ids] + position * wave
    for block in model.blocks:
        x = _block(block, x)
    x = _norm(x, model.norm) if last else x
    kernel, bias = model.head.get_weights()
    return (x[0] if first else x.mean(0)) @ kernel + bias


def _both_dropouts(answer: Callable, rng: np.random.Generator) -> None:
    """Without blocks and with the identity as head, the pooled vector is the output itself."""
    d = 32
    model = answer(vocab=9, classes=d, d=d, heads=2, d_ff=4, blocks=0, dropout=0.5)
    ids = tf.constant(rng.integers(1, 9, (50, 6)))
    model(ids)
    model.head.set_weights([np.eye(d), np.zeros(d)])
    still, moved = np.asarray(model(ids)), np.asarray(model(ids, training=True))
    expect_close(model(ids), still, "추론 모드에서 두 번 부름")
    zeros = np.mean(np.abs(moved) < 1e-9)
    expect(0.3 < zeros < 0.7, "학습 모드: 마지막 완전 연결 층 앞에 드롭아웃이 걸리지 않았습니다.")
    kept = np.abs(moved) > 1e-9
    same = np.abs(moved - 2 * still)[kept].max() < 1e-3
    expect(not same, "학습 모드: 임베딩과 위치를 더한 곳에 드롭아웃이 걸리지 않았습니다.")
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
    losses = [float(model.train_on_batch(ids, tf.zeros((50, d)))) for _ in range(2)]
    expect(losses[0] != losses[1], "fit에서 드롭아웃이 꺼집니다. call에 training 인자가 있는지 보세요.")


@problem("리뷰 분류", minutes=15, seconds=TRAINING_SECONDS)
def classify(answer):
    """Accuracy on reviews that no loader returns, in another order, alone and few at a time.

    What protects the verdict, and what does not, is said in ``tf_study/data/unseen.py``.
    """
    texts, labels = unseen.reviews("ko")
    hint = "학습률의 예열, 드롭아웃, 에포크 수를 바꾸어 보세요."
    logits = expect_accuracy(answer, texts, labels, TARGET, "처음 보는 리뷰", hint)
    expect(
        logits.ndim == 2, f"처음 보는 리뷰: 로짓의 모양이 ({len(texts)}, 2)여야 하는데 {logits.shape}입니다."
    )
