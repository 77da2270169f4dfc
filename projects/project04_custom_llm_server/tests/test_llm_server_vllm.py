"""The vLLM engine against a stand-in for its server; the same answers of vLLM itself where ``TF_STUDY_VLLM`` names it.

The real one takes half a minute of CPU and up to 4 GB of memory for each of its starts.
"""

import tf_study  # noqa: F401  isort: skip

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import aclosing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import llm_server_scripted as scripted
import llm_server_standin as standin
import numpy as np
import psutil
import pytest

import nbval_needs
from llm_server import measure, models, weights
from llm_server.__main__ import build_parser
from llm_server.engine import guard, remote, vllm
from llm_server.engine.base import Busy, Dead, Generation
from llm_server.engine.vllm import VllmEngine
from llm_server.engine.xla import XlaEngine
from tf_study.errors import StudyError
from tf_study.models.llama import Config

REAL = os.environ.get(vllm.VARIABLE)
needs_vllm = pytest.mark.skipif(REAL is None, reason="TF_STUDY_VLLM이 vLLM의 Python을 가리키지 않습니다.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model over bytes."""
    path = tmp_path_factory.mktemp("모델")
    config = Config(standin.VOCABULARY, width=64, layers=2, heads=2, kv_heads=1, hidden=128)
    weights.save(weights.tiny(config, context=512), path)
    return path


@pytest.fixture
def make(folder, tmp_path, monkeypatch):
    """Return engines whose server is the stand-in, what they report, and the process that the last one started."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -S {standin.__file__} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv(vllm.VARIABLE, str(script))
    monkeypatch.setattr(vllm, "GRACE", 0.2)
    monkeypatch.setattr(vllm, "LOOK", 0.02)
    monkeypatch.setattr(remote, "EVERY", 0.03)

    def build(*arguments, **options):
        arguments = ("--argv", str(tmp_path / "argv"), *arguments)
        engine = VllmEngine(
            folder, **{"arguments": arguments, "report": lines.append, "delays": (0, 0)} | options
        )
        engine.lines, engine.told = lines, lambda: json.loads((tmp_path / "argv").read_text(encoding="utf-8"))
        return engine

    lines = []
    return build


def wish(*prompt, count=20, **options):
    return Generation(prompt or (1, 2, 3), count, **options)


def gone(pid):
    """Say whether a process has ended; one that nobody has waited for yet has ended, too."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def refreshed(engine, condition):
    await scripted.until(lambda: condition(engine.stats()))


def test_answers_counts_and_command_line(make, run_engine, tokens_of):
    async def action(engine):
        asked = [wish(number, 7, 9, count=10 + number) for number in range(5)]
        found = await asyncio.gather(*(tokens_of(engine, one) for one in asked))
        assert found == [standin.answer(one.prompt, one.max_tokens) for one in asked]
        tokens, _ = standin.answer((1, 2, 3), 20)
        stops = frozenset({tokens[5], 999})
        assert await tokens_of(engine, wish(stops=stops)) == (tokens[: tokens.index(tokens[5])], "stop")
        for wrong in (Generation((), 3), wish(count=0), wish(count=510), wish(-1), wish(1, 259)):
            with pytest.raises(ValueError):
                await anext(engine.generate(wrong))
        await refreshed(engine, lambda stats: stats.running == 0 and stats.prompt_tokens == 18)
        stats = engine.stats()
        assert stats.finished == {"length": 5, "stop": 1}
        assert engine.context == 512 and engine.alive()

    engine = make("--compilation-config", "3", tensor_parallel=2, pipeline_parallel=3, context=512, slots=9)
    run_engine(engine, action)
    told = engine.told()
    words = " ".join(told["argv"])
    assert words.startswith("-m vllm.entrypoints.openai.api_server --model ")
    for part in ("--tensor-parallel-size 2 --pipeline-parallel-size 3", "--max-num-seqs 9", "--max-model-len 512",
                 "--skip-tokenizer-init", "--compilation-config 3", "--host 127.0.0.1"):  # fmt: skip
        assert part in words
    assert told["env"]["VLLM_API_KEY"] not in words and "PYTHONPATH" not in told["env"]
    assert gone(told["pid"]) and not engine.alive()
    assert engine.lines[-1].startswith("vLLM을 켰습니다")


@pytest.mark.parametrize("who", ["server", "guard"])
def test_killed_in_mid_stream_it_comes_back(make, run_engine, tokens_of, who):
    async def action(engine):
        assert await tokens_of(engine, wish()) == standin.answer((1, 2, 3), 20)
        await refreshed(engine, lambda stats: stats.generated_tokens == 20)
        first = engine.told()["pid"]
        with pytest.raises(Dead):
            async with aclosing(engine.generate(wish(count=400))) as pieces:
                async for _ in pieces:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(first if who == "server" else engine._process.pid, signal.SIGKILL)
        await scripted.until(lambda: not engine.alive() or engine.told()["pid"] != first)
        await scripted.until(engine.alive)
        assert engine.told()["pid"] != first and gone(first)
        assert await tokens_of(engine, wish()) == standin.answer((1, 2, 3), 20)
        await refreshed(engine, lambda stats: stats.generated_tokens >= 40)
        assert engine.stats().finished == {"length": 2, "error": 1}

    engine = make("--pace", "0.005")
    run_engine(engine, action)
    assert any(line.startswith("vLLM이 끝나 0초 뒤에 다시 켭니다.") for line in engine.lines)


def test_after_too_many_deaths_it_stays_dead(make, run_engine):
    async def action(engine):
        seen = set()
        while len(seen) < 3:
            await scripted.until(lambda: engine.told()["pid"] not in seen and engine.alive())
            seen.add(engine.told()["pid"])
            os.kill(engine.told()["pid"], signal.SIGKILL)
        await scripted.until(lambda: engine.lines[-1].startswith("vLLM이 3번 끝났으니"))
        assert not engine.alive()
        with pytest.raises(Dead):
            await anext(engine.generate(wish()))

    run_engine(make(), action)


def test_a_server_that_hangs_is_replaced(make, run_engine, monkeypatch, tokens_of):
    monkeypatch.setattr(vllm, "HUNG", 0.5)
    monkeypatch.setattr(remote, "WAIT", 0.3)

    async def action(engine):
        first = engine.told()["pid"]
        os.kill(first, signal.SIGSTOP)
        await scripted.until(lambda: gone(first))
        await scripted.until(lambda: engine.alive() and engine.told()["pid"] != first)
        assert await tokens_of(engine, wish()) == standin.answer((1, 2, 3), 20)

    run_engine(make(), action)


def test_who_leaves_is_not_computed_any_more(make, run_engine):
    async def action(engine):
        async with aclosing(engine.generate(wish(count=500))) as pieces:
            await anext(pieces)
            await refreshed(engine, lambda stats: stats.running == 1)
        await refreshed(engine, lambda stats: stats.running == 0 and stats.finished == {"abort": 1})

    run_engine(make("--pace", "0.01"), action)


def test_more_than_fit_are_refused(make, run_engine, tokens_of):
    async def action(engine):
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(3):
                await anext(await stack.enter_async_context(aclosing(engine.generate(wish(count=500)))))
            with pytest.raises(Busy):
                await anext(engine.generate(wish()))
        assert len((await tokens_of(engine, wish(count=2)))[0]) == 2

    run_engine(make("--pace", "0.01", slots=2, waiting=1), action)


def test_drain_lets_answers_end(make, tokens_of):
    async def whole():
        engine = make("--pace", "0.005")
        await engine.start()
        answering = asyncio.create_task(tokens_of(engine, wish(count=60)))
        await scripted.until(lambda: engine._open)
        draining = asyncio.create_task(engine.drain())
        await asyncio.sleep(0)
        assert not engine.alive() and not draining.done()
        with pytest.raises(Dead):
            await anext(engine.generate(wish()))
        await draining
        assert answering.done() and answering.result() == standin.answer((1, 2, 3), 60)
        assert gone(engine.told()["pid"])

    asyncio.run(whole())


def test_a_start_that_fails_shows_the_last_lines(make):
    engine = make("--fail")
    with pytest.raises(StudyError, match="고치세요.\n(.*\n)*ERROR 가중치가 없습니다$"):
        asyncio.run(engine.start())
    assert gone(engine.told()["pid"]) and not engine.alive()
    asyncio.run(engine.drain())  # has nothing to do


def test_a_port_that_others_took(make, run_engine, monkeypatch, tokens_of):
    free = vllm.free_ports
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:  # knows no request
        threading.Thread(target=other.serve_forever, args=(0.01,), daemon=True).start()
        ports = [other.server_port]
        monkeypatch.setattr(vllm, "free_ports", lambda count: [ports.pop()] if ports else free(count))

        async def action(engine):
            assert await tokens_of(engine, wish()) == standin.answer((1, 2, 3), 20)

        try:
            run_engine(make(), action)
        finally:
            other.shutdown()
        assert not ports


def test_without_vllm(make, monkeypatch, tmp_path):
    for value, sentence in ((str(tmp_path / "없음"), "경로를 확인하세요"), ("", "경로를 적으세요")):
        monkeypatch.setenv(vllm.VARIABLE, value)
        with pytest.raises(StudyError, match=f"{sentence}.$"):
            asyncio.run(make().start())
    monkeypatch.setenv(vllm.VARIABLE, sys.executable)  # has none
    monkeypatch.setattr(vllm, "PROBE", "import no_such_package")
    with pytest.raises(StudyError, match="vLLM을 설치하세요.$"):
        vllm.probe()


def test_probe(make):
    assert vllm.probe() == {"version": "vllm 0.32.0", "gpus": 0}


def test_which_engine_the_command_line_takes(monkeypatch):
    """``auto`` takes vLLM where there are a GPU and vLLM; what is vLLM's alone is refused elsewhere."""
    named, source = sys.executable, weights.tiny(Config(259, 16, 1, 1, 1, 16))
    for kind, gpus, variable, wanted in (
        ("auto", 1, named, "vllm"),
        ("auto", 0, named, "xla"),
        ("auto", 1, "", "xla"),
        ("vllm", 0, "", "vllm"),
        ("xla", 1, named, "xla"),
    ):
        monkeypatch.setattr(vllm, "gpus", lambda gpus=gpus: gpus)
        monkeypatch.setenv(vllm.VARIABLE, variable)
        made = models.engines(kind, source, 2, 7)
        assert [engine.name for engine in made] == [wanted] * 2 and made[0].waiting == 7
    for options in (dict(tensor_parallel=2), dict(pipeline_parallel=2), dict(arguments=["--seed", "1"])):
        with pytest.raises(StudyError, match="--engine vllm을 쓰세요.$"):
            models.engines("xla", source, 1, 7, **options)
    monkeypatch.setattr(vllm, "gpus", lambda: 4)
    (engine,) = models.engines("vllm", source, 1, 7, 2, 3, ["--seed", "1"])
    engine._folder, engine._python = "m", "p"
    words = " ".join(engine._words({}))
    assert words.endswith("--tensor-parallel-size 2 --pipeline-parallel-size 3 --dtype auto --seed 1")
    assert build_parser().parse_args(["serve", "--vllm=--seed 1"]).vllm == "--seed 1"


@pytest.mark.parametrize("end", ["owner", "command"])
def test_nothing_outlives_its_owner_or_its_parent(tmp_path, end):
    """The owner gets kill -9; or the command ends and leaves a child behind."""
    child = f"import os,time; os.fork(); open({str(tmp_path)!r} + f'/{{os.getpid()}}', 'w'); time.sleep(60)"
    owner = "import subprocess,sys,time; p=subprocess.Popen(sys.argv[1:], stdin=-1, start_new_session=True); time.sleep(60)"
    command = [sys.executable, "-S", guard.__file__, "0.2", sys.executable, "-S", "-c", child]
    process = subprocess.Popen([sys.executable, "-S", "-c", owner, *command])
    until = time.monotonic() + 20
    while len(pids := sorted(int(path.name) for path in tmp_path.iterdir())) < 2:
        assert time.monotonic() < until
        time.sleep(0.01)
    try:
        os.kill(process.pid if end == "owner" else pids[0], signal.SIGKILL)
        while not all(map(gone, pids)):
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()


def talk(engine):
    """Requests through the gateway: whole and streamed answers, and metrics."""

    async def action(engine):
        _, app = scripted.build(engine)
        async with scripted.client(app) as client:
            whole = await client.post(
                "/v1/completions", json=scripted.wish(max_tokens=12, return_token_ids=True)
            )
            streamed = await client.post(
                "/v1/completions", json=scripted.wish(max_tokens=12, return_token_ids=True, stream=True)
            )
            pieces = scripted.events(streamed.text)
            (choice,) = whole.json()["choices"]
            assert whole.status_code == streamed.status_code == 200
            assert [t for piece in pieces for c in piece["choices"] for t in c["token_ids"]] == choice[
                "token_ids"
            ]
            assert "".join(c["text"] for piece in pieces for c in piece["choices"]) == choice["text"]
            assert whole.json()["usage"] == {"prompt_tokens": 6, "completion_tokens": 12, "total_tokens": 18}
            chat = {"model": "tiny", "messages": [{"role": "user", "content": "안녕"}], "max_tokens": 5}
            seeded = [
                await client.post("/v1/chat/completions", json=chat | {"seed": seed}) for seed in (1, 1)
            ]
            assert seeded[0].json()["choices"] == seeded[1].json()["choices"]
            long = await client.post("/v1/completions", json=scripted.wish(max_tokens=5000))
            assert long.status_code == 400
            told = sum(one.json()["usage"]["completion_tokens"] for one in (whole, whole, *seeded))
            await refreshed(engine, lambda stats: stats.generated_tokens >= told)
            assert engine.stats().generated_tokens <= told + 2  # vLLM counts a token that stops.
            assert sum(engine.stats().finished.values()) == 4
            assert (
                'llm_server:engine_up{model_name="tiny",engine="0"} 1' in (await client.get("/metrics")).text
            )
            return choice["token_ids"]

    return action


def test_the_gateway_before_it(make, run_engine):
    engine = make()
    tokens = run_engine(engine, talk(engine))
    assert tokens == standin.answer(scripted.TEXT.encode("안녕"), 12)[0]


@needs_vllm
def test_vllm_answers_as_the_other_engine_does(folder, run_engine, answer, tokens_of):
    """Greedy tokens of both engines; the gateway before vLLM; cancellation; kill -9."""
    rng = np.random.default_rng(0)
    asked = [Generation(tuple(rng.integers(0, 259, n).tolist()), 16) for n in (1, 31, 32, 33, 64, 100, 300)]
    expected, _ = answer(XlaEngine(folder, xla=False, context=512, report=lambda line: None), asked)
    stop = expected[3][0][7]
    stopping = replace(asked[3], stops=frozenset({stop}))

    async def action(engine):
        await talk(engine)(engine)
        found = await asyncio.gather(*(tokens_of(engine, one) for one in asked))
        assert found == expected
        assert await tokens_of(engine, stopping) == (expected[3][0][: expected[3][0].index(stop)], "stop")
        before = engine.stats().prefix_hits
        assert await tokens_of(engine, asked[-1]) == expected[-1]
        await refreshed(engine, lambda stats: stats.prefix_hits - before >= 288)  # blocks of 32
        async with aclosing(engine.generate(replace(asked[0], max_tokens=500))) as pieces:
            await anext(pieces)
        await refreshed(engine, lambda stats: stats.running == 0 and stats.kv_cache_usage == 0)
        assert engine.stats().finished["abort"] == 1
        for wrong in (Generation((259,), 4), Generation((1,) * 500, 13)):
            with pytest.raises(ValueError):
                await anext(engine.generate(wrong))
        (server,) = psutil.Process(engine._process.pid).children()
        family = [server, *server.children(recursive=True)]
        with pytest.raises(Dead):
            async with aclosing(engine.generate(replace(asked[0], max_tokens=500))) as pieces:
                async for _ in pieces:
                    server.kill()
        await scripted.until(lambda: not engine.alive())
        await scripted.until(engine.alive, 600)
        assert not any(process.is_running() for process in family)
        assert await tokens_of(engine, asked[5]) == expected[5]

    run_engine(VllmEngine(folder, arguments=["--enforce-eager"], delays=(0,)), action)


@needs_vllm
@pytest.mark.parametrize("bits", [32, 4])
def test_vllm_on_real_weights(bits, answer, tmp_path):
    """float32 gives what transformers and the other engine give; our 4-bit folder loads in bfloat16."""
    nbval_needs.need("smollm2")
    checkpoint, tokenizer = weights.load("smollm2"), weights.tokenizer("smollm2")
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of South Korea?"}], add_generation_prompt=True
    )
    prompts = [chat, tokenizer("Once upon a time, in a village by the sea,")["input_ids"], [1]]
    asked = [Generation(tuple(prompt), 12, stops=checkpoint.stops) for prompt in prompts]
    if bits == 4:
        checkpoint = measure.rounded(checkpoint)
    weights.save(checkpoint, tmp_path)
    found, _ = answer(VllmEngine(tmp_path, context=512, arguments=["--enforce-eager"]), asked)
    ours, _ = answer(XlaEngine(checkpoint, xla=False, cache=1024, report=lambda line: None), asked)
    assert "Seoul" in tokenizer.decode(found[0][0])
    if bits == 4:  # bfloat16 has 8 bits of precision: the likeliest token is another one now and then.
        assert found[0][0][:6] == ours[0][0][:6]
        return
    assert found == ours
    torch, model = pytest.importorskip("torch"), measure.torch_model(checkpoint)
    for prompt, (tokens, _) in zip(prompts, found, strict=True):
        ids = torch.tensor([prompt])
        options = dict(max_new_tokens=len(tokens), do_sample=False, pad_token_id=0, eos_token_id=None)
        with torch.no_grad():
            out = model.generate(ids, attention_mask=torch.ones_like(ids), **options)
        assert out[0, len(prompt) :].tolist() == tokens
