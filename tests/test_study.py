"""The learner's copy of the course: made of a small course of its own, except for one test of the real one."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from tf_study import curriculum, notebooks, study
from tf_study.errors import StudyError

LECTURE = Path("chapter01_basics/01_lecture.ipynb")
PRACTICE = Path("chapter01_basics/practice/ex01_quiz.ipynb")
SOLUTION = Path("chapter01_basics/practice/solutions/ex01_quiz.ipynb")
PATHS = [LECTURE, PRACTICE, SOLUTION]
LINK = re.compile(r"\]\(([^)#\s]+\.(?:ipynb|md|png|svg|jpg))[)#]")


def cells(text, output):
    printed = nbformat.v4.new_output("stream", name="stdout", text=output)
    code = nbformat.v4.new_code_cell("quiz.check('a', a)", outputs=[printed], execution_count=1)
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text), code])


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of a lecture, a practice and its solution; return its root."""
    monkeypatch.setattr(curriculum, "ROOT", tmp_path)
    monkeypatch.setattr(curriculum, "projects", lambda: ())
    for path in (LECTURE, SOLUTION):
        notebooks.write(cells("# 글", "답\n"), tmp_path / path)
    practice = cells("# 문제", "⬜ 아직\n")
    practice.metadata["tf_study"] = {"generated": notebooks.fingerprint(practice)}
    notebooks.write(practice, tmp_path / PRACTICE)
    return tmp_path


def prepare(course):
    return study.prepare(course / "study", PATHS)


def edit(path, text, output=None):
    """Work in a notebook as Jupyter does: other metadata, new ids, outputs of a run."""
    notebook = notebooks.read(path)
    notebook.cells[0].source = text
    notebook.cells[1].metadata["trusted"] = True
    notebook.cells[1].id = "abcd1234"
    if output:
        notebook.cells[1].outputs = [nbformat.v4.new_output("stream", name="stdout", text=output)]
    nbformat.write(notebook, path)


def update(path, text):
    """Let the course have a new edition of a notebook."""
    notebook = notebooks.read(path)
    notebook.cells[0].source = text
    if "tf_study" in notebook.metadata:
        notebook.metadata["tf_study"] = {"generated": notebooks.fingerprint(notebook)}
    notebooks.write(notebook, path)


def test_the_copy_gives_no_prediction_away(course):
    assert prepare(course).new == PATHS
    lecture, practice, solution = (notebooks.read(course / "study" / path) for path in PATHS)
    assert lecture.cells[1].outputs == [] and lecture.cells[1].execution_count is None
    assert notebooks.marks(practice) == ["⬜"]
    assert solution.cells[1].outputs[0].text == "답\n"
    assert not any(notebooks.is_edited(notebook) for notebook in (lecture, practice, solution))
    again = prepare(course)
    assert (again.new, again.renewed, again.left) == ([], [], [])


def test_what_was_worked_in_is_kept_and_said_only_after_an_update(course):
    prepare(course)
    for path in (LECTURE, PRACTICE):
        edit(course / "study" / path, "# 내 답", "✅ 맞음\n")
    before = [(course / "study" / path).read_bytes() for path in (LECTURE, PRACTICE)]
    assert prepare(course).left == []
    for path in PATHS:
        update(course / path, "# 새 글")
    report = prepare(course)
    assert report.renewed == [SOLUTION] and report.new == []
    assert len(report.left) == 2 and all("고친 곳이 있어 그대로 두었으니" in line for line in report.left)
    assert [(course / "study" / path).read_bytes() for path in (LECTURE, PRACTICE)] == before


def test_a_notebook_that_was_only_run_is_renewed(course):
    prepare(course)
    edit(course / "study" / LECTURE, "# 글", "실행한 출력\n")
    assert prepare(course).renewed == []
    assert notebooks.read(course / "study" / LECTURE).cells[1].outputs[0].text == "실행한 출력\n"
    update(course / LECTURE, "# 새 글")
    assert prepare(course).renewed == [LECTURE]
    assert notebooks.read(course / "study" / LECTURE).cells[0].source == "# 새 글"


def test_a_notebook_whose_metadata_was_stripped_counts_as_worked_in(course):
    prepare(course)
    path = course / "study" / LECTURE
    notebook = notebooks.read(path)
    notebook.metadata = nbformat.from_dict({})
    nbformat.write(notebook, path)
    assert prepare(course).left == []  # It is what the course has: nothing to say.
    update(course / LECTURE, "# 새 글")
    assert prepare(course).renewed == [] and notebooks.read(path).cells[0].source == "# 글"


def test_a_deleted_or_renamed_notebook_comes_back(course):
    prepare(course)
    path = course / "study" / PRACTICE
    edit(path, "# 내 답")
    path.rename(path.with_name("mine.ipynb"))
    assert prepare(course).new == [PRACTICE]
    assert notebooks.read(path.with_name("mine.ipynb")).cells[0].source == "# 내 답"


@pytest.mark.parametrize("damage", [b"", b"{", b'{\n<<<<<<< HEAD\n "cells": []\n=======\n}'])
def test_a_damaged_notebook_is_left_and_said_and_the_others_are_renewed(course, damage):
    prepare(course)
    path = course / "study" / PRACTICE
    path.write_bytes(damage)
    update(course / LECTURE, "# 새 글")
    report = prepare(course)
    assert report.renewed == [LECTURE] and path.read_bytes() == damage
    (line,) = report.left
    assert str(path) in line and "그대로 두었으니" in line and "git" not in line


def test_a_damaged_notebook_of_the_course_does_not_stop_the_others(course):
    (course / PRACTICE).write_bytes(b"{")
    report = prepare(course)
    assert report.new == [LECTURE, SOLUTION]
    (line,) = report.left
    assert "복사해 둔 뒤 `git checkout" in line


def test_answers_written_in_the_course_itself_come_along(course):
    edit(course / PRACTICE, "# 내 답", "✅ 맞음\n")
    prepare(course)
    path = course / "study" / PRACTICE
    assert notebooks.marks(notebooks.read(path)) == ["✅"]
    update(course / PRACTICE, "# 새 문제")
    assert prepare(course).renewed == [] and notebooks.read(path).cells[0].source == "# 내 답"


def test_a_folder_that_cannot_be_written_is_one_sentence(course):
    (course / "study").touch()
    with pytest.raises(StudyError, match="쓸 수 없으니"):
        prepare(course)


PREPARE = """
import pathlib, sys
from tf_study import study
print("go", flush=True)
study.prepare(pathlib.Path(sys.argv[1]))
"""


def test_the_real_copy_killed_again_and_again_is_whole_in_the_end(tmp_path):
    folder, kills = tmp_path / "study", 0
    for delay in (0.05, 0.3):
        command = [sys.executable, "-c", PREPARE, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(delay)
            process.kill()
        kills += process.returncode == -signal.SIGKILL
        for path in folder.rglob("[!.]*.ipynb"):
            notebooks.read(path)
    assert kills == 2
    study.prepare(folder)
    paths = {path.relative_to(folder) for path in folder.rglob("*.ipynb")}
    assert paths == set(notebooks.all_paths()), "every notebook is there, and no part of one"
    again = study.prepare(folder)
    assert (again.new, again.renewed, again.left) == ([], [], [])
    for path in paths:
        text = "\n".join(cell.source for cell in notebooks.read(folder / path).cells)
        for target in LINK.findall(text):
            original = (curriculum.ROOT / path).parent.joinpath(target)  # Some are not written yet.
            assert (folder / path).parent.joinpath(target).exists() == original.exists(), f"{path}: {target}"
    for project in filter(lambda item: item.built, curriculum.projects()):
        program = next((folder / project.folder).glob("*/__main__.py"))
        assert program.samefile(curriculum.ROOT / program.relative_to(folder))


def test_place_is_the_copy_where_there_is_one(course):
    assert study.place(LECTURE, course / "study") == LECTURE
    prepare(course)
    assert study.place(LECTURE, course / "study") == Path("study") / LECTURE
