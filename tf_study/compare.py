"""The one comparison of numbers, which lectures (``verify``) and graders (``expect``) share."""

import numpy as np

NOT_RETURNED = "None이 나왔습니다. return을 빠뜨리지 않았는지 보세요."


def difference(got, expected, tol: float, dtype=None) -> tuple[float, str | None]:
    """Compare two arrays of numbers.

    Args:
        got: array-like of any shape; numbers, booleans or complex numbers.
        expected: the reference. NaN and infinities in it must stand in ``got`` at the same places.
        tol: bound on ``max|got - expected| / max(1, max|expected|)``; 0 asks for equality.
        dtype: also require this dtype (anything ``np.dtype`` accepts).

    Returns:
        The measured error (``inf`` if the arrays cannot be compared, 0 if there is nothing to compare) and
        in Korean how ``got`` differs, or ``None`` if it does not.
    """
    if got is None:
        return np.inf, NOT_RETURNED
    expected = np.asarray(expected)
    if isinstance(got, list | tuple) and expected.ndim == 0:
        return np.inf, f"수 하나가 나와야 하는데 결과의 형이 {type(got).__name__}입니다."
    try:
        got = np.asarray(got)
    except (TypeError, ValueError):
        return np.inf, f"결과를 배열로 바꿀 수 없습니다(형: {type(got).__name__})."
    if got.shape != expected.shape:
        return np.inf, f"모양이 다릅니다. 기대한 모양은 {expected.shape}, 나온 모양은 {got.shape}입니다."
    if dtype is not None and got.dtype != np.dtype(dtype):
        wanted = np.dtype(dtype).name
        return np.inf, f"자료형이 다릅니다. 기대한 자료형은 {wanted}, 나온 자료형은 {got.dtype.name}입니다."
    exact = got.dtype.kind in "biu" and expected.dtype.kind in "biu"
    left, right = numbers(got), numbers(expected)
    if left is None or right is None:
        return np.inf, f"수가 아닌 자료형 {(got if left is None else expected).dtype}입니다."
    if got.size == 0:
        return 0.0, None
    with np.errstate(invalid="ignore"):
        misplaced = ~np.isfinite(left) & ~((left == right) | (np.isnan(left) & np.isnan(right)))
    misplaced |= np.isfinite(left) & ~np.isfinite(right)
    if misplaced.any():
        where = np.unravel_index(int(misplaced.argmax()), got.shape)
        return np.inf, f"NaN 또는 무한대의 위치가 다릅니다.{_at(where, expected, got)}"
    finite = np.isfinite(right)
    apart = np.abs(np.where(finite, left, 0) - np.where(finite, right, 0))
    if exact and tol == 0:  # Integers beyond 2**53 look equal as floats.
        apart = (got != expected).astype(float)
    error = float(apart.max() / max(1.0, np.abs(np.where(finite, right, 0)).max()))
    if error <= tol:
        return error, None
    where = np.unravel_index(int(apart.argmax()), got.shape)
    return error, f"값이 다릅니다.{_at(where, expected, got)}"


def numbers(value) -> np.ndarray | None:
    """Return ``value`` as an array of float64 or complex128, or ``None`` if it holds something else."""
    try:
        value = np.asarray(value)
        if value.dtype.kind in "biufc" or (value.dtype.kind == "V" and value.dtype.names is None):
            return value.astype(complex if value.dtype.kind == "c" else float)  # "V": bfloat16 and float8.
    except (TypeError, ValueError):
        return None
    return None


def near(one, other) -> bool:
    """Return whether two values are the same numbers up to rounding; anything else is not near."""
    one, other = numbers(one), numbers(other)
    return (
        one is not None
        and other is not None
        and one.shape == other.shape
        and np.allclose(one, other, rtol=1e-4, atol=1e-5, equal_nan=True)
    )


def _at(where: tuple, expected: np.ndarray, got: np.ndarray) -> str:
    where = tuple(int(i) for i in where)
    place = f" 위치 {where}에서" if where else ""
    pairs = ((f"{expected[where]:.{d}g}", f"{got[where]:.{d}g}") for d in (4, 6, 8, 17))
    texts = next(((a, b) for a, b in pairs if a != b), (str(expected[where]), str(got[where])))
    return f"{place} 기대한 값은 {texts[0]}, 나온 값은 {texts[1]}입니다."
