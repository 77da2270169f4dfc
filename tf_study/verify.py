"""Checks that compare a lecture's own implementation with a reference.

Each check prints one line that is the same on every machine and raises ``AssertionError`` with the
measured numbers if it fails.

References that not everyone has installed (the ``advanced`` extra) are asked for first, and named::

    if verify.available("torch", "transformers"):
        verify.close("로짓", logits, reference, 1e-4, against="transformers")

Without them one line says what was not compared. ``tests/nbval_sanitize.cfg`` leaves the lines of both
kinds out of the comparison of stored outputs; a comparison that fails still raises.
"""

import importlib.util

import numpy as np


def available(*packages: str) -> bool:
    """Return whether all optional packages are installed; if not, print what is skipped and the remedy."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        print(f"[생략] {', '.join(missing)} 패키지가 없어 비교하지 않았으니 make advanced를 실행하세요.")
    return not missing


def close(name: str, actual, expected, tol: float = 1e-6, against: str | None = None) -> None:
    """Assert that two arrays agree: ``max|actual - expected| < tol * max(1, max|expected|)``.

    Args:
        name: what is compared, in Korean; printed in the report.
        actual: the value computed by the lecture's own code; array-like of any shape, numbers only.
        expected: the reference, same shape (a scalar must be given as a scalar).
        tol: tolerance, relative for references larger than 1 and absolute below.
        against: the optional package that the reference comes from, see :func:`available`.

    Raises:
        AssertionError: if the shapes differ, there is nothing to compare, a NaN or infinity stands in one
            of them only, or the error reaches ``tol``.
    """
    actual, expected = _arrays(name, actual, expected)
    finite = np.isfinite(expected)
    if not np.array_equal(np.isfinite(actual), finite) or not np.array_equal(
        actual[~finite], expected[~finite], equal_nan=True
    ):
        raise AssertionError(f"[검증 실패] {name}: NaN 또는 무한대의 자리가 기준과 다릅니다.")
    difference = np.abs(np.where(finite, actual, 0) - np.where(finite, expected, 0))
    error = difference.max() / max(1.0, np.abs(np.where(finite, expected, 0)).max())
    if not error < tol:
        where = np.unravel_index(int(difference.argmax()), difference.shape)
        raise AssertionError(
            f"[검증 실패] {name}: 오차 {error:.3g}가 허용 오차 {tol:g}보다 큽니다. "
            f"위치 {tuple(int(i) for i in where)}에서 얻은 값 {actual[where]:.8g}, 기준 {expected[where]:.8g}."
        )
    print(f"{_label(against)} {name}: 모양 {actual.shape}, 오차 < {tol:g}")


def equal(name: str, actual, expected, against: str | None = None) -> None:
    """Assert that two values are exactly equal: same shape and same elements (numbers, strings or booleans).

    Args:
        name: what is compared, in Korean.
        actual: array-like of any shape.
        expected: array-like of the same shape.
        against: the optional package that the reference comes from, see :func:`available`.

    Raises:
        AssertionError: if the shapes or any element differ.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        raise AssertionError(f"[검증 실패] {name}: 모양 {actual.shape}가 기준 {expected.shape}와 다릅니다.")
    if actual.size == 0:
        raise AssertionError(f"[검증 실패] {name}: 비교할 값이 없습니다.")
    wrong = np.asarray(actual != expected)
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(
            f"[검증 실패] {name}: 위치 {where}에서 얻은 값 {actual[where]!r}, 기준 {expected[where]!r}."
        )
    print(f"{_label(against)} {name}: 모양 {actual.shape}, 모두 같음")


def differs(name: str, actual, expected, by: float) -> None:
    """Assert that two arrays are clearly apart; the negative control beside :func:`close`.

    Args:
        name: what is compared, in Korean.
        actual: array-like of numbers.
        expected: array-like of the same shape.
        by: the largest elementwise distance must be greater than this.

    Raises:
        AssertionError: if the shapes differ, a value is not finite, or the arrays are closer than ``by``.
    """
    actual, expected = _arrays(name, actual, expected)
    if not (np.isfinite(actual).all() and np.isfinite(expected).all()):
        raise AssertionError(f"[검증 실패] {name}: 유한하지 않은 값이 있습니다.")
    distance = np.abs(actual - expected).max()
    if not distance > by:
        raise AssertionError(f"[검증 실패] {name}: 차이 {distance:.3g}가 {by:g}보다 크지 않습니다.")
    print(f"[검증] {name}: 모양 {actual.shape}, 차이 > {by:g}")


def _label(against: str | None) -> str:
    return f"[검증: {against}]" if against else "[검증]"


def _arrays(name: str, actual, expected) -> tuple[np.ndarray, np.ndarray]:
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        raise AssertionError(f"[검증 실패] {name}: 모양 {actual.shape}가 기준 {expected.shape}와 다릅니다.")
    if actual.size == 0:
        raise AssertionError(f"[검증 실패] {name}: 비교할 값이 없습니다.")
    kind = complex if "c" in (actual.dtype.kind, expected.dtype.kind) else float
    return actual.astype(kind), expected.astype(kind)
