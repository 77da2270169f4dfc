"""Practices that grade themselves.

A practice notebook creates ``Practice("chapter01/ex01")`` and calls ``check(name, answer)`` below every
problem. The checks live in ``tf_study/checks/chapter01_ex01.py``: functions decorated with
:func:`problem` that call the learner's answer on several inputs and judge it with ``tf_study.expect``.
A check never raises in the notebook and never shows a traceback.
"""

import builtins
import contextlib
import importlib
import io
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from tf_study import compare, expect
from tf_study.errors import StudyError

SOLVED, BLANK, WRONG = "✅", "⬜", "❌"
BLANK_MESSAGE = "아직 풀지 않았습니다"
SYMBOLIC_MESSAGE = "tf.function 안에서 텐서를 NumPy 배열로 바꾸려 했습니다. TensorFlow의 연산으로 쓰거나 tf.function을 빼세요."
EXIT_MESSAGE = "실행하다가 프로그램을 끝내려 했습니다. exit나 sys.exit 대신 return을 쓰세요."
PATCH_MESSAGE = "{}을 바꾸었습니다. 채점에 쓰는 것은 그대로 두고 값을 돌려주세요."
PRINTED_LINES = 3


@dataclass(frozen=True)
class Problem:
    """One graded problem: its name, title, expected minutes and the function that checks an answer."""

    name: str
    title: str
    minutes: int
    check: Callable


def problem(title: str, minutes: int) -> Callable[[Callable], Problem]:
    """Turn ``check(answer)`` into a :class:`Problem` named after the function.

    The function must raise :class:`tf_study.expect.Mismatch` (best through the helpers there) if the answer is
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
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            mark, message = grade(self.problems[name], answer)
        self.results[name] = mark
        print(f"{mark} {self.problems[name].title}: {message}")
        lines = [] if printed.closed else printed.getvalue().splitlines()
        if lines:
            rest = f" (모두 {len(lines)}줄)" if len(lines) > PRINTED_LINES else ""
            print(f"   풀이가 출력한 것{rest}:")
            print("\n".join(f"   | {line[:100]}" for line in lines[:PRINTED_LINES]))

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
        with _no_exit(), _unpatched(item.check.__module__):
            item.check(answer)
    except KeyboardInterrupt:
        raise
    except NotImplementedError as error:
        if "Cannot convert a symbolic" in str(error):  # What NumPy raises inside a tf.function.
            return WRONG, SYMBOLIC_MESSAGE
        return BLANK, BLANK_MESSAGE
    except SystemExit:
        return WRONG, EXIT_MESSAGE
    except BaseException as error:  # Whatever the learner's code raises is reported, not propagated.
        text = _essence(error)
        if isinstance(error, expect.Mismatch) and text:
            return WRONG, text
        return WRONG, f"실행하다가 {type(error).__name__} 오류가 났습니다. {text[:200]}".rstrip()
    return SOLVED, "맞았습니다"


def _essence(error: BaseException) -> str:
    """Return what an error says, on one line, without the frame that libraries put around it.

    TensorFlow puts the name of an internal node in front of its messages, and inside a tf.function a listing
    of the learner's code, whose last line says what is wrong. Keras prints what a layer's call raised in
    bold, between its own sentences.
    """
    try:
        text = str(error)
    except Exception:  # An exception class of the learner's own whose __str__ fails.
        return ""
    bold = re.search(r"\x1b\[1m(.*?)\x1b\[0m", text, re.DOTALL)
    lines = re.sub(r"\{\{.*?\}\}", "", bold.group(1) if bold else text).strip().splitlines()
    return " ".join(" ".join(lines[-1:] if lines[:1] == ["in user code:"] else lines).split())


@contextlib.contextmanager
def _no_exit() -> Iterator[None]:
    """Turn IPython's ``exit()``, which would end the kernel, into ``SystemExit`` while the block runs."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        yield
        return

    def stop():
        raise SystemExit

    shell.ask_exit = stop
    try:
        yield
    finally:
        del shell.ask_exit


@contextlib.contextmanager
def _unpatched(grader: str) -> Iterator[None]:
    """Put back whatever an answer replaced in the modules that judge it, and raise ``Mismatch``."""
    modules = [compare, expect, sys.modules[__name__], sys.modules[grader], np, np.linalg, builtins]
    before = [dict(vars(module)) for module in modules]
    try:
        yield
    finally:
        patched = []
        for module, old in zip(modules, before, strict=True):
            now = vars(module)
            for name in [name for name in old if now.get(name, old) is not old[name]]:
                now[name] = old[name]
                patched.append(f"{module.__name__}.{name}")
    if patched:
        raise expect.Mismatch(PATCH_MESSAGE.format(", ".join(patched[:3])))
