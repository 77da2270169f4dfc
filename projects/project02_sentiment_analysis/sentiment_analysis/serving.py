"""The web server: an API, a page that colours the words, and what it counts. The models are in other processes.

Requests for classes are batched (:mod:`sentiment_analysis.batching`); explanations, which take a hundred times as long,
have a line and a process of their own. No text is logged or kept.
"""

import asyncio
import contextlib
import hmac
import json
import logging
import os
import re
import secrets
import time
import unicodedata
from argparse import Namespace
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import prometheus_client
import psutil
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sentiment_analysis import storage, workers
from sentiment_analysis.batching import Batcher, Full
from sentiment_analysis.settings import CLASSES
from sentiment_analysis.workers import Lost, Worker, classifier, explainer, where
from tf_study import serving
from tf_study.errors import StudyError

CHARACTERS = 2000  # of a text
TEXTS = 64  # of a request
MAX_BYTES = 2**20  # of a request
EXPLANATIONS = 8  # that can wait
CONNECTIONS = 160  # of macOS's 256 descriptors
SHORTEST = 16  # characters of a key
PAGE = Path(__file__).with_name("page.html")
ADDRESSES = "/, /predict, /explain, /health, /ready, /metrics"
SENTENCES = {
    401: "API 키가 없거나 다르니 Authorization: Bearer 뒤에 키를 적어 보내세요.",
    404: f"그런 주소는 없으니 {ADDRESSES} 가운데 하나를 쓰세요.",
    405: "쓸 수 없는 방식이니 /predict와 /explain은 POST로, 나머지는 GET으로 요청하세요.",
    413: f"보낸 것이 한계 {MAX_BYTES // 2**20}MB를 넘으니 나누어 보내세요.",
    429: "기다리는 글이 가득 찼으니 잠시 뒤 다시 보내세요.",
    500: "서버에 문제가 있으니 서버의 기록을 확인하세요.",
    503: "서버가 끝나는 중이거나 모델을 다시 여는 중이거나 붐비니 잠시 뒤 다시 보내세요.",
}
RETRY = {429: "1", 503: "5"}  # seconds

log = logging.getLogger("sentiment_analysis")


def run(arguments: Namespace) -> None:
    """Serve as the command line says, until Ctrl+C or SIGTERM; the log goes to stderr."""
    keys = read_keys(arguments.key_file) if arguments.key_file else ()
    prepare(arguments)
    threads = max(1, (os.cpu_count() or 1) // arguments.workers)
    build = partial(Worker, tell=_tell)
    explains = (
        None if arguments.no_explain else build(explainer, (arguments.model, 1), [["좋은 영화였습니다"]])
    )
    service = Service(
        [
            build(
                classifier,
                (arguments.model, arguments.form, arguments.max_tokens, threads),
                warming(arguments.max_batch),
            )
            for _ in range(arguments.workers)
        ],
        explains,
        name=arguments.model.resolve().name,
        batch=arguments.max_batch,
        wait=arguments.max_wait / 1000,
        room=arguments.queue,
    )
    with _logged():
        try:
            serving.serve(
                lambda: create_app(service, keys), arguments.host, arguments.port, service, CONNECTIONS
            )
        finally:  # Also after a second Ctrl+C.
            service.kill()


def prepare(arguments: Namespace) -> None:
    """Have what the models' processes need imported once, after a look at the model's files.

    Raises:
        StudyError: if the model is missing or damaged: told before TensorFlow is there, which takes seconds.
    """
    explained = [] if arguments.no_explain else ["saved_model"]
    for form in dict.fromkeys([arguments.form, *explained]):  # each once
        storage.checked(arguments.model, form)
    workers.prepare("tf_study", "tensorflow", "tensorflow_text")


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """Write the log to stderr while the block runs."""
    handler, before = logging.StreamHandler(), (log.level, log.propagate)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]


def read_keys(path: Path) -> list[bytes]:
    """Return the keys of a file, one on each line.

    Raises:
        StudyError: if there is none, or one is too short or not ASCII.
    """
    try:
        keys = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"키 파일 {path}을(를) 읽을 수 없으니 경로와 내용을 확인하세요 ({error}).") from None
    if not keys or not all(len(key) >= SHORTEST and key.isascii() for key in keys):
        raise StudyError(f"키 파일 {path}의 줄마다 {SHORTEST}자 이상의 영문자와 숫자로 된 키를 적으세요.")
    return [key.encode() for key in keys]


def warming(batch: int) -> list[list[str]]:
    """Return batches of 1, 2, 4, ... texts up to ``batch``, and of short to long texts."""
    sizes = [2**power for power in range(batch.bit_length()) if 2**power < batch] + [batch]
    lengths = [["좋은 영화 " * words] for words in (2, 4, 8, 16, 32)]
    return [["좋은 영화였습니다"] * size for size in sizes] + lengths


class Service:
    """The workers, the lines before them, and what is counted.

    Args:
        workers: for classes; each takes texts and returns probabilities (N, 2).
        explainer: takes a list of one text and returns a list of one explanation; None explains nothing.
        name: of the model.
        batch: texts that are computed together at most.
        wait: seconds that a text waits for others at most.
        room: texts that can wait.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        explainer: Worker | None,
        *,
        name: str,
        batch: int = 32,
        wait: float = 0.005,
        room: int = 256,
    ):
        self.workers, self.explainer, self.name = list(workers), explainer, name
        self.everyone = [*workers, explainer] if explainer else self.workers
        self.draining, self.open, self.counts = False, 0, Counts(self)
        calls = [worker.call for worker in workers]
        self.classes = Batcher(calls, batch, wait, max(room, TEXTS), self.counts.batch)
        self.explanations = Batcher([explainer.call] if explainer else [], 1, 0, EXPLANATIONS)

    @property
    def ready(self) -> bool:
        """Whether a new request is answered at once: a worker of each kind is warm, and the end is not near."""
        explains = self.explainer is None or self.explainer.ready
        return not self.draining and explains and any(one.ready for one in self.workers)

    async def start(self) -> None:
        """Open the models; each is warmed up while the first requests may wait already.

        Raises:
            StudyError: if one cannot be opened.
        """
        await asyncio.gather(*(worker.start() for worker in self.everyone))
        self.classes.start()
        self.explanations.start()

    async def drain(self) -> None:
        """Refuse new requests and let those under way end."""
        self.draining = True
        while self.open:
            await asyncio.sleep(0.02)

    def kill(self) -> None:
        """End the processes."""
        for worker in self.everyone:
            worker.kill()

    async def answer(self, request: Request, ask) -> JSONResponse:
        """Answer a request with what ``ask`` makes of its body.

        Raises:
            HTTPException: 429 or 503.
            StudyError: if the body is not what it has to be.
        """
        if self.draining:
            raise HTTPException(503)
        self.open += 1  # From here on the end waits for it.
        try:
            content = await request.body()
            return JSONResponse(await serving.unless_gone(request, ask(content, request.state.record)))
        except Full:
            raise HTTPException(429) from None
        except Lost:
            raise HTTPException(503) from None
        finally:
            self.open -= 1

    async def predict(self, body: bytes, record: "Record") -> dict:
        """Return the class of a text, or those of several."""
        texts, several = read(body)
        record.texts, record.characters = len(texts), sum(map(len, texts))
        rows = [named(row) for row in await self.classes.submit(texts)]
        return {"results": rows} if several else rows[0]

    async def explain(self, body: bytes, record: "Record") -> dict:
        """Return the class of a text and the pushes of its words and morphemes."""
        (text, *rest), several = read(body)
        if several or rest:
            raise StudyError("근거는 글 하나씩 찾으니 text에 글 하나를 적어 보내세요.")
        record.texts, record.characters = 1, len(text)
        (found,) = await self.explanations.submit([text])
        positive = found.pop("probability")
        return named((1 - positive, positive)) | {"text": text} | found


def read(body: bytes) -> tuple[list[str], bool]:
    """Return the texts of a request in NFC, and whether it may have several.

    Raises:
        StudyError: if it is not ``{"text": ...}`` or ``{"texts": [...]}`` with texts that can be answered.
    """
    try:
        asked = json.loads(body)
        ((name, value),) = asked.items()
        several = {"text": False, "texts": True}[name]
        texts = value if several else [value]
        right = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    except (ValueError, AttributeError, KeyError, RecursionError):
        right = False
    if not right:
        raise StudyError('{"text": "글"}이나 {"texts": ["글", ...]} 모양의 JSON으로 보내세요.')
    if not 1 <= len(texts) <= TEXTS:
        raise StudyError(f"글이 {len(texts):,}개이니 한 번에 1개에서 {TEXTS}개까지 보내세요.")
    return [_checked(text) for text in texts], several


def named(row) -> dict:
    """Return probabilities (2,) as JSON: the likelier class, by number and name, and its probability."""
    best = int(row[1] > row[0])
    return {"label": best, "class": CLASSES[best], "probability": round(float(row[best]), 6)}


def create_app(service: Service, keys: Sequence[bytes] = ()) -> FastAPI:
    """Return the application.

    ``POST /predict`` takes ``{"text": ...}`` and gives ``{"label", "class", "probability"}``, or takes ``{"texts": [...]}``
    and gives ``{"results": [...]}``. ``POST /explain`` takes a text and adds what
    :class:`sentiment_analysis.explanation.Explanation` has. ``GET /health``: the server lives; ``GET /ready``: it answers
    at once; ``GET /metrics`` is Prometheus' text; ``GET /`` is the page. A refusal is ``{"detail": <a Korean sentence>}``.

    Args:
        keys: of which a request has to bring one, if there are any.
    """
    app = serving.application(MAX_BYTES, SENTENCES)
    explains = service.explainer is not None
    facts = {"model": service.name, "keys": bool(keys), "characters": CHARACTERS, "explains": explains}
    page = serving.page(PAGE, facts)

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: HTTPException) -> JSONResponse:
        return _refusal(error.status_code, error.headers)

    @app.exception_handler(ClientDisconnect)
    async def part(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nginx's number for it; nobody reads it but the log.

    @app.get("/")
    async def show_page() -> HTMLResponse:
        return page

    @app.get("/health")
    async def health() -> dict:
        return {"status": "ok", "model": service.name}

    @app.get("/ready")
    async def ready() -> JSONResponse:
        return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        content = prometheus_client.generate_latest(service.counts.registry)
        return Response(content, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    @app.post("/predict")
    async def predict(request: Request) -> JSONResponse:
        return await service.answer(request, service.predict)

    @app.post("/explain")
    async def explain(request: Request) -> JSONResponse:
        if not explains:
            raise HTTPException(404)
        return await service.answer(request, service.explain)

    app.add_middleware(Requests, counts=service.counts, keys=keys)
    return app


class Record:
    """What is counted and logged of a request; no text of it."""

    def __init__(self, identity: str):
        self.id, self.texts, self.characters, self.start = identity, 0, 0, time.monotonic()


class Requests:
    """Asks for a key, gives each request an id, counts it, and writes a line of JSON about it."""

    PATHS = ("/predict", "/explain")

    def __init__(self, app: ASGIApp, counts: "Counts", keys: Sequence[bytes]):
        self.app, self.counts, self.keys = app, counts, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in self.PATHS:
            return await self.app(scope, receive, send)
        headers, status = Headers(scope=scope), 0
        given = headers.get("x-request-id", "")
        record = Record(given if re.fullmatch(r"[\w.-]{1,64}", given, re.ASCII) else secrets.token_hex(8))
        scope.setdefault("state", {})["record"] = record

        async def numbered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = record.id
            await send(message)

        problem = {}
        try:
            app = self.app if self._known(headers) else _refusal(401, {"WWW-Authenticate": "Bearer"})
            await app(scope, receive, numbered)
        except Exception as error:  # uvicorn would write the message, and the message may hold a text.
            problem = {"error": str(error) if type(error) is RuntimeError else where(error)}
            if not status:
                await _refusal(500)(scope, receive, numbered)
        finally:
            seconds = time.monotonic() - record.start
            self.counts.request(scope["path"], status, record.texts, seconds)
            _log(
                logging.INFO, id=record.id, request=f"{scope['method']} {scope['path']}", status=status,
                texts=record.texts, characters=record.characters, seconds=round(seconds, 4), **problem,
            )  # fmt: skip

    def _known(self, headers: Headers) -> bool:
        if not self.keys:
            return True
        kind, _, key = headers.get("authorization", "").partition(" ")
        given = key.strip().encode("latin-1")  # as headers are read
        # All are compared, each in a time that does not tell how much of it is right.
        same = [hmac.compare_digest(given, own) for own in self.keys]
        return kind.lower() == "bearer" and any(same)


class Counts:
    """What Prometheus reads."""

    def __init__(self, service: "Service"):
        self.registry = registry = prometheus_client.CollectorRegistry()
        self.service = service
        self.answers = prometheus_client.Counter(
            "sentiment_answers", "Answers by path and status.", ["path", "status"], registry=registry
        )
        self.texts = prometheus_client.Counter(
            "sentiment_texts", "Texts of answered requests.", ["path"], registry=registry
        )
        self.seconds = prometheus_client.Histogram(
            "sentiment_seconds", "From a request's head to its answer.", ["path"], registry=registry,
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
        )  # fmt: skip
        self.sizes = prometheus_client.Histogram(
            "sentiment_batch_texts", "Texts that were computed together.", registry=registry,
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
        )  # fmt: skip
        self.waits = prometheus_client.Histogram(
            "sentiment_batch_wait_seconds", "That a batch's oldest text waited.", registry=registry,
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
        )  # fmt: skip
        registry.register(self)

    def batch(self, size: int, seconds: float) -> None:
        self.sizes.observe(size)
        self.waits.observe(seconds)

    def request(self, path: str, status: int, texts: int, seconds: float) -> None:
        self.answers.labels(path, status).inc()
        if status == 200:
            self.texts.labels(path).inc(texts)
            self.seconds.labels(path).observe(seconds)

    def collect(self):
        """Yield what is read when it is asked for: lines, and the processes' lives, CPU time and memory."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        service = self.service
        deaths = CounterMetricFamily("sentiment_worker_deaths", "Processes that were replaced.")
        deaths.add_metric([], sum(worker.deaths for worker in service.everyone))
        waiting = GaugeMetricFamily("sentiment_waiting_texts", "Texts that wait.", labels=["path"])
        waiting.add_metric(["/predict"], len(service.classes.line))
        waiting.add_metric(["/explain"], len(service.explanations.line))
        cpu = CounterMetricFamily("sentiment_cpu_seconds", "CPU time of each process.", labels=["process"])
        memory = GaugeMetricFamily("sentiment_resident_bytes", "Memory of each process.", labels=["process"])
        pids = {f"classifier-{number}": worker.pid for number, worker in enumerate(service.workers)}
        if service.explainer:
            pids["explainer"] = service.explainer.pid
        for name, pid in {"http": os.getpid(), **pids}.items():
            with contextlib.suppress(psutil.Error):  # It may have died.
                process = psutil.Process(pid)
                times = process.cpu_times()
                cpu.add_metric([name], times.user + times.system)
                memory.add_metric([name], process.memory_info().rss)
        yield from (deaths, waiting, cpu, memory)


def _checked(text: str) -> str:
    if (
        len(text) <= 3 * CHARACTERS
    ):  # A syllable has three letters. Normalising takes long for some long texts.
        text = unicodedata.normalize("NFC", text)
    if len(text) > CHARACTERS:
        raise StudyError(f"글이 {len(text):,}자이니 {CHARACTERS:,}자까지로 줄여서 보내세요.")
    if not text.strip():
        raise StudyError("글이 비었으니 내용을 적어 보내세요.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise StudyError("글에 깨진 글자가 있으니 UTF-8로 다시 저장해서 보내세요.")
    return text


def _refusal(status: int, headers: dict | None = None) -> JSONResponse:
    sentence = (serving.SENTENCES | SENTENCES).get(status, SENTENCES[500])
    retry = {"Retry-After": RETRY[status]} if status in RETRY else {}
    return JSONResponse({"detail": sentence}, status, (headers or {}) | retry)


def _tell(line: str) -> None:
    _log(logging.WARNING, event=line)


def _log(level: int, **facts) -> None:
    """Write a line of JSON, the time first."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    log.log(level, json.dumps({"time": now} | facts, ensure_ascii=False))
