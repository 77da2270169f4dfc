import json

import nbformat
import pytest

from tf_study import curriculum, notebooks, warm
from tf_study.errors import StudyError

SOLUTION = (
    ("markdown", "# 실습 0.1 시험\n[강의](../../01_lecture.ipynb)", []),
    ("code", "from tf_study.practice import Practice", []),
    (
        "code",
        '''\
def double(x):
    """두 배."""
    # BEGIN SOLUTION
    y = 2 * x
    return y
    # END SOLUTION

total = None
# BEGIN SOLUTION
total = double(3)
# END SOLUTION
SOURCE = r"""
__global__ void twice(float* x) {
  // BEGIN SOLUTION
  x[threadIdx.x] *= 2;
  // END SOLUTION
}
"""''',
        [],
    ),
    ("code", 'print("⬜ 채점")', ["check"]),
    ("code", "assert total == 6", ["solution-only"]),
)


@pytest.fixture(autouse=True)
def forked():
    """Kernels from a warm process where there is one: how they start is not what these tests are about."""
    practice = next(item for item in curriculum.notebooks() if item.solution)
    with warm.kernels(curriculum.ROOT / practice.path):
        yield


@pytest.fixture
def solution(tmp_path):
    make = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    cells = [make[kind](source, metadata={"tags": tags}) for kind, source, tags in SOLUTION]
    notebooks.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "solution.ipynb")
    return tmp_path / "solution.ipynb"


def test_convert_there_and_back(solution, tmp_path):
    pytest.importorskip("jupytext", reason="노트북을 변환하는 jupytext는 make practice가 설치합니다.")
    notebooks.convert(solution, tmp_path / "back.py")
    notebooks.convert(tmp_path / "back.py", tmp_path / "again.ipynb")
    first, again = notebooks.read(solution), notebooks.read(tmp_path / "again.ipynb")
    assert [(c.cell_type, c.source, dict(c.metadata)) for c in first.cells] == [
        (c.cell_type, c.source, dict(c.metadata)) for c in again.cells
    ]
    with pytest.raises(StudyError, match="확장자"):
        notebooks.convert(tmp_path / "back.py", tmp_path / "other.txt")


def test_run_stores_clean_outputs(solution):
    notebooks.run(solution)
    stored = json.loads(solution.read_text(encoding="utf-8"))
    assert stored["metadata"] == notebooks.METADATA
    code = [cell for cell in stored["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [1, 2, 3, 4]
    assert code[2]["outputs"][0]["text"] == ["⬜ 채점\n"]
    assert [cell["id"] for cell in stored["cells"]] == [f"cell-{i:02d}" for i in range(1, 6)]


def test_a_failing_notebook_is_left_as_it_was(solution, capsys):
    notebook = notebooks.read(solution)
    notebook.cells[-1].source = "raise ValueError('실패')"
    notebooks.write(notebook, solution)
    before = solution.read_bytes()
    assert notebooks.main(["run", str(solution)]) == 1
    assert "ValueError" in capsys.readouterr().err
    assert solution.read_bytes() == before
    assert [path.name for path in solution.parent.iterdir()] == [solution.name]


def test_a_full_disk_leaves_the_notebook_and_nothing_else(solution, monkeypatch, capsys):
    def fail(notebook, part):
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    before = solution.read_bytes()
    monkeypatch.setattr(notebooks.nbformat, "write", fail)
    assert notebooks.main(["run", str(solution)]) == 1
    assert "남은 공간을 확인하세요" in capsys.readouterr().err
    assert solution.read_bytes() == before
    assert [path.name for path in solution.parent.iterdir()] == [solution.name]


def test_wrong_arguments_are_said_in_korean(capsys):
    with pytest.raises(SystemExit):
        notebooks.main(["fly"])
    assert "인수가 잘못되었으니" in capsys.readouterr().err


def test_broken_and_missing_files_are_one_korean_sentence(tmp_path):
    (tmp_path / "broken.ipynb").write_text("{", encoding="utf-8")
    with pytest.raises(StudyError, match="깨져"):
        notebooks.read(tmp_path / "broken.ipynb")
    with pytest.raises(StudyError, match="경로를 확인"):
        notebooks.read(tmp_path / "missing.ipynb")


def test_learner_version(solution):
    learner = notebooks.learner_version(notebooks.read(solution))
    text = "\n".join(cell.source for cell in learner.cells)
    assert "2 * x" not in text and "double(3)" not in text and "SOLUTION" not in text
    assert "    raise NotImplementedError" in text and '"""두 배."""' in text and "total = None" in text
    assert "](../01_lecture.ipynb)" in text
    assert "*= 2" not in text and "(float* x) {\n  // 여기에 코드를 쓰세요.\n}" in text
    assert len(learner.cells) == 4
    assert list(learner.cells[-1].metadata.tags) == ["check", notebooks.IGNORE]
    assert not notebooks.is_edited(learner)
    for cell in learner.cells:
        if cell.cell_type == "code":
            compile(cell.source, "cell", "exec")


def test_generate_never_overwrites_a_learners_work(solution, tmp_path, capsys):
    target = tmp_path / "learner.ipynb"
    assert notebooks.generate(solution, target)
    assert not notebooks.generate(solution, target), "an up-to-date notebook is not written again"
    work = notebooks.read(target)
    work.cells[2].source = "def double(x):\n    return x + x"
    nbformat.write(work, target)
    before = target.read_bytes()
    assert not notebooks.generate(solution, target)
    assert target.read_bytes() == before
    assert "그대로 둡니다" in capsys.readouterr().out


def test_generate_renews_a_stale_notebook(solution, tmp_path):
    target = tmp_path / "learner.ipynb"
    notebooks.generate(solution, target)
    changed = notebooks.read(solution)
    changed.cells[0].source += "\n새 글"
    notebooks.write(changed, solution)
    assert notebooks.generate(solution, target)
    assert "새 글" in notebooks.read(target).cells[0].source


def test_marks_read_the_progress_from_stored_outputs():
    def cell(text):
        output = nbformat.v4.new_output("stream", name="stdout", text=text)
        return nbformat.v4.new_code_cell("quiz.check('a', a)", outputs=[output])

    notebook = nbformat.v4.new_notebook(cells=[cell("✅ 맞음\n"), cell("❌ 다름\n"), cell("⬜ 아직\n")])
    notebook.cells.append(nbformat.v4.new_code_cell("quiz.check('b', b)"))
    assert notebooks.marks(notebook) == ["✅", "❌", "⬜", "⬜"]


def test_figures_are_exported(tmp_path):
    cell = nbformat.v4.new_code_cell("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")
    notebooks.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "figure.ipynb")
    notebooks.run(tmp_path / "figure.ipynb")
    files = notebooks.figures(tmp_path / "figure.ipynb", tmp_path / "out")
    assert len(files) == 1 and files[0].read_bytes().startswith(b"\x89PNG")


def test_map_replaces_what_is_between_the_marks(tmp_path):
    (tmp_path / "README.md").write_text("앞\n<!-- map -->\n옛 지도\n<!-- /map -->\n뒤\n", encoding="utf-8")
    for _ in range(2):
        notebooks.write_map(tmp_path / "README.md")
        text = (tmp_path / "README.md").read_text(encoding="utf-8")
        assert text == f"앞\n<!-- map -->\n{curriculum.readme_map()}\n<!-- /map -->\n뒤\n"


def test_run_without_paths_says_what_to_give(capsys):
    assert notebooks.main(["run"]) == 1
    assert "--all" in capsys.readouterr().err


def test_measure_counts_cpu_time(tmp_path):
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("import time\nwhile time.process_time() < 1.5:\n    pass")]
    )
    # os.times counts in ticks of 10 ms.
    assert 1.4 <= notebooks.execute(notebook, tmp_path, measure=True) < 4
