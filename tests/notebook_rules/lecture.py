"""Rules for lectures: order of sections, size, evidence, exercises, time."""

import ast
import re
from collections.abc import Iterator

from nbformat import NotebookNode

from .cells import (
    CODE,
    HEADING,
    MATH,
    PLACEHOLDER,
    WORD,
    Context,
    code_cells,
    figure_count,
    first_line,
    has_figure,
    nodes_of,
    printed,
    prose_of,
    section,
    text_of,
    verifications,
)

OPENING = ("**핵심 질문**", "**학습 목표**", "**선수 학습**", "**예상 시간**", "**이 노트북에서 만드는 것**")
HEADINGS = ("검증", "함정", "실무에서는", "요약", "확인 문제", "참고문헌", "다음 노트북")
WORDS_A_CELL = 40
VERIFICATIONS_A_CELL, VERIFICATIONS = 3, 25  # printed lines
MINUTES_A_CELL = 2
CORE_MINUTES = 60
# Half a step, since minutes are stated in tens, and five cells that take one minute rather than two: the
# opening, the imports, the references, the links at the end and a figure that repeats one.
TIME_TOLERANCE = 10
VERIFICATION = re.compile(r"^\[(?:검증|반례)")
# verify's lines: a measured error or distance, or how many values are equal.
MEASURED = re.compile(r": .*(?:(?:오차|차이) [\d.]|\d개 값이 모두 같음)")
VERDICT = re.compile(r"(?:보다|이상|이하|미만|초과|가까|넘|[<>≤≥]).*\b(?:True|False)$")


def lecture_opening(notebook: NotebookNode, context: Context) -> Iterator[str]:
    first = notebook.cells[0]
    if first.cell_type != "markdown" or not first.source.startswith("# "):
        yield "첫 셀은 '# 제목'으로 시작하는 글이어야 합니다."
        return
    opening = first.source + "\n" + (notebook.cells[1].source if len(notebook.cells) > 1 else "")
    positions = [opening.find(label) for label in OPENING]
    for label, position in zip(OPENING, positions, strict=True):
        if position < 0:
            yield f"머리말에 {label}이 없습니다."
    if positions != sorted(positions):
        yield f"머리말의 순서는 {', '.join(OPENING)}입니다."
    goals = re.findall(r"^(?:[-*]|\d+\.) ", section(opening, "**학습 목표**", "**선수 학습**"), re.MULTILINE)
    if not 3 <= len(goals) <= 5:
        yield f"학습 목표는 3~5개인데 {len(goals)}개입니다."
    yield from estimated_minutes(notebook, context)


def estimated_minutes(notebook: NotebookNode, context: Context) -> Iterator[str]:
    match = re.search(r"\*\*예상 시간\*\*\D*(\d+)분", text_of(notebook))
    if match is None:
        yield "머리말에 '**예상 시간** NN분'이 없습니다."
    elif int(match.group(1)) != context.minutes:
        yield f"예상 시간 {match.group(1)}분이 curriculum.toml의 {context.minutes}분과 다릅니다."


def lecture_sections(notebook: NotebookNode, context: Context) -> Iterator[str]:
    text = text_of(notebook)
    headings = re.findall(r"^#{2,3} (.+)$", CODE.sub(" ", text), re.MULTILINE)
    place = -1
    for wanted in HEADINGS:
        found = [index for index, heading in enumerate(headings) if wanted in heading]
        if not found:
            yield f"'{wanted}' 제목이 없습니다."
        elif found[-1] < place:
            yield f"'{wanted}' 절의 순서가 맞지 않습니다."
        else:
            place = found[0] if wanted == "검증" else found[-1]
    if text.count("**예측해 보세요**") < 2:
        yield "실험 앞의 '**예측해 보세요**'가 둘보다 적습니다."
    if "$$" not in text:
        yield "따로 쓴 수식($$)이 없습니다."
    if "|---" not in section(text, "## 요약", "## 확인 문제").replace(" ", "").replace(":", ""):
        yield "요약에 표가 없습니다."
    quiz = section(text, "## 확인 문제", "## 참고문헌")
    questions = len(re.findall(r"<details>", quiz))
    if not 3 <= questions <= 5:
        yield f"확인 문제의 정답(<details>)은 3~5개인데 {questions}개입니다."


def lecture_size(
    notebook: NotebookNode,
    context: Context,
    cells: tuple[int, int] = (30, 70),
    words: tuple[int, int] = (2000, 4500),
    figures: int = 5,
) -> Iterator[str]:
    count = len(notebook.cells)
    if not cells[0] <= count <= cells[1]:
        yield f"셀이 {count}개로 {cells[0]}~{cells[1]}개를 벗어납니다."
    length = word_count(notebook)
    if not words[0] <= length <= words[1]:
        yield f"글이 {length:,}어절로 {words[0]:,}~{words[1]:,}어절을 벗어납니다."
    pictures = figure_count(notebook)
    if pictures < figures:
        yield f"그림이 {pictures}개로 {figures}개보다 적습니다."
    checks = sum(verifications(cell.source) for cell in code_cells(notebook))
    if checks < 3:
        yield f"검증이 {checks}개로 3개보다 적습니다."


def word_count(notebook: NotebookNode) -> int:
    """Return the number of 어절: words with at least one Hangul syllable, outside of code and formulas."""
    return sum(bool(WORD.search(word)) for word in prose_of(notebook).split())


def words_a_cell(notebook: NotebookNode, context: Context) -> Iterator[str]:
    average = word_count(notebook) / len(notebook.cells)
    if average < WORDS_A_CELL:
        yield f"글이 셀마다 평균 {average:.1f}어절로 {WORDS_A_CELL}어절보다 적습니다."


def schematic(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """One figure at least is drawn with ``tf_study.diagram`` in the cell that shows it."""
    names = set()
    for cell in code_cells(notebook):
        nodes = nodes_of(cell.source)
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.module in ("tf_study", "tf_study.diagram"):
                wanted = node.module == "tf_study.diagram"
                names |= {a.asname or a.name for a in node.names if wanted or a.name == "diagram"}
        if has_figure(cell) and any(isinstance(n, ast.Name) and n.id in names for n in nodes):
            return
    yield "tf_study.diagram으로 그린 도식이 없습니다."


def key_answer(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """The summary answers the key question in one bold sentence."""
    summary = section(text_of(notebook), "## 요약", "## 확인 문제")
    bold = re.findall(r"\*\*([^*\n]+)\*\*", MATH.sub(PLACEHOLDER, CODE.sub(PLACEHOLDER, summary)))
    answers = [span for span in bold if re.search(r"다\.?$", span) and len(span.split()) >= 4]
    if len(answers) != 1 or ". " in answers[0]:
        yield f"요약에서 핵심 질문에 굵은 한 문장으로 답합니다(굵은 문장이 {len(answers)}개): {answers}"


def hands_on(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """The learner changes or writes code at least once; the answer is folded away below, with the code."""
    text = text_of(notebook)
    prompts = list(re.finditer(r"\*\*(?:고쳐|써) 보세요\*\*", text))
    if not prompts:
        yield "'**고쳐 보세요**'나 '**써 보세요**'가 없습니다."
    for prompt in prompts:
        rest = re.split(r"^## ", text[prompt.end() :], maxsplit=1, flags=re.MULTILINE)[0]
        if not re.search(r"<details>.*?`.*?</details>", rest, re.DOTALL):
            yield f"{prompt.group()} 뒤, 다음 절 앞에 답의 코드를 담은 <details>가 없습니다."


def predictions(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """A prediction asks a question, and the text after the result opens with the answer in bold."""
    cells = notebook.cells
    for index, cell in enumerate(cells):
        if cell.cell_type != "markdown" or "**예측해 보세요**" not in cell.source:
            continue
        question = re.split(r"\n\s*\n", cell.source.partition("**예측해 보세요**")[2])[0]
        if not re.search(r"까요\?", question):
            yield f"예측해 보세요에 '~까요?'로 끝나는 물음이 없습니다: {question.strip()[:40]}"
        code = next((i for i in range(index, len(cells)) if cells[i].cell_type == "code"), len(cells))
        after = [c for c in cells[code:] if c.cell_type == "markdown"][:2]
        if not any(_opens_in_bold(c.source) for c in after):
            yield f"예측의 결과 다음 글이 굵은 답으로 시작하지 않습니다: {question.strip()[:40]}"


def _opens_in_bold(source: str) -> bool:
    opening = HEADING.sub("", source).lstrip()
    return opening.startswith("**") and not re.match(r"\*\*(?:예측해|고쳐|써) 보세요\*\*", opening)


def verification_lines(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """Few lines ``[검증]`` and ``[반례]``, each with what was measured."""
    total = 0
    for cell in code_cells(notebook):
        lines = [line for line in printed(cell).split("\n") if VERIFICATION.match(line)]
        total += len(lines)
        if len(lines) > VERIFICATIONS_A_CELL:
            yield (
                f"[검증]과 [반례]가 한 셀에 {len(lines)}줄로 {VERIFICATIONS_A_CELL}줄을 넘으니 "
                f"verify.group으로 묶으세요: {first_line(cell)}"
            )
        for line in lines:
            if not MEASURED.search(line):
                yield f"[검증] 줄에 잰 값이 없습니다: {line}"
    if total > VERIFICATIONS:
        yield f"[검증]과 [반례]가 모두 {total}줄로 {VERIFICATIONS}줄을 넘습니다."


def no_verdicts(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """What was measured is printed as a number, not as the truth of an inequality."""
    for cell in code_cells(notebook):
        for line in printed(cell).split("\n"):
            if VERDICT.search(line.rstrip()):
                yield f"참·거짓 대신 잰 수를 출력하세요: {line.strip()[:60]}"
        for node in nodes_of(cell.source):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                if any(map(_is_inequality, node.args)):
                    yield f"참·거짓 대신 잰 수를 출력하세요: {ast.unparse(node)[:60]}"


def _is_inequality(node: ast.expr) -> bool:
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(v, ast.FormattedValue) and _is_inequality(v.value) for v in node.values)
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        return name in ("bool", "all", "any") and any(map(_is_inequality, node.args))
    return isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE)


def reading_time(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """The stated minutes follow from the number of cells, and the core path is short."""
    minutes = MINUTES_A_CELL * len(notebook.cells)
    if abs(minutes - context.minutes) > TIME_TOLERANCE:
        yield (
            f"셀 {len(notebook.cells)}개는 {minutes}분쯤인데 예상 시간은 {context.minutes}분입니다"
            f"(셀마다 {MINUTES_A_CELL}분, {TIME_TOLERANCE}분까지 다를 수 있습니다)."
        )
    core = MINUTES_A_CELL * core_cells(notebook)
    if core > CORE_MINUTES + TIME_TOLERANCE:
        yield (
            f"심화를 뺀 셀이 {core_cells(notebook)}개로 {core}분쯤이라 {CORE_MINUTES}분을 넘으니 "
            "처음에 건너뛰어도 되는 절의 제목에 심화를 붙이세요."
        )


def core_cells(notebook: NotebookNode) -> int:
    """Return how many cells stand outside the sections whose heading says 심화."""
    count, deep = 0, None
    for cell in notebook.cells:
        headings = HEADING.findall(CODE.sub(" ", cell.source)) if cell.cell_type == "markdown" else []
        for marks, title in headings:
            if deep is None or len(marks) <= deep:
                deep = len(marks) if "심화" in title else None
        count += deep is None
    return count
