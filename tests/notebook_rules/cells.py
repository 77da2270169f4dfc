"""What the rules read out of a notebook."""

import ast
import functools
import re
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from tf_study import curriculum

ROOT = curriculum.ROOT
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
MATH = re.compile(r"\$\$.*?\$\$|\$[^$]+\$", re.DOTALL)
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
WORD = re.compile(r"[가-힣]")
HEADING = re.compile(r"^(#{1,4}) (.+)$", re.MULTILINE)
PLACEHOLDER = "◻"  # Stands for a formula or code in a sentence, so that a particle stays where it was.


@dataclass(frozen=True)
class Context:
    """Where a notebook lies and what the curriculum says about it.

    Attributes:
        path: absolute.
        minutes: its estimated time; 0 for a project's walkthrough, which states none.
        practice: the name of a practice's problems, such as ``"chapter01/ex01"``; ``None`` for a lecture.
    """

    path: Path
    minutes: int
    practice: str | None = None

    @property
    def folder(self) -> Path:
        return self.path.parent


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def text_of(notebook: NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in text_cells(notebook))


def prose_of(notebook: NotebookNode) -> str:
    """Return the markdown without code and formulas."""
    return MATH.sub(" ", CODE.sub(" ", text_of(notebook)))


def sentences(notebook: NotebookNode) -> list[str]:
    """Return the sentences, headings and table entries outside the references; formulas and code are ◻."""
    found = []
    for cell in text_cells(notebook):
        text = re.sub(r"^## 참고문헌$.*?(?=^## |\Z)", "", cell.source, flags=re.MULTILINE | re.DOTALL)
        text = LINK.sub(r"\1", MATH.sub(PLACEHOLDER, CODE.sub(PLACEHOLDER, text)))
        text = re.sub(r"<[^>\n]+>", "\n", text)
        found += re.split(r"(?<=[.?!])\s+|(?<=[.?!]\*\*)\s+|\n|\|", text)
    return [sentence.strip() for sentence in found if WORD.search(sentence)]


def tags_of(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def printed(cell: NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def has_figure(cell: NotebookNode) -> bool:
    return any("image/png" in output.get("data", {}) for output in cell.outputs)


def figure_count(notebook: NotebookNode) -> int:
    return sum(
        "image/png" in output.get("data", {}) for cell in code_cells(notebook) for output in cell.outputs
    )


@functools.lru_cache(maxsize=256)  # The rules read the cells of one notebook after each other.
def tree_of(source: str) -> ast.Module:
    """Return the syntax tree of a cell; IPython's own lines are left out."""
    return ast.parse(plain_python(source))


@functools.lru_cache(maxsize=256)
def nodes_of(source: str) -> tuple[ast.AST, ...]:
    """Return all nodes of :func:`tree_of`."""
    return tuple(ast.walk(tree_of(source)))


def plain_python(source: str) -> str:
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.split("\n"))


def verifications(source: str) -> int:
    """Return how many checks a cell makes: ``assert`` statements and calls of ``verify.*``."""
    count = 0
    for node in nodes_of(source):
        if isinstance(node, ast.Assert):
            # A constant test can never fail.
            count += not isinstance(node.test, ast.Constant)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            silent = node.func.attr in ("available", "group")
            count += isinstance(owner, ast.Name) and owner.id == "verify" and not silent
    return count


def first_line(cell: NotebookNode) -> str:
    return next((line for line in cell.source.split("\n") if line.strip()), "(빈 셀)")[:60]


def section(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]


def around(text: str, match: re.Match) -> str:
    return "…" + " ".join(text[max(0, match.start() - 15) : match.end() + 15].split()) + "…"
