"""The command line: ``python -m image_classifier train | evaluate | export | predict | serve``."""

import argparse
import sys
from pathlib import Path

from image_classifier.settings import BACKBONES
from image_classifier.storage import FILES
from tf_study import cli


def build_parser() -> cli.Parser:
    """Return the parser; each command's function is the option ``run``, a name in :mod:`commands`."""
    parser = cli.Parser(
        prog="python -m image_classifier", description="사진 폴더로 이미지 분류기를 만듭니다."
    )
    commands = parser.commands(required=True)

    command = commands.add_parser("train", help="폴더의 그림으로 학습합니다 (중단하면 같은 명령으로 이음)")
    command.set_defaults(run="train")
    command.add_argument("folder", type=Path, metavar="폴더", help="클래스마다 하위 폴더가 하나인 폴더")
    command.add_argument("--output", type=Path, required=True, metavar="모델폴더", help="모델을 저장할 폴더")
    command.add_argument("--backbone", choices=BACKBONES, help="기본값은 프로필에 따라 다릅니다")
    command.add_argument("--scratch", action="store_true", help="사전 학습한 가중치 없이 처음부터 학습합니다")
    command.add_argument("--side", type=int, metavar="N", help="그림 한 변의 픽셀")
    command.add_argument("--batch", type=int, metavar="N", help="배치 크기")
    command.add_argument(
        "--epochs", type=int, nargs=2, metavar=("머리", "미세조정"), help="두 단계의 최대 에포크"
    )
    command.add_argument("--patience", type=int, metavar="N", help="나아지지 않아도 기다릴 에포크")
    command.add_argument("--seed", type=int, metavar="N", help="나누기와 학습의 난수 시드")
    command.add_argument("--restart", action="store_true", help="있던 학습을 버리고 다시 학습합니다")

    command = commands.add_parser("evaluate", help="정확도, 혼동 행렬, 크게 틀린 그림")
    command.set_defaults(run="evaluate")
    _add_model(command)
    command.add_argument("folder", type=Path, nargs="?", metavar="폴더", help="없으면 학습 때의 테스트 세트")
    command.add_argument("--output", type=Path, metavar="폴더", help="기본값은 모델폴더/evaluation")

    command = commands.add_parser("export", help=".keras, TFLite 실수, TFLite int8로 내보냅니다")
    command.set_defaults(run="export_model")
    _add_model(command, formats=False)
    command.add_argument("--output", type=Path, metavar="폴더", help="기본값은 모델폴더")
    command.add_argument(
        "--formats", nargs="+", choices=FILES, default=list(FILES), metavar="형식", help=", ".join(FILES)
    )

    command = commands.add_parser("predict", help="파일이나 폴더의 그림을 분류합니다")
    command.set_defaults(run="predict")
    _add_model(command)
    command.add_argument("paths", type=Path, nargs="+", metavar="경로", help="그림 파일이나 폴더")
    command.add_argument("--top", type=cli.positive, default=3, metavar="K", help="보일 클래스의 수 (기본 3)")
    command.add_argument("--json", action="store_true", help="표 대신 JSON으로 출력합니다")

    command = commands.add_parser("serve", help="그림을 올리면 분류하는 웹 페이지를 엽니다")
    command.set_defaults(run="serve")
    _add_model(command, formats=False)
    cli.add_address(command)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status: 0, 1 after a :class:`StudyError`, 130 after Ctrl+C."""
    options = build_parser().parse_args(arguments)

    def run() -> None:
        import matplotlib

        from image_classifier import commands  # TensorFlow comes with it; --help and mistakes need none.

        matplotlib.use("agg")  # Pictures go to files. Not by the environment, which child processes inherit.
        getattr(commands, options.run)(options)

    return cli.run(run, interrupted="중단했으니 이어서 하려면 같은 명령을 다시 실행하세요.")


def _add_model(command: argparse.ArgumentParser, formats: bool = True) -> None:
    command.add_argument("model", type=Path, metavar="모델폴더", help="train이 저장한 폴더")
    if formats:
        command.add_argument("--format", choices=FILES, default="tflite", help="쓸 형식 (기본 tflite)")


if __name__ == "__main__":
    sys.exit(main())
