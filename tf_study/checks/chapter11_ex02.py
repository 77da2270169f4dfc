"""Checks of practice 11.2: the learner's kernels run on NumPy, with every mask, byte and Philox call known.

``tf_study.mini_triton`` runs the kernels, so that Triton need not be there. The references are float64, the
gradient of TensorFlow, and for the random words Random123's published vectors and TensorFlow's own Philox.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from types import FunctionType

import numpy as np
import tensorflow as tf

from tf_study import mini_triton
from tf_study.expect import Mismatch, expect, expect_array, expect_close, expect_type, untouched
from tf_study.practice import problem

KNOWN = {  # of the Random123 library: counter, key → words
    "Random123의 0만 넣은 값": ((0,) * 4, (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    "Random123의 비트가 모두 1인 값": (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    "Random123의 원주율의 비트": (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
}
LOW = np.uint64(0xFFFFFFFF)
TOL = 1e-6  # float32 against float64; measured 1e-7
ROUNDING = 2.0**-24  # of a score that is multiplied by log2(e) for exp2
SEED = 0x123456789ABCDEF


def _numbers(rows: int, cols: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(1000 * seed + 10 * rows + cols).normal(0, 2, (rows, cols)).astype("float32")


def _launch(kernel, case: str, rows: int, *args, **constants) -> dict[str, int]:
    """Run a kernel with a program a row; what is wrong with its addresses or names is a ``Mismatch``."""
    function = getattr(kernel, "fn", kernel)
    expect(isinstance(function, FunctionType), f"{case}: 커널은 def로 정의한 함수여야 합니다.")
    try:
        return mini_triton.launch(function, (rows,), *args, **constants)
    except IndexError as error:
        found = re.fullmatch(r"(load|store) at (-?\d+) of an array of (\d+)", str(error))
        if found is None:
            raise
        verb = {"load": "읽었습니다", "store": "썼습니다"}[found[1]]
        raise Mismatch(
            f"{case}: 원소가 {found[3]}개인 배열의 {found[2]}번을 {verb}. 마스크와 주소를 보세요."
        ) from None
    except AttributeError as error:
        if error.obj is mini_triton.language:
            raise Mismatch(
                f"{case}: 여기에는 tl.{error.name} 함수가 없습니다. 문제 1 앞의 표에 있는 이름으로 작성하세요."
            ) from None
        if isinstance(error.obj, np.ndarray | np.generic):
            raise Mismatch(
                f"{case}: 여기에는 블록의 메서드 .{error.name}이 없습니다. tl의 함수로 작성하세요."
            ) from None
        raise


@contextlib.contextmanager
def _philox_calls() -> Iterator[list[int]]:
    """Note how many counters every call of Philox in the block has."""
    calls, original = [], mini_triton.philox

    def noted(counter, key, rounds=10):
        words = original(counter, key, rounds)
        calls.append(words[0].size)
        return words

    mini_triton.philox = noted
    try:
        yield calls
    finally:
        mini_triton.philox = original


def _expect_kernel(
    kernel,
    case: str,
    inputs: list[np.ndarray],
    scalars: tuple,
    block: int,
    expected: np.ndarray,
    mistakes: Mapping[str, object],
    keep: np.ndarray | None = None,
    calls: int | None = None,
) -> None:
    """Run a kernel on rows and compare its output, its bytes and its Philox calls.

    Args:
        kernel: takes the inputs, the output, the number of columns, then ``scalars``.
        case: which input this is, in Korean.
        inputs: arrays (rows, cols), each read once.
        scalars: what follows the number of columns.
        block: the constant BLOCK.
        expected: the output in float64.
        mistakes: as for ``expect_close``.
        keep: which elements the mask keeps, where zeros of the output tell.
        calls: how many counters Philox may get.
    """
    rows, cols = expected.shape
    out = np.full((rows, cols), np.nan, "float32")
    with untouched(case, *inputs), _philox_calls() as counted:
        moved = _launch(kernel, case, rows, *inputs, out, cols, *scalars, BLOCK=block)
    largest = np.abs(inputs[0][np.isfinite(inputs[0])]).max()
    expect_close(out, expected, case, tol=max(TOL, ROUNDING * largest), mistakes=mistakes)
    if keep is not None:
        differing = int(np.sum((out != 0) != keep))
        expect(differing == 0, f"{case}: 원소 {differing}개에서 마스크가 다릅니다.")
    wanted = {"load": 4 * rows * cols * len(inputs), "store": 4 * rows * cols}
    for kind, verb in (("load", "읽어야"), ("store", "써야")):
        expect(
            moved[kind] == wanted[kind],
            f"{case}: {wanted[kind]:,}바이트를 {verb} 하는데 {moved[kind]:,}바이트입니다. "
            "입력은 한 번씩 읽고 결과는 한 번만 씁니다.",
        )
    if calls is not None:
        expect(
            sum(counted) == calls,
            f"{case}: Philox의 카운터를 {calls}개 써야 하는데 {sum(counted)}개를 썼습니다.",
        )


def _softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    e = np.exp(x.astype(float) - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _padded_softmax(x: np.ndarray, block: int, value: float) -> np.ndarray:
    """Return what comes out if the lanes beyond the row hold a value."""
    wide = np.pad(x, ((0, 0), (0, block - x.shape[1])), constant_values=value)
    return _softmax(wide)[:, : x.shape[1]]


def _naive_softmax(x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        e = np.exp(x)
        return e / e.sum(-1, keepdims=True, dtype=np.float32)


@problem("안정적인 소프트맥스", minutes=5)
def softmax(answer):
    """Ragged and full rows, scores as large as float32 bears, and masked ones."""
    masked = _numbers(4, 40)
    masked[np.triu_indices(4, 30, 40)] = -np.inf
    cases = {
        "3행 1000열, 블록 1024": (_numbers(3, 1000), 1024),
        "5행 7열, 블록 8": (_numbers(5, 7), 8),
        "4행 16열, 블록 16": (_numbers(4, 16), 16),
        "1행 1열, 블록 1": (_numbers(1, 1), 1),
        "점수가 90 근처": (90 + _numbers(3, 20), 32),
        "점수가 -200 근처": (-200 + _numbers(3, 20), 32),
        "점수에 -inf가 있음": (masked, 64),
    }
    for case, (x, block) in cases.items():
        mistakes = {
            "최댓값을 빼지 않으면 지수가 넘칩니다.": _naive_softmax(x),
            "남는 칸이 합에 더해졌습니다. other를 보세요.": _padded_softmax(x, block, 0.0),
            "합으로 나누지 않았습니다.": np.exp(x - x.max(-1, keepdims=True)),
        }
        _expect_kernel(answer, case, [x], (), block, _softmax(x), mistakes, calls=0)


def _words(counter, key, rounds: int = 10, wide=True, bump="after", swap=False, order=(0, 1)) -> np.ndarray:
    """Return Philox4x32 of counters (..., 4), or what known mistakes in it give."""
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter, np.uint64), -1, 0)
    keys = [np.uint64(key[i]) for i in order]
    top, mask = np.uint64(32), LOW
    for _ in range(rounds):
        if bump == "before":
            keys = [(k + np.uint64(b)) & LOW for k, b in zip(keys, mini_triton.PHILOX_KEY, strict=True)]
        a, b = mini_triton.PHILOX_ROUND[0] * c0, mini_triton.PHILOX_ROUND[1] * c2
        if not wide:
            a, b = a & LOW, b & LOW
        parts = [(a >> top, a & mask), (b >> top, b & mask)]
        (high_a, low_a), (high_b, low_b) = [p[::-1] for p in parts] if swap else parts
        c0, c1, c2, c3 = high_b ^ c1 ^ keys[0], low_b, high_a ^ c3 ^ keys[1], low_a
        if bump == "after":
            keys = [(k + np.uint64(b)) & LOW for k, b in zip(keys, mini_triton.PHILOX_KEY, strict=True)]
    return np.stack([c0, c1, c2, c3], -1).astype(np.uint32)


def _tensorflow_words(counter, key, count: int) -> np.ndarray:
    """Return TensorFlow's words (count, 4) of a counter and those after it."""
    pairs = [int(low) | int(high) << 32 for low, high in (key, counter[:2], counter[2:])]
    op = tf.raw_ops.StatelessRandomUniformFullIntV2
    seed, start = tf.constant(pairs[:1], tf.uint64), tf.constant(pairs[1:], tf.uint64)
    return op(shape=[count, 4], key=seed, counter=start, alg=1, dtype=tf.uint32).numpy()


@problem("NumPy의 Philox", minutes=10)
def philox(answer):
    """The published vectors, TensorFlow's words for many counters, other rounds and shapes."""
    rng = np.random.default_rng(0)
    cases = {
        name: (np.array(c, np.uint32), key, 10, np.array([int(word, 16) for word in words.split()]))
        for name, (c, key, words) in KNOWN.items()
    }
    for number in range(3):
        start = rng.integers(0, 2**32, 4, dtype=np.uint32)
        start[0] = 2**32 - 1 - number  # the carry goes to the next word
        key = tuple(int(k) for k in rng.integers(0, 2**32, 2))
        whole = (int(start[0]) | int(start[1]) << 32) + np.arange(9).astype(object)
        counter = np.array([[w & 0xFFFFFFFF, w >> 32, *start[2:]] for w in whole], np.uint32)
        expected = _tensorflow_words(start, key, 9)
        cases[f"TensorFlow의 난수 연산, {number + 1}번 시드"] = (counter, key, 10, expected)
    counter = rng.integers(0, 2**32, (2, 3, 4), dtype=np.uint32)
    key = (0xDEADBEEF, 0x87654321)
    for rounds in (7, 1):
        expected = np.stack(mini_triton.philox(np.moveaxis(counter, -1, 0), key, rounds), -1)
        cases[f"카운터 (2, 3, 4), {rounds}라운드"] = (counter, key, rounds, expected)
    wide = counter.astype(np.int64)
    cases["int64인 카운터 (2, 3, 4)"] = (wide, key, 10, _words(wide, key))
    for case, (given, key, rounds, expected) in cases.items():
        mistakes = {
            "32비트로 곱하면 위쪽 32비트가 사라집니다.": _words(given, key, rounds, wide=False),
            "라운드마다 키에 상수를 더하지 않았습니다.": _words(given, key, rounds, bump="never"),
            "키의 상수는 첫 라운드가 끝난 뒤부터 더합니다.": _words(given, key, rounds, bump="before"),
            "곱의 위와 아래 32비트가 바뀌었습니다.": _words(given, key, rounds, swap=True),
            "키의 두 단어가 바뀌었습니다.": _words(given, key, rounds, order=(1, 0)),
            "rounds만큼 되풀이해야 합니다.": _words(given, key, 10 if rounds != 10 else 9),
        }
        with untouched(case, given):
            got = answer(given, key) if rounds == 10 else answer(given, key, rounds)
        expect_close(got, expected, case, tol=0, dtype=np.uint32, mistakes=mistakes)


def _uniform(seed: int, counter: np.ndarray) -> np.ndarray:
    return mini_triton.rand4x(seed, counter)[0]


def _element(rows: int, cols: int, stride: int | None = None) -> np.ndarray:
    """Return the numbers (rows, cols) of elements whose rows are ``stride`` apart."""
    return np.arange(rows)[:, None] * (cols if stride is None else stride) + np.arange(cols)


@problem("드롭아웃을 융합한 순전파", minutes=10)
def softmax_dropout(answer):
    """Known masks, one of them with a random number that is exactly p."""
    tied = float(_uniform(SEED, _element(4, 50))[2, 20])
    cases = {
        "3행 1000열, p=0.1": (_numbers(3, 1000), 1024, SEED, 0.1),
        "5행 7열, p=0.5": (_numbers(5, 7), 8, 7, 0.5),
        "8행 16열, p=0.25": (_numbers(8, 16), 16, 2**40 + 3, 0.25),
        "4행 50열, 난수 하나가 정확히 p": (_numbers(4, 50), 64, SEED, tied),
        "p=0": (_numbers(2, 30), 32, 1, 0.0),
        "점수가 90 근처, p=0.3": (90 + _numbers(3, 20), 32, 5, 0.3),
    }
    for case, (x, block, seed, p) in cases.items():
        rows, cols = x.shape
        u, y, limit = _uniform(seed, _element(rows, cols)), _softmax(x), np.float32(p)
        keep = u >= limit
        kept = y / (1 - p)
        mistakes = {
            "1-p를 곱하지 말고 1-p로 나눕니다.": keep * y * (1 - p),
            "남은 원소를 1/(1-p)배 하지 않았습니다.": keep * y,
            "u가 p보다 작은 원소를 버립니다.": (u < limit) * kept,
            "u가 정확히 p인 원소는 남깁니다.": (u > limit) * kept,
            "행마다 같은 난수를 썼습니다.": (_uniform(seed, _element(rows, cols, 0)) >= limit) * kept,
            "카운터의 행 간격은 cols입니다.": (_uniform(seed, _element(rows, cols, block)) >= limit) * kept,
            "드롭아웃은 소프트맥스 다음입니다.": _softmax(np.where(keep, x / (1 - p), 0)),
            "버린 원소도 소프트맥스의 합에 들어갑니다.": _renormalized(y, keep),
            "최댓값을 빼지 않으면 지수가 넘칩니다.": np.where(keep, _naive_softmax(x) / (1 - p), 0),
            "남는 칸이 합에 더해졌습니다.": keep * _padded_softmax(x, block, 0.0) / (1 - p),
        }
        options = {"keep": keep, "calls": rows * block}
        _expect_kernel(answer, case, [x], (seed, p), block, keep * kept, mistakes, **options)


def _renormalized(y: np.ndarray, keep: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return keep * y / (keep * y).sum(-1, keepdims=True)


def _row_words(seed: int, rows: int, block: int, stride: int | None = None) -> np.ndarray:
    """Return the words (rows, block // 4, 4) of the counters of each row, ``stride`` apart."""
    return np.stack(mini_triton.randint4x(seed, _element(rows, block // 4, stride)), -1)


def _four_cases() -> dict[str, tuple]:
    """Return name → (x, block, seed, threshold): both halves of 32 bits, a tie, nothing dropped."""
    tied = int(_row_words(SEED, 4, 64).reshape(4, 64)[2, 21])
    return {
        "3행 1000열, p=0.1": (_numbers(3, 1000), 1024, SEED, round(0.1 * 2**32)),
        "5행 7열, p=0.6": (_numbers(5, 7), 8, 7, round(0.6 * 2**32)),
        "8행 16열, p=0.25": (_numbers(8, 16), 16, 2**40 + 3, 2**30),
        "4행 50열, 난수 하나가 정확히 threshold": (_numbers(4, 50), 64, SEED, tied),
        "p=0": (_numbers(2, 30), 32, 1, 0),
        "1행 3열, 블록 4": (_numbers(1, 3), 4, 3, 2**31),
        "점수가 90 근처, p=0.3": (90 + _numbers(3, 20), 32, 5, round(0.3 * 2**32)),
    }


@problem("Philox 한 번에 네 원소", minutes=15)
def softmax_dropout4(answer):
    """Every word in its place, compared without a sign, and a quarter of the calls."""
    for case, (x, block, seed, threshold) in _four_cases().items():
        rows, cols = x.shape
        scale = 2**32 / (2**32 - threshold)
        four, y = _row_words(seed, rows, block), _softmax(x)
        words = four.reshape(rows, block)[:, :cols]
        keep = words >= threshold

        kept, signed = y * scale, words - np.where(words < 2**31, 0, 2**32)
        shuffled = {
            "행마다 같은 카운터를 썼습니다.": _row_words(seed, rows, block, 0),
            "카운터의 행 간격은 BLOCK // 4입니다.": _row_words(seed, rows, block, block),
            "단어의 순서가 a, c, b, d입니다. join이 무엇을 잇는지 보세요.": four[..., [0, 2, 1, 3]],
            "이웃한 네 원소가 단어 a, b, c, d를 차례로 씁니다.": four.swapaxes(1, 2),
            "네 원소가 같은 단어를 썼습니다.": four[..., :1].repeat(4, -1),
        }
        mistakes = {
            "scale은 이미 1/(남는 비율)이니 곱합니다.": keep * y / scale,
            "남은 원소에 scale을 곱하지 않았습니다.": keep * y,
            "threshold보다 작은 원소를 버립니다.": ~keep * kept,
            "threshold와 같은 단어는 남깁니다.": (words > threshold) * kept,
            "단어는 부호 없는 정수로 비교합니다.": (signed >= threshold) * kept,
            "원소마다 카운터가 하나인 문제 3의 마스크입니다.": kept
            * (mini_triton.randint4x(seed, _element(rows, cols))[0] >= threshold),
            "최댓값을 빼지 않으면 지수가 넘칩니다.": np.where(keep, _naive_softmax(x) * scale, 0),
            "남는 칸이 합에 더해졌습니다.": keep * _padded_softmax(x, block, 0.0) * scale,
        }
        for cause, other in shuffled.items():
            mistakes[cause] = (other.reshape(rows, block)[:, :cols] >= threshold) * kept
        scalars, options = (seed, threshold, scale), {"keep": keep, "calls": rows * block // 4}
        _expect_kernel(answer, case, [x], scalars, block, keep * kept, mistakes, **options)


def _gradient(x: np.ndarray, factor: np.ndarray, grad: np.ndarray) -> np.ndarray:
    """Return TensorFlow's gradient of sum(softmax(x) * factor * grad) in float64."""
    scores = tf.constant(x, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        loss = tf.reduce_sum(tf.nn.softmax(scores) * factor * grad)
    return tape.gradient(loss, scores).numpy()


@problem("마스크를 다시 만드는 역전파", minutes=10)
def softmax_dropout_grad(answer):
    """TensorFlow's gradient through the mask that the forward pass had."""
    for case, (x, block, seed, threshold) in _four_cases().items():
        rows, cols = x.shape
        scale = 2**32 / (2**32 - threshold)
        grad = _numbers(rows, cols, seed=1)
        keep = _row_words(seed, rows, block).reshape(rows, block)[:, :cols] >= threshold
        expected = _gradient(x, keep * scale, grad)

        y, g = _softmax(x), grad.astype(float)
        total = lambda part, y=y: (y * part).sum(-1, keepdims=True)  # noqa: E731
        dropped = keep * scale * g
        again = _row_words(seed + 1, rows, block).reshape(rows, block)[:, :cols] >= threshold
        redrawn = again * scale * g
        mistakes = {
            "Σ y·g 항을 빼지 않았습니다.": y * dropped,
            "합에도 드롭아웃을 거친 기울기를 씁니다.": y * (dropped - total(g)),
            "y를 곱해서 더해야 합니다.": y * (dropped - dropped.sum(-1, keepdims=True)),
            "기울기에도 scale을 곱합니다.": y * (keep * g - total(keep * g)),
            "드롭아웃의 마스크가 없습니다.": y * (g - total(g)),
            "버린 원소의 기울기도 0이 아닙니다.": keep * y * (dropped - total(dropped)),
            "앞의 y가 빠졌습니다.": dropped - total(dropped),
            "더하지 말고 뺍니다.": y * (dropped + total(dropped)),
            "순전파와 다른 시드의 마스크입니다.": y * (redrawn - total(redrawn)),
        }
        scalars, inputs = (seed, threshold, scale), [x, grad]
        calls = rows * block // 4
        _expect_kernel(answer, case, inputs, scalars, block, expected, mistakes, calls=calls)


def _expect_item(got, expected, case: str, tol: float, mistakes: Mapping[str, object]) -> None:
    got = expect_array(got, case)
    expect(
        got.shape == () and got.dtype.kind in "iuf",
        f"{case}: 수 하나가 나와야 하는데 모양이 {got.shape}, 자료형이 {got.dtype}입니다.",
    )
    value = got.item()
    cause = next(
        (text for text, wrong in mistakes.items() if abs(value - wrong) <= tol < abs(wrong - expected)), ""
    )
    expect(
        abs(value - expected) <= tol,
        f"{case}: 기대한 값은 {expected:.10g}, 나온 값은 {value:.10g}입니다. {cause}".rstrip(),
    )


@problem("바이트와 8비트의 편향", minutes=10)
def design(answer):
    """Thresholds that are rounded up, down and not at all; rows that fill their block and rows that do not."""
    cases = [
        (8192, 4096, 0.1, 8),
        (8192, 4096, 0.1, 32),
        (64, 1000, 0.1, 16),
        (64, 1000, 0.3, 8),
        (100, 513, 0.25, 8),
        (3, 16, 0.5, 32),
        (7, 17, 0.0, 8),
        (16, 2048, 0.9, 16),
    ]
    for rows, cols, p, bits in cases:
        case = f"{rows}행 {cols}열, p={p:g}, {bits}비트"
        got = answer(rows, cols, p, bits)
        levels, size, block = 2**bits, rows * cols, 1 << (cols - 1).bit_length()
        threshold = round(p * levels)
        real = 1 - threshold / levels
        expected = {
            "threshold": (threshold, 0, {
                "내림하지 말고 가장 가까운 정수로 반올림합니다.": int(p * levels),
                "올림하지 말고 가장 가까운 정수로 반올림합니다.": int(np.ceil(p * levels)),
                "칸의 수는 2^bits입니다.": round(p * (levels - 1)),
            }),
            "scale": (1 / real, 1e-12, {
                "p가 아니라 실제로 버리는 확률 threshold/2^bits를 씁니다.": 1 / (1 - p),
                "남는 확률의 역수입니다.": real,
            }),
            "bias": (real / (1 - p) - 1, 1e-13, {
                "부호가 반대입니다.": 1 - real / (1 - p),
                "1을 빼야 합니다.": real / (1 - p),
                "나눗셈의 위아래가 바뀌었습니다.": (1 - p) / real - 1,
                "기댓값의 차이가 아니라 비율입니다.": real - (1 - p),
            }),
            "calls": (rows * block * bits // 128, 0, {
                "블록은 cols 이상인 2의 거듭제곱이고, 남는 칸의 난수도 만듭니다.": -(-size * bits // 128),
                "호출 하나에서 128비트가 나옵니다.": rows * block * bits // 32,
                "행마다 호출합니다.": block * bits // 128,
                "호출 하나로 128 / bits개를 만듭니다.": rows * block,
            }),
            "fused": (20 * size, 0, {
                "역전파도 입력 x를 다시 읽습니다.": 16 * size,
                "원소의 수가 아니라 바이트입니다.": 5 * size,
                "순전파와 역전파를 더합니다.": 8 * size,
                "마스크는 메모리를 거치지 않습니다.": 22 * size,
            }),
            "separate": (38 * size, 0, {
                "마스크는 1바이트입니다.": 44 * size,
                "마스크를 읽고 쓰는 양이 빠졌습니다.": 36 * size,
                "역전파가 빠졌습니다.": 17 * size,
                "원소의 수가 아니라 바이트입니다.": 10 * size,
            }),
        }  # fmt: skip
        expect_type(got, dict, case)
        expect(
            set(got) == set(expected),
            f"{case}: 키가 {', '.join(expected)}여야 하는데 {', '.join(map(str, got))}입니다.",
        )
        for key, (value, tol, mistakes) in expected.items():
            _expect_item(got[key], value, f"{case}, {key}", tol, mistakes)
