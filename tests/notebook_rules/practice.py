"""Rules for practices: the solution notebook, which is the source, and the learner's notebook."""

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator

from nbformat import NotebookNode

from tf_study import notebooks
from tf_study.practice import load

from .cells import Context, code_cells, first_line, tags_of, text_of
from .lecture import estimated_minutes

# The largest share of a solution that the second hint may show. Readers of the first edition found that it
# gives away all 13 problems of 3.2 and 12.2 and three of 6.2: there it shows 0.37 of one solution and 0.54 to
# 0.98 of the others. 31 of the 102 problems stay below a half.
HINT_SHARE = 0.5
HINT_RUN = 4  # tokens in a row that count as shown
SOLUTION = re.compile(
    r"^ *(?:#|//) BEGIN SOLUTION *\n(.*?)^ *(?:#|//) END SOLUTION", re.MULTILINE | re.DOTALL
)
LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def practice_structure(notebook: NotebookNode, context: Context) -> Iterator[str]:
    text = text_of(notebook)
    if not notebook.cells[0].source.startswith("# "):
        yield "첫 셀은 '# 제목'으로 시작해야 합니다."
    yield from estimated_minutes(notebook, context)
    parts = re.split(r"^## (?=문제 \d+)", text, flags=re.MULTILINE)[1:]
    if not 5 <= len(parts) <= 8:
        yield f"문제는 5~8개인데 {len(parts)}개입니다."
    for part in parts:
        title = part.split("\n")[0]
        part = part.partition("\n## ")[0]
        if not re.search(r"\(\d+분\)", title):
            yield f"제목에 (NN분)이 없습니다: {title}"
        if part.count("<details>") < 2:
            yield f"힌트가 둘이 아닙니다: {title}"
    checks = [cell for cell in code_cells(notebook) if "check" in tags_of(cell)]
    graded = [cell for cell in checks if ".check(" in cell.source]
    if len(graded) != len(parts):
        yield f"문제는 {len(parts)}개인데 채점 셀(check 태그)은 {len(graded)}개입니다."
    if not any(".score()" in cell.source for cell in checks):
        yield "점수를 보이는 셀이 없습니다."
    if "## 도전 과제" not in text:
        yield "'## 도전 과제'가 없습니다."


def problem_titles(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """Heading, table at the top and grader state the same titles and minutes, in the same order."""
    text = text_of(notebook)
    stated = {
        "제목": re.findall(r"^## 문제 \d+\. (.+) \((\d+)분\)$", text, re.MULTILINE),
        "첫머리의 표": re.findall(r"^\| *\d+\. ([^|]+?) *\|.*\| *(\d+)분 *\|$", text, re.MULTILINE),
    }
    graded = [(item.title, str(item.minutes)) for item in load(context.practice).values()]
    for place, found in stated.items():
        if found != graded:
            differing = [pair for pair in found if pair not in graded] or found
            yield f"{place}의 이름과 시간이 채점기의 @problem과 다릅니다: {differing} / {graded}"


def own_practice(notebook: NotebookNode, context: Context) -> Iterator[str]:
    sources = "\n".join(cell.source for cell in code_cells(notebook))
    names = re.findall(r"\bPractice\(\"([^\"]*)\"\)", sources)
    if names != [context.practice]:
        yield f'Practice("{context.practice}")를 한 번 만들어야 하는데 {names}입니다.'


def second_hint(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """The second hint is not the solution: it shows less than half of its code."""
    title, hint, solution = "", [], ""
    for cell in [*notebook.cells, None]:
        heading = cell is None or cell.cell_type == "markdown" and re.search(r"^## (.*)", cell.source, re.M)
        if heading:
            if hint and solution and shown_share(hint, solution) > HINT_SHARE:
                share = shown_share(hint, solution)
                yield f"힌트 2가 풀이 코드의 {share:.0%}를 보여 {HINT_SHARE:.0%}를 넘습니다: {title}"
            title, hint, solution = heading.group(1) if cell else "", [], ""
        if cell is not None and cell.cell_type == "markdown":
            details = re.findall(r"<details>(.*?)</details>", cell.source, re.DOTALL)
            hint = code_in(details[1]) if title.startswith("문제") and len(details) > 1 else hint
        elif cell is not None:
            solution += "".join(map(textwrap.dedent, SOLUTION.findall(cell.source + "\n")))


def code_in(text: str) -> list[str]:
    """Return the fenced and inline code of a Markdown text."""
    fence = re.compile(r"```(?:python|cuda)?\n(.*?)```", re.DOTALL)
    return fence.findall(text) + re.findall(r"`([^`\n]+)`", fence.sub("", text))


def shown_share(snippets: list[str], solution: str) -> float:
    """Return the share of the solution's tokens that stand, four or more in a row, in the snippets.

    Comments, blanks and the names of local variables do not count.
    """
    names = set().union(*map(_assigned, [solution, *snippets]))
    tokens = _tokens(solution, names)
    seen = {run for snippet in snippets for run in _runs(_tokens(snippet, names))}
    covered = {i + j for i, run in enumerate(_runs(tokens)) if run in seen for j in range(HINT_RUN)}
    return len(covered) / max(1, len(tokens))


def _runs(tokens: list[str]) -> list[tuple[str, ...]]:
    return [tuple(tokens[i : i + HINT_RUN]) for i in range(len(tokens) - HINT_RUN + 1)]


def _tokens(source: str, names: set[str]) -> list[str]:
    found = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(textwrap.dedent(source) + "\n").readline):
            if token.type not in LAYOUT:
                found.append("□" if token.string in names else token.string)
    except (tokenize.TokenError, IndentationError):
        return found  # A snippet may be a fragment; what came before its end counts.
    return found


def _assigned(source: str) -> set[str]:
    try:
        tree = ast.parse(textwrap.dedent(source))
    except SyntaxError:  # A snippet may be a fragment.
        return set()
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def solution_raises(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """A solution ends with ``require_all`` in a solution-only cell, and has blanks to make."""
    last = notebook.cells[-1]
    if ".require_all()" not in last.source or "solution-only" not in tags_of(last):
        yield "마지막 셀이 solution-only 태그를 단 require_all()이 아닙니다."
    sources = "\n".join(cell.source for cell in code_cells(notebook))
    if sources.count(" BEGIN SOLUTION") != sources.count(" END SOLUTION"):
        yield "BEGIN SOLUTION과 END SOLUTION의 수가 다릅니다."
    if sources.count(" BEGIN SOLUTION") < 5:
        yield "빈칸이 될 풀이가 다섯보다 적습니다."


def learner_blank(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """The learner's notebook shows no solution, and every problem is still ⬜.

    A notebook that the learner has worked in is left in peace.
    """
    if notebooks.is_edited(notebook):
        return
    for cell in code_cells(notebook):
        if "BEGIN SOLUTION" in cell.source or "require_all" in cell.source:
            yield f"풀이가 남아 있습니다: {first_line(cell)}"
        if "check" in tags_of(cell) and notebooks.IGNORE not in tags_of(cell):
            yield f"채점 셀에 {notebooks.IGNORE} 태그가 없습니다: {first_line(cell)}"
    if set(notebooks.marks(notebook)) != {"⬜"}:
        yield f"풀지 않은 노트북의 표시가 ⬜만이 아닙니다: {notebooks.marks(notebook)}"
