"""Checks of practice 16.2, gated linear attention: float64 loops, known mistakes by name, a clock that is no clock.

Shapes: batch B, heads H, tokens T, key size K, value size V. q, k and the log gates g are (B, H, T, K), v is
(B, H, T, V), a state (B, H, K, V).
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.random import default_rng
from scipy.special import expit, log_expit, log_softmax, softmax

from tf_study.expect import expect, expect_array, expect_close, expect_parts, expect_type
from tf_study.practice import problem

EPS, TAU = 1e-5, 16.0  # of the layer
LONG, CHUNK = 1024, 16  # tokens at which exponents of the whole sequence overflow, and the chunk that is safe


def _float(*arrays) -> list[np.ndarray]:
    return [np.asarray(x, float) for x in arrays]


def _inputs(rng, shape: Sequence[int], values: int, tau: float = TAU) -> list[np.ndarray]:
    """q, k, v and log gates; ``shape`` is (..., T, K)."""
    q, k = rng.normal(size=(2, *shape)) / shape[-1] ** 0.25
    v = rng.normal(size=(*shape[:-1], values))
    return [x.astype("f") for x in (q, k, v, log_expit(rng.normal(size=shape) + 1) / tau)]


def _scan(q, k, v, g, state=None, late=False, early_read=False, skip_first=False):
    """The recurrence token by token, (..., T, K) → outputs and the last state; the options are mistakes."""
    q, k, v, g = _float(q, k, v, g)
    S, out = np.zeros((*k.shape[:-2], k.shape[-1], v.shape[-1])), []
    S = S if state is None else np.asarray(state, float)
    for t in range(q.shape[-2]):
        keep = np.exp(g[..., t, :, None]) * (not (skip_first and t == 0)) + (skip_first and t == 0)
        write, before = k[..., t, :, None] * v[..., t, None, :], S
        S = keep * (S + write) if late else keep * S + write
        out.append(np.einsum("...k,...kv->...v", q[..., t, :], before if early_read else S))
    return np.stack(out, -2), S


def _scores(q, k, v, g, low=0, shift=0, sign=1.0, on_keys=True, axis=-2, masked=True) -> np.ndarray:
    """The product of matrices, in float64; the options are mistakes."""
    q, k, v, g = _float(q, k, v, g)
    b = sign * (np.cumsum(g, axis) - shift * g)
    scores = (q * np.exp(b)) @ np.swapaxes(k * np.exp(-b) if on_keys else k, -1, -2)
    return (np.tril(scores, low) if masked else scores) @ v


def _softmax(q, k, v, g) -> np.ndarray:
    """What a softmax over the gated scores gives, in float64."""
    b = np.cumsum(g, -2)
    scores = (q * np.exp(b)) @ np.swapaxes(k * np.exp(-b), -1, -2)
    seen = np.tril(np.ones(scores.shape[-2:], bool))
    return softmax(np.where(seen, scores, -np.inf), -1) @ v


def _expect_slopes(answer: Callable, given: Sequence, reference: Callable, names: Sequence[str]) -> None:
    """Gradients of a weighted sum along a random direction, against a difference of the float64 reference."""
    rng = default_rng(7)
    tensors = [tf.constant(part) for part in given]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        out = answer(*tensors)
        weights = rng.normal(size=out.shape)
        total = tf.reduce_sum(out * tf.constant(weights, out.dtype))
    for i, (name, slope) in enumerate(zip(names, tape.gradient(total, tensors), strict=True)):
        expect(slope is not None, f"{name}로 기울기가 흐르지 않습니다. TensorFlow의 연산으로 작성하세요.")
        ahead, ends = rng.normal(size=given[i].shape), []
        for sign in (1, -1):
            moved = [part + sign * 1e-5 * ahead if j == i else part for j, part in enumerate(given)]
            ends.append(np.sum(weights * reference(*moved)))
        expect_close(np.sum(slope * ahead), (ends[0] - ends[1]) / 2e-5, f"{name}의 기울기", tol=1e-3)


# -- the gate and the recurrence -----------------------------------------------------------------------


@problem("로그 게이트", minutes=5)
def log_gate(answer):
    """The divisor as it is and given; logits at which a sigmoid is 0 or 1."""
    rng = default_rng(1621)
    for shape, size, tau in (
        ((2, 3), 2.0, None),
        ((4,), 3.0, 4.0),
        ((2, 1, 5), 200.0, None),
        ((3, 2), 1.0, 1.0),
    ):
        case = f"logits {shape}" + (f", tau {tau:g}" if tau else "") + (", 아주 큰 값" if size > 100 else "")
        x, divisor = (size * rng.normal(size=shape)).astype("f"), tau or TAU
        log = log_expit(x.astype(float))

        def mistakes(x=x, log=log, divisor=divisor):
            return {
                "로그가 없습니다. 시그모이드의 로그를 나눕니다.": np.exp(log) / divisor,
                "게이트 그 자체입니다. 그 로그를 돌려주세요.": np.exp(log / divisor),
                "tau를 곱했습니다. 나눕니다.": log * divisor,
                "tau로 나누지 않았습니다.": log,
                "받은 tau가 아니라 16으로 나누었습니다.": log / TAU,
                "부호가 반대라 게이트가 1보다 큽니다. 로그 게이트는 0 이하입니다.": -log / divisor,
                "1 - 시그모이드의 로그입니다.": log_expit(-x) / divisor,
                "로짓을 먼저 tau로 나누었습니다. 로그 시그모이드를 구한 다음 나눕니다.": log_expit(
                    x / divisor
                ),
                "채널 사이의 소프트맥스입니다. 채널마다 따로 잊습니다.": log_softmax(x.astype(float), -1)
                / divisor,
            }

        got = answer(tf.constant(x)) if tau is None else answer(tf.constant(x), tau)
        expect_close(got, log / divisor, case, tol=1e-5, dtype="float32", mistakes=mistakes)
    x = rng.normal(size=(3, 4)).astype("f")
    _expect_slopes(lambda logits: answer(logits), [x], lambda x: log_expit(x) / TAU, ["logits"])


def _step_mistakes(q, k, v, g, S) -> dict:
    """Outputs and states of known mistakes, of one token."""
    q, k, v, g, S = _float(q, k, v, g, S)
    keep, write = np.exp(g)[..., None], k[..., :, None] * v[..., None, :]
    states = {
        "새로 적은 것까지 흐리게 했습니다. 앞의 상태만 흐리게 하고 더합니다.": keep * (S + write),
        "로그 게이트를 그대로 곱했습니다. 지수 함수가 먼저입니다.": g[..., None] * S + write,
        "앞의 상태를 흐리게 하지 않았습니다.": S + write,
        "로그 게이트의 부호가 반대입니다. 게이트는 1 이하입니다.": S / keep + write,
        "적는 양에 1 - 게이트를 곱했습니다. 그대로 더합니다.": keep * S + (1 - keep) * write,
    }
    if k.shape == v.shape:
        states["게이트를 값의 축에 곱했습니다. 키의 축에 곱합니다."] = np.exp(g)[..., None, :] * S + write
        states["v kᵀ를 적었습니다. 상태는 (K, V)이므로 k vᵀ입니다."] = keep * S + np.swapaxes(write, -1, -2)
    return states


@problem("한 토큰의 상태", minutes=5)
def step(answer):
    """K equal to V, where transposed answers have the right shape, and not; the output and the state."""
    rng = default_rng(1622)
    for B, H, K, V in ((2, 3, 4, 4), (2, 1, 1, 6), (1, 2, 5, 3)):
        case = f"B {B}, H {H}, K {K}, V {V}"
        q, k, v, g = (part[:, :, 0] for part in _inputs(rng, (B, H, 1, K), V, tau=2.0))
        S = rng.normal(size=(B, H, K, V)).astype("f")
        given = [q, k, v, g, S]
        expected = np.exp(g.astype(float))[..., None] * S + k[..., :, None].astype(float) * v[..., None, :]
        read = lambda state, q=q: np.einsum("bhk,bhkv->bhv", q.astype(float), state)  # noqa: E731
        got = expect_parts(answer(*map(tf.constant, given)), ("출력", "상태"), case)

        def state_mistakes(given=given):
            return _step_mistakes(*given)

        def output_mistakes(given=given, read=read, expected=expected):
            found = {f"상태가 다릅니다: {text}": read(S) for text, S in _step_mistakes(*given).items()}
            found["고치기 전의 상태를 읽었습니다. 적은 다음 읽습니다."] = read(given[4])
            found["방금 적은 것을 읽지 않았습니다. 흐리게만 한 상태가 아니라 더한 상태를 읽습니다."] = read(
                np.exp(given[3].astype(float))[..., None] * given[4]
            )
            if given[1].shape == given[2].shape:
                across = np.einsum("bhv,bhkv->bhk", given[0], expected)
                found["상태를 값의 축으로 읽었습니다. q와 키의 축을 곱해 더합니다."] = across
            return found

        expect_close(got[1], expected, f"{case}, 상태", tol=1e-5, dtype="float32", mistakes=state_mistakes)
        expect_close(got[0], read(expected), f"{case}, 출력", tol=1e-5, mistakes=output_mistakes)

    def reference(q, k, v, g, S):
        q, k, v, g = (x[..., None, :] for x in (q, k, v, g))
        return _scan(q, k, v, g, S)[0][..., 0, :]

    _expect_slopes(lambda *x: answer(*x)[0], given, reference, ("q", "k", "v", "g", "S"))


@problem("시퀀스와 마지막 상태", minutes=5)
def recurrent(answer):
    """From nothing and from a state, one token and many; both halves of a sequence give the whole."""
    rng = default_rng(1623)
    for (B, H, T, K, V), start in (
        ((2, 2, 7, 4, 3), False),
        ((1, 3, 5, 4, 4), True),
        ((2, 1, 1, 3, 2), True),
    ):
        case = f"T {T}, K {K}, V {V}" + (", 앞의 상태에서" if start else "")
        given = _inputs(rng, (B, H, T, K), V, tau=2.0)
        state = rng.normal(size=(B, H, K, V)).astype("f") if start else None
        extra = [] if state is None else [tf.constant(state)]
        out, S = _scan(*given, state)
        got = expect_parts(answer(*map(tf.constant, given), *extra), ("출력", "상태"), case)

        def mistakes(part, given=given, state=state, start=start):
            found = {"새로 적은 것까지 흐리게 했습니다.": _scan(*given, state, late=True)}
            found["고치기 전의 상태를 읽었습니다."] = _scan(*given, state, early_read=True)
            if start:
                found["앞의 상태를 받지 않고 0에서 시작했습니다."] = _scan(*given)
                found["첫 토큰의 게이트를 앞의 상태에 곱하지 않았습니다."] = _scan(
                    *given, state, skip_first=True
                )
            return {text: pair[part] for text, pair in found.items()}

        expect_close(
            got[0], out, f"{case}, 출력", tol=1e-5, dtype="float32", mistakes=lambda m=mistakes: m(0)
        )
        expect_close(got[1], S, f"{case}, 상태", tol=1e-5, mistakes=lambda m=mistakes: m(1))
    given, state = _inputs(rng, (1, 2, 6, 3), 4, tau=2.0), rng.normal(size=(1, 2, 3, 4)).astype("f")
    _expect_slopes(
        lambda *x: answer(*x)[0], [*given, state], lambda *x: _scan(*x)[0], ("q", "k", "v", "g", "state")
    )


# -- products of matrices ------------------------------------------------------------------------------


@problem("행렬 곱으로", minutes=10)
def parallel(answer):
    """No axis in front, two and three; one token; equal to the loop; gradients pass."""
    rng = default_rng(1624)
    for shape, values in (
        ((2, 3, 9, 4), 5),
        ((6, 4), 4),
        ((2, 1, 3, 8, 3), 2),
        ((1, 2, 1, 4), 3),
        ((1, 8, 8), 8),
    ):
        case = f"q {shape}, V {values}"
        given = _inputs(rng, shape, values, tau=2.0)
        expected, _ = _scan(*given)

        def mistakes(given=given):
            q, k, v, g = _float(*given)
            return {
                "마스크가 없어 뒤의 토큰까지 더했습니다.": _scores(*given, masked=False),
                "대각선까지 가렸습니다. 자기 자신의 값도 읽습니다.": _scores(*given, low=-1),
                "누적합에서 그 토큰의 게이트를 뺐습니다. b는 그 토큰까지의 합입니다.": _scores(
                    *given, shift=1
                ),
                "쿼리에만 지수를 곱했습니다. 키에는 exp(-b)를 곱합니다.": _scores(*given, on_keys=False),
                "지수의 부호가 반대입니다. 쿼리에 exp(b), 키에 exp(-b)입니다.": _scores(*given, sign=-1.0),
                "마스크의 위아래가 바뀌었습니다.": _scores(*given, masked=False) - _scores(*given, low=-1),
                "게이트를 쓰지 않았습니다.": _scores(q, k, v, 0 * g),
                "소프트맥스를 씌웠습니다. 선형 어텐션의 점수는 그대로 곱합니다.": _softmax(q, k, v, g),
                "누적합이 채널의 축입니다. 토큰의 축을 따라 더합니다.": _scores(*given, axis=-1),
                "게이트를 누적하지 않았습니다.": np.tril(
                    (q * np.exp(g)) @ np.swapaxes(k * np.exp(-g), -1, -2)
                )
                @ v,
                "채널마다의 게이트를 평균해 스칼라로 만들었습니다.": _scores(
                    q, k, v, np.repeat(g.mean(-1, keepdims=True), g.shape[-1], -1)
                ),
            }

        got = answer(*map(tf.constant, given))
        expect_close(got, expected, case, tol=1e-4, dtype="float32", mistakes=mistakes)
    given = _inputs(rng, (2, 5, 3), 4, tau=2.0)
    _expect_slopes(answer, given, lambda *x: _scan(*x)[0], ("q", "k", "v", "g"))


def _chunks(q, k, v, g, size, state=None, how="") -> tuple[np.ndarray, np.ndarray]:
    """Chunk by chunk in float64; ``how`` names a mistake."""
    q, k, v, g = _float(q, k, v, g)
    S = np.zeros((*k.shape[:2], k.shape[-1], v.shape[-1])) if state is None else np.asarray(state, float)
    out = []
    for start in range(0, q.shape[2], size):
        qc, kc, vc, gc = (x[:, :, start : start + size] for x in (q, k, v, g))
        b = np.cumsum(gc, 2)
        last = b[:, :, -1:]
        add = (
            np.swapaxes(
                kc * np.exp({"no add decay": 0 * b, "b for last": b, "sign": b - last}.get(how, last - b)),
                -1,
                -2,
            )
            @ vc
        )
        left = {"no decay": 0 * last, "one gate": gc[:, :, -1:]}.get(how, last)
        after = np.exp(left[:, :, 0, :, None]) * S + add
        read = after if how == "own state" else np.zeros_like(S) if how == "no state" else S
        out.append(_scores(qc, kc, vc, gc) + (qc if how == "no read decay" else qc * np.exp(b)) @ read)
        S = after
    return np.concatenate(out, 2), S


@problem("덩어리로 나누어", minutes=15)
def chunkwise(answer):
    """Chunks that fit and do not, a state before; long sequences stay finite and never make T x T numbers."""
    rng = default_rng(1625)
    cases = [((2, 2, 24, 4), 3, 8, False), ((1, 2, 20, 4), 4, 8, True), ((2, 1, 5, 3), 2, 16, True)]
    cases += [((1, 2, 6, 4), 3, 1, True), ((1, 1, 8, 4), 4, 8, False)]
    for shape, values, size, start in cases:
        case = f"T {shape[2]}, size {size}" + (", 앞의 상태에서" if start else "")
        given = _inputs(rng, shape, values, tau=2.0)
        state = rng.normal(size=(*shape[:2], shape[3], values)).astype("f") if start else None
        extra = [] if state is None else [tf.constant(state)]
        out, S = _scan(*given, state)
        got = expect_parts(answer(*map(tf.constant, given), size, *extra), ("출력", "상태"), case)

        def mistakes(part, given=given, size=size, state=state, S=S):
            names = {
                "덩어리 사이의 기억이 없습니다. 앞 덩어리의 상태를 읽어 더하세요.": "no state",
                "상태를 다음 덩어리로 넘길 때 흐리게 하지 않았습니다.": "no decay",
                "상태에 덩어리의 마지막 게이트 하나만 곱했습니다. 덩어리 전체의 게이트를 곱합니다.": "one gate",
                "덩어리의 키를 흐리게 하지 않고 상태에 더했습니다.": "no add decay",
                "상태에 더하는 키의 지수가 b입니다. 그 토큰 뒤의 게이트, 마지막 b에서 b를 뺀 것입니다.": "b for last",
                "상태에 더하는 키의 지수의 부호가 반대입니다. 마지막 b에서 b를 뺍니다.": "sign",
                "자기 덩어리를 더한 상태를 읽어 두 번 세었습니다. 더하기 전의 상태를 읽습니다.": "own state",
                "상태를 읽는 쿼리에 exp(b)를 곱하지 않았습니다.": "no read decay",
            }
            found = {text: _chunks(*given, size, state, how) for text, how in names.items()}
            if state is not None:
                found["앞의 상태를 받지 않고 0에서 시작했습니다."] = _scan(*given)
            found = {text: pair[part] for text, pair in found.items()}
            if part == 1:
                faded = np.exp(-given[3].shape[2] % size * given[3][:, :, -1, :, None].astype(float))
                found["채운 토큰이 상태를 흐리게 했습니다. 채운 로그 게이트는 0이어야 합니다."] = faded * S
            return found

        expect_close(
            got[0], out, f"{case}, 출력", tol=1e-4, dtype="float32", mistakes=lambda m=mistakes: m(0)
        )
        expect_close(got[1], S, f"{case}, 상태", tol=1e-4, mistakes=lambda m=mistakes: m(1))
    given, state = _inputs(rng, (1, 2, 7, 3), 2, tau=2.0), rng.normal(size=(1, 2, 3, 2)).astype("f")
    _expect_slopes(
        lambda *x: answer(*x[:4], 3, x[4])[0], [*given, state], lambda *x: _scan(*x)[0],
        ("q", "k", "v", "g", "state"),
    )  # fmt: skip
    _expect_long(answer, rng)


def _expect_long(answer: Callable, rng) -> None:
    """Gates that would overflow over the whole sequence, what the graph of the answer holds, stronger gates."""
    q, k, v, g = _inputs(rng, (1, 1, LONG, 8), 4, tau=1.0)
    _expect_finite(answer, (q, k, v, g), "보통의 게이트")
    graph = tf.function(lambda *x: answer(*x, CHUNK), autograph=False)
    made = graph.get_concrete_function(*map(tf.constant, (q, k, v, g))).graph.get_operations()
    shapes = [x.shape for op in made for x in op.outputs if x.shape.is_fully_defined()]
    largest = max(shapes, key=lambda shape: shape.num_elements())
    expect(
        largest.num_elements() < LONG * LONG // 4,
        f"T {LONG}, size {CHUNK}: 모양이 {tuple(largest)}인 텐서를 만들었습니다. 점수는 덩어리 안에서만 만드세요.",
    )
    _expect_finite(answer, (q, k, v, rng.uniform(-5, 0, g.shape).astype("f")), "센 게이트")


def _expect_finite(answer: Callable, given: Sequence, gates: str) -> None:
    case = f"T {LONG}, size {CHUNK}, {gates}"
    got = expect_parts(answer(*map(tf.constant, given), CHUNK), ("출력", "상태"), case)
    for name, part, expected in zip(("출력", "상태"), got, _scan(*given), strict=True):
        expect(
            np.isfinite(expect_array(part, f"{case}, {name}")).all(),
            f"{case}, {name}: 무한대나 NaN이 나왔습니다. 누적합을 덩어리마다 0에서 다시 시작하세요.",
        )
        expect_close(part, expected, f"{case}, {name}", tol=1e-3)


# -- the layer -----------------------------------------------------------------------------------------


def _rms(x, axis=-1) -> np.ndarray:
    return x / np.sqrt((x * x).mean(axis, keepdims=True) + EPS)


def _layer(layer, x, state=None, how="") -> tuple[np.ndarray, np.ndarray]:
    """The layer in float64 from its weights; ``how`` names a mistake."""
    x, H = np.asarray(x, float), layer.heads
    w = {name: np.asarray(getattr(layer, name).kernel, float) for name in PARTS}
    gain, bias = _float(layer.gain, layer.forget_up.bias)

    def split(a):
        if how == "reshape only":
            return a.reshape(len(a), H, a.shape[1], -1)
        if how == "inner heads":
            return np.moveaxis(a.reshape(*a.shape[:2], -1, H), 3, 1)
        return np.swapaxes(a.reshape(*a.shape[:2], H, -1), 1, 2)

    q, k, v = (split(x @ w[name]) for name in ("query", "key", "value"))
    logits = split(x @ w["forget_down"] @ w["forget_up"] + (0 if how == "no bias" else bias))
    g = log_expit(logits) / (1 if how == "no tau" else TAU)
    scale = {"no scale": 1.0, "scale V": v.shape[-1] ** -0.5, "scale K": 1 / k.shape[-1]}
    out, S = _scan(q * scale.get(how, k.shape[-1] ** -0.5), k, v, g, None if how == "no start" else state)
    merge = lambda a: np.swapaxes(a, 1, 2).reshape(*x.shape[:2], -1)  # noqa: E731
    gate = x @ w["swish"]
    gate = gate if how == "linear" else expit(gate) * (1 if how == "sigmoid" else gate)
    if how == "gate first":
        y = merge(_rms(out * split(gate)) * gain)
    elif how == "all heads":
        y = _rms(merge(out)) * np.tile(gain, H) * gate
    elif how == "no merge":
        y = (_rms(out) * gain).reshape(*x.shape[:2], -1) * gate
    else:
        out = out if how == "no norm" else _rms(out)
        y = merge(out if how == "no gain" else out * gain) * (1 if how == "no gate" else gate)
    return y @ w["out"], S


PARTS = ("query", "key", "value", "forget_down", "forget_up", "swish", "out")
LAYER_MISTAKES = {
    "헤드마다가 아니라 모든 헤드를 한꺼번에 정규화했습니다.": "all heads",
    "출력 게이트를 곱한 다음 정규화했습니다. 정규화가 먼저입니다.": "gate first",
    "쿼리에 K^(-1/2)를 곱하지 않았습니다.": "no scale",
    "쿼리를 K로 나누었습니다. K의 제곱근으로 나눕니다.": "scale K",
    "쿼리를 V의 제곱근으로 나누었습니다. 키의 크기 K입니다.": "scale V",
    "출력 게이트가 시그모이드입니다. SiLU입니다.": "sigmoid",
    "출력 게이트에 SiLU를 씌우지 않았습니다.": "linear",
    "출력 게이트를 곱하지 않았습니다.": "no gate",
    "정규화하지 않았습니다.": "no norm",
    "gain을 곱하지 않았습니다.": "no gain",
    "로그 게이트를 tau로 나누지 않았습니다. log_gate를 쓰세요.": "no tau",
    "게이트 로짓의 편향이 빠졌습니다. forget_up을 그대로 부르세요.": "no bias",
    "헤드를 나눌 때 축을 바꾸지 않고 모양만 바꾸었습니다.": "reshape only",
    "헤드를 나누는 순서가 다릅니다. 이웃한 성분이 한 헤드입니다.": "inner heads",
    "헤드를 합칠 때 축을 되돌리지 않고 모양만 바꾸었습니다.": "no merge",
    "앞의 상태를 받지 않고 0에서 시작했습니다.": "no start",
}


@problem("GLA 층", minutes=10)
def GatedLinearAttention(answer):  # noqa: N802 (named after the learner's class)
    """Random weights; inputs so small that the scale shows behind the norm; a state before; all weights learn."""
    rng = default_rng(1626)
    cases = (((2, 9, 16), 2, 4, 1.0, False), ((1, 6, 24), 4, 16, 1.0, True))
    cases += (((2, 5, 8), 1, 2, 1.0, False), ((1, 7, 32), 2, 4, 0.1, True), ((2, 1, 16), 2, 16, 1.0, True))
    for shape, heads, size, scale, start in cases:
        case = f"x {shape}, heads {heads}, size {size}" + ("" if scale == 1 else f", 크기 {scale:g}")
        case += ", 앞의 상태에서" if start else ""
        layer = answer(shape[-1], heads, size)
        expect_type(layer, keras.layers.Layer, case)
        for weight in layer.weights:
            weight.assign(
                rng.normal(size=weight.shape) * (weight.shape[0] ** -0.5 if len(weight.shape) > 1 else 1)
            )
        x = (scale * rng.normal(size=shape)).astype("f")
        K, V = shape[-1] // 2 // heads, shape[-1] // heads
        state = (scale**2 * rng.normal(size=(shape[0], heads, K, V))).astype("f") if start else None
        extra = [] if state is None else [tf.constant(state)]
        y, S = _layer(layer, x, state)
        got = expect_parts(layer(tf.constant(x), *extra), ("출력", "상태"), case)

        def mistakes(part, layer=layer, x=x, state=state):
            return {text: _layer(layer, x, state, how)[part] for text, how in LAYER_MISTAKES.items()}

        expect_close(got[0], y, f"{case}, 출력", tol=1e-4, dtype="float32", mistakes=lambda m=mistakes: m(0))
        expect_close(got[1], S, f"{case}, 상태", tol=1e-4, mistakes=lambda m=mistakes: m(1))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(tf.constant(x), *extra)[0] ** 2)
    weights = {name: getattr(layer, name).kernel for name in PARTS}
    weights |= {"forget_up의 편향": layer.forget_up.bias, "gain": layer.gain}
    for name, slope in zip(weights, tape.gradient(total, list(weights.values())), strict=True):
        expect(
            slope is not None, f"{case}: {name}의 기울기가 None입니다. TensorFlow의 연산으로만 작성하세요."
        )


# -- decoding and time ---------------------------------------------------------------------------------


class _Memory:
    """A layer that keeps half of its state and adds the token; it notes how many tokens each call brought."""

    def __init__(self):
        self.lengths: list[int] = []

    def __call__(self, x, state=None):
        x = np.asarray(x, float)
        self.lengths.append(x.shape[1])
        S, out = np.zeros((len(x), x.shape[2])) if state is None else np.asarray(state, float), []
        for t in range(x.shape[1]):
            S = S / 2 + x[:, t]
            out.append(S)
        out = np.stack(out, 1) if out else np.zeros_like(x)
        return tf.constant(out, tf.float32), tf.constant(S, tf.float32)


@problem("흘려보내며 읽기", minutes=5)
def stream(answer):
    """What is read, in what pieces, and from which state; a prompt of one token and of all."""
    rng = default_rng(1627)
    for shape, prompt in (((2, 7, 3), 4), ((1, 5, 2), 1), ((3, 4, 2), 4), ((1, 6, 4), 5)):
        case = f"x {shape}, prompt {prompt}"
        x, layer = rng.normal(size=shape).astype("f"), _Memory()
        wanted, state = map(np.asarray, _Memory()(x))
        got = expect_parts(answer(layer, tf.constant(x), prompt), ("출력", "상태"), case)

        def mistakes(x=x, prompt=prompt):
            first = _Memory()(x[:, :prompt])
            rest, alone, frozen = [], [], []
            S = None
            for t in range(prompt, x.shape[1]):
                y, S = _Memory()(x[:, t : t + 1], S)
                rest.append(y)
                alone.append(x[:, t : t + 1])
                frozen.append(_Memory()(x[:, t : t + 1], first[1])[0])
            return {
                "첫 토큰들을 읽은 상태를 이어받지 않았습니다.": np.concatenate([first[0], *rest], 1),
                "토큰마다 상태를 0에서 다시 시작했습니다.": np.concatenate([first[0], *alone], 1),
                "상태를 토큰마다 새것으로 바꾸지 않았습니다.": np.concatenate([first[0], *frozen], 1),
            }

        expect_close(got[0], wanted, f"{case}, 출력", tol=1e-5, mistakes=mistakes)
        expect_close(got[1], state, f"{case}, 상태", tol=1e-5)
        pieces, length = [prompt] + [1] * (shape[1] - prompt), shape[1]
        if layer.lengths != pieces:
            read = ", ".join(map(str, layer.lengths))
            if sum(layer.lengths) > length:
                cause = "이미 읽은 토큰을 다시 읽었습니다. 상태가 그 요약입니다."
            elif layer.lengths[0] == length:
                cause = f"모두 한 번에 읽었습니다. 한 번에 읽는 것은 처음 {prompt}개입니다."
            else:
                cause = f"처음 {prompt}개를 한 번에, 나머지는 하나씩 읽어야 합니다."
            expect(False, f"{case}: 층에 넣은 토큰의 수가 {read}입니다. {cause}")


class _Machine:
    """Work whose first run of a length is slow, and some later ones too; its clock shows what was spent."""

    def __init__(self, cost: Callable, slow: Callable):
        self.cost, self.slow, self.now, self.calls, self.looks = cost, slow, 3.5, {}, 0

    def run(self, length):
        count = self.calls[length] = self.calls.get(length, -1) + 1
        self.now += self.cost(length) * (50 if count == 0 else 4 if self.slow(length, count) else 1)

    def clock(self):
        self.looks += 1
        return self.now


def _slope(x, y) -> float:
    return float(np.polyfit(x, y, 1)[0])


@problem("시간이 느는 지수", minutes=5)
def growth(answer):
    """Powers, a sum of powers, a machine that is interrupted; only the third measured run is sure to be clean."""
    quiet = lambda length, count: False  # noqa: E731
    busy = lambda length, count: count in (1, 2)  # noqa: E731
    once = lambda length, count: count == 2  # noqa: E731
    cases = [("T²", lambda T: 1e-6 * T**2, (128, 256, 512), quiet)]
    cases += [("20,000 + T²", lambda T: 1e-5 * (2e4 + T**2), (64, 256, 512, 1024), once)]
    cases += [("T(다른 프로그램이 자주 끼어듦)", lambda T: 1e-4 * T, (100, 200, 800), busy)]
    for name, cost, lengths, slow in cases:
        case = f"걸리는 시간이 {name}인 일"
        times = np.array([cost(T) for T in lengths])
        machine = _Machine(cost, slow)
        got = expect_parts(answer(machine.run, lengths, machine.clock), ("지수", "시간"), case)
        expect(machine.looks, f"{case}: 받은 clock을 부르지 않았습니다. 다른 시계가 아니라 clock으로 재세요.")
        runs = min(machine.calls.get(T, -1) + 1 for T in lengths)
        expect(runs >= 4, f"{case}: 길이마다 한 번 실행해 두고 세 번을 재야 하는데 {runs}번 실행했습니다.")

        def time_mistakes(cost=cost, lengths=lengths, slow=slow, times=times):
            runs = [[cost(T) * (4 if slow(T, n) else 1) for n in (1, 2, 3)] for T in lengths]
            first = [[cost(T) * 50, *row[:2]] for T, row in zip(lengths, runs, strict=True)]
            return {
                "세 번의 평균입니다. 가장 짧은 시간을 남깁니다.": np.mean(runs, 1),
                "가운데 시간입니다. 가장 짧은 시간을 남깁니다.": np.median(runs, 1),
                "가장 긴 시간입니다. 가장 짧은 시간을 남깁니다.": np.max(runs, 1),
                "세 번을 더했습니다. 가장 짧은 시간을 남깁니다.": np.sum(runs, 1),
                "준비로 실행한 첫 번째까지 재어 평균했습니다.": np.mean(first, 1),
                "준비로 실행한 첫 번째까지 재었습니다.": np.min(first, 1),
                "한 번만 재었습니다. 세 번 재어 가장 짧은 시간을 남깁니다.": [row[0] for row in runs],
            }

        def mistakes(lengths=lengths, y=times):
            x = np.array(lengths, float)
            return {
                "로그를 취하지 않았습니다. 길이와 시간 모두 로그를 취합니다.": _slope(x, y),
                "길이의 로그를 취하지 않았습니다.": _slope(x, np.log(y)),
                "시간의 로그를 취하지 않았습니다.": _slope(np.log(x), y),
                "가로와 세로가 바뀌었습니다. 길이가 가로입니다.": _slope(np.log(y), np.log(x)),
                "처음과 마지막 길이만 썼습니다. 모든 점에 직선을 맞춥니다.": np.log(y[-1] / y[0])
                / np.log(x[-1] / x[0]),
                "기울기가 아니라 절편입니다.": np.polyfit(np.log(x), np.log(y), 1)[1],
                "시간의 비율을 길이의 비율로 나누었습니다. 로그의 비율입니다.": (y[-1] / y[0])
                / (x[-1] / x[0]),
            }

        expect_close(got[1], times, f"{case}, 시간", tol=1e-6, mistakes=time_mistakes)
        expected = _slope(np.log(lengths), np.log(times))
        expect_close(got[0], expected, f"{case}, 지수", tol=1e-5, mistakes=mistakes)
