"""Near-duplicates: the rule by pairs, written out, gives what the index finds."""

import random

import numpy as np
import pytest

from korean_nlp import duplicates

BASE = "정부가 내년 예산안을 국회에 제출하면서 복지 지출을 크게 늘리겠다고 밝혔다"


def find(texts, threshold):
    prints = np.array([np.frombuffer(duplicates.fingerprint(text), np.uint64) for text in texts])
    return duplicates.find(prints, duplicates.bands(texts, threshold), threshold, texts.__getitem__)


@pytest.fixture(scope="module")
def texts():
    """240 texts: variants of six by a few syllables each, some the same, in no order."""
    chance = random.Random(0)
    syllables = [chr(chance.randrange(0xAC00, 0xD7A4)) for _ in range(400)]
    made = []
    for _ in range(6):
        base = [chance.choice(syllables) for _ in range(40)]
        for _ in range(40):
            variant = list(base)
            for _ in range(chance.choice((0, 0, 1, 1, 2, 4, 8))):
                variant[chance.randrange(len(variant))] = chance.choice(syllables)
            made.append("".join(variant))
    chance.shuffle(made)
    return made


@pytest.mark.parametrize("threshold", [0.6, 0.8])
def test_find_is_the_rule_by_pairs(texts, threshold):
    bands = duplicates.bands(texts, threshold)
    expected = {}
    for later in range(len(texts)):
        for earlier in range(later):
            shared = (bands[later] == bands[earlier]).any()
            if shared and duplicates.jaccard(texts[later], texts[earlier]) >= threshold:
                expected[later] = earlier
                break
    assert find(texts, threshold) == expected and 20 < len(expected) < 234


def test_most_pairs_that_are_alike_share_a_band(texts):
    bands = duplicates.bands(texts, 0.8)
    pairs = [
        (bands[one] == bands[other]).any()
        for one in range(len(texts))
        for other in range(one)
        if 1 > duplicates.jaccard(texts[one], texts[other]) >= 0.8
    ]
    assert len(pairs) > 100 and np.mean(pairs) > 0.85


def test_what_is_the_same():
    texts = [duplicates.letters(text) for text in (
        BASE, "다른 글", BASE.replace(" ", "") + "!!", "최고", "최고~", "최악", BASE.replace("밝혔다", "밝혔고"), "!!", "??",
        BASE.replace("예산안을 국회에 제출하면서", "세법을 고치면서"), "Good", "good.",
    )]  # fmt: skip
    assert find(texts, 0.8) == {2: 0, 4: 3, 6: 0, 11: 10}
    assert duplicates.jaccard("가나다라", "가나다마") == 1 / 3 and duplicates.jaccard("가", "가") == 1


def test_bands_do_not_depend_on_the_company(texts):
    alone = np.concatenate([duplicates.bands([text], 0.8) for text in texts[:20]])
    assert np.array_equal(duplicates.bands(texts, 0.8)[:20], alone)
