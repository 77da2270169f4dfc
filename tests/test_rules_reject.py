"""The rules themselves: each rejects a notebook that was good until one thing was spoilt."""

import copy

import nbformat
import pytest

import notebook_rules as rules
from notebook_rules import ROOT, Context
from tf_study import curriculum, notebooks

CHAPTER = curriculum.chapters()[0]
LECTURE, PRACTICE = CHAPTER.lectures[1], CHAPTER.practices[0]
PATHS = {"lecture": LECTURE.path, "solution": PRACTICE.solution, "learner": PRACTICE.path}
MINUTES = {"lecture": LECTURE.minutes, "solution": PRACTICE.minutes, "learner": PRACTICE.minutes}


def code(notebook, index=0):
    return rules.code_cells(notebook)[index]


def append_text(text):
    def spoil(notebook):
        notebook.cells[-2 if "require_all" in notebook.cells[-1].source else -1].source += "\n" + text

    return spoil


def replace_text(old, new, count=-1):
    def spoil(notebook):
        found = False
        for cell in notebook.cells:
            if old in cell.source:
                cell.source, found = cell.source.replace(old, new, count), True
        assert found, f"{old!r}이 노트북에 없어 시험이 뜻을 잃었습니다."

    return spoil


def set_count(notebook):
    code(notebook).execution_count = None


def add_error(notebook):
    code(notebook, 1).outputs.append(nbformat.v4.new_output("error", ename="E", evalue="e", traceback=[]))


def add_stderr(notebook):
    code(notebook, 1).outputs.append(nbformat.v4.new_output("stream", name="stderr", text="W0000"))


def add_long_output(notebook):
    code(notebook, 1).outputs.append(nbformat.v4.new_output("stream", name="stdout", text="줄\n" * 31))


def add_skipped_reference(notebook):
    output = nbformat.v4.new_output(
        "stream", name="stdout", text="[생략] torch 패키지가 없어 비교하지 않았으니\n"
    )
    code(notebook, 1).outputs.append(output)


def add_semicolon(notebook):
    code(notebook, 1).source += ";"


def ignore_everything(notebook):
    for cell in rules.code_cells(notebook):
        cell.metadata["tags"] = [notebooks.IGNORE]


def drop_figures(notebook):
    for cell in rules.code_cells(notebook):
        cell.outputs = [output for output in cell.outputs if "image/png" not in output.get("data", {})]


def drop_verifications(notebook):
    for cell in rules.code_cells(notebook):
        cell.source = cell.source.replace("verify.", "print_").replace("assert ", "print_")


def lengthen_code(notebook):
    code(notebook, 1).source += "\nx = 1" * 30


def two_code_cells(notebook):
    index = notebook.cells.index(code(notebook, 1))
    notebook.cells.insert(index + 1, nbformat.v4.new_code_cell("x = 1"))


def add_many_cells(notebook):
    notebook.cells += [nbformat.v4.new_markdown_cell("글") for _ in range(46)]


def shorten_text(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source[:40]


def swap_opening(notebook):
    source = notebook.cells[0].source
    notebook.cells[0].source = (
        source.replace("**핵심 질문**", "@")
        .replace("**예상 시간**", "**핵심 질문**")
        .replace("@", "**예상 시간**")
    )


def late_import(notebook):
    code(notebook).source = "import tensorflow as tf\nimport tf_study"


def drop_first_heading(notebook):
    notebook.cells[0].source = notebook.cells[0].source.removeprefix("# ")


def drop_last_cell(notebook):
    notebook.cells.pop()


def drop_check_cell(notebook):
    notebook.cells.remove(next(cell for cell in rules.code_cells(notebook) if ".check(" in cell.source))


def drop_score(notebook):
    notebook.cells.remove(next(cell for cell in rules.code_cells(notebook) if ".score()" in cell.source))


def mark_solved(notebook):
    cell = next(cell for cell in rules.code_cells(notebook) if ".check(" in cell.source)
    cell.outputs[0].text = "✅ 맞았습니다"


def drop_ignore_tag(notebook):
    for cell in rules.code_cells(notebook):
        cell.metadata["tags"] = [tag for tag in cell.metadata.get("tags", []) if tag != notebooks.IGNORE]
    notebook.metadata["tf_study"]["generated"] = notebooks.fingerprint(notebook)


def change_kernel(notebook):
    notebook.metadata["kernelspec"]["name"] = "python3"


def change_ids(notebook):
    notebook.cells[0].id = "other"


SPOILT = [
    ("lecture", "clean_run", set_count, "실행 번호"),
    ("lecture", "clean_run", add_error, "오류 출력"),
    ("lecture", "clean_run", add_stderr, "stderr"),
    ("lecture", "clean_run", add_long_output, "30줄"),
    ("lecture", "clean_run", add_skipped_reference, "비교하지 않은 기준"),
    ("lecture", "clean_run", add_semicolon, ";"),
    ("lecture", "metadata", change_kernel, "kernelspec"),
    ("lecture", "metadata", change_ids, "id"),
    ("lecture", "links", append_text("[없음](missing.ipynb)"), "missing.ipynb"),
    ("lecture", "links", append_text("[1.3 미분](03_automatic_differentiation.ipynb)"), "1.3 자동 미분"),
    ("lecture", "no_private_text", append_text("/home/someone/file"), "절대 경로"),
    ("lecture", "no_private_text", append_text("http" + "://example.org"), "웹 주소"),
    ("lecture", "korean", append_text("손실함수를 줄입니다."), "손실 함수"),
    ("lecture", "korean", append_text("모델에 의해 예측됩니다."), "능동"),
    ("lecture", "korean", append_text("좋습니다!"), "느낌표"),
    ("lecture", "korean", append_text("\U0001f680"), "그림 문자"),
    ("lecture", "compared_share", ignore_everything, "비교하지 않습니다"),
    (
        "lecture",
        "compared_share",
        replace_text("import tf_study", "# NBVAL_SKIP\nimport tf_study", 1),
        "건너뛰는",
    ),
    ("lecture", "lecture_opening", drop_first_heading, "# 제목"),
    ("lecture", "lecture_opening", replace_text("**학습 목표**", "학습 목표"), "학습 목표"),
    ("lecture", "lecture_opening", swap_opening, "순서"),
    ("lecture", "lecture_opening", replace_text(f"{LECTURE.minutes}분", "7분"), "예상 시간"),
    ("lecture", "lecture_sections", replace_text("## 함정", "## 다른"), "함정"),
    ("lecture", "lecture_sections", replace_text("**예측해 보세요**", "예측"), "예측해"),
    ("lecture", "lecture_sections", replace_text("<details>", "<p>"), "확인 문제"),
    ("lecture", "lecture_sections", replace_text("$$", "$ "), "수식"),
    ("lecture", "lecture_sections", replace_text("|---", "|===", -1), "표"),
    ("lecture", "lecture_size", drop_figures, "그림"),
    ("lecture", "lecture_size", drop_verifications, "검증"),
    ("lecture", "lecture_size", add_many_cells, "셀"),
    ("lecture", "lecture_size", shorten_text, "어절"),
    ("lecture", "code_rhythm", lengthen_code, "줄로"),
    ("lecture", "code_rhythm", two_code_cells, "글 없이"),
    ("lecture", "setup_first", late_import, "먼저"),
    ("solution", "practice_structure", drop_first_heading, "# 제목"),
    ("solution", "practice_structure", replace_text("## 문제", "## 물음"), "5-8개"),
    ("solution", "practice_structure", replace_text("<details>", "<p>"), "힌트"),
    ("solution", "practice_structure", replace_text("$", " "), "수식"),
    ("solution", "practice_structure", replace_text("## 도전 과제", "## 끝"), "도전"),
    ("solution", "practice_structure", drop_check_cell, "채점 셀"),
    ("solution", "practice_structure", drop_score, "점수"),
    ("solution", "solution_raises", drop_last_cell, "require_all"),
    ("solution", "solution_raises", replace_text("# END SOLUTION", "", 1), "수가 다릅니다"),
    ("learner", "learner_blank", mark_solved, "⬜"),
    ("learner", "learner_blank", drop_ignore_tag, "태그"),
]


@pytest.mark.parametrize(
    ("kind", "rule", "spoil", "message"), SPOILT, ids=[f"{row[1]}-{row[3]}" for row in SPOILT]
)
def test_a_spoilt_notebook_is_rejected(kind, rule, spoil, message):
    context = Context(ROOT / PATHS[kind], MINUTES[kind])
    good = notebooks.read(context.path)
    check = getattr(rules, rule)
    before = set(check(copy.deepcopy(good), context))
    spoil(good)
    new = set(check(good, context)) - before
    assert any(message in violation for violation in new), new


def test_a_large_file_is_rejected(tmp_path):
    (tmp_path / "large.ipynb").write_bytes(b" " * (rules.MAX_BYTES + 1))
    context = Context(tmp_path / "large.ipynb", 0)
    assert list(rules.file_size(nbformat.v4.new_notebook(), context))


def test_a_learners_solved_notebook_is_left_in_peace():
    context = Context(ROOT / PATHS["learner"], MINUTES["learner"])
    notebook = notebooks.read(context.path)
    mark_solved(notebook)
    notebook.cells[0].source += "\n내 메모"
    assert list(rules.learner_blank(notebook, context)) == []


def test_every_rule_has_a_spoilt_notebook():
    covered = {row[1] for row in SPOILT} | {"file_size"}
    assert covered == {rule.__name__ for rule in {*rules.LECTURE, *rules.SOLUTION, *rules.LEARNER}}


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("assert x", 1),
        ("assert True", 0),
        ("verify.close('a', 1, 1)", 1),
        ("# assert x\nprint(1)", 0),
        ("%time\nassert x", 1),
    ],
)
def test_only_checks_that_can_fail_count(source, count):
    assert rules.verifications(source) == count
