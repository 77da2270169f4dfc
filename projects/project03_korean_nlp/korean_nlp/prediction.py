"""Topics of a stream: a line in, a line out, in the same order, in constant memory.

Whatever a line holds, it gets an answer: a JSON object with ``topic`` and ``probability``, or with ``error``.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np

from korean_nlp import reading, storage
from korean_nlp.cleaning import clean
from korean_nlp.storage import Classifier
from tf_study import cli
from tf_study.errors import StudyError

OTHER = "기타"  # the answer below the threshold
LETTERS = 200_000  # after which no further line is read at once
ANSWER = ("topic", "closest", "probability")

Tag = Callable[[list[str]], list[list[str]]]


@dataclass(frozen=True)
class Line:
    """A line that was read: the object and its text, or why there is none."""

    number: int
    row: dict
    text: str = ""
    error: str = ""


def run(options: argparse.Namespace) -> None:
    """Answer line by line; say on stderr how many lines were bad.

    Raises:
        StudyError: if every line was.
    """
    card = storage.read_card(options.model)
    kind = options.kind or card["best"]
    found = card["models"][kind]["threshold"] if options.threshold is None else options.threshold
    tag = storage.tagger(card).tag if kind != "baseline" else lambda texts: [[] for _ in texts]
    classifier = storage.load(options.model, card, kind)
    with _opened(options.input) as source:
        lines = read(source, _is_json(options.input), options.text_column)

        def answer(output: BinaryIO) -> tuple[int, int]:
            answers = classify(lines, classifier, tag, card["classes"], found, options.batch)
            return write(answers, output)

        if options.output:
            counts = []
            cli.write(options.output, lambda part: counts.append(_written(part, answer)))
            total, bad = counts[0]
        else:
            total, bad = answer(sys.stdout.buffer)
    if bad:
        print(f"읽지 못한 줄: {total:,}줄 가운데 {bad:,}줄", file=sys.stderr)
    if bad and bad == total:
        raise StudyError("읽은 줄이 하나도 없으니 UTF-8로 저장한 글이나 JSON 줄을 주세요.")


def read(source: BinaryIO, is_json: bool | None, column: str | None = None) -> Iterator[Line]:
    """Yield every line of a stream.

    Args:
        source: of bytes.
        is_json: each line is an object; ``None`` asks the first line that is not blank.
        column: the text's key; ``None`` looks for a usual name.
    """
    number, start = 0, []
    pieces = iter(lambda: source.readline(reading.LONGEST), b"")
    if is_json is None:
        for piece in pieces:
            start.append(piece)
            if piece.strip():
                is_json = piece.lstrip(b"\xef\xbb\xbf \t").startswith(b"{")
                break
    inside = False  # of a line that is too long
    for piece in chain(start, pieces):
        cut = len(piece) >= reading.LONGEST and not piece.endswith(b"\n")
        if not inside:
            number += 1
            yield _bad(number, "줄이 너무 깁니다") if cut else _line(number, piece, is_json, column)
        inside = cut


def classify(
    lines: Iterator[Line], classifier: Classifier, tag: Tag, classes: list[str], threshold: float, batch: int
) -> Iterator[list[dict]]:
    """Yield the answers to some lines at once, in the order of the lines.

    Args:
        tag: turns cleaned texts into their morphemes.
        batch: most lines at once.
        threshold: of the highest probability; below it the topic is :data:`OTHER`.
    """
    for block in _blocks(lines, batch):
        good = [line for line in block if not line.error]
        texts = [line.text for line in good]
        rows = iter(classifier.probabilities(texts, tag([clean(text) for text in texts])))
        yield [
            line.row if line.error else _answer(line.row, next(rows), classes, threshold) for line in block
        ]


def _blocks(lines: Iterator[Line], batch: int) -> Iterator[list[Line]]:
    """Yield so many lines at once, fewer where they are long: what an analyser makes of them must fit into memory."""
    block, letters = [], 0
    for line in lines:
        block.append(line)
        letters += len(line.text)
        if len(block) == batch or letters >= LETTERS:
            yield block
            block, letters = [], 0
    if block:
        yield block


def write(answers: Iterator[list[dict]], output: BinaryIO) -> tuple[int, int]:
    """Write answers as JSON lines, each block at once; return how many there were, and how many of them errors."""
    total = bad = 0
    for block in answers:
        output.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in block).encode())
        output.flush()
        total += len(block)
        bad += sum("error" in row for row in block)
    return total, bad


def _answer(row: dict, probabilities: np.ndarray, classes: list[str], threshold: float) -> dict:
    place = int(probabilities.argmax())
    highest = float(probabilities[place])
    topic = classes[place] if highest >= threshold else OTHER
    given = {
        key: value for key, value in row.items() if key != "error"
    }  # An object that is an answer has none.
    return given | dict(zip(ANSWER, (topic, classes[place], round(highest, 4)), strict=True))


def _line(number: int, piece: bytes, is_json: bool, column: str | None) -> Line:
    try:
        text = piece.decode("utf-8-sig" if number == 1 else "utf-8").strip()
    except UnicodeDecodeError:
        return _bad(number, "글자가 깨졌습니다")
    row = {"text": text}
    if is_json and text:
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):
            return _bad(number, "JSON 객체가 아닙니다")
        if not isinstance(row, dict):
            return _bad(number, "JSON 객체가 아닙니다")
        names = (column,) if column else reading.COLUMNS["text"]
        text = next((row[name] for name in names if name in row), None)
        if not isinstance(text, str):
            return _bad(number, "글이 없습니다")
    if not text.strip():
        return _bad(number, "글이 비었습니다")
    try:  # JSON may spell half of a letter, which UTF-8 cannot.
        json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return _bad(number, "글자나 수가 깨졌습니다")
    return Line(number, row, text)


def _bad(number: int, reason: str) -> Line:
    return Line(number, {"line": number, "error": reason}, error=reason)


def _is_json(name: str) -> bool | None:
    kind = reading.KINDS.get(Path(name).suffix.lower())
    return {"jsonl": True, "json": True, "": False}.get(kind)


def _opened(name: str) -> AbstractContextManager[BinaryIO]:
    if name == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return open(name, "rb")
    except OSError as error:
        raise StudyError(
            f"{name}을(를) 읽을 수 없으니 경로와 권한을 확인하세요 ({error.strerror or error})."
        ) from None


def _written(path: Path, answer: Callable[[BinaryIO], tuple[int, int]]) -> tuple[int, int]:
    with open(path, "wb") as file:
        return answer(file)
