"""Which morphemes set a topic apart from the others."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

CONTENT = (
    "NNG",
    "NNP",
    "SL",
    "VV",
    "VA",
    "XR",
    "Noun",
    "Verb",
    "Adjective",
    "Alpha",
)  # tags of Kiwi, Komoran, Okt


def is_content(morpheme: str) -> bool:
    """Return whether a morpheme, ``form/tag``, carries meaning by itself: nouns, verbs, adjectives, foreign words."""
    form, _, tag = morpheme.rpartition("/")
    return tag.split("-")[0] in CONTENT and (len(form) > 1 or tag.startswith("NN"))


def log_odds(counts: Mapping[str, Counter], prior: float = 500.0) -> dict[str, list[tuple[str, float, int]]]:
    """Return for each topic its morphemes with z-scores and counts, the most typical first.

    The prior, the counts of all topics scaled to ``prior`` morphemes, keeps rare ones from the top.

    Args:
        counts: topic → how often each morpheme occurs there.

    Source: Monroe, Colaresi and Quinn (2008), "Fightin' Words": log-odds ratio, informative Dirichlet prior.
    """
    words = sorted(set().union(*counts.values()))
    table = np.array([[counts[topic][word] for word in words] for topic in counts], np.float64)
    if len(words) < 2 or len(counts) < 2:  # Nothing to set apart, or nothing to set it apart from.
        return {topic: [] for topic in counts}
    total = table.sum(axis=0)
    alpha = prior * total / total.sum()
    found = {}
    for topic, here in zip(counts, table, strict=True):
        rest = total - here
        inside = np.log((here + alpha) / (here.sum() + prior - here - alpha))
        outside = np.log((rest + alpha) / (rest.sum() + prior - rest - alpha))
        score = (inside - outside) / np.sqrt(1 / (here + alpha) + 1 / (rest + alpha))
        order = np.argsort(-score, kind="stable")
        found[topic] = [(words[i], float(score[i]), int(here[i])) for i in order]
    return found
