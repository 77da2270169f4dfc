"""The graders themselves: wrong answers get ❌, blanks ⬜, for every problem of every practice.

That the solution gets ✅ is shown by the solution notebook, whose last cell raises otherwise.
"""

import importlib

import pytest

from tf_study import curriculum
from tf_study.practice import BLANK, SOLVED, WRONG, grade, load

NAMES = [f"{item.path.parts[0][:9]}/{item.path.stem[:4]}" for item in curriculum.notebooks() if item.solution]
PROBLEMS = [(name, item) for name in NAMES for item in load(name).values()]


def wrong_answers(name: str) -> dict[str, list]:
    return importlib.import_module(f"wrong_answers.{name.replace('/', '_')}").WRONG


def blank(*args, **kwargs):
    raise NotImplementedError


@pytest.mark.parametrize(("name", "item"), PROBLEMS, ids=lambda value: getattr(value, "name", value))
def test_wrong_answers_are_rejected(name, item):
    answers = wrong_answers(name)[item.name]
    assert len(answers) >= 3
    for answer in answers:
        mark, message = grade(item, answer)
        assert mark == WRONG, f"{answer.__name__} ({answer.__doc__}): {mark} {message}"
        assert message and "\n" not in message


@pytest.mark.parametrize(("name", "item"), PROBLEMS, ids=lambda value: getattr(value, "name", value))
def test_blank_is_neither_right_nor_wrong(name, item):
    assert grade(item, blank)[0] == BLANK


@pytest.mark.parametrize("name", NAMES)
def test_every_problem_has_wrong_answers(name):
    assert set(wrong_answers(name)) == set(load(name))


def test_marks_are_distinct():
    assert len({SOLVED, BLANK, WRONG}) == 3
