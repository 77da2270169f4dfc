import numpy as np
import pytest

from tf_study import practice
from tf_study.errors import StudyError
from tf_study.practice import BLANK, SOLVED, WRONG, Practice, expect, expect_close, grade, problem


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
    import tensorflow as tf

    mark, message = grade(double, tf.function(lambda x: tf.matmul(x, x)))
    assert mark == WRONG and "Error" in message
    assert "in user code" not in message and "File" not in message and ".py" not in message


def test_grade_shows_what_a_layer_raised_without_what_keras_adds():
    import tensorflow as tf

    class Broken(tf.keras.layers.Layer):
        def call(self, x):
            return tf.matmul(x, tf.ones((3, 3)))

    mark, message = grade(double, Broken())
    assert mark == WRONG and "ndims" in message
    assert "\x1b" not in message and "Arguments received" not in message


def test_numpy_inside_a_tf_function_is_wrong_and_not_blank():
    import tensorflow as tf

    mark, message = grade(double, tf.function(lambda x: tf.constant(2 * np.asarray(x))))
    assert mark == WRONG and message == practice.SYMBOLIC_MESSAGE


def test_two_numbers_that_differ_are_printed_differently():
    with pytest.raises(practice.Mismatch, match="기대한 값은 8.50001, 나온 값은 8.5003"):
        expect_close([8.5003], [8.50001], "경우")


def test_expect_close_checks_the_dtype_and_scalars():
    with pytest.raises(practice.Mismatch, match="float32"):
        expect_close(np.ones(2), np.ones(2), "경우", dtype="float32")
    with pytest.raises(practice.Mismatch, match="수 하나"):
        expect_close([1.0], 1.0, "경우")
    expect_close(1.0 + 1e-9, 1.0, "경우")


def test_expect_model():
    import keras

    class Subclassed(keras.Model):
        pass

    dense = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    practice.expect_model(dense, (3,), "경우")
    for got, shape, message in (
        (1, (3,), "Model"),
        (Subclassed(), (3,), "keras.Input"),
        (dense, (2,), "None, 2"),
    ):
        with pytest.raises(practice.Mismatch, match=message):
            practice.expect_model(got, shape, "경우")


def test_expect_returned_parts_and_type():
    assert practice.expect_parts((1, 2), ("가", "나"), "경우") == (1, 2)
    practice.expect_returned(0, "경우")
    practice.expect_type(1, int, "경우")
    for check in (
        lambda: practice.expect_returned(None, "경우"),
        lambda: practice.expect_parts(None, ("가", "나"), "경우"),
        lambda: practice.expect_type(None, int, "경우"),
    ):
        with pytest.raises(practice.Mismatch, match="경우: None.*return"):
            check()
    for got in ((1,), (1, 2, 3), 5, {1: 2, 3: 4}):
        with pytest.raises(practice.Mismatch, match=r"\(가, 나\) 2개"):
            practice.expect_parts(got, ("가", "나"), "경우")
    with pytest.raises(practice.Mismatch, match="float"):
        practice.expect_type(1.0, int, "경우")


def test_expect_logits():
    assert practice.expect_logits([0.5, -2.0], (2,), "경우").tolist() == [0.5, -2.0]
    for got, said in (
        (None, "경우: None.*return"),
        ([[0.5], [1.0]], r"모양이 \(2,\)이어야 하는데 \(2, 1\)"),
        ([1, 2], "유한한 실수"),
        ([1.0, np.nan], "유한한 실수"),
    ):
        with pytest.raises(practice.Mismatch, match=said):
            practice.expect_logits(got, (2,), "경우")


def test_a_known_mistake_is_named():
    mistakes = {"부호가 반대입니다.": [-1.0, -2.0], "두 배입니다.": [2.0, 4.0], "뜻 없는 후보": [1.0, 2.0]}
    with pytest.raises(practice.Mismatch, match="부호가 반대"):
        expect_close([-1.0, -2.0], [1.0, 2.0], "경우", mistakes=mistakes)
    with pytest.raises(practice.Mismatch) as raised:
        expect_close([9.0, 9.0], [1.0, 2.0], "경우", mistakes=mistakes)
    assert not any(cause in str(raised.value) for cause in mistakes)
    expect_close([1.0, 2.0], [1.0, 2.0], "경우", mistakes=mistakes)


def test_expect():
    expect(True, "없음")
    with pytest.raises(practice.Mismatch, match="까닭"):
        expect(False, "까닭")


def test_a_session_scores_and_demands_everything(monkeypatch, capsys):
    monkeypatch.setattr(practice, "load", lambda name: {"double": double})
    quiz = Practice("chapter00/ex00")
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


def test_unknown_practice_is_one_korean_sentence():
    with pytest.raises(StudyError, match="chapter99/ex99"):
        Practice("chapter99/ex99")
