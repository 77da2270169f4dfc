"""Processes that each start something slow once and then do tasks with it."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection, reduction

from tf_study import cli
from tf_study.errors import StudyError

ENDED = "프로세스 하나가 갑자기 끝났으니 메모리를 확인하고 --processes를 줄여 같은 명령을 다시 실행하세요."


class Workers:
    """A number of spawned processes: forking one that runs Java or TensorFlow would hang it.

    They end with the block, or with this process, however it ends: their pipes are then closed.

    Attributes:
        cpu: CPU seconds that tasks have taken, all together.
    """

    def __init__(self, count: int, make: Callable, argument: object, lock: int):
        """Start them.

        Args:
            count: how many.
            make: a function of a module; ``make(argument)`` starts what the tasks need, in each process.
            lock: the descriptor of a held lock (:func:`tf_study.cli.locked`): they hold it too, to their end.
        """
        context = multiprocessing.get_context("spawn")
        self.cpu = 0.0
        self._starting: list[connection.Connection] = []
        self._pipes: dict[connection.Connection, multiprocessing.Process] = {}
        for _ in range(count):
            ours, theirs = context.Pipe()
            given = (theirs, make, argument, _Held(lock))
            process = context.Process(target=_serve, args=given, daemon=True)
            with cli.shielded(signal.SIGINT):  # The first process ends the others.
                process.start()
            theirs.close()
            self._pipes[ours] = process
            self._starting.append(ours)

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        for pipe, process in self._pipes.items():
            pipe.close()
            if raised[0] is not None:
                process.kill()
        for process in self._pipes.values():
            process.join()

    def ready(self) -> None:
        """Wait until all have started.

        Raises:
            StudyError: what one of them has raised, or that it has ended.
        """
        while self._starting:
            _receive(self._starting.pop())

    def run(self, work: Callable, tasks: Iterable) -> Iterator:
        """Yield what ``work(made, task)`` yields for each task, from whichever process.

        Args:
            work: a generator function of a module.
            tasks: what it is given, in the order in which they are begun.

        Raises:
            StudyError: what one of them has raised, or that it has ended.
        """
        self.ready()
        tasks, busy = iter(tasks), set()

        def give(pipe) -> None:
            busy.discard(pipe)
            for task in tasks:
                pipe.send((work, task))
                busy.add(pipe)
                break

        for pipe in self._pipes:
            give(pipe)
        while busy:
            for pipe in connection.wait(list(busy)):
                kind, value = _receive(pipe)
                if kind == "done":
                    self.cpu += value
                    give(pipe)
                else:
                    yield value


class _Held:
    """A descriptor that a spawned process gets a copy of."""

    def __init__(self, descriptor: int):
        self.descriptor = descriptor

    def __getstate__(self):
        return reduction.DupFd(self.descriptor)

    def __setstate__(self, copied):
        self.descriptor = copied.detach()


def _receive(pipe: connection.Connection) -> tuple[str, object]:
    try:
        kind, value = pipe.recv()
    except (EOFError, ConnectionError):
        raise StudyError(ENDED) from None
    if kind == "error":
        raise StudyError(value)
    return kind, value


def _serve(pipe: connection.Connection, make: Callable, argument: object, held: _Held) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        try:
            made = make(argument)
            pipe.send(("ready", None))
            while True:
                work, task = pipe.recv()
                begun = time.process_time()
                for value in work(made, task):
                    pipe.send(("part", value))
                pipe.send(("done", time.process_time() - begun))
        except StudyError as error:
            pipe.send(("error", str(error)))
    except (EOFError, ConnectionError):  # The first process is gone, or needs no more.
        return
