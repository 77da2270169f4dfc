"""Checks of practice 14.2, AWQ: NumPy in float64 as the reference, weights (in, out), groups along the inputs.

What a scale search finds is also used: it quantizes a small Llama with planted outliers to three bits, and the
perplexity that is left is judged. Of the right search 0.72 of RTN's remains; of one that judges the weights' error
1.00, of scales from the weights' size 0.96, of the last exponent always 1.06, of scales turned upside down 4.2.
"""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.random import default_rng

from tf_study.checks import outliers
from tf_study.expect import (
    expect,
    expect_array,
    expect_close,
    expect_integers,
    expect_parts,
    expect_returned,
    untouched,
)
from tf_study.practice import problem

ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
TARGET = 0.8  # perplexity of AWQ over that of RTN, three bits
SEED, GROUP, STEPS = 1425, 32, 10  # of the model that is quantized
SHARED = {"query": ("query", "key", "value"), "gate": ("gate", "up"), "down": ("down",)}


# -- grids and codes -----------------------------------------------------------------------------------


def _grid(w, bits, group, top=None, zero_inside=False, clipped=True, rounded=np.round, sign=1):
    w = np.asarray(w, float)
    blocks = w.reshape(-1, group, w.shape[1])
    high, low = blocks.max(1), blocks.min(1)
    if zero_inside:
        high, low = np.maximum(high, 0), np.minimum(low, 0)
    scale = np.maximum(high - low, 1e-5) / (top or 2**bits - 1)
    zero = rounded(-sign * low / scale)
    return scale, np.clip(zero, 0, 2**bits - 1) if clipped else zero


@problem("그룹의 눈금", minutes=5)
def group_grid(answer):
    """Both signs, sides that are equal, groups of one sign, equal weights, small and large weights."""
    rng = default_rng(1421)
    cases = {
        "(8, 3), 그룹 4, 4비트": (rng.normal(size=(8, 3)), 4, 4),
        "(64, 64), 그룹 32, 4비트": (rng.normal(size=(64, 64)), 4, 32),
        "(12, 24), 그룹 3, 3비트": (rng.normal(size=(12, 24)), 3, 3),
        "그룹이 하나, 2비트": (rng.normal(size=(16, 5)), 2, 16),
        "작은 가중치": (0.01 * rng.normal(size=(32, 4)), 4, 8),
        "모두 양수인 그룹이 있음": (np.abs(rng.normal(size=(16, 6))) + [0, 0.1, 0, 3, 0, 0], 4, 8),
        "모두 음수": (-1 - rng.random((16, 4)), 4, 8),
        "값이 모두 같은 그룹이 있음": (np.repeat(rng.normal(size=(4, 5)), 4, 0), 4, 4),
    }
    for case, (w, bits, group) in cases.items():
        w = w.astype(np.float32)
        with untouched(case, w):
            got = expect_parts(answer(w, bits, group), ("scale", "zero"), case)

        def wrong(part: int, w=w, bits=bits, group=group) -> dict:
            known = {
                "간격은 2^b - 1개입니다. 2^b로 나누었습니다.": _grid(w, bits, group, top=2**bits)[part],
                "그룹의 범위에 0을 넣었습니다. GPTQ의 방법이고, AWQ에서는 넣지 않습니다.": _grid(
                    w, bits, group, zero_inside=True
                )[part],
                "영점을 0~2^b - 1로 자르지 않았습니다.": _grid(w, bits, group, clipped=False)[part],
                "영점을 반올림하지 않았습니다.": _grid(w, bits, group, rounded=lambda z: z)[part],
                "영점을 반올림하지 않고 내렸습니다.": _grid(w, bits, group, rounded=np.floor)[part],
                "영점의 부호가 반대입니다.": _grid(w, bits, group, sign=-1)[part],
            }
            if not w.shape[1] % group:
                known["그룹을 출력을 따라 나누었습니다. 이어진 입력이 한 그룹입니다."] = _grid(
                    w.T, bits, group
                )[part].T
            return known

        for part, name in enumerate(("scale", "zero")):
            expected = _grid(w, bits, group)[part]
            expect_close(
                got[part], expected, f"{case}, {name}", tol=1e-5, mistakes=functools.partial(wrong, part)
            )
            if part == 0:
                ratio = np.asarray(got[0], float) / expected
                expect(
                    np.all(np.abs(ratio - 1) < 1e-3),
                    f"{case}, scale: {expected.ravel()[np.argmax(np.abs(ratio - 1).ravel())]:.3g}이어야 할 값이 "
                    "다릅니다. max - min이 1e-5보다 작으면 1e-5로 봅니다.",
                )


def _each(values, group: int) -> np.ndarray:
    return np.repeat(np.asarray(values, float), group, 0)


def _codes(w, scale, zero, bits, clipped=True, late=False, rounded=np.round, moved=1):
    group = len(w) // len(scale)
    q = rounded(np.asarray(w, float) / _each(scale, group))
    if late:
        return np.clip(q, 0, 2**bits - 1) + _each(zero, group)
    q = q + moved * _each(zero, group)
    return np.clip(q, 0, 2**bits - 1) if clipped else q


def _rounded(w, bits, group) -> np.ndarray:
    scale, zero = _grid(w, bits, group)
    return (_codes(w, scale, zero, bits) - _each(zero, group)) * _each(scale, group)


@problem("정수와 자르기", minutes=5)
def encode(answer):
    """Grids of the weights and others, so that both ends are cut; no weight lies between two codes."""
    rng = default_rng(1422)
    for shape, group, bits, narrow in (
        ((8, 3), 4, 4, 1.0),
        ((64, 24), 32, 4, 0.6),
        ((6, 6), 3, 3, 0.5),
        ((32, 8), 32, 2, 1.0),
        ((128, 16), 16, 4, 0.8),
        ((16, 4), 4, 8, 1.0),
    ):
        case = f"{shape}, 그룹 {group}, {bits}비트" + ("" if narrow == 1 else ", 범위를 벗어나는 가중치")
        w = rng.normal(size=shape)
        scale, zero = _grid(w, bits, group)
        scale = (narrow * scale).astype(np.float32)
        whole = _each(scale, group)
        near = np.abs(np.abs(w / whole) % 1 - 0.5) < 1e-2
        w, zero = (w + np.where(near, 0.1, 0) * whole).astype(np.float32), zero.astype(np.float32)
        with untouched(case, w, scale, zero):
            got = answer(w, scale, zero, bits)
        expected = _codes(w, scale, zero, bits)
        raw = _codes(w, scale, zero, bits, clipped=False)
        tiled = [np.tile(np.asarray(part, float), (group, 1)) for part in (scale, zero)]
        mistakes = {
            "자르지 않아 범위 밖의 값이 uint8에서 256을 돌아 나왔습니다.": raw.astype(np.int64).astype(
                np.uint8
            ),
            "uint8로 바꾼 뒤에 잘랐습니다. 먼저 자르세요.": np.minimum(
                raw.astype(np.int64).astype(np.uint8), 2**bits - 1
            ),
            "자르지 않았습니다.": raw,
            "영점을 더하기 전에 잘랐습니다.": _codes(w, scale, zero, bits, late=True),
            "반올림하지 않고 내렸습니다.": _codes(w, scale, zero, bits, rounded=np.floor),
            "반올림하지 않고 0 쪽으로 버렸습니다.": _codes(w, scale, zero, bits, rounded=np.trunc),
            "영점을 더하지 않았습니다.": _codes(w, scale, zero, bits, moved=0),
            "영점을 뺐습니다.": _codes(w, scale, zero, bits, moved=-1),
            "그룹의 값을 이어진 입력이 아니라 번갈아 썼습니다. np.tile이 아니라 np.repeat입니다.": np.clip(
                np.round(w / tiled[0]) + tiled[1], 0, 2**bits - 1
            ),
        }
        expect_close(got, expected, case, tol=0, mistakes=mistakes)
        found = expect_integers(got, case)
        expect(found.dtype == np.uint8, f"{case}: 자료형이 uint8이어야 하는데 {found.dtype}입니다.")


# -- packing -------------------------------------------------------------------------------------------


def _words(q, order=ORDER) -> np.ndarray:
    total = np.zeros((len(q), q.shape[1] // 8), np.int64)
    for k, place in enumerate(order):
        total += q[:, place::8].astype(np.int64) << 4 * k
    return total.astype(np.uint32).view(np.int32)


def _unordered(q) -> np.ndarray:
    """What comes out if the nibbles are read from the lowest."""
    return q.reshape(len(q), -1, 8)[:, :, ORDER].reshape(q.shape)


@problem("여덟 정수를 한 워드에", minutes=10)
def packing(answer):
    """Against a loop over the places; all codes stand in the highest place, too."""
    rng = default_rng(1423)
    expect_returned(pair := answer(), "packing")
    pack, unpack = expect_parts(pair, ("pack", "unpack"), "packing")
    cases = {
        "0부터 7까지": np.arange(8, dtype=np.uint8)[None],
        "8부터 15까지": np.arange(8, 16, dtype=np.uint8)[None],
        "모두 15": np.full((2, 8), 15, np.uint8),
        "(5, 16)": rng.integers(0, 16, (5, 16), np.uint8),
        "(8, 8)": rng.integers(0, 16, (8, 8), np.uint8),
        "(3, 192)": rng.integers(0, 16, (3, 192), np.uint8),
    }
    for case, q in cases.items():
        with untouched(f"pack, {case}", q):
            got = pack(q)
        expected = _words(q)

        def packed_wrongly(q=q):
            known = {
                "AutoAWQ의 순서로 바꾸지 않고 차례로 담았습니다.": _words(q, range(8)),
                "순서를 거꾸로 적용했습니다. 칸 k에 ORDER[k]번 정수가 들어갑니다.": _words(
                    q, np.argsort(ORDER)
                ),
                "첫 정수를 가장 높은 4비트에 담았습니다.": _words(q, ORDER[::-1]),
                "uint8에서 밀어 위의 비트를 잃었습니다. 먼저 uint32로 바꾸세요.": _words(q, ORDER) & 255,
                "int32가 아니라 부호 없는 값입니다. 같은 비트를 int32로 보세요.": _words(q).view(np.uint32),
            }
            if not len(q) % 8:
                known["입력을 따라 담았습니다. 출력 여덟 개가 한 워드입니다."] = _words(q.T).T
            return known

        expect_close(got, expected, f"pack, {case}", tol=0, dtype="int32", mistakes=packed_wrongly)
        with untouched(f"unpack, {case}", expected):
            got = unpack(expected)
        signed = q.astype(int) - np.where(np.arange(q.shape[1]) % 8 == ORDER[7], 16 * (q > 7), 0)
        mistakes = {
            "가장 높은 4비트에 부호가 따라왔습니다. 민 뒤에 15로 가리거나 uint32로 보세요.": signed,
            "부호가 따라온 값이 uint8에서 240 이상이 되었습니다. 민 뒤에 15로 가리세요.": signed.astype(
                np.uint8
            ),
            "꺼낸 정수를 원래 순서로 되돌리지 않았습니다.": _unordered(q),
            "순서를 되돌리지 않고 한 번 더 적용했습니다.": _unordered(_unordered(q)),
        }
        expect_close(got, q, f"unpack, {case}", tol=0, dtype="uint8", mistakes=mistakes)


# -- activations and scales ----------------------------------------------------------------------------


@problem("채널의 크기", minutes=5)
def channel_means(answer):
    """Batches of different lengths, float16, values whose sum does not fit there."""
    rng = default_rng(1424)
    cases = {
        "배치 하나, 토큰 (4, 3)": [(4, 3)],
        "토큰의 수가 다른 배치": [(5, 6), (50, 6), (1, 6)],
        "(배치, 토큰, 채널)": [(2, 7, 4), (3, 5, 4)],
        "채널의 수와 토큰의 수가 같음": [(6, 6), (6, 6)],
        "합이 float16의 범위를 넘음": [(400, 8), (900, 8)],
    }
    for case, shapes in cases.items():
        size = 300 if "범위" in case else 1
        batches = [
            (size * (rng.normal(size=shape) + 0.3) * (1 + 3 * k)).astype(np.float16)
            for k, shape in enumerate(shapes)
        ]
        with untouched(case, *batches):
            got = answer([batch.copy() for batch in batches])
        flat = [batch.reshape(-1, batch.shape[-1]).astype(float) for batch in batches]
        tokens = np.concatenate(flat)
        mistakes = {
            "절댓값의 평균이 아니라 최댓값입니다.": np.abs(tokens).max(0),
            "평균의 절댓값입니다. 절댓값을 먼저 취하세요.": np.abs(tokens.mean(0)),
            "절댓값을 취하지 않았습니다.": tokens.mean(0),
            "제곱의 평균에서 구했습니다.": np.sqrt((tokens**2).mean(0)),
            "배치마다의 평균을 평균했습니다. 토큰이 많은 배치가 덜 반영됩니다.": np.mean(
                [np.abs(part).mean(0) for part in flat], 0
            ),
            "합을 토큰의 수로 나누지 않았습니다.": np.abs(tokens).sum(0),
            "합을 배치의 수로 나누었습니다.": np.abs(tokens).sum(0) / len(flat),
            "마지막 배치만 반영되었습니다.": np.abs(flat[-1]).mean(0),
        }
        found = expect_array(got, case)
        with np.errstate(over="ignore"):
            finite = np.isfinite(found).all() if found.dtype.kind == "f" else True
        expect(
            finite, f"{case}: 무한대가 나왔습니다. float16에서 더하지 말고 먼저 float32나 float64로 바꾸세요."
        )
        expected = np.abs(tokens).mean(0)
        mistakes["float16으로 계산해 반올림되었습니다."] = expected.astype(np.float16)
        expect_close(got, expected, case, tol=1e-5, mistakes=mistakes)


def _scale(size, power) -> np.ndarray:
    size = np.asarray(size, float)
    s = np.maximum(size**power if power >= 0 else np.maximum(size, 1e-4) ** power, 1e-4)
    return s / np.sqrt(s.max() * s.min())


def _search(
    kernels, x, bits, group, steps, size=None, error="out", over=1.0, power=1.0, each=slice(None), start=0
):
    """Errors and the best scale, or one of the ways to get them wrong."""
    x = np.asarray(x, float)
    size = np.abs(x).mean(0) if size is None else size
    errors, scales = [], []
    for k in range(steps):
        s = _scale(size, power * (k + start) / over / steps)[:, None]
        total = 0.0
        for w in kernels[each]:
            new = _rounded(w * s, bits, group) / s
            change = new - w if error == "weight" else x @ (new - w)
            total += np.sum(change**2)
        errors.append(total)
        scales.append(s[:, 0])
    return np.array(errors), scales[int(np.argmin(errors))]


@functools.cache
def _quantizable():
    """Return a Llama with outliers, its weights, what its layers see, texts of its own, and RTN's loss."""
    model = outliers.llama(SEED)
    texts = outliers.write(model, 80, 64, SEED)
    seen, rows = outliers.inputs(model, texts[:16]), texts[16:]
    weights = [outliers.read(block) for block in model.blocks]
    return model, weights, seen, rows


def _loss(scale_of: Callable) -> float:
    """Mean loss of the model in three bits; ``scale_of(kernels, x)`` gives the scale of layers that share inputs."""
    model, weights, seen, rows = _quantizable()
    for block, own, inputs in zip(model.blocks, weights, seen, strict=True):
        new = own | {"out": _rounded(own["out"], 3, GROUP)}
        for first, names in SHARED.items():
            s = scale_of([own[name] for name in names], inputs[first])[:, None]
            new |= {name: _rounded(own[name] * s, 3, GROUP) / s for name in names}
        outliers.put(block, new)
    logits = model(rows)[0][:, :-1]
    return float(tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(rows[:, 1:], logits)))


@problem("스케일 찾기", minutes=11)
def search_scale(answer):
    """Errors and scale on layers with loud channels; then the perplexity of a small Llama in three bits."""
    rng = default_rng(1425)
    for n, outs, bits, group, steps, loud in (
        (16, (6,), 4, 8, 5, 2),
        (32, (8, 4, 4), 4, 16, 10, 3),
        (64, (64, 64), 3, 32, 8, 4),
        (24, (5, 7), 3, 24, 20, 1),
        (16, (8,), 4, 4, 6, 0),
    ):
        case = f"입력 {n}개, 출력 {outs}, {bits}비트, 그룹 {group}, steps={steps}"
        kernels = [rng.normal(size=(n, o)).astype(np.float32) for o in outs]
        size = np.exp(0.3 * rng.normal(size=n))
        size[rng.permutation(n)[:loud]] *= 20
        x = (size * (rng.normal(size=(40, n)) + 0.5)).astype(np.float32)
        if not loud:
            case, x[:, 3] = f"{case}, 늘 0인 채널", 0
        with untouched(case, kernels[0], x):
            got = expect_parts(answer(kernels, x, bits, group, steps), ("errors", "s"), case)
        errors, s = _search(kernels, x, bits, group, steps)

        def mistakes(kernels=kernels, x=x, bits=bits, group=group, steps=steps):
            wrong = {
                "채널의 크기로 절댓값의 평균이 아니라 최댓값을 썼습니다.": {"size": np.abs(x).max(0)},
                "채널의 크기로 절댓값의 평균이 아니라 평균의 절댓값을 썼습니다.": {"size": np.abs(x.mean(0))},
                "활성화 값이 아니라 가중치의 크기로 스케일을 만들었습니다.": {
                    "size": np.abs(np.hstack(kernels)).mean(1)
                },
                "출력이 아니라 가중치의 오차를 쟀습니다.": {"error": "weight"},
                "가중치에 s를 곱하지 않고 나누었습니다.": {"power": -1.0},
                "α가 0부터가 아니라 1/steps부터입니다. 0이 있어야 RTN보다 나빠지지 않습니다.": {"start": 1},
                "α의 간격이 1/steps가 아니라 1/(steps - 1)입니다.": {"over": (steps - 1) / steps},
                "첫 커널의 오차만 쟀습니다. 같은 입력을 받는 커널의 오차를 모두 더하세요.": {
                    "each": slice(1)
                },
                "마지막 커널의 오차만 쟀습니다. 같은 입력을 받는 커널의 오차를 모두 더하세요.": {
                    "each": slice(-1, None)
                },
            }
            found = {
                text: _search(kernels, x, bits, group, steps, **options)[0] for text, options in wrong.items()
            }
            right = _search(kernels, x, bits, group, steps)[0]
            found["오차의 합이 아니라 토큰마다의 평균입니다."] = right / len(x)
            found["제곱의 합에 제곱근을 취했습니다."] = np.sqrt(right)
            return found

        expect_close(got[0], errors, f"{case}, errors", tol=2e-3, mistakes=mistakes)
        plain = np.maximum(np.abs(x).astype(float).mean(0) ** (int(np.argmin(errors)) / steps), 1e-4)
        known = {
            "√(max · min)으로 나누지 않았습니다.": plain,
            "평균이 1이 되게 나누었습니다. √(max · min)으로 나눕니다.": plain / plain.mean(),
            "최댓값이 1이 되게 나누었습니다. √(max · min)으로 나눕니다.": plain / plain.max(),
            "마지막 α의 스케일을 돌려주었습니다.": _scale(np.abs(x).astype(float).mean(0), 1 - 1 / steps),
            "오차가 가장 큰 스케일을 돌려주었습니다.": _scale(
                np.abs(x).astype(float).mean(0), int(np.argmax(errors)) / steps
            ),
        }
        expect_close(got[1], s, f"{case}, s", tol=1e-4, mistakes=known)
    with_rtn = _loss(lambda kernels, x: np.ones(len(kernels[0])))
    with_awq = _loss(lambda kernels, x: np.asarray(answer(kernels, x, 3, GROUP, STEPS)[1], float))
    ratio = float(np.exp(with_awq - with_rtn))
    expect(
        ratio <= TARGET,
        f"작은 Llama, 3비트: 퍼플렉시티가 RTN의 {TARGET:g}배 이하여야 하는데 {ratio:.2f}배입니다.",
    )


# -- folding -------------------------------------------------------------------------------------------

PARTS = {
    "attention_norm": "d", "query": "dq", "key": "dk", "value": "dk", "out": "qd",
    "feed_forward_norm": "d", "gate": "dh", "up": "dh", "down": "hd",
}  # fmt: skip


def _fold(block, scales) -> dict[str, np.ndarray]:
    new = {name: np.array(value, float) for name, value in block.items()}
    rows = {name: scales[first] for first, names in SHARED.items() for name in names}
    for name, s in rows.items():
        new[name] *= s[:, None]
    new["attention_norm"] /= scales["query"]
    new["feed_forward_norm"] /= scales["gate"]
    new["up"] /= scales["down"]
    return new


def _fold_mistakes(name: str, block, scales) -> dict:
    """What comes out at ``name`` of the usual mistakes."""
    own, right = np.asarray(block[name], float), _fold(block, scales)[name]
    known = {"스케일을 접지 않고 그대로 두었습니다.": own}
    if own.ndim == 1:
        known["게인에 s를 곱했습니다. 게인은 나눕니다."] = own**2 / right
        return known
    first = next(first for first, names in SHARED.items() if name in names) if name != "out" else None
    s = scales[first][:, None] if first else 1
    if first:
        known["행에 s를 곱하지 않고 나누었습니다."] = right / s**2
        if own.shape[0] == own.shape[1]:
            known["행이 아니라 열에 s를 곱했습니다."] = own * s.T
    if name == "up":
        known["down의 스케일로 열을 나누지 않았습니다."] = own * s
        known["down의 스케일로 열을 나누지 않고 곱했습니다."] = own * s * scales["down"]
        known["gate의 스케일로 행을 곱하지 않았습니다."] = own / scales["down"]
    if name == "gate":
        known["down의 스케일로 gate를 나누었습니다. SiLU 안이라 상쇄되지 않으니 up을 나누세요."] = (
            own * s / scales["down"]
        )
    return known


@problem("스케일 접기", minutes=12)
def fold(answer):
    """Every array of a block, then the logits of a Llama whose blocks are folded with random scales."""
    rng = default_rng(1426)
    for sizes in (
        {"d": 6, "q": 6, "k": 2, "h": 10},
        {"d": 4, "q": 4, "k": 4, "h": 4},
        {"d": 8, "q": 8, "k": 4, "h": 3},
    ):
        case = f"폭 {sizes['d']}, 키와 값 {sizes['k']}, 은닉 {sizes['h']}"
        shapes = {name: tuple(sizes[axis] for axis in axes) for name, axes in PARTS.items()}
        block = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        scales = {name: np.exp(rng.normal(size=shapes[name][0])).astype(np.float32) for name in SHARED}
        given = {name: value.copy() for name, value in block.items()}
        got = answer(block, scales)
        same = set(given) == set(block) and all(np.array_equal(given[name], block[name]) for name in given)
        expect(same, f"{case}: 받은 사전이나 배열을 바꾸었습니다. 새 사전에 새 배열을 담으세요.")
        _expect_block(got, block, scales, case)
    _expect_logits(answer)


def _expect_block(got, block, scales, case: str) -> None:
    expect_returned(got, case)
    expect(isinstance(got, dict), f"{case}: 사전을 돌려주어야 하는데 {type(got).__name__}입니다.")
    missing, more = sorted(set(block) - set(got)), sorted(set(got) - set(block))
    expect(not missing, f"{case}: 결과에 {', '.join(missing)}이 없습니다. 바뀌지 않는 것도 넣으세요.")
    expect(not more, f"{case}: 결과에 없어야 할 {', '.join(map(str, more))}이 있습니다.")
    expected = _fold(block, scales)
    for name in block:
        mistakes = functools.partial(_fold_mistakes, name, block, scales)
        expect_close(got[name], expected[name], f"{case}, {name}", tol=1e-4, mistakes=mistakes)


def _expect_logits(answer) -> None:
    rng, model = default_rng(7), outliers.llama(11)
    rows = rng.integers(0, model.config.vocab, (2, 12)).astype(np.int32)
    before = model(rows)[0].numpy()
    for block in model.blocks:
        weights = outliers.read(block)
        scales = {first: np.exp(rng.normal(size=len(weights[first]))).astype(np.float32) for first in SHARED}
        outliers.put(block, answer(weights, scales))
    gap = float(np.abs(model(rows)[0].numpy() - before).max())
    limit = 1e-4 * float(np.abs(before).max())
    expect(gap <= limit, f"작은 Llama: 접은 뒤의 로짓이 {gap:.2g}만큼 달라졌습니다. {limit:.1g}까지입니다.")


# -- evaluation ----------------------------------------------------------------------------------------


def _losses(logits, rows, lengths, shift=1, padded=False) -> list[np.ndarray]:
    """Losses of each text's tokens."""
    logits = np.asarray(logits, float)
    logs = logits - logits.max(-1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(-1, keepdims=True))
    found = []
    for row, log, length in zip(rows, logs, lengths, strict=True):
        end = rows.shape[1] if padded else length
        targets = row[shift:end] if shift >= 0 else row[: end + shift]
        places = np.arange(end - abs(shift)) + (0 if shift >= 0 else -shift)
        found.append(-log[places, targets])
    return found


def _summary(losses, base) -> tuple[float, float, float]:
    gap = losses - base
    return np.exp(losses.mean()), gap.mean(), gap.std(ddof=1) / len(gap) ** 0.5


@problem("퍼플렉시티와 짝지은 오차", minutes=12)
def evaluate(answer):
    """Texts of different lengths with padding, large logits, a base that is near and one that is far."""
    rng = default_rng(1427)
    for count, width, vocab, size, apart in (
        (3, 6, 5, 1.0, 0.2),
        (4, 12, 12, 2.0, 1.0),
        (1, 20, 7, 1.0, 0.05),
        (5, 9, 11, 300.0, 0.5),
        (6, 30, 40, 3.0, 0.1),
    ):
        lengths = rng.integers(2, width + 1, count)
        lengths[0] = width
        rows = rng.integers(1, vocab, (count, width)).astype(np.int32)
        rows[np.arange(width) >= lengths[:, None]] = 0
        table = (size * rng.normal(size=(count, width, vocab))).astype(np.float32)
        if size > 100:  # The targets are likely, so that e to the mean loss is a number.
            np.put_along_axis(table[:, :-1], rows[:, 1:, None], table[:, :-1].max(-1, keepdims=True), -1)
        case = f"글 {count}개, 길이 {lengths.tolist()}" + (", 큰 로짓" if size > 100 else "")
        parts = _losses(table, rows, lengths)
        losses = np.concatenate(parts)
        base = (losses + apart * rng.normal(size=losses.shape) + 0.3 * apart).astype(np.float32)

        def model(asked, rows=rows, table=table, case=case):
            asked = np.asarray(asked)
            whole = asked.shape == rows.shape and np.array_equal(asked, rows)
            expect(whole, f"{case}: 모델에 rows를 그대로 주세요. 받은 것의 모양은 {asked.shape}입니다.")
            return tf.constant(table)

        with untouched(case, rows, lengths, base):
            got = expect_parts(
                answer(model, rows, lengths, base), ("losses", "perplexity", "difference", "error"), case
            )
        wrong = {
            "목표를 한 칸 밀지 않았습니다. 위치 t의 로짓은 t + 1번 토큰을 예측합니다.": {"shift": 0},
            "목표를 반대로 밀었습니다. 위치 t의 로짓은 t + 1번 토큰을 예측합니다.": {"shift": -1},
            "패딩도 세었습니다.": {"padded": True},
        }
        known = {
            text: np.concatenate(_losses(table, rows, lengths, **options)) for text, options in wrong.items()
        }
        known["손실의 부호가 반대입니다."] = -losses
        known["밑이 2인 로그로 쟀습니다."] = losses / np.log(2)
        expect_close(got[0], losses, f"{case}, losses", tol=1e-4, mistakes=known)
        expected = _summary(losses, base.astype(float))
        known = {
            "글마다의 퍼플렉시티를 평균했습니다. 모든 토큰의 손실을 평균한 뒤 지수를 취합니다.": np.mean(
                [np.exp(part.mean()) for part in parts]
            ),
            "글마다의 손실을 평균한 뒤 다시 평균했습니다. 토큰마다 똑같이 셉니다.": np.exp(
                np.mean([part.mean() for part in parts])
            ),
            "토큰마다의 퍼플렉시티를 평균했습니다.": np.exp(np.minimum(losses, 80)).mean(),
            "지수를 취하지 않았습니다.": losses.mean(),
        }
        expect_close(got[1], expected[0], f"{case}, perplexity", tol=1e-3, mistakes=known)
        known = {"차이의 부호가 반대입니다. losses에서 base를 뺍니다.": -expected[1]}
        known["퍼플렉시티의 차이입니다. 손실의 차이를 평균하세요."] = expected[0] - np.exp(
            np.minimum(base.astype(float).mean(), 80)
        )
        expect_close(got[2], expected[1], f"{case}, difference", tol=1e-4, mistakes=known)
        gap, n = losses - base, len(losses)
        known = {
            "짝짓지 않은 표준 오차입니다. 같은 토큰끼리 뺀 값의 표준편차에서 구하세요.": np.sqrt(
                (losses.var(ddof=1) + base.astype(float).var(ddof=1)) / n
            ),
            "표준편차를 √N으로 나누지 않았습니다.": gap.std(ddof=1),
            "표준편차를 √N이 아니라 N으로 나누었습니다.": gap.std(ddof=1) / n,
            "표준편차를 N으로 구했습니다(ddof=1).": gap.std() / n**0.5,
            "분산을 √N으로 나누었습니다.": gap.var(ddof=1) / n**0.5,
        }
        expect_close(got[3], expected[2], f"{case}, error", tol=1e-4, mistakes=known)
