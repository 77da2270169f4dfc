"""Loads against a server that is known: what is counted, when requests are sent, the report, what is no server."""

import asyncio
import contextlib
import json
import time

import numpy as np
import pytest
from PIL import Image

from sentiment_analysis import measuring
from sentiment_analysis.__main__ import main
from sentiment_analysis.measuring import ALONE, SORTED, Load, Row
from tf_study.errors import StudyError
from tf_study.workers import free_ports

TEXTS = ["좋다", "나쁘다 \U0001f600", "느린 영화"]


class Plain:
    """An HTTP server that takes ``pace`` seconds for each answer and notes when requests came."""

    def __init__(self, pace=0.0, status=b"200 OK"):
        self.pace, self.status, self.came, self.bodies = pace, status, [], []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.talk, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def talk(self, reader, writer):
        with contextlib.suppress(asyncio.CancelledError, ConnectionResetError):
            await self.replies(reader, writer)

    async def replies(self, reader, writer):
        while head := await reader.readline():
            length = 0
            while (line := await reader.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            body = await reader.readexactly(length)
            if b"/metrics" in head:
                reply = self.metrics().encode()
            else:
                self.came.append(time.perf_counter())
                self.bodies.append(json.loads(body)["text"])
                await asyncio.sleep(self.pace)
                reply = b"{}"
            status = self.status if b"/predict" in head else b"200 OK"
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(reply), reply))

    def metrics(self):
        """As if each request took 2 ms of the web server and 5 ms of each of two models, four in a batch."""
        number = len(self.came)
        cpu = {"http": 0.002, "classifier-0": 0.005, "classifier-1": 0.005}
        lines = [
            f'sentiment_cpu_seconds_total{{process="{name}"}} {value * number}' for name, value in cpu.items()
        ]
        lines += [f'sentiment_resident_bytes{{process="{name}"}} {2.0**20}' for name in cpu]
        return "\n".join(
            [*lines, f"sentiment_batch_texts_count {number / 4}", f"sentiment_batch_texts_sum {number}", ""]
        )


def play(server, action):
    async def whole():
        async with server, asyncio.timeout(60):
            return await action(Load(server.address, TEXTS))

    return asyncio.run(whole())


def test_a_closed_loop_waits_for_answers():
    server = Plain(0.02)
    row = play(server, lambda load: load.closed("길", 3, 0.5))
    assert row.answered == len(server.came) and row.failures == {}
    assert 3 <= row.answered <= 3 * 0.52 / 0.02 + 3
    assert row.median >= 20 and row.late >= row.median and row.seconds >= 0.5
    assert (row.way, row.load, row.clients, row.rate) == ("길", "3명", 3, None)
    assert row.http == pytest.approx(2) and row.model == pytest.approx(10)
    assert row.batch == pytest.approx(4) and row.memory == pytest.approx(3)
    assert row.throughput == pytest.approx(row.answered / row.seconds)
    assert set(server.bodies) == set(TEXTS)


def test_an_open_loop_does_not_wait_for_answers():
    server = Plain(0.5)
    row = play(server, lambda load: load.open("길", 50, 0.4))
    assert row.answered == 20 and row.rate == 50 and row.clients is None
    rng = np.random.default_rng(0)
    rng.permutation(np.array(TEXTS, object))
    wanted = np.cumsum(rng.exponential(1 / 50, 20))
    sent = np.array(server.came) - server.came[0]
    assert (sent >= wanted - wanted[0] - 0.02).all()  # None comes early,
    assert sent[-1] < 20 * 0.5  # nor behind the answers of those before.
    assert row.median >= 500


def test_times_of_an_open_loop_count_from_when_a_request_is_due(monkeypatch):
    """A request that had to wait for a connection was late for its client, too."""
    monkeypatch.setattr(measuring, "MOST", 1)
    row = play(Plain(0.05), lambda load: load.open("길", 1000, 0.01))
    assert row.answered == 10 and row.late > 8 * 50


def test_refusals_and_broken_connections_are_counted():
    row = play(Plain(0.01, b"429 Too Many Requests"), lambda load: load.closed("길", 2, 0.1))
    assert row.answered == 0 and set(row.failures) == {"429"} and np.isnan(row.median)
    assert row.cells()[-1].startswith("429 ")

    async def ask():
        return await measuring._Connection(Load(f"127.0.0.1:{free_ports(1)[0]}", TEXTS)).ask(b"")

    assert asyncio.run(ask()) == "끊김"


def row(way, clients=None, rate=None, answered=100, model=4.0):
    return Row(way, f"{clients}명", clients, rate, answered, 2.0, 10.0, 20.0, model, 1.0, 3.0, 500.0, {})


def test_the_ways_are_compared_where_most_clients_ask(tmp_path):
    rows = [
        row(ALONE, 1),
        row(ALONE, 32),
        row(ALONE, rate=50),
        row(SORTED, 1, answered=1),
        row(SORTED, 32, answered=250, model=1.0),
        row(SORTED, rate=50),
    ]
    assert measuring.summary(rows) == (
        "\n32명, 길이로 나눈 묶음: 하나씩 답할 때보다 처리량 2.50배, 모델 CPU 0.25배"
    )
    assert measuring.summary(rows[3:]) == ""
    measuring.draw(rows, tmp_path / "그림")
    with Image.open(tmp_path / "그림") as picture:
        assert picture.format == "PNG" and picture.width > 800


def test_the_command_measures_a_running_server(tmp_path, capsys, monkeypatch):
    server = Plain(0.005)

    def measure(*arguments):
        return main(["measure", "--address", server.address, "--output", str(tmp_path / "결과"), *arguments])

    async def whole():
        async with server:
            return await asyncio.to_thread(measure, "--clients", "1", "2", "--rate", "20", "--seconds", "0.3")

    assert asyncio.run(whole()) == 0
    out = capsys.readouterr().out
    assert f"[{server.address}]" in out and "초당 20번" in out and "2명" in out
    told = json.loads((tmp_path / "결과" / measuring.FILE).read_text(encoding="utf-8"))
    assert [one["load"] for one in told["rows"]] == ["1명", "2명", "초당 20번"]
    assert told["before"]["cores"] >= 1 and all(one["answered"] for one in told["rows"])
    assert (tmp_path / "결과" / measuring.FIGURE).exists()


def test_what_is_no_server(tmp_path, capsys):
    for arguments, sentence in (
        (["--address", f"127.0.0.1:{free_ports(1)[0]}"], "serve로 켜고"),
        (["--address", "127.0.0.1:글"], "처럼 적으세요"),
        ([], "하나만 주세요"),
        ([str(tmp_path), "--address", "127.0.0.1:1"], "하나만 주세요"),
        ([str(tmp_path / "없음")], "없으니 경로를 확인하거나"),
    ):
        assert main(["measure", "--seconds", "0.1", "--output", str(tmp_path), *arguments]) == 1
        error = capsys.readouterr().err
        assert sentence in error and error.count("\n") == 1
    with pytest.raises(SystemExit):
        main(["measure", "--rate", "0"])
    with pytest.raises(StudyError, match="처럼 적으세요"):
        Load("[::1", TEXTS)
