"""Morphemes by an analyser chosen by name; what it costs is in :data:`ANALYSERS`."""

import importlib.metadata
import re
import time
from dataclasses import dataclass

from tf_study.errors import StudyError


@dataclass(frozen=True)
class Analyser:
    """An analyser: the package it is in, what it is and what its tags are, in Korean."""

    package: str
    about: str
    tags: str


ANALYSERS = {
    "kiwi": Analyser("kiwipiepy", "C++, 통계 언어 모델", "세종 품사 태그를 늘린 것 (NNG, VV, EF, W_URL 등)"),
    "okt": Analyser("konlpy", "Java, 사전과 규칙", "트위터 품사 태그 (Noun, Verb, Josa, KoreanParticle 등)"),
    "komoran": Analyser("konlpy", "Java, 사전과 HMM", "세종 품사 태그 (NNG, VV, EF, NA 등)"),
}
_LONGEST = 100  # Characters without a blank given to Okt at once: its time grows with their square.
_TOO_LONG = re.compile(rf"(\S{{{_LONGEST}}})(?=\S)")
_ASTRAL = re.compile("[^\0-\uffff]")  # JPype cannot bring Komoran's answer on these back from Java.


class Tagger:
    """An analyser at work. It starts where it is made: in the process that uses it.

    Attributes:
        name: a key of :data:`ANALYSERS`.
        version: of its package.
    """

    def __init__(self, name: str):
        """Start the analyser: 2 CPU seconds.

        Raises:
            StudyError: if it cannot be had.
        """
        if name not in ANALYSERS:
            raise StudyError(f"{name!r}라는 분석기는 없으니 {', '.join(ANALYSERS)} 가운데 하나를 쓰세요.")
        self.name, self.version = name, version(name)
        if name == "kiwi":
            from kiwipiepy import Kiwi

            # Several processes, each with one thread, do not wait for each other. The dictionary of names of several
            # words takes a second to open and 200 MB.
            self._kiwi = Kiwi(num_workers=1, load_multi_dict=False)
            self._tag = self._tag_kiwi
        else:
            from tf_study import korean

            self._java = korean.tagger(name.capitalize())
            self._tag = self._tag_java
        self.tag(["시작"])  # The first text is the slowest.

    def tag(self, texts: list[str]) -> list[list[str]]:
        """Return the morphemes of each cleaned text as ``형태/태그``; none for an empty one."""
        return self._tag(texts)

    def _tag_kiwi(self, texts: list[str]) -> list[list[str]]:
        return [[f"{token.form}/{token.tag}" for token in tokens] for tokens in self._kiwi.tokenize(texts)]

    def _tag_java(self, texts: list[str]) -> list[list[str]]:
        found = []
        for text in texts:
            text = _TOO_LONG.sub(r"\1 ", text)
            if self.name == "komoran":
                text = _ASTRAL.sub(" ", text)
            pairs = self._java.pos(text) if text.strip() else []
            found.append([f"{form}/{tag}" for form, tag in pairs])
        return found


def version(name: str) -> str:
    """Return the version of an analyser's package.

    Raises:
        StudyError: if it is not installed here.
    """
    package = ANALYSERS[name].package
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise StudyError(
            f"이 Python에 {package} 패키지가 없어 {name}을(를) 쓸 수 없으니 설치하거나 --tagger kiwi를 쓰세요."
        ) from None


def measure(name: str, texts: list[str]) -> dict:
    """Return what an analyser does with the texts: CPU seconds to start, texts a CPU second, morphemes a text, tags."""
    begun = time.process_time()
    tagger = Tagger(name)
    ready = time.process_time()
    found = tagger.tag(texts)
    spent = time.process_time() - ready
    tags = {morpheme.rpartition("/")[2] for morphemes in found for morpheme in morphemes}
    return {
        "start": ready - begun,
        "rate": len(texts) / max(spent, 1e-9),
        "morphemes": sum(map(len, found)) / max(len(texts), 1),
        "tags": sorted(tags),
        "example": found[0] if found else [],
    }
