"""The web server: a page to talk to the bot, whose answers come as server-sent events, and what it counts.

``tf_study.drawing_queue`` lets one answer be made at a time and the others wait; who leaves takes the answer along.
"""

import time
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import prometheus_client
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from aligned_bot.bot import Bot
from aligned_bot.filters import Filters
from tf_study import drawing_queue, serving
from tf_study.drawing_queue import QUEUE, Desk
from tf_study.errors import StudyError

MAX_BYTES = 2**14  # of a request
PAGE = Path(__file__).with_name("page.html")
SENTENCES = {
    404: "그런 주소는 없으니 /, /chat, /health, /metrics 가운데 하나를 쓰세요.",
    405: "쓸 수 없는 방식이니 /chat은 POST로, 나머지는 GET으로 요청하세요.",
    413: f"질문이 한계 {MAX_BYTES // 2**10}kB를 넘으니 줄여서 다시 보내세요.",
    429: f"답하고 있거나 기다리는 질문이 {QUEUE}개이니 잠시 뒤 다시 보내세요.",
}
FIELDS = {"question": str, "temperature": (int, float), "seed": int}


def run(arguments: Namespace) -> None:
    """Serve as the command line says, until Ctrl+C."""
    from aligned_bot import bot

    def app() -> FastAPI:
        filters = Filters.of(arguments.filter, arguments.block)
        return create_app(bot.load(arguments.model), filters, arguments.limit, arguments.system)

    serving.serve(app, arguments.host, arguments.port)


def create_app(bot: Bot, filters: Filters, limit: int = 256, system: str | None = None) -> FastAPI:
    """Return the application.

    ``GET /`` is the page, ``GET /health`` answers also while others are answered, ``GET /metrics`` is Prometheus' text.
    ``POST /chat`` takes JSON with ``question``, ``temperature`` and ``seed``, and answers with events whose data is JSON: ``{"waiting": n}`` while n answers are before
    it, ``{"text": ...}``, and last ``{"end": "done" | "input" | "output"}``. A refusal of the server is
    ``{"detail": <a Korean sentence>}``.

    Args:
        bot: answers.
        filters: before and behind it.
        limit: tokens of an answer, at most.
        system: instruction before each question.
    """
    app, counts = serving.application(MAX_BYTES, SENTENCES), Counts()
    desk = Desk(partial(_reply, bot, filters, counts, limit=limit, system=system), QUEUE)
    page = serving.page(PAGE, {"model": bot.name})

    @app.get("/")
    async def show_page() -> HTMLResponse:
        return page

    @app.get("/health")
    async def health() -> dict:
        return {"status": "ok", "model": bot.name, "answering": len(desk.jobs)}

    @app.get("/metrics")
    async def metrics() -> Response:
        counts.open.set(len(desk.jobs))
        content = prometheus_client.generate_latest(counts.registry)
        return Response(content, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    @app.post("/chat")
    async def answer(request: Request) -> StreamingResponse:
        return desk.answer(Job(bot, await request.body(), system))

    return app


class Job(drawing_queue.Job):
    """What somebody asked.

    Raises:
        StudyError: if the request is not what it has to be, or too long for the model.
    """

    def __init__(self, bot: Bot, body: bytes, system: str | None):
        super().__init__()
        asked = drawing_queue.read_fields(body, FIELDS)
        self.question, self.temperature, self.seed = (asked[name] for name in FIELDS)
        if not self.question.strip():
            raise StudyError("question에 질문을 적어 보내세요.")
        if not 0 <= self.temperature <= 2:
            raise StudyError("temperature에 0부터 2까지의 수를 적으세요.")
        if not 0 <= self.seed < 2**32:
            raise StudyError("seed에 0부터 4294967295까지의 정수를 적으세요.")
        bot.prompt(self.question, system=system)  # Too long is refused here.


class Counts:
    """What Prometheus reads; nothing of what was said."""

    def __init__(self):
        self.registry = prometheus_client.CollectorRegistry()
        named = {"registry": self.registry}
        self.answers = prometheus_client.Counter(
            "bot_answers",
            "Answers by how they ended: done, input, output (filters), left, failed.",
            ["end"],
            **named,
        )
        self.open = prometheus_client.Gauge(
            "bot_open_requests", "Answered or waiting at the moment.", **named
        )
        self.first = prometheus_client.Histogram(
            "bot_first_text_seconds", "From its turn to the first text.", **named
        )
        self.whole = prometheus_client.Histogram("bot_answer_seconds", "From its turn to the end.", **named)


def _reply(bot: Bot, filters: Filters, counts: Counts, job: Job, **options) -> Iterator[dict | None]:
    """Answer a job; what it yields is told to who waits, as :class:`Desk` wants it."""
    start, first, end = time.monotonic(), True, "failed"
    stream = partial(bot.stream, job.question, temperature=job.temperature, seed=job.seed, **options)
    try:
        for piece in filters.reply(job.question, stream):
            if piece.text and first:
                counts.first.observe(time.monotonic() - start)
                first = False
            if piece.end:
                end = piece.end
            yield ({"text": piece.text} if piece.text else {}) | (
                {"end": piece.end} if piece.end else {}
            ) or None
    except GeneratorExit:
        end = "left"
        raise
    finally:
        counts.answers.labels(end).inc()
        counts.whole.observe(time.monotonic() - start)
