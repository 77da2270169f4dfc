"""Small notebooks that keep every rule; the tests of the rules spoil one thing in them at a time."""

import base64
import sys
import types
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tf_study import notebooks
from tf_study.practice import problem

from .cells import Context

PRACTICE = "chapter99/ex01"
PNG = base64.b64encode(b"a picture that nobody looks at").decode()
FILLER = "이 문장은 강의의 길이를 채우려고 넣은 짧은 설명입니다. " * 14  # 98 어절

OPENING = f"""# 99.1 규칙을 지키는 강의

**핵심 질문** 규칙을 모두 지키는 강의는 어떤 모습일까요?

**학습 목표**
- 규칙을 셉니다.
- 규칙을 지킵니다.
- 규칙을 시험합니다.

**선수 학습** [99.2 다음 강의](02_next.ipynb)

**예상 시간** 70분

**이 노트북에서 만드는 것** 짧은 강의 하나

{FILLER}"""

SUMMARY = f"""## 요약

| 항목 | 값 |
|---|---|
| 규칙 | 여럿 |

**규칙을 모두 지키는 강의는 이 노트북처럼 `assert`가 있는 짧은 셀로 이루어집니다.**

{FILLER}"""

QUIZ = """## 확인 문제

1. 규칙은 몇 개일까요? <details><summary>정답</summary>여럿입니다.</details>
2. 그림은 몇 장일까요? <details><summary>정답</summary>다섯 장입니다.</details>
3. 규칙을 늘려야 할까요? <details><summary>정답</summary>재 보고 정합니다.</details>"""


def text(source: str) -> NotebookNode:
    return nbformat.v4.new_markdown_cell(source)


def code(source: str, output: str = "", figure: bool = False, tags: tuple[str, ...] = ()) -> NotebookNode:
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)} if tags else {})
    if output:
        cell.outputs.append(nbformat.v4.new_output("stream", name="stdout", text=output + "\n"))
    if figure:
        cell.outputs.append(nbformat.v4.new_output("display_data", data={"image/png": PNG}))
    return cell


def lecture() -> NotebookNode:
    """Return a lecture of 34 cells that both editions accept."""
    cells = [
        text(OPENING),
        code(
            "import tf_study\n\nimport numpy as np\nfrom tf_study import verify\nfrom tf_study.diagram import Diagram"
        ),
        text(f"## 실패하는 보기\n\n$$y = x$$\n\n{FILLER}"),
        code('d = Diagram("두 배")\nd.draw()\nplt.show()', figure=True),
        text(f"## 직접 만들기\n\n{FILLER}"),
        code("def double(x):\n    return 2 * x", tags=("formula:double",)),
        text(f"### 검증\n\n{FILLER}"),
        code('verify.close("두 배", double(1), 2)', "[검증] 두 배: 최대 오차 3.1e-07 (허용 1e-06)"),
        text(f"## 실험 1\n\n**예측해 보세요** 넷의 두 배는 얼마일까요?\n\n{FILLER}"),
        code("print(double(4))\nassert double(4) == 8", "8", tags=("approx:0.05",)),
        text(f"**여덟입니다.** 두 배이기 때문입니다.\n\n{FILLER}"),
        code("plt.plot(x)\nplt.show()", figure=True),
        text(f"### 실험 2\n\n**예측해 보세요** 다섯의 두 배는 얼마일까요?\n\n{FILLER}"),
        code("y = double(5)\nassert y == 10", figure=True),
        code("plt.plot(y)\nplt.show()", figure=True),
        text(f"**열입니다.** 그림의 점이 그 값입니다.\n\n{FILLER}"),
        code('print("그려진 값", y)', "그려진 값 10", figure=True),
        text(
            "## 심화: 셋째 규칙\n\n**고쳐 보세요** 다음 함수는 왜 틀릴까요?\n\n"
            f"<details><summary>정답</summary>\n\n`return 2 * x`입니다.\n\n</details>\n\n{FILLER}"
        ),
        code("z = [double(v) for v in range(3)]\nprint(z)", "[0, 2, 4]"),
        text(f"### 더 깊이\n\n{FILLER}"),
        code("try:\n    double()\nexcept TypeError as error:\n    print(error)", "인수가 모자랍니다"),
    ]
    for number in range(3):
        cells += [text(f"### 자세히 {number}\n\n{FILLER}"), code(f"print({number})", f"{number}")]
    for heading in ("함정", "실무에서는"):
        cells.append(text(f"## {heading}\n\n{FILLER}"))
    cells += [text(SUMMARY), text(QUIZ), text(f"## 참고문헌\n\n- Kim (2020), 1-20쪽\n\n{FILLER}")]
    cells += [code("print(9)", "9"), text(f"## 다음 노트북\n\n[99.2 다음 강의](02_next.ipynb)\n\n{FILLER}")]
    return nbformat.v4.new_notebook(cells=cells)


def solution() -> NotebookNode:
    """Return the solution of a practice with five problems; :func:`install_grader` provides its grader."""
    rows = "\n".join(f"| {n}. 수 {n} 더하기 | 덧셈 | {5 * n}분 |" for n in range(1, 6))
    cells = [
        text(
            f"# 실습 99.1 더하기\n\n**예상 시간** 75분\n\n| 문제 | 다루는 것 | 시간 |\n|---|---|--:|\n{rows}"
        ),
        code(f'import tf_study\nfrom tf_study.practice import Practice\n\nquiz = Practice("{PRACTICE}")'),
    ]
    for n in range(1, 6):
        cells += [
            text(
                f"## 문제 {n}. 수 {n} 더하기 ({5 * n}분)\n\n수를 더하세요.\n\n"
                "<details><summary>힌트 1</summary>\n\n하나씩 더합니다.\n\n</details>\n\n"
                "<details><summary>힌트 2</summary>\n\n`for` 반복문에서 `total`을 늘립니다.\n\n</details>"
            ),
            code(
                f"def add_{n}(values):\n    # BEGIN SOLUTION\n    total = {n}\n    for value in values:\n"
                "        total = total + value\n    return total\n    # END SOLUTION"
            ),
            code(f'quiz.check("add_{n}", add_{n})', f"✅ 수 {n} 더하기: 맞았습니다", tags=("check",)),
        ]
    cells += [
        text("## 도전 과제\n\n빼기도 만들어 보세요."),
        code("quiz.score()", "점수: 5 / 5", tags=("check",)),
        code("quiz.require_all()", "✅ 5문제를 모두 풀었습니다.", tags=("solution-only",)),
    ]
    return nbformat.v4.new_notebook(cells=cells)


def learner() -> NotebookNode:
    """Return the learner's notebook of :func:`solution`, with every problem still open."""
    notebook = notebooks.learner_version(solution())
    for cell in notebook.cells:
        if cell.cell_type == "code" and ".check(" in cell.source:
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="⬜ 아직 풀지 않았습니다\n")]
    return notebook


def install_grader(modules: dict = sys.modules) -> None:
    """Put the grader of :data:`PRACTICE` where ``tf_study.practice.load`` finds it."""
    grader = types.ModuleType("grader")
    for n in range(1, 6):

        def check(answer):
            """Accept every answer: only the titles and minutes matter here."""

        check.__name__ = f"add_{n}"
        setattr(grader, f"add_{n}", problem(f"수 {n} 더하기", minutes=5 * n)(check))
    modules[f"tf_study.checks.{PRACTICE.replace('/', '_')}"] = grader


def write_all(folder: Path) -> dict[str, Context]:
    """Write the samples into ``folder`` and return the context of each kind."""
    following = nbformat.v4.new_notebook(cells=[text("# 99.2 다음 강의")])
    notebooks.write(following, folder / "02_next.ipynb")
    contexts = {
        "lecture": Context(folder / "01_sample.ipynb", 70),
        "solution": Context(folder / "practice" / "solutions" / "ex01_sample.ipynb", 75, PRACTICE),
        "learner": Context(folder / "practice" / "ex01_sample.ipynb", 75, PRACTICE),
    }
    for kind, make in (("lecture", lecture), ("solution", solution), ("learner", learner)):
        notebook = make()
        for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), start=1):
            cell.execution_count = count
        notebooks.write(notebook, contexts[kind].path)
    return contexts
