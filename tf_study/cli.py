"""What every program of the course shares: arguments in Korean, exit statuses, tables, what was skipped, whole
files, locks.

Nothing but the standard library is imported before it is needed, so that the programs that make and check
the environment run without one.
"""

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from tf_study.errors import StudyError

SEEDS = 2**31  # one more than the largest

# argparse's own sentences, the special ones first.
_MESSAGES = (
    (r"the following arguments are required: (.*)", "빠진 인수: {}"),
    (r"one of the arguments (.*) is required", "빠진 인수: {} 가운데 하나"),
    (r"unrecognized arguments: (.*)", "모르는 인수: {}"),
    (r"ambiguous option: (\S+) could match (.*)", "{}의 뜻이 여럿: {}"),
    (r"argument (.*): invalid choice: (.*) \(choose from (.*)\)", "{}에 {} 대신 쓸 수 있는 것: {}"),
    (r"argument (.*): expected one argument", "{}의 값은 1개"),
    (r"argument (.*): expected (\d+) arguments", "{}의 값은 {}개"),
    (r"argument (.*): expected at least one argument", "{}의 값은 1개 이상"),
    (r"argument (.*): expected at most one argument", "{}의 값은 1개 이하"),
    (r"argument (.*): ignored explicit argument (.*)", "{}에는 값 {}을(를) 줄 수 없음"),
    (r"argument (.*): not allowed with argument (.*)", "{}은(는) {}와(과) 함께 쓸 수 없음"),
    (r"argument (.*): invalid int value: (.*)", "{}은(는) 정수여야 하는데 {}"),
    (r"argument (.*): invalid float value: (.*)", "{}은(는) 수여야 하는데 {}"),
    (r"argument (.*): invalid \w+ value: (.*)", "{}에 쓸 수 없는 값 {}"),
    (r"argument (.*?): (.*)", "{}: {}"),  # What the program itself says of an argument is Korean.
)


class _Formatter(argparse.HelpFormatter):
    def add_usage(self, usage, actions, groups, prefix=None):
        super().add_usage(usage, actions, groups, "사용법: " if prefix is None else prefix)


class Parser(argparse.ArgumentParser):
    """An argument parser whose help and errors are Korean."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, formatter_class=_Formatter, add_help=False, **kwargs)
        self._positionals.title, self._optionals.title = "인수", "선택 인수"
        self.add_argument("-h", "--help", action="help", help="이 도움말을 보이고 끝냅니다")

    def commands(self, **kwargs):
        """Return the parsers of the program's commands, to be added to; ``kwargs`` as ``add_subparsers``."""
        return self.add_subparsers(title="명령", metavar="명령", parser_class=Parser, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Print the usage and one sentence; exit with status 2."""
        self.print_usage(sys.stderr)
        for pattern, korean in _MESSAGES:
            if match := re.fullmatch(pattern, message, re.DOTALL):
                message = korean.format(*match.groups())
                break
        self.exit(2, f"인수가 잘못되었으니 {self.prog} --help를 보고 고치세요 ({message}).\n")


def positive(text: str) -> int:
    """Return a number of an argument; 1 at least."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("1 이상이어야 합니다")
    return value


def check_seed(seed: int) -> int:
    """Return the seed if it is one.

    Raises:
        StudyError: if it is negative or not below :data:`SEEDS`.
    """
    if not 0 <= seed < SEEDS:
        raise StudyError(f"시드 {seed}은(는) 쓸 수 없으니 0에서 {SEEDS - 1} 사이로 바꾸세요.")
    return seed


def port(text: str) -> int:
    """Return the number of a port; 0 lets the system choose."""
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError("0에서 65535 사이여야 합니다")
    return value


def add_address(command: argparse.ArgumentParser) -> None:
    """Give the command of a server ``--host`` and ``--port``."""
    command.add_argument(
        "--host", default="127.0.0.1", metavar="주소", help="기본값은 이 컴퓨터만 여는 127.0.0.1"
    )
    command.add_argument("--port", type=port, default=8000, metavar="N", help="포트 번호 (기본 8000)")


def run(action: Callable[[], int | None], interrupted: str = "중단했습니다.") -> int:
    """Run a program; return its exit status.

    Args:
        action: the program; what it returns is the status, ``None`` counting as 0.
        interrupted: what is said after Ctrl+C.

    Returns:
        1 after a :class:`StudyError`, whose sentence goes to stderr, and 130 after Ctrl+C.
    """
    try:
        return action() or 0
    except StudyError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{interrupted}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # Who reads the output has enough, such as ``head``.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


@contextlib.contextmanager
def shielded(*signals: int) -> Iterator[None]:
    """Let processes that are spawned in the block start with these signals blocked, so that none kills them half-way.

    Ctrl+C reaches all processes of a terminal, and until a child can ignore it a traceback would be written. The
    signals come to this thread after the block; the child unblocks them itself when it is ready for them.
    """
    import signal
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # Started with the first process, it would unblock the signals.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def table(rows: Sequence[Sequence[str]], widths: Sequence[int] = ()) -> str:
    """Return rows of cells as aligned text, with Hangul counted as two columns wide.

    Args:
        rows: the cells; every row has as many.
        widths: least width of each column.
    """
    from wcwidth import wcswidth

    least = widths or [0] * len(rows[0])
    widths = [
        max(low, *map(wcswidth, column)) for low, column in zip(least, zip(*rows, strict=True), strict=True)
    ]
    lines = []
    for row in rows:
        cells = (cell + " " * (width - wcswidth(cell)) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def print_skipped(skipped: Sequence[tuple[str, str]], shown: int = 10) -> None:
    """Count on stderr what was left out, and name the first of it with the reasons.

    Args:
        skipped: path and reason, in Korean, of each.
        shown: how many are named.
    """
    if not skipped:
        return
    print(f"건너뛴 것: {len(skipped)}개", file=sys.stderr)
    for path, reason in skipped[:shown]:
        print(f"  {path}: {reason}", file=sys.stderr)
    if len(skipped) > shown:
        print(f"  그 밖에 {len(skipped) - shown}개", file=sys.stderr)
    sys.stderr.flush()


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Let ``save`` write a file beside ``path``, then put it in place in one step.

    A program that is killed leaves the old file or the new one, never half of one.

    Raises:
        StudyError: if the folder cannot be written or the disk is full; nothing is left behind.
    """
    part = path.with_name(f".part-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(part)
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise StudyError(
            f"{path}에 쓸 수 없으니 권한과 남은 공간을 확인하세요 ({error.strerror or error})."
        ) from None
    finally:
        with contextlib.suppress(OSError):  # After the last step there is none.
            part.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 as :func:`write` writes a file."""
    write(path, lambda part: part.write_text(text, encoding="utf-8"))


@contextlib.contextmanager
def locked(path: Path, waiting: str) -> Iterator[int]:
    """Hold a lock while the block runs, after waiting for whoever else holds it.

    The lock goes with the process, however it ends. A child process given the descriptor
    (``pass_fds``) holds it too.

    Args:
        path: the lock's file; it is made, and stays.
        waiting: what is said if the lock is held by another process.

    Yields:
        The lock's file descriptor.

    Raises:
        StudyError: if the file cannot be made.
    """
    import fcntl

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "w")
    except OSError as error:
        raise StudyError(
            f"{path.parent} 폴더에 쓸 수 없으니 권한과 남은 공간을 확인하세요 ({error.strerror or error})."
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(waiting, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
