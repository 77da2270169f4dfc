"""Loads against the stand-in for vLLM's server and against the gateway; what doctor says."""

import tf_study  # noqa: F401  isort: skip

import asyncio
import os
import re
import socket
import subprocess
import sys
import time

import httpx
import llm_server_scripted as scripted
import llm_server_standin as standin
import numpy as np
import pytest

from llm_server import bench, doctor
from llm_server.__main__ import main
from llm_server.engine import vllm
from tf_study.errors import StudyError
from tf_study.workers import free_ports

PACE = 0.02


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A stand-in that gives a token every PACE seconds, and a file with its key."""
    (port,) = free_ports(1)
    command = [sys.executable, "-S", standin.__file__, "--port", str(port), "--served-model-name", "m"]
    process = subprocess.Popen(
        [*command, "--pace", str(PACE)], env=os.environ | {"VLLM_API_KEY": "열쇠".encode().hex()}
    )
    key = tmp_path_factory.mktemp("키") / "키"
    key.write_text("열쇠".encode().hex())
    until = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.02)
    yield f"127.0.0.1:{port}", str(key)
    process.kill()
    process.wait()


def load(server, action, answer=8):
    """Do something with a Load on a server."""

    async def whole():
        headers = {"Authorization": "Bearer " + "열쇠".encode().hex()}
        async with httpx.AsyncClient(base_url=f"http://{server[0]}", headers=headers) as client:
            return await action(bench.Load(client, "m", 5, answer))

    return asyncio.run(whole())


def test_times_and_counts_of_a_closed_loop(server):
    result = load(server, lambda made: made.closed(3, 2))
    assert len(result.good) == 6 and result.tokens == 48
    assert result.seconds >= 2 * 8 * PACE  # One client's requests follow each other.
    for answer in result.answers:
        assert answer.first >= PACE and answer.last >= 8 * PACE
        assert answer.tpot == pytest.approx((answer.last - answer.first) / 7)
    assert np.median([answer.tpot for answer in result.answers]) >= 0.9 * PACE


@pytest.mark.skipif(sys.platform != "linux", reason="macOS는 포트의 프로세스를 관리자에게만 알립니다.")
def test_the_meter_reads_who_listens_and_its_children():
    work = "import time; list(iter(lambda: time.process_time() > {}, True)); print(flush=True); input()"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        meter = bench.Meter(httpx.URL(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        before, own = meter.seconds(), time.process_time()
        list(iter(lambda: time.process_time() > own + 0.1, True))
        assert 0.08 < meter.seconds() - before < 1
        child = subprocess.Popen([sys.executable, "-S", "-c", work.format(0.3)], stdin=-1, stdout=-1)
        child.stdout.readline()
        assert meter.seconds() - before > 0.35
        child.communicate(b"\n")
    assert bench.Meter(httpx.URL("http://192.0.2.1:80")).seconds() is None


def test_an_open_loop_does_not_wait_for_answers(server):
    times = []

    async def action(made):
        ask = made.ask

        async def noted(prompt):
            times.append(time.perf_counter())
            return await ask(prompt)

        made.ask = noted
        return await made.open(100, 20)

    result = load(server, action, answer=40)
    waits = np.random.default_rng(0).exponential(1 / 100, 20)
    wanted = np.cumsum(waits) - waits[0]
    sent = np.array(times) - times[0]
    assert len(result.good) == 20
    assert (sent >= wanted - 0.01).all()  # None comes early;
    assert sent[-1] < 40 * PACE  # and the last one before the first is answered.


def test_refusals_are_counted_and_no_answers():
    async def whole():
        engine = scripted.Scripted(room=1, gate=asyncio.Semaphore(0))
        _, app = scripted.build(engine)
        async with scripted.client(app) as client:
            running = asyncio.create_task(bench.Load(client, "tiny", 5, 4).closed(3, 1))
            await scripted.until(lambda: engine.open)
            await asyncio.sleep(0.05)
            for _ in range(4):
                engine.gate.release()
            return await running

    result = asyncio.run(whole())
    assert sorted(str(answer.failure) for answer in result.answers) == ["429", "429", "None"]
    assert result.tokens == 4 and result.cpu is None
    assert result.row()[1] == "-" and result.row()[-1] == "429 2"


def test_the_command_prints_a_table(server, capsys):
    address, key = server
    arguments = ["bench", "--address", address, "--key", key, "--clients", "1", "2", "--requests", "1"]
    assert main([*arguments, "--prompt", "4", "--answer", "3", "--rate", "50"]) == 0
    first, head, *rows, last = capsys.readouterr().out.splitlines()
    assert first.startswith("모델 m, 프롬프트 4토큰, 답 3토큰. 코어 ") and last.startswith("코어 ")
    assert re.split(r"\s{2,}", head) == list(bench.HEAD)
    assert [re.split(r"\s{2,}", row)[0] for row in rows] == ["1명이 1번씩", "2명이 1번씩", "초당 50번씩 2번"]
    assert all(row.endswith(" 0") for row in rows)


def test_what_is_no_server(server, capsys):
    address, _ = server
    for arguments, sentence in (
        (["--address", f"127.0.0.1:{free_ports(1)[0]}"], "주소를 확인하세요"),
        (["--address", address], "키 파일을 주세요"),
        (["--address", "127.0.0.1:xyz"], "처럼 적으세요"),
    ):
        assert main(["bench", *arguments]) == 1
        error = capsys.readouterr().err.strip()
        assert sentence in error and "\n" not in error
    with pytest.raises(SystemExit):
        main(["bench", "--rate", "0"])


def test_doctor(monkeypatch, capsys):
    monkeypatch.delenv(vllm.VARIABLE, raising=False)
    assert main(["doctor", "--port", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7 and all(line.startswith(("[OK]", "[없음]")) for line in lines)
    assert lines[2].startswith("[없음] vLLM → ") and lines[2].endswith("적으세요.")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not doctor.free("127.0.0.1", port).good
        assert main(["doctor", "--port", str(port)]) == 1
    monkeypatch.setattr(vllm, "probe", lambda: (_ for _ in ()).throw(StudyError("설치하세요.")))
    assert doctor.server_of_vllm().remedy == "설치하세요."
