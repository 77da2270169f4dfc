"""What every server of the course shares: limits on bodies, time and connections, refusals in Korean, a calm end.

uvicorn, FastAPI and h11 do the work. What they lack is here: a time limit on the head of a request, a limit on
connections that holds, answers that arrive although the client is still sending, and no foreign site's requests.
"""

import asyncio
import base64
import contextlib
import errno
import ipaddress
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import h11
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from tf_study.errors import StudyError

# Descriptors are the scarce thing: macOS gives a process 256. A connection has one, a running request another
# (its upload), and connections above the limit live for some turns of the event loop, each of which accepts more.
CONNECTIONS = 50
ACCEPTED = 16  # in one turn
WAITING = 128  # to be accepted
HEAD_SECONDS = 10  # for the head of a request to arrive, and for the client to take the last answer
BODY_SECONDS = 60  # for the body
DRAIN_SECONDS = 3  # in which a refused client may finish sending and read the refusal
STALL_SECONDS = 30  # for a client to take something of an answer that is more than the system holds for it
HEAD_BYTES = 16 * 2**10

_SHELL = Path(__file__).with_name("page.html")

SENTENCES = {
    400: f"HTTP 요청이 깨졌거나 헤더가 {HEAD_BYTES // 2**10}kB를 넘으니 고쳐서 다시 보내세요.",
    403: "다른 사이트나 모르는 주소를 거친 요청은 받지 않으니 서버가 알린 주소로 직접 보내세요.",
    404: "그런 주소는 없으니 주소를 확인하세요.",
    405: "그 주소에 쓸 수 없는 방식이니 GET과 POST 가운데 맞는 것을 쓰세요.",
    408: "요청이 제시간에 다 오지 않았으니 다시 보내거나 줄여서 보내세요.",
    413: "보낸 것이 한계를 넘으니 줄여서 보내세요.",
    503: "한꺼번에 받을 수 있는 것보다 요청이 많으니 잠시 뒤 다시 보내세요.",
}

# A client's broken form is answered with a sentence; it is no news for whoever runs the server.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


def application(max_bytes: int, sentences: Mapping[int, str]) -> FastAPI:
    """Return an application whose refusals are ``{"detail": <a Korean sentence>}`` and whose bodies are bounded.

    A ``StudyError`` of a handler is answered with status 422 and its sentence.

    Args:
        max_bytes: of a request's body, however it is announced.
        sentences: by status, where the server can say more than :data:`SENTENCES`.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)  # FastAPI's own pages load from elsewhere.
    app.add_middleware(_BoundedBody, max_bytes=max_bytes)
    spoken = SENTENCES | dict(sentences)

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: HTTPException) -> JSONResponse:
        return _refusal(error.status_code, spoken.get(error.status_code, error.detail), error.headers)

    @app.exception_handler(ClientDisconnect)
    async def part(request: Request, error: ClientDisconnect) -> JSONResponse:
        return _refusal(400, spoken[400])

    @app.exception_handler(StudyError)
    async def explain(request: Request, error: StudyError) -> JSONResponse:
        return _refusal(422, str(error))

    return app


class Life(Protocol):
    """What an application does before its first request and after the signal to end."""

    async def start(self) -> None:
        """Prepare; connections are accepted afterwards."""

    async def drain(self) -> None:
        """Finish what is under way; meanwhile connections are still accepted, so that refusals can be sent."""


def page(path: Path, facts: Mapping[str, object], images: str = "data:") -> HTMLResponse:
    """Return a page that may load nothing but itself and this server's answers.

    Args:
        path: its own style, body and script, for which the style and functions of ``page.html`` are there.
        facts: what its script finds under the same name; may be sent as JSON.
        images: where its pictures may come from.
    """
    told = json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c")  # No end of the script element.
    content = _read(_SHELL).replace("FACTS", told) + _read(path)
    policy = f"default-src 'none'; img-src {images}; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    policy += "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return HTMLResponse(content, headers={"Content-Security-Policy": policy})


@cache
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def data_uri(kind: str, content: bytes) -> str:
    """Return a picture's file, ``kind`` "png" or "gif", as a data URI."""
    return f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")


def serve(
    create_app: Callable[[], ASGIApp],
    host: str,
    port: int,
    life: Life | None = None,
    connections: int = CONNECTIONS,
) -> None:
    """Serve an application until Ctrl+C or SIGTERM; requests under way are answered first.

    Bound to this computer alone, it answers no request for another host's name, which a foreign page could have
    made point here. Requests that change or compute something are refused if a page of another origin makes them.

    Args:
        create_app: called once the address is known to be free.
        host: the address to bind.
        port: 0 for any.
        life: what goes before and after.
        connections: at a time; each takes one of the process's descriptors.

    Raises:
        StudyError: if the address cannot be used, of ``create_app``, or of ``life.start``.
    """
    with _listen(host, port) as listener:
        bound, number = listener.getsockname()[:2]
        app = _Guard(create_app(), ipaddress.ip_address(bound).is_loopback, connections)
        address = f"[{host}]" if ":" in host else host
        config = uvicorn.Config(
            app,
            http=type("_Limited", (_Protocol,), {"limit": connections}),
            ws="none",
            lifespan="off",  # ``life`` is told of errors and signals, too.
            loop="asyncio",
            backlog=ACCEPTED,
            h11_max_incomplete_event_size=HEAD_BYTES,
            log_config=None,  # uvicorn's would close the handlers of others, and absl's closes its stream with it.
            log_level="error",
            access_log=False,
        )
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl+C is the way to end it and no interruption.
            sentence = f"브라우저에서 {address}:{number}을 여세요. 끝내려면 Ctrl+C를 누르세요."
            _Server(config, life, partial(print, sentence, flush=True)).run(sockets=[listener])


async def unless_gone(request: Request, work: Coroutine):
    """Return what ``work`` returns, unless the client goes away first: then it is cancelled.

    Starlette cancels nothing by itself while an answer has not begun. The request's body has to be read before.

    Raises:
        ClientDisconnect: if the client is gone.
    """
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(_leave(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _leave(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _BoundedBody:
    """Ends the reading of a body that is too large or too slow with ``HTTPException`` 413 or 408."""

    def __init__(self, app: ASGIApp, max_bytes: int):
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        announced = Headers(scope=scope).get("content-length", "")
        size = int(announced[:20]) if announced.isdecimal() else 0
        more, received, end = True, 0, asyncio.get_running_loop().time() + BODY_SECONDS

        async def bounded() -> Message:
            nonlocal more, received
            if not more:
                return await receive()
            if size > self.max_bytes:
                raise HTTPException(413)
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408) from None
            more = message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > self.max_bytes:  # What was announced may be missing or wrong.
                raise HTTPException(413)
            return message

        await self.app(scope, bounded, send)


class _Guard:
    """Refuses foreign hosts (if ``local``), other origins' requests, and more requests than there is room for."""

    def __init__(self, app: ASGIApp, local: bool, limit: int = CONNECTIONS):
        self.app, self.local, self.limit, self.running = app, local, limit, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        if (self.local and not _is_loopback(headers)) or (
            scope["method"] not in ("GET", "HEAD", "OPTIONS") and _is_foreign(headers)
        ):
            return await _refusal(403)(scope, receive, send)
        if self.running >= self.limit:  # Clients that left may have requests under way.
            return await _refusal(503)(scope, receive, send)
        self.running += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.running -= 1


class _Protocol(H11Protocol):
    """uvicorn's HTTP/1.1 with limits on connections and on the time that a request's head takes.

    ``timer`` ends the connection if no request has come whole, or the last answer was not taken, by then; ``stall``,
    if the client takes nothing of an answer that goes on.
    """

    limit = CONNECTIONS
    timer: asyncio.TimerHandle | None = None
    stall: asyncio.TimerHandle | None = None
    refused = False

    @property
    def idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        # asyncio does so only where the listener names its protocol. A body is written after its head and would wait
        # for the client's system to confirm that, 40 ms on Linux.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._expect_request()
        if len(self.connections) > self.limit:  # The one that has waited longest for its request makes room.
            others = [other for other in self.connections if other is not self and other.idle]
            if others:
                oldest = min(others, key=lambda other: other.timer.when())
                self.connections.discard(oldest)
                oldest.transport.abort()
            else:
                self._refuse(503)

    def on_response_complete(self) -> None:
        self._expect_request()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.stall = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self.stall.cancel()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.timer.cancel()
        if self.stall:
            self.stall.cancel()
        sending = self.refused or self.conn.their_state is h11.SEND_BODY
        super().connection_lost(exc)
        if exc is None and sending and len(self.tasks) < self.limit // 2:
            task = self.loop.create_task(_drain(self.transport.get_extra_info("socket").dup()))
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

    def _expect_request(self) -> None:
        if self.timer:
            self.timer.cancel()
        self.timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if self.idle and self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
            self._refuse(408)
        elif self.idle:
            self.transport.abort()

    def _refuse(self, status: int) -> None:
        self.refused = True
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # An answer has been given already.
            self.transport.abort()
            return
        if self.cycle:
            self.cycle.disconnected = True  # What the application says now is not sent.
        answer = _refusal(status)
        head = h11.Response(status_code=status, headers=[*answer.raw_headers, (b"connection", b"close")])
        events = (head, h11.Data(data=answer.body), h11.EndOfMessage())
        self.transport.write(b"".join(self.conn.send(event) for event in events))
        self.transport.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, life: Life | None, ready: Callable[[], None]):
        super().__init__(config)
        self.life, self.ready = life, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self.life:
            await self._unless(lambda: self.should_exit, self.life.start())
            if self.should_exit:
                return
        await super().startup(sockets)
        for listener in sockets:
            listener.listen(WAITING)  # asyncio lets no more wait than it accepts in one turn.
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if under_way := sum(not connection.idle for connection in self.server_state.connections):
            print(
                f"받은 요청 {under_way}개를 마치고 끝냅니다. 바로 끝내려면 Ctrl+C를 누르세요.",
                flush=True,
            )
        if self.life:
            await self._unless(lambda: self.force_exit, self.life.drain())
        await super().shutdown(sockets)

    async def _unless(self, asked: Callable[[], bool], work: Awaitable[None]) -> None:
        """Wait for work to end, or for the signal that ``asked`` tells of."""
        task = asyncio.ensure_future(work)
        while not (task.done() or asked()):
            await asyncio.wait({task}, timeout=0.1)
        if task.done():
            task.result()
        else:
            task.cancel()


async def _drain(connection: socket.socket) -> None:
    """Read for a while what a refused client still sends; unread, it would reset the connection and the refusal."""
    with connection, contextlib.suppress(OSError):  # TimeoutError is one; the client may also be gone.
        async with asyncio.timeout(DRAIN_SECONDS):
            connection.shutdown(socket.SHUT_WR)
            while await asyncio.get_running_loop().sock_recv(connection, 2**16):
                pass


def _refusal(
    status: int, sentence: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    return JSONResponse({"detail": sentence or SENTENCES[status]}, status, headers)


def _is_loopback(headers: Headers) -> bool:
    try:
        name = urlsplit("//" + headers.get("host", "")).hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:  # neither a name nor an address of this computer
        return False


def _is_foreign(headers: Headers) -> bool:
    """Whether a page of another origin makes the request. Browsers tell; other programs send neither header."""
    origin = headers.get("origin")
    return headers.get("sec-fetch-site", "none") not in ("same-origin", "none") or (
        origin is not None and origin.partition("://")[2] != headers.get("host")
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StudyError(
                f"포트 {port}을(를) 다른 프로그램이 쓰고 있으니 --port로 다른 번호를 주세요."
            ) from None
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error
        raise StudyError(
            f"{host}의 포트 {port}을(를) 열 수 없으니 --host와 --port를 바꾸세요 ({reason})."
        ) from None
