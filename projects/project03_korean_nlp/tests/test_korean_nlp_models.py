"""The networks do not see what is padded; the baseline is scikit-learn's, stored as plain arrays."""

import keras
import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from korean_nlp import baseline, models
from korean_nlp.cleaning import clean
from korean_nlp.dataset import PAD, UNKNOWN, Vocabulary, pad
from korean_nlp.settings import Settings
from tf_study.errors import StudyError

SMALL = Settings(embedding=8, units=6, unknown=0.5).as_json()
ROWS = [[2, 3, 4], [5], [6, 7, 8, 9, 2, 3, 4, 5, 6], [1, 2]]


@pytest.fixture(scope="module", params=list(models.NETWORKS))
def network(request):
    return models.build(request.param, 12, 3, SMALL)


def test_padding_changes_nothing(network):
    alone = np.concatenate([network(pad([row])) for row in ROWS])
    together = network(np.pad(pad(ROWS), [(0, 0), (0, 5)])).numpy()
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)
    assert np.ptp(alone, axis=0).min() > 1e-3  # The four texts differ.
    other = np.where(pad(ROWS) == PAD, 9, pad(ROWS))  # As if what is padded were a morpheme.
    assert np.abs(network(other) - together).max() > 1e-2


def test_the_order_of_morphemes_counts(network):
    assert np.abs(network(pad([[2, 3, 4]])) - network(pad([[4, 3, 2]]))).max() > 1e-4


def test_the_second_half_reads_from_the_end():
    """Behind what is padded, too: it is what an LSTM with the same weights makes of the reversed text alone."""
    network = models.build("lstm", 12, 3, SMALL)
    embedding, both = (network.layers[place] for place in (-5, -3))
    states = keras.Model(network.input, both.output)(pad([[2, 3, 4], [2, 3, 4, 5, 6]])).numpy()[0]
    for half, one, row in ((0, both.forward_layer, [2, 3, 4]), (1, both.backward_layer, [4, 3, 2])):
        plain, embedded = keras.layers.LSTM(6), embedding(pad([row]))
        plain.build(embedded.shape)
        plain.set_weights(one.get_weights())
        np.testing.assert_allclose(states[6 * half : 6 * half + 6], plain(embedded)[0], rtol=1e-5, atol=1e-7)


def test_forget_hides_some_morphemes_while_learning():
    layer, numbers = models.Forget(0.3, seed=1), np.tile([[2, 3, 4, 5, PAD]], (500, 1))
    assert np.array_equal(layer(numbers), numbers)
    seen = np.asarray(layer(numbers, training=True))
    assert (seen[:, -1] == PAD).all() and ((seen == numbers) | (seen == UNKNOWN)).all()
    assert 0.25 < (seen[:, :-1] == UNKNOWN).mean() < 0.35
    assert not np.array_equal(layer(numbers, training=True), seen)


def test_a_network_answers_in_the_order_of_the_texts(monkeypatch):
    monkeypatch.setattr(models, "TOGETHER", 4)
    model = models.build("cnn", 5, 3, SMALL)
    network = models.Network(model, Vocabulary(("가", "나", "다")), limit=3)
    rows = [["가"], ["가", "나", "다", "가"], [], ["몰라"], ["나", "가"], ["다", "다"]]
    answers = network.probabilities([""] * 6, rows)
    numbers = pad([[2], [2, 3, 4], [1], [1], [3, 2], [4, 4]])
    logits = np.asarray(model(numbers))
    wanted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers, wanted, rtol=1e-5)
    assert network.probabilities([], []).shape == (0, 3)


TEXTS = [
    f"{word} {more}"
    for word in ("금리 인상", "야구 결승", "태풍 북상")
    for more in ("소식", "전망ㅋㅋㅋㅋ", "오늘", "내일")
]
LABELS = np.repeat([0, 1, 2], 4)


@pytest.mark.parametrize("topics", [2, 3])
def test_the_baseline_is_scikit_learns(topics, tmp_path):
    kept = np.flatnonzero(LABELS < topics)
    texts, labels = [TEXTS[place] for place in kept], LABELS[kept]
    found, scores = baseline.train((texts, labels), (texts, labels), topics, 1000)
    best = max(scores, key=scores.get)
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), sublinear_tf=True)
    cleaned = [clean(text) for text in texts]
    regression = LogisticRegression(C=float(best), max_iter=1000).fit(
        vectorizer.fit_transform(cleaned), labels
    )
    new = ["금리 전망", "결승 오늘", "처음 보는 글", "", "ㅋㅋㅋㅋㅋ"]
    wanted = regression.predict_proba(vectorizer.transform([clean(text) for text in new]))
    np.testing.assert_allclose(
        found.probabilities(new, ()), wanted, atol=1e-3
    )  # float32; stopped within 1e-4.
    found.save(tmp_path / "baseline.npz")
    again = baseline.load(tmp_path / "baseline.npz")
    np.testing.assert_array_equal(again.probabilities(new, ()), found.probabilities(new, ()))
    assert found.probabilities([], ()).shape == (0, topics)


def test_the_baseline_needs_letters_and_a_whole_file(tmp_path):
    with pytest.raises(StudyError, match="글자가 하나도 없으니"):
        baseline.train((["", " "], np.array([0, 1])), ([""], np.array([0])), 2, 10)
    (tmp_path / "baseline.npz").write_bytes(b"PK")
    with pytest.raises(StudyError, match="깨졌으니 --restart로"):
        baseline.load(tmp_path / "baseline.npz")


def test_only_the_frequent_syllables_are_kept():
    found, _ = baseline.train((TEXTS, LABELS), (TEXTS, LABELS), 3, 20)
    assert found.weights.shape == (3, 20) and "소식" not in found.grams


def test_macro_f1_counts_every_topic_the_same():
    labels, guesses = np.array([0] * 8 + [1, 2]), np.array([0] * 8 + [0, 0])
    assert baseline.macro_f1(labels, guesses, 3) == pytest.approx((2 * 8 / 18) / 3)
    assert baseline.macro_f1(labels, labels, 3) == 1
