"""Practices that grade themselves.

A practice notebook creates ``Practice("chapter01/ex01")`` and calls ``check(name, answer)`` below every
problem. The checks live in ``tf_study/checks/chapter01_ex01.py``: functions decorated with
:func:`problem` that call the learner's answer on several inputs and compare it with :func:`expect_close`
and its siblings. A check never raises in the notebook and never shows a traceback.
"""

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tf_study.errors import StudyError

SOLVED, BLANK, WRONG = "✅", "⬜", "❌"
BLANK_MESSAGE = "아직 풀지 않았습니다"
SYMBOLIC_MESSAGE = "tf.function 안에서 텐서를 NumPy 배열로 바꾸려 했습니다. TensorFlow의 연산으로 쓰거나 tf.function을 빼세요."
NOT_RETURNED = "None이 나왔습니다. return을 빠뜨리지 않았는지 보세요."


class Mismatch(Exception):
    """An answer that is not right; the text says in Korean what differs."""


@dataclass(frozen=True)
class Problem:
    """One graded problem: its name, title, expected minutes and the function that checks an answer."""

    name: str
    title: str
    minutes: int
    check: Callable


def problem(title: str, minutes: int) -> Callable[[Callable], Problem]:
    """Turn ``check(answer)`` into a :class:`Problem` named after the function.

    The function must raise :class:`Mismatch` (best through the ``expect_*`` helpers) if the answer is
    wrong; what it returns is ignored.
    """

    def wrap(check: Callable) -> Problem:
        return Problem(check.__name__, title, minutes, check)

    return wrap


@dataclass
class Practice:
    """The problems of one practice and how far the learner has come.

    Args:
        name: ``"chapterNN/exNN"``.

    Raises:
        StudyError: if there is no practice of that name.
    """

    name: str
    results: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.problems = load(self.name)

    def check(self, name: str, answer) -> None:
        """Grade ``answer`` and print one line that starts with ✅, ⬜ or ❌.

        Raises:
            StudyError: if the practice has no problem ``name``; a wrong answer never raises.
        """
        if name not in self.problems:
            raise StudyError(
                f"{self.name} 실습에 {name!r} 문제가 없으니 {', '.join(self.problems)} 가운데에서 고르세요."
            )
        mark, message = grade(self.problems[name], answer)
        self.results[name] = mark
        print(f"{mark} {self.problems[name].title}: {message}")

    def solved(self, name: str) -> bool:
        """Return whether problem ``name`` was graded ✅; figures use this to show the learner's result."""
        return self.results.get(name) == SOLVED

    def score(self) -> None:
        """Print one line per problem and the number solved."""
        for name, item in self.problems.items():
            print(f"{self.results.get(name, BLANK)} {item.title} ({item.minutes}분)")
        solved = sum(mark == SOLVED for mark in self.results.values())
        print(f"점수: {solved} / {len(self.problems)}")

    def require_all(self) -> None:
        """Raise unless every problem is solved; the last cell of a solution notebook.

        Raises:
            AssertionError: with the names of the problems that are not solved.
        """
        open_problems = [name for name in self.problems if self.results.get(name) != SOLVED]
        assert not open_problems, f"풀리지 않은 문제: {', '.join(open_problems)}"
        print(f"{SOLVED} {len(self.problems)}문제를 모두 풀었습니다.")


def load(name: str) -> dict[str, Problem]:
    """Return the problems of practice ``"chapterNN/exNN"`` by name, in the order they are defined.

    Raises:
        StudyError: if there is no such practice.
    """
    module_name = f"tf_study.checks.{name.replace('/', '_')}"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name:
            raise
        raise StudyError(f"{name!r} 실습이 없으니 chapter01/ex01처럼 적었는지 확인하세요.") from None
    return {item.name: item for item in vars(module).values() if isinstance(item, Problem)}


def grade(item: Problem, answer) -> tuple[str, str]:
    """Return the mark (✅, ⬜ or ❌) of an answer and a Korean message of one line."""
    if answer is None or answer is Ellipsis:
        return BLANK, BLANK_MESSAGE
    try:
        item.check(answer)
    except NotImplementedError as error:
        if "Cannot convert a symbolic" in str(error):  # What NumPy raises inside a tf.function.
            return WRONG, SYMBOLIC_MESSAGE
        return BLANK, BLANK_MESSAGE
    except Mismatch as error:
        return WRONG, str(error)
    except Exception as error:  # Whatever the learner's code raises is reported, not propagated.
        # TensorFlow puts the name of an internal node in front of its messages, and inside a tf.function a
        # listing of the learner's code, whose last line says what is wrong. Keras prints what a layer's call
        # raised in bold, between its own sentences.
        bold = re.search(r"\x1b\[1m(.*?)\x1b\[0m", str(error), re.DOTALL)
        text = bold.group(1) if bold else str(error)
        lines = re.sub(r"\{\{.*?\}\}", "", text).strip().splitlines()
        text = " ".join(" ".join(lines[-1:] if lines[:1] == ["in user code:"] else lines).split())
        return WRONG, f"실행하다가 {type(error).__name__} 오류가 났습니다. {text[:200]}"
    return SOLVED, "맞았습니다"


def expect(condition, message: str) -> None:
    """Raise :class:`Mismatch` with the Korean ``message`` unless ``condition`` holds."""
    if not condition:
        raise Mismatch(message)


def expect_close(
    got, expected, case: str, tol: float = 1e-5, dtype=None, mistakes: Mapping[str, object] | None = None
) -> None:
    """Raise :class:`Mismatch` unless ``got`` is an array of the expected shape, type and values.

    Args:
        got: the learner's result; tensors and array-likes are accepted.
        expected: the reference, array-like of any shape.
        case: which input this was, in Korean.
        tol: bound on ``max|got - expected| / max(1, max|expected|)``; 0 asks for equality.
        dtype: also require this dtype (anything ``np.dtype`` accepts).
        mistakes: Korean sentence → the value that a known mistake gives; if ``got`` equals it, the
            sentence is added to the message as the likely cause.
    """
    message = _difference(got, expected, tol, dtype)
    if message is None:
        return
    got, expected = _numbers(got), _numbers(expected)
    for cause, value in (mistakes or {}).items():
        value = _numbers(value)
        if got is not None and _near(got, value) and not _near(value, expected):
            message = f"{message} {cause}"
            break
    raise Mismatch(f"{case}: {message}")


def expect_returned(got, case: str) -> None:
    """Raise :class:`Mismatch` if the answer returned nothing."""
    if got is None:
        raise Mismatch(f"{case}: {NOT_RETURNED}")


def expect_parts(got, names: Sequence[str], case: str) -> Sequence:
    """Return ``got`` if it is a list or tuple with one value per name, else raise :class:`Mismatch`.

    Args:
        got: the learner's result.
        names: what the values are, in Korean, in their order.
        case: which input this was, in Korean.
    """
    expect_returned(got, case)
    if not isinstance(got, list | tuple) or len(got) != len(names):
        raise Mismatch(f"{case}: ({', '.join(names)}) {len(names)}개를 순서대로 돌려주어야 합니다.")
    return got


def expect_type(got, kind: type, case: str) -> None:
    """Raise :class:`Mismatch` unless ``got`` is an instance of ``kind``."""
    expect_returned(got, case)
    if not isinstance(got, kind):
        raise Mismatch(f"{case}: 결과의 형이 {kind.__name__}여야 하는데 {type(got).__name__}입니다.")


def expect_model(got, input_shape: tuple[int, ...], case: str) -> None:
    """Raise :class:`Mismatch` unless ``got`` is a Keras model that knows its input and takes this shape.

    Args:
        got: the learner's model; a subclassed model does not know its input's shape.
        input_shape: without the batch axis.
        case: which call this was, in Korean.
    """
    import keras

    expect_type(got, keras.Model, case)
    expect(
        hasattr(got, "input_shape"),
        f"{case}: keras.Input으로 시작하는 Sequential이나 함수형 모델이어야 합니다.",
    )
    real, wanted = tuple(got.input_shape), (None, *input_shape)
    expect(real == wanted, f"{case}: 입력의 모양이 {wanted}이어야 하는데 {real}입니다.")


def expect_logits(got, shape: tuple[int, ...], case: str) -> np.ndarray:
    """Return ``got`` as an array if it holds finite real numbers of this shape, else raise :class:`Mismatch`.

    Args:
        got: the learner's logits, array-like.
        shape: the shape they must have, such as (N,) or (N, K).
        case: which input this was, in Korean.
    """
    expect_returned(got, case)
    got = np.asarray(got)
    expect(got.shape == shape, f"{case}: 로짓의 모양이 {shape}이어야 하는데 {got.shape}입니다.")
    expect(got.dtype.kind == "f" and np.isfinite(got).all(), f"{case}: 유한한 실수의 로짓이어야 합니다.")
    return got


def _difference(got, expected, tol: float, dtype) -> str | None:
    """Return in Korean how ``got`` differs from ``expected``, or ``None`` if it does not."""
    if got is None:
        return NOT_RETURNED
    if isinstance(got, list | tuple) and np.ndim(expected) == 0:
        return f"수 하나가 나와야 하는데 결과의 형이 {type(got).__name__}입니다."
    try:
        got = np.asarray(got)
    except (TypeError, ValueError):
        return f"결과를 배열로 바꿀 수 없습니다(형: {type(got).__name__})."
    expected = np.asarray(expected)
    if got.shape != expected.shape:
        return f"모양이 다릅니다. 기대한 모양은 {expected.shape}, 나온 모양은 {got.shape}입니다."
    if dtype is not None and got.dtype != np.dtype(dtype):
        return f"자료형이 다릅니다. 기대한 자료형은 {np.dtype(dtype).name}, 나온 자료형은 {got.dtype.name}입니다."
    if got.dtype.kind not in "biufc":
        return f"수가 아닌 자료형 {got.dtype}입니다."
    if got.size == 0:
        return None
    got, expected = got.astype(float), expected.astype(float)
    if not np.isfinite(got).all():
        return "NaN 또는 무한대가 들어 있습니다."
    difference = np.abs(got - expected)
    if difference.max() <= tol * max(1.0, np.abs(expected).max()):
        return None
    where = tuple(int(i) for i in np.unravel_index(int(difference.argmax()), difference.shape))
    place = f" 위치 {where}에서" if where else ""
    digits = next((d for d in (4, 6, 8) if f"{expected[where]:.{d}g}" != f"{got[where]:.{d}g}"), 17)
    return f"값이 다릅니다.{place} 기대한 값은 {expected[where]:.{digits}g}, 나온 값은 {got[where]:.{digits}g}입니다."


def _numbers(value) -> np.ndarray | None:
    try:
        return np.asarray(value).astype(float)
    except (TypeError, ValueError):
        return None


def _near(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-4, atol=1e-5)
