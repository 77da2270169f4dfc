"""How fast a server of OpenAI's API answers: so many clients at once, or so many requests a second.

In a closed loop each client asks again when it has its answer, so a slow server is asked less. In an open loop the
requests come at the times of a Poisson process, whether or not earlier ones are answered; that shows the waiting line.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import httpx
import numpy as np
import psutil

from tf_study import cli
from tf_study.errors import StudyError

VOCABULARY = 256  # prompts are token ids below it, which every model has
HEAD = ("요청", "토큰/초", "토큰/CPU초", "TTFT 중앙값", "TTFT 95%", "TPOT 중앙값", "TPOT 95%", "실패")


@dataclass(frozen=True)
class Answer:
    """One request: seconds to the first token and to the last, tokens, and why there is no answer if there is none."""

    first: float
    last: float
    tokens: int
    failure: str | None = None

    @property
    def tpot(self) -> float:
        """Seconds for each token after the first."""
        return (self.last - self.first) / (self.tokens - 1)


@dataclass(frozen=True)
class Result:
    """What came of one load: answers, seconds from the first request to the last answer, the server's CPU seconds."""

    answers: Sequence[Answer]
    seconds: float
    cpu: float | None

    @property
    def good(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.failure is None]

    @property
    def tokens(self) -> int:
        return sum(answer.tokens for answer in self.good)

    def row(self) -> list[str]:
        """Return the cells of the report that follow the name."""
        first = [answer.first for answer in self.good]
        tpot = [answer.tpot for answer in self.good if answer.tokens > 1]
        failures = Counter(answer.failure for answer in self.answers if answer.failure)
        return [
            f"{self.tokens / self.seconds:.1f}",
            f"{self.tokens / self.cpu:.1f}" if self.cpu else "-",
            *(f"{1000 * np.percentile(first, share):.0f} ms" if first else "-" for share in (50, 95)),
            *(f"{1000 * np.percentile(tpot, share):.1f} ms" if tpot else "-" for share in (50, 95)),
            ", ".join(f"{failure} {number}" for failure, number in failures.items()) or "0",
        ]


class Load:
    """Requests for a model, each with a prompt of its own.

    Args:
        client: whose base URL is the server's.
        model: the name of the model.
        prompt: tokens of each prompt.
        answer: tokens of each answer.
        seed: of prompts and of arrival times.
    """

    def __init__(self, client: httpx.AsyncClient, model: str, prompt: int, answer: int, seed: int = 0):
        self.client, self.model, self.prompt, self.answer = client, model, prompt, answer
        self.rng, self.meter = np.random.default_rng(seed), Meter(client.base_url)

    async def closed(self, clients: int, requests: int) -> Result:
        """Let clients ask one request after the other, ``requests`` of each."""

        async def one(prompts):
            return [await self.ask(prompt) for prompt in prompts]

        prompts = self._prompts(clients * requests).reshape(clients, requests, -1).tolist()
        return await self._measure([one(own) for own in prompts])

    async def open(self, rate: float, requests: int) -> Result:
        """Send requests at the times of a Poisson process of ``rate`` a second."""

        async def one(wait, prompt):
            await asyncio.sleep(wait)
            return [await self.ask(prompt)]

        times = np.cumsum(self.rng.exponential(1 / rate, requests))
        prompts = self._prompts(requests).tolist()
        return await self._measure([one(*pair) for pair in zip(times - times[0], prompts, strict=True)])

    async def ask(self, prompt: list[int]) -> Answer:
        """Send one request and read its answer as it comes."""
        body = {
            "model": self.model, "prompt": prompt, "max_tokens": self.answer, "temperature": 0, "stream": True,
            "ignore_eos": True, "return_token_ids": True,
        }  # fmt: skip
        begin, first, last, tokens = time.perf_counter(), 0.0, 0.0, 0
        try:
            async with self.client.stream("POST", "/v1/completions", json=body) as answer:
                if answer.status_code != 200:
                    return Answer(0, 0, 0, str(answer.status_code))
                async for event in _events(answer):
                    if "error" in event:
                        return Answer(first, last, tokens, "끊김")
                    new = sum(len(choice.get("token_ids") or ()) for choice in event["choices"])
                    if new:
                        last = time.perf_counter() - begin
                        first, tokens = first or last, tokens + new
        except httpx.HTTPError:
            return Answer(first, last, tokens, "끊김")
        return Answer(first, last, tokens, None if tokens == self.answer else "모자람")

    def _prompts(self, requests: int) -> np.ndarray:
        return self.rng.integers(0, VOCABULARY, (requests, self.prompt))

    async def _measure(self, work: Sequence) -> Result:
        begin, cpu = time.perf_counter(), self.meter.seconds()
        answers = [answer for part in await asyncio.gather(*work) for answer in part]
        seconds, after = time.perf_counter() - begin, self.meter.seconds()
        return Result(answers, seconds, None if cpu is None else after - cpu)


class Meter:
    """Reads the CPU seconds of the process that listens at an address of this computer, and of its descendants."""

    def __init__(self, address: httpx.URL):
        self.server = _listener(address.port) if address.host in ("127.0.0.1", "localhost", "::1") else None

    def seconds(self) -> float | None:
        """Return the seconds so far; ``None`` if the server runs elsewhere, or the system does not say."""
        if self.server is None:
            return None
        total = 0.0
        for process in (self.server, *self.server.children(recursive=True)):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:  # It ended in between.
                continue
            total += times.user + times.system
        return total


async def run(
    address: str,
    *,
    clients: Sequence[int] = (1, 4, 16),
    rates: Sequence[float] = (),
    prompt: int = 32,
    answer: int = 24,
    requests: int = 2,
    key: str | None = None,
) -> AsyncIterator[str]:
    """Yield the report: the load of the machine, a row for each number of clients and each rate.

    Args:
        address: of the server, with or without a scheme.
        clients: of closed loops.
        rates: requests a second of open loops, each of as many requests as the largest closed loop.
        prompt: tokens of each prompt.
        answer: tokens of each answer.
        requests: of each client.
        key: an API key.

    Raises:
        StudyError: if there is no such server.
    """
    try:
        url = httpx.URL(address if "://" in address else f"//{address}")
        url = url if url.scheme else url.copy_with(scheme="http")
    except httpx.InvalidURL as error:
        raise StudyError(f"{address}은(는) 주소가 아니니 127.0.0.1:8000처럼 적으세요 ({error}).") from None
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=None, limits=limits) as client:
        load = Load(client, await _model(client), prompt, answer)
        yield f"모델 {load.model}, 프롬프트 {prompt}토큰, 답 {answer}토큰. {_machine('시작할')}"
        await load.closed(min(2, *clients), 1)  # The first answers of a server are slow.
        rows = [HEAD]
        for number in clients:
            rows.append((f"{number}명이 {requests}번씩", *(await load.closed(number, requests)).row()))
        for rate in rates:
            total = max(clients) * requests
            rows.append((f"초당 {rate:g}번씩 {total}번", *(await load.open(rate, total)).row()))
        yield cli.table(rows)
        yield _machine("끝날")


async def _model(client: httpx.AsyncClient) -> str:
    try:
        answer = await client.get("/v1/models", timeout=10)
        if answer.status_code == 401:
            raise StudyError(f"{client.base_url}의 서버가 키를 물으니 --key로 키 파일을 주세요.")
        return answer.raise_for_status().json()["data"][0]["id"]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, IndexError, TypeError) as error:
        raise StudyError(
            f"{client.base_url}의 서버가 답하지 않으니 serve로 먼저 켜고 주소를 확인하세요 ({type(error).__name__})."
        ) from None


async def _events(answer: httpx.Response) -> AsyncIterator[dict]:
    async for line in answer.aiter_lines():
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


def _listener(port: int | None) -> psutil.Process | None:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return psutil.Process(connection.pid)
    except psutil.Error:  # macOS tells only the administrator.
        return None
    return None


def _machine(when: str) -> str:
    return f"코어 {os.cpu_count()}개, {when} 때의 부하 {os.getloadavg()[0]:.1f}"
