"""Checks of practice 6.2: from a raw Korean review to morphemes, ids, a mean of embeddings and its parts."""

import unicodedata
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from tf_study.data import unseen
from tf_study.expect import expect, expect_accuracy, expect_close, expect_logits, expect_type, untouched
from tf_study.practice import TRAINING_SECONDS, problem
from tf_study.profile import pick

TARGET = pick(small=0.78, full=0.80)


@problem("리뷰 다듬기", minutes=5)
def normalize_review(answer):
    """Texts whose clean form is written out here."""
    cases = {
        "예시": ("  재밌다ㅋㅋㅋㅋ\t10000원도  안 아까워요...... ", "재밌다ㅋㅋ 10000원도 안 아까워요.."),
        "두 번까지는 그대로": ("와아아  아아", "와아아 아아"),
        "세 번": ("하하하 ㅠㅠㅠ", "하하 ㅠㅠ"),
        "이어진 숫자": ("평점 1000점, 2222222", "평점 1000점, 2222222"),
        "숫자 뒤의 되풀이": ("00000!!!!", "00000!!"),
        "전각 숫자는 0~9가 아님": ("１１１１ 1111", "１１ 1111"),
        "글자 둘의 되풀이": ("하핫하핫하핫", "하핫하핫하핫"),
        "영문자와 이모티콘": ("Goooood ^^^^;;;;;", "Good ^^;;"),
        "대소문자": ("AAaa AAAaaa", "AAaa AAaa"),
        "줄바꿈과 전각 공백": ("맛\n\n\n있다\u3000\u3000정말", "맛 있다 정말"),
        "공백을 사이에 둔 글자": ("아 아 아 아", "아 아 아 아"),
        "호환 자모 하나": ("굿ㅋ", "굿ㅋ"),
        "NFKC가 바꾸는 글자": ("Ａ급 ①번", "Ａ급 ①번"),
        "풀어 쓴 글": (unicodedata.normalize("NFD", "하하하하 각각각 좋아요"), "하하 각각 좋아요"),
        "공백만": (" \t\n", ""),
        "빈 글": ("", ""),
    }
    for case, (text, expected) in cases.items():
        got = answer(text)
        expect_type(got, str, case)
        expect(
            got == expected,
            f"{case}: {_shown(expected)}이어야 하는데 {_shown(got)}입니다.{_cause(got, expected)}",
        )


def _shown(text: str) -> str:
    """Return the text with its code points if it would look like another one."""
    shown = repr(text)
    if text != unicodedata.normalize("NFC", text) or any("\u1100" <= c <= "\u11ff" for c in text):
        shown += f"(코드 포인트 {len(text)}개)"
    return shown


def _cause(got: str, expected: str) -> str:
    if got != unicodedata.normalize("NFC", got):
        return " 풀어 쓴 글이 남아 있습니다."
    if unicodedata.normalize("NFKC", expected) == got:
        return " NFKC가 아니라 NFC입니다."
    return ""


@problem("품사를 고른 형태소", minutes=10)
def morphemes(answer):
    """A tagger with a small dictionary that counts its calls."""
    example = ["하나도 안 졸렸다"]
    tagger, cache = FakeTagger(), {}
    _tokens(answer, example, tagger, {"Noun", "Verb"}, cache, "예시")
    _tokens(answer, example, tagger, {"Josa"}, cache, "예시를 다른 품사로 다시")
    expect(
        tagger.calls == example,
        f"예시: 같은 글을 {len(tagger.calls)}번 분석했습니다. cache에 있는 글은 다시 분석하지 않습니다.",
    )

    texts = ["맛이 좋다", "이 맛 안 좋았다", "맛이 좋다", "", "ㅋㅋ", "이 이", ""]
    for keep in (
        {"Noun", "Adjective"},
        {"Determiner", "Josa"},
        set(),
        {"KoreanParticle"},
        {"N", "Noun/Verb"},
    ):
        tagger, cache = FakeTagger(), {}
        case = f"글 일곱 편, 품사 {sorted(keep)}"
        _tokens(answer, texts, tagger, keep, cache, case)
        expect(
            sorted(tagger.calls) == sorted(set(texts)),
            f"{case}: 서로 다른 글 {len(set(texts))}편을 한 번씩 분석해야 하는데 {len(tagger.calls)}번 불렀습니다.",
        )
        expect(
            set(cache) == set(texts),
            f"{case}: cache의 열쇠는 받은 글 {len(set(texts))}편이어야 하는데 {len(cache)}개가 들어 있습니다.",
        )
        for text in texts:
            expect(
                list(cache[text]) == FakeTagger.analyse(text),
                f"{case}: cache에는 품사를 거르기 전의 pos 결과를 그대로 담으세요. {text!r}의 값이 다릅니다.",
            )
    tagger, cache = FakeTagger(), {"없던 글": [("미리", "Adverb"), ("담은", "Noun")]}
    got = answer(["없던 글"], tagger, {"Noun"}, cache)
    expect(got == [["담은/Noun"]], f"미리 채운 캐시: 캐시에 든 분석을 써야 하는데 나온 값은 {got}입니다.")
    _tokens(answer, [], FakeTagger(), {"Noun"}, {}, "글이 없음")


class FakeTagger:
    """An analyser of a few words with the interface of Okt; ``calls`` holds the analysed texts."""

    WORDS = {
        "하나도": [("하나", "Noun"), ("도", "Josa")],
        "안": [("안", "Noun")],
        "졸렸다": [("졸리다", "Verb")],
        "맛이": [("맛", "Noun"), ("이", "Josa")],
        "맛": [("맛", "Noun")],
        "이": [("이", "Determiner")],
        "좋다": [("좋다", "Adjective")],
        "좋았다": [("좋다", "Adjective")],
        "ㅋㅋ": [("ㅋㅋ", "KoreanParticle")],
    }

    def __init__(self) -> None:
        self.calls = []

    @classmethod
    def analyse(cls, text: str) -> list[tuple[str, str]]:
        return [pair for word in text.split() for pair in cls.WORDS[word]]

    def pos(self, phrase: str, norm: bool = False, stem: bool = False, join: bool = False) -> list:
        self.calls.append(phrase)
        pairs = self.analyse(phrase)
        if not stem:  # Without stemming Okt leaves the inflected form.
            pairs = [(f"{m}(활용형)" if p in ("Verb", "Adjective") else m, p) for m, p in pairs]
        if not norm:
            pairs = [(f"{m}(norm 없음)", p) for m, p in pairs]
        return [f"{m}/{p}" for m, p in pairs] if join else pairs


def _tokens(answer: Callable, texts: list[str], tagger, keep: set, cache: dict, case: str) -> None:
    """Compare the tokens with those of the fake dictionary."""
    with untouched(case, texts, keep):
        got = answer(texts, tagger, keep, cache)
    expect_type(got, list, case)
    expect(
        len(got) == len(texts),
        f"{case}: 글이 {len(texts)}편이니 리스트도 {len(texts)}개여야 하는데 {len(got)}개입니다.",
    )
    for text, row in zip(texts, got, strict=True):
        expected = [f"{m}/{p}" for m, p in FakeTagger.analyse(text) if p in keep]
        expect(isinstance(row, list), f"{case}: 글마다 리스트여야 하는데 {type(row).__name__}입니다.")
        expect(row == expected, f"{case}: {text!r}에서 {expected}이어야 하는데 {row}입니다.")


@problem("어휘", minutes=5)
def build_vocabulary(answer):
    """Counts by NumPy, ranked by its stable lexicographic sort."""
    rng = np.random.default_rng(602)
    words = np.array(["가", "나", "다/Noun", "다/Verb", "라", "마", "ㅋㅋ", "!", "b", "A"])
    random = [[str(w) for w in words[rng.integers(0, 10, n)]] for n in (7, 0, 12, 1, 20)]
    example = [["맛", "좋다", "맛"], ["국물", "좋다"], ["값"]]
    cases = {
        "예시": (example, 1, None),
        "예시, 최소 2회, 하나만": (example, 2, 1),
        "한 글에 여러 번": ([["나", "나", "나"], ["가"], ["가"]], 3, None),
        "동점": ([["나", "다", "가"], ["다", "나", "가"]], 1, 2),
        "동점이면서 모두 남김": ([["b", "a", "나", "c", "가"]], 1, None),
        "무작위 토큰": (random, 1, None),
        "무작위 토큰, 최소 4회": (random, 4, None),
        "무작위 토큰, 최소 2회, 다섯 개": (random, 2, 5),
        "토큰보다 큰 max_size": (example, 1, 100),
        "하나도 남기지 않음": (example, 1, 0),
        "남는 토큰이 없음": (example, 9, 3),
        "빈 글": ([[], []], 1, None),
    }
    for case, (documents, min_count, max_size) in cases.items():
        with untouched(case, documents):
            got = answer(documents, min_count, max_size)
        expect_type(got, dict, case)
        expected = _ranked(documents, min_count, max_size)
        expect(
            set(got) == set(expected),
            f"{case}: 어휘가 {list(expected)}여야 하는데 {list(got)}입니다.",
        )
        for w, number in expected.items():
            expect(
                got[w] == number and not isinstance(got[w], str | bool),
                f"{case}: {w!r}의 번호가 {number}이어야 하는데 {got[w]}입니다. 번호는 2부터, 많은 것이 앞, "
                "동점은 문자열의 오름차순입니다.",
            )


def _ranked(documents: list, min_count: int, max_size: int | None) -> dict[str, int]:
    tokens, counts = np.unique(np.array([w for row in documents for w in row], str), return_counts=True)
    order = np.lexsort((tokens, -counts))
    kept = [str(tokens[k]) for k in order if counts[k] >= min_count][:max_size]
    return dict(zip(kept, range(2, 2 + len(kept)), strict=True))


@problem("정수 행렬", minutes=10)
def encode(answer):
    """Lengths shorter than, equal to and longer than T, against Keras' pad_sequences."""
    rng = np.random.default_rng(603)
    vocabulary = {"맛": 2, "좋다": 3, "값": 4}
    large = {f"낱말{k}": k + 2 for k in range(30)}
    random = [[f"낱말{k}" for k in rng.integers(0, 40, n)] for n in (3, 9, 1, 0, 5, 25, 6)]
    cases = {
        "예시": ([["맛", "좋다"], ["값", "맛", "최고", "좋다"], []], vocabulary, 3),
        "글 한 편": ([["맛", "좋다", "값"]], vocabulary, 5),
        "꼭 맞는 길이": ([["값", "좋다"], ["맛", "맛"]], vocabulary, 2),
        "길이 1": ([["맛", "좋다"], ["값"], []], vocabulary, 1),
        "모두 미등록": ([["x", "y"], ["z"] * 9], vocabulary, 4),
        "모두 짧은 글": ([["맛"], ["값"]], vocabulary, 6),
        "무작위 글, T = 5": (random, large, 5),
        "무작위 글, T = 30": (random, large, 30),
    }
    for case, (documents, words, length) in cases.items():
        with untouched(case, documents, words):
            got = answer(documents, words, length)
        ids = [[words.get(w, 1) for w in row] or [1] for row in documents]
        pad = keras.utils.pad_sequences
        expect_close(
            got,
            pad(ids, length, padding="post", truncating="pre"),
            case,
            tol=0,
            dtype="int32",
            mistakes={
                "긴 글은 앞을 자르고 뒤를 남깁니다.": pad(ids, length, padding="post", truncating="post"),
                "0은 뒤에 채웁니다.": pad(ids, length, padding="pre", truncating="pre"),
                "빈 글은 미등록 토큰 1 하나만 든 글로 봅니다.": pad(
                    [[words.get(w, 1) for w in row] for row in documents],
                    length,
                    padding="post",
                    truncating="pre",
                ),
                "어휘에 없는 토큰은 1입니다.": pad(
                    [[words.get(w, 0) for w in row] or [1] for row in documents],
                    length,
                    padding="post",
                    truncating="pre",
                ),
            },
        )


@problem("마스크 평균", minutes=10)
def masked_average(answer):
    """Row by row with NumPy's mean over what is not padding."""
    for case, ids, table in _bags():
        expected = _means(ids, table)
        vectors, counts = table[ids], np.maximum((ids != 0).sum(1, keepdims=True), 1)
        mistakes = {
            "채운 자리까지 평균에 들었습니다.": vectors.mean(1),
            "토큰의 수가 아니라 T로 나누었습니다.": (vectors * (ids != 0)[..., None]).mean(1),
            "나누지 않고 더하기만 했습니다.": expected * counts,
            "채운 자리의 벡터를 더한 채 토큰의 수로 나누었습니다.": vectors.sum(1)
            / counts
            * (ids != 0).any(1, keepdims=True),
        }
        for kind, convert in (("배열", np.array), ("텐서", tf.constant)):
            given = convert(ids), convert(table)
            name = f"{case}, {kind}"
            with untouched(name, *given):
                got = answer(*given)
            expect_close(got, expected, name, dtype="float32", mistakes=mistakes)


@problem("분류기", minutes=10)
def build_classifier(answer):
    """Shapes, the formula after weight transfer, padding without influence, dropout in training only."""
    rng = np.random.default_rng(605)
    for vocab_size, dim, dropout in ((100, 8, 0.5), (7, 1, 0.0), (30, 5, 0.2)):
        case = f"V = {vocab_size}, d = {dim}"
        model = answer(vocab_size, dim, dropout)
        expect_type(model, keras.Model, case)
        model(np.array([[1, 0]], np.int32))  # Builds a model that has no Input.
        shapes = [tuple(w.shape) for w in model.trainable_weights]
        wanted = [(vocab_size, dim), (dim, 1), (1,)]
        expect(shapes == wanted, f"{case}: 학습되는 가중치의 모양이 {wanted}여야 하는데 {shapes}입니다.")
        weights = [rng.normal(size=shape).astype(np.float32) for shape in wanted]
        weights[2] += 3
        for variable, value in zip(model.trainable_weights, weights, strict=True):
            variable.assign(value)
        for shape in ((1, 1), (4, 6), (9, 3)):
            ids = rng.integers(1, vocab_size, shape).astype(np.int32)
            expected = _means(ids, weights[0]) @ weights[1] + weights[2]
            z = model(ids, training=False)
            expect_close(
                z,
                expected,
                f"{case}, 채우지 않은 {shape}",
                tol=1e-4,
                mistakes={
                    "시그모이드를 씌웠습니다. 결과는 로짓입니다.": 1 / (1 + np.exp(-expected)),
                    "평균이 아니라 합입니다.": (expected - weights[2]) * shape[1] + weights[2],
                    "평균이 아니라 최댓값입니다.": weights[0][ids].max(1) @ weights[1] + weights[2],
                },
            )
            padded = np.pad(ids, ((0, 0), (0, 5)))
            expect_close(
                model(padded, training=False),
                expected,
                f"{case}, 0을 다섯 개 붙인 {shape}",
                tol=1e-4,
                mistakes={
                    "채운 자리가 평균에 들었습니다. mask_zero를 보세요.": _plain(padded, weights),
                },
            )
        ids = rng.integers(1, vocab_size, (64, 4)).astype(np.int32)
        still = np.asarray(model(ids, training=False))
        moved = np.mean(np.abs(np.asarray(model(ids, training=True)) - still) > 1e-6)
        expect(
            (moved > 0.1) == (dropout > 0),
            f"{case}, 드롭아웃 {dropout}: 학습할 때의 로짓이 추론할 때와 "
            f"{'달라야' if dropout else '같아야'} 하는데 그렇지 않습니다.",
        )
    model = answer(50, 64, 0.5)
    model(np.array([[1, 0]], np.int32))
    rates = [layer.rate for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dropout)]
    expect(rates == [0.5], f"드롭아웃 층 하나의 비율이 0.5여야 하는데 {rates}입니다.")
    model = answer(9, 1, 0.5)  # One number a text, so that dropout leaves all of it or nothing.
    ids = rng.integers(1, 9, (64, 4)).astype(np.int32)
    model(ids)
    for variable, value in zip(
        model.trainable_weights, (rng.normal(size=(9, 1)), [[1.0]], [1.0]), strict=True
    ):
        variable.assign(value)
    still, moved = (np.asarray(model(ids, training=training)) for training in (False, True))
    whole = np.isclose(moved, 1, atol=1e-4) | np.isclose(moved, 2 * still - 1, atol=1e-4)
    expect(np.all(whole), "드롭아웃은 평균을 낸 뒤의 벡터에 거세요.")


def _plain(ids: np.ndarray, weights: Sequence) -> np.ndarray:
    return weights[0][ids].mean(1) @ weights[1] + weights[2]


@problem("리뷰 분류", minutes=20, seconds=TRAINING_SECONDS)
def predict_reviews(answer):
    """Accuracy on reviews that no loader returns; the same review written otherwise gets the same logit.

    What protects the verdict, and what does not, is said in ``tf_study/data/unseen.py``.
    """
    texts, labels = unseen.reviews("ko")
    hint = "남길 품사, 에포크 수, 드롭아웃을 검증 정확도를 보며 바꾸어 보세요."
    logits = expect_accuracy(answer, texts, labels, TARGET, "처음 보는 리뷰", hint, tol=1e-3)
    some = slice(0, 6)
    others = {
        "같은 리뷰 두 번": (texts[:1] * 2, logits[[0, 0]]),
        "풀어 쓴 글(NFD)": ([unicodedata.normalize("NFD", text) for text in texts[some]], logits[some]),
        "공백을 더 붙인 글": ([f"  {text.replace(' ', '   ')}\n" for text in texts[some]], logits[some]),
    }
    for case, (changed, expected) in others.items():
        expect_close(_logits(answer, changed, case), expected, case, tol=1e-3)
    few, many = (_logits(answer, [f"재밌다{'ㅋ' * n}"], "되풀이한 글자") for n in (3, 12))
    expect_close(many, few, "ㅋ이 3개인 글과 12개인 글", tol=1e-3)
    _logits(answer, ["", "   ", "@@"], "토큰이 없는 글")


def _logits(answer: Callable, texts: list[str], case: str) -> np.ndarray:
    return expect_logits(answer(texts), (len(texts),), case).astype(float)


@problem("형태소의 기여", minutes=10)
def contributions(answer):
    """Embedding times the gradient of Keras' own masked mean and dense layer, and the sum of the parts."""
    rng = np.random.default_rng(607)
    for case, ids, table in _bags(np.array([[9.0], [1.0], [2.0], [-6.0]]), np.array([[2, 3, 0]])):
        dim = table.shape[1]
        kernel = np.array([[0.5]]) if case == "예시" else rng.normal(size=(dim, 1))
        kernel = kernel.astype(np.float32)
        empty = (ids == 0).all(axis=1, keepdims=True)  # Keras' mean divides by zero there.
        mask = (ids != 0) | empty
        vectors = tf.constant(table[ids])
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            z = keras.layers.GlobalAveragePooling1D()(vectors, mask=tf.constant(mask)) @ kernel
        expected = np.sum(vectors * tape.gradient(z, vectors), axis=2) * ~empty
        count, scores = np.maximum((ids != 0).sum(1, keepdims=True), 1), (table @ kernel)[ids][..., 0]
        mistakes = {
            "토큰의 수가 아니라 T로 나누었습니다.": expected * count / ids.shape[1],
            "토큰의 수로 나누지 않았습니다.": expected * count,
            "채운 자리의 몫이 0이 아닙니다.": scores / count,
            "부호가 반대입니다.": -expected,
        }
        for kind, convert in (("배열", np.array), ("텐서", tf.constant)):
            given = convert(ids), convert(table), convert(kernel)
            name = f"{case}, {kind}"
            with untouched(name, *given):
                got = answer(*given)
            expect_close(got, expected, name, dtype="float32", mistakes=mistakes)


def _bags(table=None, ids=None) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return (case, ids, table): padding in every place, one row, one dimension, no padding at all."""
    rng = np.random.default_rng(604)
    table = np.array([[9.0], [1.0], [2.0], [6.0]]) if table is None else table
    ids = np.array([[2, 3, 0, 0], [0, 0, 0, 0]]) if ids is None else ids
    bags = [("예시", ids, table.astype(np.float32))]
    for case, shape, zeros in (
        ("채우지 않은 (3, 4)", (3, 4), 0.0),
        ("앞과 가운데에도 0이 있는 (6, 9)", (6, 9), 0.5),
        ("거의 빈 (8, 5)", (8, 5), 0.85),
        ("글 한 편 (1, 7)", (1, 7), 0.3),
        ("길이 1인 (5, 1)", (5, 1), 0.4),
    ):
        ids = rng.integers(1, 12, shape) * (rng.random(shape) >= zeros)
        bags.append((case, ids.astype(np.int32), rng.normal(1, 2, (12, shape[0])).astype(np.float32)))
    return bags


def _means(ids: np.ndarray, table: np.ndarray) -> np.ndarray:
    rows = [table[row[row != 0]].mean(axis=0) if row.any() else np.zeros(table.shape[1]) for row in ids]
    return np.array(rows, np.float32)
