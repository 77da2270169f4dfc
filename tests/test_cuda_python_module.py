"""A Python module from C++ with pybind11."""

import pytest

from tf_study import cuda
from tf_study.cuda import builder, pybind
from tf_study.errors import StudyError

SOURCE = r"""
#include <pybind11/pybind11.h>
int twice(int x) { return 2 * x; }
PYBIND11_MODULE(study_twice, m) { m.def("twice", &twice); }
"""

needs_headers = pytest.mark.skipif(
    builder.compiler() is None or not pybind._python_header().exists(),
    reason="C++ 컴파일러나 Python.h가 없습니다.",
)


@needs_headers
def test_a_module_is_built_once_and_checks_types():
    assert cuda.python_module_available()
    module = cuda.python_module("study_twice", SOURCE)
    assert module.twice(21) == 42
    with pytest.raises(TypeError, match="incompatible function arguments"):
        module.twice("a")
    assert cuda.python_module("study_twice", SOURCE).__file__ == module.__file__


@needs_headers
def test_an_error_has_its_line():
    with pytest.raises(StudyError, match="2번째 줄"):
        cuda.python_module("study_wrong", "\nint twice(int x) { return 2 * y; }\n")


def test_without_compiler_or_header_one_line_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(pybind, "_python_header", lambda: tmp_path / "Python.h")
    if builder.compiler() is not None:
        assert not cuda.python_module_available()
        assert "[생략] Python의 헤더(Python.h)가 없어" in capsys.readouterr().out
        with pytest.raises(StudyError, match="Python.h"):
            cuda.python_module("study_twice", SOURCE)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert not cuda.python_module_available()
    with pytest.raises(StudyError, match=r"C\+\+ 컴파일러가 없어"):
        cuda.python_module("study_twice", SOURCE)
