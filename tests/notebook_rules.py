"""The rules every notebook keeps, one function a rule.

A rule takes a notebook (as read by ``nbformat``) and its context and yields one Korean sentence for every
violation. ``LECTURE``, ``SOLUTION`` and ``LEARNER`` say which rules hold for which kind of notebook.
"""

import ast
import functools
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from tf_study import curriculum, notebooks

ROOT = curriculum.ROOT
MAX_BYTES = 600_000
MAX_OUTPUT_LINES = 30
OPENING = ("**핵심 질문**", "**학습 목표**", "**선수 학습**", "**예상 시간**", "**이 노트북에서 만드는 것**")
HEADINGS = ("검증", "함정", "실무에서는", "요약", "확인 문제", "참고문헌", "다음 노트북")
EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff]")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
NUMBERED = re.compile(r"(실습 )?\d+\.\d+ .")
MATH = re.compile(r"\$\$.*?\$\$|\$[^$]+\$", re.DOTALL)
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
WORD = re.compile(r"[가-힣]")
FORBIDDEN_TEXT = re.compile(r"(?:/home/|/root/|/Users/|/work/|[A-Z]:\\)|https?://")


@dataclass(frozen=True)
class Context:
    """Where a notebook lies and what the curriculum says about it."""

    path: Path
    minutes: int

    @property
    def folder(self) -> Path:
        return self.path.parent


# -- helpers ---------------------------------------------------------------------------------------------


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(notebook: NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def prose_of(notebook: NotebookNode) -> str:
    """Return the markdown without code and formulas."""
    return MATH.sub(" ", CODE.sub(" ", text_of(notebook)))


def tags_of(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def printed(cell: NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def figure_count(notebook: NotebookNode) -> int:
    return sum(
        "image/png" in output.get("data", {}) for cell in code_cells(notebook) for output in cell.outputs
    )


def verifications(source: str) -> int:
    """Return how many checks a cell makes: ``assert`` statements and calls of ``verify.*``."""
    count = 0
    for node in ast.walk(ast.parse(_plain_python(source))):
        if isinstance(node, ast.Assert):
            # A constant test can never fail.
            count += not isinstance(node.test, ast.Constant)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            count += isinstance(owner, ast.Name) and owner.id == "verify" and node.func.attr != "available"
    return count


def _plain_python(source: str) -> str:
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.split("\n"))


def _first_line(cell: NotebookNode) -> str:
    return next((line for line in cell.source.split("\n") if line.strip()), "(빈 셀)")[:60]


# -- rules for every notebook ----------------------------------------------------------------------------


def clean_run(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """Outputs come from one full run: counts 1..n, no errors, nothing on stderr or left out, no long output."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"실행 번호가 1..n이 아닙니다: {counts}"
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"오류 출력이 저장되어 있습니다: {_first_line(cell)}"
            if output.get("name") == "stderr":
                yield f"stderr 출력이 저장되어 있습니다: {_first_line(cell)}"
        lines = printed(cell).count("\n")
        if lines > MAX_OUTPUT_LINES:
            yield f"출력이 {lines}줄로 {MAX_OUTPUT_LINES}줄을 넘습니다: {_first_line(cell)}"
        if "[생략]" in printed(cell):
            yield f"비교하지 않은 기준이 있으니 make advanced 뒤에 다시 실행하세요: {_first_line(cell)}"
        if cell.source.rstrip().endswith(";"):
            yield f"줄 끝의 ;는 nbval에서 출력을 감추지 못합니다: {_first_line(cell)}"


def metadata(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """The kernel is the course's, and the file is as ``tf_study.notebooks.write`` leaves it."""
    for key, value in notebooks.METADATA.items():
        if notebook.metadata.get(key) != value:
            yield f"metadata의 {key}가 다릅니다: {notebook.metadata.get(key)}"
    if [cell.id for cell in notebook.cells] != [f"cell-{i:02d}" for i in range(1, len(notebook.cells) + 1)]:
        yield "셀 id가 순서대로가 아니니 python -m tf_study.notebooks run으로 다시 저장하세요."


def file_size(notebook: NotebookNode, context: Context) -> Iterator[str]:
    size = context.path.stat().st_size
    if size > MAX_BYTES:
        yield f"파일이 {size // 1000} KB로 {MAX_BYTES // 1000} KB를 넘습니다."


def links(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """Every relative link leads to a file, or to a notebook of a chapter that is not built yet.

    A link whose text is a numbered title carries the title of the notebook it leads to.
    """
    planned = {
        ROOT / item.path
        for chapter in curriculum.chapters()
        if not chapter.built
        for item in (*chapter.lectures, *chapter.practices)
    }
    for name, target in LINK.findall(CODE.sub(" ", text_of(notebook))):
        path = (context.folder / target.split("#")[0]).resolve()
        if not path.exists() and path not in planned:
            yield f"링크가 가리키는 파일이 없습니다: {target}"
        elif path.exists() and path.suffix == ".ipynb" and NUMBERED.match(name):
            title = _title(path)
            if name != title:
                yield f"링크의 제목 '{name}'이 노트북의 제목 '{title}'과 다릅니다."


@functools.cache
def _title(path: Path) -> str:
    """Return the heading of a notebook; many notebooks link to the same few."""
    return notebooks.read(path).cells[0].source.splitlines()[0].removeprefix("# ")


def no_private_text(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """No absolute paths and no web addresses, in sources or outputs."""
    for cell in notebook.cells:
        text = cell.source
        if cell.cell_type == "code":
            text += printed(cell)
        for found in FORBIDDEN_TEXT.findall(text):
            yield f"절대 경로나 웹 주소가 있습니다: {found}"


def korean(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """One term for one thing, no translationese, no emoji outside the three marks."""
    with open(ROOT / "tf_study" / "glossary.toml", "rb") as file:
        glossary = tomllib.load(file)
    prose = prose_of(notebook)
    for term, variants in glossary["terms"].items():
        for variant in variants:
            for match in re.finditer(variant, prose):
                yield f"용어 '{match.group()}' 대신 '{term}'을 씁니다: {_around(prose, match)}"
    for reason, patterns in glossary["style"].items():
        for pattern in patterns:
            for match in re.finditer(pattern, prose):
                yield f"{reason}: {_around(prose, match)}"
    for cell in notebook.cells:
        for mark in EMOJI.findall(cell.source):
            if mark not in "✅⬜❌":
                yield f"그림 문자 {mark}를 쓰지 않습니다: {_first_line(cell)}"


def _around(text: str, match: re.Match) -> str:
    return "…" + " ".join(text[max(0, match.start() - 15) : match.end() + 15].split()) + "…"


# -- rules for notebooks with compared outputs -----------------------------------------------------------


def compared_share(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """At least half of the cells with output are compared."""
    with_output = [cell for cell in code_cells(notebook) if cell.outputs]
    ignored = [cell for cell in with_output if notebooks.IGNORE in tags_of(cell)]
    if len(ignored) * 2 > len(with_output):
        yield f"출력이 있는 셀 {len(with_output)}개 가운데 {len(ignored)}개를 비교하지 않습니다."
    for cell in code_cells(notebook):
        if re.search(r"#\s*NBVAL_|nbval-skip|raises-exception", cell.source + " ".join(tags_of(cell))):
            yield f"nbval을 건너뛰는 표시는 쓰지 않습니다: {_first_line(cell)}"


# -- rules for lectures ----------------------------------------------------------------------------------


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
    goals = re.findall(r"^(?:[-*]|\d+\.) ", _section(opening, "**학습 목표**", "**선수 학습**"), re.MULTILINE)
    if not 3 <= len(goals) <= 5:
        yield f"학습 목표는 3-5개인데 {len(goals)}개입니다."
    yield from estimated_minutes(notebook, context)


def estimated_minutes(notebook: NotebookNode, context: Context) -> Iterator[str]:
    match = re.search(r"\*\*예상 시간\*\*\D*(\d+)분", text_of(notebook))
    if match is None:
        yield "머리말에 '**예상 시간** NN분'이 없습니다."
    elif int(match.group(1)) != context.minutes:
        yield f"예상 시간 {match.group(1)}분이 curriculum.toml의 {context.minutes}분과 다릅니다."


def lecture_sections(notebook: NotebookNode, context: Context) -> Iterator[str]:
    headings = re.findall(r"^#{2,3} (.+)$", CODE.sub(" ", text_of(notebook)), re.MULTILINE)
    place = -1
    for wanted in HEADINGS:
        found = [index for index, heading in enumerate(headings) if wanted in heading]
        if not found:
            yield f"'{wanted}' 제목이 없습니다."
        elif found[-1] < place:
            yield f"'{wanted}' 절의 순서가 맞지 않습니다."
        else:
            place = found[0] if wanted == "검증" else found[-1]
    text = text_of(notebook)
    if text.count("**예측해 보세요**") < 2:
        yield "실험 앞의 '**예측해 보세요**'가 둘보다 적습니다."
    if "$$" not in text:
        yield "따로 쓴 수식($$)이 없습니다."
    if "|---" not in _section(text, "## 요약", "## 확인 문제").replace(" ", ""):
        yield "요약에 표가 없습니다."
    quiz = _section(text, "## 확인 문제", "## 참고문헌")
    questions = len(re.findall(r"<details>", quiz))
    if not 3 <= questions <= 5:
        yield f"확인 문제의 정답(<details>)은 3-5개인데 {questions}개입니다."


def _section(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]


def lecture_size(notebook: NotebookNode, context: Context) -> Iterator[str]:
    cells = len(notebook.cells)
    if not 20 <= cells <= 45:
        yield f"셀이 {cells}개로 20-45개를 벗어납니다."
    words = sum(bool(WORD.search(word)) for word in prose_of(notebook).split())
    if not 1500 <= words <= 3500:
        yield f"글이 {words}어절로 1,500-3,500어절을 벗어납니다."
    pictures = figure_count(notebook)
    if pictures < 4:
        yield f"그림이 {pictures}개로 4개보다 적습니다."
    checks = sum(verifications(cell.source) for cell in code_cells(notebook))
    if checks < 3:
        yield f"검증이 {checks}개로 3개보다 적습니다."


def code_rhythm(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """Short cells, text between them; only a cell that draws may follow another code cell."""
    for cell in code_cells(notebook):
        lines = len(cell.source.strip().split("\n"))
        limit = 45 if re.search(r"^class ", cell.source, re.MULTILINE) else 25
        if lines > limit:
            yield f"코드 셀이 {lines}줄로 {limit}줄을 넘습니다: {_first_line(cell)}"
    for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False):
        if before.cell_type == cell.cell_type == "code" and "plt.show()" not in cell.source:
            yield f"글 없이 코드 셀이 이어집니다: {_first_line(cell)}"


def setup_first(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """The first code cell imports ``tf_study`` before TensorFlow; nothing is imported from it later."""
    first = code_cells(notebook)[0].source
    if "import tf_study" not in first:
        yield "첫 코드 셀이 tf_study를 가져오지 않습니다."
    elif "tensorflow" in first and first.index("tf_study") > first.index("tensorflow"):
        yield "tf_study를 TensorFlow보다 먼저 가져와야 합니다."


# -- rules for practices ---------------------------------------------------------------------------------


def practice_structure(notebook: NotebookNode, context: Context) -> Iterator[str]:
    text = text_of(notebook)
    if not notebook.cells[0].source.startswith("# "):
        yield "첫 셀은 '# 제목'으로 시작해야 합니다."
    yield from estimated_minutes(notebook, context)
    parts = re.split(r"^## (?=문제 \d+)", text, flags=re.MULTILINE)[1:]
    if not 5 <= len(parts) <= 8:
        yield f"문제는 5-8개인데 {len(parts)}개입니다."
    for part in parts:
        title = part.split("\n")[0]
        part = part.partition("\n## ")[0]
        if not re.search(r"\(\d+분\)", title):
            yield f"제목에 (NN분)이 없습니다: {title}"
        if part.count("<details>") < 2:
            yield f"힌트가 둘이 아닙니다: {title}"
        if "$" not in part:
            yield f"수식이 없습니다: {title}"
    checks = [cell for cell in code_cells(notebook) if "check" in tags_of(cell)]
    graded = [cell for cell in checks if ".check(" in cell.source]
    if len(graded) != len(parts):
        yield f"문제는 {len(parts)}개인데 채점 셀(check 태그)은 {len(graded)}개입니다."
    if not any(".score()" in cell.source for cell in checks):
        yield "점수를 보이는 셀이 없습니다."
    if "## 도전 과제" not in text:
        yield "'## 도전 과제'가 없습니다."


def solution_raises(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """A solution ends with ``require_all`` in a solution-only cell, and has blanks to make."""
    last = notebook.cells[-1]
    if ".require_all()" not in last.source or "solution-only" not in tags_of(last):
        yield "마지막 셀이 solution-only 태그를 단 require_all()이 아닙니다."
    sources = "\n".join(cell.source for cell in code_cells(notebook))
    if sources.count("# BEGIN SOLUTION") != sources.count("# END SOLUTION"):
        yield "BEGIN SOLUTION과 END SOLUTION의 수가 다릅니다."
    if sources.count("# BEGIN SOLUTION") < 5:
        yield "빈칸이 될 풀이가 다섯보다 적습니다."


def learner_blank(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """The learner's notebook shows no solution, and every problem is still ⬜.

    A notebook that the learner has worked in is left in peace.
    """
    if notebooks.is_edited(notebook):
        return
    for cell in code_cells(notebook):
        if "BEGIN SOLUTION" in cell.source or "require_all" in cell.source:
            yield f"풀이가 남아 있습니다: {_first_line(cell)}"
        if "check" in tags_of(cell) and notebooks.IGNORE not in tags_of(cell):
            yield f"채점 셀에 {notebooks.IGNORE} 태그가 없습니다: {_first_line(cell)}"
    if set(notebooks.marks(notebook)) != {"⬜"}:
        yield f"풀지 않은 노트북의 표시가 ⬜만이 아닙니다: {notebooks.marks(notebook)}"


EVERY = (clean_run, metadata, file_size, links, no_private_text, korean, setup_first)
LECTURE = (*EVERY, compared_share, lecture_opening, lecture_sections, lecture_size, code_rhythm)
SOLUTION = (*EVERY, compared_share, practice_structure, solution_raises)
LEARNER = (*EVERY, practice_structure, learner_blank)
