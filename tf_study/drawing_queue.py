"""Drawings that take long, one at a time, told as server-sent events to whoever waits for them.

A client that leaves takes its drawing with it: at the next step of the one under way, or out of the queue.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from starlette.exceptions import HTTPException

from tf_study import serving
from tf_study.errors import StudyError

QUEUE = 8  # drawings at a time: one that runs, the others waiting
MAX_BYTES = 4096  # of a request

SENTENCES = {
    404: "그런 주소는 없으니 /, /health, /draw 가운데 하나를 쓰세요.",
    405: "쓸 수 없는 방식이니 /와 /health는 GET으로, /draw는 POST로 요청하세요.",
    413: f"보낸 것이 한계 {MAX_BYTES // 2**10}kB를 넘으니 필요한 칸만 보내세요.",
}


def read_fields(body: bytes, fields: Mapping[str, type | tuple]) -> dict:
    """Return the JSON object of a request that has exactly these fields, with values of these types.

    Raises:
        StudyError: if it is anything else.
    """
    try:
        asked = json.loads(body)
        right = asked.keys() == fields.keys() and all(
            isinstance(asked[name], kind) and not isinstance(asked[name], bool)
            for name, kind in fields.items()
        )
    except (ValueError, AttributeError, RecursionError):
        right = False
    if not right:
        raise StudyError(f"{', '.join(fields)}을(를) 담은 JSON으로 보내세요.")
    return asked


class Job:
    """Something that somebody asked for; ``cancelled`` is set once nobody waits for it any more."""

    def __init__(self):
        self.cancelled = threading.Event()
        self.news: asyncio.Queue[dict | None] = asyncio.Queue()  # None: there is no more.


def create_app(
    page: HTMLResponse,
    classes: Sequence[str],
    job: Callable[[bytes], Job],
    draw: Callable[[Job], Iterator[dict | None]],
    full: str,
) -> FastAPI:
    """Return the application: ``GET /`` is the page, ``GET /health`` answers also while something is drawn, and
    ``POST /draw`` takes JSON and answers with events whose data is JSON: ``{"waiting": n}`` while n drawings are before
    it, then what ``draw`` tells. A refusal is ``{"detail": <a Korean sentence>}``.

    Args:
        classes: what can be drawn, for ``/health``.
        job: makes a job of a request's body; raises StudyError if it is not what it has to be.
        draw: as in :class:`Desk`.
        full: the sentence for who comes when :data:`QUEUE` drawings run and wait.
    """
    app = serving.application(MAX_BYTES, SENTENCES | {429: full})
    desk = Desk(draw, QUEUE)

    @app.get("/")
    async def show_page() -> HTMLResponse:
        return page

    @app.get("/health")
    async def health() -> dict:
        return {"status": "ok", "classes": list(classes), "drawing": len(desk.jobs)}

    @app.post("/draw")
    async def answer(request: Request) -> StreamingResponse:
        return desk.answer(job(await request.body()))

    return app


class Desk:
    """Who waits for a drawing, in order, and the one thread that draws.

    Args:
        draw: yields after each step of a job's drawing a dictionary for JSON, or None where there is nothing to tell;
            it is left at the first step after the job is cancelled.
        most: jobs at a time, the one that runs among them.
    """

    def __init__(self, draw: Callable[[Job], Iterator[dict | None]], most: int):
        self.draw, self.most, self.pool = draw, most, ThreadPoolExecutor(1)
        self.jobs, self.line = [], []  # all whose answer is open; of these, all that are not drawn yet

    def answer(self, job: Job) -> StreamingResponse:
        """Take a job and return the answer that tells its news; called on the event loop.

        Raises:
            HTTPException: 429, if there are as many jobs as there may be.
        """
        if len(self.jobs) >= self.most:
            raise HTTPException(429, headers={"Retry-After": "2"})
        self._take(job)
        return _Events(self, job)

    def _take(self, job: Job) -> None:
        loop = asyncio.get_running_loop()
        job.news.put_nowait({"waiting": len(self.line)})
        self.jobs.append(job)
        self.line.append(job)

        def say(news: dict | None) -> None:
            loop.call_soon_threadsafe(job.news.put_nowait, news)

        def work() -> None:
            try:
                for news in () if job.cancelled.is_set() else self.draw(job):
                    if job.cancelled.is_set():
                        break
                    if news is not None:
                        say(news)
            finally:
                loop.call_soon_threadsafe(self._advance, job)  # Before the next job's news can come.
                say(None)

        self.pool.submit(work)

    def drop(self, job: Job) -> None:
        """Let a job go, finished or not; called on the event loop."""
        job.cancelled.set()
        self.jobs.remove(job)
        self._advance(job)

    def _advance(self, job: Job) -> None:
        """Take a job out of the line; called on the event loop. Who waits behind it hears of it."""
        if job in self.line:
            place = self.line.index(job)
            del self.line[place]
            for number, other in enumerate(self.line[place:], start=place):
                other.news.put_nowait({"waiting": number})


class _Events(StreamingResponse):
    """A job's news as server-sent events; however it ends, the job leaves the desk."""

    def __init__(self, desk: Desk, job: Job):
        super().__init__(
            self._tell(job), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )
        self.desk, self.job = desk, job

    async def _tell(self, job: Job) -> AsyncIterator[str]:
        while (news := await job.news.get()) is not None:
            yield f"data: {json.dumps(news)}\n\n"

    async def __call__(self, scope, receive, send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.desk.drop(self.job)
