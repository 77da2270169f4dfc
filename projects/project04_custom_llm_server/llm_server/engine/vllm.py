"""vLLM as an engine: its own server, in a process and an environment of its own, started, watched and restarted.

vLLM and this course want different versions of transformers, so they cannot share a process. ``TF_STUDY_VLLM`` names
the Python of an environment that has vLLM. Its server listens on this computer alone, asks for a key that nobody else
knows, and is asked with token ids through :class:`llm_server.engine.remote.Remote`.
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import httpx

from llm_server import weights
from llm_server.engine import guard
from llm_server.engine.base import Busy, Dead, Generation, Piece, Stats
from llm_server.engine.remote import NOTHING, Remote
from tf_study.errors import StudyError
from tf_study.workers import free_ports

VARIABLE = "TF_STUDY_VLLM"
DELAYS = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each restart; after the last one it stays dead
STEADY = 300.0  # of a server that lived so many seconds, earlier deaths are forgotten
GRACE = 10.0  # seconds in which a server may end by itself
LOOK = 0.1  # seconds between two looks at a server
HUNG = 60.0  # seconds without an answer after which a server is ended
STARTING = 1800.0  # seconds that a start may take
NEWS = 10.0  # seconds between two lines about it
PORTS = 3  # that are tried if others take them
TAIL, SHOWN = 16384, 15  # bytes of the server's output that are kept, and lines of it that an error shows
BLOCK = 32  # tokens a block where vLLM computes on the CPU: the least there, and 128 if nothing is said
COUNTERS = ("prompt_tokens", "generated_tokens", "prefix_queries", "prefix_hits", "preemptions")
PROBE = (
    "import importlib.metadata as m, json, torch, vllm; "
    "names = [d.metadata['Name'] + ' ' + d.version for d in m.distributions() if d.metadata['Name'].startswith('vllm')]; "
    "print(json.dumps({'version': ', '.join(names), 'gpus': torch.cuda.device_count()}))"
)


def python() -> Path:
    """Return the Python that has vLLM, as far as ``TF_STUDY_VLLM`` says.

    Raises:
        StudyError: if it says nothing, or there is no such program.
    """
    named = os.environ.get(VARIABLE, "")
    if not named:
        raise StudyError(f"vLLM 환경을 모르니 {VARIABLE}에 vLLM을 설치한 환경의 python 경로를 적으세요.")
    if shutil.which(named) is None:
        raise StudyError(f"{VARIABLE}의 {named}을(를) 실행할 수 없으니 python의 경로를 확인하세요.")
    return Path(named)


def probe(timeout: float = 120) -> dict:
    """Import vLLM in its environment; return its ``version`` and the ``gpus`` that its PyTorch sees.

    Raises:
        StudyError: if it cannot be imported.
    """
    found = python()
    try:
        answer = subprocess.run(
            [found, "-c", PROBE], env=_environment(), capture_output=True, text=True, timeout=timeout
        )
        return json.loads(answer.stdout.splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        raise StudyError(f"{found}에서 vLLM을 가져올 수 없으니 그 환경에 vLLM을 설치하세요.") from None


def gpus() -> int:
    """Return how many GPUs of NVIDIA this computer has."""
    if shutil.which("nvidia-smi") is None:
        return 0
    answer = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    return sum(line.startswith("GPU ") for line in answer.stdout.splitlines())


class VllmEngine:
    """An :class:`llm_server.engine.base.Engine` that is vLLM's server.

    Args:
        source: what :func:`llm_server.weights.load` takes, a checkpoint, or a folder of any model that vLLM knows.
        context: most tokens of prompt and answer together; without it what the model was trained for.
        slots: most sequences that are computed together.
        waiting: most requests beyond these; more are refused with :class:`Busy`.
        tensor_parallel: GPUs that share each matrix.
        pipeline_parallel: groups of GPUs that share the layers.
        dtype: of the computation; without it vLLM's choice on a GPU, and on a CPU float32, bfloat16 for 4-bit weights.
        arguments: more of vLLM's own command line.
        delays: seconds before each restart.
        report: told in one line of each part of the start, and of each death.
    """

    name = "vllm"

    def __init__(
        self,
        source: str | Path | weights.Checkpoint,
        *,
        context: int | None = None,
        slots: int = 256,
        waiting: int = 64,
        tensor_parallel: int = 1,
        pipeline_parallel: int = 1,
        dtype: str | None = None,
        arguments: Sequence[str] = (),
        delays: Sequence[float] = DELAYS,
        report: Callable[[str], None] = print,
    ):
        self.source, self.context, self.slots, self.waiting = source, context or 0, slots, waiting
        self._parallel, self._dtype, self._arguments = (tensor_parallel, pipeline_parallel), dtype, arguments
        self._delays, self._report = delays, report
        self._remote: Remote | None = None  # while there is a server
        self._past = NOTHING  # what servers that have died had counted
        self._open, self._closing, self._vocabulary = 0, False, 0
        self._finished = Counter()  # requests by how they ended
        self._work: tempfile.TemporaryDirectory | None = None
        self._watching: asyncio.Task | None = None

    async def start(self) -> None:
        """Start the server and begin to look after it.

        Raises:
            StudyError: if there is no vLLM, the model cannot be read, or the server does not start.
        """
        self._python = python()
        try:
            self._folder = self._write_folder()
            card = _card(self._folder)
            self._vocabulary = int(card["vocab_size"])
            self._command = self._words(card)
            await self._launch()
        except BaseException:
            self._clean()
            raise
        self._watching = asyncio.create_task(self._watch())

    async def generate(self, generation: Generation) -> AsyncIterator[Piece]:
        """Yield pieces as they come; see :class:`llm_server.engine.base.Engine`."""
        if not self.alive():
            raise Dead
        prompt, limit = generation.prompt, len(generation.prompt) + generation.max_tokens
        if not prompt or generation.max_tokens < 1 or limit > self.context:
            raise ValueError(f"1 to {self.context} tokens with the answer, not {limit}")
        # vLLM without a tokenizer does not ask, and a token out of range ends its process.
        if not 0 <= min(prompt) <= max(prompt) < self._vocabulary:
            raise ValueError(f"tokens are numbers from 0 to {self._vocabulary - 1}")
        if self._open >= self.slots + self.waiting:
            raise Busy
        self._open, ended = self._open + 1, "abort"
        try:
            async with aclosing(self._remote.generate(generation)) as pieces:
                async for piece in pieces:
                    ended = piece.finish or ended
                    yield piece
        except Dead:
            ended = "error"
            raise
        finally:
            self._open -= 1
            self._finished[ended] += 1

    def alive(self) -> bool:
        return self._remote is not None and self._remote.alive() and not self._closing

    def stats(self) -> Stats:
        """Return the server's state of a second ago; the counts are those of all servers since the start."""
        now = NOTHING if self._remote is None else self._remote.stats()
        # vLLM counts no request whose client went away.
        return replace(_sum(self._past, now), finished=dict(self._finished))

    async def drain(self) -> None:
        """Take no new request, finish those under way, then end the server."""
        self._closing = True
        if self._watching is None:  # It never started.
            return
        while self._open and self._process.returncode is None:
            await asyncio.sleep(0.05)
        self._watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watching
        await self._end()
        self._clean()

    def _write_folder(self) -> Path:
        """Return the model's folder; the course's packaged model, or a checkpoint, is written into a temporary one."""
        if isinstance(self.source, weights.Checkpoint):
            checkpoint = self.source
        elif str(self.source) == weights.PACKAGED and not Path(self.source).exists():
            checkpoint = weights.load(self.source)
        else:
            return weights.folder(self.source).resolve()
        self._work = tempfile.TemporaryDirectory(prefix="llm_server-")
        weights.save(checkpoint, Path(self._work.name))
        return Path(self._work.name)

    def _clean(self) -> None:
        if self._work is not None:
            self._work.cleanup()

    def _words(self, card: dict) -> list[str]:
        """Return the command line of vLLM's server, but for the port and the name of the model."""
        tensor, pipeline = self._parallel
        words = [str(self._python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(self._folder)]
        words += ["--skip-tokenizer-init", "--max-num-seqs", str(self.slots)]
        words += ["--tensor-parallel-size", str(tensor), "--pipeline-parallel-size", str(pipeline)]
        if self.context:
            words += ["--max-model-len", str(self.context)]
        dtype = self._dtype
        if not gpus():
            words += ["--block-size", str(BLOCK)]
            # vLLM's CPU kernels of 4-bit weights know no float32.
            dtype = dtype or ("bfloat16" if card.get("quantization_config") else "float32")
        return [*words, "--dtype", dtype or "auto", *self._arguments]

    async def _launch(self) -> None:
        """Start a server and wait until it answers.

        Raises:
            StudyError: with the last lines of its output, if it does not.
        """
        for attempt in range(PORTS):
            (port,) = free_ports(1)
            try:
                return await self._try(port)
            except StudyError as error:
                await self._end()
                if "address already in use" not in str(error) or attempt == PORTS - 1:
                    raise
            except BaseException:
                await self._end()
                raise

    async def _try(self, port: int) -> None:
        # By key and name the server is known: whoever else listens there has neither.
        name, key, self._tail = f"llm-{secrets.token_hex(8)}", secrets.token_urlsafe(32), b""
        words = [*self._command, "--host", "127.0.0.1", "--port", str(port), "--served-model-name", name]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", guard.__file__, str(GRACE), *words,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=_environment() | {"VLLM_API_KEY": key}, start_new_session=True,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read(self._process))
        begin = told = time.monotonic()
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(trust_env=False, timeout=5, headers=headers) as client:
            while not await _answers(client, f"http://127.0.0.1:{port}", name):
                now = time.monotonic()
                if self._process.returncode is not None or now - begin > STARTING:
                    raise await self._failure()
                if now - told > NEWS:
                    told = now
                    self._report(f"vLLM을 켜는 중입니다 ({now - begin:.0f}초). {self._lines()[-1][:90]}")
                await asyncio.sleep(LOOK)
        remote = Remote(f"http://127.0.0.1:{port}", key)
        await remote.start()
        self._remote, self.context = remote, remote.context
        self._report(f"vLLM을 켰습니다 ({time.monotonic() - begin:.0f}초).")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        while chunk := await process.stdout.read(4096):
            self._tail = (self._tail + chunk)[-TAIL:]

    def _lines(self) -> list[str]:
        text = re.sub(r"\x1b\[[0-9;]*m", "", self._tail.decode(errors="replace"))
        return [line.rstrip() for line in text.splitlines() if line.strip()] or [""]

    async def _failure(self) -> StudyError:
        await asyncio.wait({self._reading}, timeout=1)  # for the last lines, if it has ended
        lines = "\n".join(self._lines()[-SHOWN:])
        return StudyError(
            f"vLLM이 켜지지 않았으니 아래의 마지막 기록을 보고 모델이나 인수를 고치세요.\n{lines}"
        )

    async def _watch(self) -> None:
        """Wait for the server's death and start another one, more patiently each time, until it has died too often."""
        deaths, began = 0, time.monotonic()
        while True:
            await self._death()
            await self._end()
            if time.monotonic() - began > STEADY:
                deaths = 0
            while self._remote is None:
                if deaths == len(self._delays):
                    self._report(f"vLLM이 {deaths + 1}번 끝났으니 기록을 확인하고 서버를 다시 켜세요.")
                    return
                self._report(
                    f"vLLM이 끝나 {self._delays[deaths]:g}초 뒤에 다시 켭니다. {self._lines()[-1][:90]}"
                )
                await asyncio.sleep(self._delays[deaths])
                deaths += 1
                try:
                    await self._launch()
                except (StudyError, OSError) as error:  # The latter if there is no memory for a process.
                    self._report(str(error))
            began = time.monotonic()

    async def _death(self) -> None:
        """Return when the process has ended, or has not answered for a long time."""
        seen = time.monotonic()
        # Not wait(): it goes on as long as anybody, such as the server of a guard that was killed, has the output open.
        while self._process.returncode is None and time.monotonic() - seen < HUNG:
            await asyncio.sleep(LOOK)
            if self._remote.alive():
                seen = time.monotonic()

    async def _end(self) -> None:
        """End the server, if there is one, and everything that it has started."""
        remote, self._remote = self._remote, None
        if remote is not None:
            self._past = replace(_sum(self._past, remote.stats()), running=0, waiting=0, kv_cache_usage=0.0)
            await remote.close()
        self._process.stdin.close()
        end = time.monotonic() + GRACE + 5
        try:
            while self._process.returncode is None and time.monotonic() < end:
                await asyncio.sleep(0.02)
        finally:  # The group outlives the guard if somebody has killed it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await self._reading


async def _answers(client: httpx.AsyncClient, address: str, name: str) -> bool:
    """Return whether the server of this name is ready."""
    try:
        if (await client.get(f"{address}/health")).status_code != 200:
            return False
        models = (await client.get(f"{address}/v1/models")).json()["data"]
        return [model["id"] for model in models] == [name]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return False


def _card(folder: Path) -> dict:
    try:
        card = json.loads((folder / weights.CARD).read_text(encoding="utf-8"))
        return card | {"vocab_size": card.get("vocab_size") or card["text_config"]["vocab_size"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise StudyError(f"{folder}의 {weights.CARD}을 읽을 수 없으니 모델 폴더를 다시 받으세요.") from None


def _environment() -> dict[str, str]:
    """Return the variables for vLLM: of the course's own, none that would lead its Python astray."""
    own = ("PYTHON", "VIRTUAL_ENV", "TF_", "KERAS_", "MPL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}  # It has a folder.
    return {"VLLM_CPU_KVCACHE_SPACE": "1"} | kept | quiet


def _sum(past: Stats, now: Stats) -> Stats:
    """Return the state of now with the counts of both."""
    return replace(now, **{name: getattr(past, name) + getattr(now, name) for name in COUNTERS})
