"""The command line: ``python -m aligned_bot data | sft | dpo | evaluate | merge | card | chat | serve``."""

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from tf_study import cli, environment
from tf_study.errors import StudyError

NEEDED = ("torch", "transformers", "peft", "trl", "accelerate", "datasets")
DATA = "world, korean, JSONL 파일, 또는 data가 나누어 저장한 폴더"
BOT = "world, smollm2, 모델 폴더, 또는 허브의 이름"


def build_parser() -> cli.Parser:
    """Return the parser; each command's function is the option ``run``, a name in :mod:`commands`."""
    parser = cli.Parser(
        prog="python -m aligned_bot", description="선호를 배워 해로운 부탁을 거절하는 봇을 만듭니다."
    )
    commands = parser.commands(required=True)

    command = commands.add_parser("data", help="데이터를 검사하고 학습과 평가로 나눕니다")
    command.set_defaults(run="check_data")
    command.add_argument("data", metavar="데이터", help=DATA)
    command.add_argument(
        "--output", type=Path, metavar="폴더", help="나눈 것을 train.jsonl, held_out.jsonl로 저장할 폴더"
    )

    command = commands.add_parser("sft", help="좋은 답을 그대로 따라 하게 학습합니다")
    command.set_defaults(run="train", kind="sft")
    _add_training(command)

    command = commands.add_parser("dpo", help="두 답 가운데 나은 쪽을 고르도록 학습합니다")
    command.set_defaults(run="train", kind="dpo")
    _add_training(command)
    command.add_argument("--beta", type=float, metavar="B", help="DPO의 beta (기본 0.1)")
    command.add_argument("--sft", type=float, metavar="W", help="고른 답을 따라 하는 항의 무게 (기본 1)")

    command = commands.add_parser("evaluate", help="선호, 승률, 안전, 다른 글의 퍼플렉시티를 잽니다")
    command.set_defaults(run="evaluate")
    _add_model(command)
    command.add_argument("--base", metavar="모델", help="비교할 모델. 기본값은 학습을 시작한 모델")
    command.add_argument("--data", metavar="데이터", help="기본값은 학습한 데이터")
    command.add_argument(
        "--output", type=Path, metavar="폴더", help="보고서를 저장할 폴더. 기본값은 모델폴더"
    )
    command.add_argument("--count", type=cli.positive, metavar="N", help="재는 질문의 수. 기본값은 모두")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="난수 시드 (기본 0)")
    command.add_argument(
        "--suite",
        choices=("world", "ko", "en"),
        help="안전 시험. 기본값은 작은 세계의 봇이면 world, 아니면 ko",
    )
    command.add_argument(
        "--judge", default="reference", metavar="심판",
        help="승률의 심판. 기본값 reference는 고른 답과 더 닮은 쪽이 낫다고 보는 프로그램이고, 모델을 주면 그 모델에게 묻습니다",
    )  # fmt: skip
    command.add_argument("--limit", type=cli.positive, default=64, metavar="N", help="답의 토큰 수 (기본 64)")
    command.add_argument(
        "--tries", type=int, default=8, metavar="N",
        help="위험한 질문마다 온도 1로 물을 횟수. 0이면 묻지 않습니다 (기본 8)",
    )  # fmt: skip

    command = commands.add_parser("merge", help="어댑터를 더해 모델 폴더 하나로 만듭니다")
    command.set_defaults(run="merge")
    _add_model(command)
    command.add_argument("--output", type=Path, required=True, metavar="폴더", help="만들 모델 폴더")

    command = commands.add_parser("card", help="잰 것으로 모델 카드를 씁니다")
    command.set_defaults(run="card")
    command.add_argument("model", type=Path, metavar="모델폴더", help="evaluate가 보고서를 저장한 폴더")

    command = commands.add_parser("chat", help="터미널에서 대화합니다")
    command.set_defaults(run="chat")
    _add_model(command)
    _add_answering(command)
    command.add_argument(
        "--temperature", type=float, default=0.0, metavar="T", help="0이면 가장 그럴듯한 답 (기본 0)"
    )

    command = commands.add_parser("serve", help="답이 흘러나오는 대화 페이지를 엽니다")
    command.set_defaults(run="serve")
    _add_model(command)
    _add_answering(command)
    cli.add_address(command)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status: 0, 1 after a :class:`StudyError`, 130 after Ctrl+C."""
    options = build_parser().parse_args(arguments)

    def run() -> int | None:
        if missing := [name for name in NEEDED if find_spec(name) is None]:
            raise StudyError(f"{', '.join(missing)} 패키지가 없으니 make advanced로 설치하세요.")
        from aligned_bot import commands

        return getattr(commands, options.run)(options)

    return cli.run(run, interrupted="중단했으니 이어서 하려면 같은 명령을 다시 실행하세요.")


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="모델", help=BOT)


def _add_answering(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--limit", type=cli.positive, default=256, metavar="N", help="답의 토큰 수 (기본 256)"
    )
    command.add_argument("--system", metavar="글", help="질문마다 앞에 둘 지시")
    command.add_argument("--filter", metavar="데이터", help=f"질문 필터가 배울 데이터: {DATA}")
    command.add_argument(
        "--block",
        type=Path,
        metavar="파일",
        help="답에 나오면 안 되는 말의 정규식을 한 줄에 하나씩 적은 파일",
    )


def _add_training(command: argparse.ArgumentParser) -> None:
    command.add_argument("data", metavar="데이터", help=DATA)
    command.add_argument("--base", metavar="모델", help=f"시작할 모델: {BOT}. 기본값은 프로필에 따릅니다")
    command.add_argument(
        "--output", type=Path, required=True, metavar="모델폴더", help="어댑터를 저장할 폴더"
    )
    command.add_argument("--steps", type=int, metavar="N", help="학습할 스텝")
    command.add_argument("--batch", type=int, metavar="N", help="한 스텝에 배우는 줄의 수")
    command.add_argument("--micro", type=int, metavar="N", help="그 가운데 한 번에 계산하는 수")
    command.add_argument("--rate", type=float, metavar="R", help="학습률")
    command.add_argument("--rank", type=int, metavar="R", help="LoRA의 랭크")
    command.add_argument("--every", type=int, metavar="N", help="이만큼 학습할 때마다 저장하고 잽니다")
    command.add_argument("--seed", type=int, metavar="N", help="난수 시드")
    command.add_argument("--restart", action="store_true", help="있던 학습을 버리고 다시 학습합니다")


if __name__ == "__main__":
    # transformers imports TensorFlow otherwise: seconds, for nothing.
    os.environ.setdefault("USE_TF", "0")
    if (
        environment.device() == "cpu"
    ):  # DeepSpeed, which accelerate imports, warns otherwise that it found no GPU.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    sys.exit(main())
