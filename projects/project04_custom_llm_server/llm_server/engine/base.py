"""What the gateway asks of an engine: token ids in, token ids out, one at a time.

The gateway owns text (tokenizer, chat template, stop strings, keys, limits); an engine owns the model, its cache and the
order of work. So one gateway serves the course's TensorFlow engine and vLLM alike.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; ``temperature`` 0 is greedy, and then the rest has no effect."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0  # 0: all tokens
    seed: int = 0  # the same request with the same seed gives the same tokens


@dataclass(frozen=True)
class Generation:
    """One sequence to generate: ``prompt`` (S,) token ids, at most ``max_tokens`` new ones, ended by any of ``stops``."""

    prompt: tuple[int, ...]
    max_tokens: int
    sampling: Sampling = Sampling()
    stops: frozenset[int] = frozenset()  # e.g. the end-of-text id; the token that stops is not given out


@dataclass(frozen=True)
class Piece:
    """What came of one step: new token ids, and in the last piece why it ended ("stop" or "length")."""

    tokens: tuple[int, ...]
    finish: str | None = None


@dataclass(frozen=True)
class Stats:
    """The engine's state now; names as vLLM's /metrics has them. Counters only grow."""

    running: int
    waiting: int
    kv_cache_usage: float  # 0-1, blocks in use of all
    prompt_tokens: int
    generated_tokens: int
    prefix_queries: int  # tokens looked up in the prefix cache
    prefix_hits: int  # of these, found
    preemptions: int
    finished: dict[str, int]  # by reason: "stop", "length", "abort"


class Busy(Exception):
    """The waiting line is full."""


class Dead(Exception):
    """The engine ended while, or before, it worked on the request."""


class Engine(Protocol):
    """What generates tokens. All methods are called on one event loop."""

    name: str
    context: int  # most tokens of prompt and answer together

    async def start(self) -> None:
        """Load, compile, warm up; returns once requests can be answered."""

    def generate(self, generation: Generation) -> AsyncIterator[Piece]:
        """Yield pieces as they come. Closing the iterator frees the sequence's cache at once.

        Raises:
            Busy: before the first piece.
            Dead: at any time.
            ValueError: before the first piece, if there is no prompt, it has tokens that the model does not know, or
                it and ``max_tokens`` are more than ``context`` together.
        """

    def alive(self) -> bool: ...

    def stats(self) -> Stats: ...

    async def drain(self) -> None:
        """Take no new request, finish those under way, then end."""
