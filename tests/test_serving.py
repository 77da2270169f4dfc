"""``tf_study.serving`` as a program, 256 descriptors and short limits, against clients that mean no good."""

import contextlib
import http.client
import io
import json
import logging
import re
import resource
import signal
import socket
import subprocess
import sys
import time

import pytest

from tf_study import serving

SERVER = """
import asyncio, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from tf_study import serving
serving.HEAD_SECONDS, serving.BODY_SECONDS, serving.DRAIN_SECONDS, serving.STALL_SECONDS = 0.5, 2, 1, 0.5

def create():
    app = serving.application(4 * 2**20, {404: "없습니다."})

    @app.get("/health")
    async def health():
        return "ok"

    @app.get("/large")
    async def large():
        return Response(bytes(2**25))

    ended = []

    @app.get("/endless")
    async def endless():
        async def parts():
            try:
                while True:
                    yield bytes(2**16)
                    await asyncio.sleep(0)
            finally:
                ended.append(1)
        return StreamingResponse(parts())

    @app.get("/ended")
    async def count():
        return len(ended)

    @app.post("/slow")
    async def slow(request: Request):
        await asyncio.sleep(0.6)

    @app.post("/body")
    async def body(request: Request):
        return (await request.body()).decode()

    @app.post("/form")
    async def form(request: Request):
        async with request.form(max_files=1, max_fields=8) as form:
            return list(form)

    return app

serving.serve(create, "127.0.0.1", 0)
"""
# One with a life: it starts before it says its address, and ends only once somebody has asked for /end.
LIVING = """
import asyncio
from fastapi import HTTPException
from tf_study import serving
from tf_study.errors import StudyError

class Life:
    draining, end = False, asyncio.Event()

    async def start(self):
        if {fails}:
            raise StudyError("준비하지 못했습니다.")
        print("시작", flush=True)
        await asyncio.sleep({seconds})
        print("준비", flush=True)

    async def drain(self):
        self.draining = True
        print("정리", flush=True)
        await self.end.wait()
        print("끝", flush=True)

life = Life()

def create():
    app = serving.application(1000, {{}})

    @app.get("/state")
    async def state():
        if life.draining:
            raise HTTPException(503)
        return "ok"

    @app.get("/end")
    async def end():
        life.end.set()
        return "end"

    return app

serving.serve(create, "127.0.0.1", 0, life, 5)
"""
OPENING = b'--b\r\nContent-Disposition: form-data; name="file"'
FORM = "Content-Type: multipart/form-data; boundary=b"


@pytest.fixture(scope="module", autouse=True)
def descriptors():
    """Room for this process's own ends of the connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = soft if soft == resource.RLIM_INFINITY else max(soft, 1024)
    resource.setrlimit(resource.RLIMIT_NOFILE, (room, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def running(end=signal.SIGTERM, said=""):
    """Yield the port of a server; afterwards it must end at the signal and have written nothing but ``said``."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        assert "브라우저에서 127.0.0.1:" in line, process.communicate()
        yield int(re.search(r":(\d+)", line).group(1)), process
    finally:
        if process.poll() is None:
            process.send_signal(end)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (-end if end == signal.SIGTERM else 0, "") and re.fullmatch(said, out)


@pytest.fixture(scope="module")
def port():
    with running() as (port, _):
        yield port


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def head(line, *headers):
    return "\r\n".join((f"{line} HTTP/1.1", "Host: localhost", *headers, "", "")).encode()


def answer(connection):
    """Return status and sentence of the reply on a connection."""
    with http.client.HTTPResponse(connection) as reply:
        reply.begin()
        content = json.loads(reply.read())
    return reply.status, content["detail"] if isinstance(content, dict) else content


def ask(port, line="GET /health", *headers, body=b""):
    with connect(port) as connection:
        connection.sendall(head(line, *headers, f"Content-Length: {len(body)}", "Connection: close") + body)
        return answer(connection)


@pytest.mark.parametrize("sent", [b"", head("GET /health")[:-2]], ids=["silent", "half a head"])
def test_many_connections_that_ask_for_nothing(port, sent):
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            connection = stack.enter_context(connect(port))
            with contextlib.suppress(OSError):  # It may be closed already to make room.
                connection.sendall(sent)
        start = time.monotonic()
        assert ask(port) == (200, "ok")
        assert time.monotonic() - start < 5
    assert ask(port) == (200, "ok")


@pytest.mark.parametrize("before", [0, 8], ids=["first request", "after others"])
def test_head_that_drips(port, before):
    with connect(port) as connection:
        for _ in range(before):  # for longer than a head may take
            connection.sendall(head("GET /health"))
            assert answer(connection) == (200, "ok")
            time.sleep(0.1)
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        start = time.monotonic()
        connection.settimeout(0.1)
        got = b""
        while not got and time.monotonic() - start < 10:
            connection.sendall(b"X: y\r\n")
            with contextlib.suppress(TimeoutError):
                got = connection.recv(1000)
        assert got.startswith(b"HTTP/1.1 408 ") and serving.SENTENCES[408].encode() in got
        assert 0.25 < time.monotonic() - start < 5


def test_connection_without_a_request_is_closed(port):
    with connect(port) as connection:
        start = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) == b""
        assert 0.25 < time.monotonic() - start < 5


def test_body_that_stalls(port):
    with connect(port) as connection:
        connection.sendall(head("POST /form", FORM, "Content-Length: 1000") + OPENING)
        assert answer(connection) == (408, serving.SENTENCES[408])


def test_answer_that_is_not_taken(port):
    with connect(port) as connection:
        connection.sendall(head("GET /large"))
        time.sleep(1)
        got = 0
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(2**20):
                got += len(part)
        assert 0 < got < 2**25


def test_stream_that_is_not_taken(port):
    before = ask(port, "GET /ended")[1]
    with connect(port) as connection:
        connection.sendall(head("GET /endless"))
        end = time.monotonic() + 10
        while ask(port, "GET /ended")[1] == before and time.monotonic() < end:
            time.sleep(0.1)
        assert ask(port, "GET /ended")[1] == before + 1


@pytest.mark.parametrize(
    ("line", "headers", "body", "status"),
    [
        ("POST /form", [FORM], OPENING + b"\r\n\r\n" + b"a" * 2_000_000 + b"\r\n--b--\r\n", 400),
        ("POST /form", [FORM], OPENING + b'; filename="' + b"a" * 1_000_000, 400),
        ("POST /form", [FORM], b"--b\r\nX: " + b"a" * 1_000_000, 400),
        ("POST /form", [FORM], b"--b\r\n" + b"X: a\r\n" * 200_000, 400),
        ("POST /form", [FORM], OPENING + b"\r\n\r\n" + bytes(5 * 2**20), 413),
        ("GET /health", ["X: " + "a" * 600_000], b"", 400),
        ("GET /health", [f"X-{number}: a" for number in range(60_000)], b"", 400),
        ("GET /" + "a" * 600_000, [], b"", 400),
    ],
    ids=["field", "file name", "part header", "part headers", "body", "header", "headers", "path"],
)
def test_too_large_is_said_to_a_client_that_still_sends(port, line, headers, body, status):
    got, sentence = ask(port, line, *headers, body=body)
    assert (got, sentence) == (status, serving.SENTENCES[status])


def test_a_body_does_not_wait_for_the_confirmation_of_its_head(port):
    seconds = []
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for _ in range(21):
        begin = time.perf_counter()
        connection.request("GET", "/health")
        assert connection.getresponse().read() == b'"ok"'
        seconds.append(time.perf_counter() - begin)
    connection.close()
    # Linux confirms after 40 ms at the earliest, once a connection has exchanged a few messages.
    assert sorted(seconds)[10] < 0.035


def test_body_without_a_length(port):
    with connect(port) as connection:
        body = OPENING + b'; filename="a"\r\n\r\n' + bytes(5 * 2**20)
        chunk = b"%x\r\n%s\r\n" % (len(body), body)
        connection.sendall(head("POST /form", FORM, "Transfer-Encoding: chunked") + chunk)
        assert answer(connection) == (413, serving.SENTENCES[413])


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00" + bytes(300) + b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        head("GET / /"),
        head("POST /form", FORM, "Content-Length: -5"),
        head("POST /form", FORM, "Transfer-Encoding: chunked") + b"zz\r\n",
        head("POST /health", "Transfer-Encoding: chunked") + b"zz\r\n",  # whose answer, 405, comes too late
        head("POST /form", FORM, "Transfer-Encoding: chunked", "Expect: 100-continue") + b"zz\r\n",
    ],
)
def test_malformed_requests(port, sent):
    with connect(port) as connection:
        connection.sendall(sent)
        assert answer(connection) == (400, serving.SENTENCES[400])


def test_malformed_rest_after_the_answer(port):
    with connect(port) as connection:
        connection.sendall(head("POST /health", "Transfer-Encoding: chunked"))
        assert answer(connection)[0] == 405
        connection.sendall(b"zz\r\n" * 1000)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) == b""


def test_pipelined_requests(port):
    with connect(port) as connection:
        connection.sendall(head("GET /health") * 2 + head("GET /health", "Connection: close"))
        everything = b"".join(iter(lambda: connection.recv(2**16), b""))
    assert everything.count(b"HTTP/1.1 200 OK") == 3


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("LOCALHOST:80", 200),
        ("[::1]:8000", 200),
        ("127.0.0.1.evil.example", 403),
        ("evil.example:8000", 403),
        ("localhost@evil.example", 403),
        ("192.168.0.1", 403),
        ("[", 403),
        ("", 403),
    ],
)
def test_host(port, host, status):
    with connect(port) as connection:
        connection.sendall(f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert answer(connection)[0] == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 200),
        (["Sec-Fetch-Site: none"], 200),
        (["Origin: http://localhost", "Sec-Fetch-Site: same-origin"], 200),
        (["Sec-Fetch-Site: cross-site"], 403),
        (["Sec-Fetch-Site: same-site"], 403),
        (["Origin: http://evil.example"], 403),
        (["Origin: http://localhost:3000"], 403),
        (["Origin: null"], 403),
        (["Origin: "], 403),
    ],
)
def test_origin(port, headers, status):
    got, sentence = ask(port, "POST /form", FORM, *headers, body=OPENING + b"\r\n\r\na\r\n--b--\r\n")
    assert got == status and sentence == (["file"] if status == 200 else serving.SENTENCES[403])
    assert ask(port, "GET /health", *headers) == (
        200,
        "ok",
    )  # Reading changes nothing and is not shown to others.


def test_another_address_answers_every_host():
    sent = []

    async def app(scope, receive, send):
        sent.append(dict(scope["headers"])[b"host"])

    scope = {"type": "http", "method": "GET", "headers": [(b"host", b"my-computer:8000")]}
    step = serving._Guard(app, local=False)(scope, None, None)
    with pytest.raises(StopIteration):
        step.send(None)
    assert sent == [b"my-computer:8000"]


def start_post(port, stack):
    """Return a connection on which a request is under way and waits for its body of one byte."""
    connection = stack.enter_context(connect(port))
    connection.sendall(head("POST /body", "Content-Length: 1", "Expect: 100-continue"))
    assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    return connection


def finish_posts(connections):
    for connection in connections:
        connection.sendall(b"a")
    assert [answer(connection) for connection in connections] == [(200, "a")] * len(connections)


def test_more_requests_than_there_is_room_for(port):
    with contextlib.ExitStack() as stack:
        busy = [start_post(port, stack) for _ in range(serving.CONNECTIONS)]
        assert ask(port) == (503, serving.SENTENCES[503])
        finish_posts(busy)
    assert ask(port) == (200, "ok")


def test_clients_that_leave(port):
    end = time.monotonic() + 20
    while ask(port)[0] == 200 and time.monotonic() < end:
        for _ in range(20):
            with connect(port) as connection:
                connection.sendall(head("POST /slow"))
    assert ask(port) == (503, serving.SENTENCES[503])
    while ask(port)[0] == 503 and time.monotonic() < end:
        time.sleep(0.1)
    assert ask(port) == (200, "ok")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_accepted_requests_are_finished(end):
    said = "받은 요청 8개를 마치고 끝냅니다. .*\n"
    with contextlib.ExitStack() as stack, running(end, said) as (port, process):
        stack.enter_context(connect(port))  # an idle one
        busy = [start_post(port, stack) for _ in range(8)]
        process.send_signal(end)
        time.sleep(0.3)
        with pytest.raises(ConnectionRefusedError):
            connect(port)
        finish_posts(busy)
        process.wait(10)


def living(seconds=0, fails=False):
    return subprocess.Popen(
        [sys.executable, "-c", LIVING.format(seconds=seconds, fails=fails)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_life_goes_before_and_after():
    """While it drains, requests are still heard, so that they can be refused in its own words."""
    process = living()
    assert [process.stdout.readline() for _ in range(2)] == ["시작\n", "준비\n"]
    port = int(re.search(r":(\d+)", process.stdout.readline()).group(1))
    assert ask(port, "GET /state") == (200, "ok")
    with contextlib.ExitStack() as stack:  # Its limit on connections is its own.
        idle = [stack.enter_context(connect(port)) for _ in range(8)]
        assert ask(port, "GET /state") == (200, "ok")
        assert sum(not closed(connection) for connection in idle) < 5
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "정리\n"
    assert ask(port, "GET /state") == (503, serving.SENTENCES[503])
    assert ask(port, "GET /end") == (200, "end")
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (-signal.SIGTERM, "끝\n", "")


def closed(connection):
    connection.settimeout(0.05)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def test_who_does_not_want_to_wait_for_the_end():
    process = living()
    for line in ("시작", "준비", "브라우저"):
        assert process.stdout.readline().startswith(line)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "정리\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_start_that_is_interrupted_or_fails():
    process = living(seconds=60)
    assert process.stdout.readline() == "시작\n"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (-signal.SIGTERM, "", "")
    out, err = living(fails=True).communicate(timeout=20)
    assert out == "" and err.splitlines()[-1].endswith("준비하지 못했습니다.")


def test_logging_of_others_goes_on(monkeypatch):
    """What a program has set up for its log, absl's handler that closes its stream among it, is left alone."""

    class Absl(logging.StreamHandler):
        def close(self):
            self.stream.close()
            super().close()

    handler = Absl(io.StringIO())
    monkeypatch.setattr(serving._Server, "run", lambda self, sockets: None)
    serving.serve(lambda: serving.application(100, {}), "127.0.0.1", 0)
    assert not handler.stream.closed
