"""Which words push a text towards 긍정 or 부정: integrated gradients, added up for morphemes and words.

Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks" (2017): a token's push is the integral of the margin's
slope along the straight way from a baseline to its embedding. All pushes together are the difference of the margins at
both ends, which tells how exact the sum over finitely many points is.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np

FEWEST, MOST = 8, 128  # points on the way
SHARE = 0.05  # of the difference that the gap may be
SMALL = 0.05  # A difference below counts as this much: 0.05 of a logit is about one percentage point.


@dataclass(frozen=True)
class Push:
    """A part of the text and how much it moves the margin, logit 긍정 - logit 부정.

    ``tag`` names a morpheme's parts of speech (Kiwi's), joined by ``+`` where one syllable holds several.
    """

    text: str
    start: int
    push: float
    tag: str = ""


@dataclass(frozen=True)
class Explanation:
    """What :func:`explain` finds.

    ``probability``: of 긍정. ``margin`` and ``baseline``: logit 긍정 - logit 부정 of the text, and of the same with every token a pad. ``gap``: by
    how much the pushes miss the difference of the two. ``complete``: whether that is little enough. ``points``: on the
    way. ``seen``: characters that the model reads; longer texts are cut.
    """

    probability: float
    margin: float
    baseline: float
    gap: float
    complete: bool
    points: int
    seen: int
    words: list[Push]
    morphemes: list[Push]

    def as_json(self) -> dict:
        return asdict(self)


def explain(model, text: str, most: int = MOST) -> Explanation:
    """Return the pushes of a text's words and morphemes.

    The points are the middles of equal parts of the way. Their number is doubled until the gap is at most 5 % of the
    difference, or of 0.05 where it is smaller, or there would be more than ``most``.

    Args:
        model: with ``pieces``, ``slopes``, ``limit`` and ``temperature``, as :class:`sentiment_analysis.model.Model` has them.
    """
    points = FEWEST
    while True:
        middles = (np.arange(points) + 0.5) / points
        margins, terms = model.slopes(text, np.concatenate([[0.0, 1.0], middles]).astype(np.float32))
        baseline, margin = (float(value) for value in margins[:2])
        tokens = np.mean(terms[2:], axis=0, dtype=np.float64)
        gap = float(tokens.sum()) - (margin - baseline)
        complete = abs(gap) <= SHARE * max(abs(margin - baseline), SMALL)
        if complete or 2 * points > most:
            break
        points *= 2
    spans = model.pieces(text)
    characters = spread(tokens, spans, text)
    return Explanation(
        probability=1 / (1 + float(np.exp(-margin / model.temperature))),
        margin=margin,
        baseline=baseline,
        gap=gap,
        complete=complete,
        points=points,
        seen=len(text) if len(spans) < model.limit else max(end for _, end in spans),
        words=_sum(characters, words(text), text),
        morphemes=_sum(characters, morphemes(text), text),
    )


def spread(tokens: np.ndarray, spans: Sequence[tuple[int, int]], text: str) -> np.ndarray:
    """Return the push of each character (len(text),): a token's is divided evenly among its characters.

    Blanks have none; what stands for blanks alone pushes the character behind them, or else the last one.

    Args:
        tokens: (T,) pushes.
        spans: of characters, for each token.
    """
    found = np.zeros(len(text))
    visible = np.array([not character.isspace() for character in text], bool)
    if visible.any():
        for push, (start, end) in zip(tokens, spans, strict=True):
            own = start + np.flatnonzero(visible[start:end])
            if not len(own):
                behind = np.flatnonzero(visible[start:])
                own = start + behind[:1] if len(behind) else np.flatnonzero(visible)[-1:]
            found[own] += push / len(own)
    return found


def words(text: str) -> list[tuple[int, int, str]]:
    """Return start and end of each 어절, with no tag."""
    return [(*found.span(), "") for found in re.finditer(r"\S+", text)]


def morphemes(text: str) -> list[tuple[int, int, str]]:
    """Return start, end and tags of each morpheme; those that share a syllable, as 하 and 었 in 했, are one.

    Every character that is no blank belongs to exactly one.
    """
    found: list[tuple[int, int, str]] = []
    for token in _kiwi().tokenize(text):
        start, end = token.start, token.start + token.len
        if found and start < found[-1][1]:
            last, until, tags = found.pop()
            found.append((last, max(until, end), f"{tags}+{token.tag}"))
        elif end > start:
            found.append((start, end, token.tag))
    return list(_with_rest(found, text))


def _with_rest(found: Sequence[tuple[int, int, str]], text: str) -> Iterable[tuple[int, int, str]]:
    """Add what lies between the morphemes and is no blank."""
    last = 0
    for start, end, tag in (*found, (len(text), len(text), "")):
        for rest in re.finditer(r"\S+", text[last:start]):
            yield last + rest.start(), last + rest.end(), ""
        if end > start:
            yield start, end, tag
        last = end


def _sum(characters: np.ndarray, spans: Iterable[tuple[int, int, str]], text: str) -> list[Push]:
    return [
        Push(text[start:end], start, float(characters[start:end].sum()), tag) for start, end, tag in spans
    ]


@cache
def _kiwi():
    from kiwipiepy import Kiwi

    return Kiwi(num_workers=1)
