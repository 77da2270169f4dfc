"""What README.md says of the repository is true."""

import ast
import importlib
import re
import subprocess
import sys

import pytest

from tf_study import curriculum, notebooks
from tf_study.practice import load

ROOT = curriculum.ROOT
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Results that went against what was expected, and how the lecture says so.
UNEXPECTED = {
    "7.3": "사전 학습이 도움이 되지 않았고 TF-IDF가 앞섭니다",
    "6.4": "순서를 읽는다고 크게 나아지지 않았다",
    "5.2": "흔한 짐작과 달리 입력 쪽이 사라지지 않고 오히려 큽니다",
}


def claimed(pattern):
    """Return the number that the README gives."""
    return int(re.search(pattern, README).group(1).replace(",", ""))


@pytest.mark.parametrize("number", UNEXPECTED)
def test_a_result_against_expectation_is_in_the_lecture(number):
    path = re.search(rf"\[{re.escape(number)}\]\((\S+)\)", README).group(1)
    text = "\n".join(cell.source for cell in notebooks.read(ROOT / path).cells)
    assert UNEXPECTED[number] in text


def test_the_counterexamples_are_as_many_as_said():
    count = 0
    for path in curriculum.sources():
        for cell in notebooks.read(ROOT / path).cells:
            if cell.cell_type == "code" and "differs" in cell.source:
                calls = [node.func for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
                count += sum(ast.unparse(call) == "verify.differs" for call in calls)
    assert count >= claimed(r"반례 ([\d,]+)개 이상")


def test_the_graders_are_tested_with_as_many_answers_as_said():
    names = [item.practice for item in curriculum.notebooks() if item.solution]
    modules = {name: importlib.import_module(f"answers.{name.replace('/', '_')}") for name in names}
    assert sum(len(load(name)) for name in names) == claimed(r"([\d,]+)문제에")
    for kind, pattern in (("WRONG", r"틀린 답 ([\d,]+)개 이상"), ("RIGHT", r"맞는 답 ([\d,]+)개 이상")):
        answers = [getattr(module, kind) for module in modules.values()]
        assert sum(len(one[problem]) for one in answers for problem in one) >= claimed(pattern), kind


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "tf_study/data/README.md"])
def test_links_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        assert ((ROOT / name).parent / target).exists(), target


def test_the_make_commands_are_there():
    targets = set(re.findall(r"^([a-z ]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    targets = {target for line in targets for target in line.split()}
    named = set(re.findall(r"make (\w+)", README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    assert {"study", "test", "advanced", "practice"} <= named <= targets


@pytest.mark.parametrize("project", curriculum.projects(), ids=lambda project: project.folder.name)
def test_a_project_is_a_program(project):
    folder = ROOT / project.folder
    (program,) = folder.glob("*/__main__.py")
    command = [sys.executable, "-m", program.parent.name, "--help"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "이 도움말을 보이고 끝냅니다" in done.stdout
