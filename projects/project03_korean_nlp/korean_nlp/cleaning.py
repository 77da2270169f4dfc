"""What makes the same text the same letters before it is divided into morphemes."""

import re
import unicodedata

VERSION = 1  # goes into the manifest; raise it with every change of what clean returns
URL, EMAIL = " URL ", " EMAIL "  # one morpheme each with every analyser, unlike a tag in brackets

_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"'()가-힣]+", re.IGNORECASE)
_EMAIL = re.compile(r"[\w.+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", re.ASCII)
# Not of digits and Latin letters: 1000000 is no 100, and AAA no AA.
_REPEATED = re.compile(r"([^0-9A-Za-z])\1{2,}")


def clean(text: str) -> str:
    """Return a text in NFC, with repeated characters twice, addresses as a word, one blank between words.

    ``ㅋㅋㅋㅋ`` becomes ``ㅋㅋ``; control characters and those without width go. Cleaning twice changes nothing more.
    """
    text = "".join(_visible(letter) for letter in text) if not text.isprintable() else text
    text = unicodedata.normalize("NFC", text)
    text = _URL.sub(URL, _EMAIL.sub(EMAIL, text))
    text = _REPEATED.sub(r"\1\1", text)
    return " ".join(text.split())


def _visible(letter: str) -> str:
    if letter.isspace():
        return " "
    return "" if unicodedata.category(letter) in ("Cc", "Cf", "Co", "Cs") else letter
