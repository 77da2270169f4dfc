"""The numbers of an evaluation, against other libraries' or worked by hand."""

import numpy as np
import pytest
from scipy import special

from sentiment_analysis import baseline, metrics, slices
from tf_study import jamo


def made(count=4000, sharpness=3.0, seed=0):
    """Return logits that are too sharp by this factor, and labels drawn from the true probabilities."""
    rng = np.random.default_rng(seed)
    true = rng.normal(scale=1.5, size=(count, 2))
    labels = (rng.random(count) < special.softmax(true, axis=1)[:, 1]).astype(int)
    return (sharpness * true).astype(np.float32), labels


def test_calibration_of_a_sharpened_model_is_mended_by_the_temperature_that_sharpened_it():
    logits, labels = made()
    found = metrics.temperature(logits, labels)
    assert found == pytest.approx(3.0, rel=0.12)
    before = metrics.calibration(special.softmax(logits, axis=1), labels)
    after = metrics.calibration(special.softmax(logits / found, axis=1), labels)
    assert before.error > 0.1 and after.error < 0.03
    assert metrics.loss(logits, labels, found) < metrics.loss(logits, labels)
    assert metrics.temperature(logits / 3, labels) == pytest.approx(1.0, rel=0.12)


def test_calibration_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.95, 0.05], [0.3, 0.7], [0.0, 1.0]])
    found = metrics.calibration(probabilities, np.array([0, 1, 1, 1]))
    # 0.9, 0.95 and 1.0 share the last bin: 2 of 3 right at 0.95; 0.7 has its own: 1 of 1 right.
    assert found.rows == [(1, 0.7, 1.0), (3, pytest.approx(0.95), pytest.approx(2 / 3))]
    assert found.error == pytest.approx((1 * 0.3 + 3 * (0.95 - 2 / 3)) / 4)


def test_the_loss_is_scikit_learns():
    from sklearn.metrics import log_loss

    logits, labels = made(100)
    expected = log_loss(labels, special.softmax(logits.astype(np.float64) / 2, axis=1))
    assert metrics.loss(logits, labels, 2.0) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_counts_only_what_one_of_them_knows():
    ours = np.array([True] * 12 + [False] * 3 + [True] * 100)
    theirs = np.array([False] * 12 + [True] * 3 + [True] * 100)
    first, second, p = metrics.mcnemar(ours, theirs)
    # Two-sided: twice the chance of at most 3 of 15 coins.
    assert (first, second) == (12, 3) and p == pytest.approx(2 * sum((1, 15, 105, 455)) / 2**15)
    assert metrics.mcnemar(theirs, ours)[2] == pytest.approx(p)
    assert metrics.mcnemar(ours, ours) == (0, 0, 1.0)


def test_an_interval_narrows_with_the_count_and_never_leaves_zero_to_one():
    low, high = metrics.share(np.ones(20, bool)).interval
    assert 0.8 < low < 0.9 and high == pytest.approx(1.0)
    narrow = metrics.share(np.arange(2000) % 2 == 0).interval
    assert narrow[1] - narrow[0] < 0.045
    assert np.isnan(metrics.share(np.array([], bool)).value)


def test_typos_change_as_many_syllables_as_asked_to_neighbouring_keys_only():
    text = "이 영화 정말 재미있어요 배우들의 연기가 훌륭하다 100점! " * 20
    assert slices.typos(text, 0.0, np.random.default_rng(0)) == text
    spoiled = slices.typos(text, 0.3, np.random.default_rng(0))
    assert spoiled == slices.typos(text, 0.3, np.random.default_rng(0))
    changed = [(old, new) for old, new in zip(text, spoiled, strict=True) if old != new]
    syllables = sum("가" <= sign <= "힣" for sign in text)
    assert 0.25 < len(changed) / syllables < 0.35
    for old, new in changed:
        before, after = jamo.letters(old), jamo.letters(new)
        (pair,) = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
        assert pair[1] in slices.NEIGHBOURS[pair[0]]


def test_negation_is_found_and_only_negation():
    negated = [
        "이 영화 안 봐도 된다",
        "다시는 못 보겠다",
        "재미있지 않다",
        "돈이 아깝지않아요",
        "볼 것이 없다",
    ]
    negated += ["이건 영화가 아니다", "눈을 떼지 못했다", "기대하지 마세요", "절대안봄"]
    plain = ["안내가 친절하다", "편안하고 따뜻한 영화", "아주 재미있다", "연못이 예쁘다", "말이 많은 영화"]
    assert slices.negations(negated + plain).tolist() == [True] * 9 + [False] * 5


def test_slices_by_length_cover_every_text_once():
    texts = ["가" * count for count in (1, 10, 11, 40, 41, 100)]
    by_length = [mask for name, mask in slices.parts(texts).items() if name[0].isdigit()]
    assert np.sum(by_length, axis=0).tolist() == [1] * 6


def test_the_baseline_reads_syllables_so_that_missing_spaces_do_no_harm():
    good, bad = ["정말 재미있는 영화", "배우 연기가 훌륭해요"], ["정말 지루한 영화", "돈이 아까워요"]
    texts, labels = good * 10 + bad * 10, np.array([1] * 20 + [0] * 20)
    spaced_out = [slices.without_spaces(text) for text in (*good, *bad)]
    assert baseline.fit(texts, labels).predict(spaced_out).tolist() == [1, 1, 0, 0]
    assert baseline.fit(texts, labels, words=True).predict_proba(spaced_out)[:, 1] == pytest.approx(
        0.5, abs=0.2
    )
