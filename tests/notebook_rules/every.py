"""Rules for every notebook: stored outputs, file, links."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode

import nbval_approx
import nbval_needs
from tf_study import curriculum, notebooks

from .cells import CODE, LINK, ROOT, Context, code_cells, first_line, printed, tags_of, text_of, tree_of

MAX_BYTES = 600_000
MAX_OUTPUT_LINES = 30
COMPARED = 0.7  # the least share of the cells with output that nbval compares, exactly or approximately
NUMBERED = re.compile(r"(실습 )?\d+\.\d+ .")
FORBIDDEN_TEXT = re.compile(r"(?:/home/|/root/|/Users/|/work/|[A-Z]:\\)|https?://")


def clean_run(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """Outputs come from one full run: counts 1..n, no errors, nothing on stderr or left out, no long output."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"실행 번호가 1..n이 아닙니다: {counts}"
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"오류 출력이 저장되어 있습니다: {first_line(cell)}"
            if output.get("name") == "stderr":
                yield f"stderr 출력이 저장되어 있습니다: {first_line(cell)}"
        lines = printed(cell).count("\n")
        if lines > MAX_OUTPUT_LINES:
            yield f"출력이 {lines}줄로 {MAX_OUTPUT_LINES}줄을 넘습니다: {first_line(cell)}"
        if "[생략]" in printed(cell):
            yield f"비교하지 않은 기준이 있으니 make advanced models 뒤에 다시 실행하세요: {first_line(cell)}"
        if cell.source.rstrip().endswith(";"):
            yield f"줄 끝의 ;는 nbval에서 출력을 감추지 못합니다: {first_line(cell)}"


def models(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """A cell that uses a packaged model has its tag, and does nothing where the model is not.

    It asks ``if pretrained.available(...):``, or an earlier cell did and it asks for that answer.
    """
    for cell in code_cells(notebook):
        needed = nbval_needs.names(tags_of(cell))
        for name in needed - set(nbval_needs.PACKAGED):
            yield f"{nbval_needs.PREFIX}{name} 태그의 모델은 패키지에 없습니다: {first_line(cell)}"
        for name in set(re.findall(r"pretrained\.(?:available|path)\(\"(\w+)\"", cell.source)) - needed:
            yield f"{name} 모델을 쓰는 셀이니 {nbval_needs.PREFIX}{name} 태그를 다세요: {first_line(cell)}"
        guarded = (ast.If, ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign)
        if needed and not all(isinstance(node, guarded) for node in tree_of(cell.source).body):
            yield f"모델이 없을 때에도 실행되는 문장이 있으니 if 안에 쓰세요: {first_line(cell)}"


def metadata(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """The kernel is the course's, and the file is as ``tf_study.notebooks.write`` leaves it."""
    for key, value in notebooks.METADATA.items():
        if notebook.metadata.get(key) != value:
            yield f"metadata의 {key}가 다릅니다: {notebook.metadata.get(key)}"
    if [cell.id for cell in notebook.cells] != [f"cell-{i:02d}" for i in range(1, len(notebook.cells) + 1)]:
        yield "셀 id가 순서대로가 아니니 python -m tf_study.notebooks run으로 다시 저장하세요."


def file_size(notebook: NotebookNode, context: Context) -> Iterator[str]:
    size = context.path.stat().st_size
    if size > MAX_BYTES:
        yield f"파일이 {size // 1000} KB로 {MAX_BYTES // 1000} KB를 넘습니다."


def links(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """Every relative link leads to a file, or to a notebook of a chapter that is not built yet.

    A link whose text is a numbered title carries the title of the notebook it leads to.
    """
    planned = {
        ROOT / item.path
        for chapter in curriculum.chapters()
        if not chapter.built
        for item in (*chapter.lectures, *chapter.practices)
    }
    for name, target in LINK.findall(CODE.sub(" ", text_of(notebook))):
        path = (context.folder / target.split("#")[0]).resolve()
        if not path.exists() and path not in planned:
            yield f"링크가 가리키는 파일이 없습니다: {target}"
        elif path.exists() and path.suffix == ".ipynb" and NUMBERED.match(name):
            title = _title(path)
            if name != title:
                yield f"링크의 제목 '{name}'이 노트북의 제목 '{title}'과 다릅니다."


@functools.cache
def _title(path: Path) -> str:
    """Return the heading of a notebook; many notebooks link to the same few."""
    return notebooks.read(path).cells[0].source.splitlines()[0].removeprefix("# ")


def no_private_text(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """No absolute paths and no web addresses, in sources or outputs."""
    for cell in notebook.cells:
        text = cell.source
        if cell.cell_type == "code":
            text += printed(cell)
        for found in FORBIDDEN_TEXT.findall(text):
            yield f"절대 경로나 웹 주소가 있습니다: {found}"


def setup_first(notebook: NotebookNode, context: Context) -> Iterator[str]:
    """The first code cell imports ``tf_study`` before TensorFlow; nothing is imported from it later."""
    first = code_cells(notebook)[0].source
    if "import tf_study" not in first:
        yield "첫 코드 셀이 tf_study를 가져오지 않습니다."
    elif "tensorflow" in first and first.index("tf_study") > first.index("tensorflow"):
        yield "tf_study를 TensorFlow보다 먼저 가져와야 합니다."


def compared_share(notebook: NotebookNode, context: Context, share: float = COMPARED) -> Iterator[str]:
    """Most cells with output are compared, exactly or with ``approx:<tolerance>``; none is skipped."""
    with_output = [cell for cell in code_cells(notebook) if cell.outputs]
    ignored = [cell for cell in with_output if notebooks.IGNORE in tags_of(cell)]
    if len(with_output) - len(ignored) < share * len(with_output):
        yield (
            f"출력이 있는 셀 {len(with_output)}개 가운데 {len(ignored)}개를 비교하지 않아 "
            f"비교하는 셀이 {share:.0%}보다 적습니다."
        )
    for cell in code_cells(notebook):
        if re.search(r"#\s*NBVAL_|nbval-skip|raises-exception", cell.source + " ".join(tags_of(cell))):
            yield f"nbval을 건너뛰는 표시는 쓰지 않습니다: {first_line(cell)}"
        try:
            approximate = nbval_approx.tolerance(tags_of(cell)) is not None
        except ValueError:
            yield f"approx: 뒤에는 0과 1 사이의 수를 적습니다: {tags_of(cell)}"
            continue
        if approximate and notebooks.IGNORE in tags_of(cell):
            yield f"approx와 {notebooks.IGNORE} 가운데 하나만 답니다: {first_line(cell)}"
