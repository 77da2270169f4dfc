"""The command line: ``python -m llm_server serve | quantize | bench | doctor``."""

import argparse
import sys
from pathlib import Path

from tf_study import cli

ENGINES = ("auto", "xla", "vllm")


def build_parser() -> cli.Parser:
    """Return the parser; each command's function is the option ``run``, a name in :mod:`commands`."""
    parser = cli.Parser(prog="python -m llm_server", description="언어 모델을 OpenAI의 API로 서비스합니다.")
    commands = parser.commands(required=True)

    command = commands.add_parser("serve", help="API와 대화 페이지를 엽니다")
    command.set_defaults(run="serve")
    _add_model(command, ", 받지 않고 해 보려면 tiny")
    command.add_argument(
        "--engine", choices=ENGINES, default="auto",
        help="토큰을 계산하는 엔진. 기본값 auto는 GPU와 vLLM이 있으면 vllm, 없으면 xla",
    )  # fmt: skip
    command.add_argument(
        "--tensor-parallel", type=cli.positive, default=1, metavar="N",
        help="vLLM이 행렬마다 나누어 쓸 GPU의 수 (기본 1)",
    )  # fmt: skip
    command.add_argument(
        "--pipeline-parallel", type=cli.positive, default=1, metavar="N",
        help="vLLM이 층을 나누어 둘 GPU 묶음의 수 (기본 1)",
    )  # fmt: skip
    command.add_argument(
        "--vllm",
        default="",
        metavar="'인수 ...'",
        help="vLLM 서버에 그대로 넘길 인수. --vllm='--max-model-len 4096'처럼 등호로 붙여 적습니다",
    )
    command.add_argument("--replicas", type=cli.positive, default=1, metavar="N", help="엔진의 수 (기본 1)")
    command.add_argument(
        "--remote", nargs="+", metavar="주소",
        help="엔진을 켜는 대신 이미 켜진 서버들로 요청을 나눕니다. 모델이 같아야 합니다",
    )  # fmt: skip
    command.add_argument("--remote-key", type=Path, metavar="파일", help="그 서버들의 API 키를 적은 파일")
    command.add_argument(
        "--max-waiting", type=cli.positive, default=64, metavar="N",
        help="엔진마다 기다릴 수 있는 요청의 수 (기본 64)",
    )  # fmt: skip
    command.add_argument(
        "--time-limit", type=cli.positive, default=600, metavar="초", help="요청 하나의 시간 (기본 600초)"
    )
    command.add_argument(
        "--keys", type=Path, metavar="파일",
        help="API 키와 한도를 적은 TOML 파일. 없으면 이 컴퓨터의 누구나 씁니다",
    )  # fmt: skip
    cli.add_address(command)

    command = commands.add_parser("quantize", help="가중치를 AWQ로 4비트로 바꾸어 폴더에 저장합니다")
    command.set_defaults(run="quantize")
    _add_model(command)
    command.add_argument("--output", type=Path, required=True, metavar="폴더", help="만들 모델 폴더")
    command.add_argument("--text", type=Path, metavar="파일", help="활성화 값을 잴 글. 없으면 저장소의 글")
    command.add_argument(
        "--group", type=cli.positive, default=64, metavar="N", help="눈금을 함께 쓰는 입력의 수 (기본 64)"
    )

    command = commands.add_parser("bench", help="켜진 서버가 얼마나 빨리 답하는지 잽니다")
    command.set_defaults(run="bench")
    command.add_argument(
        "--address", default="127.0.0.1:8000", metavar="주소", help="서버의 주소 (기본 127.0.0.1:8000)"
    )
    command.add_argument("--key", type=Path, metavar="파일", help="API 키를 적은 파일")
    command.add_argument(
        "--clients", type=cli.positive, nargs="+", default=[1, 4, 16], metavar="N",
        help="답을 받으면 다시 묻는 사람의 수 (기본 1 4 16)",
    )  # fmt: skip
    command.add_argument(
        "--rate", type=_rate, nargs="+", default=[], metavar="R",
        help="답을 기다리지 않고 보낼 초당 요청의 수. 주면 사람의 수마다 잰 뒤에 잽니다",
    )  # fmt: skip
    command.add_argument(
        "--requests", type=cli.positive, default=2, metavar="N", help="한 사람이 물을 횟수 (기본 2)"
    )
    command.add_argument(
        "--prompt", type=cli.positive, default=32, metavar="N", help="프롬프트의 토큰 수 (기본 32)"
    )
    command.add_argument(
        "--answer", type=cli.positive, default=24, metavar="N", help="답의 토큰 수 (기본 24)"
    )

    command = commands.add_parser("doctor", help="이 컴퓨터에 무엇이 있고 없는지 봅니다")
    command.set_defaults(run="doctor")
    cli.add_address(command)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status: 0, 1 after a :class:`StudyError`, 130 after Ctrl+C."""
    options = build_parser().parse_args(arguments)

    def run() -> int | None:
        from llm_server import commands  # TensorFlow comes with it; --help and mistakes need none.

        return getattr(commands, options.run)(options)

    return cli.run(run)


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate < 1e4:
        raise argparse.ArgumentTypeError("0보다 크고 10000보다 작아야 합니다")
    return rate


def _add_model(command: argparse.ArgumentParser, more: str = "") -> None:
    command.add_argument(
        "--model", default="smollm2", metavar="모델",
        help=f"모델 폴더나 허브의 이름. 기본값은 smollm2{more}",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
