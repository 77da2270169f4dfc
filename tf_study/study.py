"""The learner's copy of the course, ``study/``: it is renewed, but what was worked in is never overwritten.

A notebook of the copy carries the fingerprint of the text it was made with. Where the text is another now,
somebody works in it (:func:`tf_study.notebooks.is_edited`); running it changes outputs only.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from nbformat import NotebookNode

from tf_study import cli, curriculum, notebooks
from tf_study.errors import StudyError

FOLDER = curriculum.ROOT / "study"
PRIVATE = ("tests", "conftest.py", "__pycache__")  # of a project, of no use to a learner


@dataclass
class Report:
    """What :func:`prepare` did.

    Attributes:
        new: notebooks that were not there.
        renewed: notebooks whose original had changed.
        left: one Korean sentence for every notebook whose new edition was not put in place.
    """

    new: list[Path] = field(default_factory=list)
    renewed: list[Path] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def prepare(folder: Path | None = None, paths: list[Path] | None = None) -> Report:
    """Make the learner's copy or bring it up to date.

    Lectures and walkthroughs come without outputs, so that no prediction is given away; practices come as
    they are, and solutions with their outputs. It may be interrupted at any moment and called again.

    Args:
        folder: the copy; ``None`` means :data:`FOLDER`.
        paths: the notebooks, relative to the repository root; ``None`` means all.

    Raises:
        StudyError: if the folder cannot be written to.
    """
    folder, report = folder or FOLDER, Report()
    with cli.locked(
        curriculum.ROOT / "build" / "study.lock", "다른 창에서 학습용 복사본을 만들고 있어 기다립니다."
    ):
        for path in notebooks.all_paths() if paths is None else paths:
            _renew(path, folder / path, report)
        for project in curriculum.projects():
            if project.built:
                _link(curriculum.ROOT / project.folder, folder / project.folder)
    return report


def place(path: Path, folder: Path | None = None) -> Path:
    """Return where the learner reads a notebook, relative to the repository root: the copy, if there is one."""
    folder = folder or FOLDER
    copy = folder / path
    return copy.relative_to(folder.parent) if copy.exists() else path


def _renew(path: Path, target: Path, report: Report) -> None:
    try:
        fresh = _fresh(path)
    except StudyError as error:  # Somebody worked in the course's own files; the others are fine.
        report.left.append(str(error))
        return
    if not target.exists():
        notebooks.write(fresh, target)
        report.new.append(path)
        return
    try:
        old = notebooks.read(target)
    except StudyError:
        report.left.append(
            f"{target}: 깨져서 읽을 수 없어 그대로 두었으니, 새로 받으려면 파일 이름을 바꾸고 다시 실행하세요."
        )
        return
    if notebooks.fingerprint(old) == notebooks.fingerprint(fresh):
        return
    if notebooks.is_edited(old):
        if _origin(old) != _origin(fresh):
            report.left.append(
                f"{target}: 고친 곳이 있어 그대로 두었으니, 새 버전은 {path}에서 보거나 파일 이름을 바꾸고 다시 실행해 받으세요."
            )
        return
    notebooks.write(fresh, target)
    report.renewed.append(path)


def _fresh(path: Path) -> NotebookNode:
    """Return a notebook of the course as the learner is to get it."""
    notebook = notebooks.read(curriculum.ROOT / path)
    if "practice" not in path.parts:
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
    # A practice says already what it was generated as: it may have been worked in where it lies.
    notebook.metadata.setdefault("tf_study", {"generated": notebooks.fingerprint(notebook)})
    return notebook


def _origin(notebook: NotebookNode) -> str | None:
    return notebook.metadata.get("tf_study", {}).get("generated")


def _link(project: Path, folder: Path) -> None:
    """Let a project's program be found beside the copy of its walkthrough."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source in project.iterdir():
            link = folder / source.name
            skipped = source.suffix == ".ipynb" or source.name.startswith(".") or source.name in PRIVATE
            if not skipped and not os.path.lexists(link):
                link.symlink_to(os.path.relpath(source, folder))
    except OSError as error:
        raise StudyError(
            f"{folder}에 프로그램을 연결할 수 없으니 권한을 확인하세요 ({error.strerror or error})."
        ) from None
