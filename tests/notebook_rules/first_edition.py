"""The bounds that notebooks of the first edition are held to; this file goes when none is left."""

import re
from collections.abc import Iterator

from nbformat import NotebookNode

from . import every, lecture
from .cells import Context, code_cells, first_line


def compared_share(notebook: NotebookNode, context: Context) -> Iterator[str]:
    yield from every.compared_share(notebook, context, share=0.5)


def lecture_size(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """At most 50 cells: 45 at first, but a long cell may be split, as the second edition asks (up to 70)."""
    yield from lecture.lecture_size(notebook, context, cells=(20, 50), words=(1500, 3500), figures=4)


def code_rhythm(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """Short cells, text between them; only a cell that draws may follow another code cell."""
    for cell in code_cells(notebook):
        lines = len(cell.source.strip().split("\n"))
        limit = 45 if re.search(r"^class ", cell.source, re.MULTILINE) else 25
        if lines > limit:
            yield f"코드 셀이 {lines}줄로 {limit}줄을 넘습니다: {first_line(cell)}"
    for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False):
        if before.cell_type == cell.cell_type == "code" and "plt.show()" not in cell.source:
            yield f"글 없이 코드 셀이 이어집니다: {first_line(cell)}"
