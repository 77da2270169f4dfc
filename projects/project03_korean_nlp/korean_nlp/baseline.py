"""The model that the networks have to beat: TF-IDF of syllable n-grams and logistic regression.

It needs no analyser of morphemes. Words would be a straw man in Korean: endings and particles make them rare, and a text
without spaces is one word.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from korean_nlp.cleaning import clean
from tf_study import model_folder
from tf_study.errors import StudyError

SYLLABLES = (1, 3)  # lengths of the n-grams, within words
STRENGTHS = (1.0, 10.0, 100.0)  # of which C is chosen, the inverse of the regularisation
ROUNDS = 1000  # of the optimiser, at most


class Baseline:
    """A trained baseline.

    Args:
        grams: the n-grams, strings (F,). idf: their weights (F,).
        weights: of the logistic regression (topics, F). bias: (topics,).
    """

    def __init__(self, grams: np.ndarray, idf: np.ndarray, weights: np.ndarray, bias: np.ndarray):
        self.grams, self.idf, self.weights, self.bias = grams, idf, weights, bias
        self._vectorizer = _vectorizer(vocabulary={gram: place for place, gram in enumerate(grams)})
        self._vectorizer.idf_ = idf

    def probabilities(self, texts: Sequence[str], morphemes: Sequence[Sequence[str]]) -> np.ndarray:
        """Return float32 (N, topics), see :class:`storage.Classifier`. Morphemes are not looked at."""
        if not len(texts):
            return np.zeros((0, len(self.bias)), np.float32)
        scores = self._vectorizer.transform(map(clean, texts)) @ self.weights.T + self.bias
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write everything as plain arrays, in one step."""
        text = np.frombuffer("\n".join(self.grams).encode(), np.uint8)
        model_folder.write_npz(path, [self.idf, self.weights, self.bias], grams=text)


def load(path: Path) -> Baseline:
    """Read what :meth:`Baseline.save` wrote.

    Raises:
        StudyError: if the file is damaged.
    """
    try:
        with np.load(path) as file:
            grams = file["grams"].tobytes().decode().split("\n")
            return Baseline(np.array(grams, object), *(file[f"w{place}"] for place in range(3)))
    except model_folder.DAMAGED:
        raise model_folder.damaged(path) from None


def train(
    learnt: tuple[Sequence[str], np.ndarray],
    held_out: tuple[Sequence[str], np.ndarray],
    topics: int,
    features: int,
) -> tuple[Baseline, dict]:
    """Return the best baseline on what is held out, and the macro-F1 of each C.

    Args:
        learnt: texts and their labels. held_out: likewise; C is chosen by them.
        topics: of the answer.
        features: most n-grams, the most frequent ones.

    Raises:
        StudyError: if no text has a syllable.
    """
    vectorizer = _vectorizer(max_features=features)
    try:
        known = vectorizer.fit_transform(map(clean, learnt[0]))
    except ValueError:  # scikit-learn: empty vocabulary
        raise StudyError("학습할 글에 글자가 하나도 없으니 prepare할 자료를 확인하세요.") from None
    grams = vectorizer.get_feature_names_out()
    scores, best = {}, None
    for strength in STRENGTHS:
        regression = LogisticRegression(C=strength, max_iter=ROUNDS).fit(known, learnt[1])
        weights, bias = regression.coef_, regression.intercept_
        if topics == 2:  # scikit-learn keeps one row, of the second topic against the first.
            weights, bias = (np.concatenate([np.zeros_like(part), part]) for part in (weights, bias))
        found = Baseline(grams, vectorizer.idf_, weights.astype(np.float32), bias.astype(np.float32))
        guesses = found.probabilities(held_out[0], ()).argmax(axis=1)
        scores[f"{strength:g}"] = macro_f1(held_out[1], guesses, topics)
        if best is None or scores[f"{strength:g}"] > best[0]:
            best = scores[f"{strength:g}"], found
    return best[1], scores


def macro_f1(labels: np.ndarray, guesses: np.ndarray, topics: int) -> float:
    """Return the mean over the topics of F1, 0 for one that was neither meant nor guessed."""
    return float(f1_score(labels, guesses, labels=range(topics), average="macro", zero_division=0))


def _vectorizer(**more) -> TfidfVectorizer:
    return TfidfVectorizer(
        analyzer="char_wb", ngram_range=SYLLABLES, sublinear_tf=True, dtype=np.float32, **more
    )
