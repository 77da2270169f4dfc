"""What the gateway's tests share: an engine whose every step is decided by the test, and clients without a network."""

import asyncio
import contextlib
import json
from collections import Counter

import httpx

from llm_server import gateway, text
from llm_server.engine.base import Busy, Dead, Piece, Stats
from llm_server.router import Router
from llm_server.text import Text

SAYS = "안녕하세요, 반갑습니다. Hello."
TOKENIZER = text.bytewise()
TEXT = Text(TOKENIZER, frozenset({TOKENIZER.eos_token_id}))


class Scripted:
    """Says ``says``, one token (a byte) a piece, as often as ``max_tokens`` lets it.

    ``gate`` holds back every piece until the test lets it go (``None``: nothing is held back); ``room`` requests fit.
    """

    name = "scripted"

    def __init__(self, says=SAYS, room=1000, gate=None, context=512):
        self.tokens, self.room, self.gate, self.context = TEXT.encode(says), room, gate, context
        self.open, self.dead, self.given, self.prompts, self.finished = set(), False, 0, [], Counter()
        self.seeds, self.steps = [], 0

    async def start(self):
        pass

    async def generate(self, generation):
        if self.dead:
            raise Dead
        if max(generation.prompt) >= len(TOKENIZER):
            raise ValueError
        if len(self.open) >= self.room:
            raise Busy
        me, finish = object(), "abort"
        self.open.add(me)
        self.prompts.append(generation.prompt)
        self.seeds.append(generation.sampling.seed)
        try:
            tokens = (*self.tokens, TOKENIZER.eos_token_id) * (1 + generation.max_tokens // len(self.tokens))
            for number, token in enumerate(tokens[: generation.max_tokens], start=1):
                if self.gate:
                    await self.gate.acquire()
                if self.dead:
                    raise Dead
                self.given += 1
                if token in generation.stops:
                    finish = "stop"
                    yield Piece((), "stop")
                    return
                finish = "length" if number == generation.max_tokens else None
                yield Piece((token,), finish)
                finish = finish or "abort"
        finally:
            self.open.discard(me)
            self.finished[finish] += 1

    def alive(self):
        return not self.dead

    def stats(self):
        return Stats(
            len(self.open), 0, len(self.open) / self.room, 0, self.given, 0, 0, 0, dict(self.finished)
        )

    async def drain(self):
        assert not self.open

    def die(self):
        """Everybody hears of it at the next piece."""
        self.dead = True
        for _ in self.open:
            if self.gate:
                self.gate.release()


def build(*engines, **options):
    """Return a gateway before engines, and its application."""
    made = gateway.Gateway(Router(engines), TEXT, "tiny", **options)
    return made, gateway.create_app(made)


@contextlib.asynccontextmanager
async def client(app, **options):
    transport = httpx.ASGITransport(app, **options)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as made:
        yield made


def wish(**changes):
    """A request for a completion."""
    return {"model": "tiny", "prompt": "안녕", "max_tokens": 200, "temperature": 0} | changes


class Visit:
    """One request to an application, whose client can go away; ``text`` is what has been sent to it so far.

    It takes no more than ``takes`` messages.
    """

    def __init__(self, app, path="/v1/completions", headers=(), takes=10**9, **changes):
        self.gone, self.sent, self.asked, self.takes = asyncio.Event(), [], False, takes
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "scheme": "http",
            "headers": list(headers),
        }  # fmt: skip
        self.body = json.dumps(wish(**changes)).encode()
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self):
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        self.sent.append(message)
        if len(self.sent) >= self.takes:
            await asyncio.Event().wait()

    @property
    def status(self):
        return self.sent[0]["status"] if self.sent else None

    @property
    def text(self):
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    async def leave(self):
        self.gone.set()
        await self.task


async def until(condition, seconds=20.0):
    """Wait until something is true; every check lets the event loop run."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


def events(text):
    """The JSON of server-sent events, without the closing ``[DONE]``."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    return [json.loads(line) for line in lines if line != "[DONE]"]
