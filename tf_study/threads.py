"""Ranks as threads of this process, for graders and experiments that run a small function often.

The ranks talk through the :class:`tf_study.comm.Comm` that :mod:`tf_study.workers` gives to its processes, so
that methods and counted bytes are the same. Processes with TensorFlow cost five seconds of CPU, threads none;
what they do not show is what only processes have: memory of their own, and a start.
"""

import contextlib
import ctypes
import socket
import threading
import time
from collections.abc import Callable

from tf_study.comm import Comm, PeerGone, doing, mesh
from tf_study.errors import StudyError


def run(function: Callable, size: int, /, *, timeout: float = 10, **arguments) -> list:
    """Run ``function(comm, **arguments)`` in ``size`` threads and return what each rank returned.

    Raises:
        StudyError: if a rank expects something of one that has ended, or if they do not end in ``timeout`` seconds.
        BaseException: what a rank raised, the first in the order of the ranks.
    """
    ends = mesh(size)
    comms = [Comm(rank, mine) for rank, mine in enumerate(ends)]
    values, errors = {}, {}

    def work(comm: Comm) -> None:
        try:
            values[comm.rank] = function(comm, **arguments)
        except BaseException as error:
            errors[comm.rank] = error
        finally:
            comm.close()

    threads = [threading.Thread(target=work, args=(comm,), daemon=True) for comm in comms]
    deadline = time.monotonic() + timeout
    late = []
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        late = [
            doing(comm.rank, comm.waiting_for)
            for comm, thread in zip(comms, threads, strict=True)
            if thread.is_alive()
        ]
    finally:
        _end(threads, [end for mine in ends for end in mine.values()])
    if late:
        raise StudyError(
            f"{timeout:g}초 안에 끝나지 않아 모두 멈추었으니 서로 기다리지 않는지 보세요. ({', '.join(late)})"
        )
    for _, error in sorted(errors.items()):
        if not isinstance(error, PeerGone):
            raise error
    for _, error in sorted(errors.items()):
        rank, other = error.args
        raise StudyError(
            f"{other}번이 먼저 끝나 {rank}번이 받지 못했으니 모든 순위가 같은 통신을 같은 순서로 부르는지 보세요."
        )
    return [values[rank] for rank in range(size)]


def _end(threads: list[threading.Thread], sockets: list[socket.socket]) -> None:
    """Wake who waits, interrupt who computes, and close the sockets."""
    for end in sockets:
        with contextlib.suppress(OSError):  # Shut down already, by the rank itself.
            end.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        if thread.ident is not None:  # It was started.
            thread.join(0.5)
        if thread.is_alive():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit)
            )
            thread.join(0.5)
    for end in sockets:
        end.close()
