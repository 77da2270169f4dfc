"""Fixtures of the project's tests. Its presence also puts this folder on sys.path."""

import asyncio
from contextlib import aclosing

import numpy as np
import pytest

SIZES = dict(vocab=300, width=64, layers=3, heads=4, kv_heads=2, hidden=128)


@pytest.fixture(scope="session")
def checkpoint():
    """A tiny Llama with random weights."""
    from llm_server import weights
    from tf_study.models.llama import Config

    return weights.tiny(Config(**SIZES))


@pytest.fixture(scope="session")
def smollm2_tokenizer():
    """The real model's tokenizer; a test that asks for it needs the model."""
    import nbval_needs
    from llm_server import weights

    nbval_needs.need("smollm2")
    return weights.tokenizer("smollm2")


@pytest.fixture(scope="session")
def prompts():
    """Fifty prompts of 1 to 90 tokens and the lengths of their answers; every third begins with one of two texts."""
    rng = np.random.default_rng(0)
    texts = rng.integers(0, SIZES["vocab"], (2, 70)).tolist()
    found = []
    for number in range(50):
        own = rng.integers(0, SIZES["vocab"], rng.integers(1, 91 if number % 3 else 21)).tolist()
        found.append(tuple(own if number % 3 else texts[number % 2] + own))
    return found, rng.integers(1, 33, len(found)).tolist()


async def _tokens_of(engine, generation):
    """All that an engine gives, and why it ended."""
    tokens, finish = [], None
    async with aclosing(engine.generate(generation)) as pieces:
        async for piece in pieces:
            assert finish is None
            tokens += piece.tokens
            finish = piece.finish
    return tokens, finish


@pytest.fixture(scope="session")
def tokens_of():
    """Give tests :func:`_tokens_of`."""
    return _tokens_of


@pytest.fixture(scope="session")
def run_engine():
    """Start an engine, do something with it in its event loop, drain it; return what that returned."""

    def run(engine, action):
        async def whole():
            await engine.start()
            try:
                return await action(engine)
            finally:
                await engine.drain()
                assert not engine.alive()

        return asyncio.run(whole())

    return run


@pytest.fixture(scope="session")
def answer(run_engine):
    """Let an engine work on all generations together; return tokens and reasons, and its stats at the end."""

    def run(engine, generations):
        async def action(engine):
            found = await asyncio.gather(*(_tokens_of(engine, generation) for generation in generations))
            return found, engine.stats()

        return run_engine(engine, action)

    return run
