"""Rules for the Korean of every notebook. The words are in ``tf_study/glossary.toml``."""

import functools
import re
import tomllib
from collections.abc import Iterator

from nbformat import NotebookNode

from .cells import ROOT, Context, around, first_line, prose_of, sentences

EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff]")
PROMPTS = ("예측해 보세요", "고쳐 보세요", "써 보세요")
# A sentence keeps the notation if none of these occurs in it.
NOTATION = {
    "백분율은 27%처럼 붙여 씁니다": r"\d %",
    "범위는 0~255처럼 씁니다": (
        r"(?<![\w.\-–/~])(?<!그림 )(?<!표 )(?<!식 )(?<!절 )(?<!정리 )(?<!IEEE )"
        r"\d[\d,.]*[-–]\d[\d,.]*(?![A-Za-z0-9\-–]| ?손실)"
    ),
    "굵은 낱말에는 괄호와 조사를 넣지 않습니다": r"\*\*[^*]*[가-힣]\([A-Za-z][^)*]*\)\*\*",
    "굵은 낱말 뒤의 조사는 붙여 씁니다": r"[^\s*]\*\* (?:은|는|을|를|입니다|이라고|라고)(?=[ .,])",
    "인용은 한 칸 띄운 괄호에 씁니다": r"[가-힣]\.?\([A-Z][^()]*\b(?:19|20)\d\d[a-z]?\b[^()]*\)",
    "물음은 '~까요?'로 끝맺습니다": r"[가-힣](?<!까요)\?(?![”\"'’」])",
}


@functools.cache
def glossary() -> dict:
    with open(ROOT / "tf_study" / "glossary.toml", "rb") as file:
        return tomllib.load(file)


def korean(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """One term for one thing, no translationese, no emoji outside the three marks."""
    prose = prose_of(notebook)
    for term, variants in glossary()["terms"].items():
        for variant in variants:
            for match in re.finditer(variant, prose):
                yield f"용어 '{match.group()}' 대신 '{term}'을 씁니다: {around(prose, match)}"
    for reason, patterns in glossary()["style"].items():
        for pattern in patterns:
            for match in re.finditer(pattern, prose):
                yield f"{reason}: {around(prose, match)}"
    for cell in notebook.cells:
        for mark in EMOJI.findall(cell.source):
            if mark not in "✅⬜❌":
                yield f"그림 문자 {mark}를 쓰지 않습니다: {first_line(cell)}"


def one_sense(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """A word is used in one sense, the one a developer would use when explaining to a colleague."""
    found = sentences(notebook)
    for reason, patterns in glossary()["sense"].items():
        for sentence in found:
            for match in filter(None, (re.search(pattern, sentence) for pattern in patterns)):
                yield f"{reason}: {around(sentence, match)}"
    for reason, entry in glossary()["seldom"].items():
        uses = [s for s in found if any(re.search(pattern, s) for pattern in entry["patterns"])]
        if len(uses) > entry["at_most"]:
            yield f"{reason} ({entry['at_most']}번까지인데 {len(uses)}번): {' / '.join(s[:40] for s in uses)}"


def notation(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """Percentages, ranges, bold terms, citations, questions and prompts are written one way."""
    for sentence in sentences(notebook):
        for reason, pattern in NOTATION.items():
            match = re.search(pattern, sentence)
            if match:
                yield f"{reason}: {around(sentence, match)}"
        for prompt in PROMPTS:
            if re.search(rf"\*\*{prompt}(?!\*\*)|\*\*{prompt}\*\*\S", sentence):
                yield f"'**{prompt}**'는 쌍점과 마침표 없이 쓰고 한 칸 띄웁니다: {sentence[:40]}"
