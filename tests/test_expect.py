"""What graders ask of an answer: right answers pass, others end in one Korean sentence, tricks included."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_study.expect import (
    Mismatch,
    expect,
    expect_accuracy,
    expect_array,
    expect_close,
    expect_integers,
    expect_logits,
    expect_model,
    expect_parts,
    expect_returned,
    expect_trainable,
    expect_type,
    untouched,
)


def refused(said: str):
    return pytest.raises(Mismatch, match=said)


def test_expect():
    expect(True, "없음")
    with refused("까닭"):
        expect(False, "까닭")


def test_expect_close_checks_the_dtype_and_scalars():
    with refused("float32"):
        expect_close(np.ones(2), np.ones(2), "경우", dtype="float32")
    with refused("수 하나"):
        expect_close([1.0], 1.0, "경우")
    with refused("경우: None이 나왔습니다"):
        expect_close(None, 1.0, "경우")
    expect_close(1.0 + 1e-9, 1.0, "경우")


@pytest.mark.parametrize(
    "got",
    [
        [1, 2],
        (tf.constant(1), np.float32(2)),
        np.array([1.0, 2.0]),
        np.ma.array([1, 2]),
        tf.constant([1.0, 2.0], tf.bfloat16),
        tf.Variable([1.0, 2.0]),
        keras.Variable([1.0, 2.0]),
        keras.ops.array([1.0, 2.0]),
    ],
)
def test_arrays_of_every_library_in_use_are_compared(got):
    expect_close(got, [1, 2], "경우")


class Spy:
    """Turns into the array that the grader expects, read from the grader's frame."""

    def __array__(self, dtype=None, copy=None):
        import sys

        frame = sys._getframe()
        while "expected" not in frame.f_locals:
            frame = frame.f_back
        return np.asarray(frame.f_locals["expected"])


class Changing(list):
    """A list that holds a number when it is looked at first and a spy afterwards."""

    looks = 0

    def __iter__(self):
        self.looks += 1
        return iter([1.0] if self.looks == 1 else [Spy()])

    def __len__(self):
        return 1


class SpyVariable(keras.Variable):
    def __init__(self):
        pass

    __array__ = Spy.__array__


class SpyArray(np.ndarray):
    __array__ = Spy.__array__


@pytest.mark.parametrize(
    "got",
    [Spy(), [Spy()], np.ones(1).view(SpyArray), Changing([1.0]), SpyVariable(), type("float", (Spy,), {})()],
    ids=lambda got: type(got).__name__,
)
def test_an_object_that_becomes_an_array_when_it_is_read_is_refused(got):
    expected = np.array([np.pi])
    with refused("경우: 결과의 형이 .*입니다. 텐서나 NumPy 배열"):
        expect_close(got, expected, "경우")
    with refused("경우: 결과의 형이 .*입니다. 텐서나 NumPy 배열"):
        expect_logits(got, expected.shape, "경우")


def test_a_known_mistake_is_named():
    mistakes = {"부호가 반대입니다.": [-1.0, -2.0], "두 배입니다.": [2.0, 4.0], "뜻 없는 후보": [1.0, 2.0]}
    with refused("부호가 반대"):
        expect_close([-1.0, -2.0], [1.0, 2.0], "경우", mistakes=mistakes)
    with pytest.raises(Mismatch) as raised:
        expect_close([9.0, 9.0], [1.0, 2.0], "경우", mistakes=mistakes)
    assert not any(cause in str(raised.value) for cause in mistakes)
    expect_close([1.0, 2.0], [1.0, 2.0], "경우", mistakes=mistakes)


def test_mistakes_are_computed_only_for_an_answer_that_differs():
    calls = []

    def mistakes():
        calls.append(1)
        return {"두 배입니다.": 2.0}

    expect_close(1.0, 1.0, "경우", mistakes=mistakes)
    assert not calls
    with refused("두 배입니다"):
        expect_close(2.0, 1.0, "경우", mistakes=mistakes)


def test_expect_model():
    class Subclassed(keras.Model):
        pass

    dense = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    expect_model(dense, (3,), "경우")
    for got, shape, said in (
        (1, (3,), "Model"),
        (Subclassed(), (3,), "keras.Input"),
        (dense, (2,), "None, 2"),
    ):
        with refused(said):
            expect_model(got, shape, "경우")


def test_expect_returned_parts_and_type():
    assert expect_parts((1, 2), ("가", "나"), "경우") == (1, 2)
    expect_returned(0, "경우")
    expect_type(1, int, "경우")
    for check in (
        lambda: expect_returned(None, "경우"),
        lambda: expect_parts(None, ("가", "나"), "경우"),
        lambda: expect_type(None, int, "경우"),
    ):
        with refused("경우: None.*return"):
            check()
    for got in ((1,), (1, 2, 3), 5, {1: 2, 3: 4}, np.ones(2)):
        with refused(r"\(가, 나\) 2개"):
            expect_parts(got, ("가", "나"), "경우")
    with refused("float"):
        expect_type(1.0, int, "경우")


def test_expect_logits():
    assert expect_logits([0.5, -2.0], (2,), "경우").tolist() == [0.5, -2.0]
    for got, said in (
        (None, "경우: None.*return"),
        ([[0.5], [1.0]], r"모양이 \(2,\)이어야 하는데 \(2, 1\)"),
        ([1, 2], "유한한 실수"),
        ([1.0, np.nan], "유한한 실수"),
    ):
        with refused(said):
            expect_logits(got, (2,), "경우")


LABELS = np.arange(30) % 3
ROWS = np.eye(3)[LABELS] + np.linspace(0, 0.1, 30)[:, None]  # (30, 3)


def test_expect_accuracy_returns_the_logits_in_the_given_order():
    assert expect_accuracy(lambda rows: 4 * rows, ROWS, LABELS, 1.0, "경우").tolist() == (4 * ROWS).tolist()
    texts = [str(label % 2) for label in LABELS]
    expect_accuracy(lambda rows: [float(row) - 0.5 for row in rows], texts, LABELS % 2, 1.0, "경우")


@pytest.mark.parametrize(
    ("predict", "said"),
    [
        (
            lambda rows: ROWS[: len(rows)] * 9,
            "경우, 일곱 개를 거꾸로: 값이 다릅니다",
        ),  # By the place in the batch.
        (lambda rows: (rows - rows.mean(0)) * 9, "값이 다릅니다"),  # By the neighbours in the batch.
        (
            lambda rows: -rows,
            r"정확도가 0.90 이상이어야 하는데 0.000입니다\(무작위 추측은 0.33\). 더 학습하세요",
        ),
        (lambda rows: rows[:, ::-1] * 0 + [2, 1, 0], "0.333"),
        (lambda rows: np.argmax(rows, axis=1), "모양이"),
        (lambda rows: rows[:, :2], "모양이"),
        (lambda rows: np.full((len(rows), 3), np.nan), "유한한 실수"),
        (lambda rows: None, "return"),
        (lambda rows: Spy(), "텐서나 NumPy 배열"),
        (lambda rows: np.roll(rows, 1, axis=1) / 2, "확률이 아니라 로짓"),
        (lambda rows: rows / 2, "확률이 아니라 로짓"),
    ],
)
def test_expect_accuracy_refuses(predict, said):
    expected = ROWS  # What the spy would find.
    with refused(said):
        expect_accuracy(predict, expected, LABELS, 0.9, "경우", "더 학습하세요.")


def test_expect_accuracy_notices_classes_that_are_swapped():
    with refused("두 클래스가 뒤바뀐"):
        expect_accuracy(lambda rows: 1 - 2 * rows[:, 1], ROWS, (ROWS[:, 1] > 0.5).astype(int), 0.9, "경우")


def test_untouched():
    x = np.zeros(3)
    with untouched("경우", x):
        pass
    with refused("경우: 받은 배열을 바꾸었습니다"), untouched("경우", np.ones(2), x):
        x += 1
    with untouched("경우", np.array([np.nan])):
        pass


def test_untouched_looks_into_lists_and_dictionaries():
    rows, table = [["가"], ["나"]], {"가": [1]}
    with untouched("경우", rows, table):
        pass
    with refused("경우: 받은 list를 바꾸었습니다"), untouched("경우", rows):
        rows[1].clear()
    with refused("경우: 받은 dict를 바꾸었습니다"), untouched("경우", rows, table):
        table["가"].append(2)
    x = np.zeros((2, 3))
    with refused("경우: 받은 배열을 바꾸었습니다"), untouched("경우", x):
        x.shape = (3, 2)


def test_expect_array():
    assert expect_array([[1, 2], [3, 4]], "경우").shape == (2, 2)
    for got, said in ((None, "return"), (Spy(), "텐서나 NumPy 배열"), ([[1], [1, 2]], "길이가 다른")):
        with refused(f"경우: .*{said}"):
            expect_array(got, "경우")


def test_expect_accuracy_takes_class_numbers():
    got = expect_accuracy(lambda rows: rows.argmax(1), ROWS, LABELS, 1.0, "경우", logits=False)
    assert got.tolist() == LABELS.tolist()


def _overwrite(rows):
    found = rows.argmax(1)
    rows[:] = 0
    return found


@pytest.mark.parametrize(
    ("predict", "said"),
    [
        (lambda rows: rows, "모양이"),
        (lambda rows: rows.argmax(1).astype(float), "정수여야"),
        (lambda rows: rows.argmax(1) + 1, "0에서 2까지인데 1에서 3까지"),
        (lambda rows: (rows.argmax(1) + (len(rows) == 1)) % 3, "경우, 하나만: 값이 다릅니다"),
        (lambda rows: (rows.argmax(1) + 1) % 3, "정확도가 0.90 이상"),
        (_overwrite, "경우: 받은 배열을 바꾸었습니다"),
    ],
)
def test_expect_accuracy_refuses_class_numbers(predict, said):
    with refused(said):
        expect_accuracy(predict, ROWS, LABELS, 0.9, "경우", logits=False)


def test_integers_are_no_floats():
    assert expect_integers([1, 2], "예").tolist() == [1, 2]
    for got in (2.0, [1, 2.0], True, None):
        with pytest.raises(Mismatch, match="예: "):
            expect_integers(got, "예")


def test_a_frozen_weight_is_named_but_not_what_batch_normalization_keeps():
    layers = [
        keras.layers.Dense(3, name="first"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5),
    ]
    model = keras.Sequential([keras.Input((2,)), *layers])
    expect_trainable(model, "예")
    model.layers[0].trainable = False
    with pytest.raises(Mismatch, match="예: .*first/kernel이 얼어"):
        expect_trainable(model, "예")
