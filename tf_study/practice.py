"""Practices that grade themselves.

A practice notebook creates ``Practice("chapter01/ex01")`` and calls ``check(name, answer)`` below every
problem. The checks live in ``tf_study/checks/chapter01_ex01.py``: functions decorated with
:func:`problem` that call the learner's answer on several inputs and judge it with ``tf_study.expect``.
A check never raises in the notebook and never shows a traceback.

What a check withstands, ❌ or without effect: an answer that raises, ends the program, never ends
(:mod:`tf_study.limit` says what cannot be interrupted), prints or closes the output, returns objects that
compute their value when they are compared, or replaces functions of the modules in :func:`_judges`, now or in an
earlier cell. It does not withstand whoever attacks the process itself: methods replaced in classes of NumPy or
TensorFlow, the grader's local variables read through frames, its files rewritten. Nobody but the learner sees the
marks, so that cheats the learner alone.
"""

import builtins
import contextlib
import importlib
import io
import linecache
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType

import numpy as np

from tf_study import compare, expect, limit
from tf_study.errors import StudyError

SOLVED, BLANK, WRONG = "✅", "⬜", "❌"
BLANK_MESSAGE = "아직 풀지 않았습니다"
SYMBOLIC_MESSAGE = "tf.function 안에서 텐서를 NumPy 배열로 바꾸려 했습니다. TensorFlow의 연산으로 쓰거나 tf.function을 빼세요."
EXIT_MESSAGE = "실행하다가 프로그램을 끝내려 했습니다. exit나 sys.exit 대신 return을 쓰세요."
PATCH_MESSAGE = "채점에 쓰는 {}의 값을 바꾸어 되돌렸습니다. 그대로 두고 결과를 돌려주세요."
SLOW_MESSAGE = (
    "{:g}초가 지나도 끝나지 않아 멈추었습니다.{} 반복문이 언젠가 끝나는지 보세요. "
    "느릴 뿐 옳다면 check에 seconds={:g}을 더하세요."
)
PRINTED_LINES = 3
SECONDS = 120  # An answer may take this long; most take one or two.
TRAINING_SECONDS = 1200  # One that trains, on a slow machine.
NOT_WATCHED = {"input", "breakpoint"}  # Jupyter replaces these in every cell.


@dataclass(frozen=True)
class Problem:
    """One graded problem: name, title, expected minutes, the function that checks an answer, its time limit."""

    name: str
    title: str
    minutes: int
    check: Callable
    seconds: float = SECONDS


def problem(title: str, minutes: int, seconds: float = SECONDS) -> Callable[[Callable], Problem]:
    """Turn ``check(answer)`` into a :class:`Problem` named after the function.

    The function must raise :class:`tf_study.expect.Mismatch` (best through the helpers there) if the answer is
    wrong; what it returns is ignored. If it takes more than ``seconds`` the answer is wrong, too.
    """

    def wrap(check: Callable) -> Problem:
        return Problem(check.__name__, title, minutes, check, seconds)

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
    ungraded: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.problems = load(self.name)

    def check(self, name: str, answer, seconds: float | None = None) -> None:
        """Grade ``answer`` and print one line that starts with ✅, ⬜ or ❌.

        Args:
            name: of the problem.
            answer: the learner's function, class or object.
            seconds: the time limit; ``None`` is the problem's own.

        Raises:
            StudyError: if the practice has no problem ``name``; a wrong answer never raises.
        """
        if name not in self.problems:
            raise StudyError(
                f"{self.name} 실습에 {name!r} 문제가 없으니 {', '.join(self.problems)} 가운데에서 고르세요."
            )
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            mark, message = grade(self.problems[name], answer, seconds)
        self.results[name] = mark
        self.ungraded.pop(name, None)
        if mark == BLANK and message != BLANK_MESSAGE:
            self.ungraded[name] = message
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

        Problems that could not be graded on this machine are left out, and one line says why.

        Raises:
            AssertionError: with the names of the problems that are not solved.
        """
        graded = [name for name in self.problems if name not in self.ungraded]
        open_problems = [name for name in graded if self.results.get(name) != SOLVED]
        assert not open_problems, f"풀리지 않은 문제: {', '.join(open_problems)}"
        for reason in dict.fromkeys(self.ungraded.values()):
            print(f"[생략] {reason}")
        print(f"{SOLVED} {len(graded)}문제를 모두 풀었습니다.")


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
    _remember(module_name)
    return {item.name: item for item in vars(module).values() if isinstance(item, Problem)}


def grade(item: Problem, answer, seconds: float | None = None) -> tuple[str, str]:
    """Return the mark (✅, ⬜ or ❌) of an answer and a Korean message of one line.

    The message of ⬜ is :data:`BLANK_MESSAGE`, or says why the answer cannot be judged on this machine.

    Args:
        item: the problem.
        answer: the learner's answer.
        seconds: the time limit; ``None`` is the problem's own.
    """
    if answer is None or answer is Ellipsis:
        return BLANK, BLANK_MESSAGE
    seconds = item.seconds if seconds is None else seconds
    try:
        with _no_exit(), _unpatched(item.check.__module__):
            limit.within(seconds, lambda: item.check(answer))
    except KeyboardInterrupt:
        raise
    except NotImplementedError as error:
        if "Cannot convert a symbolic" in str(error):  # What NumPy raises inside a tf.function.
            return WRONG, SYMBOLIC_MESSAGE
        return BLANK, BLANK_MESSAGE
    except expect.Ungraded as error:
        return BLANK, str(error)
    except limit.TimeUp as error:
        return WRONG, SLOW_MESSAGE.format(seconds, _stopped_at(error, answer), 10 * seconds)
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


def _stopped_at(error: limit.TimeUp, answer) -> str:
    """Return a sentence with the innermost line of the answer's module that was running, or nothing."""
    for module, file, number in error.lines:
        if module == getattr(answer, "__module__", None):
            line = linecache.getline(file, number).strip()
            return f" 멈춘 줄은 {line[:80]!r}입니다." if line else ""
    return ""


_originals: dict[ModuleType, dict] = {}


def _judges(grader: str) -> list[ModuleType]:
    """Return the modules whose functions judge an answer of the module ``grader``."""
    modules = [compare, expect, limit, sys.modules[__name__], sys.modules[grader], np, np.linalg, builtins]
    if tf := sys.modules.get("tensorflow"):
        modules += [tf, tf.math, tf.nn, tf.linalg, tf.image, tf.random, tf.debugging]
    if keras := sys.modules.get("keras"):
        modules += [keras.ops, keras.losses]
    return modules


def _remember(grader: str) -> None:
    """Keep what the modules that judge hold now, the first time that they are seen."""
    for module in _judges(grader):
        if module not in _originals:
            _originals[module] = {
                name: value
                for name, value in vars(module).items()
                if not isinstance(value, ModuleType)  # TensorFlow loads some modules late.
                and not name.startswith("__")
                and name not in NOT_WATCHED
            }


def _restore(grader: str) -> list[str]:
    """Put back what was replaced in the modules that judge and return the names."""
    patched = []
    for module in _judges(grader):
        now = vars(module)
        for name, old in _originals[module].items():
            if now.get(name, _originals) is not old:
                now[name] = old
                patched.append(f"{module.__name__}.{name}")
    return patched


@contextlib.contextmanager
def _unpatched(grader: str) -> Iterator[None]:
    """Put back whatever the answer or an earlier cell replaced in the modules that judge; raise ``Mismatch``."""
    _remember(grader)
    patched = _restore(grader)
    try:
        yield
    finally:
        patched += _restore(grader)
    if patched:
        raise expect.Mismatch(PATCH_MESSAGE.format(", ".join(dict.fromkeys(patched[:3]))))
