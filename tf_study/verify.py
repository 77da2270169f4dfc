"""Checks that compare a lecture's own implementation with a reference.

Each check prints one line with the measured error and the bound, and raises ``AssertionError`` if it fails.
Several comparisons that say one thing are one line::

    with verify.group("Keras와 여러 설정"):
        for name, x in cases.items():
            verify.close(name, own(x), layer(x), 1e-5)

References that not everyone has installed (the ``advanced`` extra) are asked for first, and named::

    if verify.available("torch", "transformers"):
        verify.close("로짓", logits, reference, 1e-4, against="transformers")

Without them one line says what was not compared. ``tests/nbval_sanitize.cfg`` leaves the measured errors, and
the lines about optional references, out of the comparison of stored outputs; a check that fails still raises.
"""

import contextlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tf_study import compare


@dataclass
class _Group:
    name: str
    checks: int = 0
    equal: int = 0  # values that were compared exactly
    error: float = 0.0
    tol: float | None = None  # the bound of every close(); one, so that the line is the same everywhere


_group: _Group | None = None


def available(*packages: str) -> bool:
    """Return whether all optional packages are installed; if not, print what is skipped and the remedy."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        print(f"[생략] {', '.join(missing)} 패키지가 없어 비교하지 않았으니 make advanced를 실행하세요.")
    return not missing


@contextlib.contextmanager
def group(name: str, against: str | None = None) -> Iterator[None]:
    """Print one line for all calls of :func:`close` and :func:`equal` in the block, which stay silent.

    All calls of :func:`close` in it have the same ``tol``.

    Args:
        name: what is compared, in Korean.
        against: the optional package that the references come from, see :func:`available`.

    Raises:
        AssertionError: if a check fails, or if none was made.
    """
    global _group
    if _group is not None:
        raise RuntimeError(f"group({name!r}) inside group({_group.name!r})")
    _group = here = _Group(name)
    try:
        yield
    finally:
        _group = None
    if not here.checks:
        raise AssertionError(f"[검증 실패] {name}: 비교한 것이 없습니다.")
    parts = [f"비교 {here.checks}번"]
    if here.tol is not None:
        parts.append(f"최대 오차 {here.error:.2g} (허용 {here.tol:g})")
    if here.equal:
        parts.append(f"{here.equal}개 값이 모두 같음")
    print(f"{_label(against)} {name}: {', '.join(parts)}")


def close(name: str, actual, expected, tol: float = 1e-6, against: str | None = None) -> None:
    """Assert that two arrays agree: ``max|actual - expected| <= tol * max(1, max|expected|)``.

    Args:
        name: what is compared, in Korean; printed in the report.
        actual: the value computed by the lecture's own code; array-like of any shape, numbers only.
        expected: the reference, same shape (a scalar must be given as a scalar).
        tol: tolerance, relative for references larger than 1 and absolute below.
        against: the optional package that the reference comes from, see :func:`available`.

    Raises:
        AssertionError: if the shapes differ, there is nothing to compare, a NaN or infinity stands in one
            of them only, or the error exceeds ``tol``.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    error, message = compare.difference(actual, expected, tol)
    _require(name, expected.size > 0, "비교할 값이 없습니다.")
    if message is not None:
        measured = f" 오차 {error:.3g}, 허용 {tol:g}." if np.isfinite(error) else ""
        _require(name, False, message + measured)
    if _group is None:
        print(f"{_label(against)} {name}: 최대 오차 {error:.2g} (허용 {tol:g})")
        return
    if _group.tol not in (None, tol):
        raise RuntimeError(f"group({_group.name!r}) has one bound, not {_group.tol:g} and {tol:g}")
    _group.checks, _group.error, _group.tol = _group.checks + 1, max(_group.error, error), tol


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
    shapes = f"모양이 다릅니다. 기대한 모양은 {expected.shape}, 나온 모양은 {actual.shape}입니다."
    _require(name, actual.shape == expected.shape, shapes)
    _require(name, actual.size > 0, "비교할 값이 없습니다.")
    wrong = np.asarray(actual != expected)
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        values = f"기대한 값은 {expected[where]!r}, 나온 값은 {actual[where]!r}입니다."
        _require(name, False, f"값이 다릅니다. 위치 {where}에서 {values}")
    if _group is None:
        print(f"{_label(against)} {name}: {actual.size}개 값이 모두 같음")
        return
    _group.checks += 1
    _group.equal += actual.size


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
    if _group is not None:
        raise RuntimeError("verify.differs has a line of its own: call it outside of verify.group")
    actual, expected = np.asarray(actual), np.asarray(expected)
    shapes = f"모양이 다릅니다. 기준의 모양은 {expected.shape}, 나온 모양은 {actual.shape}입니다."
    _require(name, actual.shape == expected.shape, shapes)
    _require(name, actual.size > 0, "비교할 값이 없습니다.")
    left, right = compare.numbers(actual), compare.numbers(expected)
    _require(name, left is not None and right is not None, "수가 아닌 값이 있습니다.")
    finite = np.isfinite(left).all() and np.isfinite(right).all()
    _require(name, finite, "유한하지 않은 값이 있습니다.")
    distance = np.abs(left - right).max()
    _require(name, distance > by, f"차이 {distance:.3g}가 {by:g}보다 크지 않습니다.")
    print(f"[반례] {name}: 최대 차이 {distance:.2g} ({by:g}보다 커야 함)")


def _label(against: str | None) -> str:
    return f"[검증: {against}]" if against else "[검증]"


def _require(name: str, condition, message: str) -> None:
    if not condition:
        where = f"{_group.name}, {name}" if _group else name
        raise AssertionError(f"[검증 실패] {where}: {message}")
