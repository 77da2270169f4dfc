"""``pytest --nbval`` after ``make study`` alone: the suite needs none of the packages that come with more.

The environment of the test is the one at hand without the packages that ``make study`` does not install. It
is a real one, made of links. The workflow ``.github/workflows/test.yml`` runs the whole suite in one that was
installed.
"""

import re
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tf_study import curriculum

ROOT = curriculum.ROOT
# What uses packages of ``dev``, and a practice that compares with PyTorch where it is installed.
SAMPLE = (
    "test_convert_there_and_back",
    "test_jupyterlab.py",
    "(chapter10_memory_optimization and solutions and ex01)",
)


def needed(name: str, extras: frozenset[str] = frozenset()) -> dict[str, Distribution]:
    """Return what installing a package brings, by canonical name, itself included."""
    found, waiting, seen = {}, [(canonicalize_name(name), extras)], set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # Required by a marker of another platform only.
            continue
        for requirement in map(Requirement, found[name].requires or ()):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of an environment that holds what ``make study`` installs."""
    venv = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    for package in needed("tf_study").values():
        for name in {file.parts[0] for file in package.files} - {"..", "__pycache__"}:
            link = site / name
            if not link.exists():
                link.symlink_to(Path(package.locate_file(name)))
    return venv / "bin" / "python"


def run(python, *arguments):
    done = subprocess.run([python, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_environment_lacks_what_comes_with_dev_and_advanced(python):
    code = "import importlib.util as u; print([n for n in {} if u.find_spec(n)])"
    names = [
        "jupytext",
        "playwright",
        "xdist",
        "ruff",
        "torch",
        "peft",
        "trl",
        "diffusers",
        "numpy",
        "tf_study",
    ]
    assert run(python, "-c", code.format(names)) == "['numpy', 'tf_study']\n"


def test_everything_is_collected_and_a_sample_passes(python):
    out = run(python, "-m", "pytest", "--nbval", "-q", "-rs", "-k", " or ".join(SAMPLE))
    assert "make practice가 설치합니다" in out
    assert int(re.search(r"(\d+) passed", out).group(1)) > 30
