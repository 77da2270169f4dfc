"""The server: events as they happen, refusals, the queue, clients that leave; and the program with its page."""

import base64
import io
import json
import re
import signal
import socket
import threading
import time

import httpx
import numpy as np
import pytest
from PIL import Image

from diffusion_image_gen import serving
from diffusion_image_gen.__main__ import main
from diffusion_image_gen.settings import Wish
from forked import HOW, served
from project_servers import ask, check_full_queue, check_leaving, events
from tf_study import pictures as files

ASKED = {"class": "나", "seed": 5, "sampler": "ddim", "steps": 4, "guidance": 2}


@pytest.fixture
def app(painter):
    return serving.create_app(painter)


def test_events_are_the_steps_of_sample(app, painter):
    (reply,) = ask(app, json.dumps(ASKED))
    assert reply.status_code == 200 and reply.headers["content-type"].startswith("text/event-stream")
    first, *steps = events(reply.text)
    assert first == {"waiting": 0} and [(news["step"], news["steps"]) for news in steps] == [
        (k, 4) for k in (1, 2, 3, 4)
    ]
    for news, drawn in zip(steps, painter.stream([1], [5], Wish("ddim", 4, 2.0)), strict=True):
        head, content = news["picture"].split(",")
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            shown = np.asarray(image)[::35, ::35]
        np.testing.assert_array_equal(shown, files.to_bytes(np.clip(drawn[0, ..., 0], -1, 1)))


def test_long_drawings_send_few_pictures(app):
    steps = [news["step"] for news in events(ask(app, json.dumps(ASKED | {"steps": 101}))[0].text)[1:]]
    assert len(steps) <= serving.EVENTS and steps == sorted(steps) and steps[-1] == 101


def test_refusals(app):
    wrong = {
        "그런": {"class": "라"}, "시드": {"seed": -1}, "샘플러": {"sampler": "x"}, "스텝": {"steps": 1001},
        "가이던스": {"guidance": 21}, "JSON": {"seed": "5"}, "JSON ": {"steps": True},
    }  # fmt: skip
    bodies = [json.dumps(ASKED | change) for change in wrong.values()]
    bodies += ["", "[]", "{", "[" * 4000, '{"class": "나"}', json.dumps(ASKED).replace("2}", "NaN}")]
    for reply in ask(app, *bodies):
        detail = reply.json()["detail"]
        assert reply.status_code == 422 and re.search("[가-힣].*[.]$", detail) and "\n" not in detail
    assert ask(app, b" " * 5000)[0].status_code == 413
    assert len(ask(app, json.dumps(ASKED))[0].text) > 100  # It still draws.


class Slow:
    """Stands in for a Painter: every step waits until it is let go."""

    def __init__(self, painter):
        self.classes, self.label = painter.classes, painter.label
        self.go, self.steps, self.started = threading.Semaphore(0), 0, []

    def stream(self, labels, seeds, wish):
        self.started.append(seeds[0])
        for _ in range(wish.steps):
            assert self.go.acquire(timeout=30)
            self.steps += 1
            yield np.zeros((1, 8, 8, 1), np.float32)


def test_a_full_queue_refuses_and_health_answers(painter):
    slow = Slow(painter)
    check_full_queue(serving.create_app(slow), slow, ASKED)


def test_who_leaves_takes_the_drawing_along(painter):
    slow = Slow(painter)
    check_leaving(serving.create_app(slow), slow, ASKED, steps=1000, seconds=30)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The port of the command ``serve`` with the course's model, which ends on Ctrl+C."""
    how = HOW | {"end": signal.SIGINT, "status": 0}
    with served(tmp_path_factory.mktemp("말"), "diffusion_image_gen", **how) as port:
        yield port


def test_a_client_that_hangs_up(server):
    """The drawing of a connection that is closed ends long before its last step."""
    asked = {"class": "3", "seed": 1, "sampler": "ddpm", "steps": 1000, "guidance": 2}
    with httpx.stream("POST", f"http://127.0.0.1:{server}/draw", json=asked, timeout=60) as reply:
        for line in reply.iter_lines():
            if '"step": 20' in line:
                break
    for _ in range(100):
        if httpx.get(f"http://127.0.0.1:{server}/health", timeout=30).json()["drawing"] == 0:
            return
        time.sleep(0.1)
    pytest.fail("The drawing goes on.")


def test_other_sites_are_refused(server):
    reply = httpx.post(
        f"http://127.0.0.1:{server}/draw", json=ASKED, headers={"Origin": "http://evil.example"}
    )
    assert reply.status_code == 403 and reply.json()["detail"].endswith("직접 보내세요.")


def test_page_in_a_browser(server, page):
    from playwright.sync_api import expect

    address = f"http://127.0.0.1:{server}"
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append((message.type, message.text)))
    page.goto(address)
    expect(page.locator("#class option")).to_have_count(10)
    page.locator("#steps").fill("8")
    page.select_option("#class", "7")  # A change draws.
    expect(page.locator("#status")).to_have_text("8/8 스텝", timeout=60_000)
    expect(page.locator("#strip img")).to_have_count(8)
    first = page.locator("#picture").get_attribute("src")
    page.locator("#draw").click()
    expect(page.locator("#strip img")).to_have_count(8, timeout=60_000)
    expect(page.locator("#status")).to_have_text("8/8 스텝")
    assert page.locator("#picture").get_attribute("src") == first  # one seed, one picture
    page.select_option("#sampler", "ddpm")
    expect(page.locator("#steps-value")).to_have_text("1000")
    page.locator("#draw").click()
    expect(page.locator("#status")).to_contain_text("/1000 스텝", timeout=60_000)
    page.locator("#stop").click()
    expect(page.locator("#status")).to_have_text("멈췄습니다")
    expect(page.locator("#stop")).to_be_disabled()
    expect(page.locator("#error")).to_be_hidden()
    assert complaints == [] and all(url.startswith((address, "data:")) for url in asked)


def test_port_in_use(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 1
    out, err = capsys.readouterr()
    assert (
        out == "" and err == f"포트 {port}을(를) 다른 프로그램이 쓰고 있으니 --port로 다른 번호를 주세요.\n"
    )


def test_model_that_is_not_there(tmp_path, capsys):
    assert main(["serve", str(tmp_path / "없음"), "--port", "0"]) == 1
    assert "모델 폴더" in capsys.readouterr().err
