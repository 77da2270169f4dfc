"""What the commands of the command line do. Each takes the parsed options and prints its answer."""

import argparse
import asyncio
import ipaddress
import shlex
from pathlib import Path

from tf_study.errors import StudyError


def serve(options: argparse.Namespace) -> None:
    """Serve OpenAI's API and the chat page until Ctrl+C or SIGTERM."""
    from llm_server import gateway, limits, models
    from llm_server.engine.remote import Remote
    from llm_server.router import Router

    keys = limits.read(options.keys) if options.keys else None
    if keys is None and not _local(options.host):
        raise StudyError("다른 컴퓨터에서도 쓰게 하려면 --keys로 키 파일을 주세요.")
    source, text, name = models.load(options.model)
    if options.remote:
        key = _key(options.remote_key)
        engines = [Remote(address, key) for address in options.remote]
    else:
        engines = models.engines(
            options.engine, source, options.replicas, options.max_waiting,
            options.tensor_parallel, options.pipeline_parallel, shlex.split(options.vllm),
        )  # fmt: skip
    made = gateway.Gateway(Router(engines), text, name, keys, options.time_limit)
    gateway.serve(made, options.host, options.port)


def quantize(options: argparse.Namespace) -> None:
    """Round a model's matrices to 4 bits and write it as a folder."""
    from llm_server import quantize as awq

    awq.quantize(
        options.model,
        options.output,
        options.text,
        options.group,
        report=lambda line: print(line, flush=True),
    )
    print(f"모델을 {options.output}에 저장했습니다.")


def bench(options: argparse.Namespace) -> None:
    """Measure how fast a server answers and print a table."""
    from llm_server import bench

    async def report() -> None:
        async for line in bench.run(
            options.address,
            clients=options.clients,
            rates=options.rate,
            prompt=options.prompt,
            answer=options.answer,
            requests=options.requests,
            key=_key(options.key),
        ):
            print(line, flush=True)

    asyncio.run(report())


def doctor(options: argparse.Namespace) -> int:
    """Say what this computer has and what is missing."""
    from llm_server import doctor

    return doctor.run(options.host, options.port)


def _key(path: Path | None) -> str | None:
    try:
        return None if path is None else path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise StudyError(f"{path}을(를) 읽을 수 없으니 API 키 한 줄을 적은 파일을 주세요.") from None


def _local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
