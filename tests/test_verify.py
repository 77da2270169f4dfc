import re

import numpy as np
import pytest
from nbval.plugin import get_sanitize_patterns

from tf_study import curriculum, verify


def test_close_prints_the_measured_error_and_the_bound(capsys):
    verify.close("이름", [1.0, 2.0 + 1e-9], [1.0, 2.0])
    verify.close("같은 값", [1.0, 2.0], [1.0, 2.0], 1e-3)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "[검증] 이름: 최대 오차 5e-10 (허용 1e-06)"
    assert second == "[검증] 같은 값: 최대 오차 0 (허용 0.001)"


def test_a_group_is_one_line(capsys):
    with verify.group("여러 설정"):
        verify.close("가", [1.0 + 3e-7], [1.0])
        verify.close("나", [1.0 + 5e-7], [1.0])
        verify.equal("다", ["ㄱ", "ㄴ"], ["ㄱ", "ㄴ"])
    with verify.group("글자만"):
        verify.equal("라", [1, 2, 3], [1, 2, 3])
    first, second = capsys.readouterr().out.splitlines()
    assert first == "[검증] 여러 설정: 비교 3번, 최대 오차 5e-07 (허용 1e-06), 2개 값이 모두 같음"
    assert second == "[검증] 글자만: 비교 1번, 3개 값이 모두 같음"


def test_a_group_fails_with_the_name_of_the_check(capsys):
    with pytest.raises(AssertionError, match="검증 실패. 여러 설정, 나: 값이 다릅니다"):
        with verify.group("여러 설정"):
            verify.close("가", 1.0, 1.0)
            verify.close("나", 1.0, 2.0)
    verify.close("다", 1.0, 1.0)  # The failed group is closed.
    assert capsys.readouterr().out == "[검증] 다: 최대 오차 0 (허용 1e-06)\n"


def test_an_empty_group_fails():
    with pytest.raises(AssertionError, match="비교한 것이 없습니다"):
        with verify.group("아무것도"):
            pass


def test_groups_hold_neither_groups_nor_counterexamples():
    with pytest.raises(RuntimeError):
        with verify.group("밖"), verify.group("안"):
            pass
    with pytest.raises(RuntimeError):
        with verify.group("밖"):
            verify.differs("반례", 1.0, 2.0, 0.5)
    with pytest.raises(RuntimeError, match="bound"):
        with verify.group("허용 오차 둘"):
            verify.close("가", 1.0, 1.0, 1e-6)
            verify.close("나", 1.0, 1.0, 1e-5)


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


def test_an_optional_reference_is_named_and_a_missing_one_said(capsys):
    assert verify.available("numpy")
    assert capsys.readouterr().out == ""
    assert not verify.available("numpy", "no_such_package")
    assert capsys.readouterr().out == (
        "[생략] no_such_package 패키지가 없어 비교하지 않았으니 make advanced를 실행하세요.\n"
    )
    verify.close("로짓", 1.0, 1.0, against="transformers")
    verify.equal("번호", [1], [1], against="transformers")
    assert capsys.readouterr().out.count("[검증: transformers]") == 2
    with pytest.raises(AssertionError, match="검증 실패"):
        verify.close("로짓", 1.0, 2.0, against="transformers")


def test_stored_outputs_agree_with_and_without_the_optional_reference():
    rules = get_sanitize_patterns((curriculum.ROOT / "tests" / "nbval_sanitize.cfg").read_text("utf-8"))
    compared = "[검증] 가\n[검증: transformers] 나\n[검증: torch] 다\n끝 1.5\n"
    skipped = "[검증] 가\n[생략] torch 패키지가 없어\n끝 1.5\n"
    for pattern, replacement in rules:
        compared, skipped = (re.sub(pattern, replacement, text) for text in (compared, skipped))
    assert compared == skipped == "[검증] 가\n끝 1.5\n"
