"""The curriculum as data, read from ``curriculum.toml``: chapters, notebooks, formulas, keywords."""

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


@dataclass(frozen=True)
class Chapter:
    """One chapter.

    Attributes:
        folder: directory name, such as ``chapter01_basics``.
        title: Korean title.
        built: whether its notebooks exist; only built chapters are tested and linked.
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


@cache
def chapters() -> tuple[Chapter, ...]:
    """Return all chapters in order, built or not."""
    with open(ROOT / "tf_study" / "curriculum.toml", "rb") as file:
        entries = tomllib.load(file)["chapter"]
    return tuple(_chapter(entry) for entry in entries)


def notebooks() -> list[Notebook]:
    """Return the lectures and practices of all built chapters, in reading order."""
    return [
        notebook
        for chapter in chapters()
        if chapter.built
        for notebook in (*chapter.lectures, *chapter.practices)
    ]


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
    """Return the README's map of the curriculum as Markdown; only built chapters are linked."""
    lines = ["| 장 | 폴더 | 강의 | 실습 |", "|---|---|---|---|"]
    for chapter in chapters():
        columns = []
        for items in (chapter.lectures, chapter.practices):
            names = [
                f"[{item.title}]({item.path.as_posix()})" if chapter.built else item.title for item in items
            ]
            columns.append("<br>".join(names))
        state = "" if chapter.built else " (준비 중)"
        lines.append(
            f"| {chapter.number}. {chapter.title}{state} | `{chapter.folder}/` | {columns[0]} | {columns[1]} |"
        )
    return "\n".join(lines)


def write_readme_map() -> None:
    """Replace the map in README.md by :func:`readme_map`. Called by ``python -m tf_study.curriculum``."""
    path = ROOT / "README.md"
    before, rest = path.read_text(encoding="utf-8").split("<!-- map -->\n")
    after = rest.split("<!-- /map -->")[1]
    path.write_text(f"{before}<!-- map -->\n{readme_map()}\n<!-- /map -->{after}", encoding="utf-8")


if __name__ == "__main__":
    write_readme_map()
