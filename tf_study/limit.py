"""A time limit for code that may never end."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

AGAIN = 1.0  # Seconds until code that caught TimeUp gets the next one; each later one comes ten times sooner.
SOONEST = 1e-5


class TimeUp(BaseException):
    """The time is over; ``lines`` says where the code was, innermost first: (module, file, line number).

    It is no ``Exception``, so that the ``except Exception`` of the code that is stopped lets it pass.
    """

    def __init__(self, seconds: float, lines: list[tuple[str, str, int]]) -> None:
        super().__init__(seconds)
        self.lines = lines


def within(seconds: float, call: Callable):
    """Return ``call()``, or raise :class:`TimeUp` if it takes longer than ``seconds``.

    A timer of the operating system (SIGALRM) interrupts the main thread between two steps of Python. Code that
    catches ``TimeUp`` with a bare ``except`` or turns it into another error gets it again and again. What
    cannot be interrupted is one long call of a C function that does not return to Python, such as
    ``sum(itertools.count())`` or a graph of TensorFlow; it is stopped when it returns. Code that sets a SIGALRM
    handler of its own has no limit. A handler and a timer that stood before are put back; one that would have
    gone off in the meantime goes off then. Without SIGALRM (Windows) and in other threads there is no limit.
    """
    if not _can_interrupt():
        return call()
    first, over, pause = None, False, 10 * AGAIN

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal first, pause
        if over:
            return
        first = first or TimeUp(seconds, _lines(frame))
        pause = max(pause / 10, SOONEST)
        signal.setitimer(signal.ITIMER_REAL, pause)
        raise TimeUp(seconds, first.lines)

    start = time.monotonic()
    handler = signal.signal(signal.SIGALRM, stop)
    delay, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    result = None
    try:
        result = call()
    except KeyboardInterrupt:
        raise
    except BaseException:
        if first is None:
            raise
    finally:
        over = True  # First of all: no signal is handled between the end of the block and this line.
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if delay:
            left = delay - (time.monotonic() - start)
            signal.setitimer(signal.ITIMER_REAL, max(left, SOONEST), interval)
    if first is not None:
        raise first
    return result


def _can_interrupt() -> bool:
    return (
        hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGALRM) is not None  # A handler of a C library could not be put back.
    )


def _lines(frame: FrameType | None) -> list[tuple[str, str, int]]:
    lines = []
    while frame is not None:
        lines.append((frame.f_globals.get("__name__", ""), frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return lines
