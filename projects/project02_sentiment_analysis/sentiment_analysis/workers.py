"""Models in processes of their own, which are replaced when they die: the web server itself needs no TensorFlow.

A process is asked one thing at a time through a pipe. If it is killed, or takes too long, a new one is started and asked
the same again, so that nothing that was asked is lost.

On Linux they are forked from a process that has imported what they need and has done nothing else: TensorFlow is imported
once, and the one that takes a dead one's place is there seconds earlier.
"""

import asyncio
import contextlib
import multiprocessing
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tf_study import cli
from tf_study.errors import StudyError

TRIES = 3  # processes that may die of one question
SECONDS = 120  # for an answer; then the process counts as dead
START_SECONDS = 600  # for the model to be there

# A fork of this process, which has threads, may hang; on macOS so does one of a process that has imported TensorFlow.
_CONTEXT = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")


class Lost(Exception):
    """No process could answer."""


def prepare(*modules: str) -> None:
    """Name what all processes need; it is imported once, before the first one is forked."""
    _CONTEXT.set_forkserver_preload(["__main__", *modules])


class Worker:
    """A process that answers questions, or the one that took its place.

    Args:
        build: called in the process with ``arguments``; what it returns is called with each question and returns the
            answer. It is imported there, so it has to be a function of a module. A StudyError ends the start.
        warm: questions that are asked after each start; the worker is ``ready`` when they are answered.
        tell: called, in a thread, with one line about each process that died.
    """

    def __init__(
        self,
        build: Callable[..., Callable],
        arguments: Sequence = (),
        warm: Sequence = (),
        tell: Callable[[str], None] = lambda line: None,
    ):
        self.build, self.arguments, self.warm, self.tell = build, tuple(arguments), list(warm), tell
        self.ready, self.deaths, self._closed = False, 0, False
        self._process = self._pipe = None
        self._thread = ThreadPoolExecutor(
            1
        )  # All that waits for the process does so here, one after the other.

    async def start(self) -> None:
        """Return once the process has its model.

        Raises:
            StudyError: of ``build``, or if the process ends before it is ready.
        """
        self._loop = asyncio.get_running_loop()
        try:
            await self._loop.run_in_executor(self._thread, self._start)
        except (EOFError, OSError):
            status = self._process and self._process.exitcode
            raise StudyError(
                f"모델을 열던 프로세스가 멈췄으니 메모리가 남았는지 확인하세요 (상태 {status})."
            ) from None

    async def call(self, question):
        """Return the answer.

        Raises:
            Lost: if :data:`TRIES` processes died of the question, or no new one can be started.
            RuntimeError: with what :func:`where` tells, if ``build``'s function raised something.
        """
        good, answer = await self._loop.run_in_executor(self._thread, self._ask, question)
        if not good:
            raise RuntimeError(answer)
        return answer

    @property
    def pid(self) -> int | None:
        """The number of the process, ``None`` where there is none."""
        process = self._process
        return process.pid if process else None

    def kill(self) -> None:
        """End the process at once; what it is asked is lost. May be called twice, and from any thread."""
        self._closed, self.ready = True, False
        if self._process:
            self._process.kill()
        self._thread.shutdown(wait=False)

    def _start(self) -> None:
        """Start a process and wait until it has its model; in the thread.

        Raises:
            StudyError: of ``build``.
            EOFError, OSError: if the process died.
        """
        if self._pipe:
            self._pipe.close()
        self._pipe, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_work, args=(theirs, self.build, self.arguments))
        with cli.shielded(signal.SIGINT, signal.SIGTERM):  # for good: it ends when the pipe does
            process.start()
        self._process = process
        theirs.close()  # What the process holds is the only one left: the pipe ends with it.
        if self._closed:
            process.kill()
        problem = True
        try:
            problem = self._receive(START_SECONDS)
        finally:
            if problem:
                process.join()
        if problem:
            raise problem
        self._loop.call_soon_threadsafe(self._watch, process)
        with contextlib.suppress(RuntimeError):  # The thread takes nothing any more after kill().
            self._thread.submit(self._heat, process)

    def _heat(self, process) -> None:
        """Ask the questions of ``warm``; then the worker is ready."""
        for question in self.warm:
            try:
                good, answer = self._exchange(question)
            except (EOFError, OSError):  # It died; the next one is warmed by its own start.
                return
            if not good:
                return self.tell(answer)
        self.ready = process is self._process and not self._closed

    def _ask(self, question) -> tuple[bool, object]:
        for _ in range(TRIES):
            if self._closed:
                break
            try:
                return self._exchange(question)
            except (EOFError, OSError):
                self._replace()
        raise Lost

    def _exchange(self, question) -> tuple[bool, object]:
        self._pipe.send(question)
        return self._receive(SECONDS)

    def _receive(self, seconds: float):
        if not self._pipe.poll(seconds):
            self._process.kill()
        return self._pipe.recv()

    def _replace(self) -> None:
        """Start another process in place of a dead one; in the thread.

        Raises:
            Lost: if that is impossible.
        """
        for _ in range(TRIES):
            if self._closed:
                break
            self.ready = False
            self._process.join()
            self.deaths += 1
            status = self._process.exitcode
            self.tell(f"모델 프로세스 {self._process.pid}이(가) 멈춰 다시 시작합니다 (상태 {status}).")
            try:
                return self._start()
            except (EOFError, OSError):  # It died before it had its model.
                continue
            except StudyError as error:
                self.tell(str(error))
                break
        raise Lost

    def _watch(self, process) -> None:
        """Replace the process as soon as it dies, also while it is asked nothing; on the event loop."""

        def died() -> None:
            self._loop.remove_reader(process.sentinel)
            if process is self._process and not self._closed:
                self.ready = False
                self._thread.submit(revive)  # after the call under way, which replaces it itself

        def revive() -> None:
            if process is self._process:
                with contextlib.suppress(Lost):
                    self._replace()

        self._loop.add_reader(process.sentinel, died)


def _work(pipe, build: Callable[..., Callable], arguments: tuple) -> None:
    """What the process does, until its pipe ends."""
    try:
        answer = build(*arguments)
    except StudyError as error:
        return pipe.send(error)
    pipe.send(None)
    with contextlib.suppress(
        EOFError, BrokenPipeError, ConnectionResetError
    ):  # Nobody is left who would ask.
        while True:
            question = pipe.recv()
            try:
                found = pickle.dumps((True, answer(question)))
            except Exception as error:
                found = pickle.dumps((False, where(error)))
            pipe.send_bytes(found)


def where(error: BaseException) -> str:
    """Return an exception's kind and its places in the code, innermost first. Its message may hold a text: not that."""
    frames = reversed(traceback.extract_tb(error.__traceback__)[-5:])
    return " < ".join(
        [type(error).__name__, *(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)]
    )


def classifier(folder: Path, form: str, max_tokens: int, threads: int) -> Callable:
    """Return a function of texts; it returns their classes' probabilities (N, 2).

    Args:
        max_tokens: computed together, padding counted (see :func:`sentiment_analysis.batching.groups`); 0 computes all
            texts together.
        threads: of TensorFlow.

    Raises:
        StudyError: if the folder holds no exported model.
    """
    import numpy as np

    from sentiment_analysis import batching

    model = _load(folder, form, threads)

    def answer(texts: Sequence[str]) -> np.ndarray:
        if not max_tokens or len(texts) * model.limit <= max_tokens or len(texts) == 1:
            return model.probabilities(texts)
        found = np.empty((len(texts), 2), np.float32)
        for group in batching.groups(model.lengths(texts), max_tokens):
            found[group] = model.probabilities([texts[index] for index in group])
        return found

    return answer


def explainer(folder: Path, threads: int) -> Callable:
    """Return a function of a list of texts; it returns their explanations as JSON wants them.

    Raises:
        StudyError: if the folder holds no exported model.
    """
    from sentiment_analysis import explanation

    model = _load(folder, "saved_model", threads)
    return lambda texts: [explanation.explain(model, text).as_json() for text in texts]


def _load(folder: Path, form: str, threads: int):
    from sentiment_analysis import storage

    # What is wrong is told before TensorFlow is here, which takes seconds.
    folder = Path(folder)
    card = storage.checked(folder, form)
    import tensorflow as tf

    from sentiment_analysis import model

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return model.opened(folder, form, card)
