"""Every built notebook keeps every rule, and every chapter covers its formulas and keywords."""

import re
from pathlib import Path

import pytest

from notebook_rules import (
    EVERY,
    LEARNER,
    LECTURE,
    ROOT,
    SOLUTION,
    Context,
    code_cells,
    compared_share,
    tags_of,
    text_of,
    verifications,
)
from tf_study import curriculum, notebooks

BUILT = [chapter for chapter in curriculum.chapters() if chapter.built]


def cases():
    for item in curriculum.notebooks():
        if item.solution is None:
            yield from ((item.path, item.minutes, rule) for rule in LECTURE)
        else:
            yield from ((item.solution, item.minutes, rule) for rule in SOLUTION)
            yield from ((item.path, item.minutes, rule) for rule in LEARNER)
    for project in curriculum.projects():
        if project.built:
            yield from ((project.walkthrough, 0, rule) for rule in (*EVERY, compared_share))


@pytest.mark.parametrize(
    ("path", "minutes", "rule"), [pytest.param(*case, id=f"{case[0]}-{case[2].__name__}") for case in cases()]
)
def test_notebook_keeps_rule(path: Path, minutes: int, rule):
    notebook = notebooks.read(ROOT / path)
    assert list(rule(notebook, Context(ROOT / path, minutes))) == []


def test_notebook_files_are_those_of_the_curriculum():
    expected = set(notebooks.all_paths())
    found = {
        path.relative_to(ROOT)
        for folder in ("chapter*", "projects")
        for path in ROOT.glob(f"{folder}/**/*.ipynb")
        if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    }
    assert found == expected


def test_the_curriculum_is_complete():
    chapters = curriculum.chapters()
    assert [chapter.number for chapter in chapters] == list(range(1, 18))
    assert sum(len(chapter.lectures) for chapter in chapters) == 74
    assert sum(len(chapter.practices) for chapter in chapters) == 30
    assert len(curriculum.projects()) == 7


@pytest.mark.parametrize("chapter", BUILT, ids=lambda chapter: chapter.folder)
def test_every_formula_is_verified_in_a_tagged_cell(chapter):
    tagged = {}
    for lecture in chapter.lectures:
        for cell in code_cells(notebooks.read(ROOT / lecture.path)):
            for tag in tags_of(cell):
                if tag.startswith("formula:"):
                    assert verifications(cell.source), f"{lecture.path}: {tag} 셀에 검증이 없습니다."
                    tagged[tag.removeprefix("formula:")] = lecture.path
    assert set(tagged) == set(chapter.formulas)


@pytest.mark.parametrize("chapter", BUILT, ids=lambda chapter: chapter.folder)
def test_every_keyword_occurs(chapter):
    text = ""
    for item in (*chapter.lectures, *chapter.practices):
        notebook = notebooks.read(ROOT / item.path)
        text += text_of(notebook) + "\n".join(cell.source for cell in code_cells(notebook))
    assert [keyword for keyword in chapter.keywords if keyword not in text] == []


@pytest.mark.parametrize(
    "item", [item for item in curriculum.notebooks() if item.solution], ids=lambda item: str(item.path)
)
def test_learner_notebook_is_fresh(item):
    learner = notebooks.read(ROOT / item.path)
    fresh = notebooks.learner_version(notebooks.read(ROOT / item.solution))
    assert learner.metadata["tf_study"] == fresh.metadata["tf_study"], "make practice로 다시 만드세요."


def test_readme_map_matches_the_curriculum():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    written = readme.split("<!-- map -->\n")[1].split("\n<!-- /map -->")[0]
    assert written == curriculum.readme_map(), "python -m tf_study.curriculum으로 다시 쓰세요."


def test_readme_links_resolve():
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), target
