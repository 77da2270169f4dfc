"""The command line: ``python -m diffusion_image_gen train | sample | evaluate | export | serve | bench``."""

import argparse
import sys
from pathlib import Path

from diffusion_image_gen.settings import DEFAULT_STEPS, MOST_GUIDANCE, SAMPLERS
from tf_study import cli


def build_parser() -> cli.Parser:
    """Return the parser; each command's function is the option ``run``, a name in :mod:`commands`."""
    parser = cli.Parser(prog="python -m diffusion_image_gen", description="확산 모델로 작은 그림을 그립니다.")
    commands = parser.commands(required=True)

    command = commands.add_parser("train", help="그림으로 학습합니다 (중단하면 같은 명령으로 이음)")
    command.set_defaults(run="train")
    command.add_argument(
        "data", metavar="데이터", help="mnist, fashion, 또는 클래스마다 하위 폴더가 하나인 폴더"
    )
    command.add_argument("--output", type=Path, required=True, metavar="모델폴더", help="모델을 저장할 폴더")
    command.add_argument("--side", type=int, metavar="N", help="그림 한 변의 픽셀 (7~64)")
    command.add_argument("--widths", type=int, nargs="+", metavar="N", help="UNet의 단계마다 채널 수")
    command.add_argument("--steps", type=int, metavar="N", help="학습할 스텝")
    command.add_argument("--batch", type=int, metavar="N", help="배치 크기")
    command.add_argument("--rate", type=float, metavar="R", help="학습률의 최댓값")
    command.add_argument("--every", type=int, metavar="N", help="이만큼 학습할 때마다 저장하고 그립니다")
    command.add_argument("--seed", type=int, metavar="N", help="난수 시드")
    command.add_argument("--mixed-precision", action="store_true", help="bfloat16으로 계산합니다")
    command.add_argument("--devices", type=int, metavar="N", help="배치를 나눌 장치의 수 (GPU, 없으면 CPU)")
    command.add_argument("--restart", action="store_true", help="있던 학습을 버리고 다시 학습합니다")

    command = commands.add_parser("sample", help="그림을 그려 PNG로 저장합니다")
    command.set_defaults(run="sample")
    _add_model(command)
    command.add_argument("--output", type=Path, required=True, metavar="파일", help="저장할 PNG 파일")
    command.add_argument("--gif", type=Path, metavar="파일", help="그려지는 과정을 저장할 GIF 파일")
    command.add_argument("--class", dest="classes", nargs="+", metavar="클래스", help="기본값은 모든 클래스")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="첫 그림의 시드 (기본 0)")
    command.add_argument(
        "--count", type=cli.positive, default=8, metavar="N", help="클래스마다 그릴 시드의 수 (기본 8)"
    )
    _add_wish(command)
    command.add_argument(
        "--guidance", type=float, nargs="+", default=[2.0], metavar="W",
        help=f"가이던스 0~{MOST_GUIDANCE:g} (기본 2). 여럿이면 값마다 한 줄씩 그립니다",
    )  # fmt: skip

    command = commands.add_parser("evaluate", help="프레셰 거리, 정밀도와 재현율, 베낀 그림")
    command.set_defaults(run="evaluate")
    _add_model(command)
    command.add_argument("--data", metavar="데이터", help="기본값은 학습한 데이터")
    command.add_argument(
        "--output", type=Path, required=True, metavar="폴더", help="보고서와 그림을 저장할 폴더"
    )
    command.add_argument(
        "--count", type=cli.positive, default=500, metavar="N", help="그릴 그림의 수 (기본 500)"
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="첫 그림의 시드 (기본 0)")
    _add_wish(command)
    command.add_argument("--guidance", type=float, default=2.0, metavar="W", help="가이던스 (기본 2)")

    command = commands.add_parser("export", help="샘플러까지 담은 SavedModel로 내보냅니다")
    command.set_defaults(run="export_model")
    _add_model(command)
    command.add_argument("--output", type=Path, required=True, metavar="폴더", help="만들 폴더")
    _add_wish(command)

    command = commands.add_parser("serve", help="그림이 그려지는 것을 보는 웹 페이지를 엽니다")
    command.set_defaults(run="serve")
    _add_model(command)
    cli.add_address(command)

    command = commands.add_parser("bench", help="샘플러마다 초당 그림 수와 품질을 잽니다")
    command.set_defaults(run="bench")
    _add_model(command)
    command.add_argument(
        "--count", type=cli.positive, default=200, metavar="N", help="품질을 잴 그림의 수 (기본 200)"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status: 0, 1 after a :class:`StudyError`, 130 after Ctrl+C."""
    options = build_parser().parse_args(arguments)

    def run() -> None:
        from diffusion_image_gen import commands  # TensorFlow comes with it; --help and mistakes need none.

        getattr(commands, options.run)(options)

    return cli.run(run, interrupted="중단했으니 이어서 하려면 같은 명령을 다시 실행하세요.")


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "model",
        type=Path,
        nargs="?",
        metavar="모델폴더",
        help="train이 저장한 폴더. 없으면 저장소에 든 숫자 모델",
    )


def _add_wish(command: argparse.ArgumentParser) -> None:
    steps = ", ".join(f"{name} {count}" for name, count in DEFAULT_STEPS.items())
    command.add_argument("--sampler", choices=SAMPLERS, default="dpm", help="기본값은 dpm")
    command.add_argument("--steps", type=cli.positive, metavar="N", help=f"스텝 수 (기본 {steps})")


if __name__ == "__main__":
    sys.exit(main())
