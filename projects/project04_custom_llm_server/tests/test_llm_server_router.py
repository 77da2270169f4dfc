"""Several engines as one: where requests go, and what becomes of them when an engine dies under load."""

import tf_study  # noqa: F401  isort: skip

import asyncio
from contextlib import aclosing

import pytest
from llm_server_scripted import TEXT, Scripted, until

from llm_server import models
from llm_server.engine.base import Busy, Dead, Generation, Stats
from llm_server.engine.xla import XlaEngine
from llm_server.router import BLOCK, REMEMBERED, Router, _prefixes


def run(talk):
    return asyncio.run(asyncio.wait_for(talk, 60))


def tokens(length, first=0):
    return tuple((first + number * 7) % 250 for number in range(length))


async def collect(router, generation):
    """Return the tokens that came, and how it ended: a reason or the class of the error."""
    found = []
    try:
        async with aclosing(router.generate(generation)) as pieces:
            async for piece in pieces:
                found += piece.tokens
                finish = piece.finish
    except (Busy, Dead) as error:
        finish = type(error)
    return found, finish


def test_the_least_loaded_is_asked():
    async def talk():
        engines = [Scripted(gate=asyncio.Semaphore(0)) for _ in range(3)]
        router = Router(engines)
        tasks = [asyncio.create_task(collect(router, Generation(tokens(9, first), 5))) for first in range(6)]
        await until(lambda: sum(len(engine.open) for engine in engines) == 6)
        assert [len(engine.open) for engine in engines] == [2, 2, 2]
        long = asyncio.create_task(collect(router, Generation(tokens(9, 100), 200)))
        await until(lambda: len(engines[0].open) == 3)
        more = [asyncio.create_task(collect(router, Generation(tokens(9, 120 + n), 5))) for n in range(4)]
        await until(lambda: sum(len(engine.open) for engine in engines) == 11)
        assert [len(engine.open) for engine in engines] == [3, 4, 4]  # Tokens count, not requests.
        for task in (long, *tasks, *more):
            task.cancel()
        await asyncio.gather(long, *tasks, *more, return_exceptions=True)
        assert [place.tokens for place in router.places] == [0, 0, 0] and not any(e.open for e in engines)

    run(talk())


def test_load_falls_with_every_token():
    async def talk():
        engine = Scripted(gate=asyncio.Semaphore(0))
        router = Router([engine])
        task = asyncio.create_task(collect(router, Generation(tokens(9), 5)))
        seen = []
        for _ in range(5):
            await until(lambda: engine.open)
            seen.append(router.places[0].tokens)
            given = engine.given
            engine.gate.release()
            await until(
                lambda given=given: engine.given > given and (not engine.open or engine.gate.locked())
            )
            await asyncio.sleep(0.01)
        await task
        assert seen == [14, 4, 3, 2, 1] and router.places[0].tokens == 0

    run(talk())


def test_who_begins_alike_goes_to_the_same_engine():
    async def talk():
        engines = [Scripted(says="a"), Scripted(says="a"), Scripted(says="a")]
        router = Router(engines)
        texts = [tokens(5 * BLOCK, 50 * number) for number in range(3)]
        gate = [asyncio.Semaphore(0) for _ in engines]
        for engine, one in zip(engines, gate, strict=True):
            engine.gate = one
        first = [asyncio.create_task(collect(router, Generation(text, 1))) for text in texts]
        await until(lambda: all(engine.open for engine in engines))  # One each, as all are new.
        for one in gate:
            for _ in range(100):
                one.release()
        await asyncio.gather(*first)
        for number in (2, 0, 1, 1, 2, 0, 0):
            await collect(router, Generation(texts[number] + tokens(7, number), 1))
            assert engines[number].prompts[-1][: 5 * BLOCK] == texts[number]
        assert [len(engine.prompts) for engine in engines] == [4, 3, 3]

    run(talk())


def test_prefixes():
    prompt = tokens(3 * BLOCK + 1)
    assert len(_prefixes(prompt)) == 3 and len(_prefixes(prompt[:-1])) == 2 and _prefixes(prompt[:1]) == []
    assert _prefixes(prompt)[:2] == _prefixes(prompt[: 2 * BLOCK + 5])
    other = prompt[:3] + (251,) + prompt[4:]
    assert not {*_prefixes(other)} & {*_prefixes(prompt)}  # A block counts only after the same beginning.


def test_memory_of_prefixes_is_bounded():
    (place,) = Router([Scripted()]).places
    shared = tokens(BLOCK)
    for number in range(REMEMBERED // 2):
        place.remember(_prefixes(shared + tokens(2 * BLOCK, number) + (number,)))
    assert len(place.seen) <= REMEMBERED and _prefixes((*shared, 0))[0] in place.seen


def test_a_full_engine_passes_on():
    async def talk():
        engines = [Scripted(room=1, gate=asyncio.Semaphore(0)) for _ in range(2)]
        router = Router(engines)
        text = tokens(5 * BLOCK)
        tasks = [asyncio.create_task(collect(router, Generation(text, 1))) for _ in range(2)]
        await until(lambda: all(engine.open for engine in engines))
        assert await collect(router, Generation(text, 1)) == ([], Busy)
        for engine in engines:
            engine.gate.release()
        assert [finish for _, finish in await asyncio.gather(*tasks)] == ["length"] * 2

    run(talk())


def test_what_has_not_begun_is_tried_elsewhere():
    async def talk():
        engines = [Scripted(gate=asyncio.Semaphore(0)), Scripted(gate=asyncio.Semaphore(0))]
        router = Router(engines)
        tasks = [asyncio.create_task(collect(router, Generation(tokens(4, n), 3))) for n in range(8)]
        await until(lambda: [len(engine.open) for engine in engines] == [4, 4])
        engines[0].gate.release()  # One of the first engine's begins.
        await until(lambda: engines[0].given == 1)
        engines[0].die()
        await until(lambda: len(engines[1].open) == 7)
        for _ in range(21):
            engines[1].gate.release()
        found = await asyncio.gather(*tasks)
        whole = list(engines[1].tokens[:3])
        assert sorted(map(str, found)) == sorted(map(str, [(whole[:1], Dead)] + [(whole, "length")] * 7))
        engines[1].die()
        assert await collect(router, Generation(tokens(4), 3)) == ([], Dead)
        assert not router.alive() and [place.tokens for place in router.places] == [0, 0]

    run(talk())


def test_stats_are_sums():
    engines = [Scripted(), Scripted()]
    engines[0].stats = lambda: Stats(1, 2, 0.5, 3, 4, 5, 6, 7, {"stop": 1})
    engines[1].stats = lambda: Stats(1, 0, 0.0, 1, 1, 1, 1, 1, {"stop": 1, "abort": 2})
    assert Router(engines).stats() == Stats(2, 2, 0.25, 4, 5, 6, 7, 8, {"stop": 2, "abort": 2})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # It is the fault.
def test_a_real_engine_dies_under_load():
    """Two engines, sixteen clients; the step of one fails: who had begun there hears of it, all others get all."""
    source = models.load("tiny")[0]

    async def talk():
        engines = [XlaEngine(source, xla=False, ops=False, report=lambda line: None) for _ in range(2)]
        router = Router(engines)
        await router.start()
        wanted = [Generation(tokens(20, 3 * number), 24) for number in range(16)]
        expected = [await collect(router, generation) for generation in wanted]
        assert {finish for _, finish in expected} == {"length"}
        broken = engines[0]
        schedule, calls = broken._scheduler.schedule, 0

        def fail():
            nonlocal calls
            calls += 1
            if calls == 6:
                raise RuntimeError("the fault of this test")
            return schedule()

        broken._scheduler.schedule = fail
        broken._scheduler.slots = 4  # Some wait there, and they are not lost.
        found = await asyncio.gather(*(collect(router, generation) for generation in wanted))
        assert not broken.alive() and engines[1].alive()
        begun = [number for number, (_, finish) in enumerate(found) if finish is Dead]
        assert 1 <= len(begun) <= 4
        for number, (got, finish) in enumerate(found):
            if number in begun:
                assert 0 < len(got) < 24 and got == expected[number][0][: len(got)]
            else:
                assert (got, finish) == expected[number]
        assert engines[1].stats().kv_cache_usage == 0 and [place.tokens for place in router.places] == [0, 0]
        await router.drain()

    run(talk())


def test_dead_engines_are_not_waited_for():
    with pytest.raises(Dead):
        run(anext(Router([]).generate(Generation(TEXT.encode("a"), 1))))
