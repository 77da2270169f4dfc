"""Show what notebooks break of the second edition's rules: PYTHONPATH=tests python -m notebook_rules PATH ..."""

import sys
from pathlib import Path

from tf_study.errors import StudyError

from . import ROOT, kinds, violations


def main(arguments: list[str]) -> int:
    known = kinds()
    paths = [Path(argument).resolve() for argument in arguments]
    if not paths or any(
        not path.is_relative_to(ROOT) or path.relative_to(ROOT) not in known for path in paths
    ):
        print("curriculum.toml에 있는 노트북의 경로를 하나 이상 주세요.", file=sys.stderr)
        return 2
    count = 0
    for path in paths:
        try:
            found = list(violations(*known[path.relative_to(ROOT)]))
        except StudyError as error:
            print(error, file=sys.stderr)
            return 2
        count += len(found)
        print(f"{path.relative_to(ROOT)}: 어긴 규칙 {len(found)}건")
        for violation in found:
            print(f"  {violation}")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
