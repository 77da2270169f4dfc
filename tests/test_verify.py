import numpy as np
import pytest

from tf_study import verify


def test_close_prints_the_same_line_for_any_small_error(capsys):
    verify.close("이름", [1.0, 2.0], [1.0, 2.0])
    verify.close("이름", [1.0, 2.0 + 1e-9], [1.0, 2.0])
    first, second = capsys.readouterr().out.splitlines()
    assert first == second == "[검증] 이름: 모양 (2,), 오차 < 1e-06"


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        ([1.0, 2.1], [1.0, 2.0]),
        ([1.0, 2.0 + 3e-6], [1.0, 2.0]),
        ([1.0], [1.0, 1.0]),
        ([[1.0]], [1.0]),
        ([], []),
        ([np.nan], [1.0]),
        ([1.0], [np.nan]),
        ([np.inf], [-np.inf]),
        ([np.inf], [1.0]),
    ],
)
def test_close_fails(actual, expected):
    with pytest.raises(AssertionError, match="검증 실패"):
        verify.close("이름", actual, expected)


def test_close_is_relative_for_large_references():
    verify.close("큰 수", [1e6 + 0.1], [1e6])
    with pytest.raises(AssertionError, match="오차"):
        verify.close("큰 수", [1e6 + 10], [1e6])


def test_close_accepts_equal_infinities_and_complex_numbers():
    verify.close("무한대", [np.inf, 1.0], [np.inf, 1.0])
    verify.close("복소수", [1 + 1j], [1 + 1j])
    with pytest.raises(AssertionError):
        verify.close("복소수", [1 + 1j], [1 - 1j])


def test_close_names_the_place_of_the_largest_error():
    with pytest.raises(AssertionError, match=r"위치 \(1, 0\)"):
        verify.close("이름", [[1, 2], [9, 4]], [[1, 2], [3, 4]])


def test_equal(capsys):
    verify.equal("글자", ["가", "나"], ["가", "나"])
    verify.equal("수", 3, 3)
    assert capsys.readouterr().out.count("모두 같음") == 2
    for actual, expected in ((["가"], ["나"]), ([1], [1, 1]), ([], []), ([1, 2], [1, 3])):
        with pytest.raises(AssertionError, match="검증 실패"):
            verify.equal("다름", actual, expected)


def test_differs():
    verify.differs("다름", [1.0, 2.0], [1.0, 3.0], by=0.5)
    for actual, expected in (([1.0], [1.2]), ([1.0], [1.0, 2.0]), ([np.nan], [0.0])):
        with pytest.raises(AssertionError, match="검증 실패"):
            verify.differs("같음", actual, expected, by=0.5)
