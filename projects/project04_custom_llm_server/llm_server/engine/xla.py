"""The course's own engine: one thread owns TensorFlow, the cache and the scheduler; the event loop only queues."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

from llm_server import sampling, weights
from llm_server.engine.base import Busy, Dead, Generation, Piece, Stats
from llm_server.model import PagedLlama, Stretch
from llm_server.scheduler import Generating, Scheduler
from tf_study.errors import StudyError
from tf_study.paged import Pool


class XlaEngine:
    """An :class:`llm_server.engine.base.Engine` on the Llama of :mod:`llm_server.model`.

    Args:
        source: what :func:`llm_server.weights.load` takes, or a checkpoint.
        context: most tokens of prompt and answer together; less if the model or the cache has room for less.
        cache: tokens that the cache has room for, all sequences together.
        slots: most sequences that are computed together.
        waiting: most requests beyond these; more are refused with :class:`Busy`.
        budget: most tokens of a step, prompts and answers together.
        size: tokens a block.
        prefixes: keep what was computed, for prompts that begin alike.
        xla: as in :class:`llm_server.model.PagedLlama`.
        ops: likewise.
        report: told in one line of each part of the start that is done.
    """

    name = "xla"

    def __init__(
        self,
        source: str | Path | weights.Checkpoint,
        *,
        context: int = 2048,
        cache: int = 8192,
        slots: int = 16,
        waiting: int = 64,
        budget: int = 64,
        size: int = 16,
        prefixes: bool = True,
        xla: bool = True,
        ops: bool = True,
        report: Callable[[str], None] = print,
    ):
        self.source, self.context, self.slots, self.waiting = source, context, slots, waiting
        self._pool = Pool(1 + cache // size, size, prefixes)
        self._scheduler = Scheduler(self._pool, slots, max(budget, slots))
        self._xla, self._ops, self._report = xla, ops, report
        self._queues: set[asyncio.Queue] = set()  # one for each open request; the event loop's
        self._changed = threading.Condition()  # guards what the event loop tells the thread
        self._calls: list[
            Callable[[], None]
        ] = []  # what the thread does to the scheduler before its next step
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._vocabulary = 0

    async def start(self) -> None:
        """Load, compile, warm up.

        Raises:
            StudyError: if the model cannot be read.
        """
        self._loop = asyncio.get_running_loop()
        self._ready = self._loop.create_future()
        self._thread.start()
        await self._ready

    async def generate(self, generation: Generation) -> AsyncIterator[Piece]:
        """Yield pieces as they come; see :class:`llm_server.engine.base.Engine`."""
        prompt, limit = generation.prompt, len(generation.prompt) + generation.max_tokens
        if not self.alive() or self._closing:
            raise Dead
        if not prompt or generation.max_tokens < 1 or limit > self.context:
            raise ValueError(f"1 to {self.context} tokens with the answer, not {limit}")
        if not 0 <= min(prompt) <= max(prompt) < self._vocabulary:
            raise ValueError(f"tokens are numbers from 0 to {self._vocabulary - 1}")
        if len(self._queues) >= self.slots + self.waiting:
            raise Busy
        queue, ended = asyncio.Queue(), False
        sequence = Generating(list(prompt), limit, generation.stops, (queue, generation.sampling))
        self._queues.add(queue)
        self._tell(partial(self._scheduler.add, sequence))
        try:
            while not ended:
                piece = await queue.get()
                if piece is None:
                    raise Dead
                ended = piece.finish is not None
                yield piece
        finally:
            self._queues.discard(queue)
            if not ended:
                self._tell(partial(self._scheduler.abort, sequence))

    def alive(self) -> bool:
        return self._vocabulary > 0 and self._thread.is_alive()

    def stats(self) -> Stats:
        s = self._scheduler
        return Stats(
            running=len(s.running),
            waiting=len(s.waiting),
            kv_cache_usage=s.usage(),
            prompt_tokens=s.prompt_tokens,
            generated_tokens=s.generated_tokens,
            prefix_queries=s.queries,
            prefix_hits=s.hits,
            preemptions=s.preemptions,
            finished=dict(s.finished),
        )

    async def drain(self) -> None:
        """Take no new request, finish those under way, then end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    def _tell(self, call: Callable[[], None]) -> None:
        with self._changed:
            self._calls.append(call)
            self._changed.notify()

    def _run(self) -> None:
        """The thread: load the model, then compute steps until there is nothing left to do and nothing to come."""
        try:
            model = self._load()
            self._loop.call_soon_threadsafe(self._ready.set_result, None)
            while self._listen():
                self._compute(model)
        except BaseException as error:
            # Whoever waits hears of it: the start of the error itself, requests of the engine's death.
            self._vocabulary = 0
            self._post(self._fail, error)
            if not isinstance(error, StudyError):
                raise
        finally:
            self._vocabulary = 0

    def _load(self) -> PagedLlama:
        checkpoint = self.source
        if not isinstance(checkpoint, weights.Checkpoint):
            checkpoint = weights.load(self.source)
            self._report(
                f"가중치를 읽었습니다: 층 {checkpoint.config.layers}개, 어휘 {checkpoint.config.vocab}개"
            )
        size, blocks = self._pool.size, len(self._pool.refs)
        self.context = min(self.context, checkpoint.context, (blocks - 1) * size)
        model = PagedLlama(checkpoint, blocks, size, self.context, self._xla, self._ops)
        model.warm_up(self._scheduler.budget, self._report)
        self._vocabulary = checkpoint.config.vocab
        return model

    def _listen(self) -> bool:
        """Do what the event loop told, after waiting for it if there is nothing to compute; ``False``: the end."""
        s = self._scheduler
        with self._changed:
            while not (self._calls or s.running or s.waiting or self._closing):
                self._changed.wait()
            calls, self._calls = self._calls, []
        for call in calls:
            call()
        return bool(s.running or s.waiting or not self._closing)

    def _compute(self, model: PagedLlama) -> None:
        """Compute a step, choose tokens, and hand them to the event loop."""
        parts = self._scheduler.schedule()
        if not parts:
            return
        stretches = [
            Stretch(s.tokens[s.computed : s.computed + part.count], s.computed, s.table, part.gives)
            for part in parts
            for s in [part.sequence]
        ]
        logits = model.step(stretches)
        giving = [part.sequence for part in parts if part.gives]
        tokens = [
            sampling.choose(row, s.owner[1], len(s.tokens)) for row, s in zip(logits, giving, strict=True)
        ]
        news = [
            (s.owner[0], Piece(() if reason == "stop" else (token,), reason))
            for s, token, reason in self._scheduler.commit(parts, tokens)
        ]
        if news:
            self._loop.call_soon_threadsafe(_deliver, news)

    def _post(self, function: Callable, *arguments) -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            self._loop.call_soon_threadsafe(function, *arguments)

    def _fail(self, error: BaseException) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)
        for queue in self._queues:
            queue.put_nowait(None)


def _deliver(news: list[tuple[asyncio.Queue, Piece]]) -> None:
    for queue, piece in news:
        queue.put_nowait(piece)
