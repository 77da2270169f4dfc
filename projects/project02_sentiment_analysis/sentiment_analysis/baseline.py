"""The classifier that a large model has to beat: counts of syllable sequences and a linear rule.

Words would be a straw man in Korean: their endings vary, and without spaces there are none.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline


def fit(texts: Sequence[str], labels: np.ndarray, words: bool = False) -> Pipeline:
    """Train on texts with labels (N,); ``predict_proba`` of the result gives (N, classes).

    Args:
        words: count words of the text as it is spaced, to see what is lost.
    """
    counted = {"analyzer": "word"} if words else {"analyzer": "char", "ngram_range": (1, 3)}
    return make_pipeline(
        TfidfVectorizer(sublinear_tf=True, lowercase=False, **counted),
        LogisticRegression(C=3.0, max_iter=300),
    ).fit(list(texts), labels)
