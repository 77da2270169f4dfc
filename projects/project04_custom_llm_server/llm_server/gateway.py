"""The web server: OpenAI's API in front of engines. Text, keys, limits, time and the log are its business.

However a request ends (its last token, a stop string, the time limit, a client that leaves while it waits, streams or
sits before a whole answer), the engine's iterator is closed, and with that the sequence's blocks are free.
"""

import asyncio
import json
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm_server import api, limits, metrics
from llm_server.api import Asked, Refused
from llm_server.engine.base import Busy, Dead, Generation
from llm_server.router import Router
from llm_server.text import Delta, Reader, Text
from tf_study import environment, serving
from tf_study.errors import StudyError

CONNECTIONS = 160  # of macOS's 256 descriptors
MAX_BYTES = 2 * 2**20  # of a request
SECONDS = 600  # that a request may take
PAGE = Path(__file__).with_name("page.html")
ADDRESSES = "/v1/chat/completions, /v1/completions, /v1/models, /health, /metrics"
SENTENCES = {
    404: f"그런 주소는 없으니 {ADDRESSES} 가운데 하나를 쓰세요.",
    405: "쓸 수 없는 방식이니 /v1/models, /health, /metrics는 GET으로, 나머지는 POST로 요청하세요.",
    413: f"보낸 것이 한계 {MAX_BYTES // 2**20}MB를 넘으니 줄여서 다시 보내세요.",
}
CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 408: "timeout", 413: "too_large"}

log = logging.getLogger("llm_server")


@dataclass
class Record:
    """What is counted and logged of a request; no text of it."""

    id: str
    client: str | None = None
    prompt_tokens: int = 0
    tokens: int = 0
    finish: str | None = None
    start: float = field(default_factory=time.monotonic)
    first: float | None = None  # seconds to the first token
    last: float = 0.0  # and to the latest

    def usage(self) -> dict:
        total = self.prompt_tokens + self.tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.tokens,
            "total_tokens": total,
        }


class Gateway:
    """What stands between requests and engines.

    Args:
        router: the engines.
        text: the model's tokenizer.
        model: its name in the API.
        keys: the clients; without, anybody may ask.
        seconds: that a request may take.
    """

    def __init__(
        self,
        router: Router,
        text: Text,
        model: str,
        keys: limits.Keys | None = None,
        seconds: float = SECONDS,
    ):
        self.router, self.text, self.model, self.keys, self.seconds = router, text, model, keys, seconds
        self.metrics = metrics.Metrics(model)
        self.draining, self.open = False, 0
        self.since = int(time.time())

    async def start(self) -> None:
        """Start the engines. What XLA tells of itself meanwhile is no part of the log."""
        with environment.quiet_stderr():
            await self.router.start()

    async def drain(self) -> None:
        """Refuse new requests, let those under way end, then end the engines."""
        self.draining = True
        while self.open:
            await asyncio.sleep(0.05)
        await self.router.drain()

    async def answer(self, request: Request, chat: bool) -> Response:
        """Answer a request for text.

        Raises:
            Refused: before anything has been sent.
        """
        record: Record = request.state.record
        self.open += 1  # From here on the end waits for it.
        handed = False
        try:
            client = self._admit(request, record)
            asked = api.parse(await request.body(), chat)
            generation = await self._generation(asked, chat)
            deltas = self._deltas(generation, asked, record, client)
            form = Chat(self.model, asked, record) if chat else Completion(self.model, asked, record)
            if not asked.stream:
                return await serving.unless_gone(request, _whole(deltas, form))
            first = await serving.unless_gone(request, anext(deltas))
            handed = True
            return Events(self, deltas, first, form)
        finally:
            if not handed:
                self.open -= 1

    def models(self) -> dict:
        one = {
            "id": self.model,
            "object": "model",
            "created": self.since,
            "owned_by": "tf_study",
            "max_model_len": self.router.context,
        }
        return {"object": "list", "data": [one]}

    def client(self, request: Request) -> limits.Client | None:
        """Return whose key a request has.

        Raises:
            Refused: if keys are asked for and it has none of them.
        """
        if self.keys is None:
            return None
        client = self.keys.client(request.headers.get("authorization", ""))
        if client is None:
            raise self._refuse(
                401, "API 키가 없거나 다르니 Authorization: Bearer 뒤에 키를 적으세요.", "invalid_api_key"
            )
        return client

    def _admit(self, request: Request, record: Record) -> limits.Client | None:
        if self.draining:
            raise self._refuse(503, "서버가 끝나는 중이니 잠시 뒤 다시 보내세요.", "draining", 5)
        client = self.client(request)
        if client is None:
            return None
        record.client = client.name
        if wait := client.requests.take(1):
            raise self._refuse(
                429, "이 키의 분당 요청을 다 썼으니 잠시 뒤 다시 보내세요.", "rate_limit_exceeded", wait
            )
        return client

    def _refuse(self, status: int, sentence: str, code: str, wait: float | None = None) -> Refused:
        self.metrics.count(self.metrics.refusals, code)
        return Refused(status, sentence, code, retry=None if wait is None else limits.whole_seconds(wait))

    async def _generation(self, asked: Asked, chat: bool) -> Generation:
        """Return what the engine is asked for.

        Raises:
            Refused: if the prompt is empty or too long, or the model has another name.
        """
        if asked.model != self.model:
            raise Refused(
                404,
                f"그런 모델은 없으니 model에 {self.model}을(를) 적으세요.",
                "model_not_found",
                "model",
            )
        context, param = self.router.context, "messages" if chat else "prompt"
        prompt = asked.prompt
        if not isinstance(prompt, tuple):
            try:
                text = self.text.chat(prompt) if chat else prompt
            except StudyError as error:
                raise Refused(400, str(error), "invalid_value", param) from None
            if len(text) > context * self.text.longest:  # Certainly too long, and not worth a second of work.
                raise self._too_long(f"{len(text):,}자", context, param)
            encode = self.text.encode_chat if chat else self.text.encode
            prompt = await asyncio.to_thread(encode, text)
        if not prompt:
            raise Refused(400, f"{param}이(가) 비었으니 글을 넣어 다시 보내세요.", "invalid_value", param)
        most = context - len(prompt) if asked.most is None else asked.most
        if most < 1 or len(prompt) + most > context:
            wanted = f"{len(prompt):,}토큰과 답 {max(1, most):,}토큰"
            raise self._too_long(wanted, context, param)
        stops = asked.stop_ids | (frozenset() if asked.ignore_eos else self.text.stops)
        return Generation(prompt, most, asked.sampling, stops)

    def _too_long(self, wanted: str, context: int, param: str) -> Refused:
        return Refused(
            400,
            f"{param} {wanted}이 한계 {context:,}토큰을 넘으니 줄여서 다시 보내세요.",
            "context_length_exceeded",
            param,
        )

    async def _deltas(
        self, generation: Generation, asked: Asked, record: Record, client: limits.Client | None
    ) -> AsyncIterator[Delta]:
        """Yield what comes of a generation; count and measure it.

        Raises:
            Refused: with status 429 or 400 before the first one; 503 or 504 at any time.
        """
        reader, record.prompt_tokens = Reader(self.text, asked.stops), len(generation.prompt)
        cost = record.prompt_tokens + generation.max_tokens
        if client and (wait := client.tokens.take(cost)):
            raise self._refuse(
                429, "이 키의 분당 토큰을 다 썼으니 잠시 뒤 다시 보내세요.", "rate_limit_exceeded", wait
            )
        end, record.finish = asyncio.get_running_loop().time() + self.seconds, "abort"
        try:
            async with aclosing(self.router.generate(generation)) as pieces:
                while True:
                    async with asyncio.timeout_at(end):
                        piece = await anext(pieces)
                    delta = reader.add(piece.tokens, piece.finish)
                    self._measure(record, len(piece.tokens), delta.finish)
                    yield delta
                    if delta.finish:
                        return
        except Busy:
            record.finish = "refused"
            raise self._refuse(
                429, "기다리는 요청이 가득 찼으니 잠시 뒤 다시 보내세요.", "queue_full", 1
            ) from None
        except ValueError:  # The engine knows how many tokens there are.
            record.finish = "refused"
            raise Refused(
                400, "prompt에 모델이 모르는 토큰 번호가 있으니 고쳐서 보내세요.", "invalid_value", "prompt"
            ) from None
        except Dead:
            record.finish = "error"
            raise self._refuse(
                503, "답하던 엔진이 멈췄으니 잠시 뒤 다시 보내세요.", "engine_died", 5
            ) from None
        except TimeoutError:
            record.finish = "timeout"
            sentence = f"{self.seconds:g}초 안에 답을 마치지 못했으니 max_tokens를 줄여 다시 보내세요."
            raise self._refuse(504, sentence, "timeout") from None
        finally:
            if client:
                client.tokens.give_back(generation.max_tokens - record.tokens)
            self.metrics.count(self.metrics.answers, record.finish)

    def _measure(self, record: Record, tokens: int, finish: str | None) -> None:
        now = time.monotonic() - record.start
        if tokens:
            if record.first is None:
                record.first = now
                self.metrics.ttft.observe(now)
                self.metrics.between.observe(0.0, tokens - 1)
            else:
                self.metrics.between.observe((now - record.last) / tokens, tokens)
            record.last, record.tokens = now, record.tokens + tokens
        if finish:
            record.finish = finish
            self.metrics.whole.observe(now)
            if record.tokens > 1:
                self.metrics.tpot.observe((record.last - record.first) / (record.tokens - 1))


class Completion:
    """The JSON of an answer of /v1/completions."""

    path, whole, part = "cmpl", "text_completion", "text_completion"

    def __init__(self, model: str, asked: Asked, record: Record):
        self.asked, self.record = asked, record
        self.head = {"id": f"{self.path}-{record.id}", "created": int(time.time()), "model": model}

    def object(self, text: str, tokens: tuple[int, ...], finish: str) -> dict:
        """Return the whole answer."""
        choice = self.choice(text, tokens, finish)
        return self.head | {"object": self.whole, "choices": [choice], "usage": self.record.usage()}

    def chunks(self, delta: Delta, first: bool) -> list[dict]:
        """Return the events of one delta."""
        found = [] if not first else self.opening()
        if delta.text or delta.finish or (self.asked.ids and delta.tokens):
            found.append(self.event([self.change(delta)]))
        if delta.finish and self.asked.usage:
            found.append(self.event([]) | {"usage": self.record.usage()})
        return found

    def event(self, choices: list[dict]) -> dict:
        return self.head | {"object": self.part, "choices": choices}

    def opening(self) -> list[dict]:
        return []

    def choice(self, text: str, tokens: tuple[int, ...], finish: str | None) -> dict:
        return self.common(tokens, finish) | {"text": text}

    def change(self, delta: Delta) -> dict:
        return self.choice(delta.text, delta.tokens, delta.finish)

    def common(self, tokens: tuple[int, ...], finish: str | None) -> dict:
        ids = {"token_ids": list(tokens)} if self.asked.ids else {}
        return {"index": 0, "finish_reason": finish, "logprobs": None} | ids


class Chat(Completion):
    """That of /v1/chat/completions."""

    path, whole, part = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def opening(self) -> list[dict]:
        return [self.event([self.common((), None) | {"delta": {"role": "assistant", "content": ""}}])]

    def choice(self, text: str, tokens: tuple[int, ...], finish: str | None) -> dict:
        return self.common(tokens, finish) | {
            "message": {"role": "assistant", "content": text, "refusal": None}
        }

    def change(self, delta: Delta) -> dict:
        return self.common(delta.tokens, delta.finish) | {
            "delta": {"content": delta.text} if delta.text else {}
        }


class Events(StreamingResponse):
    """An answer as server-sent events; however it ends, the generation is closed."""

    def __init__(self, gateway: Gateway, deltas: AsyncIterator[Delta], first: Delta, form: Completion):
        super().__init__(
            self.tell(first), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )
        self.gateway, self.deltas, self.form = gateway, deltas, form

    async def tell(self, first: Delta) -> AsyncIterator[str]:
        for chunk in self.form.chunks(first, True):
            yield _event(chunk)
        try:
            async for delta in self.deltas:
                for chunk in self.form.chunks(delta, False):
                    yield _event(chunk)
        except Refused as refused:  # Too late for a status: the client's library raises at this event.
            yield _event(refused.body())
            return
        yield "data: [DONE]\n\n"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            try:
                await self.deltas.aclose()
            finally:
                self.gateway.open -= 1


class Requests:
    """Gives each request an id and a record, and writes a line of JSON about each one under /v1/."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        given = Headers(scope=scope).get("x-request-id", "")
        record = Record(given if re.fullmatch(r"[\w.-]{1,64}", given, re.ASCII) else secrets.token_hex(16))
        scope.setdefault("state", {})["record"] = record
        status = 0

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = record.id
            await send(message)

        try:
            await self.app(scope, receive, named)
        finally:
            if scope["path"].startswith("/v1/"):
                log.info(json.dumps(_line(scope, record, status), ensure_ascii=False))


def create_app(gateway: Gateway) -> FastAPI:
    """Return the application. Every refusal is ``{"error": {"message": <a Korean sentence>, "type", "param", "code"}}``."""
    app = serving.application(MAX_BYTES, SENTENCES)

    @app.exception_handler(Refused)
    async def refuse(request: Request, refused: Refused) -> JSONResponse:
        return JSONResponse(refused.body(), refused.status, refused.headers)

    @app.exception_handler(HTTPException)
    async def refuse_early(request: Request, error: HTTPException) -> JSONResponse:
        sentence = (serving.SENTENCES | SENTENCES).get(error.status_code, error.detail)
        refused = Refused(error.status_code, sentence, CODES.get(error.status_code, "error"))
        return JSONResponse(refused.body(), refused.status, error.headers)

    @app.exception_handler(ClientDisconnect)
    async def part(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nginx's number for it; nobody reads it but the log.

    @app.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> JSONResponse:
        log.error("error", exc_info=error)
        refused = Refused(500, "서버에 문제가 있으니 서버의 기록을 확인하세요.", "internal_error")
        return JSONResponse(refused.body(), refused.status)

    @app.get("/")
    async def show_page() -> HTMLResponse:
        facts = {
            "model": gateway.model,
            "keys": gateway.keys is not None,
            "context": gateway.router.context,
        }
        return serving.page(PAGE, facts)

    @app.get("/health")
    async def health() -> JSONResponse:
        ready = gateway.router.alive() and not gateway.draining
        return JSONResponse({"status": "ok" if ready else "unavailable"}, 200 if ready else 503)

    @app.get("/metrics")
    async def show_metrics() -> Response:
        states = [(engine.alive(), engine.stats()) for engine in gateway.router.engines]
        return Response(gateway.metrics.text(states), media_type=metrics.TYPE)

    @app.get("/v1/models")
    async def models(request: Request) -> dict:
        gateway.client(request)
        return gateway.models()

    @app.get("/v1/models/{name:path}")
    async def model(request: Request, name: str) -> dict:
        gateway.client(request)
        if name != gateway.model:
            raise Refused(
                404, f"그런 모델은 없으니 {gateway.model}을(를) 쓰세요.", "model_not_found", "model"
            )
        return gateway.models()["data"][0]

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return await gateway.answer(request, True)

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        return await gateway.answer(request, False)

    app.add_middleware(Requests)
    return app


def serve(gateway: Gateway, host: str, port: int) -> None:
    """Serve until Ctrl+C or SIGTERM; the log goes to stderr.

    Raises:
        StudyError: if the address cannot be used, or an engine cannot start.
    """
    if not log.handlers:
        log.addHandler(logging.StreamHandler())
        log.setLevel(logging.INFO)
        log.propagate = False
    serving.serve(lambda: create_app(gateway), host, port, gateway, CONNECTIONS)


async def _whole(deltas: AsyncIterator[Delta], form: Completion) -> JSONResponse:
    async with aclosing(deltas):
        parts = [delta async for delta in deltas]
    tokens = tuple(token for part in parts for token in part.tokens)
    return JSONResponse(form.object("".join(part.text for part in parts), tokens, parts[-1].finish))


def _event(content: dict) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def _line(scope: Scope, record: Record, status: int) -> dict:
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "id": record.id,
        "client": record.client,
        "request": f"{scope['method']} {scope['path']}",
        "status": status,
        "prompt_tokens": record.prompt_tokens,
        "tokens": record.tokens,
        "finish": record.finish,
        "first_token_seconds": None if record.first is None else round(record.first, 4),
        "seconds": round(time.monotonic() - record.start, 4),
    }
