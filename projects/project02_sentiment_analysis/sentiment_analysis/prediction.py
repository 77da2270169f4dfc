"""Says of texts whether they are positive: those of the command line, of a file, or of standard input."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice

from sentiment_analysis import model
from sentiment_analysis.settings import CLASSES
from tf_study import cli
from tf_study.errors import StudyError

ROWS = 256  # texts read together: a file of any length takes no more memory
SHOWN = 60  # characters of a text in the table


def run(options: argparse.Namespace) -> None:
    """Print an answer for every text; empty lines are counted and left out.

    Raises:
        StudyError: if there is not one text, or both texts and a file.
    """
    if options.texts and options.file:
        raise StudyError("글과 --file 가운데 하나만 주세요.")
    loaded = model.load(options.model, options.form)
    count, skipped = 0, []
    for answers in answered(loaded, numbered(lines(options), skipped)):
        if options.json:
            for answer in answers:
                print(json.dumps(answer, ensure_ascii=False))
        else:
            head = [("답", "확률", "글")] if not count else []
            print(cli.table(head + [_row(answer) for answer in answers], widths=(4, 6, 4)))
        sys.stdout.flush()
        count += len(answers)
    cli.print_skipped(skipped)
    if not count:
        raise StudyError("글이 하나도 없으니 글이나 --file을 주거나 표준 입력으로 보내세요.")


def lines(options: argparse.Namespace) -> Iterator[str]:
    """Yield the texts that the options name.

    Raises:
        StudyError: if the file cannot be read or is not UTF-8.
    """
    if options.texts:
        yield from options.texts
        return
    name = options.file or "표준 입력"
    try:
        source = open(options.file, "rb") if options.file else sys.stdin.buffer
        with source:
            for number, line in enumerate(source, start=1):
                yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise StudyError(f"{name}의 인코딩이 UTF-8이 아니니 UTF-8로 바꾸세요.") from None
    except OSError as error:
        raise StudyError(f"{name}을(를) 읽을 수 없으니 경로를 확인하세요 ({error.strerror}).") from None


def numbered(texts: Iterable[str], skipped: list[tuple[str, str]]) -> Iterator[str]:
    """Yield texts that are not empty; the others are noted with their number."""
    for number, text in enumerate(texts, start=1):
        if text.strip():
            yield text
        else:
            skipped.append((f"{number}번째 글", "비었으니 채우거나 지우세요."))


def answered(loaded: model.Model, texts: Iterator[str]) -> Iterator[list[dict]]:
    """Yield what a model says of texts, some at a time: ``text``, ``label``, ``class`` and ``probability`` of it."""
    while rows := list(islice(texts, ROWS)):
        yield [
            {
                "text": text,
                "label": int(row.argmax()),
                "class": CLASSES[row.argmax()],
                "probability": round(float(row.max()), 6),
            }
            for text, row in zip(rows, loaded.probabilities(rows), strict=True)
        ]


def _row(answer: dict) -> tuple[str, str, str]:
    text = " ".join(answer["text"].split())
    shown = text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
    return answer["class"], f"{answer['probability']:.1%}", shown
