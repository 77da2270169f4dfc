"""The course in a folder with Hangul and a blank in its path, as in the home of many a learner."""

import json
import os
import re
import site
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tf_study import curriculum

PRACTICE = "chapter13_genai_diffusion/practice/ex01_ddpm_forward_reverse.ipynb"  # without TensorFlow
COPIED = (PRACTICE, PRACTICE.replace("/ex", "/solutions/ex"), curriculum.notebooks()[0].path)
CELLS = (
    "import tf_study\nfrom tf_study import data, korean\ndata.topics_ko()[1][1].shape",
    "print(korean.tagger('Hannanum').morphs('아버지가 방에'))",
    "import os, sys\nprint(sys.executable, os.getcwd(), tf_study.__file__, sep='\\n')",
)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A clone of the course, with the learner's copy and an environment that finds the packages at hand."""
    course = tmp_path_factory.mktemp("home") / "홍 길동" / "공부 폴더" / "tf"
    course.parent.mkdir(parents=True)
    clone = ["git", "clone", "--quiet", "--shared", str(curriculum.ROOT), str(course)]
    subprocess.run(clone, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", course / ".venv"], check=True)
    (packages,) = course.glob(".venv/lib/python*/site-packages")
    (packages / "course.pth").write_text("\n".join([*site.getsitepackages(), str(course)]), encoding="utf-8")
    code = "import sys\nfrom pathlib import Path\nfrom tf_study import study\n"
    run(course, "-c", f"{code}assert not study.prepare(paths=[*map(Path, sys.argv[1:])]).left", *COPIED)
    return course


def run(course, *arguments, **variables):
    """Run the course's Python; return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    command = [course / ".venv" / "bin" / "python", *arguments]
    done = subprocess.run(command, cwd=course, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_list_names_the_learners_copy(course):
    assert f"study/{PRACTICE}" in run(course, "main.py", "list")


def test_a_notebook_reads_data_and_finds_morphemes(course):
    path = course / "내 노트" / "작은 것.ipynb"
    path.parent.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS]), path)
    run(course, "-m", "tf_study.notebooks", "run", path.relative_to(course))
    shape, morphs, where = (cell["outputs"][0] for cell in json.loads(path.read_text("utf-8"))["cells"])
    assert shape["data"]["text/plain"] == ["(147,)"]
    assert morphs["text"] == ["['아버지', '가', '방', '에']\n"]
    assert [Path(line.strip()) for line in where["text"]] == [
        course / ".venv" / "bin" / "python",
        path.parent,
        course / "tf_study" / "__init__.py",
    ]


def test_the_suite_passes(course):
    """Of the notebooks' tools what the tests above do not use, and a practice with its graders."""
    some = "practice or convert or figures or overwrites"
    arguments = ["--nbval", "-q", "-p", "no:cacheprovider", "tests/test_notebooks.py", "-k", some]
    # New kernels: those of a warm process have imported TensorFlow.
    out = run(course, "-m", "pytest", *arguments, f"study/{PRACTICE}", FRESH="1")
    assert int(re.search(r"(\d+) passed", out)[1]) > 20 and "skipped" not in out
