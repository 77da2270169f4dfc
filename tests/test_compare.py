"""The one comparison of numbers: what it accepts, what it measures and what it says."""

import numpy as np
import pytest
import tensorflow as tf

from tf_study.compare import difference, near, numbers


class Impostor:
    """Calls itself equal to everything and turns into whatever array is wanted."""

    def __eq__(self, other):
        return True

    def __array__(self, dtype=None, copy=None):
        return np.array(["수"])


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (1.0, 1.0),
        ([1, 2], np.array([1.0, 2.0])),
        (True, 1),
        ([np.inf, -np.inf, 1], [np.inf, -np.inf, 1]),
        ([np.nan, 2], [np.nan, 2]),
        ([1 + 2j], [1 + 2j]),
        ([2 + 0j], [2]),
        (tf.constant([1.5, -2], tf.bfloat16), [1.5, -2]),
        (np.array([65504], np.float16), [65504]),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        (2**63 - 1, 2**63 - 1),
        (np.ma.array([1.0, 2.0]), [1, 2]),
        (np.float64(0.1) + 1e-9, 0.1),
    ],
)
def test_equal_numbers_are_accepted(got, expected):
    error, message = difference(got, expected, tol=1e-6)
    assert message is None and error < 1e-6


@pytest.mark.parametrize(
    ("got", "expected", "error", "said"),
    [
        ([1 + 5j], [1], 5, "기대한 값은 1, 나온 값은 1+5j"),
        ([1], [1j], 2**0.5, "기대한 값은 0+1j, 나온 값은 1입니다"),
        ([3.0, 8.5], [3.0, 8.0], 0.0625, "위치 (1,)에서 기대한 값은 8, 나온 값은 8.5"),
        (tf.constant([1.5], tf.bfloat16), [2.0], 0.25, "기대한 값은 2, 나온 값은 1.5"),
        ([np.inf], [-np.inf], np.inf, "무한대의 위치"),
        ([np.inf, 1], [1, 1], np.inf, "무한대의 위치"),
        ([1, 1], [1, np.inf], np.inf, "무한대의 위치"),
        ([0, np.nan], [0, 0], np.inf, "위치 (1,)에서 기대한 값은 0, 나온 값은 nan"),
        ([complex(np.inf, 1)], [complex(np.inf, 2)], np.inf, "무한대의 위치"),
        (None, 1, np.inf, "return"),
        ([1], 1, np.inf, "수 하나"),
        ([1, 2], [1], np.inf, "기대한 모양은 (1,), 나온 모양은 (2,)"),
        ([[1], [1, 2]], [1, 2], np.inf, "배열로 바꿀 수 없습니다(형: list)"),
        (["1"], [1], np.inf, "수가 아닌"),
        ([10**30], [10**30], np.inf, "수가 아닌"),
        (np.zeros(1, "V4"), [1], np.inf, "수가 아닌"),
        (np.zeros(1, [("a", float)]), [1], np.inf, "수가 아닌"),
        (np.array(["2020-01-01"], "M8[D]"), [1], np.inf, "수가 아닌"),
        ({"a": 1}, [1], np.inf, "나온 모양은 ()"),
        ([Impostor()], [1], np.inf, ""),
    ],
)
def test_other_things_are_told_apart(got, expected, error, said):
    measured, message = difference(got, expected, tol=1e-3)
    assert measured == pytest.approx(error) and said in message


def test_equality_is_asked_of_integers_as_integers():
    assert difference([2**53 + 1], [2**53 + 1], tol=0) == (0.0, None)
    for got, expected in (
        ([2**53 + 1], [2**53]),
        ([2**62], [2**62 + 1]),
        (np.array([2**64 - 1], np.uint64), np.array([-1])),
        ([True], [False]),
    ):
        error, message = difference(got, expected, tol=0)
        assert error > 0 and "값이 다릅니다" in message


def test_the_error_is_relative_to_the_largest_reference_and_absolute_below_one():
    assert difference([1000.5, 0], [1000, 0], tol=1e-3)[0] == pytest.approx(5e-4)
    assert difference([0.0015], [0.001], tol=1e-3)[0] == pytest.approx(5e-4)
    assert difference([np.inf, 0.5], [np.inf, 0], tol=1)[0] == 0.5  # An infinite reference scales nothing.


def test_a_dtype_is_asked_for_by_name():
    assert difference(np.ones(2, "float32"), [1, 1], 0, dtype="float32") == (0.0, None)
    _, message = difference(np.ones(2), [1, 1], 0, dtype="float32")
    assert "기대한 자료형은 float32, 나온 자료형은 float64" in message


def test_two_numbers_that_differ_are_printed_differently():
    assert "기대한 값은 8.50001, 나온 값은 8.5003" in difference([8.5003], [8.50001], tol=1e-6)[1]
    assert "기대한 값은 0.1, 나온 값은 0.30000000000000004" not in difference([0.3], [0.1], tol=1e-6)[1]


def test_a_subclass_of_an_array_cannot_answer_for_its_values():
    class Zero(np.ndarray):
        def __sub__(self, other):
            return np.zeros(self.shape)

        def __array__(self, dtype=None, copy=None):
            return np.ones(self.shape)

    error, message = difference(np.array([5.0]).view(Zero), [1.0], tol=1e-3)
    assert error == 4 and "나온 값은 5" in message


def test_near():
    assert near([1.00001, np.nan], (1, np.nan)) and near(1j, 1j)
    for one, other in (([1], [1.01]), ([1], 1), (["a"], ["a"]), (None, None), ([1], [1j])):
        assert not near(one, other)


def test_numbers():
    assert numbers([1, 2]).dtype == float and numbers(1j).dtype == complex
    assert numbers("수") is None and numbers([[1], [1, 2]]) is None
