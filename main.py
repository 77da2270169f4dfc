"""The course's entry point.

python main.py              TensorFlow version and environment check
python main.py list         chapters, notebooks, minutes and practice progress
python main.py data [NAME]  the data sets; with a name, examples of one
python main.py study        open the course in JupyterLab
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(description="TensorFlow 커리큘럼")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("list", help="장, 노트북, 예상 시간, 실습 진도")
    one = commands.add_parser("data", help="데이터셋 목록, 이름을 주면 예시")
    one.add_argument("name", nargs="?")
    commands.add_parser("study", help="JupyterLab에서 과정 열기")
    options = parser.parse_args(arguments)
    try:
        from tf_study.errors import StudyError
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("tf_study"):
            raise
        print("tf_study 패키지가 없으니 make study를 실행하거나 conda activate tf_study를 먼저 하세요.")
        return 1
    try:
        return {"list": list_notebooks, "data": show_data, "study": study}.get(options.command, check)(
            options
        )
    except StudyError as error:
        print(error, file=sys.stderr)
        return 1


def check(options: argparse.Namespace) -> int:
    """Print the environment check."""
    from tf_study import doctor

    return doctor.run()


def list_notebooks(options: argparse.Namespace) -> int:
    """Print the map of the curriculum with the learner's progress."""
    from tf_study import curriculum, notebooks

    for chapter in curriculum.chapters():
        minutes = sum(item.minutes for item in (*chapter.lectures, *chapter.practices))
        state = f"{minutes}분" if chapter.built else "준비 중"
        print(f"{chapter.number:2d}장 {chapter.title} ({state})")
        for item in (*chapter.lectures, *chapter.practices):
            if not item.exists:
                continue
            marks = notebooks.marks(notebooks.read(ROOT / item.path)) if item.solution else []
            print(f"     {item.path}  {item.title} ({item.minutes}분)  {''.join(marks)}".rstrip())
    for number, project in enumerate(curriculum.projects(), start=1):
        where = f"\n     {project.walkthrough}" if project.built else " (준비 중)"
        print(f"프로젝트 {number} {project.title}{where}")
    return 0


def show_data(options: argparse.Namespace) -> int:
    """Print the table of data sets, or examples of one."""
    from tf_study.data import catalog

    if options.name:
        catalog.show(options.name, Path.cwd())
    else:
        catalog.print_table()
    return 0


def study(options: argparse.Namespace) -> int:
    """Open JupyterLab; without a screen or in CI, run the first lecture and say where it is."""
    from tf_study import curriculum, notebooks

    first = curriculum.notebooks()[0].path
    if _has_screen():
        print(
            f"JupyterLab을 엽니다. 첫 강의는 {first}, 커널은 Python (tf_study)입니다. 끝내려면 Ctrl+C를 누르세요."
        )
        return subprocess.run([sys.executable, "-m", "jupyterlab", str(first)], cwd=ROOT).returncode
    output = ROOT / "build" / first.name
    notebooks.run(ROOT / first, output)
    print(f"화면이 없어 첫 강의를 실행해 두었습니다: {output.relative_to(ROOT)}")
    print("브라우저로 보려면 jupyter lab --no-browser를 실행하고 안내되는 주소를 여세요.")
    return 0


def _has_screen() -> bool:
    if os.environ.get("CI"):
        return False
    return sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


if __name__ == "__main__":
    sys.exit(main())
