"""Every built notebook keeps every rule, and every chapter covers its formulas and keywords."""

import functools
import re
from pathlib import Path

import pytest

import main
import notebook_rules.__main__ as rules_command
from notebook_rules import ROOT, kinds, rules_for
from notebook_rules.cells import code_cells, tags_of, text_of, verifications
from tf_study import curriculum, notebooks

BUILT = [chapter for chapter in curriculum.chapters() if chapter.built]
FIRST_EDITION_AT_MOST = 51  # Lower it with every notebook that is rewritten.
read = functools.lru_cache(maxsize=1)(notebooks.read)  # The cases of one notebook follow each other.
CASES = [
    pytest.param(kind, context, rule, id=f"{path}-{rule.__name__}")
    for path, (kind, context) in kinds().items()
    for rule in rules_for(kind, path)
]


@pytest.mark.parametrize(("kind", "context", "rule"), CASES)
def test_notebook_keeps_rule(kind, context, rule):
    violations = list(rule(read(context.path), context))
    assert not violations, "\n" + "\n".join(violations)


def test_the_first_edition_only_shrinks():
    lines = (ROOT / "tf_study" / "first_edition.txt").read_text(encoding="utf-8").splitlines()[1:]
    listed = [Path(line) for line in lines]
    assert len(listed) == len(set(listed)), "두 번 적힌 노트북이 있습니다."
    assert len(listed) <= FIRST_EDITION_AT_MOST, "첫째 판의 목록은 줄기만 합니다."
    assert set(listed) <= set(curriculum.sources()), "없는 노트북이 적혀 있습니다."


def test_the_list_counts_the_editions(capsys):
    assert main.main(["list", "--edition"]) == 0
    first, second = map(int, re.findall(r"(\d+)개", capsys.readouterr().out))
    assert (first, first + second) == (len(curriculum.first_edition()), len(curriculum.sources()))


def test_the_command_for_authors_shows_what_a_notebook_breaks(capsys):
    lecture = curriculum.notebooks()[0].path
    status = rules_command.main([str(ROOT / lecture)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{lecture}: 어긴 규칙 {len(lines) - 1}건"
    assert status == (len(lines) > 1)
    assert rules_command.main(["missing.ipynb"]) == 2


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
    assert (
        sum(len(chapter.lectures) for chapter in chapters) == 74 + 1
    )  # The first fifteen minutes are extra.
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
