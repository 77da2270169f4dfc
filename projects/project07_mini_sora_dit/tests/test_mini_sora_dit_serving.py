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

from forked import HOW, served
from mini_sora_dit import serving
from mini_sora_dit.__main__ import main
from mini_sora_dit.sampling import Moment
from mini_sora_dit.settings import Wish
from project_servers import ask, check_full_queue, check_leaving, events
from tf_study import pictures as files

ASKED = {"class": "나", "direction": "왼쪽 아래", "frames": 9, "seed": 5, "steps": 4, "guidance": 2}


def image(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


@pytest.fixture
def app(animator):
    return serving.create_app(animator)


def test_events_are_the_steps_of_sample(app, animator):
    (reply,) = ask(app, json.dumps(ASKED | {"frames": 13}))
    assert reply.status_code == 200 and reply.headers["content-type"].startswith("text/event-stream")
    first, *steps = events(reply.text)
    assert first == {"waiting": 0}
    assert [(news["step"], news["steps"]) for news in steps] == [(k, 8) for k in range(1, 9)]
    assert [image(news["strip"]).width // 27 for news in steps] == [9] * 4 + [13] * 4
    assert ["film" in news for news in steps] == [False] * 7 + [True]
    drawn = animator.draw([[1, 2]], [5], Wish("euler", 4, 2.0, 13))
    with image(steps[-1]["film"]) as film:
        for number in range(film.n_frames):
            film.seek(number)
            shown = np.asarray(film.convert("L"))[::28, ::28]
            np.testing.assert_array_equal(shown, files.to_bytes(drawn[0, number, ..., 0]))
        assert film.n_frames == 13


def test_long_drawings_send_few_pictures(app):
    steps = [news["step"] for news in events(ask(app, json.dumps(ASKED | {"steps": 49}))[0].text)[1:]]
    assert len(steps) <= serving.EVENTS and steps == sorted(steps) and steps[-1] == 49


def test_refusals(app):
    wrong = {
        "그런": {"class": "라"}, "방향": {"direction": "위"}, "길이": {"frames": 66}, "시드": {"seed": -1},
        "스텝": {"steps": 201}, "가이던스": {"guidance": 21}, "JSON": {"seed": "5"}, "참": {"steps": True},
    }  # fmt: skip
    bodies = [json.dumps(ASKED | change) for change in wrong.values()]
    bodies += ["", "[]", "{", "[" * 4000, '{"class": "나"}', json.dumps(ASKED).replace("2}", "NaN}")]
    for reply in ask(app, *bodies):
        detail = reply.json()["detail"]
        assert reply.status_code == 422 and re.search("[가-힣].*[.]$", detail) and "\n" not in detail
    assert ask(app, b" " * 5000)[0].status_code == 413
    assert "film" in ask(app, json.dumps(ASKED))[0].text  # It still draws.


def test_no_request_breaks_the_server(app):
    """Damaged and random requests are refused with a sentence; none is answered with 5xx."""
    rng = np.random.default_rng(0)
    whole = json.dumps(ASKED | {"steps": 1}).encode()
    values = [None, True, -1, 0, 1e308, 2**70, "", "가" * 500, [], {}, [[]], "\u0000", 0.5, "NaN"]
    bodies = []
    for _ in range(150):
        broken = bytearray(whole)
        for place in rng.integers(0, len(broken), rng.integers(1, 4)):
            broken[place] = rng.integers(256)
        bodies.append(bytes(broken[: rng.integers(1, len(broken) + 1)]))
        name = rng.choice(list(ASKED))
        bodies.append(json.dumps(ASKED | {"steps": 1} | {name: values[rng.integers(len(values))]}).encode())
    statuses = {}
    for body, reply in zip(bodies, ask(app, *bodies), strict=True):
        statuses[reply.status_code] = statuses.get(reply.status_code, 0) + 1
        assert reply.status_code in (200, 413, 422), body
        assert "film" in reply.text if reply.status_code == 200 else reply.json()["detail"].endswith("."), (
            body
        )
    assert statuses[422] > 200


class Slow:
    """Stands in for an Animator: every step waits until it is let go."""

    def __init__(self, animator):
        for name in ("classes", "directions", "frames", "label"):
            setattr(self, name, getattr(animator, name))
        self.go, self.steps, self.started = threading.Semaphore(0), 0, []

    def stream(self, labels, seeds, wish):
        self.started.append(seeds[0])
        for step in range(wish.steps):
            assert self.go.acquire(timeout=60)
            self.steps += 1
            yield Moment(step + 1, wish.steps, np.zeros((1, 0, 8, 8, 1), np.float32), None, 0)

    def show(self, moment):
        return np.zeros((1, 9, 8, 8, 1), np.float32)


def test_a_full_queue_refuses_and_health_answers(animator):
    slow = Slow(animator)
    check_full_queue(serving.create_app(slow), slow, ASKED)


def test_who_leaves_takes_the_drawing_along(animator):
    slow = Slow(animator)
    check_leaving(serving.create_app(slow), slow, ASKED, steps=200, seconds=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The port of the command ``serve`` with the course's model, which ends on Ctrl+C."""
    how = HOW | {"end": signal.SIGINT, "status": 0}
    with served(tmp_path_factory.mktemp("말"), "mini_sora_dit", **how) as port:
        yield port


def test_a_client_that_hangs_up(server):
    """The drawing of a connection that is closed ends long before its last step."""
    asked = {"class": "3", "direction": "왼쪽 위", "frames": 65, "seed": 1, "steps": 60, "guidance": 2}
    with httpx.stream("POST", f"http://127.0.0.1:{server}/draw", json=asked, timeout=120) as reply:
        for line in reply.iter_lines():
            if '"step"' in line:
                break
    for _ in range(100):  # Of the 900 steps a quarter of a minute is left.
        if httpx.get(f"http://127.0.0.1:{server}/health", timeout=60).json()["drawing"] == 0:
            return
        time.sleep(0.1)
    pytest.fail("The drawing goes on.")


def test_other_sites_are_refused(server):
    reply = httpx.post(
        f"http://127.0.0.1:{server}/draw", json=ASKED, headers={"Origin": "http://evil.example"}, timeout=60
    )
    assert reply.status_code == 403 and reply.json()["detail"].endswith("직접 보내세요.")


def test_page_in_a_browser(server, page):
    from playwright.sync_api import expect

    page.set_default_timeout(120_000)
    expect.set_options(timeout=120_000)
    address = f"http://127.0.0.1:{server}"
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append((message.type, message.text)))
    page.goto(address)
    expect(page.locator("#class option")).to_have_count(10)
    expect(page.locator("#direction option")).to_have_count(4)
    page.locator("#steps").fill("3")
    page.locator("#frames").fill("13")
    expect(page.locator("#frames-value")).to_have_text("13")
    page.select_option("#class", "7")  # A change draws.
    expect(page.locator("#status")).to_have_text("6/6 스텝")
    first = page.locator("#film").get_attribute("src")
    assert first.startswith("data:image/gif") and page.locator("#strip").is_visible()
    page.locator("#draw").click()
    expect(page.locator("#stop")).to_be_enabled()
    expect(page.locator("#stop")).to_be_disabled()
    assert page.locator("#film").get_attribute("src") == first  # one seed, one clip
    page.locator("#steps").fill("60")
    page.locator("#frames").fill("65")
    page.locator("#draw").click()
    expect(page.locator("#status")).to_contain_text("/900 스텝")
    page.locator("#stop").click()
    expect(page.locator("#status")).to_have_text("멈췄습니다")
    expect(page.locator("#stop")).to_be_disabled()
    expect(page.locator("#error")).to_be_hidden()
    assert complaints == [] and all(url.startswith((address, "data:")) for url in asked)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


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
