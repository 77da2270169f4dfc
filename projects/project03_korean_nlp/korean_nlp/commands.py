"""The parsers of the commands. Each sets the option ``module``: the module whose ``run(options)`` does the work."""

import argparse
from pathlib import Path

from tf_study import cli

TAGGERS = ("kiwi", "okt", "komoran")
MODELS = ("lstm", "cnn", "baseline")
SOURCES = "embedded(내장된 뉴스 제목), ynat(KLUE-YNAT), 파일, 폴더, 또는 -(표준 입력)"
PREPARED = "prepare가 만든 폴더"


def build_parser() -> cli.Parser:
    """Return the parser of all commands."""
    parser = cli.Parser(
        prog="python -m korean_nlp", description="한국어 글을 형태소로 나누고 주제를 분류합니다."
    )
    commands = parser.commands(required=True)

    command = commands.add_parser("prepare", help="글을 형태소로 나누어 TFRecord로 저장합니다")
    command.set_defaults(module="preparing")
    _add_prepare(command)

    command = commands.add_parser("train", help="Bi-LSTM, CNN, TF-IDF 모델을 학습합니다")
    command.set_defaults(module="training")
    _add_train(command)

    command = commands.add_parser("evaluate", help="macro-F1, 주제마다의 오류, 기타를 가르는 임곗값을 잽니다")
    command.set_defaults(module="evaluation")
    _add_evaluate(command)

    command = commands.add_parser("predict", help="글을 한 줄씩 읽어 주제를 한 줄씩 씁니다")
    command.set_defaults(module="prediction")
    _add_predict(command)

    command = commands.add_parser("report", help="잰 것과 키워드를 HTML 파일 하나로 씁니다")
    command.set_defaults(module="reporting")
    _add_report(command)
    return parser


def share(text: str) -> float:
    """Return a number of an argument between 0 and 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("0에서 1 사이여야 합니다")
    return value


def _add_prepare(command: argparse.ArgumentParser) -> None:
    command.add_argument("sources", nargs="+", metavar="자료", help=SOURCES)
    aim = command.add_mutually_exclusive_group(required=True)
    aim.add_argument("--output", metavar="폴더", help="TFRecord를 저장할 폴더")
    aim.add_argument(
        "--compare",
        type=cli.positive,
        metavar="N",
        help="저장하지 않고, 글 N개로 분석기들의 속도와 태그를 비교합니다",
    )
    command.add_argument(
        "--part", choices=("train", "test"), default="train", help="embedded와 ynat에서 읽을 것 (기본 train)"
    )
    for name, korean in (("text", "글"), ("label", "주제"), ("date", "날짜"), ("id", "번호")):
        command.add_argument(
            f"--{name}-column", metavar="이름", help=f"{korean}의 열이나 키. 기본값은 흔한 이름에서 찾습니다"
        )
    command.add_argument("--encoding", metavar="이름", help="파일의 인코딩. 기본값은 알아냅니다")
    command.add_argument("--tagger", choices=TAGGERS, default="kiwi", help="형태소 분석기 (기본 kiwi)")
    command.add_argument(
        "--duplicates", type=share, default=0.8, metavar="S",
        help="자카드 유사도가 이만큼 되는 글이 앞에 있으면 뺍니다. 0이면 빼지 않습니다 (기본 0.8)",
    )  # fmt: skip
    command.add_argument("--shards", type=cli.positive, default=8, metavar="N", help="파일의 수 (기본 8)")
    command.add_argument(
        "--processes",
        type=cli.positive,
        metavar="N",
        help="분석하는 프로세스의 수. 기본값은 코어의 수, 많아야 4",
    )
    command.add_argument("--restart", action="store_true", help="있던 파일을 버리고 다시 만듭니다")
    command.add_argument(
        "--runner",
        metavar="이름",
        help="Apache Beam으로 처리합니다: DirectRunner, FlinkRunner, SparkRunner 등",
    )
    command.add_argument(
        "--beam-options", default="", metavar="'인수 ...'",
        help="Beam에 그대로 넘길 인수. --beam-options='--flink_master=주소'처럼 등호로 붙여 적습니다",
    )  # fmt: skip
    command.add_argument(
        "--beam-python",
        type=Path,
        metavar="파일",
        help="Beam이 설치된 Python. 기본값은 make beam이 만든 환경",
    )


def _add_train(command: argparse.ArgumentParser) -> None:
    command.add_argument("data", type=Path, metavar="폴더", help=PREPARED)
    command.add_argument("--output", type=Path, required=True, metavar="모델폴더", help="모델을 저장할 폴더")
    command.add_argument("--validation", type=share, metavar="S", help="검증에 쓸 비율")
    command.add_argument("--vocabulary", type=cli.positive, metavar="N", help="어휘의 크기")
    command.add_argument("--limit", type=cli.positive, metavar="N", help="글 하나에서 쓸 형태소의 수")
    command.add_argument("--epochs", type=cli.positive, metavar="N", help="최대 에포크")
    command.add_argument("--patience", type=cli.positive, metavar="N", help="나아지지 않아도 기다릴 에포크")
    command.add_argument("--batch", type=cli.positive, metavar="N", help="배치 크기")
    command.add_argument("--rate", type=float, metavar="R", help="학습률")
    command.add_argument(
        "--coverage", type=share, metavar="S",
        help="검증할 글 가운데 이만큼은 기타가 되지 않게 임곗값을 정합니다 (기본 0.9)",
    )  # fmt: skip
    command.add_argument("--seed", type=int, metavar="N", help="난수 시드")
    command.add_argument("--restart", action="store_true", help="있던 학습을 버리고 다시 학습합니다")


def _add_evaluate(command: argparse.ArgumentParser) -> None:
    _add_model(command)
    command.add_argument("data", type=Path, metavar="폴더", help=f"주제가 있는 글. {PREPARED}")
    command.add_argument(
        "--outside",
        type=Path,
        metavar="폴더",
        help=f"어느 주제도 아닌 글. {PREPARED}. 기본값은 리뷰",
    )
    command.add_argument(
        "--rounds",
        type=cli.positive,
        default=1000,
        metavar="N",
        help="부트스트랩을 되풀이할 횟수 (기본 1000)",
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="난수 시드 (기본 0)")


def _add_predict(command: argparse.ArgumentParser) -> None:
    _add_model(command)
    command.add_argument(
        "input", nargs="?", default="-", metavar="파일",
        help="한 줄에 글이나 JSON 하나. 기본값 -는 표준 입력",
    )  # fmt: skip
    command.add_argument("--output", type=Path, metavar="파일", help="기본값은 표준 출력")
    command.add_argument(
        "--with", dest="kind", choices=MODELS, help="쓸 모델. 기본값은 검증 macro-F1이 가장 큰 것"
    )
    command.add_argument(
        "--text-column", metavar="이름", help="JSON에서 글의 키. 기본값은 흔한 이름에서 찾습니다"
    )
    command.add_argument(
        "--batch", type=cli.positive, default=64, metavar="N", help="한 번에 분류할 줄의 수 (기본 64)"
    )
    command.add_argument(
        "--threshold", type=share, metavar="P", help="확률이 이보다 낮으면 기타. 기본값은 train이 정한 것"
    )


def _add_report(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", type=Path, metavar="모델폴더", help="evaluate로 잰 모델")
    command.add_argument("data", type=Path, metavar="폴더", help=f"키워드와 추이를 낼 글. {PREPARED}")
    command.add_argument("--output", type=Path, metavar="파일", help="기본값은 모델폴더/report.html")
    command.add_argument("--title", metavar="글", help="보고서의 제목")


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", type=Path, metavar="모델폴더", help="train이 저장한 폴더")
