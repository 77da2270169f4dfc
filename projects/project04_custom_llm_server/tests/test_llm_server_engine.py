"""The engine gives what Hugging Face's generate gives, however its requests are put together."""

import tf_study  # noqa: F401  isort: skip

import asyncio
from contextlib import aclosing

import numpy as np
import pytest
import tensorflow as tf

from llm_server import measure, native, sampling, weights
from llm_server.engine.base import Busy, Dead, Generation, Sampling
from llm_server.engine.xla import XlaEngine
from llm_server.model import PagedLlama, Stretch
from tf_study.cuda import builder
from tf_study.errors import StudyError
from tf_study.models import llama

needs_compiler = pytest.mark.skipif(builder.compiler() is None, reason="C++ 컴파일러가 없습니다.")


def quiet(source, xla=False, **options):
    """An engine that says nothing and, unless it is the subject, spends no time on compiling."""
    return XlaEngine(source, xla=xla, report=lambda line: None, **options)


def course_llama(checkpoint):
    """The same weights in the Llama of lecture 12.1."""
    state = {
        name: tensor.T if name.endswith("_proj.weight") else tensor
        for name, tensor in checkpoint.tensors.items()
    }
    return llama.loaded(checkpoint.config, state)


@pytest.fixture(scope="module")
def generations(prompts):
    return [Generation(prompt, count) for prompt, count in zip(*prompts, strict=True)]


@pytest.fixture(scope="module")
def folder(checkpoint, tmp_path_factory):
    """The tiny Llama as Hugging Face would save it."""
    path = tmp_path_factory.mktemp("모델")
    weights.save(checkpoint, path)
    return path


@pytest.fixture(scope="module")
def expected(folder, generations):
    """What ``generate`` of transformers gives for each prompt alone."""
    torch = pytest.importorskip("torch", reason="torch는 make advanced가 설치합니다.")
    import transformers

    torch.set_num_threads(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    for generation in generations:
        ids = torch.tensor([generation.prompt])
        with torch.no_grad():
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=generation.max_tokens,
                do_sample=False,
                pad_token_id=0,
                eos_token_id=None,
            )
        found.append((out[0, len(generation.prompt) :].tolist(), "length"))
    return found


@pytest.mark.parametrize(
    "options",
    [
        dict(slots=1),
        dict(slots=4, prefixes=False, xla=True, budget=32),
        dict(slots=16),
        dict(slots=16, ops=False, xla=True),
        dict(slots=16, cache=192, context=128),  # room for two sequences: the others make way
        dict(slots=4, ops=False, size=4, budget=7),
    ],
    ids=str,
)
def test_fifty_prompts_equal_generate(folder, generations, expected, answer, options):
    found, stats = answer(quiet(folder, **({"context": 256, "cache": 4096} | options)), generations)
    assert found == expected
    assert stats.kv_cache_usage == 0 and stats.running == stats.waiting == 0
    assert stats.finished == {"length": len(generations)}
    assert stats.prompt_tokens == sum(len(generation.prompt) for generation in generations)
    assert stats.generated_tokens == sum(generation.max_tokens for generation in generations)
    assert (stats.preemptions > 0) == (options.get("cache") == 192)
    assert (stats.prefix_hits > 0) == options.get("prefixes", True)


def test_answers_vary(expected):
    """Random weights often repeat one token, and then a wrong cache would go unnoticed."""
    assert np.mean([len(set(tokens)) / len(tokens) for tokens, _ in expected]) > 0.5


def test_a_second_time_everything_is_found(folder, generations, answer, run_engine, tokens_of):
    async def twice(engine):
        long = [g for g in generations if len(g.prompt) > 16][::3]
        first = [await tokens_of(engine, g) for g in long]
        before = engine.stats()
        assert [await tokens_of(engine, g) for g in long] == first
        after = engine.stats()
        wanted = sum((len(g.prompt) - 1) // 16 * 16 for g in long)
        assert after.prefix_hits - before.prefix_hits == wanted  # at least one token is computed

    run_engine(quiet(folder, context=256, cache=8192), twice)


@pytest.mark.parametrize("head_dim", [16, 24])  # 24: the native attention cannot take it
@pytest.mark.parametrize("options", [dict(), dict(xla=True), dict(xla=True, ops=True)], ids=str)
def test_logits_equal_the_courses_llama(options, head_dim):
    """In one stretch, in three, and beside another sequence."""
    config = llama.Config(300, 64, 2, 4, 1, 120, head_dim=head_dim, tie_embeddings=head_dim == 16)
    checkpoint = weights.tiny(config)
    model = course_llama(checkpoint)
    tokens = np.random.default_rng(0).integers(0, 300, 40)
    wanted = model(tokens[None])[0][0].numpy()
    paged = PagedLlama(checkpoint, 32, context=64, **({"ops": False} | options))
    table, other = [5, 2, 9], [7, 1]
    np.testing.assert_allclose(paged.step([Stretch(tokens, 0, table, True)])[0], wanted[39], atol=2e-4)
    for start, end in ((0, 17), (17, 39), (39, 40)):
        logits = paged.step(
            [Stretch(tokens[start:end], start, [11, 4, 3], True), Stretch(tokens[:20], 0, other, start == 17)]
        )
        assert len(logits) == 1 + (start == 17)
        np.testing.assert_allclose(logits[0], wanted[end - 1], atol=2e-4)
        if start == 17:
            np.testing.assert_allclose(logits[1], wanted[19], atol=2e-4)
    assert paged.step([Stretch(tokens[:3], 0, other, False)]).shape == (0, 300)


def test_smollm2_equals_transformers(smollm2_tokenizer, answer):
    """Real weights, real texts: the chat template's, one that goes on, one of a single token."""
    torch = pytest.importorskip("torch", reason="torch는 make advanced가 설치합니다.")
    checkpoint, tokenizer = weights.load("smollm2"), smollm2_tokenizer
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of South Korea?"}], add_generation_prompt=True
    )
    prompts = [chat, tokenizer("Once upon a time, in a village by the sea,")["input_ids"], [1]]
    asked = [Generation(tuple(prompt), 8, stops=checkpoint.stops) for prompt in prompts]
    found, _ = answer(quiet(checkpoint, cache=1024), asked)
    assert "Seoul" in tokenizer.decode(found[0][0])
    theirs = measure.torch_model(checkpoint)
    for prompt, (tokens, finish) in zip(prompts, found, strict=True):
        with torch.no_grad():
            logits = theirs(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 :]
        *wanted, after = logits.argmax(-1).tolist()  # what they choose after each token
        assert tokens == wanted and finish == ("stop" if len(tokens) < 8 else "length")
        assert (after in checkpoint.stops) or finish == "length"


@needs_compiler
def test_the_cache_is_written_where_it_lies(checkpoint):
    """The native op, too, writes into the variables themselves, and nowhere else but in the null block."""
    caches = []
    for ops in (True, False):
        paged = PagedLlama(checkpoint, 8, context=64, ops=ops)
        paged.step([Stretch(np.arange(20), 0, [6, 3], True)])
        caches.append((paged._keys[2].numpy(), paged._values[2].numpy()))
    for mine, theirs in zip(*caches, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
        used = np.abs(mine).sum((1, 3)) > 0  # (blocks, size)
        assert used[6].all() and used[3].tolist() == [True] * 4 + [False] * 12
        assert not used[[1, 2, 4, 5, 7]].any()


def test_a_stop_token_ends_and_is_not_given(folder, generations, expected, answer):
    tokens, _ = max(expected, key=lambda pair: len(set(pair[0])))
    number = expected.index((tokens, "length"))
    stop = tokens[len(tokens) // 2]
    asked = Generation(generations[number].prompt, len(tokens), stops=frozenset({stop, 999}))
    ((found, finish),), stats = answer(quiet(folder), [asked])
    assert found == tokens[: tokens.index(stop)] and finish == "stop" and stats.finished == {"stop": 1}


def test_a_seed_gives_the_same_tokens_alone_and_among_others(checkpoint, folder, generations, answer):
    def asked(seed, number=7):
        return Generation(
            generations[number].prompt, 24, Sampling(temperature=1.0, top_p=0.95, top_k=50, seed=seed)
        )

    alone = [answer(quiet(folder), [asked(seed)])[0][0] for seed in (1, 2)]
    crowd = [*generations[:20], asked(1), *generations[20:30], asked(2), asked(1, number=8)]
    found, _ = answer(quiet(folder, slots=8, cache=1024, xla=True), crowd)
    assert [found[20], found[31]] == alone and alone[0] != alone[1] and found[32] != alone[0]
    # What is drawn follows from the logits, the seed and the position.
    prompt, (tokens, _) = generations[7].prompt, alone[0]
    logits = course_llama(checkpoint)(np.array([[*prompt, *tokens]]))[0][0].numpy()
    wish = asked(1).sampling
    places = range(len(prompt), len(prompt) + len(tokens))
    assert [sampling.choose(logits[place - 1], wish, place) for place in places] == tokens


def test_who_leaves_frees_its_blocks_and_the_others_do_not_notice(
    folder, generations, expected, run_engine, tokens_of
):
    async def leave(engine, generation, after):
        async with aclosing(engine.generate(generation)) as pieces:
            async for _ in pieces:
                if not (after := after - 1):
                    return

    async def action(engine):
        long = [Generation(g.prompt, 150) for g in generations[:12]]
        stay = asyncio.gather(*(tokens_of(engine, g) for g in generations[:9]))
        await asyncio.gather(*(leave(engine, g, 1 + index % 4) for index, g in enumerate(long)))
        waits = [asyncio.ensure_future(tokens_of(engine, g)) for g in long]
        await asyncio.sleep(0.05)
        for task in waits:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        assert await stay == expected[:9]
        while engine.stats().running or engine.stats().waiting:
            await asyncio.sleep(0.01)
        stats = engine.stats()
        assert stats.kv_cache_usage == 0 and stats.finished == {"length": 9, "abort": 24}

    run_engine(quiet(folder, slots=4, cache=1024), action)


def test_a_full_line_and_what_cannot_be_asked(folder, run_engine, tokens_of):
    async def action(engine):
        asked = [tokens_of(engine, Generation((1, 2, 3), 40)) for _ in range(7)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(one, Busy) for one in found] == [False] * 5 + [True] * 2
        assert len({tuple(tokens) for tokens, _ in found[:5]}) == 1
        for wrong in (((), 5), ((1,), 0), ((1,) * 100, 30), ((300,), 5), ((-1,), 5)):
            with pytest.raises(ValueError):
                await tokens_of(engine, Generation(*wrong))
        assert (await tokens_of(engine, Generation((1,) * 100, 28)))[1] == "length"

    run_engine(quiet(folder, slots=2, waiting=3, context=128), action)


def test_draining_finishes_what_is_under_way(folder, generations, expected, tokens_of):
    async def action():
        engine = quiet(folder)
        with pytest.raises(Dead):
            await tokens_of(engine, generations[0])
        await engine.start()
        tasks = [asyncio.ensure_future(tokens_of(engine, g)) for g in generations[:5]]
        await asyncio.sleep(0)
        drained = asyncio.ensure_future(engine.drain())
        await asyncio.sleep(0)
        with pytest.raises(Dead):
            await tokens_of(engine, generations[5])
        assert await asyncio.gather(*tasks) == expected[:5]
        await drained
        assert not engine.alive()

    asyncio.run(action())


def test_a_model_that_cannot_be_read_is_told_at_the_start(tmp_path, tokens_of):
    async def action():
        engine = quiet(tmp_path)
        with pytest.raises(StudyError, match="config.json이 없으니"):
            await engine.start()
        assert not engine.alive()
        with pytest.raises(Dead):
            await tokens_of(engine, Generation((1,), 1))
        await engine.drain()

    asyncio.run(action())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_engine_that_breaks_tells_all(folder, generations, monkeypatch, tokens_of):
    steps = 0
    step = PagedLlama.step

    def breaking(self, stretches):
        nonlocal steps
        steps += 1
        if steps > 12:
            raise tf.errors.ResourceExhaustedError(None, None, "no memory")
        return step(self, stretches)

    monkeypatch.setattr(PagedLlama, "step", breaking)

    async def action():
        engine = quiet(folder)
        await engine.start()
        asked = [tokens_of(engine, Generation(g.prompt, 100)) for g in generations[:5]]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(one, Dead) for one in found) and not engine.alive()
        with pytest.raises(Dead):
            await tokens_of(engine, generations[0])
        await engine.drain()

    asyncio.run(action())


def test_without_a_compiler_one_line_says_so(monkeypatch, capsys, checkpoint):
    native.library.cache_clear()
    monkeypatch.setattr(builder, "compiler", lambda: None)
    model = PagedLlama(checkpoint, 8, context=64)
    assert model.step([Stretch([1, 2], 0, [1], True)]).shape == (1, 300)
    out = capsys.readouterr().out
    assert (
        out.startswith("C++ 컴파일러가 없어 TensorFlow의 연산으로")
        and out.count("\n") == 1
        and out.endswith(".\n")
    )
    PagedLlama(checkpoint, 8, context=64)
    assert capsys.readouterr().out == ""  # It is told once.
    native.library.cache_clear()


@needs_compiler
def test_a_source_that_cannot_be_built_is_told_in_one_line(monkeypatch, capsys, tmp_path):
    native.library.cache_clear()
    broken = tmp_path / "op.cpp"
    broken.write_text("int x = ;", encoding="utf-8")
    monkeypatch.setattr(native, "SOURCE", broken)
    assert native.library() is None
    out = capsys.readouterr().out
    assert out.startswith("C++ 연산을 쓸 수 없어") and out.count("\n") == 1
    native.library.cache_clear()
