"""What holds for the files of the repository as a whole."""

import json
import re
import subprocess
import tomllib

import pytest
import yaml

from tf_study import curriculum

ROOT = curriculum.ROOT
ADDRESS = re.compile(r"https?://(?!127\.0\.0\.1)")  # A server on this machine is no address elsewhere.
PLAIN = {"Makefile", "Dockerfile", "python"}  # tools/python is a script of the shell.
PRIVATE = re.compile(r"/(?:home|root|Users|work)/\w")


def committed_files():
    """Yield the text files; notebooks have a rule of their own, ``no_private_text``."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in {".py", ".toml", ".txt", ".yml", ".md", ".cfg", ".json"} or path.name in PLAIN:
            yield path


def test_no_address_of_a_package_host_and_no_private_path():
    for path in committed_files():
        if "tests" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        assert not PRIVATE.search(text), path
        if path.name != "fetch.py":  # The data sets' own addresses, for the full profile.
            assert not ADDRESS.search(text), path


def test_versions_are_said_once():
    with open(ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    pinned = {
        re.split(r"[<>=]", line)[0].lower().replace("_", "-"): line
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    }
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in (item for group in groups for item in group):
        name = re.match(r"[\w-]+", requirement).group().lower()
        if name != "tensorflow-metal":  # Pinned in the project definition, since only macOS has it.
            assert name in pinned, f"constraints.txt에 {name}이 없습니다."
    assert pinned["torch"] == "torch>=2.13.0,<2.14"
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["name"] == "tf_study" and "python=3.11" in environment["dependencies"]
    assert environment["dependencies"][-1] == {"pip": ["-c constraints.txt", "-e ."]}


@pytest.mark.parametrize(
    "name", ["README.md", "LICENSE", "Makefile", "main.py", ".ci/run", ".github/workflows/test.yml"]
)
def test_the_expected_files_exist(name):
    assert (ROOT / name).stat().st_size > 0


def test_ci_and_workflow_call_the_readme_command():
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make test" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert "make test" in (ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8")


def test_editors_are_told_of_the_environment_that_make_makes():
    settings = json.loads((ROOT / ".vscode/settings.json").read_text(encoding="utf-8"))
    venv = re.search(
        r"^VENV *\?= *(\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    ).group(1)
    assert settings["python.defaultInterpreterPath"] == f"${{workspaceFolder}}/{venv}/bin/python"
    assert settings["jupyter.notebookFileRoot"] == "${fileDirname}"
    wanted = json.loads((ROOT / ".vscode/extensions.json").read_text(encoding="utf-8"))["recommendations"]
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    assert {"ms-python.python", "ms-toolsai.jupyter"} <= set(wanted)
    dockerfile = (ROOT / ".devcontainer" / container["build"]["dockerfile"]).read_text(encoding="utf-8")
    venv = re.search(r"^ENV VENV=(\S+)", dockerfile, re.MULTILINE).group(1)
    vscode = container["customizations"]["vscode"]
    assert vscode["settings"]["python.defaultInterpreterPath"] == f"{venv}/bin/python"
    assert set(vscode["extensions"]) <= set(wanted)


def test_what_a_learner_makes_is_not_tracked():
    for path in (
        "study/chapter01_basics/01_tensorflow_intro.ipynb",
        ".venv/bin/python",
        "build/install.lock",
    ):
        assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 0, path
