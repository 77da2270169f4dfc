"""What stands before and behind the model: a filter that reads questions and one that reads answers.

Neither changes the model. The first is a classifier of character n-grams, learnt from the questions of preference
pairs; the second a list of patterns, compared with each sentence before anybody sees it, since what has been
streamed cannot be taken back.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression

from tf_study import jamo
from tf_study.errors import StudyError

REFUSAL = "그런 일은 도와드릴 수 없어요."
SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|\n+")
FEWEST = 10  # questions of each kind that a filter is learnt from


def normalise(text: str) -> str:
    """Return a text as it would be typed: syllables put together, no invisible characters, no wide letters.

    ``ㅎㅜㅁㅊㅣㄴㅡㄴ`` → ``훔치는``. Initials alone (``ㅎㅊㄴ``) stay: they do not say which syllables they stand for.
    """
    kept = (character for character in text if unicodedata.category(character) != "Cf")
    # NFKC would make initials of all letters; they are put together by ``jamo`` instead.
    plain = "".join(c if "ㄱ" <= c <= "ㅣ" else unicodedata.normalize("NFKC", c) for c in kept)
    return unicodedata.normalize("NFC", jamo.together(plain))


class InputFilter:
    """Tells harmful questions by their character n-grams, whatever surrounds them.

    Args:
        questions: to learn from.
        harmful: whether each should be refused.
        threshold: probability from which on a question is stopped.

    Raises:
        StudyError: if there are fewer than :data:`FEWEST` of either kind.
    """

    def __init__(self, questions: Sequence[str], harmful: Sequence[bool], threshold: float = 0.5):
        if min(sum(harmful), len(harmful) - sum(harmful)) < FEWEST:
            raise StudyError(
                f"거절할 질문이 {sum(harmful)}개, 도울 질문이 {len(harmful) - sum(harmful)}개라 필터가 배울 수 없으니 "
                f"각각 {FEWEST}개 이상인 데이터를 주세요."
            )
        self.threshold = threshold
        self.features = HashingVectorizer(analyzer="char_wb", ngram_range=(1, 4), n_features=2**14)
        self.classifier = LogisticRegression(C=100, max_iter=1000)
        self.classifier.fit(self.features.transform(map(normalise, questions)), harmful)

    def score(self, questions: Sequence[str]) -> list[float]:
        """Return the probability that each question should be refused."""
        found = self.features.transform(map(normalise, questions))
        return self.classifier.predict_proba(found)[:, 1].tolist()

    def stops(self, question: str) -> bool:
        return self.score([question])[0] >= self.threshold


class OutputFilter:
    """Finds what no answer may contain.

    Args:
        patterns: regular expressions; blanks in a text count as one.

    Raises:
        StudyError: if one of them is none.
    """

    def __init__(self, patterns: Iterable[str]):
        self.patterns = []
        for pattern in patterns:
            try:
                self.patterns.append(re.compile(pattern))
            except re.error:
                raise StudyError(f"정규식 {pattern!r}을(를) 읽을 수 없으니 고쳐서 다시 실행하세요.") from None

    @classmethod
    def read(cls, file: Path) -> "OutputFilter":
        """Return the filter of a text file, a pattern a line; empty lines and those that begin with # do not count.

        Raises:
            StudyError: if the file cannot be read, or of :class:`OutputFilter`.
        """
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise StudyError(f"{file}을(를) 읽을 수 없으니 UTF-8로 적은 파일인지 확인하세요.") from None
        return cls(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))

    def stops(self, text: str) -> bool:
        plain = " ".join(normalise(text).split())
        return any(pattern.search(plain) for pattern in self.patterns)


@dataclass(frozen=True)
class Piece:
    """A part of an answer; the last one has ``end``: "done", or "input" or "output" after the filter that ended it."""

    text: str = ""
    end: str | None = None


@dataclass(frozen=True)
class Filters:
    """Both filters, either of which may be missing."""

    before: InputFilter | None = None
    behind: OutputFilter | None = None

    @classmethod
    def of(cls, data_name: str | None, patterns: Path | None) -> "Filters":
        """Return the filters of the command line.

        Args:
            data_name: what :func:`data.load` reads; a question is one to stop if the answer to learn refuses it.
            patterns: what :meth:`OutputFilter.read` reads.

        Raises:
            StudyError: if either cannot be read.
        """
        before = None
        if data_name:
            from aligned_bot import data, safety

            rows = {
                row.prompt: safety.refuses(row.answer) for row in data.load(data_name).train if not row.given
            }
            before = InputFilter(list(rows), list(rows.values()))
        return cls(before, OutputFilter.read(patterns) if patterns else None)

    def reply(self, question: str, stream: Callable[[], Iterator[str]]) -> Iterator[Piece]:
        """Answer a question.

        Args:
            question: as it was asked.
            stream: called if the question passes; yields the model's answer bit by bit.

        Yields:
            Bits as they come; with a filter of answers whole sentences, each compared together with the one before it,
            and an empty piece for every bit that may not be seen yet.
        """
        if self.before and self.before.stops(question):
            yield Piece(REFUSAL, "input")
            return
        if not self.behind:
            yield from map(Piece, stream())
            yield Piece(end="done")
            return
        sent = held = ""
        for text in stream():
            held += text
            yield Piece()
            while end := SENTENCE_END.search(held):
                sentence, held = held[: end.end()], held[end.end() :]
                if self.behind.stops(sent + sentence):
                    yield Piece(REFUSAL, "output")
                    return
                sent = sentence
                yield Piece(sentence)
        if self.behind.stops(sent + held):
            yield Piece(REFUSAL, "output")
        else:
            yield Piece(held, "done")
