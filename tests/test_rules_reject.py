"""The rules themselves: each accepts a sample notebook and rejects it when one thing is spoilt."""

import copy

import nbformat
import pytest

import notebook_rules as rules
from notebook_rules import first_edition, lecture, practice, sample, source
from notebook_rules.cells import Context, code_cells, verifications
from tf_study import notebooks, verify

EVERY_RULE = {rule for editions in rules.RULES.values() for edition in editions for rule in edition}


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        modules = {}
        sample.install_grader(modules)
        for name, module in modules.items():
            patch.setitem(sample.sys.modules, name, module)
        yield sample.write_all(tmp_path_factory.mktemp("chapter99"))


# -- ways to spoil a notebook ----------------------------------------------------------------------------


def code(notebook, index=0):
    return code_cells(notebook)[index]


def append_text(text):
    def spoil(notebook):
        next(cell for cell in notebook.cells if "## 함정" in cell.source).source += "\n\n" + text

    return spoil


def replace_text(old, new, count=-1):
    """Replace in every cell, at most ``count`` times in each."""

    def spoil(notebook):
        found = False
        for cell in notebook.cells:
            if old in cell.source:
                cell.source, found = cell.source.replace(old, new, count), True
        assert found, f"{old!r}이 노트북에 없어 시험이 뜻을 잃었습니다."

    return spoil


def append_code(text):
    def spoil(notebook):
        code(notebook, 1).source += "\n" + text

    return spoil


def last_code(text):
    def spoil(notebook):
        code(notebook, -1).source += "\n" + text

    return spoil


def print_line(text, times=1):
    def spoil(notebook):
        code(notebook, 1).outputs.append(
            nbformat.v4.new_output("stream", name="stdout", text=(text + "\n") * times)
        )

    return spoil


def print_everywhere(text):
    def spoil(notebook):
        for cell in code_cells(notebook):
            cell.outputs.append(nbformat.v4.new_output("stream", name="stdout", text=(text + "\n") * 2))

    return spoil


def set_count(notebook):
    code(notebook).execution_count = None


def add_error(notebook):
    code(notebook, 1).outputs.append(nbformat.v4.new_output("error", ename="E", evalue="e", traceback=[]))


def add_stderr(notebook):
    code(notebook, 1).outputs.append(nbformat.v4.new_output("stream", name="stderr", text="W0000"))


def add_semicolon(notebook):
    code(notebook, 1).source += ";"


def tag_cells(tag, share=1.0):
    def spoil(notebook):
        cells = [cell for cell in code_cells(notebook) if cell.outputs]
        for cell in cells[: round(share * len(cells))]:
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), tag]

    return spoil


def drop_figures(notebook):
    for cell in code_cells(notebook):
        cell.outputs = [output for output in cell.outputs if "image/png" not in output.get("data", {})]


def drop_one_figure(notebook):
    cell = next(cell for cell in reversed(code_cells(notebook)) if "image/png" in str(cell.outputs))
    cell.outputs = []


def drop_verifications(notebook):
    for cell in code_cells(notebook):
        cell.source = cell.source.replace("verify.", "print_").replace("assert ", "print_")


def insert_code(source):
    def spoil(notebook):
        index = notebook.cells.index(code(notebook, 1))
        notebook.cells.insert(index + 1, nbformat.v4.new_code_cell(source))

    return spoil


def add_cells(count):
    def spoil(notebook):
        notebook.cells += [nbformat.v4.new_markdown_cell("글") for _ in range(count)]

    return spoil


def shorten_text(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source[:40]


def lengthen_text(notebook):
    notebook.cells[0].source += "\n\n" + "낱말 " * 4000


def swap(one, other):
    def spoil(notebook):
        for cell in notebook.cells:
            cell.source = cell.source.replace(one, "@").replace(other, one).replace("@", other)

    return spoil


def late_import(notebook):
    code(notebook).source = "import tensorflow as tf\nimport tf_study"


def drop_first_heading(notebook):
    notebook.cells[0].source = notebook.cells[0].source.removeprefix("# ")


def drop_last_cell(notebook):
    notebook.cells.pop()


def drop_cell(part):
    def spoil(notebook):
        notebook.cells.remove(next(cell for cell in notebook.cells if part in cell.source))

    return spoil


def mark_solved(notebook):
    next(cell for cell in code_cells(notebook) if ".check(" in cell.source).outputs[0].text = "✅ 맞았습니다"


def drop_ignore_tag(notebook):
    for cell in code_cells(notebook):
        cell.metadata["tags"] = [tag for tag in cell.metadata.get("tags", []) if tag != notebooks.IGNORE]
    notebook.metadata["tf_study"]["generated"] = notebooks.fingerprint(notebook)


def change_kernel(notebook):
    notebook.metadata["kernelspec"]["name"] = "python3"


def change_ids(notebook):
    notebook.cells[0].id = "other"


LONG_CLASS = "class Long:\n" + "\n".join(f"    x{n} = {n}" for n in range(26))
# Of the same rule, the first and the second edition have bounds of their own.
OLD_SIZE, OLD_SHARE = first_edition.lecture_size, first_edition.compared_share
SPOILT = [
    ("lecture", rules.clean_run, set_count, "실행 번호"),
    ("lecture", rules.clean_run, add_error, "오류 출력"),
    ("lecture", rules.clean_run, add_stderr, "stderr"),
    ("lecture", rules.clean_run, print_line("줄", 31), "30줄"),
    ("lecture", rules.clean_run, print_line("[생략] torch 패키지가 없어"), "비교하지 않은 기준"),
    ("lecture", rules.clean_run, add_semicolon, ";"),
    ("lecture", rules.models, tag_cells("model:gpt"), "패키지에 없습니다"),
    ("lecture", rules.models, tag_cells("model:smollm2"), "if 안에"),
    ("lecture", rules.models, append_code('x = pretrained.available("smollm2")'), "model:smollm2 태그를"),
    ("lecture", rules.metadata, change_kernel, "kernelspec"),
    ("lecture", rules.metadata, change_ids, "id"),
    ("lecture", rules.links, append_text("[없음](missing.ipynb)"), "missing.ipynb"),
    ("lecture", rules.links, append_text("[99.2 다음](02_next.ipynb)"), "99.2 다음 강의"),
    ("lecture", rules.no_private_text, append_text("/home/someone/file"), "절대 경로"),
    ("lecture", rules.no_private_text, append_text("http" + "://example.org"), "웹 주소"),
    ("lecture", rules.korean, append_text("손실함수를 줄입니다."), "손실 함수"),
    ("lecture", rules.korean, append_text("모델에 의해 예측됩니다."), "능동"),
    ("lecture", rules.korean, append_text("좋습니다!"), "느낌표"),
    ("lecture", rules.korean, append_text("\U0001f680"), "그림 문자"),
    ("lecture", rules.one_sense, append_text("값을 기준과 견줍니다."), "비교합니다"),
    ("lecture", rules.one_sense, append_text("까닭은 이렇습니다.\n\n" * 3), "2번까지인데 3번"),
    ("lecture", rules.notation, append_text("정확도는 27 %입니다."), "27%"),
    ("lecture", rules.notation, append_text("**예측해 보세요**: 얼마일까요?"), "쌍점"),
    ("lecture", rules.code_shape, append_code(f"long = '{'긴' * 100}'"), "100자"),
    ("lecture", rules.code_shape, append_code("[[b for b in a] for a in x]"), "컴프리헨션"),
    ("lecture", rules.code_shape, append_code("sum(max(b for b in a) for a in x)"), "컴프리헨션"),
    ("lecture", rules.code_shape, append_code("a = 1; b = 2"), "이어 적지"),
    ("lecture", rules.formatted, append_code("x = {'a':1}"), '{"a": 1}'),
    ("solution", rules.formatted, replace_text("quiz = Practice", "quiz=Practice"), "ruff format"),
    ("lecture", rules.font_sizes, append_code("ax.text(0, 0, 'x', fontsize=8)"), "fontsize=8"),
    ("lecture", rules.font_sizes, append_code("ax.legend(fontsize='small')"), "small"),
    ("lecture", rules.setup_first, late_import, "먼저"),
    ("lecture", rules.compared_share, tag_cells(notebooks.IGNORE, 0.4), "70%보다 적습니다"),
    ("lecture", rules.compared_share, tag_cells("approx:2"), "0과 1 사이"),
    ("lecture", rules.compared_share, replace_text("print(9)", "# NBVAL_SKIP\nprint(9)"), "건너뛰는"),
    ("lecture", OLD_SHARE, tag_cells(notebooks.IGNORE), "비교하지 않아"),
    ("lecture", rules.lecture_opening, drop_first_heading, "# 제목"),
    ("lecture", rules.lecture_opening, replace_text("**학습 목표**", "학습 목표"), "학습 목표"),
    ("lecture", rules.lecture_opening, swap("**핵심 질문**", "**예상 시간**"), "순서"),
    ("lecture", rules.lecture_opening, replace_text("70분", "7분"), "예상 시간"),
    ("lecture", rules.estimated_minutes, replace_text("70분", "7분"), "예상 시간"),
    ("lecture", rules.lecture_sections, replace_text("## 함정", "## 다른"), "함정"),
    ("lecture", rules.lecture_sections, swap("## 함정", "## 요약"), "순서"),
    ("lecture", rules.lecture_sections, replace_text("**예측해 보세요**", "예측"), "예측해"),
    ("lecture", rules.lecture_sections, replace_text("<details>", "<p>"), "확인 문제"),
    ("lecture", rules.lecture_sections, replace_text("$$", "$ "), "수식"),
    ("lecture", rules.lecture_sections, replace_text("|---", "|==="), "표"),
    ("lecture", rules.lecture_size, drop_one_figure, "그림이 4개"),
    ("lecture", rules.lecture_size, drop_verifications, "검증"),
    ("lecture", rules.lecture_size, add_cells(40), "30~70개"),
    ("lecture", rules.lecture_size, shorten_text, "어절"),
    ("lecture", rules.lecture_size, lengthen_text, "어절"),
    ("lecture", OLD_SIZE, add_cells(20), "20~50개"),
    ("lecture", OLD_SIZE, drop_figures, "그림"),
    ("lecture", rules.words_a_cell, add_cells(25), "40어절보다"),
    ("lecture", rules.reading_time, add_cells(7), "예상 시간"),
    ("lecture", rules.reading_time, add_cells(12), "심화를 뺀"),
    ("lecture", rules.schematic, replace_text("tf_study.diagram", "another"), "도식"),
    ("lecture", rules.schematic, drop_figures, "도식"),
    ("lecture", rules.cell_length, append_code("x = 1\n" * 26), "25줄"),
    ("lecture", rules.cell_length, append_code(LONG_CLASS + "\n" * 20 + "x = 1"), "40줄"),
    ("lecture", rules.cell_length, replace_text("print(", f"{LONG_CLASS}\nprint("), "하나까지"),
    ("lecture", rules.cell_length, replace_text("\n", "\n\n\n\n\n\n\n\n\n\n\n\n\n"), "중앙값"),
    ("lecture", first_edition.code_rhythm, append_code("x = 1\n" * 26), "25줄"),
    ("lecture", first_edition.code_rhythm, insert_code("x = 1"), "글 없이"),
    ("lecture", rules.rhythm, insert_code("x = 1"), "글 없이"),
    (
        "lecture",
        rules.rhythm,
        replace_text("plt.plot(y)", "def draw():\n    pass\n\n\nplt.plot(y)"),
        "글 없이",
    ),
    ("lecture", rules.no_rebinding, last_code("double = 3"), "함수 double"),
    ("lecture", rules.no_rebinding, last_code("for np in range(3):\n    pass"), "모듈 np"),
    ("lecture", rules.no_rebinding, last_code("with x as (verify, y):\n    pass"), "모듈 verify"),
    ("lecture", rules.no_rebinding, last_code("if x:\n    class double:\n        pass"), "함수 double"),
    ("lecture", rules.verification_lines, print_line("[검증] 값: 최대 오차 0.1 (허용 1)", 4), "한 셀에"),
    ("lecture", rules.verification_lines, print_line("[반례] 값: 최대 차이 0.1 (1보다)", 4), "한 셀에"),
    ("lecture", rules.verification_lines, print_everywhere("[검증] 값: 3개 값이 모두 같음"), "모두 "),
    ("lecture", rules.verification_lines, print_line("[검증] 값: 모양 (3,), 오차 < 1e-06"), "잰 값이 없"),
    ("lecture", rules.no_verdicts, print_line("정확도가 0.85보다 큼: True"), "잰 수"),
    ("lecture", rules.no_verdicts, print_line("정확도 > 0.8 False"), "잰 수"),
    ("lecture", rules.no_verdicts, append_code("print('충분한가', accuracy > 0.8)"), "잰 수"),
    ("lecture", rules.no_verdicts, append_code("print(f'충분한가 {bool(np.all(a < 0.1))}')"), "잰 수"),
    ("lecture", rules.predictions, replace_text("**여덟입니다.**", "여덟입니다."), "굵은 답"),
    ("lecture", rules.predictions, replace_text("두 배는 얼마일까요?", "두 배를 구하세요."), "물음"),
    ("lecture", rules.hands_on, replace_text("고쳐 보세요", "보세요"), "고쳐 보세요"),
    ("lecture", rules.hands_on, replace_text("`return 2 * x`입니다", "앞과 같습니다"), "답의 코드"),
    ("lecture", rules.key_answer, replace_text("이루어집니다.**", "이루어집니다."), "굵은 문장이 0개"),
    ("lecture", rules.key_answer, replace_text("## 요약", "## 요약\n\n**이 강의의 답은 둘입니다.**"), "2개"),
    ("solution", rules.practice_structure, drop_first_heading, "# 제목"),
    ("solution", rules.practice_structure, replace_text("## 문제", "## 물음"), "5~8개"),
    ("solution", rules.practice_structure, replace_text("<details>", "<p>"), "힌트"),
    ("solution", rules.practice_structure, replace_text("## 도전 과제", "## 끝"), "도전"),
    ("solution", rules.practice_structure, drop_cell(".check("), "채점 셀"),
    ("solution", rules.practice_structure, drop_cell(".score()"), "점수"),
    ("solution", rules.problem_titles, replace_text("(5분)", "(6분)"), "제목의 이름과 시간"),
    ("solution", rules.problem_titles, replace_text("| 1. 수 1", "| 1. 수 일"), "표의 이름과 시간"),
    ("solution", rules.own_practice, replace_text("chapter99/ex01", "chapter98/ex01"), "chapter98"),
    ("solution", rules.own_practice, replace_text('"chapter99/ex01"', "name"), "chapter99"),
    (
        "solution",
        rules.second_hint,
        replace_text(
            "`for` 반복문", "```python\nfor item in values:\n    s = s + item\nreturn s\n```\n반복문"
        ),
        "힌트 2",
    ),
    ("solution", rules.solution_raises, drop_last_cell, "require_all"),
    ("solution", rules.solution_raises, replace_text("# END SOLUTION", "", 1), "수가 다릅니다"),
    ("solution", rules.solution_raises, replace_text("# BEGIN SOLUTION", "", 1), "다섯보다"),
    ("learner", rules.learner_blank, mark_solved, "⬜"),
    ("learner", rules.learner_blank, drop_ignore_tag, "태그"),
]


@pytest.mark.parametrize(
    ("kind", "rule", "spoil", "message"),
    SPOILT,
    ids=[f"{kind}-{rule.__name__}-{number}" for number, (kind, rule, *_) in enumerate(SPOILT)],
)
def test_a_spoilt_notebook_is_rejected(contexts, kind, rule, spoil, message):
    notebook = notebooks.read(contexts[kind].path)
    spoil(notebook)
    found = list(rule(notebook, contexts[kind]))
    assert any(message in violation for violation in found), found


@pytest.mark.parametrize("kind", ["lecture", "solution", "learner"])
@pytest.mark.parametrize("edition", [0, 1], ids=["first", "second"])
def test_the_sample_keeps_every_rule(contexts, kind, edition):
    notebook = notebooks.read(contexts[kind].path)
    for rule in rules.RULES[kind][edition]:
        assert list(rule(copy.deepcopy(notebook), contexts[kind])) == [], rule.__name__


def test_every_rule_has_a_spoilt_notebook():
    assert {rule for _, rule, *_ in SPOILT} | {rules.file_size} == EVERY_RULE


def test_a_large_file_is_rejected(tmp_path):
    (tmp_path / "large.ipynb").write_bytes(b" " * 600_001)
    context = Context(tmp_path / "large.ipynb", 0)
    assert list(rules.file_size(nbformat.v4.new_notebook(), context))


def test_a_learners_solved_notebook_is_left_in_peace(contexts):
    notebook = notebooks.read(contexts["learner"].path)
    mark_solved(notebook)
    notebook.cells[0].source += "\n내 메모"
    assert list(rules.learner_blank(notebook, contexts["learner"])) == []


# -- the parts that the rules are made of ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("assert x", 1),
        ("assert True", 0),
        ("verify.close('a', 1, 1)", 1),
        ("with verify.group('a'):\n    verify.equal('b', 1, 1)", 1),
        ("verify.available('torch')", 0),
        ("# assert x\nprint(1)", 0),
        ("%time\nassert x", 1),
    ],
)
def test_only_checks_that_can_fail_count(source, count):
    assert verifications(source) == count


@pytest.mark.parametrize(
    "cells",
    [
        ("def f():\n    pass", "f = tf.function(f)", "def f():\n    return 1"),
        ("import numpy as np", "import numpy as np"),
        ("def f(x):\n    np = x", "f([x for np in y])"),
        ("import json", "del json", "json = 3"),
        ("x = 1", "x = 2", "for x in y:\n    pass"),
        ("try:\n    import torch\nexcept ImportError:\n    print(1)", "torch.zeros(3)"),
    ],
)
def test_what_is_no_rebinding(cells):
    notebook = nbformat.v4.new_notebook(cells=[sample.code(source) for source in cells])
    assert list(rules.no_rebinding(notebook, None)) == []


@pytest.mark.parametrize(
    "line", ["즉시 실행: True", "한글이 같은가: False", "[[ True False]]", "정확도 0.93 (기준 0.85보다 높음)"]
)
def test_a_truth_value_that_hides_no_number_may_be_printed(line):
    notebook = nbformat.v4.new_notebook(cells=[sample.code("print(a == b, (x > 0).mean())", line)])
    assert list(rules.no_verdicts(notebook, None)) == []


def test_every_line_of_verify_shows_what_was_measured(capsys):
    verify.close("수", [1.0, 2.0], [1.0, 2.0])
    verify.equal("글자", ["가"], ["가"])
    verify.differs("차이", [1.0], [2.0], by=0.5)
    with verify.group("여럿"):
        verify.close("수", 1.0, 1.0)
        verify.equal("수", 1, 1)
    with verify.group("같음", against="torch"):
        verify.equal("수", [1, 2], [1, 2])
    lines = capsys.readouterr().out
    notebook = nbformat.v4.new_notebook(
        cells=[sample.code("x", line) for line in lines.split("\n") if line.startswith("[")]
    )
    assert len(notebook.cells) == 5
    assert list(rules.verification_lines(notebook, None)) == []


def test_a_section_ends_the_deeper_reading():
    notebook = nbformat.v4.new_notebook(
        cells=[sample.text(t) for t in ("## 심화: 하나", "### 둘", "글", "## 셋", "### 심화", "### 넷")]
    )
    assert lecture.core_cells(notebook) == 2


SOLUTION_CODE = "total = 0\nfor value in values:\n    total += value ** 2\nreturn total / len(values)"


@pytest.mark.parametrize(
    ("hint", "low", "high"),
    [
        ([SOLUTION_CODE], 1, 1),
        (["s = 0\nfor v in values:\n    s += v ** 2\nreturn s / len(values)  # 끝"], 1, 1),
        (["total", "len(values)", "**"], 0, 0.3),
        ([], 0, 0),
    ],
)
def test_how_much_of_a_solution_a_hint_shows(hint, low, high):
    assert low <= practice.shown_share(hint, SOLUTION_CODE) <= high


def test_a_hint_in_cuda_shows_a_solution_in_cuda():
    solution = "for (int d = 16; d > 0; d /= 2) v += __shfl_down_sync(0xffffffff, v, d);"
    assert practice.code_in(f"글\n\n```cuda\n{solution}\n```\n") == [solution + "\n"]
    assert practice.shown_share([solution], solution) == 1
    assert practice.shown_share(["for (셔플 반복문) v에 더합니다;"], solution) == 0


def test_no_helper_writes_type_that_a_notebook_may_not():
    for name in ("plots.py", "diagram.py"):
        path = rules.ROOT / "tf_study" / name
        assert list(source.small_type(path.read_text(encoding="utf-8"))) == [], name


@pytest.mark.parametrize(
    "name", ["font.size", "axes.titlesize", "axes.labelsize", "xtick.labelsize", "legend.fontsize"]
)
def test_the_style_writes_no_small_type(name):
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties

    from tf_study import plots

    plots.use_style()
    assert FontProperties(size=rcParams[name]).get_size_in_points() >= source.POINTS
