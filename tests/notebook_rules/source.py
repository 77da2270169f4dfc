"""Rules for the code of a notebook, read from its syntax trees."""

import ast
import io
import re
import statistics
import subprocess
import tokenize
from collections.abc import Iterator

import nbformat
import pytest
from nbformat import NotebookNode

from .cells import (
    Context,
    code_cells,
    first_line,
    has_figure,
    nodes_of,
    plain_python,
    printed,
    tree_of,
    verifications,
)

MEDIAN_LINES, MAX_LINES, MAX_CLASS_LINES = 12, 25, 40
WIDTH = 100
POINTS = 9  # the smallest type in a figure
SIZES = {"fontsize", "labelsize", "title_fontsize"}
SMALL = {"xx-small", "x-small", "small"}  # 5.8, 6.9 and 8.3 points at the style's 10
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def cell_length(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """Code cells are short: a median, a maximum, and one class that may be longer."""
    lengths = {id(cell): len(cell.source.strip().split("\n")) for cell in code_cells(notebook)}
    median = statistics.median(lengths.values())
    if median > MEDIAN_LINES:
        yield f"코드 셀의 중앙값이 {median:g}줄로 {MEDIAN_LINES}줄을 넘습니다."
    long = [cell for cell in code_cells(notebook) if lengths[id(cell)] > MAX_LINES]
    classes = [cell for cell in long if re.search(r"^class ", cell.source, re.MULTILINE)]
    for cell in long:
        length = lengths[id(cell)]
        if cell not in classes:
            yield f"코드 셀이 {length}줄로 {MAX_LINES}줄을 넘습니다: {first_line(cell)}"
        elif length > MAX_CLASS_LINES:
            yield f"클래스가 든 셀이 {length}줄로 {MAX_CLASS_LINES}줄을 넘습니다: {first_line(cell)}"
    if len(classes) > 1:
        yield f"{MAX_LINES}줄이 넘는 클래스는 하나까지인데 {len(classes)}개입니다."


def code_shape(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """Narrow lines, comprehensions one level deep, one statement a line."""
    for cell in code_cells(notebook):
        for line in cell.source.split("\n"):
            if len(line) > WIDTH:
                yield f"코드 한 줄이 {len(line)}자로 {WIDTH}자를 넘습니다: {line.strip()[:60]}"
        for node in nodes_of(cell.source):
            if isinstance(node, COMPREHENSIONS) and any(
                isinstance(inner, COMPREHENSIONS) for inner in ast.walk(node) if inner is not node
            ):
                yield f"컴프리헨션 안에 컴프리헨션이 있습니다: {ast.unparse(node)[:60]}"
        if ";" not in cell.source:
            continue
        tokens = tokenize.generate_tokens(io.StringIO(plain_python(cell.source)).readline)
        for token in tokens:
            if token.type == tokenize.OP and token.string == ";":
                yield f"문장을 ;로 이어 적지 않습니다: {token.line.strip()[:60]}"


def no_rebinding(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """What a ``def``, ``class`` or ``import`` named keeps its name to the end of the notebook.

    Only names of the notebook itself count, not those inside functions. ``f = tf.function(f)`` and the like,
    which wrap what was defined, are no other thing.
    """
    kinds = {}
    for cell in code_cells(notebook):
        for name, kind in _bindings(tree_of(cell.source).body):
            before = kinds.get(name)
            if before in ("함수", "클래스", "모듈") and kind not in (before, "감싼 것", "없음"):
                yield f"{before} {name}을 나중에 다른 것의 이름으로 씁니다: {first_line(cell)}"
            if kind != "감싼 것":
                kinds[name] = kind


def _bindings(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Yield every name that statements outside of functions bind, with the kind of what it names."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield node.name, "클래스"
        elif isinstance(node, DEFINITIONS):
            yield node.name, "함수"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name.split(".")[0], "모듈"
        elif isinstance(node, ast.Delete):
            yield from ((target.id, "없음") for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            used = _names(node.value, ast.Load) if node.value else set()
            for name in set().union(*(_names(target, ast.Store) for target in targets)):
                yield name, "감싼 것" if name in used else "값"
        else:
            heads = [node.target] if isinstance(node, ast.For) else []
            heads += [item.optional_vars for item in getattr(node, "items", []) if item.optional_vars]
            for head in heads:
                yield from ((name, "값") for name in _names(head, ast.Store))
            for part in ("body", "orelse", "finalbody"):
                yield from _bindings(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from _bindings(handler.body)


def _names(node: ast.AST, context: type) -> set[str]:
    return {
        inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and isinstance(inner.ctx, context)
    }


def rhythm(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """Between two code cells stands text, unless the second does nothing but draw."""
    for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False):
        if before.cell_type == cell.cell_type == "code" and not _only_draws(cell):
            yield f"글 없이 코드 셀이 이어집니다(그리기만 하는 셀은 괜찮습니다): {first_line(cell)}"


def _only_draws(cell: NotebookNode) -> bool:
    defines = any(isinstance(node, DEFINITIONS) for node in tree_of(cell.source).body)
    return has_figure(cell) and not (defines or verifications(cell.source) or printed(cell).strip())


def formatted(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """The code is as ruff formats it."""
    ruff = pytest.importorskip("ruff", reason="코드의 모양을 검사하는 ruff는 make practice가 설치합니다.")
    bare = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c.source) for c in code_cells(notebook)])
    command = ["ruff", "format", "--isolated", f"--line-length={WIDTH}"]
    done = subprocess.run(
        [ruff.find_ruff_bin(), *command[1:], "--diff", "--stdin-filename=notebook.ipynb", "-"],
        input=nbformat.writes(bare),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        changed = re.findall(r"^[-+](?![-+]).*", done.stdout, re.MULTILINE)
        yield f"코드의 모양을 {' '.join(command)}로 고치세요: {' / '.join(changed[:3]) or done.stderr}"


def font_sizes(notebook: NotebookNode, context: Context) -> Iterator[str]:
    for cell in code_cells(notebook):
        yield from small_type(cell.source)


def small_type(source: str) -> Iterator[str]:
    """Yield the font sizes written in ``source`` that are smaller than :data:`POINTS`."""
    for node in nodes_of(source):
        if not isinstance(node, ast.keyword) or node.arg not in SIZES:
            continue
        size = node.value.value if isinstance(node.value, ast.Constant) else None
        if size in SMALL or (isinstance(size, int | float) and size < POINTS):
            yield f"그림의 글자가 {POINTS}포인트보다 작습니다: {ast.unparse(node)}"
