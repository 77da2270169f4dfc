"""The session and the verdict: right, wrong and blank answers, and answers that attack the grader."""

import builtins
import os
import sys
import time
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_study import compare, expect, practice
from tf_study.errors import StudyError
from tf_study.expect import expect_close
from tf_study.practice import BLANK, SOLVED, WRONG, Practice, grade, problem


@problem("두 배", minutes=5)
def double(answer):
    for shape in ((3,), (2, 4)):
        x = np.random.default_rng(0).normal(size=shape)
        expect_close(answer(x), 2 * x, f"x {shape}")


def unsolved(x):
    raise NotImplementedError


@pytest.mark.parametrize(
    ("answer", "mark", "message"),
    [
        (lambda x: 2 * x, SOLVED, "맞았습니다"),
        (unsolved, BLANK, "아직 풀지 않았습니다"),
        (None, BLANK, "아직"),
        (..., BLANK, "아직"),
        (lambda x: 3 * x, WRONG, "값이 다릅니다"),
        (lambda x: x[:1], WRONG, "기대한 모양은 (3,), 나온 모양은 (1,)"),
        (lambda x: None, WRONG, "return"),
        (lambda x: 2 * x if x.ndim == 1 else x, WRONG, "x (2, 4)"),
        (lambda x: x / 0 * np.inf, WRONG, "NaN"),
        (lambda x: [str(value) for value in x], WRONG, "수가 아닌"),
        (lambda x: [[1], [1, 2]], WRONG, "배열로 바꿀 수 없습니다"),
        (lambda: 1, WRONG, "TypeError"),
        (5, WRONG, "TypeError"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*encountered")
def test_grade(answer, mark, message):
    got = grade(double, answer)
    assert got[0] == mark and message in got[1] and "\n" not in got[1]


def test_an_error_inside_a_tf_function_is_said_without_the_listing():
    mark, message = grade(double, tf.function(lambda x: tf.matmul(x, x)))
    assert mark == WRONG and "Error" in message
    assert "in user code" not in message and "File" not in message and ".py" not in message


def test_grade_shows_what_a_layer_raised_without_what_keras_adds():
    class Broken(tf.keras.layers.Layer):
        def call(self, x):
            return tf.matmul(x, tf.ones((3, 3)))

    mark, message = grade(double, Broken())
    assert mark == WRONG and "ndims" in message
    assert "\x1b" not in message and "Arguments received" not in message


def test_numpy_inside_a_tf_function_is_wrong_and_not_blank():
    mark, message = grade(double, tf.function(lambda x: tf.constant(2 * np.asarray(x))))
    assert mark == WRONG and message == practice.SYMBOLIC_MESSAGE


class Talkative(Exception):
    """An exception whose text cannot be read."""

    def __str__(self):
        raise RuntimeError


def attack(action):
    """Return an answer that is right, but does something else first."""

    def answer(x):
        action()
        return 2 * x

    return answer


def close_stdout():
    print("닫기 전")
    sys.stdout.close()


def replace_stdout():
    sys.stdout = None


def raises(error):
    def action():
        raise error

    return attack(action)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (attack(sys.exit), practice.EXIT_MESSAGE),
        (attack(lambda: sys.exit("끝")), practice.EXIT_MESSAGE),
        (raises(SystemExit(0)), practice.EXIT_MESSAGE),
        (raises(GeneratorExit()), "GeneratorExit"),
        (raises(expect.Mismatch("")), "Mismatch 오류가 났습니다"),
        (raises(expect.Mismatch("두\n줄")), "두 줄"),
        (raises(type("Silent", (expect.Mismatch, Talkative), {})()), "Silent 오류가 났습니다"),
        (raises(Talkative()), "Talkative 오류가 났습니다"),
        (raises(ExceptionGroup("여럿", [ValueError(1)])), "ExceptionGroup"),
        (lambda x: answer_without_end(x), "RecursionError"),
    ],
)
def test_an_answer_that_ends_the_program_or_raises_anything_is_one_sentence(answer, said):
    mark, message = grade(double, answer)
    assert mark == WRONG and said in message and "\n" not in message


def answer_without_end(x):
    return answer_without_end(x)


def test_the_interrupt_of_the_learner_still_stops_the_cell():
    with pytest.raises(KeyboardInterrupt):
        grade(double, raises(KeyboardInterrupt()))


def test_exit_in_a_notebook_does_not_end_the_kernel(monkeypatch):
    import IPython
    from ipykernel.zmqshell import ZMQInteractiveShell
    from IPython.core.autocall import ZMQExitAutocall

    with mock.patch.dict(os.environ):  # The shell asks programs for colours, which later tests would get.
        shell = ZMQInteractiveShell()
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    leave = ZMQExitAutocall(shell)
    assert grade(double, attack(leave)) == (WRONG, practice.EXIT_MESSAGE)
    assert grade(double, attack(lambda: leave(keep_kernel=True))) == (WRONG, practice.EXIT_MESSAGE)
    assert not shell.exit_now
    assert grade(double, lambda x: 2 * x)[0] == SOLVED
    shell.kernel = mock.Mock()
    leave()
    assert shell.exit_now  # Outside of a check exit() is what it was.


@pytest.mark.parametrize(
    ("module", "name", "new"),
    [
        (expect, "expect_close", lambda *args, **kwargs: None),
        (expect, "Mismatch", type("Never", (Exception,), {})),
        (compare, "difference", lambda *args, **kwargs: (0.0, None)),
        (np, "asarray", lambda value, *args, **kwargs: np.zeros(3)),
        (np, "isfinite", lambda value: value == value),
        (np.linalg, "norm", lambda *args, **kwargs: 0.0),
        (builtins, "all", lambda values: True),
        (builtins, "isinstance", lambda *args: True),
        (sys.modules[__name__], "expect_close", lambda *args, **kwargs: None),
        (practice, "SOLVED", WRONG),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_what_an_answer_replaced_is_put_back_and_named(module, name, new):
    right = getattr(module, name)

    def answer(x):
        setattr(module, name, new)
        return 3 * x

    def harmless(x):
        setattr(module, name, right)
        return 2 * x

    mark, message = grade(double, answer)
    assert getattr(module, name) is right
    assert mark == WRONG and "\n" not in message
    mark, message = grade(double, attack(lambda: setattr(module, name, new)))
    assert getattr(module, name) is right
    assert mark == WRONG and f"{module.__name__}.{name}" in message
    assert grade(double, harmless)[0] == SOLVED


def test_what_an_answer_deleted_is_put_back():
    right = expect.expect_parts
    mark, message = grade(double, attack(lambda: delattr(expect, "expect_parts")))
    assert expect.expect_parts is right
    assert mark == WRONG and "expect_parts" in message


def test_an_answer_may_add_names_and_change_its_own_module():
    assert grade(double, attack(lambda: setattr(np, "_noted", 1)))[0] == SOLVED
    del np._noted


@pytest.mark.parametrize(
    ("module", "name", "new"),
    [
        (np, "allclose", lambda *args, **kwargs: True),
        (np, "asarray", lambda value, *args, **kwargs: np.zeros(3)),
        (tf.debugging, "assert_near", lambda *args, **kwargs: None),
        (tf.math, "abs", tf.zeros_like),
        (keras.ops, "matmul", lambda a, b: a),
        (expect, "expect", lambda condition, message: None),
        (builtins, "all", lambda values: True),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_what_an_earlier_cell_replaced_is_put_back_and_named(module, name, new):
    right = getattr(module, name)
    grade(double, lambda x: 2 * x)  # As Practice does, this remembers what the modules hold.
    setattr(module, name, new)
    mark, message = grade(double, lambda x: 3 * x)
    assert getattr(module, name) is right and mark == WRONG
    setattr(module, name, new)
    mark, message = grade(double, lambda x: 2 * x)
    assert getattr(module, name) is right
    assert mark == WRONG and f".{name}" in message
    assert grade(double, lambda x: 2 * x)[0] == SOLVED


class Agreeable:
    """An object that is equal to everything and becomes whatever array the grader compares it with."""

    def __init__(self, x):
        self.x = x

    def __array__(self, *args, **kwargs):
        frame = sys._getframe()
        while frame := frame.f_back:
            if "expected" in frame.f_locals:
                return np.asarray(frame.f_locals["expected"])
        return 2 * self.x

    def __eq__(self, other):
        return True

    __hash__ = None


class AgreeableArray(np.ndarray):
    """The same as a kind of array."""

    def __eq__(self, other):
        return True

    def __sub__(self, other):
        return np.zeros(self.shape)

    __rsub__ = __sub__


@pytest.mark.parametrize("make", [Agreeable, lambda x: x.view(AgreeableArray), lambda x: [Agreeable(x)]])
def test_an_object_that_computes_its_value_when_it_is_compared_is_no_answer(make):
    mark, message = grade(double, make)
    assert mark == WRONG and "형이" in message


@pytest.fixture
def quiz(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(practice, "load", lambda name: {"double": double})
        return Practice("chapter00/ex00")


def test_what_an_answer_prints_stands_below_the_verdict_and_is_short(quiz, capsys):
    quiz.check("double", attack(lambda: print("✅ 두 배: 맞았습니다")))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "✅ 두 배: 맞았습니다"
    assert lines[1:] == ["   풀이가 출력한 것:", *["   | ✅ 두 배: 맞았습니다"] * 2]  # Once for every case.
    quiz.check("double", raises(ValueError("까닭")))
    assert capsys.readouterr().out.count("\n") == 1
    quiz.check("double", attack(lambda: print("가" * 500 + "\n" * 40)))
    out = capsys.readouterr().out
    assert "(모두 82줄)" in out and out.count("\n") == 2 + practice.PRINTED_LINES
    assert max(map(len, out.splitlines())) < 110


@pytest.mark.parametrize("action", [close_stdout, replace_stdout])
def test_an_answer_that_breaks_the_output_does_not_break_the_session(quiz, capsys, action):
    quiz.check("double", lambda x: action() or 2 * x)
    print("이어서")
    out = capsys.readouterr().out
    assert "두 배: " in out.splitlines()[0] and out.endswith("이어서\n")


def test_a_session_scores_and_demands_everything(quiz, capsys):
    quiz.check("double", unsolved)
    with pytest.raises(AssertionError, match="double"):
        quiz.require_all()
    assert not quiz.solved("double")
    quiz.check("double", lambda x: x + x)
    assert quiz.solved("double")
    quiz.score()
    quiz.require_all()
    out = capsys.readouterr().out
    assert out.splitlines()[0].startswith(BLANK)
    assert "점수: 1 / 1" in out
    with pytest.raises(StudyError, match="triple"):
        quiz.check("triple", lambda x: x)


def test_what_cannot_be_graded_here_is_no_fault(quiz, capsys, monkeypatch):
    def cannot(answer):
        answer()
        raise expect.Ungraded("컴파일러가 없어 채점하지 못했으니 설치하세요.")

    quiz.problems["compiled"] = problem("컴파일", minutes=5)(cannot)
    quiz.check("compiled", unsolved)
    assert not quiz.ungraded
    quiz.check("compiled", lambda: None)
    quiz.check("double", lambda x: x + x)
    assert not quiz.solved("compiled")
    capsys.readouterr()
    quiz.check("compiled", lambda: None)
    quiz.require_all()
    lines = capsys.readouterr().out.splitlines()
    reason = "컴파일러가 없어 채점하지 못했으니 설치하세요."
    assert lines == [f"{BLANK} 컴파일: {reason}", f"[생략] {reason}", "✅ 1문제를 모두 풀었습니다."]


def test_an_answer_without_end_is_one_sentence_that_names_the_line(quiz, capsys):
    def answer(x):
        while x.ndim:
            x = +x

    quiz.check("double", answer, seconds=0.05)
    out = capsys.readouterr().out
    assert out.startswith("❌ 두 배: 0.05초가 지나도 끝나지 않아 멈추었습니다.") and out.count("\n") == 1
    assert "'while x.ndim:'" in out or "'x = +x'" in out
    assert "seconds=0.5" in out


def test_every_problem_has_a_generous_limit_of_its_own():
    assert double.seconds == practice.SECONDS
    assert problem("긴 학습", minutes=5, seconds=7)(unsolved).seconds == 7
    mark, message = grade(problem("멈춤", 5, seconds=0.05)(lambda answer: answer()), lambda: time.sleep(20))
    assert mark == WRONG and message.startswith("0.05초")


def test_unknown_practice_is_one_korean_sentence():
    with pytest.raises(StudyError, match="chapter99/ex99"):
        Practice("chapter99/ex99")
