"""Parts of a test set where a model of reviews may fail, and ways to spoil a text as hasty writers do."""

import re
from collections.abc import Callable, Sequence

import numpy as np

from sentiment_analysis import morphemes
from tf_study import jamo

# The two-set keyboard. A finger that slips hits a neighbour of the same row.
ROWS = ("ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔ", "ㅁㄴㅇㄹㅎㅗㅓㅏㅣ", "ㅋㅌㅊㅍㅠㅜㅡ")
NEIGHBOURS = {
    letter: [row[place] for place in (at - 1, at + 1) if 0 <= place < len(row)]
    for row in ROWS
    for at, letter in enumerate(row)
}
NEGATION = {
    "안/MAG",
    "못/MAG",
    "않/VX",
    "않/VA",
    "못하/VX",
    "못하/VX-I",
    "없/VA",
    "없이/MAG",
    "아니/VCN",
    "말/VX",
}
SHORT, LONG = 10, 40  # syllables and other signs, without spaces


def typos(text: str, rate: float, rng: np.random.Generator) -> str:
    """Return a text in which the initial or the vowel of some syllables slipped to the neighbouring key.

    Args:
        rate: share of the syllables, 0 to 1.
    """
    return "".join(
        _slipped(sign, rng) if "가" <= sign <= "힣" and rng.random() < rate else sign for sign in text
    )


def _slipped(syllable: str, rng: np.random.Generator) -> str:
    letters = list(jamo.letters(syllable))
    places = [
        (place, [near for near in NEIGHBOURS.get(letters[place], ()) if near in kind])
        for place, kind in enumerate((jamo.INITIALS, jamo.VOWELS))
    ]
    possible = [(place, near) for place, near in places if near]
    if not possible:
        return syllable
    place, near = possible[rng.integers(len(possible))]
    letters[place] = near[rng.integers(len(near))]
    return jamo.together("".join(letters))


def without_spaces(text: str) -> str:
    """Return a text written without spaces."""
    return re.sub(r"\s+", "", text)


def parts(texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the slices of a test set, name → (N,) of bool."""
    lengths = np.array([len(without_spaces(text)) for text in texts])
    negated = negations(texts)
    return {
        "안, 못, 없다 등이 있음": negated,
        "그런 말이 없음": ~negated,
        f"{SHORT}자까지": lengths <= SHORT,
        f"{SHORT + 1}자에서 {LONG}자": (lengths > SHORT) & (lengths <= LONG),
        f"{LONG + 1}자부터": lengths > LONG,
    }


def negations(texts: Sequence[str]) -> np.ndarray:
    """Return which texts hold a negation, (N,) of bool, by the morphemes of Kiwi.

    It tells 안 봤다 from 안내; words that hold one by themselves, 재미없다, are words like others.
    """
    tokens = morphemes.kiwi().tokenize(list(texts))
    return np.array([any(f"{token.form}/{token.tag}" in NEGATION for token in row) for row in tokens], bool)


def spoiled(seed: int = 0) -> dict[str, Callable[[Sequence[str]], list[str]]]:
    """Return the ways to spoil a test set, name → function of all its texts; the same seed slips the same keys."""

    def slip(rate: float) -> Callable[[Sequence[str]], list[str]]:
        def change(texts: Sequence[str]) -> list[str]:
            rng = np.random.default_rng(seed)
            return [typos(text, rate, rng) for text in texts]

        return change

    return {
        "띄어쓰기 없이": lambda texts: [without_spaces(text) for text in texts],
        "음절 10%에 오타": slip(0.1),
        "음절 30%에 오타": slip(0.3),
    }
