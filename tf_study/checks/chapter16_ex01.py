"""Checks of practice 16.1, multi-head latent attention: float64 references, known mistakes by name.

Shapes: batch B, new tokens T, tokens seen S, heads H; ``rank``, ``nope``, ``rope`` and ``value`` are the sizes
d_c, d_n, d_R and d_v of lecture 16.2.
"""

import functools

import keras
import numpy as np
import tensorflow as tf
from numpy.random import default_rng

from tf_study.expect import Mismatch, expect, expect_array, expect_close, expect_parts, expect_type
from tf_study.models.llama import Config, Llama
from tf_study.practice import problem

EPS, BASE = 1e-6, 10000.0


def _mla(layers: int, heads: int, rank: int, rope: int, **extra) -> dict:
    """Return a config file's entries; ``num_key_value_heads`` stands in those of MLA, too, and means nothing."""
    return {"num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": heads,
            "hidden_size": 56 * heads, "kv_lora_rank": rank, "qk_rope_head_dim": rope, **extra}  # fmt: skip


def _gqa(layers: int, heads: int, groups: int, width: int, **extra) -> dict:
    return {"num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": groups,
            "hidden_size": width, **extra}  # fmt: skip


@problem("토큰당 캐시", minutes=5)
def cache_bytes(answer):
    """Published sizes and others; heads wider than the width allows; 1, 2 and 4 bytes a number."""
    cases = [
        ("MLA", _mla(61, 128, 512, 64), 2),
        ("MLA", _mla(3, 4, 48, 16), 4),
        ("MLA, head_dim도 있는 설정", _mla(27, 16, 512, 64, head_dim=64), 1),
        ("GQA", _gqa(80, 64, 8, 8192), 2),
        ("GQA, head_dim이 있는 설정", _gqa(18, 4, 1, 640, head_dim=256), 4),
        ("MHA", _gqa(5, 6, 6, 48), 1),
    ]
    for name, config, size in cases:
        layers, heads, groups = (
            config[f"num_{key}"] for key in ("hidden_layers", "attention_heads", "key_value_heads")
        )
        case = f"{name}, 층 {layers}개, 헤드 {heads}개, 수마다 {size}바이트"
        dim = config.get("head_dim", config["hidden_size"] // heads)
        if name.startswith("MLA"):
            rank, rope = config["kv_lora_rank"], config["qk_rope_head_dim"]
            numbers = rank + rope
            mistakes = {
                "d_c만 세었습니다. 위치 키 d_R개도 캐시에 있습니다.": layers * rank * size,
                "d_c만 두 번 세었습니다. 캐시에는 c 하나와 위치 키 하나가 있습니다.": 2
                * layers
                * rank
                * size,
                "두 번 세었습니다. 키와 값을 c 하나에서 만듭니다.": 2 * layers * numbers * size,
                "헤드 수를 곱했습니다. c와 위치 키는 모든 헤드가 공유합니다.": layers
                * heads
                * numbers
                * size,
                "위치 키를 헤드마다 세었습니다. 모든 헤드가 공유합니다.": layers
                * (rank + heads * rope)
                * size,
                "MLA인데 num_key_value_heads로 세었습니다.": 2 * layers * groups * dim * size,
            }
        else:
            numbers = 2 * groups * dim
            mistakes = {
                "쿼리의 헤드로 세었습니다. 캐시에는 num_key_value_heads개가 있습니다.": 2
                * layers
                * heads
                * dim
                * size,
                "키와 값 가운데 하나만 세었습니다.": layers * groups * dim * size,
                "head_dim이 있으면 그 값을 씁니다.": 2
                * layers
                * groups
                * (config["hidden_size"] // heads)
                * size,
            }
        mistakes |= {
            "층의 수를 곱하지 않았습니다.": numbers * size,
            "수마다 2바이트로 정해 두었습니다. size를 쓰세요.": 2 * layers * numbers,
            "바이트가 아니라 수의 개수입니다.": layers * numbers,
        }
        got = answer(dict(config), size)
        expect_close(got, layers * numbers * size, case, tol=0, mistakes=mistakes)


def _compress(x, down, gain, rank: int) -> tuple[np.ndarray, np.ndarray]:
    both = np.asarray(x, float) @ down
    c, kr = both[..., :rank], both[..., rank:]
    return c / np.sqrt(np.square(c).mean(-1, keepdims=True) + EPS) * gain, kr


def _expect_slopes(answer, given: dict, others: tuple, case: str) -> None:
    """Raise ``Mismatch`` unless gradients pass from the sum of all results to every array of ``given``."""
    watched = [tf.constant(array) for array in given.values()]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        parts = answer(*watched, *others)
        total = sum(tf.reduce_sum(part) for part in (parts if isinstance(parts, list | tuple) else [parts]))
    for name, slope in zip(given, tape.gradient(total, watched), strict=True):
        expect(
            slope is not None,
            f"{case}: {name}의 기울기가 없습니다. 값을 복사하지 말고 TensorFlow의 연산으로 작성하세요.",
        )


@problem("압축", minutes=5)
def compress(answer):
    """Equal and unequal parts, one token, a token of zeros, inputs so small that epsilon counts."""
    rng = default_rng(1612)
    for batch, length, width, rank, rope, size in (
        (2, 5, 7, 4, 4, 1.0),
        (1, 1, 6, 6, 2, 1.0),
        (3, 4, 9, 5, 6, 1.0),
        (2, 3, 8, 6, 4, 1e-3),
    ):
        case = f"x ({batch}, {length}, {width}), d_c {rank}, d_R {rope}" + (
            "" if size == 1 else ", 아주 작은 x"
        )
        x = (size * rng.normal(size=(batch, length, width))).astype("f")
        if length > 1:
            x[0, 1] = 0  # Padding.
        down, gain = rng.normal(size=(width, rank + rope)).astype("f"), (1 + rng.random(rank)).astype("f")
        c, kr = _compress(x, down, gain, rank)

        def mistakes(x=x, down=down, gain=gain, rank=rank, rope=rope, key=kr):
            both = x.astype(float) @ down
            raw = both[..., :rank]
            rms = lambda a: np.sqrt(np.square(a).mean(-1, keepdims=True) + EPS)  # noqa: E731
            late = both[..., -rank:]
            centred = raw - raw.mean(-1, keepdims=True)
            of_c = {
                "정규화하지 않았습니다.": raw,
                "이득(gain)을 곱하지 않았습니다.": raw / rms(raw),
                "c와 k^R을 함께 정규화했습니다. 평균은 c의 d_c개에서만 구합니다.": raw / rms(both) * gain,
                "나눈 순서가 반대입니다. 앞의 d_c개가 c입니다.": late / rms(late) * gain,
                "평균을 뺐습니다. RMSNorm에서는 빼지 않습니다.": centred / rms(centred) * gain,
                "제곱의 평균이 아니라 합의 제곱근으로 나누었습니다.": raw
                / np.sqrt(np.square(raw).sum(-1, keepdims=True) + EPS)
                * gain,
                "EPS를 제곱근 밖에서 더했습니다.": raw
                / (np.sqrt(np.square(raw).mean(-1, keepdims=True)) + EPS)
                * gain,
            }
            of_key = {
                "k^R까지 정규화했습니다. 정규화는 c에만 적용합니다.": key / rms(key),
                "c와 k^R을 함께 정규화했습니다. k^R은 그대로 둡니다.": key / rms(both),
                "나눈 순서가 반대입니다. 뒤의 d_R개가 k^R입니다.": both[..., :rope],
            }
            return of_c, of_key

        got = expect_parts(answer(*map(tf.constant, (x, down, gain))), ("c", "k^R"), case)
        for place, (name, wanted) in enumerate((("c", c), ("k^R", kr))):
            expect_close(
                got[place], wanted, f"{case}, {name}", tol=2e-5, dtype="float32",
                mistakes=lambda place=place, mistakes=mistakes: mistakes()[place],
            )  # fmt: skip
        _expect_slopes(answer, {"x": x, "w_down": down, "gain": gain}, (), case)


def _turn(x, positions, half: bool = False, gather: bool = False, sign: int = 1) -> np.ndarray:
    """Turn neighbours (or halves) of x (..., T, R) as complex numbers; ``gather`` puts first coordinates in front."""
    size = x.shape[-1]
    angles = np.asarray(positions, float)[:, None] * BASE ** (-np.arange(0, size, 2) / size)
    first, second = (x[..., : size // 2], x[..., size // 2 :]) if half else (x[..., 0::2], x[..., 1::2])
    turned = (first + 1j * second) * np.exp(sign * 1j * angles)
    if half or gather:
        return np.concatenate([turned.real, turned.imag], -1)
    return np.stack([turned.real, turned.imag], -1).reshape(x.shape)


def _turn_end(q, rope: int, positions, **options) -> np.ndarray:
    return np.concatenate([q[..., :-rope], _turn(q[..., -rope:], positions, **options)], -1)


@problem("분리한 RoPE", minutes=10)
def decoupled_rope(answer):
    """First and later positions, one token, as many heads as tokens; angles in float32 allow 5e-5."""
    rng = default_rng(1613)
    for batch, heads, length, nope, rope, start in (
        (2, 3, 4, 4, 4, 0),
        (1, 4, 4, 6, 2, 3),
        (2, 2, 1, 2, 6, 17),
        (1, 2, 5, 8, 8, 60),
    ):
        case = f"q ({batch}, {heads}, {length}, {nope + rope}), d_R {rope}, start {start}"
        q = rng.normal(size=(batch, heads, length, nope + rope)).astype("f")
        kr = rng.normal(size=(batch, length, rope)).astype("f")
        at = start + np.arange(length)
        got = expect_parts(answer(tf.constant(q), tf.constant(kr), start), ("q", "k^R"), case)
        expect(
            expect_array(got[1], f"{case}, k^R").ndim != 4,
            f"{case}: k^R에 헤드의 축이 있습니다. 헤드마다 두지 않으며 모양은 (B, T, d_R)입니다.",
        )

        def common(turn, at=at, length=length):
            return {
                "start를 더하지 않았습니다.": turn(np.arange(length)),
                "앞뒤 절반을 짝지었습니다. 이웃한 두 좌표가 짝입니다.": turn(at, half=True),
                "돌린 값을 앞뒤로 모았습니다. 짝의 위치를 그대로 둡니다.": turn(at, gather=True),
                "반대 방향으로 돌렸습니다.": turn(at, sign=-1),
                "위치가 0이 아니라 1에서 시작합니다.": turn(at + 1),
            }

        def of_q(q=q, rope=rope, at=at, start=start, common=common):
            swapped = np.swapaxes(q, 1, 2)
            by_head = np.swapaxes(_turn_end(swapped, rope, start + np.arange(q.shape[1])), 1, 2)
            front = np.concatenate([_turn(q[..., :rope], at), q[..., rope:]], -1)
            return common(lambda positions, **options: _turn_end(q, rope, positions, **options)) | {
                "쿼리를 돌리지 않았습니다.": q,
                "q^C까지 돌렸습니다. 뒤의 d_R개만 돌립니다.": _turn(q, at),
                "앞의 d_R개를 돌렸습니다. 위치의 쿼리는 뒤에 있습니다.": front,
                "헤드의 번호로 돌렸습니다. 위치는 T의 축입니다.": by_head,
            }

        def of_key(kr=kr, common=common):
            return common(lambda positions, **options: _turn(kr, positions, **options)) | {
                "k^R을 돌리지 않았습니다.": kr
            }

        for name, found, wanted, mistakes in (
            ("q", got[0], _turn_end(q, rope, at), of_q),
            ("k^R", got[1], _turn(kr, at), of_key),
        ):
            expect_close(found, wanted, f"{case}, {name}", tol=5e-5, dtype="float32", mistakes=mistakes)
        _expect_slopes(answer, {"q": q, "kr": kr}, (start,), case)


def _parts(up, heads: int, nope: int, layout: str = "heads") -> tuple[np.ndarray, np.ndarray]:
    """Return W^UK and W^UV, each (rank, H, ·), of ``up`` (rank, H (nope + value)), or what a mistake takes for them."""
    rank, value = up.shape[0], up.shape[1] // heads - nope
    if layout == "blocks":
        return up[:, : heads * nope].reshape(rank, heads, nope), up[:, heads * nope :].reshape(
            rank, heads, value
        )
    whole = up.reshape(rank, -1, heads).swapaxes(1, 2) if layout == "last" else up.reshape(rank, heads, -1)
    if layout == "values first":
        return whole[..., value:], whole[..., :value]
    return whole[..., :nope], whole[..., nope:]


def _attention(
    q, c, kr, up, start, layout="heads", scale=0, rope=1, visible="past", axis=-1, merge="bthv"
) -> np.ndarray:  # fmt: skip
    """Return the output (B, T, H value) in float64; ``scale`` 0 stands for nope + rope."""
    (batch, heads, length, size), seen = q.shape, c.shape[1]
    nope = size - kr.shape[-1]
    w_k, w_v = _parts(np.asarray(up, float), heads, nope, layout)
    keys, values = np.einsum("bsc,chn->bhsn", c, w_k), np.einsum("bsc,chv->bhsv", c, w_v)
    scores = np.einsum("bhtn,bhsn->bhts", q[..., :nope], keys)
    scores = (scores + rope * np.einsum("bhtr,bsr->bhts", q[..., nope:], kr)) / (scale or size) ** 0.5
    first = {"past": start, "no offset": 0, "all": seen}[visible]
    scores = np.where(np.arange(seen) > first + np.arange(length)[:, None], -1e30, scores)
    weights = np.exp(scores - scores.max(axis, keepdims=True))
    weights /= weights.sum(axis, keepdims=True)
    return np.einsum(f"bhts,bhsv->{merge}", weights, values).reshape(batch, length, -1)


# batch, heads, new tokens, all tokens, nope, rope, value, rank, the queries' size
ATTENTION = [
    (1, 2, 4, 4, 3, 2, 3, 5, 1.0),
    (2, 3, 2, 6, 4, 2, 4, 6, 1.0),
    (2, 3, 1, 6, 4, 2, 4, 6, 1.0),
    (2, 4, 3, 7, 5, 4, 3, 6, 1.0),
    (1, 2, 2, 5, 2, 6, 7, 9, 1.0),
    (1, 3, 3, 3, 4, 2, 5, 8, 300.0),
]


def _expect_attention(answer, rng, folded: bool) -> None:
    for batch, heads, length, seen, nope, rope, value, rank, size in ATTENTION:
        start = seen - length
        case = f"헤드 {heads}개, T {length}, S {seen}, d_n {nope}, d_R {rope}, d_v {value}, d_c {rank}"
        case += "" if size == 1 else ", 점수가 아주 큰 쿼리"
        q = (size * rng.normal(size=(batch, heads, length, nope + rope))).astype("f")
        c, kr = (rng.normal(size=(batch, seen, n)).astype("f") for n in (rank, rope))
        up = rng.normal(size=(rank, heads * (nope + value))).astype("f")

        def mistakes(given=(q, c, kr, up, start), nope=nope, rope=rope, value=value, rank=rank):
            root = "√d_n" if nope != value else "√d_n(또는 √d_v)"
            known = {
                f"점수를 {root}으로 나누었습니다. 내적의 길이는 d_n + d_R입니다.": dict(scale=nope),
                "점수를 √d_v로 나누었습니다. √(d_n + d_R)입니다.": dict(scale=value),
                "점수를 √(d_c + d_R)로 나누었습니다. 흡수해도 배율은 √(d_n + d_R)입니다.": dict(
                    scale=rank + rope
                ),
                "점수를 √d_c로 나누었습니다. √(d_n + d_R)입니다.": dict(scale=rank),
                "점수를 나누지 않았습니다.": dict(scale=1),
                "k^R과의 내적이 빠졌습니다.": dict(rope=0),
                "마스크에 start가 없습니다. 새 토큰의 위치는 start부터입니다.": dict(visible="no offset"),
                "뒤의 토큰까지 봅니다.": dict(visible="all"),
                "소프트맥스를 쿼리의 축에서 계산했습니다. 토큰 S개의 축입니다.": dict(axis=-2),
                "W^UK와 W^UV가 바뀌었습니다. 헤드마다 앞의 d_n개가 W^UK입니다.": dict(layout="values first"),
                "w_up을 (d_c, ·, H)로 나누었습니다. (d_c, H, ·)입니다.": dict(layout="last"),
                "모든 헤드의 W^UK 뒤에 W^UV가 있다고 보았습니다. 헤드마다 이어져 있습니다.": dict(
                    layout="blocks"
                ),
                "헤드를 토큰 뒤로 옮기지 않고 이어 붙였습니다.": dict(merge="bhtv"),
            }
            return {text: _attention(*given, **options) for text, options in known.items()}

        got = answer(*map(tf.constant, (q, c, kr, up)), start)
        # Scores of a thousand are known to 1e-4 in float32.
        tol = 2e-5 if size == 1 else 2e-3
        expect_close(got, _attention(q, c, kr, up, start), case, tol=tol, dtype="float32", mistakes=mistakes)
        _expect_slopes(answer, {"q": q, "c": c, "kr": kr, "w_up": up}, (start,), case)
    _expect_graph(answer, folded)


def _expect_graph(answer, folded: bool) -> None:
    """Trace the answer; if ``folded``, it must make fewer numbers a token than a key for every head has.

    Counted are all tensors with the tokens' axis, those in functions that the graph calls, too; the body of a loop
    counts once. c has 256 numbers a token and an array of scores 16, the keys of all heads 1,920. So there is room
    for copies of c and a dozen arrays of scores, and for no keys.
    """
    heads, seen, nope, rope, value, rank = 16, 61, 120, 8, 120, 256
    shapes = (1, heads, 1, nope + rope), (1, seen, rank), (1, seen, rope), (rank, heads * (nope + value))
    function = tf.function(lambda *given: answer(*given, seen - 1), autograph=False)
    try:
        traced = function.get_concrete_function(*(tf.TensorSpec(shape, tf.float32) for shape in shapes))
    except (TypeError, AttributeError) as error:  # A graph has no values to read.
        raise Mismatch(
            "값은 같지만 그래프를 만들 수 없습니다. 크기는 tf.shape가 아니라 q.shape에서 읽고, 텐서의 값을 파이썬의 "
            f"수나 배열로 바꾸지 마세요. ({type(error).__name__})"
        ) from None
    graph = traced.graph.as_graph_def(add_shapes=True)
    nodes = [*graph.node, *(node for inner in graph.library.function for node in inner.node_def)]
    outputs = [tf.TensorShape(shape) for node in nodes for shape in node.attr["_output_shapes"].list.shape]
    known = [shape for shape in outputs if shape.is_fully_defined()]
    # 61 is a prime that divides no other size, so that the tokens are found where axes are merged, too.
    made = sum(shape.num_elements() // seen for shape in known if any(size % seen == 0 for size in shape))
    limit = heads * min(nope, value)
    expect(
        made < limit or not folded,
        f"값은 같지만, 헤드 {heads}개, d_n과 d_v {nope}, d_c {rank}에서 캐시의 토큰마다 수를 {made:,}개나 만들었습니다"
        f"({limit:,}개보다 적어야 합니다). 키와 값을 펼치거나 c를 헤드마다 복사하지 말고, 쿼리와 출력 쪽에 "
        "W^UK와 W^UV를 곱하세요.",
    )


@problem("펼쳐서 어텐션", minutes=15)
def naive(answer):
    """Prompts and later tokens, parts of equal and unequal sizes, scores that overflow an exponential."""
    _expect_attention(answer, default_rng(1614), folded=False)


SIZES = [
    dict(width=12, heads=2, kv_rank=5, nope=3, rope=2, value=3),
    dict(width=10, heads=3, kv_rank=6, nope=4, rope=4, value=5),
    dict(width=8, heads=1, kv_rank=4, nope=2, rope=2, value=6),
]
CHUNKS = (3, 1, 1, 2)


@problem("캐시가 있는 층", minutes=10)
def MLA(answer):  # noqa: N802 (named after the learner's class)
    """All at once and in pieces, against float64; two small tensors in the cache; gradients; the given attention."""
    rng = default_rng(1615)
    for sizes in SIZES:
        case = ", ".join(f"{name} {value}" for name, value in sizes.items())
        layer = answer(**sizes)
        expect_type(layer, keras.layers.Layer, case)
        weights = {}
        for name in ("query", "down", "up", "out"):
            kernel = getattr(layer, name).kernel
            weights[name] = rng.normal(size=kernel.shape) / kernel.shape[0] ** 0.5
            kernel.assign(weights[name])
        weights["gain"] = 1 + rng.random(sizes["kv_rank"])
        layer.gain.assign(weights["gain"])
        weights = {name: value.astype("f").astype(float) for name, value in weights.items()}
        length = sum(CHUNKS)
        x = rng.normal(size=(2, length, sizes["width"])).astype("f")
        restarted = np.concatenate([np.arange(count) for count in CHUNKS])
        out, c, kr = _layer(x, weights, sizes, np.arange(length))
        wrong_out, _, wrong_kr = _layer(x, weights, sizes, restarted)
        raw = x.astype(float) @ weights["down"]
        of_cache = (
            {"정규화하기 전의 c입니다.": raw[..., : sizes["kv_rank"]]},
            {
                "돌리기 전의 k^R입니다. 돌린 것을 캐시에 둡니다.": raw[..., sizes["kv_rank"] :],
                "조각마다 위치가 0에서 다시 시작합니다. start를 넘기세요.": wrong_kr,
            },
        )
        given, layer.attention = layer.attention, _silent(sizes["heads"] * sizes["value"])
        for where, _, end, made, cache in _stream(layer, x, case):
            _expect_cache(cache, (c, kr), of_cache, end, where)
            expect(
                not expect_array(made, where).any(),
                f"{where}: self.attention이 모두 0을 돌려주어도 출력이 0이 아닙니다. 어텐션은 self.attention으로 계산하세요.",
            )
        layer.attention = given
        for where, start, end, made, _ in _stream(layer, x, case):
            alone = _layer(x[:, start:end], weights, sizes, np.arange(start, end))[0]
            expect_close(
                made, out[:, start:end], where, tol=5e-5, dtype="float32",
                mistakes={"조각마다 위치가 0에서 다시 시작합니다. start를 넘기세요.": wrong_out[:, start:end],
                          "앞의 캐시를 보지 않았습니다.": alone},
            )  # fmt: skip
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(layer(tf.constant(x))[0] ** 2)
        slopes = tape.gradient(total, layer.trainable_weights)
        expect(
            len(slopes) == 5 and all(slope is not None for slope in slopes),
            f"{case}: 기울기가 흐르지 않는 가중치가 있습니다. 가중치 다섯 개를 모두 TensorFlow의 연산으로 쓰세요.",
        )


def _silent(width: int):
    """Return an attention that gives zeros (B, T, width)."""
    return lambda q, c, kr, w_up, start: tf.zeros((q.shape[0], q.shape[2], width))


def _stream(layer, x, case: str):
    """Give ``x`` (B, T, width) at once, then in pieces; yield the case, the positions, the output and the cache."""
    names = "출력", "캐시"
    where = f"{case}, 한꺼번에"
    yield where, 0, x.shape[1], *expect_parts(layer(tf.constant(x)), names, where)
    cache, start = None, 0
    for count in CHUNKS:
        end = start + count
        where = f"{case}, 위치 {start}부터 토큰 {count}개"
        made, cache = expect_parts(
            layer(tf.constant(x[:, start:end]), cache=cache, start=start), names, where
        )
        yield where, start, end, made, cache
        start = end


def _layer(x, weights: dict, sizes: dict, positions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return output, c and turned k^R of a layer that reads ``x`` (B, T, width) as a whole."""
    batch, length, _ = x.shape
    q = (x.astype(float) @ weights["query"]).reshape(batch, length, sizes["heads"], -1).swapaxes(1, 2)
    c, kr = _compress(x, weights["down"], weights["gain"], sizes["kv_rank"])
    q, kr = _turn_end(q, sizes["rope"], positions), _turn(kr, positions)
    return _attention(q, c, kr, weights["up"], 0) @ weights["out"], c, kr


def _expect_cache(cache, wanted, mistakes, end: int, case: str) -> None:
    names = ("c", "k^R")
    cache = expect_parts(cache, names, f"{case}, 캐시")
    for name, part, whole, known in zip(names, cache, wanted, mistakes, strict=True):
        right = whole[:, :end]
        found = expect_array(part, f"{case}, 캐시의 {name}").shape
        shape = right.shape
        expect(
            len(found) == 3 and found[::2] == shape[::2],
            f"{case}: 캐시의 {name}의 모양이 {shape}이어야 하는데 {found}입니다. 펼친 키와 값을 두지 않습니다.",
        )
        expect(
            found == shape,
            f"{case}: 캐시의 {name}에 토큰 {end}개가 있어야 하는데 {found[1]}개입니다. 앞의 캐시 뒤에 이어 붙이세요.",
        )
        expect_close(
            part, right, f"{case}, 캐시의 {name}", tol=5e-5,
            mistakes={text: value[:, :end] for text, value in known.items()},
        )  # fmt: skip


@problem("흡수", minutes=10)
def absorbed(answer):
    """The same numbers as the naive way, and no tensor of every token times every head."""
    _expect_attention(answer, default_rng(1616), folded=True)


@problem("손익이 갈리는 쿼리 수", minutes=5)
def break_even(answer):
    """V3 and other sizes, short and long contexts, against the equation solved by hand."""
    for seen, heads, rank, nope, rope, value in (
        (1024, 128, 512, 128, 64, 128),
        (131072, 128, 512, 128, 64, 128),
        (100, 4, 4, 2, 3, 1),
        (7, 2, 40, 24, 8, 16),
        (5000, 16, 128, 32, 16, 48),
    ):
        case = f"S {seen}, H {heads}, d_c {rank}, d_n {nope}, d_R {rope}, d_v {value}"
        both = nope + value
        once, more = rank * both, 2 * rank - both

        def solve(once, more, seen=seen):
            return seen * once / (once + seen * more)

        expected = solve(once, more)
        expect_close(
            answer(seen, heads, rank, nope, rope, value), expected, case, tol=1e-9,
            mistakes={
                "S가 아주 클 때의 값이거나, 흡수에서 쿼리와 출력에 곱하는 항이 빠졌습니다.": once / more,
                "헤드 수가 남아 있습니다. 두 식의 모든 항에 H가 있어 지워집니다.": heads * expected,
                "헤드 수로 나누었습니다. 두 식의 모든 항에 H가 있어 지워집니다.": expected / heads,
                "펼치기의 T·S 항에 d_R이 없습니다.": solve(once, more + rope),
                "흡수의 T·S 항에 d_R이 없습니다.": solve(once, more - rope),
                "흡수의 T·S 항에는 d_c가 두 번 있습니다. 점수와 가중합입니다.": solve(once, more - rank),
                "역수입니다.": 1 / expected,
                "d_v를 빠뜨렸습니다.": solve(rank * nope, 2 * rank - nope),
                "토큰 수와 같다고 놓았습니다.": float(seen),
            },
        )  # fmt: skip


@functools.cache
def _llama() -> Llama:
    return Llama(Config(vocab=11, width=24, layers=3, heads=4, kv_heads=2, hidden=8))


@problem("캐시 재기", minutes=5)
def bytes_per_token(answer):
    """A Llama, and functions whose layers differ in kind, in type and in the number of tensors."""
    rng = default_rng(1618)
    latent = lambda b, t, kind: (tf.zeros((b, t, 5), kind), tf.zeros((b, t, 2), kind))  # noqa: E731
    mixed = {
        "bfloat16인 층과 float32인 층": lambda b, t: [latent(b, t, tf.bfloat16), latent(b, t, tf.float32)],
        "텐서가 셋인 층": lambda b, t: [(*latent(b, t, tf.float32), tf.zeros((b, t, 3), tf.int8))] * 2,
        "모양이 다른 층": lambda b, t: [latent(b, t, tf.float16), (tf.zeros((b, 2, t, 4)),) * 2],
    }
    models = {"Llama": _llama()}
    for name, make in mixed.items():
        models[name] = lambda tokens, make=make: (tf.zeros((*np.shape(tokens), 11)), make(*np.shape(tokens)))
    for name, model in models.items():
        for batch, length in ((1, 6), (3, 4)):
            case = f"{name}, 토큰 ({batch}, {length})"
            tokens = rng.integers(0, 11, (batch, length))
            logits, caches = model(tokens)
            layers = [sum(np.asarray(part).nbytes for part in cache) for cache in caches]
            numbers = sum(np.asarray(part).size for cache in caches for part in cache)
            first = sum(np.asarray(cache[0]).nbytes for cache in caches)
            count, total = batch * length, sum(layers)
            got = answer(model, tokens)
            expect_close(
                got, total / count, case, tol=1e-9,
                mistakes={
                    "층 하나만 재었습니다.": layers[0] / count,
                    "마지막 층만 재었습니다.": layers[-1] / count,
                    "층마다 텐서 하나만 재었습니다.": first / count,
                    "바이트가 아니라 수의 개수입니다.": numbers / count,
                    "수마다 4바이트로 정해 두었습니다. 텐서의 자료형에 따라 다릅니다.": 4 * numbers / count,
                    "수마다 8바이트로 세었습니다. float64로 바꾸지 마세요.": 8 * numbers / count,
                    "토큰의 수로 나누지 않았습니다.": total,
                    "배치의 수로 나누지 않았습니다.": total / length,
                    "배치의 수로만 나누었습니다.": total / batch,
                    "로짓까지 재었습니다.": (total + np.asarray(logits).nbytes) / count,
                },
            )  # fmt: skip
