"""An engine behind an address: another gateway of this kind, or vLLM's server, asked with token ids."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import httpx

from llm_server import metrics
from llm_server.engine.base import Busy, Dead, Generation, Piece, Stats
from tf_study.errors import StudyError

EVERY = 1.0  # seconds between two looks at the server's state
WAIT = 5.0  # seconds that one may take
PATIENCE = httpx.Timeout(5, read=None, pool=None)  # An answer may take long; its time limit is the gateway's.
NOTHING = Stats(0, 0, 0.0, 0, 0, 0, 0, 0, {})


class Remote:
    """An :class:`llm_server.engine.base.Engine` that sends everything to ``/v1/completions`` of a server.

    Args:
        address: such as ``http://127.0.0.1:8001``.
        key: an API key of the server, if it asks for one.
    """

    name = "remote"

    def __init__(self, address: str, key: str | None = None):
        self.address, self.context = address.rstrip("/"), 0
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._alive, self._stats, self._model = False, NOTHING, ""
        self._open: set[object] = set()
        self._closing = False

    async def start(self) -> None:
        """Ask the server which model it has, and begin to look after it.

        Raises:
            StudyError: if it does not answer.
        """
        self._client = httpx.AsyncClient(
            base_url=self.address,
            headers=self._headers,
            timeout=PATIENCE,
            limits=httpx.Limits(max_connections=None),
            trust_env=False,  # No proxy stands between a gateway and its engines.
        )
        try:
            answer = await self._client.get("/v1/models", timeout=10)
            (model, *_) = answer.raise_for_status().json()["data"]
            self._model, self.context = model["id"], int(model["max_model_len"])
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
            await self._client.aclose()
            raise StudyError(
                f"{self.address}의 서버가 답하지 않으니 주소를 확인하고 먼저 켜세요 ({type(error).__name__})."
            ) from None
        self._alive = True
        self._watching = asyncio.create_task(self._watch())

    async def generate(self, generation: Generation) -> AsyncIterator[Piece]:
        """Yield pieces as they come; see :class:`llm_server.engine.base.Engine`."""
        if self._closing or not self._alive:
            raise Dead
        me, finish = object(), None
        self._open.add(me)
        try:
            async with self._client.stream("POST", "/v1/completions", json=self._body(generation)) as answer:
                if answer.status_code != 200:
                    raise {429: Busy, 400: ValueError}.get(answer.status_code, Dead)
                async for line in answer.aiter_lines():
                    if line.startswith("data: {"):
                        event = json.loads(line.removeprefix("data: "))
                        if "error" in event:
                            raise Dead
                        for choice in event["choices"]:
                            finish = choice["finish_reason"]
                            yield _piece(choice, generation)
                    if finish:
                        return
            raise Dead
        except httpx.TransportError:  # It is gone. The watch finds out when it is back.
            self._alive = False
            raise Dead from None
        finally:
            self._open.discard(me)

    def alive(self) -> bool:
        return self._alive and not self._closing

    def stats(self) -> Stats:
        """Return the server's state of a second ago."""
        return self._stats

    async def drain(self) -> None:
        """Wait for the answers under way. The server itself is somebody else's to end."""
        self._closing = True
        while self._open:
            await asyncio.sleep(0.05)
        await self.close()

    async def close(self) -> None:
        """End at once; answers under way end with :class:`Dead`."""
        self._closing = True
        self._watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watching
        await self._client.aclose()

    async def _watch(self) -> None:
        while True:
            try:
                health = await self._client.get("/health", timeout=WAIT)
                self._alive = health.status_code == 200
                self._stats = metrics.stats((await self._client.get("/metrics", timeout=WAIT)).text)
            except (httpx.HTTPError, ValueError):
                self._alive = False
            await asyncio.sleep(EVERY)

    def _body(self, generation: Generation) -> dict:
        chosen = generation.sampling
        return {
            "model": self._model,
            "prompt": list(generation.prompt),
            "max_tokens": generation.max_tokens,
            "temperature": chosen.temperature,
            "top_p": chosen.top_p,
            "top_k": chosen.top_k or -1,
            "seed": chosen.seed,
            "stop_token_ids": sorted(generation.stops),
            "ignore_eos": True,  # What ends an answer is said with the request.
            "stream": True,
            "return_token_ids": True,
        }


def _piece(choice: dict, generation: Generation) -> Piece:
    """Return a choice's tokens; vLLM gives out also the one that stops."""
    tokens, finish = tuple(choice.get("token_ids") or ()), choice["finish_reason"]
    if finish == "stop" and tokens and tokens[-1] in generation.stops:
        tokens = tokens[:-1]
    return Piece(tokens, finish)
