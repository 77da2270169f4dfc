"""Several engines as one: each request goes where the fewest tokens stand between it and its last one.

Of an engine that is the tokens that its open requests may still need, and the request's own without those that lie in
the engine's prefix cache, as far as the router can tell: it remembers which prompts went where. Requests of an engine
that dies go to another one if they have not begun to stream.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from llm_server.engine.base import Busy, Dead, Engine, Generation, Piece, Stats

BLOCK = 16  # tokens that are remembered together
REMEMBERED = 4096  # blocks of an engine


class Place:
    """An engine, the work it has been given, and the prompts that it has seen."""

    def __init__(self, engine: Engine):
        self.engine, self.tokens = engine, 0
        self.seen: OrderedDict[int, None] = OrderedDict()  # hashes of prefixes, the last used last

    def cost(self, prefixes: Sequence[int], length: int) -> int:
        """Return the tokens to compute before a prompt of this length is done."""
        found = next((n for n in range(len(prefixes), 0, -1) if prefixes[n - 1] in self.seen), 0)
        return self.tokens + length - found * BLOCK

    def remember(self, prefixes: Sequence[int]) -> None:
        for prefix in reversed(prefixes):  # The shortest, which most prompts share, is forgotten last.
            self.seen[prefix] = None
            self.seen.move_to_end(prefix)
        while len(self.seen) > REMEMBERED:
            self.seen.popitem(last=False)


class Router:
    """An :class:`llm_server.engine.base.Engine` that is made of others."""

    name = "router"

    def __init__(self, engines: Sequence[Engine]):
        self.places = [Place(engine) for engine in engines]

    @property
    def engines(self) -> list[Engine]:
        return [place.engine for place in self.places]

    @property
    def context(self) -> int:
        return min(engine.context for engine in self.engines)

    async def start(self) -> None:
        for engine in self.engines:  # One after the other: each uses all cores to compile.
            await engine.start()

    async def generate(self, generation: Generation) -> AsyncIterator[Piece]:
        """Yield pieces as they come; see :class:`llm_server.engine.base.Engine`."""
        prefixes, tried, refusal = _prefixes(generation.prompt), [], Dead
        while place := self._choose(prefixes, len(generation.prompt), tried):
            tried.append(place)
            begun = False
            place.remember(prefixes)
            left = len(generation.prompt) + generation.max_tokens
            place.tokens += left
            try:
                async with aclosing(place.engine.generate(generation)) as pieces:
                    async for piece in pieces:
                        done = len(piece.tokens) + (0 if begun else len(generation.prompt))
                        place.tokens, left, begun = place.tokens - done, left - done, True
                        yield piece
                return
            except Busy:
                refusal = Busy
            except Dead:
                place.seen.clear()  # When it comes back its cache is empty.
                if begun:
                    raise
            finally:
                place.tokens -= left
        raise refusal

    def alive(self) -> bool:
        return any(engine.alive() for engine in self.engines)

    def stats(self) -> Stats:
        """Return the sums over the engines; of the cache's use, the mean."""
        found = [engine.stats() for engine in self.engines]
        sums = {
            field: sum(getattr(one, field) for one in found)
            for field in Stats.__dataclass_fields__
            if field != "finished"
        }
        sums["kv_cache_usage"] /= len(found)
        reasons = {reason for one in found for reason in one.finished}
        finished = {reason: sum(one.finished.get(reason, 0) for one in found) for reason in reasons}
        return Stats(**sums, finished=finished)

    async def drain(self) -> None:
        await asyncio.gather(*(engine.drain() for engine in self.engines))

    def _choose(self, prefixes: Sequence[int], length: int, tried: list[Place]) -> Place | None:
        left = [place for place in self.places if place not in tried and place.engine.alive()]
        return min(left, key=lambda place: place.cost(prefixes, length), default=None)


def _prefixes(prompt: tuple[int, ...]) -> list[int]:
    """Return a hash of each prefix of whole blocks; the last token is never found in a cache, so it is left out."""
    found, last = [], 0
    for start in range(0, (len(prompt) - 1) // BLOCK * BLOCK, BLOCK):
        last = hash((last, prompt[start : start + BLOCK]))
        found.append(last)
    return found
