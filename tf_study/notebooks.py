"""The notebook tools: convert, run, generate learners' notebooks, export figures, measure.

python -m tf_study.notebooks convert A B     script (py:percent) to notebook or back
python -m tf_study.notebooks run PATH ...    execute and store the outputs (--all, --changed)
python -m tf_study.notebooks practice        generate the learners' notebooks from the solutions
python -m tf_study.notebooks figures PATH D  write the stored figures into folder D as PNG
python -m tf_study.notebooks bench           measure and store the CPU seconds of notebooks
python -m tf_study.notebooks map             write the README's map of the curriculum
"""

import argparse
import base64
import hashlib
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, NbvalKernelspecManager

from tf_study import cli, curriculum, profile
from tf_study.errors import StudyError

CELL_TIMEOUT = 300  # seconds, small profile
SECONDS = curriculum.ROOT / "tests" / "seconds.toml"
IMPORT_SECONDS = 3.3  # What importing TensorFlow costs in the table of seconds, whatever it costs here.
IGNORE = "nbval-ignore-output"
METADATA = {
    "kernelspec": {"display_name": "Python (tf_study)", "language": "python", "name": "tf_study"},
    "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
}
_SOLUTION = re.compile(
    r"^( *)(#|//) BEGIN SOLUTION *\n(.*?)^ *\2 END SOLUTION *\n?", re.MULTILINE | re.DOTALL
)


def read(path: Path) -> NotebookNode:
    """Read a notebook.

    Raises:
        StudyError: if the file is missing or is no notebook.
    """
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise StudyError(f"{path} 노트북이 없으니 경로를 확인하세요.") from None
    except Exception as error:
        quoted = shlex.quote(str(path))
        raise StudyError(
            f"{path} 파일이 깨져 노트북으로 읽을 수 없으니 복사해 둔 뒤 `git checkout -- {quoted}`로 되돌리세요."
        ) from error


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook with clean metadata: course kernel, sequential cell ids, tags only.

    The file is replaced in one step, so that an interruption leaves the old one.

    Raises:
        StudyError: if it cannot be written; nothing is left behind.
    """
    kept = {"tf_study": notebook.metadata["tf_study"]} if "tf_study" in notebook.metadata else {}
    notebook.metadata = nbformat.from_dict({**METADATA, **kept})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for index, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{index:02d}"
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.outputs = _merge_streams(cell.outputs)
    nbformat.validate(notebook)
    cli.write(path, lambda part: nbformat.write(notebook, part))


def execute(notebook: NotebookNode, folder: Path, measure: bool = False) -> float:
    """Execute all cells in place, top to bottom, in a new kernel of this Python.

    Args:
        notebook: changed in place.
        folder: working directory of the kernel.
        measure: also ask the kernel for its CPU time (user and system, child processes included).

    Returns:
        CPU seconds with ``measure``, else 0.

    Raises:
        StudyError: if a cell raises or exceeds the time limit.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=None if profile.is_full() else CELL_TIMEOUT,
        kernel_name=CURRENT_ENV_KERNEL_NAME,
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    )
    client.create_kernel_manager()
    client.km.kernel_spec_manager = NbvalKernelspecManager()
    try:
        with client.setup_kernel():
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
            return _cpu_seconds(client) if measure else 0.0
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise StudyError(f"실행하다가 멈췄습니다.\n{error}") from None


def run(path: Path, output: Path | None = None) -> None:
    """Execute a notebook and store its outputs in ``output`` (default: in place).

    A notebook that fails is left as it was.

    Raises:
        StudyError: if it cannot be read or a cell fails.
    """
    notebook = read(path)
    execute(notebook, path.parent)
    write(notebook, output or path)


def convert(source: Path, target: Path) -> None:
    """Convert between a ``py:percent`` script and a notebook, the direction given by the suffixes.

    Raises:
        StudyError: if the suffixes are not ``.py`` and ``.ipynb``.
    """
    import jupytext

    if {source.suffix, target.suffix} != {".py", ".ipynb"}:
        raise StudyError("convert는 .py와 .ipynb 사이에서만 바꾸니 두 파일의 확장자를 확인하세요.")
    if target.suffix == ".ipynb":
        write(jupytext.read(source, fmt="py:percent"), target)
    else:
        notebook = read(source)
        notebook.metadata = nbformat.from_dict({"kernelspec": METADATA["kernelspec"]})
        jupytext.write(notebook, target, fmt="py:percent")


def learner_version(solution: NotebookNode) -> NotebookNode:
    """Return the learner's notebook for a solution notebook, without outputs.

    Cells tagged ``solution-only`` are dropped. Text between ``# BEGIN SOLUTION`` and ``# END SOLUTION``
    becomes ``raise NotImplementedError`` inside a function and a comment at the top level; in C++, where the marks
    begin with ``//``, it is a comment everywhere. Cells tagged
    ``check`` get the tag ``nbval-ignore-output``, since solving them changes their output. Relative links
    move one folder up.
    """
    learner = nbformat.v4.new_notebook()
    for cell in solution.cells:
        tags = list(cell.metadata.get("tags", []))
        if "solution-only" in tags:
            continue
        if cell.cell_type == "code":
            source = _SOLUTION.sub(_blank, cell.source + "\n").rstrip("\n")
            copy = nbformat.v4.new_code_cell(source)
            if "check" in tags:
                tags.append(IGNORE)
        else:
            copy = nbformat.v4.new_markdown_cell(cell.source.replace("](../", "]("))
        copy.metadata["tags"] = tags
        learner.cells.append(copy)
    learner.metadata["tf_study"] = {"generated": fingerprint(learner)}
    return learner


def fingerprint(notebook: NotebookNode) -> str:
    """Return a hash of the sources and tags of all cells."""
    parts = [(cell.cell_type, cell.source, list(cell.metadata.get("tags", []))) for cell in notebook.cells]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def is_edited(learner: NotebookNode) -> bool:
    """Return whether a learner's notebook was changed since it was generated."""
    return learner.metadata.get("tf_study", {}).get("generated") != fingerprint(learner)


def generate(solution: Path, target: Path) -> bool:
    """Write and execute the learner's notebook of a solution; return whether a file was written.

    A notebook that is up to date, or that a learner has worked in, is left alone.
    """
    fresh = learner_version(read(solution))
    if target.exists():
        old = read(target)
        if is_edited(old):
            print(
                f"{target}: 풀이가 들어 있어 그대로 둡니다. 처음부터 다시 풀려면 파일을 옮긴 뒤 실행하세요."
            )
            return False
        if old.metadata["tf_study"] == fresh.metadata["tf_study"]:
            return False
    execute(fresh, target.parent)
    write(fresh, target)
    return True


def marks(learner: NotebookNode) -> list[str]:
    """Return the mark (✅, ⬜ or ❌) stored below each check cell."""
    found = []
    for cell in learner.cells:
        if cell.cell_type == "code" and ".check(" in cell.source:
            text = "".join(output.get("text", "") for output in cell.outputs)
            found.append(next((mark for mark in "✅❌" if text.startswith(mark)), "⬜"))
    return found


def figures(path: Path, folder: Path) -> list[Path]:
    """Write every stored PNG figure of a notebook into ``folder`` and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for index, cell in enumerate(read(path).cells, start=1):
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                files.append(folder / f"{path.stem}_{index:02d}_{len(files) + 1}.png")
                files[-1].write_bytes(base64.b64decode(output["data"]["image/png"]))
    return files


def all_paths() -> list[Path]:
    """Return every built notebook, solutions included, relative to the repository root."""
    paths = []
    for item in curriculum.notebooks():
        paths += [item.path] if item.solution is None else [item.path, item.solution]
    return paths + [project.walkthrough for project in curriculum.projects() if project.built]


def seconds() -> dict[Path, float]:
    """Return the stored CPU seconds of the notebooks, in the order of :func:`all_paths`."""
    with open(SECONDS, "rb") as file:
        stored = tomllib.load(file)
    return {path: stored[path.as_posix()] for path in all_paths() if path.as_posix() in stored}


def store_seconds(new: dict[Path, float]) -> None:
    """Add to the stored CPU seconds of the notebooks. Those of notebooks that are gone are dropped."""
    merged = seconds() | new
    lines = [f'"{path.as_posix()}" = {merged[path]:.1f}\n' for path in all_paths() if path in merged]
    comment = SECONDS.read_text(encoding="utf-8").partition('"')[0]
    cli.write_text(SECONDS, comment + "".join(lines))


def bench(paths: list[Path]) -> None:
    """Measure the CPU seconds of notebooks in new kernels, show them beside the stored ones, and store them.

    So that machines can be compared, the seconds are scaled to :data:`IMPORT_SECONDS`.

    Args:
        paths: relative to the repository root.

    Raises:
        StudyError: if a path is no notebook of the course, or one fails; what was measured before is stored.
    """
    if strange := set(paths) - set(all_paths()):
        raise StudyError(f"{', '.join(map(str, strange))}은(는) 과정의 노트북이 아니니 경로를 확인하세요.")
    imports = nbformat.v4.new_code_cell("import tf_study\nimport tensorflow as tf")
    here = min(
        execute(nbformat.v4.new_notebook(cells=[imports]), curriculum.ROOT, measure=True) for _ in range(2)
    )
    old, new = seconds(), {}
    print(
        f"TensorFlow를 가져오는 데 이 컴퓨터의 CPU로 {here:.1f}초가 듭니다. 아래는 {IMPORT_SECONDS}초로 맞춘 값입니다."
    )
    print(f"{'전':>6} {'후':>6}  노트북")
    for path in paths:
        notebook = read(curriculum.ROOT / path)
        try:
            measured = execute(notebook, (curriculum.ROOT / path).parent, measure=True)
        except StudyError as error:
            raise StudyError(f"{path}: {error}") from None
        new[path] = round(measured * IMPORT_SECONDS / here, 1)
        store_seconds({path: new[path]})
        print(f"{old.get(path, '-'):>7} {new[path]:7.1f}  {path}", flush=True)
    before = sum(old.get(path, 0) for path in paths)
    print(f"{before:7.1f} {sum(new.values()):7.1f}  합계 ({len(new)}개)")


def write_map(readme: Path) -> None:
    """Replace the map of the curriculum, between two marks, in a README."""
    before, rest = readme.read_text(encoding="utf-8").split("<!-- map -->\n")
    after = rest.split("<!-- /map -->")[1]
    text = f"{before}<!-- map -->\n{curriculum.readme_map()}\n<!-- /map -->{after}"
    cli.write_text(readme, text)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = cli.Parser(
        prog="python -m tf_study.notebooks", description="노트북을 바꾸고, 실행하고, 만들고, 잽니다."
    )
    commands = parser.commands(dest="command", required=True)
    one = commands.add_parser("convert", help="py:percent 스크립트와 노트북을 서로 바꿉니다")
    one.add_argument("source", type=Path)
    one.add_argument("target", type=Path)
    one = commands.add_parser("run", help="노트북을 실행해 출력을 저장합니다")
    one.add_argument("paths", type=Path, nargs="*")
    one.add_argument("--all", action="store_true", help="모든 노트북")
    one.add_argument("--changed", action="store_true", help="마지막 커밋 뒤에 바뀐 노트북")
    one = commands.add_parser("figures", help="저장된 그림을 PNG로 내보냅니다")
    one.add_argument("path", type=Path)
    one.add_argument("folder", type=Path)
    commands.add_parser("practice", help="풀이에서 학습자용 노트북을 만듭니다")
    one = commands.add_parser("bench", help="노트북마다 CPU 시간을 재어 tests/seconds.toml에 저장합니다")
    one.add_argument("paths", type=Path, nargs="*", help="잴 노트북 (없으면 모두)")
    one.add_argument("--missing", action="store_true", help="아직 재지 않은 노트북만")
    commands.add_parser("map", help="README의 커리큘럼 지도를 다시 씁니다")
    options = parser.parse_args(arguments)
    return cli.run(lambda: _dispatch(options))


def _dispatch(options: argparse.Namespace) -> None:
    if options.command == "convert":
        convert(options.source, options.target)
    elif options.command == "figures":
        for file in figures(options.path, options.folder):
            print(file)
    elif options.command == "bench":
        paths = [Path(os.path.relpath(path, curriculum.ROOT)) for path in options.paths] or all_paths()
        bench([path for path in paths if not options.missing or path not in seconds()])
    elif options.command == "map":
        write_map(curriculum.ROOT / "README.md")
    elif options.command == "practice":
        practices = [item for chapter in curriculum.chapters() for item in chapter.practices]
        for item in practices:
            solution = curriculum.ROOT / item.solution
            if solution.exists() and generate(solution, curriculum.ROOT / item.path):
                print(f"{item.path}: 새로 만들었습니다.")
    else:
        paths = options.paths
        if options.all:
            paths = [curriculum.ROOT / path for path in all_paths()]
        elif options.changed:
            paths = _changed()
        if not paths:
            raise StudyError("실행할 노트북이 없으니 경로를 주거나 --all, --changed를 쓰세요.")
        for path in paths:
            start = time.perf_counter()
            try:
                run(path)
            except StudyError as error:
                raise StudyError(f"{path}: {error}") from None
            print(f"{path}: {time.perf_counter() - start:.0f}초", flush=True)


def _changed() -> list[Path]:
    command = ["git", "status", "--porcelain", "-uall", "--no-renames", "--", "*.ipynb"]
    lines = subprocess.run(command, cwd=curriculum.ROOT, capture_output=True, text=True, check=True).stdout
    paths = [curriculum.ROOT / line[3:].strip('"') for line in lines.splitlines()]
    return [path for path in paths if path.exists()]


def _blank(match: re.Match) -> str:
    indent, mark = match.group(1), match.group(2)
    comment = f"{indent}{mark} 여기에 코드를 쓰세요.\n"
    return f"{comment}{indent}raise NotImplementedError\n" if indent and mark == "#" else comment


def _merge_streams(outputs: list) -> list:
    merged = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            merged.append(output)
    return merged


def _cpu_seconds(client: NotebookClient) -> float:
    cell = nbformat.v4.new_code_cell(
        "import os, sys\n"
        "if 'tf_study.workers' in sys.modules:\n"
        "    sys.modules['tf_study.workers'].end_idle()\n"  # Else their seconds do not count.
        "print(sum(os.times()[:4]))"
    )
    client.nb.cells.append(cell)
    client.execute_cell(cell, len(client.nb.cells) - 1)
    return float(client.nb.cells.pop().outputs[0].text)


if __name__ == "__main__":
    sys.exit(main())
