"""The program: two servers of the tiny model, streams over sockets, a server killed under load, the end by SIGTERM."""

import tf_study  # noqa: F401  isort: skip

import asyncio
import contextlib
import json
import signal
import socket
import time

import httpx
import pytest
from llm_server_scripted import build, client, events, until, wish

from forked import HOW, started
from llm_server import metrics
from llm_server.__main__ import main
from llm_server.engine.remote import Remote
from tf_study.errors import StudyError

LONG = wish(max_tokens=400, stream=True, ignore_eos=True)


class Server:
    """A running command ``serve``. Its log is what it says on stderr."""

    def __init__(self, program):
        self.program, self.log = program, program.err
        self.address = f"http://127.0.0.1:{program.find(r'브라우저에서 127.0.0.1:([0-9]+)')[1]}"

    def state(self):
        return metrics.stats(httpx.get(f"{self.address}/metrics", timeout=30).text)

    def idle(self):
        """Wait until nothing runs, waits or holds blocks."""
        end = time.monotonic() + 20
        while (state := self.state()).running or state.waiting or state.kv_cache_usage:
            assert time.monotonic() < end, state
            time.sleep(0.05)
        return state


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Two servers; the second one asks the first. The last tests end them, each in its own way."""
    command = ["serve", "--model", "tiny", "--port", "0"]
    how = HOW | {"env": lambda rank: {"USE_TORCH": "0"}}  # The tokenizer needs no PyTorch.
    with started(tmp_path_factory.mktemp("기록"), "llm_server", command, **how) as (program,):
        first = Server(program)
        command += ["--remote", first.address]
        with started(tmp_path_factory.mktemp("기록"), "llm_server", command, **how) as (program,):
            yield [first, Server(program)]


def post(server, body):
    return httpx.post(f"{server.address}/v1/completions", json=body, timeout=60)


def test_a_stream_comes_piece_by_piece(servers):
    openai = pytest.importorskip("openai", reason="openai는 make practice가 설치합니다.")
    with openai.OpenAI(api_key="-", base_url=f"{servers[0].address}/v1", max_retries=0) as made:
        chunks, times = [], []
        for chunk in made.completions.create(
            **wish(max_tokens=100, stream=True), extra_body={"ignore_eos": True}
        ):
            chunks.append(chunk)
            times.append(time.monotonic())
    assert chunks[-1].choices[0].finish_reason == "length" and len(chunks) > 30
    assert len(set(times)) > 10 and times[-1] - times[0] > 0.02  # Not all at once, at the end.
    whole = post(servers[0], wish(max_tokens=100, ignore_eos=True)).json()["choices"][0]["text"]
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole


def test_who_hangs_up_frees_the_blocks(servers):
    before = servers[0].idle().finished.get("abort", 0)
    for _ in range(4):
        with httpx.stream("POST", f"{servers[0].address}/v1/completions", json=LONG, timeout=60) as answer:
            next(answer.iter_lines())
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{servers[0].address}/v1/completions", json=LONG | {"stream": False}, timeout=0.1)
    after = servers[0].idle().finished["abort"] - before
    assert 1 <= after <= 5  # The tiny model may have ended some of them first.


def test_a_reader_that_takes_nothing(servers):
    """Its answer is computed, its blocks are free, and the others are answered."""
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", int(servers[0].address.rpartition(":")[2])))
            )
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            content = json.dumps(LONG).encode()
            head = (
                f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
            )
            connection.sendall(head.encode() + content)
        assert post(servers[0], wish(max_tokens=5, ignore_eos=True)).status_code == 200
        servers[0].idle()


def test_large_and_broken_bodies(servers):
    answer = post(servers[0], wish(prompt="가나다 " * 100_000))
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "context_length_exceeded"
    for content, status in ((b'{"prompt": "\xff"}', 400), (b"a" * 3 * 2**20, 413)):
        answer = httpx.post(f"{servers[0].address}/v1/completions", content=content, timeout=30)
        assert answer.status_code == status and answer.json()["error"]["message"].endswith("보내세요.")
    foreign = httpx.post(
        f"{servers[0].address}/v1/completions", json=wish(), headers={"Origin": "http://evil.example"}
    )
    assert foreign.status_code == 403


def test_page_in_a_browser(servers, page):
    from playwright.sync_api import expect

    address, asked, complaints = servers[0].address, [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append((message.type, message.text)))
    page.goto(address)
    expect(page.locator("#model")).to_have_text("tiny")
    expect(page.locator("#key-row")).to_be_hidden()
    page.locator("#text").fill("안녕")
    page.locator("#text").press("Enter")
    expect(page.locator("#status")).to_contain_text("토큰,", timeout=30_000)
    expect(page.locator(".turn")).to_have_count(2)
    expect(page.locator(".turn.user")).to_have_text("안녕")
    page.locator("#settings summary").click()
    page.locator("#most").fill("9999")
    page.locator("#text").fill("더")
    page.locator("#send").click()
    expect(page.locator("#error")).to_contain_text("줄여서 다시 보내세요.")
    expect(page.locator(".turn")).to_have_count(2)
    expect(page.locator("#text")).to_have_value("더")  # to be sent again
    assert all(url.startswith((address, "data:")) for url in asked)
    assert [text for _, text in complaints if "400" not in text] == []


def test_a_server_is_killed_under_load(servers):
    """The router asks both; who had begun at the dead one hears of it, everybody else gets a whole answer.

    What the dead one had asked for at the other is not computed any more.
    """

    async def talk():
        engines = [Remote(server.address) for server in servers]
        made, app = build(*engines)
        await made.start()
        assert made.router.context == 512
        bodies = [
            wish(prompt=f"질문 {number}", max_tokens=60, ignore_eos=True, stream=True) for number in range(24)
        ]
        async with client(app) as c:
            expected = [
                "".join(
                    event["choices"][0]["text"]
                    for event in events((await c.post("/v1/completions", json=body)).text)
                )
                for body in bodies[:4]
            ]
            tasks = [asyncio.create_task(c.post("/v1/completions", json=body)) for body in bodies]
            await until(lambda: min(place.tokens for place in made.router.places) > 0)
            servers[1].program.send(signal.SIGKILL)
            answers = await asyncio.gather(*tasks)
            assert {answer.status_code for answer in answers} == {200}
            broken = 0
            for number, answer in enumerate(answers):
                *said, last = events(answer.text)
                if "error" in last:
                    assert last["error"]["code"] == "engine_died" and said
                    broken += 1
                else:
                    text = "".join(event["choices"][0]["text"] for event in (*said, last))
                    assert last["choices"][0]["finish_reason"] == "length"
                    assert number >= 4 or text == expected[number]
            assert broken < 24 and [engine.alive() for engine in engines] == [True, False]
            assert (await c.post("/v1/completions", json=wish())).status_code == 200
            assert (await c.get("/health")).status_code == 200
            refused = await c.post("/v1/completions", json=wish(prompt=[300]))  # as the far server says
            assert refused.status_code == 400
            assert [place.tokens for place in made.router.places] == [0, 0]
            await until(lambda: engines[0].stats().finished.get("length", 0) > 0)
        await made.drain()
        return broken

    asyncio.run(asyncio.wait_for(talk(), 120))
    servers[0].idle()


def test_sigterm_lets_streams_finish(servers):
    """New requests are refused with 503 meanwhile, and the program ends as the signal would have ended it."""
    server, heard = servers[0], []
    with httpx.Client(base_url=server.address, timeout=60) as other:
        assert other.get("/health").status_code == 200
        with other.stream(
            "POST", "/v1/completions", json=LONG | {"prompt": "비밀 글", "max_tokens": 450}
        ) as answer:
            lines = answer.iter_lines()
            next(lines)
            server.program.send(signal.SIGTERM)
            for line in lines:
                heard.append(line)
                if len(heard) == 2:
                    while (refused := post(server, wish(max_tokens=1))).status_code == 200:
                        pass  # It has not heard the signal yet.
                    assert refused.status_code == 503 and refused.json()["error"]["code"] == "draining"
                    assert refused.headers["retry-after"] == "5"
    assert heard[-2:] == ["data: [DONE]", ""]
    assert server.program.ended() == -signal.SIGTERM
    assert server.program.find(r"받은 요청 \d+개를 마치고 끝냅니다.")
    log = [json.loads(line) for line in server.log.read_text().splitlines()]
    last = next(line for line in log if line["tokens"] == 450)
    assert (last["finish"], last["status"], last["request"]) == ("length", 200, "POST /v1/completions")
    assert "비밀" not in server.log.read_text() and {line["status"] for line in log} <= {
        200,
        400,
        413,
        499,
        503,
        0,
    }


def test_a_server_that_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(StudyError, match="먼저 켜세요"):
        asyncio.run(Remote(address).start())


def test_mistakes_have_one_sentence(tmp_path, capsys):
    keys = tmp_path / "키.toml"
    keys.write_text("[a]\nkey = 1\n", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        for arguments, part in (
            (["serve", "--model", "tiny", "--port", port], "다른 프로그램이 쓰고 있으니"),
            (["serve", "--model", "tiny", "--host", "0.0.0.0"], "--keys로 키 파일을 주세요."),
            (["serve", "--model", "tiny", "--keys", str(keys)], "16자 이상의 key"),
            (["serve", "--model", "tiny", "--keys", str(tmp_path / "없음")], "읽을 수 없으니"),
            (["serve", "--model", str(tmp_path / "없음")], "경로를 확인하거나"),
            (["serve", "--model", "tiny", "--remote", "http://127.0.0.1:1", "--port", "0"], "먼저 켜세요"),
            (
                ["serve", "--model", "tiny", "--remote-key", str(tmp_path), "--remote", "http://a"],
                "API 키 한 줄",
            ),
            (["quantize", "--model", str(tmp_path), "--output", str(tmp_path / "b")], "config.json"),
        ):
            assert main(arguments) == 1
            out, err = capsys.readouterr()
            assert part in err and err.endswith(".\n") or err.endswith(").\n"), err
            assert err.count("\n") == 1 and "브라우저" not in out


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["serve", "tiny"], ["serve", "--engine", "x"], ["serve", "--replicas", "0"], ["quantize"],
     ["serve", "--port", "99999"]],
)  # fmt: skip
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and "인수가 잘못되었으니" in capsys.readouterr().err


def test_help_is_korean(capsys):
    for arguments in (["--help"], ["serve", "-h"], ["quantize", "-h"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        out = capsys.readouterr().out
        assert caught.value.code == 0 and "도움말" in out and "options:" not in out
