"""The web server: a page with sliders, and the denoising as server-sent events while it happens.

One drawing runs at a time, in a thread; others wait in a queue with a limit. A client that leaves takes its drawing
with it: at the next step of the one under way, or out of the queue.
"""

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from starlette.exceptions import HTTPException

from diffusion_image_gen import pictures, storage
from diffusion_image_gen.sampling import Painter
from diffusion_image_gen.settings import (
    DEFAULT_STEPS,
    MOST_GUIDANCE,
    MOST_STEPS,
    SAMPLERS,
    SEEDS,
    Wish,
    check_seed,
)
from tf_study import serving
from tf_study.errors import StudyError

QUEUE = 8  # drawings at a time: one that runs, the others waiting
EVENTS = 50  # pictures sent of one drawing, at most
SHOWN = 280  # least side of a picture that is sent, in pixels
MAX_BYTES = 4096  # of a request
PAGE = Path(__file__).with_name("page.html")
# The page needs nothing but itself and this server.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
POLICY += "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

SENTENCES = {
    404: "그런 주소는 없으니 /, /health, /draw 가운데 하나를 쓰세요.",
    405: "쓸 수 없는 방식이니 /와 /health는 GET으로, /draw는 POST로 요청하세요.",
    413: f"보낸 것이 한계 {MAX_BYTES // 2**10}kB를 넘으니 필요한 칸만 보내세요.",
    429: f"그리고 있거나 기다리는 그림이 {QUEUE}개이니 잠시 뒤 다시 누르세요.",
}
FIELDS = {"class": str, "seed": int, "sampler": str, "steps": int, "guidance": (int, float)}


def create_app(painter: Painter) -> FastAPI:
    """Return the application for what draws.

    ``GET /`` is the page, ``GET /health`` answers also while pictures are drawn. ``POST /draw`` takes JSON with
    ``class``, ``seed``, ``sampler``, ``steps`` and ``guidance`` and answers with events whose data is JSON:
    ``{"waiting": n}`` while n drawings are before it, then ``{"step", "steps", "picture": <data URI of a PNG>}``; the
    last has ``step`` equal to ``steps``. A refusal is ``{"detail": <a Korean sentence>}``.
    """
    app = serving.application(MAX_BYTES, SENTENCES)
    desk = Desk(painter)
    page = PAGE.read_text(encoding="utf-8").replace("FACTS", json.dumps(_facts(painter), ensure_ascii=False))

    @app.get("/")
    async def show_page() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})

    @app.get("/health")
    async def health() -> dict:
        return {"status": "ok", "classes": list(painter.classes), "drawing": len(desk.jobs)}

    @app.post("/draw")
    async def draw(request: Request) -> StreamingResponse:
        job = Job(painter, await request.body())
        if len(desk.jobs) >= QUEUE:
            raise HTTPException(429, headers={"Retry-After": "2"})
        desk.take(job)
        return Events(desk, job)

    return app


def serve(folder: Path | None, host: str, port: int) -> None:
    """Serve a model, or the course's for ``None``, until Ctrl+C.

    Raises:
        StudyError: as :func:`storage.load_painter`, or if the address cannot be used.
    """
    serving.serve(lambda: create_app(storage.load_painter(folder)), host, port)


class Job:
    """One picture that somebody asked for; ``cancelled`` is set once nobody waits for it any more.

    Raises:
        StudyError: if the request is not what it has to be.
    """

    def __init__(self, painter: Painter, body: bytes):
        try:
            asked = json.loads(body)
            right = asked.keys() == FIELDS.keys() and all(
                isinstance(asked[name], kind) and not isinstance(asked[name], bool)
                for name, kind in FIELDS.items()
            )
        except (ValueError, AttributeError, RecursionError):
            right = False
        if not right:
            raise StudyError(f"{', '.join(FIELDS)}을(를) 담은 JSON으로 보내세요.")
        self.label, self.seed = painter.label(asked["class"]), check_seed(asked["seed"])
        self.wish = Wish(asked["sampler"], asked["steps"], float(asked["guidance"]))
        self.cancelled = threading.Event()
        self.news: asyncio.Queue[dict | None] = asyncio.Queue()  # None: there is no more.


class Desk:
    """Who waits for a picture, in order, and the one thread that draws."""

    def __init__(self, painter: Painter):
        self.painter, self.pool = painter, ThreadPoolExecutor(1)
        self.jobs, self.line = [], []  # all whose answer is open; of these, all that are not drawn yet

    def take(self, job: Job) -> None:
        """Put a job at the end of the queue; called on the event loop."""
        loop = asyncio.get_running_loop()
        job.news.put_nowait({"waiting": len(self.line)})
        self.jobs.append(job)
        self.line.append(job)

        def say(news: dict | None) -> None:
            loop.call_soon_threadsafe(job.news.put_nowait, news)

        def work() -> None:
            try:
                for news in self.events(job):
                    say(news)
            finally:
                loop.call_soon_threadsafe(self.advance, job)  # Before the next job's news can come.
                say(None)

        self.pool.submit(work)

    def drop(self, job: Job) -> None:
        """Let a job go, finished or not; called on the event loop."""
        job.cancelled.set()
        self.jobs.remove(job)
        self.advance(job)

    def advance(self, job: Job) -> None:
        """Take a job out of the line; called on the event loop. Who waits behind it hears of it."""
        if job in self.line:
            place = self.line.index(job)
            del self.line[place]
            for number, other in enumerate(self.line[place:], start=place):
                other.news.put_nowait({"waiting": number})

    def events(self, job: Job) -> Iterator[dict]:
        """Draw a job's picture; stop as soon as it is cancelled."""
        steps = job.wish.steps
        every = -(-steps // EVENTS)
        if job.cancelled.is_set():
            return
        for step, drawn in enumerate(self.painter.stream([job.label], [job.seed], job.wish), start=1):
            if job.cancelled.is_set():
                return
            if step % every == 0 or step == steps:
                yield {"step": step, "steps": steps, "picture": data_uri(drawn)}


class Events(StreamingResponse):
    """A job's news as server-sent events; however it ends, the job leaves the desk."""

    def __init__(self, desk: Desk, job: Job):
        super().__init__(
            self.tell(job), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )
        self.desk, self.job = desk, job

    async def tell(self, job: Job) -> AsyncIterator[str]:
        while (news := await job.news.get()) is not None:
            yield f"data: {json.dumps(news)}\n\n"

    async def __call__(self, scope, receive, send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.desk.drop(self.job)


def data_uri(drawn: np.ndarray) -> str:
    """Return one picture (1, H, W, C), enlarged, as the data URI of a PNG."""
    scale = -(-SHOWN // drawn.shape[1])
    content = pictures.png(pictures.grid(np.clip(drawn, -1, 1), 1, scale, gap=0))
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def _facts(painter: Painter) -> dict:
    return {
        "classes": painter.classes,
        "samplers": {name: DEFAULT_STEPS[name] for name in SAMPLERS},
        "steps": MOST_STEPS,
        "guidance": MOST_GUIDANCE,
        "seeds": SEEDS,
    }
