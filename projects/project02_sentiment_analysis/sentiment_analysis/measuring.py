"""How fast a server answers: so many clients at once, or so many requests a second; batching against none.

In a closed loop each client asks again when it has its answer, so a slow server is asked less. In an open loop the
requests come at the times of a Poisson process, answered or not, and a request's time counts from when it should have
been sent; that shows the waiting line. Wall times of a busy computer mean little, so the server's CPU time stands beside.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np

from sentiment_analysis import dataset, settings
from tf_study import cli
from tf_study.errors import StudyError

HEAD = (
    "요청",
    "성공",
    "초당",
    "중앙값 ms",
    "99% ms",
    "모델 CPU ms",
    "서버 CPU ms",
    "배치",
    "메모리 MB",
    "실패",
)
FILE, FIGURE = "measurements.json", "measurements.png"
MOST = 120  # connections of an open loop: below the server's own limit
SECONDS = 120  # for a server to be ready
# What each way of serving is called, and the options of ``serve`` that make it.
WAYS = {
    "하나씩": ("--max-batch", "1", "--max-wait", "0"),
    "도착한 대로 묶음": ("--max-tokens", "0"),
    "길이로 나눈 묶음": (),
    "길이로 나눈 묶음, int8": ("--form", "int8"),
}
ALONE, NAIVE, SORTED, INT8 = WAYS


@dataclass(frozen=True)
class Row:
    """What came of one load.

    Times in milliseconds, those of CPU for each answered request: ``model`` in the processes that hold models,
    ``http`` in the web server. ``batch``: texts that were computed together on average. ``memory``: MB of all processes.
    """

    way: str
    load: str
    clients: int | None
    rate: float | None
    answered: int
    seconds: float
    median: float
    late: float
    model: float
    http: float
    batch: float
    memory: float
    failures: dict[str, int]

    @property
    def throughput(self) -> float:
        return self.answered / self.seconds

    def cells(self) -> list[str]:
        failed = ", ".join(f"{reason} {number}" for reason, number in self.failures.items()) or "0"
        return [
            self.load, f"{self.answered:,}", f"{self.throughput:,.0f}", f"{self.median:.1f}", f"{self.late:.1f}",
            f"{self.model:.2f}", f"{self.http:.2f}", f"{self.batch:.1f}", f"{self.memory:,.0f}", failed,
        ]  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Measure a running server, or all ways to serve a model; print tables, write a JSON file and a figure.

    Raises:
        StudyError: if there is no server, or the model cannot be served.
    """
    if (options.model is None) == (options.address is None):
        raise StudyError("모델폴더와 --address 가운데 하나만 주세요.")
    texts = dataset.read(settings.source(options.data)).test.texts
    key = _key(options.key_file)
    before, rows = machine(), []
    print(f"{before['cores']}코어, 부하 {before['load']:.1f}에서 시작합니다.", flush=True)

    def measure(way: str, address: str, rates: Sequence[float]) -> None:
        load = Load(address, texts, key)
        found = asyncio.run(measured(way, load, options.clients, options.seconds, rates))
        print(f"\n[{way}]\n" + cli.table([HEAD, *(row.cells() for row in found)]), flush=True)
        rows.extend(found)

    if options.address:
        measure(options.address, options.address, options.rate)
    else:
        for way, arguments in ways(options.model).items():
            with served(options.model, arguments) as address:
                measure(
                    way, address, options.rate or [row.rate for row in rows if row.way == ALONE and row.rate]
                )
    after = machine()
    print(f"\n부하 {after['load']:.1f}에서 마칩니다." + summary(rows))
    told = {
        "before": before,
        "after": after,
        "rows": [asdict(row) | {"throughput": row.throughput} for row in rows],
    }
    text = json.dumps({"model": str(options.model or options.address)} | told, ensure_ascii=False, indent=1)
    cli.write_text(options.output / FILE, text)
    cli.write(options.output / FIGURE, lambda part: draw(rows, part))
    print(f"{options.output / FILE}, {options.output / FIGURE}에 저장했습니다.")


def ways(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the ways in which a model can be served."""
    return {way: options for way, options in WAYS.items() if way != INT8 or (folder / "int8.tflite").exists()}


@contextmanager
def served(folder: Path, arguments: Sequence[str]) -> Iterator[str]:
    """Serve a model in another process while the block runs; yield the address.

    Raises:
        StudyError: the server's own, if it does not start.
    """
    command = [
        sys.executable,
        "-m",
        "sentiment_analysis",
        "serve",
        str(folder),
        "--no-explain",
        "--port",
        "0",
    ]
    log = tempfile.TemporaryFile("w+", encoding="utf-8")
    process = subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=log, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    try:
        found = re.search(r"(\S+:\d+)을", process.stdout.readline())
        if not found:
            process.wait()
            log.seek(0)
            raise StudyError(log.read().strip().rpartition("\n")[2])
        address, end = found[1], time.monotonic() + SECONDS
        host, _, port = address.rpartition(":")
        while httpx.get(page(host, int(port), "/ready")).status_code != 200:
            if time.monotonic() > end:
                raise StudyError(f"서버가 {SECONDS}초 안에 준비되지 않았으니 다른 일을 멈추고 다시 재세요.")
            time.sleep(0.1)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        process.stdout.close()
        log.close()


def page(host: str, port: int, path: str) -> httpx.URL:
    """Return the address of a server's page."""
    return httpx.URL(scheme="http", host=host, port=port, path=path)


async def measured(
    way: str, load: "Load", clients: Sequence[int], seconds: float, rates: Sequence[float]
) -> list[Row]:
    """Return a row for each number of clients and each rate; without rates, for 0.7 and 1.4 times what was reached."""
    await load.closed(way, 2, min(1.0, seconds))  # The first answers of a server are slow.
    rows = [await load.closed(way, number, seconds) for number in clients]
    best = max(row.throughput for row in rows)
    return rows + [await load.open(way, rate, seconds) for rate in rates or (0.7 * best, 1.4 * best)]


class Load:
    """Requests for the class of a text, each of the texts in turn.

    Args:
        address: host and port, with or without a scheme.
        key: an API key.
        seed: of the order of the texts and of arrival times.
    """

    def __init__(self, address: str, texts: Sequence[str], key: str | None = None, seed: int = 0):
        try:
            parts = urlsplit(address if "://" in address else f"//{address}")
            self.host, self.port = parts.hostname or "", parts.port or 80
        except ValueError:
            raise StudyError(f"{address}은(는) 주소가 아니니 127.0.0.1:8000처럼 적으세요.") from None
        self.rng = np.random.default_rng(seed)
        extra = f"Authorization: Bearer {key}\r\n" if key else ""
        self.bodies = [
            self._request(text, extra) for text in self.rng.permutation(np.array(texts, object)).tolist()
        ]
        self.sent = 0

    async def closed(self, way: str, clients: int, seconds: float) -> Row:
        """Let clients ask one request after the other for some seconds."""
        answers = []

        async def work(begin: float) -> None:
            async with _Connection(self) as connection:
                while (start := time.perf_counter()) < begin + seconds:
                    status = await connection.ask(self._next())
                    answers.append((status, time.perf_counter() - start))

        return await self._measure(
            way, f"{clients}명", clients, None, answers, lambda begin: [work(begin) for _ in range(clients)]
        )

    async def open(self, way: str, rate: float, seconds: float) -> Row:
        """Send requests at the times of a Poisson process of ``rate`` a second."""
        answers, idle, room = [], [], asyncio.Semaphore(MOST)
        count = max(1, round(rate * seconds))

        async def work(moment: float) -> None:
            await asyncio.sleep(moment - time.perf_counter())
            async with room:
                connection = idle.pop() if idle else await _Connection(self).__aenter__()
                status = await connection.ask(self._next())
                answers.append((status, time.perf_counter() - moment))
                idle.append(connection)

        times = np.cumsum(self.rng.exponential(1 / rate, count))
        row = await self._measure(
            way,
            f"초당 {rate:.0f}번",
            None,
            rate,
            answers,
            lambda begin: [work(moment) for moment in begin + times],
        )
        for connection in idle:
            await connection.__aexit__()
        return row

    async def _measure(self, way, load, clients, rate, answers, work) -> Row:
        before, begin = await self.counts(), time.perf_counter()
        await asyncio.gather(*work(begin))
        seconds, after = time.perf_counter() - begin, await self.counts()
        good = [1000 * taken for status, taken in answers if status == "200"]
        failures = Counter(status for status, _ in answers if status != "200")
        median, late = np.percentile(good, (50, 99)) if good else (np.nan, np.nan)
        spent = {name: after[name] - before[name] for name in before}
        each = 1000 / max(len(good), 1)
        return Row(
            way, load, clients, rate, len(good), seconds, float(median), float(late),
            spent["model"] * each, spent["http"] * each, spent["texts"] / max(spent["batches"], 1),
            after["memory"] / 2**20, dict(failures),
        )  # fmt: skip

    async def counts(self) -> dict[str, float]:
        """Return what the server has counted: CPU seconds by kind of process, texts, batches, memory.

        Raises:
            StudyError: if there is no such server.
        """
        try:
            async with httpx.AsyncClient() as client:
                text = (await client.get(page(self.host, self.port, "/metrics"), timeout=30)).text
        except (httpx.HTTPError, httpx.InvalidURL):
            text = ""
        cpu = {
            name: float(value)
            for name, value in re.findall(r'sentiment_cpu_seconds_total{process="(.*)"} (.*)', text)
        }
        batches = re.findall(r"sentiment_batch_texts_(?:count|sum) (.*)", text)
        if not cpu or len(batches) != 2:
            raise StudyError(
                f"{self.host}:{self.port}에 이 프로젝트의 서버가 없으니 serve로 켜고 주소를 확인하세요."
            )
        memory = sum(float(value) for value in re.findall(r"sentiment_resident_bytes{.*} (.*)", text))
        http = cpu.pop("http")
        return {
            "http": http, "model": sum(cpu.values()), "batches": float(batches[0]), "texts": float(batches[1]),
            "memory": memory,
        }  # fmt: skip

    def _next(self) -> bytes:
        self.sent += 1
        return self.bodies[self.sent % len(self.bodies)]

    def _request(self, text: str, extra: str) -> bytes:
        body = json.dumps({"text": text}, ensure_ascii=False).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


class _Connection:
    """One HTTP connection that asks again and again. httpx would take more CPU time than the server."""

    def __init__(self, load: Load):
        self.load, self.reader, self.writer = load, None, None

    async def __aenter__(self) -> "_Connection":
        return self

    async def __aexit__(self, *_) -> None:
        if self.writer:
            self.writer.close()

    async def ask(self, request: bytes) -> str:
        """Return the status, or 끊김."""
        try:
            if not self.writer:
                self.reader, self.writer = await asyncio.open_connection(self.load.host, self.load.port)
            self.writer.write(request)
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            await self.reader.readexactly(int(length[1]))
            if b"connection: close" in head.lower():
                self.writer.close()
                self.writer = None
            return head[9:12].decode()
        except (OSError, EOFError, asyncio.IncompleteReadError, TypeError):
            if self.writer:
                self.writer.close()
            self.writer = None
            return "끊김"


def summary(rows: Sequence[Row]) -> str:
    """Return sentences that compare the ways at the largest number of clients."""
    last = {row.way: row for row in rows if row.clients == max(one.clients or 0 for one in rows)}
    if ALONE not in last:
        return ""
    alone, told = last[ALONE], []
    for way, row in last.items():
        if way != ALONE:
            told.append(
                f"\n{row.clients}명, {way}: {ALONE} 답할 때보다 처리량 {row.throughput / alone.throughput:.2f}배, "
                f"모델 CPU {row.model / alone.model:.2f}배"
            )
    return "".join(told)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw throughput, times and CPU time of closed loops."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    from tf_study import plots

    closed, opened = [row for row in rows if row.clients], [row for row in rows if row.rate]
    names = list(dict.fromkeys(row.way for row in rows))
    clients = sorted({row.clients for row in closed})
    figure, ((first, second), (third, fourth)) = plt.subplots(2, 2, figsize=(10, 7))

    def series(value) -> dict[str, list[float]]:
        return {name: [value(row) for row in closed if row.way == name] for name in names}

    common = {"x": clients, "xlabel": "동시에 묻는 손님의 수", "logx": True, "markers": True}
    plots.curves(series(lambda row: row.throughput), title="처리량", ylabel="초당 답", ax=first, **common)
    plots.curves(series(lambda row: row.late), title="99%가 답을 받는 시간", ylabel="ms", ax=second, **common)
    for axis in (first, second):
        axis.set_xticks(clients, clients)
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
    last = [row for row in closed if row.clients == clients[-1]]
    places = np.arange(len(last))
    model, http = ([getattr(row, kind) for row in last] for kind in ("model", "http"))
    third.barh(places, model, label="모델")
    third.barh(places, http, left=model, label="웹 서버", color=plots.COLORS[4])
    third.set_yticks(places, [row.way.replace(", ", ",\n") for row in last])
    third.set(title=f"요청 하나의 CPU ({clients[-1]}명)", xlabel="CPU ms")
    third.invert_yaxis()
    third.legend()
    rates = sorted({row.rate for row in opened})
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        late = {row.rate: row.late for row in opened if row.way == name}
        fourth.bar(
            np.arange(len(rates)) + number * width, [late.get(rate, 0) for rate in rates], width, label=name
        )
    fourth.set_xticks(np.arange(len(rates)) + 0.4 - width / 2, [f"초당 {rate:.0f}번" for rate in rates])
    fourth.set(title="정해진 속도로 올 때 99%가 답을 받는 시간", ylabel="ms", yscale="log")
    figure.savefig(path, format="png", dpi=110)
    plt.close(figure)


def machine() -> dict:
    """Return the cores that this process may use, and the computer's load."""
    with suppress(AttributeError):  # macOS
        return {"cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0]}
    return {"cores": os.cpu_count(), "load": os.getloadavg()[0]}


def _key(path: Path | None) -> str | None:
    from sentiment_analysis.serving import read_keys

    return read_keys(path)[0].decode() if path else None
