"""Checks of practice 10.1, a memory calculator: counted variables, published totals, and cases with every trap.

Totals of published models are what their files hold; the other references list every tensor by its shape.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
import tensorflow as tf

from tf_study.expect import expect, expect_array, expect_type, untouched
from tf_study.practice import problem

GIB = 2**30
SIZES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1, "float64": 8}
SHARE = 0.9  # of a card that a plan may fill
MOST_BATCH, MOST_NODES, NODE = 4096, 512, 8
ROUNDING = 0.01  # of bytes that an answer computed with fractions such as s / h


@dataclass(frozen=True)
class Architecture:
    """The fields of the notebook's class of the same name."""

    V: int
    h: int
    L: int
    a: int
    kv: int
    d: int
    f: int
    rows: int = 0
    gated: bool = True
    norm: str = "rms"
    bias: str = "none"
    qk_norm: bool = False
    head: str = "own"
    dropout: bool = False


@dataclass(frozen=True)
class Recipe:
    """The fields of the notebook's class of the same name."""

    weight: str = "bfloat16"
    gradient: str = "bfloat16"
    moments: int = 2
    state: str = "float32"
    master: bool = True


def _gpt2(h: int, L: int, a: int) -> Architecture:
    old = {"gated": False, "norm": "layer", "bias": "all", "head": "tied", "dropout": True}
    return Architecture(50257, h, L, a, a, h // a, 4 * h, 1024, **old)


LLAMA8 = Architecture(128256, 4096, 32, 32, 8, 128, 14336)
LLAMA70 = Architecture(128256, 8192, 80, 64, 8, 128, 28672)
LLAMA1 = Architecture(128256, 2048, 16, 32, 8, 64, 8192, head="tied")
PUBLISHED = {  # how many numbers the files of the models hold
    "GPT-2": (_gpt2(768, 12, 12), 124_439_808),
    "GPT-2 XL": (_gpt2(1600, 48, 25), 1_557_611_200),
    "BERT-base": (
        replace(_gpt2(768, 12, 12), V=30522, rows=514, head="pooler"),
        109_482_240,
    ),
    "Llama-2 7B": (Architecture(32000, 4096, 32, 32, 32, 128, 11008), 6_738_415_616),
    "Llama-3 8B": (LLAMA8, 8_030_261_248),
    "Llama-3 70B": (LLAMA70, 70_553_706_496),
    "Llama-3.1 405B": (Architecture(128256, 16384, 126, 128, 8, 128, 53248), 405_853_388_800),
    "Llama-3.2 1B": (LLAMA1, 1_235_814_400),
    "Qwen2.5 7B": (Architecture(152064, 3584, 28, 28, 4, 128, 18944, bias="qkv"), 7_615_616_512),
    "Qwen3 4B": (
        Architecture(151936, 2560, 36, 32, 8, 128, 9728, qk_norm=True, head="tied"),
        4_022_468_096,
    ),
}
SMALL = {  # sizes that all differ, so that a mixed-up term is noticed
    "작은 Llama 구조": Architecture(101, 24, 3, 6, 2, 5, 40),
    "작은 GPT 구조": Architecture(97, 20, 2, 4, 4, 5, 80, 13, False, "layer", "all", False, "tied", True),
    "LayerNorm과 SwiGLU, 편향": Architecture(53, 16, 1, 4, 1, 6, 28, 7, True, "layer", "all"),
    "RMSNorm과 GELU, qkv 편향": Architecture(61, 18, 4, 3, 3, 7, 50, 0, False, "rms", "qkv", True, "tied"),
    "풀러가 있는 인코더": Architecture(43, 12, 2, 2, 2, 9, 30, 11, False, "layer", "all", False, "pooler"),
}


@problem("실제 변수의 바이트", minutes=5)
def held_bytes(answer):
    """Variables that are shared, look alike, are frozen or have unusual types."""
    kernel = keras.Variable(np.ones((3, 4)), dtype="float32", name="kernel")
    same = keras.Variable(np.ones((3, 4)), dtype="float32", name="kernel")
    half = keras.Variable(np.ones((5, 2)), dtype="bfloat16")
    kinds = {"int8": 7, "bool": 6, "int64": 5, "float64": 3, "float16": 2}
    tensors = [tf.zeros([count], tf.as_dtype(kind)) for kind, count in kinds.items()]
    table = keras.layers.Embedding(50, 6)
    first, second = _reader(table, 8), _reader(table, 3)
    tower = [keras.Variable(np.zeros((2, 2)), dtype="bfloat16") for _ in range(6)]
    step = tf.Variable(0, dtype=tf.int64)
    cases = {
        "변수 하나": [kernel],
        "float32와 bfloat16": [kernel, half],
        "빈 목록": [],
        "이름과 값이 같은 다른 변수 둘": [kernel, same],
        "같은 변수가 세 번": [kernel, half, kernel, kernel],
        "int8, bool, int64, float64, float16 텐서": tensors,
        "모양이 ()인 변수와 (0, 4)인 텐서": [step, tf.zeros([0, 4]), half],
        "모양이 같은 bfloat16 변수 여섯": tower,
        "임베딩을 공유하는 모델 둘": first.weights + second.weights,
        "동결한 층이 있는 모델": _frozen().weights,
    }
    for name, given in cases.items():
        copied = list(given)
        got = answer(copied)
        same_list = len(copied) == len(given) and all(map(operator.is_, copied, given))
        expect(same_list, f"{name}: 받은 목록을 바꾸었습니다. 복사한 것에서 계산하세요.")
        once = list({id(v): v for v in given}.values())
        counts = [math.prod(v.shape) for v in once]
        sizes = [tf.as_dtype(v.dtype).size for v in once]
        expected = sum(count * size for count, size in zip(counts, sizes, strict=True))
        every = sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in given)
        alike = {(tuple(v.shape), str(v.dtype)): i for i, v in enumerate(once)}.values()
        mistakes = {
            "같은 변수를 두 번 셌습니다.": every,
            "바이트가 아니라 원소의 수입니다.": sum(counts),
            "모두 4바이트로 셌습니다.": 4 * sum(counts),
            "모양이나 이름이 같아도 객체가 다르면 따로 셉니다.": sum(counts[i] * sizes[i] for i in alike),
        }
        _expect_number(got, expected, name, mistakes)


def _reader(table: keras.layers.Layer, units: int) -> keras.Model:
    ids = keras.Input((4,), dtype="int32")
    return keras.Model(ids, keras.layers.Dense(units)(table(ids)))


def _frozen() -> keras.Model:
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4), keras.layers.BatchNormalization()])
    model.layers[0].trainable = False
    return model


@problem("파라미터의 수", minutes=10)
def parameters(answer):
    """Small architectures of all kinds, then published ones."""
    cases = {name: (c, _count(_tensors(c))) for name, c in SMALL.items()} | PUBLISHED
    for name, (c, expected) in cases.items():
        got = answer(c)
        mistakes = {
            "공유하는 출력 층을 또 셌습니다.": expected + (c.V * c.h if c.head == "tied" else 0),
            "따로 있는 출력 층이 빠졌습니다.": expected - (c.V * c.h if c.head == "own" else 0),
            "키와 값의 헤드는 kv개입니다.": _count(_tensors(replace(c, kv=c.a))),
            "헤드의 폭은 h / a가 아니라 d입니다.": _count(_tensors(replace(c, d=c.h // c.a))),
            "gated이면 MLP의 행렬이 셋, 아니면 둘입니다.": _count(_tensors(replace(c, gated=not c.gated))),
            "편향의 수를 확인하세요. 출력 층에는 편향이 없습니다.": _count(_tensors(replace(c, bias="none"))),
            "qkv이면 쿼리, 키, 값에만 편향이 있습니다.": _count(_tensors(replace(c, bias="all"))),
            "rows행의 임베딩이 빠졌습니다.": expected - c.rows * c.h,
            "블록 밖의 정규화가 빠졌습니다.": expected - c.h * (1 + (c.norm == "layer")),
            "LayerNorm에는 벡터가 둘, RMSNorm에는 하나입니다.": _count(
                _tensors(replace(c, norm="rms" if c.norm == "layer" else "layer"))
            ),
            "qk_norm의 두 벡터가 빠졌습니다.": _count(_tensors(replace(c, qk_norm=False))),
            "풀러가 빠졌습니다.": expected - (c.h**2 + c.h if c.head == "pooler" else 0),
        }
        _expect_number(got, expected, name, mistakes)


def _tensors(c: Architecture) -> list[tuple[int, ...]]:
    """Return the shape of every weight."""
    norm = [(c.h,)] * (2 if c.norm == "layer" else 1)
    qkv = [(c.h, n * c.d) for n in (c.a, c.kv, c.kv)]
    rest = [(c.a * c.d, c.h), *[(c.h, c.f)] * (1 + c.gated), (c.f, c.h)]
    biased = {"none": [], "qkv": qkv, "all": qkv + rest}[c.bias]
    biases = [(columns,) for _, columns in biased]
    block = [*norm, *norm, *qkv, *rest, *biases, *[(c.d,)] * (2 * c.qk_norm)]
    heads = {"own": [(c.h, c.V)], "tied": [], "pooler": [(c.h, c.h), (c.h,)]}
    return [(c.V, c.h), (c.rows, c.h), *block * c.L, *norm, *heads[c.head]]


def _count(shapes: Sequence[tuple[int, ...]]) -> int:
    return sum(map(math.prod, shapes))


@problem("상태의 바이트와 ZeRO", minutes=10)
def state_bytes(answer):
    """Recipes, frozen parameters, stages, and numbers of devices that do not divide."""
    adam, full = Recipe(), Recipe("float32", "float32", 2, "float32", False)
    others = {
        "fp32 SGD": Recipe("float32", "float32", 0, "float32", False),
        "bf16 모멘텀": Recipe("bfloat16", "bfloat16", 1, "bfloat16", False),
        "8비트 Adam": Recipe("bfloat16", "bfloat16", 2, "int8", True),
        "fp32로 모으는 기울기": Recipe("float16", "float32", 2, "float32", True),
        "모멘트 셋": Recipe("float64", "float32", 3, "float32", False),
    }
    cases = [("혼합 정밀도 Adam", 1000, 1000, adam, 0, 1), ("fp32 Adam", 1000, 1000, full, 0, 1)]
    cases += [(name, 900, 900, recipe, 0, 1) for name, recipe in others.items()]
    cases += [("일부를 동결한 모델", 1000, 40, adam, 0, 1), ("모두 동결한 모델", 77, 0, adam, 0, 1)]
    for stage in range(4):
        cases += [
            (f"75억 개, ZeRO-{stage}, 64장", 7_500_000_000, 7_500_000_000, adam, stage, 64),
            (f"ZeRO-{stage}, 한 장", 1003, 1003, full, stage, 1),
            (f"나누어떨어지지 않는 ZeRO-{stage}, 7장", 1003, 1003, adam, stage, 7),
            (f"일부를 동결한 ZeRO-{stage}, 8장", 1003, 3, others["8비트 Adam"], stage, 8),
        ]
    for name, *given in cases:
        total, trainable, recipe, stage, devices = given
        expected = _states(*given)

        mistakes = {
            "학습하지 않는 파라미터에는 기울기도 상태도 없습니다.": _states(total, total, *given[2:]),
            "동결한 가중치도 메모리에 있습니다.": _states(trainable, *given[1:]),
            "fp32 사본이 빠졌습니다.": _states(total, trainable, replace(recipe, master=False), *given[3:]),
            "1단계는 상태, 2단계는 기울기까지, 3단계는 가중치까지 나눕니다.": _states(*given[:3], 3, devices),
            "devices로 나누지 않았습니다.": _states(*given[:3], 0, 1),
            "나머지가 있으면 올림합니다. 가장 많이 든 장치의 바이트입니다.": _states(
                total // devices * devices, trainable // devices * devices, *given[2:]
            ),
        }

        _expect_items(answer(*given), expected, name, mistakes)
    expect(answer(64, 64, adam) == answer(64, 64, adam, 0, 1), "stage와 devices의 기본값은 0과 1입니다.")


def _states(total: int, trainable: int, recipe: Recipe, stage: int, devices: int) -> dict[str, int]:
    def part(count: int, first_stage: int) -> int:
        return math.ceil(count / devices) if stage >= first_stage else count

    state = 4 * recipe.master + recipe.moments * SIZES[recipe.state]
    return {
        "weights": SIZES[recipe.weight] * part(total, 3),
        "gradients": SIZES[recipe.gradient] * part(trainable, 2),
        "states": state * part(trainable, 1),
    }


def _expect_number(got, expected: int, case: str, mistakes: Mapping[str, int] | None = None) -> None:
    """Raise ``Mismatch`` unless ``got`` is this number; the difference often is the size of what is missing."""
    got = expect_array(got, case)
    expect(
        got.shape == () and got.dtype.kind in "iuf",
        f"{case}: 수 하나가 나와야 하는데 모양이 {got.shape}, 자료형이 {got.dtype}입니다.",
    )
    value = got.item()
    cause = next((text for text, wrong in (mistakes or {}).items() if value == wrong != expected), "")
    apart = f"{abs(value - expected):,}만큼 {'큽니다' if value > expected else '작습니다'}"
    expect(
        abs(value - expected) < ROUNDING,
        f"{case}: 기대한 값은 {expected:,}, 나온 값은 {value:,}입니다. {apart}. {cause}".rstrip(),
    )


def _expect_items(
    got,
    expected: Mapping[str, int],
    case: str,
    mistakes: Mapping[str, Mapping[str, int]] | None = None,
) -> None:
    """Raise ``Mismatch`` unless ``got`` is a dictionary of these numbers."""
    expect_type(got, dict, case)
    expect(
        set(got) == set(expected),
        f"{case}: 키가 {', '.join(expected)}이어야 하는데 {', '.join(map(str, got))}입니다.",
    )
    for key, value in expected.items():
        known = {text: wrong[key] for text, wrong in (mistakes or {}).items()}
        _expect_number(got[key], value, f"{case}, {key}", known)


@problem("활성화 값", minutes=10)
def activation_bytes(answer):
    """GPT-3 as in the paper, Llama-3 as in the lecture, and small shapes with every kind of attention."""
    gpt3 = replace(_gpt2(12288, 96, 96), rows=2048)
    cases = [
        ("GPT-3, 길이 2048", gpt3, 2048, 1, "plain", False),
        ("GPT-3, 선택적 재계산", gpt3, 2048, 1, "selective", False),
        ("Llama-3 8B, 길이 8192", LLAMA8, 8192, 1, "flash", False),
        ("Llama-3 8B, 배치 3, 체크포인팅", LLAMA8, 8192, 3, "flash", True),
    ]
    for name, c in SMALL.items():
        for attention in ("plain", "selective", "flash"):
            for checkpoint in (False, True):
                how = f"{name}, {attention}{', 체크포인팅' if checkpoint else ''}"
                cases.append((how, c, 10, 3, attention, checkpoint))
    cases.append(("층 하나, 체크포인팅", replace(SMALL["작은 GPT 구조"], L=1), 6, 2, "plain", True))
    for name, *given in cases:
        c, s, b, attention, checkpoint = given

        bare, kept = replace(c, dropout=False), _activations(*given)
        wide = {"blocks": _activations(c, s, b, "plain", given[4])["blocks"]}
        mistakes = {
            "어텐션의 s×s 행렬을 남기지 않는 방법입니다.": kept | wide,
            "드롭아웃의 마스크가 빠졌습니다. 1바이트씩입니다.": _activations(bare, *given[1:]),
            "마스크는 2바이트가 아니라 1바이트입니다.": _activations(*given, mask=2),
            "마스크는 4바이트가 아니라 1바이트입니다.": _activations(*given, mask=4),
            "키와 값의 헤드는 kv개입니다.": _activations(replace(c, kv=c.a), *given[1:]),
            "쿼리의 폭은 h가 아니라 a·d입니다.": _activations(replace(c, d=c.h // c.a), *given[1:]),
            "층의 수 L을 곱하지 않았습니다.": _activations(replace(c, L=1), *given[1:]),
            "다시 계산하는 층 하나의 중간값도 피크에 있습니다.": kept | {"blocks": 2 * s * b * c.h * c.L},
            "다시 계산하는 층의 입력을 두 번 셌습니다.": kept | {"blocks": kept["blocks"] + 2 * s * b * c.h},
            "로짓은 fp32라 4바이트입니다.": kept | {"logits": kept["logits"] // 2},
            "풀러만 있는 모델에는 로짓이 없습니다.": kept | {"logits": 4 * s * b * c.V},
            "배치 b를 곱하지 않았습니다.": _activations(c, s, 1, *given[3:]),
        }
        _expect_items(answer(*given), _activations(*given), name, mistakes)


def _activations(
    c: Architecture, s: int, b: int, attention: str, checkpoint: bool, mask: int = 1
) -> dict[str, int]:
    """Add up the tensors of a block one by one: (how many values a token, bytes of a value)."""
    q, k, mlp = c.a * c.d, c.kv * c.d, [c.f, c.f, c.f] if c.gated else [c.f, c.f]
    tensors = [(n, 2) for n in (c.h, c.h, c.h, c.h, q, k, k, q, *mlp)]  # norms, inputs of qkv and MLP, ...
    if attention == "plain":
        tensors += [(c.a * s, 2)] * (1 + c.dropout) + [(c.a * s, mask)] * c.dropout
    if attention == "flash":
        tensors += [(c.a, 4)]
    tensors += [(c.h, mask)] * (2 * c.dropout)
    block = s * b * sum(count * size for count, size in tensors)
    kept = 2 * s * b * c.h  # the input of a block is the input of its first norm
    blocks = (c.L - 1) * kept + block if checkpoint else c.L * block
    return {"blocks": blocks, "logits": 0 if c.head == "pooler" else 4 * s * b * c.V}


@problem("KV 캐시와 추론", minutes=5)
def sequences(answer):
    """Published cards and models, exact fits, and a card that is too small."""
    small = SMALL["작은 Llama 구조"]
    each = 2 * small.L * small.kv * small.d * 16 * 2
    cases = [
        ("Llama-3 8B, 80 GiB, 길이 8192", LLAMA8, 8192, 80, 2 * 8_030_261_248, 2),
        ("Llama-3 70B, 160 GiB, 길이 4096", LLAMA70, 4096, 160, 2 * 70_553_706_496, 2),
        ("Llama-3 8B, 24 GiB, 1바이트 캐시", LLAMA8, 2048, 24, 2 * 8_030_261_248, 1),
        ("GPT-2 XL, 16 GiB", PUBLISHED["GPT-2 XL"][0], 1024, 16, 4 * 1_557_611_200, 4),
        ("가중치가 들어가지 않는 카드", LLAMA70, 128, 80, 2 * 70_553_706_496, 2),
        ("정확히 다섯 개", small, 16, 1, GIB - 5 * each, 2),
        ("다섯 개에서 1바이트 모자람", small, 16, 1, GIB - 5 * each + 1, 2),
        ("빈 메모리 없음", small, 16, 1, GIB, 2),
    ]
    for name, c, s, card, weights, size in cases:
        got = answer(c, s, card, weights, size)
        one = 2 * c.L * c.kv * c.d * s * size
        free = card * GIB - weights
        expected = max(0, free // one)
        mistakes = {
            "메모리의 단위는 GB(10억)가 아니라 GiB(2^30)입니다.": max(0, (card * 10**9 - weights) // one),
            "캐시에는 쿼리가 아니라 키와 값의 헤드 kv개만 있습니다.": max(
                0, free // (2 * c.L * c.a * c.d * s * size)
            ),
            "키와 값 두 가지를 저장합니다.": max(0, 2 * free // one),
            "층마다 캐시가 있습니다.": max(0, free * c.L // one),
            "가중치도 메모리에 있습니다.": card * GIB // one,
            "메모리가 모자라면 0입니다.": free // one,
            "하나를 다 넣지 못하면 세지 않습니다.": -(-free // one),
            "캐시 값 하나는 size바이트입니다.": max(0, free * size // (2 * one)),
        }
        _expect_number(got, expected, name, mistakes)
    default = answer(LLAMA8, 8192, 80, 2 * 8_030_261_248)
    _expect_number(default, 65, "size를 주지 않은 Llama-3 8B")


@problem("경계 찾기", minutes=5)
def first_true(answer):
    """Every border of small ranges and a few of large ones; how often and with what the test was called."""
    cases = [(border, limit) for limit in (1, 2, 3, 7, 8) for border in range(1, limit + 2)]
    cases += [(border, 10**6) for border in (1, 2, 3, 31337, 524288, 524289, 999_999, 10**6, 10**6 + 1)]
    for border, limit in cases:
        case = f"1~{limit}에서 {border}부터 참"
        if border > limit:
            case = f"1~{limit}에서 모두 거짓"
        asked = []

        def test(n, border=border, asked=asked):
            asked.append(n)
            return n >= border

        got = answer(test, limit)
        outside = [n for n in asked if not isinstance(n, int | np.integer) or not 1 <= n <= limit]
        expect(
            not outside, f"{case}: test는 1에서 {limit}까지의 정수로만 부르는데 {outside[:1]}로 불렀습니다."
        )
        if border > limit:
            expect(got is None, f"{case}: 참이 없으면 None이어야 하는데 {got!r}입니다.")
        else:
            known = {"마지막 거짓입니다.": border - 1, "참이 된 다음 수입니다.": border + 1}
            _expect_number(got, border, case, known)
        most = 2 * limit.bit_length() + 2
        expect(
            len(asked) <= most,
            f"{case}: test를 많아도 {most}번 부를 수 있는데 {len(asked)}번 불렀습니다. 구간을 절반씩 줄이세요.",
        )


OPTIONS = [
    ("그대로", "plain", 0, False),
    ("플래시 어텐션", "flash", 0, False),
    ("ZeRO-1", "flash", 1, False),
    ("ZeRO-2", "flash", 2, False),
    ("ZeRO-2와 체크포인팅", "flash", 2, True),
    ("ZeRO-3", "flash", 3, False),
    ("ZeRO-3과 체크포인팅", "flash", 3, True),
]


@problem("진단 보고서", minutes=15)
def plan(answer):
    """Jobs that stop at each option, that no option saves, and that no number of nodes saves."""
    adam, full = Recipe(), Recipe("float32", "float32", 2, "float32", False)
    gpt2 = PUBLISHED["GPT-2"][0]
    cases = [
        ("GPT-2, 24 GiB 한 장", (gpt2, 1024, 8, full, 24, 1, OPTIONS)),
        ("GPT-2, 배치 24", (gpt2, 1024, 24, adam, 24, 1, OPTIONS)),
        ("Llama-3.2 1B, 24 GiB 여덟 장", (LLAMA1, 4096, 1, adam, 24, 8, OPTIONS)),
        ("Llama-3 8B, 80 GiB 여덟 장", (LLAMA8, 8192, 1, adam, 80, 8, OPTIONS)),
        ("Llama-3 8B, 배치 2", (LLAMA8, 8192, 2, adam, 80, 8, OPTIONS)),
        ("Llama-3 8B, 배치 16", (LLAMA8, 8192, 16, adam, 80, 8, OPTIONS)),
        ("Llama-3 8B, 24 GiB 여덟 장", (LLAMA8, 2048, 1, adam, 24, 8, OPTIONS)),
        ("Llama-3 70B, 80 GiB 여덟 장", (LLAMA70, 4096, 1, adam, 80, 8, OPTIONS)),
        ("Llama-3 70B, 80 GiB 32장", (LLAMA70, 4096, 1, adam, 80, 32, OPTIONS)),
        ("Llama-3 70B, 길이 2048, 64장", (LLAMA70, 2048, 1, adam, 80, 64, OPTIONS)),
        ("활성화 값만으로 넘치는 길이", (LLAMA8, 1_000_000, 1, adam, 24, 8, OPTIONS)),
        ("작은 모델, 가장 큰 배치가 4096", (SMALL["작은 Llama 구조"], 64, 2, adam, 80, 4, OPTIONS)),
        ("선택지가 하나", (LLAMA1, 2048, 1, adam, 24, 3, [("혼자", "selective", 3, True)])),
    ]
    for name, given in cases:
        with untouched(name, given[-1]):
            got = answer(*given)
        expected = _plan(*given)
        expect_type(got, dict, name)
        expect(
            set(got) == set(expected),
            f"{name}: 키가 {', '.join(expected)}여야 하는데 {', '.join(map(str, got))}입니다.",
        )
        for key in ("option", "dominant", "batch", "nodes"):
            plain = isinstance(got[key], str | int | float | np.integer | None)
            expect(plain, f"{name}: {key}의 형이 {type(got[key]).__name__}입니다.")
        why = _cause(got, given, expected)
        for key in ("option", "dominant"):
            expect(
                got[key] == expected[key],
                f"{name}, {key}: 기대한 값은 {expected[key]!r}, 나온 값은 {got[key]!r}입니다.{why}",
            )
        _expect_items(got["items"], expected["items"], f"{name}, items")
        for key in ("batch", "nodes"):
            if expected[key] is None:
                expect(
                    got[key] is None,
                    f"{name}: 서버를 {MOST_NODES}대까지 늘려도 들어가지 않으므로 {key}가 None이어야 하는데 {got[key]!r}입니다.{why}",
                )
            else:
                _expect_number(got[key], expected[key], f"{name}, {key}", {why.strip(): got[key]})


def _cause(got: dict, given: tuple, expected: dict) -> str:
    """Return the known mistake that gives what was got, if one does."""
    changes = {
        " 카드의 90%까지만 쓸 수 있습니다.": {"usable": GIB},
        " 메모리의 단위는 GB(10억)가 아니라 GiB(2^30)입니다.": {"usable": SHARE * 10**9},
        " 활성화 값과 로짓은 장치를 늘려도 줄지 않습니다.": {"spread": True},
    }
    for text, change in changes.items():
        wrong = _plan(*given, **change)
        if any(got[key] == wrong[key] != expected[key] for key in ("option", "dominant", "batch", "nodes")):
            return text
    return ""


def _plan(c, s, b, recipe, card, devices, options, usable=SHARE * GIB, spread=False) -> dict:
    total = _count(_tensors(c))

    def items(option, batch=b, count=devices) -> dict[str, int]:
        _, attention, stage, checkpoint = option
        kept = _activations(c, s, batch, attention, checkpoint)
        if spread:
            kept = {key: value // count for key, value in kept.items()}
        return _states(total, total, recipe, stage, count) | kept

    def fits(*how) -> bool:
        return sum(items(*how).values()) <= card * usable

    chosen = next((option for option in options if fits(option)), None)
    used = items(chosen or options[-1])
    batch = 0
    if chosen:
        batch = _last(lambda n: fits(chosen, n), MOST_BATCH)
    nodes = 1 + _last(lambda n: not fits(options[-1], b, NODE * n), MOST_NODES)
    return {
        "option": chosen and chosen[0],
        "items": used,
        "dominant": max(used, key=used.get),
        "batch": batch,
        "nodes": nodes if nodes <= MOST_NODES else None,
    }


def _last(test: Callable[[int], bool], limit: int) -> int:
    """Return the largest n up to ``limit`` for which a test that turns from true to false holds; 0 if none."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if test(middle) else (low, middle - 1)
    return low
