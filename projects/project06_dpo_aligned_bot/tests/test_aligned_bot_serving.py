"""The server: answers bit by bit, filters, refusals, the queue, clients that leave; the program with its page."""

import asyncio
import json
import re
import signal
import socket
import threading

import aligned_bot_apart
import httpx
import pytest
import uvicorn

from aligned_bot import filters
from aligned_bot.filters import Filters, OutputFilter
from forked import served
from project_servers import ask, events, leave
from tf_study import manners
from tf_study.drawing_queue import QUEUE

pytest.importorskip("peft", reason="peft는 make advanced가 설치합니다.")

from aligned_bot import chat, serving  # noqa: E402

SAFE, HARMFUL = manners.Request("지갑", "닦는"), manners.Request("지갑", "훔치는")
QUESTION = " ".join(SAFE.question())
ASKED = {"question": QUESTION, "temperature": 0, "seed": 0}


@pytest.fixture(scope="module")
def before():
    return Filters.of("world", None).before


def answer(app, **changes):
    (reply,) = ask(app, json.dumps(ASKED | changes), path="/chat")
    assert reply.status_code == 200, reply.text
    waiting, *told = events(reply.text)
    assert waiting == {"waiting": 0}
    return told


def test_the_bits_are_the_answer(world):
    told = answer(serving.create_app(world, Filters()))
    assert [news.get("end") for news in told] == [None] * (len(told) - 1) + ["done"]
    text = "".join(news.get("text", "") for news in told)
    assert text == world.answer([QUESTION])[0] == " ".join(SAFE.help())
    assert len(told) == len(SAFE.help()) + 1  # A word each, and the end.


def test_the_filters_end_an_answer(world, before, blocked):
    harmful = " ".join(HARMFUL.question())
    assert manners.harms(world.answer([harmful])[0].split())
    for filter, end in ((Filters(before), "input"), (Filters(behind=OutputFilter.read(blocked)), "output")):
        app = serving.create_app(world, filter)
        assert answer(app, question=harmful) == [{"text": filters.REFUSAL, "end": end}]
        assert answer(app)[-1]["end"] == "done"


def test_an_answer_is_cut_at_the_limit(world):
    told = answer(serving.create_app(world, Filters(), limit=2))
    assert "".join(news.get("text", "") for news in told) == " ".join(SAFE.help()[:2])


def test_refusals(world):
    app = serving.create_app(world, Filters())
    wrong = {
        "빈": {"question": "  "}, "긴": {"question": "지갑 " * 60}, "온도": {"temperature": 3}, "시드": {"seed": -1},
        "글": {"question": 3}, "수": {"seed": 1.5}, "참": {"temperature": True},
    }  # fmt: skip
    bodies = [json.dumps(ASKED | change) for change in wrong.values()]
    bodies += [
        "",
        "[]",
        "[" * 4000,
        "{}",
        json.dumps(ASKED).replace('"temperature": 0', '"temperature": NaN'),
    ]
    for reply in ask(app, *bodies, path="/chat"):
        detail = reply.json()["detail"]
        assert reply.status_code == 422 and re.search("[가-힣].*[.]$", detail) and "\n" not in detail
    assert ask(app, b" " * 20000, path="/chat")[0].status_code == 413
    assert answer(app)


class Slow:
    """Stands in for a bot: every word waits until it is let go."""

    name = "slow"

    def __init__(self):
        self.go, self.started, self.words = threading.Semaphore(0), [], 0

    def prompt(self, question, system):
        return [1]

    def stream(self, question, *, temperature, seed, limit, system):
        self.started.append(seed)
        for _ in range(4):
            assert self.go.acquire(timeout=30)
            self.words += 1
            yield "말 "


def test_a_full_queue_refuses_and_the_others_are_answered_in_turn():
    slow = Slow()
    app = serving.create_app(slow, Filters())

    async def talk():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            asked = [client.post("/chat", json=ASKED | {"seed": seed}) for seed in range(QUEUE)]
            waiting = [asyncio.create_task(one) for one in asked]
            while (await client.get("/health")).json()["answering"] < QUEUE:
                await asyncio.sleep(0.01)
            refused = await client.post("/chat", json=ASKED)
            assert refused.status_code == 429 and refused.headers["retry-after"] == "2"
            assert f"bot_open_requests {QUEUE}.0" in (await client.get("/metrics")).text
            for _ in range(4 * QUEUE):
                slow.go.release()
            replies = await asyncio.gather(*waiting)
            return replies, (await client.get("/metrics")).text

    replies, metrics = asyncio.run(talk())
    assert slow.started == list(range(QUEUE))
    assert all(events(reply.text)[-1] == {"end": "done"} for reply in replies)
    assert (
        f'bot_answers_total{{end="done"}} {QUEUE}.0' in metrics and "bot_first_text_seconds_count" in metrics
    )
    assert QUESTION not in metrics


@pytest.mark.parametrize("behind", [None, OutputFilter(["없는 말"])], ids=["words", "sentences"])
def test_who_leaves_takes_the_answer_along(behind):
    """Also where a filter holds the words back."""
    slow = Slow()
    app = serving.create_app(slow, Filters(behind=behind))

    def body(seed):
        return json.dumps(ASKED | {"seed": seed}).encode()

    async def talk():
        task = asyncio.create_task(leave(app, body(1), lambda told: slow.words == 2, path="/chat"))
        while not slow.started:
            await asyncio.sleep(0.01)
        for _ in range(2):
            slow.go.release()
        await asyncio.wait_for(task, 30)
        slow.go.release()  # The word that was under way.
        task = asyncio.create_task(leave(app, body(2), lambda told: False, path="/chat"))
        for _ in range(4):
            slow.go.release()
        await asyncio.wait_for(task, 30)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return (await client.get("/metrics")).text

    metrics = asyncio.run(talk())
    assert slow.started == [1, 2] and slow.words == 3 + 4
    assert 'bot_answers_total{end="left"} 1.0' in metrics and 'bot_answers_total{end="done"} 1.0' in metrics


def test_the_terminal_says_what_the_page_says(world, before, blocked):
    told = []
    questions = [QUESTION, " ".join(HARMFUL.question()), "지갑 " * 60]
    chat.talk(world, Filters(before, OutputFilter.read(blocked)), questions, tell=told.append)
    lines = "".join(told).splitlines()
    assert lines[:2] == [f"봇: {' '.join(SAFE.help())}", f"봇: {filters.REFUSAL}  [질문 필터]"]
    assert "너무 기니" in lines[2] and len(lines) == 3


@pytest.fixture(scope="module")
def server(world_folder, blocked, tmp_path_factory):
    """The port of the command ``serve`` with the world's bot. uvicorn ends as SIGTERM would have ended it."""
    how = aligned_bot_apart.HOW | {"end": signal.SIGTERM, "status": -signal.SIGTERM}
    asked = [str(world_folder), "--block", str(blocked)]
    with served(tmp_path_factory.mktemp("말"), "aligned_bot", *asked, **how) as port:
        yield port


def test_words_arrive_one_by_one():
    """Over a socket: httpx's transport without a network would hand over all of them at the end."""
    slow = Slow()
    app = serving.create_app(slow, Filters())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}/chat"
            with httpx.stream("POST", address, json=ASKED, timeout=30) as reply:
                lines = filter(None, reply.iter_lines())
                assert next(lines) == 'data: {"waiting": 0}'
                for _ in range(4):
                    slow.go.release()  # The next word can be said only now, and is told before another.
                    assert json.loads(next(lines).removeprefix("data: ")) == {"text": "말 "}
                assert list(lines) == ['data: {"end": "done"}']
        finally:
            running.should_exit = True
            thread.join(30)


def test_page_in_a_browser(server, world_folder, page):
    from playwright.sync_api import expect

    address = f"http://127.0.0.1:{server}"
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append((message.type, message.text)))
    page.goto(address)
    expect(page.locator("#model")).to_have_text(str(world_folder))
    page.locator("#text").fill(QUESTION)
    page.locator("#text").press("Enter")
    answers = page.locator(".turn.assistant")
    expect(answers.first).to_have_text(" ".join(SAFE.help()), timeout=60_000)
    expect(page.locator("#status")).to_contain_text("초")
    page.locator("#text").fill(" ".join(HARMFUL.question()))
    page.locator("#send").click()
    expect(answers.nth(1)).to_have_text(filters.REFUSAL)
    expect(answers.nth(1)).to_have_class(re.compile("stopped"))
    expect(page.locator("#status")).to_have_text("답 필터가 막았습니다")
    page.locator("#text").fill("지갑 " * 60)
    page.locator("#send").click()
    expect(page.locator("#error")).to_contain_text("줄이세요.")
    expect(page.locator("#text")).to_have_value(("지갑 " * 60).strip())  # What failed can be sent again.
    page.locator("#clear").click()
    expect(answers).to_have_count(0)
    expect(page.locator("#error")).to_be_hidden()
    assert [
        kind for kind, _ in complaints if kind != "error"
    ] == []  # The refused question is told as an error.
    assert all(url.startswith((address, "data:")) for url in asked)
