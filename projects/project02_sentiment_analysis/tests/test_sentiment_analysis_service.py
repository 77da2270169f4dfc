"""The program with a real model: the same answers as without a server, faults, damaged folders."""

import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from sentiment_analysis_apart import models
from sentiment_analysis_bodies import fuzzed, sentence

from sentiment_analysis.__main__ import main

PROJECT = Path(__file__).resolve().parents[1]
TEXTS = [
    "정말 재미있는 영화", "돈 아까운 최악의 영화", "👨‍👩‍👧 ㅋㅋㅋ 좋다😀", "\u200b\u200d", "e\u0301 \u202e좋다", "가" * 2000,
    "재미는 있지만 배우의 연기가 너무 어색하고 이야기도 뻔해서 보는 내내 지루했다", "ㅠㅠ", "\x00", "good movie",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(exported):
    """The process and the address of ``serve``, ready."""
    command = [sys.executable, "-m", "sentiment_analysis", "serve", str(exported), "--port", "0"]
    process = subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    port = re.search(r":(\d+)", process.stdout.readline())[1]
    address = f"http://127.0.0.1:{port}"
    end = time.monotonic() + 500
    while httpx.get(f"{address}/ready", timeout=30).status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.1)
    yield process, address
    process.kill()
    process.communicate()


def ask(address, *bodies, path="/predict"):
    """POST all bodies at once."""

    async def talk():
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(base_url=address, timeout=500, limits=limits) as client:
            return await asyncio.gather(*(client.post(path, content=body) for body in bodies))

    return asyncio.run(talk())


def post(address, *texts, path="/predict"):
    return ask(address, *(json.dumps({"text": text}) for text in texts), path=path)


def test_batches_answer_what_the_model_answers(server, served):
    """Padded and divided by length, with others or alone."""
    texts = TEXTS * 4
    replies = post(server[1], *texts)
    assert {reply.status_code for reply in replies} == {200}
    expected = np.concatenate([served.probabilities([text]) for text in TEXTS] * 4)
    for reply, row in zip(replies, expected, strict=True):
        assert reply.json()["probability"] == pytest.approx(row.max(), abs=2e-5)
        assert abs(row[1] - 0.5) < 1e-5 or reply.json()["label"] == row.argmax()
    metrics = httpx.get(f"{server[1]}/metrics").text
    count, total = (
        float(value) for value in re.findall(r"sentiment_batch_texts_(?:count|sum) (.*)", metrics)
    )
    assert total == len(texts) and count < total / 2


def test_explanations_add_up(server):
    texts = [*TEXTS[:7], "좋은 영화 " * 100]
    for text, reply in zip(texts, post(server[1], *texts, path="/explain"), strict=True):
        told = reply.json()
        assert reply.status_code == 200, told
        for parts in (told["words"], told["morphemes"]):
            total = sum(part["push"] for part in parts)
            assert total - (told["margin"] - told["baseline"]) == pytest.approx(told["gap"], abs=1e-4)
        assert told["complete"] == (
            abs(told["gap"]) <= 0.05 * max(0.05, abs(told["margin"] - told["baseline"]))
        )
        assert told["complete"] or told["points"] == 128
        assert (told["margin"] > 0) == told["label"]
        assert (told["seen"] < len(told["text"])) == (
            text == texts[-1]
        )  # A word of one syllable is one token.


def test_the_web_server_has_no_tensorflow(server):
    process, held = psutil.Process(server[0].pid), models(server[0].pid)
    with_it = {
        one
        for one in (process, *process.children(recursive=True))
        if any("tensorflow" in region.path for region in one.memory_maps())
    }
    assert len(held) == 2  # One for classes, one for explanations.
    assert process not in with_it and set(held) <= with_it


def test_a_killed_model_loses_no_request(server):
    """One of the two, each of which takes a second to start: both are killed again and again without a real model."""
    process, address = server
    victim = min(models(process.pid), key=psutil.Process.create_time)

    async def talk():
        async with httpx.AsyncClient(base_url=address, timeout=500) as client:
            asked = [
                asyncio.create_task(client.post(path, json={"text": TEXTS[number % 3]}))
                for number in range(60)
                for path in ["/explain" if number % 10 == 0 else "/predict"]
            ]
            await asyncio.sleep(0.05)
            os.kill(victim.pid, signal.SIGKILL)
            return await asyncio.gather(*asked)

    replies = asyncio.run(talk())
    assert [reply.status_code for reply in replies] == [200] * 60
    again = {reply.json()["probability"] for reply in replies[1::3]}
    assert max(again) - min(again) < 1e-4


def test_fuzzed_bodies(server):
    rng = random.Random(1)
    for path, number in (("/predict", 80), ("/explain", 8)):
        for reply in ask(server[1], *(fuzzed(rng) for _ in range(number)), path=path):
            assert reply.status_code in (200, 422)
            if reply.status_code == 422:
                sentence(reply)


def test_sigterm(server):
    """The last test of this server: what is under way is answered."""
    process, address = server
    children = psutil.Process(process.pid).children(recursive=True)

    async def talk():
        async with httpx.AsyncClient(base_url=address, timeout=500) as client:
            asked = [asyncio.create_task(client.post("/explain", json={"text": text})) for text in TEXTS[:7]]
            await asyncio.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            return await asyncio.gather(*asked)

    assert [reply.status_code for reply in asyncio.run(talk())] == [200] * 7
    process.communicate(timeout=100)
    assert process.returncode == -signal.SIGTERM and psutil.wait_procs(children, timeout=20)[1] == []


def test_a_damaged_folder_is_one_sentence(exported, tmp_path, capsys):
    folder = tmp_path / "모델"
    shutil.copytree(exported, folder)
    (weights,) = (folder / "saved_model" / "variables").glob("*.data*")
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    assert main(["serve", str(folder), "--no-explain", "--port", "0"]) == 1
    out, err = capsys.readouterr()
    assert err.endswith("export를 다시 실행하세요.\n") and err.count("\n") == 1 and "브라우저" not in out
