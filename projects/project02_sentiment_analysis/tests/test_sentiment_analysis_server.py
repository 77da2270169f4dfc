"""The program with stand-ins for the models: signals and killed processes under load, lies about lengths, the page."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest
import sentiment_analysis_standin as standin
from sentiment_analysis_apart import models

PROJECT = Path(__file__).resolve().parents[1]


class Server:
    """The stand-in program; its log goes to a file."""

    def __init__(self, folder, delay, *options):
        self.log = folder / "기록.log"
        command = [sys.executable, standin.__file__, str(delay), "--port", "0", *options]
        paths = [str(PROJECT), os.environ.get("PYTHONPATH", "")]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=log, text=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            )  # fmt: skip
        line = self.process.stdout.readline()
        assert "브라우저에서 127.0.0.1:" in line, self.log.read_text()
        self.port = int(re.search(r":(\d+)", line)[1])
        self.address = f"http://127.0.0.1:{self.port}"
        self.until_ready()

    def until_ready(self):
        end = time.monotonic() + 60
        while httpx.get(f"{self.address}/ready", timeout=30).status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.05)

    def ask(self, text, path="/predict"):
        return httpx.post(f"{self.address}{path}", json={"text": text}, timeout=60)

    def models(self):
        return models(self.process.pid)

    def children(self):
        """All processes that it has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def end(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("서버"), 0.01)
    yield made
    made.end()


def load(server, clients, seconds, during):
    """Let clients ask one request after the other while ``during`` happens; return all answers."""
    answers, end = [], time.monotonic() + seconds

    def work(number):
        with httpx.Client(base_url=server.address, timeout=60) as client:
            asked = 0
            while asked < 2 or time.monotonic() < end:
                asked += 1
                text = ("느린 좋다", "느린 나쁘다")[(number + asked) % 2]
                reply = client.post("/predict", json={"text": text})
                answers.append((reply.status_code, reply.json().get("label") == int("좋다" in text)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    during()
    for thread in threads:
        thread.join()
    return answers


def test_killed_workers_lose_no_request(server):
    """``kill -9`` of a model's process, again and again, while it is asked."""

    def kill():
        for _ in range(3):
            time.sleep(0.3)
            killed = {model.pid for model in server.models()}
            assert len(killed) == 2
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
            end = time.monotonic() + 30
            while len({model.pid for model in server.models()} - killed) < 2:
                assert time.monotonic() < end
                time.sleep(0.05)

    answers = load(server, 8, 1.5, kill)
    assert set(answers) == {(200, True)}, answers
    server.until_ready()
    metrics = httpx.get(f"{server.address}/metrics").text
    assert float(re.search(r"(?m)^sentiment_worker_deaths_total (\S+)", metrics)[1]) >= 4
    assert sum("event" in line for line in server.lines()) >= 4


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Length: 1000000000000", b"{"),
        (b"Content-Length: 5", b'{"text": "1"}'),
        (b"Content-Length: 1, 2", b"{}"),
        (b"Content-Length: -1", b"{}"),
        (b"X: y", b""),
        (b"Transfer-Encoding: chunked", b"zz\r\n"),
    ],
)
def test_lengths_that_lie(server, headers, body):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n\r\n" + body)
        assert re.match(rb"HTTP/1.1 4\d\d ", raw.recv(100))


def test_a_body_that_never_ends(server):
    chunk, sent = b"10000\r\n" + bytes(2**16) + b"\r\n", 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not select.select([raw], [], [], 0)[0] and sent < 1000:
            raw.sendall(chunk)
            sent += 1
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ") and 16 < sent < 200


def test_other_sites_are_refused(server):
    for headers in (
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        reply = httpx.post(f"{server.address}/predict", json={"text": "좋다"}, headers=headers)
        assert reply.status_code == 403


def test_page_in_a_browser(server, page):
    from playwright.sync_api import expect

    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append((message.type, message.text)))
    page.goto(server.address)
    expect(page.locator("#model")).to_have_text("standin")
    page.locator("#text").fill("😀 좋은 영화\n그런데 나쁘다 나")
    page.locator("#text").press("Enter")
    expect(page.locator("#answer")).to_contain_text("%", timeout=60_000)
    spans = page.locator("#words span")
    assert spans.all_text_contents() == ["😀", "좋은", "영화", "그런데", "나쁘다", "나"]
    assert page.locator("#words").text_content() == "😀 좋은 영화\n그런데 나쁘다 나"
    expect(spans.nth(1)).to_have_class("good")
    expect(spans.nth(4)).to_have_class("bad")
    expect(spans.nth(5)).to_have_class("unseen")  # The stand-in reads ten syllables.
    colours = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        look = (
            "place => { const style = getComputedStyle(place); return [style.backgroundColor, style.color]; }"
        )
        colours[scheme] = [spans.nth(place).evaluate(look) for place in (1, 4)]
        (good, text), (bad, _) = colours[scheme]
        assert good != bad and text not in (good, bad)
        page.screenshot(path=server.log.with_name(f"{scheme}.png"), full_page=True)
    assert colours["light"] != colours["dark"]
    page.locator("summary").click()
    expect(page.locator("#rows tr").first).to_contain_text("W_EMOJI")
    page.locator("#text").fill("가" * 2001)
    page.locator("#send").click()
    expect(page.locator("#error")).to_contain_text("2,000자까지로 줄여서 보내세요.")
    expect(page.locator("#result")).to_be_hidden()
    expect(page.locator("#text")).to_have_value("가" * 2001)
    assert {kind for kind, _ in complaints} <= {"error"}  # The refusal is told as one.
    assert all(url.startswith((server.address, "data:")) for url in asked)


def test_sigterm_loses_no_request(tmp_path):
    """Requests under way, in the batch and in the line, are answered; later ones are refused. No process is left."""
    server = Server(tmp_path, 0.7, "--max-batch", "1", "--max-wait", "0")
    children, replies = server.children(), []
    assert len(server.models()) == 2

    def ask():
        replies.append(server.ask("느린 좋다 비밀"))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    assert not replies  # They are under way.
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    late = server.ask("좋다")
    assert late.status_code == 503 and late.headers["retry-after"] == "5"
    for thread in threads:
        thread.join()
    assert [(reply.status_code, reply.json()["label"]) for reply in replies] == [(200, 1)] * 3
    out, _ = server.process.communicate(timeout=30)
    assert server.process.returncode == -signal.SIGTERM and "마치고 끝냅니다." in out
    assert [line["status"] for line in server.lines()] == [503, 200, 200, 200]
    assert "비밀" not in server.log.read_text()
    assert psutil.wait_procs(children, timeout=10)[1] == []


@pytest.mark.parametrize("how", [(signal.SIGINT,), (signal.SIGINT, signal.SIGINT), (signal.SIGKILL,)])
def test_no_process_outlives_the_server(tmp_path, how):
    """After Ctrl+C, which all processes of a terminal get; after a second one, that gives up what is under way."""
    server = Server(tmp_path, 30.0 if len(how) > 1 else 0.0)
    children = server.children()
    heard = []

    def ask():
        try:
            heard.append(server.ask("느린 좋다").status_code)
        except httpx.HTTPError:
            heard.append("끊김")

    asked = threading.Thread(target=ask)
    if len(how) > 1:
        asked.start()
    for number in how:
        time.sleep(0.3 if len(how) > 1 else 0)  # What is asked is under way, and the first signal heard.
        for process in (server.process, *(children if number == signal.SIGINT else ())):
            process.send_signal(number)
    server.process.communicate(timeout=20)
    assert psutil.wait_procs(children, timeout=20)[1] == []
    if len(how) > 1:
        asked.join(20)
        assert heard and heard[0] != 200
    assert server.process.returncode == (0 if signal.SIGINT in how else -signal.SIGKILL)
