"""The command line: ``python -m mini_sora_dit train | sample | evaluate | ablate | export | serve | bench``."""

import argparse
import sys
from pathlib import Path

from mini_sora_dit.settings import DEFAULT_STEPS, MOST_FRAMES, MOST_GUIDANCE, MOST_STEPS, SOLVERS, WITHOUT
from tf_study import cli


def build_parser() -> cli.Parser:
    """Return the parser; each command's function is the option ``run``, a name in :mod:`commands`."""
    parser = cli.Parser(prog="python -m mini_sora_dit", description="확산 트랜스포머로 짧은 영상을 만듭니다.")
    commands = parser.commands(required=True)

    command = commands.add_parser("train", help="영상으로 학습합니다 (중단하면 같은 명령으로 이음)")
    command.set_defaults(run="train")
    command.add_argument(
        "data",
        metavar="데이터",
        help="mnist(움직이는 숫자), square(움직이는 네모), 또는 클래스마다 하위 폴더가 하나인 폴더",
    )
    command.add_argument("--output", type=Path, required=True, metavar="모델폴더", help="모델을 저장할 폴더")
    for name, text in (
        ("side", "프레임 한 변의 픽셀"),
        ("frames", "영상의 프레임 (4의 배수보다 하나 큰 수)"),
        ("autoencoder-width", "오토인코더의 채널 수"),
        ("latent", "잠재의 채널 수"),
        ("autoencoder-steps", "오토인코더가 학습할 스텝. 0이면 저장소의 것을 씁니다"),
        ("autoencoder-batch", "오토인코더의 배치 크기"),
        ("width", "트랜스포머의 너비"),
        ("depth", "트랜스포머의 블록 수"),
        ("heads", "어텐션 헤드의 수"),
        ("steps", "트랜스포머가 학습할 스텝"),
        ("batch", "트랜스포머의 배치 크기"),
        ("every", "이만큼 학습할 때마다 저장하고 그립니다"),
        ("seed", "난수 시드"),
        ("devices", "배치를 나눌 장치의 수 (GPU, 없으면 CPU)"),
    ):
        command.add_argument(f"--{name}", type=int, metavar="N", help=text)
    command.add_argument("--rate", type=float, metavar="R", help="트랜스포머 학습률의 최댓값")
    command.add_argument("--autoencoder-rate", type=float, metavar="R", help="오토인코더 학습률의 최댓값")
    command.add_argument("--without", choices=WITHOUT, help="트랜스포머에서 뺄 부분")
    command.add_argument("--restart", action="store_true", help="있던 학습을 버리고 다시 학습합니다")

    command = commands.add_parser("sample", help="영상을 만들어 GIF, PNG, MP4로 저장합니다")
    command.set_defaults(run="sample")
    _add_model(command)
    command.add_argument(
        "--output",
        type=Path,
        nargs="+",
        required=True,
        metavar="파일",
        help=".gif, .png(프레임을 늘어놓은 띠), .mp4(av 패키지가 있을 때). 여럿이면 모두 저장합니다",
    )
    command.add_argument("--class", dest="classes", nargs="+", metavar="클래스", help="기본값은 모든 클래스")
    command.add_argument("--direction", nargs="+", metavar="방향", help="기본값은 모든 방향")
    command.add_argument("--first", type=Path, metavar="파일", help="첫 프레임이 될 그림")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="첫 영상의 시드 (기본 0)")
    command.add_argument(
        "--count", type=cli.positive, default=1, metavar="N", help="부탁마다 만들 시드의 수 (기본 1)"
    )
    command.add_argument(
        "--frames", type=int, metavar="N", help=f"프레임의 수 1~{MOST_FRAMES} (기본은 학습한 길이)"
    )
    _add_wish(command)

    command = commands.add_parser("evaluate", help="숫자, 움직임, 프레셰 거리를 대조군과 함께 잽니다")
    command.set_defaults(run="evaluate")
    _add_model(command)
    command.add_argument(
        "--output", type=Path, required=True, metavar="폴더", help="보고서와 그림을 저장할 폴더"
    )
    command.add_argument("--count", type=cli.positive, default=120, metavar="N", help="영상의 수 (기본 120)")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="첫 영상의 시드 (기본 0)")
    command.add_argument(
        "--sweep", type=cli.positive, nargs="+", metavar="N", help="이 스텝들에서 두 해법의 품질을 비교합니다"
    )
    command.add_argument(
        "--lengths", type=cli.positive, nargs="+", metavar="N", help="이 길이들에서 품질을 비교합니다"
    )
    _add_wish(command)

    command = commands.add_parser("ablate", help="부분을 하나씩 빼고 움직이는 네모를 학습해 비교합니다")
    command.set_defaults(run="ablate")
    command.add_argument("--output", type=Path, required=True, metavar="폴더", help="결과를 저장할 폴더")
    command.add_argument("--seeds", type=cli.positive, default=3, metavar="N", help="시드의 수 (기본 3)")
    command.add_argument(
        "--steps", type=cli.positive, default=500, metavar="N", help="모델마다 학습할 스텝 (기본 500)"
    )

    command = commands.add_parser("export", help="적분까지 담은 SavedModel로 내보냅니다")
    command.set_defaults(run="export_model")
    _add_model(command)
    command.add_argument("--output", type=Path, required=True, metavar="폴더", help="만들 폴더")
    _add_solver(command)

    command = commands.add_parser("serve", help="영상을 부탁하는 웹 페이지를 엽니다")
    command.set_defaults(run="serve")
    _add_model(command)
    cli.add_address(command)

    command = commands.add_parser("bench", help="초당 프레임 수를 잽니다")
    command.set_defaults(run="bench")
    _add_model(command)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status: 0, 1 after a :class:`StudyError`, 130 after Ctrl+C."""
    options = build_parser().parse_args(arguments)

    def run() -> None:
        from mini_sora_dit import commands  # TensorFlow comes with it; --help and mistakes need none.

        getattr(commands, options.run)(options)

    return cli.run(run, interrupted="중단했으니 이어서 하려면 같은 명령을 다시 실행하세요.")


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "model",
        type=Path,
        nargs="?",
        metavar="모델폴더",
        help="train이 저장한 폴더. 없으면 저장소에 든 움직이는 숫자 모델",
    )


def _add_solver(command: argparse.ArgumentParser) -> None:
    command.add_argument("--solver", choices=SOLVERS, default="euler", help="적분 방법 (기본 euler)")
    command.add_argument(
        "--steps",
        type=cli.positive,
        default=DEFAULT_STEPS,
        metavar="N",
        help=f"스텝 수 1~{MOST_STEPS} (기본 {DEFAULT_STEPS})",
    )


def _add_wish(command: argparse.ArgumentParser) -> None:
    _add_solver(command)
    command.add_argument(
        "--guidance", type=float, default=2.0, metavar="W", help=f"가이던스 0~{MOST_GUIDANCE:g} (기본 2)"
    )


if __name__ == "__main__":
    sys.exit(main())
