"""The curriculum as data, read from ``curriculum.toml``: chapters, notebooks, formulas, keywords, projects."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Notebook:
    """One lecture or practice.

    Attributes:
        path: relative to the repository root; for a practice, the learner's notebook.
        title: Korean title.
        minutes: estimated time for a learner.
        solution: path of the solution notebook, ``None`` for a lecture.
    """

    path: Path
    title: str
    minutes: int
    solution: Path | None = None

    @property
    def exists(self) -> bool:
        """Whether its files are there; in a chapter that is not built yet, some already are."""
        return all((ROOT / path).exists() for path in (self.path, self.solution) if path)

    @property
    def practice(self) -> str | None:
        """The name of a practice's problems, such as ``"chapter01/ex01"``; ``None`` for a lecture."""
        return f"{self.path.parts[0][:9]}/{self.path.name[:4]}" if self.solution else None


@dataclass(frozen=True)
class Chapter:
    """One chapter.

    Attributes:
        folder: directory name, such as ``chapter01_basics``.
        title: Korean title.
        built: whether the chapter is complete; its formulas and keywords are then tested.
        formulas: slug → LaTeX of every formula row of the syllabus, as corrected.
        keywords: what must occur in the chapter's code or text.
    """

    folder: str
    title: str
    built: bool
    lectures: tuple[Notebook, ...]
    practices: tuple[Notebook, ...]
    formulas: dict[str, str]
    keywords: tuple[str, ...]

    @property
    def number(self) -> int:
        """The chapter's number, 1 to 17."""
        return int(self.folder[7:9])


@dataclass(frozen=True)
class Project:
    """One application.

    Attributes:
        folder: relative to the repository root.
        title: Korean title.
        skills: what it exercises.
        built: whether it exists; it then has a README.md and a walkthrough notebook.
    """

    folder: Path
    title: str
    skills: str
    built: bool

    @property
    def walkthrough(self) -> Path:
        """The notebook that leads through the application, relative to the repository root."""
        return self.folder / "walkthrough.ipynb"


@cache
def _entries() -> dict:
    with open(ROOT / "tf_study" / "curriculum.toml", "rb") as file:
        return tomllib.load(file)


@cache
def chapters() -> tuple[Chapter, ...]:
    """Return all chapters in order, built or not."""
    return tuple(_chapter(entry) for entry in _entries()["chapter"])


@cache
def projects() -> tuple[Project, ...]:
    """Return all projects in order, built or not."""
    return tuple(
        Project(Path("projects") / item["folder"], item["title"], item["skills"], item.get("built", False))
        for item in _entries()["project"]
    )


def notebooks() -> list[Notebook]:
    """Return the lectures and practices that there are, in reading order; of a built chapter, all."""
    return [
        notebook
        for chapter in chapters()
        for notebook in (*chapter.lectures, *chapter.practices)
        if chapter.built or notebook.exists
    ]


def sources() -> list[Path]:
    """Return what is written by hand: lectures, solutions and walkthroughs, relative to the repository root."""
    written = [item.solution or item.path for item in notebooks()]
    return written + [project.walkthrough for project in projects() if project.built]


@cache
def first_edition() -> frozenset[Path]:
    """Return the lectures, solutions and walkthroughs that are still held to the first edition's rules."""
    lines = (ROOT / "tf_study" / "first_edition.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(Path(line) for line in lines if line and not line.startswith("#"))


def _chapter(entry: dict) -> Chapter:
    folder = Path(entry["folder"])
    practice = folder / "practice"
    return Chapter(
        folder=entry["folder"],
        title=entry["title"],
        built=entry.get("built", False),
        lectures=tuple(
            Notebook(folder / f"{item['file']}.ipynb", item["title"], item["minutes"])
            for item in entry["lectures"]
        ),
        practices=tuple(
            Notebook(
                practice / f"{item['file']}.ipynb",
                item["title"],
                item["minutes"],
                practice / "solutions" / f"{item['file']}.ipynb",
            )
            for item in entry["practices"]
        ),
        formulas=dict(entry["formulas"]),
        keywords=tuple(entry["keywords"]),
    )


def readme_map() -> str:
    """Return the README's map of the curriculum as Markdown; only what is built is linked."""
    lines = ["| 장 | 폴더 | 강의 | 실습 |", "|---|---|---|---|"]
    for chapter in chapters():
        columns = []
        for items in (chapter.lectures, chapter.practices):
            names = [
                f"[{item.title}]({item.path.as_posix()})" if item.exists else item.title for item in items
            ]
            columns.append("<br>".join(names))
        state = "" if chapter.built else " (준비 중)"
        lines.append(
            f"| {chapter.number}. {chapter.title}{state} | `{chapter.folder}/` | {columns[0]} | {columns[1]} |"
        )
    lines += ["", "| 프로젝트 | 다루는 것 | 따라 하기 |", "|---|---|---|"]
    for number, project in enumerate(projects(), start=1):
        name = f"{number}. {project.title}"
        if project.built:
            name = f"[{name}]({project.folder.as_posix()}/README.md)"
        link = f"[노트북]({project.walkthrough.as_posix()})" if project.built else "준비 중"
        lines.append(f"| {name} | {project.skills} | {link} |")
    return "\n".join(lines)
