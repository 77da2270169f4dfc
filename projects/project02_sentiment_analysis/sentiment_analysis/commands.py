"""The arguments of the six commands. Which module runs a command is the option ``module``."""

import argparse
from pathlib import Path

from sentiment_analysis.settings import ENCODERS, FORMS
from tf_study import cli

DATA = "embedded, nsmc, ratings_train.txt와 ratings_test.txt가 있는 폴더, 또는 TSV 파일"


def build_parser() -> cli.Parser:
    """Return the parser; ``module`` is the module of this package whose ``run`` does the command."""
    parser = cli.Parser(
        prog="python -m sentiment_analysis", description="한국어 리뷰가 긍정인지 부정인지 가립니다."
    )
    commands = parser.commands(required=True)

    command = commands.add_parser("train", help="리뷰로 학습합니다 (중단하면 같은 명령으로 이음)")
    command.set_defaults(module="training")
    _add_data(command)
    command.add_argument("--output", type=Path, required=True, metavar="모델폴더", help="모델을 저장할 폴더")
    command.add_argument("--encoder", choices=ENCODERS, help="기본값은 프로필에 따릅니다")
    command.add_argument("--labels", type=int, metavar="N", help="배울 리뷰의 수. 기본값은 모두")
    command.add_argument("--tokens", type=int, metavar="N", help="리뷰 하나의 최대 토큰 수 (기본 64)")
    command.add_argument("--batch", type=int, metavar="N", help="배치 크기")
    command.add_argument(
        "--epochs", type=int, nargs=2, metavar=("머리", "미세조정"), help="두 단계의 최대 에포크"
    )
    command.add_argument(
        "--rates", type=float, nargs=2, metavar=("머리", "미세조정"), help="두 단계의 학습률"
    )
    command.add_argument("--blocks", type=int, metavar="N", help="미세 조정에서 배울 위쪽 블록의 수")
    command.add_argument(
        "--pretraining",
        type=int,
        metavar="N",
        help="small 인코더를 사전 학습할 스텝의 수 (기본 0, 하지 않음)",
    )
    command.add_argument("--patience", type=int, metavar="N", help="나아지지 않아도 기다릴 에포크")
    command.add_argument("--seed", type=int, metavar="N", help="나누기와 학습의 난수 시드")
    command.add_argument(
        "--duplicates", action="store_const", const=True, help="테스트에도 있는 리뷰를 빼지 않고 배웁니다"
    )
    command.add_argument("--restart", action="store_true", help="있던 학습을 버리고 다시 학습합니다")

    command = commands.add_parser("evaluate", help="정확도, 보정, 조건별 성적을 기준선과 함께 잽니다")
    command.set_defaults(module="evaluation")
    _add_model(command)
    _add_data(command, "기본값은 학습한 데이터")
    command.add_argument("--count", type=cli.positive, metavar="N", help="잴 테스트 리뷰의 수. 기본값은 모두")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="오타를 만드는 난수 시드 (기본 0)")
    command.add_argument(
        "--output",
        type=Path,
        metavar="폴더",
        help="보고서와 그림을 저장할 폴더. 기본값은 모델폴더/evaluation",
    )

    command = commands.add_parser("export", help="글을 받는 SavedModel과 TFLite로 내보냅니다")
    command.set_defaults(module="export")
    _add_model(command, forms=False)
    command.add_argument(
        "--forms", nargs="+", choices=FORMS, default=list(FORMS), metavar="형식", help=", ".join(FORMS)
    )
    command.add_argument(
        "--count", type=cli.positive, default=200, metavar="N",
        help="형식을 비교할 테스트 리뷰의 수 (기본 200)",
    )  # fmt: skip

    command = commands.add_parser("predict", help="글이 긍정인지 부정인지 가립니다")
    command.set_defaults(module="prediction")
    _add_model(command)
    command.add_argument(
        "texts", nargs="*", metavar="글", help="없으면 --file이나 표준 입력의 한 줄을 글 하나로 읽습니다"
    )
    command.add_argument("--file", type=Path, metavar="파일", help="글을 한 줄에 하나씩 적은 파일")
    command.add_argument("--json", action="store_true", help="표 대신 한 줄에 하나씩 JSON으로 출력합니다")

    command = commands.add_parser("serve", help="API와 낱말을 색칠하는 웹 페이지를 엽니다")
    command.set_defaults(module="serving")
    _add_model(command)
    command.add_argument(
        "--workers", type=cli.positive, default=1, metavar="N", help="모델을 가진 프로세스의 수 (기본 1)"
    )
    command.add_argument(
        "--max-batch", type=cli.positive, default=32, metavar="N", help="함께 계산할 리뷰의 수 (기본 32)"
    )
    command.add_argument(
        "--max-wait", type=_milliseconds, default=5.0, metavar="ms",
        help="배치가 찰 때까지 기다릴 시간 (기본 5밀리초)",
    )  # fmt: skip
    command.add_argument(
        "--max-tokens", type=_whole, default=512, metavar="N",
        help="패딩을 더해 함께 계산할 토큰의 수. 0이면 길이로 나누지 않습니다 (기본 512)",
    )  # fmt: skip
    command.add_argument(
        "--queue", type=cli.positive, default=128, metavar="N", help="기다릴 수 있는 리뷰의 수 (기본 128)"
    )
    command.add_argument(
        "--no-explain", action="store_true", help="근거를 찾는 프로세스를 켜지 않아 메모리를 아낍니다"
    )
    command.add_argument("--key-file", type=Path, metavar="파일", help="API 키를 한 줄에 하나씩 적은 파일")
    cli.add_address(command)

    command = commands.add_parser("measure", help="서버가 얼마나 빨리 답하는지 잽니다")
    command.set_defaults(module="measuring")
    command.add_argument(
        "model", type=Path, nargs="?", metavar="모델폴더", help="배치를 만드는 방법마다 서버를 켜서 잽니다"
    )
    command.add_argument("--address", metavar="주소", help="모델폴더 대신 켜진 서버 하나를 잽니다")
    command.add_argument("--key-file", type=Path, metavar="파일", help="API 키를 적은 파일")
    _add_data(command)
    command.add_argument(
        "--clients", type=cli.positive, nargs="+", default=[1, 8, 32], metavar="N",
        help="답을 받으면 다시 묻는 손님의 수 (기본 1 8 32)",
    )  # fmt: skip
    command.add_argument(
        "--rate", type=_rate, nargs="+", default=[], metavar="R",
        help="답을 기다리지 않고 보낼 초당 요청의 수. 모델폴더를 재면 기본값은 하나씩 답할 때의 0.7배와 1.4배",
    )  # fmt: skip
    command.add_argument(
        "--seconds", type=_seconds, default=3.0, metavar="초", help="한 번 재는 시간 (기본 3초)"
    )
    command.add_argument(
        "--output", type=Path, default=Path("measurements"), metavar="폴더",
        help="JSON과 그림을 저장할 폴더 (기본 measurements)",
    )  # fmt: skip
    return parser


def _add_model(command: argparse.ArgumentParser, forms: bool = True) -> None:
    command.add_argument("model", type=Path, metavar="모델폴더", help="train이 저장한 폴더")
    if forms:
        command.add_argument(
            "--form", choices=FORMS, default=FORMS[0], help=f"쓸 형식 (기본 {FORMS[0]}). export가 만듭니다"
        )


def _add_data(command: argparse.ArgumentParser, default: str = "기본값은 프로필에 따릅니다") -> None:
    command.add_argument("--data", metavar="데이터", help=f"{DATA}. {default}")


def _milliseconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1000:
        raise argparse.ArgumentTypeError("0에서 1000 사이여야 합니다")
    return value


def _whole(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("0 이상이어야 합니다")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 600:
        raise argparse.ArgumentTypeError("0.1에서 600 사이여야 합니다")
    return value


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e4:
        raise argparse.ArgumentTypeError("0보다 크고 10000보다 작아야 합니다")
    return value
