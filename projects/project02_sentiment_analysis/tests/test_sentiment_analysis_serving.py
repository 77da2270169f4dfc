"""The application without a network: answers, refusals, a full line, keys, who leaves, the log, what is counted."""

import asyncio
import contextlib
import json
import logging
import os
import random
import re
import unicodedata

import httpx
import pytest
from sentiment_analysis_bodies import fuzzed, sentence
from sentiment_analysis_standin import classifier, explainer

from project_servers import leave
from sentiment_analysis import serving
from sentiment_analysis.serving import CHARACTERS, MAX_BYTES, TEXTS, Service
from sentiment_analysis.workers import Lost
from tf_study.errors import StudyError

FUZZED = int(os.environ.get("FUZZED", 300))


class Near:
    """A worker in this process; ``gate`` holds its batches back."""

    def __init__(self, function, gate=None):
        self.function, self.gate, self.batches = function, gate, []
        self.ready, self.deaths, self.pid = False, 0, os.getpid()

    async def start(self):
        self.ready = True

    async def call(self, texts):
        self.batches.append(texts)
        if self.gate:
            await self.gate.acquire()
        if self.function is None:
            raise Lost
        return self.function(texts)

    def kill(self):
        self.ready = False


def build(worker=None, explains=None, keys=(), **options):
    service = Service(
        [worker or Near(classifier())], explains or Near(explainer()), name="작은 <모델>", **options
    )
    return service, serving.create_app(service, keys)


@contextlib.asynccontextmanager
async def opened(worker=None, explains=None, keys=(), **options):
    service, app = build(worker, explains, keys, **options)
    await service.start()
    try:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=30) as client:
            yield service, client
    finally:
        service.classes.close()
        service.explanations.close()


def play(action, **options):
    async def whole():
        async with opened(**options) as both, asyncio.timeout(60):
            return await action(*both)

    return asyncio.run(whole())


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def test_answers():
    async def action(service, client):
        one = await client.post("/predict", json={"text": "좋은 영화"})
        assert one.status_code == 200 and one.json().keys() == {"label", "class", "probability"}
        assert (
            one.json()["label"] == 1 and one.json()["class"] == "긍정" and 0.5 < one.json()["probability"] < 1
        )
        several = await client.post("/predict", json={"texts": ["좋은 영화", "나쁘다", "하하"]})
        first, second, third = several.json()["results"]
        assert first == one.json() and second["class"] == "부정" and second["probability"] > 0.5
        assert third == {"label": 0, "class": "부정", "probability": 0.5}  # A tie is no recommendation.
        assert service.workers[0].batches == [["좋은 영화"], ["좋은 영화", "나쁘다", "하하"]]
        told = (await client.post("/explain", json={"text": "좋은 영화"})).json()
        assert {name: told[name] for name in one.json()} == one.json()
        assert told["text"] == "좋은 영화" and [word["text"] for word in told["words"]] == ["좋은", "영화"]
        assert (
            told["complete"]
            and told["words"][0]["push"] > 0.7
            and {"tag", "start"} < told["morphemes"][0].keys()
        )
        assert (await client.get("/health")).json() == {"status": "ok", "model": "작은 <모델>"}
        assert (await client.get("/ready")).json() == {"ready": True}
        page = await client.get("/")
        assert (
            "작은 \\u003c모델>" in page.text
            and "default-src 'none'" in page.headers["content-security-policy"]
        )

    play(action)


def test_requests_of_a_moment_are_one_batch():
    async def action(service, client):
        texts = [f"좋은 영화 {number}" for number in range(20)]
        replies = await asyncio.gather(*(client.post("/predict", json={"text": text}) for text in texts))
        assert {reply.status_code for reply in replies} == {200}
        return service.workers[0].batches

    batches = play(action, wait=0.05, batch=16)
    assert sum(map(len, batches)) == 20 and max(map(len, batches)) == 16


def test_what_is_no_request():
    wrong = [
        "", "[]", "[" * 100_000, "{}", "1", '"글"', "null", '{"text": 1}', '{"text": null}', '{"texts": "글"}',
        '{"texts": []}', '{"texts": ["글", 1]}', '{"text": ""}', '{"text": " \\n "}', '{"texts": ["글", ""]}',
        '{"text": "글", "texts": ["글"]}', '{"text": "\\ud800"}', '{"글": "글"}', '{"text": "글"', b"\xff\xfe",
        json.dumps({"texts": ["글"] * (TEXTS + 1)}), json.dumps({"text": "가" * (CHARACTERS + 1)}),
        json.dumps({"text": "가나\u0301" * 50_000}), '{"text": ' + "9" * 5000 + "}",
    ]  # fmt: skip

    async def action(service, client):
        for body in wrong:
            for path in ("/predict", "/explain"):
                reply = await client.post(path, content=body)
                assert reply.status_code == 422, body
                assert sentence(reply).endswith(("보내세요.", "보내세요."))
        for name, value in (("texts", ["글", "글"]), ("texts", ["글"])):
            assert "하나" in sentence(await client.post("/explain", json={name: value}))
        assert (await client.post("/predict", content=b" " * (MAX_BYTES + 1))).status_code == 413
        assert (await client.get("/predict")).status_code == 405
        assert (await client.get("/predictions")).status_code == 404
        assert service.workers[0].batches == []
        longest = await client.post("/predict", json={"texts": ["가" * CHARACTERS] * TEXTS})
        assert longest.status_code == 200 and len(longest.json()["results"]) == TEXTS

    play(action)


def test_unicode():
    """Letters apart or together are the same text; no character is too strange."""
    texts = [
        "좋은 영화 재미",
        "👨‍👩‍👧 좋다 😀",
        "\u200b\u200d",
        "e\u0301 좋다",
        "\u202e좋다",
        "a\0좋다",
        "ㅋㅋㅠㅠ",
        "\U0010ffff",
        "가" * CHARACTERS,
    ]

    async def action(service, client):
        for text in texts:
            apart, together = [
                (await client.post("/explain", json={"text": unicodedata.normalize(form, text)})).json()
                for form in ("NFD", "NFC")
            ]
            assert apart == together and together["text"] == unicodedata.normalize("NFC", text)
            for part in (*together["words"], *together["morphemes"]):
                start = part["start"]
                assert together["text"][start : start + len(part["text"])] == part["text"]

    play(action)
    assert len(unicodedata.normalize("NFD", "각" * CHARACTERS)) == 3 * CHARACTERS


def test_a_megabyte_of_one_syllable():
    async def action(service, client):
        for body, status in (
            (json.dumps({"text": "가" * 2**20}, ensure_ascii=False), 413),
            (json.dumps({"text": "가" * 333_000}, ensure_ascii=False), 422),
        ):
            reply = await client.post("/predict", content=body.encode())
            assert reply.status_code == status and sentence(reply)

    play(action)


def test_a_full_line():
    gate = asyncio.Semaphore(0)
    worker = Near(classifier(), gate)

    async def action(service, client):
        first = asyncio.create_task(client.post("/predict", json={"text": "하나"}))
        await until(lambda: worker.batches)
        waiting = asyncio.create_task(client.post("/predict", json={"texts": ["좋다"] * 64}))
        await until(lambda: service.classes.line)
        refused = await client.post("/predict", json={"text": "더"})
        assert refused.status_code == 429 and refused.headers["retry-after"] == "1" and sentence(refused)
        assert (await client.get("/health")).status_code == 200
        assert 'sentiment_waiting_texts{path="/predict"} 64.0' in (await client.get("/metrics")).text
        for _ in range(9):
            gate.release()
        assert (await first).status_code == 200 and len((await waiting).json()["results"]) == 64

    play(action, worker=worker, batch=8, room=64)


def test_a_full_line_of_explanations_does_not_stop_predictions():
    gate = asyncio.Semaphore(0)

    async def action(service, client):
        def ask():
            return asyncio.create_task(client.post("/explain", json={"text": "좋다"}))

        asked = [ask()]
        await until(lambda: service.explainer.batches)
        asked += [ask() for _ in range(serving.EXPLANATIONS)]
        await until(lambda: len(service.explanations.line) == serving.EXPLANATIONS)
        assert (await client.post("/explain", json={"text": "좋다"})).status_code == 429
        assert (await client.post("/predict", json={"text": "좋다"})).status_code == 200
        for _ in asked:
            gate.release()
        assert {reply.status_code for reply in await asyncio.gather(*asked)} == {200}

    play(action, explains=Near(explainer(), gate))


def test_who_leaves_takes_the_request_along():
    gate = asyncio.Semaphore(0)
    worker = Near(classifier(), gate)

    async def whole():
        service, app = build(worker)
        await service.start()
        body = json.dumps({"text": "첫째"}).encode()
        first = asyncio.create_task(
            leave(app, body, lambda told: worker.batches and service.classes.line, path="/predict")
        )
        await until(lambda: worker.batches)
        gone = json.dumps({"text": "둘째"}).encode()
        second = asyncio.create_task(
            leave(app, gone, lambda told: len(service.classes.line) == 1, path="/predict")
        )
        await asyncio.wait_for(asyncio.gather(first, second), 30)
        assert service.open == 0
        third = asyncio.create_task(leave(app, body, lambda told: len(told) == 2, path="/predict"))
        for _ in range(2):
            gate.release()
        await asyncio.wait_for(third, 30)
        service.classes.close()
        service.explanations.close()

    asyncio.run(whole())
    assert worker.batches == [["첫째"], ["첫째"]]


def test_keys(tmp_path):
    path = tmp_path / "열쇠"
    path.write_text("a" * 16 + "\n\n" + "b" * 20 + "\n", encoding="utf-8")

    async def action(service, client):
        async def ask(**headers):
            return await client.post("/predict", json={"text": "좋다"}, headers=headers)

        for given in (
            "",
            "Bearer",
            "Bearer " + "a" * 15,
            "Basic " + "a" * 16,
            "Bearer " + "a" * 17,
            b"Bearer \xff\xe9",
        ):
            reply = await ask(Authorization=given)
            assert (
                reply.status_code == 401 and reply.headers["www-authenticate"] == "Bearer" and sentence(reply)
            )
        for key in ("a" * 16, "b" * 20):
            assert (await ask(Authorization=f"Bearer {key}")).status_code == 200
        assert (await client.get("/health")).status_code == 200
        assert '"keys": true' in (await client.get("/")).text

    play(action, keys=serving.read_keys(path))


@pytest.mark.parametrize("content", ["", "짧다", "a" * 15, "a" * 16 + "\n글글글글글글글글글글글글글글글글"])
def test_key_files_that_are_none(tmp_path, content):
    path = tmp_path / "열쇠"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(StudyError, match="16자 이상"):
        serving.read_keys(path)
    with pytest.raises(StudyError, match="읽을 수 없으니"):
        serving.read_keys(tmp_path)


def test_no_worker_is_left():
    async def action(service, client):
        reply = await client.post("/predict", json={"text": "좋다"})
        assert reply.status_code == 503 and reply.headers["retry-after"] == "5" and sentence(reply)

    play(action, worker=Near(None))


def test_the_end_is_near():
    gate = asyncio.Semaphore(0)
    worker = Near(classifier(), gate)

    async def action(service, client):
        asked = asyncio.create_task(client.post("/predict", json={"text": "좋다"}))
        await until(lambda: worker.batches)
        ending = asyncio.create_task(service.drain())
        await until(lambda: service.draining)
        assert (await client.post("/predict", json={"text": "좋다"})).status_code == 503
        ready = await client.get("/ready")
        assert ready.status_code == 503 and ready.json() == {"ready": False}
        assert not ending.done()
        gate.release()
        assert (await asked).status_code == 200
        await ending

    play(action, worker=worker)


def test_the_log_and_the_counts_know_no_text(caplog, monkeypatch):
    def fail(texts):
        if "틀려" in texts:
            raise ValueError("비밀 글")
        return classifier()(texts)

    async def action(service, client):
        replies = [
            await client.post("/predict", json={"text": text}, headers={"x-request-id": name})
            for text, name in (("비밀 글 좋다", "no id"), ("틀려", "b.2"), ("", "c_3"))
        ]
        return replies, (await client.get("/metrics")).text

    monkeypatch.setattr(serving.log, "propagate", True)
    with caplog.at_level(logging.INFO, "sentiment_analysis"):
        replies, metrics = play(action, worker=Near(fail))
    lines = [json.loads(record.getMessage()) for record in caplog.records]
    assert [reply.status_code for reply in replies] == [200, 500, 422] == [line["status"] for line in lines]
    assert "기록을 확인하세요." in sentence(replies[1])
    assert [line["id"] for line in lines[1:]] == ["b.2", "c_3"] and re.fullmatch(
        "[0-9a-f]{16}", lines[0]["id"]
    )
    assert [reply.headers["x-request-id"] for reply in replies] == [line["id"] for line in lines]
    assert (lines[0]["texts"], lines[0]["characters"]) == (1, 7) and 0 < lines[0]["seconds"] < 5
    assert lines[1]["error"].startswith("ValueError < ") and "비밀" not in caplog.text + metrics
    assert 'sentiment_answers_total{path="/predict",status="500"} 1.0' in metrics
    assert 'sentiment_texts_total{path="/predict"} 1.0' in metrics
    assert "sentiment_batch_texts_count 2.0" in metrics and "sentiment_worker_deaths_total 0.0" in metrics
    for process in ("http", "explainer", "classifier-0"):
        (memory,) = re.findall(rf'sentiment_resident_bytes{{process="{process}"}} (.*)', metrics)
        assert float(memory) > 1e7
        assert float(re.findall(rf'sentiment_cpu_seconds_total{{process="{process}"}} (.*)', metrics)[0]) > 0


def test_fuzzed_bodies():
    """None is answered with 5xx, and each refusal is one sentence."""

    async def action(service, client):
        rng, seen = random.Random(0), set()
        for _ in range(FUZZED):
            reply = await client.post(rng.choice(("/predict", "/explain")), content=fuzzed(rng))
            seen.add(reply.status_code)
            assert reply.status_code in (200, 422)
            if reply.status_code == 422:
                sentence(reply)
        assert seen == {200, 422}

    play(action)
