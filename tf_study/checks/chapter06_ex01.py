"""Checks of practice 6.1: tokens, an embedding matrix, an LSTM by hand, a classifier of film reviews, a threshold."""

import itertools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from scipy.special import expit
from sklearn.metrics import precision_recall_curve

from tf_study import data
from tf_study.data import unseen
from tf_study.expect import (
    expect,
    expect_accuracy,
    expect_close,
    expect_parts,
    expect_type,
    untouched,
)
from tf_study.practice import TRAINING_SECONDS, problem

TARGET = 0.80


@problem("영화평의 토큰화", minutes=5)
def tokenize(answer):
    """Written cases first, then properties on real reviews."""
    cases = {
        "예시": (
            "I DON’T like it.<br /><br />It's a 2-hour bore",
            "i do not like it it s a 2 hour bore",
        ),
        "붙어 있는 태그": ("good<br>bad<i>so</i> so", "good bad so so"),
        "줄을 넘는 태그": ("good<br\n/>bad", "good bad"),
        "속성이 있는 태그": ('see <a href="x.y/Z">this</a>film', "see this film"),
        "짝이 없는 <": ("I <3 it; 2 < 5", "i 3 it 2 5"),
        "can't와 won't": ("CAN'T, won't. Can’t WON’T", "can not will not can not will not"),
        "그 밖의 n't": ("isn't wasn’t COULDN'T", "is not was not could not"),
        "따로 적은 n't": ("I do n't, and ca n't", "i do not and ca not"),
        "cannot과 not": ("cannot, not, knot", "cannot not knot"),
        "부정이 아닌 아포스트로피": ("'They're' the film’s, I'd say", "they re the film s i d say"),
        "영어에 없는 글자": ("A café in Amélie: très bon", "a café in amélie très bon"),
        "밑줄과 숫자": ("_so_ good 10/10 snake_case 007", "so good 10 10 snake case 007"),
        "문장 부호뿐": ("... -- <br /> !?", ""),
        "빈 글자열": ("", ""),
    }
    for case, (text, expected) in cases.items():
        _tokens(answer, text, expected.split(), case)
    for k, text in enumerate(data.imdb(train=60, test=2)[0][0]):
        expected = _split(text)
        got = answer(text)
        _same_tokens(got, expected, f"훈련 세트의 영화평 {k}번")
        again = answer(" ".join(expected))
        _same_tokens(again, expected, f"훈련 세트의 영화평 {k}번의 토큰을 이어 다시 자른 것")


def _split(text: str) -> list[str]:
    """Cut by character classes after marking what lies between < and >; no regular expression."""
    out = ""
    while "<" in text and ">" in text.partition("<")[2]:
        before, _, rest = text.partition("<")
        out += before + " "
        text = rest.partition(">")[2]
    text = (out + text).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    for short, spelled in (("can't", "can not"), ("won't", "will not"), ("n't", " not")):
        text = spelled.join(text.split(short))
    return ["".join(part) for kind, part in itertools.groupby(text, str.isalnum) if kind]


def _tokens(answer: Callable, text: str, expected: list[str], case: str) -> None:
    _same_tokens(answer(text), expected, case)


def _same_tokens(got, expected: list[str], case: str) -> None:
    expect_type(got, list, case)
    expect(all(isinstance(token, str) for token in got), f"{case}: 토큰은 모두 str이어야 합니다.")
    for k, (mine, right) in enumerate(zip(got, expected, strict=False)):
        expect(mine == right, f"{case}: {k}번 토큰이 {right!r}이어야 하는데 {mine!r}입니다.")
    expect(len(got) == len(expected), f"{case}: 토큰이 {len(expected)}개여야 하는데 {len(got)}개입니다.")


@problem("임베딩 행렬", minutes=10)
def embedding_matrix(answer):
    """Rows looked up one by one, the mean from the found ones, the share that was found."""
    rng = np.random.default_rng(601)
    names = [f"w{k}" for k in range(40)]
    order = [names[k] for k in rng.permutation(40)]
    cases = {
        "예시": (["", "[UNK]", "good", "bad", "zzz"], ["bad", "good"], np.array([[-1.0, 0.0], [3.0, 2.0]])),
        "순서가 다른 40낱말": (["", "[UNK]", *order[:25]], names, rng.normal(size=(40, 7))),
        "GloVe에 없는 낱말이 섞임": (
            ["", "[UNK]", *order[:6], "none", *order[6:9], "missing"],
            names[:30],
            rng.normal(3, 1, size=(30, 4)),
        ),
        "낱말 하나, 차원 하나": (["", "[UNK]", "w3"], names, rng.normal(size=(40, 1))),
        "아무것도 찾지 못함": (["", "[UNK]", "none", "missing"], names, rng.normal(size=(40, 3))),
        "GloVe에도 빈 낱말과 [UNK]가 있음": (
            ["", "[UNK]", "w1", "x"],
            ["", "[UNK]", "w1"],
            rng.normal(size=(3, 5)),
        ),
    }
    for case, (vocabulary, words, vectors) in cases.items():
        for dtype in (float, np.float32):
            _embedded(answer, vocabulary, words, vectors.astype(dtype), f"{case}({np.dtype(dtype).name})")


def _embedded(answer: Callable, vocabulary: list, words: list, vectors, case: str) -> None:
    table = {}
    for word, vector in zip(words, vectors, strict=True):
        table[word] = vector.astype(float)
    known = [word in table for word in vocabulary[2:]]
    found = [table[word] for word in vocabulary[2:] if word in table]
    middle = np.mean(found, axis=0) if found else np.zeros(vectors.shape[1])
    body = [table.get(word, middle) for word in vocabulary[2:]]
    expected = np.array([np.zeros_like(middle), middle, *body])
    with untouched(case, vocabulary, words, vectors):
        got = expect_parts(answer(vocabulary, words, vectors), ("행렬", "포함률"), case)

    def mistakes():
        mask = np.array([False, True, *(not k for k in known)])[:, None]
        return {
            "0번 행은 채우기이므로 0이어야 합니다.": np.array([middle, middle, *body]),
            "0번 행은 채우기이므로 0이어야 합니다. ": np.array([table.get("", middle), middle, *body]),
            "찾지 못한 낱말의 행이 0입니다. 찾은 낱말의 평균이어야 합니다.": np.where(mask, 0, expected),
            "미등록 낱말 1번의 행이 0입니다.": np.array([0 * middle, 0 * middle, *body]),
            "평균은 GloVe 전체가 아니라 어휘에서 찾은 낱말로 냅니다.": np.where(
                mask, vectors.mean(0), expected
            ),
            "평균이 아니라 합입니다.": np.where(mask, middle * len(found), expected),
        }

    expect_close(got[0], expected, f"{case}: 행렬", dtype="float32", mistakes=mistakes)
    share = len(found) / (len(vocabulary) - 2)
    expect_close(
        got[1],
        share,
        f"{case}: 포함률",
        mistakes={
            "0번과 1번은 낱말이 아니므로 세지 않습니다.": len(found) / len(vocabulary),
            "GloVe의 낱말 수로 나누었습니다.": len(found) / len(words),
            "찾은 낱말의 수입니다. 비율이어야 합니다.": float(len(found)),
        },
    )


@problem("LSTM 한 걸음", minutes=10)
def lstm_step(answer):
    """One step against LSTMCell, several against LSTM."""
    zero = (np.zeros((3, 4)), np.zeros((1, 4)), np.zeros(4))
    got = answer(np.ones((1, 3)), np.zeros((1, 1)), np.array([[2.0]]), *zero)
    got = expect_parts(got, ("h", "c"), "예시")
    expect_close(got[1], [[1.0]], "예시: c", mistakes={"c가 그대로입니다.": [[2.0]]})
    expect_close(got[0], [[np.tanh(1) / 2]], "예시: h", mistakes={"h에는 새 c를 씁니다.": [[np.tanh(2) / 2]]})
    rng = np.random.default_rng(602)
    for case, (b, d, n, scale) in {
        "(B, d, n) = (4, 3, 5)": (4, 3, 5, 1.0),
        "배치가 하나 (1, 2, 3)": (1, 2, 3, 1.0),
        "유닛이 하나 (3, 6, 1)": (3, 6, 1, 1.0),
        "d = n = 4": (2, 4, 4, 1.0),
        "큰 입력으로 게이트가 꽉 열리고 닫힘 (3, 2, 4)": (3, 2, 4, 40.0),
    }.items():
        cell = keras.layers.LSTMCell(n)
        cell.build((b, d))
        weights = [rng.normal(size=w.shape).astype("float32") for w in cell.weights]
        cell.set_weights(weights)
        x = (rng.normal(size=(b, d)) * scale).astype("float32")
        h, c = (rng.normal(size=(b, n)).astype("float32") for _ in range(2))
        expected_h, (_, expected_c) = cell(x, [tf.constant(h), tf.constant(c)])
        a = np.split((x @ weights[0] + h @ weights[1] + weights[2]).astype(float), 4, axis=1)
        i, f, o = (expit(a[k]) for k in (0, 1, 3))
        new = f * c + i * np.tanh(a[2])
        about_c = {
            "Keras의 순서는 i, f, c, o입니다.": f * c + i * np.tanh(a[3]),
            "망각 게이트와 입력 게이트가 바뀌었습니다.": i * c + f * np.tanh(a[2]),
            "후보에 시그모이드를 씌웠습니다.": f * c + i * expit(a[2]),
            "후보에 tanh를 씌우지 않았습니다.": f * c + i * a[2],
            "망각 게이트를 곱하지 않았습니다.": c + i * np.tanh(a[2]),
        }
        about_h = {
            "새 c가 아니라 지난 c를 썼습니다.": o * np.tanh(c),
            "c에 tanh를 씌우지 않았습니다.": o * new,
            "출력 게이트를 곱하지 않았습니다.": np.tanh(new),
        }
        for kind, make in (("배열", np.array), ("텐서", tf.constant)):
            got = answer(*(make(v) for v in (x, h, c, *weights)))
            got = expect_parts(got, ("h", "c"), f"{case}, {kind}")
            expect_close(got[1], expected_c, f"{case}, {kind}: c", tol=1e-4, mistakes=about_c)
            expect_close(got[0], expected_h, f"{case}, {kind}: h", tol=1e-4, mistakes=about_h)
    layer, weights, x = _lstm(rng, 3, 5, 2, 4)
    h = c = np.zeros((3, 4), "float32")
    for t in range(5):
        h, c = answer(x[:, t], h, c, *weights)
    expect_close(h, layer(x), "keras.layers.LSTM이 다섯 걸음 읽은 h", tol=1e-4)


def _lstm(rng: np.random.Generator, b: int, t: int, d: int, n: int) -> tuple:
    """Return a layer with drawn weights, the weights and a batch (b, t, d)."""
    layer = layers.LSTM(n)
    layer.build((b, t, d))
    weights = [rng.normal(size=w.shape).astype("float32") for w in layer.weights]
    layer.set_weights(weights)
    return layer, weights, rng.normal(size=(b, t, d)).astype("float32")


@problem("채운 자리를 뺀 마지막 상태", minutes=10)
def encode(answer):
    """The last state of each sentence against Keras' LSTM with a mask."""
    bias = np.array([0.0, 0.0, np.log(3), 0.0])
    zero = np.zeros((1, 4))
    expected = [[np.tanh(0.4) / 2], [np.tanh(0.6) / 2]]
    got = answer(np.ones((3, 2, 1)), np.array([2, 1, 0]), zero, zero, bias)
    expect_close(
        got,
        [expected[1], expected[0], [0.0]],
        "예시",
        mistakes={
            "모든 문장을 끝까지 읽었습니다.": [expected[1]] * 3,
            "길이가 0인 문장의 결과는 첫 상태 0입니다.": [expected[1], expected[0], expected[1]],
            "길이가 0인 문장의 결과는 첫 상태 0입니다. ": [expected[1], expected[0], expected[0]],
        },
    )
    rng = np.random.default_rng(603)
    for case, (lengths, d, n) in {
        "길이 5, 3, 1": ([5, 3, 1], 2, 4),
        "길이 0이 섞임": ([2, 0, 4, 0], 3, 3),
        "문장 하나": ([3], 4, 2),
        "모두 같은 길이": ([4, 4], 1, 5),
        "모두 짧아 끝이 다 채워짐": ([2, 1, 3], 2, 3),
    }.items():
        steps = 6 if "짧아" in case else max(lengths)
        lengths = np.array(lengths)
        layer, weights, x = _lstm(rng, len(lengths), steps, d, n)
        mask = np.arange(steps) < lengths[:, None]
        expected = np.asarray(layer(x, mask=tf.constant(mask)))
        expected = np.where(lengths[:, None] == 0, 0.0, expected)

        def mistakes(layer=layer, weights=weights, x=x, mask=mask, lengths=lengths):
            sequence = layers.LSTM(layer.units, return_sequences=True)
            sequence.build(x.shape)
            sequence.set_weights(weights)
            every, rows = np.asarray(sequence(x)), np.arange(len(x))
            return {
                "채운 자리까지 읽었습니다.": every[:, -1],
                "채운 자리를 0으로 바꾸어도 LSTM은 그 자리를 읽습니다.": layer(x * mask[..., None]),
                "한 걸음 앞의 상태입니다.": every[rows, lengths - 2],
                "한 걸음 뒤의 상태입니다.": every[rows, np.minimum(lengths, x.shape[1] - 1)],
                "모든 상태의 평균입니다.": every.mean(axis=1),
            }

        with untouched(case, x, lengths, *weights):
            got = answer(x, lengths, *weights)
        expect_close(got, expected, case, tol=1e-4, mistakes=mistakes)
        tensors = [tf.constant(v) for v in (x, lengths, *weights)]
        expect_close(answer(*tensors), expected, f"{case}, 텐서", tol=1e-4)
        noisy = np.where(mask[..., None], x, 100.0).astype("float32")
        expect_close(answer(noisy, lengths, *weights), expected, f"{case}, 채운 자리가 100", tol=1e-4)


@problem("양방향 LSTM 분류기", minutes=10)
def build_model(answer):
    """The model against two Keras LSTMs that read every sentence alone, without padding."""
    rng = np.random.default_rng(604)
    for case, (v, d, n, rate, tune) in {
        "예시": (10, 8, 3, 0.5, False),
        "임베딩도 배움": (7, 2, 4, 0.25, True),
        "유닛이 하나": (5, 3, 1, 0.75, False),
    }.items():
        matrix = rng.normal(size=(v, d)).astype("float32")
        matrix[0] = 0.0
        with untouched(case, matrix):
            model = answer(matrix, units=n, dropout=rate, tune=tune)
        expect_type(model, keras.Model, case)
        lstm = [(d, 4 * n), (n, 4 * n), (4 * n,)]
        shapes = [(v, d), *lstm, *lstm, (2 * n, 1), (1,)]
        real = [tuple(w.shape) for w in model.weights]
        expect(real == shapes, f"{case}: 가중치의 모양이 {shapes}이어야 하는데 {real}입니다.")
        table = model.weights[0]
        expect_close(table, matrix, f"{case}: 임베딩의 값")
        trained = any(w is table for w in model.trainable_weights)
        text = "배워야 하는데 동결했습니다" if tune else "동결해야 하는데 학습됩니다"
        expect(trained == tune, f"{case}: tune={tune}이면 임베딩을 {text}.")
        count = len(model.trainable_weights)
        expect(count == 8 + tune, f"{case}: 학습되는 가중치가 {8 + tune}개여야 하는데 {count}개입니다.")
        for weight in model.weights[1:]:
            weight.assign(rng.normal(size=weight.shape))
        weights = [np.asarray(w) for w in model.weights]
        sentences = [rng.integers(1, v, size) for size in (5, 3, 1, 4)]
        ids = np.zeros((4, 5), "int32")
        for row, sentence in zip(ids, sentences, strict=True):
            row[: len(sentence)] = sentence
        ends = _reader(d, weights[1:4]), _reader(d, weights[4:7])
        states = np.array([_both_ends(matrix, ends, s) for s in sentences])  # (4, 2n)
        expected = states @ weights[7] + weights[8]

        def mistakes(matrix=matrix, ends=ends, weights=weights, ids=ids, expected=expected):
            read = np.array([_both_ends(matrix, ends, row) for row in ids])
            return {
                "시그모이드를 씌웠습니다. 로짓을 돌려주어야 합니다.": expit(expected),
                "채운 자리를 읽었습니다. mask_zero를 주었는지 보세요.": read @ weights[7] + weights[8],
            }

        got = model(ids, training=False)
        expect_close(got, expected, f"{case}: 로짓", tol=1e-4, mistakes=mistakes)
        wider = np.pad(ids, ((0, 0), (0, 3)))
        expect_close(model(wider, training=False), expected, f"{case}: 0을 더 채운 로짓", tol=1e-4)
        expect_close(model(ids[2:3, :1], training=False), expected[2:3], f"{case}: 낱말 하나", tol=1e-4)
        _dropped(model, ids[:1], states[0], weights[7][:, 0], expected[0, 0], rate, case)


def _reader(d: int, weights: list) -> layers.Layer:
    layer = layers.LSTM(weights[1].shape[0])
    layer.build((1, None, d))
    layer.set_weights(weights)
    return layer


def _both_ends(matrix, readers: tuple, sentence) -> np.ndarray:
    """Read one sentence (T,) forwards and backwards with two separate layers; (2n,)."""
    orders = sentence, sentence[::-1]
    states = [np.asarray(layer(matrix[ids][None]))[0] for layer, ids in zip(readers, orders, strict=True)]
    return np.concatenate(states)


def _dropped(model, ids, state, w, logit: float, rate: float, case: str) -> None:
    """Compare mean and spread of the training outputs with those of dropout on the joined state."""
    out = np.asarray(model(np.repeat(ids, 3000, axis=0), training=True))[:, 0]
    spread = np.sqrt(rate / (1 - rate) * np.sum((state * w) ** 2))
    expect(out.std() > 1e-4, f"{case}: 학습 모드에서 같은 글의 로짓이 모두 같습니다. 드롭아웃이 없습니다.")
    expect(
        abs(out.mean() - logit) < 6 * spread / np.sqrt(len(out)) + 1e-3
        and abs(out.std() - spread) < 0.1 * spread + 1e-3,
        f"{case}: 학습 모드의 로짓이 다르게 흩어집니다. 드롭아웃은 이어 붙인 상태에만, 비율 {rate}로 거세요.",
    )


@problem("임곗값 고르기", minutes=10)
def threshold_for_precision(answer):
    """Threshold and recall against scikit-learn's curve."""
    logits, labels = np.array([3.0, 2.0, 1.0, 0.0, -1.0]), np.array([1, 1, 0, 1, 0])
    for precision, expected in ((0.75, (0.0, 1.0)), (0.9, (2.0, 2 / 3)), (0.5, (-1.0, 1.0))):
        _chosen(answer, logits, labels, precision, f"예시, 정밀도 {precision}", expected)
    rng = np.random.default_rng(605)
    labels = rng.integers(0, 2, 80)
    scores = labels * 1.5 + rng.normal(size=80)
    for precision in (0.62, 0.77, 0.91):
        _chosen(answer, scores, labels, precision, f"섞인 80편, 정밀도 {precision}")
        _chosen(answer, np.round(scores), labels, precision, f"같은 로짓이 많은 80편, 정밀도 {precision}")
        _chosen(answer, scores - 20, labels, precision, f"모두 음수인 로짓, 정밀도 {precision}")
    _chosen(answer, scores.astype("float32"), labels, 0.8, "float32 로짓")
    top = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    _chosen(answer, top, np.array([0, 1, 1, 1, 0]), 0.7, "가장 큰 로짓이 틀림, 정밀도 0.7")
    _chosen(answer, top, np.array([0, 1, 0, 0, 0]), 0.6, "닿을 수 없는 정밀도")
    _chosen(answer, top, np.array([1, 0, 1, 1, 1]), 0.78, "처음부터 만족")
    _chosen(answer, np.array([-2.0]), np.array([1]), 0.99, "한 편")


def _chosen(answer: Callable, logits, labels, precision: float, case: str, expected=None) -> None:
    points, recalls, candidates = precision_recall_curve(labels, logits)
    good = np.flatnonzero(points[:-1] >= precision)
    right = (float(candidates[good[0]]), float(recalls[good[0]])) if len(good) else (np.inf, 0.0)
    assert expected is None or np.allclose(right, expected)  # The curve agrees with the text.
    with untouched(case, logits, labels):
        got = expect_parts(answer(logits, labels, precision), ("임곗값", "재현율"), case)
    if not len(good):
        expect_close(got[0], np.inf, f"{case}: np.inf여야 하는 임곗값")
    else:
        last = float(candidates[good[-1]])
        expect_close(
            got[0],
            right[0],
            f"{case}: 임곗값",
            mistakes={
                "조건에 맞는 가장 큰 값입니다. 재현율이 낮습니다.": last,
                "확률로 바꾼 값입니다. 로짓의 임곗값이어야 합니다.": float(expit(right[0])),
            },
        )
    share = float(np.mean(logits >= right[0]))
    mistakes = {
        "고른 평의 비율입니다. 재현율의 분모는 1인 평의 수입니다.": share,
        "정밀도를 돌려주었습니다.": float(points[good[0]]) if len(good) else 0.0,
    }
    expect_close(got[1], right[1], f"{case}: 재현율", mistakes=mistakes)


@problem("영화평 분류", minutes=15, seconds=TRAINING_SECONDS)
def predict_reviews(answer):
    """Accuracy on reviews that no loader returns, in another order, alone, few at a time and with tags.

    What protects the verdict, and what does not, is said in ``tf_study/data/unseen.py``.
    """
    texts, labels = unseen.reviews("en")
    hint = "학습률, 에포크 수, 임베딩의 동결을 바꾸어 보세요."
    logits = expect_accuracy(answer, texts, labels, TARGET, "처음 보는 영화평", hint)
    case = "태그와 굽은 아포스트로피만 다른 글"
    changed = ["<br />" + text.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}") for text in texts[:7]]
    expect_close(answer(changed), logits[:7], case, tol=1e-2)
