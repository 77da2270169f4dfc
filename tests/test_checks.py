"""The graders themselves: right answers get ✅, wrong ones ❌, blanks ⬜, for every problem of every practice.

The solution is one more right answer: its notebook's last cell raises unless every mark is ✅.
"""

import importlib

import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

from answers import Answers
from tf_study import curriculum
from tf_study.practice import BLANK, BLANK_MESSAGE, SOLVED, WRONG, grade, load

NAMES = [item.practice for item in curriculum.notebooks() if item.solution]
PROBLEMS = [
    pytest.param(name, item, id=f"{name}-{item.name}") for name in NAMES for item in load(name).values()
]

# Right answers train for hundreds of steps, so that improving the graph of a step pays.
LONG = ("accepted[chapter17/ex02-train]",)

# What an answer raises that is not wrong but unfinished.
BROKEN = ("NameError", "UnboundLocalError", "ImportError", "ModuleNotFoundError", "SyntaxError")


@pytest.fixture(autouse=True)
def plain_graphs(request):
    """Leave graphs as they are traced: most run a few times here, and improving one takes longer than they do."""
    plain = not any(name in request.node.name for name in LONG)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": plain})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(autouse=True)
def forgotten_gradients():
    """Forget what ``tf.custom_gradient``, as of ``tf.nn.silu``, registers with every graph: it keeps the graph for ever."""
    before = set(ops.gradient_registry.list())
    yield
    for name in set(ops.gradient_registry.list()) - before:
        del ops.gradient_registry._registry[name]


def answers(name: str, kind: str) -> Answers:
    return getattr(importlib.import_module(f"answers.{name.replace('/', '_')}"), kind)


def marked(item, answer) -> tuple[str, str]:
    """Return the mark and the message of an answer; skip where the problem needs a compiler that is missing."""
    mark, message = grade(item, answer)
    if mark == BLANK and message != BLANK_MESSAGE:
        pytest.skip(message)
    return mark, message


@pytest.mark.parametrize(("name", "item"), PROBLEMS)
def test_wrong_answers_are_rejected(name, item):
    wrong = answers(name, "WRONG")[item.name]
    assert len(wrong) >= 3
    for answer in wrong:
        mark, message = marked(item, answer)
        assert mark == WRONG, f"{answer.__name__} ({answer.__doc__}): {mark} {message}"
        assert message and "\n" not in message
        broken = [kind for kind in BROKEN if f"{kind} 오류가 났습니다" in message]
        assert not broken, f"{answer.__name__} is broken: {message}"


@pytest.mark.parametrize(("name", "item"), PROBLEMS)
def test_right_answers_are_accepted(name, item):
    right = answers(name, "RIGHT")[item.name]
    assert len(right) >= 2
    for answer in right:
        mark, message = marked(item, answer)
        assert mark == SOLVED, f"{answer.__name__} ({answer.__doc__}): {mark} {message}"


@pytest.mark.parametrize(("name", "item"), PROBLEMS)
def test_blank_is_neither_right_nor_wrong(name, item):
    def blank(*args, **kwargs):
        raise NotImplementedError

    assert grade(item, blank) == (BLANK, BLANK_MESSAGE)


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_given_to_every_problem_and_no_other(name):
    for kind in ("RIGHT", "WRONG"):
        assert set(answers(name, kind)) == set(load(name))


def test_marks_are_distinct():
    assert len({SOLVED, BLANK, WRONG}) == 3
