"""Hangul syllables and the letters of a keyboard that they are made of."""

import re
import unicodedata

INITIALS, VOWELS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ", "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
FINALS = "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
# The letters of NFD (initial, vowel, final) → those of a keyboard.
_LETTERS = {
    chr(start + number): letter
    for start, row in ((0x1100, INITIALS), (0x1161, VOWELS), (0x11A8, FINALS))
    for number, letter in enumerate(row)
}
_APART = re.compile(f"([{INITIALS}])([{VOWELS}])([{FINALS}](?![{VOWELS}]))?")  # A syllable in letters.


def letters(word: str) -> str:
    """Return a word of syllables taken apart into letters, 훔치는 → ㅎㅜㅁㅊㅣㄴㅡㄴ."""
    return "".join(_LETTERS[letter] for letter in unicodedata.normalize("NFD", word))


def initials(word: str) -> str:
    """Return the first letters of the syllables, 훔치는 → ㅎㅊㄴ."""
    return "".join(letters(syllable)[0] for syllable in word)


def together(text: str) -> str:
    """Return a text with its letters put together to syllables, ㅎㅜㅁㅊㅣㄴㅡㄴ → 훔치는; all else stays, initials alone too."""
    return _APART.sub(_syllable, text)


def _syllable(found: re.Match) -> str:
    initial, vowel, final = found.groups()
    number = (INITIALS.index(initial) * len(VOWELS) + VOWELS.index(vowel)) * (len(FINALS) + 1)
    return chr(ord("가") + number + (FINALS.index(final) + 1 if final else 0))
