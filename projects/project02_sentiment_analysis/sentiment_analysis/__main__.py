"""The command line: ``python -m sentiment_analysis train | evaluate | export | predict | serve | measure``."""

import sys
from importlib import import_module

from sentiment_analysis.commands import build_parser
from tf_study import cli


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status: 0, 1 after a :class:`StudyError`, 130 after Ctrl+C."""
    options = build_parser().parse_args(arguments)

    def run() -> int | None:
        # TensorFlow comes with most of them; --help and mistakes need none.
        return import_module(f"sentiment_analysis.{options.module}").run(options)

    return cli.run(run, interrupted="중단했으니 이어서 하려면 같은 명령을 다시 실행하세요.")


if __name__ == "__main__":
    sys.exit(main())
