"""A Python module from C++ that uses pybind11, whose headers the TensorFlow wheel carries."""

import importlib.util
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

from tf_study.cuda import builder
from tf_study.errors import StudyError

_REMEDY = "apt install python3-dev(다른 배포판에서는 python3-devel)를 실행하세요"
# Without optimization: the templates of the headers take most of the time.
_FLAGS = ("-std=c++17", "-O0", "-fPIC", "-w", "-shared")


def python_module_available() -> bool:
    """Return whether modules can be built here; if not, print what is skipped and the remedy."""
    if not builder.available():
        return False
    if not _python_header().exists():
        print(f"[생략] Python의 헤더(Python.h)가 없어 모듈을 만들지 않았으니 {_REMEDY}.")
        return False
    return True


def python_module(name: str, source: str) -> ModuleType:
    """Build a module, or find it built, and import it.

    Args:
        name: as ``PYBIND11_MODULE`` in the source has it.
        source: C++ that includes ``pybind11/pybind11.h``.

    Raises:
        StudyError: if the source has an error (with its line), or there is no compiler or no ``Python.h``.
    """
    found = builder.compiler()
    if found is None:
        raise StudyError(f"C++ 컴파일러가 없어 모듈을 만들 수 없으니 {builder.REMEDY}.")
    if not _python_header().exists():
        raise StudyError(f"Python의 헤더(Python.h)가 없어 모듈을 만들 수 없으니 {_REMEDY}.")
    tensorflow = importlib.util.find_spec("tensorflow").submodule_search_locations[0]
    headers = Path(tensorflow) / "include" / "external" / "pybind11" / "_virtual_includes" / "pybind11"
    options = [*_FLAGS, "-I", str(headers), "-I", str(_python_header().parent)]
    if sys.platform == "darwin":
        options += ["-undefined", "dynamic_lookup"]

    def make(folder: Path) -> Path:
        unit = folder / "unit.cpp"
        unit.write_text(f'#line 1 "{builder.SOURCE}"\n{source}', encoding="utf-8")
        out = folder / "module.so"
        builder.run([*found.command, *options, str(unit), "-o", str(out)], folder)
        return out

    key = (found.version, *found.command, *options, name, source, sys.version)
    path = builder.cached(f"{name}.so", key, make)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _python_header() -> Path:
    return Path(sysconfig.get_path("include")) / "Python.h"
